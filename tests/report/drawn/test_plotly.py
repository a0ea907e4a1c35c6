"""What plotly.js is given: the plot's values, trace types of its cartesian bundle, no markup."""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from plots import BARS, CELLS, CURVES, HOSTILE, PARALLEL, PLOTS, RANKING, SURFACE

from xortune.reports.drawing.plotly import plotly_figure, plotly_json
from xortune.reports.plot import COLOURS, SCALES

EVERY = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)


def traces(plot, **wanted):
    """The traces as Plotly has them after it checked each property."""
    return [
        trace
        for trace in plotly_figure(plot).data
        if all(getattr(trace, name) == value for name, value in wanted.items())
    ]


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings(part)


@EVERY
def test_a_page_and_a_notebook_have_the_same_marks(plot):
    drawn = plotly_json(plot)
    assert {trace["type"] for trace in drawn["data"]} <= {"scatter", "bar", "heatmap"}
    figure = json.loads(plotly_figure(plot).to_json())
    assert figure["data"] == drawn["data"]
    assert [*drawn] == ["data", "layout", "width"]
    json.dumps(drawn, allow_nan=False)
    assert "title" not in drawn["layout"], "the page writes it"


@EVERY
def test_panels_do_not_lie_over_each_other(plot):
    layout = plotly_json(replace(plot, panels=plot.panels * 3))["layout"]
    found = []
    for index in range(3 * len(plot.panels)):
        number = str(index + 1) if index else ""
        found.append((layout[f"xaxis{number}"]["domain"], layout[f"yaxis{number}"]["domain"]))
    for x, y in found:
        assert 0 <= x[0] < x[1] <= 1
        assert 0 <= y[0] < y[1] <= 1
    for (x, y), (others_x, others_y) in pairwise(found):
        assert x[1] < others_x[0] or others_y[1] < y[0]
    assert layout["height"] > plotly_json(plot)["layout"]["height"] > 100


def test_points_with_their_intervals():
    first, second = traces(RANKING)
    marks = RANKING.panels[0].layers[1].marks
    assert first.x == tuple(mark.x for mark in marks)
    assert first.y == tuple(mark.y for mark in marks)
    ends = zip(first.x, first.error_x.arrayminus, first.error_x.array, strict=True)
    found = [(x - low, x + high) for x, low, high in ends]
    assert found == [pytest.approx(mark.x_ends) for mark in marks]
    assert first.customdata == tuple(mark.key for mark in marks)
    assert (first.marker.symbol, second.marker.symbol) == ("circle", "diamond")
    assert (first.marker.line.color, second.marker.color) == (COLOURS["a"], COLOURS["best"])
    assert second.error_x.array is None
    [upright] = [trace for trace in traces(CURVES, mode="markers") if trace.error_y.array]
    assert upright.error_y.array == pytest.approx((0.1, 0.05))
    assert upright.error_y.arrayminus == pytest.approx((0.1, 0.2))


def test_lines_with_their_bands():
    lines = [trace for trace in traces(CURVES, mode="lines") if trace.fill is None]
    assert [line.y for line in lines] == [
        (0, 0.5, 1),
        (0.9, 0.5, 0.2),
        (0.25, 0.75),
        (0.1, 0.4, 0.7),
    ]
    assert [line.line.shape for line in lines[:2]] == ["linear", "hv"]
    assert [line.line.dash for line in lines[:3]] == ["solid", "solid", "dash"]
    low, high, first, *_ = traces(CURVES)
    assert (low.y, high.y) == ((0, 0.4, 0.9), (0.1, 0.6, 1))
    assert high.fill == "tonexty"
    assert high.fillcolor.startswith(COLOURS["a"])
    assert low.legendgroup == high.legendgroup == first.legendgroup == "first"
    one = replace(CURVES.panels[0].layers[2], marks=CURVES.panels[0].layers[2].marks[:1])
    [alone] = traces(replace(CURVES, panels=(replace(CURVES.panels[0], layers=(one,)),), columns=1))
    assert alone.mode == "markers", "a line of one point would not be seen"


def test_bars_begin_where_they_begin():
    wrong, diverged, upright = traces(BARS)
    assert (wrong.orientation, wrong.x, wrong.base, wrong.y) == ("h", (3, 5), (0, 0), (0, 1))
    assert (diverged.x, diverged.base) == ((2, 1), (3, 5))
    assert wrong.customdata == ("p", "q")
    assert (upright.orientation, upright.x, upright.y) == ("v", (0, 1, 2), (50, 20, 7))


def test_cells_and_their_scale():
    [trace] = traces(CELLS)
    assert [list(row) for row in trace.z] == [[0.25, None], [1, 0]]
    assert [list(row) for row in trace.text] == [["25", ""], ["&lt;b&gt;", "&#36;0&#36;"]]
    assert trace.hovertext[1][0] == "&lt;b&gt;8&lt;/b&gt;"
    scale = plotly_json(CELLS)["layout"]["coloraxis"]
    assert scale["colorscale"] == [list(stop) for stop in SCALES["rate"]]
    assert (scale["cmin"], scale["cmax"]) == (0, 1)
    assert scale["colorbar"]["title"]["text"] == "mean &lt;rate&gt;"
    signed = replace(CELLS.panels[0].layers[0], scale="difference")
    plot = replace(CELLS, panels=(replace(CELLS.panels[0], layers=(signed,)),))
    assert plotly_json(plot)["layout"]["coloraxis"]["cmin"] == -1
    assert [trace.type for trace in traces(SURFACE)] == ["heatmap", "scatter", "scatter"]


def test_each_line_has_the_colour_of_its_value():
    *lines, names = [trace for trace in traces(PARALLEL) if trace.x != (None,)]
    assert {line.line.color for line in lines} <= {colour for _, colour in SCALES["lines"]}
    high, low = lines[-1], lines[0]
    assert low.y == (0.25, 0.25, 0.125, None)
    assert high.y == (0, 0.5, 1, None, 1, 0.125, 0.975, None), "a gap between two lines"
    assert high.customdata == ("k1", "k1", "k1", "", "k2", "k2", "k2", "")
    assert (names.mode, names.text[0]) == ("markers+text", "&lt;b&gt;&#36;low&#36;")
    assert len(names.text[1]) == 14, "shortened, and whole where one points"
    assert names.hovertext[1] == "a name much longer than that"


def test_axes():
    layout = plotly_json(CURVES)["layout"]
    assert layout["xaxis"]["type"] == "log"
    assert layout["yaxis"]["tickformat"] == "~%"
    assert layout["yaxis"]["range"] == [-0.02, 1.02]
    ranking = plotly_json(RANKING)["layout"]["yaxis"]
    assert ranking["range"] == [5.5, -0.5], "the first is at the top"
    assert ranking["tickvals"] == [0, 1, 2, 3, 4, 5]
    parallel = plotly_json(PARALLEL)["layout"]
    assert parallel["xaxis"]["range"] == [-0.5, 2.5]
    assert parallel["xaxis"]["ticktext"] == ["lr", "units", "rate"]
    assert parallel["yaxis"]["showticklabels"] is False
    log = replace(CURVES.panels[0], x=replace(CURVES.panels[0].x, limits=(0.1, 10.0)))
    plot = replace(CURVES, panels=(log,), columns=1)
    assert plotly_json(plot)["layout"]["xaxis"]["range"] == [-1, 1]


def test_rules_and_ranges():
    rule, level, span = plotly_json(CURVES)["layout"]["shapes"]
    assert (rule["xref"], rule["x0"], rule["x1"]) == ("x", 0.03, 0.03)
    assert (rule["yref"], rule["y0"], rule["y1"]) == ("y domain", 0, 1)
    assert rule["label"]["text"] == "0.03"
    assert (level["yref"], level["y0"], level["xref"]) == ("y", 0.9, "x domain")
    assert "label" not in level
    assert (span["xref"], span["x0"], span["x1"]) == ("x2", 2.5, 3.5)
    assert span["layer"] == "below"
    assert not span["showlegend"]


def test_the_legend_has_each_label_once():
    named = [trace.name for trace in traces(CURVES) if trace.showlegend]
    assert named == ["first", "second"]
    assert len(traces(CURVES, legendgroup="first")) == 4, "both lines, and the band"


@EVERY
def test_nothing_is_read_as_markup(plot):
    figure = plotly_figure(plot)
    for text in strings(figure.to_plotly_json()):
        tags = set(re.findall(r"<[^>]*>?", text))
        assert tags <= {"<br>", "<b>", "</b>"}, text
        assert "$" not in text, "LaTeX"
    texts = [html.unescape(text) for text in strings(figure.to_plotly_json())]
    assert any("What <one> sees & $pays$" in text for text in texts)


def test_labels_are_short_and_whole_where_one_points():
    drawn = plotly_json(RANKING)
    labels = [html.unescape(label) for label in drawn["layout"]["yaxis"]["ticktext"]]
    assert max(map(len, labels)) <= 56
    assert (labels[2], labels[4][:3], labels[4][-3:]) == ("two\\nlines", "LLL", "RRR")
    points = drawn["data"][0]
    for label, text in zip(HOSTILE, points["hovertext"], strict=True):
        whole = html.unescape(text.replace("<br>", ""))
        for word in re.findall(r"\w{2,}", label):
            assert word in whole or word in whole.replace(" ", "")
        assert max(map(len, html.unescape(text).split("<br>"))) <= 60
    assert len(html.unescape(points["name"])) <= 44


def test_json_needs_no_plotly():
    program = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from plots import PLOTS\n"
        "from xortune.reports.drawing.plotly import plotly_json\n"
        "[plotly_json(plot) for plot in PLOTS]\n"
        "print(sorted({'plotly', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "[]"
