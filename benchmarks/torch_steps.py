"""Train steps in PyTorch that benchmarks/train_step.py times ours against, on JAX's kind of device.

A step is: draw spans, times and noise; loss, backward; clip the gradient by its norm; fused AdamW; in bfloat16 by autocast. Each
maker gives ({name: what is timed}, the largest difference of its velocity from ours, of the standard deviation).
"""
import importlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.f5tts_check import stand_ins
from jamflow_jax.config import to_dict
from jamflow_jax.model import AudioConfig, AudioDiT, JamFlowConfig
from jamflow_jax.torch_io import verify
from jamflow_jax.torch_io.export import state_dict, streams_state_dict
from jamflow_jax.torch_io.names import audio_names

Steps = dict[str, Callable[[], None]]
AVERAGING = "F5-TTS, averaging alone"


def device() -> tuple[str, Callable[[], None]]:
    """(JAX's kind of device as PyTorch calls it, what waits until all that was asked of it is done)."""
    import torch

    return ("cuda", torch.cuda.synchronize) if jax.default_backend() == "gpu" else ("cpu", lambda: None)


def f5tts(config: AudioConfig, params: Any, batch: dict[str, np.ndarray], compiled: bool) -> tuple[Steps, float]:
    """F5-TTS's CFM and trainer, speech alone; uncompiled also the averaging of its parameters, by itself."""
    import torch

    stand_ins()
    place, finish = device()
    backbone, cfm = (importlib.import_module(f"f5_tts.model.{name}") for name in ("backbones.dit", "cfm"))
    dit = backbone.DiT(
        dim=config.width, depth=config.depth, heads=config.heads, ff_mult=config.ff_mult, text_dim=config.text_width, conv_layers=4,
        text_num_embeds=config.text_vocab, mel_dim=config.mel_dim, dropout=config.dropout)
    dit.load_state_dict(_tensors(state_dict(audio_names(config), params, "")), strict=False)
    model = cfm.CFM(transformer=dit, mel_spec_kwargs={"n_mel_channels": config.mel_dim}).to(place)
    mel, text, lens = (tensor.to(place) for tensor in _tensors({name: batch[name] for name in ("mel", "text", "length")}).values())
    lens, text = lens.long(), text.long()

    # compared on the first example, which has no padding: F5-TTS's base config lets frames see padding
    dit.eval()
    cond, at = mel[:1] * (torch.arange(mel.shape[1], device=place) < 100)[None, :, None], torch.tensor([0.4], device=place)
    with torch.no_grad():
        v = dit(mel[:1], cond, text[:1], at).cpu().numpy()
    arrays = batch["mel"][:1], cond.cpu().numpy(), batch["text"][:1], at.cpu().numpy()
    expected = jax.jit(AudioDiT(config).apply)({"params": params}, *arrays)
    difference = float(np.abs(v - expected).max() / np.std(expected))

    parameters = list(model.train().parameters())
    run = _step(lambda: model(mel, text, lens=lens)[0], parameters, config.dtype)
    if compiled:
        model.transformer.compile()
        return {"F5-TTS, compiled": run}, difference
    averages = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def average():
        torch._foreach_lerp_(averages, parameters, 1e-4)
        finish()

    return {"F5-TTS": run, AVERAGING: average}, difference


def twin(config: JamFlowConfig, params: Any, batch: dict[str, np.ndarray], compiled: bool) -> tuple[Steps, float]:
    """The PyTorch form of the joint model that `jamflow convert torch` writes (torch_io/jamflow_torch.py; SDPA), trained.

    It has no dropout, and its step hides one span of each stream of each example, where ours draws a task for each as well.
    """
    import torch

    from jamflow_jax.torch_io import jamflow_torch

    place, _ = device()
    model = jamflow_torch.JamFlow({"model": json.loads(json.dumps(to_dict(config))), "streams": ["audio", "motion"]})
    model.load_state_dict(_tensors(streams_state_dict(config, params)))
    inputs = verify.random_inputs(config, ("audio", "motion"), np.random.default_rng(3))
    expected, found = verify.jax_velocities(config, params, inputs), verify.torch_velocities(model, inputs)
    difference = max(float(np.abs(found[name] - v).max() / np.std(v)) for name, v in expected.items())

    model = model.to(place)
    arrays = _tensors({name: batch[name] for name in ("mel", "mouth", "rest", "text", "length")})
    data = {name: tensor.to(place) for name, tensor in arrays.items()}
    length_B, text_BN = data["length"].long(), data["text"].long()

    def stream(x_BLD, ends_B):
        """(x_t, its known frames, the target velocity, hidden frames [B, L, 1], times) of 70 to 100 % of each example hidden."""
        at_L = torch.arange(x_BLD.shape[1], device=place)
        hidden_B = ends_B * (0.7 + 0.3 * torch.rand(len(ends_B), device=place))
        start_B = (ends_B - hidden_B) * torch.rand(len(ends_B), device=place)
        hidden_BL1 = ((at_L >= start_B[:, None]) & (at_L < (start_B + hidden_B)[:, None]))[..., None]
        noise, time_B = torch.randn_like(x_BLD), torch.rand(len(ends_B), device=place)
        t = time_B[:, None, None]
        return (1 - t) * noise + t * x_BLD, x_BLD.masked_fill(hidden_BL1, 0), x_BLD - noise, hidden_BL1, time_B

    def loss():
        x, context, target, hidden, time_B = stream(data["mel"], length_B)
        y, context_m, target_m, hidden_m, time_m_B = stream(data["mouth"], jamflow_torch.motion_frames(length_B))
        audio = jamflow_torch.AudioInputs(x, context, text_BN, time_B)
        v, v_m = model(audio, jamflow_torch.MotionInputs(y, context_m, data["rest"], time_m_B), length_B)
        pairs = ((v, target, hidden), (v_m, target_m, hidden_m))
        return sum((v - target).square().mul(hidden).sum() / hidden.sum() / v.shape[-1] for v, target, hidden in pairs)

    run = _step(loss, list(model.parameters()), config.audio.dtype)
    if compiled:
        model.compile()
        return {"PyTorch twin, compiled": run}, difference
    return {"PyTorch twin": run}, difference


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def _step(loss_of: Callable[[], Any], parameters: list, dtype: str) -> Callable[[], None]:
    import torch

    place, finish = device()
    optimizer = torch.optim.AdamW(parameters, lr=7.5e-5, fused=True)

    def run():
        with torch.autocast(place, torch.bfloat16, enabled=dtype == "bfloat16"):
            loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        assert np.isfinite(loss.item())
        finish()

    return run
