"""The step: frozen streams, accumulation, non-finite gradients, streams left out, sharding constraints."""
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.parallel.mesh import make_mesh, put_batch
from jamflow_jax.train.state import initialise
from jamflow_jax.train.step import make_evaluation_step, make_train_step

BOTH = ("audio", "motion")


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def train(config, batches, live, streams=BOTH, mesh=None, given=None):
    """(state after the batches, metrics of each step)."""
    mesh = mesh or make_mesh(devices=jax.devices()[:1])
    with jax.set_mesh(mesh):
        state, step, rows = initialise(config, mesh, given), make_train_step(config, mesh, live), []
        for batch in batches:
            state, metrics = step(state, put_batch(batch, mesh), streams)
            rows.append({name: float(value) for name, value in metrics.items()})
    return state, rows


@pytest.fixture
def start(tiny):
    mesh = make_mesh(devices=jax.devices()[:1])
    return lambda **changes: initialise(tiny(**changes), mesh)


@pytest.mark.parametrize("frozen", ["audio", "motion"])
def test_a_frozen_stream_keeps_its_bits(tiny, batch, live, start, frozen):
    other = {"audio": "motion", "motion": "audio"}[frozen]
    changes = {"optim": {f"{frozen}_lr": 0.0}}
    state, _ = train(tiny(**changes), [batch(s) for s in range(3)], live)
    before = start(**changes)
    assert bits(state.params[frozen]) == bits(before.params[frozen])
    assert bits(state.averaged[frozen]) == bits(before.params[frozen])
    assert bits(state.params[other]) != bits(before.params[other])


def test_runs_that_differ_in_the_seed_alone_share_their_programs(tiny, batch, live, start):
    mesh, state, rows = make_mesh(devices=jax.devices()[:1]), start(), []
    with jax.set_mesh(mesh):
        steps = [make_train_step(tiny(seed=seed), mesh, live) for seed in (0, 7)]
        measure = [make_evaluation_step(tiny(seed=seed), mesh, live) for seed in (0, 7)]
        of_batch = put_batch(batch(0), mesh)
        for pair, arrays in ((steps, state), (measure, state.averaged)):
            first, second = (step.lower(arrays, of_batch, BOTH).as_text() for step in pair)
            assert first == second
        for step in measure:
            rows.append(float(step(state.averaged, of_batch, BOTH)["audio_sum"]))
    assert rows[0] != rows[1]  # and the seed is heard all the same


def test_the_multiplier_scales_the_update(tiny, batch, live, start):
    def moved(factor):
        changes = {"optim": {"motion_lr": factor, "warmup": 0, "weight_decay": 0.0}}
        state, _ = train(tiny(**changes), [batch(0)], live)
        first = start(**changes)
        return jax.tree.map(lambda a, b: np.asarray(a) - np.asarray(b), state.params["motion"], first.params["motion"])

    whole, half = moved(1.0), moved(0.5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(b, a / 2, rtol=2e-3, atol=1e-6), whole, half)


def test_accumulation_is_one_large_batch(tiny, batch, live):
    """A weighted mean of losses over microbatches would differ: lengths and spans do."""
    data = [batch(s, size=4) for s in range(3)]
    _, one = train(tiny(), data, live)
    _, two = train(tiny(optim={"accumulate": 2}), data, live)
    for a, b in zip(one, two):
        assert a["audio_count"] == b["audio_count"] and a["motion_count"] == b["motion_count"]
        np.testing.assert_allclose([a["loss"], a["grad_norm"]], [b["loss"], b["grad_norm"]], rtol=1e-5)


def test_a_nonfinite_gradient_changes_nothing_but_the_counters(tiny, batch, live, start):
    bad = batch(0)
    bad["mel"][:] = np.nan
    config = tiny()
    state, rows = train(config, [bad, bad], live)
    first = start()
    for part in ("params", "ema", "opt_state"):
        assert bits(getattr(state, part)) == bits(getattr(first, part))
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (2, 2, 2)
    state, rows = train(config, [bad, batch(1), batch(2)], live)
    assert [row["skipped_in_a_row"] for row in rows] == [1, 0, 0] and rows[-1]["skipped"] == 1
    assert np.isfinite(rows[-1]["loss"])


def test_parameters_that_are_damaged_do_not_reach_the_average(tiny, batch, live, start):
    mesh, state = make_mesh(devices=jax.devices()[:1]), start()
    before = bits(state.ema)
    with jax.set_mesh(mesh):
        state = state.replace(params=jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), state.params))
        state, _ = make_train_step(tiny(), mesh, live)(state, put_batch(batch(0), mesh), BOTH)
    assert int(state.skipped) == 1 and bits(state.ema) == before


def test_filler_counts_for_nothing(tiny, batch, live):
    """Examples of weight 0 change neither the loss nor the gradient, whatever they hold."""
    data = batch(0, size=4)
    data["weight"][2:] = 0
    other = {name: value.copy() for name, value in data.items()}
    other["mel"][2:] *= 3
    (_, (a,)), (_, (b,)) = train(tiny(), [data], live), train(tiny(), [other], live)
    assert (a["loss"], a["grad_norm"], a["frames"]) == (b["loss"], b["grad_norm"], b["frames"])


@pytest.mark.parametrize("windows", [{}, {"audio_audio": "1/25"}], ids=["F5-TTS", "windowed"])
def test_speech_alone_costs_no_motion_and_loses_nothing(tiny, batch, live, random_params, windows):
    config, data = tiny(model={"windows": windows}), [batch(0, has_motion=False)]
    given = random_params(config)
    _, (both,) = train(config, data, live, given=given)
    _, (audio,) = train(config, data, live, streams=("audio",), given=given)
    assert both["motion_count"] == audio["motion_count"] == 0
    np.testing.assert_allclose([audio["loss"], audio["grad_norm"]], [both["loss"], both["grad_norm"]], rtol=1e-4)


def test_average_follows_its_warm_up(tiny, batch, live, start):
    """After the first update the decay is 1 / 10: the average is a tenth of the start and nine tenths of the new."""
    changes = {"optim": {"warmup": 0}}
    state, _ = train(tiny(**changes), [batch(0)], live)
    first = start(**changes)
    expected = jax.tree.map(lambda p, q: 0.1 * p + 0.9 * q, first.params, state.params)
    jax.tree.map(lambda e, a: np.testing.assert_allclose(a, e, atol=1e-6), expected, state.averaged)


@pytest.mark.parametrize("speech", ["mel", "features"])
def test_stage_one_trains_motion_on_speech(tiny, batch, live, speech):
    data = batch(0)
    width = 100
    if speech == "features":
        width = 8
        data["speech"] = np.random.default_rng(0).normal(size=(4, 8, 8)).astype(np.float32)
        data["has_speech"] = np.ones(4, bool)
    config = tiny(stage=1, speech=speech, optim={"weight_decay": 0.0, "warmup": 0})
    motion = dataclasses.replace(config.model.motion, speech_dim=width)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, motion=motion))
    state, rows = train(config, [data] * 4, live)
    assert set(state.params) == {"motion"} and rows[0]["audio_count"] == 0 and rows[0]["motion_count"] > 0
    fresh = initialise(config, make_mesh(devices=jax.devices()[:1]))
    before, after = (np.asarray(s.params["motion"]["input"]["proj"]["kernel"]) for s in (fresh, state))
    assert before.shape[0] == 2 * 3 + 2 + width
    assert (before[-width:] != after[-width:]).mean() > 0.9  # it listens


def test_held_out_losses_have_fixed_noise_and_no_dropout(tiny, batch, live, random_params):
    config = tiny()
    noisy = {name: dataclasses.replace(getattr(config.model, name), dropout=0.5) for name in BOTH}
    noisy = dataclasses.replace(config, model=dataclasses.replace(config.model, **noisy))
    mesh, params = make_mesh(devices=jax.devices()[:1]), random_params(config)
    with jax.set_mesh(mesh):
        data = put_batch(batch(0), mesh)
        plain, again, same = (
            jax.device_get(make_evaluation_step(c, mesh, live)(params, data, BOTH)) for c in (config, config, noisy))
    assert plain == again == same


def test_donation(tiny, batch, live):
    mesh, config = make_mesh(devices=jax.devices()[:1]), tiny()
    with jax.set_mesh(mesh):
        state = initialise(config, mesh)
        leaf = jax.tree.leaves(state.params)[0]
        make_train_step(config, mesh, live)(state, put_batch(batch(0), mesh), BOTH)
    assert leaf.is_deleted()


MESHES = """
import json, sys, importlib.util
spec = importlib.util.spec_from_file_location("fakes", sys.argv[1]); fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
import jax, numpy as np
from jamflow_jax.config import build
from jamflow_jax.parallel.mesh import make_mesh, put_batch
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import initialise
from jamflow_jax.train.step import make_train_step
heads, frames = json.loads(sys.argv[3])
for stream in ("audio", "motion"):
    fakes.TINY["model"][stream]["heads"] = heads
config, out, one = build(RunConfig, fakes.TINY), [], None
for shape in json.loads(sys.argv[2]):
    mesh = make_mesh(*shape, devices=jax.devices()[:np.prod(shape)])
    with jax.set_mesh(mesh):
        state, step = initialise(config, mesh, fakes.random_params(config)), make_train_step(config, mesh, fakes.LIVE)
        state, metrics = step(state, put_batch(fakes.make_batch(0, size=8, frames=frames), mesh), ("audio", "motion"))
    kernel = state.params["motion"]["stack"]["layers"]["ff_in"]["kernel"]
    moments = jax.device_get(state.opt_state)  # of the first step: the clipped gradient and its square, but for a factor
    one = moments if one is None else one
    apart = [float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30)) for a, b in zip(*map(jax.tree.leaves, (moments, one)))]
    held = kernel.addressable_shards[0].data.size / kernel.size
    out.append([float(metrics["loss"]), float(metrics["grad_norm"]), max(apart), held])
print(json.dumps(out))
"""


def on_meshes(*shapes, heads=2, frames=60):
    """For each (data, fsdp, tensor[, sequence]): loss, gradient norm, largest relative difference of a gradient to the first
    mesh's, and the share of a parameter that one device holds. In a process of its own, with eight simulated devices."""
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    what = json.dumps(shapes), json.dumps([heads, frames])
    words = [sys.executable, "-c", MESHES, str(Path(__file__).parent / "conftest.py"), *what]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Involuntary full rematerialization" not in done.stderr  # the partitioner's word for a layout that does not fit
    return json.loads(done.stdout.splitlines()[-1])


def test_eight_devices_equal_one():
    """data 2 x fsdp 2 x tensor 2, and sequence 2 in data's place: the same loss and gradients of random parameters, which are
    really cut in four."""
    one, *others = on_meshes((1, 1, 1), (2, 2, 2), (1, 2, 2, 2))
    for eight in others:
        np.testing.assert_allclose(eight[:2], one[:2], rtol=1e-5)
        assert eight[2] < 1e-5
        assert (one[3], eight[3]) == (1, 0.25)


@pytest.mark.slow
def test_every_mesh_equals_one_device():
    one, *others = on_meshes((1, 1, 1), (8, 1, 1), (1, 8, 1), (1, 1, 2), (4, 2, 1), (4, 1, 2), (1, 4, 2),
                            (1, 1, 1, 4), (2, 1, 1, 4), (1, 2, 1, 2), (2, 2, 1, 2))  # fmt: skip
    for other in others:
        np.testing.assert_allclose(other[:2], one[:2], rtol=1e-5)
        assert other[2] < 1e-5


@pytest.mark.slow
def test_tensor_and_sequence_alone_over_eight_devices_equal_one():
    one, *others = on_meshes((1, 1, 1), (1, 1, 8), (1, 1, 1, 8), heads=8, frames=120)  # 32 motion frames
    assert [other[3] for other in others] == [1 / 8, 1]  # of a parameter: sequence cuts none
    for other in others:
        np.testing.assert_allclose(other[:2], one[:2], rtol=1e-5)
        assert other[2] < 1e-5


def test_optimiser_counts_are_integers(start):
    assert all(jnp.issubdtype(leaf.dtype, jnp.integer) or leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(start()))
