"""The table of all configs as a value."""

from __future__ import annotations

import pytest
from hand_made import CONFIG, done, failed, solved, write_run

from xortune.core.counts import wilson
from xortune.reports.document import first_rows
from xortune.reports.run import config_table, tied
from xortune.reports.tables import report_of


def table_of(run):
    return config_table(run, report_of(run))


def test_rows_are_the_results_in_their_order_with_their_numbers(tmp_path):
    counts = [(3, 8), (8, 8), (0, 8), (8, 8)]
    lines = [
        done(i, CONFIG | {"lr": 0.0123456 * (1 + i)}, solved(0, *kn, epoch=100 * (1 + i)))
        for i, kn in enumerate(counts)
    ]
    run = write_run(tmp_path / "r", lines, trainer="network", task="xor")
    table = table_of(run)
    assert table.parameters == ("lr",)
    assert [row.key for row in table.rows] == [result.key for result in run.results]
    assert [row.values for row in table.rows] == [("0.0247",), ("0.0494",), ("0.0123",), ("0.037",)]
    assert [row.sort[0] for row in table.rows] == [
        pytest.approx(0.0123456 * (1 + i)) for i in (1, 3, 0, 2)
    ]
    for row, result in zip(table.rows, run.results, strict=True):
        outcome = result.outcome
        assert (row.k, row.n, row.trials) == (outcome.successes, outcome.n, result.trials)
        assert (row.low, row.high) == pytest.approx(tuple(map(float, wilson(row.k, row.n))))
        assert row.epochs_to_solve == outcome.epochs_to_solve
    assert [row.epochs_to_solve for row in table.rows][:2] == [200, 400]
    assert table.rows[-1].epochs_to_solve is None
    assert dict(table.fixed) == {name: CONFIG[name] for name in CONFIG if name != "lr"}
    assert table.task == "xor"


def test_equal_values_of_other_kinds_are_told_apart(tmp_path):
    given = [True, 1, "1", None, False, 0.5]
    lines = [done(i, {"x": x, "y": i}, solved(0, 1, 2)) for i, x in enumerate(given)]
    table = table_of(write_run(tmp_path / "r", lines))
    assert {row.values[0] for row in table.rows} == {"true", "1", "null", "false", "0.5"}
    found = {(type(row.sort[0]), row.values[0]) for row in table.rows}
    assert (bool, "true") in found
    assert (int, "1") in found
    assert (str, "1") in found
    assert table.task is None
    columns = {column.name: column.numeric for column in first_rows(table).columns}
    assert (columns["x"], columns["y"]) == (False, True)


def test_what_is_not_active_is_empty_and_null_is_said(tmp_path):
    lines = [
        done(0, {"o": "SGD", "m": None}, solved(0, 1, 2)),
        done(1, {"o": "Adam"}, solved(0, 2, 2)),
    ]
    table = table_of(write_run(tmp_path / "r", lines))
    at = table.parameters.index("m")
    assert [(row.values[at], row.sort[at]) for row in table.rows] == [("", None), ("null", None)]


def test_notes_say_who_is_tied_and_who_was_stopped(tmp_path):
    lines = [
        done(0, {"x": 0}, solved(0, 16, 16)),
        done(1, {"x": 1}, solved(0, 15, 16)),
        done(2, {"x": 2}, solved(0, 2, 16)),
        done(3, {"x": 3}, solved(0, 4, 8)),
        failed(4, {"x": 4}, 0, 8),
    ]
    table = table_of(write_run(tmp_path / "r", lines, ladder=[8, 16]))
    notes = {row.sort[0]: row.note for row in table.rows}
    assert notes == {0: "tied", 1: "tied", 2: "", 3: "stopped early", 4: "stopped early"}
    cut = report_of(write_run(tmp_path / "cut", lines, ladder=[8, 16], complete=False))
    [text, *_] = tied(cut)
    assert "2 configurations got fewer before the search was interrupted" in text.text[0]
    half = write_run(tmp_path / "half", lines, ladder=[8, 16], complete=False)
    assert {row.note for row in table_of(half).rows} == {"tied", "", "fewer seeds"}
    nothing = [done(i, {"x": i}, solved(0, 0, 16)) for i in range(3)]
    table = table_of(write_run(tmp_path / "none", nothing))
    assert {row.note for row in table.rows} == {""}
