"""Long recordings cut on pauses: one pass over the sound, in blocks, so that ten hours need no more memory than ten seconds.

Cuts lie between motion frames (0.04 s), each where the sound is quietest (mean of 0.28 s) between `SHORTEST`
of the longest length and the longest length after the cut before it: a pause where there is one. With word times, a cut inside a
word is avoided and each part keeps its words as text; without them the text of a recording that is cut cannot be kept.

What has no sound (videos of pictures alone, motion files) is cut into equal parts, on the grid of crops.
"""
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines.prepare.manifest import Entry
from data_pipelines.prepare.motion_reader import load
from data_pipelines.prepare.report import Rejected, check_opens
from data_pipelines.prepare.video_reader import ENDINGS, probe
from data_pipelines.prepare.whole import check_end, check_header, check_tail, decoded, stated_seconds
from data_pipelines.remote import fetched
from jamflow_jax.motion.resample import frame_rate
from jamflow_jax.timeline import CROP_MOTION, MOTION_FPS

SHORTEST = 0.4  # of the longest length
PAUSE = 7  # motion frames that a cut wants quiet
SILENT = ("", "sil", "sp", "spn", "<sil>", "<eps>")  # labels that are no words


def segments(entry: Entry, longest: float) -> list[Entry]:
    """The entry itself when it is short, else its parts, named id-0000, id-0001, ...

    Raises:
      Rejected: its sound, or what has none, cannot be read.
    """
    with fetched(entry.audio or entry.video or entry.motion) as file:
        if entry.audio or entry.video and probe(file).has_sound:
            edges = _on_pauses(entry, file, longest)
        else:
            edges = _equal(entry, file, longest)
    if len(edges) == 2:
        return [entry]
    parts = []
    for number, (first, last) in enumerate(zip(edges, edges[1:])):
        start, end = first / MOTION_FPS, min(last / MOTION_FPS, math.inf if entry.end is None else entry.end - entry.start)
        said = {name: _within(getattr(entry, name), start, end) for name in ("words", "phonemes") if getattr(entry, name)}
        text = " ".join(label for *_, label in said["words"] if label not in SILENT) if "words" in said else None
        parts.append(dataclasses.replace(
            entry, id=f"{entry.id}-{number:04d}", recording=entry.id, start=round(entry.start + start, 6),
            end=round(entry.start + end, 6), text=text, words=said.get("words"), phonemes=said.get("phonemes"),
        ))  # fmt: skip
    return parts


def _on_pauses(entry: Entry, file: Path, longest: float) -> list[int]:
    energy_M = energies(file, entry.start, entry.end)
    if len(energy_M) / MOTION_FPS <= longest:
        return [0, len(energy_M)]
    louder = np.ptp(energy_M) + 1
    for start, end, label in entry.words or ():  # no cut inside a word: it counts as louder than all
        if label not in SILENT:
            energy_M[int(start * MOTION_FPS) + 1 : int(np.ceil(end * MOTION_FPS))] += louder
    return cuts(energy_M, round(longest * MOTION_FPS))


def _equal(entry: Entry, file: Path, longest: float) -> list[int]:
    """Of a video that does not state how long it is, one part: whether that is too long is seen when it is read."""
    seconds = probe(file).end if entry.video and not entry.motion else _seconds(entry, file)
    seconds = min(float(seconds or 0), math.inf if entry.end is None else entry.end) - entry.start
    if seconds <= longest:
        return [0, 1]
    steps = math.ceil(round(seconds * MOTION_FPS / CROP_MOTION, 6))
    parts = math.ceil(steps / max(1, int(longest * MOTION_FPS / CROP_MOTION)))
    return [CROP_MOTION * (steps * number // parts) for number in range(parts + 1)]


def _seconds(entry: Entry, file: Path) -> float:
    """How long a motion file is."""
    raw = load(file, entry.motion_key)
    if raw.times is not None and entry.fps is None:
        return float((raw.times[-1] - (0 if raw.from_zero else raw.times[0])) * raw.time_base) + 1 / MOTION_FPS
    return len(raw.values) / float(frame_rate(entry.fps or raw.fps or MOTION_FPS))


def cuts(energy_M: Float[np.ndarray, "M"], longest: int) -> list[int]:
    """Frame numbers 0 = e_0 < e_1 < ... = M, no two further apart than `longest`."""
    padded = np.pad(np.asarray(energy_M, np.float64), PAUSE // 2, mode="edge")
    quiet_M = np.convolve(padded, np.ones(PAUSE) / PAUSE, "valid")
    edges = [0]
    while len(energy_M) - edges[-1] > longest:
        low = edges[-1] + max(1, int(SHORTEST * longest))
        high = min(edges[-1] + longest, len(energy_M) - 1)
        edges.append(low + int(np.argmin(quiet_M[low : high + 1])))
    return [*edges, len(energy_M)]


def energies(path: Path, start: float = 0.0, end: float | None = None) -> Float[np.ndarray, "M"]:
    """log mean square of the sound of every motion frame, read block by block."""
    parts, rest, rate = [], np.zeros(0, np.float32), None
    done = 0
    for samples_N, rate in _blocks(Path(path), start, end):
        rest = np.concatenate([rest, samples_N])
        whole = int(len(rest) * MOTION_FPS / rate)
        edges = np.round((np.arange(whole + 1) + done) * rate / MOTION_FPS).astype(int) - round(done * rate / MOTION_FPS)
        if whole:
            power = np.add.reduceat(np.square(rest[: edges[-1]], dtype=np.float64), edges[:-1]) / np.diff(edges)
            parts.append(np.log(power + 1e-9).astype(np.float32))
            rest, done = rest[edges[-1] :], done + whole
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _blocks(path: Path, start: float, end: float | None) -> Iterator[tuple[np.ndarray, int]]:
    """Mono float blocks of about a second, and their rate."""
    import soundfile

    check_opens(path)
    begun = False
    if path.suffix.lower() not in ENDINGS:
        try:
            with soundfile.SoundFile(path) as file:
                check_header(path, file, end)
                file.seek(min(round(start * file.samplerate), file.frames))
                left = file.frames - file.tell() if end is None else round((end - start) * file.samplerate)
                while left > 0 and len(block := file.read(min(left, file.samplerate), dtype="float32", always_2d=True)):
                    left, begun = left - len(block), True
                    yield block.mean(1), file.samplerate
                check_end(path, file.tell() / file.samplerate, file.frames / file.samplerate, end)
                if file.tell() == file.frames:
                    check_tail(path)
                return
        except (soundfile.SoundFileError, RuntimeError) as error:
            if begun:
                raise Rejected("not audio", f"{path}: its sound breaks off ({error})") from None
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            rate, position = stream.rate, None
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate)
            origin = (stream.start_time or 0) * stream.time_base
            if start > 1:
                container.seek(int((start - 1 + origin) / stream.time_base), stream=stream)
            for frame in decoded(path, container, stream):
                if position is None:
                    position = round(((frame.time or 0.0) - float(origin)) * rate)
                for piece in resampler.resample(frame):
                    samples_N = piece.to_ndarray()[0]
                    skip = max(0, round(start * rate) - position)
                    position += len(samples_N)
                    if skip < len(samples_N):
                        yield samples_N[skip:], rate
                if end is not None and position >= end * rate:
                    return
            if position is not None:
                check_end(path, position / rate, stated_seconds(container, stream), end)
    except Rejected:
        raise
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise Rejected("not audio", f"{path}: no sound that can be read ({getattr(error, 'strerror', None) or error})") from None


def _within(spans: list, start: float, end: float) -> list:
    kept = [[max(a, start) - start, min(b, end) - start, label] for a, b, label in spans if start <= (a + b) / 2 < end]
    return [[round(a, 6), round(b, 6), label] for a, b, label in kept]
