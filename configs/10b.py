"""10 B parameters: width 3072, 36 layers, the first 18 joined. For 256 accelerators or more.

    jamflow train --config configs/10b.py --config.data.path=DATA --workdir runs/10b
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.steps = 600_000

    config.data = data = ConfigDict()
    data.path = ""
    data.buckets = 12  # lengths for each mix of modalities, chosen on the data: about 12 % padding on read speech
    data.batch_frames = 4_915_200  # mel frames of a global batch: 14.6 hours of speech
    data.max_batch = 8192

    trunk = {
        "width": 3072, "depth": 36, "heads": 48, "head_dim": 64, "ff_mult": 2,
        "dtype": "bfloat16",
        "remat": "full",
        "qk_norm": "rms_norm",
    }  # fmt: skip
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 1024}
    model.motion = {**trunk}
    model.joint_layers = tuple(range(18))

    config.optim = optim = ConfigDict()
    optim.lr = 3e-5
    optim.warmup = 30_000
    optim.betas = (0.9, 0.95)
    optim.ema = 0.9999

    # for TPUs; on GPUs fsdp 8 (a host) and remat "dots": over 64 the network limits a step, by formula, docs/scale.md
    config.mesh = {"data": -1, "fsdp": 64, "tensor": 1}  # 160 GB of parameters, moments and averages: 2.5 GB a device
    config.checkpoint = {"every": 1_000, "keep": 3}
    config.evaluation = {"every": 5_000, "batches": 8}
    return config
