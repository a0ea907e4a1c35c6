"""The table of all configs where it cannot be sorted: its first rows, in words and numbers."""

from __future__ import annotations

from xortune.report.document import Column, ConfigRow, ConfigTable, Inline, Mono, Table, table_of
from xortune.report.format import count, interval, number
from xortune.report.format import measured as rate

__all__ = ["epochs_text", "first_rows", "measure_text", "parameter_columns"]


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
