"""comparison.md and comparison.csv: the answer first, every number that of the values."""

from __future__ import annotations

import io
import re

import pandas as pd
import pytest
from hand_made import done, solved, write_run

import xortune as xt
from xortune.core.errors import InputError
from xortune.reports.comparison import compared, comparison_document
from xortune.reports.comparison import published_answer as answer
from xortune.reports.document import markdown_text
from xortune.reports.files import COMPARISON_FIGURES as FIGURES
from xortune.reports.files import comparison_csv
from xortune.reports.words import points, points_interval

BASE = {"activation": "Tanh", "loss": "MSELoss", "hidden_dim": 5, "epochs": 10, "zero_grad": True}
GRID = [
    {**BASE, "optimizer": optimizer, "lr": lr}
    for optimizer in ("Adam", "Rprop")
    for lr in (0.01, 0.1, 1.0)
]


@pytest.fixture
def comparison(tmp_path):
    """Adam succeeds less often than in the table, Rprop as often; one row has no config."""

    def make(theirs=(90, 80, 70, 50, 51, 49), mine=(20, 20, 70, 50, 50, 50), name="t|a.tsv"):
        evaluations = [
            done(i, point, solved(0, k, 100, epochs=10))
            for i, (point, k) in enumerate(zip(GRID, mine, strict=True))
        ]
        run = write_run(tmp_path / "sweep", evaluations, trainer="network")
        rows = [f"{p['optimizer']},{p['lr']},{k},1" for p, k in zip(GRID, theirs, strict=True)]
        path = tmp_path / name
        path.write_text("\n".join(["Optimizer,LearnRate,PercentCorrect,TimeTaken", *rows]))
        with path.open("a") as file:
            file.write("\nASGD,1.0,3,1\n")
        return xt.compare(run, reference=path)

    return make


def comparison_markdown(found):
    return markdown_text(comparison_document(found), figures=f"{FIGURES}/")


def section(text, title):
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_the_answer_comes_first(comparison):
    found = comparison()
    first, second, third = answer(found)
    assert first == "2 of 6 cells differ beyond chance (Holm 5 %)."
    assert second.startswith("2 (33.3 %) have p < 0.05; chance alone gives about ")
    assert f"95 % range {found.summary.expected_low} to {found.summary.expected_high}" in second
    assert "That is more than chance gives." in second
    assert third == "All that differ have optimizer Adam."
    text = comparison_markdown(found)
    assert text.startswith("# xortune: sweep beside t&#124;a.tsv\n\n## The answer\n\n2 of 6 cells")


def test_other_answers(comparison):
    same = comparison(theirs=(20, 20, 70, 50, 50, 50))
    first, second = answer(same)
    assert first == "0 of 6 cells differ beyond chance (Holm 5 %)."
    assert "0 (0.0 %) have p < 0.05" in second
    assert "That is what chance gives. The smallest p is 1." in second
    text = comparison_markdown(same)
    assert section(text, "Cells that differ beyond chance").strip() == "None."


def test_one_cell_that_differs(comparison):
    first, *rest = answer(comparison(theirs=(90, 20, 70, 50, 50, 50)))
    assert first == "1 of 6 cells differs beyond chance (Holm 5 %)."
    assert len(rest) == 1


def test_all_cells_that_differ(comparison):
    text = comparison_markdown(comparison(theirs=(99, 99, 0, 0, 0, 0)))
    assert section(text, "The others").strip() == "There are none."


def test_what_was_read_and_assumed_is_shown(comparison):
    found = comparison()
    shown = dict(compared(found))
    assert shown["columns"] == (
        "optimizer = Optimizer, lr = LearnRate, percent solved = PercentCorrect"
    )
    assert "n = 100 seeds for each cell" in shown["assumed"]
    assert shown["not used"] == "TimeTaken"
    assert shown["not in the table"] == (
        "activation Tanh, loss MSELoss, momentum none, hidden_dim 5, epochs 10, zero_grad true"
        " (in every config compared)"
    )
    assert shown["only in the table"] == "1 row (line 8)"
    assert "only in the run" not in shown
    text = section(comparison_markdown(found), "What was compared")
    assert [label for label, _ in rows(text)] == [label for label, _ in compared(found)]
    assert rows(text)[1][1].endswith("t&#124;a.tsv")


def test_the_tables_hold_the_numbers_of_the_cells(comparison):
    found = comparison()
    text = comparison_markdown(found)
    shown = rows(section(text, "Cells that differ beyond chance"))
    shown += rows(section(text, "The others"))
    assert len(shown) == 6
    for row, cell in zip(shown, found.cells.to_dict("records"), strict=True):
        assert row[:3] == [cell["optimizer"], f"{cell['lr']:g}", f"{cell['k']}/100"]
        assert row[4] == f"{cell['reference_k']}/100"
        low, high = cell["difference_low"], cell["difference_high"]
        ends = points_interval(low, high).replace("[", "\\[").replace("]", "\\]")
        assert row[6] == f"{points(cell['difference'], low, high)} {ends}"
        assert float(row[7]) == pytest.approx(cell["p"], rel=0.005)
        assert float(row[8]) == pytest.approx(cell["p_holm"], rel=0.005)
    assert shown[0][3] == "13–29 %"  # 13.3 to 28.9, Wilson's of 20 of 100


def test_groups_are_told_parameter_by_parameter(comparison):
    found = comparison()
    text = section(comparison_markdown(found), "Which values the differences go with")
    assert re.findall(r"^### (.+)$", text, re.MULTILINE) == ["optimizer", "lr"]
    optimizer = rows(text.partition("### lr")[0])
    assert [row[0] for row in optimizer] == ["Adam", "Rprop"]
    assert [row[4] for row in optimizer] == ["2", "0"]
    assert [row[5] for row in optimizer] == ["-43.3", "+0.0"]


def test_long_tables_are_cut_and_say_so(tmp_path):
    lrs = range(1, 151)
    evaluations = [
        done(i, {**GRID[0], "lr": lr}, solved(0, 0 if lr <= 120 else 50, 100, epochs=10))
        for i, lr in enumerate(lrs)
    ]
    run = write_run(tmp_path / "r", evaluations, trainer="network")
    path = tmp_path / "t.csv"
    path.write_text("lr,k\n" + "".join(f"{lr},50\n" for lr in lrs))
    text = comparison_markdown(xt.compare(run, reference=path))
    differing = section(text, "Cells that differ beyond chance")
    assert len(rows(differing)) == 100
    assert "... and 20 more, in comparison.csv." in differing
    others = section(text, "The others")
    assert len(rows(others)) == 20
    assert "... and 10 more, in comparison.csv." in others
    groups = section(text, "Which values the differences go with")
    assert len(rows(groups)) == 40
    assert "... and 110 more values." in groups


def test_every_table_is_rectangular(comparison):
    width = None
    for line in comparison_markdown(comparison()).splitlines():
        cells = line.count("|") if line.startswith("|") else None
        assert width is None or cells in (None, width)
        width = cells


def test_the_csv_is_the_frame(comparison):
    found = comparison()
    again = pd.read_csv(io.StringIO(comparison_csv(found)), engine="pyarrow")
    assert list(again.columns) == list(found.cells.columns)
    pd.testing.assert_frame_equal(again, found.cells, check_dtype=False, check_exact=True)


def test_files_go_beside_the_run_or_elsewhere(comparison, tmp_path):
    found = comparison()
    files = xt.write_comparison(found, formats=["md", "csv"])
    assert files == (tmp_path / "sweep/comparison.md", tmp_path / "sweep/comparison.csv")
    assert files[0].read_text(encoding="utf-8") == comparison_markdown(found)
    assert files[1].read_text(encoding="utf-8") == comparison_csv(found)
    files = xt.write_comparison(found, tmp_path / "new" / "place")
    there = [path for path in (tmp_path / "new" / "place").iterdir() if path.is_file()]
    assert sorted(there) == sorted(files)
    for place in (files[0], "a\0b"):
        with pytest.raises(InputError, match=r"cannot be written.*directory with output$"):
            xt.write_comparison(found, place)
