"""How long LivePortrait's networks take per frame here, and beside the original's in the same process.

    python -m benchmarks.faces --batches 1,4
    python -m benchmarks.faces --original ../LivePortrait     needs PyTorch, PyYAML, a checkout of KwaiVGI/LivePortrait
    python -m benchmarks.faces --networks motion --bfloat16   how far bfloat16 is from float32
    python -m benchmarks.faces --dtype bfloat16 --batches 16 --render 500   the whole way too, to an MP4 of 512 x 512
    python -m benchmarks.faces --networks warping,generator,appearance --no-winograd     without face/winograd.py
    python -m benchmarks.faces --networks "" --host 100       what the host does to a frame: pasting and encoding

Random weights: time does not depend on them. The two programs take turns, `--repeat` times; the best time counts, as wall-clock
time and as processor time of all threads (which other programs on the machine disturb less). JAX's compilation is not counted.
On a busy machine say `--threads 1`: both programs' threads spin while they wait for one another, and that counts as processor time.
"""
import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jamflow_jax.face import convolution
from jamflow_jax.face.appearance import Appearance
from jamflow_jax.face.generator import Generator
from jamflow_jax.face.motion import Motion
from jamflow_jax.face.sampling import sample
from jamflow_jax.face.stitching import INPUTS, WIDTHS, KeypointMlp
from jamflow_jax.face.warping import Warping
from jamflow_jax.torch_io import liveportrait

MODULES = {
    "motion": Motion, "appearance": Appearance, "warping": Warping, "generator": Generator,
    "stitching": lambda dtype: KeypointMlp("stitching"),
}  # fmt: skip
KINDS = (jnp.float32, jnp.bfloat16)


def inputs(network: str, batch: int) -> tuple[np.ndarray, ...]:
    """What a network sees of `batch` frames, channels last; W has one source for each, as the original needs it."""
    rng = np.random.default_rng(0)
    if network in ("motion", "appearance"):
        return (rng.random((batch, 256, 256, 3), np.float32),)
    if network == "generator":
        return (rng.standard_normal((batch, 64, 64, 256), np.float32),)
    if network == "stitching":
        return (rng.standard_normal((batch, INPUTS[network]), np.float32),)
    points = 0.3 * rng.standard_normal((2, batch, 21, 3), np.float32)
    return rng.standard_normal((batch, 16, 64, 64, 32), np.float32), points[0], points[1]


def random_params(network: str):
    """Parameters with which signals keep their size."""
    rng = np.random.default_rng(1)

    def leaf(like):
        fan = np.prod(like.shape[:-1]) if len(like.shape) > 1 else 100
        return rng.standard_normal(like.shape, np.float32) * np.float32(np.sqrt(2 / fan))

    like = liveportrait.template(network)
    return jax.tree.map(leaf, like[network] if network == "stitching" else like)


def ours(network: str, batch: int, dtype=jnp.float32) -> tuple[Callable[[], object], float]:
    """One call of our network, and the memory that its program takes beside parameters, inputs and outputs, GB."""
    module, params = MODULES[network](dtype), random_params(network)
    params, values = jax.device_put((jax.tree.map(lambda a: jnp.asarray(a, dtype), params), inputs(network, batch)))
    run = jax.jit(lambda p, *x: module.apply({"params": p}, *x)).lower(params, *values).compile()
    return lambda: jax.block_until_ready(run(params, *values)), run.memory_analysis().temp_size_in_bytes / 1e9


def original(network: str, batch: int, folder: Path) -> Callable[[], object]:
    """One call of the original network."""
    sys.path.insert(0, str(folder))
    import torch
    import yaml
    from src.modules.appearance_feature_extractor import AppearanceFeatureExtractor
    from src.modules.motion_extractor import MotionExtractor
    from src.modules.spade_generator import SPADEDecoder
    from src.modules.stitching_retargeting_network import StitchingRetargetingNetwork
    from src.modules.warping_network import WarpingNetwork

    config = yaml.safe_load((folder / "src/config/models.yaml").read_text())["model_params"]
    kind, name = {
        "motion": (MotionExtractor, "motion_extractor_params"), "warping": (WarpingNetwork, "warping_module_params"),
        "appearance": (AppearanceFeatureExtractor, "appearance_feature_extractor_params"),
        "generator": (SPADEDecoder, "spade_generator_params"),
        "stitching": (StitchingRetargetingNetwork, {"input_size": INPUTS["stitching"], "hidden_sizes": WIDTHS["stitching"][:-1],
                                                    "output_size": WIDTHS["stitching"][-1]}),
    }[network]  # fmt: skip
    device = "cuda" if torch.cuda.is_available() and jax.default_backend() != "cpu" else "cpu"
    module = kind(**(config[name] if isinstance(name, str) else name)).eval().to(device)
    values = [torch.tensor(np.moveaxis(v, -1, 1) if v.ndim > 3 else v).contiguous().to(device) for v in inputs(network, batch)]
    if network == "warping":
        values = [values[0], values[2], values[1]]  # the original takes the driving keypoints first

    def call():
        with torch.no_grad():
            module(*values)
        if device == "cuda":
            torch.cuda.synchronize()

    return call


def best(calls: list[Callable[[], object]], repeat: int) -> list[tuple[float, float]]:
    """(wall, processor) seconds of each, the best of `repeat` rounds in turn after one that is not counted (0: that one counts)."""
    times = [(np.inf, np.inf)] * len(calls)
    for round in range(repeat + 1):
        for i, call in enumerate(calls):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            took = time.perf_counter() - wall, time.process_time() - cpu
            if round or not repeat:
                times[i] = tuple(map(min, times[i], took))
    return times


def bfloat16_errors(network: str) -> Iterator[str]:
    """Largest and root mean square difference from float32 of each output, in its standard deviations."""
    exact, rough = (jax.tree.map(lambda a: np.asarray(a, np.float32), ours(network, 1, dtype)[0]()) for dtype in KINDS)
    if isinstance(exact, dict):
        exact, rough = ({"all heads": np.concatenate([v.ravel() for v in out.values()])} for out in (exact, rough))
    elif isinstance(exact, tuple):
        volume, *_ = inputs(network, 1)
        exact, rough = exact._asdict(), rough._asdict()
        # how much of the feature map's error comes from where it samples, in a volume of white noise: the worst there is
        exact["sampled volume, float32 at bfloat16's places"], rough["sampled volume, float32 at bfloat16's places"] = (
            np.asarray(jax.jit(sample)(volume, out["deformation"])) for out in (exact, rough)
        )
    else:
        exact, rough = {"output": exact}, {"output": rough}
    for name, value in exact.items():
        off = (rough[name] - value) / value.std()
        yield f"{name}: max {np.abs(off).max():.3g}, rms {np.sqrt((off**2).mean()):.3g}"


def frames_per_second(frames: int, batch: int, dtype) -> float:
    """A picture of 512 x 512 moved by `frames` frames of motion, pasted back and written as MP4, after a batch to compile for."""
    from jamflow_jax.face.crop import from_centre
    from jamflow_jax.face.networks import Networks
    from jamflow_jax.motion.template import Template
    from launch.outputs.portrait import Source, drive_of, portrait_frames
    from launch.outputs.video import write_mp4

    params = {network: random_params(network) for network in MODULES}
    networks = Networks(params | {"stitching": {"stitching": params["stitching"]}}, batch, dtype)
    rng = np.random.default_rng(0)
    source = Source(rng.integers(0, 255, (512, 512, 3), np.uint8), None, from_centre(512, 512))
    for count in (networks.batch, frames):
        exp, still = 0.01 * rng.standard_normal((count, 21, 3), np.float32), np.zeros((count, 3), np.float32)
        upright = np.broadcast_to(np.eye(3, dtype=np.float32), (count, 3, 3))
        drive = drive_of(Template(exp, upright, still, np.ones((count, 1), np.float32)), False)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            written = write_mp4(Path(folder) / "o.mp4", portrait_frames(networks, source, drive), crf=18)
        took = time.perf_counter() - start
    return written / took


def host_times(frames: int) -> Iterator[tuple[str, float]]:
    """(what, processor seconds a frame of 512 x 512): a face pasted into the whole picture, and a film of such pictures encoded."""
    from PIL import Image

    from jamflow_jax.face.crop import Crop, PasteBack
    from launch.outputs.video import write_mp4

    rng = np.random.default_rng(0)
    soft = np.asarray(Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).resize((544, 512), Image.Resampling.BICUBIC))
    faces = [soft[:, i % 32 :][:, :512] // 2 + rng.integers(0, 8, (512, 512, 3), np.uint8) for i in range(frames)]  # moves, grain
    for name, angle in (("pasting, upright", 0.0), ("pasting, turned", 0.2)):
        paste = PasteBack(Crop((256, 256), 512, angle), 512, 512)
        start = time.process_time()
        for face in faces:
            paste(faces[0], face)
        yield name, (time.process_time() - start) / frames
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        write_mp4(Path(folder) / "o.mp4", iter(faces), crf=18)
        yield "encoding", (time.process_time() - start) / frames


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(MODULES))
    parser.add_argument("--batches", default="1", metavar="N,..")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, metavar="N", help="cores for either program (default: all)")
    parser.add_argument("--original", type=Path, metavar="DIR", help="a checkout of KwaiVGI/LivePortrait")
    parser.add_argument("--bfloat16", action="store_true", help="instead: the error of bfloat16")
    parser.add_argument("--no-winograd", action="store_true", help="CPUs take the products that are spared otherwise")
    parser.add_argument("--host", type=int, metavar="N", help="also pasting and encoding, of N frames")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of ours; the original has float32")
    parser.add_argument("--render", type=int, metavar="N", help="also N frames from motion to MP4, in batches of the largest")
    options = parser.parse_args()
    if options.threads is not None:  # before JAX starts and PyTorch is imported: both take a thread for each core they may use
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
    if options.no_winograd:
        convolution.SHARED = np.inf
    networks = [network for network in options.networks.split(",") if network]
    device = jax.devices()[0]
    print(f"jax {jax.__version__}, {device.device_kind}, {options.dtype}\n", flush=True)
    if options.bfloat16:
        for network in networks:
            for said in bfloat16_errors(network):
                print(f"{network}: bfloat16 against float32, in standard deviations: {said}", flush=True)
        return 0
    if networks:
        print("| network | batch | GB | s per frame | processor s | original: s per frame | processor s |")
        print("|---|---|---|---|---|---|---|", flush=True)
    for network in networks:
        for batch in map(int, options.batches.split(",")):
            call, memory = ours(network, batch, jnp.dtype(options.dtype))
            calls = [call]
            calls += [] if options.original is None else [original(network, batch, options.original)]
            cells = [f"{value / batch:.3g}" for pair in best(calls, options.repeat) for value in pair]
            print(f"| {network} | {batch} | {memory:.2f} | " + " | ".join((cells + ["", ""])[:4]) + " |", flush=True)
    for what, seconds in host_times(options.host) if options.host else ():
        print(f"{what}: {1000 * seconds:.1f} ms of processor time a frame of 512 x 512", flush=True)
    if options.render:
        batch = max(map(int, options.batches.split(",")))
        rate = frames_per_second(options.render, batch, jnp.dtype(options.dtype))
        print(f"\nmotion to MP4, 512 x 512, {options.render} frames in batches of {batch}: {rate:.1f} frames/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
