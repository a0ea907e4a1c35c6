"""The data of a figure as tables, for those who do not see it."""

from __future__ import annotations

import pytest
from html_documents import Parsed, every_block, every_plot

from xortune.reports.document import Link
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.html.page import SHOWN, data_tables
from xortune.reports.plot import Axis, Bars, Cells, Line, Lines, Panel, Plot, Points, Rule, Span

RATE, NUMBER = Axis("rate", "rate"), Axis("epochs")
NAMES = Axis("config", "category", categories=("first", "second"))


def rows(x, y, *layers):
    [table] = data_tables(Plot("p", "T", "a", "n", (Panel(x, y, layers),)))
    heads = [column.name for column in table.columns]
    return heads, [[cell[0] for cell in line] for line in table.rows]


def test_points_have_their_intervals_and_lead_to_their_configs():
    points = Points("A", (0.5, 1.0), (0.0, 1.0), (0.25, 0.9), (0.75, 1.0), keys=("k1", ""))
    heads, found = rows(RATE, NAMES, points)
    assert heads == ["what", "rate", "config", "from, to", "more"]
    assert found == [
        ["A", "50.0 %", "first", "25.0 % – 75.0 %", Link("k1", "#k1")],
        ["A", "100.0 %", "second", "90.0 % – 100.0 %", ""],
    ]


def test_only_numbers_stand_at_the_right():
    points = Points("A", (0.5,), (0.0,), (0.25,), (0.75,))
    for y, wanted in ((NAMES, [False, True, False, False]), (NUMBER, [False, True, True, True])):
        [table] = data_tables(Plot("p", "T", "a", "n", (Panel(RATE, y, (points,)),)))
        assert [column.numeric for column in table.columns] == wanted


def test_lines_have_their_bands():
    line = Line("A", (1.0, 2.0), (0.1, float("nan")), (0.0, 0.1), (0.2, 0.3))
    _, found = rows(NUMBER, RATE, line)
    assert found == [["A", "1", "10.0 %", "0.0 % – 20.0 %"], ["A", "2", "–", "10.0 % – 30.0 %"]]


@pytest.mark.parametrize("across", [False, True])
def test_bars_stand_or_lie(across):
    bars = Bars("A", (0.0, 1.0), (0.5, 0.25), (0.0, 0.5), across=across)
    x, y = (RATE, NAMES) if across else (NAMES, RATE)
    _, found = rows(x, y, bars)
    first, second = ["first", "50.0 %"], ["second", "25.0 %"]
    if across:
        first, second = first[::-1], second[::-1]
    assert found == [["A", *first, ""], ["A", *second, "50.0 % – 75.0 %"]]


def test_cells_say_where_they_are_and_empty_ones_nothing():
    cells = Cells((0.0, 1.0, 2.0), (0.0, 0.5), ((0.25, float("nan")),), "rate", notes=(("n", ""),))
    _, found = rows(NUMBER, RATE, cells)
    assert found == [["rate", "0 – 1", "0.0 % – 50.0 %", "n"]]
    signed = Cells((0.0, 1.0), (0.0, 1.0), ((-0.125,),), "points", scale="difference")
    assert rows(NUMBER, NUMBER, signed)[1] == [["points", "0 – 1", "0 – 1", "-12.5"]]


def test_thin_lines_rules_and_spans():
    lines = Lines((0.0, 1.0), ((0.5, float("nan")),), (0.25,), "rate")
    assert rows(NAMES, RATE, lines)[1] == [["rate 25.0 %", "first 50.0 %"]]
    heads, found = rows(NUMBER, RATE, Rule("x", 3.0, "here"), Span("y", 0.0, 0.5, "tied"))
    assert heads == ["what", "epochs", "from, to"]
    assert found == [["here", "3", ""], ["tied", "", "0.0 % – 50.0 %"]]


def test_of_very_many_marks_the_first_are_told():
    many = Points("A", tuple(map(float, range(500))), (0.5,) * 500)
    [table] = data_tables(Plot("p", "T", "a", "n", (Panel(NUMBER, RATE, (many,)),)))
    assert len(table.rows) == SHOWN
    assert table.caption == f"Data: T; the first {SHOWN} of 500 rows"


def test_the_page_holds_what_plotly_draws():
    from xortune.reports.html.page import page

    document = every_block()
    plot = document.sections[0].blocks[1].plot
    [spec] = [data for data in Parsed(page(document)).data if "layout" in data]
    assert spec == plotly_json(plot)
    assert spec["narrow"].keys() >= {"height"}
    assert every_plot("plain").title == plot.title
