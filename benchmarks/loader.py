"""Speed and memory of the loader, beside a PyTorch DataLoader on the same records and F5-TTS's data set class on the same sound.

    python -m benchmarks.loader [--clips 600] [--minutes 60] [--out runs/loader]

Makes a corpus once: noise as speech (lengths of a speech corpus, 5.6 s on average, words as text) with LivePortrait motion for
every other clip, as .wav files and as a prepared data set. Each reader then runs over some batches, in one thread and in workers;
the fastest of three counts, from the first batch on. Rates are per second of CPU time, which other jobs on the machine
disturb little, and per second of wall time. Then as many batches are read as a chip that eats 2,700 s of sound a second needs
in --minutes, and memory is watched.

The opponents are used where they are installed, in the same environment (none is needed otherwise):

    pip install torch==2.13.0 datasets x-transformers torchdiffeq pypinyin rjieba
    pip install --no-deps f5-tts==1.1.22 vocos==0.1.0

torchaudio is replaced by soundfile and torch.stft with a filterbank made once, which is no slower.
"""
import argparse
import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from data_pipelines.dataset import Corpus
from data_pipelines.loader import Loader
from data_pipelines.plan import Plan
from data_pipelines.prepare.build import Example, build
from jamflow_jax.motion import space
from jamflow_jax.timeline import HOP, SAMPLE_RATE, motion_frames

BATCH_FRAMES, MAX_BATCH = 38_400, 64  # one device's share, as in F5-TTS
APPETITE = 2_700  # seconds of sound a second: an H200 at 45 % utilisation on the 668 M model
TARGET = 2_000  # a second and core
WORDS = "the of and a to in he was that his it with as had for said not at on her you is be but him she all by they".split()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--batches", type=int, default=40, help="read by each reader, three times")
    parser.add_argument("--workers", type=int, default=2, help="worker processes of the readers that are given some")
    parser.add_argument("--minutes", type=float, default=60, help="of training whose batches are read to watch memory")
    parser.add_argument("--out", type=Path, default=Path("runs/loader"))
    options = parser.parse_args(argv)
    folder = corpus_of(options.clips, options.out)

    start = time.perf_counter()
    loader = open_it(folder)
    first = next(loader.iterate(0, 1))
    print(f"start-up, from nothing to the first batch: {time.perf_counter() - start:.2f} s", flush=True)
    del first
    batches, workers = options.batches, options.workers
    results = {
        "jamflow, one thread": best(lambda: (sound(loader.batch(step)) for step in range(batches))),
        "jamflow, read ahead": best(lambda: map(sound, loader.iterate(0, batches))),
        f"jamflow, {workers} workers": best(lambda: map(sound, open_it(folder, workers).iterate(0, batches)), workers, 1),
    }
    results |= torch_loader(folder, loader.plan, batches, workers) | f5tts(options.out, batches, workers)
    table(results, best_name="jamflow, one thread")
    memory = watch(loader, options.minutes)
    (options.out / "loader.json").write_text(json.dumps({"readers": results, "memory": memory}, indent=1) + "\n")
    return 0 if results["jamflow, one thread"]["audio s per CPU s"] > TARGET and memory["flat"] else 1


def open_it(folder: Path, workers: int = 0) -> Loader:
    corpus = Corpus([folder])
    return Loader(corpus, Plan(corpus.index, 12, BATCH_FRAMES, MAX_BATCH), workers=workers)


def sound(batch: dict[str, np.ndarray]) -> tuple[int, float]:
    """Examples of a batch and seconds of them."""
    return len(batch["length"]), float(batch["length"].sum()) * HOP / SAMPLE_RATE


def best(run: Callable[[], Iterable[tuple[int, float]]], workers: int = 0, times: int = 3) -> dict[str, float]:
    """Rates of the fastest of several runs over batches of (examples, seconds), from the first batch on; no CPU time of workers."""
    found = []
    for _ in range(times):
        batches = iter(run())
        next(batches)
        wall, cpu = time.perf_counter(), time.process_time()
        examples, seconds = np.sum(list(batches), axis=0)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu if not workers else np.inf
        found.append({
            "examples per CPU s": examples / cpu, "audio s per CPU s": seconds / cpu, "examples per s": examples / wall,
            "audio s per s": seconds / wall,
        })  # fmt: skip
    return {name: round(max(rates[name] for rates in found), 1) for name in found[0]}


def both(name: str, run: Callable[[int], Iterable[tuple[int, float]]], workers: int) -> dict[str, dict[str, float]]:
    """`run(worker processes)` in one thread and in workers."""
    return {f"{name}, one thread": best(lambda: run(0)), f"{name}, {workers} workers": best(lambda: run(workers), workers)}


def table(results: dict[str, dict[str, float]], best_name: str) -> None:
    columns = list(results[best_name])
    print(f"\n| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, rates in results.items():
        print(f"| {name} | {' | '.join(f'{rates[column]:,.0f}' if rates[column] else '' for column in columns)} |")
    print(flush=True)


def watch(loader: Loader, minutes: float) -> dict:
    """Resident memory while the batches of `minutes` of training are read."""
    need, had, step, sizes, start = minutes * 60 * APPETITE, 0.0, 0, [], time.perf_counter()
    next_look = 0.0
    for batch in loader.iterate(0):
        had, step = had + sound(batch)[1], step + 1
        if had >= next_look:
            sizes.append(resident())
            next_look += need / 40
        if had >= need:
            break
    early, late = statistics.median(sizes[4:14]), statistics.median(sizes[-10:])
    flat = late < 1.05 * early
    print(f"{step:,} batches, {had / 3600:,.0f} h of sound, in {time.perf_counter() - start:.0f} s: resident memory "
          f"{early:.0f} MiB after a tenth, {late:.0f} MiB at the end, {max(sizes):.0f} MiB at most: "
          f"{'flat' if flat else 'GROWING'}")  # fmt: skip
    return {"batches": step, "hours": round(had / 3600), "MiB": sizes, "flat": flat}


def resident() -> int:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024


# --- the corpus


def corpus_of(clips: int, out: Path) -> Path:
    """The prepared data set in `out`, beside wavs/ and rows.json of the same clips."""
    folder = out / f"set-{clips}"
    if folder.exists():
        return folder
    import soundfile

    (out / "wavs").mkdir(parents=True, exist_ok=True)
    rows, rng = [], np.random.default_rng(0)

    def examples() -> Iterator[Example]:
        for i in range(clips):
            seconds = float(np.clip(rng.lognormal(np.log(5.75) - 0.75**2 / 2, 0.75), 0.5, 30))
            audio = rng.normal(0, 0.1, int(seconds * SAMPLE_RATE)).astype(np.float32)
            motion = rng.normal(0, 0.01, (motion_frames(len(audio) // HOP + 1), 63)).astype(np.float32) if i % 2 else None
            text = " ".join(rng.choice(WORDS, 1 + int(2.7 * seconds)))
            path = (out / "wavs" / f"{i:06d}.wav").absolute()
            soundfile.write(path, audio, SAMPLE_RATE)
            rows.append({"audio_path": str(path), "text": text, "duration": seconds})
            yield Example(f"clip{i:06d}", audio, motion, text, split="train")

    build(examples(), folder, space.get("liveportrait"), keep_audio=False, max_seconds=31)
    (out / "rows.json").write_text(json.dumps(rows))
    return folder


# --- the opponents


def torch_loader(folder: Path, plan: Plan, batches: int, workers: int) -> dict[str, dict[str, float]]:
    """The same records of the same batches through torch.utils.data, written as one would for PyTorch."""
    try:
        import torch
        from torch.nn.utils.rnn import pad_sequence
        from torch.utils.data import DataLoader
    except ImportError:
        print("PyTorch is not installed: its DataLoader is left out")
        return {}
    torch.set_num_threads(1)

    class Records(torch.utils.data.Dataset):
        def __init__(self):
            self.corpus = Corpus([folder])
            statistics, rest = self.corpus.statistics, list(self.corpus.space.rest)
            self.mean, self.std = (torch.tensor(x, dtype=torch.float32) for x in (statistics.mean, statistics.std))
            self.mouth, self.rest = list(self.corpus.space.mouth), rest

        def __getitem__(self, i):
            record = self.corpus.record(i)
            row = {"mel": torch.tensor(record.mel), "text": torch.from_numpy(self.corpus.tokenizer.encode(record.text))}
            if record.motion is not None:
                motion = (torch.tensor(record.motion) - self.mean) / self.std
                row |= {"mouth": motion[:, self.mouth], "rest": motion[:, self.rest]}
            return row

    def collate(rows):
        batch = {name: pad_sequence([row[name] for row in rows], batch_first=True) for name in rows[0]}
        return batch | {"length": torch.tensor([len(row["mel"]) for row in rows])}

    def run(processes: int):
        sampler = [plan.batch(step)[1].tolist() for step in range(batches)]
        for batch in DataLoader(Records(), batch_sampler=sampler, collate_fn=collate, num_workers=processes):
            yield sound(batch)

    return both("PyTorch DataLoader", run, workers)


def f5tts(out: Path, batches: int, workers: int) -> dict[str, dict[str, float]]:
    """F5-TTS's CustomDataset, DynamicBatchSampler and collate_fn on the .wav files; mels are made on the way, as in training."""
    try:
        dataset, torch = import_f5tts()
    except ImportError as error:
        print(f"F5-TTS is left out: {error}")
        return {}
    from torch.utils.data import DataLoader, SequentialSampler

    rows = json.loads((out / "rows.json").read_text())
    clips = dataset.CustomDataset(rows, durations=[row["duration"] for row in rows])
    sampler = dataset.DynamicBatchSampler(SequentialSampler(clips), BATCH_FRAMES, max_samples=MAX_BATCH, random_seed=0)
    few = list(sampler)[: max(2, batches // 8)]  # it takes so long that fewer do

    def run(processes: int):
        for batch in DataLoader(clips, batch_sampler=few, collate_fn=dataset.collate_fn, num_workers=processes):
            yield len(batch["mel_lengths"]), float(batch["mel_lengths"].sum()) * HOP / SAMPLE_RATE

    return both("F5-TTS data set", run, workers)


def import_f5tts():
    """f5_tts.model.dataset, without the trainer that its package would import, over a stand-in for torchaudio."""
    import importlib

    import librosa
    import soundfile
    import torch

    class MelSpectrogram(torch.nn.Module):
        def __init__(self, sample_rate, n_fft, win_length, hop_length, n_mels, power, center, normalized, norm):
            super().__init__()
            self.n_fft, self.hop, self.window = n_fft, hop_length, torch.hann_window(win_length)
            filters = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, htk=True, norm=norm)
            self.filters = torch.from_numpy(filters).float()

        def forward(self, wave):
            spectrum = torch.stft(wave, self.n_fft, self.hop, window=self.window, center=True, return_complex=True)
            return self.filters @ spectrum.abs()

    def load(path):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        return torch.from_numpy(samples.T.copy()), rate

    torchaudio = types.ModuleType("torchaudio")
    torchaudio.transforms = types.SimpleNamespace(MelSpectrogram=MelSpectrogram, Resample=None)
    torchaudio.load = load
    sys.modules["torchaudio"] = torchaudio
    spec = importlib.util.find_spec("f5_tts")
    if spec is None:
        raise ImportError("f5-tts is not installed")
    model = types.ModuleType("f5_tts.model")
    model.__path__ = [str(Path(spec.submodule_search_locations[0]) / "model")]
    sys.modules["f5_tts.model"] = model
    return importlib.import_module("f5_tts.model.dataset"), torch


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
