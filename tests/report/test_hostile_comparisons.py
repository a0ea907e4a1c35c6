"""Comparisons that mean to break a report: every output is right, escaped and readable."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import pandas as pd
import pytest
from hostile import ALLOWED, COMPARISONS, printable, rendered, sayings, squeezed
from rich.console import Console

import xortune as xt
from xortune.comparisons.runs import RunComparison
from xortune.core.formats import plain
from xortune.reports.comparison import comparison_document
from xortune.reports.document import Figure, markdown_text
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.files import COMPARISON_FIGURES as FIGURES
from xortune.reports.terminal import render_comparison


@pytest.fixture(params=COMPARISONS)
def hostile(request, tmp_path):
    return COMPARISONS[request.param](tmp_path / "r")


def test_every_file_is_legal_text_without_control_signs(hostile, tmp_path):
    files = xt.write_comparison(hostile, tmp_path / "out", formats=["md", "csv", "tex"])
    for path in files:
        text = path.read_bytes().decode()
        assert text.replace("\n", "").isprintable(), path.name
        assert not re.search(r"(?<![\w\\])(nan|inf|None|NaN)(?!\w)", text), path.name
    table = pd.read_csv(files[1], keep_default_na=False)
    rows = hostile.pairs if isinstance(hostile, RunComparison) else hostile.cells
    assert len(table) == len(rows)
    assert not any(cell.startswith(tuple("=+@")) for cell in table.iloc[:, 0].astype(str))


def test_markdown_has_no_other_tags_and_says_all_that_the_document_says(hostile):
    document = comparison_document(hostile)
    text = markdown_text(document, figures=f"{FIGURES}/")
    seen = rendered(text)
    assert seen.tags <= ALLOWED
    assert all(re.fullmatch(rf"{FIGURES}/[a-z-]+\.svg", link) for link in seen.links)
    shown = squeezed("".join(seen.text))
    for said in sayings(document):
        assert squeezed(printable(said)) in shown, said
    columns = None
    for line in text.splitlines():
        found = line.count("|") if line.startswith("|") else None
        assert columns is None or found in (None, columns), line
        columns = found


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_it_in_its_width(hostile, width, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    render_comparison(hostile, (), Console(file=file, width=width, force_terminal=False))
    file.seek(0)
    text = file.read()
    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= width


def figures_of(comparison):
    for part in comparison_document(comparison).sections:
        yield from (block.plot for block in part.blocks if isinstance(block, Figure))


def test_figures_say_only_what_is_there(hostile):
    plots = list(figures_of(hostile))
    assert plots
    for plot in plots:
        for said in (plot.title, plot.alt, plot.note):
            assert said.isprintable()
            assert not re.search(r"(?<![\w\\])(nan|inf|None)(?!\w)", said), said


@pytest.mark.parametrize("name", ["names compared", "odd numbers", "one seed each", "a table"])
def test_its_pictures_are_whole_and_have_their_alt_texts(tmp_path, name):
    for plot in figures_of(COMPARISONS[name](tmp_path / "r")):
        text = svg(plot)
        root = ElementTree.fromstring(text)  # of our own making
        texts = {element.text for element in root.iter() if element.text}
        assert {plain(plot.title), plain(plot.alt)} <= texts
        assert not root.findall(".//{*}script")
        assert text.replace("\n", "").isprintable()
