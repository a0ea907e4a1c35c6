"""Tables as values, and the templates that render reports: Markdown, LaTeX, plain text."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xortune.core.formats import (
    count,
    interval,
    lower_percent,
    measured,
    number,
    percent,
    plain,
    roughly,
    upper_percent,
)
from xortune.reports.drawing.model import Plot
from xortune.runs.columns import NUMERIC, ORDER, Column, ConfigRow, Form, Part
from xortune.runs.run import Run

# -------------------------------------------------------------------------------------------------
# Tables as values. Their cells are plain text, which each renderer escapes.


class Mono(str):
    """A key or a name that is set as code."""

    __slots__ = ()


@dataclass(frozen=True)
class Heading:
    """The heading of a column; a numeric one is aligned right."""

    text: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table; each row has one cell for each heading."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def texts(*names: str) -> list[Heading]:
    """Headings of text."""
    return [Heading(name) for name in names]


def numbers(*names: str) -> list[Heading]:
    """Headings of numbers."""
    return [Heading(name, numeric=True) for name in names]


def table_of(
    headings: Iterable[Heading], rows: Iterable[Sequence[str]], caption: str = ""
) -> Table:
    """A table with these headings and rows."""
    return Table(tuple(headings), tuple(map(tuple, rows)), caption)


def number_or_dash(amount: float) -> str:
    """The number; a dash for NaN."""
    return "–" if math.isnan(amount) else number(amount)


@dataclass(frozen=True)
class ConfigTable:
    """The configs of a run, best first.

    Attributes:
        columns: of tables of text and of the filters of the page.
        rows: the first of the `total` configs of the run.
        fixed: the parameters that are the same in all, with their values.
        task: as an argument of `xortune evaluate --task`; None for a user's trainer.
        seeds: how many fresh ones that command gets.
    """

    columns: tuple[Column, ...]
    rows: tuple[ConfigRow, ...]
    total: int
    fixed: tuple[tuple[str, Any], ...] = ()
    task: str | None = None
    seeds: int = 0

    def shown(self, form: Form, rows: Sequence[ConfigRow]) -> list[Column]:
        """The columns of a table with these rows, in its order, without those that say nothing."""
        here = [column for column in self.columns if form in column.where]
        return [
            column
            for part in ORDER[form]
            for column in here
            if column.part is part and column.needed(row[column.name] for row in rows)
        ]

    def table(self, form: Form, caption: str = "") -> Table:
        """The first configs."""
        rows = self.rows[:PRINTED_CONFIGS]
        columns = self.shown(form, rows)
        cells = [[cell_of(column, row) for column in columns] for row in rows]
        return table_of([heading_of(column, form, rows) for column in columns], cells, caption)


PRINTED_CONFIGS = 10  # configs in a table that cannot be sorted


def heading_of(column: Column, form: Form, rows: Sequence[ConfigRow]) -> Heading:
    """A heading, numeric if all values in these rows are numbers."""
    return Heading(column.head(form), all(type(row[column.name]) in NUMERIC for row in rows))


def percent_above(table: Table) -> Table:
    """The table with the percent signs of numbers in the headings."""
    signed = [
        heading.numeric and any(cells) and all(cell.endswith(" %") for cell in cells if cell)
        for heading, *cells in zip(table.headings, *table.rows, strict=True)
    ]
    headings = [
        replace(heading, text=f"{heading.text}, %") if sign else heading
        for heading, sign in zip(table.headings, signed, strict=True)
    ]
    rows = [
        [cell.removesuffix(" %") if sign else cell for cell, sign in zip(row, signed, strict=True)]
        for row in table.rows
    ]
    return table_of(headings, rows, table.caption)


def cell_of(column: Column, row: ConfigRow) -> str:
    """The text of a row; keys are set as code."""
    return Mono(column.cell(row)) if column.part is Part.KEY else column.cell(row)


# -------------------------------------------------------------------------------------------------
# Templates. The environment escapes every value, so no name can become markup; text that already is
# markup has the type `Markup`.


def environment(finalize: Callable[[Any], Any] | None = None, **options: Any) -> Environment:
    """The environment of the templates, with the functions and filters that all of them use."""
    # Only pages are HTML; the `finalize` of another environment escapes its kind of text.
    templates = Environment(  # noqa: S701
        loader=PackageLoader("xortune.reports"),
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    templates.globals.update(
        count=count,
        interval=interval,
        lower_percent=lower_percent,
        upper_percent=upper_percent,
        measured=measured,
        number=number,
        percent=percent,
        roughly=roughly,
    )
    templates.filters.update(comma="{:,}".format, g="{:g}".format, plain=plain, repr=repr)
    return templates


@cache
def in_markdown() -> Environment:
    """The environment of Markdown; the filters `p` and `li` make a paragraph and a list item."""
    templates = environment(_markup, autoescape=True)
    templates.filters.update(
        p=_paragraph,
        li=lambda text: Markup(f"- {_one_line(text)}\n"),
        strong=_strong,
        mono=lambda text: _markup(Mono(text)),
        code=lambda text, language="": Markup(f"{fenced(text, language)}\n\n"),
        table=lambda table: Markup(f"{markdown_table(table)}\n\n"),
    )
    return templates


@cache
def _text() -> Environment:
    def as_plain(value: Any) -> Markup:  # a macro returns Markup
        return value if isinstance(value, Markup) else Markup(plain(str(value)))

    return environment(as_plain, autoescape=True)


def lines_of(template: str, **values: Any) -> list[str]:
    """The paragraphs of a template of plain text, each on one line without control characters."""
    return list(map(_one_line, paragraphs_of(template, **values)))


def paragraphs_of(template: str, **values: Any) -> list[str]:
    """The same, but repeated blanks in values are kept: a command must be right when copied."""
    parts = _text().get_template(template).render(values).split("\n\n")
    return [" ".join(filter(None, part.split("\n"))) for part in parts if part.strip()]


def blocks_of(template: str, **values: Any) -> dict[str, str]:
    """The blocks of a template of plain text by their names, each on one line."""
    source = _text().get_template(template)
    context = source.new_context(values)
    texts = {name: "".join(block(context)).split("\n") for name, block in source.blocks.items()}
    return {name: " ".join(filter(None, map(str.strip, text))) for name, text in texts.items()}


@dataclass(frozen=True)
class Document:
    """A report: a Markdown template and its values.

    Attributes:
        plots: its figures; the template places them with `figure(plot)`.
        configs: the table that the template places with `configs()`, if it has one.
        ruled: False where no rule asked which numbers are a success: see `without_rule`.
    """

    template: str
    values: Mapping[str, Any]
    plots: tuple[Plot, ...] = ()
    configs: ConfigTable | None = None
    ruled: bool = True


_FINISHED = {
    "solve": "finish",
    "solves": "finishes",
    "solved": "finished",
    "unsolved": "failed",
    "success rate": "share of finished seeds",
    "success rates": "shares of finished seeds",
    "rule for success": "objective",
    "no success": "no finished seed",
    "success": "finished seed",
    "successes": "finished seeds",
    "Success": "Finished seeds",
}


_FINISHED_PATTERN = re.compile(rf"\b({'|'.join(sorted(_FINISHED, key=len, reverse=True))})\b")


def without_rule(text: str) -> str:
    """The text of a run in which no rule asked which numbers are a success: seeds only finish."""
    return _FINISHED_PATTERN.sub(lambda found: _FINISHED[found[0]], text)


def markdown_text(document: Document, figures: str = "figures/") -> str:
    """The document as Markdown, with its figures as `NAME.svg` in the folder `figures`."""

    def figure(plot: Plot) -> Markup:
        picture = Markup(f"![{escaped(plot.alt)}]({figures}{plot.name}.svg)\n\n")
        caption, rest = plot.caption
        return picture + (
            _folded(caption, _paragraph(escaped(rest))) if rest else _paragraph(escaped(caption))
        )

    def configs() -> Markup:
        table = document.configs
        assert table is not None
        some = f"The first {PRINTED_CONFIGS} of {count(table.total, 'configuration')}.\n\n"
        rows = markdown_table(table.table(Form.REPORT))
        return Markup(f"{some if table.total > PRINTED_CONFIGS else ''}{rows}\n\n")

    return rendered(document, figure, configs, _folded)


def _folded(summary: str, body: Markup) -> Markup:
    """A part that a reader opens; GitHub interprets no Markdown in its summary."""
    line = html.escape(_one_line(plain(summary)), quote=False)
    return Markup(f"<details>\n<summary>{line}</summary>\n\n{body}</details>\n\n")


def rendered(
    document: Document,
    figure: Callable[[Plot], Markup],
    configs: Callable[[], Markup],
    folded: Callable[[str, Markup], Markup],
) -> str:
    """The Markdown of a document.

    These functions render its figures, its table of configs, and a part that is folded away: a
    line that says what is in it, and its Markdown.
    """

    def fold(summary: str, caller: Callable[[], Markup]) -> Markup:
        body = caller()
        return folded(summary, body) if body.strip() else Markup("")

    template = in_markdown().get_template(document.template)
    text = template.render(document.values, figure=figure, configs=configs, fold=fold)
    return (text if document.ruled else without_rule(text)).strip("\n") + "\n"


# -------------------------------------------------------------------------------------------------
# Markdown as GitHub renders it.


def escaped(text: str) -> str:
    """The text on one line; Markdown and HTML interpret nothing in it."""
    text = html.escape(plain(text), quote=False)
    text = text.translate({ord(sign): f"&#{ord(sign)};" for sign in "|`*$"})
    text = re.sub(r"([\\\[\]~])", r"\\\1", text)
    # An underscore inside a word needs no escape, so hidden_dim stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def fenced(text: str, language: str = "") -> str:
    """A block of code whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(plain(line.rstrip("\r")) for line in text.rstrip("\r\n").split("\n"))
    return f"{fence}{language}\n{lines}\n{fence}"


def markdown_table(table: Table) -> str:
    """The table with numeric columns aligned right."""
    lines: list[Iterable[str]] = [
        [escaped(heading.text) for heading in table.headings],
        ["--:" if heading.numeric else ":--" for heading in table.headings],
        *(map(_markup, row) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markup(value: Any) -> Markup:
    if isinstance(value, Markup):
        return value
    text = str(value)
    # In a table, a `|` ends the cell even inside a code span.
    code = isinstance(value, Mono) and re.fullmatch(r"[\w./:=+,@%…-]+", text) and text.isprintable()
    return Markup(f"`{text}`" if code else escaped(text))


def _strong(text: str) -> Markup:
    words = plain(text).strip()  # asterisks beside a blank are no markup
    return Markup(f"**{escaped(words)}**" if words else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _paragraph(text: str) -> Markup:
    """The lines of a template as one that Markdown takes for no heading, list or code block."""
    line = re.sub(r"^(?:(?=[#+=-])|(\d+)(?=[.)]))", r"\1\\", _one_line(text))
    return Markup(f"{line}\n\n" if line else "")


# -------------------------------------------------------------------------------------------------
# LaTeX that needs no package but booktabs.

NAMED = (
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater", "textbar"),
    *("textendash", "textemdash", "ldots", "ss", "ae", "AE", "oe", "OE", "o", "O", "l", "L"),
    *("char34", "char96"),
)
COMMANDS = {
    **{sign: rf"\{name}{{}}" for sign, name in zip('\\~^<>|–—…ßæÆœŒøØłŁ"`', NAMED, strict=True)},
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    # After \\ a bracket or a star would be an argument of it.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
    **dict.fromkeys("µμ", r"$\mu$"),
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}
"""Commands for signs that LaTeX interprets, or that some font encodings lack.

Quotes are given by number, because babel makes some active and fonts make others curly.
"""

ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""The commands of combining marks that every font encoding has."""


@cache
def _latex() -> Environment:
    return environment(
        lambda value: latex_escaped(str(value)),
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )


def latex_table(table: Table, *, label: str = "", comments: Iterable[str] = ()) -> str:
    """A table as a float with `booktabs` rules, after lines of comment.

    Signs that are not allowed in a label become `-`.
    """
    return (
        _latex()
        .get_template("table.tex.jinja")
        .render(table=table, label=re.sub(r"[^A-Za-z0-9:.-]", "-", label), comments=[*comments])
    )


def latex_escaped(text: str) -> str:
    """Plain text for LaTeX with any font encoding."""
    latex = unicodedata.normalize("NFC", plain(text)).translate(
        {ord(s): c for s, c in COMMANDS.items()}
    )
    latex = re.sub(r"[^\x00-\x7f]", lambda found: _accented(found[0]), latex)
    # Two of these in a row are a ligature.
    return re.sub(r"([-,'])(?=\1)", r"\1{}", latex)


def _accented(sign: str) -> str:
    base, *marks = tuple(unicodedata.normalize("NFD", sign))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        return f"\\{ACCENTS[marks[0]]}{{{base}}}"
    return " " if sign.isspace() else f"{{[}}U+{ord(sign):04X}{{]}}"


# -------------------------------------------------------------------------------------------------
# A cache for what several figures and tables of a run use.

T = TypeVar("T")


def cached_per_run(function: Callable[[Run], T]) -> Callable[[Run], T]:
    """Cache the function's result for the lifetime of a run, which never changes."""
    cache: WeakKeyDictionary[Run, T] = WeakKeyDictionary()

    @wraps(function)
    def cached(run: Run) -> T:
        if run not in cache:
            cache[run] = function(run)
        return cache[run]

    return cached
