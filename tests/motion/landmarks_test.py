"""Rigid alignment: pose goes, the mouth stays."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jamflow_jax.errors import InputError
from jamflow_jax.motion import landmarks, pose, space

IDS = space.GRID_LANDMARKS
PLACE = {i: n for n, i in enumerate(IDS)}


def face(frames=6, seed=0, axes=3):
    """A made-up speaking face in pixels: a noisy canonical head, 60 pixels between the eyes, lips that open frame by frame."""
    rng = np.random.default_rng(seed)
    rest = rng.normal([0, 1.2, -0.5], 0.3, (len(IDS), 3))
    for i, point in landmarks.CANONICAL.items():
        rest[PLACE[i]] = np.array(point) + rng.normal(0, 0.02, 3)
    rest[PLACE[13]], rest[PLACE[14]] = (0, 1.2, -0.6), (0, 1.2, -0.6)
    rest[PLACE[152]] = (0, 2.0, -0.2)
    points = np.repeat(rest[None], frames, 0)
    points[:, PLACE[14], 1] += 0.3 * np.linspace(0, 1, frames)
    return (60 * points + [180, 140, 0])[..., :axes]


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.floats(-60, 60), st.floats(-60, 60), st.floats(-180, 180)),
    st.floats(0.2, 5),
    st.tuples(*[st.floats(-500, 500)] * 3),
)
def test_head_pose_is_removed(angles, scale, shift):
    points = face()
    moved = scale * points @ pose.rotation(np.array([angles])) + np.array(shift)
    aligned, again = landmarks.align(points, IDS), landmarks.align(moved, IDS)
    np.testing.assert_allclose(again, aligned, rtol=0, atol=1e-5)
    lips = [PLACE[i] for i in space.MEDIAPIPE_LIPS]
    np.testing.assert_allclose(again[:, lips], aligned[:, lips], rtol=0, atol=1e-8)


def test_pose_that_changes_frame_by_frame_and_the_opening_that_survives():
    points = face(frames=9)
    turn = pose.rotation(np.linspace([-20, -30, -15], [25, 30, 10], 9))
    moved = (
        np.linspace(0.7, 1.6, 9)[:, None, None] * (points @ turn) + np.linspace([0, 0, 0], [50, -30, 20], 9)[:, None]
    )
    aligned = landmarks.align(moved, IDS)
    gap = aligned[:, PLACE[14], 1] - aligned[:, PLACE[13], 1]
    np.testing.assert_allclose(gap, 0.3 * np.linspace(0, 1, 9), atol=0.01)
    np.testing.assert_allclose(aligned, landmarks.align(points, IDS), atol=1e-9)


def test_two_dimensional_landmarks():
    points = face(axes=2)
    c, s = np.cos(0.4), np.sin(0.4)
    moved = 1.7 * points @ np.array([[c, -s], [s, c]]) + [5, 9]
    np.testing.assert_allclose(landmarks.align(moved, IDS), landmarks.align(points, IDS), atol=1e-9)


def test_a_mirrored_face_is_not_turned_inside_out():
    similarity = landmarks.fit(face() * [-1, 1, 1], IDS)
    np.testing.assert_allclose(np.linalg.det(similarity.rotation), 1, atol=1e-12)


def test_invert_gives_the_pixels_back():
    points = face() @ pose.rotation(np.array([[10.0, -20.0, 5.0]]))
    similarity = landmarks.fit(points, IDS)
    np.testing.assert_allclose(similarity.invert(similarity.apply(points)), points, atol=1e-9)


def test_the_canonical_face_is_its_own_alignment():
    points = np.array([list(landmarks.CANONICAL.values())])
    np.testing.assert_allclose(landmarks.align(80 * points + 7, list(landmarks.CANONICAL)), points, atol=1e-12)
    c = landmarks.CANONICAL
    eyes = [np.add(c[a], c[b]) / 2 for a, b in ((33, 133), (362, 263))]
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(1.0)  # the unit


def test_motion_of_a_space_and_back_to_points():
    chosen = space.get("landmarks", ids=[14, 13, 10], mouth_ids=[13])
    points = face()
    motion = landmarks.to_motion(points, IDS, chosen)
    assert motion.shape == (6, 9) and motion.dtype == np.float32
    back, ids = landmarks.to_points(motion, chosen)
    assert ids == (14, 13, 10)
    np.testing.assert_allclose(back, landmarks.align(points, IDS)[:, [PLACE[i] for i in ids]], atol=1e-6)
    flat = landmarks.to_motion(face(axes=2), IDS, space.get("landmarks", ids=[13, 14], axes="xy"))
    assert flat.shape == (6, 4)


def test_frames_without_a_face_are_nan_and_harm_no_other():
    points = face()
    broken = points.copy()
    broken[2] = np.nan
    aligned = landmarks.align(broken, IDS)
    assert np.isnan(aligned[2]).all()
    np.testing.assert_array_equal(np.delete(aligned, 2, 0), np.delete(landmarks.align(points, IDS), 2, 0))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda p: (p[:, :5], IDS), "needed \\[frames, 61, 2 or 3\\]"),
        (lambda p: (p, IDS[:-1] + IDS[:1]), "listed twice"),
        (lambda p: (p[:, :43], IDS[:43]), "needs 4 of the landmarks 33, 133"),
        (lambda p: (np.ones_like(p), IDS), "landmarks of frame 0 all lie on one point"),
    ],
)
def test_bad_landmarks(change, message):
    with pytest.raises(InputError, match=message):
        landmarks.align(*change(face()))


def test_wrong_spaces():
    with pytest.raises(InputError, match="do not give motion of space lips"):
        landmarks.to_motion(face(), IDS, space.get("lips"))
    with pytest.raises(InputError, match="lacks dimension 'lm4.x'"):
        landmarks.to_motion(face(), IDS, space.get("landmarks", ids=[4, 13]))
    with pytest.raises(InputError, match="the list lacks 152, 454"):
        landmarks.lip_ratios(np.ones((2, 6, 2)), [10, 13, 14, 61, 234, 291])


def test_lip_ratios_of_a_drawn_face():
    ids = [13, 14, 10, 152, 61, 291, 234, 454]
    drawn = np.array([[[5, 6], [5, 8], [5, 0], [5, 10], [3, 7], [7, 7], [0, 5], [10, 5]]], float)
    np.testing.assert_allclose(landmarks.lip_ratios(drawn, ids), [[0.2, 0.4]])


def test_real_faces(real_data):
    """On GRID: ratios of the pixels are the files' own; aligned, the stable points lie still and the opening is the same signal."""
    files = sorted((real_data / "grid_s1" / "motion").glob("*.npz"))[::150]
    assert files
    for path in files:
        with np.load(path) as stored:
            points, ids = stored["lmk_q64"] / 64.0, stored["lmk_idx"]
            ratios = landmarks.lip_ratios(points, ids)
            # the files' ratios were taken before rounding to 1/64 pixel
            np.testing.assert_allclose(ratios[:, 0], stored["lip_open_face"], atol=3e-4)
            np.testing.assert_allclose(ratios[:, 1], stored["mouth_width_face"], atol=3e-4)
        aligned = landmarks.align(points, ids)
        for i, canonical in landmarks.CANONICAL.items():
            np.testing.assert_allclose(aligned[:, PLACE[i]], np.broadcast_to(canonical, (len(points), 3)), atol=0.06)
        freed = landmarks.lip_ratios(aligned, ids)
        assert np.corrcoef(freed[:, 0], ratios[:, 0])[0, 1] > 0.99
