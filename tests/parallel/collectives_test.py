"""Counts on a program small enough to count by hand, in the TPU compiler's own spelling."""
from jamflow_jax.parallel.collectives import Collective, collectives


def test_kinds_groups_turns_and_bytes(golden):
    found = {c.kind: c for c in collectives((golden / "tpu_program.txt").read_text())}
    assert found == {
        "all-gather": Collective("all-gather", 4, 18, 18 * 64 * 64 * 2),  # one channel in two fusions, 18 turns
        "all-reduce": Collective("all-reduce", 8, 18, 18 * (64 * 2 + 8 * 64 * 4 + 4)),
        # the whole array goes in: of one that stands by itself, and of two fused ones (18 turns and 1), both on channel 1
        "reduce-scatter": Collective("reduce-scatter", 4, 1 + 19, 4 * 16 * 64 * 4 + 19 * 64 * 32 * 2),
        "collective-permute": Collective("collective-permute", 2, 1, 4 * 64 * 2),
    }


def test_traffic_is_what_a_ring_sends():
    assert Collective("all-gather", 4, 1, 400).traffic == 300
    assert Collective("all-reduce", 4, 1, 400).traffic == 600
    assert Collective("collective-permute", 2, 1, 400).traffic == 400
