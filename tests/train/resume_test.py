"""Which differences between a checkpoint and a run matter."""
import pytest

from jamflow_jax.config import to_dict
from jamflow_jax.errors import ConfigError, InputError
from jamflow_jax.train import resume

QUIET = {"say": lambda line: None}


def test_fields_that_may_change(tiny):
    record = {"config": to_dict(tiny()), "fingerprint": "f"}
    other = tiny(steps=99, log_every=1, data={"path": "moved"}, checkpoint={"every": 7}, mesh={"data": 2})
    resume.check(record, to_dict(other), "f", "DIR", **QUIET)
    for stream in ("audio", "motion"):
        del record["config"]["model"][stream]["attention"]  # as a version wrote it that knew one form
    resume.check(record, to_dict(other), "f", "DIR", **QUIET)


@pytest.mark.parametrize("change, field", [
    ({"seed": 1}, "config.seed"), ({"optim": {"clip": 2.0}}, "config.optim.clip"),
    ({"data": {"max_batch": 3}}, "config.data.max_batch"),
    ({"objective": {"drop_text": 0.5}}, "config.objective.drop_text"),
])  # fmt: skip
def test_fields_that_may_not(tiny, change, field):
    record = {"config": to_dict(tiny()), "fingerprint": "f"}
    with pytest.raises(ConfigError, match=field.replace(".", r"\.") + ": the checkpoint in DIR was made with"):
        resume.check(record, to_dict(tiny(**change)), "f", "DIR", **QUIET)


def test_data(tiny):
    with pytest.raises(InputError, match="the data has changed"):
        resume.check({"config": to_dict(tiny()), "fingerprint": "f"}, to_dict(tiny()), "g", "DIR", **QUIET)
