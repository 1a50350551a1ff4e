"""Motion from pictures of a face: frames -> crops -> M -> a motion template, or rows of the `liveportrait` motion space.

Frames come one by one and go in batches through M; only the motion stays in memory (a kilobyte a frame).
"""
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Float, UInt8

from jamflow_jax.errors import InputError
from jamflow_jax.face.animate import Face, keypoints
from jamflow_jax.face.crop import Crop, cut
from jamflow_jax.face.networks import Networks
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.motion.template import C_EYES, C_LIP_CLOSED, C_LIP_SLOPE, Template

Pictures = Iterable[UInt8[np.ndarray, "H W 3"]]


def motion_template(networks: Networks, frames: Pictures, where: Crop, fps: Fraction | float | int) -> Template:
    """A template with kp and x_s from frames at a constant rate.

    c_lip is estimated from exp (motion/template.py), c_eyes is that of open eyes: without landmarks there are none to measure.

    Raises:
      InputError: no frame, or motion that is not finite.
    """
    parts = list(networks.faces(cut(frame, where, networks.size) for frame in frames))
    if not parts:
        raise InputError("there is no frame to take motion from")
    face = Face(*(np.concatenate(column) for column in zip(*parts)))
    if not all(np.isfinite(a).all() for a in face):
        raise InputError("the motion is not finite: the weights are not those of the motion extractor")
    lip = C_LIP_SLOPE * np.maximum(face.exp[:, 19, 1] - face.exp[:, 20, 1] - C_LIP_CLOSED, 0)[:, None]
    rate = Fraction(fps).limit_denominator(1001)
    return Template(
        face.exp, face.R, face.t, face.scale, face.kp, np.asarray(keypoints(face)), np.full((len(face.exp), 2), C_EYES, np.float32),
        lip.astype(np.float32), output_fps=int(rate) if rate.denominator == 1 else float(rate),
    )  # fmt: skip


def extract_motion(
    networks: Networks, frames: Pictures, where: Crop, fps: Fraction | float | int, space: MotionSpace
) -> tuple[Float[np.ndarray, "M D"], Template]:
    """What a motion extractor of `jamflow prepare` gives: rows of a LivePortrait space, and the template they came from."""
    template = motion_template(networks, frames, where, fps)
    return template.motion(space), template
