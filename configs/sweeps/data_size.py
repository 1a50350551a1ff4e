"""Minutes of data at a fixed number of steps; all are measured on the same clips.

    jamflow sweep data_size

The shorter sets are the beginning of the longer ones and split alike, so none of the clips that are measured was trained on. The
mean curve of the evaluation is always that of the whole set; held-out losses are each set's own.
"""
from configs.sweeps._synthetic import SET, SMALLEST, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How much does the mouth gain from more data?",
        "synthetic": tuple({"path": f"runs/synthetic/{n}min", "minutes": float(n)} for n in (16, 8, 4, 2)),
        "evaluate": {**TASKS["evaluate"], "data": SET},
        "rows": {
            "16 min": {},
            "8 min": {"data.path": "runs/synthetic/8min"},
            "4 min": {"data.path": "runs/synthetic/4min"},
            "2 min": {"data.path": "runs/synthetic/2min"},
        },
        "smallest": {**SMALLEST, "rows": ("16 min", "4 min", "2 min")},
    }
