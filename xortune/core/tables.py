"""Tables of users: a CSV file, read row by row, and the numbers in its cells.

`pandas.read_csv(dtype=str)` would lose what a user needs to find a mistake: it fills a short row
with empty cells, takes the first column as an index if the rows are longer than the header, renames
a column given twice, accepts text behind a closing quote, and does not say where a row begins.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TypeAlias

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
