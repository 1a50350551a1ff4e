"""configs/grid.py in minutes on one core, for sweeps that train many: a narrower and shallower model, half the clips a step.

    jamflow sweep grid_joint_or_separate      (runs/grid/data as for configs/grid.py)
"""
from ml_collections import ConfigDict

from configs import grid, small


def get_config() -> ConfigDict:
    config, on_synthetic = grid.get_config(), small.get_config()
    config.steps = 1_200

    config.data.batch_frames = 1_140  # 4 sentences
    config.data.max_batch = 4

    trunk = {"width": 96, "depth": 4, "heads": 2, "head_dim": 48, "ff_mult": 2}
    config.model.audio = {**trunk, "text_width": 64, "text_layers": 1}
    config.model.motion = {**trunk}
    config.model.joint_layers = (0, 1)
    config.model.windows, config.objective = on_synthetic.model.windows, on_synthetic.objective

    config.optim.warmup = 50
    config.optim.ema = 0.99

    config.checkpoint = {"every": 240, "keep": 1}
    config.evaluation = {"every": 1_000, "batches": 8}  # once, at the end
    return config
