"""Runs and comparisons that mean to break a report: every form is right, escaped and readable."""

import io
import re
from collections.abc import Iterable

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from pages import Parsed
from reported import COMPARISONS, RUNS, document_of, render
from rich.console import Console

import xortune as xt
from xortune.reports.analysis import Report
from xortune.reports.document import Table, markdown_text
from xortune.reports.page import page
from xortune.reports.run import FrontTable
from xortune.runs.run import Run

HOSTILE = {**RUNS, **COMPARISONS}
NUMBERLESS = r"(?<![\w\\.])(nan|inf|NaN|None|undefined)(?!\w)"


@pytest.fixture(scope="module", params=HOSTILE)
def hostile(request, tmp_path_factory):
    return HOSTILE[request.param](tmp_path_factory.mktemp("hostile") / "r")


@pytest.fixture(scope="module")
def document(hostile):
    return document_of(hostile)


ALLOWED = {
    *("h1", "h2", "h3", "p", "strong", "code", "pre", "ul", "li", "img", "a"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary"),
}
HELD = {"run", "figures", "tables", "finalists", "kind", "kinds", "origin", "comparison"}
"""Values of a document of which it says only some."""


def sayings(document):
    """What a document says for a run or a comparison: its tables, and all its other texts."""
    yield from texts_in(given for name, given in document.values.items() if name not in HELD)
    yield from (plot.note for plot in document.plots)


def texts_in(given):
    match given:
        case str():
            yield given
        case Table() if given.rows:
            yield from (heading.text for heading in given.headings)
            yield from (cell for row in given.rows for cell in row)
        case Report():
            lines = f"{given.settings.space or ''}\n{given.commands.script or ''}".split("\n")
            yield from [given.title, *lines]
        case FrontTable():
            yield given.about
            yield from texts_in(given.table)
        case dict():
            yield from texts_in(given.values())
        case Iterable():
            for one in given:
                yield from texts_in(one)


def squeezed(text):
    return re.sub(r"\s+", "", text)


def says_all(text, document):
    for said in sayings(document):
        shown = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in said)
        assert squeezed(shown) in squeezed(text), said


def test_every_file_is_legal_text_without_control_signs(hostile, tmp_path):
    formats = ["md", "csv", "tex"]
    if isinstance(hostile, Run):
        xt.write_report(hostile, formats=formats)
        files = [hostile.path / name for name in ("report.md", "table.csv", "table.tex")]
        rows = hostile.results
    else:
        files = xt.write_comparison(hostile, tmp_path / "out", formats=formats)
        rows = hostile.pairs
    for path in files:
        text = path.read_bytes().decode()
        assert text.replace("\n", "").isprintable(), path.name
        assert not re.search(NUMBERLESS, text), path.name
    table = pd.read_csv(files[1], keep_default_na=False)
    assert len(table) == len(rows)
    assert not any(str(cell).startswith(tuple("=+@")) for cell in table.to_numpy().ravel())


def test_markdown_has_no_other_tags_and_says_all_that_the_document_says(document):
    text = markdown_text(document)
    seen = Parsed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    assert {tag for tag, _ in seen.elements} <= ALLOWED
    links = [held[name] for _, held in seen.elements for name in ("href", "src") if name in held]
    assert all(re.fullmatch(r"figures/[a-z-]+\.svg", link) for link in links)
    says_all(seen.text, document)
    columns = None
    for line in text.splitlines():
        found = line.count("|") if line.startswith("|") else None
        assert columns is None or found in (None, columns), line
        columns = found


def test_a_page_is_whole_says_all_and_runs_nothing(document):
    text = page(document)
    found = Parsed(text)  # each element is closed, and its JSON is JSON
    tags = {tag for tag, _ in found.elements}
    assert not {"img", "iframe", "object", "embed", "b", "i", "base", "link"} & tags
    for _, attributes in found.elements:
        assert not [given for given in attributes if given.startswith("on") or given == "style"]
        assert attributes.get("href", "#").startswith(("#", "./table.csv"))
    says_all(found.text, document)
    assert not re.search(NUMBERLESS, found.text)
    assert len(text.encode()) < 5_000_000
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.S):
        assert not re.search(r"(?<![\w\"])(NaN|-?Infinity)(?![\w\"])", data), "no JSON"
        assert "<" not in data, "it would end its element"


@pytest.mark.parametrize(("width", "encoding"), [(60, "cp1252"), (80, "utf-8")])
def test_the_terminal_shows_it_in_its_width(hostile, width, encoding):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=file, width=width, force_terminal=False)
    render(hostile, console)
    file.seek(0)
    text = file.read()
    assert text.replace("\n", "").isprintable()
    own = [line for line in text.splitlines() if not line.startswith(("  xortune", "/"))]
    assert max(map(len, own)) <= width
    if encoding == "cp1252":
        assert not set("█░▏") & set(text)
