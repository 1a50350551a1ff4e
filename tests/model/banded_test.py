"""Banded attention against the dense oracle: values and gradients."""
from fractions import Fraction

import jax
import jax.numpy as jnp
import pytest

from jamflow_jax.model import attention, banded
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS

SHORT = Fraction(7, 25)


def test_joint_attention_equals_the_oracle(agree_jointly):
    agree_jointly(banded)


@pytest.mark.parametrize("ticks", (MEL_TICKS, MOTION_TICKS))
def test_self_attention_equals_the_oracle(ticks, streams, agree):
    qkv, _ = streams(187)
    valid_BT = attention.valid_frames(jnp.array([187, 100, 0]), 187)
    for window, valid in ((SHORT, valid_BT), (Fraction(0), None), (None, valid_BT)):
        agree([
            lambda *qkv, backend=backend, window=window, valid=valid: backend.self_attention(qkv, valid, window, ticks)
            for backend in (banded, attention)
        ], qkv)  # fmt: skip


def test_no_array_of_all_rows_and_all_keys_exists_under_finite_windows(streams):
    audio, motion = streams(2250, batch=1)
    largest = {}
    for name, backend in (("banded", banded), ("dense", attention)):
        windows = WindowConfig(audio_audio=SHORT)
        jaxpr = jax.make_jaxpr(lambda a, m, backend=backend, windows=windows: backend.joint_attention(a, m, windows))(audio, motion)
        largest[name] = max(v.aval.size for equation in jaxpr.eqns for v in equation.outvars)
    assert largest["dense"] >= 2250 * 2250
    assert largest["banded"] <= 2 * 2280 * 90  # heads x rows x a neighbourhood of mel frames


def test_every_product_and_every_gradient_sums_over_one_axis(streams):
    """Over two, rows of all blocks in an axis for blocks and one for rows, XLA on CPUs turns the logits round first."""
    def loss(args):
        return sum(x.sum() for x in banded.joint_attention(*args, WindowConfig()))

    def products(jaxpr):
        inner = [axes for e in jaxpr.eqns for sub in jax.core.jaxprs_in_params(e.params) for axes in products(sub)]
        return inner + [e.params["dimension_numbers"][0][0] for e in jaxpr.eqns if e.primitive.name == "dot_general"]

    found = products(jax.make_jaxpr(jax.grad(loss))(streams(240)).jaxpr)
    assert len(found) > 10 and all(len(axes) == 1 for axes in found)


def test_bfloat16_keeps_float32_logits(agree_with_float32_logits):
    agree_with_float32_logits(banded)
