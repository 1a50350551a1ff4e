"""Windows of joint attention: 0 to 15 motion frames each side, and none at all (the paper's rows without masks).

    jamflow sweep windows

configs/small.py gives mel rows a window over mel frames as well; "mel rows see all mel" is the paper's mask.
"""
from configs.sweeps._synthetic import SMALLEST, TASKS

MEL_ROWS = "model.windows.audio_audio"
WINDOWS = ("model.windows.motion_motion", "model.windows.motion_audio", "model.windows.audio_motion", "model.motion.window_seconds")


def reach(frames: int) -> dict:
    """The pairs that the paper masks and the motion-only layers reach this far each side."""
    return dict.fromkeys(WINDOWS, f"{frames}/25")


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How far must mouth and speech see each other, and does a window help at all?",
        "rows": {
            "7 frames": {},
            **{f"{frames} frames": reach(frames) for frames in (0, 15)},
            "mel rows see all mel": {MEL_ROWS: None},
            "infinite": {**dict.fromkeys(WINDOWS), MEL_ROWS: None},
        },
        "smallest": {**SMALLEST, "rows": ("7 frames", "0 frames", "infinite")},
    }
