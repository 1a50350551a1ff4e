"""Where runs live: directories, and gs:// addresses on a stand-in for Google's storage."""
import importlib.util
import logging
import os

import pytest

from jamflow_jax import storage
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.train import origins, workdir


@pytest.mark.parametrize("path, found", [
    ("gs://bucket/run/", "gs://bucket/run"), ("gs:/bucket/run", "gs://bucket/run"), ("s3://b/x", "s3://b/x"),
    ("runs/mine", None), ("/runs/gs:/x", None),
])  # fmt: skip
def test_addresses(path, found):
    assert storage.address(path) == found


def test_where_no_run_can_live(monkeypatch):
    with pytest.raises(ConfigError, match=r"s3://bucket/run: runs and models live in directories and at gs://BUCKET"):
        storage.at("s3://bucket/run")
    with pytest.raises(ConfigError, match="gs:/bucket/run: expected a directory of this machine"):
        storage.here("gs:/bucket/run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"gs://bucket/run: pip install 'jamflow-jax\[gcs\]'"):
        storage.at("gs://bucket/run")


@pytest.fixture(params=["a directory", "an address"])
def place(request, tmp_path):
    if request.param == "a directory":
        return tmp_path / "run"
    request.getfixturevalue("store")
    return storage.at(f"gs://bucket/{tmp_path.name}")


def test_files_and_folders(place):
    assert storage.names(place) == [] and not storage.exists(place)
    storage.make(place)
    storage.write(place / "a.json", "{}")
    storage.write(place / "a.json", b"[1]")
    storage.make(place / "b")
    storage.write(place / "b" / "c", "x")
    assert storage.read(place / "a.json") == b"[1]" and sorted(storage.names(place)) == ["a.json", "b"]
    storage.make(place / "aside" / "b")
    storage.write(place / "aside" / "b" / "old", "y")
    storage.move(place / "b", place / "aside" / "b")
    assert storage.names(place / "aside" / "b") == ["c"] and not storage.exists(place / "b")
    with storage.local(place / "a.json") as file:
        assert file.read_bytes() == b"[1]" and isinstance(file, os.PathLike)
    storage.remove(place), storage.remove(place)
    assert not storage.exists(place)
    with pytest.raises(FileNotFoundError) as error:
        storage.read(place / "a.json")
    assert error.value.filename == str(place / "a.json")


def test_what_grows_is_kept_when_asked(place):
    storage.make(place)
    storage.write(place / "log", "one\n")
    growing = storage.Growing(place, ("log", "none"))
    with open(growing.folder / "log", "a") as file:
        file.write("two\n")
    (growing.folder / "tb").mkdir()
    (growing.folder / "tb" / "events").write_text("e")
    growing.keep()
    assert storage.read(place / "log") == b"one\ntwo\n" and storage.read(place / "tb" / "events") == b"e"
    with open(growing.folder / "log", "a") as file:
        file.write("three\n")
    assert (b"three" in storage.read(place / "log")) != growing.elsewhere
    growing.close()
    assert storage.read(place / "log").endswith(b"three\n") and growing.folder.exists() != growing.elsewhere


def test_only_what_has_changed_is_copied(store):
    growing = storage.Growing("gs://bucket/changed")
    (growing.folder / "a").write_text("a"), (growing.folder / "b").write_text("b")
    growing.keep()
    before = dict(store.generations)
    (growing.folder / "b").write_text("bb")
    growing.close()
    changed = {name for name, generation in store.generations.items() if before.get(name) != generation}
    assert changed == {"bucket/changed/b"}


def test_a_store_that_refuses_is_one_line(store):
    store.refuse = {"GET", "POST"}
    with pytest.raises(InputError, match="^gs://bucket/x cannot be listed now"):
        storage.names(storage.at("gs://bucket/x"))
    with pytest.raises(InputError, match="^gs://bucket/x cannot be read now .*not allowed"):
        storage.read("gs://bucket/x")
    with pytest.raises(InputError, match="^gs://bucket/x cannot be written now"):
        storage.write("gs://bucket/x", "x")


@pytest.mark.parametrize("kind", [
    "Name or service not known", "Server disconnected", "no credentials", "Anonymous caller", "TimeoutError", "Forbidden",
])  # fmt: skip
def test_a_store_out_of_reach_is_one_line_that_blames_nothing_else(store, monkeypatch, caplog, capfd, kind):
    """Whatever its clients raise."""
    import aiohttp
    import gcsfs
    from gcsfs.retry import HttpError
    from google.auth.exceptions import RefreshError

    key = aiohttp.client_reqrep.ConnectionKey("storage.googleapis.com", 443, True, True, None, None, None)
    error = {
        "Name or service not known": aiohttp.ClientConnectorError(key, OSError(-2, kind)), "no credentials": RefreshError(kind),
        "Server disconnected": aiohttp.ServerDisconnectedError(), "Anonymous caller": HttpError({"code": 401, "message": kind}),
        "TimeoutError": TimeoutError(), "Forbidden": OSError(f"{kind}: b"),
    }[kind]  # fmt: skip

    async def fail(*_, **__):
        for name in ("gcsfs", "google.auth._default"):
            logging.getLogger(name).error("out of retries", exc_info=error)  # as they do
        raise error

    monkeypatch.setattr(gcsfs.core.GCSFileSystem, "_call", fail)
    run = storage.at("gs://bucket/run")
    for harmed in (
        lambda: storage.names(run), lambda: storage.exists(run / "x"), lambda: storage.read(run / "x"),
        lambda: storage.write(run / "x", "x"), lambda: storage.drop(run / "x"), lambda: storage.remove(run),
        lambda: origins.read(run), lambda: origins.write(run, ()), lambda: workdir.read(run),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rf"^gs://bucket/run\S* cannot be (listed|read|written|removed) now \(.*{kind}.*\)$"):
            harmed()
    assert not caplog.records and capfd.readouterr() == ("", "")
