"""A sound file as 24 kHz mono float samples; libsndfile first, PyAV (video, AAC) for what it does not know."""
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.prepare.report import Rejected, check_opens
from data_pipelines.prepare.video_reader import ENDINGS
from data_pipelines.prepare.whole import check_end, check_header, check_tail, decoded, stated_seconds
from jamflow_jax.timeline import SAMPLE_RATE

MIN_RATE, MAX_RATE = 4_000, 768_000  # Hz
SEEK_BEFORE = 1  # s; decoders need a run-up
LOUDEST = 1_000.0  # what is beyond 1 is clipped, what is beyond this no sound
HOLE = 0.02  # s between samples that are where they belong and a hole


def read_audio(
    path: Path, start: float = 0.0, end: float | None = None, limit: float | None = None
) -> tuple[Float32[np.ndarray, "N"], list[str]]:
    """Samples in [-1, 1] at 24 kHz, and notes on what was changed.

    Args:
      start, end: seconds in the file; only what lies between is decoded.
      limit: seconds; a longer part is decoded half a second beyond it, so that the caller sees it was longer.

    Raises:
      Rejected: no such file, or one that may not be read, no sound in it, no samples, samples that are not finite, a FLAC frame
        that is damaged, sound that ends before its header says or in the middle of a packet.
    """
    path = Path(path)
    check_opens(path)
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
    if (peak := float(np.abs(samples_NC).max())) > LOUDEST:
        raise Rejected("not audio", f"{path}: samples up to {peak:.3g}, where sound lies between -1 and 1")
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

    reason, checked = "no sound in this video", False
    try:
        if path.suffix.lower() in ENDINGS:  # libsndfile finds MPEG audio where there is none
            raise soundfile.SoundFileError(reason)
        with soundfile.SoundFile(path) as file:
            first = min(round(start * file.samplerate), file.frames)
            last = file.frames if end is None else min(round(end * file.samplerate), file.frames)
            check_header(path, file, end)
            checked = file.format == "FLAC"  # every frame of it, by a CRC that FFmpeg does not look at
            file.seek(first)
            samples_NC = file.read(max(0, last - first), dtype="float32", always_2d=True)
            check_end(path, (first + len(samples_NC)) / file.samplerate, last / file.samplerate)
            if last == file.frames:
                check_tail(path)
            return samples_NC, file.samplerate
    except Rejected:
        raise
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        reason = getattr(error, "error_string", str(error))
        if checked:
            raise Rejected("damaged audio", f"{path}: its sound is damaged ({reason.rstrip('.')})") from None
    try:
        return _decode_av(path, start, end)
    except Rejected:
        raise
    except Exception as error:  # PyAV has many
        if path.suffix.lower() in ENDINGS:
            reason = getattr(error, "strerror", None) or reason
        raise Rejected("not audio", f"{path}: no sound that can be read ({str(reason).rstrip('.')})") from None


def _decode_av(path: Path, start: float, end: float | None) -> tuple[np.ndarray, int]:
    """Every sample at its presentation time, 0 s being the first; holes (lost packets, variable frame rate captures) are silent."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate, base, stated = stream.rate, Fraction(stream.time_base), stated_seconds(container, stream)
        origin = (stream.start_time or 0) * base
        if start > SEEK_BEFORE:
            container.seek(int((Fraction(start) - SEEK_BEFORE + origin) / base), stream=stream)
        resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=rate)
        first, last = round(start * rate), None if end is None else round(end * rate)
        parts, position = [], None
        for frame in decoded(path, container, stream):
            if frame.pts is not None:
                at = round((frame.pts * Fraction(frame.time_base) - origin) * rate)
                if position is None or abs(at - position) > HOLE * rate:
                    position = at
            position = position or 0
            for piece in resampler.resample(frame):
                samples_NC = piece.to_ndarray().T
                if position + len(samples_NC) > first:
                    parts.append((position - first, samples_NC))
                position += len(samples_NC)
            if last is not None and position >= last:
                break
    if not parts:
        return np.zeros((0, 1), np.float32), rate
    check_end(path, position / rate, stated, end)
    length = max(place + len(samples_NC) for place, samples_NC in parts)
    out_NC = np.zeros((length if last is None else min(length, last - first), parts[0][1].shape[1]), np.float32)
    for place, samples_NC in parts:
        samples_NC = samples_NC[max(0, -place) : max(0, len(out_NC) - place)]
        out_NC[max(0, place) :][: len(samples_NC)] = samples_NC
    return out_NC, rate
