"""Memory does not grow with a video's length: peak memory of commands of their own, for a motion and one four times as long."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parent.parent / "support"
PROGRAM = """
import resource, sys
sys.path.insert(0, SUPPORT)
import numpy as np, small_faces
import launch.render
from PIL import Image
from jamflow_jax.face.networks import Networks
from jamflow_jax.motion.template import Template, write_template
from launch import motion, render
from launch.outputs.video import write_mp4

small_faces.shrink()
networks = Networks(small_faces.params(), batch=4, size=128)
launch.render.load_networks = lambda *_, **__: networks
rng, frames = np.random.default_rng(0), FRAMES
eye = np.broadcast_to(np.eye(3, dtype=np.float32), (frames, 3, 3))
exp = 0.01 * rng.standard_normal((frames, 21, 3)).astype(np.float32)
write_template("m.pkl", Template(exp, eye, np.zeros((frames, 3), np.float32), np.ones((frames, 1), np.float32)))
Image.fromarray(rng.integers(0, 255, (480, 640, 3), np.uint8)).save("p.png")
if WHAT != "picture":
    write_mp4("v.mp4", (np.full((480, 640, 3), i % 256, np.uint8) for i in range(frames)))
if WHAT == "motion":
    assert motion.main(["v.mp4", "--out", "o.pkl"]) == 0
else:
    assert render.main(["--source", "p.png" if WHAT == "picture" else "v.mp4", "--motion", "m.pkl", "--out", "o.mp4"]) == 0
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(folder, what: str, frames: int) -> float:
    """MiB."""
    program = PROGRAM.replace("SUPPORT", repr(str(SUPPORT))).replace("WHAT", repr(what)).replace("FRAMES", str(frames))
    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, text=True, capture_output=True, timeout=500,
                          env=os.environ | {"MALLOC_ARENA_MAX": "2"})  # fmt: skip
    return int(done.stdout.split("peak")[1]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("what", ["picture", "video", "motion"])
def test_peak_memory_does_not_grow(tmp_path, what):
    short, long = (peak(tmp_path, what, frames) for frames in (30, 120))
    print(f"{what}: {short:.0f} MiB for 30 frames, {long:.0f} MiB for 120")
    assert long - short < 40  # 90 frames of 640 x 480 are 79 MiB
