"""The scripts of launch/scripts/: bash reads them, their examples would begin, and stand-ins for the tools show what they do."""
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jamflow_jax.parallel.processes import LOST
from launch.launch import SCRIPTS, check_words

FILES = sorted(SCRIPTS.glob("*.sh"))


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder at the front of the PATH; `tool(name, what it does)` adds a command, `asked()` has the lines they wrote down."""

    class Tools:
        folder = tmp_path / "tools"

        def tool(self, name: str, does: str = "") -> None:
            path = self.folder / name
            path.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >>"{self.folder}/asked"\n{does}\n')
            path.chmod(0o755)

        def asked(self) -> list[str]:
            path = self.folder / "asked"
            return path.read_text().splitlines() if path.exists() else []

        def run(self, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
            return subprocess.run(["bash", str(SCRIPTS / script), *words], capture_output=True, text=True, timeout=60,
                                  env={**os.environ, **environment})  # fmt: skip

    Tools.folder.mkdir()
    monkeypatch.setenv("PATH", str(Tools.folder), prepend=":")
    return Tools()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_bash_reads_it_and_its_example_would_begin(path):
    assert subprocess.run(["bash", "-n", str(path)]).returncode == 0
    text = path.read_text()
    examples = re.findall(rf"{path.name} (--config .*)$", text, re.M)
    assert examples
    for words in examples:
        check_words(shlex.split(words))
    verbs = set(re.findall(r"(?<![\w./])(?:\.venv/bin/)?jamflow (\w+) \\*\"\\*\$@", text))
    assert verbs == {"train"}


@pytest.mark.parametrize("code, restarts, calls", [
    (0, 3, 1), (2, 3, 1), (1, 3, 1), (3, 3, 1), (137, 2, 3), (LOST, 2, 3), (134, 0, 1),
])  # fmt: skip
def test_one_machine_restarts_what_died_only(tools, code, restarts, calls):
    tools.tool("jamflow", f"exit {code}")
    assert tools.run("local.sh", "--config", "x", RESTARTS=str(restarts)).returncode == code
    assert tools.asked() == ["jamflow train --config x"] * calls


def test_one_machine_for_schedulers_without_a_third_way(tools):
    tools.tool("jamflow", "exit 3")
    assert tools.run("local.sh", REJECTED_IS_CLEAN="1").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_one_machine_passes_the_end_on_and_waits_for_it(tools, number):
    tools.tool("jamflow", f'trap "sleep 0.3; touch {tools.folder}/saved; exit 0" TERM; touch {tools.folder}/begun; sleep 30 & wait')
    process = subprocess.Popen(["bash", str(SCRIPTS / "local.sh")])
    while not (tools.folder / "begun").exists():
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(20) == 143 and (tools.folder / "saved").exists()  # not finished, though the training ended with 0


SLURM = {"SLURM_JOB_ID": "5000", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": "1"}


def slurm_tools(tools, srun):
    tools.tool("scontrol", 'if [ "$1" = show ]; then printf "n1\\nn2\\n"; fi')
    tools.tool("srun", srun)
    tools.tool("scancel", f'kill -TERM "$(cat {tools.folder}/step)"; sleep 0.5')  # the step is over before scancel is


@pytest.mark.parametrize("code, again", [(0, False), (3, False), (2, False), (137, True), (LOST, True)])
def test_slurm_queues_again_what_was_lost(tools, code, again):
    slurm_tools(tools, f'echo "$JAX_COORDINATOR_ADDRESS $JAX_LOCAL_DEVICE_IDS" >>{tools.folder}/asked; exit {code}')
    assert tools.run("slurm.sh", "--config", "x", **SLURM).returncode == code
    assert "srun --kill-on-bad-exit=1 jamflow train --config x" in tools.asked() and "n1:62344 0,1,2,3" in tools.asked()
    assert ("scontrol requeue 5000" in tools.asked()) == again
    assert not any("requeue" in line for line in tools.asked()[:3])


def test_slurm_saves_before_the_time_limit_and_queues_again(tools):
    slurm_tools(tools, f'trap "touch {tools.folder}/saved; exit 0" TERM; echo $$ >{tools.folder}/step; sleep 30 & wait')
    process = subprocess.Popen(["bash", str(SCRIPTS / "slurm.sh")], env={**os.environ, **SLURM}, stderr=subprocess.DEVNULL)
    while not (step := tools.folder / "step").exists() or not step.read_text():
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(20) == 0 and (tools.folder / "saved").exists()
    assert tools.asked()[-2:] == ["scancel --signal=TERM 5000", "scontrol requeue 5000"]


def test_slurm_leaves_one_gpu_to_each_of_many_processes(tools):
    slurm_tools(tools, f'echo "ids=${{JAX_LOCAL_DEVICE_IDS:-}}" >>{tools.folder}/asked')
    tools.run("slurm.sh", **{**SLURM, "SLURM_NTASKS_PER_NODE": "4"})
    assert "ids=" in tools.asked()


@pytest.mark.parametrize("remote, code, calls", [(0, 0, 1), (102, 2, 1), (103, 3, 1), (1, 1, 3), (LOST, LOST, 3), (255, 255, 3)])
def test_a_slice_gets_the_command_on_all_workers_until_it_has_an_answer(tools, remote, code, calls):
    tools.tool("gcloud", f'[ "${{@: -1}}" = true ] || exit {remote}')
    done = tools.run("tpu.sh", "--workdir", "gs://b/a b", TPU="t", ZONE="z", RESTARTS="2", PAUSE="0")
    assert done.returncode == code and len([line for line in tools.asked() if line.startswith("gcloud")]) == 1 + calls
    assert tools.asked()[1].startswith("gcloud compute tpus tpu-vm ssh t --zone z --worker=all --command cd jamflow && flock")


def test_a_slice_that_cannot_be_reached_is_asked_once(tools):
    tools.tool("gcloud", "echo no account >&2; exit 1")
    done = tools.run("tpu.sh", "--workdir", "gs://b/a", TPU="t", ZONE="z", PAUSE="0")
    assert done.returncode == 1 and len(tools.asked()) == 1
    assert done.stderr == "no account\nerror: the workers of t in z cannot be reached; what gcloud said is above\n"


@pytest.mark.parametrize("verdict, code", [(0, 0), (2, 102), (3, 103), (137, 137)])
def test_what_a_worker_of_a_slice_runs(tools, tmp_path, verdict, code):
    tools.tool("gcloud", f'printf "%s" "${{@: -1}}" >{tmp_path}/remote')
    tools.run("tpu.sh", "--workdir", "gs://b/a b", TPU="t", ZONE="z")
    installed = tmp_path / "jamflow" / ".venv" / "bin" / "jamflow"
    installed.parent.mkdir(parents=True)
    installed.write_text(f'#!/usr/bin/env bash\nprintf "<%s>" "$@" >{tmp_path}/got\necho $$ >{tmp_path}/pid\nexit {verdict}\n')
    installed.chmod(0o755)
    assert subprocess.run(["bash", "-c", Path(tmp_path / "remote").read_text()], cwd=tmp_path).returncode == code
    assert (tmp_path / "got").read_text() == "<train><--workdir><gs://b/a b>"
    assert (tmp_path / "jamflow" / "train.pid").read_text() == (tmp_path / "pid").read_text()  # what `tpu.sh stop` asks to end


def test_a_slice_must_be_named(tools):
    done = tools.run("tpu.sh", "setup", ZONE="z", TPU="")
    assert done.returncode == 1 and "name the slice" in done.stderr
