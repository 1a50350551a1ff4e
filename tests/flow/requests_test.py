"""What may be asked for, what state follows, and what is refused in one line."""
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.flow.requests import Request, check, conditions
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN
from jamflow_jax.model.config import AudioConfig, JamFlowConfig, MotionConfig

CONFIG = JamFlowConfig(audio=AudioConfig(mel_dim=6, text_vocab=9), motion=MotionConfig(mouth_dim=4, rest_dim=3))
MEL, MOUTH, REST = np.ones((30, 6)), np.ones((8, 4)), np.ones((8, 3))  # 30 mel frames are 8 motion frames


@pytest.mark.parametrize(
    ("request_", "states", "present"),
    [
        (Request(30), (GENERATED, GENERATED), ""),
        (Request(30, want_motion=False, text_ids=np.arange(3)), (GENERATED, ABSENT), "text"),
        (Request(30, want_audio=False, mel=MEL), (GIVEN, GENERATED), "audio"),
        (Request(30, want_audio=False, mel=MEL, text_ids=np.arange(3)), (GIVEN, GENERATED), "audio"),
        (Request(30, want_audio=False, text_ids=np.arange(3)), (GENERATED, GENERATED), "text"),
        (Request(30, want_audio=False, mouth=MOUTH[:3]), (ABSENT, GENERATED), "motion"),
        (Request(30, want_motion=False, mouth=MOUTH, rest=REST), (GENERATED, GIVEN), "motion rest"),
        (Request(30, want_motion=False, mouth=MOUTH[:4]), (GENERATED, GENERATED), "motion"),
        (Request(30, mel=MEL, mel_known=np.zeros(30, bool)), (GENERATED, GENERATED), ""),
        (Request(30, mel=MEL[:9], rest=REST), (GENERATED, GENERATED), "audio rest"),
    ],
)
def test_states_follow_from_what_is_known(request_, states, present):
    row = check(CONFIG, request_)
    assert (row.audio_state, row.motion_state) == states
    assert row.present == frozenset(present.split())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(30, want_audio=False, want_motion=False), "neither audio nor motion is wanted"),
        (Request(0), "length is 0"),
        (Request(None), "length is None"),
        (Request(30.0), "length is 30.0"),
        (Request(20, mel=MEL), "known past the end: frame 29 of 20"),
        (Request(30, mel=MEL, mel_known=np.ones(31, bool)), "mel_known has shape"),
        (Request(30, mel_known=np.ones(30, bool)), "mel is missing"),
        (Request(30, mel=MEL[:, :5]), "this model needs \\[frames, 6\\]"),
        (Request(30, mel=MEL * np.nan), "not finite"),
        (Request(30, mel=MEL, mouth=MOUTH), "nothing is left to generate"),
        (Request(30, mel=MEL, want_motion=False), "nothing is left to generate"),
        (Request(30, rest=REST[:7]), "rest has shape \\(7, 3\\)"),
        (Request(30, rest=REST, want_motion=False), "motion is neither wanted nor known"),
        (Request(30, text_ids=np.array([9])), "knows 0 to 8"),
        (Request(30, text_ids=np.array([1, -1, 2])), "from -1 to 2"),
        (Request(30, text_ids=np.array([0.5])), "integers"),
        (Request(30, speech=np.ones((8, 2))), "speech has shape"),
    ],
)
def test_the_impossible_is_refused_in_one_line(request_, message):
    with pytest.raises(InputError, match=message) as error:
        check(CONFIG, request_, "request 3")
    assert str(error.value).startswith("request 3: ") and "\n" not in str(error.value)


def test_unknown_frames_never_reach_the_model():
    """Unknown frames may hold anything, NaN included; text stops at the clip's end."""
    mel = np.full((40, 6), np.nan)
    mel[:10] = 1
    row = check(CONFIG, Request(30, mel=mel, mel_known=np.arange(40) < 10, text_ids=np.full(50, 2)))
    told = conditions([row], 45)
    np.testing.assert_array_equal(told.audio_context_BTF[0].sum(1), [6] * 10 + [0] * 35)
    assert told.text_BN.shape == (1, 45) and (told.text_BN[0] == 2).sum() == 30
    assert told.motion_context_BMD.shape == (1, 12, 4) and not told.rest_BMR.any()
