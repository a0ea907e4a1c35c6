"""A column is declared once: whoever adds one to the tuple finds it in each table."""

import csv
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, write_run
from rich.console import Console

from xortune.integrations.following import RunFollower
from xortune.reports.document import markdown_text
from xortune.reports.files import write_report
from xortune.reports.live import _sections
from xortune.reports.page import page
from xortune.reports.run import run_document, table_tex
from xortune.reports.terminal import render_best
from xortune.runs import columns
from xortune.runs.columns import COLUMNS, Column, Form


def median_epochs(rows):
    """NaN where no seed is solved."""
    solved = [one.solved_epoch[one.solved] for one in rows.outcomes]
    return [float(np.median(epochs)) if epochs.size else np.nan for epochs in solved]


ADDED = Column("median_epochs", "median epochs", median_epochs)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with one more column than others: 7, 7 and unknown."""
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, ADDED))
    monkeypatch.setattr("xortune.reports.run.figures_of", lambda _: ())  # they take time
    lines = [
        done(i, CONFIG | {"lr": 0.1 + i}, outcome(0, [RIGHT] * (2 - i) + [WRONG] * i, epoch=7))
        for i in range(3)
    ]
    return write_run(tmp_path / "run", lines, trainer="network", task="xor")


def markdown(run):
    text = markdown_text(run_document(run)).partition("## The configurations, best first")[2]
    head, _, *rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in (head, *rows[:3])]
    return [row[cells[0].index("median epochs")] for row in cells[1:]]


def latex(run):
    lines = [line.strip(" \\") for line in table_tex(run).splitlines() if " & " in line]
    head, *rows = ([cell.strip() for cell in line.split("&")] for line in lines)
    texts = [row[head.index("median epochs")] for row in rows]
    return [text.replace(r"\textendash{}", "–") for text in texts]


def terminal(run):
    console = Console(file=io.StringIO(), width=120)
    render_best(run, console)
    lines = console.file.getvalue().splitlines()
    at = next(i for i, line in enumerate(lines) if "median epochs" in line)
    end = lines[at].index("median epochs") + len("median epochs")
    return [line[:end].split()[-1] for line in lines[at + 1 : at + 4]]


def html(run):
    text = page(run_document(run))
    table = text.partition('<div class="configs">')[2]
    heads = re.findall(r"<th scope=\"col\".*?</th>", table.partition("</thead>")[0])
    [at] = [i for i, head in enumerate(heads) if "median epochs" in head]
    rows = re.findall(r'<tr id="\w{16}">(.*?)</tr>', table)
    shown = [re.findall(r"<t[hd].*?</t[hd]>", row)[at] for row in rows]
    return [re.sub("<.*?>", "", cell) for cell in shown]


def scripted(run):
    [data] = re.findall(r'json">(\{"columns".*?)</script>', page(run_document(run)))
    [found] = [one for one in json.loads(data)["columns"] if one["name"] == ADDED.name]
    assert found["hidden"] is False
    return [str(found["cells"][at][-1]) for at in found["rows"]]


def live(run):
    text = _sections(run)["leading-configurations"]
    heads = re.findall(r"<th scope=\"col\".*?</th>", text)
    [at] = [i for i, head in enumerate(heads) if "median epochs" in head]
    rows = re.findall(r"<tr>(<th scope=\"row\".*?)</tr>", text)
    return [re.sub("<.*?>", "", re.findall(r"<t[hd].*?</t[hd]>", row)[at]) for row in rows]


@pytest.mark.parametrize("form", [markdown, latex, terminal, html, live])
def test_a_column_of_the_tuple_is_in_each_table_of_text(run, form):
    assert form(run) == ["7", "7", "–"]


def test_a_column_of_the_tuple_is_sorted_and_filtered_by_the_page(run):
    assert scripted(run) == ["7", "7", "–"]


def test_a_column_of_the_tuple_is_in_the_files_and_in_notebooks(run):
    write_report(run, formats=["csv", "parquet"])
    rows = [*csv.DictReader((run.path / "table.csv").read_text().splitlines())]
    assert [row["median_epochs"] for row in rows] == ["7.0", "7.0", ""]
    frame = pd.read_parquet(run.path / "table.parquet")
    np.testing.assert_array_equal(frame["median_epochs"], [7.0, 7.0, np.nan])
    assert "<th>median_epochs</th>" in run._repr_html_()


def test_a_column_of_the_tuple_is_told_to_trackers(run):
    reader = RunFollower(run.path)
    reader.read_on()
    told = [config.steps[-1].metrics.get("median_epochs") for config in reader.configs(reader.keys)]
    assert told == [7.0, 7.0, None]


def test_no_two_columns_share_a_name_whatever_the_parameters_are(tmp_path):
    names = ["k", "#", "(note)", "front", "median_epochs", "objective"]
    point = dict.fromkeys(names, 1)
    lines = [done(i, point | {"k": i}, outcome(0, [RIGHT])) for i in range(2)]
    run = write_run(tmp_path / "run", lines)
    found = [column.name for column in run.columns]
    assert len(found) == len(set(found))
    assert {"param_k", "front", "median_epochs"} <= set(run.table)
    assert "| 1 | 1/1 |" in markdown_text(run_document(run))


def test_each_form_has_a_column():
    """Else nobody could say that it takes its columns from the tuple."""
    assert set(Form) == {form for column in COLUMNS for form in column.where}
