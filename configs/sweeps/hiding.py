"""Which stream is generated in training: both, motion only, audio only.

    jamflow sweep hiding
"""
from configs.sweeps._synthetic import MEASURED, SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "metrics": MEASURED,
        "question": "How often should training hide both streams, motion alone, audio alone?",
        "rows": {
            "0.04 0.4 0.56": {},
            "0.5 0.25 0.25": {"objective.hide_probs": (0.5, 0.25, 0.25)},
            "always both": {"objective.hide_probs": (1.0, 0.0, 0.0)},
            "never both": {"objective.hide_probs": (0.0, 0.4, 0.6)},
            "always motion": {"objective.hide_probs": (0.0, 1.0, 0.0)},
        },
        "smallest": {**SMALLEST, "rows": ("0.04 0.4 0.56", "always both", "never both")},
    }
