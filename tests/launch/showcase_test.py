"""The quickstart's requests cover the seven tasks and can be read by `jamflow sample`."""
import numpy as np
import pytest

from data_pipelines.prepare.build import Example, build
from jamflow_jax.errors import InputError
from jamflow_jax.motion.space import get
from launch.ask import TASKS, Ask, read
from launch.sample import read_requests
from launch.showcase import write_requests


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two voices with two test clips and a training clip each."""
    rng, examples = np.random.default_rng(0), []
    for n in range(6):
        audio = 0.1 * rng.normal(size=24_000 + 960 * n).astype(np.float32)
        motion = 0.01 * rng.normal(size=(-(-4 * (len(audio) // 256 + 1) // 15), 63)).astype(np.float32)
        split = "train" if n < 2 else "test"
        examples.append(Example(f"clip{n}", audio, motion, f"words of clip {'abcdef'[n]}", f"voice{n % 2}", split))
    out = tmp_path_factory.mktemp("showcase") / "data"
    assert build(examples, out, get("liveportrait")).exit_code == 0
    return out


def test_all_seven_tasks_are_asked_and_readable(data, model, tmp_path):
    tasks = write_requests(data, tmp_path)
    assert {task["number"] for task in tasks} == set(range(1, 8))
    lines = read_requests(str(tmp_path / "requests.jsonl"), Ask())
    assert [name for name, _ in lines] == [task["name"] for task in tasks]
    assert {ask.task for _, ask in lines} == set(TASKS)
    for name, ask in lines:
        question = read(ask, model)
        assert question.length > 0, name
        # A reference is never the clip that is to be made.
        assert ask.ref_text is None or ask.ref_text != ask.text
    assert all((tmp_path / task["recording"]).exists() for task in tasks)


def test_too_little_data(tmp_path, data):
    audio, motion = np.zeros(24_000, np.float32) + 0.01, np.random.default_rng(0).normal(size=(26, 63)).astype(np.float32)
    build([Example("one", audio, motion, "text", "v", "test"), Example("two", audio, motion, "text", "v", "train")],
          tmp_path / "small", get("liveportrait"))  # fmt: skip
    with pytest.raises(InputError, match="the tasks need 2"):
        write_requests(tmp_path / "small", tmp_path / "out")
    assert not (tmp_path / "out" / "requests.jsonl").exists()
