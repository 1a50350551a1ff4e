"""Does F5-TTS's own code load an audio-only export, and does it compute what JAX computes? Two steps, two environments.

    F5ENV/bin/python benchmarks/f5tts_check.py f5tts EXPORT out.npz      an environment with F5-TTS: loads strictly, runs, saves
    .venv/bin/python benchmarks/f5tts_check.py compare EXPORT out.npz    this project's: the same inputs through JAX, differences

EXPORT is a folder of `jamflow convert torch RUN EXPORT --audio-only`. F5-TTS's code is installed, never copied:

    python -m venv F5ENV; F5ENV/bin/pip install torch==2.13.0 numpy safetensors omegaconf x-transformers torchdiffeq pypinyin rjieba
    F5ENV/bin/pip install --no-deps f5-tts==1.1.22

which is enough for its model and its sampler; the packages that its sound front end imports are stood in for when they are missing.
A third step, `serve`, answers benchmarks/sampling.py: a line of JSON in, a sample taken and timed, a line of JSON out.
"""
import argparse
import importlib
import importlib.util
import json
import sys
import time
import types
from pathlib import Path

import numpy as np

FRAMES, REFERENCE, SEED = 160, 60, 11  # mel frames of the clip and of its reference; the noise's seed
STEPS = {"euler, 8 steps, sway -1, guidance 2": (8, "sway"), "the same, 7 steps of EPSS": (7, "epss")}
BOUNDS = {"velocity": 2e-4, "sample": 1e-3}
BRANCHES = {"velocity": (False, False), "velocity without audio": (True, False), "velocity without audio and text": (True, True)}


def stand_ins() -> None:
    """Makes `f5_tts.model.backbones.dit` and `f5_tts.model.cfm` importable without sound libraries and without the trainer."""
    missing = [name for name in ("torchaudio", "librosa") if importlib.util.find_spec(name) is None]
    for name in (*missing, *(f"{name}.filters" for name in missing)):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].mel = None
    package = importlib.util.find_spec("f5_tts")
    model = types.ModuleType("f5_tts.model")  # the package without its __init__, which imports the trainer
    model.__path__ = [str(Path(package.submodule_search_locations[0]) / "model")]
    sys.modules["f5_tts.model"] = model


def load(export: Path):
    """(F5-TTS's CFM with the weights of an audio-only export, tensors in them, size of the vocabulary)."""
    stand_ins()
    from omegaconf import OmegaConf
    from safetensors.torch import load_file

    backbone = importlib.import_module("f5_tts.model.backbones.dit")
    cfm = importlib.import_module("f5_tts.model.cfm")
    tokens = importlib.import_module("f5_tts.model.utils")
    settings = OmegaConf.load(export / "model.yaml").model
    vocabulary, size = tokens.get_tokenizer(str(export / "vocab.txt"), settings.tokenizer)
    dit = backbone.DiT(**settings.arch, text_num_embeds=size, mel_dim=settings.mel_spec.n_mel_channels)
    whole = cfm.CFM(transformer=dit, mel_spec_kwargs=dict(settings.mel_spec), vocab_char_map=vocabulary).eval()
    state = load_file(export / "model.safetensors")
    whole.load_state_dict({key.removeprefix("ema_model."): value.float() for key, value in state.items()}, strict=True)
    return whole, state, size


def serve(export: Path, folder: Path) -> None:
    """Takes samples as asked: {"frames", "steps", "threads"} of FOLDER/request.npz (mel, text); leaves FOLDER/f5tts.npz."""
    import torch

    whole, _, _ = load(export)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        torch.set_num_threads(asked["threads"])
        request = np.load(folder / "request.npz")
        mel, text = (torch.from_numpy(request[name])[None] for name in ("mel", "text"))
        wall, cpu = time.perf_counter(), time.process_time()
        out, path = whole.sample(
            mel, text, asked["frames"], steps=asked["steps"], cfg_strength=2.0, sway_sampling_coef=-1.0, seed=SEED)
        spent = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        np.savez(folder / "f5tts.npz", mel=out[0].numpy(), noise=path[0][0].numpy())
        print(json.dumps(spent), flush=True)


def f5tts(export: Path, out: Path) -> None:
    """Runs F5-TTS's DiT and CFM on random inputs and saves both."""
    import torch

    whole, state, size = load(export)
    dit = whole.transformer
    print(f"F5-TTS's own code has loaded {len(state)} tensors, {sum(value.numel() for value in state.values()):,} numbers")
    rng = np.random.default_rng(0)
    mel, x = (torch.from_numpy(rng.standard_normal((1, FRAMES, whole.num_channels)).astype(np.float32)) for _ in range(2))
    text = torch.from_numpy(rng.integers(0, size, (1, 40)))
    context = torch.cat([mel[:, :REFERENCE], torch.zeros_like(mel[:, REFERENCE:])], 1)
    time = torch.tensor([0.37])
    saved = {"x": x, "context": context, "text": text, "time": time}
    with torch.no_grad():
        for name, (drop_audio, drop_text) in BRANCHES.items():
            saved[name] = dit(x, context, text, time, drop_audio_cond=drop_audio, drop_text=drop_text)
        for name, (steps, _) in STEPS.items():
            saved[name], path = whole.sample(
                mel[:, :REFERENCE], text, FRAMES, steps=steps, cfg_strength=2.0, sway_sampling_coef=-1.0, seed=SEED)
            saved["noise"] = path[0]
    np.savez(out, **{name: value.numpy() for name, value in saved.items()})
    print(f"{out}: {len(saved)} arrays")


def compare(export: Path, out: Path) -> int:
    """Runs JAX on the same inputs; prints the largest differences. 1 if one is too large."""
    import jax
    import yaml

    from jamflow_jax.flow.generate import Request, SampleConfig, generate
    from jamflow_jax.model import AudioDiT, JamFlowConfig, MotionConfig
    from jamflow_jax.torch_io import f5tts as checkpoint

    jax.config.update("jax_default_matmul_precision", "highest")
    settings = yaml.safe_load((export / "model.yaml").read_text())["model"]
    arch = {**settings["arch"], "mel_dim": settings["mel_spec"]["n_mel_channels"]}
    config, params = checkpoint.load(export / "model.safetensors", arch)
    io = np.load(out)
    trunk = {name: getattr(config, name) for name in ("width", "depth", "heads", "head_dim")}
    found = {}
    apply = jax.jit(AudioDiT(config).apply, static_argnames=("drop_audio", "drop_text"))
    for name, (drop_audio, drop_text) in BRANCHES.items():
        inputs = io["x"], io["context"], io["text"].astype(np.int32), io["time"]
        v = apply({"params": params}, *inputs, drop_audio=drop_audio, drop_text=drop_text)
        found[name] = np.abs(v - io[name]).max() / max(1, io[name].std()), io[name].std(), BOUNDS["velocity"]
    for name, (steps, grid) in STEPS.items():
        request = Request(FRAMES, want_motion=False, text_ids=io["text"][0], mel=io["context"][0, :REFERENCE])
        (result,) = generate(
            JamFlowConfig(config, MotionConfig(**trunk)), {"audio": params}, [request], SampleConfig(steps=steps, grid=grid),
            noise=[{"audio": io["noise"][0]}])
        found[name] = np.abs(result.mel - io[name][0]).max() / max(1, io[name].std()), io[name].std(), BOUNDS["sample"]
    for name, (difference, deviation, bound) in found.items():
        print(f"{name:40} differs by {difference:.1e} at most (bound {bound:.0e}; standard deviation {deviation:.2f})")
    return int(any(not difference <= bound for difference, _, bound in found.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("f5tts", "compare", "serve"))
    parser.add_argument("export", type=Path, metavar="EXPORT")
    parser.add_argument("file", type=Path, metavar="out.npz", help="serve: a folder")
    options = parser.parse_args()
    sys.exit({"f5tts": f5tts, "compare": compare, "serve": serve}[options.step](options.export, options.file))
