"""Guidance scale of speech to motion; the models are trained once.

    jamflow sweep guidance
"""
from configs.sweeps._synthetic import SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How much guidance does speech to motion want?",
        "rows": {f"guidance {g:g}": {"evaluate.guidance": g} for g in (2.0, 0.0, 0.5, 1.0, 3.0, 4.0)},
        "smallest": {**SMALLEST, "rows": ("guidance 2", "guidance 0", "guidance 1")},
    }
