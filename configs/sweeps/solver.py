"""Solver and steps, at equal numbers of evaluations of the model; the models are trained once.

    jamflow sweep solver
"""
from configs.sweeps._synthetic import AUDIO_TO_MOTION, SMALLEST


def get_sweep() -> dict:
    return {
        **AUDIO_TO_MOTION,
        "question": "How many evaluations of the model does motion need, and of which solver?",
        "rows": {
            "euler 32": {"evaluate.steps": 32},
            "euler 16": {"evaluate.steps": 16},
            "euler 8": {"evaluate.steps": 8},
            "euler 4": {"evaluate.steps": 4},
            "euler 8, uniform": {"evaluate.steps": 8, "evaluate.grid": "uniform"},
            "midpoint 4": {"evaluate.steps": 4, "evaluate.method": "midpoint"},
            "heun 4": {"evaluate.steps": 4, "evaluate.method": "heun"},
            "midpoint 8": {"evaluate.steps": 8, "evaluate.method": "midpoint"},
        },
        "smallest": {**SMALLEST, "rows": ("euler 32", "euler 8", "midpoint 4")},
    }
