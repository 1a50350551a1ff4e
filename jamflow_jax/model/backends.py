"""The forms of attention by the name a config gives them; all compute the same numbers, to rounding.

    dense    every row's logits with every key: attention.py, the oracle
    banded   finite windows at a cost linear in the clip's length: banded.py
"""
from typing import Any

from jamflow_jax.model import attention, banded

BACKENDS: dict[str, Any] = {"dense": attention, "banded": banded}  # each with `self_attention` and `joint_attention`
