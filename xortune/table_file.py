"""Reading a CSV file of numbers, with errors that name the line."""

from __future__ import annotations

import csv
import os
from io import TextIOWrapper

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError
from xortune.files import open_regular

__all__ = ["read_numbers"]


def read_numbers(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[np.float64]], list[int]]:
    """A CSV file of numbers with a header.

    Returns:
        The columns by name, each float64 of shape (rows,), and the line of the file that each row
        ends on, for error messages.

    Raises:
        InputError: a file that cannot be read or decoded, no header, a name given twice, a row of
            another length, a value that is missing, no number or not finite.
    """
    place = os.fspath(path)
    try:
        with TextIOWrapper(
            open_regular(path, follow=True), encoding="utf-8-sig", newline=""
        ) as file:
            rows = [
                (reader.line_num, row) for reader in [csv.reader(file)] for row in reader if row
            ]
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", place=place) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"is no CSV text ({error})", place=place, fix="save it as UTF-8") from None
    if len(rows) < 2:
        raise InputError("no rows below a header", place=place, fix="add a header line and rows")
    header = [name.strip() for name in rows[0][1]]
    if len(set(header)) != len(header) or "" in header:
        raise InputError("a column name is empty or given twice", place=f"{place}:1")
    numbers = np.empty((len(rows) - 1, len(header)))
    for index, (line, row) in enumerate(rows[1:]):
        if len(row) != len(header):
            raise InputError(
                f"{len(row)} values for {len(header)} columns", place=f"{place}:{line}"
            )
        for column, text in enumerate(row):
            numbers[index, column] = _number(text, f"{place}:{line}: {header[column]}")
    columns = {name: numbers[:, column] for column, name in enumerate(header)}
    return columns, [line for line, _ in rows[1:]]


def _number(text: str, place: str) -> float:
    allowed = "a finite number"
    if not text.strip():
        raise InputError(
            "a missing value", place=place, allowed=allowed, fix="fill it in or drop the row"
        )
    try:
        number = float(text.replace("_", "?"))  # Python reads 1_0 as 10, nobody else does
    except ValueError:
        raise InputError(f"{text!r} is no number", place=place, allowed=allowed) from None
    if not np.isfinite(number):
        raise InputError(f"{text!r} is not finite", place=place, allowed=allowed)
    return number
