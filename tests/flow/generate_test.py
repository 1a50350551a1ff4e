"""Every task of the paper on a tiny random model: shapes, known frames, company, noise, guidance."""
import dataclasses
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import linen as nn

from jamflow_jax.flow import generate as module
from jamflow_jax.flow import guidance, solver
from jamflow_jax.flow.generate import Request, SampleConfig, Scales, generate
from jamflow_jax.flow.requests import check, conditions
from jamflow_jax.flow.states import GENERATED, drop, model_arguments
from jamflow_jax.model import AudioConfig, JamFlow, JamFlowConfig, MotionConfig, init, init_motion
from jamflow_jax.timeline import motion_frames

TRUNK = {"width": 32, "depth": 2, "heads": 2, "head_dim": 16}
CONFIG = JamFlowConfig(
    audio=AudioConfig(**TRUNK, mel_dim=6, text_vocab=9, text_width=16, text_layers=1),
    motion=MotionConfig(**TRUNK, mouth_dim=4, rest_dim=3),
    joint_layers=(0,),
)
QUICK = SampleConfig(steps=2)
T = 50  # mel frames
M = motion_frames(T)


def random_like(make, config):
    """Random parameters everywhere: fresh ones are zero where it would show. No compilation."""
    shapes = nn.unbox(jax.eval_shape(lambda: make(config, jax.random.key(0))))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda a: (0.12 * rng.standard_normal(a.shape)).astype(np.float32), shapes)


@pytest.fixture(scope="module")
def params():
    return random_like(init, CONFIG)


def mel(frames=T):
    return np.random.default_rng(1).normal(size=(frames, 6)).astype(np.float32)


def mouth(frames=M):
    return np.random.default_rng(2).normal(size=(frames, 4)).astype(np.float32)


def rest(length=T):
    return np.random.default_rng(3).normal(size=(motion_frames(length), 3)).astype(np.float32)


def middle(frames):
    """All known but the middle third."""
    known = np.ones(frames, bool)
    known[frames // 3 : 2 * frames // 3] = False
    return known


TEXT = np.array([1, 2, 3, 4, -1, -1])
TASKS = {
    "1 audio to motion": dict(want_audio=False, mel=mel()),
    "1 audio to motion, with rest and text": dict(want_audio=False, mel=mel(), rest=rest(), text_ids=TEXT),
    "2 text to audio": dict(want_motion=False, text_ids=TEXT),
    "2 text and reference to audio": dict(want_motion=False, text_ids=TEXT, mel=mel(20)),
    "3 text to both": dict(text_ids=TEXT),
    "4 text and reference audio to both": dict(text_ids=TEXT, mel=mel(20)),
    "5 dubbing": dict(want_motion=False, text_ids=TEXT, mouth=mouth(), mel=mel(20)),
    "6 motion to audio": dict(want_motion=False, mouth=mouth()),
    "7 infill audio": dict(want_motion=False, text_ids=TEXT, mel=mel(), mel_known=middle(T)),
    "7 infill motion": dict(want_audio=False, mouth=mouth(), mouth_known=middle(M)),
    "7 infill both": dict(mel=mel(), mel_known=middle(T), mouth=mouth(), mouth_known=middle(M), rest=rest()),
}


def known(request, stream, frames):
    values = getattr(request, stream)
    if values is None:
        return np.zeros(frames, bool)
    mask = getattr(request, f"{stream}_known")
    mask = np.ones(len(values), bool) if mask is None else mask
    return np.pad(mask, (0, frames - len(mask)))


@pytest.fixture(scope="module")
def together(params):
    """Every task in one go, among longer clips, with guidance that tells all conditions apart."""
    sample = dataclasses.replace(QUICK, guidance=Scales(0.5, 1.0, 1.5, 2.0))
    requests = {name: Request(T, seed=i, **task) for i, (name, task) in enumerate(TASKS.items())}
    longer = [Request(115, seed=90, text_ids=TEXT), Request(70, seed=91, mel=mel(), want_audio=False)]
    results = generate(CONFIG, params, [longer[0], *requests.values(), longer[1]], sample)[1:-1]
    return sample, requests, dict(zip(requests, results))


@pytest.mark.parametrize("task", TASKS)
def test_tasks(together, task):
    _, requests, results = together
    request, result = requests[task], results[task]
    for stream, wanted, frames, width in (("mel", request.want_audio, T, 6), ("mouth", request.want_motion, M, 4)):
        value, given = getattr(result, stream), getattr(request, stream)
        if not wanted:
            assert value is None
            continue
        assert value.shape == (frames, width) and value.dtype == np.float32 and np.isfinite(value).all()
        mask = known(request, stream, frames)
        if mask.any():
            np.testing.assert_array_equal(value[mask], given[mask[: len(given)]])
        assert np.abs(value[~mask]).min() > 0


@pytest.mark.parametrize(
    "task", ["2 text and reference to audio", "4 text and reference audio to both", "5 dubbing", "7 infill both"]
)
def test_a_request_in_company_equals_itself_alone(params, together, task):
    """In company there are filler rows and the union of everyone's guidance levels."""
    sample, requests, results = together
    alone = generate(CONFIG, params, [requests[task]], sample)[0]
    for stream in ("mel", "mouth"):
        if getattr(alone, stream) is not None:
            np.testing.assert_allclose(getattr(results[task], stream), getattr(alone, stream), atol=1e-5, rtol=1e-5)


def test_padding_to_a_longer_bucket_changes_nothing(params):
    requests = [Request(T, text_ids=TEXT, mel=mel(20), rest=rest(), seed=3), Request(T, mel=mel(), want_audio=False)]
    short = generate(CONFIG, params, requests, QUICK)
    longer = dataclasses.replace(QUICK, bucket=240)
    for a, b in zip(short, generate(CONFIG, params, requests, longer)):
        np.testing.assert_allclose(a.mouth, b.mouth, atol=1e-5, rtol=1e-5)
        if a.mel is not None:
            np.testing.assert_allclose(a.mel, b.mel, atol=1e-5, rtol=1e-5)


def test_a_stream_alone_needs_no_other_parameters(params):
    """Speech without motion is Audio-DiT, and equals the joint program with motion absent."""
    requests = [Request(T, want_motion=False, text_ids=TEXT, mel=mel(20), seed=4)]
    only = generate(CONFIG, {"audio": params["audio"]}, requests, QUICK)[0]
    windows = dataclasses.replace(CONFIG.windows, audio_audio=1000)  # a window, though none that cuts: not F5-TTS by form
    joint = generate(dataclasses.replace(CONFIG, windows=windows), params, requests, QUICK)[0]
    np.testing.assert_allclose(only.mel, joint.mel, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="motion stream"):
        generate(CONFIG, {"audio": params["audio"]}, [Request(T)], QUICK)


def test_seed_decides_the_noise_and_noise_can_be_injected(params):
    noise = [{}, {}, {}, {"audio": mel(), "motion": mouth()}, {"audio": mel()}, {"audio": mel(), "motion": mouth()}]
    requests = [Request(T, text_ids=TEXT, seed=seed) for seed in (5, 5, 6, 5, 7, 8)]
    a, same, other, injected, partly, again = generate(CONFIG, params, requests, QUICK, noise)
    np.testing.assert_allclose(a.mel, same.mel, atol=1e-5)
    assert not np.allclose(a.mel, other.mel) and not np.allclose(a.mouth, other.mouth)
    np.testing.assert_allclose(injected.mel, again.mel, atol=1e-5)
    np.testing.assert_allclose(injected.mouth, again.mouth, atol=1e-5)
    assert not np.allclose(injected.mel, a.mel) and not np.allclose(injected.mouth, partly.mouth)


def test_each_condition_matters_and_guidance_does(params):
    base = dict(text_ids=TEXT, mel=mel(20), mouth=mouth(4), rest=rest())
    requests = [Request(T, **base), *(Request(T, **(base | {name: None})) for name in base)]
    guided = generate(CONFIG, params, requests, QUICK)
    plain = generate(CONFIG, params, requests, dataclasses.replace(QUICK, guidance=0.0))
    for full, *less in (guided, plain):
        for name, result in zip(base, less):
            assert np.abs(result.mel[20:] - full.mel[20:]).max() > 1e-3, name
    for a, b in zip(guided, plain):
        assert np.abs(a.mel[20:] - b.mel[20:]).max() > 1e-3


def test_text_speaks_through_audio_even_if_only_motion_is_wanted(params):
    both, motion = generate(CONFIG, params, [Request(T, text_ids=TEXT), Request(T, text_ids=TEXT, want_audio=False)], QUICK)
    assert motion.mel is None
    np.testing.assert_allclose(motion.mouth, both.mouth, atol=1e-5, rtol=1e-5)


def test_scales_and_grids_share_a_program(params):
    requests = [Request(T, text_ids=TEXT, mel=mel(20))]
    generate(CONFIG, params, requests, QUICK)
    before = module._solve._cache_size()
    for change in ({"guidance": 3.0}, {"grid": "uniform"}, {"sway": -0.5}):
        generate(CONFIG, params, requests, dataclasses.replace(QUICK, **change))
    assert module._solve._cache_size() == before


@pytest.mark.parametrize("task", ["3 text to both", "5 dubbing", "7 infill both"])
def test_what_is_worked_out_once_changes_nothing(params, together, task):
    """The plain way: text and time embedded at every evaluation, one pass after the other, Euler in Python."""
    sample, requests, results = together
    row = check(CONFIG, requests[task])
    told = conditions([row], 120)
    y = module._noise(CONFIG, [row], [{}], 120, ("audio", "motion"))
    grid = solver.time_grid(sample.grid, sample.steps, sample.sway)
    apply = jax.jit(lambda params, arguments: JamFlow(CONFIG).apply({"params": params}, **arguments))
    for t, h in zip(grid[:-1], np.diff(grid)):
        v = 0.0, 0.0
        for dropped, coefficient in zip(*guidance.passes(sample.guidance, row.present)):
            time = np.full(1, t)
            arguments = model_arguments(drop(told, **dict.fromkeys(dropped, True)), y["audio"], y["motion"], time, time)
            v = [total + coefficient * part for total, part in zip(v, apply(params, arguments))]
        y = {name: y[name] + h * part for name, part in zip(y, v)}
    for stream, frames, state, values in zip(("mel", "mouth"), (T, M), (row.audio_state, row.motion_state), y.values()):
        found, made = getattr(results[task], stream), ~known(requests[task], stream, frames)
        if state == GENERATED and found is not None:
            np.testing.assert_allclose(found[made], np.asarray(values)[0, :frames][made], atol=2e-5, rtol=2e-5)


def test_the_loop_holds_neither_text_nor_time(params):
    """The exact GELU is the text's alone, SiLU the time's: both are there, and not where the steps are."""
    row = check(CONFIG, Request(T, text_ids=TEXT, mel=mel(20)))
    dropped, coefficients = guidance.table([guidance.passes(Scales.of(2.0), row.present)])
    noise = module._noise(CONFIG, [row], [{}], 120, ("audio", "motion"))
    arguments = params, conditions([row], 120), noise, solver.time_grid("sway", 7), dropped, coefficients
    program = jax.make_jaxpr(lambda *arguments: module._solve_rows(CONFIG, "heun", *arguments))(*arguments)
    (loop,) = [eqn for eqn in program.eqns if eqn.primitive.name == "scan" and eqn.params["length"] == 7]
    for primitive in ("erf", "logistic"):
        assert primitive in str(program) and primitive not in str(loop)


def test_groups_are_cut_without_filler_rows():
    assert module.batches(7, 1, 16) == [(4, 1), (2, 1), (1, 1)]
    assert module.batches(40, 1, 16) == [(16, 1), (16, 1), (8, 1)]
    assert module.batches(1, 8, 16) == [(1, 1)]
    assert module.batches(21, 8, 16) == [(16, 8), (5, 8)]
    assert module.batches(100, 8, 3) == [(16, 8)] * 6 + [(4, 8)]


def test_a_request_pays_for_its_own_passes_only(params, monkeypatch):
    """Without conditions there is nothing to guide: one pass, however many its neighbours need."""
    made = []
    solve = module._solve
    monkeypatch.setattr(module, "_solve", lambda *a, **k: made.append(a[-1].shape) or solve(*a, **k))
    generate(CONFIG, params, [Request(T), Request(T, text_ids=TEXT), Request(T, mel=mel(20)), Request(T, text_ids=TEXT)], QUICK)
    assert sorted(made) == [(1, 1), (1, 2), (2, 2)]


ON_DEVICES = """
import jax, numpy as np
from tests.flow.generate_test import *
params = random_like(init, CONFIG)
requests = [Request(T, text_ids=TEXT, seed=i) for i in range(3)]
np.savez(__import__("sys").argv[1], devices=jax.device_count(), *[r.mel for r in generate(CONFIG, params, requests, QUICK)])
"""


def test_devices_share_the_rows(params, tmp_path):
    """Two simulated devices: three requests, two and one of them with a filler row, equal the same on one device."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    command = [sys.executable, "-c", ON_DEVICES, str(tmp_path / "two.npz")]
    subprocess.run(command, check=True, env={**os.environ, "XLA_FLAGS": flags, "JAX_ENABLE_COMPILATION_CACHE": "false"})
    two = np.load(tmp_path / "two.npz")
    assert two["devices"] == 2
    requests = [Request(T, text_ids=TEXT, seed=i) for i in range(3)]
    for i, result in enumerate(generate(CONFIG, params, requests, QUICK)):
        np.testing.assert_allclose(two[f"arr_{i}"], result.mel, atol=1e-5, rtol=1e-5)


def test_stage_one_model_takes_speech():
    config = dataclasses.replace(CONFIG, motion=dataclasses.replace(CONFIG.motion, speech_dim=5))
    params = {"motion": random_like(init_motion, config.motion)}
    speech = mel(M)[:, :5]
    request = Request(T, want_audio=False, speech=speech)
    loud, silent = generate(config, params, [request, dataclasses.replace(request, speech=0 * speech)], QUICK)
    assert loud.mouth.shape == (M, 4) and not np.allclose(loud.mouth, silent.mouth)
