"""Vocos: a log-mel becomes sound through one spectrum, without upsampling (Siuzdak 2023; `vocos.models`, `vocos.heads`).

    x <- LN(conv_7(mel))
    x <- x + gamma * W_out GELU(W_in LN(dwconv_7(x)))            the ConvNeXt layers
    [m, p] = W LN(x);    X = min(e^m, 100) e^{ip};    audio = istft(X)

Everything is float32 and full precision on every backend: p is an angle. In a batch, frames past a row's end are zeroed before
every convolution and have no window in the overlap-add, so that a padded row gives what it gives alone.
"""
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Complex, Float, Int

from jamflow_jax.audio.stft import BINS, istft
from jamflow_jax.errors import InputError
from jamflow_jax.model.layers import AffineLayerNorm, Conv1d, Linear, named
from jamflow_jax.timeline import HOP, MEL_BINS

BUCKET = 240  # mel frames: `decode` pads to a multiple, so that few lengths are compiled
_F32 = "float32"


class _Layer(nn.Module):
    """ConvNeXt: depthwise conv 7 -> LayerNorm -> Linear -> GELU(erf) -> Linear -> gamma, residual."""

    hidden: int

    @nn.compact
    def __call__(self, x_BTD: Float[Array, "B T D"], valid_BT: Bool[Array, "B T"]):
        width = x_BTD.shape[-1]
        y_BTD = Conv1d(width, 7, width, None, _F32, name="depthwise")(_zero_outside(x_BTD, valid_BT))
        y_BTD = AffineLayerNorm(None, _F32, name="norm")(y_BTD)
        y_BTE = nn.gelu(Linear(self.hidden, (None, None), _F32, name="in")(y_BTD), approximate=False)
        gamma_D = self.param("gamma", named(nn.initializers.ones, None), (width,))
        return x_BTD + gamma_D * Linear(width, (None, None), _F32, name="out")(y_BTE), None


class Vocos(nn.Module):
    """Backbone and head, up to the spectrum."""

    width: int
    hidden: int
    depth: int

    @nn.compact
    def __call__(self, mel_BTF: Float[Array, "B T F"], valid_BT: Bool[Array, "B T"]) -> Complex[Array, "B T 513"]:
        x_BTD = Conv1d(self.width, 7, 1, None, _F32, name="embed")(_zero_outside(mel_BTF, valid_BT))
        x_BTD = AffineLayerNorm(None, _F32, name="norm")(x_BTD)
        layers = nn.scan(
            _Layer, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=nn.broadcast, length=self.depth,
            metadata_params={nn.PARTITION_NAME: None},
        )  # fmt: skip
        x_BTD, _ = layers(self.hidden, name="layers")(x_BTD, valid_BT)
        y_BTE = Linear(2 * BINS, (None, None), _F32, name="head")(AffineLayerNorm(None, _F32, name="norm_out")(x_BTD))
        m_BTK, p_BTK = jnp.split(y_BTE, 2, axis=-1)
        size_BTK = jnp.minimum(jnp.exp(m_BTK), 100.0)
        return jax.lax.complex(size_BTK * jnp.cos(p_BTK), size_BTK * jnp.sin(p_BTK))


def init_vocos(width: int, hidden: int, depth: int, key: Array) -> dict[str, Any]:
    """Fresh parameters, boxed."""
    return Vocos(width, hidden, depth).init(key, jnp.zeros((1, 1, MEL_BINS)), jnp.ones((1, 1), bool))["params"]


@jax.jit
def vocos(
    params: dict[str, Any], mel_BTF: Float[Array, "B T 100"], length_B: Int[Array, "B"] | None = None
) -> Float[Array, "B N"]:
    """Sound at 24 kHz, N = (T - 1) * 256 samples; jit-able, any width and depth.

    Args:
      params: from `torch_io.vocos.load`.
      mel_BTF: F5-TTS log-mel (`mel.log_mel`), T of at least 2.
      length_B: valid frames of each row; None: all. Past sample (length - 1) * 256 a row is zero.

    Raises:
      InputError: another shape, or a single frame.
    """
    if mel_BTF.ndim != 3 or mel_BTF.shape[2] != MEL_BINS or mel_BTF.shape[1] < 2:
        raise InputError(f"log-mel has shape {mel_BTF.shape}; expected [batch, frames, {MEL_BINS}] with at least 2 frames")
    frames = mel_BTF.shape[1]
    length_B = jnp.full(mel_BTF.shape[:1], frames) if length_B is None else length_B
    valid_BT = jnp.arange(frames) < length_B[:, None]
    with jax.default_matmul_precision("highest"):
        spectrum_BTK = _model(params).apply({"params": params}, jnp.asarray(mel_BTF, jnp.float32), valid_BT)
    audio_BN = istft(spectrum_BTK, jnp, valid_BT)
    return jnp.where(jnp.arange(audio_BN.shape[1]) < HOP * (length_B[:, None] - 1), audio_BN, 0.0)


def decode(params: dict[str, Any], log_mel_TF: Float[np.ndarray, "T 100"]) -> Float[np.ndarray, "N"]:
    """One clip on the host: (T - 1) * 256 samples. Clips of up to a multiple of 240 frames share one compiled program.

    Raises:
      InputError: another shape, a single frame, or values that are not finite.
    """
    log_mel_TF = np.asarray(log_mel_TF, np.float32)
    if not np.isfinite(log_mel_TF).all():
        raise InputError("log-mel holds values that are not finite")
    length = len(log_mel_TF)
    padded_BTF = np.pad(log_mel_TF, ((0, -length % BUCKET), (0, 0)))[None] if log_mel_TF.ndim == 2 and length > 1 else log_mel_TF
    return np.asarray(vocos(params, padded_BTF, np.array([length])))[0, : (length - 1) * HOP]


def _model(params: dict[str, Any]) -> Vocos:
    """The module these parameters belong to."""
    depth, width, hidden = params["layers"]["in"]["kernel"].shape
    return Vocos(width, hidden, depth)


def _zero_outside(x_BTD: Array, valid_BT: Array) -> Array:
    return jnp.where(valid_BT[:, :, None], x_BTD, 0.0)
