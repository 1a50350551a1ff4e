"""Models that are loaded from a run with a damaged checkpoint."""
import dataclasses

import jax
import numpy as np
import pytest

from jamflow_jax.errors import InputError
from jamflow_jax.motion import space
from jamflow_jax.motion.normalise import Statistics
from jamflow_jax.text.tokenizer import Tokenizer
from jamflow_jax.train import bundle


def test_a_damaged_checkpoint_is_passed_over_and_said(tiny, random_params, tmp_path):
    config = tiny()
    statistics = Statistics.from_arrays([np.random.default_rng(0).normal(size=(9, 2))])
    model = bundle.Model(config, random_params(config), space.get("lips"), statistics, Tokenizer.from_texts(["abc"]), 4)
    for step in (4, 8):
        bundle.save_model(tmp_path, dataclasses.replace(model, step=step))
    said = []
    assert bundle.load_model(tmp_path, say=said.append).step == 8 and not said
    (tmp_path / "checkpoints" / "8" / "params" / "_METADATA").write_text("{")
    found = bundle.load_model(tmp_path, say=said.append)
    assert found.step == 4 and len(said) == 1 and "step 4 is loaded, for the newest is damaged (step 8: " in said[0]
    jax.tree.map(np.testing.assert_array_equal, found.params, model.params)
    with pytest.raises(InputError, match="no readable checkpoint [(]step 8"):
        bundle.load_model(tmp_path, step=8)
