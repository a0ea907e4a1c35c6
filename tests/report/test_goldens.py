"""Whole reports, word by word: of runs and of comparisons, in Markdown, LaTeX and a terminal.

After a wanted change: `GOLDEN=renew python -m pytest tests/report/test_goldens.py`; read the diff.
"""

import io
import math
import os
import re
from pathlib import Path

import pytest
from reported import REPORTED, RUNS, document_of, render
from rich.console import Console

from xortune.reports.document import markdown_text
from xortune.reports.files import comparison_tex
from xortune.reports.run import run_document, table_tex
from xortune.runs.run import Run

GOLDEN = Path(__file__).with_name("golden")


def is_golden(name: str, text: str) -> None:
    if os.environ.get("GOLDEN") == "renew":
        (GOLDEN / name).write_text(text, encoding="utf-8")
    assert text == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.fixture(params=REPORTED)
def made(request, tmp_path, monkeypatch):
    monkeypatch.setattr("xortune.driver.certify.RAY_SECONDS", math.inf)
    return request.param, REPORTED[request.param](tmp_path / "made")


def test_the_report(made):
    """Figures aside: their words are tested where they are made."""
    name, found = made
    document = document_of(found)
    text = markdown_text(document)
    figures = re.findall(r"^!\[.*\]\(figures/([a-z-]+)\.svg\)\n\n.*\n\n", text, re.MULTILINE)
    assert sorted(figures) == sorted(plot.name for plot in document.plots)
    is_golden(f"{name}.md", re.sub(r"^!\[.*\n\n.*\n\n", "", text, flags=re.MULTILINE))


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
        parts = re.split(r"^## ", text, flags=re.MULTILINE)
        kept = [part for part in parts if part.startswith(("The answer", "The best subset"))]
        told.append(f"# {name}\n\n" + "".join(f"## {part}" for part in kept))
    is_golden("answers.md", "".join(told))
