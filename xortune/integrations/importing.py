"""A table of results from elsewhere as blocks of seeds and a space file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.files import open_regular, unreadable
from xortune.core.outcome import MAX_SEED, NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point, Value
from xortune.core.success import Success, parse_success
from xortune.core.trainer import Block
from xortune.runs.evaluation import MAX_NAMES, MAX_REASON, Evaluation

if TYPE_CHECKING:
    import pandas as pd


# -------------------------------------------------------------------------------------------------
# Results that somebody else has kept, as they are: the cells of a CSV file, or of a DataFrame.
#
# Nothing is guessed here but the type of a column of text, which is told; nothing is repaired.

Cell: TypeAlias = Any
"""Text of a CSV file; of a DataFrame a value; None where there is nothing."""

DELIMITERS = (",", "\t", ";", "|")

MAX_BYTES = 2_000_000_000

WORDS = {"true": True, "false": False}

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,299})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ResultsTable:
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


def read_csv(path: str | os.PathLike[str]) -> ResultsTable:
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
    return ResultsTable(
        source=place,
        sha256=hashlib.sha256(content).hexdigest(),
        columns=dict(zip(header, cells, strict=True)),
        where=lambda row: f"{place}:{lines[row + 1]}",
        text=True,
        count=len(rows) - 1,
    )


def table_of_frame(frame: pd.DataFrame, source: str = "a DataFrame") -> ResultsTable:
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

    return ResultsTable(
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
) -> ResultsTable:
    """Values that were taken from elsewhere, one dict for each row; what a row lacks is empty."""
    names = {name: None for record in records for name in record}
    return ResultsTable(
        source=source,
        sha256=sha256,
        columns={name: [record.get(name) for record in records] for name in names},
        where=where,
        text=False,
        count=len(records),
    )


def typed(table: ResultsTable, name: str) -> Typed:
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


def _typed_values(table: ResultsTable, name: str, present: Sequence[int]) -> Typed:
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


def _refuse_endless(table: ResultsTable, name: str, values: Sequence[Value]) -> None:
    for row, value in enumerate(values):
        if isinstance(value, float) and not math.isfinite(value):
            raise _not_finite(table, row, name)


def _not_finite(table: ResultsTable, row: int, name: str) -> InputError:
    return InputError(
        f"{table.columns[name][row]} is not finite",
        place=table.cell(row, name),
        allowed="a finite number as a parameter, or an empty cell where it does not apply",
    )


# -------------------------------------------------------------------------------------------------
# Columns of a table of results that are no parameters: how each row went, and its numbers.

SUCCESS, REASON = "success", "reason"

ALLOWED = "true, false, 1 or 0"

NOTHING = "nothing says how this seed went"

_VERDICTS = {"true": True, "1": True, "false": False, "0": False}

_SOLVED, _MISSED = int(Status.SOLVED), int(Status.WRONG_PATTERN)
_DIVERGED, _CRASHED = int(Status.DIVERGED), int(Status.CRASHED)


@dataclass(frozen=True, eq=False)
class Verdicts:
    """How each of R rows went.

    Attributes:
        status: uint8, shape (R,): a `Status` for each.
        reasons: why a row failed that was not trained to its end.
        columns: what was read for it.
        judged: the column that a rule judges; empty where there is no rule.
        numbers: float64, shape (R,): that column.
        rule: the rule, if there is one.
    """

    status: NDArray[np.uint8]
    reasons: Mapping[int, str]
    columns: tuple[str, ...]
    judged: str = ""
    numbers: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    rule: Success | None = None


@dataclass(frozen=True, eq=False)
class ImportedNumbers:
    """Columns of numbers.

    Attributes:
        values: by name, float64 of shape (R,): NaN where a row has none.
        left_out: columns without a number.
    """

    values: Mapping[str, NDArray[np.float64]]
    left_out: tuple[str, ...] = ()


def verdicts_in(table: ResultsTable, success: str, *, missing_fails: bool) -> Verdicts:
    """Which rows are successes.

    A column of that name says it with true, false, 1 or 0; otherwise `success` is a rule such as
    `accuracy >= 0.9`, and a number that is not finite is a seed that diverged. A column `reason`
    says of a row why it has crashed; such a row is no success.

    Args:
        table: with R rows.
        success: a column, or a rule.
        missing_fails: whether an empty cell is a failed seed.

    Raises:
        InputError: neither, or a cell that does not say it.
    """
    reasons = _reasons(table)
    if success in table.columns:
        return _said(table, success, reasons, missing_fails=missing_fails)
    try:
        rule = parse_success(success)
    except InputError as error:
        if success.isidentifier():
            raise InputError(
                f"{table.source} has no column {success!r}",
                field="success",
                allowed=f"a column with {ALLOWED} in each row, or a rule such as 'accuracy >= 0.9'",
                fix=nearest(success, table.columns) + ", or give --success",
            ) from None
        raise error.at("success") from None
    return _ruled(table, rule, reasons, missing_fails=missing_fails)


def numbers_in(table: ResultsTable, names: Sequence[str]) -> ImportedNumbers:
    """The columns that have numbers.

    Raises:
        InputError: a cell that is none in a column that has some, too many columns.
    """
    values, left_out = {}, []
    for name in names:
        if name == REASON:
            continue
        found = [number_of(cell) for cell in table.columns[name]]
        if not any(number is not None for number in found):
            left_out.append(name)
            continue
        for row, cell in enumerate(table.columns[name]):
            if cell is not None and found[row] is None:
                raise _no_number(table, row, name)
        values[name] = np.array([math.nan if n is None else n for n in found])
    if len(values) > MAX_NAMES - 1:
        raise InputError(
            f"{len(values)} columns of numbers",
            place=table.source,
            allowed=f"at most {MAX_NAMES - 1}",
            fix="leave some out with --ignore",
        )
    return ImportedNumbers(values, tuple(left_out))


def _reasons(table: ResultsTable) -> dict[int, str]:
    cells = table.columns.get(REASON, [])
    return {
        row: " ".join(cell.split())[:MAX_REASON]
        for row, cell in enumerate(cells)
        if isinstance(cell, str) and cell.strip()
    }


def _said(
    table: ResultsTable, name: str, reasons: dict[int, str], *, missing_fails: bool
) -> Verdicts:
    status = np.empty(table.count, np.uint8)
    why: dict[int, str] = {}
    for row, cell in enumerate(table.columns[name]):
        verdict = _verdict(cell)
        if verdict is None and (row in reasons or (missing_fails and _is_nothing(cell))):
            status[row], why[row] = _CRASHED, reasons.get(row, NOTHING)
        elif verdict is None:
            raise _no_verdict(table, row, name, ALLOWED)
        elif verdict and row in reasons:
            raise _both(table, row, name, reasons[row])
        elif row in reasons:
            status[row], why[row] = _CRASHED, reasons[row]
        else:
            status[row] = _SOLVED if verdict else _MISSED
    return Verdicts(status, why, (name, *([REASON] if REASON in table.columns else [])))


def _ruled(
    table: ResultsTable, rule: Success, reasons: dict[int, str], *, missing_fails: bool
) -> Verdicts:
    cells = table.column(rule.name, "success")
    status, numbers = np.empty(table.count, np.uint8), np.full(table.count, np.nan)
    why: dict[int, str] = {}
    for row, cell in enumerate(cells):
        number = number_of(cell)
        if number is None:
            if cell is not None:
                raise _no_number(table, row, rule.name)
            if row not in reasons and not missing_fails:
                raise _no_verdict(table, row, rule.name, "a number, or nan")
            status[row], why[row] = _CRASHED, reasons.get(row, NOTHING)
            continue
        numbers[row] = number
        if row in reasons:
            status[row], why[row] = _CRASHED, reasons[row]
        elif not math.isfinite(number):
            status[row], why[row] = _DIVERGED, f"{rule.name} is {number}"
        else:
            status[row] = _SOLVED if rule.holds(number) else _MISSED
    columns = (rule.name, *([REASON] if REASON in table.columns else []))
    return Verdicts(status, why, columns, rule.name, numbers, rule)


def _verdict(cell: Cell) -> bool | None:
    if isinstance(cell, str):
        return _VERDICTS.get(cell.strip().lower())
    if isinstance(cell, bool | int | float) and cell in (0, 1):
        return bool(cell)
    return None


def _is_nothing(cell: Cell) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() == "nan"
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _no_verdict(table: ResultsTable, row: int, name: str, allowed: str) -> InputError:
    cell = table.columns[name][row]
    if not _is_nothing(cell):
        return InputError(
            f"{str(cell)[:60]!r} says neither", place=table.cell(row, name), allowed=allowed
        )
    return InputError(
        "nothing says how this seed went" if cell is None else f"{cell} says nothing",
        place=table.cell(row, name),
        allowed=allowed,
        fix="if it failed, say so, or count all such rows as failed (--missing-fails); "
        "if it was never trained, remove the row",
    )


def _no_number(table: ResultsTable, row: int, name: str) -> InputError:
    return InputError(
        f"{str(table.columns[name][row])[:60]!r} is no number",
        place=table.cell(row, name),
        allowed="a number, nan, or an empty cell",
        fix=f"correct it, name {name!r} with --config, or leave it out with --ignore",
    )


def _both(table: ResultsTable, row: int, name: str, reason: str) -> InputError:
    return InputError(
        f"a success that has a reason for its failure ({reason[:60]!r})",
        place=table.cell(row, name),
        fix="remove one of the two",
    )


# -------------------------------------------------------------------------------------------------
# A table of results as blocks of seeds: which columns are what, and what each row came to.
#
# Every row is one seed of one config, and is counted once. What cannot be read is refused with its
# line and column; a row is never left out.

EPOCHS_TO_SOLVE, EPOCHS = "epochs_to_solve", "epochs"

MAX_EPOCHS = 2**31 - 1


@dataclass(frozen=True)
class ImportRequest:
    """Which columns are what.

    Attributes:
        config: the parameters, in the order in which they are shown.
        seed: the seed of each row.
        success: the column that says whether a row is a success, or a rule for a column of numbers,
            such as `accuracy >= 0.9`.
        ignore: columns that are not looked at.
        missing_fails: whether a row that does not say how it went is a failed seed; else refused.
    """

    config: tuple[str, ...]
    seed: str = "seed"
    success: str = SUCCESS
    ignore: tuple[str, ...] = ()
    missing_fails: bool = False


@dataclass(frozen=True, eq=False)
class Results:
    """What a table came to.

    Attributes:
        evaluations: for each config, in the order of its first row, its seeds as blocks.
        parameters: each with its type and values.
        numbers: names of the columns of numbers that are kept for each seed.
        left_out: columns that are no part of the run.
        notes: sentences that the user should read.
    """

    evaluations: tuple[Evaluation, ...]
    parameters: Mapping[str, Typed]
    numbers: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _ResultRows:
    """What the rows came to, one entry for each.

    Attributes:
        seeds: int64, shape (R,).
        verdicts: their statuses and reasons.
        numbers: by the name of their column.
        solved_epoch: int32, shape (R,); 0 where it was not solved, or nobody counts them.
        budget: epochs of each row's config; 0 where nobody counts them.
    """

    seeds: NDArray[np.int64]
    verdicts: Verdicts
    numbers: ImportedNumbers
    solved_epoch: NDArray[np.int32]
    budget: NDArray[np.int64]


def results_in(table: ResultsTable, asked: ImportRequest) -> Results:
    """Read a table.

    Raises:
        InputError: a column that is missing or named twice, a cell that cannot be read, two rows of
            one seed of one config.
    """
    _check_names(table, asked)
    parameters = {name: typed(table, name) for name in asked.config}
    seeds = _seeds(table, asked.seed)
    verdicts = verdicts_in(table, asked.success, missing_fails=asked.missing_fails)
    counted = EPOCHS_TO_SOLVE in table.columns and EPOCHS_TO_SOLVE not in asked.config
    used = {*asked.config, asked.seed, *asked.ignore, *verdicts.columns}
    used |= {EPOCHS_TO_SOLVE} if counted else set()
    numbers = numbers_in(table, [name for name in table.columns if name not in used])
    solved_epoch, budget = _epochs(table, parameters, verdicts, counted=counted)
    judged = {verdicts.judged: verdicts.numbers} if verdicts.judged else {}
    rows = _ResultRows(
        seeds, verdicts, ImportedNumbers({**judged, **numbers.values}), solved_epoch, budget
    )
    groups = _groups(table, parameters)
    _refuse_twice(table, asked, groups, seeds)
    evaluations = [
        Evaluation(number, block, outcome, None, True, 0.0, "imported")
        for number, (point, members) in enumerate(groups.items())
        for block, outcome in _blocks(point, members, rows)
    ]
    return Results(
        tuple(evaluations),
        parameters,
        tuple(rows.numbers.values),
        (*asked.ignore, *numbers.left_out),
        tuple(_notes(asked, parameters, numbers, groups, seeds)),
    )


def _check_names(table: ResultsTable, asked: ImportRequest) -> None:
    if not asked.config:
        raise _no_config(table, asked)
    for name in asked.config:
        table.column(name, "config")
    table.column(asked.seed, "seed")
    for name in asked.ignore:
        table.column(name, "ignore")
    several = [*asked.config, asked.seed, *asked.ignore]
    for name in several:
        if several.count(name) > 1:
            raise InputError(
                f"column {name!r} is named twice", field="config", fix="name each column once"
            )


def _no_config(table: ResultsTable, asked: ImportRequest) -> InputError:
    """What to say where nothing says which columns are parameters: nothing is guessed."""
    rest = [
        name
        for name in table.columns
        if name not in (asked.seed, asked.success, EPOCHS_TO_SOLVE, REASON, *asked.ignore)
        and not asked.success.startswith(f"{name} ")
    ]
    # A parameter has its value under several seeds, a result mostly not.
    likely = [n for n in rest if 2 * len({str(c) for c in table.columns[n]}) <= table.count] or rest
    return InputError(
        "nothing says which columns are the configuration",
        field="config",
        allowed=f"some of {', '.join(rest)}" if rest else "columns beside seed and success",
        fix=f"name them: --config {','.join(likely)}" if likely else "add a column for each",
    )


def _seeds(table: ResultsTable, name: str) -> NDArray[np.int64]:
    found = np.empty(table.count, np.int64)
    for row, cell in enumerate(table.columns[name]):
        number = number_of(cell)
        if number is None or not math.isfinite(number) or not number.is_integer():
            raise InputError(
                "a missing seed" if cell is None else f"{str(cell)[:60]!r} is no seed",
                place=table.cell(row, name),
                allowed="a whole number from 0 to 2**32 - 1",
            )
        if not 0 <= number <= MAX_SEED:
            raise InputError(
                f"seed {str(cell)[:60]}",
                place=table.cell(row, name),
                allowed="a whole number from 0 to 2**32 - 1",
            )
        found[row] = int(number)
    return found


def _epochs(
    table: ResultsTable, parameters: Mapping[str, Typed], verdicts: Verdicts, *, counted: bool
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The epoch from which each row is solved, and its budget; zeros where nobody counts them."""
    solved_epoch, budget = np.zeros(table.count, np.int32), np.zeros(table.count, np.int64)
    if not counted:
        return solved_epoch, budget
    if EPOCHS not in parameters or parameters[EPOCHS].kind != "whole number":
        raise InputError(
            f"{EPOCHS_TO_SOLVE} without a parameter {EPOCHS!r}: what a failed seed has cost is not "
            "known",
            place=table.source,
            allowed=f"a column {EPOCHS}, a whole number, among the configuration",
            fix=f"name it with --config, or leave the other out: --ignore {EPOCHS_TO_SOLVE}",
        )
    for row, cell in enumerate(table.columns[EPOCHS_TO_SOLVE]):
        most = parameters[EPOCHS].values[row]
        if not isinstance(most, int) or not 1 <= most <= MAX_EPOCHS:
            raise InputError(
                f"{most} epochs", place=table.cell(row, EPOCHS), allowed=f"1 to {MAX_EPOCHS:,}"
            )
        budget[row] = most
        if verdicts.status[row] != Status.SOLVED:
            continue  # a failure is counted with all its epochs
        number = number_of(cell)
        if number is None or not number.is_integer() or not 1 <= number <= most:
            raise InputError(
                "is missing for a success" if cell is None else f"{str(cell)[:60]!r}",
                place=table.cell(row, EPOCHS_TO_SOLVE),
                allowed=f"a whole number from 1 to the row's {most} epochs",
            )
        solved_epoch[row] = int(number)
    return solved_epoch, budget


def _groups(table: ResultsTable, parameters: Mapping[str, Typed]) -> dict[Point, list[int]]:
    """The rows of each config, in the order of their first rows."""
    known: dict[tuple[tuple[type, Value], ...], Point] = {}
    groups: dict[Point, list[int]] = {}
    for row, values in enumerate(zip(*(one.values for one in parameters.values()), strict=True)):
        given = tuple((type(value), value) for value in values)
        if given not in known:
            pairs = zip(parameters, values, strict=True)
            point = Point({name: value for name, value in pairs if value is not None})
            if not point:
                raise InputError(
                    "no parameter has a value in this row",
                    place=table.where(row),
                    allowed="at least one",
                )
            known[given] = point
        groups.setdefault(known[given], []).append(row)
    return groups


def _refuse_twice(
    table: ResultsTable,
    asked: ImportRequest,
    groups: Mapping[Point, list[int]],
    seeds: NDArray[np.int64],
) -> None:
    for point, rows in groups.items():
        first: dict[int, int] = {}
        for row in rows:
            before = first.setdefault(int(seeds[row]), row)
            if before != row:
                named = {*asked.config, asked.seed}
                others = [
                    name
                    for name, cells in table.columns.items()
                    if name not in named and cells[before] != cells[row]
                ]
                shown = ", ".join(f"{name} {value}" for name, value in point.items())
                fix = "leave one of the two out"
                if others:
                    fix += f", or name a parameter that tells them apart ({', '.join(others[:5])})"
                raise InputError(
                    f"seed {seeds[row]} of {shown} is there already, in {table.where(before)}",
                    place=table.where(row),
                    allowed="one row for each config and seed",
                    fix=fix,
                )


def _blocks(point: Point, members: Sequence[int], rows: _ResultRows) -> list[tuple[Block, Outcome]]:
    """The seeds of a config, ascending, as blocks without gaps, each with its outcome."""
    order = np.array(members, np.int64)
    order = order[np.argsort(rows.seeds[order], kind="stable")]
    gaps = np.flatnonzero(np.diff(rows.seeds[order]) != 1) + 1
    found = []
    for part in np.split(order, gaps):
        seeds = rows.seeds[part]
        values = {name: array[part] for name, array in rows.numbers.values.items()}
        failed = {
            int(rows.seeds[row]): rows.verdicts.reasons[row]
            for row in part.tolist()
            if row in rows.verdicts.reasons
        }
        outcome = Outcome(
            seeds=seeds,
            epochs=int(rows.budget[part[0]]),
            status=rows.verdicts.status[part],
            solved_epoch=rows.solved_epoch[part],
            final_loss=np.full(part.size, np.nan, np.float32),
            predictions=np.zeros((part.size, 0), np.bool_),
            details=Details(values, failed) if values or failed else NO_DETAILS,
        )
        found.append((Block(point, int(seeds[0]), part.size), outcome))
    return found


def _notes(
    asked: ImportRequest,
    parameters: Mapping[str, Typed],
    numbers: ImportedNumbers,
    groups: Mapping[Point, list[int]],
    seeds: NDArray[np.int64],
) -> list[str]:
    notes = [
        f"{name} is read as text, for {one.why} is no number"
        for name, one in parameters.items()
        if one.why
    ]
    if numbers.left_out:
        notes.append(f"not used, for they have no numbers: {', '.join(numbers.left_out)}")
    sizes = [len(rows) for rows in groups.values()]
    if len(sizes) > 1 and max(sizes) == 1:
        notes.append(
            "every configuration has one seed only: is a result among "
            f"{', '.join(asked.config)}? Only parameters belong there"
        )
    first, *others = ({*seeds[rows].tolist()} for rows in groups.values())
    if others and any(first.isdisjoint(other) for other in others):
        notes.append(
            "some configurations share no seed with the first one: such two cannot be compared "
            "seed by seed, so more of them will look tied"
        )
    return notes


# -------------------------------------------------------------------------------------------------
# The space file of a run that was imported: what was seen of each parameter, and no more.

MOST_VALUES = 20
"""Of numbers with more of them a range is written, from the least to the largest."""


def space_text(
    name: str,
    results: Results,
    *,
    source: str,
    configs: int,
    seeds: int,
    success: str | None,
    trainer: str | None,
) -> str:
    """YAML that `spaces.space.parse_space` reads.

    Args:
        name: of the space.
        results: what was imported.
        source: where from.
        configs: how many there are.
        seeds: that each of them has at least.
        success: the rule for a number; None if a column said it.
        trainer: a function that trains such configs, as a space file names it.
    """
    lines = [
        f"# Made by `xortune import` of {json.dumps(source)}: what was seen there, in",
        f"# {configs} configurations. What they were chosen from is not known.",
        f"name: {json.dumps(name)}",
    ]
    if trainer is not None:
        lines.append(f"trainer: {json.dumps(trainer)}")
    if success is not None:
        lines.append(f"success: {json.dumps(success)}")
    lines.append("parameters:")
    lines += [f"  {json.dumps(n)}: {_form(one)}" for n, one in results.parameters.items()]
    lines.append(f"search: {{sampler: random, trials: {configs}}}")
    lines.append(f"seeds: {{ladder: [{seeds}]}}")
    return "\n".join(lines) + "\n"


def _form(one: Typed) -> str:
    seen = _distinct(one.values)
    if len(seen) == 1:
        return json.dumps({"value": seen[0]})
    numbers = [v for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(seen) or len(seen) <= MOST_VALUES:
        return json.dumps({"choice": sorted(numbers) if len(numbers) == len(seen) else seen})
    low, high = min(numbers), max(numbers)
    if any(isinstance(number, float) for number in numbers):
        low, high = float(low), float(high)
    return json.dumps({"low": low, "high": high})


def _distinct(values: Sequence[Value]) -> list[Value]:
    """In the order in which they are met; 1 and 1.0 are one value, true and 1 are two."""
    seen: Mapping[tuple[bool, Value], Value] = {
        (isinstance(value, bool), value): value for value in values if value is not None
    }
    return list(seen.values())
