"""How much host memory and time it takes to load F5TTS_v1_Base, in a fresh process: 364 tensors, 337,096,804 parameters.

    python -m benchmarks.load_f5tts [--dir DIR] [--torch]

Writes a file of that shape with random weights (1.35 GB, the average as released; --torch: the trainer's .pt with both sets),
loads it with `f5tts.load`, and states the peak of resident memory in multiples of the weights, all of it and beyond the imports.
The file is mapped, and its pages count while they are in memory. Writing, loading and this command are three processes: a process
inherits the peak of the one that starts it. Exit code 0 only if the peak, all of it, is at most 2.5 times the weights.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 2.5
LOAD = """
import json, resource, sys, time
import jax
from jamflow_jax.torch_io import f5_config, f5tts
from benchmarks.load_f5tts import size_of
if sys.argv[1].endswith(".pt"):
    import torch
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, start = peak(), time.perf_counter()
config, params = f5tts.load(sys.argv[1], f5_config.read("v1-base")[0])
seconds, after = time.perf_counter() - start, peak()
leaves = jax.tree.leaves(params)
print(json.dumps({"before": before, "peak": after, "seconds": round(seconds, 1), "parameters": sum(leaf.size for leaf in leaves),
                  "size": size_of(leaves)}))
"""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, help="where the file is written (default: a temporary folder)")
    parser.add_argument("--torch", action="store_true", help="the trainer's .pt instead of .safetensors")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        path = Path(folder) / ("model_last.pt" if options.torch else "model.safetensors")
        size = _python("import sys; from benchmarks.load_f5tts import write; print(write(sys.argv[1]))", path)
        bytes_there, found = path.stat().st_size, _python(LOAD, path)
    weights, same = 4 * found["parameters"], abs(found["size"] - size) < 1e-9 * size
    ratio, beyond = found["peak"] / weights, (found["peak"] - found["before"]) / weights
    print(f"{path.name}: {bytes_there / 1e9:.3f} GB, {found['parameters']:,} parameters ({weights / 1e9:.3f} GB), whole: {same}")
    print(f"loaded in {found['seconds']} s; peak {found['peak'] / 1e9:.3f} GB, of it {found['before'] / 1e9:.3f} GB by imports: "
          f"{ratio:.2f} times the weights, {beyond:.2f} beyond the imports (limit {LIMIT})")  # fmt: skip
    return 0 if same and ratio <= LIMIT else 1


def _python(code: str, path: Path):
    return json.loads(subprocess.run([sys.executable, "-c", code, str(path)], check=True, stdout=subprocess.PIPE, text=True).stdout)


def size_of(arrays) -> float:
    """Sum of magnitudes."""
    import numpy as np

    return float(sum(np.abs(array).sum(dtype="float64") for array in arrays))


def write(path: str) -> float:
    """A file of F5TTS_v1_Base's keys and shapes with random weights; returns the sum of their magnitudes."""
    tensors = random_checkpoint()
    size = size_of(value for key, value in tensors.items() if key != "rotary_embed.inv_freq")
    if not path.endswith(".pt"):
        from safetensors.numpy import save_file

        save_file({f"ema_model.transformer.{key}": value for key, value in tensors.items()}, path)
        return size
    import torch

    both = {key: torch.from_numpy(value) for key, value in tensors.items()}
    torch.save({
        "ema_model_state_dict": {f"ema_model.transformer.{key}": value for key, value in both.items()}
        | {"initted": torch.tensor(True), "step": torch.tensor(1)},
        "model_state_dict": {f"transformer.{key}": value + 1 for key, value in both.items()}, "update": 1,
    }, path)  # fmt: skip
    return size


def random_checkpoint():
    """364 tensors, one of them the table of the rotary frequencies."""
    import jax
    import numpy as np
    from flax import linen as nn
    from flax import traverse_util

    from jamflow_jax.model.jamflow import init_audio
    from jamflow_jax.torch_io import f5_config, f5tts
    from jamflow_jax.torch_io.names import audio_names, torch_shape

    config, rng = f5tts.audio_config(f5_config.read("v1-base")[0]), np.random.default_rng(0)
    expected = traverse_util.flatten_dict(nn.unbox(jax.eval_shape(lambda key: init_audio(config, key), jax.random.key(0))))
    tensors = {"rotary_embed.inv_freq": 10_000.0 ** (-np.arange(0, 64, 2, np.float32) / 64)}
    for name in audio_names(config):
        shape = expected[name.path].shape
        for i in range(shape[0] if name.stacked else 1):
            for key in name.keys:
                wanted = torch_shape(name.kind, shape[1:] if name.stacked else shape)
                tensors[key.format(i=i)] = 0.02 * rng.standard_normal(wanted, np.float32)
    assert (len(tensors), sum(value.size for value in tensors.values())) == (364, 337_096_804 + 32)
    return tensors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
