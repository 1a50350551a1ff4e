"""One GRID speaker (face landmarks, 3 s sentences) on two cores: the joint model within half an hour.

    python scripts/manifest_grid.py GRID_DIRECTORY > grid.jsonl
    jamflow prepare grid.jsonl --space landmarks --out runs/grid/data
    jamflow train --config configs/grid.py --workdir runs/grid/model
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 1_000
    config.log_every = 50

    config.data = data = ConfigDict()
    data.path = "runs/grid/data"
    data.buckets = (285,)  # mel frames; every GRID clip lasts 2.98 s (280 frames)
    data.batch_frames = 2_280  # 8 sentences
    data.max_batch = 8
    data.crop = True

    trunk = {"width": 192, "depth": 6, "heads": 3, "head_dim": 64, "ff_mult": 2}  # 7.1 M parameters in all
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 96, "text_layers": 2}
    model.motion = {**trunk}
    model.joint_layers = (0, 1, 2)

    # A short run spends more of its examples on motion from given speech than the paper's even split.
    config.objective = {"hide_probs": (0.3, 0.5, 0.2)}

    config.optim = optim = ConfigDict()
    optim.lr = 2e-3  # small models take large steps
    optim.warmup = 150
    optim.final_lr = 0.02
    optim.ema = 0.998

    config.checkpoint = {"every": 250, "keep": 2}
    config.evaluation = {"every": 250, "batches": 4}
    return config
