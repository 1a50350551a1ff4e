"""Head pose as LivePortrait has it: pitch, yaw, roll in degrees and their rotation matrix.

    R = (Rz(roll) Ry(yaw) Rx(pitch))^T,     x = scale * (kp @ R + exp) + t

With A = R^T = Rz Ry Rx: A_20 = -sin(yaw), A_21 = cos(yaw) sin(pitch), A_10 = sin(roll) cos(yaw). Unique for |yaw| < 90 degrees.
"""

import numpy as np
from jaxtyping import Float, Float64


def rotation(angles_M3: Float[np.ndarray, "M 3"]) -> Float64[np.ndarray, "M 3 3"]:
    """R of (pitch, yaw, roll) in degrees, to be multiplied from the right of row vectors."""
    x, y, z = np.radians(np.asarray(angles_M3, np.float64)).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    rx = _matrix([one, zero, zero], [zero, np.cos(x), -np.sin(x)], [zero, np.sin(x), np.cos(x)])
    ry = _matrix([np.cos(y), zero, np.sin(y)], [zero, one, zero], [-np.sin(y), zero, np.cos(y)])
    rz = _matrix([np.cos(z), -np.sin(z), zero], [np.sin(z), np.cos(z), zero], [zero, zero, one])
    return np.swapaxes(rz @ ry @ rx, 1, 2)


def angles(rotation_M33: Float[np.ndarray, "M 3 3"]) -> Float64[np.ndarray, "M 3"]:
    """(pitch, yaw, roll) in degrees of R: the inverse of `rotation` for |yaw| < 90 degrees."""
    a = np.swapaxes(np.asarray(rotation_M33, np.float64), 1, 2)
    pitch = np.arctan2(a[:, 2, 1], a[:, 2, 2])
    yaw = np.arctan2(-a[:, 2, 0], np.hypot(a[:, 2, 1], a[:, 2, 2]))
    roll = np.arctan2(a[:, 1, 0], a[:, 0, 0])
    return np.degrees(np.stack([pitch, yaw, roll], axis=-1))


def _matrix(*rows: list[np.ndarray]) -> np.ndarray:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
