"""The loss: where it is counted, what the model is told, and that it does not depend on company."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow import objective
from jamflow_jax.flow.objective import ObjectiveConfig
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN
from jamflow_jax.timeline import motion_frames

LIVE = np.array([True, True, False])


def batch(lengths, frames, **changes):
    B, M = len(lengths), motion_frames(frames)
    rng = np.random.default_rng(0)
    valid_T = np.arange(frames) < np.array(lengths)[:, None]
    valid_M = np.arange(M) < motion_frames(np.array(lengths))[:, None]
    made = {
        "mel": (rng.normal(size=(B, 200, 5))[:, :frames] * valid_T[..., None]).astype(np.float32),
        "mouth": (rng.normal(size=(B, 60, 3))[:, :M] * valid_M[..., None]).astype(np.float32) * LIVE,
        "rest": np.ones((B, M, 4), np.float32) * valid_M[..., None],
        "text": np.where(np.arange(frames) < 6, 2, -1) * np.ones((B, 1), np.int32),
        "length": np.array(lengths, np.int32),
        "example_id": np.arange(B, dtype=np.int32),
        "weight": np.ones(B, np.float32),
        **{name: np.ones(B, bool) for name in ("has_audio", "has_motion", "has_text", "has_rest")},
    }
    return made | changes


_draw = jax.jit(objective.draw, static_argnums=0)


def drawn_for(data, config=None, step=0):
    return _draw(config or ObjectiveConfig(), objective.example_keys(0, step, data["example_id"]), data)


def zero_model(variables, audio, motion, length_B, joint_audio_B, joint_motion_B, dropout_keys_B=None):
    return jnp.zeros_like(audio.x_BTF), jnp.zeros_like(motion.x_BMD)


def affine_model(variables, audio, motion, length_B, joint_audio_B, joint_motion_B, dropout_keys_B=None):
    """Per frame, so that padding and company cannot matter."""
    a = variables["params"]["a"]
    return a * audio.x_BTF + audio.context_BTF, a * motion.x_BMD + motion.context_BMD


def test_sums_and_counts_by_hand():
    data = batch([60, 45, 30], 60)
    data["weight"][1] = 0
    drawn = drawn_for(data)
    sums = objective.loss_sums(zero_model, {}, drawn, data, LIVE)
    numbers = objective.counts(drawn, data, LIVE)
    for stream, span, noise, x1, live in (
        ("audio", drawn.audio_span_BT, drawn.audio_noise_BTF, data["mel"], np.ones(5, bool)),
        ("motion", drawn.motion_span_BM, drawn.motion_noise_BMD, data["mouth"], LIVE),
    ):
        mask = np.array(span)[..., None] & live & (data["weight"] > 0)[:, None, None]
        error = (x1 - np.array(noise))[mask].astype(np.float64)
        assert numbers[stream] == mask.sum()
        np.testing.assert_allclose(sums[stream], (error**2).sum(), rtol=1e-5)


def test_a_longer_bucket_and_filler_rows_change_nothing():
    short, params = batch([45], 45), {"a": 0.3}
    long = batch([45, 10], 120, weight=np.array([1, 0], np.float32))
    long["mel"][0, :45], long["mouth"][0, :12] = short["mel"][0], short["mouth"][0]
    for step in range(6):
        (sums, numbers), (padded_sums, padded_numbers) = (
            (objective.loss_sums(affine_model, params, drawn, data), objective.counts(drawn, data))
            for data in (short, long)
            for drawn in [drawn_for(data, step=step)]
        )
        for stream in ("audio", "motion"):
            np.testing.assert_allclose(sums[stream], padded_sums[stream], rtol=1e-6)
            assert numbers[stream] == padded_numbers[stream]


def test_context_never_shows_a_hidden_frame():
    data = batch([60] * 300, 60)
    drawn = drawn_for(data)
    told = objective.conditions(drawn, data)
    assert not np.any(np.array(told.audio_context_BTF)[np.array(drawn.audio_span_BT)])
    assert not np.any(np.array(told.motion_context_BMD)[np.array(drawn.motion_span_BM)])
    given = np.array(drawn.audio_state_B) == GIVEN
    np.testing.assert_array_equal(told.audio_context_BTF[given], data["mel"][given])
    assert not np.any(told.audio_context_BTF[np.array(drawn.audio_state_B) == ABSENT])
    generated = np.array(drawn.audio_state_B) == GENERATED
    np.testing.assert_array_equal(
        np.any(told.audio_context_BTF, axis=(1, 2))[generated],
        (~np.array(drawn.drop_audio_B) & (np.array(drawn.audio_span_BT).sum(1) < 60))[generated],
    )


def test_text_is_kept_dropped_or_removed():
    data = batch([60] * 300, 60)
    data["has_text"][:50] = False
    drawn = drawn_for(data)
    told = objective.conditions(drawn, data)
    removed = np.array(drawn.text_absent_B) | ~data["has_text"]
    assert np.all(np.array(told.text_BN)[removed] == -1)
    np.testing.assert_array_equal(np.array(told.text_BN)[~removed], data["text"][~removed])
    np.testing.assert_array_equal(told.drop_text_B, drawn.drop_text_B)
    assert np.any(np.array(told.drop_text_B) & ~removed)


def test_rest_goes_with_motion():
    data = batch([60] * 300, 60)
    data["has_rest"][:50] = False
    drawn = drawn_for(data, ObjectiveConfig(drop_rest=0.2))
    there = np.any(np.array(objective.conditions(drawn, data).rest_BMR), axis=(1, 2))
    expected = data["has_rest"] & ~np.array(drawn.drop_rest_B) & (np.array(drawn.motion_state_B) != ABSENT)
    np.testing.assert_array_equal(there, expected)


def test_no_gradient_from_what_does_not_count():
    """Only hidden, valid, live elements of generated streams pull on the velocity."""
    data = batch([60, 30], 60)
    drawn = drawn_for(data)

    def loss(v):
        sums = objective.loss_sums(lambda *_, **__: v, {}, drawn, data, LIVE)
        return sums["audio"] + sums["motion"]

    g_audio, g_motion = jax.grad(loss)((jnp.ones((2, 60, 5)), jnp.ones((2, 16, 3))))
    np.testing.assert_array_equal(np.any(g_audio, -1), drawn.audio_span_BT)
    np.testing.assert_array_equal(np.array(g_motion) != 0, np.array(drawn.motion_span_BM)[..., None] & LIVE)


def test_means_and_weights():
    losses = objective.mean_losses(
        {"audio": jnp.float32(6), "motion": jnp.float32(0)}, {"audio": jnp.float32(3), "motion": jnp.float32(0)}
    )
    assert losses["audio"] == 2 and losses["motion"] == 0
    assert objective.total(ObjectiveConfig(audio_weight=0.5), losses) == 1


def test_stage_one_needs_only_speech_and_motion():
    """Motion-DiT alone: speech is dropped with the audio, and a stream without velocity is not in the loss."""
    data = batch([60] * 300, 60)
    data["speech"] = np.ones((300, 16, 2), np.float32)
    data["has_audio"][:5] = False
    drawn = drawn_for(data, ObjectiveConfig(hide_probs=(0, 1, 0)))

    def model(variables, audio, motion, **_):
        heard = np.any(np.array(motion.speech_BMS), axis=(1, 2))
        np.testing.assert_array_equal(heard, ~np.array(drawn.drop_audio_B) & data["has_audio"])
        return None, jnp.zeros_like(motion.x_BMD)

    sums = objective.loss_sums(model, {}, drawn, data)
    assert sums["audio"] == 0 and sums["motion"] > 0 and objective.counts(drawn, data)["audio"] == 0


def test_pooled_mean_is_the_golden_kind():
    """sum / count over two microbatches is the mean over all their elements, not the mean of means."""
    data = [batch([60, 45, 30], 60), batch([15, 60, 60], 60)]
    pairs = [(objective.loss_sums(zero_model, {}, d, b), objective.counts(d, b)) for b in data for d in [drawn_for(b)]]
    pooled = sum(float(s["audio"]) for s, _ in pairs) / sum(float(c["audio"]) for _, c in pairs)
    errors = [
        (b["mel"] - np.array(d.audio_noise_BTF))[np.array(d.audio_span_BT)] for b in data for d in [drawn_for(b)]
    ]
    assert pooled == pytest.approx(float((np.concatenate(errors) ** 2).mean()), rel=1e-5)
