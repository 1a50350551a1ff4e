"""Vocos checkpoints (the released mel-24khz layout) into parameters of `jamflow_jax.audio.vocoder`; sizes are read from shapes."""
import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from jamflow_jax.audio.stft import BINS, N_FFT, WINDOW
from jamflow_jax.audio.vocoder import init_vocos
from jamflow_jax.errors import InputError
from jamflow_jax.timeline import MEL_BINS
from jamflow_jax.torch_io.files import FLOATS, Tensors, open_checkpoint
from jamflow_jax.torch_io.fit import fit, refuse_others
from jamflow_jax.torch_io.names import VOCOS_BUFFERS, vocos_names

_TRAINING = ("multiperioddisc.", "multiresddisc.", "melspec_loss.")  # beside the model in its trainer's files
LICENCE = "MIT"  # of the weights released as charactr/vocos-mel-24khz


def load(checkpoint_path: str | Path) -> dict[str, Any]:
    """Reads a Vocos with a mel front end: .safetensors, or PyTorch's .bin or .pt.

    Returns:
      float32 parameters for `jamflow_jax.audio.vocoder.vocos(params, mel_BTF)`.

    Raises:
      InputError: not a checkpoint, of another model or another mel, or keys missing, left over, of another shape or not finite: all
        are named in one line.
    """
    with open_checkpoint(checkpoint_path) as tensors:
        refuse_others(tensors, "Vocos")
        keys = {key: key for key in tensors.shapes if key not in VOCOS_BUFFERS and not key.startswith(_TRAINING)}
        _same_sound(tensors)
        expected = nn.unbox(jax.eval_shape(lambda key: init_vocos(*_sizes(tensors), key), jax.random.key(0)))
        shapes = {path: leaf.shape for path, leaf in traverse_util.flatten_dict(expected).items()}
        return fit(tensors, keys, vocos_names(), shapes, "Vocos")


def _same_sound(tensors: Tensors) -> None:
    """Refuses tables, where there are any, of another mel or another transform than those here."""
    for key in filter(tensors.shapes.__contains__, VOCOS_BUFFERS):
        wanted = (BINS, MEL_BINS) if key.endswith(".fb") else (N_FFT,)
        if (found := tensors.shapes[key]) != wanted:
            raise InputError(f"{tensors.path}: {key} has shape {found}; the mel here has {wanted}")
        if len(wanted) == 1 and not (tensors.dtypes[key] in FLOATS and np.allclose(tensors.read(key), WINDOW, atol=1e-2)):
            raise InputError(f"{tensors.path}: {key} is not the Hann window, which is the one here")


def licence(checkpoint_path: str | Path) -> str:
    """Of the weights in a file: what its metadata says, or that of the released ones, marked as such. Raises InputError."""
    with open_checkpoint(checkpoint_path) as tensors:
        return tensors.metadata.get("licence") or f"{LICENCE} (as released; the file does not say)"


def _sizes(tensors: Tensors) -> tuple[int, int, int]:
    """Width, hidden width and depth. The mel and the transform are given: 100 bands, a window of 1024."""
    shapes = tensors.shapes
    layers = {int(found[1]) for key in shapes if (found := re.match(r"backbone\.convnext\.(\d+)\.", key))}
    width, bands, *_ = (*shapes.get("backbone.embed.weight", ()), 0, 0)
    hidden = (*shapes.get("backbone.convnext.0.pwconv1.weight", ()), 0)[0]
    out = (*shapes.get("head.out.weight", ()), 0)[0]
    if not (width and hidden and out and layers):
        raise InputError(f"{tensors.path}: not a whole Vocos: its embedding, its first layer or its head is missing")
    if (bands, out) != (MEL_BINS, 2 * BINS):
        raise InputError(
            f"{tensors.path}: a Vocos for {bands} mel bands and a window of {out - 2} samples; here they are {MEL_BINS} and {N_FFT}"
        )
    return width, hidden, max(layers) + 1
