"""The front in tables and reports."""

import io

import pytest
from figure_runs import EPOCHS, HIDDEN, RATE, in_front
from hand_made import CONFIG, done, solved, write_run
from rich.console import Console

from xortune.reports.document import markdown_text
from xortune.reports.run import run_document
from xortune.reports.terminal import render_best
from xortune.runs.results import column_names


def markdown(run):
    text = markdown_text(run_document(run))
    return "\n".join(line for line in text.splitlines() if not line.startswith("!["))


def run_of(path, rows, objectives=(RATE, HIDDEN)):
    return in_front(path / "r", rows, objectives, ladder=[4, 16])


ROWS = [(5, 16, 16, 300), (5, 16, 16, 200), (3, 12, 16, 100), (4, 11, 16, 900), (2, 4, 4, 10)]


def by_size(run):
    return {
        (int(row.hidden_dim), int(row.k), round(row.epochs_to_solve)): bool(row.front)
        for row in run.table.itertuples()
    }


def test_the_column(tmp_path):
    run = run_of(tmp_path, ROWS)
    assert run.table.columns[-1] == "front"
    found = by_size(run)
    # Equal in both objectives: both. The one with fewer seeds is not compared.
    assert [front for (h, *_), front in sorted(found.items())] == [False, True, False, True, True]


def test_epochs_count_where_they_are_asked_for(tmp_path):
    found = by_size(run_of(tmp_path, ROWS, (RATE, EPOCHS)))
    assert [key for key, front in found.items() if front] == [(5, 16, 200)]


def test_a_config_without_a_success_has_infinite_epochs(tmp_path):
    run = run_of(tmp_path, [(5, 3, 16, 100), (3, 0, 16, 100), (2, 0, 16, 100)], (EPOCHS, HIDDEN))
    assert run.table.set_index("hidden_dim")["front"].to_dict() == {5: True, 3: False, 2: True}


def terminal(run, width=100):
    console = Console(file=io.StringIO(), width=width)
    render_best(run, console)
    return console.file.getvalue()


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
    section = markdown(run_of(tmp_path, rows, objectives)).split("## The Pareto front")[1]
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
    rows = [(2 + i, i, 40, 100) for i in range(40)]
    lines = [
        done(i, CONFIG | {"hidden_dim": h}, solved(0, k, n)) for i, (h, k, n, _) in enumerate(rows)
    ]
    run = write_run(tmp_path / "r", lines, ladder=[40], objectives=[RATE, HIDDEN])
    assert "... and 10 more" in markdown(run)
    assert "... and 10 more" in terminal(run)
