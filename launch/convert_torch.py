"""`jamflow convert torch`: a model as a folder that PyTorch serves, or its audio stream as F5-TTS's own code loads it."""
import argparse
import contextlib
from pathlib import Path

from launch.exits import CLEAN
from launch.outputs.staging import check_new, staged_folder

DTYPES = ("float32", "bfloat16", "float16")


def add_options(forms) -> None:
    """The options of the form `torch` of `jamflow convert`."""
    about = "A model as a folder that PyTorch serves, checked against JAX before it appears."
    parser = forms.add_parser("torch", description=about, help="a model -> PyTorch")
    parser.add_argument("model", metavar="MODEL", help="the --workdir of a run, or a converted model")
    parser.add_argument("dst", metavar="DST", help="a folder that is not there yet")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the parameters in the file (default %(default)s)")
    parser.add_argument("--audio-only", action="store_true", help="the audio stream alone, as F5-TTS's own code loads it")
    parser.add_argument("--raw", action="store_true", help="the trained parameters instead of their average (EMA)")
    parser.add_argument("--step", type=int, metavar="N", help="this checkpoint instead of the newest")
    parser.add_argument("--vocoder", metavar="FILE", help="a Vocos checkpoint to go along (default: the model's own, if any)")
    parser.set_defaults(convert=run)


def run(options: argparse.Namespace) -> int:
    """Writes DST, whole and checked, or nothing. Raises InputError."""
    from jamflow_jax import storage
    from jamflow_jax.errors import ConfigError, InputError
    from jamflow_jax.torch_io import export, verify, vocos
    from jamflow_jax.train import origins
    from jamflow_jax.train.bundle import VOCODER, load_model

    verify.need_torch()
    if options.audio_only and options.vocoder:
        raise ConfigError("--vocoder goes with the whole model; F5-TTS's own code brings its vocoder itself")
    check_new(options.dst)
    with staged_folder(options.dst) as folder, contextlib.ExitStack() as copies:
        model = load_model(options.model, ema=not options.raw, step=options.step)
        config, foreign = model.config.model, list(model.origins)
        print(f"model: {options.model}, step {model.step:,}, {' and '.join(model.params)}", flush=True)
        if options.audio_only:
            if "audio" not in model.params:
                raise InputError(f"{options.model}: a stage-1 run, it has no audio stream")
            if not config.runs_alone("audio"):
                raise InputError(f"{options.model}: its audio stream attends within a window (model.windows.audio_audio), which "
                                 "F5-TTS's code cannot do")  # fmt: skip
            name = Path(options.model).absolute().name
            foreign = [origin for origin in foreign if origin.part != "vocoder"]
            checked = export.write_audio_only(
                folder, config.audio, model.params["audio"], model.tokenizer, name, options.dtype, origins.licence(foreign))
        else:
            own = storage.at(options.model) / VOCODER
            source = options.vocoder or (own if storage.exists(own) else None)
            source = source and copies.enter_context(storage.local(source))
            vocoder = None if source is None else vocos.load(source)
            if options.vocoder:
                foreign = [origin for origin in foreign if origin.part != "vocoder"]
                foreign.append(origins.Origin("vocoder", f"Vocos, {source.name}", vocos.licence(source)))
            licences = (origins.licence(origin for origin in foreign if origin.part != "vocoder"),
                        vocos.licence(source) if source else "")  # fmt: skip
            facts = {"stage": model.config.stage, "speech": model.config.speech, "step": model.step, "averaged": not options.raw}
            checked = export.write(
                folder, config, model.params, model.tokenizer, model.space, model.statistics, facts, options.dtype, vocoder,
                *licences)
        origins.write(folder, foreign)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    for name, size in sizes.items():
        print(f"  {str(Path(options.dst) / name):40} {size:>15,} bytes")
    print("\n".join([*summary(checked), *map(str, foreign)]))
    return CLEAN


def summary(checked: dict) -> list[str]:
    """What verification.json says, for people."""

    def numbers(values):
        return ", ".join(f"{name} {value:.1e}" for name, value in values.items())

    lines = [f"JAX against the written files, largest difference of velocities: {numbers(checked['largest_difference'])} "
             f"(allowed {checked['bound']:.0e})"]  # fmt: skip
    for key, errors in checked.items():
        if key.endswith("_error"):
            for how, of in errors.items():
                largest, rms = (numbers({name: error[which] for name, error in of.items()}) for which in ("largest", "rms"))
                lines.append(f"{key.removesuffix('_error')} against float32, {how.replace('_', ' ')}: largest {largest}; rms {rms}")
    if "vocoder_largest_difference" in checked:
        lines.append(f"the vocoder's sound: {checked['vocoder_largest_difference']:.1e} of its standard deviation")
    return lines
