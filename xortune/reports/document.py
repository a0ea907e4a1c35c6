"""Tables as values, and the templates that render reports: Markdown, LaTeX, plain text."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, wraps
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
    value,
)
from xortune.reports.drawing.model import Plot
from xortune.runs.run import Run

# -------------------------------------------------------------------------------------------------
# Tables as values. Their cells are plain text, which each renderer escapes.


class Mono(str):
    """A key or a name that is set as code."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """A column of a table; a numeric one is aligned right."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table; each row has one cell for each column."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def texts(*names: str) -> list[Column]:
    """Columns of text."""
    return [Column(name) for name in names]


def numbers(*names: str) -> list[Column]:
    """Columns of numbers."""
    return [Column(name, numeric=True) for name in names]


def table_of(columns: Iterable[Column], rows: Iterable[Sequence[str]]) -> Table:
    """A table with these columns and rows."""
    return Table(tuple(columns), tuple(map(tuple, rows)))


def number_or_dash(amount: float) -> str:
    """The number; a dash for NaN."""
    return "–" if math.isnan(amount) else number(amount)


MISSING = object()  # stands for the value of an inactive parameter

EPOCHS = "epochs to solve"  # the measure of a run whose objective is not a number


@dataclass(frozen=True)
class ConfigRow:
    """One config in the table of all.

    Attributes:
        values: of its parameters, in the table's order; `MISSING` if inactive.
        low, high: the 95 % Wilson interval of k / n.
        amount, measure: the table's measure, None if the config has none, and its text.
        trials: the number of its proposals.
        note: `best subset`, `fewer seeds`, or empty.
        scores: of the table's `scores`; NaN if no seed has the number.
    """

    key: str
    values: tuple[Any, ...]
    k: int
    n: int
    low: float
    high: float
    amount: float | None
    measure: str
    trials: int
    note: str = ""
    scores: tuple[float, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as text; empty if inactive."""
        return tuple("" if one is MISSING else value(one) for one in self.values)

    @property
    def score_texts(self) -> tuple[str, ...]:
        """The scores as text."""
        return tuple(map(number_or_dash, self.scores))

    @property
    def solved(self) -> str:
        """`k/n`."""
        return f"{self.k:,}/{self.n:,}"

    @property
    def rate(self) -> str:
        """The success rate, with the decimals that its interval supports."""
        return measured(self.k / self.n, self.low, self.high)

    @property
    def interval(self) -> str:
        """The interval, rounded outwards."""
        return interval(self.low, self.high)

    @property
    def bar(self) -> tuple[float, ...]:
        """The start and the length of the interval, and the rate, in percent."""
        shares = self.low, self.high - self.low, self.k / self.n
        return tuple(round(100 * share, 1) for share in shares)


NUMERIC = {int, float, type(None), type(MISSING)}  # types of values in a numeric column


@dataclass(frozen=True)
class ConfigTable:
    """The configs of a run, best first.

    Attributes:
        parameters: the names of those that differ.
        rows: the first of the `total` configs of the run.
        fixed: the parameters that are the same in all, with their values.
        task: as an argument of `xortune evaluate --task`; None for a user's trainer.
        seeds: how many fresh ones that command gets.
        measure: epochs to solve, or the number that the search optimized; None if the trainer
            counts no epochs.
        scores: the columns of the trainer's own number beside k / n.
        ruled: as of `Document`; if not, seeds only finish, and rates of that are not shown.
    """

    parameters: tuple[str, ...]
    rows: tuple[ConfigRow, ...]
    total: int
    fixed: tuple[tuple[str, Any], ...] = ()
    task: str | None = None
    seeds: int = 0
    measure: str | None = EPOCHS
    scores: tuple[str, ...] = ()
    ruled: bool = True

    @cached_property
    def repeated(self) -> bool:
        """Whether a config was proposed more than once."""
        return any(row.trials != 1 for row in self.rows)

    @cached_property
    def noted(self) -> bool:
        """Whether any config has a note."""
        return any(row.note for row in self.rows)

    def columns(self, rows: Sequence[ConfigRow]) -> list[Column]:
        """A column for each parameter, numeric if all its values in these rows are numbers."""
        return [
            Column(name, all(type(row.values[at]) in NUMERIC for row in rows))
            for at, name in enumerate(self.parameters)
        ]


PRINTED_CONFIGS = 10  # configs in a table that cannot be sorted


def first_rows(table: ConfigTable) -> Table:
    """The first configs with their ranks. Counts come first: a wide table is cut off right."""
    rows = table.rows[:PRINTED_CONFIGS]
    has_notes, has_measure = any(row.note for row in rows), table.measure is not None
    counts = ["solved", "rate", "95 % interval"] if table.ruled else []
    columns = [
        *numbers("#", *counts, *[table.measure or ""] * has_measure),
        *numbers(*table.scores, *["finished"] * (not table.ruled)),
        *table.columns(rows),
        *texts(*["note"] * has_notes),
        *numbers(*["trials"] * table.repeated),
        *texts("key"),
    ]
    cells = [
        (
            *(str(place), *([row.solved, row.rate, row.interval] if table.ruled else [])),
            *([row.measure] * has_measure),
            *(*row.score_texts, *[row.solved] * (not table.ruled)),
            *(*row.texts, *[row.note] * has_notes),
            *(*[str(row.trials)] * table.repeated, Mono(row.key)),
        )
        for place, row in enumerate(rows, 1)
    ]
    return table_of(columns, cells)


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
        rows = markdown_table(first_rows(table))
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
        [escaped(column.name) for column in table.columns],
        ["--:" if column.numeric else ":--" for column in table.columns],
        *(map(_markup, row) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markup(value: Any) -> Markup:
    if isinstance(value, Markup):
        return value
    text = str(value)
    # In a table, a `|` ends the cell even inside a code span.
    code = isinstance(value, Mono) and re.fullmatch(r"[\w./:=+,@%-]+", text) and text.isprintable()
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


def latex_table(
    table: Table, *, caption: str, label: str = "", comments: Iterable[str] = ()
) -> str:
    """A table as a float with `booktabs` rules, after lines of comment.

    Signs that are not allowed in a label become `-`.
    """
    return (
        _latex()
        .get_template("table.tex.jinja")
        .render(
            table=table,
            caption=caption,
            label=re.sub(r"[^A-Za-z0-9:.-]", "-", label),
            comments=[*comments],
        )
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
