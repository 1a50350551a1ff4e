"""The sound of a file block by block, 24 kHz mono: for what only passes it on, at any length."""
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.prepare.report import Rejected, check_opens
from jamflow_jax.timeline import SAMPLE_RATE


def stream_audio(path: str | Path) -> Iterator[Float32[np.ndarray, "N"]]:
    """Samples in [-1, 1]. Raises Rejected: no such file, no sound in it; while they are read: damaged."""
    import av

    path = Path(path)
    check_opens(path)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError):
        raise Rejected("not audio", f"{path}: not a sound or video file that can be read") from None
    if not container.streams.audio:
        container.close()
        raise Rejected("not audio", f"{path}: there is no sound in it")
    blocks = _blocks(container, path)
    first = next(blocks, None)
    if first is None:
        raise Rejected("not audio", f"{path}: its sound is empty")
    return itertools.chain([first], blocks)


def _blocks(container, path: Path) -> Iterator[np.ndarray]:
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    with container:
        try:
            for frame in _then_none(container):
                for part in resampler.resample(frame):
                    if len(samples := part.to_ndarray()[0]):
                        yield samples.astype(np.float32)
        except av.FFmpegError as error:
            raise Rejected("not audio", f"{path}: damaged sound ({error.strerror})") from None


def _then_none(container) -> Iterator:
    yield from container.decode(audio=0)
    yield None  # empties the resampler
