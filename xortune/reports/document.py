"""Tables as values, and the templates that make reports of them: Markdown, LaTeX, plain text."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from xortune.core.formats import count, interval, lower_percent, measured, number, percent, plain
from xortune.core.outcome import rate_of
from xortune.reports.drawing.model import Plot

# -------------------------------------------------------------------------------------------------
# Tables as values. Their cells are plain text: whoever draws them escapes it.


class Mono(str):
    """A name or a key as a machine has it."""

    __slots__ = ()


@dataclass(frozen=True)
class Column:
    """A column of a table; if it is numeric, it is aligned right."""

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
    """A table of these rows."""
    return Table(tuple(columns), tuple(map(tuple, rows)))


EPOCHS = "epochs to solve"  # the measure of a run whose objectives name no number


@dataclass(frozen=True)
class ConfigRow:
    """One config in the table of all.

    Attributes:
        values: its parameters as text, one for each of the table's; empty: not active.
        sort: the values themselves, by which rows are sorted and the config is written down.
        low, high: the 95 % Wilson interval of k / n.
        amount, measure: the measure, None if it has none, and as text.
        trials: its proposals.
        note: `best subset`, `stopped early`, `fewer seeds`; empty: nothing to say.
        scores: of the table's `scores`; NaN where no seed has the number.
    """

    key: str
    values: tuple[str, ...]
    sort: tuple[Any, ...]
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
    def score_texts(self) -> tuple[str, ...]:
        """The scores as text."""
        return tuple("–" if math.isnan(one) else number(one) for one in self.scores)

    @property
    def solved(self) -> str:
        """`k/n`."""
        return f"{self.k}/{self.n}"

    @property
    def rate(self) -> str:
        """The success rate, in the decimals that its interval supports."""
        return measured(self.k / self.n, self.low, self.high)

    @property
    def interval(self) -> str:
        """The interval, rounded outwards."""
        return interval(self.low, self.high)


@dataclass(frozen=True)
class ConfigTable:
    """The configs of a run, best first.

    Attributes:
        parameters: the names of those that differ.
        rows: the first of the `total` configs of the run.
        fixed: the parameters that are the same in all, with their values.
        task: what `xortune evaluate --task` calls the task; None: a user's own trainer.
        measure: what is shown beside the rate: epochs to solve, or the number that the search
            optimized; None: nothing, where the trainer counts no epochs.
        scores: the columns of the trainer's own number beside k / n.
    """

    parameters: tuple[str, ...]
    rows: tuple[ConfigRow, ...]
    total: int
    fixed: tuple[tuple[str, Any], ...] = ()
    task: str | None = None
    measure: str | None = EPOCHS
    scores: tuple[str, ...] = ()

    @property
    def repeated(self) -> bool:
        """Whether a config was proposed more than once, which its `trials` say."""
        return any(row.trials != 1 for row in self.rows)

    def columns(self, rows: Sequence[ConfigRow]) -> list[Column]:
        """A column for each parameter; it is numeric if these rows have only numbers there."""
        return [
            Column(name, all(type(row.sort[at]) in (int, float, type(None)) for row in rows))
            for at, name in enumerate(self.parameters)
        ]


FIRST = 10  # configs in a table that cannot be sorted


def first_rows(given: ConfigTable) -> Table:
    """The first configs with their ranks. The counts stand left: a wide table is cut off right."""
    rows = given.rows[:FIRST]
    noted, measured = any(row.note for row in rows), given.measure is not None
    columns = [
        *numbers("", "solved", "rate", "95 % interval", *[given.measure or ""] * measured),
        *numbers(*given.scores),
        *given.columns(rows),
        *texts(*[""] * noted),
        *numbers(*["trials"] * given.repeated),
        *texts("key"),
    ]
    cells = [
        (
            *(str(place), row.solved, row.rate, row.interval, *[row.measure] * measured),
            *(*row.score_texts, *row.values, *[row.note] * noted),
            *(*[str(row.trials)] * given.repeated, Mono(row.key)),
        )
        for place, row in enumerate(rows, 1)
    ]
    return table_of(columns, cells)


# -------------------------------------------------------------------------------------------------
# Templates. Every value in one is escaped by its environment, so no name can become markup; what is
# markup already is a `Markup`.


def environment(finalize: Callable[[Any], Any] | None = None, **options: Any) -> Environment:
    """The templates of reports, with what all of them use."""
    # Only pages are HTML: each other kind of text is escaped by its own `finalize`.
    found = Environment(  # noqa: S701
        loader=PackageLoader("xortune.reports"),
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    found.globals.update(
        count=count,
        interval=interval,
        lower_percent=lower_percent,
        measured=measured,
        number=number,
        percent=percent,
        rate_of=rate_of,
    )
    found.filters.update(comma="{:,}".format, g="{:g}".format, plain=plain, repr=repr)
    return found


@cache
def in_markdown() -> Environment:
    """The templates of Markdown; `p` and `li` make a paragraph and an item of what they filter."""
    found = environment(_markup, autoescape=True)
    found.filters.update(
        p=_paragraph,
        li=lambda text: Markup(f"- {_one_line(text)}\n"),
        strong=_strong,
        mono=lambda text: _markup(Mono(text)),
        code=lambda text, language="": Markup(f"{fenced(text, language)}\n\n"),
        table=lambda table: Markup(f"{markdown_table(table)}\n\n"),
    )
    return found


@cache
def _text() -> Environment:
    def one_line(given: Any) -> Markup:  # what macros made is markup
        return given if isinstance(given, Markup) else Markup(plain(str(given)))

    return environment(one_line, autoescape=True)


def lines_of(template: str, **values: Any) -> list[str]:
    """The paragraphs of a template of plain text, each on one line without control characters."""
    return list(map(_one_line, paragraphs_of(template, **values)))


def paragraphs_of(template: str, **values: Any) -> list[str]:
    """The same, with the blanks that values have: a command may be copied."""
    parts = _text().get_template(template).render(values).split("\n\n")
    return [" ".join(filter(None, part.split("\n"))) for part in parts if part.strip()]


def blocks_of(template: str, **values: Any) -> dict[str, str]:
    """The blocks of such a template by their names, the lines of each as one."""
    found = _text().get_template(template)
    context = found.new_context(values)
    texts = {name: "".join(block(context)).split("\n") for name, block in found.blocks.items()}
    return {name: " ".join(filter(None, map(str.strip, text))) for name, text in texts.items()}


@dataclass(frozen=True)
class Document:
    """A report: a template of Markdown and what it speaks of.

    Attributes:
        plots: its figures; the template places them with `figure(plot)`.
        configs: the table that the template places with `{{ configs() }}`; None: it has none.
    """

    template: str
    values: Mapping[str, Any]
    plots: tuple[Plot, ...] = ()
    configs: ConfigTable | None = None


def markdown_text(document: Document, figures: str = "figures/") -> str:
    """The document as Markdown, with its figures as `NAME.svg` in that folder."""

    def figure(plot: Plot) -> Markup:
        note = f"{_paragraph(escaped(plot.note))}" if plot.note else ""
        return Markup(f"![{escaped(plot.alt)}]({figures}{plot.name}.svg)\n\n{note}")

    def configs() -> Markup:
        given = document.configs
        assert given is not None
        some = f"The first {FIRST} of {count(given.total, 'configuration')}.\n\n"
        table = markdown_table(first_rows(given))
        return Markup(f"{some if given.total > FIRST else ''}{table}\n\n")

    return rendered(document, figure, configs)


def rendered(
    document: Document, figure: Callable[[Plot], Markup], configs: Callable[[], Markup]
) -> str:
    """The Markdown of a document in which these functions stand for figures and configs."""
    template = in_markdown().get_template(document.template)
    text = template.render(document.values, figure=figure, configs=configs)
    return text.strip("\n") + "\n"


# -------------------------------------------------------------------------------------------------
# Markdown as GitHub reads it.


def escaped(text: str) -> str:
    """The text on one line, without anything that Markdown or HTML would interpret."""
    text = plain(text)
    for sign, entity in zip(
        "&<>|`*$", ["&amp;", "&lt;", "&gt;", "&#124;", "&#96;", "&#42;", "&#36;"], strict=True
    ):
        text = text.replace(sign, entity)
    text = re.sub(r"([\\\[\]~])", r"\\\1", text)
    # Inside a word an underscore means nothing: hidden_dim stays readable.
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)


def fenced(text: str, language: str = "") -> str:
    """A block of code, whatever is in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = "\n".join(plain(line.rstrip("\r")) for line in text.rstrip("\r\n").split("\n"))
    return f"{fence}{language}\n{lines}\n{fence}"


def markdown_table(table: Table) -> str:
    """A table whose columns of numbers are aligned right."""
    lines: list[Iterable[str]] = [
        [escaped(column.name) for column in table.columns],
        ["--:" if column.numeric else ":--" for column in table.columns],
        *(map(_markup, row) for row in table.rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markup(given: Any) -> Markup:
    if isinstance(given, Markup):
        return given
    text = str(given)
    # A code span in a table takes a `|` for the end of its cell.
    code = isinstance(given, Mono) and re.fullmatch(r"[\w./:=+,@%-]+", text) and text.isprintable()
    return Markup(f"`{text}`" if code else escaped(text))


def _strong(text: str) -> Markup:
    words = plain(text).strip()  # next to a blank, asterisks are no marks
    return Markup(f"**{escaped(words)}**" if words else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _paragraph(text: str) -> Markup:
    """The lines of a template as one, which begins like no heading, list or indented block."""
    line = re.sub(r"^(?:(?=[#+=-])|(\d+)(?=[.)]))", r"\1\\", _one_line(text))
    return Markup(f"{line}\n\n" if line else "")


# -------------------------------------------------------------------------------------------------
# LaTeX that needs nothing but `\usepackage{booktabs}`.

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
"""Of signs that LaTeX takes for something else, or that not every encoding of fonts has.

Quotes are numbers: babel makes some active, and others become curly.
"""

ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip
"""Combining marks, and the commands for them that every encoding of fonts has."""


@cache
def _latex() -> Environment:
    return environment(
        lambda given: latex_escaped(str(given)),
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
    """A table as a float with `booktabs` rules, below lines of comment.

    Signs that a label may not have become `-`; without one there is none.
    """
    template = _latex().get_template("table.tex.jinja")
    return template.render(
        table=table,
        caption=caption,
        label=re.sub(r"[^A-Za-z0-9:.-]", "-", label),
        comments=[*comments],
    )


def latex_escaped(text: str) -> str:
    """Plain text as LaTeX sets it in any encoding of fonts."""
    shown = "".join(map(_latex_sign, unicodedata.normalize("NFC", plain(text))))
    # Two of these would become one longer sign.
    return re.sub(r"([-,'])(?=\1)", r"\1{}", shown)


def _latex_sign(sign: str) -> str:
    if sign in COMMANDS:
        return COMMANDS[sign]
    if sign.isascii():
        return sign
    base, *marks = tuple(unicodedata.normalize("NFD", sign))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        return f"\\{ACCENTS[marks[0]]}{{{base}}}"
    return " " if sign.isspace() else f"{{[}}U+{ord(sign):04X}{{]}}"
