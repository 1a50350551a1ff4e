"""Aligned rotary positions: by time, by length (the paper's formula), not at all.

    jamflow sweep rope_alignment

On clips whose streams cover the same time "time" and "length" differ by less than a motion frame, so they should tie here.
"""
from configs.sweeps._synthetic import SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "Do the two streams need aligned rotary positions?",
        "rows": {
            "time": {},
            "length": {"model.motion.rope_alignment": "length"},
            "none": {"model.motion.rope_alignment": "none"},
        },
        "smallest": SMALLEST,
    }
