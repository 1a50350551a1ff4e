"""`jamflow launch`: a dry run prints what would be done; mistakes and missing tools are one line."""
import os

import pytest
import yaml

from launch import launch
from launch.launch import SCRIPTS

WORDS = ["--", "--config", "configs/base.py", "--config.data.path=my data", "--workdir", "runs/x"]
SHELL = "--config configs/base.py '--config.data.path=my data' --workdir runs/x"


@pytest.mark.parametrize("options, line", [
    (["local", "--restarts", "2"], f"RESTARTS=2 bash {SCRIPTS}/local.sh {SHELL}"),
    (["slurm", "--nodes", "8", "--slurm", "time=24:00:00"], f"sbatch --nodes=8 --time=24:00:00 {SCRIPTS}/slurm.sh {SHELL}"),
    (["tpu", "--tpu", "t", "--zone", "z"], f"TPU=t ZONE=z bash {SCRIPTS}/tpu.sh {SHELL}"),
])  # fmt: skip
def test_a_dry_run_prints_the_command(options, line, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")  # nothing is looked for
    assert launch.main(["--launcher", *options, "--dry-run", *WORDS]) == 0
    assert capsys.readouterr().out == line + "\n"


@pytest.mark.parametrize("where, kind", [
    (["--topology", "v5e:4x4"], "google.com/tpu"), (["--accelerator", "nvidia-h100-80gb"], "nvidia.com/gpu"),
])  # fmt: skip
def test_a_dry_run_prints_the_job_set(where, kind, capsys):
    assert launch.main(["--launcher", "gke", "--image", "i", *where, "--dry-run", *WORDS]) == 0
    job = yaml.safe_load(capsys.readouterr().out)["spec"]["replicatedJobs"][0]["template"]["spec"]
    container = job["template"]["spec"]["containers"][0]
    assert container["args"] == WORDS[1:] and kind in container["resources"]["limits"]


@pytest.mark.parametrize("options, said", [
    (["tpu", *WORDS], "--launcher tpu needs --tpu NAME and --zone ZONE"),
    (["gke", "--image", "i", *WORDS], "one of --topology (TPU) and --accelerator (GPU)"),
    (["gke", "--image", "i", "--topology", "v5e:4", *WORDS], "--topology v5e:4: expected one such as"),
    (["gke", "--image", "i", "--topology", "v5e:4x4", "--name", "My_Run", *WORDS], "--name My_Run: Kubernetes wants"),
    (["gke", "--image", "i", "--topology", "v5e:4x4", "--slices", "2", *WORDS], "--slices 2: the config's mesh.slices is 1; add"),
    (["local", "--nodes", "4", *WORDS], "--nodes: of slurm and gke"),
    (["local"], "the words of jamflow train are missing"),
    (["local", "--", "--config", "configs/base.py"], "jamflow train: the following arguments are required: --workdir"),
    (["local", *WORDS, "--config.optim.lrr=1"], "config.optim.lrr: no such field, did you mean 'lr'?"),
])  # fmt: skip
def test_mistakes(options, said, capsys):
    assert launch.main(["--launcher", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("option", (["--slices", "0"], ["--nodes", "0"], ["--gpus", "0"], ["--restarts", "-3"]))
def test_impossible_numbers(option, capsys):
    with pytest.raises(SystemExit) as ended:
        launch.main(["--launcher", "gke", *option, "--dry-run", *WORDS])
    assert ended.value.code == 2 and f"argument {option[0]}: a count" in capsys.readouterr().err


def test_the_slices_are_the_configs(capsys):
    words = [*WORDS, "--config.mesh.slices=2", "--config.mesh.data=2"]
    assert launch.main(["--launcher", "gke", "--image", "i", "--topology", "v5e:4x4", "--dry-run", *words]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["spec"]["replicatedJobs"][0]["replicas"] == 2


@pytest.mark.parametrize("options, tool", [
    (["slurm"], "sbatch"), (["tpu", "--tpu", "t", "--zone", "z"], "gcloud"),
    (["gke", "--image", "i", "--topology", "v5e:4x4"], "kubectl"),
])  # fmt: skip
def test_a_missing_tool_is_named(options, tool, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert launch.main(["--launcher", *options, *WORDS]) == 1
    assert f"{tool} is not on the PATH" in capsys.readouterr().err


def test_kubectl_gets_the_job_set(tmp_path, monkeypatch):
    (tmp_path / "kubectl").write_text(f'#!/bin/sh\necho "$@" >{tmp_path}/asked; cat >{tmp_path}/read; exit 4\n')
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert launch.main(["--launcher", "gke", "--image", "i", "--topology", "v5e:4x4", *WORDS]) == 4
    assert (tmp_path / "asked").read_text() == "apply -f -\n"
    assert yaml.safe_load((tmp_path / "read").read_text())["kind"] == "JobSet"
