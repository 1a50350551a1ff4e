"""The formula against the products a program is made of, and against the compiler's own count of the unrolled program."""
import itertools
import math
from fractions import Fraction

import jax
import jax.extend
import jax.numpy as jnp
import pytest

from jamflow_jax.model import JamFlow
from jamflow_jax.model.attention import band, cross_band
from jamflow_jax.model.jamflow import AudioInputs, MotionInputs
from jamflow_jax.model.layers import TAPS
from jamflow_jax.parallel.mesh import make_mesh
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames
from jamflow_jax.train import flops
from jamflow_jax.train.state import layout
from jamflow_jax.train.step import make_train_step

BOTH = ("audio", "motion")
WINDOWS = [None, Fraction(0), Fraction(1, 25), Fraction(7, 25), Fraction(1, 7), Fraction(100)]


@pytest.mark.parametrize("window, length", itertools.product(WINDOWS, (1, 16, 95)))
def test_pairs_are_the_masks_ones(window, length):
    motion = motion_frames(length)
    assert flops.own_pairs(length, MEL_TICKS, window) == int(band(length, MEL_TICKS, window).sum())
    assert flops.own_pairs(motion, MOTION_TICKS, window) == int(band(motion, MOTION_TICKS, window).sum())
    assert flops.cross_pairs(length, motion, window) == int(cross_band(length, motion, window).sum())


def dense(tiny, **trunk):
    """A run whose program is all products: unrolled, nothing recomputed, every row with every key."""
    plain = {"attention": "dense", "scan": False, "remat": "none", **trunk}
    return tiny(model={"audio": {"text_vocab": 7, "text_width": 64, "text_layers": 2, **plain},
                       "motion": {"mouth_dim": 3, "rest_dim": 2, **plain}, "joint_layers": (0,)})  # fmt: skip


def products(jaxpr) -> float:
    """FLOPs of the matrix products and convolutions of a traced program, once for every time they are called; of a conditional's
    branches the most (the text blocks over all positions)."""
    total = 0.0
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
        elif eqn.primitive.name == "conv_general_dilated":
            total += 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.invars[1].aval.shape[:2])
        times = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        inner = [products(sub) for sub in jax.extend.core.jaxprs_in_params(eqn.params)]
        total += max(inner) if eqn.primitive.name == "cond" else times * sum(inner)
    return total


def model_call(config, size, frames, streams=BOTH):
    """(function of parameters and inputs -> velocities, shapes of those)."""
    moves, c = motion_frames(frames), config.model.motion
    mel, mouth, rest = (jax.ShapeDtypeStruct((size, n, d), "float32")
                        for n, d in ((frames, 100), (moves, c.mouth_dim), (moves, c.rest_dim)))  # fmt: skip
    text, time = jax.ShapeDtypeStruct((size, frames), "int32"), jax.ShapeDtypeStruct((size,), "float32")
    both = {"audio": AudioInputs(mel, mel, text, time), "motion": MotionInputs(mouth, mouth, rest, time)}
    shapes = layout(config, make_mesh(devices=jax.devices()[:1]))[0].params
    inputs = [both[stream] if stream in streams else None for stream in BOTH]
    return lambda params, audio, motion: JamFlow(config.model).apply({"params": params}, audio, motion), (shapes, *inputs)


def expected(config, size, frames) -> float:
    """What the compiler should count: the formula, less what the first turn of the loop leaves in which `layers.grouped_conv` makes
    the gradient of its kernel, TAPS of 31 taps a turn (it counts the body of a loop once)."""
    turns = sum(2 * 2 * size * n * (31 - TAPS) * 256**2 / 16 for n in (frames, motion_frames(frames)))
    return 3 * size * sum(flops.forward_flops(config.model, frames, dense=True).values()) - turns


@pytest.mark.parametrize("streams, long_skip", [(BOTH, False), (("audio",), True), (("motion",), False)])
def test_forward_is_the_products_of_the_program(tiny, streams, long_skip):
    """To the last FLOP, but for the text's depthwise convolution, which is written as shifted products."""
    config = dense(tiny, width=64, depth=3, heads=2, head_dim=16, long_skip=long_skip)
    call, shapes = model_call(config, 1, 45, streams)
    depthwise = config.model.audio.text_layers * 2 * 45 * 7 * 64 if "audio" in streams else 0
    counted = products(jax.make_jaxpr(call)(*shapes).jaxpr)
    assert sum(flops.forward_flops(config.model, 45, streams, dense=True).values()) == counted + depthwise


def test_gradients_agree_with_the_unrolled_compiled_program(tiny):
    """The compiler also counts elementwise work: 0 to 8 % more than forward and backward of all products."""
    config, size, frames = dense(tiny, width=256, depth=2, heads=4, head_dim=64), 2, 120
    call, shapes = model_call(config, size, frames)

    def loss(params, audio, motion):
        return sum(jnp.square(part - 1).sum() for part in call(params, audio, motion))

    counted = jax.jit(jax.grad(loss)).lower(*shapes).compile().cost_analysis()["flops"]
    assert 1.0 < counted / expected(config, size, frames) < 1.08


@pytest.mark.slow
def test_step_agrees_with_the_unrolled_compiled_program(tiny, batch, live):
    """The whole step: draws, AdamW (20 FLOPs a parameter) and averages come on top, less than 10 % with 960 frames a batch."""
    config, size, frames = dense(tiny, width=256, depth=2, heads=4, head_dim=64), 8, 120
    mesh = make_mesh(devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        step = make_train_step(config, mesh, live)
        counted = step.lower(layout(config, mesh)[0], batch(0, size, frames), BOTH).compile().cost_analysis()["flops"]
    assert 1.0 < counted / expected(config, size, frames) < 1.10


def test_windows_and_lengths_are_counted(tiny):
    config = tiny()
    one = flops.step_flops(config, [30])
    assert flops.step_flops(config, [30, 30, 15]) == 2 * one + flops.step_flops(config, [15])
    long = 3 * sum(flops.forward_flops(config.model, 600, dense=True).values())
    assert flops.step_flops(config, [600]) < long


def test_frozen_streams_and_streams_alone(tiny):
    whole = flops.step_flops(tiny(), [60])
    frozen = flops.step_flops(tiny(optim={"audio_lr": 0.0}), [60])
    audio = flops.forward_flops(tiny().model, 60)["audio"]
    assert whole - frozen == pytest.approx(audio)
    assert flops.step_flops(tiny(), [60], ("motion",)) < whole / 2
    # nothing that is trained is in a batch of speech alone: its forward pass is all
    assert flops.step_flops(tiny(optim={"audio_lr": 0.0}), [60], ("audio",)) * 3 == flops.step_flops(tiny(), [60], ("audio",))


def test_mfu():
    assert flops.mfu(989e12, 2.0, 1, "NVIDIA H100 80GB HBM3") == pytest.approx(0.5)
    assert flops.mfu(4 * 197e12, 1.0, 8, "TPU v5 lite") == pytest.approx(0.5)
    assert flops.mfu(459e12, 1.0, 1, "TPU v5") == pytest.approx(1.0)
    assert flops.mfu(1e12, 1.0, 1, "cpu") is None
    assert flops.mfu(1e12, 1.0, 1, "TPU v6 lite") == pytest.approx(1 / 918)
