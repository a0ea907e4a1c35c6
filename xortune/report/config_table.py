"""The table of all configs where it cannot be sorted: its first rows, in words and numbers."""

from __future__ import annotations

from xortune.report.document import Column, ConfigRow, ConfigTable, Inline, Mono, Table, table_of
from xortune.report.format import interval, measured, number

__all__ = ["epochs_text", "first_rows", "parameter_columns"]


def first_rows(given: ConfigTable) -> Table:
    """As many of the configs as such a table shows, each with its place in the order."""
    shown = given.rows[: given.first]
    noted = any(row.note for row in shown)
    columns = [
        Column("", numeric=True),
        *parameter_columns(given),
        Column("key"),
        *(Column(name, numeric=True) for name in ("solved", "rate", "95 % interval")),
        *(Column(name, numeric=True) for name in ("epochs to solve", "trials")),
        *([Column("")] if noted else []),
    ]
    return table_of(columns, (_cells(place, row, noted) for place, row in enumerate(shown, 1)))


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


def _numeric(given: float | str | None) -> bool:
    return given is None or (not isinstance(given, bool | str))


def _cells(place: int, row: ConfigRow, noted: bool) -> list[Inline]:
    return [
        str(place),
        *row.values,
        Mono(row.key),
        f"{row.k}/{row.n}",
        measured(row.k / row.n, row.low, row.high),
        interval(row.low, row.high),
        epochs_text(row.epochs_to_solve),
        str(row.trials),
        *([row.note] if noted else []),
    ]
