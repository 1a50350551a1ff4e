"""`jamflow_pairs`: a prepared data set as TFDS sees it, so that tools that read TFDS can read it too (extra `tfds`; no TensorFlow
needed).

    from data_pipelines.tfds_pairs import jamflow_pairs
    source = jamflow_pairs("data/mine").as_data_source("pairs")      # random access: id, length, mel, motion, text, speaker, extra

TFDS reads the same shards: two JSON files beside them (dataset_info.json, features.json) say what they hold. They are made when
first asked for. TFDS's one split is `pairs` (`all` is a word of its own there), in shard order: a clip's own split is a column of
index.npz, and `positions` gives the places of one. Clips that --duplicates reject and its like left out of the index
are still in the shards, and so in `pairs`: only `positions` passes over them.
"""
from pathlib import Path

import numpy as np

from data_pipelines.dataset import DataSet
from data_pipelines.record import MEL_BINS
from jamflow_jax.errors import InputError

NAME, VERSION, SPLIT = "jamflow_pairs", "1.0.0", "pairs"


def jamflow_pairs(directory: str | Path):
    """The TFDS builder of a data set.

    Raises:
      InputError: no data set there, or tensorflow-datasets not installed.
    """
    data = DataSet(directory)
    tfds = _tfds()
    if not (data.path / "shards" / "dataset_info.json").exists():
        write_metadata(data)
    return tfds.builder_from_directory(data.path / "shards")


def positions(data: DataSet, split: str | None = None) -> np.ndarray:
    """Where the clips of train, validation or test (None: all that the data set has) stand in the data source."""
    starts = np.concatenate([[0], np.cumsum(_shard_lengths(data))])
    chosen = np.arange(len(data)) if split is None else data.index.select(split)
    return starts[np.asarray(data.index.shard)[chosen]] + np.asarray(data.index.row)[chosen]


def write_metadata(data: DataSet) -> None:
    """Writes dataset_info.json and features.json into DIR/shards. Raises as `jamflow_pairs`."""
    tfds = _tfds()
    features = tfds.features
    lengths = _shard_lengths(data)
    folder = data.path / "shards"
    template = tfds.core.ShardedFileTemplate(
        data_dir=folder, template="data-{SHARD_INDEX}.{FILEFORMAT}", dataset_name=NAME, split=SPLIT, filetype_suffix="array_record"
    )
    size = sum(path.stat().st_size for path in folder.glob("data-*.array_record"))
    tfds.folder_dataset.write_metadata(
        data_dir=folder, filename_template=template, version=VERSION, check_data=False,
        split_infos=[tfds.core.SplitInfo(name=SPLIT, shard_lengths=lengths, num_bytes=size, filename_template=template)],
        features=features.FeaturesDict({
            "id": features.Text(), "length": features.Scalar(np.int64), "text": features.Text(), "speaker": features.Text(),
            "extra": features.Text(), "mel": features.Tensor(shape=(None, MEL_BINS), dtype=np.float16, encoding="bytes"),
            "motion": features.Tensor(shape=(None, len(data.space.dims)), dtype=np.float32, encoding="bytes"),
        }),
        description="Pairs of speech (log-mel, 93.75 frames a second) and facial motion (25 frames a second), with text.",
    )  # fmt: skip


def _shard_lengths(data: DataSet) -> list[int]:
    """Records of every shard file, whether the index uses them or not; 0 where rejections left none, which TFDS passes over."""
    from array_record.python.array_record_module import ArrayRecordReader

    names = sorted(name for name in data.meta["files"] if name.startswith("data-"))
    lengths = [0] * (max(int(name[5:10]) for name in names) + 1)
    for name in names:
        lengths[int(name[5:10])] = ArrayRecordReader(str(data.path / "shards" / name)).num_records()
    return lengths


def _tfds():
    try:
        import tensorflow_datasets

        return tensorflow_datasets
    except ImportError:
        raise InputError("reading a data set through TFDS needs tensorflow-datasets; pip install 'jamflow-jax[tfds]'") from None
