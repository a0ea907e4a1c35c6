"""The front in tables and reports."""

import io

import pytest
from figure_runs import EPOCHS, HIDDEN, RATE, in_front
from rich.console import Console

from xortune.reports.document import markdown_text
from xortune.reports.run import run_document
from xortune.reports.terminal import render_best
from xortune.runs.results import column_names

ROWS = [(5, 16, 16, 300), (5, 16, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


@pytest.mark.parametrize(
    ("rows", "objectives", "front"),
    [
        # Equal in both objectives: both. The one with fewer seeds is not compared.
        (ROWS, (RATE, HIDDEN), [True, True, True, False, False]),
        (ROWS, (RATE, EPOCHS), [False, True, False, False, False]),
        # Without a success the epochs are infinite.
        ([(5, 3, 16, 1), (3, 0, 16, 1), (2, 0, 16, 1)], (EPOCHS, HIDDEN), [True, False, True]),
    ],
)
def test_the_column(tmp_path, rows, objectives, front):
    table = in_front(tmp_path / "r", rows, objectives, ladder=[4, 16]).table
    assert table.columns[-1] == "front"
    assert table.sort_values("lr")["front"].tolist() == front


@pytest.mark.parametrize(
    ("objectives", "place", "sizes"),
    [
        (({"name": "hidden_dim", "direction": "maximize"}, RATE), 2, ["5", "4", "3"]),
        ((HIDDEN, EPOCHS), 2, ["3", "4"]),
        ((EPOCHS, HIDDEN), 3, ["4 |", "3 |"]),
    ],
)
def test_the_first_objective_sorts(tmp_path, objectives, place, sizes):
    rows = [(3, 13, 16, 500), (4, 12, 16, 200), (5, 11, 16, 100)]
    text = markdown_text(run_document(in_front(tmp_path / "r", rows, objectives)))
    section = text.split("## The Pareto front")[1]
    cells = [line.split(" | ") for line in section.split("\n## ")[0].splitlines()]
    assert [row[place] for row in cells if row[0].startswith("| lr")] == sizes


def test_column_names_never_collide():
    names = column_names(["k", "param_k", "lr", "key", "crashed"])
    assert list(names.values()) == ["param_param_k", "param_k", "lr", "param_key", "param_crashed"]
    assert column_names(["front"]) == {"front": "front"}
    assert column_names(["front", "param_front"], ["front"]) == {
        "front": "param_param_front",
        "param_front": "param_front",
    }


def test_a_long_front_is_cut(tmp_path):
    run = in_front(tmp_path / "r", [(2 + i, i, 40, 100) for i in range(40)], ladder=[40])
    console = Console(file=io.StringIO(), width=100)
    render_best(run, console)
    assert "... and 10 more" in markdown_text(run_document(run))
    assert "... and 10 more" in console.file.getvalue()
