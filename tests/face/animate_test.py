"""The rules between the networks, against themselves in plain NumPy and by what they must keep."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.face import animate
from jamflow_jax.face.animate import Face
from jamflow_jax.face.stitching import INPUTS, KeypointMlp
from jamflow_jax.motion import pose

rng = np.random.default_rng(0)


def face(frames: int) -> Face:
    return Face(
        rng.normal(size=(frames, 21, 3)).astype(np.float32), 0.1 * rng.normal(size=(frames, 21, 3)).astype(np.float32),
        pose.rotation(rng.uniform(-30, 30, (frames, 3))).astype(np.float32), 0.1 * rng.normal(size=(frames, 3)).astype(np.float32),
        rng.uniform(0.8, 1.5, (frames, 1)).astype(np.float32),
    )  # fmt: skip


def first(of: Face) -> Face:
    return Face(*(a[:1] for a in of))


def test_rotation_is_the_template_files():
    angles = rng.uniform(-80, 80, (5, 3))
    np.testing.assert_allclose(animate.rotation(jnp.asarray(angles, jnp.float32)), pose.rotation(angles), atol=1e-6)


def test_keypoints_have_no_depth_shift():
    one = face(2)
    x = np.asarray(animate.keypoints(one))
    for i in range(2):
        expected = one.scale[i] * (one.kp[i] @ one.R[i] + one.exp[i]) + one.t[i] * (1, 1, 0)
        np.testing.assert_allclose(x[i], expected, atol=1e-5)


def test_relative_motion_of_a_picture():
    source, driving = face(1), face(4)
    got = animate.animate(source, driving, first(driving))
    np.testing.assert_allclose(animate.keypoints(got)[0], animate.keypoints(source)[0], atol=1e-5)  # frame 0 is the source
    i = 3
    np.testing.assert_allclose(got.R[i], driving.R[i] @ driving.R[0].T @ source.R[0], atol=1e-5)
    np.testing.assert_allclose(got.exp[i], source.exp[0] + driving.exp[i] - driving.exp[0], atol=1e-6)
    np.testing.assert_allclose(got.t[i], source.t[0] + driving.t[i] - driving.t[0], atol=1e-6)
    np.testing.assert_allclose(got.scale[i], source.scale[0] * driving.scale[i] / driving.scale[0], atol=1e-6)
    np.testing.assert_array_equal(got.kp[i], source.kp[0])


def test_relative_motion_of_a_video_keeps_its_size_and_place():
    source, driving = face(4), face(4)
    got = animate.animate(source, driving, first(driving), video=True)
    np.testing.assert_array_equal(got.t, source.t)
    np.testing.assert_array_equal(got.scale, source.scale)
    entries = animate.expression_entries()
    assert entries.sum() == 13 * 3 + 2 + 1 + 1 + 2
    np.testing.assert_array_equal(np.asarray(got.exp)[:, ~entries], source.exp[:, ~entries])
    np.testing.assert_allclose(got.R[2], driving.R[2] @ driving.R[0].T @ source.R[2], atol=1e-5)


def test_absolute_motion_keeps_the_sources_size():
    source, driving = face(1), face(3)
    got = animate.animate(source, driving, first(driving), relative=False)
    entries = animate.expression_entries()
    np.testing.assert_array_equal(got.R, driving.R)
    np.testing.assert_array_equal(got.t, driving.t)
    np.testing.assert_array_equal(got.scale, np.repeat(source.scale, 3, 0))
    np.testing.assert_array_equal(np.asarray(got.exp)[:, entries], driving.exp[:, entries])
    np.testing.assert_array_equal(np.asarray(got.exp)[:, ~entries], np.repeat(source.exp, 3, 0)[:, ~entries])


@pytest.mark.parametrize("region, moves", [("lip", animate.LIP), ("eyes", animate.EYES), ("exp", range(21)), ("pose", ())])
def test_a_region_leaves_the_rest(region, moves):
    source, driving = face(1), face(2)
    got = animate.animate(source, driving, first(driving), region)
    still = [k for k in range(21) if k not in moves]
    np.testing.assert_array_equal(np.asarray(got.exp)[:, still], np.repeat(source.exp, 2, 0)[:, still])
    assert not moves or not np.allclose(np.asarray(got.exp)[1, list(moves)], source.exp[0, list(moves)])
    assert np.allclose(got.R[1], source.R[0]) == np.allclose(got.t[1], source.t[0]) == (region != "pose")
    np.testing.assert_array_equal(got.scale[1], source.scale[0])
    with pytest.raises(ValueError, match="nose"):
        animate.animate(source, driving, first(driving), "nose")


def test_the_multiplier_is_the_root_of_the_volumes():
    points = rng.normal(size=(21, 3))
    assert animate.motion_multiplier(points, points) == pytest.approx(1)
    assert animate.motion_multiplier(4 * points, points) == pytest.approx(8)
    with pytest.raises(InputError, match="no volume"):
        animate.motion_multiplier(points * (1, 1, 0), points)


def test_drive_applies_its_steps_in_order():
    x_s, x_d, x_0 = (rng.normal(size=(n, 21, 3)).astype(np.float32) for n in (1, 2, 1))
    np.testing.assert_allclose(animate.drive(x_s, x_d, None, multiplier=0.5), (x_s + x_d) / 2, atol=1e-6)
    np.testing.assert_allclose(animate.drive(x_s, x_d, x_0[0], adapt=3.0), x_s + 3 * (x_d - x_0), atol=1e-5)
    params = KeypointMlp("stitching").init(jax.random.key(0), jnp.zeros((1, INPUTS["stitching"])))["params"]
    params = jax.tree.map(jnp.zeros_like, params)
    params["linear_3"]["bias"] = jnp.arange(65.0)
    stitched = np.asarray(animate.drive(x_s, x_d, None, stitching=params))
    shift = np.arange(63.0).reshape(21, 3) + (63, 64, 0)
    np.testing.assert_allclose(stitched, x_d + shift, atol=1e-4)


def test_retargeting_takes_its_openings():
    params = KeypointMlp("lip").init(jax.random.key(0), jnp.zeros((1, INPUTS["lip"])))["params"]
    source = rng.normal(size=(1, 21, 3)).astype(np.float32)
    shut, wide = (animate.retarget(params, "lip", source, jnp.array([[0.3, c]])) for c in (0.0, 0.5))
    assert shut.shape == (1, 21, 3) and not np.allclose(shut, wide)
