"""A face drawn from a mouth: schematic head, lips from (opening, width), keypoints where the motion space has any.

Face coordinates: x to the right, y down, the origin between the nose tip and the bridge, one unit is the width of the face at the
cheekbones. The lips are four curves through the corners (+-w/2, 0); with opening g the inner ones reach -0.35 g and +0.65 g,
because the jaw does most of the moving.
"""
import dataclasses

import numpy as np
from jaxtyping import Float

from launch.outputs.palette import FAINT_DARK, INK_DARK, MOTION_DARK, RULE_DARK, rgb

MOUTH = (0.0, 0.385)  # where its centre sits on the face
HEAD_HEIGHT = 1.36


@dataclasses.dataclass(frozen=True)
class Sketch:
    """What there is to draw of M frames."""

    opening_M: Float[np.ndarray, "M"]  # gap between the inner lips / height of the face
    width_M: Float[np.ndarray, "M"]  # width of the mouth / width of the face
    points_MK2: Float[np.ndarray, "M K 2"] | None = None  # face coordinates
    mouth_K: np.ndarray | None = None  # bool: the points that are the mouth's
    lines: tuple[tuple[int, ...], ...] = ()  # points joined by a line
    oval: tuple[int, ...] = ()  # top, left, bottom, right of the face: the outline goes through them
    head: bool = True  # draw the schematic head and lips; False: the points are a face by themselves


def _curve(points: list[tuple[float, float]], steps: int = 24) -> np.ndarray:
    """A cubic Bezier curve."""
    t = np.linspace(0, 1, steps)[:, None]
    a, b, c, d = (np.asarray(p, float) for p in points)
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t ** 2 * c + t ** 3 * d


def lips(opening: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Outlines of the lips and of the gap between them, [N, 2] each, in face coordinates."""
    g = float(np.clip(opening, 0.0, 0.32)) * HEAD_HEIGHT
    half = float(np.clip(width, 0.16, 0.7)) / 2
    inner = half - 0.022
    up, down = 0.35 * g, 0.65 * g
    # A Bezier curve with control height h rises to 3/4 h in the middle.
    gap = np.concatenate([
        _curve([(-inner, 0), (-inner * 0.55, -up * 4 / 3), (inner * 0.55, -up * 4 / 3), (inner, 0)]),
        _curve([(inner, 0), (inner * 0.6, down * 4 / 3), (-inner * 0.6, down * 4 / 3), (-inner, 0)]),
    ])
    thin = np.clip(1.15 - 0.9 * (half * 2 - 0.38), 0.7, 1.4)  # spread lips are thinner, rounded ones fuller
    top, low = 0.045 * thin, 0.062 * thin
    bow = (0.0, -up - top * 0.72)
    outline = np.concatenate([
        _curve([(-half, 0), (-half * 0.6, -up - top * 0.7), (-half * 0.32, -up - top * 1.45), bow]),
        _curve([bow, (half * 0.32, -up - top * 1.45), (half * 0.6, -up - top * 0.7), (half, 0)]),
        _curve([(half, 0), (half * 0.6, (down + low) * 4 / 3), (-half * 0.6, (down + low) * 4 / 3), (-half, 0)]),
    ])
    return outline + MOUTH, gap + MOUTH


def _head(chin: float) -> np.ndarray:
    """Outline of the head; `chin` is how far the jaw has dropped."""
    crown, jaw = -0.74, 0.64 + chin
    right = np.concatenate([
        _curve([(0, crown), (0.36, crown), (0.54, -0.42), (0.51, -0.02)]),
        _curve([(0.51, -0.02), (0.48, 0.34 + 0.5 * chin), (0.27, jaw), (0, jaw)]),
    ])
    return np.concatenate([right, right[::-1] * (-1, 1)])


class Painter:
    """Draws frames of a sketch onto a Pillow drawing; `centre` and `scale` in pixels (one face width)."""

    def __init__(self, draw, centre: tuple[float, float], scale: float):
        self._draw, self._centre, self._scale = draw, np.asarray(centre, float), float(scale)

    def _at(self, points) -> list[tuple[float, float]]:
        return [tuple(p) for p in np.asarray(points, float).reshape(-1, 2) * self._scale + self._centre]

    def _line(self, points, colour, width: float) -> None:
        self._draw.line(self._at(points), fill=colour, width=max(1, round(width * self._scale)), joint="curve")

    def _dot(self, point, radius: float, fill, outline=None) -> None:
        (x, y), r = self._at([point])[0], radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=outline, width=max(1, round(r * 0.3)))

    def paint(self, sketch: Sketch, frame: int) -> None:
        """Draws one frame."""
        if sketch.head:
            self._schematic(float(sketch.opening_M[frame]), float(sketch.width_M[frame]))
        if sketch.points_MK2 is not None:
            self._points(sketch, frame)

    def _schematic(self, opening: float, width: float) -> None:
        stroke, soft = rgb("#6b7684"), rgb(RULE_DARK)
        chin = 0.5 * np.clip(opening, 0, 0.32)
        self._draw.polygon(self._at(_head(chin)), fill=rgb("#20262f"))
        self._line(_head(chin), stroke, 0.008)
        for side in (-1, 1):
            brow = _curve([(side * 0.34, -0.235), (side * 0.27, -0.285), (side * 0.19, -0.285), (side * 0.12, -0.25)])
            self._line(brow, stroke, 0.016)
            eye = np.concatenate([
                _curve([(side * 0.31, -0.125), (side * 0.26, -0.185), (side * 0.17, -0.185), (side * 0.12, -0.12)]),
                _curve([(side * 0.12, -0.12), (side * 0.17, -0.085), (side * 0.26, -0.085), (side * 0.31, -0.125)]),
            ])
            self._draw.polygon(self._at(eye), fill=rgb("#2b333d"))
            self._line(eye, stroke, 0.007)
            self._dot((side * 0.215, -0.132), 0.032, rgb("#8e9aa8"))
            self._dot((side * 0.215, -0.132), 0.014, rgb("#14181e"))
        self._line(_curve([(0.035, -0.12), (0.04, 0.02), (0.1, 0.1), (0.055, 0.165)]), soft, 0.01)
        self._line(_curve([(-0.055, 0.165), (-0.02, 0.185), (0.02, 0.185), (0.055, 0.165)]), stroke, 0.008)
        outline, gap = lips(opening, width)
        self._draw.polygon(self._at(outline), fill=rgb("#c26a4a"))
        if opening > 0.004:
            self._draw.polygon(self._at(gap), fill=rgb("#2a0f12"))
            self._teeth(gap, opening)
        closed = np.stack([gap[:24], gap[:24]])[0]
        self._line(closed, rgb("#5d2a20"), 0.005)
        self._line(outline, rgb(MOTION_DARK), 0.009)

    def _teeth(self, gap: np.ndarray, opening: float) -> None:
        """The upper teeth: what lies between the upper inner lip and a line a little below it, inside the gap."""
        upper, lower = gap[:24], gap[24:][::-1]
        depth = min(0.028, 0.3 * opening * HEAD_HEIGHT)
        edge = np.minimum(upper + (0, depth), np.stack([upper[:, 0], np.interp(upper[:, 0], lower[:, 0], lower[:, 1])], -1))
        self._draw.polygon(self._at(np.concatenate([upper, edge[::-1]])), fill=rgb("#e9e3da"))

    def _points(self, sketch: Sketch, frame: int) -> None:
        points = sketch.points_MK2[frame]
        mouth = np.zeros(len(points), bool) if sketch.mouth_K is None else sketch.mouth_K
        if sketch.oval:
            top, left, bottom, right = points[list(sketch.oval)]
            corners = ((top, left), (bottom, left), (bottom, right), (top, right))
            for upright, side in corners:  # a quarter of an ellipse each, centred where the axes cross
                centre, angle = np.array([upright[0], side[1]]), np.linspace(0, np.pi / 2, 24)[:, None]
                self._line(centre + np.cos(angle) * (upright - centre) + np.sin(angle) * (side - centre), rgb("#6b7684"), 0.008)
        closed = [line for line in sketch.lines if line[0] == line[-1] and mouth[list(line)].all()]
        for line, fill in zip(closed, ("#c26a4a", "#2a0f12")):  # the outer lips, then the gap between the inner ones
            self._draw.polygon(self._at(points[list(line)]), fill=rgb(fill))
        for line in sketch.lines:
            colour = rgb(MOTION_DARK) if mouth[list(line)].all() else rgb("#6b7684")
            self._line(points[list(line)], colour, 0.008)
        # Keypoints over the schematic head are rings, so that the lips stay visible; landmarks are the face: dots.
        for k, point in enumerate(points):
            if sketch.head:
                self._dot(point, 0.017 if mouth[k] else 0.012, None, rgb(INK_DARK) if mouth[k] else rgb(FAINT_DARK))
            else:
                self._dot(point, 0.011 if mouth[k] else 0.009, rgb(MOTION_DARK) if mouth[k] else rgb(FAINT_DARK))
