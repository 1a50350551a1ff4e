"""Variants of a run, and which of them are preferred."""
from jamflow_jax.train.config import RunConfig
from jamflow_jax.train.variants import Estimate, Variant, around, configured, ranked


def test_every_variant_can_be_cut_into_its_microbatches_on_every_device():
    found = around(24, 8)
    assert {v.examples for v in found if v.accumulate == 1} == {8, 24, 48, 96}  # half is rounded down to what the devices share
    assert {v.examples for v in found if v.accumulate == 4} == {32, 96} and not any(v.accumulate == 16 for v in found)
    assert all(v.examples % (8 * v.accumulate) == 0 for v in found)


def test_a_variant_is_the_run_with_its_remat_and_accumulation_and_flags_say_so():
    variant = Variant(64, 2, "dots")
    config = variant.of(RunConfig())
    assert configured(config, 64) == variant
    assert "--config.data.batch_frames=60480 --config.data.max_batch=64" in variant.flags(945)
    assert config.model.audio.remat == config.model.motion.remat == "dots"


def test_another_batch_must_be_worth_it_and_fit():
    def estimate(examples, speed, bytes_=1.0, accumulate=1, remat="full"):
        return Estimate(Variant(examples, accumulate, remat), bytes_, speed)

    small, large, huge = estimate(8, 100), estimate(16, 103), estimate(32, 200, bytes_=9)
    assert ranked([large, small], 5, 8) == [small, large] and ranked([small, large], 5, 16) == [large, small]
    assert ranked([large, small, huge], 5, 8) == [small, large]
    assert ranked([large, small, huge], 10, 8)[0] == huge
    assert ranked([estimate(8, 100, 3, 2), estimate(8, 99, 4), estimate(8, 98, 2, remat="dots")], 5, 8)[0].variant.remat == "dots"
    assert ranked([huge], 5, 8) == []


def test_what_does_not_fit_is_cut_into_microbatches_before_it_loses_clips():
    half, cut = Estimate(Variant(640, 1, "full"), 1, 555), Estimate(Variant(1280, 2, "full"), 1, 559)
    assert ranked([half, cut], 2, 1280) == [cut, half]
