import dataclasses
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import processes
from data_pipelines.dataset import Corpus
from data_pipelines.index import MOTION, Index
from data_pipelines.loader import Loader, open_loader, parse_paths
from data_pipelines.plan import Plan
from data_pipelines.prepare.build import build
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion import space
from jamflow_jax.timeline import motion_frames

LIPS = space.get("lips")
BUCKETS = (60, 120, 150)


def make(path, **changes) -> Loader:
    corpus = Corpus([path])
    arguments = dict(buckets=BUCKETS, batch_frames=600, seed=3, multiple=4) | changes
    keywords = {name: arguments.pop(name) for name in ("parts", "of", "workers") if name in arguments}
    return Loader(corpus, Plan(corpus.index, **arguments), **keywords)


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def test_shapes_dtypes_and_contents(mixed_set):
    loader = make(mixed_set)
    statistics = loader.corpus.statistics
    kinds = set()
    for step in range(12):
        batch = loader.batch(step)
        B, T = batch["mel"].shape[:2]
        M = motion_frames(T)
        assert batch["mel"].shape == (B, T, 100) and batch["mel"].dtype == np.float16
        assert batch["mouth"].shape == (B, M, 2) and batch["rest"].shape == (B, M, 0)
        assert batch["text"].shape == (B, T) and batch["text"].dtype == np.int32
        assert batch["length"].dtype == batch["example_id"].dtype == np.int32 and batch["weight"].dtype == np.float32
        assert (batch["has_audio"].all() or not batch["has_audio"].any()) and not batch["has_rest"].any()
        for b in range(B):
            i, n = batch["example_id"][b], batch["length"][b]
            record = loader.corpus.record(int(i))
            assert n == record.length and (batch["mel"][b, n:] == 0).all() and (batch["mouth"][b, motion_frames(n) :] == 0).all()
            ids = loader.corpus.tokenizer.encode(record.text)
            assert (batch["text"][b, : len(ids)] == ids).all() and (batch["text"][b, len(ids) :] == -1).all()
            if batch["has_motion"][b]:
                mouth = statistics.normalise(record.motion)
                assert np.array_equal(batch["mouth"][b, : len(mouth)], mouth)
            kinds.add((bool(batch["has_audio"][b]), bool(batch["has_motion"][b])))
    assert kinds == {(True, True), (True, False), (False, True)}


@pytest.mark.parametrize("count", [2, 4, 8])
def test_processes_together_read_the_same_global_batches(mixed_set, count):
    sizes = dict(batch_frames=1200, multiple=8)
    whole = make(mixed_set, **sizes)
    parts = [make(mixed_set, parts=(part,), of=count, **sizes) for part in range(count)]
    for step in (0, 1, 5, 300):
        pieces = [part.batch(step) for part in parts]
        joined = {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}
        assert equal(joined, whole.batch(step))


def test_parts_that_are_no_neighbours(mixed_set):
    """Of training and of evaluation."""
    sizes = dict(batch_frames=1200, multiple=8)
    whole, some = make(mixed_set, **sizes), make(mixed_set, parts=(1, 2, 7), of=8, **sizes)
    for all_of_it, batch in (
        (whole.batch(3), some.batch(3)), *zip(whole.fixed_batches("validation"), some.fixed_batches("validation"), strict=True)):
        rows = [row for row in range(len(all_of_it["length"])) if row * 8 // len(all_of_it["length"]) in (1, 2, 7)]
        assert equal(batch, {name: value[rows] for name, value in all_of_it.items()})


@pytest.mark.parametrize("count", [2, 4])
def test_each_process_opens_its_own_records_and_no_others(mixed_set, count):
    """Of training and of evaluation; together they open what one process would, and each as many as the others."""
    opened, given = [], []
    for part in range(count):
        loader, mine = make(mixed_set, parts=(part,), of=count, batch_frames=1200, multiple=4), []
        record = loader.corpus.record
        loader.corpus.record = lambda i, *more, record=record, mine=mine: (mine.append(i), record(i, *more))[1]
        batches = [*loader.iterate(0, 6), *loader.fixed_batches("validation")]
        assert sorted(mine) == sorted(i for batch in batches for i in batch["example_id"].tolist())
        opened.append(mine), given.append(batches)
    plan = loader.plan
    whole = [plan.batch(step)[1] for step in range(6)] + [ids for _, ids, _ in plan.of_split("validation").fixed(None)]
    assert sorted(sum(opened, [])) == sorted(np.concatenate(whole).tolist())
    assert {len(mine) for mine in opened} == {sum(map(len, whole)) // count}


def test_iteration_equals_single_steps_and_restarts_anywhere(mixed_set):
    loader = make(mixed_set)
    run = list(loader.iterate(0, 9))
    assert len(run) == 9 and all(equal(batch, loader.batch(step)) for step, batch in enumerate(run))
    again = list(make(mixed_set).iterate(5, 9))
    assert all(equal(a, b) for a, b in zip(run[5:], again, strict=True))
    endless = make(mixed_set).iterate(7)
    assert equal(next(endless), run[7])


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_worker_processes_change_nothing(mixed_set, workers):
    """Nor does a restart with another number of them."""
    loader, plain = make(mixed_set, workers=workers), make(mixed_set)
    assert all(equal(batch, plain.batch(step + workers)) for step, batch in enumerate(loader.iterate(workers, 8)))


@pytest.mark.slow
@pytest.mark.timeout(7_200)  # up to twelve processes, each compiles four programs
@pytest.mark.parametrize("options", [
    [], ["--processes", "4", "--restart"], ["--mesh", "data=1,fsdp=1,tensor=2"], ["--mesh", "data=1,fsdp=1,sequence=2"]])
def test_one_process_and_several_have_the_same_losses(tmp_path, options):
    """On batches of both streams and of one alone: two bit for bit, four but for rounding, and after going on in two; where two
    share the work of every example, and its frames."""
    assert processes.main(["--out", str(tmp_path), *options]) == 0


def test_parts_must_divide_the_batch(mixed_set):
    with pytest.raises(ConfigError, match="does not divide into 3 parts"):
        make(mixed_set, of=3)


def test_damaged_record_keeps_its_slot(mixed_set, tmp_path, capsys):
    shutil.copytree(mixed_set, tmp_path / "set")
    file = tmp_path / "set" / "shards" / "data-00001.array_record"
    data = bytearray(file.read_bytes())
    data[100_000] ^= 0xFF
    file.write_bytes(data)
    good, bad = make(mixed_set), make(tmp_path / "set")
    weightless = set()
    for step in range(12):
        a, b = good.batch(step), bad.batch(step)
        lost = b["weight"] == 0
        weightless |= set(b["example_id"][lost].tolist())
        assert (a["example_id"] == b["example_id"]).all() and (b["mel"][lost] == 0).all() and not b["has_text"][lost].any()
        assert all(np.array_equal(a[key][~lost], b[key][~lost]) for key in a)
        assert all((a[key] == b[key]).all() for key in ("has_audio", "has_motion", "length"))  # so that hosts agree on streams
    assert weightless == set(bad.damaged) and len(weightless) == 1
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and said.endswith("its slot gets weight 0\n") and said.count("\n") == 1
    assert "data-00001.array_record row" in said
    assert not good.damaged


def test_missing_shard_is_damage_too(mixed_set, tmp_path):
    shutil.copytree(mixed_set, tmp_path / "set")
    (tmp_path / "set" / "shards" / "data-00000.array_record").unlink()
    loader = make(tmp_path / "set")
    assert sum((batch["weight"] == 0).sum() for batch in loader.iterate(0, 6)) > 0
    assert "is missing" in next(iter(loader.damaged.values()))


def test_a_data_set_without_one_whole_clip_is_an_error(mixed_set, tmp_path):
    shutil.copytree(mixed_set, tmp_path / "set")
    for file in (tmp_path / "set" / "shards").glob("data-*"):
        file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(InputError, match="every clip of the train split is damaged"):
        for _ in make(tmp_path / "set").iterate(0, 200):
            pass


def test_damage_that_does_not_end_stops_a_large_run_early(mixed_set, tmp_path, monkeypatch):
    shutil.copytree(mixed_set, tmp_path / "set")
    for file in (tmp_path / "set" / "shards").glob("data-*"):
        file.unlink()
    monkeypatch.setattr("data_pipelines.loader.HOPELESS", 9)
    with pytest.raises(InputError, match=r"each of the last (9|1\d) clips of the train split is damaged; the first: .*is missing"):
        next(batch for batch in make(tmp_path / "set").iterate() if batch["weight"].any())


def test_a_record_must_have_what_the_index_says(mixed_set, tmp_path):
    """Hosts decide by the index which streams a batch has."""
    shutil.copytree(mixed_set, tmp_path / "set")
    index = Index.load(tmp_path / "set")
    index = dataclasses.replace(index, flags=index.flags | MOTION)
    index.save(tmp_path / "set" / "index.npz")
    corpus = Corpus([tmp_path / "set"])
    assert corpus.record(1).motion is not None
    with pytest.raises(InputError, match="row 2 .clip02.: damaged: the index and the record do not agree .* there is motion"):
        corpus.record(2)


def test_few_shards_are_open_at_once(mixed_set, monkeypatch):
    monkeypatch.setattr("data_pipelines.dataset.READERS", 1)
    loader, whole = make(mixed_set), make(mixed_set)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    assert all(equal(pickle.loads(pickle.dumps(loader)).batch(step), whole.batch(step)) for step in range(3))
    assert {int(shard) for shard in loader.corpus.index.shard} == {0, 1, 2}
    loader.batch(0), loader.batch(1)
    assert loader.corpus.sets[0]._reader.cache_info().currsize == 1
    assert before is None or len(list(Path("/proc/self/fd").iterdir())) <= before + 2  # one of each loader


def test_crops_start_on_the_grid_and_lose_their_text(mixed_set):
    loader = make(mixed_set, buckets=(45,), crop=True)
    starts = set()
    for step in range(8):
        batch = loader.batch(step)
        for b in range(len(batch["length"])):
            record = loader.corpus.record(int(batch["example_id"][b]))
            cropped = record.length > 45
            assert batch["has_text"][b] == (not cropped) and batch["length"][b] == min(45, record.length)
            if not cropped or record.mel is None:
                continue
            found = [s for s in range(record.length - 44) if np.array_equal(batch["mel"][b], record.mel[s : s + 45])]
            starts.update(found)
            assert found and all(s % 15 == 0 for s in found[:1])
            if record.motion is not None:
                mouth = loader.corpus.statistics.normalise(record.motion)
                assert any(np.array_equal(batch["mouth"][b], mouth[s * 4 // 15 :][:12]) for s in found)
    assert len(starts) > 2


def test_the_fingerprint_knows_the_vocabulary(mixed_set):
    loader, other = make(mixed_set), make(mixed_set)
    assert loader.fingerprint() == other.fingerprint()
    vocab = other.corpus.tokenizer.vocab
    other.corpus.tokenizer = dataclasses.replace(other.corpus.tokenizer, vocab=(" ", *reversed(vocab[1:])))
    assert loader.fingerprint() != other.fingerprint() and loader.plan.fingerprint() == other.plan.fingerprint()


def test_held_out_clips_that_fit_no_bucket_are_refused_before_the_first_batch(mixed_set):
    loader = make(mixed_set)
    loader.plan._arguments["buckets"] = (15,)
    with pytest.raises(InputError, match="validation split are longer"):
        loader.fixed_batches("validation")


def test_fixed_batches(mixed_set):
    batches = list(make(mixed_set).fixed_batches("validation"))
    seen = [i for batch in batches for i, w in zip(batch["example_id"], batch["weight"]) if w]
    assert sorted(seen) == [20, 21, 22, 23]
    assert all(len(batch["weight"]) % 4 == 0 for batch in batches)
    assert len(list(make(mixed_set).fixed_batches("validation", 1))) == 1
    assert list(make(mixed_set).fixed_batches("test")) == []


def test_audio_column(mixed_set, clip):
    corpus = Corpus([mixed_set])
    audio = corpus.audio(0)
    assert np.abs(audio - clip(0, 0.5).audio[: len(audio)]).max() < 1e-4 and len(audio) // 256 + 1 == corpus.index.length[0]
    assert corpus.audio(3) is None


def test_mixture(tmp_path, mixed_set, clip):
    other = tmp_path / "other"
    build((clip(i, 0.6, id=f"other{i}", text="zürich", motion=i > 1) for i in range(6)), other, LIPS)

    class Data:
        path = f"{mixed_set},{other}=2"
        buckets, align, batch_frames, max_batch, crop, workers, prefetch = BUCKETS, 15, 600, 64, False, 0, 2

    loader = open_loader(Data, seed=0)
    assert len(loader.corpus) == 30 and loader.corpus.index.id(24) == "other0"
    assert "ü" in loader.corpus.tokenizer.vocab and loader.corpus.tokenizer.vocab[0] == " "
    frames = [c.record(i).motion for c in (loader.corpus,) for i in range(30) if c.index.flags[i] & 2 and c.index.split[i] == 0]
    assert np.allclose(loader.corpus.statistics.mean, np.concatenate(frames).mean(0), atol=1e-6)
    assert np.allclose(loader.corpus.statistics.std, np.concatenate(frames).std(0), atol=1e-6)
    seen = np.concatenate([loader.batch(step)["example_id"] for step in range(loader.plan.epoch_start(2))])
    assert np.bincount(seen)[24:].min() >= 4


def test_another_space_is_converted_or_refused(tmp_path, clip):
    shapes = space.get("blendshapes", names=["jawOpen", "mouthPucker", "browUp"])
    weights = np.random.default_rng(0).uniform(size=(25, 3)).astype(np.float32)
    build([*(dataclasses.replace(clip(i), motion=weights) for i in range(2))], tmp_path / "shapes", shapes)
    corpus = Corpus([tmp_path / "shapes"], LIPS)
    assert np.allclose(corpus.record(0).motion[:25, 0], weights[:, 0]) and corpus.statistics.mean.shape == (2,)
    with pytest.raises(InputError, match="no converter from motion space blendshapes to liveportrait"):
        Corpus([tmp_path / "shapes"], space.get("liveportrait"))


def test_speech_features(tmp_path, clip):
    build([clip(0, speech=np.ones((25, 7))), clip(1)], tmp_path / "set", LIPS)
    loader = Loader(corpus := Corpus([tmp_path / "set"]), Plan(corpus.index, (120,), 240), speech=True)
    batch = loader.batch(0)
    assert batch["speech"].shape == (2, 32, 7)
    assert {int(i): float(s.sum()) for i, s in zip(batch["example_id"], batch["speech"])} == {0: 7.0 * 26, 1: 0.0}
    assert dict(zip(batch["example_id"].tolist(), batch["has_speech"].tolist())) == {0: True, 1: False}


def test_no_data_set_and_other_formats(tmp_path, mixed_set):
    with pytest.raises(InputError, match="no data set"):
        Corpus([tmp_path])
    shutil.copytree(mixed_set, tmp_path / "set")
    meta = (tmp_path / "set" / "dataset.json").read_text()
    (tmp_path / "set" / "dataset.json").write_text(meta.replace('"format": 1', '"format": 9'))
    with pytest.raises(InputError, match="data format 9, this version reads 1"):
        Corpus([tmp_path / "set"])


def test_paths():
    assert [str(p) for p in parse_paths("a=b, c=0.5,d")[0]] == ["a=b", "c", "d"]
    assert parse_paths("a=b, c=0.5,d")[1] == (1.0, 0.5, 1.0)
    with pytest.raises(ConfigError, match="data.path is empty"):
        parse_paths("")
