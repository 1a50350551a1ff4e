"""The base of configs/sweeps/: a joint model of the embedded data set whose mouth follows speech, in minutes on one core.

    jamflow sweep joint_layers        (prepares runs/synthetic/16min if it is missing)
    jamflow train --config configs/small.py --workdir runs/small
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 600
    config.log_every = 20

    config.data = data = ConfigDict()
    data.path = "runs/synthetic/16min"
    data.buckets = (390,)  # mel frames: clips last 2 to 4 s
    data.batch_frames = 1_560  # mel frames of a batch: 4 clips
    data.max_batch = 4
    data.crop = True

    trunk = {"width": 96, "depth": 4, "heads": 2, "head_dim": 48, "ff_mult": 2}  # 1.3 M parameters in all
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 64, "text_layers": 1}
    model.motion = {**trunk}
    model.joint_layers = (0, 1)
    # Not the paper's mask: among all mel frames a small model's speech hardly finds the lips (docs/findings.md).
    model.windows = {"audio_audio": "7/25"}

    # A short run spends its examples on one stream from the other. Speech learns to hear the lips last, and not
    # in 900 steps where 10 % of the examples hide both (docs/findings.md).
    config.objective = {"hide_probs": (0.04, 0.4, 0.56), "drop_text": 0.6, "text_absent_share": 0.9}

    config.optim = optim = ConfigDict()
    optim.lr = 2e-3
    optim.warmup = 50
    optim.final_lr = 0.02
    optim.ema = 0.99

    config.checkpoint = {"every": 300, "keep": 1}
    config.evaluation = {"every": 1_000, "batches": 8}  # once, at the end
    return config
