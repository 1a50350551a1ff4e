"""From motion to keypoints: what LivePortrait does between its networks, as pure functions of arrays.

    x = scale (kp @ R + exp) + t,   t_z = 0            keypoints of a face

A source s is animated by driving frames i with a reference 0 (kp is always the source's):

    relative, picture   R_i R_0^T R_s   exp_s + exp_i - exp_0   t_s + t_i - t_0   scale_s scale_i / scale_0
    relative, video     R_i R_0^T R_s   exp_s + exp_i - exp_0   t_s               scale_s    exp: of EXPRESSION's entries only
    absolute            R_i             exp_i                   t_i               scale_s    exp: of EXPRESSION's entries only

A region takes some of that and leaves the rest the source's: `lip` and `eyes` their keypoints' exp; `exp` all of exp; `pose` R
and t; `all` everything. Then, in this order,

    x_d = x_s + (x_d,i - x_d,0) sqrt(V(x_s) / V(x_d,0))    relative, picture: V the volume of the convex hull of the 21 points
    x_d = stitch(x_s, x_d)                                 a correction by S for each point, and of all x and y
    x_d = x_s + (x_d - x_s) multiplier

exp and R given to a source video are smoothed over time (smoothing.py), between `target` and `select`.
Source: LivePortrait, live_portrait_pipeline.py, live_portrait_wrapper.py. Left out, as they are off there by default and need the
source's landmarks: closing the source's lips first (flag_normalize_lip), and eye and lip retargeting (`retarget` has the networks).
"""
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy.spatial import ConvexHull, QhullError

from jamflow_jax.errors import InputError
from jamflow_jax.face.motion import KEYPOINTS, degrees
from jamflow_jax.face.stitching import KeypointMlp
from jamflow_jax.motion.template import CLOSED_MOUTH, Template

Region = Literal["all", "exp", "pose", "lip", "eyes"]
REGIONS: tuple[Region, ...] = ("all", "exp", "pose", "lip", "eyes")
LIP, EYES = (6, 12, 14, 17, 19, 20), (11, 13, 15, 16, 18)


class Face(NamedTuple):
    """The motion of N frames; fields as in a motion template."""

    kp: Float[Array, "N 21 3"]
    exp: Float[Array, "N 21 3"]
    R: Float[Array, "N 3 3"]
    t: Float[Array, "N 3"]
    scale: Float[Array, "N 1"]


def expression_entries() -> Bool[np.ndarray, "21 3"]:
    """EXPRESSION: the entries of exp that LivePortrait copies where it does not add all of it; the others move the head."""
    entries = np.zeros((KEYPOINTS, 3), bool)
    entries[[1, 2, 6, *range(11, 21)]] = True
    entries[3:5, 1] = entries[5, 2] = entries[8, 2] = entries[9, 1:] = True
    return entries


def region_entries(region: Region, everything: bool) -> Bool[np.ndarray, "21 3"]:
    """The entries of exp that a region takes from the driving motion."""
    if region in ("all", "exp"):
        return np.ones((KEYPOINTS, 3), bool) if everything else expression_entries()
    entries = np.zeros((KEYPOINTS, 3), bool)
    entries[list({"lip": LIP, "eyes": EYES, "pose": ()}[region])] = True
    return entries


def rotation(angles_N3: Float[Array, "N 3"]) -> Float[Array, "N 3 3"]:
    """R = (Rz Ry Rx)^T of (pitch, yaw, roll) in degrees, as motion/pose.py but for JAX arrays in float32."""
    x, y, z = jnp.moveaxis(jnp.radians(angles_N3), -1, 0)
    one, zero = jnp.ones_like(x), jnp.zeros_like(x)

    def matrix(*rows):
        return jnp.stack([jnp.stack(row, -1) for row in rows], -2)

    rx = matrix([one, zero, zero], [zero, jnp.cos(x), -jnp.sin(x)], [zero, jnp.sin(x), jnp.cos(x)])
    ry = matrix([jnp.cos(y), zero, jnp.sin(y)], [zero, one, zero], [-jnp.sin(y), zero, jnp.cos(y)])
    rz = matrix([jnp.cos(z), -jnp.sin(z), zero], [jnp.sin(z), jnp.cos(z), zero], [zero, zero, one])
    return jnp.swapaxes(jnp.matmul(jnp.matmul(rz, ry, precision="highest"), rx, precision="highest"), -1, -2)


def from_heads(heads: dict[str, Float[Array, "N n"]]) -> Face:
    """A face from the outputs of M."""
    angles = jnp.stack([degrees(heads[name]) for name in ("pitch", "yaw", "roll")], -1)
    kp, exp = (heads[name].reshape(-1, KEYPOINTS, 3) for name in ("kp", "exp"))
    return Face(kp, exp, rotation(angles), heads["t"], heads["scale"])


def from_template(template: Template) -> Face:
    """The driving motion of a template; it needs no kp, which is NaN where the template has none."""
    kp = np.full(template.exp.shape, np.nan) if template.kp is None else template.kp
    return Face(*(np.asarray(a, np.float32) for a in (kp, template.exp, template.R, template.t, template.scale)))


def keypoints(face: Face) -> Float[Array, "N 21 3"]:
    """x = scale (kp @ R + exp) + t, t_z = 0."""
    turned = jnp.einsum("nka,nab->nkb", face.kp, face.R, precision="highest")
    return face.scale[:, None] * (turned + face.exp) + face.t[:, None] * jnp.array([1.0, 1.0, 0.0])


def closed_mouth() -> Float[np.ndarray, "21 3"]:
    """exp of a neutral face: the reference of a motion that is one frame long."""
    exp = np.zeros((KEYPOINTS, 3), np.float32)
    for k, values in CLOSED_MOUTH.items():
        exp[k] = values
    return exp


def animate(
    source: Face, driving: Face, reference: Face, region: Region = "all", relative: bool = True, video: bool = False
) -> Face:
    """The source moved by driving frames, by the table at the top, without smoothing.

    Args:
      source: one frame for a picture; as many as driving for a video.
      driving: N frames.
      reference: one frame: driving frame 0 of the whole clip.
      region: what is taken from the driving motion.
      relative: False: absolute.
      video: the source is a video.

    Raises:
      ValueError: no such region.
    """
    if region not in REGIONS:
        raise ValueError(f"region {region!r} is none of {', '.join(REGIONS)}")
    return select(source, target(source, driving, reference, relative, video), region, everything=relative and not video)


def target(source: Face, driving: Face, reference: Face, relative: bool, video: bool) -> Face:
    """What everything would become."""
    frames = len(driving.exp)
    kp, exp_s, R_s, t_s, scale_s = (jnp.broadcast_to(a, (frames, *a.shape[1:])) for a in source)
    if not relative:
        return Face(kp, jnp.asarray(driving.exp), jnp.asarray(driving.R), jnp.asarray(driving.t), scale_s)
    moved = jnp.einsum("nab,ncb->nac", driving.R, jnp.broadcast_to(reference.R, (frames, 3, 3)), precision="highest")
    R = jnp.matmul(moved, R_s, precision="highest")
    exp = exp_s + driving.exp - reference.exp
    if video:
        return Face(kp, exp, R, t_s, scale_s)
    return Face(kp, exp, R, t_s + driving.t - reference.t, scale_s * driving.scale / reference.scale)


def select(source: Face, target: Face, region: Region, everything: bool) -> Face:
    """What a region takes of a target; the rest stays the source's. `everything`: all entries of exp in `all` and `exp`."""
    exp = jnp.where(region_entries(region, everything), target.exp, source.exp)
    head = target if region in ("all", "pose") else source
    size = target if region == "all" else source
    frames = len(target.exp)
    R, t, scale = (jnp.broadcast_to(a, (frames, *a.shape[1:])) for a in (head.R, head.t, size.scale))
    return Face(target.kp, exp, R, t, scale)


def motion_multiplier(source_K3: Float[np.ndarray, "21 3"], first_K3: Float[np.ndarray, "21 3"]) -> float:
    """sqrt of the ratio of the hulls' volumes. Raises InputError when the points lie in a plane."""
    try:
        volumes = [ConvexHull(np.asarray(points, np.float64)).volume for points in (source_K3, first_K3)]
    except (QhullError, ValueError):
        raise InputError("the keypoints of the source have no volume: the weights or the picture are not of a face") from None
    return float(np.sqrt(volumes[0]) / np.sqrt(volumes[1]))


def stitch(
    params: dict[str, Any], source_NK3: Float[Array, "N 21 3"], driving_NK3: Float[Array, "N 21 3"]
) -> Float[Array, "N 21 3"]:
    """Corrects driving keypoints with S ("stitching" of its parameters), so that shoulders and hair stay where they are."""
    frames = len(driving_NK3)
    source = jnp.broadcast_to(source_NK3, driving_NK3.shape).reshape(frames, -1)
    delta = KeypointMlp("stitching").apply({"params": params}, jnp.concatenate([source, driving_NK3.reshape(frames, -1)], -1))
    shift = jnp.pad(delta[:, None, 3 * KEYPOINTS :], ((0, 0), (0, 0), (0, 1)))
    return driving_NK3 + delta[:, : 3 * KEYPOINTS].reshape(driving_NK3.shape) + shift


def retarget(
    params: dict[str, Any], which: Literal["lip", "eye"], source_NK3: Float[Array, "N 21 3"], openings: Float[Array, "N n"]
) -> Float[Array, "N 21 3"]:
    """What S adds to keypoints for an opening: lip (source's, wanted), eye (source's left, right, wanted)."""
    frames = len(openings)
    flat = jnp.broadcast_to(source_NK3, (frames, KEYPOINTS, 3)).reshape(frames, -1)
    delta = KeypointMlp(which).apply({"params": params}, jnp.concatenate([flat, openings], -1))
    return delta.reshape(frames, KEYPOINTS, 3)


def drive(
    source_NK3: Float[Array, "N 21 3"], driving_NK3: Float[Array, "N 21 3"], first_K3: Float[Array, "21 3"] | None,
    adapt: float | None = None, stitching: dict[str, Any] | None = None, multiplier: float = 1.0,
) -> Float[Array, "N 21 3"]:
    """The last three steps at the top.

    Args:
      source_NK3: x_s, one frame or one for each.
      driving_NK3: x_d,i.
      first_K3: x_d,0; needed with `adapt`.
      adapt: the hull factor (`motion_multiplier`); None leaves the step out.
      stitching: parameters; None leaves the step out.
      multiplier: of the whole movement.
    """
    x = driving_NK3
    if adapt is not None:
        x = source_NK3 + (x - first_K3) * adapt
    if stitching is not None:
        x = stitch(stitching, source_NK3, x)
    return source_NK3 + (x - source_NK3) * multiplier
