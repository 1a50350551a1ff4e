"""What a model is given and what it makes in each task, and the requests that say so.

    audio-to-motion             sound                    -> motion
    text-to-speech              text                     -> sound             as long as the truth, in every task
    text-to-both                text                     -> sound, motion
    text-and-reference-to-both  text, a voice            -> sound, motion     the voice: another clip of the speaker, as a prefix
    dubbing                     text, motion             -> sound
    motion-to-speech            motion                   -> sound
    edit                        text, both but a third   -> the middle third of both
"""
import dataclasses

import numpy as np

from jamflow_jax.errors import InputError
from jamflow_jax.timeline import CROP_MEL, CROP_MOTION, motion_frames
from launch.evaluation.clips import Held

SAMPLE_STRIDE = 1_000_003  # between the seeds of a clip's samples
CASCADED = "text-to-both"  # what two models can do one after the other


@dataclasses.dataclass(frozen=True)
class Task:
    """`given` and `makes` name streams; `shuffles` the given stream whose exchange shows whether the model listens to it."""

    name: str
    given: tuple[str, ...]
    makes: tuple[str, ...]
    shuffles: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """What a clip must have: what is given, and the truth of what is made."""
        return tuple(name for name in ("audio", "motion", "text") if name in self.given + self.makes)

    @property
    def timed(self) -> bool:
        """Whether what is made has to follow the truth's timing."""
        return "audio" in self.given or "motion" in self.given


TASKS = {
    task.name: task
    for task in (
        Task("audio-to-motion", ("audio",), ("motion",), "audio"),
        Task("text-to-speech", ("text",), ("audio",), "text"),
        Task("text-to-both", ("text",), ("audio", "motion"), "text"),
        Task("text-and-reference-to-both", ("text", "reference"), ("audio", "motion")),
        Task("dubbing", ("text", "motion"), ("audio",), "motion"),
        Task("motion-to-speech", ("motion",), ("audio",), "motion"),
        Task("edit", ("text", "audio", "motion"), ("audio", "motion")),
    )
}


@dataclasses.dataclass(frozen=True)
class Take:
    """One rendition of a clip: sound as mel and samples, motion in raw units; None where a stream was not made and not given."""

    mel_TF: np.ndarray | None = None
    motion_MD: np.ndarray | None = None
    audio_N: np.ndarray | None = None


def check(task: Task, model, clips: list[Held]) -> None:
    """Raises InputError when this model cannot do this task on these clips, in one line that says what would help."""
    streams = {"audio": "speech", "motion": "motion"}
    for stream in task.makes:
        if stream not in model.params:
            raise InputError(f"the model has no {streams[stream]} stream, which {task.name} makes")
    if model.config.stage == 1 and task.name != "audio-to-motion":
        raise InputError(f"this is a stage-1 run: it makes motion from speech alone; --task audio-to-motion, not {task.name}")
    if "text" in task.given:
        strange = [set(model.tokenizer.unknown(clip.text)) for clip in clips]
        bad = sum(map(bool, strange))
        if bad > len(clips) / 2:
            example = " ".join(sorted(set().union(*strange))[:12])
            raise InputError(
                f"the model's vocabulary lacks characters of {bad} of {len(clips)} texts ({example}): prepare the data as the "
                f"model's was, with its --tokenizer {model.tokenizer.kind} and its spelling (upper and lower case count)"
            )
    if "reference" in task.given and (alone := [clip.id for clip in clips if clip.reference is None or not clip.reference.text]):
        raise InputError(f"{alone[0]}: no training clip of its speaker with text to be the reference; use --task text-to-both")


def hidden(length: int) -> tuple[slice, slice]:
    """Of the task `edit`: the mel and motion frames that are made, the middle third on the grid of 0.16 s."""
    first, last = length // 3 // CROP_MEL, max(2 * length // 3 // CROP_MEL, length // 3 // CROP_MEL + 1)
    return slice(first * CROP_MEL, last * CROP_MEL), slice(first * CROP_MOTION, last * CROP_MOTION)


def request(task: Task, model, clip: Held, seed: int, rest: bool = False, swapped: Held | None = None):
    """(the flow.generate.Request of a clip, mel frames of reference in front).

    Args:
      rest: give the true motion of the rest of the face.
      swapped: take the stream `task.shuffles` from this clip instead; held or cut to the length.
    """
    from jamflow_jax.flow.generate import Request
    from jamflow_jax.text.duration import reference_text
    from launch.ask import stage_one

    space, statistics = model.space, model.statistics
    M, prefix = motion_frames(clip.length), 0
    source = {name: clip for name in ("audio", "motion", "text")} | ({task.shuffles: swapped} if swapped is not None else {})
    made = Request(clip.length, want_audio="audio" in task.makes, want_motion="motion" in task.makes, seed=seed)
    text = source["text"].text if "text" in task.given else None
    if "audio" in task.given:
        made.mel, made.mel_known = _held(source["audio"].mel_TF, clip.length), np.ones(clip.length, bool)
    if "motion" in task.given:
        made.mouth = space.split(statistics.normalise(_held(source["motion"].motion_MD, M)))[0]
        made.mouth_known = np.ones(M, bool)
    if task.name == "edit":
        mel, motion = hidden(clip.length)
        made.mel_known[mel], made.mouth_known[motion] = False, False
    if "reference" in task.given:
        prefix = len(clip.reference.mel_TF) // CROP_MEL * CROP_MEL
        made.length += prefix
        made.mel, made.mel_known = clip.reference.mel_TF[-prefix:], np.ones(prefix, bool)
        text = reference_text(clip.reference.text) + text
    if rest and space.rest_dim and (task.makes == ("motion",) or "motion" in task.given):
        made.rest = space.split(statistics.normalise(_held(clip.motion_MD, M)))[1]
    made.text_ids = None if text is None else model.tokenizer.encode(text)
    if model.config.stage == 1:
        stage_one(made, model, ("motion",))
    return made, prefix


def hear(model, take: Take, seed: int):
    """(The Request of motion for speech that another model made, no reference in front)."""
    from jamflow_jax.flow.generate import Request
    from launch.ask import stage_one

    length = len(take.mel_TF)
    made = Request(length, want_audio=False, mel=take.mel_TF, mel_known=np.ones(length, bool), seed=seed)
    if model.config.stage == 1:
        stage_one(made, model, ("motion",))
    return made, 0


def rest_alone(model, clip: Held, seed: int):
    """The Request of a model that hears nothing and sees the rest of the face: what leaks."""
    from jamflow_jax.flow.generate import Request

    motion = model.statistics.normalise(_held(clip.motion_MD, motion_frames(clip.length)))
    return Request(clip.length, want_audio=False, want_motion=True, rest=model.space.split(motion)[1], seed=seed)


def run(model, requests: list[tuple], config) -> list[Take]:
    """Generates (request, prefix) pairs; reference cut off, motion in raw units, its rest the training set's mean."""
    from jamflow_jax.flow.generate import generate

    if not requests:
        return []
    space = model.space
    mouth, takes = model.statistics.mouth(space), []
    for (_, prefix), result in zip(requests, generate(model.config.model, model.params, [made for made, _ in requests], config)):
        mel = None if result.mel is None else result.mel[prefix:]
        motion = None
        if result.mouth is not None:
            moved = mouth.denormalise(result.mouth)[prefix * CROP_MOTION // CROP_MEL :]
            motion = space.merge(moved, None, model.statistics.mean).astype(np.float32)
        takes.append(Take(mel, motion))
    return takes


def _held(values: np.ndarray, frames: int) -> np.ndarray:
    """The first `frames` frames, the last one repeated where there are fewer."""
    return values[np.minimum(np.arange(frames), len(values) - 1)]
