"""What a run says of its attention."""
from fractions import Fraction

import pytest

from jamflow_jax.model import AudioConfig, JamFlowConfig, MotionConfig
from jamflow_jax.model.backends import description
from jamflow_jax.model.config import WindowConfig


@pytest.mark.parametrize("name, window, said", [
    ("banded", Fraction(1, 4), "banded"),
    ("flash", None, "flash (mel rows over mel frames; finite windows banded)"),
    ("flash", Fraction(1, 4), "flash (in layers of speech alone; joint layers banded: model.windows.audio_audio is finite)"),
])  # fmt: skip
def test_a_backend_that_leaves_work_to_another_says_so(name, window, said):
    audio, motion = AudioConfig(attention=name), MotionConfig(attention=name)
    assert description(JamFlowConfig(audio, motion, windows=WindowConfig(audio_audio=window))) == said
