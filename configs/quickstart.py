"""The embedded data set on two cores: a small joint model that learns to speak and move in minutes.

    make quickstart        (prepares runs/quickstart/data, trains, samples, reports)
    jamflow train --config configs/quickstart.py --workdir runs/quickstart/model
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 360
    config.log_every = 25

    config.data = data = ConfigDict()
    data.path = "runs/quickstart/data"
    data.buckets = (390,)  # mel frames: clips last 2 to 4 s; every bucket more is 35 CPU seconds of compilation
    data.batch_frames = 3_120  # mel frames of a batch: 8 clips
    data.max_batch = 8
    data.crop = True  # a longer clip is cut rather than refused

    trunk = {"width": 192, "depth": 6, "heads": 3, "head_dim": 64, "ff_mult": 2}  # 7.5 M parameters in all
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 128, "text_layers": 2}
    model.motion = {**trunk}
    model.joint_layers = (0, 1, 2)

    # A short run spends more of its examples on motion from given speech than the paper's even split.
    config.objective = {"hide_probs": (0.3, 0.5, 0.2)}

    config.optim = optim = ConfigDict()
    optim.lr = 2e-3  # small models take large steps
    optim.warmup = 50
    optim.final_lr = 0.02
    optim.ema = 0.995  # averages over the last few hundred steps of a short run

    config.checkpoint = {"every": 100, "keep": 2}
    config.evaluation = {"every": 250, "batches": 4}
    return config
