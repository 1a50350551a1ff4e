"""Checkpoint files: both formats by content, and everything that is no checkpoint said in one line."""
import os
import pickle
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from jamflow_jax.errors import InputError
from jamflow_jax.torch_io.files import open_checkpoint


class Code:
    def __reduce__(self):
        return (os.system, ("echo pwned",))


def values(path):
    with open_checkpoint(path) as tensors:
        return {name: tensors.read(name) for name in tensors.shapes}


def test_half_precision_becomes_float32(tmp_path):
    halves = {"a": np.array([1.5, -2], ml_dtypes.bfloat16), "b": np.ones((2, 3), np.float16)}
    save_file(halves, tmp_path / "x.bin", {"licence": "MIT"})
    with open_checkpoint(tmp_path / "x.bin") as tensors:  # the content tells, not the name
        assert tensors.shapes == {"a": (2,), "b": (2, 3)} and tensors.metadata["licence"] == "MIT"
        np.testing.assert_array_equal(tensors.read("a"), np.float32([1.5, -2]))
        assert tensors.read("a").dtype == tensors.read("b").dtype == np.float32


@pytest.mark.parametrize("zipped", [True, False])
def test_pytorch_files_give_tensors_one_dictionary_deep(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    path, moments = tmp_path / "model.bin", {"state": {0: {"m": torch.ones(1)}}}
    content = {"ema": {"w": torch.arange(3), "n": 4}, "b": torch.ones(2, dtype=torch.bfloat16), "optimizer": moments}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = values(path)
    assert found.keys() == {"ema/w", "b"}
    np.testing.assert_array_equal(found["ema/w"], np.float32([0, 1, 2]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cut short or damaged"):
        values(path)


def test_code_in_a_pickle_is_named_and_not_run(tmp_path, capfd):
    torch = pytest.importorskip("torch")
    for zipped in (True, False):
        torch.save({"w": torch.ones(1), "x": Code()}, tmp_path / "evil.pt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(InputError, match=r"evil.pt: refused: it names posix.system") as error:
            values(tmp_path / "evil.pt")
        assert "\n" not in str(error.value)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"x": Code()}))
    with pytest.raises(InputError, match="refused: a pickle that PyTorch did not save"):
        values(tmp_path / "plain.pt")
    assert "pwned" not in capfd.readouterr().out


def test_without_pytorch_only_its_own_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "model.pt").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(InputError, match=r"model.pt: a PyTorch file, which needs PyTorch.*jamflow-jax\[torch\]"):
        values(tmp_path / "model.pt")
    save_file({"a": np.ones(1)}, tmp_path / "model.safetensors")
    assert values(tmp_path / "model.safetensors").keys() == {"a"}


def test_what_wraps_a_model_is_taken_off_its_names(tmp_path):
    names = ["module.a.module.b", "_orig_mod.a", "state_dict/module._orig_mod.c", "ema_model_state_dict/ema_model._orig_mod.d",
             "submodule.e"]  # fmt: skip
    save_file({name: np.full(1, i, np.float32) for i, name in enumerate(names)}, tmp_path / "x.safetensors")
    found = values(tmp_path / "x.safetensors")
    assert {name: int(value[0]) for name, value in found.items()} == {
        "a.module.b": 0, "a": 1, "c": 2, "ema_model_state_dict/ema_model.d": 3, "submodule.e": 4}  # fmt: skip
    save_file({"module.a": np.zeros(1), "a": np.ones(1)}, tmp_path / "x.safetensors")
    assert values(tmp_path / "x.safetensors").keys() == {"module.a", "a"}


def test_parts_of_a_checkpoint_are_named(tmp_path):
    for name, what in (("model-00001-of-00002.safetensors", "a shard"), ("model.safetensors.index.json", "the index")):
        (tmp_path / name).write_text("{}")
        with pytest.raises(InputError, match=f"{name}: only {what} of a checkpoint in several files; merge it into one"):
            values(tmp_path / name)
    save_file({"a": np.ones(1)}, tmp_path / "model-00001-of-00001.safetensors")
    assert values(tmp_path / "model-00001-of-00001.safetensors").keys() == {"a"}


def test_what_is_no_checkpoint(golden, tmp_path):
    with pytest.raises(InputError, match="none.pt: no such checkpoint"):
        values(tmp_path / "none.pt")
    with pytest.raises(InputError, match="not a checkpoint file"):
        values(tmp_path)
    for content, words in [
        ((golden / "f5tts_tiny.safetensors").read_bytes()[:50_000], "cut short or damaged, not a readable safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!doctype html><html>not found</html>", "neither a safetensors nor a PyTorch"),
        (b"", "neither a safetensors nor a PyTorch"),
    ]:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(InputError, match=words):
            values(tmp_path / "x")
