"""LivePortrait's motion extractor M as an extractor of this process: batches of frames on whatever accelerator there is.

Videos are read by several threads, each clip in batches of its own; memory holds one batch a thread, and the motion. The face has
one place in a clip: that of `box`, else of a track NAME.landmarks.npz beside the video, else the mean over what `detector` sees,
else the middle of the picture (face/find.py). Without the accelerator's process (a worker of `prepare`) it runs on the CPU.
"""
import concurrent.futures
import dataclasses
import functools
import hashlib
import time
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from data_pipelines.prepare import video_reader
from data_pipelines.prepare.pictures import check_size
from data_pipelines.prepare.report import Rejected
from data_pipelines.remote import stamp
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.motion.space import get
from jamflow_jax.timeline import MOTION_FPS

SPACE = get("liveportrait", pose=True)
TRACK = ".landmarks.npz"  # ending of a video's landmarks beside it


@dataclasses.dataclass(frozen=True)
class LivePortrait:
    """Where the weights are and where faces are looked for.

    Attributes:
      weights: a folder of LivePortrait's files, of which M is read.
      box: of the face in all videos (left, top, right, bottom), pixels.
      detector: MODULE:FUNCTION (face/find.py), asked about every frame.
      batch: frames at once, over all devices.
    """

    weights: str
    box: tuple[float, ...] | None = None
    detector: str | None = None
    batch: int = 32

    def version(self) -> str:
        """Of all that decides the numbers. Raises ConfigError: no weights, those of another network, no such detector."""
        from jamflow_jax.face.find import load_detector
        from jamflow_jax.torch_io.liveportrait import find

        try:
            file = find(self.weights, ("motion",))["motion"]
            networks = _networks(self.weights, self.batch)
        except InputError as error:
            raise ConfigError(f"the motion extractor does not run: {error}") from None
        if self.detector:
            load_detector(self.detector)
        with open(file, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()[:16]
        place = f"box {self.box}" if self.box else f"detector {self.detector}" if self.detector else "middle"
        return f"liveportrait {digest} {networks.dtype} {place}"

    def track(self, path: Path) -> Path | None:
        """The landmark track beside a video, if it is used."""
        beside = path.with_suffix(TRACK)
        return beside if self.box is None and beside.is_file() else None

    def identity(self, path: Path) -> list:
        """What a kept result depends on beside the video and `version`."""
        track = self.track(path)
        return [] if track is None else list(stamp(track))

    def read(
        self, path: Path, start: float, end: float | None, source: Path
    ) -> tuple[list[Fraction], Float32[np.ndarray, "N 69"], Bool[np.ndarray, "N"], int]:
        """(seconds of every frame from `start` on, motion in SPACE, whether a face was seen, in how many frames several were).

        Args:
          source: what `path` is a copy of; its track counts.

        Raises:
          Rejected: no video, one too small for a face, no face in it, motion that is not finite.
        """
        from jamflow_jax.face import find
        from jamflow_jax.face.crop import DRIVING
        from jamflow_jax.face.extract import extract_motion

        video = video_reader.probe(path)
        times: list[Fraction] = []

        def pictures(times: list[Fraction] | None = None):
            for second, picture in video_reader.frames(video, start, end):
                check_size(source, picture.shape[1], picture.shape[0])
                if times is not None:
                    times.append(second - Fraction(start))
                yield picture

        detector = None if self.detector is None else find.load_detector(self.detector)
        track = self.track(source)
        seen: list[bool] = []
        several = 0
        try:
            if detector is not None and self.box is None and track is None:
                follow = find.Follow(detector, DRIVING, turn=False)
                places = [follow.look(picture) for picture in pictures()]
                seen, several = [place is not None for place in places], follow.several
                if not any(seen):
                    return times, np.zeros((0, SPACE.dim), np.float32), np.array(seen, bool), 0
                place = find.crop.average([place for place in places if place is not None])
            else:
                place, _ = find.in_video(source, pictures(), self.box, track, None, DRIVING, turn=False)
                place = find.steady(place, ())
            motion, _ = extract_motion(_networks(self.weights, self.batch), pictures(times), place, MOTION_FPS, SPACE)
        except Rejected:
            raise
        except InputError as error:
            said = str(error) if str(source) in str(error) else f"{source}: {error}"
            raise Rejected("extractor failed", said) from None
        return times, np.asarray(motion, np.float32), np.array(seen or [True] * len(times)), several


@functools.cache
def _networks(weights: str, batch: int):
    from jamflow_jax.face.networks import Networks
    from jamflow_jax.torch_io.liveportrait import load

    return Networks(load(weights, ("motion",)), batch)


def ahead(clips: Iterable[Callable[[], int]], threads: int) -> str:
    """Extracts clips in this process, before others read the kept results.

    Args:
      clips: each extracts one and says how many frames it had, 0 if it was kept already; errors come again when it is read.

    Returns:
      what was done, with frames per second, for people.
    """
    def run(clip: Callable[[], int]) -> int:
        try:
            return clip()
        except (InputError, OSError):
            return 0

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(max(1, threads)) as pool:
        counts = list(pool.map(run, clips))
    frames, took = sum(counts), time.perf_counter() - start
    done = f"motion of {frames} frames in {sum(map(bool, counts))} clips"
    return f"{done}: {frames / took:.1f} frames/s with reading and compilation" if frames else "motion of no new clip"
