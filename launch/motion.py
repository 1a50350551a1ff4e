"""Takes the motion of a face from video or a picture, as a LivePortrait template.

    jamflow motion clip.mp4 --out clip.pkl

The template keeps the video's frame rate; `jamflow prepare`, `jamflow sample --motion`, `jamflow render` and LivePortrait read it.
Needs LivePortrait's motion extractor (docs/faces.md).
"""
import sys
import time
from fractions import Fraction
from pathlib import Path

from launch.arguments import FASTEST, SLOWEST, frame_rate
from launch.exits import CLEAN, Parser, one_line_errors


@one_line_errors
def main(argv: list[str]) -> int:
    """Runs the command; returns its exit code."""
    from launch.render import add_network_options, add_place_options, load_networks

    parser = Parser("motion", __doc__)
    parser.add_argument("video", metavar="FILE", help="a video or picture of one face")
    parser.add_argument("--out", required=True, metavar="FILE.pkl", help="an older one is replaced")
    of_video = f"default: the video's, if it has {SLOWEST} to {FASTEST}"
    parser.add_argument("--fps", type=frame_rate, metavar="N", help=f"frames a second of the template; {of_video}")
    add_place_options(parser.add_argument_group("where the face is; default: the middle of the picture"))
    add_network_options(parser.add_argument_group("the network"))
    options = parser.parse_args(argv)

    from data_pipelines.prepare import video_reader
    from data_pipelines.prepare.pictures import at_rate, is_video, pictures_before, read_picture
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.face import find
    from jamflow_jax.face.crop import DRIVING
    from jamflow_jax.face.extract import motion_template
    from jamflow_jax.motion.template import write_template
    from jamflow_jax.timeline import MOTION_FPS
    from launch.compile_cache import use_compile_cache
    from launch.outputs.portrait import pictures_of
    from launch.outputs.staging import check_file

    path, out = Path(options.video), Path(options.out)
    if out.suffix.lower() != ".pkl":
        raise ConfigError(f"--out {out}: a template is a .pkl")
    check_file(out)
    where = options.box, options.landmarks, None if options.detector is None else find.load_detector(options.detector)
    if is_video(path):
        video = video_reader.probe(path)
        place, notes = find.in_video(path, pictures_of(video), *where, DRIVING, turn=False)
        own = video_reader.frame_rate(video)
        fps = options.fps or (own if own and SLOWEST <= own <= FASTEST else Fraction(MOTION_FPS))
        if not options.fps and video.fps and abs(video.fps - fps) > 0.01:
            said = f"not {float(video.fps):g} as its header says (--fps chooses)"
            notes = [*notes, f"frames: {float(fps):g} a second are taken, {said}"]
        place, frames = find.steady(place, pictures_of(video)), at_rate(video, fps)
        if lead := pictures_before(video, fps):
            said = f"{float(-video.first):.2f} s ({lead} pictures) after the first picture"
            notes = [*notes, f"motion: begins with the sound, {said}"]
    else:
        first, said = read_picture(path)
        place, notes = find.in_picture(path, first, *where, DRIVING, turn=False)
        fps, frames, notes = options.fps or Fraction(MOTION_FPS), [first], said + notes
    for note in notes:
        print(f"note: {path}: {note}", file=sys.stderr)
    use_compile_cache()
    networks = load_networks(options.weights, options.batch, options.dtype, needed=("motion",))
    start = time.perf_counter()
    template = motion_template(networks, frames, place, fps)
    took = time.perf_counter() - start
    out.parent.mkdir(parents=True, exist_ok=True)
    write_template(out, template)
    print(f"{out}: {template.n_frames} frames at {float(fps):g} fps; {template.n_frames / took:.1f} frames/s with compilation")
    return CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
