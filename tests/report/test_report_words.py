from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from hand_made import CONFIG, done, solved, write_run
from scipy.stats import binom

import xortune
from xortune.core.counts import wilson
from xortune.reports import words as module
from xortune.reports.document import Bullets
from xortune.reports.run import run_document
from xortune.reports.words import GIVEN, INTERVAL, WINNER, certified
from xortune.reports.words import Meaning as Word

ROOT = Path(xortune.__file__).parent


def texts(path):
    """What a module may print: its strings, docstrings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def all_texts():
    for path in sorted(ROOT.rglob("*.py")):
        yield from ((path.name, text) for text in texts(path))
    for kind in ("*.jinja", "*.js", "*.yaml"):
        for path in sorted(ROOT.rglob(kind)):
            if "vendor" not in path.parts:
                yield path.name, path.read_text(encoding="utf-8")
    for path in sorted((ROOT.parent / "reports").glob("*.md")):
        yield path.name, path.read_text(encoding="utf-8")


def test_nothing_is_called_significant():
    # Who wants to say it needs the test, n and the correction beside it, and this test told so.
    found = [(name, text) for name, text in all_texts() if re.search(r"significan", text, re.I)]
    assert found == []
    assert sum(1 for _ in all_texts()) > 1000


def used(run):
    section = run_document(run).sections[-1]
    assert section.heading == "What the numbers mean, and how they mislead"
    [bullets] = section.blocks
    assert isinstance(bullets, Bullets)
    return [item[0].text for item in bullets.items]


def run_of(path, counts, **more):
    lines = [
        done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, *kn)) for i, kn in enumerate(counts)
    ]
    return write_run(path / "r", lines, trainer="network", task="xor", **more)


ONLY_WITH_TWO = {"The winner's count is optimistic.", "Seeds are shared.", "Not distinguishable"}


def test_only_what_is_shown_is_explained(tmp_path):
    assert used(write_run(tmp_path / "empty", [])) == ["solved"]
    one = used(run_of(tmp_path / "one", [(4, 8)]))
    assert {"solved", "95 % interval", "epochs to solve", "trials"} <= set(one)
    assert not ONLY_WITH_TWO & set(one)
    assert not {"importance", "Several looks.", "rate at least", "The Pareto front"} & set(one)
    two = used(run_of(tmp_path / "two", [(8, 8), (4, 8)]))
    assert set(two) >= ONLY_WITH_TWO | {"Which parameters matter"}
    assert "Several looks." not in two
    stopped = used(run_of(tmp_path / "stopped", [(16, 16), (2, 4)], ladder=[4, 16]))
    assert "Several looks." in stopped
    told = used(run_of(tmp_path / "told", [(8, 8), (4, 8)], importance={"lr": 1.0}))
    assert "importance" in told
    nothing = used(run_of(tmp_path / "nothing", [(0, 8), (0, 8)]))
    assert not {"The winner's count is optimistic.", "Not distinguishable"} & set(nothing)


def entries():
    return [entry for entry in vars(module).values() if isinstance(entry, Word)]


def test_every_entry_is_a_sentence_and_a_term_comes_once():
    assert len(entries()) >= 12
    for entry in [*entries(), certified(0.99)]:
        assert entry.meaning.startswith(" ")
        assert entry.meaning.endswith(".")
    terms = [entry.term for entry in entries() if entry is not GIVEN]  # instead of SUCCESS
    assert len(terms) == len(set(terms))
    assert "with 99 % confidence" in certified(0.99).meaning


def test_what_is_said_of_eight_of_eight_and_of_the_winner_is_so():
    assert "8 of 8 seeds is 67.5 % or more" in INTERVAL.meaning
    assert 0.675 <= float(wilson(8, 8)[0]) < 0.676
    assert "200 configurations that are all truly 90 %" in WINNER.meaning
    assert "the best count of 100 seeds shows about 97 %" in WINNER.meaning
    below = binom.cdf(np.arange(101), 100, 0.9) ** 200  # the best of 200 is at most k
    best = np.sum(np.arange(101) * np.diff(below, prepend=0.0))
    assert best == pytest.approx(97, abs=0.5)
