"""The JobSet says what GKE and JobSet need to know; the sizes of slices become hosts."""
import pytest
import yaml

from jamflow_jax.errors import ConfigError
from launch import gke


@pytest.mark.parametrize("topology, found", [
    ("v5p:4x4x4", ("tpu-v5p-slice", "4x4x4", 16, 4)), ("v5p:2x2x1", ("tpu-v5p-slice", "2x2x1", 1, 4)),
    ("v5e:2x4", ("tpu-v5-lite-podslice", "2x4", 1, 8)), ("v5e:4x4", ("tpu-v5-lite-podslice", "4x4", 4, 4)),
    ("v6e:16x16", ("tpu-v6e-slice", "16x16", 64, 4)), ("v6e:1x1", ("tpu-v6e-slice", "1x1", 1, 1)),
])  # fmt: skip
def test_hosts_of_a_slice(topology, found):
    assert gke.tpu_hosts(topology) == found


@pytest.mark.parametrize("topology", ["v4:4x4", "v5p:4x4", "v5e:4x4x4", "v5e:", "v5e:0x4", "h200x8", "v5e:3x3"])
def test_what_is_no_topology(topology):
    with pytest.raises(ConfigError, match="--topology"):
        gke.tpu_hosts(topology)


def read(text):
    whole = yaml.safe_load(text)
    group = whole["spec"]["replicatedJobs"][0]
    job = group["template"]["spec"]
    return whole, group, job, job["template"]["spec"]


def test_tpu_slices():
    whole, group, job, pod = read(gke.tpu_job("run", "image", ["--config", "base", "--workdir", "gs://b/a b"], "v5p:4x4x4", 2))
    assert (whole["apiVersion"], whole["kind"], whole["metadata"]["name"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet", "run")
    assert group["replicas"] == 2 and job["completions"] == job["parallelism"] == 16 and job["completionMode"] == "Indexed"
    assert whole["metadata"]["annotations"] == {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    label = "cloud.google.com/gke-tpu"
    assert pod["nodeSelector"] == {f"{label}-accelerator": "tpu-v5p-slice", f"{label}-topology": "4x4x4"}
    container = pod["containers"][0]
    assert container["command"][2] == gke.SCRIPT.read_text()
    assert container["args"] == ["--config", "base", "--workdir", "gs://b/a b"]
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert not any("JAX" in variable["name"] for variable in container["env"])  # GKE says it


def test_gpu_nodes_are_told_who_is_first():
    _, group, job, pod = read(gke.gpu_job("run", "image", [], "nvidia-h100-80gb", nodes=4))
    container = pod["containers"][0]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert group["replicas"] == 1 and job["completions"] == 4 and container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    assert variables["JAX_COORDINATOR_ADDRESS"]["value"] == "run-train-0-0.run:8476"
    assert variables["JAX_NUM_PROCESSES"]["value"] == "4"
    assert "job-completion-index" in variables["JAX_PROCESS_ID"]["valueFrom"]["fieldRef"]["fieldPath"]


def test_what_another_try_would_not_mend_ends_it():
    whole, _, job, _ = read(gke.gpu_job("run", "image", [], "nvidia-h100-80gb", 1, restarts=7))
    assert whole["spec"]["failurePolicy"]["maxRestarts"] == 7 and job["backoffLimit"] == 0
    rule = {"name": "noOtherTry", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    assert whole["spec"]["failurePolicy"]["rules"] == [rule]
    assert job["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [1, 2]
