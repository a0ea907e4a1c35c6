"""What plotly.js is given: the plot's values, trace types of its cartesian bundle, no markup."""

import html
import json
import os
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from plots import CELLS, CURVES, PLOTS

from xortune.reports.drawing.plotly import plotly_figure, plotly_json
from xortune.reports.page import Link, data_tables

GOLDEN = Path(__file__).with_name("golden.json")
EVERY = pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.name)


def with_layer(plot, layer, **axes):
    """The plot with its first panel alone, and this layer alone in that."""
    panel = replace(plot.panels[0], layers=(layer,), **axes)
    return replace(plot, panels=(panel,), columns=1)


help_, cells = CURVES.panels[0].layers[2], CELLS.panels[0].layers[0]
DRAWN = {
    **{plot.name: plot for plot in PLOTS},
    "a line of one point": with_layer(CURVES, replace(help_, marks=help_.marks[:1])),
    "differences": with_layer(CELLS, replace(cells, scale="difference", notes=())),
    "a log axis with limits": with_layer(
        CURVES, help_, x=replace(CURVES.panels[0].x, limits=(0.1, 10.0))
    ),
}


def test_golden():
    """What plotly.js is given, and the same data as tables.

    To renew it after a wanted change: GOLDEN=renew, and read the diff.
    """

    def told(cell):
        return [cell, cell.key] if isinstance(cell, Link) else cell

    found = {}
    for name, plot in DRAWN.items():
        tables = {
            about: [
                [column.name for column in table.columns],
                *([*map(told, r)] for r in table.rows),
            ]
            for about, table in data_tables(plot)
        }
        found[name] = {**plotly_json(plot), "tables": tables}
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("GOLDEN") == "renew":
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


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


@EVERY
def test_nothing_is_read_as_markup(plot):
    figure = plotly_figure(plot)
    for text in strings(figure.to_plotly_json()):
        tags = set(re.findall(r"<[^>]*>?", text))
        assert tags <= {"<br>", "<b>", "</b>"}, text
        assert "$" not in text, "LaTeX"
    texts = [html.unescape(text) for text in strings(figure.to_plotly_json())]
    assert any("What <one> sees & $pays$" in text for text in texts)
