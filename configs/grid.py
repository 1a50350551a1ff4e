"""One GRID speaker (face landmarks, 3 s sentences) on two cores: the joint model within half an hour.

    jamflow prepare --manifest grid.jsonl --space landmarks --out runs/grid/data     (docs/data.md makes the manifest)
    jamflow train --config configs/grid.py --workdir runs/grid/model
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 3_000
    config.log_every = 50

    config.data = data = ConfigDict()
    data.path = "runs/grid/data"
    data.buckets = (285,)  # mel frames; every GRID sentence lasts 3 s (282 frames)
    data.batch_frames = 2_280  # 8 sentences
    data.max_batch = 8
    data.crop = True

    trunk = {"width": 160, "depth": 8, "heads": 4, "head_dim": 40, "ff_mult": 2}  # 6.5 M parameters in all
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 96, "text_layers": 2}
    model.motion = {**trunk}
    model.joint_layers = (0, 1, 2, 3)

    config.optim = optim = ConfigDict()
    optim.lr = 1e-3
    optim.warmup = 150
    optim.final_lr = 0.02
    optim.ema = 0.998

    config.checkpoint = {"every": 250, "keep": 2}
    config.evaluation = {"every": 500, "batches": 4}
    return config
