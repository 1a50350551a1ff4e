"""A motion file as [M, D] in the data set's motion space at 25 fps.

    .npy   [N, D], [N, 21, 3] LivePortrait expression, or [N, L, 2 or 3] landmarks of the space's ids
    .npz   the same under a key (`motion_key`; by default `motion`, or the one array that can be motion), and beside it, if there:
           names [D], ids or lmk_idx [L] MediaPipe numbers, fps, valid [N] (False: no face found); or instead of fps times [N] on
           the sound's clock, in seconds or in units of time_base [2] (a fraction of a second)
    .csv   a header of dimension names, one row a frame; a column `time` or `timestamp` in seconds stands for the frame rate,
           counted
           from its first row. Live Link Face's form (`Timecode`, `BlendshapeCount`) is known: ARKit's 52 weights
    .pkl   a LivePortrait motion template, read by an unpickler that knows arrays and nothing else

Order: raw numbers -> their own space (landmarks are freed from head pose) -> gaps of at most `max_gap` frames interpolated ->
the data set's space, by the registered converter where it is another -> 25 fps.
"""
import csv
import dataclasses
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.prepare.report import Rejected, missing
from jamflow_jax.errors import InputError
from jamflow_jax.motion import convert, landmarks, space
from jamflow_jax.motion.resample import fill_gaps, frame_rate, resample, resample_times
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.timeline import MOTION_FPS

TIME_COLUMNS = ("time", "timestamp")


@dataclasses.dataclass
class RawMotion:
    """What a file holds, before anything is made of it."""

    values: np.ndarray  # [N, D] or [N, L, A]
    fps: Fraction | None = None
    times: np.ndarray | None = None  # [N] in units of time_base seconds, instead of fps
    time_base: Fraction = Fraction(1)
    from_zero: bool = False  # times count from the clip's beginning, not from the first frame
    names: tuple[str, ...] | None = None  # of the D columns
    ids: tuple[int, ...] | None = None  # of the L landmarks
    valid: np.ndarray | None = None  # [N] bool


def read_motion(
    path: Path, target: MotionSpace, key: str | None = None, fps: Fraction | None = None, family: str | None = None,
    max_gap: int = 5, longer_gaps: str = "",
) -> tuple[Float32[np.ndarray, "M D"], list[str]]:  # fmt: skip
    """Motion in `target` at 25 fps, and notes on what was changed.

    Args:
      key: array in an .npz.
      fps: overrides what the file says; without either, 25.
      family: name of the motion space of the file's numbers, where it is not plain from them.
      max_gap: frames in a row, of the file's own rate, that may be missing.
      longer_gaps: ends the message when more are, saying what can be done.

    Raises:
      Rejected: no such file, not motion, a pickle that is no template, too long a gap, another motion space.
    """
    path = Path(path)
    raw = load(path, key)
    notes: list[str] = []
    try:
        motion, source = to_space(raw, target, family)
    except InputError as error:
        raise Rejected("other motion space", f"{path}: {error}") from None
    missing = ~np.isfinite(motion).all(axis=1)
    missing |= ~np.asarray(raw.valid, bool) if raw.valid is not None else False
    if missing.any():
        try:
            motion = fill_gaps(motion, ~missing, max_gap)
        except InputError as error:
            raise Rejected("missing frames", f"{path}: {error}{longer_gaps}") from None
        notes.append(f"motion interpolated: {int(missing.sum())} of {len(motion)} frames were missing")
    try:
        moved = convert.convert(motion, source, target)
    except InputError as error:
        raise Rejected("other motion space", f"{path}: {error}") from None
    if source.name != target.name:
        notes.append(f"motion converted: {source.name} to {target.name}")
    try:
        rate = frame_rate(fps or raw.fps or MOTION_FPS)
        if raw.times is not None and fps is None:
            times = raw.times if raw.from_zero else raw.times - raw.times[0]
            moved = resample_times(moved, times, raw.time_base)
            if said := _timing(times, raw.time_base):
                notes.append(f"motion resampled: {said} to {MOTION_FPS} fps")
        elif rate != MOTION_FPS:
            moved = resample(moved, rate)
            notes.append(f"motion resampled: {float(rate):g} fps to {MOTION_FPS} fps")
    except InputError as error:
        raise Rejected("bad frame rate", f"{path}: {error}") from None
    return np.asarray(moved, np.float32), notes


def load(path: Path, key: str | None = None) -> RawMotion:
    """The numbers of a motion file. Raises Rejected."""
    path = Path(path)
    if not path.is_file():
        raise missing(path)
    reader = {".npy": _npy, ".npz": _npz, ".csv": _csv, ".pkl": _template}.get(path.suffix.lower())
    if reader is None:
        raise Rejected("not motion", f"{path}: motion comes as .npy, .npz, .csv or .pkl, not {path.suffix or 'without an ending'}")
    try:
        raw = reader(path, key)
    except Rejected:
        raise
    except Exception as error:  # zipfile, pickle, csv, numpy: each has its own
        said = "it holds Python objects, which are never loaded" if "allow_pickle" in str(error) else error or type(error).__name__
        raise Rejected("not motion", f"{path}: {said}") from None
    if raw.values.dtype.kind not in "fiu" or raw.values.ndim not in (2, 3) or not raw.values.size:
        raise Rejected("not motion", f"{path}: an array of shape {raw.values.shape} and type {raw.values.dtype} is no motion")
    if raw.valid is not None and np.shape(raw.valid) != raw.values.shape[:1]:
        raise Rejected("not motion", f"{path}: {np.size(raw.valid)} validity flags for {len(raw.values)} frames")
    return raw


def to_space(raw: RawMotion, target: MotionSpace, family: str | None = None) -> tuple[np.ndarray, MotionSpace]:
    """(motion [N, D] of the file's own space, that space). Raises InputError when it cannot be told or does not fit."""
    if family is not None and family not in space.names():
        raise InputError(f"no motion space {family!r}; known: {', '.join(space.names())}")
    family = {"grid_landmarks": "landmarks"}.get(family, family)
    with np.errstate(over="ignore"):
        values = raw.values.astype(np.float32)
    if np.isinf(values[np.isfinite(raw.values)]).any():
        raise InputError(f"numbers up to {np.abs(raw.values[np.isfinite(raw.values)]).max():.3g} are no motion")
    if raw.names is not None:
        return values, _named(raw.names, family)
    if values.ndim == 3:
        if raw.ids is None and values.shape[1:] == (space.KEYPOINTS, 3) and "landmarks" not in (family, target.name):
            return values.reshape(len(values), -1), space.get("liveportrait")
        return _aligned(values, raw.ids, target)
    source = target if family in (None, target.name) else space.get(family)
    if values.shape[1] != source.dim:
        raise InputError(f"{values.shape[1]} columns where motion space {source.name!r} has {source.dim} (name them, or set space)")
    return values, source


def space_of(name: str, options: dict, motions: Iterable[tuple[Path, str | None]]) -> MotionSpace:
    """The space `name`; blendshape names and landmark numbers that `options` leave out come from the first readable motion file.

    Raises:
      InputError: no such space, or a wrong option.
    """
    wanted = {"blendshapes": "names", "landmarks": "ids"}.get(name)
    if wanted and wanted not in options:
        for path, key in motions:
            try:
                found = getattr(load(path, key), wanted)
            except Rejected:
                continue
            if found:
                options = options | {wanted: found}
                break
        else:
            if name == "blendshapes":
                raise InputError("space blendshapes: no motion file names its columns; give --space-option names=[...]")
    return space.get(name, **options)


def _aligned(points_NLA: np.ndarray, ids: tuple[int, ...] | None, target: MotionSpace) -> tuple[np.ndarray, MotionSpace]:
    """Landmarks in pixels, freed from head pose; frames whose points coincide (a tracker's "no face") become NaN."""
    if ids is None and target.name == "landmarks":
        ids = tuple(dict.fromkeys(int(name[2:].split(".")[0]) for name in target.dims))
    if ids is None and points_NLA.shape[1] == len(space.GRID_LANDMARKS):
        ids = space.GRID_LANDMARKS
    if ids is None or len(ids) != points_NLA.shape[1]:
        raise InputError(f"{points_NLA.shape[1]} landmarks without their MediaPipe numbers (an array `ids` in the .npz)")
    points_NLA = np.where(np.ptp(points_NLA, axis=1).max(axis=1)[:, None, None] > 0, points_NLA, np.nan)
    source = space.get("landmarks", ids=ids, axes="xyz"[: points_NLA.shape[2]])
    return landmarks.to_motion(points_NLA, ids, source), source


def _named(names: tuple[str, ...], family: str | None) -> MotionSpace:
    if family is None:
        families = {"kp": "liveportrait", "po": "liveportrait", "lm": "landmarks"}
        family = families.get(names[0][:2], "blendshapes") if set(names) != {"opening", "width"} else "lips"
    return MotionSpace(family, names, mouth=tuple(range(len(names))))


def _timing(times_N: np.ndarray, base: Fraction) -> str | None:
    """The frame rate that the times amount to; None for frames that lie on the clock already."""
    steps = np.diff(times_N)
    if not len(steps):
        return None
    if np.ptp(steps) > 1e-3 * np.median(steps):
        return "frames at given times"
    rate = (len(steps)) / (float(times_N[-1] - times_N[0]) * float(base))
    on_the_clock = abs(rate - MOTION_FPS) < 1e-6 and abs(float(times_N[0]) * float(base) * MOTION_FPS % 1) < 1e-6
    said = f"{rate:.4g}"
    return None if on_the_clock else "frames at given times" if said == str(MOTION_FPS) else f"{said} fps"


def _npy(path: Path, key: str | None) -> RawMotion:
    return RawMotion(np.load(path, allow_pickle=False))


def _npz(path: Path, key: str | None) -> RawMotion:
    with np.load(path, allow_pickle=False) as file:
        if key is None:
            found = [name for name in file.files if file[name].ndim in (2, 3)]
            key = "motion" if "motion" in found else found[0] if len(found) == 1 else None
            if key is None:
                said = "none is called motion (a manifest can name it: motion_key)"
                raise Rejected("not motion", f"{path}: arrays {', '.join(file.files)}: {said}")
        if key not in file.files:
            raise Rejected("not motion", f"{path}: no array {key!r}; there are {', '.join(file.files)}")
        values = file[key]
        beside = ("names", "ids", "lmk_idx", "fps", "valid", "times", "time_base")
        extras = {name: file[name] for name in beside if name in file.files}
    names = tuple(map(str, extras["names"])) if "names" in extras and values.ndim == 2 else None
    ids = extras.get("ids", extras.get("lmk_idx"))
    return RawMotion(
        values,
        fps=frame_rate(extras["fps"]) if "fps" in extras else None,
        names=names,
        ids=tuple(int(i) for i in ids) if ids is not None and values.ndim == 3 else None,
        valid=extras.get("valid"),
        times=extras.get("times"),
        time_base=Fraction(*map(int, extras["time_base"])) if "time_base" in extras else Fraction(1),
        from_zero="times" in extras,
    )


def _csv(path: Path, key: str | None) -> RawMotion:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if len(rows) < 2:
        raise Rejected("not motion", f"{path}: a header line and one row a frame are needed")
    names = [name.strip() for name in rows[0]]
    if names[0] == "Timecode":
        return _live_link(path, names, rows[1:])
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(names):
            raise Rejected("not motion", f"{path} row {number}: {len(row)} columns where the header names {len(names)}")
    try:
        values = np.array([[float(cell) if cell.strip() else np.nan for cell in row] for row in rows[1:]])
    except ValueError as error:
        table = "; a table of clips begins with audio_file|text (F5-TTS)" if {"text", "audio", "audio_file"} & set(names) else ""
        raise Rejected("not motion", f"{path}: {error}; motion is a header of dimension names over numbers{table}") from None
    clock = [n for n, name in enumerate(names) if name.lower() in TIME_COLUMNS]
    keep = [n for n in range(len(names)) if n not in clock]
    times = values[:, clock[0]] if clock else None
    return RawMotion(values[:, keep], times=times, names=tuple(names[n] for n in keep))


def _live_link(path: Path, names: list[str], rows: list[list[str]]) -> RawMotion:
    """Live Link Face: Timecode (hh:mm:ss:ff.fff), BlendshapeCount (0: no face), then weights and head angles, `JawOpen` for
    ARKit's jawOpen."""
    keep = [n for n, name in enumerate(names) if n > 1 and name]
    if "JawOpen" not in names:
        raise Rejected("not motion", f"{path}: a Timecode column without a JawOpen column is no Live Link Face recording")
    fields, values = [], np.full((len(rows), len(keep)), np.nan)
    for number, row in enumerate(rows):
        try:
            hours, minutes, seconds, frame = row[0].replace(";", ":").split(":")
            fields.append((int(hours) * 3600 + int(minutes) * 60 + int(seconds), float(frame)))
            if int(float(row[1])):
                values[number] = [float(row[n]) for n in keep]
        except (ValueError, IndexError):
            raise Rejected("not motion", f"{path} row {number + 2}: no timecode, count and {len(keep)} numbers") from None
    rate = next((rate for rate in (24, 25, 30, 60, 120) if max(frame for _, frame in fields) < rate), 120)
    times = np.array([second + frame / rate for second, frame in fields])
    times[1:][np.diff(times) < -43_200] += 86_400  # recorded over midnight
    rising = np.concatenate([[True], np.diff(np.maximum.accumulate(times)) > 0])  # a timecode that stands still is one frame
    weights = tuple(names[n][0].lower() + names[n][1:] for n in keep)
    return RawMotion(values[rising], times=times[rising], names=weights)


def _template(path: Path, key: str | None) -> RawMotion:
    from jamflow_jax.motion import template

    try:
        clip = template.read_template(path)
    except InputError as error:
        raise Rejected("bad template", str(error)) from None
    source = space.get("liveportrait", pose=True)
    return RawMotion(clip.motion(source), fps=clip.fps, names=source.dims)
