"""JAM-Flow as published: two streams of 22 layers and width 1024, 668 M parameters, the first 11 layers joined.

    jamflow train --config configs/base.py --config.data.path=DATA --workdir runs/base

The audio stream is F5-TTS v1 Base and may start from its weights, motion from a stage-1 run:

    --config.init.audio=F5TTS_v1_Base/model_1250000.safetensors --config.init.motion=runs/stage1
    stage 1:  jamflow train --config configs/base.py --config.stage=1 --config.data.path=DATA --workdir runs/stage1

Numbers are those of F5-TTS where the paper is silent. Meant for 8 accelerators with 80 GB.
"""
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 400_000
    config.stage = 2  # 1: Motion-DiT alone on speech features or mel
    config.log_every = 50

    config.data = data = ConfigDict()
    data.path = ""  # of `jamflow prepare`; several with weights: "A=1,B=0.5"
    data.buckets = 12  # lengths for each mix of modalities, chosen on the data: about 12 % padding on read speech
    data.batch_frames = 307_200  # mel frames of a global batch, 8 x 38,400 as in F5-TTS
    data.max_batch = 512  # clips in a global batch

    trunk = {
        "width": 1024, "depth": 22, "heads": 16, "head_dim": 64, "ff_mult": 2,
        "dropout": 0.1,
        "dtype": "bfloat16",  # of the computation; parameters, optimiser and attention's softmax stay float32
        "remat": "full",  # recompute a layer in the backward pass: memory for a third more time
    }  # fmt: skip
    config.model = model = ConfigDict()
    model.audio = {**trunk, "text_width": 512, "text_layers": 4}
    model.motion = {**trunk, "rope_alignment": "time"}
    model.joint_layers = tuple(range(11))

    config.optim = optim = ConfigDict()
    optim.lr = 7.5e-5
    optim.warmup = 20_000
    optim.weight_decay = 0.01
    optim.clip = 1.0
    optim.accumulate = 1
    optim.audio_lr = 1.0  # 0 freezes the audio stream: the paper's "audio frozen" rows
    optim.motion_lr = 1.0
    optim.ema = 0.9999

    config.mesh = {"data": 1, "fsdp": -1, "tensor": 1}  # parameters cut over all devices
    config.checkpoint = {"every": 2_000, "keep": 3}
    config.evaluation = {"every": 2_000, "batches": 8}
    return config
