"""The algebra of nested guidance, and what each level drops."""
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from jamflow_jax.flow.guidance import CONDITIONS, Scales, combine, passes, stack_conditions, table
from jamflow_jax.flow.states import ABSENT, GENERATED, GIVEN, Conditions


def guided(scales, present, velocity):
    """The velocity from `passes`, given v(set of kept conditions)."""
    dropped, coefficients = passes(scales, present)
    v = jnp.stack([velocity(frozenset(present) - set(names)) for names in dropped])
    return np.array(combine(v[:, None], jnp.array([coefficients])))[0, 0]


def velocity(kept):
    return jnp.sin(sum(3.0**i for i, name in enumerate(CONDITIONS) if name in kept) + jnp.arange(5.0))


SUBSETS = [frozenset(c) for n in range(5) for c in itertools.combinations(CONDITIONS, n)]


@pytest.mark.parametrize("present", SUBSETS, ids=lambda s: "+".join(sorted(s)) or "none")
def test_equal_scales_are_the_usual_guidance_in_two_passes(present):
    g = 1.7
    full, none = velocity(present), velocity(frozenset())
    np.testing.assert_allclose(guided(Scales.of(g), present, velocity), full + g * (full - none), atol=1e-5)
    assert len(passes(Scales.of(g), present)[0]) == (2 if present else 1)


@pytest.mark.parametrize("present", SUBSETS, ids=lambda s: "+".join(sorted(s)) or "none")
def test_any_scales_follow_the_nested_sum(present):
    scales = Scales(0.5, 2.0, 2.0, -0.25)
    levels = [name for name in CONDITIONS if name in present]
    v = velocity(frozenset())
    for k, name in enumerate(levels):
        step = velocity(frozenset(levels[: k + 1])) - velocity(frozenset(levels[:k]))
        v = v + (1 + getattr(scales, name)) * step
    np.testing.assert_allclose(guided(scales, present, velocity), v, atol=1e-5)


def test_number_of_passes():
    everything = frozenset(CONDITIONS)
    assert passes(Scales.of(0.0), everything) == (((),), (1.0,))  # conditional only
    assert len(passes(Scales(1, 2, 3, 4), everything)[0]) == 5
    assert len(passes(Scales(1, 2, 2, 2), everything)[0]) == 3  # distinct levels + 1
    assert passes(Scales(1, 2, 2, 2), everything)[0][1] == ("audio", "motion", "rest")
    assert sum(passes(Scales(1, 2, 3, 4), everything)[1]) == pytest.approx(1)


def test_examples_with_other_conditions_share_a_batch():
    """As many passes each, but of their own: each gets what it gets alone."""
    scales, sets = Scales(1.0, 2.0, 3.0, 0.5), (frozenset(("text", "rest")), frozenset(("audio", "motion")))
    dropped_BPC, coefficients_BP = table([passes(scales, present) for present in sets])
    v = [
        velocity({name for name, gone in zip(CONDITIONS, row_C) if name in present and not gone})
        for present, row_PC in zip(sets, dropped_BPC) for row_C in row_PC
    ]  # fmt: skip
    found = combine(jnp.stack(v)[:, None], jnp.array(coefficients_BP))[:, 0]
    for present, row in zip(sets, found):
        np.testing.assert_allclose(row, guided(scales, present, velocity), atol=1e-5)


def test_what_each_level_drops():
    """Row 0 generates both streams with contexts, row 1 generates motion from given audio, row 2 audio from given motion."""
    conditions = Conditions(
        audio_state_B=jnp.array([GENERATED, GIVEN, GENERATED]),
        motion_state_B=jnp.array([GENERATED, GENERATED, GIVEN]),
        audio_context_BTF=jnp.ones((3, 15, 2)),
        motion_context_BMD=jnp.ones((3, 4, 2)),
        text_BN=jnp.zeros((3, 15), jnp.int32),
        drop_text_B=jnp.zeros(3, bool),
        rest_BMR=jnp.ones((3, 4, 2)),
        length_B=jnp.full(3, 15),
    )
    passes_PC = [[name in names for name in CONDITIONS] for names in (CONDITIONS, ("audio", "motion"), ("rest",), ())]
    stacked = stack_conditions(conditions, jnp.array([passes_PC] * 3))

    def by_pass(values):  # example by example -> pass by pass
        return np.asarray(values).reshape(3, 4, -1).mean(-1).T

    audio, motion = by_pass(stacked.audio_state_B), by_pass(stacked.motion_state_B)
    np.testing.assert_array_equal(audio[:2], [[GENERATED, ABSENT, GENERATED]] * 2)
    np.testing.assert_array_equal(motion[:2], [[GENERATED, GENERATED, ABSENT]] * 2)
    np.testing.assert_array_equal(audio[2:], [conditions.audio_state_B] * 2)
    np.testing.assert_array_equal(by_pass(stacked.audio_context_BTF), [[0] * 3, [0] * 3, [1] * 3, [1] * 3])
    np.testing.assert_array_equal(by_pass(stacked.drop_text_B)[:, 0], [True, False, False, False])
    np.testing.assert_array_equal(stacked.text_BN, np.zeros((12, 15)))  # dropped text keeps its length
    # Absent motion (row 2, passes 0 and 1) takes rest with it.
    np.testing.assert_array_equal(by_pass(stacked.rest_BMR), [[0] * 3, [1, 1, 0], [0] * 3, [1] * 3])
