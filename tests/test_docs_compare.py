"""docs/compare.md tells the truth: its sentences, its program, its options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from compared import paired
from typer.testing import CliRunner

from xortune.cli import app
from xortune.report.comparison_words import answer

PAGE = (Path(__file__).parents[1] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_its_sentences_are_said_so():
    shown = " ".join(PAGE.split())
    [solves] = answer(paired(841, 130, 2, 27, labels=("tpe", "random")))
    assert f'"{solves.removesuffix(".")}"' in shown
    [tells] = answer(paired(820, 23, 15, 142, labels=("tpe", "random")))
    first, _, last = tells.partition(": ")
    assert (
        f'"{first[0].lower()}{first[1:]}: ...; {last.partition("; ")[2].removesuffix(".")}"'
        in shown
    )


def test_its_program_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(program, "docs/compare.md", "exec"), {})  # of this repository
    difference, p, differs = capsys.readouterr().out.split()
    assert 0 < float(difference) <= 1
    assert (float(p) < 0.05) == (differs == "True")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", PAGE))))
def test_its_options_are_there(option, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert option in CliRunner().invoke(app, ["compare", "--help"]).stdout
