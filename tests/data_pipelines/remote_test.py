"""Addresses: a manifest, its files and the data set in an object store (fsspec's, in memory); local copies come and go."""
import json

import fsspec
import numpy as np
import pytest
import soundfile

from data_pipelines import remote
from data_pipelines.dataset import DataSet
from data_pipelines.prepare.run import prepare
from data_pipelines.prepare.sources import detect
from jamflow_jax.errors import InputError
from jamflow_jax.motion import space
from launch.data import main as data_command
from launch.prepare import main as prepare_command

LIPS = space.get("lips")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """memory://bucket with two clips, the manifest's paths once relative and once an address; and one that is missing."""
    monkeypatch.setenv("JAMFLOW_HOME", str(tmp_path / "home"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", 0.2 * np.sin(np.arange(12_000) / 9), 24_000)
        with system.open(f"/bucket/{name} ü.wav", "wb") as file:
            file.write((tmp_path / f"{name}.wav").read_bytes())
    lines = [{"audio": "a ü.wav", "text": "one"}, {"audio": "memory://bucket/b ü.wav", "text": "two"}, {"audio": "c.wav"}]
    with system.open("/bucket/m.jsonl", "w") as file:
        file.write("\n".join(json.dumps(line) for line in lines))
    yield system
    system.store.clear()


def test_a_data_set_is_prepared_from_and_into_a_store(store, tmp_path):
    report = prepare("memory://bucket/m.jsonl", "memory://bucket/sets/one", LIPS)
    assert report.accepted == 2 and report.rejections[0]["message"].endswith("memory://bucket/c.wav: No such file or directory")
    assert store.exists("/bucket/sets/one/dataset.json") and store.exists("/bucket/sets/one/shards/data-00000.array_record")
    data = DataSet("memory://bucket/sets/one")
    assert not (data.path / "shards").exists()  # copied when the first record is read
    assert data.record(1).text == "two" and len(data.audio(0)) == 12_000 and (data.path / "shards").exists()
    with pytest.raises(InputError, match="there is a data set already"):
        prepare("memory://bucket/m.jsonl", "memory://bucket/sets/one", LIPS)
    local = prepare("memory://bucket/m.jsonl", tmp_path / "set", LIPS)
    assert local.accepted == 2 and DataSet(tmp_path / "set").meta["fingerprint"] == data.meta["fingerprint"]
    prepare("memory://bucket/m.jsonl", "memory://bucket/sets/one", LIPS, keep_audio=False, overwrite=True)
    assert DataSet("memory://bucket/sets/one").audio(0) is None and not list((tmp_path / "home").rglob("*.partial"))


def test_the_page_of_a_data_set_lies_beside_it(store, tmp_path):
    options = ["--out", "memory://bucket/sets/page", "--space", "lips", "--workers", "1"]
    assert prepare_command(["memory://bucket/m.jsonl", *options]) == 3
    page = store.cat("/bucket/sets/page/report.html").decode()
    assert "bucket/c.wav: No such file" in page and "data:image/png" in page
    assert data_command(["inspect", "memory://bucket/sets/page"]) == 0
    assert data_command(["verify", "memory://bucket/sets/page"]) == 0
    store.pipe_file("/bucket/sets/page/shards/audio-00000.array_record", b"rot")
    assert data_command(["verify", "--fast", "memory://bucket/sets/page"]) == 3


def test_a_store_that_fails_keeps_what_is_finished(store, tmp_path, monkeypatch):
    def full(*_):
        raise RuntimeError("503 Slow down")

    monkeypatch.setattr(type(store), "put_file", full)
    with pytest.raises(InputError, match="memory://bucket/two: cannot be written: 503 Slow down; it is whole in "):
        prepare("memory://bucket/m.jsonl", "memory://bucket/two", LIPS)
    assert not store.exists("/bucket/two/dataset.json") and len(list((tmp_path / "home").rglob("dataset.json"))) == 1


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(InputError, match="memory://bucket/none: no data set that can be read"):
        DataSet("memory://bucket/none")
    with pytest.raises(InputError, match="a manifest is needed"):
        detect("memory://bucket")
    with pytest.raises(InputError, match="nosuch"):
        DataSet("nosuch://bucket/x")
    assert remote.address("gs:/bucket/a") == remote.address("gs://bucket/a") == "gs://bucket/a"
    assert remote.address("/a/gs:/b") is None and remote.address("data/x") is None
