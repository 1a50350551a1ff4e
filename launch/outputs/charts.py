"""Line charts and interval plots as SVG text. Colours come from the page's CSS classes, so they follow light and dark mode.

Classes: s-audio, s-motion, s-truth, s-faint (lines and dots), c-grid, c-axis, c-text, c-mark; see report.css.
"""
import dataclasses
from collections.abc import Sequence
from html import escape

import numpy as np


@dataclasses.dataclass(frozen=True)
class Series:
    """One line; `look` is a CSS class. `faint` lines lie behind and are left out of the legend, `dots` are points only."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    look: str = "s-audio"
    faint: bool = False
    dots: bool = False


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) inside [low, high]."""
    span = max(high - low, 1e-12)
    step = 10.0 ** np.floor(np.log10(span / about))
    step *= min((1, 2, 5, 10), key=lambda m: abs(span / (step * m) - about))
    first = np.ceil(low / step - 1e-9)
    count = int(np.floor(high / step + 1e-9) - first) + 1
    return [float(round((first + i) * step, 10)) for i in range(max(count, 0))]


def line_chart(
    series: Sequence[Series], x_label: str = "", y_label: str = "", width: int = 640, height: int = 240,
    y_range: tuple[float, float] | None = None, x_range: tuple[float, float] | None = None,
    marks: Sequence[tuple[float, str]] = (), spans: Sequence[tuple[float, float]] = (), legend: bool = True,
    y_ticks: int = 4,
) -> str:
    """An SVG of lines over a common axis.

    Args:
      marks: (x, words): vertical dashed lines.
      spans: (from, to) in x: shaded behind the lines (frames that were given).
    """
    series = [s for s in series if len(s.x)]
    if not series:
        return ""
    xs = np.concatenate([np.asarray(s.x, float) for s in series])
    ys = np.concatenate([np.asarray(s.y, float) for s in series])
    ys = ys[np.isfinite(ys)]
    x0, x1 = x_range or (float(xs.min()), float(xs.max()))
    y0, y1 = y_range or (float(ys.min()), float(ys.max()))
    pad = 0 if y_range else 0.06 * max(y1 - y0, 1e-9)
    y0, y1 = y0 - pad, y1 + pad
    top = 26 if (legend or y_label) else 8
    left, right, bottom = 46, 10, 34 if x_label else 20
    w, h = width - left - right, height - top - bottom

    def px(x):
        return left + (x - x0) / max(x1 - x0, 1e-12) * w

    def py(y):
        return top + h - (np.clip(y, y0, y1) - y0) / max(y1 - y0, 1e-12) * h

    out = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(y_label or x_label)}">']
    for a, b in spans:
        out.append(f'<rect class="c-span" x="{px(a):.1f}" y="{top}" width="{max(px(b) - px(a), 0):.1f}" height="{h}"/>')
    for y in ticks(y0, y1, y_ticks):
        out.append(f'<path class="c-grid" d="M{left} {py(y):.1f}H{left + w}"/>')
        out.append(f'<text class="c-text" x="{left - 8}" y="{py(y) + 3.5:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(x0, x1, max(3, width // 110)):
        out.append(f'<text class="c-text" x="{px(x):.1f}" y="{top + h + 15}" text-anchor="middle">{x:g}</text>')
    out.append(f'<path class="c-axis" d="M{left} {top + h}H{left + w}"/>')
    for x, words in marks:
        out.append(f'<path class="c-mark" d="M{px(x):.1f} {top}V{top + h}"/>')
        side = "end" if px(x) > left + 0.7 * w else "start"
        out.append(f'<text class="c-text" x="{px(x) + (5 if side == "start" else -5):.1f}" y="{top + 11}" '
                   f'text-anchor="{side}">{escape(words)}</text>')
    for s in sorted(series, key=lambda s: not s.faint):
        points = [(px(float(x)), py(float(y))) for x, y in zip(s.x, s.y) if np.isfinite(y)]
        if s.dots:
            out += [f'<circle class="{s.look} dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
        else:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            out.append(f'<path class="{s.look} line{" faint" if s.faint else ""}" d="{path}"/>')
    if y_label:
        out.append(f'<text class="c-text" x="{left}" y="13">{escape(y_label)}</text>')
    if legend:
        x = float(left + w)
        for s in reversed([s for s in series if not s.faint and s.label]):
            x -= 6.1 * len(s.label)
            out.append(f'<text class="c-text strong" x="{x:.1f}" y="13">{escape(s.label)}</text>')
            key = (f'<circle class="{s.look} dot" cx="{x - 11:.1f}" cy="9.5" r="3"/>' if s.dots
                   else f'<path class="{s.look} line" d="M{x - 18:.1f} 9.5h12"/>')
            out.append(key)
            x -= 34
    if x_label:
        out.append(f'<text class="c-text" x="{left + w / 2}" y="{height - 3}" text-anchor="middle">{escape(x_label)}</text>')
    return "".join(out) + "</svg>"


def interval(value: float, low: float, high: float, look: str, domain: tuple[float, float] = (-0.25, 1.0), width: int = 220) -> str:
    """A dot with its interval on a short axis: the visual half of a table cell."""
    def px(x):
        return 4 + (min(max(x, domain[0]), domain[1]) - domain[0]) / (domain[1] - domain[0]) * (width - 8)

    zero = f'<path class="c-axis" d="M{px(0):.1f} 1V19"/>' if domain[0] < 0 < domain[1] else ""
    one = f'<path class="c-grid" d="M{px(domain[1]):.1f} 1V19"/>'
    return (f'<svg class="interval" viewBox="0 0 {width} 20" aria-hidden="true">{zero}{one}'
            f'<path class="{look} line" d="M{px(low):.1f} 10H{px(high):.1f}"/>'
            f'<circle class="{look} dot" cx="{px(value):.1f}" cy="10" r="4"/></svg>')


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """Centred running mean; at the ends over what there is."""
    values = np.asarray(values, float)
    if window <= 1 or len(values) < 3:
        return values
    kernel = np.ones(min(window, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
