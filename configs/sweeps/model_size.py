"""Width and depth of both streams at a fixed number of steps.

    jamflow sweep model_size
"""
from configs.sweeps._synthetic import SMALLEST, TASKS


def size(width: int, depth: int) -> dict:
    """Heads of 64, the first half of the layers joined; the base's own size as {}."""
    if (width, depth) == (128, 4):
        return {}
    trunk = {"width": width, "depth": depth, "heads": width // 64}
    streams = {f"model.{stream}.{field}": value for stream in ("audio", "motion") for field, value in trunk.items()}
    return streams | {"model.joint_layers": tuple(range(depth // 2))}


def get_sweep() -> dict:
    return {
        **TASKS,
        "question": "How much does the mouth gain from a larger model?",
        "rows": {f"width {w}, depth {d}": size(w, d) for w, d in ((128, 4), (64, 2), (128, 2), (64, 4), (192, 6))},
        "smallest": {**SMALLEST, "rows": ("width 128, depth 4", "width 64, depth 2")},
    }
