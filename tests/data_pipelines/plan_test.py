import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import plan_size
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
    for wrong in ((1.0,), (1.0, 0.0), (1.0, float("nan")), (float("inf"), 1.0)):
        with pytest.raises(ConfigError, match="one positive number"):
            Plan(index, (15,), 75, starts=starts, weights=wrong)


def test_a_number_of_buckets_is_chosen_for_each_mix():
    """On the lengths of all splits, so that held-out clips fit; a heavy data set draws the edges."""
    lengths = [20, 31, 44, 100] * 9 + [15, 200]
    index = make_index(lengths, [AUDIO, AUDIO | MOTION][0:1] * 36 + [AUDIO | MOTION] * 2)
    index.split[3] = 1
    plan = Plan(index, 3, 600, seed=2)
    assert [(bucket.frames, bucket.mix) for bucket in plan.buckets] == [
        (15, 3), (210, 3), (30, AUDIO), (45, AUDIO), (105, AUDIO)
    ]  # fmt: skip
    padded = 9 * 30 + 18 * 45 + 8 * 105 + 15 + 210
    assert plan.padding == pytest.approx(1 - (sum(lengths) - 100) / padded)
    assert next(plan.of_split("validation").fixed())[0] == 105
    assert {bucket.frames for bucket in Plan(index, 3, 256, align=32, crop=True).buckets} <= {32, 64, 128, 224}
    assert Plan(index, 1, 240, multiple=2, crop=True).shapes == [(105, 2), (120, 2)]
    with pytest.raises(ConfigError, match="set data.crop"):
        Plan(index, 1, 240, multiple=2)
    both, starts = join([make_index([20] * 20 + [70] * 5), make_index([44] * 9)])
    for weight, edges in ((1, [30, 75]), (2, [45, 75])):
        assert [b.frames for b in Plan(both, 2, 600, starts=starts, weights=(1, weight)).buckets] == edges


def test_a_plan_that_leaves_a_device_without_examples_is_refused():
    """In mixtures and held-out splits too: what is short is filled up, every batch divides among the devices."""
    index, starts = join([make_index([10] * 5, AUDIO, prefix="a"), make_index([50], MOTION, split="validation", prefix="b")])
    plan = Plan(index, (15, 60), 240, multiple=4, starts=starts, weights=(0.1, 1.0))
    for made in (plan, plan.of_split("validation")):
        assert all(len(made.batch(step)[1]) % 4 == 0 for step in range(3))
        assert all(len(ids) % 4 == len(weight) % 4 == 0 for _, ids, weight in made.fixed())
    for split in ("train", "validation"):
        with pytest.raises(ConfigError, match="would hold .* clips.*need 17"):
            Plan(index, (15, 60), 240, split=split, multiple=17, starts=starts)


@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_the_plan_is_the_same_with_more_accumulation_or_hosts_where_sizes_agree(hosts):
    """The batch is global: `multiple` rounds its size and decides nothing else."""
    index = make_index(np.arange(1, 300) % 60 + 1)
    one, many = Plan(index, (30, 60), 960, seed=1), Plan(index, (30, 60), 960, seed=1, multiple=hosts)
    assert all((one.batch(step)[1] == many.batch(step)[1]).all() for step in (0, 1, 99, 10**6))


def test_an_opened_index_and_its_plan_travel_light(tmp_path):
    """What worker processes are sent does not grow with the clips; they map the file and come to the same plan."""
    sizes = []
    for clips in (100, 4000):
        folder = tmp_path / str(clips)
        folder.mkdir()
        make_index(np.arange(clips) % 60 + 1).save(folder / "index.npz")
        index, starts = join([Index.load(folder), Index.load(folder, "f" * 64)])
        plan = Plan(index, 3, 600, seed=3, starts=starts, weights=(1.0, 0.5))
        sent = pickle.dumps(plan)
        again = pickle.loads(sent)
        sizes.append(len(sent))
        assert again.fingerprint() == plan.fingerprint()
        assert all((again.batch(step)[1] == plan.batch(step)[1]).all() for step in range(20))
        assert not any(array.flags.owndata for array in (index.parts[0].row, index.parts[0].names))
    assert sizes[0] == pytest.approx(sizes[1], abs=40) and max(sizes) < 2_000


def test_fixed_batches_cover_the_split_once():
    index = make_index([10] * 11 + [40] * 3)
    whole = list(Plan(index, (15, 60), 60, seed=3).fixed())
    assert [(t, len(i)) for t, i, _ in whole] == [(15, 4)] * 3 + [(60, 1)] * 3
    counted = np.concatenate([ids[weight > 0] for _, ids, weight in whole])
    assert counted.tolist() == list(range(14))
    assert [t for t, _, _ in Plan(index, (15, 60), 60).fixed(2)] == [15, 60]


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


@pytest.mark.parametrize("column", ["length", "flags", "split"])
def test_rot_in_what_is_planned_with_is_found_when_the_index_is_opened(tmp_path, column):
    make_index(np.arange(100, 400)).save(tmp_path / "index.npz")
    data = bytearray((tmp_path / "index.npz").read_bytes())
    data[data.index(f"{column}.npy".encode()) + 300] ^= 1
    (tmp_path / "index.npz").write_bytes(data)
    with pytest.raises(InputError, match=f"index.npz: no readable index .*Bad CRC-32.*{column}"):
        Index.load(tmp_path)
    (tmp_path / "index.npz").write_bytes(data[:500])
    with pytest.raises(InputError, match="no readable index .*not a zip file"):
        Index.load(tmp_path)


@pytest.mark.slow
def test_forty_million_clips_start_within_half_a_minute_and_two_gib(tmp_path):
    assert plan_size.main(["--out", str(tmp_path)]) == 0
    (tmp_path / "index.npz").unlink()  # 1.6 GB
