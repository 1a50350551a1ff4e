"""One picture per result: the mel above the mouth's opening, on one time axis, with the given spans marked."""
from pathlib import Path

import numpy as np

from jamflow_jax.timeline import HOP, MOTION_FPS, SAMPLE_RATE
from launch.outputs import palette
from launch.outputs.clip import Clip, Curve, spans

STYLE = {
    "font.family": "DejaVu Sans", "font.size": 8, "axes.edgecolor": palette.RULE, "axes.labelcolor": palette.FAINT,
    "axes.titlecolor": palette.INK, "axes.titlesize": 9, "axes.titleweight": "regular", "axes.spines.top": False,
    "axes.spines.right": False, "xtick.color": palette.FAINT, "ytick.color": palette.FAINT, "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5, "legend.frameon": False, "legend.fontsize": 7.5, "figure.facecolor": palette.PAPER,
    "axes.titlelocation": "left", "lines.solid_capstyle": "round",
}


def write_picture(path: str | Path, clip: Clip, curve: Curve | None) -> None:
    """Mel (if there is sound) over the mouth curve (if there is motion), 1,400 pixels wide, as PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [name for name, there in (("mel", clip.mel_TF is not None), ("mouth", curve is not None)) if there]
    if not rows:
        raise ValueError("a picture needs sound or motion")
    heights = {"mel": 1.6, "mouth": 1.0}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 0.62 + 1.32 * sum(heights[r] for r in rows)), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=[heights[r] for r in rows])[:, 0]
        for axis, row in zip(axes, rows):
            if row == "mel":
                _mel(axis, clip)
            else:
                _mouth(axis, clip, curve)
        axes[0].set_title(clip.title or clip.name, pad=22)
        figure.align_ylabels(axes)
        axes[-1].set_xlabel("time (s)")
        axes[-1].set_xlim(0, clip.seconds)
        figure.savefig(str(path), format="png", metadata={"Software": "jamflow"})


def _mel(axis, clip: Clip) -> None:
    mel = np.asarray(clip.mel_TF, np.float32)
    low, high = np.percentile(mel, (2, 99.7))
    end = len(mel) * HOP / SAMPLE_RATE
    axis.imshow(mel.T, origin="lower", aspect="auto", cmap=palette.MEL_MAP, vmin=low, vmax=max(high, low + 1e-3),
                extent=(0, end, 0, mel.shape[1]), interpolation="nearest", rasterized=True)
    hertz = (0, 500, 1000, 2000, 4000, 8000)
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    axis.set_yticks([2595 * np.log10(1 + f / 700) / top * mel.shape[1] for f in hertz], [f"{f / 1000:g}" for f in hertz])
    axis.set_ylabel("mel band centre (kHz)")
    axis.spines["left"].set_visible(False)
    axis.spines["bottom"].set_visible(False)
    _given(axis, clip.mel_given_T, HOP / SAMPLE_RATE, end, palette.AUDIO, "sound")


def _mouth(axis, clip: Clip, curve: Curve) -> None:
    frames = len(curve.values_M)
    time = (np.arange(frames) + 0.5) / MOTION_FPS
    if curve.truth_M is not None:
        shown = min(frames, len(curve.truth_M))
        axis.plot(time[:shown], curve.truth_M[:shown], color=palette.TRUTH, linewidth=1.1, label="recorded")
    axis.plot(time, curve.values_M, color=palette.MOTION, linewidth=1.5, label="this result")
    axis.grid(axis="y", color=palette.RULE, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.margins(y=0.08)
    axis.set_ylabel(curve.label)
    if curve.truth_M is not None:
        axis.legend(loc="upper right", ncols=2, borderaxespad=0, bbox_to_anchor=(1, 1.2))
    _given(axis, clip.motion_given_M, 1 / MOTION_FPS, frames / MOTION_FPS, palette.MOTION, "motion")


def _given(axis, mask: np.ndarray | None, step: float, end: float, colour: str, stream: str) -> None:
    """A strip above the plot: grey where the frames were given, the stream's colour where they were made."""
    place = axis.get_xaxis_transform()
    axis.plot((0, end), (1.03, 1.03), color=colour, linewidth=3, transform=place, clip_on=False, solid_capstyle="butt")
    for start, stop in spans(np.zeros(1, bool) if mask is None else mask):
        span = (start * step, min(stop * step, end))
        axis.plot(span, (1.03, 1.03), color=palette.GIVEN, linewidth=3, transform=place, clip_on=False, solid_capstyle="butt")
    whole = mask is not None and np.all(mask)
    none = mask is None or not np.any(mask)
    words = f"{stream} given" if whole else f"{stream} made" if none else f"{stream}: grey given, coloured made"
    axis.annotate(words, (0, 1.03), xycoords=("axes fraction", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                  color=palette.FAINT, fontsize=6.8, va="bottom")
