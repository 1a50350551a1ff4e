"""LivePortrait motion templates (.pkl), read and written in both generations of key names.

    {n_frames, output_fps, motion: [{scale (1,1), R (1,3,3), exp (1,21,3), t (1,3), kp (1,21,3), x_s (1,21,3)}],
     c_eyes_lst: [(1,2)], c_lip_lst: [(1,1)]}

The older generation says R_d, c_d_eyes_lst, c_d_lip_lst. kp, x_s and the lists may be missing; LivePortrait's
`inference.py -d x.pkl` needs the lists, so what we write from generated motion always has them. It animates relative to frame 0
(exp = exp_s + exp_i - exp_0), so frame 0 must be neutral: mouth closed, rest and pose as where the clip starts. A template
carries no sound.
Keypoints of a frame: x = scale (kp @ R + exp) + t, with t_z = 0.
"""

import dataclasses
import os
import pickle
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from jamflow_jax.errors import InputError
from jamflow_jax.motion import pose, safe_pickle
from jamflow_jax.motion.resample import frame_rate
from jamflow_jax.motion.space import KEYPOINTS, POSE_DIMS, MotionSpace
from jamflow_jax.timeline import MOTION_FPS

# A closed mouth: exp of the lip set, the mean over frames with c_lip < 0.01 of the three shipped templates that have lip ratios.
CLOSED_MOUTH = {
    6: (0.0, 0.0, 0.0), 12: (0.0, 0.0, 0.0), 14: (0.0022, 0.0006, 0.0),
    17: (0.0021, 0.0018, 0.0027), 19: (0.0026, -0.0164, 0.0018), 20: (-0.0023, 0.0097, 0.0051),
}  # fmt: skip
# c_lip ~ 7.7 max(0, 19y - 20y + 0.015): least squares over the same three templates (180 frames), 0.024 rms of a range of 0.67.
C_LIP_SLOPE, C_LIP_CLOSED = 7.7, -0.015
C_EYES = (
    0.3  # open eyes (shipped templates: medians 0.17 to 0.31); LivePortrait reads it only when told to retarget eyes
)


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """One template. Arrays keep the dtype of the file; what the file lacks is None.

    Attributes:
      exp: expression deltas, canonical units.
      R: head rotation, for row vectors (see pose.py).
      t: translation; t_z is stored but never used.
      scale: size of the face.
      kp: canonical keypoints.  x_s: keypoints of each frame.
      c_eyes: eye openness, left and right.  c_lip: inner-lip gap over mouth width.
      output_fps: as stored; LivePortrait takes 25 when it is missing. `fps` is its exact value.
      generation: the name of the rotation key, which tells the two generations apart: "R", or "R_d" for the older.
    """

    exp: Float[np.ndarray, "M 21 3"]
    R: Float[np.ndarray, "M 3 3"]
    t: Float[np.ndarray, "M 3"]
    scale: Float[np.ndarray, "M 1"]
    kp: Float[np.ndarray, "M 21 3"] | None = None
    x_s: Float[np.ndarray, "M 21 3"] | None = None
    c_eyes: Float[np.ndarray, "M 2"] | None = None
    c_lip: Float[np.ndarray, "M 1"] | None = None
    output_fps: int | float | None = MOTION_FPS
    generation: Literal["R", "R_d"] = "R"

    def __post_init__(self):
        frames = len(self.exp)
        if not frames:
            raise InputError("a motion template needs at least one frame")
        if self.generation not in ("R", "R_d"):
            raise InputError(f"template generation {self.generation!r} is neither 'R' nor 'R_d'")
        for name, shape in (*_FRAME_SHAPES.items(), *_LIST_SHAPES.items()):
            array = getattr(self, name)
            if array is None:
                if name in _REQUIRED:
                    raise InputError(f"a motion template needs {name}")
                continue
            if array.shape != (frames, *shape):
                raise InputError(f"template {name} has shape {array.shape}; needed {(frames, *shape)}")
            if array.dtype.kind != "f" or not np.isfinite(array).all():
                raise InputError(f"template {name} holds values that are not finite floating-point numbers")
        frame_rate(self.fps)

    @property
    def n_frames(self) -> int:
        return len(self.exp)

    @property
    def fps(self) -> Fraction:
        """Exact frames per second (25 where the file does not say)."""
        return frame_rate(MOTION_FPS if self.output_fps is None else self.output_fps)

    def motion(self, space: MotionSpace) -> Float[np.ndarray, "M D"]:
        """The frames in a LivePortrait motion space, at the template's own rate.

        Raises:
          InputError: `space` is of another family (go through convert.py then).
        """
        _needs_liveportrait(space)
        names = [f"kp{k}.{axis}" for k in range(KEYPOINTS) for axis in "xyz"] + list(POSE_DIMS)
        head = np.concatenate([pose.angles(self.R), self.t[:, :2], self.scale], axis=1)
        values = np.concatenate([self.exp.reshape(self.n_frames, -1), head.astype(self.exp.dtype)], axis=1)
        return space.select(values, names)

    @classmethod
    def from_motion(
        cls,
        motion_MD: Float[np.ndarray, "M D"],
        space: MotionSpace,
        *,
        R: Float[np.ndarray, "*M 3 3"] | None = None,
        t: Float[np.ndarray, "*M 3"] | None = None,
        scale: Float[np.ndarray, "*M"] | float | None = None,
        kp: Float[np.ndarray, "*M 21 3"] | None = None,
        c_eyes: Float[np.ndarray, "M 2"] | None = None,
        c_lip: Float[np.ndarray, "M"] | None = None,
        neutral: Float[np.ndarray, "21 3"] | None = None,
        output_fps: int = MOTION_FPS,
        generation: Literal["R", "R_d"] = "R",
    ) -> "Template":
        """A template of M + 1 frames that LivePortrait plays: a neutral frame, then the motion. All arrays become float32.

        Args:
          motion_MD: motion in raw units of `space`, a LivePortrait space; its pose dimensions, if any, override R, t, scale.
          R, t, scale: head pose per frame or for all; default: upright, centred, size 1. The neutral frame repeats frame 0's.
          kp: canonical keypoints per frame or for all. With them x_s is written too.
          c_eyes: default: open. c_lip: default: estimated from the motion.
          neutral: exp of the neutral frame; default: frame 0 with the mouth keypoints of the lip set closed.
          output_fps: of the motion.
          generation: key names to write.

        Raises:
          InputError: a space of another family, or arrays that do not fit.
        """
        _needs_liveportrait(space)
        motion_MD = np.asarray(motion_MD)
        space.check(motion_MD, "the motion of a template")
        if not len(motion_MD):
            raise InputError("a motion template needs at least one frame")
        frames = len(motion_MD)
        exp = motion_MD[:, space.columns(f"kp{k}.{axis}" for k in range(KEYPOINTS) for axis in "xyz")]
        exp = exp.reshape(frames, KEYPOINTS, 3)
        if POSE_DIMS[0] in space.dims:
            head = motion_MD[:, space.columns(POSE_DIMS)]
            R = pose.rotation(head[:, :3])
            t = np.concatenate([head[:, 3:5], np.zeros((frames, 1))], axis=1)
            scale = head[:, 5]
        if neutral is None:
            neutral = exp[0].copy()
            generated = {i // 3 for i in space.mouth if i < 3 * KEYPOINTS}
            for k in generated & set(CLOSED_MOUTH):
                neutral[k] = CLOSED_MOUTH[k]
        exp = np.concatenate([_shaped(neutral, (KEYPOINTS, 3), "neutral")[None], exp])
        R = _track(np.eye(3) if R is None else R, frames, (3, 3), "R")
        t = _track(np.zeros(3) if t is None else t, frames, (3,), "t")
        scale = np.ones(1) if scale is None else np.asarray(scale)
        scale = _track(scale.reshape(1) if scale.size == 1 else scale.reshape(-1, 1), frames, (1,), "scale")
        if c_lip is None:
            c_lip = C_LIP_SLOPE * np.maximum(exp[:, 19, 1] - exp[:, 20, 1] - C_LIP_CLOSED, 0)[:, None]
        else:
            c_lip = np.concatenate([np.zeros((1, 1)), _shaped(np.asarray(c_lip).reshape(-1, 1), (frames, 1), "c_lip")])
        c_eyes = _track(np.full(2, C_EYES) if c_eyes is None else c_eyes, frames, (2,), "c_eyes")
        x_s = None
        if kp is not None:
            kp = _track(kp, frames, (KEYPOINTS, 3), "kp")
            x_s = scale[:, None] * (kp @ R + exp) + t[:, None] * np.array([1.0, 1.0, 0.0])
        arrays = {"exp": exp, "R": R, "t": t, "scale": scale, "kp": kp, "x_s": x_s, "c_eyes": c_eyes, "c_lip": c_lip}
        return cls(
            **{name: None if a is None else a.astype(np.float32) for name, a in arrays.items()},
            output_fps=output_fps, generation=generation,
        )  # fmt: skip


_FRAME_SHAPES = {
    "exp": (KEYPOINTS, 3),
    "R": (3, 3),
    "t": (3,),
    "scale": (1,),
    "kp": (KEYPOINTS, 3),
    "x_s": (KEYPOINTS, 3),
}
_LIST_SHAPES = {"c_eyes": (2,), "c_lip": (1,)}
_REQUIRED = ("exp", "R", "t", "scale")
_LIST_KEYS = {
    "R": {"c_eyes": "c_eyes_lst", "c_lip": "c_lip_lst"},
    "R_d": {"c_eyes": "c_d_eyes_lst", "c_lip": "c_d_lip_lst"},
}


def read_template(path: str | Path) -> Template:
    """The template in a .pkl file of either generation; nothing in the file is executed (see safe_pickle.py).

    Keys that LivePortrait does not have are ignored.

    Raises:
      InputError: not such a file; the message names the file, and the frame and key at fault.
    """
    stored = safe_pickle.load(path)
    try:
        return _from_dict(stored)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_template(path: str | Path, template: Template) -> None:
    """Writes the file in one step (a reader never sees half of it): dictionaries, lists, numbers and numpy arrays only.

    The pickle names numpy's functions as numpy 1 does, which LivePortrait pins and numpy 2 still reads.
    """
    path = Path(path)
    data = _dumps(_to_dict(template))
    handle, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(partial, 0o644)
        os.replace(partial, path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def _from_dict(stored: Any) -> Template:
    if not isinstance(stored, dict) or not isinstance(stored.get("motion"), list):
        raise InputError("not a LivePortrait motion template: no list 'motion'")
    motion = stored["motion"]
    if stored.get("n_frames") != len(motion):
        raise InputError(f"n_frames is {stored.get('n_frames')!r} but motion has {len(motion)} frames")
    if not motion or not isinstance(motion[0], dict):
        raise InputError("motion has no frame")
    generation = "R_d" if "R" not in motion[0] and "R_d" in motion[0] else "R"
    arrays = {}
    for name, shape in _FRAME_SHAPES.items():
        key = generation if name == "R" else name
        if name in _REQUIRED or key in motion[0]:
            frames = [frame.get(key) if isinstance(frame, dict) else None for frame in motion]
            arrays[name] = _stack(frames, shape, f"motion[{{}}].{key}")
    for name, shape in _LIST_SHAPES.items():
        present = [keys[name] for keys in (_LIST_KEYS[generation], *_LIST_KEYS.values()) if keys[name] in stored]
        if present:
            values = stored[present[0]]
            if not isinstance(values, list) or len(values) != len(motion):
                raise InputError(f"{present[0]} is not a list of {len(motion)} arrays")
            arrays[name] = _stack(values, shape, f"{present[0]}[{{}}]")
    fps = stored.get("output_fps")
    fps = fps.item() if isinstance(fps, np.generic) else fps
    if not (fps is None or (type(fps) in (int, float))):
        raise InputError(f"output_fps is {fps!r}, not a number")
    return Template(**arrays, output_fps=fps, generation=generation)


def _to_dict(template: Template) -> dict[str, Any]:
    def frames(name: str) -> list[np.ndarray]:
        # Separate arrays of shape (1, ...), as LivePortrait stores them.
        return [np.ascontiguousarray(array[None]) for array in getattr(template, name)]

    present = [name for name in ("scale", "R", "exp", "t", "kp", "x_s") if getattr(template, name) is not None]
    columns = {template.generation if name == "R" else name: frames(name) for name in present}
    stored: dict[str, Any] = {"n_frames": template.n_frames}
    if template.output_fps is not None:
        stored["output_fps"] = template.output_fps
    stored["motion"] = [dict(zip(columns, values)) for values in zip(*columns.values())]
    for name, key in _LIST_KEYS[template.generation].items():
        if getattr(template, name) is not None:
            stored[key] = frames(name)
    return stored


def _dumps(stored: dict[str, Any]) -> bytes:
    # Protocol 3 writes a global as text. Its first occurrence precedes all array data, and later ones refer back to it.
    return pickle.dumps(stored, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def _stack(arrays: list[Any], shape: tuple[int, ...], where: str) -> np.ndarray:
    for i, array in enumerate(arrays):
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or array.shape not in ((1, *shape), shape):
            found = "missing" if array is None else type(array).__name__
            if isinstance(array, np.ndarray):
                found = f"{array.dtype} {array.shape}"
            raise InputError(f"{where.format(i)} is {found}; needed a floating-point array of shape {(1, *shape)}")
        if not np.isfinite(array).all():
            raise InputError(f"{where.format(i)} has values that are not finite")
    return np.stack([array.reshape(shape) for array in arrays])


def _track(values: np.ndarray, frames: int, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Values for every frame, or one for all, as [frames + 1, ...] with the first repeated for the neutral frame."""
    values = np.asarray(values)
    if values.shape == shape:
        values = np.broadcast_to(values, (frames, *shape))
    values = _shaped(values, (frames, *shape), name)
    return np.concatenate([values[:1], values])


def _shaped(values: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != shape:
        raise InputError(f"template {name} has shape {values.shape}; needed {shape}")
    return values


def _needs_liveportrait(space: MotionSpace) -> None:
    if space.name != "liveportrait":
        raise InputError(f"a motion template holds LivePortrait motion, not motion of space {space.name}")
