"""The base of configs/sweeps/: a joint model of the embedded data set whose mouth follows speech, in minutes on two cores.

    jamflow sweep joint_layers        (prepares runs/synthetic/16min if it is missing)
    jamflow train --config configs/small.py --workdir runs/small
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 200
    config.log_every = 25

    config.data = data = ConfigDict()
    data.path = "runs/synthetic/16min"
    data.buckets = (390,)  # mel frames: clips last 2 to 4 s
    data.batch_frames = 3_120  # mel frames of a batch: 8 clips
    data.max_batch = 8
    data.crop = True

    trunk = {"width": 128, "depth": 4, "heads": 2, "head_dim": 64, "ff_mult": 2}
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 64, "text_layers": 1}
    model.motion = {**trunk}
    model.joint_layers = (0, 1)

    # As in configs/quickstart.py: a short run spends more of its examples on motion from given speech.
    config.objective = {"hide_probs": (0.3, 0.5, 0.2)}

    config.optim = optim = ConfigDict()
    optim.lr = 2e-3
    optim.warmup = 50
    optim.final_lr = 0.02
    optim.ema = 0.99

    config.checkpoint = {"every": 50, "keep": 1}
    config.evaluation = {"every": 100, "batches": 4}
    return config
