"""Values of a run that make no sense are named."""
import pytest

from jamflow_jax.errors import ConfigError


@pytest.mark.parametrize("change, said", [
    ({"steps": 0}, "steps is 0"), ({"optim": {"warmup": 50}}, "warmup of 50 steps"), ({"optim": {"lr": -1.0}}, "not negative"),
    ({"optim": {"audio_lr": 0.0, "motion_lr": 0.0}}, "every stream is frozen"), ({"optim": {"ema": 1.0}}, "optim.ema"),
    ({"checkpoint": {"every": 0}}, "checkpoint.every is 0"),
])  # fmt: skip
def test_refused(tiny, change, said):
    with pytest.raises(ConfigError, match=said):
        tiny(**change)
