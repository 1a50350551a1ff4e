"""Every kind of source: found out by itself, its rows, its bad lines, and the clips that come out."""
import json
import os
import shutil

import numpy as np
import pytest
import soundfile

from data_pipelines.dataset import DataSet
from data_pipelines.prepare.manifest import checked
from data_pipelines.prepare.report import Report
from data_pipelines.prepare.run import prepare
from data_pipelines.prepare.sources import detect, rows
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion import space
from launch.prepare import main


def tone(path, seconds=0.5, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(int(seconds * rate)) / 10), rate)


def entries_of(path, name=None, **options):
    report = Report(quiet=True)
    return checked(rows(path, name, **options), report), report


def ljspeech(folder):
    tone(folder / "wavs/LJ 1.wav")
    tone(folder / "wavs/Lü2.wav")
    text = "LJ 1|Printing, in 1450|Printing, in fourteen fifty\nLü2|Two|Two\na line without columns\n"
    (folder / "metadata.csv").write_text(text, encoding="utf-8")


def libritts(folder):
    for speaker, chapter in (("1034", "12"), ("19", "7")):
        stem = folder / "train-clean-100" / speaker / chapter / f"{speaker}_{chapter}_000005_000001"
        tone(stem.with_name(stem.name + ".wav"))
        stem.with_name(stem.name + ".normalized.txt").write_text(f"Said by {speaker}.")
        stem.with_name(stem.name + ".original.txt").write_text(f"Said by No. {speaker}.")


def f5_csv(folder):
    tone(folder / "wavs/a.wav")
    (folder / "metadata.csv").write_text("audio_file|text\nwavs/a.wav|so it is\n|no file\nwavs/b.wav|gone\n")


@pytest.mark.parametrize("make, kind, expected, rejected", [
    (ljspeech, "ljspeech", [("LJ 1", "Printing, in fourteen fifty", None), ("Lü2", "Two", None)], 1),
    (libritts, "libritts", [("train-clean-100/1034/12/1034_12_000005_000001", "Said by 1034.", "1034"),
                            ("train-clean-100/19/7/19_7_000005_000001", "Said by 19.", "19")], 0),
    (f5_csv, "f5-csv", [("wavs/a", "so it is", None), ("wavs/b", "gone", None)], 1),
])  # fmt: skip
def test_speech_corpora(tmp_path, make, kind, expected, rejected):
    make(tmp_path)
    assert detect(tmp_path) == kind
    entries, report = entries_of(tmp_path)
    assert [(entry.id, entry.text, entry.speaker) for entry in entries] == expected and len(report.rejections) == rejected
    assert entries[0].audio.exists()
    assert entries_of(tmp_path, speaker="ann")[0][0].speaker == (expected[0][2] or "ann")


def test_ids_of_an_f5_csv_do_not_depend_on_where_it_lies(tmp_path):
    (tmp_path / "set").mkdir()
    places = ["wavs/a.wav", f"{tmp_path}/set/wavs/b.wav", f"{tmp_path}/far/x/c.wav", f"{tmp_path}/far/y/d.wav"]
    (tmp_path / "set/metadata.csv").write_text("audio_file|text\n" + "".join(f"{place}|said\n" for place in places))
    assert [entry.id for entry in entries_of(tmp_path / "set")[0]] == ["wavs/a", "wavs/b", "x/c", "y/d"]


def test_a_table_with_other_columns_is_told_what_it_should_begin_with(tmp_path):
    tone(tmp_path / "a.wav")
    (tmp_path / "metadata.csv").write_text("audio,text\na.wav,so it is\n")
    report = prepare(tmp_path, tmp_path / "set", space.get("lips"))
    assert report.accepted == 1 and "a table of clips begins with audio_file|text" in report.rejections[0]["message"]


def test_libritts_text_that_is_not_utf8(tmp_path):
    libritts(tmp_path)
    next(tmp_path.rglob("1034*.normalized.txt")).write_bytes("f\xfcnf".encode("latin-1"))
    entries, report = entries_of(tmp_path)
    assert [entry.speaker for entry in entries] == ["19"] and report.rejections[0]["message"].endswith(": not UTF-8 text")


def test_f5_arrow(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="raw.arrow needs pyarrow (extra arrow)")
    tone(tmp_path / "a.wav")
    table = pyarrow.table({"audio_path": [str(tmp_path / "a.wav")] * 2, "text": [["h", "i"], [" ", "ni3", " ", "hao3"]]})
    with pyarrow.OSFile(str(tmp_path / "raw.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (tmp_path / "duration.json").write_text(json.dumps({"duration": [0.5, 0.5]}))
    assert detect(tmp_path) == "f5-arrow"
    assert [(entry.id, entry.text) for entry in entries_of(tmp_path)[0]] == [("0000000-a", "hi"), ("0000001-a", "ni3 hao3")]
    for content, words in (({"duration": [0.5]}, "1 durations for 2 clips"), ({"duration": 3}, "not F5"), ([0.5], "not F5")):
        (tmp_path / "duration.json").write_text(json.dumps(content))
        with pytest.raises(InputError, match=words):
            entries_of(tmp_path)


@pytest.mark.parametrize("audio, text, said", [
    (None, "hi", "audio_path = None"), (3, "hi", "audio_path = 3"), ("a.wav", ["h", None], "text = ['h', None]"),
    ("a.wav", 7, "text = 7"), ("a.wav", None, None),
])  # fmt: skip
def test_f5_arrow_with_nulls_and_numbers(tmp_path, audio, text, said):
    pyarrow = pytest.importorskip("pyarrow", reason="raw.arrow needs pyarrow (extra arrow)")
    table = pyarrow.table({"audio_path": [audio], "text": [text]})
    with pyarrow.OSFile(str(tmp_path / "raw.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    entries, report = entries_of(tmp_path)
    if said is None:  # no text is no fault
        assert not entries[0].text and not report.rejections
    else:
        assert not entries and said in report.rejections[0]["message"]


def test_f5_arrow_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "raw.arrow").write_bytes(b"")
    with pytest.raises(InputError, match=r"pip install 'jamflow-jax\[arrow\]'"):
        entries_of(tmp_path)


def test_files_of_one_name_belong_together(tmp_path):
    tone(tmp_path / "ann/Übung 1.wav")
    np.save(tmp_path / "ann/Übung 1.npy", np.zeros((12, 2), np.float32))
    (tmp_path / "ann/Übung 1.txt").write_text("erste\nÜbung", encoding="utf-8")
    tone(tmp_path / "bob.flac")
    (tmp_path / ".hidden.wav").write_bytes(b"")
    (tmp_path / "alone.txt").write_text("no clip")
    (tmp_path / "bob.txt").write_bytes(b"\xff\xfe")
    entries, report = entries_of(tmp_path)
    assert [(entry.id, entry.text, entry.speaker) for entry in entries] == [("ann/Übung 1", "erste Übung", "ann")]
    assert entries[0].motion and report.rejections[0]["message"].endswith("bob.txt: not UTF-8 text")
    assert [entry.id for entry in entries_of(tmp_path, "motion")[0]] == ["ann/Übung 1"]
    assert not entries_of(tmp_path, "sound")[0][0].motion
    assert [entry.id for entry in entries_of(tmp_path / "bob.flac")[0]] == ["bob"]


def test_files_of_one_name_and_sort_are_not_dropped_silently(tmp_path):
    for name in ("two.wav", "two.flac"):
        tone(tmp_path / name)
    for name in ("two.lab", "two.txt", "alone.lab", "alone.txt"):
        (tmp_path / name).write_text(f"of {name}")
    entries, report = entries_of(tmp_path)
    assert [(entry.id, entry.audio.name, entry.text) for entry in entries] == [("two", "two.flac", "of two.lab")]
    assert [(entry["reason"], entry["message"]) for entry in report.rejections] == [
        ("duplicate id", f"{tmp_path}/two.txt: two.lab is taken"), ("duplicate id", f"{tmp_path}/two.wav: two.flac is taken"),
    ]  # fmt: skip


def test_names_that_are_no_text_are_one_line_and_the_rest_goes_on(tmp_path, capsys):
    """Bytes that are not UTF-8, and a line break."""
    for name in ("good.wav", "bad\udcff.wav", "two\nlines.wav"):
        tone(tmp_path / "snd/a.wav")
        (tmp_path / "snd/a.wav").rename(tmp_path / "snd" / name)
    (tmp_path / "snd" / "empty\nfile.wav").write_bytes(b"")
    report = prepare(tmp_path / "snd", tmp_path / "set", space.get("lips"))
    stored = json.loads((tmp_path / "set/report.json").read_text())
    assert report.accepted == 2 and sorted(entry["id"] for entry in stored["rejections"]) == ["bad\\udcff", "empty file"]
    assert capsys.readouterr().err.count("\n") == 2 and all("\n" not in entry["id"] for entry in stored["notes"])


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    os.mkfifo(tmp_path / "b.txt")
    report = prepare(tmp_path, tmp_path / "set", space.get("lips"))
    assert [entry["message"].rpartition(": ")[2] for entry in report.rejections] == ["not a regular file"] * 2


def live_link(path, rows: list[str]) -> None:
    path.write_text("Timecode,BlendshapeCount,EyeBlinkLeft,JawOpen,MouthClose,MouthPucker,HeadYaw\n" + "\n".join(rows) + "\n")


def test_live_link_face(tmp_path):
    """60 frames a second with running timecodes; the jaw opens by 0.01 a frame; one frame lacks the face."""
    rows = [f"01:59:{59 + i // 60:02d}:{i % 60:02d}.250,61,0.1,{i / 100},0,0.2,0.3" for i in range(90)]
    rows = [row.replace("01:59:60", "02:00:00") for row in rows]
    rows[30] = rows[30].rsplit(",", 6)[0] + ",0,,,,,"
    live_link(tmp_path / "take 1.csv", rows)
    report = prepare(tmp_path, tmp_path / "set", space.get("lips"))
    assert report.exit_code == 0 and {"motion interpolated", "motion converted", "motion resampled"} == report.by_note().keys()
    opening = DataSet(tmp_path / "set").record(0).motion[:, 0]
    assert np.abs(opening[:36] - np.arange(36) * 0.024).max() < 1e-4


@pytest.mark.parametrize("rows, words", [
    (["00:00:00:00.0,61,0,0,0,0"], "row 2: no timecode, count and 5 numbers"),
    (["a,61,0,0,0,0,0"], "row 2: no timecode"),
])  # fmt: skip
def test_live_link_face_with_wrong_columns(tmp_path, rows, words):
    live_link(tmp_path / "a.csv", rows + ["00:00:00:01.0,61,0,0,0,0,0"])
    report = prepare(tmp_path, tmp_path / "set", space.get("lips"))
    assert report.exit_code == 1 and words in report.rejections[0]["message"]


def tfds_set(folder, samples):
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({
        "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16), "text": tfds.features.Text(), "speaker": tfds.features.Text(),
    })  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    identity = tfds.core.dataset_info.DatasetIdentity("tones", tfds.core.Version("1.0.0"), str(folder), "")
    info = tfds.core.DatasetInfo(builder=identity, features=features, metadata=tfds.core.MetadataDict(sample_rate=16_000))
    writer = tfds.core.SequentialWriter(info, 10, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples({"train": [{"audio": samples, "text": "a tone", "speaker": "oscillator"}]})
    writer.close_all()


def test_tfds_audio_set(tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="TFDS sets need tensorflow-datasets (extra tfds)")
    samples = (3000 * np.sin(np.arange(8_000) / 9)).astype(np.int16)
    tfds_set(tmp_path / "tones", samples)
    assert detect(tmp_path / "tones") == "tfds"
    entries, report = entries_of(tmp_path / "tones", unpacked=tmp_path / "unpacked")
    assert [(e.id, e.text, e.speaker, e.split) for e in entries] == [("train/0000000", "a tone", "oscillator", "train")]
    assert np.array_equal(soundfile.read(entries[0].audio, dtype="int16")[0], samples)
    for other in ("elsewhere", "tones"):  # another set of that name, and this one made again
        shutil.rmtree(tmp_path / other, ignore_errors=True)
        tfds_set(tmp_path / other, -samples)
        (entry,), _ = entries_of(tmp_path / other, unpacked=tmp_path / "unpacked")
        assert np.array_equal(soundfile.read(entry.audio, dtype="int16")[0], -samples)


def test_what_is_no_source(tmp_path, capsys):
    with pytest.raises(InputError, match="no such file or folder"):
        detect(tmp_path / "nowhere")
    with pytest.raises(InputError, match="say it with --kind manifest, f5-csv"):
        detect(tmp_path)
    with pytest.raises(ConfigError, match="--kind 'flac' is none of"):
        list(rows(tmp_path, "flac"))
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--kind", "files"]) == 1
    assert "there is no clip" in capsys.readouterr().err


def test_files_that_must_not_be_read_are_named(tmp_path, monkeypatch):
    """Permission denied, by a stand-in: tests may run as root, who may read everything."""
    from data_pipelines.prepare import clip_reader

    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav")
    read = clip_reader.read_audio

    def refuse(path, *args):
        if path.name == "a.wav":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, *args)

    monkeypatch.setattr(clip_reader, "read_audio", refuse)
    report = prepare(tmp_path, tmp_path / "set", space.get("lips"))
    assert report.accepted == 1 and report.rejections[0]["message"].endswith("a.wav: Permission denied")
