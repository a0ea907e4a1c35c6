"""The table of all configs in a page: it holds the rows it is given, and no more than fits."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import replace

import pytest
import yaml
from html_documents import PARAMETERS, Parsed, network_table, row
from hypothesis import given
from hypothesis import strategies as st

from xortune.reports.document import ConfigTable, Document, Section, first_rows
from xortune.reports.html.page import PAGE, as_json, embedded, literal, page


def of(*tables):
    blocks = tuple(tables)
    return page(Document("t", "", (Section("configs", "Configs", blocks),)))


def decoded(table):
    """The rows in a page's data, written out as its script does."""
    data = json.loads(embedded(table).data)
    found = []
    for key, count, epochs, epochs_text, trials, note, *values in data["rows"]:
        k, n, rate, between, bar, low = data["counts"][count]
        texts = [["", None] if at < 0 else data["values"][i][at] for i, at in enumerate(values)]
        found.append((key, k, n, rate, between, bar, low, epochs, epochs_text, trials, note, texts))
    return data, found


def test_the_data_are_the_rows():
    table = network_table(60)
    data, found = decoded(table)
    assert len(found) == 60
    for given_row, (key, k, n, _, _, bar, low, epochs, _, trials, note, texts) in zip(
        table.rows, found, strict=True
    ):
        assert (key, k, n, trials) == (given_row.key, given_row.k, given_row.n, given_row.trials)
        assert (low, epochs) == (given_row.low, given_row.epochs_to_solve)
        assert data["notes"][note] == given_row.note
        assert [text for text, _ in texts] == list(given_row.values)
        for (text, written), exact in zip(texts, given_row.sort, strict=True):
            assert text == "" or json.loads(written) == exact
        start, length, at = bar
        assert start == pytest.approx(100 * given_row.low, abs=0.051)
        assert start + length == pytest.approx(100 * given_row.high, abs=0.11)
        assert at == pytest.approx(100 * k / n, abs=0.051)


def test_its_texts_are_those_of_markdown():
    table = network_table(10)
    _, found = decoded(table)
    plain = first_rows(table)
    names = [column.name for column in plain.columns]
    for cells, (_, k, n, rate, between, _, _, _, epochs, *_) in zip(plain.rows, found, strict=True):
        texts = dict(zip(names, (cell[0] for cell in cells), strict=True))
        assert texts["solved"] == f"{k}/{n}"
        assert (texts["rate"], texts["95 % interval"]) == (rate, between)
        assert texts["epochs to solve"] == epochs
        for text in (f"{k}/{n}", rate, between, epochs):
            assert text in Parsed(of(table)).text


def test_ten_thousand_configs_are_all_in_a_page_of_less_than_five_megabytes():
    table = network_table(10_000)
    text = of(table)
    # A page with figures has Plotly too, of 1.2 MB.
    assert len(text.encode()) < 3_300_000
    keys = {found[0] for found in json.loads(embedded(table).data)["rows"]}
    assert keys == {one.key for one in table.rows}
    assert "table.csv</a>.</p>" not in text


def test_more_than_fits_is_said_and_cut_at_the_end():
    rows = network_table(1).rows * 50_000
    table = ConfigTable(PARAMETERS, rows, (), task="xor")
    found = embedded(table)
    assert 10_000 < found.held < found.total == 50_000
    assert len(found.data) < 3_000_000
    text = Parsed(of(table)).text
    said = f"This page holds the first {found.held:,} of 50,000 configurations, in their order."
    assert said in text


def test_long_labels_count_for_what_they_take():
    names = [f"{at:04}" + "x" * 396 for at in range(5_000)]
    rows = tuple(row({"name": name}, names=("name",), fixed=()) for name in names)
    found = embedded(ConfigTable(("name",), rows, ()))
    assert 2_000 < found.held < 5_000
    assert len(found.data) < 3_000_000


def test_the_first_rows_are_there_without_a_script():
    table = network_table(40)
    found = Parsed(of(table))
    assert [one.key for one in table.rows[:PAGE]] == [i for i in found.ids if len(i) == 16]
    assert "The first 25 of 40 configurations" in found.text


def test_the_same_rows_twice_have_one_anchor():
    table = network_table(6)
    found = Parsed(of(replace(table, rows=table.rows[:4]), table))
    assert len(found.ids) == len(set(found.ids))
    assert {one.key for one in table.rows} <= set(found.ids)


def test_no_rows_are_said():
    found = Parsed(of(ConfigTable(("a",), (), ())))
    assert "There are no configurations." in found.text
    assert found.all("table") == []


def test_a_row_without_seeds_has_no_rate_and_no_bar():
    odd = row({"a": 1}, 0, 0, names=("a",), fixed=())
    text = of(ConfigTable(("a",), (odd,), ()))
    [data] = Parsed(text).data
    assert data["counts"] == [[0, 0, "–", "–", None, None]]
    assert "NaN" not in json.dumps(data)
    assert 'visibility="hidden"' in text.partition("<template")[0]


def test_what_is_no_number_is_not_taken_for_one():
    rows = tuple(row({"a": given}, names=("a",), fixed=()) for given in (1, True, "1", None, 2.5))
    data = json.loads(embedded(ConfigTable(("a",), rows, ())).data)
    assert data["values"][0] == [
        ["1", "1"],
        ["true", "true"],
        ["1", '"1"'],
        ["null", "null"],
        ["2.5", "2.5"],
    ]
    assert "order" not in data  # a user's own trainer has no command


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
    embedded_text = as_json({"a": [text, 1.5, None]})
    assert json.loads(embedded_text) == {"a": [text, 1.5, None]}
    assert "<" not in embedded_text
    assert embedded_text.isprintable()
    embedded_text.encode()
