"""Tables of users: a CSV file, read row by row, and the cells of any table with their places.

`pandas.read_csv(dtype=str)` would lose what a user needs to find a mistake: it fills a short row
with empty cells, takes the first column as an index if the rows are longer than the header, renames
a column given twice, accepts text behind a closing quote, and does not say where a row begins.
"""

from __future__ import annotations

import csv
import hashlib
import os
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader, TextIOWrapper
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, check_type
from xortune.core.files import open_regular, reading
from xortune.core.point import as_float

Cell: TypeAlias = Any  # text of a file, or a value of a DataFrame; None if it is empty

DELIMITERS = (",", "\t", ";", "|")


def number_of(cell: Cell) -> float | None:
    """A cell as a number, NaN and infinity included; None if it is none, or true or false."""
    if isinstance(cell, str):
        try:  # float also reads 1_0 and digits of other scripts
            return float(cell) if cell.isascii() and "_" not in cell else None
        except ValueError:
            return None
    is_number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return as_float(cell) if is_number else None


def csv_rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV file, the header first, each with the line on which it begins.

    Cells are without spaces around them. Of `DELIMITERS`, the one that splits the header most often
    is used.

    Args:
        path: of a UTF-8 file; a link is followed.

    Raises:
        InputError: the file cannot be read or decoded, has no rows below a header, an empty or
            repeated column name, or a row of another length.
    """
    check_type(None, path, str | os.PathLike, "the path of a CSV file")
    place, width, count = os.fspath(path), 0, 0
    with (
        reading(Path(path)),
        TextIOWrapper(open_regular(path, follow=True), encoding="utf-8-sig", newline="") as text,
    ):

        def split(delimiter: str, *, strict: bool) -> Iterator[tuple[int, list[str]]]:
            text.seek(0)
            reader, line = csv.reader(text, delimiter=delimiter, strict=strict), 1
            for row in reader:
                if row:
                    yield line, list(map(str.strip, row))
                line = reader.line_num + 1

        try:
            widths = {d: len(next(split(d, strict=False), (0, ""))[1]) for d in DELIMITERS}
            for line, row in split(max(widths, key=widths.__getitem__), strict=True):
                if not count:
                    width = len(row)
                    if len(set(row)) < width or "" in row:
                        raise InputError(
                            "a column name is empty or given twice",
                            place=f"{place}:{line}",
                            fix="give every column a name of its own",
                        )
                if len(row) != width:
                    values = "1 value" if len(row) == 1 else f"{len(row)} values"
                    problem = f"{values} for {width} columns"
                    raise InputError(problem, place=f"{place}:{line}")
                yield line, row
                count += 1
        except (UnicodeDecodeError, csv.Error) as error:
            what, fix = "CSV", None
            if isinstance(error, UnicodeDecodeError):
                what, fix = "UTF-8", "save it as UTF-8"
            raise InputError(f"is not {what} text ({error})", place=place, fix=fix) from None
    if count < 2:
        raise InputError("no rows below a header", place=place, fix="add a header line and rows")


@dataclass(frozen=True, eq=False)
class CodedColumn:
    """The cells of R rows, as distinct cells and a code for each row.

    Each distinct cell is read once, and a row takes 4 bytes.

    Attributes:
        cells: the distinct ones, by value and type.
        codes: the index of each row's cell in `cells`: shape (R,).
    """

    cells: list[Cell]
    codes: NDArray[np.int32]

    def at(self, row: int) -> Cell:
        """The cell of a row."""
        return self.cells[self.codes[row]]

    def read(self, read: Callable[[Cell], Any], dtype: Any) -> NDArray[Any]:
        """What `read` makes of each row's cell: shape (R,)."""
        return np.array([read(cell) for cell in self.cells], dtype)[self.codes]

    def where(self, holds: Callable[[Cell], bool]) -> NDArray[np.bool_]:
        """Whether `holds` is true of each row's cell: shape (R,)."""
        return self.read(holds, np.bool_)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (R,): NaN where a cell is no number."""
        return self.read(number_of, np.float64)  # None becomes NaN


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """Results from elsewhere.

    Attributes:
        columns: R cells for each column, by its name, in the order of the table.
        places: of the rows in the source, as `label` says: lines of a file, trials of a study.
        sha256: of the file, or of the values.
    """

    source: str
    columns: dict[str, CodedColumn]
    places: Sequence[int]
    sha256: str
    label: str = ":"

    @property
    def is_file(self) -> bool:
        """Whether all cells are text."""
        return self.label == ":"

    def where(self, row: int) -> str:
        """The place of a row, for messages."""
        return f"{self.source}{self.label}{self.places[row]}"

    def refuse(
        self,
        rows: NDArray[np.bool_],
        name: str,
        problem: Callable[[Cell], str],
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        """Refuse the first of these rows, if there is any, for its cell of a column."""
        for row in np.flatnonzero(rows)[:1].tolist():
            place = f"{self.where(row)}: {name}"
            raise InputError(
                problem(self.columns[name].at(row)), place=place, allowed=allowed, fix=fix
            )


def read_table(path: str | os.PathLike[str]) -> ResultsTable:
    """Read a CSV file. Its cells are text; an empty one is None.

    Raises:
        InputError: as `csv_rows`.
    """
    rows, lines = csv_rows(path), array("q")
    _, header = next(rows)
    code_of = [defaultdict[str, int](count().__next__) for _ in header]
    codes = [array("i") for _ in header]
    for line, row in rows:
        lines.append(line)
        for column, known, cell in zip(codes, code_of, row, strict=True):
            column.append(known[cell])
    columns = {
        name: CodedColumn([cell or None for cell in known], np.frombuffer(column, np.intc))
        for name, known, column in zip(header, code_of, codes, strict=True)
    }
    with open_regular(path, follow=True) as file:
        sha256 = hashlib.file_digest(cast(BufferedReader, file), "sha256").hexdigest()
    return ResultsTable(os.fspath(path), columns, lines, sha256)
