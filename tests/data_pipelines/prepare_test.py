"""`jamflow prepare` on tiny files: good ones, every kind of bad one, the same bytes for any number of workers."""
import errno
import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.dataset import Corpus, DataSet
from data_pipelines.index import Index
from data_pipelines.prepare import report as report_module
from data_pipelines.prepare.build import Example, build
from data_pipelines.prepare.clip_reader import Reading
from data_pipelines.prepare.motion_reader import read_motion
from data_pipelines.prepare.run import prepare
from jamflow_jax.errors import InputError
from jamflow_jax.motion import space
from launch.prepare import main

LIPS = space.get("lips")
GRID = Path(__file__).parents[3] / "shared/data/grid_s1"
FACEGOOD, SPEECH, TEMPLATES = (GRID.parent / name for name in ("facegood_mandarin", "speech_text", "liveportrait_pkl"))
needs_data = pytest.mark.skipif(not GRID.exists(), reason="the real clips (../shared/data) are not on this machine")


def tone(seconds: float, rate: int = 24_000, channels: int = 1) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return np.repeat(0.3 * np.sin(2 * np.pi * 220 * t)[:, None], channels, axis=1)


class Folder:
    """A folder of files and a manifest of them."""

    def __init__(self, path):
        self.path, self.lines = path, []

    def sound(self, name: str, samples: np.ndarray, rate: int = 24_000) -> str:
        soundfile.write(self.path / name, samples, rate)
        return name

    def lips(self, name: str, frames: int = 25, **extras) -> str:
        motion = np.random.default_rng(0).normal(size=(frames, 2)).astype(np.float32)
        np.savez(self.path / name, **{"motion": motion} | extras)
        return name

    def add(self, **fields) -> None:
        self.lines.append(json.dumps(fields))

    def manifest(self) -> Path:
        (self.path / "m.jsonl").write_text("\n".join(self.lines) + "\n")
        return self.path / "m.jsonl"

    def prepare(self, **options):
        return prepare(self.manifest(), self.path / "set", options.pop("space", LIPS), **options)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def only_rejection(report) -> dict:
    assert report.exit_code == 3 and report.accepted == 1 and len(report.rejections) == 1
    assert "\n" not in report.rejections[0]["message"]
    return report.rejections[0]


def test_a_manifest_becomes_a_data_set(folder):
    folder.sound("a.wav", tone(1.0))
    folder.sound("b.flac", tone(0.8))
    folder.add(audio="a.wav", text="good day", motion=folder.lips("a.npz"), speaker="ann", words=[[0, 0.5, "good"]])
    folder.add(id="speech", audio="b.flac", text="only sound", split="validation")
    folder.add(motion=folder.lips("c.npz", 40), split="train")
    report = folder.prepare(validation=0.0, test=0.0)
    assert report.exit_code == 0 and report.accepted == 3 and not report.notes
    data = DataSet(folder.path / "set")
    assert data.index.ids() == ["a", "speech", "c"] and data.index.length.tolist() == [94, 76, 150]
    assert data.index.split.tolist() == [0, 1, 0] and data.index.flags.tolist() == [7, 5, 2]
    assert data.index.speaker_name(0) == "ann" and data.record(0).extra == {"words": [[0, 0.5, "good"]]}
    totals = json.loads((folder.path / "set" / "report.json").read_text())["totals"]
    assert totals["seconds_by_speaker"] == {"ann": 1.003} and totals["seconds"]["longest"] == 1.6
    assert data.meta["splits"]["train"]["clips"] == 2 and data.meta["fingerprint"] == data.index.fingerprint()
    assert data.tokenizer.vocab == (" ", *"adglnosuy") or set(data.tokenizer.vocab) == set("good day only sound")
    assert len(data.audio(0)) == 24_000 and data.audio(2) is None
    assert not list(folder.path.glob(".*"))


def test_same_bytes_for_any_number_of_workers(folder):
    for i in range(7):
        folder.sound(f"{i}.wav", tone(0.5 + i / 10))
        folder.add(audio=f"{i}.wav", motion=folder.lips(f"{i}.npz", 13 + 3 * i))
    prepare(folder.manifest(), folder.path / "one", LIPS, shard_examples=2)
    prepare(folder.manifest(), folder.path / "two", LIPS, shard_examples=2, workers=2)
    files = sorted(p.relative_to(folder.path / "one") for p in (folder.path / "one").rglob("*") if p.is_file())
    assert len(files) == 5 + 8
    assert all((folder.path / "one" / f).read_bytes() == (folder.path / "two" / f).read_bytes() for f in files)


@pytest.mark.parametrize("rate, channels, kind", [(8_000, 1, "resampled"), (96_000, 1, "resampled"), (24_000, 2, "stereo")])
def test_sound_that_is_converted(folder, rate, channels, kind):
    folder.add(audio=folder.sound("a.wav", tone(1.0, rate, channels), rate))
    report = folder.prepare()
    assert report.exit_code == 0 and list(report.by_note()) == [kind]
    audio = DataSet(folder.path / "set").audio(0)
    assert len(audio) == 24_000 and abs(np.abs(audio[2000:-2000]).max() - 0.3) < 0.01


def bad_sound(folder: Folder, kind: str) -> None:
    path = folder.path / "bad.wav"
    if kind == "not audio":
        path.write_text("hello")
    elif kind == "empty audio":
        path.write_bytes(b"")
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 24_000)
    elif kind == "too short":
        soundfile.write(path, np.zeros(500), 24_000)
    elif kind == "NaN samples":
        samples = tone(1.0)[:, 0]
        samples[77] = np.nan
        soundfile.write(path, samples, 24_000, subtype="FLOAT")
    elif kind == "too long":
        soundfile.write(path, tone(31.0), 24_000)
    elif kind == "directory":
        path.mkdir()
    elif kind == "no level":
        soundfile.write(path, 1e29 * tone(1.0), 24_000, subtype="FLOAT")


@pytest.mark.parametrize("kind, reason, message", [
    ("missing", "missing file", "bad.wav: no such file"),
    ("directory", "missing file", "bad.wav: a folder, no file"),
    ("no level", "not audio", "bad.wav: samples up to 3e+28, where sound lies between -1 and 1"),
    ("not audio", "not audio", "bad.wav: no sound that can be read"),
    ("empty audio", "empty audio", "the file is empty"),
    ("no samples", "empty audio", "no samples"),
    ("too short", "too short", "500 samples; 1024"),
    ("NaN samples", "NaN samples", "1 samples are not finite"),
    ("too long", "too long", "more than --max-seconds 30"),
])  # fmt: skip
def test_bad_sound_is_named_and_left_out(folder, kind, reason, message, capsys):
    folder.add(audio=folder.sound("good.wav", tone(0.6)))
    bad_sound(folder, kind)
    folder.add(audio="bad.wav")
    rejection = only_rejection(folder.prepare())
    assert rejection["reason"] == reason and message in rejection["message"] and rejection["id"] == "bad"
    assert capsys.readouterr().err.count("\n") == 1
    stored = json.loads((folder.path / "set" / "report.json").read_text())
    assert stored["rejected_by_reason"] == {reason: 1} and stored["rejections"] == [rejection]


def test_sound_that_may_not_be_read(folder, monkeypatch):
    folder.add(audio=folder.sound("good.wav", tone(0.6)))
    folder.add(audio=folder.sound("locked.wav", tone(0.6)))

    def guarded(path, mode):
        if path.name == "locked.wav":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return open(path, mode)

    monkeypatch.setattr(report_module, "open", guarded, raising=False)  # tests may run as root, whom nothing is denied
    for segment in (False, True):
        rejection = only_rejection(folder.prepare(segment=segment, overwrite=True))
        assert rejection["reason"] == "cannot be read" and rejection["message"].endswith("locked.wav: Permission denied")


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('the pickle ran')",)


def bad_motion(folder: Folder, kind: str) -> str:
    motion = np.zeros((25, 2), np.float32)
    if kind == "missing":
        return "bad.npz"
    if kind == "gap":
        motion[3:10] = np.nan
        return folder.lips("bad.npz", motion=motion)
    if kind == "all missing":
        return folder.lips("bad.npz", valid=np.zeros(25, bool))
    if kind == "columns":
        return folder.lips("bad.npz", motion=np.zeros((25, 5)))
    if kind == "key":
        return folder.lips("bad.npz", motion=motion[:, 0], x=motion, y=motion)
    if kind == "objects":
        np.save(folder.path / "bad.npy", np.array([{}, 1], object), allow_pickle=True)
        return "bad.npy"
    if kind == "huge":
        return folder.lips("bad.npz", motion=np.full((25, 2), 1e200))
    if kind == "fps":
        return folder.lips("bad.npz", fps=0)
    if kind == "milliseconds":
        return folder.lips("bad.npz", times=np.arange(25) * 40)
    if kind == "csv":
        (folder.path / "bad.csv").write_text("opening,width\n1,2\n1\n")
        return "bad.csv"
    if kind == "ending":
        (folder.path / "bad.txt").write_text("1 2")
        return "bad.txt"
    (folder.path / "bad.pkl").write_bytes(pickle.dumps(Evil()))
    return "bad.pkl"


@pytest.mark.parametrize("kind, reason, message", [
    ("missing", "missing file", "no such file"),
    ("gap", "missing frames", "frames 3 to 9: 7 in a row, at most 5 are filled (--max-gap)"),
    ("all missing", "missing frames", "missing in all 25 frames"),
    ("columns", "other motion space", "5 columns where motion space 'lips' has 2"),
    ("key", "not motion", "motion_key|no motion"),
    ("objects", "not motion", "bad.npy: it holds Python objects, which are never loaded"),
    ("huge", "other motion space", "bad.npz: numbers up to 1e+200 are no motion"),
    ("fps", "not motion", "frame rate 0 is not"),
    ("milliseconds", "bad frame rate", "bad.npz: 25 frame times from 0 to 1000 s: less than 0.1 a second"),
    ("csv", "not motion", "bad.csv row 3: 1 columns where the header names 2"),
    ("ending", "not motion", "motion comes as .npy"),
    ("pickle", "bad template", "bad.pkl"),
])  # fmt: skip
def test_bad_motion_is_named_and_left_out(folder, kind, reason, message):
    folder.add(motion=folder.lips("good.npz"))
    folder.add(motion=bad_motion(folder, kind))
    rejection = only_rejection(folder.prepare())
    assert rejection["reason"] == reason and any(m in rejection["message"] for m in message.split("|"))


def test_gaps_up_to_the_limit_are_interpolated(folder):
    motion = np.stack([np.arange(25.0), np.zeros(25)], 1).astype(np.float32)
    broken = motion.copy()
    broken[4:7] = np.nan
    folder.add(motion=folder.lips("a.npz", motion=broken))
    report = folder.prepare(reading=Reading(max_gap=3))
    assert report.exit_code == 0 and list(report.by_note()) == ["motion interpolated"]
    assert np.allclose(DataSet(folder.path / "set").record(0).motion, motion)


@pytest.mark.parametrize("line, message", [
    ("{bad json", "m.jsonl line 2: not JSON"),
    ("[" * 20_000, "m.jsonl line 2: not JSON"),
    ("[1, 2]", "a JSON object is needed"),
    ('{"audio": "good.wav", "txt": "hi"}', "unknown field 'txt'"),
    ('{"text": "hi"}', "neither audio nor motion"),
    ('{"audio": 3}', "audio = 3 is no string"),
    ('{"audio": "x.wav", "split": "dev"}', "split = 'dev' is none of"),
    ('{"audio": "x.wav", "start": 2, "end": 1}', "end = 1 is not after start = 2"),
    ('{"audio": "x.wav", "start": NaN}', "start = nan is no number"),
    ('{"audio": "x.wav", "fps": 0}', "frame rate"),
    ('{"audio": "x.wav", "fps": true}', "frame rate True is not a number"),
    ('{"audio": "x.wav", "words": [[0, 1, "a"], [5, 2, "x"]]}', "words: [5, 2, 'x'] does not run from 0 on, start to end"),
    ('{"audio": "x.wav", "phonemes": [[-1, 2, "x"]]}', "phonemes: [-1, 2, 'x'] does not run from 0 on"),
    ('{"audio": "x.wav", "words": [[true, 2, "x"]]}', "words must be a list of"),
    (r'{"audio": "x.wav", "text": "half a pair: \ud800"}', "half a surrogate pair"),
    (r'{"audio": "x.wav", "words": [[0, 1, "\ud800"]]}', "half a surrogate pair"),
    ('{"audio": "x.wav", "words": [[1, "a"]]}', "words must be a list of [start s, end s, label]"),
    ('{"audio": "other.wav", "id": "good"}', "id 'good' is taken by m.jsonl line 1"),
])  # fmt: skip
def test_bad_manifest_lines_are_named_by_number(folder, line, message):
    folder.add(audio=folder.sound("good.wav", tone(0.6)))
    folder.lines.append(line)
    rejection = only_rejection(folder.prepare())
    assert message in rejection["message"] and rejection["id"] == "m.jsonl line 2"


def test_a_second_of_sound_with_one_frame_of_motion(folder):
    folder.add(audio=folder.sound("good.wav", tone(0.6)))
    folder.add(audio=folder.sound("a.wav", tone(1.0)), motion=folder.lips("a.npz", motion=np.zeros((1, 2))))
    rejection = only_rejection(folder.prepare())
    assert rejection["reason"] == "too short" and rejection["message"] == "a: 1 frames of motion for 1.00 s of sound"


def test_all_are_named_when_there_will_be_no_report(folder, capsys):
    for i in range(25):
        folder.add(audio=f"missing-{i}.wav")
    folder.manifest()
    assert main([str(folder.path / "m.jsonl"), "--out", str(folder.path / "set"), "--space", "lips"]) == 1
    said = capsys.readouterr().err
    assert all(f"missing-{i}.wav: no such file" in said for i in range(25))


def test_characters_outside_the_vocabulary_are_said(folder):
    from jamflow_jax.text.tokenizer import Tokenizer

    folder.add(audio=folder.sound("a.wav", tone(0.6)), text="abcé")
    report = folder.prepare(tokenizer=Tokenizer("char", (" ", "a", "b")))
    assert [note["note"] for note in report.notes] == ["outside the vocabulary: c é (read as id 0)"]
    assert "outside the vocabulary: 1 (first a: c é" in report.summary()


def test_text_that_its_sound_cannot_hold(folder):
    for name, letters in (("fast", 30), ("far", 100)):
        folder.add(audio=folder.sound(f"{name}.wav", tone(0.6)), text="a" * letters)
    report = folder.prepare()
    assert [(note["id"], note["note"]) for note in report.notes] == [
        ("fast", "fast text: 49 characters a second, where people reach 25")]  # fmt: skip
    rejection = only_rejection(report)
    assert rejection["reason"] == "odd transcript" and "far: 100 tokens of text for 57 mel frames" in rejection["message"]


def test_lengths_are_brought_together(folder, clip):
    def frames_after(motion: int, seconds: float) -> tuple[int, int, list[str]]:
        example = clip(0, seconds)
        lips = np.zeros((motion, 2), np.float32)
        report = build([Example("x", example.audio, lips)], folder.path / f"x{motion}", LIPS)
        record = DataSet(folder.path / f"x{motion}").record(0)
        return record.length, len(record.motion), list(report.by_note())

    assert frames_after(26, 1.0) == (94, 26, [])
    assert frames_after(25, 1.0) == (94, 26, [])
    assert frames_after(24, 1.0) == (94, 26, ["motion padded"])
    assert frames_after(40, 1.0) == (94, 26, ["motion cut"])
    assert frames_after(12, 1.0) == (45, 12, ["sound cut"])


def test_crop_instead_of_reject(folder):
    folder.add(audio=folder.sound("a.wav", tone(2.0)), text="long", motion=folder.lips("a.npz", 50), words=[[0, 2, "long"]])
    report = folder.prepare(max_seconds=1.0, crop=True)
    record = DataSet(folder.path / "set").record(0)
    assert list(report.by_note()) == ["cropped"] and record.length == 94 and len(record.motion) == 26
    assert record.text is None and record.extra == {}


def test_text_of_sound_that_is_cut_off_is_dropped(folder, clip):
    """Half a second at the end may be a pause; more is something that was said."""
    extra = {"words": [[0, 1.4, "said"]], "phonemes": [[0, 1.4, "s"]], "take": 2}
    sound, motion = clip(0, 2.0).audio, np.zeros((38, 2), np.float32)
    clips = [Example(f"{frames}", sound, motion[:frames], "said", extra=extra) for frames in (38, 37)]
    report = build(clips, folder.path / "set", LIPS)
    kept, cut = (DataSet(folder.path / "set").record(i) for i in range(2))
    assert (kept.text, kept.extra) == ("said", extra) and (cut.text, cut.extra) == (None, {"take": 2})
    assert [note["note"] for note in report.notes] == [
        "sound cut: to the 38 frames of motion, from 51", "sound cut: to the 37 frames of motion, from 51, text dropped"
    ]  # fmt: skip


def test_parts_of_long_files(folder):
    ramp = np.linspace(0, 0.5, 48_000)
    motion = np.stack([np.arange(60.0), np.zeros(60)], 1)
    folder.add(
        id="part", audio=folder.sound("a.wav", ramp), motion=folder.lips("a.npz", motion=motion, fps=30), start=0.8, end=1.6
    )
    assert folder.prepare().exit_code == 0
    data = DataSet(folder.path / "set")
    assert np.allclose(data.record(0).motion[:20, 0], 24 + np.arange(20) * 1.2, atol=1e-5)
    assert abs(data.audio(0)[0] - 0.2) < 1e-3 and len(data.audio(0)) == 19_200


@pytest.mark.parametrize("fps, first, said", [(25, 0.013, "frames at given times"), (30, 0.0, "30 fps"), (25, 0.04, None)])
def test_times_beside_the_clock_are_said(folder, fps, first, said):
    path = folder.path / folder.lips("a.npz", motion=np.zeros((30, 2)), times=first + np.arange(30) / fps)
    _, notes = read_motion(path, space.get("lips"))
    assert notes == ([] if said is None else [f"motion resampled: {said} to 25 fps"])


def test_other_spaces_are_converted_or_rejected(folder):
    folder.add(motion=folder.lips("a.npz", motion=np.random.default_rng(0).uniform(size=(30, 3)), fps=30,
                                  names=np.array(["jawOpen", "mouthPucker", "browUp"])))  # fmt: skip
    folder.add(motion=folder.lips("b.npz", motion=np.zeros((30, 3)), names=np.array(["browUp", "eye", "x"])))
    report = folder.prepare()
    assert only_rejection(report)["reason"] == "other motion space"
    assert list(report.by_note()) == ["motion converted", "motion resampled"]
    assert len(DataSet(folder.path / "set").record(0).motion) == 25


def test_csv_with_times(folder):
    rows = "\n".join(f"{i / 50},{i},0" for i in range(51))
    (folder.path / "a.csv").write_text(f"time,opening,width\n{rows}\n")
    folder.add(motion="a.csv")
    folder.prepare()
    assert np.allclose(DataSet(folder.path / "set").record(0).motion[:25, 0], np.arange(25) * 2)


def test_nothing_is_left_behind(folder, monkeypatch, clip):
    folder.add(audio="nowhere.wav")
    report = folder.prepare()
    assert report.exit_code == 1 and not (folder.path / "set").exists()

    def interrupted():
        yield clip(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(interrupted(), folder.path / "set", LIPS)
    assert sorted(p.name for p in folder.path.iterdir()) == ["m.jsonl"]


def test_an_existing_directory_is_not_touched(folder):
    folder.add(audio=folder.sound("a.wav", tone(0.6)))
    folder.prepare()
    before = Index.load(folder.path / "set").fingerprint()
    with pytest.raises(InputError, match="there is a data set already"):
        folder.prepare()
    folder.sound("a.wav", tone(0.9))
    folder.prepare(overwrite=True)
    assert Index.load(folder.path / "set").fingerprint() != before
    (folder.path / "mine").mkdir()
    (folder.path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is no data set"):
        prepare(folder.manifest(), folder.path / "mine", LIPS, overwrite=True)


@pytest.mark.parametrize("name, content, words", [
    ("dataset.json", "{", "dataset.json: "),
    ("dataset.json", "[]", "data format None"),
    ("dataset.json", '{"format": 1}', "damaged .*'space'"),
    ("statistics.json", "{", "damaged .*not motion statistics"),
    ("statistics.json", '{"count": 1, "mean": [0], "std": [1], "live": [true]}', "damaged .*do not fit"),
    ("statistics.json", None, "damaged .*statistics.json"),
    ("vocab.txt", None, "damaged .*vocab.txt"),
    ("index.npz", "no zip", "no readable index"),
])  # fmt: skip
def test_a_damaged_data_set_is_one_line(folder, clip, name, content, words):
    build([clip(0), clip(1)], folder.path / "set", LIPS)
    path = folder.path / "set" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=words) as error:
        DataSet(folder.path / "set")
    assert "\n" not in str(error.value)


def test_duplicate_ids_from_a_source(folder, clip):
    report = build([clip(0), clip(0), clip(1)], folder.path / "set", LIPS)
    assert report.accepted == 2 and report.by_reason() == {"duplicate id": 1}


# -- the command ---------------------------------------------------------------------------------------------------------


def test_command(folder, capsys):
    folder.add(audio=folder.sound("a.wav", tone(0.6)), text="hi")
    folder.add(audio="nowhere.wav")
    out = str(folder.path / "cli")
    arguments = [str(folder.manifest()), "--out", out, "--space", "lips", "--workers", "1"]
    assert main(arguments + ["--no-audio"]) == 3
    printed = capsys.readouterr()
    assert "1 clips accepted, 1 rejected" in printed.out and printed.err.startswith("rejected nowhere: ")
    assert DataSet(out).meta["audio"] is False
    assert main(arguments) == 1  # it is there
    assert main(arguments + ["--overwrite", "--space-option", "flor=1"]) == 2
    assert main(arguments + ["--overwrite", "--space", "lip"]) == 2
    assert main(arguments + ["--overwrite", "--validation", "0.5", "--test", "0.5"]) == 2
    assert main(arguments + ["--overwrite", "--space-option", "floor"]) == 2
    assert "is not KEY=VALUE" in capsys.readouterr().err
    assert main(["no.jsonl", "--out", out]) == 1
    with pytest.raises(SystemExit) as usage:
        main(arguments + ["--validation", "2"])
    assert usage.value.code == 2


def test_command_with_nothing_usable(folder, capsys):
    folder.add(audio="nowhere.wav")
    assert main([str(folder.manifest()), "--out", str(folder.path / "cli"), "--workers", "1"]) == 1
    assert "no usable clip" in capsys.readouterr().err and not (folder.path / "cli").exists()


# -- real clips ----------------------------------------------------------------------------------------------------------


def manifest_of(script: str, data: Path, tmp_path: Path, monkeypatch, lines: int) -> Path:
    import contextlib
    import runpy
    import sys

    monkeypatch.setattr(sys, "argv", [script, str(data)])
    with contextlib.redirect_stdout(io.StringIO()) as text:
        runpy.run_path(str(Path(__file__).parents[2] / "scripts" / script))
    (tmp_path / f"{script}.jsonl").write_text("\n".join(text.getvalue().splitlines()[:lines]))
    return tmp_path / f"{script}.jsonl"


@needs_data
def test_grid(tmp_path, monkeypatch):
    manifest = manifest_of("manifest_grid.py", GRID, tmp_path, monkeypatch, 4)
    report = prepare(manifest, tmp_path / "grid", space.get("grid_landmarks"))
    assert report.exit_code == 0 and not report.notes
    data = DataSet(tmp_path / "grid")
    record = data.record(0)
    assert record.length == 280 and record.motion.shape == (75, 183) and record.text == "bin blue at f two now"
    assert record.extra["words"][1][2] == "bin" and data.index.speaker_name(0) == "grid_s1"
    prepare(manifest, tmp_path / "lips", LIPS)
    stored = np.load(GRID / "motion/bbaf2n.npz")["lip_open_face"]
    opening = DataSet(tmp_path / "lips").record(0).motion[:, 0]
    assert np.corrcoef(opening, stored)[0, 1] > 0.98


@needs_data
def test_three_corpora_mix_in_lips(tmp_path, monkeypatch):
    sets = []
    for name, data in (("grid", GRID), ("facegood", FACEGOOD), ("speech", SPEECH)):
        manifest = manifest_of(f"manifest_{name}.py", data, tmp_path, monkeypatch, lines=3)
        assert prepare(manifest, tmp_path / data.name, LIPS, validation=0.0, test=0.0).exit_code == 0
        sets.append(tmp_path / data.name)
    corpus = Corpus(sets)
    assert sorted(set(corpus.index.flags.tolist())) == [3, 5, 7] and corpus.space == LIPS


@needs_data
def test_templates(tmp_path):
    (tmp_path / "m.jsonl").write_text("\n".join(json.dumps({"motion": str(path)}) for path in sorted(TEMPLATES.glob("*.pkl"))))
    report = prepare(tmp_path / "m.jsonl", tmp_path / "set", space.get("liveportrait"))
    assert report.accepted == 10 and report.exit_code == 0
    assert DataSet(tmp_path / "set").record(0).motion.shape[1] == 63
