"""The shipped space with several objectives, searched in a small form."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xortune.cli.shared import app
from xortune.runs.run import load_run

SPACES = Path(__file__).parent.parent / "search_spaces"
SMALLER = {"trials: 200": "trials: 24", "max: 128": "max: 8", "epochs: 1000": "epochs: 100"}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    text = (SPACES / "xor_front.yaml").read_text(encoding="utf-8")
    for large, small in SMALLER.items():
        assert text.count(large) == 1
        text = text.replace(large, small)
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    words = ["search", folder / "small.yaml", "--output", folder / "run"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return folder / "run", result.stdout


def table(path):
    with open(path / "table.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def better(one, other):
    """Whether one is as good in everything and better in something: by the table alone."""

    def values(row):
        spent = float(row["epochs_to_solve"] or "inf")
        return (-float(row["rate"]), spent, int(row["hidden_dim"]))

    pairs = list(zip(values(one), values(other), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


@pytest.mark.long
def test_its_front_is_the_one_of_its_table(searched):
    rows = table(searched[0])
    assert sum(int(row["trials"]) for row in rows) == 24
    full = [row for row in rows if int(row["n"]) >= 8]
    front = [row["key"] for row in rows if row["front"] == "True"]
    assert front
    assert len(full) > len(front)
    assert front == [row["key"] for row in full if not any(better(other, row) for other in full)]


@pytest.mark.long
def test_its_report_can_be_read(searched):
    path, shown = searched
    report = (path / "report.md").read_text(encoding="utf-8")
    assert (
        "| objectives | success_rate (maximize), epochs_to_solve (minimize), hidden_dim (minimize)"
        in report
    )
    section = report.split("## The Pareto front")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| activation")
    ]
    front = {row["key"]: row for row in table(path) if row["front"] == "True"}
    assert {row[1].strip("`") for row in cells} == set(front)
    # The best of the first objective first; among equal ones of the second, then of the third.
    places = [
        (-float(row["rate"]), float(row["epochs_to_solve"] or "inf"), int(row["hidden_dim"]))
        for row in (front[cells[i][1].strip("`")] for i in range(len(cells)))
    ]
    assert places == sorted(places)
    assert [int(row[-1]) for row in cells] == [place[2] for place in places]
    assert "The Pareto front. Looked for: success_rate (more)" in shown
    assert len(re.findall(r"^ *\d+/\d+ .* \d+  activation", shown, re.MULTILINE)) >= len(cells)
    assert load_run(path).front.sum() == len(cells)
