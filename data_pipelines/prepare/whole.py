"""Whether the sound of a file goes on to where its header says: half a copy of a recording is no recording.

Headers that are written before the length is known (pipes, live streams) hold 0 or a number next to 2^31 or 2^32: they say nothing.
So do formats whose length FFmpeg estimates from the bit rate. Ogg and MPEG streams state no length; there a file is whole that ends
where a page or packet ends, and whose last MPEG layer 2 or AC-3 frame is no smaller than the others. A copy that was cut exactly
there is taken for a shorter recording.
"""
import os
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.prepare.report import Rejected

EARLY_END = 0.5  # seconds of its stated length that a recording may lack
UNKNOWN = 2**63 - 1  # samples that libsndfile says where the header says 0
STREAMED = 0x7FFF_F000  # bytes from which on a length is a placeholder
STATING = ("mov", "matroska", "flac")  # FFmpeg's names of containers that state how long a stream is
CONSTANT = ("mp2", "ac3")  # codecs whose frames are of one size, give or take padding
TAIL = 1 << 17  # bytes of a file in which a page or packet begins
_PACKET = re.compile(rb"\x00\x00\x01[\xbd-\xef](..)", re.DOTALL)
_DATA = re.compile(r"(?:data|SSND|Data Size) *: (\d+) \(should be (\d+)\)")  # libsndfile's log, of .wav, .aiff and .au
_LONG = re.compile(r"(?:Riff size|^riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)  # of RF64 and W64, whose sizes have 64 bits


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
    long = file.format in ("RF64", "W64")
    if found := (_LONG if long else _DATA).search(file.extra_info):
        stated, there = map(int, found.groups())
        if there and stated < (1 << 62 if long else STREAMED):
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


def tagged_seconds(text: str) -> float | None:
    """Seconds of Matroska's "00:01:02.500000000"."""
    try:
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def decoded(path: Path, container, stream) -> Iterator:
    """The frames of an opened PyAV sound stream. Raises Rejected after the last one, when it, or what holds it, is cut off."""
    sizes: list[int] = []
    for packet in container.demux(stream):
        if packet.size:
            sizes.append(packet.size)
        yield from packet.decode()
    constant = container.format.name in ("mpeg", "mpegts") and stream.codec_context.name in CONSTANT
    if constant and sizes and sizes[-1] < min(sizes[:-1], default=0):
        raise Rejected("truncated audio", f"{path}: it breaks off in the middle of a packet")
    check_tail(path)


def check_tail(path: Path, reason: str = "truncated audio") -> None:
    """Raises Rejected when an Ogg or MPEG stream breaks off inside a page or packet."""
    with open(path, "rb") as file:
        head = file.read(5)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        tail = file.read()
    if head.startswith(b"OggS"):
        whole = _ends_with_a_page(tail)
    elif head.startswith(b"\0\0\1\xba"):
        whole = _ends_with_a_packet(tail)
    elif head.startswith(b"G") and path.suffix.lower() in (".ts", ".mts"):
        whole = size % 188 == 0 or size % 192 == 0 or size % 204 == 0
    else:
        return
    if not whole:
        raise Rejected(reason, f"{path}: it breaks off in the middle of a packet")


def _ends_with_a_page(tail: bytes) -> bool:
    """27 bytes of head, the last of them a count of segments; their sizes; the segments (RFC 3533)."""
    at = tail.rfind(b"OggS")
    return at >= 0 and len(tail) >= at + 27 and len(tail) >= at + 27 + tail[at + 26] + sum(tail[at + 27 : at + 27 + tail[at + 26]])


def _ends_with_a_packet(tail: bytes) -> bool:
    """Of a program stream: 00 00 01, kind BD to EF, a size in 16 bits, so many bytes. In sound there may be more such by chance."""
    ends = [found.start() + 6 + int.from_bytes(found[1]) for found in _PACKET.finditer(tail)]
    return not ends or max(ends) <= len(tail) or len(tail) in ends
