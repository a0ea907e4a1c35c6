"""Whatever the names, values and counts are: every output is right, escaped and readable."""

from __future__ import annotations

import io
import re
import time
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hand_made import CONFIG, done, solved
from hostile import ALLOWED, RUNS, printable, rendered, sayings, squeezed
from rich.console import Console

from xortune.core.formats import plain
from xortune.reports.document import markdown_text
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.figures.all import figures_of
from xortune.reports.files import FORMATS, write_report
from xortune.reports.run import run_document
from xortune.reports.terminal import render_best
from xortune.runs.run import Run


@pytest.fixture(params=RUNS)
def hostile(request, tmp_path):
    return RUNS[request.param](tmp_path / "r")


def test_every_file_is_legal_text_without_control_signs(hostile):
    write_report(hostile)
    names = {"report.md", "table.csv", "table.tex"}  # the page's own tests are beside it
    assert names <= {path.name for path in hostile.path.iterdir()}
    for name in names:
        text = (hostile.path / name).read_bytes().decode()
        assert text.replace("\n", "").isprintable(), name
        assert not re.search(r"(?<![\w\\])(nan|inf|None|NaN)(?!\w)", text), name
    assert len(pd.read_csv(hostile.path / "table.csv", keep_default_na=False)) == len(
        hostile.results
    )


def test_markdown_has_no_other_tags_and_says_all_that_the_document_says(hostile):
    document = run_document(hostile)
    seen = rendered(markdown_text(document))
    assert seen.tags <= ALLOWED
    assert all(re.fullmatch(r"figures/[a-z-]+\.svg", link) for link in seen.links)
    shown = squeezed("".join(seen.text))
    for said in sayings(document):
        assert squeezed(printable(said)) in shown, said


HARD = ("names", "not a number", "odd numbers told", "all or nothing", "one seed", "all crashed")


@pytest.mark.parametrize("name", HARD)
def test_its_pictures_are_whole_and_have_their_alt_texts(tmp_path, name):
    run = RUNS[name](tmp_path / "r")
    plots = figures_of(run)
    assert plots
    for plot in plots:
        text = svg(plot)
        root = ElementTree.fromstring(text)  # of our own making
        texts = {element.text for element in root.iter() if element.text}
        assert {plain(plot.title), plain(plot.alt)} <= texts
        assert not root.findall(".//{*}script")
        assert text.replace("\n", "").isprintable()
        for said in (plot.title, plot.alt, plot.note):
            assert not re.search(r"(?<![\w\\])(nan|inf|None)(?!\w)", said), said


def test_tables_are_rectangular(hostile):
    columns = None
    for line in markdown_text(run_document(hostile)).splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        assert columns in (None, line.count("|")), line
        columns = line.count("|")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_it_in_its_width(hostile, width, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    render_best(hostile, Console(file=file, width=width, force_terminal=False))
    file.seek(0)
    text = file.read()
    assert text.replace("\n", "").isprintable()
    own = [line for line in text.splitlines() if not line.startswith(("  xortune", "/"))]
    assert max(map(len, own)) <= width
    if encoding == "cp1252":
        assert not set("█░▏") & set(text)


def test_all_and_nothing_look_like_it(tmp_path):
    run = RUNS["all or nothing"](tmp_path / "r")
    write_report(run)
    latex = (run.path / "table.tex").read_text()
    assert latex.count(r"8/8 & 100 & 67\textendash{}100 & 300 \\") == 6
    assert latex.count(r"0/8 & 0 & 0\textendash{}33 & \textendash{} \\") == 4


MANY = 50_000


@pytest.mark.long
def test_fifty_thousand_configs_take_seconds_and_little_room(tmp_path):
    rng = np.random.default_rng(0)
    outcomes = [solved(0, k, 8) for k in range(9)]
    lines = [
        done(
            i,
            CONFIG | {"lr": float(10 ** rng.uniform(-4, 0)), "optimizer": ("SGD", "Adam")[i % 2]},
            outcomes[int(rng.integers(9))],
        )
        for i in range(MANY)
    ]
    run = Run(tmp_path, {"name": "big", "trainer": "network", "task": "xor"}, tuple(lines))
    assert len(run.results) == MANY
    began = time.process_time()
    write_report(run)
    assert time.process_time() - began < 60  # some 15 on two busy cores
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.is_file()}
    assert max(sizes["report.md"], sizes["table.tex"]) < 50_000
    assert sizes["report.html"] < 6_000_000
    assert len(pd.read_csv(tmp_path / "table.csv")) == MANY


def test_the_formats_are_these():
    assert set(FORMATS) == {"html", "md", "csv", "tex", "parquet"}
