"""The page: its structure, what it lets run, the rows that it holds, the data of its figures."""

from __future__ import annotations

import ast
import base64
import hashlib
import itertools
import json
import math
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import yaml
from hand_made import CONFIG, done, solved, write_run
from hypothesis import given
from hypothesis import strategies as st
from pages import Parsed, many
from reported import compared, searched

from xortune.reports.comparison import comparison_document
from xortune.reports.document import first_rows
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.html.page import (
    PAGE,
    SHOWN,
    as_json,
    data_tables,
    embedded,
    literal,
    page,
)
from xortune.reports.plot import Axis, Cells, Lines, Mark, Panel, Plot, Rule, Series
from xortune.reports.run import config_table, run_document
from xortune.reports.tables import report_of


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return run_document(searched(tmp_path_factory.mktemp("page") / "r"))


@pytest.fixture(scope="module")
def parsed(document):
    return Parsed(page(document))


def test_the_same_document_is_the_same_page(document):
    assert page(document) == page(document)


def test_headings_are_in_order_and_say_where_one_is(parsed):
    levels = [int(tag[1]) for tag, _ in parsed.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert parsed.headings[:2] == [("h1", "xortune: golden"), ("h2", "The answer")]
    assert ("h3", "lr (importance 75.0 %)") in parsed.headings


def test_ids_are_unique_and_links_lead_somewhere(parsed):
    assert len(parsed.ids) == len(set(parsed.ids))
    held = {row[0] for data in parsed.data for row in data.get("rows", ())}
    inner = [a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")]
    # The empty one is of the row that the script copies.
    assert set(inner) - {""} <= set(parsed.ids) | held
    assert {"main", "the-answer", "the-configurations-best-first", "do-it-again"} < set(inner)


def test_every_table_has_heads_with_a_scope_and_a_name(parsed):
    tables = parsed.all("table")
    regions = [a for tag, a in parsed.elements if tag == "div" and a.get("class") == "scroll"]
    assert len(tables) == len(regions) > 5
    assert all(region["tabindex"] == "0" for region in regions)
    labels = [region["aria-label"] for region in regions]
    assert len(labels) == len(set(labels))
    assert all(labels)
    assert {head.get("scope") for head in parsed.all("th")} == {"col", "row"}


def test_a_figure_says_what_it_shows_without_being_drawn(document, parsed):
    shown = [a["aria-label"] for _, a in parsed.elements if a.get("role") == "img"]
    assert sorted(shown) == sorted(plot.alt for plot in document.plots)
    for plot in document.plots:
        assert parsed.text.count(plot.alt) >= 1
        assert parsed.text.count(plot.note) == 1
        assert plot.title in parsed.text
    specs = [data for data in parsed.data if "layout" in data]
    assert specs == [plotly_json(plot) for plot in in_order(document, parsed)]


def in_order(document, parsed):
    plots = {f"figure-{plot.name}": plot for plot in document.plots}
    return [plots[name] for name in parsed.ids if name in plots]


@pytest.mark.parametrize("comparison", [False, True])
def test_only_what_the_policy_names_runs_and_nothing_is_fetched(document, comparison, tmp_path):
    shown = comparison_document(compared(tmp_path / "c")) if comparison else document
    parsed = Parsed(page(shown))
    [policy] = [a["content"] for a in parsed.all("meta") if "http-equiv" in a]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    for tag, attributes, text in parsed.raw:
        if attributes.get("type") == "application/json":
            continue
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in rules[f"{tag}-src"]
    assert "unsafe" not in rules["script-src"] + rules["style-src"]
    for _, attributes in parsed.elements:
        assert not {"src", "srcset", "style", "action", "formaction", "data"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
    assert not parsed.all("link")


def test_plotly_is_there_only_for_figures(document, tmp_path):
    small = page(run_document(write_run(tmp_path / "r", [], name="none")))
    assert "No configuration has finished yet" in Parsed(small).text
    assert len(small) < 40_000
    assert "unsafe-inline" not in small
    assert "plotly.js (cartesian - minified)" in page(document)


def test_what_others_made_is_as_they_published_it():
    folder = files("xortune.reports.html").joinpath("vendor")
    digest = hashlib.sha256(folder.joinpath("plotly-cartesian.min.js").read_bytes()).hexdigest()
    readme = folder.joinpath("README.md").read_text()
    assert f"`{digest}`" in readme
    head = folder.joinpath("plotly-cartesian.min.js").read_text()[:200]
    assert re.search(r"v([\d.]+)", head)[1] in readme
    assert "MIT License" in folder.joinpath("LICENSE.plotly.js").read_text()


def test_any_name_leaves_the_structure_as_it_is(tmp_path):
    """Of what a name may be, tests/report/test_hostile.py has the worst."""

    def tags(at, name):
        line = done(0, {name: name, "y": 1}, solved(0, 3, 4))
        run = write_run(tmp_path / str(at), [line], name=name, sampler=name)
        text = page(run_document(run))
        text.encode()  # no lone surrogates
        assert not set("\u2028\u2029\u202e\x00") & set(text)
        return [tag for tag, _ in Parsed(text).elements]

    texts = ["```\n", "```figure\nranking\n```", "\u2028\u2029\u202e\x00", "- # 1.", "<!--", "]]>"]
    wanted = tags(99, "plain")
    for at, name in enumerate(texts):
        assert tags(at, name) == wanted


# -------------------------------------------------------------------------------------------------
# The table of all configs.


def table_of(path, configs):
    run = many(path, configs)
    return config_table(run, report_of(run))


def decoded(table):
    """The rows in a page's data, written out as its script does."""
    data = json.loads(embedded(table)["data"])
    found = []
    for row in data["rows"]:
        values = enumerate(row[11:])
        texts = [["", None] if at < 0 else data["values"][i][at] for i, at in values]
        found.append((*row[:11], texts))
    return data, found


def test_the_data_are_the_rows_and_their_texts_those_of_markdown(tmp_path):
    table = table_of(tmp_path, 60)
    _, found = decoded(table)
    for one, (key, k, n, rate, ends, drawn, low, amount, text, trials, note, texts) in zip(
        table.rows, found, strict=True
    ):
        assert (key, k, n, low, trials) == (one.key, one.k, one.n, one.low, one.trials)
        assert (rate, ends, amount, text, note) == (
            *(one.rate, one.interval, one.amount, one.measure, one.note),
        )
        assert [shown for shown, _ in texts] == list(one.values)
        for (shown, written), exact in zip(texts, one.sort, strict=True):
            assert shown == "" or json.loads(written) == exact
        start, length, at = drawn
        assert start == pytest.approx(100 * one.low, abs=0.051)
        assert start + length == pytest.approx(100 * one.high, abs=0.11)
        assert at == pytest.approx(100 * k / n, abs=0.051)
    plain = first_rows(table)
    names = [column.name for column in plain.columns]
    for cells, (_, k, n, rate, ends, *_, text, _, _, _) in zip(plain.rows, found, strict=False):
        texts = dict(zip(names, cells, strict=True))
        shown = (texts["solved"], texts["rate"], texts["95 % interval"], texts["epochs to solve"])
        assert shown == (f"{k}/{n}", rate, ends, text)


def test_a_large_page_has_what_there_is_room_for_and_says_so(tmp_path, monkeypatch):
    text = page(run_document(many(tmp_path / "all", 10_000)))
    assert len(text.encode()) < 5_000_000
    assert "This page holds the first" not in Parsed(text).text
    monkeypatch.setattr("xortune.reports.run.config_table.__defaults__", (40,))
    document = run_document(many(tmp_path / "some", 60))
    found = Parsed(page(document))
    assert [row.key for row in document.configs.rows[:PAGE]] == [
        name for name in found.ids if re.fullmatch("[0-9a-f]{16}", name)
    ]
    assert "The first 25 of 60 configurations" in found.text
    assert "This page holds the first 40 of 60 configurations, in their order." in found.text


@given(st.one_of(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers()))
def test_a_literal_reads_back_in_json_python_and_yaml(value):
    text = literal(value)
    assert text.isprintable()
    assert json.loads(text) == value
    if not (isinstance(value, str) and any(ord(sign) > 0xFFFF for sign in value)):
        assert ast.literal_eval(text) == value
    if isinstance(value, str):
        whole = all(ord(sign) <= 0xFFFF and not 0xD800 <= ord(sign) < 0xE000 for sign in value)
        assert not whole or yaml.safe_load(text) == value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_a_word(value):
    assert json.loads(literal(value)) == str(value)


@given(st.text())
def test_embedded_json_ends_no_script_and_reads_back(text):
    embedded = as_json({"a": [text, 1.5, None]})
    assert json.loads(embedded) == {"a": [text, 1.5, None]}
    assert "<" not in embedded
    assert embedded.isprintable()
    embedded.encode()


# -------------------------------------------------------------------------------------------------
# Where nobody counts epochs, as with a function of the user's, no page or table speaks of them.


NO_EPOCHS = {
    "epochs": 0,
    "solved_epoch": np.zeros(4, np.int32),
    "predictions": np.zeros((4, 0), np.bool_),
}


def test_epochs_are_only_where_they_are_counted(tmp_path):
    lines = [done(at, {"depth": at}, replace(solved(0, at % 4, 4), **NO_EPOCHS)) for at in range(4)]
    text = page(run_document(write_run(tmp_path / "own", lines, trainer="./train.py:run")))
    assert "epoch" not in Parsed(text).text
    assert "all zero" not in Parsed(text).text
    points = [CONFIG | {"hidden_dim": width} for width in (2, 3)]
    lines = [done(at, point, solved(0, 2, 4)) for at, point in enumerate(points)]
    text = Parsed(page(run_document(write_run(tmp_path / "n", lines, trainer="network")))).text
    assert "epochs to solve" in text
    assert "then the epochs to solve, then the key" in text


# -------------------------------------------------------------------------------------------------
# The data of a figure as tables, for those who do not see it.

RATE, NUMBER = Axis("rate", "rate"), Axis("epochs")
NAMES = Axis("config", "category", categories=("first", "second"))


def rows(x, y, *layers):
    [(_, table)] = data_tables(Plot("p", "T", "a", "n", (Panel(x, y, layers),)))
    return [column.name for column in table.columns], [list(line) for line in table.rows]


POINTS = Series("A", (Mark(0.5, 0, x_ends=(0.25, 0.75), key="k1"), Mark(1.0, 1, x_ends=(0.9, 1.0))))


def test_points_have_their_intervals_and_lead_to_their_configs():
    heads, found = rows(RATE, NAMES, POINTS)
    assert heads == ["what", "rate", "config", "from, to", "more"]
    assert found == [
        ["A", "50.0 %", "first", "25.0 % – 75.0 %", "k1"],
        ["A", "100.0 %", "second", "90.0 % – 100.0 %", ""],
    ]
    assert found[0][-1].key == "k1"


def test_lines_have_their_bands_and_bars_their_reach():
    line = Series("A", (Mark(1.0, 0.1, y_ends=(0.0, 0.2)), Mark(2.0, 0.2, text="more")), "line")
    _, found = rows(NUMBER, RATE, line)
    assert found == [["A", "1", "10.0 %", "0.0 % – 20.0 %", ""], ["A", "2", "20.0 %", "", "more"]]
    bars = Series("A", (Mark(0.25, 1.0, x_ends=(0.5, 0.75)),), "bars")
    assert rows(RATE, NAMES, bars)[1] == [["A", "25.0 %", "second", "50.0 % – 75.0 %"]]


def test_cells_say_where_they_are_and_empty_ones_nothing():
    cells = Cells((0.0, 1.0), (0.5,), ((0.25, float("nan")),), "rate", notes=(("n", ""),))
    assert rows(NAMES, RATE, cells)[1] == [["rate", "first", "50.0 %", "n"]]
    bare = Cells((3.0,), (0.5,), ((0.125,),), "rate")
    assert rows(NUMBER, RATE, bare)[1] == [["rate", "3", "50.0 %", "12.5 %"]]


def test_thin_lines_rules_and_ranges():
    lines = Lines(((0.5, 0.25),), (0.25,), "rate", ("a config",), ("k1",))
    assert rows(NAMES, RATE, lines)[1] == [["rate 25.0 %", "a config"]]
    heads, found = rows(NUMBER, RATE, Rule("x", 3.0, "here"), Rule("y", 0.0, "close", to=0.5))
    assert heads == ["what", "epochs", "from, to"]
    assert found == [["here", "3", ""], ["close", "", "0.0 % – 50.0 %"]]


def test_of_very_many_marks_the_first_are_told():
    points = Series("A", tuple(Mark(float(x), 0.5) for x in range(500)))
    [(about, table)] = data_tables(Plot("p", "T", "a", "n", (Panel(NUMBER, RATE, (points,)),)))
    assert len(table.rows) == SHOWN
    assert about == f"Data: T; the first {SHOWN} of 500 rows"
