"""Whatever the names, values and counts are: every output is right, escaped and readable."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hand_made import CONFIG, ONE, RIGHT, WRONG, ZERO, done, failed, outcome, solved, write_run
from rich.console import Console

from xortune.report.document import Bullets, Code, Paragraph, Section, Subheading, Table
from xortune.report.files import FORMATS, write_derived
from xortune.report.markdown_document import markdown_text
from xortune.report.run_document import run_document
from xortune.report.terminal import render_best
from xortune.run import Run

NAMES = (
    "<script>alert(1)</script>",
    'a"quoted" name',
    "it's",
    "line\nbreak\r\n# head",
    "\U0001f600 smile",
    "x" * 200,
    "a|b`c*d_e~f$g\\h",
    "[link](javascript:alert(1))",
    "\x1b[31mred",
    "\ud800",
    "=1+1",
    "{{ jinja }} {% raw %}",
    "</title></svg>",
    "&amp;",
)


def named(folder):
    """Names that mean something somewhere, as parameters, values, errors and in the manifest."""
    points = [
        dict(zip(NAMES, [*NAMES[at:], *NAMES[:at]], strict=True)) | {"y": at}
        for at in range(len(NAMES))
    ]
    found = [done(i, p, solved(0, 8 - i % 9, 8)) for i, p in enumerate(points)]
    errors = [failed(50 + i, points[0], 8 + i, 1, error=name) for i, name in enumerate(NAMES)]
    return write_run(
        folder,
        [*found, *errors],
        name=NAMES[0] + NAMES[3],
        sampler=NAMES[6],
        command=list(NAMES),
        versions={name: name for name in NAMES},
        importance={name: 1 / len(NAMES) for name in NAMES},
        space_text="".join(f"# {name!r} ````\n" for name in NAMES),
    )


def not_a_number(folder):
    """Seeds whose losses are not finite, and numbers at the ends of what there is."""
    values = [1e308, -1e308, 5e-324, 0.0, 10**30, 2**63]
    diverged = replace(
        outcome(0, [RIGHT, WRONG, ZERO, ONE], diverged=[0, 1, 2, 3]),
        final_loss=np.full(4, np.nan, dtype=np.float32),
    )
    lines = [done(i, {"x": x, "b": bool(i % 2)}, diverged) for i, x in enumerate(values)]
    return write_run(folder, [*lines, done(9, {"x": None, "b": True}, solved(0, 3, 4))])


def plain(folder, counts, **more):
    lines = [
        done(i, CONFIG | {"lr": 0.01 * (1 + i)}, solved(0, *kn)) for i, kn in enumerate(counts)
    ]
    return write_run(folder, lines, trainer="network", task="xor", ladder=[counts[0][1]], **more)


RUNS = {
    "names": named,
    "not a number": not_a_number,
    "one config": lambda folder: plain(folder, [(3, 4)]),
    "one seed": lambda folder: plain(folder, [(1, 1)]),
    "none finished": lambda folder: write_run(folder, [failed(0, CONFIG, 0, 8, final=False)]),
    "empty": lambda folder: write_run(folder, []),
    "no parameters": lambda folder: write_run(folder, [done(0, {}, solved(0, 1, 2))]),
    "all fail": lambda folder: plain(folder, [(0, 8)] * 12),
    "all solve": lambda folder: plain(folder, [(8, 8)] * 12),
    "all or nothing": lambda folder: plain(folder, [(8, 8), (0, 8)] * 6),
    "all crashed": lambda folder: write_run(
        folder, [failed(i, CONFIG | {"lr": 0.1 + i}, 0, 8) for i in range(3)]
    ),
}


@pytest.fixture(params=RUNS)
def hostile(request, tmp_path):
    return RUNS[request.param](tmp_path / "r")


def test_every_file_is_legal_text_without_control_signs(hostile):
    write_derived(hostile)
    names = {"report.md", "table.csv", "table.tex"}  # the page's own tests are beside it
    assert names <= {path.name for path in hostile.path.iterdir()}
    for name in names:
        text = (hostile.path / name).read_bytes().decode()
        assert text.replace("\n", "").isprintable(), name
        assert not re.search(r"(?<![\w\\])(nan|inf|None|NaN)(?!\w)", text), name
    assert len(pd.read_csv(hostile.path / "table.csv", keep_default_na=False)) == len(
        hostile.results
    )


class Seen(HTMLParser):
    """What a browser would take for tags and for text in what a Markdown library makes."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.links, self.text = set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data):
        self.text.append(data)


ALLOWED = {
    *("h1", "h2", "h3", "p", "strong", "code", "pre", "ul", "li", "img", "a"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


def rendered(text):
    from markdown_it import MarkdownIt

    return Seen(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def test_markdown_has_no_other_tags_and_says_all_that_the_document_says(hostile):
    document = run_document(hostile)
    seen = rendered(markdown_text(document))
    assert seen.tags <= ALLOWED
    assert all(re.fullmatch(r"figures/[a-z-]+\.svg", link) for link in seen.links)
    shown = squeezed("".join(seen.text))
    for said in sayings(document):
        assert squeezed(printable(said)) in shown, said


def sayings(document):
    """Every word of a document: of tables that are long, the cells."""
    yield document.title
    for part in document.sections:
        yield part.heading
        yield from blocks_of(part)


def blocks_of(section: Section):
    for block in section.blocks:
        match block:
            case Paragraph(text):
                yield from map(words, text)
            case Bullets(items):
                yield from (words(part) for item in items for part in item)
            case Subheading(text):
                yield text
            case Code(text, _):
                yield from text.split("\n")
            case Table():
                yield from (column.name for column in block.columns)
                yield from (words(part) for row in block.rows for cell in row for part in cell)


def words(part):
    return part if isinstance(part, str) else part.text


def printable(text):
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def squeezed(text):
    return re.sub(r"\s+", "", text)


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
    write_derived(run)
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
    write_derived(run)
    assert time.process_time() - began < 60  # some 15 on two busy cores
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir() if path.is_file()}
    assert max(sizes["report.md"], sizes["table.tex"]) < 50_000
    assert sizes["report.html"] < 6_000_000
    assert len(pd.read_csv(tmp_path / "table.csv")) == MANY


def test_the_formats_are_these():
    assert set(FORMATS) == {"html", "md", "csv", "tex", "parquet"}
