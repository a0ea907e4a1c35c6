"""A table of success counts that somebody published: read, its columns recognised, checked."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError, nearest
from xortune.point import Value

__all__ = ["DEFAULT_SEEDS", "Published", "normal", "read_published"]

DEFAULT_SEEDS = 100
"""Seeds of every cell where neither the table nor the user says how many."""

COUNTS = ("k", "n", "percent", "rate")
"""What `columns` may name beside parameters: solved seeds, seeds, and k / n in either unit."""

DELIMITERS = ("\t", ",", ";", "|")

SYNONYMS: dict[str, tuple[str, ...]] = {
    "activation": ("activationfunction", "act", "nonlinearity"),
    "loss": ("criterion", "lossfunction", "lossfn", "objective"),
    "optimizer": ("optimiser", "optim", "opt"),
    "lr": ("learnrate", "learningrate", "stepsize"),
    "momentum": (),
    "hidden_dim": ("hidden", "hiddensize", "hiddenunits", "hiddendimension", "nhidden"),
    "epochs": ("epoch", "numepochs", "nepochs"),
    "zero_grad": (),
    "k": ("successes", "correct", "solved", "numcorrect", "numsolved"),
    "n": ("seeds", "trials", "runs", "numseeds", "nseeds"),
    "percent": ("percentcorrect", "percentsolved", "successpercent", "pct"),
    "rate": ("accuracy", "successrate", "solvedrate"),
}
"""How tables call them, in small letters and without underscores; the own name always counts."""


@dataclass(frozen=True, eq=False)
class Published:
    """A published table.

    Attributes:
        path: where it was read.
        columns: for each parameter that the table has, and for `k`, `n`, `percent` or `rate`, the
            name of its column.
        assumptions: what the table does not say and was assumed, as sentences.
        unused: the other columns.
        values: for each parameter of `columns` the rows' values, as `normal` makes them.
        k: solved seeds, shape (rows,).
        n: seeds, shape (rows,).
        lines: the line of the file on which each row ends.
    """

    path: Path
    columns: Mapping[str, str]
    assumptions: tuple[str, ...]
    unused: tuple[str, ...]
    values: Mapping[str, tuple[Value, ...]]
    k: NDArray[np.int64]
    n: NDArray[np.int64]
    lines: tuple[int, ...]


@dataclass(frozen=True)
class _Text:
    """The file as text: its header, and the rows with their lines."""

    place: str
    header: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    lines: tuple[int, ...]

    def column(self, name: str) -> list[str]:
        at = self.header.index(name)
        return [row[at] for row in self.rows]

    def cell(self, row: int, name: str) -> str:
        """Where a value is, for messages."""
        return f"{self.place}:{self.lines[row]}: {name}"


def read_published(
    path: str | os.PathLike[str],
    parameters: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    seeds: int | None = None,
) -> Published:
    """Read a CSV or TSV file with a header and one row for each cell.

    Args:
        path: UTF-8 text; the delimiter (tab, comma, semicolon, bar) is recognised in the header.
        parameters: the names that the table's columns may stand for.
        columns: which column (value) is which parameter or count (key: a parameter, `k`, `n`,
            `percent`, or `rate`, a fraction or in percent); the others are guessed from their
            names, whatever the case and underscores.
        seeds: n of every row; else the table's own column, else `DEFAULT_SEEDS`, as an assumption.

    Raises:
        InputError: a file that is no such table, a name that is unknown or ambiguous, no counts,
            a count that is none, two rows for one cell.
    """
    text = _read(path)
    found = _mapping(text, parameters, columns or {}, seeds)
    n, assumed_n = _seeds(text, found, seeds)
    k, assumed_k = _successes(text, found, n)
    mapped = [name for name in parameters if name in found]
    values = {name: tuple(normal(cell) for cell in text.column(found[name])) for name in mapped}
    _refuse_duplicates(text, values)
    return Published(
        path=Path(path),
        columns={name: found[name] for name in (*mapped, *COUNTS) if name in found},
        assumptions=(*assumed_n, *assumed_k),
        unused=tuple(name for name in text.header if name not in found.values()),
        values=values,
        k=k,
        n=n,
        lines=text.lines,
    )


def normal(value: Value) -> Value:
    """A value of a table or a run so that equal ones compare equal.

    A text that is a finite number becomes one (`1.0` and `1` are equal then), `true` and `false`
    stay words, an empty text, `none` and `null` become None, whatever their case.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return value
    text = value.strip()
    word = text.lower()
    if word in ("", "none", "null"):
        return None
    if word in ("true", "false"):
        return word
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, flags=re.ASCII):
        return text
    number = float(text)
    if not math.isfinite(number):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d{1,4000}", text) else number


def _read(path: str | os.PathLike[str]) -> _Text:
    place = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise InputError(
                f"is no UTF-8 text ({error})", place=place, fix="save it as UTF-8"
            ) from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", place=place) from None
    try:
        # The delimiter that cuts the header into most names; the first of equals.
        headers = {d: next(csv.reader(io.StringIO(text), delimiter=d), []) for d in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise InputError(f"is no CSV text ({error})", place=place) from None
    if len(rows) < 2:
        raise InputError("no rows below a header", place=place, fix="add a header line and rows")
    header = tuple(name.strip() for name in rows[0][1])
    if len(set(header)) != len(header) or "" in header:
        raise InputError(
            "a column name is empty or given twice",
            place=f"{place}:{rows[0][0]}",
            fix="give every column a name of its own",
        )
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(
                f"{len(row)} values for {len(header)} columns", place=f"{place}:{line}"
            )
    return _Text(place, header, [row for _, row in rows[1:]], tuple(line for line, _ in rows[1:]))


def _mapping(
    text: _Text, parameters: Sequence[str], asked: Mapping[str, str], seeds: int | None
) -> dict[str, str]:
    """The column of each parameter and count that the table has, as asked or by its name."""
    found: dict[str, str] = {}
    for name, column in asked.items():
        if name not in parameters and name not in COUNTS:
            known = (*parameters, *COUNTS)
            raise InputError(
                f"unknown parameter {name!r}",
                place=f"--column {name}={column}",
                allowed=", ".join(known),
                fix=nearest(name, known),
            )
        if column not in text.header:
            raise InputError(
                f"{text.place} has no column {column!r}",
                place=f"--column {name}={column}",
                allowed=", ".join(text.header),
                fix=nearest(column, text.header),
            )
        if column in found.values():
            raise InputError(
                f"column {column!r} stands for something else already",
                place=f"--column {name}={column}",
                fix="map each column once",
            )
        found[name] = column
    for name in (*parameters, *(count for count in COUNTS if count not in parameters)):
        if name in found or (name == "n" and seeds is not None):
            continue
        if name in ("k", "percent", "rate") and any(c in found for c in ("k", "percent", "rate")):
            continue
        if guess := _guessed(text, name, found):
            found[name] = guess
    if not any(count in found for count in ("k", "percent", "rate")):
        raise InputError(
            "no column is known to hold the solved seeds",
            place=f"{text.place}:1",
            allowed="a count (k), or a percentage (percent)",
            fix=f"name it: --column k=NAME or --column percent=NAME, of {', '.join(text.header)}",
        )
    if not any(name in found for name in parameters):
        raise InputError(
            "no column is known to be a parameter of the run",
            place=f"{text.place}:1",
            allowed=", ".join(parameters),
            fix=f"name it: --column {parameters[0] if parameters else 'lr'}=NAME",
        )
    return found


def _guessed(text: _Text, name: str, found: Mapping[str, str]) -> str | None:
    """The column that goes by the name or, if none does, by a synonym of it."""
    free = [column for column in text.header if column not in found.values()]
    own = [column for column in free if _plain(column) == _plain(name)]
    likely = own or [column for column in free if _plain(column) in SYNONYMS.get(name, ())]
    if len(likely) > 1:
        raise InputError(
            f"{' and '.join(likely)} may both be {name}",
            place=f"{text.place}:1",
            fix=f"say which: --column {name}={likely[0]}",
        )
    return likely[0] if likely else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("%", "percent"))


def _seeds(
    text: _Text, found: Mapping[str, str], seeds: int | None
) -> tuple[NDArray[np.int64], list[str]]:
    if seeds is not None:
        if isinstance(seeds, bool) or not isinstance(seeds, int) or not 1 <= seeds < 2**53:
            raise InputError(f"{seeds!r} seeds", place="--reference-seeds", allowed="1 or more")
        if "n" in found:
            raise InputError(
                f"the seeds are given twice: {seeds}, and by column {found['n']!r}",
                place="--reference-seeds",
                fix="leave out one of --reference-seeds and --column n=...",
            )
        return np.full(len(text.rows), seeds, np.int64), []
    if "n" not in found:
        told = f"n = {DEFAULT_SEEDS} seeds for each cell (--reference-seeds says otherwise)"
        return np.full(len(text.rows), DEFAULT_SEEDS, np.int64), [told]
    numbers = _numbers(text, found["n"])
    _refuse_first(text, found["n"], (numbers < 1) | ~_whole(numbers), "a whole number, 1 or more")
    return numbers.astype(np.int64), []


def _successes(
    text: _Text, found: Mapping[str, str], n: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    if "k" in found:
        numbers = _numbers(text, found["k"])
        allowed = "a whole number, 0 or more and at most the number of seeds"
        bad = (numbers < 0) | (numbers > n) | ~_whole(numbers)
        _refuse_first(text, found["k"], bad, allowed, n)
        return numbers.astype(np.int64), []
    column = found.get("percent") or found["rate"]
    numbers, whole, assumed = _numbers(text, column), 100.0, []
    if "percent" not in found:
        # 0.9 as a percentage of 100 seeds is no count, as a fraction it is: the values tell.
        unit = "a fraction" if numbers.max() <= 1 else "a percentage"
        whole = 1.0 if numbers.max() <= 1 else 100.0
        assumed = [f"{column} is {unit} (--column percent={column} says otherwise)"]
        if whole == 100.0:
            assumed = [f"{column} is {unit}"]
    k = numbers * n / whole
    bad = (numbers < 0) | (numbers > whole) | (np.abs(k - np.rint(k)) > 1e-6)
    allowed = f"0 to {whole:g}, and a whole number of seeds"
    _refuse_first(text, column, bad, allowed, n)
    return np.rint(k).astype(np.int64), assumed


def _numbers(text: _Text, column: str) -> NDArray[np.float64]:
    numbers = np.empty(len(text.rows))
    for row, cell in enumerate(text.column(column)):
        value = normal(cell)
        if not isinstance(value, int | float):
            raise InputError(
                "a missing value" if not cell.strip() else f"{cell!r} is no number",
                place=text.cell(row, column),
                allowed="a finite number",
            )
        numbers[row] = max(min(value, 1e300), -1e300)  # an int may be beyond the floats
    return numbers


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.less(numbers, 2**53) & np.equal(numbers, np.rint(numbers))


def _refuse_first(
    text: _Text,
    column: str,
    bad: NDArray[np.bool_],
    allowed: str,
    n: NDArray[np.int64] | None = None,
) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        of = "" if n is None else f" of {n[row]} seeds"
        raise InputError(
            f"{text.column(column)[row].strip()}{of}", place=text.cell(row, column), allowed=allowed
        )


def _refuse_duplicates(text: _Text, values: Mapping[str, tuple[Value, ...]]) -> None:
    first: dict[tuple[Value, ...], int] = {}
    for row, cell in enumerate(zip(*values.values(), strict=True)):
        before = first.setdefault(cell, row)
        if before != row:
            shown = ", ".join(f"{name} {v}" for name, v in zip(values, cell, strict=True))
            raise InputError(
                f"lines {text.lines[before]} and {text.lines[row]} are both {shown}",
                place=f"{text.place}:{text.lines[row]}",
                fix="leave one out, or map the column that tells them apart: --column NAME=COLUMN",
            )
