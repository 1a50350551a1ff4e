"""One flow time for both streams or one each, and how often they are shared when both are generated.

    jamflow sweep times

Speech to motion has its speech at t = 1 and needs independence least: text to speech and motion is the task to look at as well.
"""
from configs.sweeps._synthetic import SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "One flow time for both streams, or one each?",
        "rows": {
            "half shared": {},
            "one each": {"objective.shared_time_prob": 0.0},
            "one for both": {"objective.independent_times": False},
        },
        "smallest": SMALLEST,
    }
