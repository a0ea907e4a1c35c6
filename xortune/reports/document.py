"""A report as a value: sections of text, tables and figures, drawn as Markdown, HTML or text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xortune.core.formats import count, interval, number
from xortune.core.formats import measured as rate
from xortune.reports.plot import Plot

# -------------------------------------------------------------------------------------------------
# A report as a value: sections of text, tables and figures, drawn as Markdown, HTML or text.
#
# What a report says is computed once, as a `Document`; what draws it only draws, so that all its
# forms hold the same words and the same numbers. All text in it is plain: whoever draws escapes
# it.


@dataclass(frozen=True)
class Strong:
    """Words that matter most."""

    text: str


@dataclass(frozen=True)
class Mono:
    """A name or a key as a machine has it."""

    text: str


@dataclass(frozen=True)
class Link:
    """Words that lead elsewhere.

    Attributes:
        text: the words.
        target: a file beside the report, or `#id` of a section or a config.
    """

    text: str
    target: str


Inline = str | Strong | Mono | Link
Text = tuple[Inline, ...]


@dataclass(frozen=True)
class Paragraph:
    """Some sentences."""

    text: Text


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[Text, ...]


@dataclass(frozen=True)
class Subheading:
    """The heading of what follows within its section."""

    text: str


@dataclass(frozen=True)
class Code:
    """A file, a script or a command.

    Attributes:
        text: as it is.
        language: `python`, `sh`, `yaml`; empty: none of them.
    """

    text: str
    language: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading.
        numeric: whether its cells are numbers, which stand at the right.
        about: what it means, in a sentence; empty where the name says all.
    """

    name: str
    numeric: bool = False
    about: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        columns: from the left.
        rows: their cells, as many as there are columns.
        caption: what it shows, for those who hear it; empty where the text before says it.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class ConfigRow:
    """One config in the table of all.

    Attributes:
        key: its key, and its anchor.
        values: its parameters as text, one for each of the table's parameters; empty: not active.
        sort: the values themselves, by which rows are sorted and from which the config is written
            down; None: null, or not active where the text is empty.
        k, n: its seeds.
        low, high: the 95 % Wilson interval of k / n.
        epochs_to_solve: ERT; None without a success, or where nobody counts epochs.
        trials: its proposals.
        note: `tied`, `stopped early`, ...; empty: nothing to say.
        worth: the number that was looked for, None where failed seeds decide it, and how it is
            shown; None where epochs to solve are shown.
    """

    key: str
    values: tuple[str, ...]
    sort: tuple[float | str | None, ...]
    k: int
    n: int
    low: float
    high: float
    epochs_to_solve: float | None
    trials: int
    note: str = ""
    worth: tuple[float | None, str] | None = None


EPOCHS = "epochs to solve"
"""What is shown beside the rate if no number was looked for."""


@dataclass(frozen=True)
class ConfigTable:
    """All configs of a run, best first; where a page cannot be sorted, the first of them.

    Attributes:
        parameters: the names of those that differ.
        rows: all configs.
        fixed: the parameters that are the same in all, name and value; what is needed beside a
            row to write the whole config down.
        first: how many of them are shown where all would be too many.
        task: what `xortune evaluate --task` calls the task, where these are configs of the
            built-in network; None: they are a user's own.
        measure: what is shown beside the rate: epochs to solve, or the number that was looked for;
            None: nothing, where nobody counts epochs.
    """

    parameters: tuple[str, ...]
    rows: tuple[ConfigRow, ...]
    fixed: tuple[tuple[str, float | int | bool | str | None], ...]
    first: int = 10
    task: str | None = None
    measure: str | None = EPOCHS


@dataclass(frozen=True)
class Figure:
    """A figure in its place."""

    plot: Plot


Block = Paragraph | Bullets | Subheading | Code | Table | ConfigTable | Figure


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        id: of its anchor: lower case and `-`.
        heading: in words.
        blocks: from the top.
    """

    id: str
    heading: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A report.

    Attributes:
        title: its heading.
        subtitle: what it is of, in a line.
        sections: from the top; the first has the answer.
    """

    title: str
    subtitle: str
    sections: tuple[Section, ...]


def said(*text: Inline) -> Paragraph:
    """A paragraph of these words."""
    return Paragraph(text)


def table_of(
    columns: Sequence[Column], rows: Iterable[Sequence[Inline]], caption: str = ""
) -> Table:
    """A table each of whose cells is one piece of text."""
    return Table(tuple(columns), tuple(tuple((cell,) for cell in row) for row in rows), caption)


# -------------------------------------------------------------------------------------------------
# The table of all configs where it cannot be sorted: its first rows, in words and numbers.


def first_rows(given: ConfigTable) -> Table:
    """As many of the configs as such a table shows, each with its place in the order.

    What must be seen stands at the left: the right end of a wide table is often out of sight.
    """
    shown = given.rows[: given.first]
    noted = any(row.note for row in shown)
    columns = [
        Column("", numeric=True),
        *(Column(name, numeric=True) for name in ("solved", "rate", "95 % interval")),
        *([] if given.measure is None else [Column(given.measure, numeric=True)]),
        *parameter_columns(given),
        *([Column("")] if noted else []),
        Column("trials", numeric=True),
        Column("key"),
    ]
    measured = given.measure is not None
    rows = (_cells(at, row, noted=noted, measured=measured) for at, row in enumerate(shown, 1))
    of_all = f"The first {len(shown)} of {count(len(given.rows), 'configuration')}."
    return table_of(columns, rows, of_all if len(shown) < len(given.rows) else "")


def parameter_columns(given: ConfigTable) -> list[Column]:
    """A column for each parameter; it is of numbers if those shown of it are."""
    shown = [row.sort for row in given.rows[: given.first]]
    return [
        Column(name, numeric=all(_numeric(values[at]) for values in shown))
        for at, name in enumerate(given.parameters)
    ]


def epochs_text(epochs: float | None) -> str:
    """Epochs to solve in whole ones; a dash where nothing was solved."""
    return "–" if epochs is None else number(round(epochs))


def measure_text(row: ConfigRow) -> str:
    """What is shown beside the rate; see `ConfigTable.measure`."""
    return epochs_text(row.epochs_to_solve) if row.worth is None else row.worth[1]


def _numeric(given: float | str | None) -> bool:
    return given is None or (not isinstance(given, bool | str))


def _cells(place: int, row: ConfigRow, *, noted: bool, measured: bool) -> list[Inline]:
    return [
        str(place),
        f"{row.k}/{row.n}",
        rate(row.k / row.n, row.low, row.high),
        interval(row.low, row.high),
        *([measure_text(row)] if measured else []),
        *row.values,
        *([row.note] if noted else []),
        str(row.trials),
        Mono(row.key),
    ]
