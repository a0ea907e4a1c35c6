"""A table of results from elsewhere as blocks of seeds and a space file.

Every row is one seed of one config, and is counted once. Nothing is guessed but the type of a
column of text, which is told; what cannot be read is refused with its line and column; a row is
never left out.

A column is kept as its different cells and one number for each row: each cell is read once, and a
table of a million rows takes some bytes a row.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest, refuse_unknown
from xortune.core.files import csv_rows
from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point, Value
from xortune.core.seeds import MAX_SEED
from xortune.core.success import Success, parse_success
from xortune.core.trainer import Block
from xortune.runs.evaluation import MAX_NAMES, MAX_REASON, Evaluation

if TYPE_CHECKING:
    import pandas as pd

Cell: TypeAlias = Any  # text of a CSV file; of a DataFrame a value; None where there is nothing

# -------------------------------------------------------------------------------------------------
# Results that somebody else has kept: a CSV file, a DataFrame, or records.

DELIMITERS = (",", "\t", ";", "|")


class CodedColumn:
    """Cells of R rows.

    Attributes:
        cells: those that differ, by value or type.
        kind: of a parameter: whole number, number, true or false, text, or (of a DataFrame) mixed.
        why: of a parameter that is text, the first cell that is no number, if others are.
    """

    def __init__(self, cells: Iterable[Cell] = (), kind: str = "", why: str = "") -> None:
        self.cells: list[Cell] = []
        self.kind, self.why = kind, why
        self._known: dict[Any, int] = {}
        self._codes = array("i")
        for cell in cells:
            self.add(cell)

    def add(self, cell: Cell) -> None:
        """Append a cell."""
        mark = cell if isinstance(cell, str) else (type(cell), repr(cell))
        code = self._known.setdefault(mark, len(self.cells))
        if code == len(self.cells):
            self.cells.append(cell)
        self._codes.append(code)

    @property
    def codes(self) -> NDArray[np.int32]:
        """For each row which of the cells it has: shape (R,)."""
        return np.frombuffer(self._codes, np.intc)

    def each(self, read: Callable[[Cell], Any], kind: str = "") -> CodedColumn:
        """A column with what is read from each cell; of nothing, nothing."""
        found = CodedColumn((None if cell is None else read(cell) for cell in self.cells), kind)
        found._codes = array("i", found.codes[self.codes].tobytes())
        return found

    def read(self, read: Callable[[Cell], Any], kind: Any) -> NDArray[Any]:
        """What is read from each row's cell."""
        return np.array([read(cell) for cell in self.cells], kind)[self.codes]

    def where(self, holds: Callable[[Cell], bool]) -> NDArray[np.bool_]:
        """Whether each row's cell is such a one: shape (R,)."""
        return self.read(holds, np.bool_)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (R,): NaN where a cell is no number."""
        return self.read(lambda cell: math.nan if (n := number_of(cell)) is None else n, np.float64)


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """One row for each seed of each config.

    Attributes:
        sha256: of the file, or of the values.
        columns: R cells for each column, by its name, in its order.
        where: says of a row where it is.
    """

    source: str
    sha256: str
    columns: dict[str, CodedColumn]
    where: Callable[[int], str] = field(repr=False)
    text: bool = False

    @property
    def count(self) -> int:
        """R."""
        return len(next(iter(self.columns.values())).codes)

    def cell(self, row: int, name: str) -> Cell:
        """The cell of a row."""
        column = self.columns[name]
        return column.cells[column.codes[row]]

    def refuse(
        self,
        rows: NDArray[np.bool_],
        name: str,
        problem: Callable[[Cell], str],
        allowed: str,
        fix: str | None = None,
    ) -> None:
        """Refuse the first of these rows, if there is one, for its cell of a column."""
        for row in np.flatnonzero(rows)[:1].tolist():
            place = f"{self.where(row)}: {name}"
            raise InputError(problem(self.cell(row, name)), place=place, allowed=allowed, fix=fix)

    def column(self, name: str, option: str) -> CodedColumn:
        """The cells of a column."""
        problem = f"{self.source} has no column {name!r}"
        refuse_unknown(name, self.columns, problem, field=option)
        return self.columns[name]


def read_csv(path: str | os.PathLike[str]) -> ResultsTable:
    """Read a CSV file with a header: UTF-8, cut by the sign that cuts its header most often.

    Raises:
        InputError: as `csv_rows`.
    """
    rows, place, lines = csv_rows(path, DELIMITERS), os.fspath(path), array("q")
    columns = {name: CodedColumn() for name in next(rows)[1]}
    for line, row in rows:
        lines.append(line)
        for column, cell in zip(columns.values(), row, strict=True):
            column.add(cell.strip() or None)
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ResultsTable(place, digest, columns, lambda row: f"{place}:{lines[row]}", text=True)


def table_of_frame(frame: pd.DataFrame, source: str = "a DataFrame") -> ResultsTable:
    """The cells of a DataFrame; its index is not looked at.

    Raises:
        InputError: no rows, or a column whose name is no text, is empty or given twice.
    """
    import pandas as pd

    names = list(frame.columns)
    for name in names:
        if not isinstance(name, str) or not name or names.count(name) > 1:
            allowed = "a name of its own for every column, as text"
            raise InputError(f"a column is called {name!r}", place=source, allowed=allowed)
    if not len(frame):
        raise InputError("no rows", place=source, allowed="one row for each config and seed")

    def plain(value: object) -> Cell:
        if value is pd.NA or value is pd.NaT:
            return None
        return value.item() if isinstance(value, np.generic) else value

    columns = {name: CodedColumn(map(plain, frame[name].tolist())) for name in names}
    sha256 = hashlib.sha256(frame.to_csv(index=False).encode()).hexdigest()
    return ResultsTable(source, sha256, columns, lambda row: f"{source}, row {row}")


def table_of_records(
    records: Sequence[dict[str, Cell]], source: str, where: Callable[[int], str], sha256: str
) -> ResultsTable:
    """Values that were taken from elsewhere, one dict for each row; what a row lacks is empty."""
    names = {name: None for record in records for name in record}
    columns = {name: CodedColumn(record.get(name) for record in records) for name in names}
    return ResultsTable(source, sha256, columns, where)


# -------------------------------------------------------------------------------------------------
# What cells say: numbers, parameters with their types, and how each row went.

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,299})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)

_READ: tuple[tuple[str, Callable[[str], Value]], ...] = (
    ("true or false", lambda text: {"true": True, "false": False}.get(text.lower())),
    ("whole number", lambda text: int(text) if _WHOLE.fullmatch(text) else None),
    ("number", lambda text: float(text) if _NUMBER.fullmatch(text) else None),
)


def parameter_in(table: ResultsTable, name: str) -> CodedColumn:
    """A column of configuration with its type; an empty cell is a parameter that the row lacks.

    Of text, all cells are whole numbers, numbers, `true` and `false`, or else they stay text.
    """
    column = table.columns[name].each(lambda cell: None if _is_nan(cell) else cell, "text")
    present = [cell for cell in column.cells if cell is not None]
    if not present:
        fix = "do not name it as a parameter"
        raise InputError("is empty in every row", place=f"{table.where(0)}: {name}", fix=fix)
    infinite = np.zeros(table.count, np.bool_)
    if not table.text:
        table.refuse(
            column.where(lambda cell: not isinstance(cell, bool | int | float | str | None)),
            name,
            lambda cell: f"{_short(cell)} is a {type(cell).__name__}",
            "a number, a text, true or false",
        )
        names = {bool: "true or false", int: "whole number", float: "number", str: "text"}
        kinds = {type(cell) for cell in present}
        alone = names[next(iter(kinds))] if len(kinds) == 1 else "mixed"
        column.kind = "number" if kinds == {int, float} else alone
    elif found := [one for one in _READ if all(one[1](cell) is not None for cell in present)]:
        kind, read = found[0]
        column = column.each(read, kind)
    elif any(map(_NUMBER.fullmatch, present)):
        odd = column.where(lambda cell: cell is not None and not _NUMBER.fullmatch(cell))
        row = int(np.flatnonzero(odd)[0])
        column.why = f"{table.cell(row, name)!r} in {table.where(row)}"
        if _NOT_FINITE.fullmatch(table.cell(row, name)):
            infinite = odd
    table.refuse(
        infinite | column.where(lambda v: isinstance(v, float) and not math.isfinite(v)),
        name,
        lambda cell: f"{cell} is not finite",
        "a finite number as a parameter, or an empty cell where it does not apply",
    )
    return column


def _short(cell: Cell) -> str:
    return repr(str(cell)[:60])


def _is_nan(cell: Cell) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


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


SUCCESS, REASON = "success", "reason"

ALLOWED = "true, false, 1 or 0"

NOTHING = "nothing says how this seed went"

_SAID = {"true": Status.SOLVED, "1": Status.SOLVED}
_SAID |= {"false": Status.WRONG_PATTERN, "0": Status.WRONG_PATTERN}

_UNKNOWN = 255  # in place of a status, where a cell does not say it


class Verdicts(NamedTuple):
    """How each of R rows went: `Status` as uint8, why some failed, and the numbers of a rule."""

    status: NDArray[np.uint8]
    reasons: dict[int, str]
    numbers: dict[str, NDArray[np.float64]]


def verdicts_in(table: ResultsTable, success: str, *, missing_fails: bool) -> Verdicts:
    """Which rows are successes.

    A column of that name says it with true, false, 1 or 0; otherwise `success` is a rule such as
    `accuracy >= 0.9`, and a number that is not finite is a seed that diverged. A column `reason`
    says of a row why it has crashed; such a row is no success.
    """
    rule = None if success in table.columns else _rule(table, success)
    name = success if rule is None else rule.name
    column = table.column(name, "success")
    numbers = {} if rule is None else {name: _numbers_of(table, name)}
    read = _said if rule is None else partial(_judged, rule)
    status = column.read(read, np.uint8)
    reasons = table.columns.get(REASON, CodedColumn([None] * table.count))
    given = reasons.where(lambda cell: isinstance(cell, str) and bool(cell.strip()))
    nothing = column.where(lambda cell: cell is None or str(cell).strip().lower() == "nan")
    both = (status == Status.SOLVED) & given & (rule is None)
    for row in np.flatnonzero(both).tolist():
        problem = f"a success that has a reason for its failure ({_short(table.cell(row, REASON))})"
        place, fix = f"{table.where(row)}: {name}", "remove one of the two"
        raise InputError(problem, place=place, fix=fix)
    unclear = (status == _UNKNOWN) & ~given
    allowed = ALLOWED if rule is None else "a number, or nan"
    table.refuse(unclear & ~nothing, name, lambda cell: f"{_short(cell)} says neither", allowed)
    table.refuse(
        unclear & nothing & (not missing_fails),
        name,
        lambda cell: NOTHING if cell is None else f"{cell} says nothing",
        allowed,
        "if it failed, say so, or count all such rows as failed (--missing-fails); "
        "if it was never trained, remove the row",
    )
    why = {
        row: f"{name} is {number_of(table.cell(row, name))}"
        for row in np.flatnonzero(status == Status.DIVERGED).tolist()
    }
    why |= dict.fromkeys(np.flatnonzero(status == _UNKNOWN).tolist(), NOTHING)
    told = [" ".join(str(cell).split())[:MAX_REASON] for cell in reasons.cells]
    why |= {row: told[reasons.codes[row]] for row in np.flatnonzero(given).tolist()}
    status[given | (status == _UNKNOWN)] = Status.CRASHED
    return Verdicts(status, why, numbers)


def _rule(table: ResultsTable, success: str) -> Success:
    try:
        return parse_success(success)
    except InputError as error:
        if success.isidentifier():
            raise InputError(
                f"{table.source} has no column {success!r}",
                field="success",
                allowed=f"a column with {ALLOWED} in each row, or a rule such as 'accuracy >= 0.9'",
                fix=nearest(success, table.columns) + ", or give --success",
            ) from None
        raise error.at("success") from None


def _said(cell: Cell) -> int:
    if isinstance(cell, bool | int | float) and cell in (0, 1):
        return Status.SOLVED if cell else Status.WRONG_PATTERN
    return _SAID.get(cell.strip().lower(), _UNKNOWN) if isinstance(cell, str) else _UNKNOWN


def _judged(rule: Success, cell: Cell) -> int:
    number = number_of(cell)
    if number is None:
        return _UNKNOWN
    if not math.isfinite(number):
        return Status.DIVERGED
    return Status.SOLVED if rule.holds(number) else Status.WRONG_PATTERN


def _numbers_of(table: ResultsTable, name: str) -> NDArray[np.float64]:
    """A column of numbers, shape (R,): NaN where a row has none."""
    column = table.columns[name]
    table.refuse(
        column.where(lambda cell: cell is not None and number_of(cell) is None),
        name,
        lambda cell: f"{_short(cell)} is not a number",
        "a number, nan, or an empty cell",
        f"correct it, name {name!r} with --config, or leave it out with --ignore",
    )
    return column.numbers


# -------------------------------------------------------------------------------------------------
# A table of results as blocks of seeds: which columns are what, and what each row came to.

EPOCHS_TO_SOLVE, EPOCHS = "epochs_to_solve", "epochs"

MAX_EPOCHS = 2**31 - 1


@dataclass(frozen=True)
class ImportRequest:
    """Which columns are what.

    Attributes:
        success: the column that says whether a row is a success, or a rule for a column of numbers,
            such as `accuracy >= 0.9`.
        missing_fails: whether a row that does not say how it went is a failed seed; else refused.
    """

    config: tuple[str, ...]
    seed: str = "seed"
    success: str = SUCCESS
    ignore: tuple[str, ...] = ()
    missing_fails: bool = False


@dataclass(frozen=True, eq=False)
class Results:
    """What a table came to."""

    evaluations: tuple[Evaluation, ...]
    parameters: Mapping[str, CodedColumn]
    numbers: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def results_in(table: ResultsTable, asked: ImportRequest) -> Results:
    """Read a table.

    Raises:
        InputError: a column that is missing or named twice, a cell that cannot be read, two rows of
            one seed of one config.
    """
    _check_names(table, asked)
    parameters = {name: parameter_in(table, name) for name in asked.config}
    seeds = _seeds(table, asked.seed)
    verdicts = verdicts_in(table, asked.success, missing_fails=asked.missing_fails)
    counted = EPOCHS_TO_SOLVE in table.columns and EPOCHS_TO_SOLVE not in asked.config
    used = {*asked.config, asked.seed, *asked.ignore, asked.success, *verdicts.numbers, REASON}
    used |= {EPOCHS_TO_SOLVE} if counted else set()
    rest = [name for name in table.columns if name not in used]
    left_out = [
        name for name in rest if all(number_of(c) is None for c in table.columns[name].cells)
    ]
    numbers = {name: _numbers_of(table, name) for name in rest if name not in left_out}
    if len(numbers) > MAX_NAMES - 1:
        problem, allowed = f"{len(numbers)} columns of numbers", f"at most {MAX_NAMES - 1}"
        fix = "leave some out with --ignore"
        raise InputError(problem, place=table.source, allowed=allowed, fix=fix)
    epochs = np.zeros((2, table.count), np.int64)
    if counted:
        epochs = _epochs(table, parameters, verdicts)
    numbers = verdicts.numbers | numbers
    groups = _groups(table, parameters)
    _refuse_twice(table, asked, groups, seeds)
    evaluations = [
        Evaluation(number, block, outcome, None, True, 0.0, "imported")
        for number, (point, rows) in enumerate(groups.items())
        for block, outcome in _blocks(
            point, rows, seeds, verdicts=verdicts, numbers=numbers, epochs=epochs
        )
    ]
    return Results(
        tuple(evaluations),
        parameters,
        tuple(numbers),
        (*asked.ignore, *left_out),
        tuple(_notes(asked, parameters, left_out, groups, seeds)),
    )


def _check_names(table: ResultsTable, asked: ImportRequest) -> None:
    if not asked.config:
        raise _no_config(table, asked)
    given = {"config": asked.config, "seed": (asked.seed,), "ignore": asked.ignore}
    for option, names in given.items():
        for name in names:
            table.column(name, option)
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
    likely = [n for n in rest if 2 * len(table.columns[n].cells) <= table.count] or rest
    return InputError(
        "it is unknown which columns are the configuration",
        field="config",
        allowed=f"some of {', '.join(rest)}" if rest else "columns beside seed and success",
        fix=f"name them: --config {','.join(likely)}" if likely else "add a column for each",
    )


def _seeds(table: ResultsTable, name: str) -> NDArray[np.int64]:
    numbers = table.columns[name].numbers

    def problem(cell: Cell) -> str:
        whole = (number_of(cell) or 0.5).is_integer()
        other = f"seed {str(cell)[:60]}" if whole else f"{_short(cell)} is not a seed"
        return "a missing seed" if cell is None else other

    wrong = ~((numbers >= 0) & (numbers <= MAX_SEED) & (numbers == np.floor(numbers)))
    table.refuse(wrong, name, problem, "a whole number from 0 to 2**32 - 1")
    return numbers.astype(np.int64)


def _epochs(
    table: ResultsTable, parameters: Mapping[str, CodedColumn], verdicts: Verdicts
) -> NDArray[np.int64]:
    """The epoch from which each row is solved, and its budget: shape (2, R)."""
    if EPOCHS not in parameters or parameters[EPOCHS].kind != "whole number":
        raise InputError(
            f"{EPOCHS_TO_SOLVE} without a parameter {EPOCHS!r}: what a failed seed has cost is not "
            "known",
            place=table.source,
            allowed=f"a column {EPOCHS}, a whole number, among the configuration",
            fix=f"name it with --config, or leave the other out: --ignore {EPOCHS_TO_SOLVE}",
        )
    budgets = parameters[EPOCHS]
    wrong = budgets.where(lambda most: most is None or not 1 <= most <= MAX_EPOCHS)
    table.refuse(wrong, EPOCHS, lambda cell: f"{cell} epochs", f"1 to {MAX_EPOCHS:,}")
    budget = budgets.read(int, np.int64)
    found = table.columns[EPOCHS_TO_SOLVE].numbers
    solved = verdicts.status == Status.SOLVED  # a failure is counted with all its epochs
    wrong = solved & ~((found >= 1) & (found <= budget) & (found == np.floor(found)))
    most = budget[wrong.argmax()]
    table.refuse(
        wrong,
        EPOCHS_TO_SOLVE,
        lambda cell: "is missing for a success" if cell is None else _short(cell),
        f"a whole number from 1 to the row's {most} epochs",
    )
    return np.array([np.where(solved, found, 0), budget], np.int64)


def _groups(
    table: ResultsTable, parameters: Mapping[str, CodedColumn]
) -> dict[Point, NDArray[np.int64]]:
    """The rows of each config, in the order of their first rows."""
    columns = list(parameters.values())
    codes = np.stack([column.codes for column in columns])
    _, first, group = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    parts = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    found: dict[Point, NDArray[np.int64]] = {}
    for number in np.argsort(first).tolist():
        values = [
            column.cells[code]
            for column, code in zip(columns, codes[:, first[number]], strict=True)
        ]
        pairs = zip(parameters, values, strict=True)
        point = Point({name: value for name, value in pairs if value is not None})
        if not point:
            problem = "no parameter has a value in this row"
            raise InputError(problem, place=table.where(first[number]), allowed="at least one")
        rows = parts[number]
        found[point] = np.sort(np.append(found[point], rows)) if point in found else rows
    return found


def _refuse_twice(
    table: ResultsTable,
    asked: ImportRequest,
    groups: Mapping[Point, NDArray[np.int64]],
    seeds: NDArray[np.int64],
) -> None:
    for point, rows in groups.items():
        _, first, which = np.unique(seeds[rows], return_index=True, return_inverse=True)
        if len(first) == len(rows):
            continue
        place = int(np.flatnonzero(first[which] != np.arange(len(rows)))[0])
        before, row = int(rows[first[which[place]]]), int(rows[place])
        others = [
            name
            for name in table.columns
            if name not in {*asked.config, asked.seed}
            and table.cell(before, name) != table.cell(row, name)
        ]
        shown = ", ".join(f"{name} {value}" for name, value in point.items())
        fix = "leave one of the two out"
        if others:
            fix += f", or name a parameter that tells them apart ({', '.join(others[:5])})"
        raise InputError(
            f"seed {seeds[row]} of {shown} was already given in {table.where(before)}",
            place=table.where(row),
            allowed="one row for each config and seed",
            fix=fix,
        )


def _blocks(
    point: Point,
    rows: NDArray[np.int64],
    seeds: NDArray[np.int64],
    *,
    verdicts: Verdicts,
    numbers: Mapping[str, NDArray[np.float64]],
    epochs: NDArray[np.int64],
) -> Iterator[tuple[Block, Outcome]]:
    """The seeds of a config, ascending, as blocks without gaps, each with its outcome."""
    order = rows[np.argsort(seeds[rows], kind="stable")]
    for part in np.split(order, np.flatnonzero(np.diff(seeds[order]) != 1) + 1):
        values = {name: array[part] for name, array in numbers.items()}
        reasons = ((row, verdicts.reasons.get(row)) for row in part.tolist())
        failed = {int(seeds[row]): why for row, why in reasons if why is not None}
        outcome = Outcome(
            seeds=seeds[part],
            epochs=int(epochs[1, part[0]]),
            status=verdicts.status[part],
            solved_epoch=epochs[0, part].astype(np.int32),
            final_loss=np.full(part.size, np.nan, np.float32),
            predictions=np.zeros((part.size, 0), np.bool_),
            details=Details(values, failed) if values or failed else NO_DETAILS,
        )
        yield Block(point, int(seeds[part[0]]), part.size), outcome


def _notes(
    asked: ImportRequest,
    parameters: Mapping[str, CodedColumn],
    left_out: Sequence[str],
    groups: Mapping[Point, NDArray[np.int64]],
    seeds: NDArray[np.int64],
) -> Iterator[str]:
    for name, one in parameters.items():
        if one.why:
            yield f"{name} is read as text, for {one.why} is not a number"
    if left_out:
        yield f"not used, for they have no numbers: {', '.join(left_out)}"
    if len(groups) > 1 and all(len(rows) == 1 for rows in groups.values()):
        names = ", ".join(asked.config)
        yield (
            f"every configuration has one seed only: is a result among {names}? Only parameters "
            "belong there"
        )
    first, *others = groups.values()
    if any(not np.isin(seeds[rows], seeds[first]).any() for rows in others):
        yield (
            "some configurations share no seed with the first one: such two cannot be compared "
            "seed by seed, so more of them will look tied"
        )


# -------------------------------------------------------------------------------------------------
# The space file of a run that was imported: what was seen of each parameter, and no more.

MOST_VALUES = 20  # of numbers with more of them a range is written, from the least to the largest


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
    """YAML that `spaces.space.parse_space` reads."""
    given = {"name": name, "trainer": trainer, "success": success}
    lines = [
        f"# Made by `xortune import` of {json.dumps(source)}: what was seen there, in",
        f"# {configs} configurations. What they were chosen from is not known.",
        *(f"{key}: {json.dumps(text)}" for key, text in given.items() if text is not None),
        "parameters:",
        *(f"  {json.dumps(name)}: {_form(one)}" for name, one in results.parameters.items()),
        f"search: {{sampler: random, trials: {configs}}}",
        f"seeds: {{ladder: [{seeds}]}}",
    ]
    return "\n".join(lines) + "\n"


def _form(one: CodedColumn) -> str:
    # 1 and 1.0 are one value, true and 1 are two.
    seen = list({(isinstance(v, bool), v): v for v in one.cells if v is not None}.values())
    if len(seen) == 1:
        return json.dumps({"value": seen[0]})
    numbers = [v for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(seen) or len(seen) <= MOST_VALUES:
        return json.dumps({"choice": sorted(numbers) if len(numbers) == len(seen) else seen})
    low, high = min(numbers), max(numbers)
    if any(isinstance(number, float) for number in numbers):
        low, high = float(low), float(high)
    return json.dumps({"low": low, "high": high})
