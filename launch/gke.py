"""A training run as a Kubernetes JobSet for GKE: one Job a TPU slice or a group of GPU nodes, one pod a host.

Pods run launch/scripts/local.sh, which is written into the YAML: it passes SIGTERM on, so that a training on a node that is taken
away saves. A pod that dies makes the JobSet start all of them again, and training goes on from its checkpoint; exit codes 1 and 2
(nothing that another try would mend) end the JobSet. TPU pods find each other by what GKE tells them; GPU pods are told here: the
first pod's name in the JobSet's DNS, and their number in the Job.
"""
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from jamflow_jax.errors import ConfigError

SCRIPT = Path(__file__).parent / "scripts" / "local.sh"
# chip -> GKE's accelerator name, the most chips of a topology that one host holds
TPUS = {"v5e": ("tpu-v5-lite-podslice", 8), "v5p": ("tpu-v5p-slice", 4), "v6e": ("tpu-v6e-slice", 8)}
CHIPS_A_HOST = 4  # of every topology that is larger than one host
PORT = 8476
GRACE = 300  # seconds between SIGTERM and SIGKILL: more than a step and a checkpoint take


def tpu_hosts(topology: str) -> tuple[str, str, int, int]:
    """"v5p:4x4x4" -> (GKE's accelerator, "4x4x4", hosts of a slice, chips of a host).

    Raises:
      ConfigError: another chip, or not a topology.
    """
    chip, _, shape = topology.partition(":")
    sizes = shape.split("x")
    if chip not in TPUS or not all(size.isdigit() and int(size) for size in sizes) or len(sizes) != (3 if chip == "v5p" else 2):
        raise ConfigError(f"--topology {topology}: expected one such as v5e:4x4, v5p:4x4x4 or v6e:16x16")
    accelerator, whole = TPUS[chip]
    chips = math.prod(map(int, sizes))
    a_host = chips if chips <= whole else CHIPS_A_HOST
    if chips % a_host:
        raise ConfigError(f"--topology {topology}: {chips} chips are not whole hosts of {a_host}")
    return accelerator, shape, chips // a_host, a_host


def tpu_job(name: str, image: str, words: Sequence[str], topology: str, slices: int = 1, restarts: int = 100) -> str:
    """YAML for node pools of TPU slices. Raises ConfigError on an unknown topology."""
    accelerator, shape, hosts, chips = tpu_hosts(topology)
    pod = {
        "nodeSelector": {"cloud.google.com/gke-tpu-accelerator": accelerator, "cloud.google.com/gke-tpu-topology": shape},
        "containers": [_container(image, words, {"google.com/tpu": chips}, [], [8471, 8080])],
    }
    return _job_set(name, pod, slices, hosts, restarts)


def gpu_job(name: str, image: str, words: Sequence[str], accelerator: str, nodes: int, gpus: int = 8, restarts: int = 100) -> str:
    """YAML for a node pool of GPUs; `accelerator` as in GKE's label: nvidia-h100-80gb, nvidia-h200-141gb, ..."""
    number = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    environment = [
        {"name": "JAX_COORDINATOR_ADDRESS", "value": f"{name}-train-0-0.{name}:{PORT}"},
        {"name": "JAX_NUM_PROCESSES", "value": str(nodes)},
        {"name": "JAX_PROCESS_ID", "valueFrom": number},
    ]
    container = _container(image, words, {"nvidia.com/gpu": gpus}, environment, [PORT])
    container["volumeMounts"] = [{"name": "shared-memory", "mountPath": "/dev/shm"}]  # NCCL's; a container has 64 MB by default
    pod = {
        "nodeSelector": {"cloud.google.com/gke-accelerator": accelerator},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
        "volumes": [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}],
    }
    return _job_set(name, pod, 1, nodes, restarts)


def _container(image: str, words: Sequence[str], resources: dict[str, int], environment: list, ports: list[int]) -> dict[str, Any]:
    return {
        "name": "train",
        "image": image,
        "command": ["bash", "-c", SCRIPT.read_text(encoding="utf-8"), "local.sh"],
        "args": list(words),
        "env": [{"name": "REJECTED_IS_CLEAN", "value": "1"}, *environment],
        "ports": [{"containerPort": port} for port in ports],
        "resources": {"requests": dict(resources), "limits": dict(resources)},
    }


def _job_set(name: str, pod: dict[str, Any], jobs: int, hosts: int, restarts: int) -> str:
    whole_slice = {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"}
    final = {"action": "FailJob", "onExitCodes": {"containerName": "train", "operator": "In", "values": [1, 2]}}
    job = {
        "parallelism": hosts,
        "completions": hosts,
        "completionMode": "Indexed",
        "backoffLimit": 0,  # one pod lost is the run lost: JobSet starts all of them again
        "podFailurePolicy": {"rules": [final]},
        "template": {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": GRACE, **pod}},
    }
    metadata = {"name": name, **({"annotations": whole_slice} if jobs > 1 else {})}
    rule = {"name": "noOtherTry", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    whole = {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata,
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": restarts, "rules": [rule]},
            "replicatedJobs": [{"name": "train", "replicas": jobs, "template": {"spec": job}}],
        },
    }
    return yaml.dump(whole, Dumper=_Dumper, sort_keys=False, width=10_000)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, to be read; repeats rather than refers."""

    def ignore_aliases(self, data) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))
