"""A linear probe: how much of one curve can be told from frames beside it, by ridge regression.

    X[i] = standardised frames i - K ... i + K, side by side;   w = argmin |X w - y|^2 + alpha |w|^2                  (1)

alpha is the one that predicts every fifth training clip best when trained on the others. From log-mel to mouth opening it is a
sync probe that hangs on no network (on one GRID speaker: per-clip correlation 0.84 with the right sound, 0.46 with another);
from the rest of the face to mouth opening it says how much of the lips leaks through what a model is given as a condition.
"""
import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from jamflow_jax import timeline
from jamflow_jax.errors import InputError

CONTEXT = 5  # motion frames each side that a mel probe hears: 0.2 s
ALPHAS = tuple(10.0**k for k in range(-1, 7))  # penalties tried, in frames of standardised input
_FLAT = 1e-3  # least standard deviation of an input, of log-mel (nats) or normalised motion


def mel_context(mel_TF: Float[np.ndarray, "T F"], frames: int, context: int = CONTEXT) -> Float[np.ndarray, "M K*F"]:
    """Log-mel averaged over each motion frame, with `context` of them either side (edges repeated), side by side."""
    frame_T = timeline.MEL_TICKS * np.arange(len(mel_TF)) // timeline.MOTION_TICKS
    starts = np.searchsorted(frame_T, np.arange(frame_T[-1] + 1))
    mel_MF = np.add.reduceat(np.asarray(mel_TF, np.float64), starts) / np.diff([*starts, len(mel_TF)])[:, None]
    index_MK = np.arange(frames)[:, None] + np.arange(-context, context + 1)
    return mel_MF[np.clip(index_MK, 0, len(mel_MF) - 1)].reshape(frames, -1)


def motion_context(motion_MD: Float[np.ndarray, "M D"], frames: int, context: int = 2) -> Float[np.ndarray, "M K*D"]:
    """Motion frames with `context` of them either side (edges repeated), side by side."""
    index_MK = np.arange(frames)[:, None] + np.arange(-context, context + 1)
    return np.asarray(motion_MD, np.float64)[np.clip(index_MK, 0, len(motion_MD) - 1)].reshape(frames, -1)


@dataclasses.dataclass(frozen=True)
class Ridge:
    """Equation 1, trained; `context` puts an input's frames side by side (`mel_context`, `motion_context`)."""

    mean_F: np.ndarray
    std_F: np.ndarray
    weight_K: np.ndarray
    offset: float
    alpha: float
    context: Callable[[np.ndarray, int], np.ndarray] = mel_context

    @classmethod
    def fit(
        cls, clips: Sequence[tuple[Float[np.ndarray, "T F"], Float[np.ndarray, "M"]]], alphas: Sequence[float] = ALPHAS,
        context: Callable[[np.ndarray, int], np.ndarray] = mel_context,
    ) -> "Ridge":
        """Trains on all (frames, curve) pairs.

        Raises:
          InputError: fewer than two clips.
        """
        if len(clips) < 2:
            raise InputError(f"the ridge row needs at least 2 training clips, got {len(clips)}")
        frames_F = np.concatenate([x_TF for x_TF, _ in clips]).astype(np.float64)
        mean_F, std_F = frames_F.mean(0), np.maximum(frames_F.std(0), _FLAT)
        offset = float(np.concatenate([y_M for _, y_M in clips]).mean())

        def design(clip):
            x_TF, y_M = clip
            return context((x_TF - mean_F) / std_F, len(y_M)), np.asarray(y_M, np.float64) - offset

        kept, held = [], []
        for i, clip in enumerate(clips):
            (held if i % 5 == 1 else kept).append(clip)
        fitted, reserved = _moments(map(design, kept)), _moments(map(design, held))
        value_K, vector_KK = np.linalg.eigh(fitted[0])
        value_K = np.maximum(value_K, 0)
        weights = [vector_KK @ (vector_KK.T @ fitted[1] / (value_K + alpha)) for alpha in alphas]
        # squared error on the held clips, from their moments: w'X'Xw - 2 w'X'y (+ a constant)
        errors = [w @ reserved[0] @ w - 2 * w @ reserved[1] for w in weights]
        alpha = alphas[int(np.argmin(errors))]
        gram_KK, moment_K = fitted[0] + reserved[0], fitted[1] + reserved[1]
        weight_K = np.linalg.solve(gram_KK + alpha * np.eye(len(gram_KK)), moment_K)
        return cls(mean_F, std_F, weight_K, offset, alpha, context)

    def predict(self, x_TF: Float[np.ndarray, "T F"], frames: int) -> Float[np.ndarray, "M"]:
        """The curve for one clip's frames, in the unit of the training curves."""
        return self.context((x_TF - self.mean_F) / self.std_F, frames) @ self.weight_K + self.offset


def _moments(designs: Iterable[tuple[np.ndarray, np.ndarray]], chunk: int = 8192) -> tuple[np.ndarray, np.ndarray]:
    """X'X and X'y summed over clips, in float64; whole chunks at a time, for the matrix product's sake."""
    gram_KK, moment_K, rows = 0.0, 0.0, []

    def add():
        nonlocal gram_KK, moment_K
        x_NK, y_N = (np.concatenate(parts) for parts in zip(*rows))
        gram_KK, moment_K = gram_KK + x_NK.T @ x_NK, moment_K + x_NK.T @ y_N
        rows.clear()

    for design in designs:
        rows.append(design)
        if sum(len(y_N) for _, y_N in rows) >= chunk:
            add()
    if rows:
        add()
    return gram_KK, moment_K
