"""Weights in and out: checkpoints of others become models for every command here, and models become PyTorch's.

    jamflow convert f5tts SRC DST --config v1-base          an F5-TTS checkpoint -> a model: sample from it, start training from it
    jamflow convert vocos SRC MODEL                         gives a model (a run, or a converted one) a vocoder
    jamflow convert torch MODEL DST                         a model -> a folder that PyTorch serves; --audio-only: F5-TTS's own code

SRC is a .safetensors or a PyTorch file (.pt, .bin); nothing in it is ever run. What is wrong with it is one line, and nothing is
written.
"""
import argparse
import dataclasses
import math
import sys
import tempfile
from pathlib import Path

from launch import convert_torch
from launch.exits import CLEAN, Parser, one_line_errors

TOKENIZERS = ("pinyin", "char", "byte")


@one_line_errors
def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    return options.convert(options)


def f5tts(options: argparse.Namespace) -> int:
    """An F5-TTS checkpoint as a model directory."""
    from jamflow_jax.errors import InputError
    from jamflow_jax.torch_io import f5_config
    from jamflow_jax.torch_io import f5tts as checkpoint
    from jamflow_jax.train.bundle import save_model
    from launch.outputs.staging import check_new, staged_folder

    target = Path(options.dst)
    check_new(target)
    arch, kind = f5_config.read(options.config)
    contents = checkpoint.contents(options.src, options.raw)
    said = contents.tokenizer if contents.tokenizer in TOKENIZERS else None
    kind = options.tokenizer or said or kind
    old = _vocabulary(options, kind)
    new = _extended(old, options.extend_vocab)
    audio, params = checkpoint.load(options.src, arch, options.raw)
    if old.vocab_size != audio.text_vocab:
        raise InputError(f"{options.src}: made with {audio.text_vocab} tokens, but the vocabulary has {old.vocab_size}")
    added = new.vocab[old.vocab_size :]
    if added:
        params["text"]["table"] = checkpoint.extend_vocabulary(params["text"]["table"], added)
        audio = dataclasses.replace(audio, text_vocab=new.vocab_size)
    model = _model(audio, params, new, f"F5-TTS, {Path(options.src).name}", options.licence or contents.licence)

    for line in _table(contents, audio, params, added):
        print(f"  {line}")
    with staged_folder(target) as folder:
        save_model(folder, model)
    print(f"{target}: a model of the audio stream, {new.vocab_size:,} {kind} tokens", flush=True)
    for origin in model.origins:
        print(f"  {origin}")
    print(f"  jamflow sample --model {target} --out out --text TEXT --ref-audio VOICE.wav --ref-text WORDS")
    return CLEAN


def vocos(options: argparse.Namespace) -> int:
    """A Vocos checkpoint beside a model, in its own layout."""
    from safetensors.numpy import save_file

    from jamflow_jax import storage
    from jamflow_jax.torch_io import vocos as checkpoint
    from jamflow_jax.torch_io.export import state_dict
    from jamflow_jax.torch_io.names import vocos_names
    from jamflow_jax.train import origins, workdir
    from jamflow_jax.train.bundle import VOCODER

    workdir.read(options.model)
    params = checkpoint.load(options.src)
    licence = options.licence or checkpoint.licence(options.src)
    origin = origins.Origin("vocoder", f"Vocos, {Path(options.src).name}", licence)
    known = origins.read(options.model)
    place = storage.at(options.model) / VOCODER
    with tempfile.TemporaryDirectory(prefix="jamflow-") as folder:
        file = Path(folder) / VOCODER
        save_file(state_dict(vocos_names(), params, ""), file, {"format": "pt", "licence": licence})
        origins.write(options.model, origins.merge(known, [origin]))  # both, until the old one is replaced
        storage.write(place, file.read_bytes())
    origins.write(options.model, [*(other for other in known if other.part != "vocoder"), origin])
    print(f"{place}: `jamflow sample --model {options.model}` makes sound with it\n  {origin}")
    return CLEAN


def _vocabulary(options: argparse.Namespace, kind: str):
    """The checkpoint's own: named, or vocab.txt beside it as F5-TTS publishes it."""
    from jamflow_jax.errors import InputError
    from jamflow_jax.text.tokenizer import Tokenizer

    path = Path(options.vocab) if options.vocab else Path(options.src).parent / "vocab.txt"
    if kind != "byte" and not options.vocab and not path.is_file():
        raise InputError(f"{path}: no vocabulary beside the checkpoint; name the vocab.txt it was made with: --vocab FILE")
    return Tokenizer.from_file(path, kind)


def _extended(old, path: str | None):
    """The vocabulary with the tokens of a file that it lacks at its end, in the file's order."""
    if path is None:
        return old
    from jamflow_jax.errors import ConfigError
    from jamflow_jax.text.tokenizer import Tokenizer, read_vocabulary

    if old.kind == "byte":
        raise ConfigError("--extend-vocab: a byte tokenizer has all there is")
    known = set(old.vocab)
    return Tokenizer(old.kind, (*old.vocab, *(token for token in dict.fromkeys(read_vocabulary(path)) if token not in known)))


def _model(audio, params, tokenizer, source: str, licence: str):
    """The audio stream alone, as a model; its motion space is only a name until motion is trained."""
    import numpy as np

    from jamflow_jax.model.config import JamFlowConfig, MotionConfig
    from jamflow_jax.motion.normalise import Statistics
    from jamflow_jax.motion.space import get
    from jamflow_jax.train.bundle import Model
    from jamflow_jax.train.config import RunConfig
    from jamflow_jax.train.origins import Origin

    space = get("liveportrait")
    trunk = {name: getattr(audio, name) for name in ("width", "depth", "heads", "head_dim", "ff_mult")}
    motion = MotionConfig(**trunk, mouth_dim=space.mouth_dim, rest_dim=space.rest_dim)
    D = space.dim
    nothing = Statistics(mean=np.zeros(D), std=np.ones(D), live=np.ones(D, bool), count=0)
    config = RunConfig(model=JamFlowConfig(audio, motion))
    return Model(config, {"audio": params}, space, nothing, tokenizer, 0, (Origin("audio", source, licence),))


def _table(contents, audio, params, added: tuple[str, ...]):
    """What of the file was taken, what is new, what was left."""
    import jax

    count, new = sum(leaf.size for leaf in jax.tree.leaves(params)), len(added) * audio.text_width
    which = "the average (EMA)" if contents.averaged else "the weights, not averaged"
    yield f"taken   {len(contents.keys):4} tensors, {count - new:,} parameters: {which}"
    if added:
        shown = " ".join(added[:20]) + (" ..." if len(added) > 20 else "")
        yield f"new     {len(added):4} rows of the text embedding, {new:,} parameters, drawn as the old ones are spread: {shown}"
    if contents.others:
        left = sum(map(math.prod, contents.others.values()))
        yield f"unused  {len(contents.others):4} tensors, {left:,} parameters: the other set of weights"
    if contents.tables:
        names = ", ".join(sorted({name.rpartition(".")[2] for name in contents.tables}))
        yield f"unused  {len(contents.tables):4} that are no parameters: {names}"


def _f5tts_options(forms) -> None:
    parser = forms.add_parser("f5tts", description=_first_lines(f5tts), help="an F5-TTS checkpoint -> a model")
    parser.add_argument("src", metavar="SRC", help="the checkpoint: .safetensors, or the trainer's .pt")
    parser.add_argument("dst", metavar="DST", help="the model, a folder that is not there yet")
    parser.add_argument("--config", required=True, metavar="F5", help="what it is (files do not say): v1-base, v0-base, v1-small, "
                        "small, or F5-TTS's YAML, or its model.arch as JSON")  # fmt: skip
    parser.add_argument("--vocab", metavar="FILE", help="the vocab.txt it was made with (default: the one beside it)")
    parser.add_argument("--tokenizer", choices=TOKENIZERS, help="how it spells (default: the file's, else the YAML's, or pinyin)")
    parser.add_argument("--extend-vocab", metavar="FILE", help="adds the tokens of this vocab.txt that it lacks, for finetuning")
    parser.add_argument("--raw", action="store_true", help="the trained weights instead of their average, where a file has both")
    parser.add_argument("--licence", metavar="NAME", help="of the weights (default: the file's, or CC-BY-NC-4.0 as released)")
    parser.set_defaults(convert=f5tts)


def _vocos_options(forms) -> None:
    parser = forms.add_parser("vocos", description=_first_lines(vocos), help="gives a model a vocoder")
    parser.add_argument("src", metavar="SRC", help="Vocos for 24 kHz mels: .safetensors or pytorch_model.bin")
    parser.add_argument("model", metavar="MODEL", help="the --workdir of a run, or a converted model; an older vocoder is replaced")
    parser.add_argument("--licence", metavar="NAME", help="of the weights (default: the file's, or MIT as released)")
    parser.set_defaults(convert=vocos)


def _parser() -> argparse.ArgumentParser:
    parser = Parser("convert", __doc__)
    forms = parser.add_subparsers(required=True, metavar="FORM", parser_class=_form_parser)
    for add_options in (_f5tts_options, _vocos_options, convert_torch.add_options):
        add_options(forms)
    return parser


def _form_parser(prog: str, description: str, **_) -> Parser:
    return Parser(prog.removeprefix("jamflow "), description)


def _first_lines(function) -> str:
    return " ".join((function.__doc__ or "").split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
