"""`xortune compare`: what it prints, what it writes, and how it refuses."""

import csv
import functools
import json

import pytest
from commands import _somewhere, refused, xortune  # noqa: F401  # every test has a folder
from hand_made import CONFIG, done, solved, write_run

from xortune.comparisons.reference import CELL_COLUMNS

compare = functools.partial(xortune, "compare")

ROWS = (("0.1", "20", "99"), ("0.3", "50", "1"), ("1.0", "50", "1"), ("3.0", "50", "1"))


@pytest.fixture(autouse=True)
def _files(tmp_path, _somewhere):  # noqa: F811
    evaluations = [
        done(i, {**CONFIG, "lr": lr}, solved(0, k, 100))
        for i, (lr, k) in enumerate([(0.1, 90), (0.3, 50), (1.0, 55)])
    ]
    write_run(tmp_path / "run", evaluations, trainer="network")
    lines = ["\t".join(row) for row in (("LearnRate", "PercentCorrect", "TimeTaken"), *ROWS)]
    (tmp_path / "t.tsv").write_text("\n".join(lines) + "\n")


def test_compare_tells_a_person(tmp_path):
    """What it says is golden/reference.80.txt."""
    result = compare("run", "--reference", "t.tsv")
    assert result.exit_code == 0, "cells that differ are results"
    assert "1 of 3 cells differs beyond chance (Holm 5 %)." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert result.stderr == ""
    for name in ("run/comparison.md", "run/comparison.csv"):
        assert name in result.stdout.splitlines()
        assert (tmp_path / name).exists()


def test_compare_tells_a_program(tmp_path):
    result = compare("run", "--reference", "t.tsv", "--json", "--output", "elsewhere")
    shown = json.loads(result.stdout)
    assert (shown["cells"], shown["differ"], shown["below_alpha"]) == (3, 1, 1)
    assert (shown["only_reference"], shown["only_run"]) == (1, 0)
    assert shown["columns"] == {"lr": "LearnRate", "percent": "PercentCorrect"}
    assert shown["not_used"] == ["TimeTaken"]
    assert shown["not_in_reference"]["epochs"] == 1000
    assert 0 < shown["expected"] < 0.15
    endings = ("md", "html", "csv")
    assert shown["files"] == [f"elsewhere/comparison.{ending}" for ending in endings]
    with open(shown["files"][2], newline="") as file:
        first, *others = csv.DictReader(file)
    assert len(others) == 2
    [differing] = shown["differing"]
    assert tuple(differing) == tuple(first)
    assert tuple(differing)[-len(CELL_COLUMNS) :] == CELL_COLUMNS
    assert 0 < differing["p"] == pytest.approx(float(first["p"]), rel=1e-9)
    assert (differing["k"], differing["reference_k"], differing["differs"]) == (90, 20, True)
    assert not (tmp_path / "run" / "comparison.md").exists()


def test_compare_takes_every_option():
    words = ("--reference", "t.tsv", "--reference-seeds", "200", "--alpha", "1e-30", "--json")
    more = ("--column", "lr = LearnRate", "--column", "percent=TimeTaken", "--where", "lr=0.1")
    shown = json.loads(compare("run", *words, *more, "--where", "epochs=1000").stdout)
    assert (shown["cells"], shown["differ"], shown["alpha"]) == (1, 0, 1e-30)
    assert shown["columns"] == {"lr": "LearnRate", "percent": "TimeTaken"}
    assert shown["where"] == {"lr": 0.1, "epochs": 1000}
    assert shown["assumed"] == []
    assert compare("run", "--reference", "t.tsv", "--quiet").output == ""


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["run"], ["reference", "--reference TABLE"]),
        (["run", "run", "--reference", "t.tsv"], ["2 runs", "one run"]),
        (["no", "--reference", "t.tsv"], ["no: is not a directory"]),
        (["run", "--reference", "no.tsv"], ["no.tsv: cannot be read"]),
        (["run", "--reference", "t.tsv", "--column", "lr"], ["--column", "NAME=VALUE"]),
        (["run", "--reference", "t.tsv", "--where", "=1"], ["--where", "NAME=VALUE"]),
        (
            ["run", "--reference", "t.tsv", "--where", "lr=1", "--where", "lr=2"],
            ["--where: lr is given twice"],
        ),
        (["run", "--reference", "t.tsv", "--column", "lr=LearnRat"], ["did you mean 'LearnRate'?"]),
        (["run", "--reference", "t.tsv", "--alpha", "5"], ["alpha: 5.0 is out of range"]),
        (["run", "--reference", "t.tsv", "--reference-seeds", "0"], ["--reference-seeds: 0"]),
        (["run", "--reference", "t.tsv", "--output", "t.tsv"], ["t.tsv", "cannot be written"]),
    ],
)
def test_compare_refuses(words, about):
    refused(compare(*words), *about)
