"""Points whose texts stand beside them, such as the names of levels on an axis."""

from __future__ import annotations

from dataclasses import replace

from xortune.reports.drawing.matplotlib import matplotlib_figure
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.plot import Axis, Panel, Plot, Points

POINTS = Points(
    "", x=(0.0, 1.0), y=(0.0, 1.0), texts=("<b>$low$", "a name much longer than that"), written=True
)


def plot(points):
    panel = Panel(Axis("x"), Axis("y"), (points,))
    return Plot("written", "Names", "two names", "n = 2", (panel,))


def test_both_ways_of_drawing_write_them_shortened_and_as_they_are():
    (axes,) = matplotlib_figure(plot(POINTS)).axes
    shown = [text.get_text() for text in axes.texts]
    assert shown == [r"<b>\$low\$", "a name …n that"]
    assert [text.xy for text in axes.texts] == [(0.0, 0.0), (1.0, 1.0)]
    (trace,) = plotly_json(plot(POINTS))["data"]
    assert trace["mode"] == "markers+text"
    assert trace["text"] == ["&lt;b&gt;&#36;low&#36;", shown[1]]


def test_other_points_are_not_written_beside():
    other = plot(replace(POINTS, written=False))
    assert not matplotlib_figure(other).axes[0].texts
    assert plotly_json(other)["data"][0]["mode"] == "markers"
