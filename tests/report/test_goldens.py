"""Whole reports, word by word: of runs and of comparisons, in Markdown, LaTeX and a terminal.

After a wanted change: `GOLDEN=renew python -m pytest tests/report/test_goldens.py`; read the diff.
"""

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from compared import contestant, paired, unpaired
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st
from reported import REPORTED, RUNS, document_of, render
from rich.console import Console

from xortune.comparisons.comparison import (
    compare_all,
    compare_in_step,
    points,
    points_interval,
)
from xortune.comparisons.measures import SUCCESS
from xortune.core.point import Point
from xortune.reports.comparison import comparison_document
from xortune.reports.document import markdown_text
from xortune.reports.files import comparison_tex
from xortune.reports.run import run_document, table_tex
from xortune.runs.run import Run

FOLDED = r"<details>\n<summary>.*</summary>\n\n.*\n\n</details>"
FIGURE = rf"^!\[.*\]\(figures/([a-z-]+)\.svg\)\n\n(?:{FOLDED}|.*)\n\n"

GOLDEN = Path(__file__).with_name("golden")


def is_golden(name: str, text: str) -> None:
    if os.environ.get("GOLDEN") == "renew":
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.fixture(params=REPORTED)
def made(request, tmp_path, monkeypatch):
    return request.param, REPORTED[request.param](tmp_path / "made")


def test_the_report(made):
    """Figures aside: their words are tested where they are made."""
    name, found = made
    document = document_of(found)
    text = markdown_text(document)
    figures = re.findall(FIGURE, text, re.MULTILINE)
    assert sorted(figures) == sorted(plot.name for plot in document.plots)
    is_golden(f"{name}.md", re.sub(FIGURE, "", text, flags=re.MULTILINE))


def test_the_table_for_a_paper(made):
    name, found = made
    is_golden(f"{name}.tex", table_tex(found) if isinstance(found, Run) else comparison_tex(found))


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal(made, width):
    name, found = made
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    render(found, console)
    lines = console.file.getvalue().splitlines()
    shown = "".join(f"{line.rstrip()}\n" for line in lines if "/made" not in line)
    is_golden(f"{name}.{width}.txt", shown)


def test_what_is_said_where_there_is_little_to_say(tmp_path):
    """The answer, the best subset and what to do next, of runs without results and their like."""
    told = []
    for at, (name, make) in enumerate(RUNS.items()):
        text = markdown_text(run_document(make(tmp_path / f"r{at}")))
        kept = re.findall(
            r"^(## The answer.*?)(?=^## |\Z)|^<summary>(The best subset.*?)</details>",
            text,
            re.MULTILINE | re.DOTALL,
        )
        told.append(f"# {name}\n\n" + "".join(answer or f"## {rest}" for answer, rest in kept))
    is_golden("answers.md", "".join(told))


# What comparisons say beyond that.


def three(*counts, n=100):
    return compare_all([contestant(f"c{i}", solved(0, k, n)) for i, k in enumerate(counts)])


def test_what_is_answered():
    found = {
        "told apart": paired(841, 130, 2, 27),
        "the one that is ahead comes first": paired(841, 2, 130, 27, labels=("B", "A")),
        "not told apart": unpaired(80, 100, 70, 90, labels=("tpe", "random")),
        "equal": paired(10, 0, 0, 2),
        "close": paired(4000, 201, 200, 99),
        "odd names": paired(10, 0, 0, 2, labels=("a\nb\x1b[1m", "<b>*x*</b>")),
        "the first is the best of three": three(95, 80, 60),
        "the last is": three(60, 80, 95),
        "three alike": three(90, 90, 90),
        "two of four": three(90, 89, 40, 41),
        # c0 beats c2, and c1 is indistinguishable from either.
        "between two": three(90, 86, 83),
    }
    told = [f"# {name}\n\n" + "\n\n".join(one.lines) for name, one in found.items()]
    is_golden("sentences.md", "\n\n".join(told) + "\n")


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_an_interval_is_rounded_outwards(difference, half):
    low, high = max(-1, difference - half), min(1, difference + half)
    shown = points_interval(low, high).strip("[]").split(", ")
    assert float(shown[0]) <= 100 * low + 1e-6
    assert float(shown[1]) >= 100 * high - 1e-6
    assert "-0.0" not in {*shown, points(difference, low, high)}
    assert float(shown[0]) <= float(points(difference, low, high)) <= float(shown[1])


def test_a_sequential_comparison_says_what_it_compares():
    rates = {"a": 0.1, "b": 0.2}
    made = [
        replace(
            contestant(label, solved(0, k, 9)),
            point=Point({"lr": lr, "width": 8}),
            notes=("a note",),
        )
        for (label, lr), k in zip(rates.items(), (9, 8), strict=True)
    ]
    found, _ = compare_in_step(made, SUCCESS, max_seeds=20, alpha=0.05)
    told = markdown_text(comparison_document(found))
    for label, lr in rates.items():
        assert re.search(rf"\| {label} \|.* {lr} \|", told)
    assert "The same in all: width 8." in told
    assert told.count("a, b: a note.") == 1
    assert "**The rates** of a comparison that ended early" in told


def test_seeds_that_are_left_out_are_told_of():
    found = compare_all([contestant("a", solved(0, 9, 10)), contestant("b", solved(2, 9, 10))])
    told = markdown_text(comparison_document(found))
    assert "a and b share only some of their seeds: 2 and 2 were left out" in told
