"""The files of a report: figures are those that it shows, numbers the same in each of them."""

import io
import json
import re
import time
from html import unescape
from unittest.mock import Mock

import pandas as pd
import pytest
from compared import paired
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import many
from reported import compared

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.formats import interval, measured
from xortune.reports import run as report
from xortune.reports.comparison import comparison_document
from xortune.reports.document import markdown_text
from xortune.reports.figures import figures_of
from xortune.reports.files import csv_text, write_report
from xortune.reports.page import page
from xortune.runs.columns import ConfigRow


@pytest.fixture
def run(tmp_path):
    lines = [done(i, CONFIG | {"lr": 0.1 + i}, outcome(0, [RIGHT] * i + [WRONG])) for i in (1, 2)]
    return write_run(tmp_path / "run", lines)


def with_old_figures(run, *names):
    folder = run.path / "figures"
    folder.mkdir()
    for name in names:
        (folder / name).write_text("old")
    return folder


def drawn(run):
    return {f"{plot.name}.svg" for plot in figures_of(run)}


def test_a_figure_that_no_longer_applies_goes_and_what_others_put_there_stays(run):
    assert "front.svg" not in drawn(run)
    folder = with_old_figures(run, "front.svg", "mine.svg", "front.png", "notes.txt")
    write_report(run, formats=["csv", "tex"])
    assert (folder / "front.svg").exists(), "report.md, which may show it, is not written"
    write_report(run, formats=["md"])
    others = {"mine.svg", "front.png", "notes.txt"}
    assert {path.name for path in folder.iterdir()} == drawn(run) | others
    sketch = (folder / "ranking.svg").read_text()
    assert sketch == "<svg>ranking</svg>\n", "tests draw no pictures unless they ask for them"


def test_figures_are_written_as_pictures_if_asked_for(tmp_path):
    run = write_run(tmp_path / "run", [done(0, CONFIG, outcome(0, [WRONG]))])
    folder = with_old_figures(run, "front.pdf", "front.svg", "mine.pdf")
    write_report(run, formats=["png", "pdf"])
    found = {path.name for path in folder.iterdir()} - {"front.svg", "mine.pdf"}
    names = {name.removesuffix(".svg") for name in drawn(run)}
    assert found == {f"{name}.{end}" for name in names for end in ("png", "pdf")}
    assert all((folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in names)
    assert all((folder / f"{name}.pdf").read_bytes()[:5] == b"%PDF-" for name in names)
    assert not (run.path / "report.md").exists()
    with pytest.raises(InputError, match=r"'jpg'; allowed: html, md, csv, tex, parquet, png, pdf"):
        write_report(run, formats=["jpg"])


def test_nothing_is_removed_where_a_link_leads(tmp_path):
    run = write_run(tmp_path / "run", [])
    elsewhere = with_old_figures(run, "front.svg").rename(tmp_path / "elsewhere")
    (run.path / "figures").symlink_to(elsewhere)
    write_report(run, formats=["md"])
    assert (elsewhere / "front.svg").exists()


@pytest.mark.long
def test_fifty_thousand_configs_take_seconds_and_little_room(tmp_path):
    run = many(tmp_path, 50_000)
    began = time.process_time()
    write_report(run)
    assert time.process_time() - began < 60  # some 15 on two busy cores
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.is_file()}
    assert max(sizes["report.md"], sizes["table.tex"]) < 50_000
    assert sizes["report.html"] < 6_000_000
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(run.results) == 50_000


def test_a_table_for_a_paper_makes_only_the_rows_that_it_shows(tmp_path, monkeypatch):
    made = Mock(side_effect=ConfigRow)
    monkeypatch.setattr(report, "ConfigRow", made)
    write_report(many(tmp_path, 2_000), formats=["tex"])
    assert made.call_count == 10


# The files of a comparison.


def test_the_csv_is_the_frame(tmp_path):
    compared(tmp_path / "a")
    runs = xt.compare([tmp_path / "a" / name for name in ("tpe", "gp")])
    again = pd.read_csv(io.StringIO(csv_text(runs.table)), engine="pyarrow")
    pd.testing.assert_frame_equal(again, runs.table, check_dtype=False, check_exact=True)
    text = csv_text(paired(40, 9, 1, 10, labels=("<script>", "=1+1|\n`x`")).table)
    assert "'=1+1|" in text
    assert "\n=1" not in text


def test_the_files_of_a_comparison_have_a_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xortune.reports.files.page", page)
    found = compared(tmp_path / "a")
    files = xt.write_comparison(found, tmp_path / "out", formats=["md", "html"])
    assert files == (tmp_path / "out/comparison.md", tmp_path / "out/comparison.html")
    document = comparison_document(found)
    assert files[0].read_text() == markdown_text(document, figures="comparison-figures/")
    assert files[1].read_text() == page(document)
    for place in (files[0], "a\0b"):
        with pytest.raises(InputError, match=r"cannot be written.*directory with output$"):
            xt.write_comparison(found, place)
    [path] = xt.write_comparison(paired(3, 1, 0, 1), formats=["csv"])
    assert path.as_posix() == "runs/compare-A-B/comparison.csv"
    odd = paired(4, 1, 0, 1, labels=("../../etc", "é#/" * 80))
    [path] = xt.write_comparison(odd, formats=["csv"])
    assert path.parent.parent.as_posix() == "runs"
    assert len(path.parent.name) <= 100
    assert path.resolve().is_relative_to(tmp_path / "runs")


def test_other_formats_are_refused_and_figures_do_not_leave_the_directory(tmp_path):
    found, out = paired(3, 1, 0, 1), tmp_path / "out"
    for formats in (["pdf"], []):
        with pytest.raises(InputError) as caught:
            xt.write_comparison(found, out, formats=formats)
        assert caught.value.field == "format"
        assert not out.exists()
    out.mkdir()
    (out / "comparison-figures").symlink_to(tmp_path)
    with pytest.raises(InputError, match="symbolic link"):
        xt.write_comparison(found, out, formats=["md"])
    assert not (tmp_path / "differences.svg").exists()


# The numbers.

SHOWN = ("solved", "rate", "95 % interval", "epochs to solve")


def markdown_rows(path):
    """The cells of these columns, of the first ten rows."""
    text = (path / "report.md").read_text().partition("## The configurations, best first")[2]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in lines)
    rows = [dict(zip(header, row, strict=False)) for row in rows[:10]]
    return [(row["key"].strip("`"), *(row[name] for name in SHOWN)) for row in rows]


def html_rows(text):
    """What is there without the page's script."""

    def cells(row):
        found = re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row, re.S)
        return [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in found]

    table = text.partition('<div class="configs">')[2]
    heads = cells(table.partition("</thead>")[0])
    at = [heads.index(name) for name in SHOWN]
    rows = re.findall(r'<tr id="(\w{16})"[^>]*>(.*?)</tr>', table, re.S)[:10]
    return [(key, *(cells(row)[i] for i in at)) for key, row in rows]


def scripted_rows(text):
    """What the page's script has of all rows."""
    [data] = re.findall(r'<script type="application/json">(\{"columns".*?)</script>', text)
    columns = {one["name"]: one for one in json.loads(data)["columns"]}

    def texts(name):
        cells, at = columns[name]["cells"], columns[name]["rows"]
        return [str(cells[i][-1]) for i in at] if at else [str(cell[-1]) for cell in cells]

    names = ("key", "k", "rate", "low", "epochs_to_solve")
    count = len(texts("key"))
    return [*zip(*(texts(name) * (count // len(texts(name))) for name in names), strict=True)]


def csv_rows(path):
    """The exact numbers, shown by the one rule that there is."""
    rows = []
    for row in pd.read_csv(path / "table.csv", engine="pyarrow").head(10).itertuples():
        epochs = "–" if pd.isna(row.epochs_to_solve) else str(round(row.epochs_to_solve))
        shown = measured(row.rate, row.low, row.high), interval(row.low, row.high)
        assert row.rate == row.k / row.n
        rows.append((row.key, f"{row.k:,}/{row.n:,}", *shown, epochs))
    return rows


COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=5)
@given(st.lists(COUNTS, min_size=11, max_size=14).filter(lambda counts: any(k for k, _ in counts)))
def test_the_numbers_are_the_same_in_all_forms(tmp_path_factory, counts):
    outcomes = enumerate(solved(0, *kn, epoch=1 + 7 * i) for i, kn in enumerate(counts))
    lines = [done(i, CONFIG | {"lr": 0.001 * (1 + i)}, found) for i, found in outcomes]
    run = write_run(tmp_path_factory.mktemp("runs") / "r", lines, trainer="network", task="xor")
    write_report(run)
    expected = csv_rows(run.path)
    assert len(expected) == 10
    text = page(report.run_document(run))
    assert html_rows(text) == scripted_rows(text)[:10] == markdown_rows(run.path) == expected
