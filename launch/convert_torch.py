"""`jamflow convert torch`: a trained run as a folder that PyTorch serves, or its audio stream as F5-TTS's own code loads it."""
import argparse
from pathlib import Path

from launch.exits import CLEAN
from launch.outputs.staging import staged_folder

DTYPES = ("float32", "bfloat16", "float16")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the sub-command."""
    parser.add_argument("model", metavar="MODEL", help="the --workdir of a training run")
    parser.add_argument("destination", metavar="DST", help="a new folder")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the parameters in the file (default %(default)s)")
    parser.add_argument("--audio-only", action="store_true", help="the audio stream alone, as F5-TTS's own code loads it")
    parser.add_argument("--raw", action="store_true", help="the trained parameters instead of their average (EMA)")
    parser.add_argument("--step", type=int, metavar="N", help="this checkpoint instead of the newest")
    parser.add_argument("--vocoder", metavar="FILE", help="a Vocos checkpoint to go with it (.safetensors, .bin)")


def run(options: argparse.Namespace) -> int:
    """Writes DST, whole and checked, or nothing. Raises InputError."""
    from jamflow_jax.errors import ConfigError, InputError
    from jamflow_jax.torch_io import export, verify, vocos
    from jamflow_jax.train.bundle import load_model

    verify.need_torch()
    if options.audio_only and options.vocoder:
        raise ConfigError("--vocoder goes with the whole model; F5-TTS's own code finds its vocoder itself")
    with staged_folder(options.destination) as folder:
        vocoder = vocos.load(options.vocoder) if options.vocoder else None
        model = load_model(options.model, ema=not options.raw, step=options.step)
        config = model.config.model
        print(f"model: {options.model}, step {model.step:,}, {' and '.join(model.params)}", flush=True)
        if options.audio_only:
            if "audio" not in model.params:
                raise InputError(f"{options.model}: a stage-1 run, it has no audio stream")
            if not config.runs_alone("audio"):
                raise InputError(f"{options.model}: its audio stream attends within a window (model.windows.audio_audio), which "
                                 "F5-TTS's code cannot do")  # fmt: skip
            name = Path(options.model).absolute().name
            checked = export.write_audio_only(folder, config.audio, model.params["audio"], model.tokenizer, name, options.dtype)
        else:
            facts = {"stage": model.config.stage, "speech": model.config.speech, "step": model.step, "averaged": not options.raw}
            checked = export.write(
                folder, config, model.params, model.tokenizer, model.space, model.statistics, facts, options.dtype, vocoder)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    for name, size in sizes.items():
        print(f"  {Path(options.destination) / name}  {size:,} bytes")
    print("\n".join(summary(checked)))
    return CLEAN


def summary(checked: dict) -> list[str]:
    """What verification.json says, for people."""
    def numbers(values):
        return ", ".join(f"{name} {value:.1e}" for name, value in values.items())

    lines = [f"checked on random inputs, JAX against the written files: {numbers(checked['largest_difference'])} (at most "
             f"{checked['bound']:.0e} of unit-scale velocities)"]  # fmt: skip
    for key, errors in checked.items():
        if key.endswith("_error"):
            for how, of in errors.items():
                largest = numbers({name: error["largest"] for name, error in of.items()})
                rms = numbers({name: error["rms"] for name, error in of.items()})
                lines.append(f"{key.removesuffix('_error')} against float32, {how.replace('_', ' ')}: largest {largest}; rms {rms}")
    if "vocoder_largest_difference" in checked:
        lines.append(f"vocoder: {checked['vocoder_largest_difference']:.1e} of the sound's deviation")
    return lines
