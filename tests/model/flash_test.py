"""Merged partial softmaxes against the dense oracle: values and gradients, by every kernel that runs here."""
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from jamflow_jax.model import attention
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.model.flash import Flash, merged
from jamflow_jax.model.online import Online
from jamflow_jax.timeline import MEL_TICKS

SMALL = Flash(Online(64))  # several blocks of keys, the last one shorter


def test_joint_attention_equals_the_oracle(agree_jointly):
    agree_jointly(SMALL)


def test_self_attention_equals_the_oracle_even_for_rows_without_keys(streams, agree):
    qkv, _ = streams(187)
    for valid in (None, attention.valid_frames(jnp.array([187, 100, 0]), 187)):
        agree([
            lambda *qkv, backend=backend, valid=valid: backend.self_attention(qkv, valid, None, MEL_TICKS)
            for backend in (SMALL, attention)
        ], qkv)  # fmt: skip


def test_the_rule_of_a_part_alone_gives_other_gradients(streams):
    """The trap: each part's backward with its own output and log-sum-exp. Values agree, gradients are far off."""
    audio, motion = streams(240)
    windows = WindowConfig()

    def gradient(joint_attention):
        return jax.jit(jax.grad(lambda k: (joint_attention((audio[0], k, audio[2]), motion, windows)[0] ** 2).sum()))(audio[1])

    right = gradient(attention.joint_attention)

    class Alone(Online):
        def backward(self, q, k, v, length_B, o, lse, do):
            return super().backward(q, k, v, length_B, *self.forward(q, k, v, length_B), do)

    wrong = gradient(Flash(Alone(64)).joint_attention)
    assert np.abs(gradient(SMALL.joint_attention) - right).max() < 1e-4 * np.abs(right).max()
    assert np.abs(wrong - right).max() > 0.05 * np.abs(right).max()


def test_memory_is_linear_in_the_clip(streams):
    qkv, _ = streams(2048, batch=1)
    backward = jax.make_jaxpr(jax.grad(lambda q: merged(Online(256), None, q, *qkv[1:], None, None).sum()))(qkv[0])

    def largest(jaxpr):
        inner = [largest(sub) for e in jaxpr.eqns for sub in jax.core.jaxprs_in_params(e.params)]
        return max([v.aval.size for e in jaxpr.eqns for v in e.outvars] + inner)

    assert largest(backward.jaxpr) <= 2 * 2048 * 256  # heads x rows x a block of keys


def test_finite_windows_of_audio_stay_in_bands(streams, monkeypatch):
    audio, motion = streams(240)
    monkeypatch.setattr(Online, "forward", None)
    near = Fraction(7, 25)
    jax.eval_shape(lambda: SMALL.joint_attention(audio, motion, WindowConfig(audio_audio=near)))
    jax.eval_shape(lambda: SMALL.self_attention(audio, None, near))


def test_joint_attention_in_bfloat16_equals_the_oracle(agree_jointly):
    agree_jointly(SMALL, atol=2e-2, norm=1e-2, dtype=jnp.bfloat16, width=64)


def test_bfloat16_keeps_float32_logits(agree_with_float32_logits):
    agree_with_float32_logits(SMALL)
