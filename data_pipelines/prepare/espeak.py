"""Speech from espeak-ng with the exact time of every phoneme, through ctypes.

The library and its data come with the package `espeakng-loader`. Two habits make it a function of its arguments alone:

  state     the library keeps state between utterances, so each one is spoken by a fresh private copy of it;
  chance    breathy and rough voices draw noise from a generator seeded with the clock, so it is seeded here instead.

A phoneme event marks where the sound of a phoneme starts. For a voiceless plosive that is the burst, while the lips or tongue
closed when the silence before it began; that silence is given to the plosive here, since faces close when mouths do.
"""
import _ctypes
import ctypes
import dataclasses
import shutil
import tempfile
import unicodedata
from pathlib import Path

import espeakng_loader
import numpy as np

from jamflow_jax.errors import InputError

_RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: synthesise into the callback, on the calling thread
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 1, 2, 0x8000
_UTF8, _POSITION_CHARACTER = 1, 1
_RATE, _PITCH = 1, 3
_EVENT_END, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_STOPS = ("p", "b", "t", "d", "k", "ɡ")  # affricates begin with one
_LONGEST_CLOSURE = 0.12  # s
_MARKS = "ˈˌ"


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", _Id),
    ]  # fmt: skip


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclasses.dataclass(frozen=True)
class Speech:
    """One utterance. Times are seconds from its first sample; phonemes tile it without gaps, silence having the label ''."""

    samples_N: np.ndarray  # int16
    sample_rate: int  # Hz
    phonemes: tuple[tuple[float, float, str], ...]  # (start, end, IPA with stress marks)
    words: tuple[tuple[float, float, str], ...]  # (start, end, word); espeak-ng runs some pairs together: "of the"


def speak(text: str, voice: str = "en-us", rate: int = 160, pitch: int = 50) -> Speech:
    """Speaks `text`: equal arguments give equal bytes, in any order, process or thread.

    Args:
      text: what to say, one sentence.
      voice: an espeak-ng voice with an optional variant: "en-us", "gmw/en", "en-us+f2".
      rate: words a minute, 80 to 450.
      pitch: 0 to 100.

    Raises:
      InputError: a voice that espeak-ng does not have, or a text in which it finds nothing to say.
    """
    with tempfile.TemporaryDirectory(prefix="espeak") as folder:
        copy = Path(folder, Path(espeakng_loader.get_library_path()).name)
        shutil.copy(espeakng_loader.get_library_path(), copy)
        data = Path(folder, "espeak-ng-data")  # espeak-ng cuts paths of more than 160 characters; this one is short
        data.symlink_to(espeakng_loader.get_data_path(), target_is_directory=True)
        library = ctypes.CDLL(str(copy))
        try:
            rate_hz, samples, events = _synthesise(library, folder, text, voice, rate, pitch)
        finally:
            handle = library._handle
            del library
            _ctypes.dlclose(handle)
    if not samples.any():
        raise InputError(f"text {text!r}: espeak-ng found nothing to say")
    return _speech(text, rate_hz, samples, events)


def _synthesise(library, folder: str, text: str, voice: str, rate: int, pitch: int):
    rate_hz = library.espeak_Initialize(_RETRIEVAL, 0, folder.encode(), _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT)
    if rate_hz <= 0:
        raise RuntimeError(f"espeak-ng did not start (data in {espeakng_loader.get_data_path()})")
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_ng_SetRandSeed(1)
    sound, events = bytearray(), []

    def receive(wave, count, event):
        if count > 0:
            sound.extend(ctypes.string_at(wave, 2 * count))
        i = 0
        while event[i].type != _EVENT_END:
            e = event[i]
            if e.type == _EVENT_PHONEME:
                events.append((e.type, e.sample, bytes(e.id.string).decode("utf-8", "ignore")))
            elif e.type == _EVENT_WORD:
                events.append((e.type, e.sample, e.text_position - 1))
            i += 1
        return 0

    callback = _Callback(receive)
    try:
        library.espeak_SetSynthCallback(callback)
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"voice {voice!r}: espeak-ng has no such voice")
        library.espeak_SetParameter(_RATE, rate, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        spoken = text.encode()
        library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, _POSITION_CHARACTER, 0, _UTF8, None, None)
        library.espeak_Synchronize()
    finally:
        library.espeak_Terminate()  # final: Initialize after it hangs
    return rate_hz, np.frombuffer(bytes(sound), np.int16), events


def _speech(text: str, rate_hz: int, samples: np.ndarray, events) -> Speech:
    end = len(samples)
    starts = [[sample, label] for kind, sample, label in events if kind == _EVENT_PHONEME]
    if not starts or starts[0][0] > 0:
        starts.insert(0, [0, ""])
    for i, entry in enumerate(starts[1:], 1):
        sample, label = entry
        if label.strip(_MARKS).startswith(_STOPS):
            earliest = max(starts[i - 1][0] + 1, sample - round(_LONGEST_CLOSURE * rate_hz))
            while sample > earliest and samples[sample - 1] == 0:
                sample -= 1
            entry[0] = sample
    bounds = [sample for sample, _ in starts] + [end]
    phonemes = tuple(
        (a / rate_hz, b / rate_hz, unicodedata.normalize("NFC", label))
        for a, b, (_, label) in zip(bounds, bounds[1:], starts) if b > a
    )
    return Speech(samples, rate_hz, phonemes, _words(text, rate_hz, events, end))


def _words(text: str, rate_hz: int, events, end: int) -> tuple[tuple[float, float, str], ...]:
    marks = [(sample, position) for kind, sample, position in events if kind == _EVENT_WORD]
    pauses = [sample for kind, sample, label in events if kind == _EVENT_PHONEME and not label] + [end]
    words = []
    for (start, position), (stop, following) in zip(marks, marks[1:] + [(end, len(text))]):
        label = text[position:following].strip(" .,?!;:\"'")
        stop = min([stop] + [pause for pause in pauses if pause > start])
        if label:
            words.append((start / rate_hz, stop / rate_hz, label))
    return tuple(words)
