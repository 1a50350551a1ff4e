"""Model FLOPs of a training step, by formula, and what share of the chips' peak they are (MFU).

Counted are matrix products and convolutions, 2 per multiplication and addition, of valid frames and of the (row, key) pairs the
windows allow, over the examples that count:

    (1)  a layer, n frames of width D, inner width A = H K   2 n (3 D A + A D + 2 ff D^2) + 4 A pairs     attention's two products
         and once per example                                2 (6 D^2)                                    adaLN
    (2)  in and out, a frame    2 D (in + out) + 2 (2 31 D^2 / 16) [+ 4 D^2 long skip];  an example  2 (256 D + D^2 + 2 D^2)
    (3)  text, a mel frame      layers x 2 (7 C + 4 C^2)
    (4)  step = 3 forward: the gradients of a product are two products of its size. A frozen stream has no gradient of parameters,
         2 forward, and no gradient at all where nothing that is trained is before it: forward alone
    (5)  MFU = (4) / (seconds x devices x peak)

Nothing is added for what is recomputed (remat), for padding, for elementwise work or the optimiser: what a program does beyond this
lowers its MFU. Both streams of a batch count as joined, whatever the draws of the step switch off.
`cost_analysis` of a compiled program cannot stand in: it counts the body of a loop over layers once.
"""
import functools
from collections.abc import Iterable

import numpy as np

from jamflow_jax.model.config import AudioConfig, JamFlowConfig, MotionConfig, TrunkConfig
from jamflow_jax.parallel import chips
from jamflow_jax.timeline import MEL_TICKS, MOTION_TICKS, motion_frames, window_ticks
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.state import trained_streams

Streams = tuple[str, ...]


def step_flops(config: RunConfig, lengths: Iterable[int], streams: Streams = ("audio", "motion")) -> float:
    """FLOPs (4) of one optimiser step.

    Args:
      config: the run; in stage 1 the motion stream alone counts.
      lengths: valid mel frames of every example that counts (weight > 0), of all microbatches and hosts.
      streams: that the batch has (`loop.present_streams`).
    """
    if config.stage == 1:
        streams = ("motion",)
    trained = set(trained_streams(config)) & set(streams)
    lengths, numbers = np.unique(np.asarray(list(lengths), np.int64), return_counts=True)
    total = 0.0
    for length, number in zip(lengths.tolist(), numbers.tolist()):
        parts = forward_flops(config.model, length, streams, apart=config.stage == 1)
        for stream in streams:
            # a frozen stream passes gradients on to a trained one that is joined to it
            passes = 3 if stream in trained else 2 if trained else 1
            total += number * (passes * parts[stream] + (3 if trained else 1) * parts[f"{stream}_attention"])
    return total


def forward_flops(
    model: JamFlowConfig, length: int, streams: Streams = ("audio", "motion"), apart: bool = False, dense: bool = False
) -> dict[str, float]:
    """FLOPs (1) to (3) of one example's forward pass: {stream: products with parameters, stream_attention: the others}.

    Args:
      model: the model.
      length: valid mel frames; motion frames follow.
      streams: that run.
      apart: the stream is a model of its own (stage 1): its own window in every layer.
      dense: every row with every key, as the dense form computes it.
    """
    frames = {"audio": length, "motion": motion_frames(length)}
    configs = {"audio": model.audio, "motion": model.motion}
    pairs = _dense_pairs(model, length, streams) if dense else _pairs(model, length, streams, apart)
    found = {}
    for stream in streams:
        c = configs[stream]
        found[stream] = _trunk(c, frames[stream]) + (_text(c, length) if stream == "audio" else 0)
        found[f"{stream}_attention"] = 4.0 * c.heads * c.head_dim * pairs[stream]
    return found


def mfu(flops: float, seconds: float, devices: int, device_kind: str) -> float | None:
    """Share (5) of the peak of `devices` chips; None where the chip's peak is not known (a CPU).

    Args:
      flops: of the step, all devices together.
      seconds: it took.
      devices: how many worked on it.
      device_kind: `jax.devices()[0].device_kind`.
    """
    chip = chips.of_kind(device_kind)
    return None if chip is None or not seconds > 0 else flops / (seconds * devices * chip.flops)


def own_pairs(frames: int, ticks: int, window) -> int:
    """(row, key) pairs of one stream's frames, `ticks` apart, that are within the window (None: all)."""
    reach = frames if window is None else window_ticks(window)[0] // ticks
    reach = min(reach, frames - 1)
    return frames * (2 * reach + 1) - reach * (reach + 1)


def cross_pairs(length: int, motion: int, window) -> int:
    """(mel frame, motion frame) pairs in which the motion frame overlaps the mel frame's window: `attention.overlapping`."""
    if window is None:
        return length * motion
    inclusive, exclusive = window_ticks(window)
    start_M = MOTION_TICKS * np.arange(motion)
    first_M = np.maximum(0, -(-(start_M - inclusive) // MEL_TICKS))
    last_M = np.minimum(length - 1, (start_M + MOTION_TICKS + exclusive) // MEL_TICKS)
    return int(np.maximum(0, last_M - first_M + 1).sum())


@functools.lru_cache(maxsize=1 << 16)
def _pairs(model: JamFlowConfig, length: int, streams: Streams, apart: bool) -> dict[str, int]:
    """Allowed pairs of all layers, by the rows' stream."""
    w, joint = model.windows, 0 if apart else len(model.joint)
    rest, motion = model.audio.depth - joint, motion_frames(length)
    together = len(streams) == 2
    windowed = together or w.keep_when_alone  # a stream that is cut off may lose its window in joint layers
    audio = joint * own_pairs(length, MEL_TICKS, w.audio_audio if windowed else None) + rest * own_pairs(length, MEL_TICKS, None)
    moves = joint * own_pairs(motion, MOTION_TICKS, w.motion_motion if windowed else None)
    moves += rest * own_pairs(motion, MOTION_TICKS, model.motion.window_seconds)
    if together:
        audio += joint * cross_pairs(length, motion, w.audio_motion)
        moves += joint * cross_pairs(length, motion, w.motion_audio)
    return {"audio": audio, "motion": moves}


def _dense_pairs(model: JamFlowConfig, length: int, streams: Streams) -> dict[str, int]:
    depth, motion = model.audio.depth, motion_frames(length)
    across = len(model.joint) * length * motion if len(streams) == 2 else 0
    return {"audio": depth * length**2 + across, "motion": depth * motion**2 + across}


def _trunk(c: TrunkConfig, frames: int) -> float:
    """(1) without attention, and (2)."""
    inner = c.heads * c.head_dim
    ins, out = _in_out(c)
    layer = 2 * frames * (4 * c.width * inner + 2 * c.ff_mult * c.width**2) + 2 * 6 * c.width**2
    ends = 2 * frames * (c.width * (ins + out) + 2 * 31 * c.width**2 / 16 + 2 * c.long_skip * c.width**2)
    return c.depth * layer + ends + 2 * (256 * c.width + 3 * c.width**2)


def _in_out(c: TrunkConfig) -> tuple[int, int]:
    if isinstance(c, AudioConfig):
        return 2 * c.mel_dim + c.text_width, c.mel_dim
    assert isinstance(c, MotionConfig)
    return 2 * c.mouth_dim + c.rest_dim + c.speech_dim, c.mouth_dim


def _text(c: AudioConfig, length: int) -> float:
    return c.text_layers * 2 * length * (7 * c.text_width + 4 * c.text_width**2)
