"""The embedded data set on two cores: a small joint model that learns to speak and move in minutes.

    make quickstart        (prepares runs/quickstart/data, trains, samples, reports)
    jamflow train --config configs/quickstart.py --workdir runs/quickstart/model
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 1_500
    config.log_every = 25

    config.data = data = ConfigDict()
    data.path = "runs/quickstart/data"
    data.buckets = (240, 360, 480)  # mel frames: 2.6, 3.8 and 5.1 s
    data.batch_frames = 3_840  # mel frames of a batch: 8 clips of 5.1 s
    data.max_batch = 16
    data.crop = True  # a rare longer sentence is cut rather than refused

    trunk = {"width": 256, "depth": 6, "heads": 4, "head_dim": 64, "ff_mult": 2}
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 128, "text_layers": 2}
    model.motion = {**trunk}
    model.joint_layers = (0, 1, 2)

    config.optim = optim = ConfigDict()
    optim.lr = 1e-3  # small models take large steps
    optim.warmup = 100
    optim.final_lr = 0.02
    optim.ema = 0.995  # averages over the last few hundred steps of a short run

    config.checkpoint = {"every": 100, "keep": 2}
    config.evaluation = {"every": 250, "batches": 4}
    return config
