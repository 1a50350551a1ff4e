"""The oracle itself, against loops over exact fractions."""
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.model.attention import attend, band, cross_band, joint_attention, self_attention
from jamflow_jax.model.config import WindowConfig
from jamflow_jax.timeline import MOTION_TICKS, motion_frames

WINDOWS = (Fraction(0), Fraction(1, 25), Fraction(7, 25), Fraction(1, 3), Fraction(123457, 1000003), None)
FRAMES = 61


@pytest.mark.parametrize("window", WINDOWS)
def test_masks_equal_exact_time_arithmetic(window):
    motion = motion_frames(FRAMES)
    reach = Fraction(10**6) if window is None else window
    expected = [
        [Fraction(i, 25) <= t + reach and Fraction(i + 1, 25) > t - reach for i in range(motion)]
        for t in (Fraction(j * 256, 24_000) for j in range(FRAMES))
    ]
    np.testing.assert_array_equal(cross_band(FRAMES, motion, window)[0], expected)
    own = [[abs(Fraction(i - j, 25)) <= reach for j in range(motion)] for i in range(motion)]
    np.testing.assert_array_equal(band(motion, MOTION_TICKS, window)[0], own)


def test_every_inner_row_has_the_same_number_of_keys():
    """Floats gave 13, 14 or 15 keys depending on the row."""
    rows = np.asarray(band(60, MOTION_TICKS, Fraction(7, 25))[0]).sum(1)
    assert set(rows[7:-7]) == {15}
    at_once = np.asarray(cross_band(225, 60, Fraction(0))[0])
    assert set(at_once.sum(1)) == {1}, "window 0 is the same timestamp: one motion frame for each mel frame"
    assert set(at_once.sum(0)) == {3, 4}


def streams(key, batch=2, frames=FRAMES, heads=2, width=8):
    shapes = [(batch, t, heads, width) for t in (frames,) * 3 + (motion_frames(frames),) * 3]
    parts = [jax.random.normal(k, shape) for k, shape in zip(jax.random.split(key, 6), shapes)]
    return tuple(parts[:3]), tuple(parts[3:])


def loop_attention(q, keys, values, allowed):
    out = np.zeros(q.shape)
    for h in range(q.shape[1]):
        for t in range(q.shape[0]):
            seen = [s for s in range(len(keys)) if allowed(t, s)]
            if seen:
                scores = np.array([q[t, h] @ keys[s, h] for s in seen], np.float64) / np.sqrt(q.shape[-1])
                weights = np.exp(scores - scores.max())
                out[t, h] = (weights / weights.sum()) @ np.array([values[s, h] for s in seen])
    return out


@pytest.mark.parametrize("window", (Fraction(0), Fraction(7, 25), None))
@pytest.mark.parametrize("alpha", ((True, True), (False, True), (True, False)))
def test_joint_attention_equals_a_loop(window, alpha):
    audio, motion = streams(jax.random.key(0), frames=31)
    windows = WindowConfig(window, window, window, None)
    lengths = [31, 19]
    out_a, out_m = joint_attention(
        audio, motion, windows, jnp.array(lengths), jnp.array([alpha[0]] * 2), jnp.array([alpha[1]] * 2))
    reach = Fraction(10**6) if window is None else window
    for b, length in enumerate(lengths):
        (q_a, k_a, v_a), (q_m, k_m, v_m) = (tuple(np.asarray(x[b]) for x in s) for s in (audio, motion))
        frames, m, m_valid = 31, len(q_m), motion_frames(length)

        def sees(j, i, reach=reach):
            t = Fraction(j * 256, 24_000)
            return Fraction(i, 25) <= t + reach and Fraction(i + 1, 25) > t - reach

        def audio_row(t, s, length=length, m_valid=m_valid, frames=frames):
            return s < length if s < frames else alpha[0] and s - frames < m_valid and sees(t, s - frames)

        def motion_row(i, s, length=length, m_valid=m_valid, m=m):
            if s < m:
                return s < m_valid and abs(Fraction(i - s, 25)) <= reach
            return alpha[1] and s - m < length and sees(s - m, i)

        np.testing.assert_allclose(out_a[b], loop_attention(q_a, np.r_[k_a, k_m], np.r_[v_a, v_m], audio_row), atol=1e-5)
        np.testing.assert_allclose(out_m[b], loop_attention(q_m, np.r_[k_m, k_a], np.r_[v_m, v_a], motion_row), atol=1e-5)


def test_a_lone_motion_stream_keeps_its_window_unless_told():
    audio, motion = streams(jax.random.key(1))
    off = jnp.zeros(2, bool)
    kept = joint_attention(audio, motion, WindowConfig(), None, off, off)[1]
    np.testing.assert_allclose(kept, self_attention(motion, None, Fraction(7, 25), MOTION_TICKS), atol=1e-6)
    dropped = joint_attention(audio, motion, WindowConfig(keep_when_alone=False), None, off, off)[1]
    np.testing.assert_allclose(dropped, self_attention(motion), atol=1e-6)


def test_so_does_a_lone_audio_stream():
    audio, motion = streams(jax.random.key(1))
    off = jnp.zeros(2, bool)
    for keep, window in ((True, Fraction(1, 25)), (False, None)):
        out = joint_attention(audio, motion, WindowConfig(audio_audio=Fraction(1, 25), keep_when_alone=keep), None, off, off)[0]
        np.testing.assert_allclose(out, self_attention(audio, None, window), atol=1e-6)


def test_rows_without_keys_are_zero_and_so_is_their_gradient():
    (q, k, v), _ = streams(jax.random.key(2))
    mask = jnp.zeros((1, FRAMES, FRAMES), bool).at[:, 3:].set(True)
    out, grad = jax.value_and_grad(lambda q: attend(q, k, v, mask).sum())(q)
    assert np.isfinite(out) and np.all(np.isfinite(grad))
    assert not np.any(attend(q, k, v, mask)[:, :3]) and not np.any(grad[:, :3])


def test_gradients_reach_only_inside_the_window():
    audio, motion = streams(jax.random.key(3), batch=1)
    windows = WindowConfig(Fraction(2, 25), Fraction(2, 25), Fraction(2, 25))

    def motion_row(k_a, row):
        return joint_attention((audio[0], k_a, audio[2]), motion, windows)[1][0, row].sum()

    seen = np.any(np.asarray(jax.grad(motion_row)(audio[1], 8)) != 0, axis=(0, 2, 3))
    np.testing.assert_array_equal(seen, cross_band(FRAMES, motion_frames(FRAMES), Fraction(2, 25))[0, :, 8])
