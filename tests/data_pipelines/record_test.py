import numpy as np
import pytest

from data_pipelines.record import Record, decode_audio, decode_speech, encode_audio, encode_speech
from jamflow_jax.errors import InputError


def make(**changes) -> Record:
    rng = np.random.default_rng(0)
    fields = dict(
        id="a é", length=30, mel=rng.normal(size=(30, 100)).astype(np.float16),
        motion=rng.normal(size=(8, 3)).astype(np.float32), text="hé", speaker="s", extra={"words": [[0.0, 1.5, "hé"]]},
    )  # fmt: skip
    return Record(**(fields | changes))


def test_round_trip_and_equal_bytes():
    record = make()
    again = Record.from_bytes(record.to_bytes(), 3)
    assert (again.mel == record.mel).all() and (again.motion == record.motion).all()
    assert (again.id, again.text, again.speaker, again.extra) == ("a é", "hé", "s", record.extra)
    assert make().to_bytes() == record.to_bytes() == again.to_bytes()


def test_what_is_missing_stays_missing():
    again = Record.from_bytes(make(mel=None, text=None, speaker=None, extra={}).to_bytes(), 3)
    assert again.mel is None and again.text is None and again.speaker is None and again.motion is not None


@pytest.mark.parametrize("data", [b"", b"garbage", make().to_bytes()[:-900]])
def test_other_bytes_are_refused(data):
    with pytest.raises(InputError):
        Record.from_bytes(data, 3)


def test_lengths_must_agree():
    with pytest.raises(InputError, match="8 motion frames where 60 mel frames carry 16"):
        Record.from_bytes(make(length=60, mel=None).to_bytes(), 3)
    with pytest.raises(InputError, match="30 mel frames where its length says 28"):
        make(length=28).check()


def test_audio_column():
    audio = np.sin(np.arange(4000) / 20).astype(np.float32) * 1.2
    data = encode_audio(audio)
    assert data == encode_audio(audio) and data[:4] == b"fLaC"
    assert np.abs(decode_audio(data) - np.clip(audio, -1, 1)).max() < 1e-4
    assert encode_audio(None) == b"" and decode_audio(b"") is None


def test_speech_column():
    speech = np.arange(12, dtype=np.float16).reshape(4, 3)
    assert (decode_speech(encode_speech(speech), 3) == speech).all()
    assert decode_speech(encode_speech(None), 3) is None


def test_protobuf_reads_it_as_a_tensorflow_example():
    """Field numbers and types are TensorFlow's: the wire format begins with features (1) holding a map of features (1)."""
    data = make(mel=None).to_bytes()
    assert data[0] == 0x0A  # Example.features
    assert b"\x0a\x06length\x12\x05\x1a\x03\x0a\x01\x1e" in data  # key "length", value.int64_list (3) packed [30]
