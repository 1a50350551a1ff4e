"""Motion of any space as something to look at: a sketch of the face, and one curve of how far the mouth is open.

    landmarks     the points themselves; opening and width are fractions of the face already
    liveportrait  c_lip ~ 7.7 max(0, 19y - 20y + 0.015) (motion/template.py), inner-lip gap over mouth width; keypoints have no
                  published places on the face, so their movements are drawn from schematic ones
    blendshapes   weights 0 .. 1 on a schematic mouth
    lips, others  the clip's own range on a schematic mouth
"""
import numpy as np

from jamflow_jax.errors import InputError
from jamflow_jax.motion import convert, landmarks
from jamflow_jax.motion.space import MOUTH_KEYPOINTS, MotionSpace, get
from jamflow_jax.motion.template import C_LIP_CLOSED, C_LIP_SLOPE
from launch.outputs.clip import Curve
from launch.outputs.face import HEAD_HEIGHT, Sketch

# Face coordinates of LivePortrait's keypoints, by what its sliders move: 1, 2 brows; 11, 15 eyes; 3, 7 cheeks; 14, 20 lip line ...
KEYPOINT_PLACES = np.array([
    (-0.46, 0.05), (-0.23, -0.30), (0.23, -0.30), (-0.32, 0.16), (-0.34, 0.42), (0.00, 0.60), (-0.09, 0.47),
    (0.32, 0.16), (0.00, -0.58), (0.46, 0.05), (0.00, 0.16), (-0.215, -0.20), (0.09, 0.47), (-0.215, -0.05),
    (-0.20, 0.385), (0.215, -0.20), (0.215, -0.05), (0.00, 0.325), (0.00, -0.13), (0.00, 0.455), (0.20, 0.385),
])  # fmt: skip
_LIP_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61)
_LIP_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191, 78)
_OTHER_LINES = ((33, 159, 133, 145, 33), (362, 386, 263, 374, 362), (168, 1))
_OVAL = (10, 234, 152, 454)


def curve(space: MotionSpace, motion_MD: np.ndarray, truth_MD: np.ndarray | None = None) -> Curve:
    """The mouth's opening, and the truth's where it is known."""
    label, values = opening(space, motion_MD)
    return Curve(label, values, None if truth_MD is None else opening(space, truth_MD)[1])


def opening(space: MotionSpace, motion_MD: np.ndarray) -> tuple[str, np.ndarray]:
    """(label with units, values [M]): `lips` opening where the space converts to it, else its liveliest mouth dimension."""
    units = {"landmarks": " (of face height)", "liveportrait": " (LivePortrait units)", "blendshapes": " (weight)"}
    try:
        lips = convert.convert(motion_MD, space, get("lips"))
    except InputError:
        loudest = space.mouth[int(np.argmax(motion_MD[:, list(space.mouth)].std(0)))]
        return space.dims[loudest], motion_MD[:, loudest]
    return "mouth opening" + units.get(space.name, ""), lips[:, 0]


def sketch(space: MotionSpace, motion_MD: np.ndarray) -> Sketch:
    """What to draw of a clip in raw units of `space`."""
    motion_MD = np.asarray(motion_MD, np.float64)
    try:
        opening_M, width_M = convert.convert(motion_MD, space, get("lips")).T
    except InputError:
        opening_M, width_M = opening(space, motion_MD)[1], np.zeros(len(motion_MD))
    if space.name == "landmarks":
        return _landmarks(space, motion_MD, opening_M, width_M)
    if space.name == "liveportrait":
        width_M = 0.38 + 4.0 * width_M
        gap_M = C_LIP_SLOPE * np.maximum(opening_M - C_LIP_CLOSED, 0) * 0.38 / HEAD_HEIGHT
        columns = space.columns(f"kp{k}.{axis}" for k in range(21) for axis in "xy")
        moved_MK2 = motion_MD[:, columns].reshape(len(motion_MD), 21, 2)
        mouth_K = np.array([f"kp{k}.y" in {space.dims[i] for i in space.mouth} for k in range(21)])
        mouth_K = mouth_K if mouth_K.any() else np.isin(np.arange(21), MOUTH_KEYPOINTS)
        return Sketch(gap_M, width_M, KEYPOINT_PLACES + 1.6 * moved_MK2, mouth_K)
    if space.name == "blendshapes":
        return Sketch(0.16 * opening_M, 0.38 + 0.12 * np.clip(width_M, -1, 1))
    return Sketch(0.14 * _own_range(opening_M), 0.32 + 0.12 * _own_range(width_M))


def _own_range(values_M: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values_M, (2, 98))
    return np.clip((values_M - low) / (high - low), 0, 1) if high > low + 1e-9 else np.full(len(values_M), 0.5)


def _landmarks(space: MotionSpace, motion_MD: np.ndarray, opening_M: np.ndarray, width_M: np.ndarray) -> Sketch:
    points, ids = landmarks.to_points(motion_MD, space)
    place = {landmark: n for n, landmark in enumerate(ids)}
    # Canonical coordinates are inter-ocular distances from between the eyes; the face is 2.29 of them wide and 3.6 high.
    points_MK2 = points[..., :2] / 2.5 + (0.0, -0.26)
    mouth = {space.dims[i].split(".")[0] for i in space.mouth}
    mouth_K = np.array([f"lm{i}" in mouth for i in ids])
    lines = [tuple(place[i] for i in line) for line in (_LIP_OUTER, _LIP_INNER, *_OTHER_LINES) if all(i in place for i in line)]
    oval = tuple(place[i] for i in _OVAL) if all(i in place for i in _OVAL) else ()
    return Sketch(opening_M, width_M, points_MK2, mouth_K, tuple(lines), oval, head=False)
