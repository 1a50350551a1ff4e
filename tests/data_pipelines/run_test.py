"""Preparations that are killed, run again, run on Beam, or run out of room: always the same bytes, or one line."""
import dataclasses
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_pipelines.dataset import DataSet
from data_pipelines.prepare import clip_reader, shards
from data_pipelines.prepare.build import Checks, build
from data_pipelines.prepare.clip_reader import Reading
from data_pipelines.prepare.extractors import Extractor
from data_pipelines.prepare.manifest import Entry
from data_pipelines.prepare.run import Job, prepare
from data_pipelines.prepare.shards import Settings
from jamflow_jax.errors import InputError
from jamflow_jax.motion import space

LIPS = space.get("lips")
GRID = Path(__file__).parents[3] / "shared/data/grid_s1"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    for i in range(8):
        soundfile.write(folder / f"{i}.wav", 0.3 * np.sin(np.arange(12_000 + 600 * i) / (9 + i)), 24_000)
        (folder / f"{i}.txt").write_text(f"number {i}")
    (folder / "6.wav").write_text("no sound")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(sounds, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole") / "set"
    assert prepare(sounds, out, LIPS, shard_examples=2).exit_code == 3
    return contents(out)


SLOW = """
import sys, time
from pathlib import Path
from data_pipelines.prepare import clip_reader
from data_pipelines.prepare.build import Checks
from data_pipelines.prepare.run import prepare
from jamflow_jax.motion import space
read = clip_reader.read_audio
def slow(path, *args):
    time.sleep(0.0 if Path(path).stem < "4" else 60.0)
    return read(path, *args)
clip_reader.read_audio = slow
prepare(sys.argv[1], sys.argv[2], space.get("lips"), shard_examples=2, checks=Checks(near_duplicates=sys.argv[3]))
"""


def killed(sounds: Path, out: Path, near_duplicates: str = "off") -> subprocess.Popen:
    """A preparation of 0.wav, 1.wav, ... that was killed in its third shard."""
    partial = out.with_name(f".{out.name}.partial")
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(sounds), str(out), near_duplicates])
    deadline = time.monotonic() + 60
    while not (partial / "done/00001.json").exists() or not any(partial.glob("shards/data-00002.array_record.*.partial")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return process


def test_killed_and_run_again_gives_the_same_bytes(sounds, whole, tmp_path, monkeypatch):
    out, partial = tmp_path / "set", tmp_path / ".set.partial"
    process = killed(sounds, out)
    left = {path.name for path in partial.glob("shards/*.partial")}
    other = partial / "shards" / f"{next(iter(left)).partition('~')[0]}-2~{process.pid}~00.partial"  # another machine's
    mine = partial / "shards" / next(iter(left)).replace(f"~{process.pid}~", f"~{os.getpid()}~")
    for path in (other, mine):
        path.touch()
    shards.sweep(partial / "shards")
    assert set(partial.glob("shards/*.partial")) == {other, mine} and len(left) == 3
    assert not out.exists() and (partial / "shards" / "data-00001.array_record").exists()
    read, seen = clip_reader.read_audio, []
    monkeypatch.setattr(clip_reader, "read_audio", lambda path, *args: seen.append(path.stem) or read(path, *args))
    prepare(sounds, out, LIPS, shard_examples=2)
    assert seen == ["4", "5", "6", "7"]  # what was finished is not read again
    assert contents(out) == whole and not partial.exists()


@pytest.mark.slow
@pytest.mark.skipif(not GRID.exists(), reason="the real clips (../shared/data) are not on this machine")
def test_killed_with_near_duplicates_in_other_shards(tmp_path):
    """GRID sentences, three of them once more from a copy, an MP3 and a Vorbis file, in shards that come later."""
    grid, folder = sorted((GRID / "audio").glob("*.flac"))[:6], tmp_path / "sounds"
    folder.mkdir()
    for i, (again, form) in enumerate([*((i, "WAV") for i in range(6)), (1, "MP3"), (3, "OGG"), (0, "WAV")]):
        audio, rate = soundfile.read(grid[again])
        soundfile.write(folder / f"{i}.{form.lower()}", (0.5 if i > 5 else 1.0) * audio, rate, format=form)
    reject = Checks(near_duplicates="reject")
    prepare(folder, tmp_path / "whole", LIPS, shard_examples=2, checks=reject)
    killed(folder, tmp_path / "set", "reject")
    report = prepare(folder, tmp_path / "set", LIPS, shard_examples=2, checks=reject, workers=2)
    assert report.accepted == 6 and [entry["id"] for entry in report.rejections] == ["6", "7", "8"]
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("options, cut_off", [({"max_seconds": 29.0}, False), ({"shard_examples": 1}, False), ({}, True)])
def test_what_is_left_of_another_preparation_is_not_used(sounds, whole, tmp_path, monkeypatch, options, cut_off):
    """Other options, a shard that was cut off: each is made anew; strays go."""
    options = {"shard_examples": 2} | options

    def full(path, shards, *_):
        list(shards)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data_pipelines.prepare.run.assemble", full)
    with pytest.raises(InputError, match="the same command goes on"):
        prepare(sounds, tmp_path / "set", LIPS, **options)
    monkeypatch.undo()
    if cut_off:
        for file in (tmp_path / ".set.partial" / "shards").iterdir():
            file.write_bytes(file.read_bytes()[:100])
    prepare(sounds, tmp_path / "set", LIPS, shard_examples=2)
    assert contents(tmp_path / "set") == whole


def test_a_changed_file_changes_the_key_of_its_shard(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(2_000), 24_000)
    job = Job(0, (Entry(1, "a", audio=tmp_path / "a.wav"),), Settings(LIPS), Reading(), tmp_path)
    before = job.key()
    assert job.key() == before
    soundfile.write(tmp_path / "a.wav", np.zeros(2_001), 24_000)
    assert job.key() != before
    slower = Reading(extractor=Extractor(("python", "x"), "cache", version="v 1"))
    keys = [dataclasses.replace(job, reading=reading).key() for reading in (Reading(), Reading(max_gap=6), slower)]
    elsewhere = Reading(extractor=dataclasses.replace(slower.extractor, command=("/other/python", "x"), cache="other"))
    assert len(set(keys)) == 3 and dataclasses.replace(job, reading=elsewhere).key() == keys[2]


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(sounds, whole, tmp_path, monkeypatch):
    class Full:
        def __init__(self, path, options):
            self.path = path
            Path(path).touch()

        def write(self, row):
            raise RuntimeError(f"RESOURCE_EXHAUSTED: No space left on device [28] writing {self.path}")

        def close(self):
            pass

    real, made = shards.ArrayRecordWriter, []
    monkeypatch.setattr(shards, "ArrayRecordWriter", lambda *args: made.append(1) or (real if len(made) <= 6 else Full)(*args))
    with pytest.raises(InputError, match="set: cannot be written: No space left on device; what is finished is kept") as error:
        prepare(sounds, tmp_path / "set", LIPS, shard_examples=2)
    assert "\n" not in str(error.value) and not (tmp_path / "set").exists()
    assert not list((tmp_path / ".set.partial").rglob("*.partial"))  # which would fill the disk with every try
    monkeypatch.undo()
    prepare(sounds, tmp_path / "set", LIPS, shard_examples=2)
    assert contents(tmp_path / "set") == whole


def test_a_full_disk_is_not_the_fault_of_a_clip(videos, tmp_path, monkeypatch):
    fake = Extractor((sys.executable, str(Path(__file__).with_name("fake_worker.py"))), str(tmp_path / "kept")).ready()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("data_pipelines.prepare.extractors._keep", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        prepare(videos / "plain.mkv", tmp_path / "set", LIPS, reading=Reading(extractor=fake))


def test_two_at_once(sounds, tmp_path, monkeypatch):
    def second(*_):
        with pytest.raises(InputError, match="another jamflow prepare is writing it; wait until it has ended"):
            prepare(sounds, tmp_path / "set", LIPS, overwrite=True)
        monkeypatch.undo()
        return read(*_)

    read = clip_reader.read_audio
    monkeypatch.setattr(clip_reader, "read_audio", second)
    assert prepare(sounds, tmp_path / "set", LIPS).accepted == 7
    assert [path.name for path in tmp_path.iterdir()] == ["set"] and not (tmp_path / "set" / "lock").exists()
    with pytest.raises(InputError, match="there is a data set already"):
        prepare(sounds, tmp_path / "set", LIPS)


@pytest.mark.parametrize("policy, accepted", [("note", 3), ("reject", 2)])
def test_duplicates(sounds, tmp_path, policy, accepted):
    sound = (sounds / "1.wav").read_bytes()
    for name in "abc":
        (tmp_path / f"{name}.wav").write_bytes(sound if name != "b" else (sounds / "2.wav").read_bytes())
    report = prepare(tmp_path, tmp_path / "set", LIPS, checks=Checks(duplicates=policy), shard_examples=1)
    assert report.accepted == accepted == len(DataSet(tmp_path / "set"))
    said = report.rejections if policy == "reject" else report.notes
    assert [entry["id"] for entry in said] == ["c"] and "the same as a" in str(said)


@pytest.mark.parametrize("policy, accepted", [("note", 6), ("reject", 3)])
def test_near_duplicates(tmp_path, policy, accepted):
    def tones(seed: int) -> np.ndarray:  # 3 s of chords, struck every 120 ms
        hertz = np.exp(np.random.default_rng(seed).uniform(np.log(150), np.log(6_000), (25, 3)))
        struck = np.sin(2 * np.pi * np.cumsum(np.repeat(hertz, 2_880, 0), 0) / 24_000).sum(1)
        return 0.1 * struck * np.tile(np.hanning(2_880), 25)

    soundfile.write(tmp_path / "a.wav", tones(0), 24_000)
    soundfile.write(tmp_path / "b.wav", tones(1), 24_000)
    soundfile.write(tmp_path / "c.mp3", 0.3 * tones(0)[2_500:], 24_000, format="MP3")
    soundfile.write(tmp_path / "d.ogg", tones(1)[:-2_000], 24_000, format="OGG")
    soundfile.write(tmp_path / "e.wav", 0.5 * tones(0), 16_000)  # another pitch and pace: another sound
    soundfile.write(tmp_path / "f.mp3", tones(0)[1_000:], 24_000, format="MP3")
    checks = Checks(duplicates=policy, near_duplicates=policy)
    report = prepare(tmp_path, tmp_path / "set", LIPS, checks=checks, shard_examples=1)
    assert report.accepted == accepted == len(DataSet(tmp_path / "set"))
    said = report.rejections if policy == "reject" else [note for note in report.notes if "near" in note["note"]]
    assert [entry["id"] for entry in said] == ["c", "d", "f"]
    assert all(f"sounds as {other} does" in str(entry) for other, entry in zip("aba", said))


def test_beam_writes_the_same_bytes(sounds, whole, tmp_path):
    pytest.importorskip("apache_beam", reason="needs apache-beam (extra beam)")
    prepare(sounds, tmp_path / "set", LIPS, shard_examples=2, beam=["--runner=DirectRunner"])
    assert contents(tmp_path / "set") == whole


def test_beam_without_apache_beam_says_what_to_install(sounds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"pip install 'jamflow-jax\[beam\]'"):
        prepare(sounds, tmp_path / "set", LIPS, beam=[])


def test_tfds_reads_the_shards(mixed_set, tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets (extra tfds)")
    import shutil

    from data_pipelines.tfds_pairs import jamflow_pairs, positions

    shutil.copytree(mixed_set, tmp_path / "set")
    builder, data = jamflow_pairs(tmp_path / "set"), DataSet(tmp_path / "set")
    source = builder.as_data_source("pairs")
    assert builder.name == "jamflow_pairs" and len(source) == len(data) and "tensorflow" not in sys.modules
    for place, i in zip(positions(data, "validation").tolist(), data.index.select("validation").tolist()):
        item, record = source[place], data.record(i)
        assert item["id"].decode() == record.id and item["text"].decode() == (record.text or "")
        assert np.array_equal(item["mel"], np.zeros((0, 100)) if record.mel is None else record.mel)
        assert np.array_equal(item["motion"], np.zeros((0, 2)) if record.motion is None else record.motion)


def test_tfds_passes_over_shards_without_a_clip(clip, tmp_path):
    pytest.importorskip("tensorflow_datasets", reason="needs tensorflow-datasets (extra tfds)")
    from data_pipelines.tfds_pairs import jamflow_pairs, positions

    clips = (clip(i, 0.01 if i // 2 in (0, 2, 4) else 0.5) for i in range(10))  # the first shard, one between, the last
    assert build(clips, tmp_path / "set", LIPS, shard_examples=2).accepted == 4
    source, data = jamflow_pairs(tmp_path / "set").as_data_source("pairs"), DataSet(tmp_path / "set")
    assert [source[place]["id"].decode() for place in positions(data).tolist()] == data.index.ids() and len(source) == 4
