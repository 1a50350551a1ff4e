"""Head pose: degrees to matrix and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jamflow_jax.motion import pose


@given(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179))
def test_round_trip(pitch, yaw, roll):
    angles = np.array([[pitch, yaw, roll]])
    R = pose.rotation(angles)
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.eye(3)[None], atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(R), 1, atol=1e-12)
    np.testing.assert_allclose(pose.angles(R), angles, atol=1e-8)


def test_single_axes_as_in_liveportrait():
    """R is transposed, so that row vectors x @ R turn as column vectors under Rz Ry Rx."""
    y, z, x = np.eye(3)[1], np.eye(3)[2], np.eye(3)[0]
    pitch, yaw, roll = pose.rotation(90.0 * np.eye(3))
    np.testing.assert_allclose(y @ pitch, z, atol=1e-12)
    np.testing.assert_allclose(z @ yaw, x, atol=1e-12)
    np.testing.assert_allclose(x @ roll, y, atol=1e-12)
