"""The table of all configs in a page: its first rows as HTML, all of them as JSON.

Every text in it is made here, with the same functions as in Markdown; the page's script sorts,
filters and places, and writes no number of a result down by itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from xortune.report.config_table import epochs_text, parameter_columns
from xortune.report.document import EPOCHS, ConfigRow, ConfigTable
from xortune.report.format import interval, measured, plain
from xortune.report.html.embed import as_json, finite, literal
from xortune.report.tables import FRESH_SEED, FRESH_SEEDS

__all__ = ["PAGE", "EmbeddedConfigs", "ShownRow", "embedded", "rows_within"]

PAGE = 25
"""Rows at first: those that are there without a script."""

BUDGET = 2_500_000
"""Characters that the rows of a page may take; 10,000 rows of a network take about half of it."""


@dataclass(frozen=True)
class ShownRow:
    """A row as text, and where its bar lies, in percent."""

    place: int
    key: str
    solved: str
    rate: str
    interval: str
    bar: tuple[float, float, float] | None
    epochs: str
    values: tuple[str, ...]
    trials: str
    note: str


@dataclass(frozen=True)
class EmbeddedConfigs:
    """What a page holds of a table of configs.

    Attributes:
        parameters: their names, as text.
        numeric: whether each has numbers only.
        rows: the first ones.
        keys: of `rows`.
        held: how many are in `data`, from the best.
        total: how many there are.
        data: rows and all that is needed to write each down, as JSON.
        measure: what is shown beside the rate; empty: nothing.
    """

    parameters: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[ShownRow, ...]
    keys: tuple[str, ...]
    held: int
    total: int
    data: str
    measure: str


def rows_within(table: ConfigTable) -> int:
    """How many rows of the table, from the best, a page has room for."""
    # A name is stored once for each of its values, a number with each row: that is what is counted.
    seen: list[set[str]] = [set() for _ in table.parameters]
    taken = 0
    for place, row in enumerate(table.rows):
        taken += 75 + len(row.note)
        for known, text, value in zip(seen, row.values, row.sort, strict=True):
            if text not in known or isinstance(value, float):
                known.add(text)
                taken += len(text) + 24
                if isinstance(value, str):
                    taken += len(value)
        if taken > BUDGET:
            return place
    return len(table.rows)


def embedded(table: ConfigTable) -> EmbeddedConfigs:
    """The table as a page holds it."""
    held = rows_within(table)
    rows = table.rows[:held]
    columns = parameter_columns(replace(table, first=held))
    shown = tuple(_shown(place, row) for place, row in enumerate(rows[:PAGE], 1))
    return EmbeddedConfigs(
        parameters=tuple(_line(name) for name in table.parameters),
        numeric=tuple(column.numeric for column in columns),
        rows=shown,
        keys=tuple(row.key for row in shown),
        held=held,
        total=len(table.rows),
        data=as_json(_data(table, rows)),
        measure=_line(table.measure or ""),
    )


def _shown(place: int, row: ConfigRow) -> ShownRow:
    rate, between = _rate_texts(row)
    return ShownRow(
        place=place,
        key=row.key,
        solved=f"{row.k}/{row.n}",
        rate=rate,
        interval=between,
        bar=_bar(row),
        epochs=_measure(row)[1],
        values=tuple(map(_line, row.values)),
        trials=str(row.trials),
        note=_line(row.note),
    )


def _data(table: ConfigTable, rows: Sequence[ConfigRow]) -> dict[str, Any]:
    """What the page's script reads: texts that repeat are listed once, rows have their numbers."""
    counts, notes = _Listed(), _Listed()
    values = [_Listed() for _ in table.parameters]
    listed = []
    for row in rows:
        rate, between = _rate_texts(row)
        count = (row.k, row.n, rate, between, _bar(row), finite(row.low))
        epochs, text = _measure(row)
        listed.append(
            [
                row.key,
                counts.place(count),
                epochs,
                text,
                row.trials,
                notes.place(_line(row.note)),
                *(
                    known.place((_line(word), literal(value))) if word else -1
                    for known, word, value in zip(values, row.values, row.sort, strict=True)
                ),
            ]
        )
    return {
        "parameters": [_line(name) for name in table.parameters],
        "counts": counts.all,
        "notes": notes.all,
        "values": [known.all for known in values],
        "rows": listed,
        "page": PAGE,
        "measure": _column(table.measure),
        "names": [literal(name) for name in table.parameters],
        "fixed": [[literal(name), literal(value)] for name, value in table.fixed],
        **_network(table),
    }


def _column(measure: str | None) -> str | None:
    """The name in table.csv of what is shown beside the rate."""
    if measure is None:
        return None
    return "epochs_to_solve" if measure == EPOCHS else "objective"


def _measure(row: ConfigRow) -> tuple[float | None, str]:
    """What is shown beside the rate, by which rows are sorted, and as text."""
    if row.worth is not None:
        return row.worth[0], _line(row.worth[1])
    epochs = finite(row.epochs_to_solve)
    return epochs, epochs_text(epochs)


def _network(table: ConfigTable) -> dict[str, Any]:
    """How a config of the built-in network is evaluated again; nothing for a user's own."""
    if table.task is None:
        return {}
    from xortune.config import Config

    words = [] if table.task == "xor" else ["--task", table.task]
    words += ["--seeds", str(FRESH_SEEDS), "--first-seed", str(FRESH_SEED)]
    return {"order": [field.name for field in fields(Config)], "seeds": shlex.join(words)}


class _Listed:
    """Values, each listed once, and the place of each in the list."""

    def __init__(self) -> None:
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        return self._places.setdefault(value, len(self._places))

    @property
    def all(self) -> list[Any]:
        return list(self._places)


def _rate_texts(row: ConfigRow) -> tuple[str, str]:
    """The rate and its interval; dashes for a config without a seed."""
    if not row.n or finite(row.low) is None or finite(row.high) is None:
        return "–", "–"
    return measured(row.k / row.n, row.low, row.high), interval(row.low, row.high)


def _bar(row: ConfigRow) -> tuple[float, float, float] | None:
    """Where the interval begins, how long it is and where the rate lies, in percent."""
    if not row.n or finite(row.low) is None or finite(row.high) is None:
        return None
    return (
        round(100 * row.low, 1),
        round(100 * (row.high - row.low), 1),
        round(100 * row.k / row.n, 1),
    )


def _line(text: str) -> str:
    return text if text.isprintable() else plain(text)
