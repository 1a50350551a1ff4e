"""Face landmarks freed from head pose: each frame is laid onto one canonical face by a similarity of its stable points.

For stable points p_k of a frame and c_k of the canonical face (centred: p', c'), the scale, rotation and translation that
minimise sum_k |s p_k R + b - c_k|^2 are (Umeyama 1991)

    p'^T c' = U diag(d) V^T,   e = (1, .., 1, det(U V^T)),   R = U diag(e) V^T
    s = sum(d e) / sum |p'|^2,   b = mean(c) - s mean(p) R

and the frame becomes s p R + b for all its points. Eye corners, nose bridge and tip, forehead and temples are stable; lips,
chin and jaw (which speech moves), lids, brows and cheeks are not. Canonical coordinates: origin between the eyes, x along the
line of the eyes to the right of the image, y down towards the chin, z away from the camera, unit = inter-ocular distance
(between the midpoints of the two eyes' corners, about 6.3 cm). The canonical face is the same for every clip and speaker, so
pose and size go and the face's own shape stays, for the normaliser's mean to take care of.

MediaPipe gives x and y in pixels (once multiplied by the image size) and z on about the scale of x, smaller towards the camera.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64

from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import MotionSpace

# The mean of 4500 GRID frames (speaker s1), each aligned to that mean, made left-right symmetric, y turned to run from 10 to 152.
CANONICAL = {
    33: (-0.727, -0.013, 0.044),  # corners of the eyes
    133: (-0.273, 0.013, -0.044),
    362: (0.273, 0.013, -0.044),
    263: (0.727, -0.013, 0.044),
    168: (0.0, -0.089, -0.322),  # nose: bridge, tip
    1: (0.0, 0.684, -0.718),
    10: (0.0, -0.979, -0.178),  # outline: top of the forehead, beside the ears
    234: (-1.143, 0.407, 0.922),
    454: (1.143, 0.407, 0.922),
}
_LIP_POINTS = (13, 14, 10, 152, 61, 291, 234, 454)


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Per frame, x -> scale * x @ rotation + translation, from image to canonical coordinates."""

    scale: Float64[np.ndarray, "N"]
    rotation: Float64[np.ndarray, "N A A"]
    translation: Float64[np.ndarray, "N A"]

    def apply(self, points: Float[np.ndarray, "N L A"]) -> Float64[np.ndarray, "N L A"]:
        """Image points in canonical coordinates."""
        return self.scale[:, None, None] * (points @ self.rotation) + self.translation[:, None]

    def invert(self, points: Float[np.ndarray, "N L A"]) -> Float64[np.ndarray, "N L A"]:
        """Canonical points back in the image."""
        return ((points - self.translation[:, None]) / self.scale[:, None, None]) @ np.swapaxes(self.rotation, 1, 2)


def fit(points_NLA: Float[np.ndarray, "N L A"], ids: Sequence[int]) -> Similarity:
    """The similarity of every frame onto the canonical face, from its stable points.

    Args:
      points_NLA: landmarks in pixels, A = 2 or 3 coordinates of one scale. Frames with a stable point that is not finite
        (no face found) give NaN.
      ids: the MediaPipe number of each landmark.

    Raises:
      InputError: fewer than 4 stable points among `ids`, or a frame whose stable points coincide.
    """
    points_NLA = _points(points_NLA, ids)
    axes = points_NLA.shape[2]
    place = {int(i): n for n, i in enumerate(ids)}
    stable = [i for i in CANONICAL if i in place]
    if len(stable) < 4:
        raise InputError(
            f"rigid alignment needs 4 of the landmarks {', '.join(map(str, CANONICAL))}; the list has {len(stable)}"
        )
    canonical_KA = np.array([CANONICAL[i][:axes] for i in stable])
    stable_NKA = points_NLA[:, [place[i] for i in stable]]
    found_N = np.isfinite(stable_NKA).all((1, 2))
    stable_NKA = np.where(found_N[:, None, None], stable_NKA, canonical_KA)
    centre_NA = stable_NKA.mean(1)
    centred_NKA = stable_NKA - centre_NA[:, None]
    spread_N = (centred_NKA**2).sum((1, 2))
    flat = spread_N <= 1e-12 * (1.0 + (centre_NA**2).sum(1))
    if flat.any():
        raise InputError(f"the landmarks of frame {np.flatnonzero(flat)[0]} all lie on one point")
    target_KA = canonical_KA - canonical_KA.mean(0)
    u, d, vt = np.linalg.svd(np.einsum("nka,kb->nab", centred_NKA, target_KA))
    sign_NA = np.ones_like(d)
    sign_NA[:, -1] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)  # a rotation, never a mirror image
    rotation = (u * sign_NA[:, None]) @ vt
    scale = (d * sign_NA).sum(1) / spread_N
    translation = canonical_KA.mean(0) - scale[:, None] * np.einsum("na,nab->nb", centre_NA, rotation)
    scale = np.where(found_N, scale, np.nan)
    return Similarity(scale, rotation, translation)


def align(points_NLA: Float[np.ndarray, "N L A"], ids: Sequence[int]) -> Float64[np.ndarray, "N L A"]:
    """Landmarks in canonical coordinates (inter-ocular distances); NaN in frames without a face. Raises as `fit`."""
    return fit(points_NLA, ids).apply(_points(points_NLA, ids))


def to_motion(
    points_NLA: Float[np.ndarray, "N L A"], ids: Sequence[int], space: MotionSpace
) -> Float32[np.ndarray, "N D"]:
    """Pixels to a motion of a landmark space: aligned, then the space's landmarks in its order (2-D ones give "xy" spaces).

    Raises:
      InputError: `space` is no landmark space, or a landmark of it is missing; and as `fit`.
    """
    if space.name != "landmarks":
        raise InputError(
            f"landmarks do not give motion of space {space.name} directly; align to 'landmarks', then convert"
        )
    aligned = align(points_NLA, ids)
    names = [f"lm{int(i)}.{axis}" for i in ids for axis in "xyz"[: aligned.shape[2]]]
    return space.select(aligned.reshape(len(aligned), -1), names).astype(np.float32)


def to_points(
    motion_MD: Float[np.ndarray, "M D"], space: MotionSpace
) -> tuple[Float[np.ndarray, "M L A"], tuple[int, ...]]:
    """(points, ids) of a motion of a landmark space: the inverse of the last step of `to_motion`, for drawing."""
    if space.name != "landmarks":
        raise InputError(f"motion space {space.name} holds no landmarks")
    axes = len({name.split(".")[1] for name in space.dims})
    ids = tuple(int(name[2:].split(".")[0]) for name in space.dims[::axes])
    return np.asarray(motion_MD).reshape(len(motion_MD), len(ids), axes), ids


def lip_ratios(points_NLA: Float[np.ndarray, "N L A"], ids: Sequence[int]) -> Float64[np.ndarray, "N 2"]:
    """Mouth opening and width as fractions of the face, from x and y only:

        opening = d(13, 14) / d(10, 152)   (inner lips over face height)
        width = d(61, 291) / d(234, 454)   (mouth corners over face width)

    On image pixels these are `lip_open_face` and `mouth_width_face` of the GRID files; on aligned points, the same freed
    from head pose.

    Raises:
      InputError: one of the eight landmarks is missing.
    """
    points_NLA = _points(points_NLA, ids)
    place = {int(i): n for n, i in enumerate(ids)}
    missing = [i for i in _LIP_POINTS if i not in place]
    if missing:
        raise InputError(
            f"lips need landmarks {', '.join(map(str, _LIP_POINTS))}; the list lacks {', '.join(map(str, missing))}"
        )

    def distance(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(points_NLA[:, place[a], :2] - points_NLA[:, place[b], :2], axis=-1)

    return np.stack([distance(13, 14) / distance(10, 152), distance(61, 291) / distance(234, 454)], axis=-1)


def _points(points: np.ndarray, ids: Sequence[int]) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 3 or points.shape[1] != len(ids) or points.shape[2] not in (2, 3):
        raise InputError(f"landmarks have shape {points.shape}; needed [frames, {len(ids)}, 2 or 3]")
    if len({int(i) for i in ids}) < len(ids):
        raise InputError("a landmark number is listed twice")
    return points
