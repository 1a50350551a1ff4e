"""Draws: reproducible, independent of company and padding, with the documented rates."""
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow import draws
from jamflow_jax.flow.config import ObjectiveConfig
from jamflow_jax.flow.draws import example_keys
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN
from jamflow_jax.timeline import motion_frames

draw = jax.jit(draws.draw, static_argnums=0)


def batch(lengths, frames, **changes):
    B, M = len(lengths), motion_frames(frames)
    made = {
        "mel": np.zeros((B, frames, 3), np.float32),
        "mouth": np.zeros((B, M, 2), np.float32),
        "length": np.array(lengths, np.int32),
        "has_audio": np.ones(B, bool),
        "has_motion": np.ones(B, bool),
    }
    return made | changes


def keys(ids, seed=0, step=0):
    return example_keys(seed, step, np.array(ids, np.int32))


@pytest.fixture(scope="module")
def many():
    """4000 examples of 60 mel frames (16 motion frames)."""
    return draw(ObjectiveConfig(), keys(range(4000)), batch([60] * 4000, 60))


def rows(drawn, *picked):
    return jax.tree.map(lambda a: np.array(a)[list(picked)], drawn)


def test_same_example_same_draw_whatever_the_batch_and_the_bucket():
    config = ObjectiveConfig()
    together = draw(config, keys([4, 9, 7], step=3), batch([30, 45, 45], 60))
    alone = draw(config, keys([7], step=3), batch([45], 45))
    for name, value in dataclasses.asdict(rows(together, 2)).items():
        mine = np.array(getattr(alone, name))
        value = value[:, : mine.shape[1]] if mine.ndim > 1 else value
        np.testing.assert_array_equal(value, mine, err_msg=name)


def test_seed_step_and_example_each_matter():
    config, data = ObjectiveConfig(), batch([45], 45)
    base = draw(config, keys([1]), data).audio_noise_BTF
    for other in (keys([2]), keys([1], step=1), keys([1], seed=1)):
        assert not np.allclose(draw(config, other, data).audio_noise_BTF, base)


def test_jitted_with_a_traced_step_equals_eager():
    config, data = ObjectiveConfig(), batch([45, 30], 45)
    jitted = jax.jit(lambda step: draw(config, example_keys(0, step, jnp.array([5, 6])), data))(3)
    jax.tree.map(np.testing.assert_array_equal, jitted, draws.draw(config, keys([5, 6], step=3), data))


def test_rates(many):
    audio, motion = np.array(many.audio_state_B), np.array(many.motion_state_B)
    both = (audio == GENERATED) & (motion == GENERATED)
    close = {"abs": 0.03}
    assert both.mean() == pytest.approx(0.5, **close)
    assert ((motion == GENERATED) & ~both).mean() == pytest.approx(0.25, **close)
    drop = 0.1 + 0.9 * 0.1
    assert (audio == ABSENT).mean() == pytest.approx(0.25 * drop, **close)
    assert (motion == ABSENT).mean() == pytest.approx(0.25 * drop, **close)
    text = 0.1 + 0.9 * 0.2
    assert np.mean(many.drop_text_B) == pytest.approx(text / 2, **close)
    assert np.mean(many.text_absent_B) == pytest.approx(text / 2, **close)
    assert np.mean(many.drop_rest_B) == pytest.approx(0.1 + 0.9 * 0.8, **close)
    nothing = many.drop_audio_B & many.drop_motion_B & (many.drop_text_B | many.text_absent_B) & many.drop_rest_B
    assert np.mean(nothing) > 0.09  # independent drops would leave 0.16 %
    shared = np.array(many.audio_time_B == many.motion_time_B)
    assert shared[both].mean() == pytest.approx(0.5, **close) and not shared[~both].any()
    assert not np.any(np.array(many.drop_text_B & many.text_absent_B))


def test_spans_are_contiguous_of_the_right_size_and_everywhere(many):
    for spans, state, n in ((many.audio_span_BT, many.audio_state_B, 60), (many.motion_span_BM, many.motion_state_B, 16)):
        spans, generated = np.array(spans), np.array(state) == GENERATED
        assert not spans[~generated].any()
        sizes = spans[generated].sum(1)
        edges = np.abs(np.diff(np.pad(spans[generated], ((0, 0), (1, 1))).astype(int), axis=1)).sum(1)
        assert np.all(edges == 2) and sizes.min() >= 1 and sizes.max() <= n
        assert np.mean(sizes < 0.7 * n - 1) == pytest.approx(0.15, abs=0.03)
        first = spans[generated].argmax(1)
        touches_end = spans[generated][:, -1]
        assert np.mean(first == 0) == pytest.approx(np.mean(touches_end), abs=0.03)


def test_spans_stay_inside_short_examples():
    drawn = draw(ObjectiveConfig(span=(1.0, 1.0), short_span_prob=0.0), keys([0, 1, 2]), batch([0, 1, 31], 60))
    hidden = np.array(drawn.audio_state_B) == GENERATED
    np.testing.assert_array_equal(np.array(drawn.audio_span_BT).sum(1), np.where(hidden, [0, 1, 31], 0))


def test_the_only_stream_is_generated():
    ids, B = range(200), 200
    one = draw(ObjectiveConfig(), keys(ids), batch([60] * B, 60, has_motion=np.zeros(B, bool)))
    assert np.all(one.audio_state_B == GENERATED) and np.all(one.motion_state_B == ABSENT)
    assert not np.any(one.motion_span_BM)
    other = draw(ObjectiveConfig(), keys(ids), batch([60] * B, 60, has_audio=np.zeros(B, bool)))
    assert np.all(other.motion_state_B == GENERATED) and np.all(other.audio_state_B == ABSENT)


def test_options():
    config = ObjectiveConfig(hide_probs=(0, 1, 0), drop_all=0, drop_audio=0, independent_times=False)
    drawn = draw(config, keys(range(100)), batch([60] * 100, 60))
    assert np.all(drawn.audio_state_B == GIVEN) and np.all(drawn.motion_state_B == GENERATED)
    drawn = draw(dataclasses.replace(config, hide_probs=(1, 0, 0)), keys(range(100)), batch([60] * 100, 60))
    np.testing.assert_array_equal(drawn.audio_time_B, drawn.motion_time_B)
