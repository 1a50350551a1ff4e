"""Edges against all choices there are, and against the padding that is promised."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.buckets import MOST, check, on_grid, optimal_edges
from jamflow_jax.errors import ConfigError


def held(clips: np.ndarray, edges: tuple[int, ...], align: int) -> float:
    """Frames, padding included, that these edges give."""
    need = np.arange(len(clips)) * align
    return float((clips * np.array(edges)[np.searchsorted(edges, need)]).sum())


def padding(length: np.ndarray, edges) -> float:
    edges = np.sort(np.asarray(edges))
    return 1 - length.sum() / edges[np.searchsorted(edges, length)].sum()


def speech(kind: str = "lognormal", clips: int = 354_218) -> np.ndarray:
    """Lengths in mel frames of read speech cut into sentences, as in LibriTTS: so many clips, 5.6 s on average, nothing over
    32 s, a heavy tail to the right (a twentieth beyond 14 s)."""
    rng = np.random.default_rng(0)
    if kind == "gamma":
        seconds = rng.gamma(1.5, 5.6 / 1.5, 2 * clips)
    else:
        seconds = rng.lognormal(np.log(5.75) - 0.75**2 / 2, 0.75, 2 * clips)
    seconds = seconds[(seconds > 0.3) & (seconds < 32)][:clips]
    return (seconds * 24_000).astype(np.int64) // 256 + 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any), st.integers(1, 4), st.sampled_from([1, 15, 64]))
def test_no_other_edges_hold_fewer_frames(clips, buckets, align):
    clips = np.trim_zeros(np.array([0, *clips]), "b")
    points = np.flatnonzero(clips) * align
    edges = optimal_edges(clips, buckets, align)
    assert edges[-1] == points[-1] and set(edges) <= set(points.tolist()) and list(edges) == sorted(set(edges))
    assert len(edges) == min(buckets, len(points))
    every = (tuple(sorted((*inner, points[-1]))) for inner in itertools.combinations(points[:-1].tolist(), len(edges) - 1))
    assert held(clips, edges, align) == min(held(clips, other, align) for other in every)


@pytest.mark.parametrize("kind", ["lognormal", "gamma"])
@pytest.mark.parametrize("align, most", [(15, 0.13), (32, 0.13), (64, 0.132), (128, 0.14)])
def test_twelve_buckets_pad_a_speech_corpus_by_an_eighth(kind, align, most):
    length = speech(kind)
    assert 553 < length.sum() * 256 / 24_000 / 3600 < 560  # hours
    edges = optimal_edges(np.bincount(on_grid(length, align)), 12, align)
    assert len(edges) == 12 and all(edge % align == 0 for edge in edges)
    assert padding(length, edges) < most
    assert padding(length, (240, 480, 720, 960, 1440, 1920, 3000)) > 0.2  # what seven by hand give


def test_what_makes_no_sense():
    check(12, 15), check((360,), 15), check(MOST, 1)
    with pytest.raises(ConfigError, match=r"data.buckets = 360: .* written \(360,\)"):
        check(360, 15)
    for wrong in (0, -3, (), (0, 15)):
        with pytest.raises(ConfigError, match="data.buckets"):
            check(wrong, 15)
    with pytest.raises(ConfigError, match="data.align = 0"):
        check(12, 0)
