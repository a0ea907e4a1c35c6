"""The figures beside report.md are those that it shows."""

import os
import time

import pandas as pd
import pytest
from hand_made import CONFIG, RIGHT, WRONG, done, outcome, write_run
from pages import many

from xortune.core.errors import InputError
from xortune.reports import files
from xortune.reports import run as report
from xortune.reports.document import ConfigRow
from xortune.reports.figures import figures_of
from xortune.reports.files import write_report


@pytest.fixture
def run(tmp_path):
    lines = [done(i, CONFIG | {"lr": 0.1 + i}, outcome(0, [RIGHT] * i + [WRONG])) for i in (1, 2)]
    return write_run(tmp_path / "run", lines)


def drawn(run):
    return {f"{plot.name}.svg" for plot in figures_of(run)}


def test_a_figure_that_no_longer_applies_goes_and_what_others_put_there_stays(run):
    folder = run.path / "figures"
    folder.mkdir()
    assert "front.svg" not in drawn(run)
    for name in ("front.svg", "mine.svg", "front.png", "notes.txt"):
        (folder / name).write_text("old")
    write_report(run, formats=["csv", "tex"])
    assert (folder / "front.svg").exists(), "report.md, which may show it, is not written"
    write_report(run, formats=["md"])
    assert {path.name for path in folder.iterdir()} == drawn(run) | {
        *("mine.svg", "front.png", "notes.txt")
    }
    sketch = (folder / "ranking.svg").read_text()
    assert sketch == "<svg>ranking</svg>\n", "tests draw no pictures unless they ask for them"


def test_figures_are_written_as_pictures_if_asked_for(tmp_path):
    run = write_run(tmp_path / "run", [done(0, CONFIG, outcome(0, [WRONG]))])
    folder = run.path / "figures"
    folder.mkdir()
    for name in ("front.pdf", "front.svg", "mine.pdf"):
        (folder / name).write_text("old")
    write_report(run, formats=["png", "pdf"])
    found = {path.name for path in folder.iterdir()} - {"front.svg", "mine.pdf"}
    names = {name.removesuffix(".svg") for name in drawn(run)}
    assert found == {f"{name}.{end}" for name in names for end in ("png", "pdf")}
    assert all((folder / f"{name}.png").read_bytes()[:4] == b"\x89PNG" for name in names)
    assert all((folder / f"{name}.pdf").read_bytes()[:5] == b"%PDF-" for name in names)
    assert not (run.path / "report.md").exists()
    with pytest.raises(InputError, match=r"'jpg'; allowed: html, md, csv, tex, parquet, png, pdf"):
        write_report(run, formats=["jpg"])


@pytest.mark.usefixtures("pictures")
def test_another_process_draws_the_figures_of_a_large_run(run, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    write_report(run, formats=["md"])
    here = {path.name: path.read_bytes() for path in (run.path / "figures").iterdir()}
    monkeypatch.setattr(files, "MANY", 0)
    monkeypatch.setattr(files, "svg", lambda _: pytest.fail("drawn here"))
    write_report(run, formats=["md"])
    assert {path.name: path.read_bytes() for path in (run.path / "figures").iterdir()} == here
    # Where that process fails, they are drawn here.
    monkeypatch.setattr(files, "svg", lambda _: "drawn here")
    monkeypatch.setattr(files, "svgs", divmod)
    write_report(run, formats=["md"])
    assert {path.read_text() for path in (run.path / "figures").iterdir()} == {"drawn here"}


def test_nothing_is_removed_where_a_link_leads(tmp_path):
    run = write_run(tmp_path / "run", [])
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "front.svg").write_text("mine")
    (run.path / "figures").symlink_to(tmp_path / "elsewhere")
    write_report(run, formats=["md"])
    assert (tmp_path / "elsewhere" / "front.svg").exists()


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
    run = many(tmp_path, 2_000)
    made = []
    monkeypatch.setattr(report, "ConfigRow", lambda *row: made.append(row) or ConfigRow(*row))
    write_report(run, formats=["tex"])
    assert len(made) == 10
