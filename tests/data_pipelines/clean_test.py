"""Cleaning: silence, loudness, transcripts; long recordings cut on pauses; mouths out of step; speech features."""
import dataclasses
import json
import sys
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.dataset import DataSet
from data_pipelines.index import AUDIO, MOTION, SPLITS, split_of
from data_pipelines.prepare import extractors, offset
from data_pipelines.prepare.build import Checks, Example, build
from data_pipelines.prepare.clean import Cleaning, levels, words
from data_pipelines.prepare.clip_reader import Reading
from data_pipelines.prepare.features import Features, at_motion_frames
from data_pipelines.prepare.manifest import Entry
from data_pipelines.prepare.report import Rejected
from data_pipelines.prepare.run import prepare
from data_pipelines.prepare.segment import cuts, energies, segments
from jamflow_jax.errors import ConfigError
from jamflow_jax.motion import space
from jamflow_jax.text.tokenizer import Tokenizer

LIPS = space.get("lips")


def spoken(seconds: float, *pauses: tuple[float, float], rate: int = 24_000, peak: float = 0.1) -> np.ndarray:
    """Noise that stops in the pauses (s)."""
    audio = peak * np.random.default_rng(0).uniform(-1, 1, round(seconds * rate)).astype(np.float32)
    for start, end in pauses:
        audio[round(start * rate) : round(end * rate)] *= 1e-3
    return audio


def test_silence_is_trimmed_from_everything_at_once():
    frames = np.arange(50)
    extra = {"words": [[0.5, 1.6, "hi"], [0.0, 0.2, "sil"]], "take": 1}
    count = frames[:, None].astype(np.float32)
    example = Example("a", spoken(2.0, (0, 0.5), (1.6, 2.0)), np.repeat(count, 2, 1), "hi", speech=count, extra=extra)
    cleaned = Cleaning(trim=30.0)(example)
    assert len(cleaned.audio) == 960 * 34 and cleaned.motion[:, 0].tolist() == list(range(9, 43))
    assert cleaned.speech[0, 0] == 9 and cleaned.extra == {"words": [[0.14, 1.24, "hi"]], "take": 1}
    assert cleaned.notes == ("silence trimmed: 0.64 s",) and np.array_equal(cleaned.audio, example.audio[9 * 960 : 43 * 960])
    assert Cleaning(trim=30.0)(Example("b", spoken(1.0))).notes == ()


@pytest.mark.parametrize("peak, target, level", [(0.02, -20.0, -20.0), (0.5, -30.0, -30.0), (0.02, -1.0, -4.8)])
def test_loudness_is_that_of_the_speech_and_never_clips(peak, target, level):
    cleaned = Cleaning(loudness=target)(Example("a", spoken(2.0, (0.5, 1.5), peak=peak)))
    assert np.percentile(levels(cleaned.audio), 90) == pytest.approx(level, abs=0.3) and np.abs(cleaned.audio).max() <= 1.0
    assert cleaned.notes[0].startswith("loudness: ")
    assert not Cleaning(loudness=-20.0)(Example("b", np.zeros(9_600, np.float32))).notes


@pytest.mark.parametrize("text, count", [("it's well-known, isn't it?", 4), ("你好，世界", 4), ("a 你好 b", 4), ("...", 0)])
def test_words_are_counted_in_scripts_with_and_without_spaces(text, count):
    assert words(text) == count


@pytest.mark.parametrize("cleaning, example, reason", [
    (Cleaning(words=(0.5, 5)), Example("a", spoken(1.0), text="one two three four five six"), "odd transcript"),
    (Cleaning(words=(0.5, 5)), Example("a", spoken(4.0), text="one"), "odd transcript"),
    (Cleaning(strict=True), Example("a", spoken(1.0), text="naïve"), "odd transcript"),
    (Cleaning(shortest=1.5), Example("a", spoken(1.0)), "too short"),
    (Cleaning(shortest=1.5), Example("a", motion=np.zeros((25, 2), np.float32)), "too short"),
])  # fmt: skip
def test_what_is_filtered(cleaning, example, reason):
    with pytest.raises(Rejected, match=r"^a: ") as error:
        cleaning(example, Tokenizer("char", tuple(" aeinvotwhrfusx")))
    assert error.value.reason == reason


def test_long_recordings_are_cut_on_pauses(tmp_path):
    pauses = (1.5, 2.0), (3.8, 4.2), (6.0, 6.3)
    soundfile.write(tmp_path / "long.wav", spoken(8.0, *pauses), 24_000)
    said = [[0.0, 1.5, "one"], [2.0, 3.8, "two"], [4.2, 6.0, "three"], [6.3, 8.0, "four"]]
    line = {"audio": "long.wav", "text": "one two three four", "words": said}
    short = {"id": "b", "audio": "long.wav", "text": "x", "end": 2.0}
    (tmp_path / "m.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(short))
    report = prepare(tmp_path / "m.jsonl", tmp_path / "set", LIPS, segment=True, max_seconds=3.0)
    data = DataSet(tmp_path / "set")
    assert report.exit_code == 0 and data.index.ids() == ["long-0000", "long-0001", "long-0002", "long-0003", "b"]
    assert [data.record(i).text for i in range(4)] == ["one", "two", "three", "four"]
    ends = np.cumsum(data.index.length[:4]) * 256 / 24_000
    assert all(start < end < stop for (start, stop), end in zip(pauses, ends))
    assert data.record(1).extra["words"][0][0] < 0.5


def test_words_of_quiet_speech_are_not_cut(tmp_path):
    """A quieter word next to a loud pause: the cut goes into the pause, and many words before it do not change that."""
    quiet = np.concatenate([0.01 * np.ones(2_400 * 24), 0.001 * np.ones(24_000)])  # 2.4 s, then 1 s
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", rng.normal(size=2 * len(quiet)) * np.concatenate([quiet[::-1], quiet]), 24_000)
    entry = Entry(1, "a", audio=tmp_path / "a.wav", words=[[i / 10, (i + 1) / 10, "x"] for i in range(24)])
    assert 2.4 <= segments(entry, 3.4)[0].end <= 3.4


def test_parts_keep_the_split_of_their_recording_and_their_names(tmp_path):
    for name in "abc":
        soundfile.write(tmp_path / f"{name}.wav", spoken(8.0, (3, 4)), 24_000)
    soundfile.write(tmp_path / "a-0001.wav", spoken(1.0), 24_000)
    report = prepare(tmp_path, tmp_path / "set", LIPS, segment=True, max_seconds=4.0, validation=0.4, test=0.3)
    index = DataSet(tmp_path / "set").index
    assert [(entry["id"], entry["reason"]) for entry in report.rejections] == [("a-0001", "duplicate id")]
    assert "part of a is that of another clip" in report.rejections[0]["message"]
    assert index.ids() == ["a-0001", "a-0000", "a-0002", "b-0000", "b-0001", "b-0002", "c-0000", "c-0001", "c-0002"]
    whole = [name if name == "a-0001" else name[0] for name in index.ids()]
    assert [SPLITS[split] for split in index.split] == [split_of(name, 0.4, 0.3) for name in whole]


@pytest.mark.parametrize("kind", ["video", "motion"])
def test_what_has_no_sound_is_cut_into_equal_parts(kind, videos, tmp_path):
    np.save(tmp_path / "m.npy", np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32))
    place = videos / "mute.mkv" if kind == "video" else tmp_path / "m.npy"  # 2 s; at 30 fps
    entry = Entry(1, "a", text="x", fps=Fraction(30), **{kind: place})
    assert segments(entry, 2.0) == [entry]
    parts = segments(entry, 0.8)
    assert [(part.start, part.end) for part in parts] == [(0, 0.64), (0.64, 1.28), (1.28, 2.08)] and parts[0].text is None
    later = segments(dataclasses.replace(entry, start=0.4, end=1.5), 0.8)
    assert [(part.id, part.start, part.end) for part in later] == [("a-0000", 0.4, 0.88), ("a-0001", 0.88, 1.5)]
    fake = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
    reading = Reading(extractor=extractors.Extractor(fake, str(tmp_path / "kept")).ready() if kind == "video" else None)
    report = prepare([entry], tmp_path / "set", LIPS, reading=reading, segment=True, max_seconds=0.8)
    index = DataSet(tmp_path / "set").index
    assert report.accepted == 3 and index.length.tolist() == [60, 60, 67] and index.has(MOTION) and not index.has(AUDIO)


def test_a_long_file_needs_no_more_memory_than_a_short_one(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.tile(spoken(10.0, (4, 5), rate=8_000), 30), 8_000)
    energies(tmp_path / "a.flac", end=1.0)  # imports
    tracemalloc.start()
    energy_M = energies(tmp_path / "a.flac")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(energy_M) == 300 * 25 and peak < 2e6  # 300 s of float samples are 9.6 MB
    edges = cuts(energy_M, 15 * 25)
    assert edges[0] == 0 and edges[-1] == len(energy_M) and np.diff(edges).max() <= 375
    assert all(4.0 <= edge / 25 % 10 <= 5.0 for edge in edges[1:-1])


def test_sound_of_videos_is_cut_too(videos):
    assert len(energies(videos / "plain.mkv")) == 50 and len(energies(videos / "plain.mkv", 1.2, 1.6)) >= 10
    with pytest.raises(Rejected, match="no sound that can be read"):
        energies(videos / "mute.mkv")


def test_mouths_out_of_step_are_found(tmp_path):
    """Speech whose loudness the mouth follows; in two of 24 clips 0.2 s late and 0.16 s early."""
    rng, clips = np.random.default_rng(0), []
    for i in range(24):
        opening = np.convolve(rng.uniform(0, 1, 90), np.ones(5) / 5, "valid")
        opening = np.clip((opening - 0.3) * 2, 0, 1)
        audio = rng.normal(0, 0.1, 80 * 960) * np.repeat(opening[:80], 960)
        late = {5: 5, 11: -4}.get(i, 0)
        motion = np.stack([np.roll(opening[:80], late), np.zeros(80)], 1)
        clips.append(Example(f"c{i}", audio.astype(np.float32), motion.astype(np.float32)))
    from data_pipelines.prepare import build as module

    with pytest.MonkeyPatch.context() as patch:
        assemble = module.assemble
        patch.setattr(module, "assemble", lambda *args: assemble(*args, Checks(offset=policy)))
        policy = "reject"
        report = build(clips, tmp_path / "set", LIPS)
        found = offset.Steps(report.totals["offset"], {entry["id"]: entry["message"] for entry in report.rejections})
        assert set(found.out_of_step) == {"c5", "c11"}
        assert "0.20 s late" in found.out_of_step["c5"] and "0.16 s early" in found.out_of_step["c11"]
        assert report.accepted == len(DataSet(tmp_path / "set")) == 22
        assert report.totals["offset"]["median_lag_frames"] == 0 and report.totals["offset"]["of"] == 24
        policy = "note"
        patch.setattr(offset, "check", lambda *_: found)
        report = build(clips, tmp_path / "noted", LIPS)
        assert report.accepted == 24 and {note["id"] for note in report.notes} == {"c5", "c11"}


def test_rows_of_features_become_motion_frames():
    rows = np.arange(7, dtype=np.float32)[:, None]
    assert at_motion_frames(rows, 5)[:, 0].tolist() == [0.5, 2.5, 4.5, 6.0, 6.0]


def test_speech_features_of_a_tiny_model(tmp_path):
    """Random weights: the column must hold the hidden states that transformers gives for the same sound."""
    torch = pytest.importorskip("torch", reason="speech features need torch (extra speech)")
    transformers = pytest.importorskip("transformers", reason="speech features need transformers (extra speech)")
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(8,) * 7, vocab_size=8,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    model = transformers.Wav2Vec2Model(config).eval()
    model.save_pretrained(tmp_path / "model")
    features = Features(str(tmp_path / "model"), layer=1).ready()
    sound = spoken(1.0)
    soundfile.write(tmp_path / "a.wav", sound, 24_000, subtype="FLOAT")
    prepare(tmp_path / "a.wav", tmp_path / "set", LIPS, reading=Reading(features=features))
    extractors.close()
    import soxr

    heard = soxr.resample(sound, 24_000, 16_000)
    heard = torch.from_numpy((heard - heard.mean()) / np.sqrt(heard.var() + 1e-7))[None]
    with torch.inference_mode():
        states = model(heard, output_hidden_states=True).hidden_states[1][0].numpy()
    data = DataSet(tmp_path / "set")
    stored = data.record(0, speech=True).speech
    assert data.speech_dim == 16 and stored.shape == (26, 16)
    assert np.abs(stored[:24] - states[:48].reshape(24, 2, 16).mean(1)).max() < 1e-2


def test_speech_features_without_a_model_or_torch_are_one_line(tmp_path):
    with pytest.raises(ConfigError, match="no model there"):
        Features(str(tmp_path)).ready()
    (tmp_path / "config.json").write_text("{}")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import no_torch_here'\n")
    python.chmod(0o755)
    with pytest.raises(ConfigError, match="No module named 'no_torch_here'; it needs a Python with torch and transformers"):
        Features(str(tmp_path), python=str(python)).ready()
    assert Path(extractors.WORKERS / "speech_features.py").exists()
