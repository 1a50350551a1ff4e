"""Joint layers, how many and where: none to all four, first or last.

    jamflow sweep joint_layers
"""
from configs.sweeps._synthetic import SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How many joint layers does the mouth need to follow speech, and where?",
        "rows": {
            "first 2 of 4": {},
            "none": {"model.joint_layers": ()},
            "first": {"model.joint_layers": (0,)},
            "last 2": {"model.joint_layers": (2, 3)},
            "all 4": {"model.joint_layers": (0, 1, 2, 3)},
        },
        "smallest": {**SMALLEST, "rows": ("first 2 of 4", "none", "all 4")},
    }
