"""The embedded data set: espeak-ng reads sentences, and a face made by rule says them with known truth.

Clip n of seed s is a pure function of (s, n): sentence n, voice n mod V, and the split by n div V mod 10, so that no sentence is in
two splits and every voice is in each. Motion is 25 fps, frame i sampled at its middle, (i + 1/2) / 25 s; motion = visemes of the
phonemes (`visemes.tracks`) scaled by the speaker, + idle movements of the rest keypoints, + noise of 1e-4. A clip carries the
phoneme and word times it was made from, so every figure of merit can be computed against exact truth.
"""
import dataclasses
import functools
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soxr

from data_pipelines.prepare import espeak, visemes
from data_pipelines.prepare.build import Example, build
from data_pipelines.prepare.sentences import sentences
from jamflow_jax import timeline
from jamflow_jax.errors import InputError
from jamflow_jax.motion import space

SHORTEST, LONGEST = 2.0, 4.0  # s; clips outside are passed over
MOTION_NOISE = 1e-4  # LivePortrait units; the mouth's standard deviation is 1e-3 to 2e-2
GAIN = 0.9  # room for the overshoot of resampling; speech then has an RMS near 0.1, as F5-TTS expects
SOUND_NOISE = 1e-4  # full scale: espeak-ng's pauses are digital silence, which no microphone gives


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker: how it sounds, and how much it moves."""

    name: str
    espeak: str  # voice and variant
    rate: int  # words a minute
    pitch: int  # 0 to 100
    articulation: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)  # scale of each of visemes.ARTICULATORS


VOICES = (
    Voice("anna", "en-us+f2", 150, 55, (1.10, 1.00, 1.15, 1.0, 1.0)),
    Voice("ben", "en-us", 160, 45, (1.00, 1.00, 1.00, 1.0, 1.0)),
    Voice("carl", "en-us+m3", 155, 40, (0.85, 1.10, 0.85, 1.0, 1.0)),
    Voice("dora", "gmw/en+f5", 150, 50, (1.20, 1.15, 1.05, 1.0, 1.0)),
    Voice("evan", "gmw/en", 160, 50, (0.90, 0.90, 1.00, 1.0, 1.0)),
    Voice("finn", "gmw/en-GB-scotland+m7", 150, 45, (1.00, 1.20, 0.90, 1.0, 1.0)),
)


def generate(minutes: float = 16.0, seed: int = 0, workers: int = 2, voices: tuple[Voice, ...] = VOICES) -> Iterator[Example]:
    """Clips of 2 to 4 s until they last `minutes` together: the same ones for any number of workers (threads).

    Raises:
      InputError: minutes that are not positive, or no voice.
    """
    if not minutes > 0:
        raise InputError(f"minutes: {minutes} is not positive")
    if not voices:
        raise InputError("voices: at least one is needed")
    speak = functools.partial(clip, seed=seed, voices=voices)
    texts = enumerate(sentences(seed))
    seconds = 0.0
    with ThreadPoolExecutor(max(1, workers)) as pool:  # espeak-ng and soxr run without the interpreter's lock
        try:
            ahead = deque(pool.submit(speak, *item) for item in itertools.islice(texts, 4 * max(1, workers)))
            while seconds < 60.0 * minutes:
                example = ahead.popleft().result()
                ahead.append(pool.submit(speak, *next(texts)))
                if example is not None:
                    seconds += len(example.audio) / timeline.SAMPLE_RATE
                    yield example
        finally:
            pool.shutdown(cancel_futures=True)


def clip(number: int, text: str, seed: int = 0, voices: tuple[Voice, ...] = VOICES) -> Example | None:
    """Clip `number`, or None when it is shorter than 2 s or longer than 4 s."""
    voice = voices[number % len(voices)]
    rng = np.random.Generator(np.random.PCG64([seed, 0xFACE, number]))
    lead, tail = rng.uniform(0.08, 0.30), rng.uniform(0.0, 0.15)
    rate = round(voice.rate * rng.uniform(0.93, 1.07))
    speech = espeak.speak(text, voice.espeak, rate, voice.pitch)
    lead, tail = (round(pause * timeline.SAMPLE_RATE) for pause in (lead, tail))
    spoken_N = soxr.resample(speech.samples_N * np.float32(GAIN / 32768.0), speech.sample_rate, timeline.SAMPLE_RATE)
    audio_N = np.pad(spoken_N, (lead, tail))
    audio_N += SOUND_NOISE * rng.standard_normal(len(audio_N))
    if not SHORTEST <= len(audio_N) / timeline.SAMPLE_RATE <= LONGEST:
        return None
    shift = lead / timeline.SAMPLE_RATE
    phonemes, words = (
        [[round(start + shift, 6), round(end + shift, 6), label] for start, end, label in spans]
        for spans in (speech.phonemes, speech.words)
    )
    return Example(
        id=f"{voice.name}-{number:05d}",
        audio=np.clip(audio_N, -1.0, 1.0).astype(np.float32),
        motion=_motion(phonemes, len(audio_N), voice, rng),
        text=text,
        speaker=voice.name,
        split={1: "test", 2: "validation"}.get(number // len(voices) % 10, "train"),
        extra={"words": words, "phonemes": phonemes},
    )


def truth(phonemes: list, motion_frames: int, voice: Voice) -> np.ndarray:
    """The part of the motion [M, 63] that the phonemes cause: no noise, no idle movement. Units of LivePortrait's exp."""
    times_M = (np.arange(motion_frames) + 0.5) / timeline.MOTION_FPS
    silence = [[-1.0, phonemes[0][0], ""]], [[phonemes[-1][1], motion_frames / timeline.MOTION_FPS + 1.0, ""]]
    tracks_MA = visemes.tracks([*silence[0], *phonemes, *silence[1]], times_M)
    return (tracks_MA * np.asarray(voice.articulation)) @ visemes.DIRECTIONS


def _motion(phonemes: list, samples: int, voice: Voice, rng: np.random.Generator) -> np.ndarray:
    frames = timeline.motion_frames(timeline.mel_frames(samples))
    times_M = (np.arange(frames) + 0.5) / timeline.MOTION_FPS
    speech_MD = truth(phonemes, frames, voice)
    idle_MD = visemes.idle(times_M, rng)
    mouth_D = (visemes.DIRECTIONS**2).sum(0) > 1e-6  # dead and almost still dimensions get no noise
    noise_MD = MOTION_NOISE * rng.standard_normal(speech_MD.shape) * mouth_D
    return (speech_MD + idle_MD + noise_MD).astype(np.float32)


def prepare_synthetic(out: str | Path, minutes: float = 16.0, seed: int = 0, workers: int = 2, **options):
    """Writes the embedded data set to the folder `out` and returns build's report; `options` go to `build`.

    Raises:
      InputError: as `generate` and `build` do.
    """
    return build(generate(minutes, seed, workers), out, space.get("liveportrait"), **options)
