"""LSE-D and LSE-C by a SyncNet (Chung and Zisserman 2016), given as a file: comparison with published tables, nothing else.

Five frames of video (40 ms each) and 0.2 s of MFCCs (20 frames) become embeddings v_i and a_i of 1024 numbers, for every frame i.

    D_k = mean_i |v_i - a_{i+k}|,  |k| <= 15;   LSE-D = min_k D_k;   LSE-C = median_k D_k - min_k D_k                 (1)

A missing neighbour at either end is the zero vector, as in syncnet_python, which this follows. The file is either the
released state dict (syncnet_v2.model of syncnet_python: `netcnnaud.*`, `netfcaud.*`, `netcnnlip.*`, `netfclip.*`; MIT code, the
weights were released for research), or a TorchScript module with `forward_lip([B, 3, 5, 224, 224] in 0..255) -> [B, E]` and
`forward_aud([B, 1, 13, 20]) -> [B, E]`. The pictures are rendered faces (face/), 224 x 224, BGR as OpenCV reads them.
"""
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mfcc import mfcc
from jamflow_jax.evaluate.recognise import needs, resampled

REACH = 15  # video frames
FRAMES, COLUMNS = 5, 20  # of video, of MFCCs, in one window: 0.2 s
SIDE = 224  # pixels
_BATCH = 20

# (out channels, kernel, stride, padding) of each convolution, followed by batch norm and ReLU; "pool": (kernel, stride)
_LIP = (
    (96, (5, 7, 7), (1, 2, 2), 0), ("pool", (1, 3, 3), (1, 2, 2)), (256, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
    ("pool", (1, 3, 3), (1, 2, 2), (0, 1, 1)), (256, (1, 3, 3), (1, 1, 1), (0, 1, 1)), (256, (1, 3, 3), (1, 1, 1), (0, 1, 1)),
    (256, (1, 3, 3), (1, 1, 1), (0, 1, 1)), ("pool", (1, 3, 3), (1, 2, 2)), (512, (1, 6, 6), 1, 0),
)  # fmt: skip
_AUDIO = (
    (64, (3, 3), (1, 1), (1, 1)), ("pool", (1, 1), (1, 1)), (192, (3, 3), (1, 1), (1, 1)), ("pool", (3, 3), (1, 2)),
    (384, (3, 3), (1, 1), (1, 1)), (256, (3, 3), (1, 1), (1, 1)), (256, (3, 3), (1, 1), (1, 1)), ("pool", (3, 3), (2, 2)),
    (512, (5, 4), 1, (0, 0)),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Score:
    """Of one clip; `offset` in video frames, positive when the sound is late."""

    confidence: float  # LSE-C
    distance: float  # LSE-D
    offset: int


def score(video_NE: Float[np.ndarray, "N E"], audio_NE: Float[np.ndarray, "N E"], reach: int = REACH) -> Score:
    """Equation 1 over the frames both have. Raises InputError without a frame."""
    N = min(len(video_NE), len(audio_NE))
    if not N:
        raise InputError(f"LSE needs a clip of at least {FRAMES} frames with sound")
    padded = np.pad(np.asarray(audio_NE[:N], np.float64), ((reach, reach), (0, 0)))
    distance_K = np.array([
        np.linalg.norm(video_NE[:N] - padded[k : k + N] + 1e-6, axis=1).mean() for k in range(2 * reach + 1)
    ])
    best = int(np.argmin(distance_K))
    return Score(float(np.median(distance_K) - distance_K[best]), float(distance_K[best]), best - reach)


@dataclasses.dataclass(frozen=True)
class SyncNet:
    """Both branches, of either kind of file."""

    lip: Any
    audio: Any
    name: str

    @classmethod
    def load(cls, path: str | Path) -> "SyncNet":
        """Reads the file. Raises InputError: it is not there, torch is not installed, or it is no SyncNet."""
        if not Path(path).is_file():
            raise InputError(f"{path}: no SyncNet there; give syncnet_v2.model of syncnet_python, or a TorchScript module")
        needs("torch", what="a SyncNet")
        import torch

        try:
            module = torch.jit.load(str(path), map_location="cpu").eval()
        except RuntimeError:
            pass
        else:
            if not (hasattr(module, "forward_lip") and hasattr(module, "forward_aud")):
                raise InputError(f"{path}: this TorchScript module has no forward_lip and forward_aud")
            return cls(module.forward_lip, module.forward_aud, Path(path).name)
        try:
            state = torch.load(str(path), map_location="cpu", weights_only=True)
            branches = build()
            for name, branch in branches.items():
                branch.load_state_dict({key[len(name) + 1 :]: v for key, v in state.items() if key.startswith(name + ".")})
        except Exception as error:  # pickle's, torch's and the state dict's own
            lines = str(error).strip().splitlines()
            raise InputError(f"{path}: neither SyncNet's state dict nor TorchScript ({lines[0] if lines else error!r})") from None

        def joined(first: str, second: str):
            def run(x):
                return branches[second](branches[first](x).flatten(1))

            return run

        return cls(joined("netcnnlip", "netfclip"), joined("netcnnaud", "netfcaud"), Path(path).name)

    def __call__(self, pictures: UInt8[np.ndarray, "N 224 224 3"], audio_N: Float[np.ndarray, "S"]) -> Score:
        """LSE of RGB pictures at 25 a second with samples at 24 kHz."""
        import torch

        N = len(pictures)
        cepstra_CK = mfcc(resampled(audio_N)).T.astype(np.float32)
        windows = min(N - FRAMES + 1, (cepstra_CK.shape[1] - COLUMNS) // 4 + 1)
        frames = np.ascontiguousarray(pictures[..., ::-1].transpose(3, 0, 1, 2)).astype(np.float32)  # [3, N, H, W], BGR
        video, audio = [], []
        with torch.no_grad():
            for first in range(0, max(windows, 0), _BATCH):
                some = range(first, min(first + _BATCH, windows))
                lips = np.stack([frames[:, i : i + FRAMES] for i in some])
                heard = np.stack([cepstra_CK[None, :, 4 * i : 4 * i + COLUMNS] for i in some])
                video.append(self.lip(torch.from_numpy(lips)).numpy())
                audio.append(self.audio(torch.from_numpy(heard)).numpy())
        return score(np.concatenate(video) if video else np.zeros((0, 1)), np.concatenate(audio) if audio else np.zeros((0, 1)))


def build() -> dict[str, Any]:
    """The four parts of the released network, with fresh weights: netcnnlip, netfclip, netcnnaud, netfcaud."""
    from torch import nn

    def trunk(layers, convolution, norm, pool, channels):
        made = []
        for size, kernel, stride, *padding in layers:
            if size == "pool":
                made.append(pool(kernel, stride, *padding))
                continue
            made += [convolution(channels, size, kernel, stride, *padding), norm(size), nn.ReLU()]
            channels = size
        return nn.Sequential(*made).eval()

    def head():
        return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024)).eval()

    return {
        "netcnnlip": trunk(_LIP, nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d, 3), "netfclip": head(),
        "netcnnaud": trunk(_AUDIO, nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, 1), "netfcaud": head(),
    }  # fmt: skip
