"""One run: trained, measured, stopped, gone on with; never repeated."""
import threading
import time

from launch.sweeps import states
from launch.sweeps.execute import Stop, execute, last_line
from launch.sweeps.plan import plan


def calls(jamflow, verb):
    path = jamflow / "calls"
    return [line for line in path.read_text().splitlines() if line.startswith(verb)] if path.exists() else []


def test_a_stopped_run_goes_on_and_a_finished_one_is_not_repeated(sweep, jamflow, tmp_path):
    run, stop = plan(sweep)[0], Stop()
    (jamflow / "slow").touch()
    thread = threading.Thread(target=execute, args=(run, tmp_path, stop, {}))
    thread.start()
    while not (jamflow / "begun").exists():
        time.sleep(0.02)
    assert states.status(tmp_path, run).state == "running"
    stop.now()
    thread.join()
    assert states.status(tmp_path, run).state == "stopped"  # though the training ended with exit code 0
    done = execute(run, tmp_path, Stop(), {})
    assert done.state == "finished" and done.cpu_seconds > 0
    assert execute(run, tmp_path, Stop(), {}).state == "finished"
    assert len(calls(jamflow, "train")) == 2 and len(calls(jamflow, "evaluate")) == 2


def test_nothing_starts_after_the_end_was_asked_for(sweep, jamflow, tmp_path):
    stop = Stop()
    stop.now()
    assert execute(plan(sweep)[0], tmp_path, stop, {}).state == "stopped" and calls(jamflow, "") == []


def test_other_processes_of_a_training_write_and_measure_nothing(sweep, jamflow, tmp_path):
    run = plan(sweep)[0]
    execute(run, tmp_path, Stop(), {}, first=False)
    assert states.status(tmp_path, run).state == "waiting" and calls(jamflow, "evaluate") == []


def test_the_last_line_is_the_error_if_there_is_one(tmp_path):
    log = tmp_path / "x.log"
    for text, line in (("", "(the log is empty)"), ("a\n b \n\n", "b"), ("error: what\nlibrary: bye\n", "error: what")):
        log.write_text(text)
        assert last_line(log) == line
