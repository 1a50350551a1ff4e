"""All measures of a task: which rows stand in which table, what each clip scores, and the tables made of that."""
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jamflow_jax.errors import InputError
from jamflow_jax.evaluate import motion, speech, sync, words
from jamflow_jax.evaluate.bootstrap import intervals
from jamflow_jax.evaluate.figures import Measure, Table, means, to_json
from jamflow_jax.evaluate.mouth import hold, mean_curve, opening_curve, pearson
from jamflow_jax.evaluate.pitch import f0
from jamflow_jax.evaluate.probe import Ridge, motion_context
from jamflow_jax.evaluate.voice import similarity
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.timeline import MOTION_FPS
from launch.evaluation.clips import Clips, Held
from launch.evaluation.rows import MOTION, SOUND, Controls
from launch.evaluation.tasks import Take, Task, hidden

MEASURES = {
    "speech": (
        Measure("wer", "word error rate", "", "lower"), Measure("cer", "character error rate", "", "lower"),
        Measure("similarity", "voice similarity", "", "higher"), Measure("mel", "mel distance, aligned", "dB", "lower"),
        Measure("mel_unaligned", "mel distance", "dB", "lower"), Measure("f0", "F0 error", "semitones", "lower"),
        Measure("voicing", "voicing error", "", "lower"), Measure("energy", "energy error", "dB", "lower"),
    ),
    "motion": (
        Measure("error", "error", "std", "lower"), Measure("r", "r", "", "higher"),
        Measure("r_minus_mean", "r minus mean curve", "", "higher"), Measure("velocity", "velocity error", "std/s", "lower"),
        Measure("jitter", "jitter, truth = 1"), Measure("diversity", "diversity", "std"),
    ),
    "sync": (
        Measure("matched", "r with its sound", "", "higher"), Measure("mismatched", "r with other sounds"),
        Measure("margin", "margin", "", "higher"),
        Measure("in_step", "within a frame", "", "higher"), Measure("retrieval", "retrieval", "", "higher"),
        Measure("closure_f1", "closure F1", "", "higher"), Measure("lse_c", "LSE-C", "", "higher"),
        Measure("lse_d", "LSE-D", "", "lower"),
    ),
    "leakage": (
        Measure("r", "r of the opening", "", "higher"), Measure("r_minus_mean", "r minus mean curve", "", "higher"),
    ),
}  # fmt: skip
THRESHOLD_CLIPS = 1_000  # at most, evenly spread, that the closure threshold is chosen on
RENDITIONS = 2  # of a control row, for its diversity
BANDS = 20  # that the sync probe hears, of five mel bins each: 220 weights instead of 1,100 (on GRID r = 0.83 instead of 0.84)


@dataclasses.dataclass(frozen=True)
class Tools:
    """What a user may exchange. `hear` and `embed` may be None; `lse`: (motion, samples) -> syncnet.Score, or None."""

    vocoder: Callable[[np.ndarray, int], np.ndarray]
    hear: Callable[[np.ndarray], str] | None = None
    embed: Callable[[np.ndarray], np.ndarray] | None = None
    lse: Callable | None = None
    retrieval: int = 10


class Scorer:
    """Scores one clip at a time: everything that is of the whole set is made here once, the same in every process."""

    def __init__(
        self, task: Task, clips: Clips, controls: Controls, space: MotionSpace, statistics, tools: Tools,
        model: Mapping[str, Sequence[Sequence[Take]]], alone: bool = False,
    ):
        """`model`: row -> clip -> samples, complete in their streams (what was given is the truth's). `alone`: no other rows."""
        self.alone = alone
        self.task, self.clips, self.controls, self.space, self.tools, self.model = task, clips, controls, space, tools, model
        self.truth = clips.test
        self.moves = "motion" in task.given + task.makes
        self.notes: list[str] = []
        self.tables = [name for name, there in (("speech", "audio" in task.makes), ("motion", "motion" in task.makes)) if there]
        if self.moves:
            self._mouth = statistics.mouth(space)
            live = np.flatnonzero(self._mouth.live)
            self.dims = [space.dims[space.mouth[d]] for d in live]
            self._live = live
            self._mean_z = mean_curve([self._z(clip.motion_MD) for clip in clips.train])
            self._probes(statistics)

    def _probes(self, statistics) -> None:
        """The sync probe, the leakage probe and the closure threshold, of the training clips."""
        train = self.clips.train
        try:
            openings = [self._opening(clip.motion_MD) for clip in train]
        except InputError as error:
            self.notes.append(f"no sync measures: {error}")
            return
        self._mean_opening = mean_curve(openings)
        heard = [(coarse(clip.mel_TF), y_M) for clip, y_M in zip(train, openings) if clip.mel_TF is not None]
        if len(heard) >= 2 and all(clip.mel_TF is not None for clip in self.truth):
            self._ear = Ridge.fit(heard)
            self.tables.append("sync")
        timed = [(y_M, *when) for clip, y_M in zip(train, openings) if (when := events(clip)) and when[0]]
        timed = timed[:: -(-len(timed) // THRESHOLD_CLIPS)] if timed else []
        self._threshold = sync.best_threshold(*zip(*timed)) if timed else None
        self._rest = statistics.rest(self.space) if self.space.rest_dim else None
        if "motion" in self.task.makes and self._rest is not None and self._rest.live.any():
            pairs = [(self._rest_of(clip.motion_MD), y_M) for clip, y_M in zip(train, openings)]
            self._eye = Ridge.fit(pairs, context=motion_context)
            self.tables.append("leakage")

    # --- rows

    def rows(self, table: str) -> list[str]:
        """The rows of a table, the model's first."""
        varied = "sound" if table == "speech" or (table == "sync" and "motion" not in self.task.makes) else "motion"
        special = {"model, rest alone": "leakage", "model, other take": "sync"}
        model = [row for row in self.model if special.get(row, table) == table and (row in special or table != "leakage")]
        return [*model, *(() if self.alone else SOUND if varied == "sound" else MOTION)]

    def _take(self, table: str, row: str, i: int, sample: int = 0) -> Take:
        if row in self.model:
            return self.model[row][i][sample]
        sound = table == "speech" or (table == "sync" and "motion" not in self.task.makes)
        return self.controls.sound(row, i) if sound else self.controls.motion(row, i, sample)

    # --- one clip

    def clip(self, i: int) -> dict[str, np.ndarray]:
        """"table|row|measure" -> the pair (a, b) of figures.py; "lag|row" -> lag curve; "dims|row" -> [3, D]."""
        found: dict[str, np.ndarray] = {}
        for table in self.tables:
            for row in self.rows(table):
                scores = getattr(self, f"_{table}")(row, i)
                for key, value in scores.items():
                    if key in ("lag", "dims"):
                        found[f"{key}|{row}"] = value
                    else:
                        found[f"{table}|{row}|{key}"] = value
        return found

    def _speech(self, row: str, i: int) -> dict[str, np.ndarray]:
        clip, take, tools = self.truth[i], self._take("speech", row, i), self.tools
        audio_N = take.audio_N if take.audio_N is not None else tools.vocoder(take.mel_TF, clip.number)
        true_N = self.controls.recorded(clip)
        part = hidden(clip.length)[0] if self.task.name == "edit" else slice(None)
        apart = speech.distances(take.mel_TF[part], f0(audio_N)[part], clip.mel_TF[part], f0(true_N)[part])
        found = {"mel": one(apart.mel)} | {key: np.array(getattr(apart, key)) for key in ("f0", "voicing", "energy")}
        if self.task.timed:
            found["mel_unaligned"] = one(apart.mel_unaligned)
        if tools.hear is not None:
            heard = tools.hear(audio_N) if clip.text else ""
            found["wer"] = np.array(words.word_errors(clip.text, heard) if clip.text else (0, 0), float)
            found["cer"] = np.array(words.character_errors(clip.text, heard) if clip.text else (0, 0), float)
        if tools.embed is not None:
            reference_N = true_N if clip.reference is None else self.controls.recorded(clip.reference)
            found["similarity"] = one(similarity(tools.embed(audio_N), tools.embed(reference_N)))
        return found

    def _motion(self, row: str, i: int) -> dict[str, np.ndarray]:
        clip = self.truth[i]
        samples = len(self.model[row][i]) if row in self.model else RENDITIONS
        takes = [self._z(self._take("motion", row, i, k).motion_MD) for k in range(samples)]
        M = min(len(takes[0]), len(clip.motion_MD))
        x_MD, y_MD = takes[0][:M], self._z(clip.motion_MD)[:M]
        mean_MD = hold(self._mean_z, M)
        if self.task.name == "edit":
            x_MD, y_MD, mean_MD = (v[hidden(clip.length)[1]] for v in (x_MD, y_MD, mean_MD))
        pace = motion.abruptness(y_MD)
        found = {"jitter": np.array([motion.abruptness(x_MD), pace] if pace else [0.0, 0.0])}
        diverse = motion.diversity(takes) if len(takes) > 1 else None
        found["diversity"] = means([diverse])[0]
        if self.task.timed:
            freed = motion.correlation(x_MD - mean_MD, y_MD - mean_MD)
            dims = np.stack([motion.error(x_MD, y_MD), motion.correlation(x_MD, y_MD), freed])
            found |= {"dims": dims} | {key: one(values.mean()) for key, values in zip(("error", "r", "r_minus_mean"), dims)}
            found["velocity"] = one(motion.velocity_error(x_MD, y_MD).mean())
        return found

    def _sync(self, row: str, i: int) -> dict[str, np.ndarray]:
        clip, take = self.truth[i], self._take("sync", row, i)
        mel_TF = clip.mel_TF if take.mel_TF is None else take.mel_TF
        y_M = self._opening(clip.motion_MD if take.motion_MD is None else take.motion_MD)
        p_M = self._ear.predict(coarse(mel_TF), len(y_M))
        others = [self._openings(row, j) for j in self._strangers(i)]
        curve_K = sync.lag_curve(p_M, y_M)
        late = sync.offset(curve_K)
        matched, mismatched = pearson(p_M, y_M), np.mean([pearson(*even(p_M, o_M)) for o_M in others])
        found = {
            "lag": curve_K, "matched": one(matched), "mismatched": one(mismatched), "margin": one(matched - mismatched),
            "in_step": one(late is not None and abs(late) <= 1),
            "retrieval": one(sync.retrieved(self._without_mean(p_M, y_M), [self._without_mean(p_M, o_M) for o_M in others])),
        }  # fmt: skip
        if self._threshold is not None and "motion" in self.task.makes and "audio" in self.task.given:
            tp, fp, fn = sync.closure_counts(y_M, self._threshold, *when) if (when := events(clip)) else (0, 0, 0)
            found["closure_f1"] = np.array([2 * tp, 2 * tp + fp + fn], float)
        if self.tools.lse is not None:
            audio_N = take.audio_N if take.audio_N is not None else self.controls.recorded(clip)
            if "audio" in self.task.makes and take.mel_TF is not None and take.audio_N is None:
                audio_N = self.tools.vocoder(take.mel_TF, clip.number)
            lse = self.tools.lse(clip.motion_MD if take.motion_MD is None else take.motion_MD, audio_N)
            found |= {"lse_c": one(lse.confidence), "lse_d": one(lse.distance)}
        return found

    def _leakage(self, row: str, i: int) -> dict[str, np.ndarray]:
        clip, take = self.truth[i], self._take("leakage", row, i)
        y_M = self._opening(clip.motion_MD)
        x_M = self._opening(take.motion_MD) if row in self.model else self._eye.predict(self._rest_of(take.motion_MD), len(y_M))
        return {"r": one(pearson(*even(x_M, y_M))), "r_minus_mean": one(self._without_mean(x_M, y_M))}

    # --- pieces

    def _z(self, motion_MD: np.ndarray) -> np.ndarray:
        """Live mouth dimensions in standard deviations."""
        return self._mouth.normalise(self.space.split(np.asarray(motion_MD, np.float64))[0])[:, self._live]

    def _rest_of(self, motion_MD: np.ndarray) -> np.ndarray:
        return self._rest.normalise(self.space.split(np.asarray(motion_MD, np.float64))[1])

    def _opening(self, motion_MD: np.ndarray) -> np.ndarray:
        return opening_curve(np.asarray(motion_MD), self.space)

    def _openings(self, row: str, j: int) -> np.ndarray:
        take = self._take("sync", row, j) if row in self.model or "motion" in self.task.makes else Take()
        return self._opening(self.truth[j].motion_MD if take.motion_MD is None else take.motion_MD)

    def _strangers(self, i: int) -> np.ndarray:
        """The clips whose motion clip i's sound is held against: N - 1 of the others, the same for every row."""
        others = np.delete(np.arange(len(self.truth)), i)
        chosen = np.random.default_rng([i, 0x7E]).permutation(others)
        return np.sort(chosen[: self.tools.retrieval - 1])

    def _without_mean(self, x_M: np.ndarray, y_M: np.ndarray) -> float:
        x_M, y_M = even(x_M, y_M)
        mean_M = hold(self._mean_opening, len(x_M))
        return pearson(x_M - mean_M, y_M - mean_M)

    # --- all clips

    def result(self, scores: Mapping[int, Mapping[str, np.ndarray]], seed: int = 0) -> tuple[list[Table], dict[str, Any]]:
        """The tables, and what else goes into the JSON: figures per dimension, lag curves."""
        count, tables, more = len(scores), [], {"dimensions": {}, "lag_curves": {}}
        for name in self.tables:
            rows = {}
            for row in self.rows(name):
                keys = [m.key for m in MEASURES[name] if f"{name}|{row}|{m.key}" in scores[0]]
                rows[row] = {key: np.stack([scores[i][f"{name}|{row}|{key}"] for i in range(count)]) for key in keys}
            about = {"speech": "speech", "motion": "mouth motion", "sync": "sync", "leakage": "lips told from the rest"}[name]
            tables.append(Table(name, f"{about}, {count} clips", MEASURES[name], rows, self._note(name), seed))
        for row in self.rows("motion") if "motion" in self.tables and self.task.timed else ():
            stacked = np.stack([scores[i][f"dims|{row}"] for i in range(count)])  # [C, 3, D]
            columns = [intervals(stacked[:, k], seed=seed) for k in range(3)]
            more["dimensions"][row] = {
                dim: {key: to_json(columns[k][d]) for k, key in enumerate(("error", "r", "r_minus_mean"))}
                for d, dim in enumerate(self.dims)
            }  # fmt: skip
        for row in self.rows("sync") if "sync" in self.tables else ():
            curve = intervals(np.stack([scores[i][f"lag|{row}"] for i in range(count)]), seed=seed)
            lags = [round(k / MOTION_FPS, 2) for k in range(-sync.REACH, sync.REACH + 1)]
            more["lag_curves"][row] = {"seconds": lags, "r": [to_json(value) for value in curve]}
        return tables, more

    def _note(self, table: str) -> str:
        if table == "sync":
            among = min(self.tools.retrieval, len(self.truth))
            probe = f"probe: ridge from {BANDS} log-mel bands to mouth opening, of {len(self.clips.train)} training clips"
            return f"{probe}; retrieval among {among}, chance {1 / among:.2f}"
        if table == "leakage":
            return "ridge from the rest of the face to mouth opening, trained on the training clips"
        if table == "motion":
            return f"mean over {len(self.dims)} live mouth dimensions, in standard deviations of the training set"
        names = [getattr(tool, "name", "") for tool in (self.tools.hear, self.tools.embed) if tool is not None]
        return "; ".join(filter(None, names))


def events(clip: Held) -> tuple[list[sync.Span], sync.Span] | None:
    """(bilabials, span of speech) in seconds, from phoneme times where there are some, else word times; None without either."""
    spoken = sync.speech_span(clip.extra.get("words") or []) or sync.speech_span(clip.extra.get("phonemes") or [])
    if spoken is None:
        return None
    if clip.extra.get("phonemes"):
        return sync.bilabials_of_phonemes(clip.extra["phonemes"]), spoken
    return sync.bilabials_of_words(clip.extra["words"]), spoken


def coarse(mel_TF: np.ndarray) -> np.ndarray:
    """A log-mel in BANDS bands."""
    return mel_TF.reshape(len(mel_TF), BANDS, -1).mean(2)


def one(value: float) -> np.ndarray:
    """A clip's plain figure as a pair."""
    return np.array([float(value), 1.0])


def even(x_M: np.ndarray, y_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both over the frames both have."""
    M = min(len(x_M), len(y_M))
    return x_M[:M], y_M[:M]
