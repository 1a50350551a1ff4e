"""How often training drops the rest of the face, measured with the true rest given and without it.

    jamflow sweep rest_dropping
"""
from configs.sweeps._synthetic import AUDIO_TO_MOTION, SMALLEST


def get_sweep() -> dict:
    return {
        **AUDIO_TO_MOTION,
        "question": "How much lip shape leaks through the rest of the face, by how often training drops it?",
        "rows": {
            "drop 0.8, not given": {},
            "drop 0.8, given": {"evaluate.rest": True},
            "drop 0, not given": {"objective.drop_rest": 0.0},
            "drop 0, given": {"objective.drop_rest": 0.0, "evaluate.rest": True},
            "drop 0.4, not given": {"objective.drop_rest": 0.4},
            "drop 0.4, given": {"objective.drop_rest": 0.4, "evaluate.rest": True},
            "drop 1": {"objective.drop_rest": 1.0},
        },
        "smallest": {**SMALLEST, "rows": ("drop 0.8, not given", "drop 0.8, given", "drop 0, not given", "drop 0, given")},
    }
