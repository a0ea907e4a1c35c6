"""What plotly.js is given: the plot's values, trace types of its basic bundle, no markup."""

from __future__ import annotations

import html
import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plots import BARS, CELLS, CURVES, HOSTILE, PARALLEL, PLOTS, RANKING, SURFACE, of

from xortune.reports.drawing.plotly import escaped, lean, nested, plotly_figure, plotly_json
from xortune.reports.drawing.style import COLOURS, GROUNDS, SCALES, at
from xortune.reports.plot import Axis, Panel, Points, Rule

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
def test_only_what_the_basic_bundle_has(plot):
    assert {trace["type"] for trace in plotly_json(plot)["data"]} <= {"scatter", "bar"}


@EVERY
def test_a_page_and_a_notebook_have_the_same_marks(plot):
    drawn = plotly_json(plot)
    figure = json.loads(plotly_figure(plot).to_json())
    assert figure["data"] == drawn["data"]
    assert [*drawn] == ["data", "layout", "light", "dark", "wide", "narrow", "room", "turned"]
    json.dumps(drawn, allow_nan=False)
    assert "title" not in drawn["layout"], "the page writes it"


@EVERY
def test_plotly_knows_every_change_that_a_page_makes(plot):
    drawn = plotly_json(plot)
    for name in ("light", "dark", "wide", "narrow"):
        figure = plotly_figure(plot)
        figure.update_layout(nested(drawn[name]))  # refuses what does not exist
        assert figure.layout.font.color in {ground.ink for ground in GROUNDS.values()}
    assert drawn["dark"]["font.color"] == GROUNDS["dark"].ink
    assert drawn["dark"].keys() == drawn["light"].keys()
    assert drawn["wide"].keys() == drawn["narrow"].keys()


@EVERY
def test_what_a_page_switches_is_first_light_and_wide(plot):
    drawn = plotly_json(plot)

    def holds(whole, part):
        if isinstance(part, dict):
            return all(holds(whole[name], value) for name, value in part.items())
        if isinstance(part, list) and part and isinstance(part[0], dict):
            return all(holds(a, b) for a, b in zip(whole, part, strict=True))
        return whole == part

    assert holds(drawn["layout"], nested(drawn["wide"] | drawn["light"]))


@pytest.mark.parametrize("which", ["wide", "narrow"])
@EVERY
def test_panels_do_not_lie_over_each_other(plot, which):
    places = plotly_json(plot)[which]
    found = []
    for index in range(len(plot.panels)):
        number = str(index + 1) if index else ""
        found.append((places[f"xaxis{number}.domain"], places[f"yaxis{number}.domain"]))
    for x, y in found:
        assert 0 <= x[0] < x[1] <= 1
        assert 0 <= y[0] < y[1] <= 1
    for (x, y), (others_x, others_y) in pairwise(found):
        if which == "narrow":
            assert x == others_x == [0, 1]
            assert others_y[1] < y[0], "one below the other"
        else:
            assert x[1] < others_x[0], "one beside the other"
    assert places["height"] > 100


def test_points_with_their_intervals():
    first, second = traces(RANKING)
    given_points = RANKING.panels[0].layers[1]
    assert first.x == given_points.x
    assert first.y == given_points.y
    ends = [b + a for a, b in zip(first.error_x.array, first.x, strict=True)]
    assert ends == pytest.approx(given_points.x_high)
    ends = [b - a for a, b in zip(first.error_x.arrayminus, first.x, strict=True)]
    assert ends == pytest.approx(given_points.x_low)
    assert first.customdata == given_points.keys
    assert (first.marker.symbol, second.marker.symbol) == ("circle-open", "diamond")
    assert second.marker.color == COLOURS["best"]
    assert second.error_x.array is None
    [upright] = [trace for trace in traces(CURVES, mode="markers") if trace.error_y.array]
    assert upright.error_y.array == pytest.approx((0.1, 0.05))
    assert upright.error_y.arrayminus == pytest.approx((0.1, 0.2))


def test_lines_with_their_bands():
    lines = [trace for trace in traces(CURVES, mode="lines") if trace.fill is None]
    assert [line.y for line in lines] == [
        (0.0, 0.5, 1.0),
        (0.9, 0.5, None, 0.2),
        (0.25, 0.75),
        (0.1, 0.4, 0.7),
    ]
    assert [line.line.shape for line in lines] == [None, "hv", None, None]
    assert [line.line.dash for line in lines] == [None, None, "dash", None]
    assert [line.xaxis for line in lines] == ["x", "x", "x", "x2"]
    straight, stepped = traces(CURVES, fill="toself")
    assert straight.x == (0.001, 0.1, 10.0, 10.0, 0.1, 0.001)
    assert straight.y == (0.0, 0.4, 0.9, 1.0, 0.6, 0.1)
    # Until the next x the band stays as it is; the gap parts it in two.
    assert stepped.x == (0.001, 0.1, 0.1, 0.1, 0.1, 0.001, None, 10.0, 10.0)
    assert stepped.y == (0.8, 0.8, 0.4, 0.6, 1.0, 1.0, None, 0.1, 0.3)


def test_each_label_is_in_the_legend_once_and_acts_on_all_panels():
    shown = [trace.name for trace in traces(CURVES) if trace.showlegend]
    assert shown == ["first", "second"]
    group = [trace for trace in traces(CURVES) if trace.legendgroup == "first"]
    assert [trace.xaxis for trace in group] == ["x", "x", "x2"], "line and band, and the other line"
    both = replace(RANKING, panels=RANKING.panels * 2)
    shapes = plotly_json(both)["layout"]["shapes"]
    assert [s["showlegend"] for s in shapes if s["type"] == "rect"] == [True, False]


def test_bars_begin_where_they_begin():
    wrong, diverged, upright = traces(BARS)
    assert (wrong.orientation, wrong.x, wrong.y) == ("h", (3, 5), (0, 1))
    assert wrong.base is None
    assert (diverged.x, diverged.base) == ((2, 1), (3, 5))
    assert wrong.customdata == ("p", "q")
    assert wrong.hovertext == ("one<br>3", "two<br>5")
    assert (upright.orientation, upright.x, upright.y) == ("v", (8, 32, 128), (50, 20, 7))
    assert upright.width == pytest.approx(0.8 * 24)
    assert wrong.width == 0.8


def test_cells_are_bars_with_the_values_as_colours():
    cells, scale_ = traces(CELLS)
    assert scale_.marker.coloraxis == "coloraxis"
    assert scale_.x == (None,)
    colours = tuple(at(SCALES["rate"], value) for value in (0.25, 1, 0))
    assert cells.marker.color == colours, "the empty cell is none"
    low = [x - width / 2 for x, width in zip(cells.x, cells.width, strict=True)]
    high = [x + width / 2 for x, width in zip(cells.x, cells.width, strict=True)]
    assert low == pytest.approx([0.001, 0.001, 0.01], rel=0.01)
    assert high == pytest.approx([0.01, 0.01, 0.1], rel=0.01)
    assert cells.base == (-0.5, 0.5, 0.5)
    assert cells.y == pytest.approx((1, 1, 1), rel=0.01)
    assert cells.text == ("25", "&lt;b&gt;", "&#36;0&#36;")
    assert cells.hovertext == ("2 of 8", "&lt;b&gt;8&lt;/b&gt;", "none")
    inks = cells.insidetextfont.color
    assert inks == ("#ffffff", "#000000", "#ffffff"), "dark, light, dark cells"
    scale = plotly_json(CELLS)["layout"]["coloraxis"]
    assert (scale["cmin"], scale["cmax"]) == (0, 1)
    assert scale["colorbar"]["title"]["text"] == "mean &lt;rate&gt;"


def test_a_surface_is_as_few_bars_as_it_has_levels():
    cells = traces(SURFACE, type="bar")[0]
    # Levels of 5 %: neighbours on one are one bar, but never across one half or an empty cell.
    wanted = (0.025, 0.475, 0.525, 0.975, 0.975)
    assert cells.marker.color == tuple(at(SCALES["class"], value) for value in wanted)
    assert cells.x == (1, 2.5, 3.5, 0.5, 3)
    assert cells.width == pytest.approx((2, 1, 1, 1, 2), rel=0.01)
    assert cells.hoverinfo == "skip"
    _, dot, ring = traces(SURFACE, type="scatter")
    assert dot.marker.line.color == ring.marker.color == "#ffffff", "seen on any colour"


def test_differences_have_nought_in_the_middle():
    cells = replace(CELLS.panels[0].layers[0], scale="difference", texts=(), notes=())
    plot = replace(CELLS, panels=(replace(CELLS.panels[0], layers=(cells,)),))
    scale = plotly_json(plot)["layout"]["coloraxis"]
    assert (scale["cmin"], scale["cmax"]) == (-1, 1)
    assert scale["colorbar"]["ticktext"][1] == "0 %"
    wanted = tuple(at(SCALES["difference"], (1 + value) / 2) for value in (0.25, 0.95, 0.05))
    assert traces(plot)[0].marker.color == wanted


def test_two_scales_have_a_bar_of_colours_each():
    both = replace(CELLS, panels=(*CELLS.panels, *SURFACE.panels, *CELLS.panels))
    drawn = plotly_json(both)
    bars = [drawn["layout"][name]["colorbar"]["y"] for name in ("coloraxis", "coloraxis2")]
    assert "coloraxis3" not in drawn["layout"]
    assert bars[1] < bars[0] < 0
    used = [t["marker"]["coloraxis"] for t in drawn["data"] if "coloraxis" in t["marker"]]
    assert used == ["coloraxis", "coloraxis2", "coloraxis"]


def test_many_lines_are_few_traces():
    low, high, bar = traces(PARALLEL)
    assert low.y == (0.25, 0.25, 0.125, None)
    assert high.y == (1, None, 0.975, None, 0, 0.5, 1, None)
    assert high.x == (0, 1, 2, None, 0, 1, 2, None)
    assert high.hovertext == (*("two",) * 3, "", *("&lt;one&gt;",) * 3, "")
    assert low.customdata == ("k3", "k3", "k3", "")
    assert low.line.color != high.line.color
    assert bar.x == (None,)
    lines = PARALLEL.panels[0].layers[0]
    many = replace(
        lines,
        ys=lines.ys * 100,
        values=tuple(index / 299 for index in range(300)),
        texts=(),
        keys=(),
    )
    plot = replace(PARALLEL, panels=(replace(PARALLEL.panels[0], layers=(many,)),))
    assert len(traces(plot)) == 10 + 1


def test_axes():
    first, second = CURVES_LAYOUT["xaxis"], CURVES_LAYOUT["xaxis2"]
    assert (first["type"], first["dtick"]) == ("log", 1)
    assert second["dtick"] == 1
    assert CURVES_LAYOUT["yaxis"]["tickformat"] == "~%"
    assert CURVES_LAYOUT["yaxis"]["range"] == [-0.02, 1.02]
    ranking = plotly_json(RANKING)["layout"]["yaxis"]
    assert ranking["range"] == [5.5, -0.5], "the first is at the top"
    assert ranking["tickvals"] == [0, 1, 2, 3, 4, 5]
    parallel = plotly_json(PARALLEL)["layout"]["xaxis"]
    assert parallel["range"] == [-0.5, 2.5]
    assert parallel["ticktext"] == ["lr", "units", "rate"]
    log = replace(CURVES.panels[0], x=replace(CURVES.panels[0].x, limits=(0.1, 10.0)))
    axis = plotly_json(replace(CURVES, panels=(log,)))["layout"]["xaxis"]
    assert axis["range"] == [-1, 1]
    assert axis["dtick"] == "D2", "few powers of ten: 2 and 5 between them"
    assert "dtick" not in plotly_json(PARALLEL)["layout"]["yaxis"]
    bars = replace(BARS.panels[0], x=replace(CURVES.panels[0].y))
    axis = plotly_json(replace(BARS, panels=(bars,)))["layout"]["xaxis"]
    assert axis["range"] == [0, 1.02], "bars stand on the edge"


CURVES_LAYOUT = plotly_json(CURVES)["layout"]


@pytest.mark.parametrize(("at", "end"), [(0.0, "left"), (35.0, "center"), (90.0, "right")])
def test_a_rule_beside_a_single_point_has_its_label_in_the_panel(at, end):
    layers = (Rule("x", at, "no difference"), Points("", (35.0,), (0.0,)))
    panel = Panel(Axis("points", "number"), Axis("", "number"), layers)
    [shape] = plotly_json(of(panel))["layout"]["shapes"]
    assert shape["label"]["xanchor"] == end


def test_rules_and_spans():
    rule, level, span = CURVES_LAYOUT["shapes"]
    assert (rule["xref"], rule["x0"], rule["x1"]) == ("x", 0.03, 0.03)
    assert (rule["yref"], rule["y0"], rule["y1"]) == ("y domain", 0, 1)
    assert rule["label"]["text"] == "0.03"
    assert (level["yref"], level["y0"], level["xref"]) == ("y", 0.9, "x domain")
    assert "label" not in level
    assert (span["xref"], span["x0"], span["x1"]) == ("x2", 2.5, 3.5)
    assert span["layer"] == "below"
    assert "name" not in span


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
    for which, most in (("wide", 40), ("narrow", 20)):
        labels = [html.unescape(label) for label in drawn[which]["yaxis.ticktext"]]
        assert max(map(len, labels)) <= most
        assert labels[4].startswith("LLL")
        assert labels[4].endswith("RRR")
        assert labels[2] == "two\\nlines"
    points = drawn["data"][0]
    for label, text in zip(HOSTILE, points["hovertext"], strict=True):
        whole = html.unescape(text.replace("<br>", ""))
        for word in re.findall(r"\w{2,}", label):
            assert word in whole or word in whole.replace(" ", "")
        assert max(map(len, html.unescape(text).split("<br>"))) <= 60
    second = drawn["data"][1]
    assert second["hovertext"][0].endswith("<br>87.5 %"), "its category and its value"
    assert len(html.unescape(points["name"])) <= 44


@given(st.text())
def test_escaping_is_undone_by_unescaping(text):
    found = escaped(text)
    assert not set("<>$") & set(found)
    assert html.unescape(found) == html.unescape(html.escape(text, quote=False))


@given(st.floats())
def test_lean_numbers(value):
    found = lean(value)
    if not math.isfinite(value):
        assert found is None
    else:
        assert found == pytest.approx(value, rel=1e-5)
        assert len(repr(found)) <= 20


def test_a_page_of_figures_is_small():
    lines = PARALLEL.panels[0].layers[0]
    many = replace(
        lines,
        ys=tuple((i / 200, (i * 7 % 200) / 201, i / 203) for i in range(200)),
        values=tuple(i / 200 for i in range(200)),
        texts=("activation Tanh, lr 0.0301, hidden_dim 5: 127 of 128",) * 200,
        keys=("0123456789ab",) * 200,
    )
    plot = replace(PARALLEL, panels=(replace(PARALLEL.panels[0], layers=(many,)),))
    assert len(json.dumps(plotly_json(plot), separators=(",", ":"))) < 100_000


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
