"""Results that somebody else has kept, as they are: the cells of a CSV file, or of a DataFrame.

Nothing is guessed here but the type of a column of text, which is told; nothing is repaired.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xortune.errors import InputError, nearest
from xortune.files import open_regular, unreadable
from xortune.point import Value

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Cell",
    "Table",
    "Typed",
    "number_of",
    "read_csv",
    "table_of_frame",
    "table_of_records",
    "typed",
]

Cell: TypeAlias = Any
"""Text of a CSV file; of a DataFrame a value; None where there is nothing."""

DELIMITERS = (",", "\t", ";", "|")

MAX_BYTES = 2_000_000_000

WORDS = {"true": True, "false": False}

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,299})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Table:
    """One row for each seed of each config.

    Attributes:
        source: what messages and the run call it.
        sha256: of the file, or of the values.
        columns: R cells for each column, by its name, in its order.
        where: says of a row where it is.
        text: whether all cells are text.
        count: R.
    """

    source: str
    sha256: str
    columns: dict[str, list[Cell]]
    where: Callable[[int], str] = field(repr=False)
    text: bool
    count: int

    def cell(self, row: int, name: str) -> str:
        """Where a cell is, for messages."""
        return f"{self.where(row)}: {name}"

    def column(self, name: str, option: str) -> list[Cell]:
        """The cells of a column.

        Args:
            name: of the column.
            option: that named it, for the message.

        Raises:
            InputError: there is none.
        """
        if name not in self.columns:
            raise InputError(
                f"{self.source} has no column {name!r}",
                field=option,
                allowed=", ".join(self.columns),
                fix=nearest(name, self.columns),
            )
        return self.columns[name]


@dataclass(frozen=True)
class Typed:
    """A column with its type.

    Attributes:
        kind: whole number, number, true or false, text; of a DataFrame perhaps mixed.
        values: one for each row; None where there is nothing.
        why: of text, the first cell that made it so where others are numbers; or nothing.
    """

    kind: str
    values: list[Value]
    why: str = ""


def read_csv(path: str | os.PathLike[str]) -> Table:
    """Read a CSV file with a header: UTF-8, cut by the sign that cuts its header most often.

    Raises:
        InputError: a file that cannot be read, no rows, a name that is empty or given twice, a row
            of another length.
    """
    place = os.fspath(path)
    try:
        with open_regular(path, follow=True) as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise unreadable(Path(place), error) from None
    if len(content) > MAX_BYTES:
        raise InputError("is too large", place=place, allowed=f"{MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"is no UTF-8 text ({error})", place=place, fix="save it as UTF-8"
        ) from None
    lines, rows = _rows(text, place)
    if len(rows) < 2:
        raise InputError("no rows below a header", place=place, fix="add a header line and rows")
    header = [name.strip() for name in rows[0]]
    if len(set(header)) != len(header) or "" in header:
        raise InputError(
            "a column name is empty or given twice",
            place=f"{place}:{lines[0]}",
            fix="give every column a name of its own",
        )
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(header):
            raise InputError(
                f"{len(row)} values for {len(header)} columns", place=f"{place}:{line}"
            )
    cells = [[cell.strip() or None for cell in column] for column in zip(*rows[1:], strict=True)]
    return Table(
        source=place,
        sha256=hashlib.sha256(content).hexdigest(),
        columns=dict(zip(header, cells, strict=True)),
        where=lambda row: f"{place}:{lines[row + 1]}",
        text=True,
        count=len(rows) - 1,
    )


def table_of_frame(frame: pd.DataFrame, source: str = "a DataFrame") -> Table:
    """The cells of a DataFrame; its index is not looked at.

    Raises:
        InputError: no rows, or a column whose name is no text, is empty or given twice.
    """
    import numpy as np
    import pandas as pd

    names = list(frame.columns)
    for name in names:
        if not isinstance(name, str) or not name or names.count(name) > 1:
            raise InputError(
                f"a column is called {name!r}",
                place=source,
                allowed="a name of its own for every column, as text",
            )
    if not len(frame):
        raise InputError("no rows", place=source, allowed="one row for each config and seed")

    def plain(value: object) -> Cell:
        if value is None or value is pd.NA or value is pd.NaT:
            return None
        return value.item() if isinstance(value, np.generic) else value

    return Table(
        source=source,
        sha256=hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest(),
        columns={name: [plain(value) for value in frame[name].tolist()] for name in names},
        where=lambda row: f"{source}, row {row}",
        text=False,
        count=len(frame),
    )


def table_of_records(
    records: Sequence[dict[str, Cell]],
    source: str,
    where: Callable[[int], str],
    sha256: str,
) -> Table:
    """Values that were taken from elsewhere, one dict for each row; what a row lacks is empty."""
    names = {name: None for record in records for name in record}
    return Table(
        source=source,
        sha256=sha256,
        columns={name: [record.get(name) for record in records] for name in names},
        where=where,
        text=False,
        count=len(records),
    )


def typed(table: Table, name: str) -> Typed:
    """A column of configuration with its type; an empty cell is a parameter that the row lacks.

    Of text, all cells are whole numbers, numbers, `true` and `false`, or else they stay text.

    Raises:
        InputError: a column without a value; a number that is none or has no end; a value that is
            no parameter's.
    """
    cells = table.columns[name]
    present = [row for row, cell in enumerate(cells) if not _is_missing(cell)]
    if not present:
        raise InputError(
            "is empty in every row", place=table.cell(0, name), fix="do not name it as a parameter"
        )
    if not table.text:
        return _typed_values(table, name, present)
    for kind, read in _READ:
        if all(read(cells[row]) is not None for row in present):
            values = [None if cell is None else read(cell) for cell in cells]
            if kind == "number":
                _refuse_endless(table, name, values)
            return Typed(kind, values)
    odd = next(row for row in present if _as_number(cells[row]) is None)
    some = any(_as_number(cells[row]) is not None for row in present)
    if some and _NOT_FINITE.fullmatch(cells[odd]):
        raise _not_finite(table, odd, name)
    return Typed("text", cells, f"{cells[odd]!r} in {table.where(odd)}" if some else "")


def number_of(cell: Cell) -> float | None:
    """A cell as a number, NaN and infinity included; None if it is none, or true or false."""
    if isinstance(cell, str):
        text = cell.strip()
        return float(text) if _NUMBER.fullmatch(text) or _NOT_FINITE.fullmatch(text) else None
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return None
    try:
        return float(cell)
    except OverflowError:
        return math.inf if cell > 0 else -math.inf


def _rows(text: str, place: str) -> tuple[list[int], list[list[str]]]:
    """The rows, and the line on which each begins."""
    try:
        headers = {d: next(csv.reader(io.StringIO(text), delimiter=d), []) for d in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines, rows, line = [], [], 1
        for row in reader:
            if row:
                lines.append(line)
                rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"is no CSV text ({error})", place=place) from None
    return lines, rows


def _as_word(text: str) -> bool | None:
    return WORDS.get(text.lower())


def _as_whole(text: str) -> int | None:
    return int(text) if _WHOLE.fullmatch(text) else None


def _as_number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


_READ: tuple[tuple[str, Callable[[str], Value]], ...] = (
    ("true or false", _as_word),
    ("whole number", _as_whole),
    ("number", _as_number),
)


def _typed_values(table: Table, name: str, present: Sequence[int]) -> Typed:
    cells = table.columns[name]
    kinds = set()
    for row in present:
        cell = cells[row]
        if not isinstance(cell, bool | int | float | str):
            raise InputError(
                f"{str(cell)[:60]!r} is a {type(cell).__name__}",
                place=table.cell(row, name),
                allowed="a number, a text, true or false",
            )
        if isinstance(cell, float) and math.isinf(cell):
            raise _not_finite(table, row, name)
        kinds.add(type(cell))
    values = [None if _is_missing(cell) else cell for cell in cells]
    names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
    if len(kinds) == 1:
        return Typed(names[kinds.pop()], values)
    return Typed("number" if kinds == {int, float} else "mixed", values)


def _is_missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _refuse_endless(table: Table, name: str, values: Sequence[Value]) -> None:
    for row, value in enumerate(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise _not_finite(table, row, name)


def _not_finite(table: Table, row: int, name: str) -> InputError:
    return InputError(
        f"{table.columns[name][row]} is not finite",
        place=table.cell(row, name),
        allowed="a finite number as a parameter, or an empty cell where it does not apply",
    )
