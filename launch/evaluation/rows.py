"""The rows beside the model's that a metric must tell apart, made of the truth alone. Each is a Take of one stream.

    truth                what was recorded
    resynthesised truth  its mel through the vocoder (sound only): the best a model can do with that vocoder
    mean curve           the training clips' mean, frame by frame: heard or seen nothing of this clip
    shifted              the truth SHIFT seconds late, its first frame held (sound: silence)
    shuffled             the truth of another clip
    noised               the truth and white noise: sound at SNR dB, motion with NOISE standard deviations a frame
"""
import numpy as np

from jamflow_jax.audio.mel import SILENCE, log_mel_numpy
from jamflow_jax.evaluate.mouth import hold, mean_curve
from jamflow_jax.timeline import MOTION_FPS, SAMPLE_RATE
from launch.evaluation.clips import Clips, Held
from launch.evaluation.tasks import Take

SHIFT = 0.2  # s: 5 motion frames, 4,800 samples
SNR = 5.0  # dB
NOISE = 0.5  # standard deviations
SOUND = ("truth", "resynthesised truth", "mean curve", "shifted", "shuffled", "noised")
MOTION = ("truth", "mean curve", "shifted", "shuffled", "noised")


class Controls:
    """The rows of one set of clips."""

    def __init__(self, clips: Clips, statistics, vocoder):
        """`statistics`: of all motion dimensions; `vocoder`: (log-mel, seed) -> samples."""
        self._clips, self._statistics, self._vocoder = clips, statistics, vocoder
        self._others = clips.others
        moving = [clip.motion_MD for clip in clips.train if clip.motion_MD is not None]
        self.mean_motion = mean_curve(moving) if moving else None
        sounding = [clip.mel_TF for clip in clips.train if clip.mel_TF is not None]
        self.mean_mel = mean_curve(sounding) if sounding else None

    def recorded(self, clip: Held) -> np.ndarray:
        """The clip's samples; made of its mel where the data set keeps none."""
        return clip.audio_N if clip.audio_N is not None else self._vocoder(clip.mel_TF, 0)

    def sound(self, row: str, i: int) -> Take:
        """Row `row` of clip i's sound: mel and samples."""
        clip = self._clips.test[i]
        if row == "truth":
            return Take(clip.mel_TF, audio_N=self.recorded(clip))
        if row == "shuffled":
            other = self._clips.test[self._others[i]]
            return Take(other.mel_TF, audio_N=self.recorded(other))
        if row == "resynthesised truth":
            audio_N = self._vocoder(clip.mel_TF, clip.number)
        elif row == "mean curve":
            mel_TF = hold(self.mean_mel, clip.length).astype(np.float32)
            return Take(mel_TF, audio_N=self._vocoder(mel_TF, clip.number))
        elif row == "shifted":
            audio_N = self.recorded(clip)
            audio_N = np.concatenate([np.zeros(round(SHIFT * SAMPLE_RATE), audio_N.dtype), audio_N])[: len(audio_N)]
        else:
            audio_N = self.recorded(clip)
            noise_N = np.random.default_rng([clip.number, 0x50]).normal(size=len(audio_N))
            scale = np.sqrt(np.mean(audio_N**2)) * 10 ** (-SNR / 20)
            audio_N = (audio_N + scale * noise_N).astype(np.float32)
        return Take(as_long(log_mel_numpy(audio_N), clip.length), audio_N=audio_N)

    def motion(self, row: str, i: int, sample: int = 0) -> Take:
        """Row `row` of clip i's motion in raw units; `sample` counts renditions, which differ where the row has chance in it."""
        clip = self._clips.test[i]
        truth_MD = clip.motion_MD
        if row == "truth":
            return Take(motion_MD=truth_MD)
        if row == "mean curve":
            return Take(motion_MD=hold(self.mean_motion, len(truth_MD)))
        if row == "shuffled":
            for _ in range(sample + 1):
                i = self._others[i]
            return Take(motion_MD=self._clips.test[i].motion_MD)
        if row == "shifted":
            return Take(motion_MD=truth_MD[np.maximum(np.arange(len(truth_MD)) - round(SHIFT * MOTION_FPS), 0)])
        noise_MD = np.random.default_rng([clip.number, 0x40, sample]).normal(size=truth_MD.shape)
        return Take(motion_MD=truth_MD + NOISE * self._statistics.std * noise_MD)


def as_long(mel_TF: np.ndarray, frames: int) -> np.ndarray:
    """A mel of `frames` frames: cut, or silence behind."""
    mel_TF = mel_TF[:frames]
    return np.pad(mel_TF, ((0, frames - len(mel_TF)), (0, 0)), constant_values=SILENCE)
