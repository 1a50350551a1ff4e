"""The quickstart's requests: all seven tasks on clips that were held out, and what is known of the truth of each."""
import json
from pathlib import Path

import numpy as np

from launch.outputs.staging import staged
from launch.outputs.wav import write_wav


def write_requests(data: Path, out: Path) -> list[dict]:
    """Writes sound and motion of some test clips and OUT/requests.jsonl; returns what the report says about each request.

    Raises:
      InputError: fewer than two test clips with sound, motion and text.
    """
    from data_pipelines.dataset import DataSet
    from jamflow_jax.errors import InputError

    corpus = DataSet(data)
    clips = []
    for i in corpus.index.select("test", ("audio", "motion", "text")):
        clips.append((corpus.record(int(i)), corpus.audio(int(i))))
    if len(clips) < 2:
        raise InputError(f"{data}: {len(clips)} test clips with sound, motion and text; the tasks need 2")
    by_voice: dict[str, list] = {}
    for clip in clips:
        by_voice.setdefault(clip[0].speaker, []).append(clip)
    voices = sorted(by_voice, key=lambda voice: -len(by_voice[voice]))  # the voices with the most held-out clips first

    def pick(voice: int, n: int = 0):
        own = by_voice[voices[voice % len(voices)]]
        return own[n % len(own)]

    def reference_of(clip):
        """Another clip of the same voice, one that the model was trained on: a reference is something one has."""
        for i in corpus.index.select("train", ("audio", "text")):
            if corpus.index.speaker_name(int(i)) == clip[0].speaker:
                return corpus.record(int(i)), corpus.audio(int(i))
        return clip

    requests, tasks = [], []
    with staged(out) as folder:

        def audio(clip) -> str:
            write_wav(folder / f"{clip[0].id}.wav", clip[1])
            return f"{clip[0].id}.wav"

        def motion(clip) -> str:
            names = np.array(corpus.space.dims)
            np.savez_compressed(folder / f"{clip[0].id}.npz", motion=clip[0].motion, names=names, fps=25)
            return f"{clip[0].id}.npz"

        def add(name: str, number: int, title: str, story: str, clip=None, **fields) -> None:
            requests.append({"name": name, **fields})
            about = {} if clip is None else {"speaker": clip[0].speaker, "words": clip[0].text, "recording": audio(clip)}
            tasks.append({"name": name, "number": number, "title": title, "story": story, **about})

        first, second = pick(0), pick(1)
        for n, clip in enumerate((first, second)):
            add(f"1-talking-head-{'ab'[n]}", 1, "Speech to motion", "Given the sound alone, the model moves the mouth.", clip,
                task="audio-to-motion", audio=audio(clip), truth=motion(clip), seed=n)  # fmt: skip
        voice = pick(2)
        reference = reference_of(voice)
        spoken = {"ref_audio": audio(reference), "ref_text": reference[0].text}
        add("2-text-to-speech", 2, "Text to speech", f"Text, and a reference of {voice[0].speaker}'s voice.", voice,
            task="text-to-speech", text=voice[0].text, seed=2, **spoken)  # fmt: skip
        clip = pick(3)
        add("3-text-to-both", 3, "Text to speech and motion", "Text alone: the model chooses a voice, speaks and moves.", clip,
            task="text-to-both", text=clip[0].text, seed=3)  # fmt: skip
        clip = pick(4)
        reference = reference_of(clip)
        add("4-reference-to-both", 4, "Text and a voice to speech and motion",
            f"Text, and a reference of {clip[0].speaker}'s voice.", clip, task="text-and-reference-to-both", text=clip[0].text,
            ref_audio=audio(reference), ref_text=reference[0].text, seed=4)  # fmt: skip
        clip = pick(5)
        add("5-dubbing", 5, "Dubbing: text and motion to speech", "Silent lips and what they say; the model finds the sound.", clip,
            task="dubbing", text=clip[0].text, motion=motion(clip), seed=5)  # fmt: skip
        add("6-lips-to-speech", 6, "Motion to speech", "Silent lips, and no text.", clip, task="motion-to-speech",
            motion=motion(clip), seed=6)  # fmt: skip
        clip = pick(0, 1)
        seconds = clip[0].length * 256 / 24_000
        span = f"{0.35 * seconds:.2f}:{0.65 * seconds:.2f}"
        story = f"The part from {span.replace(':', ' s to ')} s is made anew, from what surrounds it and the text."
        add("7-edit", 7, "Infilling a span of both streams", story, clip, task="edit", text=clip[0].text, audio=audio(clip),
            motion=motion(clip), edit=span, seed=7)  # fmt: skip
        lines = [json.dumps(request, ensure_ascii=False) for request in requests]
        (folder / "requests.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tasks
