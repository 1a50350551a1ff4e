"""The sound of a file block by block, 24 kHz mono: for what only passes it on, at any length."""
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.prepare.report import Rejected, check_opens
from jamflow_jax.timeline import SAMPLE_RATE


def stream_audio(path: str | Path, seconds: float | None = None) -> Iterator[Float32[np.ndarray, "N"]]:
    """Samples in [-1, 1], up to `seconds`. Raises Rejected, before the first block: no such file, no sound in it."""
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
    return _blocks(container, path, None if seconds is None else round(seconds * SAMPLE_RATE))


def _blocks(container, path: Path, left: int | None) -> Iterator[np.ndarray]:
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    with container:
        try:
            for frame in _then_none(container):
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()[0]
                    if left is not None:
                        samples = samples[:left]
                        left -= len(samples)
                    if len(samples):
                        yield samples.astype(np.float32)
                    if left == 0:
                        return
        except av.FFmpegError as error:
            raise Rejected("not audio", f"{path}: damaged sound ({error.strerror})") from None


def _then_none(container) -> Iterator:
    yield from container.decode(audio=0)
    yield None  # empties the resampler
