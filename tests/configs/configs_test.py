"""Every config in the package builds, has the size its name says, and names no bucket that cuts a motion frame."""
import jax
import pytest
from flax import linen as nn

from jamflow_jax.train.state import init_params
from launch import run_config

SIZES = {"base": (667e6, 669e6), "3b": (2.7e9, 3.2e9), "10b": (9e9, 11e9), "quickstart": (5e6, 15e6), "grid": (6e6, 8e6),
         "small": (1e6, 1.5e6), "grid_small": (1e6, 1.6e6)}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_config(name):
    config = run_config.load(f"configs/{name}.py", [])
    low, high = SIZES[name]
    params = nn.unbox(jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0)))
    assert low <= sum(leaf.size for leaf in jax.tree.leaves(params)) <= high
    buckets = config.data.buckets
    if isinstance(buckets, int):
        assert buckets <= 12 and config.data.align % 15 == 0
    else:
        assert all(bucket % 15 == 0 for bucket in buckets) and config.data.batch_frames // max(buckets) >= 1
