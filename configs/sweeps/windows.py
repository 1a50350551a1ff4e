"""Windows of joint attention: 0 to 15 motion frames each side, and none at all (the paper's rows without masks).

    jamflow sweep windows
"""
from configs.sweeps._synthetic import SMALLEST, TASKS

WINDOWS = ("model.windows.motion_motion", "model.windows.motion_audio", "model.windows.audio_motion", "model.motion.window_seconds")


def reach(frames: int | None) -> dict:
    """All masked pairs and the motion-only layers reach this far each side; the base's own 7 as {}."""
    value = None if frames is None else f"{frames}/25"
    return {} if frames == 7 else dict.fromkeys(WINDOWS, value)


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How far must mouth and speech see each other, and does a window help at all?",
        "rows": {f"{n} frames" if n is not None else "infinite": reach(n) for n in (7, 0, 1, 3, 15, None)},
        "smallest": {**SMALLEST, "rows": ("7 frames", "0 frames", "infinite")},
    }
