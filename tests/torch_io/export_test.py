"""A folder for PyTorch: it reads back bit for bit, refuses to lie, and works on its own; of the audio stream, what F5-TTS loads."""
import json
import subprocess
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jamflow_jax.errors import InputError
from jamflow_jax.torch_io import export, f5tts, vocos
from jamflow_jax.torch_io.names import VOCOS_BUFFERS, turn_back

torch = pytest.importorskip("torch")
from jamflow_jax.torch_io import jamflow_torch  # noqa: E402


def write(folder, tiny, **options):
    folder.mkdir()
    return export.write(folder, tiny.config, tiny.params, tiny.tokenizer, tiny.space, tiny.statistics, tiny.facts, **options)


@pytest.fixture(scope="module")
def vocoder(golden):
    return vocos.load(golden / "vocos_tiny.safetensors")


@pytest.fixture(scope="module")
def exported(tiny, vocoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "tiny"
    return folder, write(folder, tiny, vocoder=vocoder)


def test_everything_is_there_and_measured(exported):
    folder, checked = exported
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "jamflow_torch.py", "model.safetensors", "statistics.json", "verification.json", "vocab.txt",
        "vocoder.safetensors"]  # fmt: skip
    assert (folder / "jamflow_torch.py").read_bytes() == Path(jamflow_torch.__file__).read_bytes()
    assert json.loads((folder / "verification.json").read_text()) == checked
    assert set(checked["largest_difference"]) == {"audio", "motion"}
    assert all(0 < value < 2e-4 for value in checked["largest_difference"].values())
    assert 0 < checked["vocoder_largest_difference"] < 1e-3
    with safe_open(folder / "model.safetensors", "np") as file:
        assert {key.partition(".")[0] for key in file.keys()} == {"audio", "motion"}
        assert file.get_slice("audio.transformer_blocks.1.attn.to_q.weight").get_shape() == [32, 32]
        assert file.get_slice("motion.input_embed.proj.weight").get_shape() == [32, 11]


def test_it_reads_back_bit_for_bit(exported, tiny, golden):
    config, params = export.load(exported[0])
    assert config == tiny.config
    jax.tree.map(np.testing.assert_array_equal, params, tiny.params)
    sound, written = load_file(golden / "vocos_tiny.safetensors"), load_file(exported[0] / "vocoder.safetensors")
    assert set(sound) - set(written) <= set(VOCOS_BUFFERS)
    assert all(np.array_equal(value, sound[key]) for key, value in written.items())


@pytest.mark.parametrize("dtype, largest", (("bfloat16", 0.1), ("float16", 0.01)))
def test_half_precision_is_rounded_once_and_its_error_recorded(tiny, tmp_path, dtype, largest):
    checked = write(tmp_path / "half", tiny, dtype=dtype)
    kind = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}[dtype]
    _, params = export.load(tmp_path / "half")
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b.astype(kind).astype(np.float32)), params, tiny.params)
    assert max(checked["largest_difference"].values()) < 2e-4  # of the float32 file
    errors = checked[f"{dtype}_error"]
    for stream in ("audio", "motion"):
        rounded, computed = errors["computed_in_float32"][stream], errors[f"computed_in_{dtype}"][stream]
        assert 0 < rounded["rms"] < computed["rms"] < computed["largest"] < largest
    model = jamflow_torch.JamFlow.from_pretrained(tmp_path / "half")
    (result,) = model.generate([jamflow_torch.Request(30, text_ids=model.encode("a"))], steps=2)
    assert model.audio.proj_out.weight.dtype == getattr(torch, dtype)
    assert result.mel.dtype == torch.float32 and result.mel.isfinite().all()


def test_parameters_that_overflow_half_precision_are_refused(tiny, tmp_path):
    large = SimpleNamespace(**vars(tiny) | {"params": jax.tree.map(np.copy, tiny.params)})
    large.params["audio"]["time"]["in"]["bias"] += 1e6
    with pytest.raises(InputError, match="time_mlp.0.bias.*float16 ends at 65504"):
        write(tmp_path / "over", large, dtype="float16")
    large.params["audio"]["time"]["in"]["bias"][0] = np.nan
    with pytest.raises(InputError, match="audio.time_embed.time_mlp.0.bias holds values that are not finite$"):
        write(tmp_path / "nan", large)


def test_a_file_that_computes_something_else_is_refused(tiny, tmp_path, monkeypatch):
    """One matrix not turned."""
    def wrong(kind, value):
        tensors = turn_back(kind, value)
        return [part.T for part in tensors] if kind == "qkv" else tensors

    monkeypatch.setattr(export, "turn_back", wrong)
    with pytest.raises(InputError, match="other audio velocities than JAX"):
        write(tmp_path / "wrong", tiny)


def test_what_is_no_export_is_refused(exported, tmp_path):
    with pytest.raises(InputError, match="not the config of a PyTorch export"):
        export.load(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((exported[0] / name).read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["motion.proj_out.bias"]
    save_file(tensors | {"other.key": np.zeros(1, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="audio stream.*other.key is left over"):
        export.load(tmp_path)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="motion stream.*proj_out.bias is missing"):
        export.load(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(about | {"format": "jamflow-torch-0"}))
    with pytest.raises(InputError, match="jamflow-torch-0"):
        export.load(tmp_path)
    with pytest.raises(ValueError, match="not an export"):
        jamflow_torch.JamFlow.from_pretrained(tmp_path)


def test_text_and_motion_mean_the_same(exported, tiny):
    model = jamflow_torch.JamFlow.from_pretrained(exported[0])
    assert model.encode("abc z").tolist() == tiny.tokenizer.encode("abc z").tolist()
    motion = np.random.default_rng(0).normal(size=(9, 8)).astype(np.float32)
    mouth, rest = model.normalise(torch.as_tensor(motion))
    ours, ours_rest = tiny.space.split(tiny.statistics.normalise(motion))
    np.testing.assert_allclose(mouth, ours, atol=1e-6)
    np.testing.assert_allclose(rest, ours_rest, atol=1e-6)
    back = model.raw_motion(mouth, rest).numpy()
    used = [i for i in (*tiny.space.mouth, *tiny.space.rest) if tiny.statistics.live[i]]
    np.testing.assert_allclose(back[:, used], motion[:, used], atol=1e-5)
    still = [i for i in range(8) if i not in used]
    np.testing.assert_allclose(back[:, still], np.tile(tiny.statistics.mean[still], (9, 1)), atol=1e-6)


def test_the_file_works_on_its_own(exported, tmp_path, monkeypatch, capsys):
    words = ["--text", "a cab", "--seconds", "0.8", "--steps", "1", "--out", "said"]
    command = [sys.executable, "-I", str(exported[0] / "jamflow_torch.py"), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with wave.open(str(tmp_path / "said.wav")) as file:
        assert (file.getframerate(), file.getnframes()) == (24_000, 74 * 256)
    made = torch.load(tmp_path / "said.pt")
    assert {name: value.shape for name, value in made.items()} == {"mel": (75, 100), "motion": (20, 8)}

    monkeypatch.chdir(tmp_path)
    for words, shapes in (
        (["--audio", "said.wav"], {"motion": (20, 8)}),
        (["--text", "abc", "--ref-audio", "said.wav", "--ref-text", "a cab"], {"mel": (19, 100), "motion": (6, 8)}),
    ):
        monkeypatch.setattr(sys, "argv", ["jamflow_torch.py", "--model", str(exported[0]), "--steps", "1", "--out", "x", *words])
        jamflow_torch.main()
        assert {name: value.shape for name, value in torch.load(tmp_path / "x.pt").items()} == shapes
    assert "x.wav: 0.19 s" in capsys.readouterr().out


def test_the_demo_says_mistakes_in_one_line(exported, tmp_path, monkeypatch, capsys):
    for name, samples in (("short", 300), ("long", 2400)):
        jamflow_torch.write_wav(tmp_path / f"{name}.wav", torch.zeros(samples))
    (tmp_path / "no.wav").write_text("this is no sound")
    monkeypatch.chdir(tmp_path)
    load = jamflow_torch.JamFlow.from_pretrained

    def says(words, message, **about):
        def changed(*arguments):
            model = load(*arguments)
            model.about |= about
            return model

        monkeypatch.setattr(jamflow_torch.JamFlow, "from_pretrained", changed)
        monkeypatch.setattr(sys, "argv", ["jamflow_torch.py", "--model", str(exported[0]), *words])
        with pytest.raises(SystemExit) as ended:
            jamflow_torch.main()
        assert ended.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]

    says(["--audio", "short.wav"], "short.wav: 300 samples; at least 1024 are needed")
    says(["--audio", "none.wav"], "none.wav")
    says(["--audio", "no.wav"], "no.wav: not a wav file")
    says(["--audio", "long.wav"], "--audio: this stage-1 model hears features of its data set", stage=1, speech="features")
    says(["--text", "abc"], "--text: it needs the audio stream", stage=1, streams=["motion"])
    says(["--text", "abc", "--steps", "0"], "of 0 steps")
    assert not (tmp_path / "sample.pt").exists()


def test_audio_only_is_an_f5tts_checkpoint(tiny, tmp_path):
    checked = export.write_audio_only(tmp_path, tiny.config.audio, tiny.params["audio"], tiny.tokenizer, "tiny")
    assert checked["largest_difference"]["audio"] < 2e-4
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "model.yaml", "vocab.txt", "verification.json"}
    with safe_open(tmp_path / "model.safetensors", "np") as file:
        assert all(key.startswith("ema_model.transformer.") for key in file.keys())
        assert file.get_tensor("ema_model.transformer.rotary_embed.inv_freq").dtype == np.float32
    params = f5tts.load_params(tmp_path / "model.safetensors", tiny.config.audio)
    jax.tree.map(np.testing.assert_array_equal, params, tiny.params["audio"])
