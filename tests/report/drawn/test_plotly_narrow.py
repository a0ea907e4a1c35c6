"""Where a page has little room: names that find none, lines on their side, labels between."""

from __future__ import annotations

import html
import itertools
from dataclasses import replace

import plotly.graph_objects as go
import pytest
from plots import CURVES, PARALLEL, PLOTS

from xortune.reports.drawing.matplotlib import matplotlib_figure
from xortune.reports.drawing.plotly import WIDE, plotly_json, room_for_names, turned, wide
from xortune.reports.plot import Axis, Panel, Points, Rule


def names_of(levels):
    """Lines over three axes, the second with so many names of fourteen signs, and a rule."""
    height = [(0.0, 0.0), (0.0, 1.0), (2.0, 0.0), (2.0, 1.0)]
    height += [(1.0, level / (levels - 1)) for level in range(levels)]
    texts = ("low", "high", "0 %", "100 %", *(f"<value {n:02d}, long" for n in range(levels)))
    points = Points(
        "",
        tuple(x for x, _ in height),
        tuple(y for _, y in height),
        texts=texts,
        written=True,
    )
    panel = PARALLEL.panels[0]
    layers = (*panel.layers, Rule("x", 1.0), Rule("y", 0.0, "here"), points)
    return replace(PARALLEL, panels=(replace(panel, layers=layers),))


def aside(plot):
    """The traces as a page makes them of the figure on its side."""
    drawn = plotly_json(plot)
    return [
        trace | {"x": trace["y"], "y": trace["x"]} | changes
        for trace, changes in zip(drawn["data"], drawn["turned"]["traces"], strict=True)
    ]


def test_only_lines_lie_on_their_side():
    assert [plot.name for plot in PLOTS if plotly_json(plot)["turned"]] == ["parallel"]


def test_lines_on_their_side_are_the_same_lines():
    drawn = plotly_json(names_of(3))
    wide_, narrow = drawn["data"], aside(names_of(3))
    assert [trace["x"] for trace in narrow] == [trace["y"] for trace in wide_]
    assert narrow[0]["y"] == [0, 1, 2, None]
    layout = drawn["turned"]["layout"]
    go.Figure(narrow, layout)  # refuses what does not exist
    assert layout["yaxis"]["ticktext"] == ["lr", "units", "rate"]
    assert layout["yaxis"]["range"] == [2.5, -0.5], "the first at the top"
    assert layout["xaxis"]["range"] == [0, 1]
    assert layout["xaxis"]["showticklabels"] is False
    assert "showticklabels" not in layout["yaxis"]
    upright, level = layout["shapes"][1], layout["shapes"][0]
    assert (upright["x0"], upright["label"]["text"]) == (0, "here")
    assert (level["y0"], level["xref"]) == (1, "x domain")
    assert layout["coloraxis"]["colorbar"]["len"] > 0.5, "as a narrow one"


def test_what_lies_on_its_side_is_not_in_the_page_twice():
    [lines, *_] = plotly_json(names_of(3))["turned"]["traces"]
    assert lines == {}


@pytest.mark.parametrize("levels", [2, 3, 6, 12])
def test_names_on_one_row_do_not_lie_over_each_other(levels):
    *_, trace = aside(names_of(levels))
    boxes = {}
    for text, x, y, place in zip(
        trace["text"], trace["x"], trace["y"], trace["textposition"], strict=True
    ):
        width = 6.9 * len(html.unescape(text))  # bold, of 11 pixels
        shift = {"top right": 0.0, "top center": 0.5, "top left": 1.0}[place]
        if text:
            boxes.setdefault(y, []).append((240 * x - width * shift, 240 * x + width * (1 - shift)))
    for row in boxes.values():
        assert min(low for low, _ in row) >= 0
        assert max(high for _, high in row) <= 240
        for (_, end), (start, _) in itertools.pairwise(sorted(row)):
            assert end < start
    written = [text for text, y in zip(trace["text"], trace["y"], strict=True) if y == 1]
    assert written[0], "the lowest"
    assert written[-1], "and the highest"
    assert len(trace["hovertext"]) == len(trace["x"]), "all are told where one points"
    assert all(trace["hovertext"])


def test_a_figure_says_how_much_room_its_names_need():
    rooms = [room_for_names(names_of(levels)) for levels in (2, 9)]
    assert rooms[0] == rooms[1] > 3 * 14 * 7
    eight = replace(PARALLEL.panels[0].x, categories=("",) * 8)
    panel = replace(names_of(3).panels[0], x=eight)
    assert plotly_json(replace(PARALLEL, panels=(panel,)))["room"] == round(rooms[0] * 8 / 3)
    assert plotly_json(CURVES)["room"] > plotly_json(PARALLEL)["room"] == 600


def test_the_last_names_stay_in_the_panel():
    points = names_of(3).panels[0].layers[-1]
    [*_, trace] = plotly_json(names_of(3))["data"]
    assert set(trace["textposition"]) == {"middle right"}
    far = Panel(Axis("n"), Axis("m"), (points,))
    [trace] = plotly_json(replace(PARALLEL, panels=(far,)))["data"]
    at_the_end = [place for x, place in zip(points.x, trace["textposition"], strict=True) if x == 2]
    assert set(at_the_end) == {"middle left"}


def test_matplotlib_draws_lines_on_their_side():
    (axes, *_) = matplotlib_figure(turned(PARALLEL)).axes
    [lines] = [mark for mark in axes.collections if mark.get_array() is not None]
    assert lines.get_segments()[0].tolist() == [[0, 0], [0.5, 1], [1, 2]]


def test_side_by_side_there_is_room_for_the_labels_between():
    three = replace(CURVES, panels=CURVES.panels * 2, columns=3)
    places = wide(three)
    gap = places["xaxis2.domain"][0] - places["xaxis.domain"][1]
    assert gap * plotly_json(three)["room"] > 66, "ticks, numbers and a label of the axis"
    assert plotly_json(three)["room"] < WIDE
