"""The forms of attention by the name a config gives them; all compute the same numbers, to rounding.

    dense    every row's logits with every key: attention.py, the oracle
    banded   finite windows at a cost linear in the clip's length: banded.py
    flash    the same, and where windows are infinite no array of all rows and all keys: flash.py with online.py, on any device
    cudnn    flash.py with cuDNN's kernel: NVIDIA GPUs, bfloat16
    splash   flash.py with JAX's own kernel for TPUs

None stands in for another: what a device cannot run fails.
"""
from typing import Any

from jamflow_jax.model import attention, banded
from jamflow_jax.model.flash import Flash
from jamflow_jax.model.kernels import Cudnn, Splash
from jamflow_jax.model.online import Online

BACKENDS: dict[str, Any] = {  # each with `self_attention` and `joint_attention`
    "dense": attention, "banded": banded, "flash": Flash(Online()), "cudnn": Flash(Cudnn()), "splash": Flash(Splash()),
}
