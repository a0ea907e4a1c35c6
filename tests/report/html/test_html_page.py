"""The page: its structure, what it lets run, the rows that it holds, the data of its figures."""

import ast
import hashlib
import json
import math
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import yaml
from hand_made import done, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import Parsed, many, runs_only_its_own
from reported import compared, plain, searched

from xortune.reports.comparison import comparison_document
from xortune.reports.drawing.plotly import plotly_json
from xortune.reports.page import PAGE, as_json, literal, page
from xortune.reports.run import run_document


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    return run_document(searched(tmp_path_factory.mktemp("page") / "r"))


@pytest.fixture(scope="module")
def parsed(document):
    return Parsed(page(document))


def test_ids_are_unique_and_links_lead_somewhere(parsed):
    assert len(parsed.ids) == len(set(parsed.ids))
    columns = [column for data in parsed.data for column in data.get("columns", ())]
    held = {cell[0] for column in columns if column["name"] == "key" for cell in column["cells"]}
    inner = [a["href"][1:] for a in parsed.all("a") if a["href"].startswith("#")]
    assert set(inner) <= set(parsed.ids) | held
    assert {"main", "the-answer", "the-configurations-best-first", "do-it-again"} < set(inner)


def test_a_figure_says_what_it_shows_without_being_drawn(document, parsed):
    shown = [a["aria-label"] for _, a in parsed.elements if a.get("role") == "img"]
    assert sorted(shown) == sorted(plot.alt for plot in document.plots)
    for plot in document.plots:
        assert parsed.text.count(plot.alt) >= 1
        assert all(parsed.text.count(part) == 1 for part in plot.caption if part)
        assert plot.title in parsed.text
    specs = [data for data in parsed.data if "layout" in data]
    plots = {f"figure-{plot.name}": plot for plot in document.plots}
    assert specs == [plotly_json(plots[name]) for name in parsed.ids if name in plots]


def test_only_what_the_policy_names_runs_and_nothing_is_fetched(parsed, tmp_path):
    for shown in parsed, Parsed(page(comparison_document(compared(tmp_path / "c")))):
        [policy] = [a["content"] for a in shown.all("meta") if "http-equiv" in a]
        runs_only_its_own(shown, policy)
        assert not shown.all("link")


def test_plotly_is_there_only_for_figures(document, tmp_path):
    small = page(run_document(write_run(tmp_path / "r", [], name="none")))
    assert "No configuration has finished yet" in Parsed(small).text
    assert len(small) < 40_000
    assert "unsafe-inline" not in small
    assert "plotly.js (cartesian - minified)" in page(document)


def test_what_others_made_is_as_they_published_it():
    folder = files("xortune.reports").joinpath("html", "vendor")
    plotly = folder.joinpath("plotly-cartesian.min.js").read_bytes()
    readme = folder.joinpath("README.md").read_text()
    assert f"`{hashlib.sha256(plotly).hexdigest()}`" in readme
    assert re.search(rb"v([\d.]+)", plotly[:200])[1].decode() in readme
    assert "MIT License" in folder.joinpath("LICENSE.plotly.js").read_text()


def test_a_large_page_has_what_there_is_room_for_and_says_so(tmp_path, monkeypatch):
    few, text = (page(run_document(many(tmp_path / str(n), n))) for n in (1_000, 2_000))
    assert len(text.encode()) - len(few.encode()) < 270_000, "ten thousand take less than 3 MB"
    assert "This page holds the first" not in Parsed(text).text
    monkeypatch.setattr("xortune.reports.run.config_table.__defaults__", (40, ()))
    document = run_document(many(tmp_path / "some", 60))
    found = Parsed(page(document))
    keys = [name for name in found.ids if re.fullmatch("[0-9a-f]{16}", name)]
    assert keys == [row["key"] for row in document.configs.rows[:PAGE]]
    assert "The first 10 of 60 configurations" in found.text
    assert "This page holds the first 40 of 60 configurations, in their order." in found.text


@settings(max_examples=40)  # YAML is slow
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


def test_epochs_are_only_where_they_are_counted(tmp_path):
    """Where nobody counts them, as with a user's function, no page or table speaks of them."""
    none = {"solved_epoch": np.zeros(4, np.int32), "predictions": np.zeros((4, 0), np.bool_)}
    lines = [done(i, {"depth": i}, replace(solved(0, i, 4), epochs=0, **none)) for i in range(4)]
    own = page(run_document(write_run(tmp_path / "own", lines, trainer="./train.py:run")))
    assert not re.search("epoch|all zero", Parsed(own).text)
    text = Parsed(page(run_document(plain(tmp_path / "n", [(2, 4), (2, 4)])))).text
    assert "epochs to solve" in text
    assert "then by the epochs to solve, then by its key" in text
