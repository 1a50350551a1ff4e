"""What training hides, drops and weighs, as one frozen dataclass.

The paper states the rates of the drops, and that sometimes one stream is hidden and sometimes both; every number it leaves open
is a field here, so that a sweep can overturn it (spec/jamflow.md, "Objective").
"""
import dataclasses
import math

_PROBABILITIES = (
    "short_span_prob", "drop_all", "drop_audio", "drop_motion", "drop_text", "drop_rest", "text_absent_share",
    "shared_time_prob",
)


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """Per-example probabilities of the training draws, and the weight of each stream's loss."""

    # Which stream is generated: (both, motion only, audio only); the other one is then given, clean.
    hide_probs: tuple[float, float, float] = (0.5, 0.25, 0.25)
    span: tuple[float, float] = (0.7, 1.0)  # hidden fraction of the example's own length, uniform (F5-TTS)
    short_span_prob: float = 0.15  # share of the streams that hide a short span instead: trains editing
    short_span: tuple[float, float] = (0.05, 0.7)
    drop_all: float = 0.1  # every condition at once: the branch that guidance leans on
    drop_audio: float = 0.1  # given audio becomes absent; generated audio loses its context
    drop_motion: float = 0.1
    drop_text: float = 0.2
    drop_rest: float = 0.8
    text_absent_share: float = 0.5  # of the dropped texts: removed wholly; the others keep their length, as in F5-TTS
    independent_times: bool = True  # one t per stream; False: one for both
    # Share of the both-generated examples that share t all the same: sampling walks that diagonal.
    shared_time_prob: float = 0.5
    audio_weight: float = 1.0
    motion_weight: float = 1.0

    def __post_init__(self):
        probs = self.hide_probs
        if len(probs) != 3 or min(probs) < 0 or not math.isclose(sum(probs), 1, abs_tol=1e-6):
            raise ValueError(f"hide_probs {probs} are not three probabilities (both, motion, audio) that sum to 1")
        for name in ("span", "short_span"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} {(low, high)} is not a range of fractions 0 < low <= high <= 1")
        for name in _PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a probability lies between 0 and 1")
        for name in ("audio_weight", "motion_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; a loss weight is finite and not negative")
