"""Means of an interval, the curve on disk, and the progress line."""
import json

from jamflow_jax.train import metrics

ROW = {"loss": 1.0, "grad_norm": 2.0, "lr": 1e-3, "frames": 10.0, "skipped": 0.0, "audio_sum": 4.0, "audio_count": 2.0,
       "motion_sum": 0.0, "motion_count": 0.0}  # fmt: skip


def test_streams_are_weighted_by_elements_and_empty_ones_left_out():
    line = metrics.summarise([ROW, {**ROW, "audio_sum": 1.0, "audio_count": 8.0, "loss": 3.0}])
    assert line["audio"] == 0.5 and line["loss"] == 2.0 and line["frames"] == 20 and "motion" not in line


def test_skipped_steps_do_not_spoil_the_mean():
    line = metrics.summarise([ROW, {**ROW, "loss": float("nan"), "audio_sum": float("nan"), "skipped": 1.0}])
    assert line["loss"] == 1.0 and line["audio"] == 2.0 and line["skipped"] == 1


def test_lines_beyond_the_checkpoint_and_torn_lines_go(tmp_path):
    path = tmp_path / "metrics.jsonl"
    good = [json.dumps({"step": step, "split": "train", "loss": 0.1}) + "\n" for step in (5, 10, 15)]
    path.write_text("".join(good) + '{"step": 1')
    log = metrics.MetricsLog(tmp_path, step=10)
    log.write(12, "validation", {"audio": 0.5})
    log.close()
    assert path.read_text() == "".join(good[:2]) + '{"step": 12, "split": "validation", "audio": 0.5}\n'
    assert [line["step"] for line in metrics.read(tmp_path)] == [5, 10]


def test_damaged_lines_go_and_the_others_stay_byte_for_byte(tmp_path):
    good = [f'{{"step": {step},  "split": "train", "loss": 0.10}}\n'.encode() for step in (5, 10, 15, 20)]
    damaged = [b"\0" * 40 + b"\n", b'{"step": 7, "spl\n', b"12\n", b'{"step": "7", "split": "train"}\n', b"\xff\xfe\r{}\n"]
    (tmp_path / "metrics.jsonl").write_bytes(b"".join([good[0], *damaged, *good[1:]]))
    assert [line["step"] for line in metrics.read(tmp_path)] == [5, 10, 15, 20]
    said = []
    metrics.MetricsLog(tmp_path, 15, said.append).close()
    assert said == ["metrics.jsonl: 5 of 9 lines not whole, dropped; the others stay as they are"]
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(good[:3])
    metrics.MetricsLog(tmp_path, 15, said.append).close()
    assert len(said) == 1


def test_progress_line():
    speed = {"steps_per_s": 3.2, "frames_per_s": 45000}
    line = metrics.progress_line(1200, 20000, {"audio": 1.0, "motion": 0.5, "lr": 7.5e-5, "skipped": 0}, speed)
    assert line == ("step 1,200/20,000  audio 1.0000  motion 0.5000  lr 7.5e-05  3.20 steps/s  45,000 frames/s  1 h 38 min left")
    line = metrics.progress_line(1, 6, {"lr": 1e-3, "skipped": 2}, {"steps_per_s": 2.0, "frames_per_s": 0})
    assert line == "step 1/6  no loss  lr 0.001  skipped 2  2.00 steps/s  0 frames/s  2 s left"


def test_time_left():
    assert [metrics.time_left(s) for s in (45, 720, 11_100, 187_200)] == ["45 s", "12 min", "3 h 05 min", "2 d 4 h"]


def test_a_full_disk_is_said_where_it_is_met_and_not_again(tmp_path, monkeypatch, capsys):
    import sys
    import threading

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    log = metrics.MetricsLog(tmp_path)
    close = log._board.close

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log._board, "close", full)
    log.close()
    threading.Thread(target=full).start()
    close()
    assert capsys.readouterr() == ("", "")
