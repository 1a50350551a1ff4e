"""What a model is, as frozen dataclasses: hashable, so that one config is one compiled program.

Field names of `AudioConfig` follow F5-TTS where it has the field. Sources: spec sections of F5-TTS's `DiT`, JAM-Flow section 3.
"""
import dataclasses
from fractions import Fraction
from typing import Literal

from jamflow_jax.timeline import MEL_BINS

RopeAlignment = Literal["time", "length", "none"]
Attention = Literal["dense", "banded", "flash", "cudnn", "splash"]
Remat = Literal["none", "full", "dots", "attention"]


@dataclasses.dataclass(frozen=True)
class TrunkConfig:
    """The transformer both streams share the shape of (F5TTS_v1_Base: 22 layers, width 1024, 16 heads of 64)."""

    width: int = 1024
    depth: int = 22
    heads: int = 16
    head_dim: int = 64
    ff_mult: int = 2
    qk_norm: Literal["rms_norm"] | None = None
    rope_heads: int | None = None  # heads that are rotated; None: all (v1), 1: v0
    long_skip: bool = False
    dropout: float = 0.0  # after the attention output and inside the feed-forward; F5-TTS trains with 0.1
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation; parameters are float32
    attention: Attention = "banded"  # how attention is computed, not what: see backends.py
    remat: Remat = "none"  # what the backward pass recomputes per layer
    scan: bool = True  # one compiled layer scanned over the stack; False: unrolled

    def __post_init__(self):
        if self.head_dim % 2:
            raise ValueError(f"head_dim {self.head_dim} is odd; rotary embedding turns pairs")
        if self.width % 16:
            raise ValueError(f"width {self.width} is not a multiple of 16, the groups of the position convolution")


@dataclasses.dataclass(frozen=True)
class AudioConfig(TrunkConfig):
    """Audio-DiT: F5-TTS's DiT. `text_mask_padding=False, rope_heads=1` is v0, the defaults are v1."""

    mel_dim: int = MEL_BINS
    text_vocab: int = 2545  # entries of vocab.txt; the table has one more row, the filler
    text_width: int = 512
    text_layers: int = 4
    text_mask_padding: bool = True
    # PyTorch batches let GRN sum over padded positions; False restricts it to each example's own length, which is what makes a
    # padded example equal the same example alone.
    grn_over_padding: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.text_layers < 1:  # without layers F5-TTS adds no positions to the text and masks nothing
            raise ValueError(f"text_layers (F5-TTS: conv_layers) is {self.text_layers}; text needs at least 1 layer here")


@dataclasses.dataclass(frozen=True)
class MotionConfig(TrunkConfig):
    """Motion-DiT: the same trunk over motion frames; inputs [noisy mouth; context; rest; speech features]."""

    mouth_dim: int = 12
    rest_dim: int = 51
    speech_dim: int = 0  # stage 1 only: width of the speech features concatenated to the input
    window_seconds: Fraction | None = Fraction(7, 25)  # of the motion-only layers, each side; None: infinite
    # Where motion frame i sits among audio positions: "time" 3.75 i; "length" i L_a / L_m, the paper's formula; "none" i.
    rope_alignment: RopeAlignment = "time"


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """Reach of each masked query -> key pair in seconds, each side, inclusive; None is infinite."""

    motion_motion: Fraction | None = Fraction(7, 25)
    motion_audio: Fraction | None = Fraction(7, 25)
    audio_motion: Fraction | None = Fraction(7, 25)
    audio_audio: Fraction | None = None
    # A stream that is cut off from the other (alpha = 0) keeps its own window; the paper as written drops it.
    keep_when_alone: bool = True

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Fraction) and value < 0:
                raise ValueError(f"{field.name} is negative: {value}")


@dataclasses.dataclass(frozen=True)
class JamFlowConfig:
    """Both streams and what joins them. `joint_layers=None` joins the first half of the layers (the paper: 11 of 22)."""

    audio: AudioConfig = AudioConfig()
    motion: MotionConfig = MotionConfig()
    joint_layers: tuple[int, ...] | None = None
    windows: WindowConfig = WindowConfig()

    def __post_init__(self):
        for name in ("depth", "heads", "head_dim", "attention"):
            a, m = getattr(self.audio, name), getattr(self.motion, name)
            if a != m:
                raise ValueError(f"joint attention needs streams alike: audio.{name} is {a}, motion.{name} is {m}")
        bad = [i for i in self.joint if not 0 <= i < self.audio.depth]
        if bad:
            raise ValueError(f"joint_layers {bad} are outside the {self.audio.depth} layers")

    @property
    def joint(self) -> tuple[int, ...]:
        """The layers that are joined, in order."""
        if self.joint_layers is None:
            return tuple(range(self.audio.depth // 2))
        return tuple(sorted(set(self.joint_layers)))

    def runs_alone(self, stream: Literal["audio", "motion"]) -> bool:
        """Whether the stream's own layers by themselves are the joint model with the other stream absent: one window in all."""
        w = self.windows
        joined, apart = {"audio": (w.audio_audio, None), "motion": (w.motion_motion, self.motion.window_seconds)}[stream]
        return not self.joint or (joined if w.keep_when_alone else None) == apart
