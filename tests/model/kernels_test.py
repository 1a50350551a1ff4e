"""The TPU's kernel, interpreted, and cuDNN's where there is a GPU, merged and alone, against the dense oracle."""
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from jamflow_jax.model import attention
from jamflow_jax.model.backends import BACKENDS
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.model.flash import Flash
from jamflow_jax.model.kernels import Splash
from jamflow_jax.timeline import MEL_TICKS

INTERPRETED = Flash(Splash(interpret=True))
ON_A_GPU = jax.default_backend() == "gpu"


def jointly(streams, agree):
    """600 frames: five blocks of keys, the last one not full, and clips that end in, at and before others; one without frames."""
    lengths = jnp.array([600, 513, 384, 0])
    alphas = jnp.array([True, False, True, True]), jnp.array([True, True, False, True])
    agree([
        lambda a, m, to=to: to.joint_attention(a, m, WindowConfig(), lengths, *alphas) for to in (INTERPRETED, attention)
    ], streams(600, batch=4), atol=2e-5)  # fmt: skip


def test_splash_attention_equals_the_oracle(streams, agree):
    jointly(streams, agree)


@pytest.mark.slow
def test_splash_attention_equals_the_oracle_in_every_case(agree_jointly):
    agree_jointly(INTERPRETED, atol=2e-5)


@pytest.mark.parametrize("lengths", [None, (187, 100, 0)])
def test_splash_attention_of_speech_alone_equals_the_oracle(streams, agree, lengths):
    valid = None if lengths is None else attention.valid_frames(jnp.array(lengths), 187)
    agree([
        lambda *qkv, to=to: to.self_attention(qkv, valid, None, MEL_TICKS) for to in (INTERPRETED, attention)
    ], streams(187)[0], atol=2e-5)  # fmt: skip


ON_A_MESH = """
import jax
from jamflow_jax.parallel.mesh import make_mesh
from tests.model import conftest, kernels_test
with jax.set_mesh(make_mesh(data=2, fsdp=1, tensor=2, sequence=2)):
    kernels_test.jointly(conftest._streams, conftest._agree)
"""


def test_each_device_of_a_mesh_runs_splash_attention_on_its_own_examples_and_heads():
    """Eight simulated devices, two along data, tensor and sequence each."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    subprocess.run([sys.executable, "-c", ON_A_MESH], check=True, env=env, timeout=600)


@pytest.mark.skipif(not ON_A_GPU, reason="cuDNN's kernel needs an NVIDIA GPU")
def test_cudnn_attention_equals_the_oracle_in_every_case(agree_jointly):
    agree_jointly(BACKENDS["cudnn"], atol=2e-2, norm=1e-2, dtype=jnp.bfloat16, width=64)


@pytest.mark.skipif(not ON_A_GPU, reason="cuDNN's kernel needs an NVIDIA GPU")
@pytest.mark.parametrize("lengths", [None, (187, 100, 0)])
def test_cudnn_attention_of_speech_alone_equals_the_oracle(streams, agree, lengths):
    valid = None if lengths is None else attention.valid_frames(jnp.array(lengths), 187)
    qkv = tuple(x.astype(jnp.bfloat16) for x in streams(187, width=64)[0])
    agree([
        lambda *qkv, to=to: to.self_attention(qkv, valid, None, MEL_TICKS) for to in (BACKENDS["cudnn"], attention)
    ], qkv, atol=2e-2, norm=1e-2)  # fmt: skip


@pytest.mark.skipif(ON_A_GPU, reason="this device can")
def test_what_a_device_cannot_run_fails_instead_of_running_as_something_else(streams):
    audio, _ = streams(60)
    with pytest.raises((RuntimeError, ValueError, AssertionError)):
        jax.jit(BACKENDS["cudnn"].self_attention)(tuple(x.astype(jnp.bfloat16) for x in audio))
