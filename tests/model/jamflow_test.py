import dataclasses
from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.model import (
    AudioConfig,
    AudioDiT,
    AudioInputs,
    JamFlow,
    JamFlowConfig,
    MotionConfig,
    MotionDiT,
    MotionInputs,
    WindowConfig,
    init,
)
from jamflow_jax.model.jamflow import init_motion, segments
from jamflow_jax.timeline import motion_frames

TRUNK = dict(width=32, depth=4, heads=2, head_dim=16)
CONFIG = JamFlowConfig(
    audio=AudioConfig(**TRUNK, text_vocab=20, text_width=16, text_layers=2),
    motion=MotionConfig(**TRUNK, mouth_dim=6, rest_dim=5),
)
FRAMES = 37


@pytest.fixture(scope="module")
def params():
    """Random parameters, the zero-initialised ones too, or half the model would go untested."""
    plain = nn.unbox(init(CONFIG, jax.random.key(0)))
    leaves, tree = jax.tree.flatten(plain)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten([x + 0.1 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys)])


def inputs(key=0, batch=2, frames=FRAMES):
    k = jax.random.split(jax.random.key(key), 5)
    motion = motion_frames(frames)
    audio = AudioInputs(
        jax.random.normal(k[0], (batch, frames, 100)), jax.random.normal(k[1], (batch, frames, 100)),
        jnp.tile(jnp.arange(7), (batch, 1)), jnp.linspace(0.2, 0.9, batch))
    return audio, MotionInputs(
        jax.random.normal(k[2], (batch, motion, 6)), jax.random.normal(k[3], (batch, motion, 6)),
        jax.random.normal(k[4], (batch, motion, 5)), jnp.linspace(0.7, 0.1, batch))


@partial(jax.jit, static_argnums=0)
def run(config, params, *args, **kwargs):
    return JamFlow(config).apply({"params": params}, *args, **kwargs)


def variant(**changes):
    return dataclasses.replace(
        CONFIG, audio=dataclasses.replace(CONFIG.audio, **changes), motion=dataclasses.replace(CONFIG.motion, **changes))


def test_with_joint_attention_off_the_streams_are_the_single_models_exactly(params):
    audio, motion = inputs()
    length = jnp.array([FRAMES, 20])
    v_audio, v_motion = run(dataclasses.replace(CONFIG, joint_layers=()), params, audio, motion, length)
    alone = jax.jit(AudioDiT(CONFIG.audio).apply)(
        {"params": params["audio"]}, audio.x_BTF, audio.context_BTF, audio.text_BN, audio.time_B, length)
    np.testing.assert_array_equal(v_audio, alone)
    alone = jax.jit(MotionDiT(CONFIG.motion).apply)(
        {"params": params["motion"]}, motion.x_BMD, motion.context_BMD, motion.rest_BMR, motion.time_B, lengths_B=length)
    np.testing.assert_array_equal(v_motion, alone)


def test_every_backend_gives_the_same_velocities(params):
    audio, motion = inputs(frames=120)  # long enough for bands
    length = jnp.array([120, 91])
    dense, banded = (run(variant(attention=name), params, audio, motion, length) for name in ("dense", "banded"))
    for a, b in zip(dense, banded):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_alpha_off_is_no_joint_attention_for_that_stream_and_that_example(params):
    audio, motion = inputs()
    off, on = jnp.array([False, True]), jnp.array([True, True])
    joint = run(CONFIG, params, audio, motion)
    apart = run(dataclasses.replace(CONFIG, joint_layers=()), params, audio, motion)
    v_audio, _ = run(CONFIG, params, audio, motion, None, off, off)
    np.testing.assert_allclose(v_audio[0], apart[0][0], atol=1e-5)
    np.testing.assert_allclose(v_audio[1], joint[0][1], atol=1e-5)
    _, v_motion = run(CONFIG, params, audio, motion, None, on, off)
    np.testing.assert_allclose(v_motion[0], apart[1][0], atol=1e-5)
    assert np.abs(joint[0] - apart[0]).max() > 1e-3 and np.abs(joint[1] - apart[1]).max() > 1e-3


def test_a_missing_stream_leaves_the_other_alone(params):
    audio, motion = inputs()
    apart = run(dataclasses.replace(CONFIG, joint_layers=()), params, audio, motion)
    v_audio, none = run(CONFIG, params, audio, None)
    np.testing.assert_array_equal(v_audio, apart[0])
    assert none is None
    np.testing.assert_array_equal(run(CONFIG, params, None, motion)[1], apart[1])


@pytest.mark.parametrize("length", (1, 16, 30, FRAMES))
@pytest.mark.parametrize("alignment", ("time", "length"))
def test_a_padded_example_equals_the_same_example_alone(params, length, alignment):
    config = dataclasses.replace(CONFIG, motion=dataclasses.replace(CONFIG.motion, rope_alignment=alignment))
    audio, motion = inputs()
    batch = run(config, params, audio, motion, jnp.array([length, FRAMES]))
    valid = motion_frames(length)
    cut_audio = AudioInputs(audio.x_BTF[:1, :length], audio.context_BTF[:1, :length], audio.text_BN[:1], audio.time_B[:1])
    cut_motion = MotionInputs(
        motion.x_BMD[:1, :valid], motion.context_BMD[:1, :valid], motion.rest_BMR[:1, :valid], motion.time_B[:1])
    alone = run(config, params, cut_audio, cut_motion, jnp.array([length]))
    np.testing.assert_allclose(batch[0][:1, :length], alone[0], atol=2e-5)
    np.testing.assert_allclose(batch[1][:1, :valid], alone[1], atol=2e-5)
    assert not np.any(batch[0][0, length:]) and not np.any(batch[1][0, valid:])


def test_time_and_text_worked_out_beforehand_give_the_same_velocities(params):
    """As a sampler does it: a table of all times, text once; a row per example, or one for all."""
    model, (audio, motion) = JamFlow(CONFIG), inputs()
    times = jnp.array([1.0, 0.3, 0.0])

    @jax.jit
    def prepared(params, index_a, index_m):
        table = model.apply({"params": params}, times, method="modulations")
        text = model.apply({"params": params}, audio.text_BN, FRAMES, None, jnp.array([False, True]), method="encode_text")
        a = dataclasses.replace(audio, text_BN=text, time_B=table["audio"].rows(index_a))
        m = dataclasses.replace(motion, time_B=table["motion"].rows(index_m))
        return model.apply({"params": params}, a, m)

    for index_a, index_m in ((jnp.array([1, 2]), jnp.array([0, 1])), (jnp.array([1]), jnp.array([2]))):
        a = dataclasses.replace(audio, time_B=jnp.broadcast_to(times[index_a], 2), drop_text_B=jnp.array([False, True]))
        m = dataclasses.replace(motion, time_B=jnp.broadcast_to(times[index_m], 2))
        for ours, expected in zip(prepared(params, index_a, index_m), run(CONFIG, params, a, m)):
            np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_no_lengths_are_full_lengths(params):
    """35 mel frames carry 10 motion frames, which could carry 37: the stretch of "length" is 35 / 10."""
    config = dataclasses.replace(CONFIG, motion=dataclasses.replace(CONFIG.motion, rope_alignment="length"))
    audio, motion = inputs(frames=35)
    for a, b in zip(run(config, params, audio, motion), run(config, params, audio, motion, jnp.array([35, 35]))):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_stream_runs_alone_where_its_layers_have_one_window(params):
    audio, motion = inputs()
    off = jnp.zeros(2, bool)
    near = Fraction(1, 25)
    for windows, alone in (
        (WindowConfig(), (True, True)),
        (WindowConfig(audio_audio=near, motion_motion=near), (False, False)),
        (WindowConfig(audio_audio=near, keep_when_alone=False), (True, False)),
    ):
        config = dataclasses.replace(CONFIG, windows=windows)
        assert (config.runs_alone("audio"), config.runs_alone("motion")) == alone
        joint = run(config, params, audio, motion, None, off, off)
        by_themselves = run(config, params, audio, None)[0], run(config, params, None, motion)[1]
        assert tuple(bool(np.abs(a - b).max() < 1e-5) for a, b in zip(joint, by_themselves)) == alone
    assert dataclasses.replace(CONFIG, windows=WindowConfig(audio_audio=near), joint_layers=()).runs_alone("audio")


@pytest.mark.parametrize("changes", (
    dict(scan=False), dict(remat="full"), dict(remat="dots"), dict(remat="attention"), dict(remat="full", scan=False)))
def test_scan_unrolled_and_every_remat_policy_give_the_same_values_and_gradients(params, changes):
    audio, motion = inputs()

    def loss(params, config):
        v_audio, v_motion = run(config, params, audio, motion, jnp.array([FRAMES, 20]))
        return (v_audio**2).mean() + (v_motion**2).mean()

    value, grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, CONFIG)
    other, other_grad = jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, variant(**changes))
    np.testing.assert_allclose(value, other, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4 * (1 + np.abs(a).max())), grad, other_grad)


@pytest.mark.parametrize("depth", (1, 3))
def test_a_lone_layer_is_computed_again_too(depth):
    """XLA merges what is computed twice, unless it is kept from it or in a loop."""
    def flops(remat):
        config, motion = dataclasses.replace(CONFIG.motion, depth=depth, remat=remat, scan=depth == 1), inputs()[1]
        shapes = jax.eval_shape(lambda key: nn.unbox(init_motion(config, key)), jax.random.key(0))

        def loss(params):
            arrays = motion.x_BMD, motion.context_BMD, motion.rest_BMR, motion.time_B
            return (MotionDiT(config).apply({"params": params}, *arrays) ** 2).sum()

        return jax.jit(jax.grad(loss)).lower(shapes).compile().cost_analysis()["flops"]

    assert flops("full") > 1.05 * flops("none")


@pytest.mark.parametrize("few, many", (
    (dict(scan=False, depth=3), dict(scan=False, depth=6)),
    (dict(depth=6, joint_layers=(0,)), dict(depth=6, joint_layers=(0, 2))),
))  # fmt: skip
def test_gradients_of_runs_of_layers_are_not_added_up_stack_by_stack(few, many):
    """With one more layer apart from the others, or two more runs, there is not one more array as large as the stack."""
    def stacks(joint_layers=(), **changes):
        config = dataclasses.replace(variant(**changes), joint_layers=joint_layers)
        shapes = jax.eval_shape(lambda key: nn.unbox(init(config, key)), jax.random.key(0))

        def loss(params):
            return sum(v.sum() for v in JamFlow(config).apply({"params": params}, *inputs()))

        stack = (changes["depth"], TRUNK["width"], 2 * TRUNK["width"])
        return sum(eqn.outvars[0].aval.shape == stack for eqn in jax.make_jaxpr(jax.grad(loss))(shapes).eqns)

    assert stacks(**few) == stacks(**many) > 0


def test_any_set_of_layers_can_be_joined(params):
    assert segments((), 3) == [(False, 0, 3)]
    assert segments((0, 2, 3), 5) == [(True, 0, 1), (False, 1, 2), (True, 2, 4), (False, 4, 5)]
    audio, motion = inputs()
    sets = ((0,), (3,), (1, 3), None)
    outputs = [run(dataclasses.replace(CONFIG, joint_layers=joint), params, audio, motion)[0] for joint in sets]
    for i, a in enumerate(outputs):
        for b in outputs[i + 1:]:
            assert np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize("changes", (dict(qk_norm="rms_norm"), dict(long_skip=True), dict(rope_heads=1)))
def test_variants_of_the_trunk_run_and_differ(changes):
    config = variant(**changes)
    params = jax.tree.map(lambda x: x + 0.05, nn.unbox(init(config, jax.random.key(0))))
    assert all(np.all(np.isfinite(v)) for v in run(config, params, *inputs()))


def test_bf16_stays_near_float32_and_returns_float32(params):
    exact = run(CONFIG, params, *inputs())
    rough = run(variant(dtype="bfloat16"), params, *inputs())
    for a, b in zip(exact, rough):
        assert b.dtype == jnp.float32
        assert np.abs(a - b).max() < 0.1 * np.abs(a).max()


def test_dropout_of_an_example_depends_on_its_own_key_alone(params):
    config, keys = variant(dropout=0.3), jax.random.split(jax.random.key(5), 3)
    audio, motion = inputs()
    one = run(config, params, audio, motion, dropout_keys_B=keys[:2])
    two = run(config, params, audio, motion, dropout_keys_B=keys[jnp.array([0, 2])])
    np.testing.assert_array_equal(one[0][0], two[0][0])
    assert np.abs(one[0][1] - two[0][1]).max() > 1e-3
    assert np.abs(one[0] - run(config, params, audio, motion)[0]).max() > 1e-3


def test_a_fresh_model_gives_zero_velocity_and_every_parameter_is_named():
    boxed = init(CONFIG, jax.random.key(0))
    boxes = jax.tree.leaves(boxed, is_leaf=lambda x: isinstance(x, nn.Partitioned))
    assert all(isinstance(box, nn.Partitioned) and len(box.names) == box.value.ndim for box in boxes)
    v_audio, v_motion = run(CONFIG, nn.unbox(boxed), *inputs())
    assert not np.any(v_audio) and not np.any(v_motion)


def test_parameter_count_of_the_base_model():
    """F5TTS_v1_Base holds 337,096,804 (one of them the 32 rotary frequencies, a buffer); no layer is joined by parameters."""
    shapes = nn.unbox(jax.eval_shape(lambda key: init(JamFlowConfig(), key), jax.random.key(0)))
    count = {stream: sum(x.size for x in jax.tree.leaves(tree)) for stream, tree in shapes.items()}
    assert count["audio"] == 337_096_804
    assert 667e6 < sum(count.values()) < 669e6
