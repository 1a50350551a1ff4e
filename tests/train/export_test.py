"""DIR/best is a model of the best checkpoint's averages."""
import jax
import numpy as np

from jamflow_jax.parallel.mesh import make_mesh
from jamflow_jax.train import checkpoint, export
from jamflow_jax.train.checkpoint import Checkpoints
from jamflow_jax.train.state import layout


def test_the_best_of_a_run(tiny, tmp_path):
    config, mesh = tiny(checkpoint={"keep_best": "motion", "keep": 2, "every": 3}), make_mesh(devices=jax.devices()[:1])
    shapes, places = layout(config, mesh)

    def state(value):
        return jax.tree.map(lambda s, p: jax.device_put(np.full(s.shape, value, s.dtype), p), shapes, places)

    checkpoints = Checkpoints(tmp_path / "checkpoints", config.checkpoint)
    assert checkpoints.best() is None and export.export(tmp_path, config, mesh) is None and not (tmp_path / "best").exists()
    for step, motion in ((3, 0.5), (6, 0.3), (9, 0.4), (12, 0.6)):
        checkpoints.save(step, state(step), {"config": {}}, {"audio": 1.0 / step, "motion": motion, "total": 1.0})
    checkpoints.close()
    assert checkpoint.steps(tmp_path / "checkpoints") == [6, 9, 12]  # the two newest, and the best
    (tmp_path / "config.json").write_text("{}")
    said = []
    for _ in range(2):  # again: the same
        export.export(tmp_path, config, mesh, said.append)
    place = tmp_path / "best" / "checkpoints" / "6"
    assert said[0].startswith("best: step 6 (held out: audio 0.1667  motion 0.3000") and (tmp_path / "best/config.json").exists()
    record = checkpoint.read_record(place)
    assert record["streams"] == ["audio", "motion"] and checkpoint.steps(place.parent) == [6]
    abstract = jax.tree.map(lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes.params, places.params)
    for leaf in jax.tree.leaves(checkpoint.load(place, {"params": abstract}, record)):
        np.testing.assert_array_equal(leaf, 6)
