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
    (["local", "--nodes", "4", *WORDS], "--nodes: of slurm and gke, not of --launcher local"),
    (["slurm", "--topology", "v5e:4x4", *WORDS], "--topology: of gke, not of --launcher slurm"),
    (["slurm", "--tpu", "x", *WORDS], "--tpu: of tpu, not of --launcher slurm"),
    (["gke", "--slurm", "time=1", *WORDS], "--slurm: of slurm, not of --launcher gke"),
    (["tpu", "--tpu", "t", "--zone", "z", "--name", "n", *WORDS], "--name: of gke, not of --launcher tpu"),
    (["slurm", "--nodes", "2", "--slurm", "nodes=4", *WORDS], "--nodes and --slurm nodes=... are the same option"),
    (["slurm", "--slurm", "gpus_per_node=4", *WORDS], "sbatch writes it --gpus-per-node; say --slurm gpus-per-node=..."),
    (["gke", "--image", "i", "--topology", "v5e:4x4", "--nodes", "2", *WORDS], "--nodes says nothing beside --topology"),
    (["gke", "--image", "i", "--accelerator", "a", "--slices", "2", *WORDS], "--slices says nothing beside --accelerator"),
    (["gke", "--image", "i", "--topology", "v5p:4x4x4", *WORDS, "--config.mesh.fsdp=7"], "not multiply to the 64 devices"),
    (["gke", "--image", "i", "--topology", "v5e:4x4", *WORDS, "--config.mesh.slices=2"], "data is 1: the 2 slices lie along"),
    (["gke", "--image", "i", "--accelerator", "a", "--nodes", "2", *WORDS, "--config.mesh.fsdp=8"], "multiply to the 16 devices"),
    (["slurm", "--nodes", "3", "--gpus", "4", *WORDS, "--config.mesh.fsdp=8"], "do not multiply to the 12 devices"),
    (["slurm", *WORDS, "--config.mesh.slices=2"], "config.mesh.slices is 2, but --launcher slurm has GPUs"),
    (["tpu", "--tpu", "t", "--zone", "z", *WORDS, "--config.mesh.slices=2"], "slices is 2, but --launcher tpu starts one slice"),
    (["local", *WORDS, "--config.mesh.fsdp=0"], "mesh.data, fsdp, tensor and sequence are (1, 0, 1, 1)"),
    (["local", *WORDS, "--config.data.path="], "config.data.path is empty: add --config.data.path=DATA"),
    (["local", *WORDS[:-1], "s3://b/x"], "s3://b/x: runs and models live in"),
    (["local"], "the words of jamflow train are missing"),
    (["local", "--", "--config", "configs/base.py"], "jamflow train: the following arguments are required: --workdir"),
    (["local", *WORDS, "--config.optim.lrr=1"], "config.optim.lrr: no such field, did you mean 'lr'?"),
])  # fmt: skip
def test_mistakes(options, said, capsys):
    assert launch.main(["--dry-run", "--launcher", *options]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("option", (["--slices", "0"], ["--nodes", "0"], ["--gpus", "0"], ["--restarts", "-3"]))
def test_impossible_numbers(option, capsys):
    with pytest.raises(SystemExit) as ended:
        launch.main(["--launcher", "gke", *option, "--dry-run", *WORDS])
    assert ended.value.code == 2 and f"argument {option[0]}: a count" in capsys.readouterr().err


@pytest.mark.parametrize("pair", ["time", "=3", "time=", "--time=3"])
def test_an_option_of_sbatch_has_a_name_and_a_value(pair, capsys):
    with pytest.raises(SystemExit):
        launch.main(["--launcher", "slurm", f"--slurm={pair}", "--dry-run", *WORDS])
    assert f"argument --slurm: '{pair}' is not KEY=VALUE" in capsys.readouterr().err


def test_gpus_that_sbatch_is_told_of_otherwise_are_not_counted(capsys, monkeypatch):
    words = ["--launcher", "slurm", "--dry-run", *WORDS, "--config.mesh.fsdp=3"]
    assert launch.main([*words[:2], "--slurm", "gpus-per-node=3", *words[2:]]) == 0
    assert launch.main(words) == 2
    monkeypatch.setenv("SBATCH_GPUS_PER_NODE", "3")
    assert launch.main(words) == 0


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
