"""One run as a frozen dataclass: what a file in configs/ may set. `jamflow_jax.config.build(RunConfig, ...)` checks every field."""
import dataclasses
import math
from typing import Literal

from jamflow_jax.flow.objective import ObjectiveConfig
from jamflow_jax.model.config import JamFlowConfig


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where batches come from. mel frames are 256 samples at 24 kHz, 93.75 a second."""

    path: str = ""  # a data set made by `jamflow prepare`; several with weights: "A=1,B=0.5"
    buckets: int | tuple[int, ...] = (240, 480, 960, 1440, 1920, 2880)  # static lengths in mel frames; or how many to choose
    align: int = 15  # chosen lengths are multiples of this; 15 cuts no motion frame
    batch_frames: int = 38_400  # mel frames of one global batch; a bucket of T frames holds batch_frames // T examples
    max_batch: int = 64  # examples in a global batch, at most
    crop: bool = False  # crop clips longer than the largest bucket (on the 0.16 s grid); False: they are an error
    workers: int = 0  # Grain worker processes; 0 reads in threads of this process
    prefetch: int = 4  # batches read ahead


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW, linear warm-up, then decay; F5-TTS's values."""

    lr: float = 7.5e-5
    warmup: int = 20_000  # steps from lr * 1e-8 to lr
    decay: Literal["linear", "cosine", "constant"] = "linear"
    final_lr: float = 1e-8  # at the last step, as a fraction of lr
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.01
    clip: float = 1.0  # global gradient norm
    accumulate: int = 1  # microbatches per optimiser step
    audio_lr: float = 1.0  # learning-rate multiplier of the audio stream; 0 freezes it
    motion_lr: float = 1.0
    ema: float = 0.9999  # decay min(ema, (1 + n) / (10 + n)) at step n
    skip_nonfinite: int = 10  # steps with a non-finite gradient are skipped; this many in a row stop the run


@dataclasses.dataclass(frozen=True)
class InitConfig:
    """Where parameters start; nothing named means fresh."""

    audio: str = ""  # an F5-TTS checkpoint (.safetensors, .pt), a converted one, or the workdir of a run
    motion: str = ""  # the workdir of a stage-1 run
    run: str = ""  # a whole stage-2 run to go on from with a new optimiser


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis; -1 takes what is left."""

    data: int = 1
    fsdp: int = -1
    tensor: int = 1
    sequence: int = 1
    slices: int = 1  # TPU slices joined by the data-centre network; they lie along data


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    every: int = 1_000  # steps
    keep: int = 3  # newest checkpoints kept
    keep_every: int = 0  # besides, those of multiples of so many steps; 0: none
    keep_best: Literal["none", "total", "audio", "motion"] = "none"  # besides, the one with the lowest of this held-out loss
    export: bool = False  # at the end, the averages of the best (else of the last) as a model of their own in DIR/best


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    every: int = 1_000  # steps; 0: never
    batches: int = 8  # of the validation split, with fixed noise
    ema: bool = True  # of the averaged parameters


@dataclasses.dataclass(frozen=True)
class ProcessesConfig:
    """Patience with the other processes of a run, in seconds."""

    start_seconds: float = 600.0  # until all have come
    silent_seconds: float = 120.0  # until one that says nothing is given up, and the run with it
    stuck_seconds: float = 600.0  # until one that the others wait for is; longer than one compiles or saves alone


@dataclasses.dataclass(frozen=True)
class ProfileConfig:
    """A window of steps under JAX's profiler, into DIR/profile."""

    start: int = 0  # its first step
    steps: int = 0  # 0: no profile


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything a run depends on, except the data itself."""

    seed: int = 0
    steps: int = 400_000
    stage: Literal[1, 2] = 2  # 1: Motion-DiT alone on speech features; 2: joint
    speech: Literal["features", "mel"] = "mel"  # stage 1 conditions on the data set's features or on the mel itself
    log_every: int = 50
    data: DataConfig = DataConfig()
    model: JamFlowConfig = JamFlowConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optim: OptimConfig = OptimConfig()
    init: InitConfig = InitConfig()
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    processes: ProcessesConfig = ProcessesConfig()
    profile: ProfileConfig = ProfileConfig()

    def __post_init__(self):
        positive = {
            "steps": self.steps, "log_every": self.log_every, "checkpoint.every": self.checkpoint.every,
            "checkpoint.keep": self.checkpoint.keep, "optim.accumulate": self.optim.accumulate,
            "optim.skip_nonfinite": self.optim.skip_nonfinite, "optim.clip": self.optim.clip,
            "processes.start_seconds": self.processes.start_seconds, "processes.silent_seconds": self.processes.silent_seconds,
            "processes.stuck_seconds": self.processes.stuck_seconds,
        }  # fmt: skip
        for name, value in positive.items():
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; it must be positive")
        axes = (self.mesh.data, self.mesh.fsdp, self.mesh.tensor, self.mesh.sequence)
        if axes.count(-1) > 1 or any(size < 1 and size != -1 for size in axes) or self.mesh.slices < 1:
            raise ValueError(f"mesh.data, fsdp, tensor and sequence are {axes}, mesh.slices {self.mesh.slices}: numbers from 1 on "
                             "are needed; one of the four may be -1, what is left")  # fmt: skip
        optim = self.optim
        if not 0 <= optim.warmup < self.steps:
            raise ValueError(f"optim.warmup of {optim.warmup:,} steps does not fit a run of {self.steps:,}")
        if not all(math.isfinite(rate) and rate >= 0 for rate in (optim.lr, optim.audio_lr, optim.motion_lr)):
            raise ValueError("optim.lr, optim.audio_lr and optim.motion_lr must be finite and not negative")
        learning = (optim.audio_lr, optim.motion_lr) if self.stage == 2 else (optim.motion_lr,)
        if not optim.lr * max(learning) > 0:
            raise ValueError("every stream is frozen: optim.lr and one of optim.audio_lr, optim.motion_lr must be positive")
        if self.profile.steps > 0 and self.profile.start < 1:
            raise ValueError("profile.start must be a step, from 1 on")
        saved, compared = self.checkpoint.every, self.evaluation.every
        if self.checkpoint.keep_best != "none" and (compared <= 0 or max(saved, compared) % min(saved, compared)):
            raise ValueError("checkpoint.keep_best takes held-out losses of the steps that are saved: checkpoint.every and "
                             "evaluation.every must be multiples of one another")  # fmt: skip
        if not 0 <= optim.ema < 1 or not all(0 <= beta < 1 for beta in optim.betas):
            raise ValueError(f"optim.ema {optim.ema} and optim.betas {optim.betas} must lie in [0, 1)")
