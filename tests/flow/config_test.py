"""Checks of the objective's fields."""
import pytest

from jamflow_jax.flow.config import ObjectiveConfig


def test_defaults_are_the_documented_ones():
    config = ObjectiveConfig()
    assert config.hide_probs == (0.5, 0.25, 0.25) and config.span == (0.7, 1.0)
    assert (config.drop_audio, config.drop_motion, config.drop_text, config.drop_rest) == (0.1, 0.1, 0.2, 0.8)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hide_probs", (0.5, 0.5, 0.5)),
        ("hide_probs", (1.5, -0.5, 0.0)),
        ("span", (0.0, 1.0)),
        ("span", (0.9, 0.7)),
        ("short_span", (0.1, 1.1)),
        ("drop_text", 1.2),
        ("shared_time_prob", -0.1),
        ("audio_weight", -1.0),
        ("motion_weight", float("inf")),
    ],
)
def test_nonsense_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        ObjectiveConfig(**{field: value})
