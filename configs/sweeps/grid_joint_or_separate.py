"""configs/sweeps/joint_or_separate.py on real speech and motion: one GRID speaker, three seeds.

    python scripts/manifest_grid.py GRID_DIRECTORY > grid.jsonl
    jamflow prepare grid.jsonl --space landmarks --out runs/grid/data
    jamflow sweep grid_joint_or_separate
"""
from configs.grid_small import get_config
from configs.sweeps import joint_or_separate
from configs.sweeps._synthetic import MEASURED, TASKS


def get_sweep() -> dict:
    return {
        **TASKS,
        "metrics": MEASURED,
        "question": "Does joint training help on real speech and motion?",
        "base": "grid_small",
        "synthetic": (),
        "seeds": (0, 1, 2),
        "evaluate": {**TASKS["evaluate"], "bucket": 285, "clips": 40},
        "rows": joint_or_separate.rows(get_config().steps),
        "smallest": {"seeds": (0,), "evaluate": {"clips": 20}, "rows": ("joint", "never joined")},  # a training for each core
    }
