"""Requests as people write them: lengths, spans, tasks, references on the grid; and what is refused, in which words."""
import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.text.duration import f5_duration
from jamflow_jax.timeline import motion_frames
from launch.ask import Ask, read, spans


def test_spans():
    assert spans("0:1.2,3:4", "x") == [(0, Fraction(6, 5)), (3, 4)]
    assert spans(":1", "x") == [(0, 1)] and spans("2:", "x")[0][0] == 2
    assert spans(None, "x") == []
    for bad in ("1", "2:1", "a:b", "-1:2", ""):
        with pytest.raises(ConfigError, match="span"):
            spans(bad, "--edit")


def test_audio_to_motion_takes_the_length_of_the_sound(model, files):
    q = read(Ask(audio=str(files / "speech.wav")), model)
    assert q.length == 38_400 // 256 + 1 and q.prefix == 0
    assert (q.request.want_audio, q.request.want_motion) == (False, True)
    assert q.mel_given_T.all() and not q.motion_given_M.any() and q.request.rest is None


def test_text_alone_makes_both_at_a_speaking_rate(model):
    q = read(Ask(text="hello there, world."), model)
    assert q.request.want_audio and q.request.want_motion and q.request.mel is None
    assert q.length == pytest.approx(19 / 15 * 93.75, abs=1)
    faster = read(Ask(text="hello there, world.", speed=2.0), model)
    assert faster.length == pytest.approx(q.length / 2, abs=1)


def test_a_reference_is_a_prefix_on_the_grid(model, files):
    ask = Ask(text="and more of it.", ref_audio=str(files / "voice.wav"), ref_text="some words.", want="speech")
    q = read(ask, model)
    assert q.prefix == 7 * 15 and q.request.length == q.prefix + q.length  # 1.0 s becomes 7 x 0.16 s
    assert q.request.mel_known[: q.prefix].all() and not q.request.mel_known[q.prefix :].any()
    assert len(q.request.text_ids) == len("some words.  and more of it.")
    assert motion_frames(q.request.length) - 28 == motion_frames(q.length)  # cut exactly, in both streams


def test_the_motion_of_a_reference_stays_in_step_with_its_sound(model, files, tmp_path):
    seconds = 1.65  # 0.11 s of silence in front
    sound = np.zeros(round(seconds * 24_000), np.float32)
    sound[24_000:24_400] = 0.9  # a click at 1.0 s,
    motion = np.zeros((42, model.space.dim), np.float32)
    motion[25, list(model.space.mouth)] = 1.0  # and the mouth opens at 1.0 s
    soundfile.write(tmp_path / "click.wav", sound, 24_000)
    np.savez(tmp_path / "click.npz", motion=motion, names=np.array(model.space.dims), fps=25)
    reference = {"ref_audio": str(tmp_path / "click.wav"), "ref_text": "click.", "ref_motion": str(tmp_path / "click.npz")}
    q = read(Ask(text="and more of it.", **reference), model)
    heard = q.request.mel[: q.prefix].mean(1).argmax() * 4 / 375
    seen = q.request.mouth[q.request.mouth_known].mean(1).argmax() / 25
    assert q.request.mouth_known.sum() == 44 and abs(heard - seen) <= 0.04
    # and its pace is that of the sound: 154 frames (39,600 // 256), not the 165 of the prefix
    assert (q.prefix, q.length) == (165, f5_duration(154, "click.  ", "and more of it.") - 154)


def test_dubbing_takes_the_motion_and_its_rest(model, files):
    q = read(Ask(task="dubbing", text="hello.", motion=str(files / "face.npz")), model)
    assert motion_frames(q.length) == 40 and q.motion_given_M.all() and not q.request.want_motion
    assert q.request.rest.shape == (40, 51)
    alone = read(Ask(task="dubbing", text="hello.", motion=str(files / "face.npz"), no_rest=True), model)
    assert alone.request.rest is None


def test_an_edit_opens_the_same_span_in_both_streams(model, files):
    q = read(Ask(audio=str(files / "speech.wav"), motion=str(files / "face.npz"), edit="0.4:0.8"), model)
    time = np.arange(q.length) * 4 / 375
    np.testing.assert_array_equal(q.mel_given_T, (time < 0.4) | (time >= 0.8))
    assert (~q.motion_given_M).sum() == 10
    assert q.request.want_audio and q.request.want_motion
    one = read(Ask(audio=str(files / "speech.wav"), motion=str(files / "face.npz"), edit_motion="0.4:0.8"), model)
    assert not one.request.want_audio and one.request.want_motion


def test_an_edit_behind_the_end_is_refused(model, files):
    with pytest.raises(InputError, match="--edit 5:9: a span begins behind the end, at 1.61 s"):
        read(Ask(audio=str(files / "speech.wav"), edit="5:9"), model)


def test_only_given_spans_are_known(model, files):
    q = read(Ask(audio=str(files / "speech.wav"), give_audio="0:0.8", want="speech,motion", duration=2.0), model)
    assert q.mel_given_T.sum() == 75 and q.length == 188 and q.request.want_audio


def test_strange_characters_are_said(model):
    assert any("Ω" in note for note in read(Ask(text="aΩb and more"), model).notes)


def test_lines_of_a_requests_file():
    ask = Ask.from_json(Ask(seed=3), {"text": "hi", "audio": "a.wav", "duration": 2}, Path("folder"))
    assert (ask.text, ask.audio, ask.duration, ask.seed) == ("hi", "folder/a.wav", 2, 3)
    with pytest.raises(InputError, match="did you mean 'text'"):
        Ask.from_json(Ask(), {"txt": "hi"}, Path("."))
    with pytest.raises(InputError, match="no int"):
        Ask.from_json(Ask(), {"seed": "one"}, Path("."))
    with pytest.raises(InputError, match="JSON object"):
        Ask.from_json(Ask(), ["hi"], Path("."))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({}, "nothing says how long"),
        ({"text": "  "}, "empty"),
        ({"text": "hi", "name": "../up"}, "file name"),
        ({"task": "dubing", "text": "hi"}, "did you mean 'dubbing'"),
        ({"task": "dubbing", "text": "hi"}, "needs --motion"),
        ({"task": "motion-to-speech", "motion": "face.npz", "text": "hi"}, "takes no --text"),
        ({"text": "hi", "ref_audio": "voice.wav"}, "--ref-text"),
        ({"ref_text": "hi"}, "needs --ref-audio"),
        ({"edit": "0:1"}, "--edit needs"),
        ({"give_audio": "0:1"}, "needs --audio"),
        ({"rest": "face.npz", "no_rest": True, "text": "hi"}, "contradict"),
        ({"audio": "speech.wav", "motion": "face.npz"}, "all of the speech and motion is given"),
        ({"audio": "speech.wav", "duration": 0.5}, "shorter than"),
        ({"audio": "missing.wav"}, "no such file"),
        ({"audio": "noise.txt"}, "no sound"),
        ({"motion": "noise.txt"}, "motion comes as"),
        ({"text": "hi", "duration": 1e6}, "can be generated"),
        ({"text": "hi", "speed": -1.0}, "positive"),
        ({"text": "hi", "want": "sound"}, "speech, motion or"),
        ({"audio": "speech.wav", "want": "speech"}, "all of it is given"),
        ({"audio": "voice.wav", "motion": "face.npz", "edit": "0:0.2"}, "s of motion for"),
    ],
)
def test_what_is_refused_says_why_in_one_line(model, files, fields, words):
    paths = {name: str(files / fields[name]) for name in ("audio", "motion", "rest", "ref_audio") if name in fields}
    with pytest.raises(InputError, match=words) as error:
        read(dataclasses.replace(Ask(), **{**fields, **paths}), model)
    assert "\n" not in str(error.value)
