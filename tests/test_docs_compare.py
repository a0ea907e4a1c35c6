"""docs/compare.md tells the truth: its sentences, its program, its options."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from compared import paired
from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.reports.words import answer
from xortune.runs.run import load_run
from xortune.stats.exact import mcnemar_two_sided

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")

FLAT = " ".join(PAGE.split())


def test_its_sentences_are_said_so():
    [solves] = answer(paired(641, 357, 1, 1, labels=("long", "hasty")))
    assert solves in FLAT
    [tells] = answer(paired(820, 23, 15, 142, labels=("long", "hasty")))
    first, _, last = tells.partition(": ")
    assert (
        f'"{first[0].lower()}{first[1:]}: ...; {last.partition("; ")[2].removesuffix(".")}"' in FLAT
    )


def test_the_luckiest_of_five_breaks_the_promise_and_the_searchs_first_keeps_it():
    """Two runs whose configs are all equally good, 1,000 certified seeds each."""
    rng, trials = np.random.default_rng(1), 1000
    wrong = np.zeros((2, trials), dtype=bool)
    for trial in range(trials):
        finalists, other = rng.random((5, 1000)) < 0.9, rng.random(1000) < 0.9
        for row, chosen in enumerate((0, finalists.sum(axis=1).argmax())):
            mine = finalists[chosen]
            p = mcnemar_two_sided((mine & ~other).sum(), (~mine & other).sum())
            wrong[row, trial] = p < 0.05
    first, luckiest = 100 * wrong.mean(axis=1)
    [stated] = re.findall(r"wrong in about (\d+) % of comparisons", FLAT)
    assert luckiest == pytest.approx(int(stated), abs=2)
    assert first < 5
    assert "the search's first in fewer than 5 %" in FLAT


def test_its_commands_do_what_is_shown(tmp_path, monkeypatch, one_ray):
    shutil.copytree(ROOT / "search_spaces", tmp_path / "search_spaces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    first, worse = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    ran = [CliRunner().invoke(app, shlex.split(line)[1:]) for line in (first + worse).splitlines()]
    assert [one.exit_code for one in ran] == [0, 0, 0, 1]
    shown, printed = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[0], ran[2].stdout
    rows = [re.findall(r"^(\w+) +([\d,]+)/1,000 ", text, re.MULTILINE) for text in (shown, printed)]
    assert [name for name, _ in rows[0]] == [name for name, _ in rows[1]] == ["long", "hasty"]
    for (_, told), (_, found) in zip(*rows, strict=True):
        assert abs(int(told) - int(found)) <= 5  # another CPU may round another bit
    if rows[0] == rows[1]:
        lines = [line.rstrip() for line in printed.splitlines()]
        assert lines[: len(shown.splitlines())] == shown.splitlines()
    [digits] = re.findall(r"`runs/long#(\w+)`", PAGE)
    assert sum(key.startswith(digits) for key in load_run("runs/long").table.key) == 1


def test_its_program_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(program, "docs/compare.md", "exec"), {})  # of this repository
    difference, p, differs = capsys.readouterr().out.split()
    assert 0 < float(difference) <= 1
    assert (float(p) < 0.05) == (differs == "True")
    told = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)[1].split()
    assert float(difference) == pytest.approx(float(told[0]), abs=0.03)
    assert differs == told[2]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", PAGE))))
def test_its_options_are_there(option, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert option in CliRunner().invoke(app, ["compare", "--help"]).stdout
