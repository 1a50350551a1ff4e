"""Clips longer than training has seen: crops of 1, 2 and 4 s in training, whole clips of 2 to 4 s when measured.

    jamflow sweep sequence_length

A crop loses its text, so the audio losses do not compare.
"""
from configs.sweeps._synthetic import AUDIO_TO_MOTION, SMALLEST


def crop(frames: int) -> dict:
    """Batches of the same number of frames, in clips of at most `frames`; the base's own 390 as {}."""
    return {} if frames == 390 else {"data.buckets": (frames,), "data.max_batch": 3_120 // frames}


def get_sweep() -> dict:
    return {
        **AUDIO_TO_MOTION,
        "question": "Does the mouth still follow speech in clips longer than those of training?",
        "rows": {f"trained on {seconds} s": crop(frames) for seconds, frames in ((4, 390), (2, 195), (1, 90))},
        "smallest": SMALLEST,
    }
