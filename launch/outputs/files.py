"""The files of one result:

    NAME.wav            the sound, 24 kHz
    NAME.pkl            LivePortrait motion template (that space only), a neutral frame first
    NAME_template.wav   the sound behind 40 ms of silence: in step with the template
    NAME.npz            motion [M, D] in raw units, dims, fps, space; mel [T, 100]; which frames were given; facts (JSON)
    NAME.mp4            preview with sound: face, mel, mouth curve
    NAME.png            mel and mouth curve
    NAME_face.mp4       somebody's face saying it, where one was given

Sound and video say in their metadata that they were generated (provenance.py).
"""
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE
from launch.outputs import provenance
from launch.outputs.clip import Clip, Curve
from launch.outputs.pictures import write_picture
from launch.outputs.sketch import curve as mouth_curve
from launch.outputs.sketch import sketch
from launch.outputs.staging import staged
from launch.outputs.video import preview_frames, write_mp4
from launch.outputs.wav import for_template, write_wav

if TYPE_CHECKING:  # JAX is not imported where no face is drawn
    from launch.outputs.portrait import Talker

KINDS = ("wav", "template", "npz", "video", "picture")


def write_clip(
    clip: Clip, folder: str | Path, kinds: tuple[str, ...] = KINDS, mark: bool = True,
    talk: "Talker | None" = None,
) -> list[Path]:
    """Writes the files named by `kinds` that the clip has something for, all of them or none; returns their paths.

    Args:
      mark: sound and video say that they were generated.
      talk: gives the pictures of NAME_face.mp4.
    """
    moving = clip.motion_MD is not None
    curve = mouth_curve(clip.space, clip.motion_MD, clip.truth_MD) if moving else None
    of_sound = provenance.of_sound(clip.mel_given_T) if mark else None
    of_video = provenance.GENERATED if mark else None
    with staged(folder) as temporary:
        if "wav" in kinds and clip.audio_N is not None:
            write_wav(temporary / f"{clip.name}.wav", clip.audio_N, mark=of_sound)
        if "template" in kinds and moving and clip.space.name == "liveportrait":
            from jamflow_jax.motion.template import Template, write_template

            write_template(temporary / f"{clip.name}.pkl", Template.from_motion(clip.motion_MD, clip.space))
            if clip.audio_N is not None:
                write_wav(temporary / f"{clip.name}_template.wav", for_template(clip.audio_N), mark=of_sound)
        if "npz" in kinds:
            np.savez_compressed(temporary / f"{clip.name}.npz", **arrays(clip, curve))
        if "picture" in kinds:
            write_picture(temporary / f"{clip.name}.png", clip, curve)
        if "video" in kinds:
            frames = preview_frames(clip, sketch(clip.space, clip.motion_MD) if moving else None, curve)
            write_mp4(temporary / f"{clip.name}.mp4", frames, clip.audio_N, mark=of_video)
        if talk is not None and moving:
            path, of_face = temporary / f"{clip.name}_face.mp4", talk.mark if mark else None
            shown = write_mp4(path, talk(clip), clip.audio_N, mark=of_face, crf=18, lead=talk.lead) - talk.lead
            if shown < len(clip.motion_MD):
                print(f"note: {clip.name}: the face's video ends after {shown} of {len(clip.motion_MD)} frames", file=sys.stderr)
        names = sorted(path.name for path in temporary.iterdir())
    return [Path(folder) / name for name in names]


def arrays(clip: Clip, curve: Curve | None) -> dict[str, np.ndarray]:
    """What NAME.npz holds; `jamflow prepare` and `jamflow sample --motion` read it back."""
    values = {"facts": np.array(json.dumps({"name": clip.name, "title": clip.title, **clip.facts}))}
    if clip.motion_MD is not None:
        values |= {
            "motion": np.asarray(clip.motion_MD, np.float32), "names": np.array(clip.space.dims), "fps": np.array(MOTION_FPS),
            "space": np.array(clip.space.name), "motion_given": _mask(clip.motion_given_M, len(clip.motion_MD)),
            "mouth_opening": np.asarray(curve.values_M, np.float32), "mouth_label": np.array(curve.label),
        }
        if curve.truth_M is not None:
            values["mouth_opening_truth"] = np.asarray(curve.truth_M, np.float32)
    if clip.mel_TF is not None:
        values |= {
            "mel": np.asarray(clip.mel_TF, np.float32), "mel_given": _mask(clip.mel_given_T, len(clip.mel_TF)),
            "sample_rate": np.array(SAMPLE_RATE),
        }
    return values


def _mask(given: np.ndarray | None, frames: int) -> np.ndarray:
    return np.zeros(frames, bool) if given is None else np.asarray(given, bool)
