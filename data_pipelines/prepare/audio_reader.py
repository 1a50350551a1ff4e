"""A sound file as 24 kHz mono float samples; libsndfile first, PyAV (video, AAC) for what it does not know."""
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.prepare.report import Rejected
from jamflow_jax.timeline import SAMPLE_RATE

MIN_RATE, MAX_RATE = 4_000, 768_000  # Hz


def read_audio(
    path: Path, start: float = 0.0, end: float | None = None, limit: float | None = None
) -> tuple[Float32[np.ndarray, "N"], list[str]]:
    """Samples in [-1, 1] at 24 kHz, and notes on what was changed.

    Args:
      start, end: seconds in the file; only what lies between is decoded (PyAV: up to the end).
      limit: seconds; a longer part is decoded half a second beyond it, so that the caller sees it was longer.

    Raises:
      Rejected: no such file, no sound in it, no samples, samples that are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise Rejected("missing file", f"{path}: no such file")
    if path.stat().st_size == 0:
        raise Rejected("empty audio", f"{path}: the file is empty")
    if limit is not None:
        end = min(start + limit + 0.5, np.inf if end is None else end)
    samples_NC, rate = _decode(path, start, end)
    if not MIN_RATE <= rate <= MAX_RATE:
        raise Rejected("not audio", f"{path}: a sample rate of {rate} Hz")
    if not len(samples_NC):
        where = f" from {start} s on" if start else ""
        raise Rejected("empty audio", f"{path}: no samples{where}")
    if not np.isfinite(samples_NC).all():
        raise Rejected("NaN samples", f"{path}: {int((~np.isfinite(samples_NC)).sum())} samples are not finite numbers")
    notes = []
    if (channels := samples_NC.shape[1]) > 1:
        notes.append(f"stereo: {channels} channels mixed to one")
    audio_N = samples_NC.mean(axis=1, dtype=np.float32)
    if rate != SAMPLE_RATE:
        import soxr

        audio_N = soxr.resample(audio_N, rate, SAMPLE_RATE, quality="HQ").astype(np.float32)
        notes.append(f"resampled: {rate} Hz to {SAMPLE_RATE} Hz")
    return audio_N, notes


def _decode(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """Samples [N, channels] float32 and their rate."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            first = min(round(start * file.samplerate), file.frames)
            last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
            file.seek(first)
            return file.read(max(0, last - first), dtype="float32", always_2d=True), file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        reason = getattr(error, "error_string", str(error))
    try:
        return _decode_av(path, start, end)
    except Exception:  # PyAV has many
        raise Rejected("not audio", f"{path}: no sound that can be read ({str(reason).rstrip('.')})") from None


def _decode_av(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        parts, have = [], 0
        for frame in container.decode(stream):
            for piece in resampler.resample(frame):
                parts.append(piece.to_ndarray().T)
                have += len(parts[-1])
            if end is not None and have >= end * rate:
                break
    samples = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
    last = len(samples) if end is None else round(end * rate)
    return samples[round(start * rate) : last].astype(np.float32), rate
