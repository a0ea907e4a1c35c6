"""The numbers in HTML, Markdown and CSV are the same numbers."""

import json
import re
from html import unescape

import pandas as pd
from hand_made import CONFIG, done, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.formats import interval, measured
from xortune.reports.files import write_report
from xortune.reports.page import page
from xortune.reports.run import run_document


def table_below(text, heading):
    """The cells of the first table below a heading, by its columns' names."""
    lines = [line for line in text.partition(heading)[2].splitlines() if line.startswith("|")]
    end = next((i for i, line in enumerate(lines) if line.startswith("| what")), len(lines))
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[:end]
    )
    return [dict(zip(header, row, strict=False)) for row in rows]


def markdown_rows(path):
    rows = table_below((path / "report.md").read_text(), "## The configurations, best first")[:10]
    names = ("solved", "rate", "95 % interval", "epochs to solve")
    return [(row["key"].strip("`"), *(row[name] for name in names)) for row in rows]


def html_rows(text):
    """What is there without the page's script."""

    def cells(row):
        found = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.S)
        return [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]

    table = text.partition('<div class="configs">')[2]
    heads = cells(table.partition("</thead>")[0])
    at = [heads.index(n) for n in ("solved", "rate", "95 % interval", "epochs to solve")]
    rows = re.findall(r'<tr id="(\w{16})"[^>]*>(.*?)</tr>', table, re.S)[:10]
    return [(key, *(cells(row)[i] for i in at)) for key, row in rows]


def scripted_rows(text):
    """What the page's script has of all rows."""
    [data] = re.findall(r'<script type="application/json">(\{"parameters".*?)</script>', text)
    found = json.loads(data)
    return [
        (key, f"{k}/{n}", rate, ends, epochs)
        for key, k, n, rate, ends, _, _, _, epochs, *_ in found["rows"]
    ]


def csv_rows(path):
    """The exact numbers, shown by the one rule that there is."""
    rows = []
    for row in pd.read_csv(path / "table.csv", engine="pyarrow").head(10).itertuples():
        epochs = "–" if pd.isna(row.epochs_to_solve) else str(round(row.epochs_to_solve))
        shown = measured(row.rate, row.low, row.high), interval(row.low, row.high)
        assert row.rate == row.k / row.n
        rows.append((row.key, f"{row.k}/{row.n}", *shown, epochs))
    return rows


COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=5)
@given(st.lists(COUNTS, min_size=11, max_size=14))
def test_the_numbers_are_the_same_in_all_forms(tmp_path_factory, counts):
    lines = [
        done(i, CONFIG | {"lr": 0.001 * (1 + i)}, solved(0, k, n, epoch=1 + 7 * i % 1000))
        for i, (k, n) in enumerate(counts)
    ]
    run = write_run(tmp_path_factory.mktemp("runs") / "r", lines, trainer="network", task="xor")
    write_report(run)
    expected = csv_rows(run.path)
    assert len(expected) == 10
    text = page(run_document(run))
    assert html_rows(text) == expected
    assert scripted_rows(text)[:10] == expected
    assert markdown_rows(run.path) == expected
