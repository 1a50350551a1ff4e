"""The TPU's kernel, interpreted, merged and alone, against the dense oracle; cuDNN's refuses to run where there is none."""
import jax
import jax.numpy as jnp
import pytest

from jamflow_jax.model import attention
from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.model.flash import Flash
from jamflow_jax.model.kernels import Splash

INTERPRETED = Flash(Splash(interpret=True))


def test_splash_attention_equals_the_oracle(streams, agree):
    audio, motion = streams(187)
    lengths, alphas = jnp.array([187, 100, 0]), (jnp.array([True, False, True]), jnp.array([True, True, False]))
    agree([
        lambda a, m, to=to: to.joint_attention(a, m, WindowConfig(), lengths, *alphas) for to in (INTERPRETED, attention)
    ], (audio, motion), atol=2e-5)  # fmt: skip


def test_what_a_device_cannot_run_fails_instead_of_running_as_something_else(streams):
    if jax.default_backend() == "gpu":
        pytest.skip("this device can")
    audio, _ = streams(60)
    with pytest.raises((RuntimeError, ValueError, AssertionError)):
        jax.jit(BACKENDS["cudnn"].self_attention)(tuple(x.astype(jnp.bfloat16) for x in audio))
