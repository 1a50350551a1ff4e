"""The forms of attention by the name a config gives them; all compute the same numbers, to rounding.

    dense    every row's logits with every key: attention.py, the oracle
    banded   finite windows at a cost linear in the clip's length: banded.py
    flash    the same, and where windows are infinite no array of all rows and all keys: flash.py with online.py, on any device
    cudnn    flash.py with cuDNN's kernel: NVIDIA GPUs, bfloat16
    splash   flash.py with JAX's own kernel for TPUs

None stands in for another: what a device cannot run fails. What has a finite window is banded in the last four alike.
"""
from typing import Any

from jamflow_jax.model import attention, banded
from jamflow_jax.model.config import JamFlowConfig
from jamflow_jax.model.flash import Flash
from jamflow_jax.model.kernels import Cudnn, Splash
from jamflow_jax.model.online import Online

BACKENDS: dict[str, Any] = {  # each with `self_attention` and `joint_attention`
    "dense": attention, "banded": banded, "flash": Flash(Online()), "cudnn": Flash(Cudnn()), "splash": Flash(Splash()),
}


def description(config: JamFlowConfig) -> str:
    """What a run says of its attention: the backend, and where another computes because of a window."""
    name = config.motion.attention
    if name in ("dense", "banded"):
        return name
    if config.windows.audio_audio is None:
        return f"{name} (mel rows over mel frames; finite windows banded)"
    return f"{name} (in layers of speech alone; joint layers banded: model.windows.audio_audio is finite)"
