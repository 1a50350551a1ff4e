"""3 B parameters: width 2048, 24 layers, the first 12 joined. For 32 accelerators or more.

    jamflow train --config configs/3b.py --config.data.path=DATA --workdir runs/3b
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.steps = 500_000

    config.data = data = ConfigDict()
    data.path = ""
    data.buckets = 12  # lengths for each mix of modalities, chosen on the data: about 12 % padding on read speech
    data.batch_frames = 1_228_800  # mel frames of a global batch: 3.6 hours of speech
    data.max_batch = 2048

    trunk = {
        "width": 2048, "depth": 24, "heads": 32, "head_dim": 64, "ff_mult": 2,
        "dtype": "bfloat16",
        "remat": "full",  # activations of 24 layers do not fit beside parameters, gradients and moments
        "qk_norm": "rms_norm",  # large models lose their attention logits to growth without it
    }  # fmt: skip
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 768}
    model.motion = {**trunk}
    model.joint_layers = tuple(range(12))

    config.optim = optim = ConfigDict()
    optim.lr = 5e-5  # lower with width
    optim.warmup = 20_000
    optim.betas = (0.9, 0.95)  # a shorter memory of squares: steadier at this size
    optim.ema = 0.9999

    config.mesh = {"data": -1, "fsdp": 8, "tensor": 1}  # parameters cut within a host, copies across hosts
    config.checkpoint = {"every": 2_000, "keep": 3}
    config.evaluation = {"every": 5_000, "batches": 8}
    return config
