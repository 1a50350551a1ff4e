"""Whole files are read, halves are told, in every container that says, or shows, where it ends."""
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from data_pipelines.prepare.audio_reader import read_audio
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.segment import energies
from data_pipelines.prepare.whole import check_tail

FORMATS = (("wav", "RF64", "PCM_16"), ("w64", "W64", "PCM_16"), ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"),
           ("opus", "OGG", "OPUS"))  # fmt: skip


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.2, 0.2, 72_000)


@pytest.mark.parametrize("ending, form, subtype", FORMATS)
def test_half_a_file(noise, tmp_path, ending, form, subtype):
    path = tmp_path / f"a.{ending}"
    soundfile.write(path, noise, 24_000, format=form, subtype=subtype)
    assert len(read_audio(path)[0]) == 72_000 and len(energies(path)) == 75
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 301])
    for read in (read_audio, energies):
        with pytest.raises(Rejected, match="ends at|is damaged|breaks off|no sound that can be read"):
            read(path)
    if form != "FLAC":
        assert len(read_audio(path, 0.0, 0.2)[0]) == 4_800  # what is there may be used


@pytest.mark.parametrize("at", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("size", [1, 16, 4_096])
def test_zeros_in_a_flac(noise, tmp_path, at, size):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise, 24_000)
    held = bytearray(path.read_bytes())
    first = int(at * len(held))
    held[first : first + size] = bytes(len(held[first : first + size]))
    path.write_bytes(held)
    with pytest.raises(Rejected, match="a.flac: its sound is damaged") as error:
        read_audio(path)
    assert error.value.reason == "damaged audio"


@pytest.mark.parametrize("ending, packet", [(".ts", b"G" + bytes(187)), (".mpg", b"\0\0\1\xe0\1\0" + bytes(256))])
def test_streams_that_break_off(tmp_path, ending, packet):
    head = b"\0\0\1\xba" + bytes(8) if ending == ".mpg" else b""
    path: Path = tmp_path / f"a{ending}"
    path.write_bytes(head + 300 * packet)
    check_tail(path)
    for missing in (1, 100, 187):
        path.write_bytes((head + 300 * packet)[:-missing])
        with pytest.raises(Rejected, match="it breaks off in the middle of a packet"):
            check_tail(path)


def test_a_stream_that_breaks_off_between_packets(noise, tmp_path):
    path = tmp_path / "a.mpg"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mp2", rate=48_000, layout="mono")
        for samples_N in np.round(32_767 * noise).astype(np.int16).reshape(-1, 1_152 // 2)[:124].reshape(-1, 1_152):
            frame = av.AudioFrame.from_ndarray(samples_N[None], format="s16", layout="mono")
            frame.rate = 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    whole = path.read_bytes()
    assert len(read_audio(path)[0]) > 30_000
    for packets in range(2, len(whole) // 2_048):
        path.write_bytes(whole[: 2_048 * packets])
        with pytest.raises(Rejected, match="it breaks off in the middle of a packet"):
            read_audio(path)
