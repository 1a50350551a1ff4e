"""Motion from pictures: the example of docs/faces.md, as it is written there, gives what `jamflow motion` does."""
import re
from pathlib import Path

import numpy as np

from jamflow_jax.motion.template import read_template
from launch import motion
from launch.outputs.video import write_mp4

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "faces.md"


def test_the_example_runs_with_m_alone(small_faces, tmp_path, monkeypatch):
    monkeypatch.setattr("launch.compile_cache.use_compile_cache", lambda: None)
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights" / "liveportrait"
    weights.mkdir(parents=True)
    small_faces.save(weights)
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(0, 255, (24, 36, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
    write_mp4("clip.mp4", (np.roll(still, 16 * i, 1) for i in range(5)))
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    got = {}
    exec(example, got)
    assert got["motion"].shape == (5, 63) and got["template"].n_frames == 5
    assert motion.main(["clip.mp4", "--box", "210,90,330,250", "--out", "clip.pkl"]) == 0
    made = read_template("clip.pkl")
    for name in ("t", "exp", "R", "scale"):
        np.testing.assert_allclose(getattr(got["template"], name), getattr(made, name), rtol=0, atol=1e-5)
