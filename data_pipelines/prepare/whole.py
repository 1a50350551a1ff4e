"""Whether the sound of a file goes on to where its header says: half a copy of a recording is no recording.

Headers that are written before the length is known (pipes, live streams) hold 0 or a number next to 2^31 or 2^32: they say nothing.
So do formats whose length FFmpeg estimates from the bit rate.
"""
import re
from pathlib import Path

from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.video_reader import EARLY_END, tagged_seconds

UNKNOWN = 2**63 - 1  # samples that libsndfile says where the header says 0
STREAMED = 0x7FFF_F000  # bytes from which on a length is a placeholder
STATING = ("mov", "matroska", "flac")  # FFmpeg's names of containers that state how long a stream is
_DATA = re.compile(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)")  # libsndfile's log, of .wav, .aiff and .au


def check_end(path: Path, seconds: float, stated: float | None, end: float | None = None, slack: float = EARLY_END) -> None:
    """Raises Rejected when the sound ends at `seconds`, before the `stated` end and before the `end` that is wanted of it."""
    if stated is not None and seconds < min(stated, stated if end is None else end) - slack:
        raise Rejected("truncated audio", f"{path}: its sound ends at {seconds:.2f} s of the {stated:.2f} s it states")


def check_header(path: Path, file, end: float | None = None) -> None:
    """The same for an opened soundfile.SoundFile; libsndfile takes a shorter file for what it is, and says so only in its log.

    Raises SoundFileError, for another reader to try, of a streamed FLAC, which libsndfile cannot read to an unknown end.
    """
    import soundfile

    if file.frames == UNKNOWN:
        raise soundfile.SoundFileError("no length in its header")
    if found := _DATA.search(file.extra_info):
        stated, there = map(int, found.groups())
        if there and stated < STREAMED:
            seconds = file.frames / file.samplerate
            check_end(path, seconds, seconds * stated / there, end, slack=0.02)


def stated_seconds(container, stream) -> float | None:
    """How long an opened PyAV stream is, where its container says so."""
    if container.format.name == "avi":  # its header counts units of the time base; FFmpeg's duration is what is there
        return float(stream.frames * stream.time_base) or None
    if container.format.name.split(",")[0] not in STATING:
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    last = tagged_seconds(stream.metadata.get("DURATION", ""))  # Matroska's counts from 0, not from the first sample
    return None if last is None else last - float((stream.start_time or 0) * stream.time_base)
