"""The PyTorch file against JAX: velocities of every kind of model, all seven tasks end to end; and F5-TTS's and Vocos's numbers."""
import ast
import dataclasses
import json
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.audio.mel import log_mel_numpy
from jamflow_jax.flow import solver
from jamflow_jax.flow.generate import Request, SampleConfig, Scales, _draw, generate
from jamflow_jax.model import JamFlowConfig, MotionConfig, WindowConfig, init_motion
from jamflow_jax.text.pinyin import pinyin_tokens
from jamflow_jax.timeline import motion_frames
from jamflow_jax.torch_io import f5tts, verify
from jamflow_jax.train.model_call import mel_per_motion_frame

torch = pytest.importorskip("torch")
from jamflow_jax.torch_io import jamflow_torch as twin_file  # noqa: E402

SWITCHES = {"rope_heads": 1, "qk_norm": "rms_norm", "long_skip": True}
VARIANTS = {
    "v1, the paper's windows": {},
    "v0, every switch of the trunk, odd windows": {
        "audio": SWITCHES | {"text_mask_padding": False},
        "motion": SWITCHES | {"rope_alignment": "length", "window_seconds": None},
        "joint_layers": (1,),
        "windows": WindowConfig(None, None, Fraction(1, 7), Fraction(3, 25), keep_when_alone=False),
    },
    "no alignment, the same timestamp alone, GRN over padding": {
        "audio": {"grn_over_padding": True, "text_layers": 2},
        "motion": {"rope_alignment": "none"},
        "joint_layers": None,
        "windows": WindowConfig(Fraction(0), Fraction(1, 3), Fraction(0), None),
    },
}
VELOCITY, SAMPLE = 2e-4, 1e-3
TINY = 5e-5  # of two layers: GRN over padding moves them by 1e-4 only
T = 50  # mel frames
M = motion_frames(T)


def varied(config, **changes):
    """`config` with fields changed, those of a stream in a dictionary."""
    nested = {k: dataclasses.replace(getattr(config, k), **v) if isinstance(v, dict) else v for k, v in changes.items()}
    return dataclasses.replace(config, **nested)


def noise(frames, width, seed):
    return np.random.default_rng(seed).standard_normal((frames, width)).astype(np.float32)


def middle(frames):
    """All known but the middle third."""
    known = np.ones(frames, bool)
    known[frames // 3 : 2 * frames // 3] = False
    return known


def tasks(mel_dim, mouth_dim, rest_dim, length=T):
    """The seven tasks of the paper, some in two ways, as fields of a Request."""
    frames = motion_frames(length)
    text = np.array([1, 2, 3, 4, -1, -1])
    mel, mouth, rest = noise(length, mel_dim, 1), noise(frames, mouth_dim, 2), noise(frames, rest_dim, 3)
    return {
        "1 audio to motion": dict(want_audio=False, mel=mel),
        "1 audio to motion, with rest and text": dict(want_audio=False, mel=mel, rest=rest, text_ids=text),
        "2 text and reference to audio": dict(want_motion=False, text_ids=text, mel=mel[:20]),
        "3 text to both": dict(text_ids=text),
        "3 text to motion": dict(text_ids=text, want_audio=False),
        "4 text and reference audio to both": dict(text_ids=text, mel=mel[:20]),
        "5 dubbing": dict(want_motion=False, text_ids=text, mouth=mouth, mel=mel[:20]),
        "6 motion to audio": dict(want_motion=False, mouth=mouth),
        "7 edit both": dict(
            mel=mel, mel_known=middle(length), mouth=mouth, mouth_known=middle(frames), rest=rest, text_ids=text),
    }  # fmt: skip


def close(ours, theirs, bound):
    assert (ours is None) == (theirs is None)
    if ours is not None:
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=bound, rtol=0)


# --- against JAX


@pytest.mark.parametrize("name", VARIANTS)
def test_velocities_agree(tiny, random_params, twin_of, name):
    """Clips of four lengths in one batch: both noisy, text dropped, motion absent, audio absent."""
    config = varied(tiny.config, **VARIANTS[name])
    params = random_params(config)
    inputs = verify.random_inputs(config, ("audio", "motion"), np.random.default_rng(3))
    ours, theirs = verify.jax_velocities(config, params, inputs), verify.torch_velocities(twin_of(config, params), inputs)
    for stream in ("audio", "motion"):
        assert np.std(ours[stream]) > 0.3
        close(ours[stream], theirs[stream], TINY)


def test_a_stage_one_model_agrees(tiny, random_params, twin_of):
    config = varied(tiny.config, motion={"speech_dim": 5})
    params = {"motion": random_params(config.motion, init_motion)}
    twin = twin_of(config, params)
    inputs = verify.random_inputs(config, ("motion",), np.random.default_rng(3))
    close(verify.jax_velocities(config, params, inputs)["motion"], verify.torch_velocities(twin, inputs)["motion"], VELOCITY)
    requests = [twin_file.Request(T, want_audio=False, speech=speech) for speech in (noise(M, 5, 1), None)]
    loud, silent = twin.generate(requests, steps=2)
    assert loud.mouth.shape == (M, 4) and not torch.allclose(loud.mouth, silent.mouth)
    with pytest.raises(ValueError, match="audio stream"):
        twin.generate([twin_file.Request(T)])


@pytest.fixture(scope="module")
def results(tiny, twin_of):
    """Every task in one go among longer clips, with guidance that tells all conditions apart: requests, JAX's, PyTorch's."""
    requests = [Request(T, seed=i, **fields) for i, fields in enumerate(tasks(100, 4, 3).values())]
    requests.append(Request(115, seed=90, text_ids=np.array([5, 6])))
    lengths = [(i, request.length) for i, request in enumerate(requests)]
    injected = [{"audio": noise(size, 100, 20 + i), "motion": noise(motion_frames(size), 4, 40 + i)} for i, size in lengths]
    scales = Scales(0.5, 1.0, 1.5, 2.0)
    sample = SampleConfig(steps=2, grid="uniform", guidance=scales)
    ours = generate(tiny.config, tiny.params, requests, sample, injected)
    theirs = twin_of(tiny.config, tiny.params).generate(
        [twin_file.Request(**vars(request)) for request in requests], steps=2, grid="uniform",
        guidance=dataclasses.asdict(scales), noise=injected)  # fmt: skip
    return dict(zip([*tasks(100, 4, 3), "longer"], zip(requests, ours, theirs)))


@pytest.mark.parametrize("task", [*tasks(100, 4, 3), "longer"])
def test_every_task_agrees_end_to_end(results, task):
    request, ours, theirs = results[task]
    for stream, wanted in (("mel", request.want_audio), ("mouth", request.want_motion)):
        assert (getattr(ours, stream) is not None) == wanted
        close(getattr(ours, stream), getattr(theirs, stream), SAMPLE)


def test_a_request_in_company_equals_itself_alone(tiny, twin_of):
    twin = twin_of(tiny.config, tiny.params)
    requests = [twin_file.Request(T, **tasks(100, 4, 3)["7 edit both"]), twin_file.Request(80, text_ids=[1, 2])]
    together, alone = twin.generate(requests, steps=2), [twin.generate([request], steps=2)[0] for request in requests]
    for a, b in zip(together, alone):
        close(a.mel, b.mel, 1e-5)
        close(a.mouth, b.mouth, 1e-5)


def test_a_seed_means_the_same_noise():
    seeds = np.array([0, 7, 2**32 - 1], np.uint32)
    for stream in (0, 1):
        ours = _draw(jnp.asarray(seeds), stream, 40, 9)
        theirs = twin_file.normal(torch.as_tensor(seeds.astype(np.int64)), stream, 40, 9)
        np.testing.assert_allclose(theirs, ours, atol=5e-6)


@pytest.mark.parametrize("method", ("euler", "midpoint", "heun"))
@pytest.mark.parametrize("grid, steps, sway", (("uniform", 3, 0.0), ("sway", 4, -1.0), ("epss", 7, -0.5), ("epss", 8, 1.0)))
def test_solvers_and_grids_agree(method, grid, steps, sway):
    times = twin_file.time_grid(grid, steps, sway)
    close(solver.time_grid(grid, steps, sway), times, 1e-7)
    ours = solver.solve(lambda t, y: jnp.cos(9 * t) - y * t, jnp.ones(3), times.numpy(), method)
    y = {"audio": torch.ones(3)}
    for t, h in zip(times[:-1], times.diff()):
        y = twin_file.STEPS[method](lambda t, y: {"audio": torch.cos(9 * t) - y["audio"] * t}, t, h, y)
    close(ours, y["audio"], 1e-6)


def test_requests_that_cannot_be_met_are_refused(tiny, twin_of):
    twin = twin_of(tiny.config, tiny.params)
    mel, mouth = noise(T, 100, 1), noise(M, 4, 1)
    for fields, message in (
        (dict(length=0), "positive"), (dict(length=T, want_audio=False, want_motion=False), "neither"),
        (dict(length=T, mel=mel, mouth=mouth), "known already"), (dict(length=T, mel=mel[:, :5]), "needs"),
        (dict(length=T, mel=mel * np.nan), "finite"), (dict(length=9, mel=mel), "past the end"),
        (dict(length=T, rest=noise(M + 1, 3, 1)), "needed"), (dict(length=T, text_ids=[9]), "knows 0 to 8"),
        (dict(length=T, want_motion=False, rest=noise(M, 3, 1)), "neither wanted nor known"),
        (dict(length=T, mel_known=np.ones(3)), "missing"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            twin.generate([twin_file.Request(**fields)])
    for options in ({"method": "rk4"}, {"grid": "wrong"}, {"sway": 2.0}, {"steps": 0}):
        with pytest.raises(ValueError, match=str(*options.values())):
            twin.generate([twin_file.Request(T)], **options)


# --- against F5-TTS's and Vocos's own code


@pytest.fixture(scope="module", params=("v1", "v0"))
def f5(request, golden, twin_of):
    f5_config = json.loads((golden / f"f5tts_{request.param}_tiny_config.json").read_text())
    audio, params = f5tts.load(golden / "f5tts_tiny.safetensors", f5_config)
    trunk = {f.name: getattr(audio, f.name) for f in dataclasses.fields(MotionConfig) if hasattr(audio, f.name)}
    io = np.load(golden / f"f5tts_{request.param}_tiny_io.npz")
    return twin_of(JamFlowConfig(audio=audio, motion=MotionConfig(**trunk)), {"audio": params}), {key: io[key] for key in io}


@pytest.mark.parametrize("row", (0, 1))
def test_f5tts_velocities(f5, row):
    twin, io = f5
    x, context, text, time = (torch.as_tensor(io[key][row : row + 1]) for key in ("x", "cond", "text", "time"))
    for name, keep, drop_text in (("velocity", 1, False), ("velocity_drop_audio", 0, False), ("velocity_uncond", 0, True)):
        v, _ = twin(twin_file.AudioInputs(x, keep * context, text.long(), time, drop_text), None)
        close(v, io[f"{name}_row{row}"], VELOCITY)


@pytest.mark.parametrize("name, steps, grid", (("euler8", 8, "sway"), ("epss7", 7, "epss")))
def test_f5tts_sampler(f5, name, steps, grid):
    twin, io = f5
    request = twin_file.Request(96, want_motion=False, text_ids=io["text"][0], mel=io["cond"][0, :38])
    (result,) = twin.generate([request], steps=steps, grid=grid, noise=[{"audio": io[f"sample_{name}_noise"][0]}])
    close(result.mel, io[f"sample_{name}_out"][0], SAMPLE)


def test_vocos(golden):
    io = np.load(golden / "vocos_tiny_io.npz")
    made = twin_file.Vocos.from_file(golden / "vocos_tiny.safetensors")(torch.as_tensor(io["mel"]).mT)
    np.testing.assert_allclose(made, io["audio"], atol=1e-3 * io["audio"].std(), rtol=0)


# --- around the model


def test_log_mel_and_speech_of_mel():
    audio = 0.3 * noise(9000, 1, 0)[:, 0]
    mel = twin_file.log_mel(torch.as_tensor(audio))
    np.testing.assert_allclose(mel, log_mel_numpy(audio), atol=1e-3)
    ours = mel_per_motion_frame(mel.numpy()[None], np.array([len(mel)]), motion_frames(len(mel)))[0]
    close(ours, twin_file.speech_of_mel(mel), 1e-5)


@pytest.mark.parametrize("text", ("one,two (three)", "你好, world; “x”", "第１2回ABC", ""))
def test_pinyin_is_the_tokenizers(text):
    assert twin_file.pinyin(text) == pinyin_tokens(text)


def test_it_needs_torch_and_safetensors_alone():
    tree = ast.parse(Path(twin_file.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outside = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    assert outside == {"torch", "safetensors", "rjieba", "pypinyin"}  # the last two inside `pinyin`, for Chinese
    at_the_top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    at_the_top |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not at_the_top & {"rjieba", "pypinyin"}


def test_half_precision_keeps_its_angles(tiny, twin_of):
    """`.half()` on a table of frequencies would be wrong by 0.4 rad at frame 1,024; there is no table to cast."""
    twin = twin_of(tiny.config, tiny.params).half()
    assert not list(twin.buffers())
    cos, _ = twin_file.rope(torch.tensor([[1024.0]]), 64)
    exact = np.cos(1024 * 1e4 ** (-np.arange(0, 64, 2) / 64))
    np.testing.assert_allclose(cos[0, 0, 0, ::2], exact, atol=2e-4)
    x = torch.randn(1, 3, 2, 16, generator=torch.Generator().manual_seed(0))
    table = twin_file.rope(torch.tensor([[1000.0, 2000.0, 2812.0]]), 16)
    assert (twin_file.rotate(x.half(), table, None).float() - twin_file.rotate(x, table, None)).abs().max() < 5e-3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_task_agrees_at_full_width(random_params, twin_of, optimised):
    """22 layers, width 1024, both streams: 668 M parameters, 2.7 GB on each side."""
    config = JamFlowConfig()
    params = jax.device_put(random_params(config, scale=0.03))
    twin = twin_of(config, jax.device_get(params))
    inputs = verify.random_inputs(config, ("audio", "motion"), np.random.default_rng(3))
    ours, theirs = verify.jax_velocities(config, params, inputs), verify.torch_velocities(twin, inputs)
    for stream in ("audio", "motion"):
        deviation = np.std(ours[stream])
        print(f"{stream}: velocities of deviation {deviation:.2f} differ by {np.abs(ours[stream] - theirs[stream]).max():.1e}")
        assert deviation > 0.1
        close(ours[stream], theirs[stream], VELOCITY * max(1.0, deviation))
    requests = [Request(60, seed=i, **fields) for i, fields in enumerate(tasks(100, 12, 51, 60).values())]
    injected = [{"audio": noise(60, 100, 20 + i), "motion": noise(16, 12, 40 + i)} for i in range(len(requests))]
    ours = generate(config, params, requests, SampleConfig(steps=2, max_batch=4), injected)
    theirs = twin.generate([twin_file.Request(**vars(r)) for r in requests], steps=2, max_batch=4, noise=injected)
    for task, a, b in zip(tasks(100, 12, 51), ours, theirs):
        pairs = [(getattr(a, stream), getattr(b, stream)) for stream in ("mel", "mouth") if getattr(a, stream) is not None]
        print(f"{task}: {', '.join(f'{np.abs(x - y.numpy()).max():.1e}' for x, y in pairs)}")
        for x, y in pairs:
            close(x, y, SAMPLE)


@pytest.fixture
def optimised():
    """Large programs run longer than they compile: here XLA is to try."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
