"""Renders a talking face: a portrait or video of someone, moved by generated or recorded motion, with the speech.

    jamflow render --source photo.jpg --motion out/sample.npz --out talk.mp4           a result of jamflow sample, with its sound
    jamflow render --source photo.jpg --motion talking.pkl --audio talk.wav --out talk.mp4    any LivePortrait template
    jamflow render --source clip.mp4 --motion out/dub.npz --out dub.mp4                a video: its lips alone are changed

Needs LivePortrait's weights (docs/faces.md). The video has the motion's frame rate and the source's size; its metadata say that it
was generated.
"""
import argparse
import os
import sys
import time
from pathlib import Path

from launch.arguments import box, crf, multiplier, positive_count
from launch.exits import CLEAN, Parser, one_line_errors

REGIONS = ("all", "exp", "pose", "lip", "eyes")  # animate.REGIONS; JAX is not imported for --help
WEIGHTS_HELP = "folder of LivePortrait's files (default $JAMFLOW_LIVEPORTRAIT or weights/liveportrait)"


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(argv)

    from data_pipelines.prepare.audio_stream import stream_audio
    from jamflow_jax.errors import ConfigError, InputError
    from jamflow_jax.face.find import Follow, load_detector
    from launch.compile_cache import use_compile_cache
    from launch.outputs import portrait
    from launch.outputs.staging import check_file, check_other, staged
    from launch.outputs.video import write_mp4

    out = Path(options.out)
    if out.suffix.lower() != ".mp4":
        raise ConfigError(f"--out {out}: the result is an .mp4")
    check_other(out, options.source, options.motion, options.audio)
    check_file(out)
    drive, notes = read_drive(options.motion)
    detector = None if options.detector is None else load_detector(options.detector)
    source = portrait.read_source(options.source, options.box, options.landmarks, detector, drive.fps)
    audio = None if options.silent else options.audio or beside(options.motion)
    sound = None if audio is None else stream_audio(audio)
    use_compile_cache()
    networks = load_networks(options.weights, options.batch, options.dtype)
    for path, said in ((options.motion, notes), (options.source, source.notes)):
        for note in said:
            print(f"note: {path}: {note}", file=sys.stderr)
    start = time.perf_counter()
    mark = None if options.no_mark else portrait.mark_of(source)
    with staged(out.parent) as temporary:
        frames = portrait.portrait_frames(networks, source, drive, look(options))
        lead = source.lead(drive.fps)
        count = write_mp4(temporary / out.name, frames, sound, drive.fps, mark=mark, crf=options.crf, lead=lead)
        if not count:
            raise InputError(f"{options.source}: there is no frame in it")
    if isinstance(source.place, Follow) and source.place.lost:
        print(f"note: {options.source}: {source.place.lost}", file=sys.stderr)
    if count - lead < len(drive.face.exp):
        print(f"note: {options.source}: ends after {count - lead} of the motion's {len(drive.face.exp)} frames", file=sys.stderr)
    took = time.perf_counter() - start
    heard = "no sound" if audio is None else f"sound of {audio}"
    print(f"{out}: {count} frames, {float(count / drive.fps):.2f} s, {heard}; {count / took:.2f} frames/s with compilation")
    return CLEAN


def read_drive(path: str):
    """(Drive, notes) of a template, whose frame 0 is its reference and is shown, or of a motion file, behind a neutral frame.

    A motion file's head pose is taken where it has one.
    """
    from data_pipelines.prepare.motion_reader import load, read_motion
    from jamflow_jax.motion.space import POSE_DIMS, get
    from jamflow_jax.motion.template import Template, read_template
    from launch.outputs.portrait import drive_of

    if Path(path).suffix.lower() == ".pkl":
        template = read_template(path)
        _check_scale(path, "scale", template.scale)
        return drive_of(template, neutral_first=False), []
    raw, posed = load(Path(path)), get("liveportrait", pose=True)
    turns = set(POSE_DIMS) & set(raw.names or ()) or (not raw.names and raw.values.shape[1:] == (posed.dim,))
    space = posed if turns else get("liveportrait")
    motion_MD, notes = read_motion(Path(path), space, longer_gaps="; fill them in the file")
    if turns:
        _check_scale(path, "pose.scale", motion_MD[:, space.columns(["pose.scale"])])
    return drive_of(Template.from_motion(motion_MD, space), neutral_first=True), notes


def _check_scale(path: str, field: str, scale) -> None:
    from jamflow_jax.errors import InputError

    if scale.min() <= 0:
        raise InputError(f"{path}: {field} falls to {scale.min():g}; a head's size is above 0, mostly near 1")


def beside(motion: str) -> str | None:
    """The sound that `jamflow sample` wrote with a motion file: NAME.wav with .npz, NAME_template.wav with .pkl."""
    path = Path(motion)
    sound = path.with_name(path.stem + ("_template.wav" if path.suffix.lower() == ".pkl" else ".wav"))
    return str(sound) if sound.is_file() else None


def weights_folder(folder: str | None) -> str:
    """Where LivePortrait's files are: what was said, or $JAMFLOW_LIVEPORTRAIT, or weights/liveportrait."""
    return folder or os.environ.get("JAMFLOW_LIVEPORTRAIT") or "weights/liveportrait"


def load_networks(folder: str | None, batch: int | None = None, dtype: str | None = None, needed: tuple[str, ...] | None = None):
    """The networks with the weights in a folder (`weights_folder`); those `needed`, or all. Raises InputError."""
    import jax.numpy as jnp

    from jamflow_jax.face.networks import Networks, default_batch, default_dtype
    from jamflow_jax.torch_io import liveportrait

    params = liveportrait.load(weights_folder(folder), needed or tuple(liveportrait.FILES))
    return Networks(params, batch or default_batch(), default_dtype() if dtype is None else jnp.dtype(dtype))


def look(options: argparse.Namespace):
    """The Look of the command line."""
    from launch.outputs.portrait import Look

    return Look(
        options.region, relative=not options.absolute, adapt=not options.no_adapt, stitch=not options.no_stitch,
        multiplier=options.multiplier, paste=not options.face_only, smooth=not options.no_smooth,
    )  # fmt: skip


def add_place_options(parser: argparse.ArgumentParser) -> None:
    """Where the face is, for `motion` too."""
    parser.add_argument("--box", type=box, metavar="L,T,R,B", help="the face's box in pixels, brows to chin")
    parser.add_argument("--landmarks", metavar="FILE", help=".npz of landmarks [frames, points, 2]")
    parser.add_argument("--detector", metavar="MODULE:FUNCTION", help="finds faces in a picture (docs/faces.md)")


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Weights and how they are run."""
    parser.add_argument("--weights", metavar="DIR", help=WEIGHTS_HELP)
    parser.add_argument("--batch", type=positive_count, metavar="N", help="frames computed at once (default: 1 on CPUs, else 8)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="default: float32 on CPUs, else bfloat16")


def _parser() -> argparse.ArgumentParser:
    parser = Parser("render", __doc__)
    parser.add_argument("--source", required=True, metavar="FILE", help="a picture or video of one face")
    parser.add_argument("--motion", required=True, metavar="FILE", help="of jamflow sample (.npz), a template (.pkl), .npy or .csv")
    parser.add_argument("--out", required=True, metavar="FILE.mp4", help="an older one is replaced")
    parser.add_argument("--audio", metavar="FILE", help="the speech, which starts with the motion; default: what sample wrote")
    parser.add_argument("--silent", action="store_true", help="no sound")
    parser.add_argument("--crf", type=crf, default=18, help="quality of the video, 0 to 51, less is better (default %(default)s)")
    parser.add_argument("--no-mark", action="store_true", help="do not say in the file's metadata that it was generated")
    add_place_options(parser.add_argument_group("where the face is; default: the middle of the picture"))
    how = parser.add_argument_group("how it moves")
    how.add_argument("--region", choices=REGIONS, help="what moves; default: all of a picture, a video's lips")
    how.add_argument("--absolute", action="store_true", help="take the motion as it is, not relative to its first frame")
    how.add_argument("--multiplier", type=multiplier, default=1.0, help="of the movement, -10 to 10 (default %(default)s)")
    how.add_argument("--no-adapt", action="store_true", help="do not scale the movement to the size of the face")
    how.add_argument("--no-stitch", action="store_true", help="let shoulders and hair move along")
    how.add_argument("--no-smooth", action="store_true", help="do not smooth the motion of a video over time")
    how.add_argument("--face-only", action="store_true", help="the face alone, 512 x 512, not put back into its picture")
    add_network_options(parser.add_argument_group("the networks"))
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
