import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipelines.index import AUDIO, MOTION, TEXT, Index, join, split_of
from data_pipelines.plan import Plan, permute
from jamflow_jax.errors import ConfigError, InputError


def make_index(lengths, flags=AUDIO | MOTION | TEXT, split="train", prefix="clip") -> Index:
    flags = np.broadcast_to(flags, len(lengths))
    rows = [
        {"id": f"{prefix}{i}", "length": int(n), "flags": int(f), "split": split, "shard": 0, "row": i, "speaker": prefix}
        for i, (n, f) in enumerate(zip(lengths, flags))
    ]
    return Index.from_rows(rows, np.zeros((1, 32), np.uint8))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**40))
def test_permute_is_a_bijection(n, seed):
    out = permute(np.arange(n), n, (seed, 1))
    assert sorted(out.tolist()) == list(range(n))


def test_permute_moves_things_and_knows_its_key():
    a, b = (permute(np.arange(1000), 1000, (seed,)) for seed in (1, 2))
    assert (a != b).mean() > 0.98
    assert (a != np.arange(1000)).mean() > 0.98
    assert abs(np.corrcoef(a, np.arange(1000))[0, 1]) < 0.1


def test_permute_of_forty_million_touches_only_what_is_asked():
    out = permute(np.arange(64), 40_000_000, (3,))
    assert len(set(out.tolist())) == 64 and out.max() < 40_000_000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(0, 9), st.sampled_from([1, 2, 4]))
def test_every_clip_in_every_epoch(lengths, seed, multiple):
    flags = [(AUDIO, MOTION, AUDIO | MOTION)[i % 3] for i in range(len(lengths))]
    index = make_index(lengths, flags)
    plan = Plan(index, (15, 30, 60), batch_frames=240, max_batch=8, seed=seed, multiple=multiple)
    seen = np.zeros(len(lengths), int)
    for epoch in range(3):
        for step in range(plan.epoch_start(epoch), plan.epoch_start(epoch + 1)):
            assert plan.epoch(step) == epoch
            frames, ids = plan.batch(step)
            assert len(ids) % multiple == 0
            assert (index.length[ids] <= frames).all()
            assert (index.length[ids] > {15: 0, 30: 15, 60: 30}[frames]).all()
            assert len(set((index.flags[ids] & 3).tolist())) == 1  # one modality mix
            seen += np.bincount(ids, minlength=len(lengths))
        assert (seen >= epoch + 1).all()
    for bucket in plan.buckets:  # and hardly more often: the start of the next epoch at most
        extra = seen[np.concatenate(bucket.members)].max() - 3
        assert extra <= -(-bucket.batch // bucket.clips)


def test_a_batch_is_a_function_of_seed_and_step():
    index = make_index(np.arange(1, 500) % 60 + 1)
    one, two, other = (Plan(index, (30, 60), 600, seed=seed) for seed in (5, 5, 6))
    steps = [0, 7, 1000, 10**7]
    assert all((one.batch(s)[1] == two.batch(s)[1]).all() and one.batch(s)[0] == two.batch(s)[0] for s in steps)
    assert any(one.batch(s)[0] != other.batch(s)[0] or (one.batch(s)[1] != other.batch(s)[1]).any() for s in steps)
    assert one.fingerprint() == two.fingerprint() != other.fingerprint()


def test_fewer_clips_than_a_batch_repeat_within_it():
    frames, ids = Plan(make_index([10, 10, 10]), (15,), 15 * 8).batch(4)
    assert len(ids) == 8 and set(ids.tolist()) == {0, 1, 2}


def test_batch_sizes():
    index = make_index([10, 50])
    assert Plan(index, (15, 60), 240, max_batch=10, multiple=4).shapes == [(15, 8), (60, 4)]
    with pytest.raises(ConfigError, match="bucket 60 would hold 4 clips.*need 8"):
        Plan(index, (15, 60), 240, multiple=8)


def test_long_clips():
    index = make_index([10, 100])
    with pytest.raises(InputError, match="1 clips .* longer than the largest bucket of 60.*clip1: 100"):
        Plan(index, (15, 60), 240)
    assert Plan(index, (15, 60), 240, crop=True).shapes == [(15, 16), (60, 4)]


def test_split_and_require():
    index = make_index([10] * 4, [AUDIO, AUDIO | MOTION, MOTION, AUDIO])
    assert set(Plan(index, (15,), 60, require=("motion",)).buckets[0].members[0].tolist()) == {1}
    with pytest.raises(InputError, match="no clip with speech in its train split"):
        Plan(index, (15,), 60, require=("speech",))
    with pytest.raises(InputError, match="no clip in its test split"):
        Plan(index, (15,), 60, split="test")


def test_mixture_weights():
    index, starts = join([make_index([10] * 30, prefix="a"), make_index([10] * 40, prefix="b")])
    assert index.id(29) == "a29" and index.id(30) == "b0" and index.speaker_name(69) == "b"
    plan = Plan(index, (15,), 15 * 5, starts=starts, weights=(2.0, 0.5))
    seen = np.zeros(70, int)
    for step in range(plan.epoch_start(2)):
        seen += np.bincount(plan.batch(step)[1], minlength=70)
    assert seen[:30].tolist() == [4] * 30 and seen[30:].tolist() == [1] * 40
    with pytest.raises(ConfigError, match="one positive number"):
        Plan(index, (15,), 75, starts=starts, weights=(1.0,))


def test_fixed_batches_cover_the_split_once():
    index = make_index([10] * 11 + [40] * 3)
    whole = Plan(index, (15, 60), 60, seed=3).fixed()
    assert [(t, len(i)) for t, i, _ in whole] == [(15, 4)] * 3 + [(60, 1)] * 3
    counted = np.concatenate([ids[weight > 0] for _, ids, weight in whole])
    assert counted.tolist() == list(range(14))
    assert len(Plan(index, (15, 60), 60).fixed(2)) == 2


def test_split_by_hash_is_stable_and_about_right():
    splits = [split_of(f"clip{i}", 0.1, 0.2) for i in range(4000)]
    assert abs(splits.count("test") / 4000 - 0.2) < 0.03 and abs(splits.count("validation") / 4000 - 0.1) < 0.02
    assert splits[:50] == [split_of(f"clip{i}", 0.1, 0.2) for i in range(50)]


def test_index_saves_the_same_bytes_and_loads_back(tmp_path):
    index = make_index([3, 4, 5])
    index.save(tmp_path / "index.npz")
    first = (tmp_path / "index.npz").read_bytes()
    again = Index.load(tmp_path)
    again.save(tmp_path / "index.npz")
    assert (tmp_path / "index.npz").read_bytes() == first
    assert again.fingerprint() == index.fingerprint() and again.ids() == ["clip0", "clip1", "clip2"]
    assert make_index([3, 4, 6]).fingerprint() != index.fingerprint()
    with pytest.raises(InputError, match="no readable index"):
        Index.load(tmp_path / "nowhere")
