"""DIR/best is a model of the best checkpoint's averages."""
import jax
import numpy as np
import pytest

from jamflow_jax.errors import InputError
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
    assert export.export(tmp_path, config, mesh) is None and not (tmp_path / "best").exists()
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


def test_a_best_checkpoint_that_is_damaged_gives_way_to_the_next(tiny, tmp_path):
    config, mesh = tiny(checkpoint={"keep": 4}), make_mesh(devices=jax.devices()[:1])
    shapes, places = layout(config, mesh)
    state = jax.tree.map(lambda s, p: jax.device_put(np.ones(s.shape, s.dtype), p), shapes, places)
    checkpoints = Checkpoints(tmp_path / "checkpoints", config.checkpoint)
    for step, total in ((3, 0.1), (6, 0.2), (9, 0.3)):
        checkpoints.save(step, state, {"config": {}}, {"total": total})
    checkpoints.close()
    array = max((tmp_path / "checkpoints/3/averages/d").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(array.read_bytes())
    data[len(data) // 2] ^= 1
    array.write_bytes(data)
    (tmp_path / "checkpoints/6/_CHECKPOINT_METADATA").write_text("{")
    said = []
    export.export(tmp_path, config, mesh, said.append)
    assert "6 is damaged" in said[0] and "3 is damaged" in said[1] and said[2].startswith("best: step 9 ")
    assert checkpoint.steps(tmp_path / "checkpoints") == [9] and checkpoint.steps(tmp_path / "damaged") == [3, 6]
    (tmp_path / "checkpoints/9/_CHECKPOINT_METADATA").unlink()
    with pytest.raises(InputError, match="no checkpoint is whole; 3 damaged ones"):
        export.export(tmp_path, config, mesh, said.append)
    assert checkpoint.steps(tmp_path / "best/checkpoints") == [9]  # what was exported stays
