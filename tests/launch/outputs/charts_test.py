"""Charts are well-formed SVG with round ticks; labels are escaped."""
from xml.etree import ElementTree

import numpy as np

from launch.outputs.charts import Series, interval, line_chart, smooth, ticks


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-0.07, 0.33, 4) == [0, 0.1, 0.2, 0.3]
    assert all(3 <= t <= 8500 for t in ticks(3, 8500))


def test_line_chart_is_well_formed():
    svg = line_chart(
        [Series("a<b", [0, 1, 2], [1, np.nan, 3]), Series("dots", [1], [2], "s-truth", dots=True),
         Series("", [0, 1], [1, 2], faint=True)],
        "x & y", "loss", marks=[(1.5, "killed")], spans=[(0, 1)],
    )
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg" and "nan" not in svg
    assert "a<b" in "".join(root.itertext())


def test_nothing_to_draw_is_no_chart():
    assert line_chart([Series("a", [], [])]) == ""


def test_interval_is_well_formed():
    ElementTree.fromstring(interval(0.8, 0.7, 0.9, "s-motion"))


def test_smooth_keeps_length_and_constants():
    np.testing.assert_allclose(smooth([2.0] * 9, 5), 2)
    assert len(smooth(range(7), 3)) == 7
