"""Turns a table of results from elsewhere into blocks of seeds and a space file.

Every row is one seed of one configuration and counts once. Nothing is guessed except the types of
text columns, which are reported. A cell that cannot be read is refused with its line and column; no
row is left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.core.errors import InputError, kind_of, nearest, refuse_unknown
from xortune.core.files import reading
from xortune.core.outcome import NO_DETAILS, Details, Outcome, Status
from xortune.core.point import Point, Value
from xortune.core.seeds import MAX_SEED
from xortune.core.success import Rule, judged_numbers, parse_success
from xortune.core.tables import Cell, csv_rows, number_of
from xortune.core.trainer import Block
from xortune.runs.evaluation import MAX_NAMES, MAX_REASON, Evaluation

# -------------------------------------------------------------------------------------------------
# Each source as a table: a CSV file, a parquet file, a DataFrame, columns of values.


@dataclass(frozen=True, eq=False)
class ResultsTable:
    """Results from elsewhere.

    Attributes:
        columns: R cells for each column, by its name, in the order of the table.
        places: of the rows in the source, as `label` says: lines of a file, trials of a study.
        sha256: of the file, or of the values.
    """

    source: str
    columns: Mapping[str, Sequence[Cell]]
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

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column, shape (R,): NaN where a cell is no number."""
        return np.array([number_of(cell) for cell in self.columns[name]], np.float64)

    def error(
        self, row: int, name: str, problem: str, allowed: str | None = None, fix: str | None = None
    ) -> InputError:
        """What is wrong with the cell of a row."""
        place = f"{self.where(row)}: {name}"
        return InputError(problem, place=place, allowed=allowed, fix=fix)

    def refuse(
        self,
        wrong: Sequence[bool] | NDArray[np.bool_],
        name: str,
        problem: Callable[[Cell], str],
        allowed: str | None = None,
        fix: str | None = None,
    ) -> None:
        """Refuse the first row that is wrong, if any of the R rows is."""
        for row in np.flatnonzero(wrong)[:1].tolist():
            raise self.error(row, name, problem(self.columns[name][row]), allowed, fix)


def table_of(source: object) -> tuple[ResultsTable, str]:
    """The table in a file or a DataFrame, and a name for it.

    Raises:
        InputError: it is neither, or cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return _table_of_frame(source, "a DataFrame"), "imported"
    if not isinstance(source, str | os.PathLike):
        allowed = "the path of a CSV or parquet file, a DataFrame"
        raise InputError(kind_of(source), field="source", allowed=allowed)
    path = Path(source)
    if path.suffix != ".parquet":
        return read_table(path), path.stem
    with reading(path):
        content = path.read_bytes()
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except ValueError as error:  # of pyarrow
        raise InputError(f"is not a parquet file ({error})", place=str(path)) from None
    return _table_of_frame(frame, str(path), content), path.stem


def read_table(path: Path) -> ResultsTable:
    """Read a CSV file. Its cells are text; an empty one is None.

    Raises:
        InputError: as `csv_rows`.
    """
    (_, header), *rows = csv_rows(path)
    cells = zip(*(row for _, row in rows), strict=True)
    columns = {
        name: [c or None for c in column] for name, column in zip(header, cells, strict=True)
    }
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return ResultsTable(str(path), columns, [line for line, _ in rows], sha256)


def _table_of_frame(frame: pd.DataFrame, source: str, content: bytes | None = None) -> ResultsTable:
    """The cells of a DataFrame, without its index; `content` of its file."""
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

    columns = {name: list(map(plain, frame[name].tolist())) for name in names}
    return table_of_values(columns, source, range(len(frame)), ", row ", content)


def table_of_values(
    columns: Mapping[str, Sequence[Cell]],
    source: str,
    places: Sequence[int],
    label: str,
    content: bytes | None = None,
) -> ResultsTable:
    """The table of columns of values; `content` of the file that they come from."""
    digest = hashlib.sha256(repr(columns).encode() if content is None else content)
    return ResultsTable(source, columns, places, digest.hexdigest(), label)


# -------------------------------------------------------------------------------------------------
# Reading cells: numbers, parameters with their types, and the status of each row.

_WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,299})", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_KINDS: dict[str, Callable[[str], Value]] = {
    "true or false": lambda text: {"true": True, "false": False}.get(text.lower()),
    "whole number": lambda text: int(text) if _WHOLE.fullmatch(text) else None,
    "number": lambda text: float(text) if _NUMBER.fullmatch(text) else None,
}
"""Kinds of a text column, by the function that reads a cell, or returns None. The first kind that
reads all cells is the column's."""

_KIND_OF = {bool: "true or false", int: "whole number", float: "number", str: "text"}


FINITE_OR_EMPTY = "a finite number as a parameter, or an empty cell where it does not apply"


class ConfigColumn(NamedTuple):
    """A column of the configuration, read as its type.

    Attributes:
        values: of R rows; None where the row lacks the parameter.
        kind: whole number, number, true or false, text, or (of a DataFrame) mixed.
        why: of a text, some cells of which are numbers: the first that is not.
    """

    values: list[Value]
    kind: str
    why: str = ""


def parameter_in(table: ResultsTable, name: str) -> ConfigColumn:
    """A column as a parameter."""
    cells = [None if isinstance(c, float) and math.isnan(c) else c for c in table.columns[name]]
    present = [cell for cell in cells if cell is not None]
    if not present:
        fix = "do not name it as a parameter"
        raise InputError("is empty in every row", place=f"{table.where(0)}: {name}", fix=fix)
    kind, why = "text", ""
    if not table.is_file:
        table.refuse(
            [not isinstance(cell, bool | int | float | str | None) for cell in cells],
            name,
            lambda cell: f"{_short(cell)} is {kind_of(cell)}",
            "a number, a text, true or false",
        )
        kinds = {_KIND_OF.get(type(cell), "mixed") for cell in present}
        if kinds == {"whole number", "number"}:
            kinds = {"number"}
        kind = kinds.pop() if len(kinds) == 1 else "mixed"
    elif found := next((k for k, read in _KINDS.items() if None not in map(read, present)), None):
        kind = found
        cells = [None if cell is None else _KINDS[kind](cell) for cell in cells]
    elif any(map(_NUMBER.fullmatch, present)):
        odd = (cell is not None and not _NUMBER.fullmatch(cell) for cell in cells)
        row = next(row for row, is_odd in enumerate(odd) if is_odd)
        why = f"{cells[row]!r} in {table.where(row)}"
        if not math.isfinite(number_of(cells[row]) or 0):
            raise table.error(row, name, f"{cells[row]} is not finite", FINITE_OR_EMPTY)
    table.refuse(
        [isinstance(value, float) and not math.isfinite(value) for value in cells],
        name,
        lambda cell: f"{cell} is not finite",
        FINITE_OR_EMPTY,
    )
    return ConfigColumn(cells, kind, why)


def _short(cell: Cell) -> str:
    return repr(str(cell)[:60])


SUCCESS, REASON = "success", "reason"

ALLOWED = "true, false, 1 or 0"

NO_STATUS = "nothing says how this seed went"

_STATUSES = {"true": Status.SOLVED, "1": Status.SOLVED}
_STATUSES |= {"false": Status.WRONG_PATTERN, "0": Status.WRONG_PATTERN}


class Verdicts(NamedTuple):
    """The result of each of R rows: `Status` as uint8, why rows failed, and a rule's numbers."""

    status: NDArray[np.uint8]
    reasons: dict[int, str]
    numbers: dict[str, NDArray[np.float64]]


def _verdicts_in(table: ResultsTable, success: str, *, missing_fails: bool) -> Verdicts:
    """Which rows are successes.

    If there is a column `success`, its cells are true, false, 1 or 0. Otherwise it is a rule such
    as `accuracy >= 0.9`, and a number that is not finite is a seed that diverged. A row with a text
    in the column `reason` crashed, and is no success.
    """
    rule = None if success in table.columns else _rule(table, success)
    numbers = {name: _numbers_of(table, name) for name in rule.names} if rule else {}
    solved = np.asarray(rule.judge(numbers)) if rule else np.empty(0)
    statuses, reasons = np.empty(len(table.places), np.uint8), dict[int, str]()
    texts = table.columns.get(REASON, [None] * len(statuses))
    for row, text in enumerate(texts):
        name, cell, why = success, None, ""
        status: Status | None
        if rule is None:
            cell = table.columns[success][row]
            status = _status_of(cell)
        else:
            status = Status.SOLVED if solved[row] else Status.WRONG_PATTERN
            odd = [one for one in numbers if not math.isfinite(numbers[one][row])]
            if odd:
                status, why = Status.DIVERGED, f"{odd[0]} is {numbers[odd[0]][row]}"
            if missing := [one for one in odd if table.columns[one][row] is None]:
                status, name = None, missing[0]
        if isinstance(text, str) and text.strip():
            if rule is None and status == Status.SOLVED:
                problem = "a success that has a reason for its failure"
                raise table.error(row, name, problem, fix="remove one of the two")
            status, why = Status.CRASHED, " ".join(text.split())[:MAX_REASON]
        if status is None:
            allowed = "a number, or nan" if rule else ALLOWED
            if cell is not None and str(cell).strip().lower() != "nan":
                raise table.error(row, name, f"{_short(cell)} says neither", allowed)
            if not missing_fails:
                raise table.error(
                    row,
                    name,
                    NO_STATUS if cell is None else f"{cell} says nothing",
                    allowed,
                    "if it failed, say so, or count all such rows as failed (--missing-fails); "
                    "if it was never trained, remove the row",
                )
            status, why = Status.CRASHED, NO_STATUS
        statuses[row] = status
        if why:
            reasons[row] = why
    return Verdicts(statuses, reasons, numbers)


def _rule(table: ResultsTable, success: str) -> Rule:
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
    for name in rule.names:
        _refuse_absent(table, name, "success")
    return rule


def _status_of(cell: Cell) -> Status | None:
    if isinstance(cell, bool | int | float) and cell in (0, 1):
        return Status.SOLVED if cell else Status.WRONG_PATTERN
    return _STATUSES.get(cell.strip().lower()) if isinstance(cell, str) else None


def _numbers_of(table: ResultsTable, name: str) -> NDArray[np.float64]:
    """A column of numbers, shape (R,): NaN where a row has none."""
    table.refuse(
        [cell is not None and number_of(cell) is None for cell in table.columns[name]],
        name,
        lambda cell: f"{_short(cell)} is not a number",
        "a number, nan, or an empty cell",
        f"correct it, name {name!r} with --config, or leave it out with --ignore",
    )
    return table.numbers(name)


# -------------------------------------------------------------------------------------------------
# A table of results as blocks of seeds.

EPOCHS_TO_SOLVE, EPOCHS = "epochs_to_solve", "epochs"

MAX_EPOCHS = 2**31 - 1


@dataclass(frozen=True)
class ImportRequest:
    """Roles of the columns: config, seed, success, ignored.

    Attributes:
        success: the column that says whether a row is a success, or a rule for a column of numbers,
            such as `accuracy >= 0.9`.
        missing_fails: whether a row without a success is a failed seed; otherwise it is refused.
    """

    config: tuple[str, ...]
    seed: str = "seed"
    success: str = SUCCESS
    ignore: tuple[str, ...] = ()
    missing_fails: bool = False


@dataclass(frozen=True, eq=False)
class Results:
    """The evaluations in a table, and what its columns are."""

    evaluations: tuple[Evaluation, ...]
    parameters: Mapping[str, ConfigColumn]
    numbers: tuple[str, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def results_in(table: ResultsTable, request: ImportRequest) -> Results:
    """Read a table.

    Raises:
        InputError: a column is missing or named twice, a cell cannot be read, or two rows have the
            same configuration and seed.
    """
    _check_names(table, request)
    parameters = {name: parameter_in(table, name) for name in request.config}
    seeds = _seeds(table, request.seed)
    verdicts = _verdicts_in(table, request.success, missing_fails=request.missing_fails)
    has_epochs = EPOCHS_TO_SOLVE in table.columns and EPOCHS_TO_SOLVE not in request.config
    used = {*request.config, request.seed, *request.ignore, request.success, *verdicts.numbers}
    used |= {REASON, EPOCHS_TO_SOLVE} if has_epochs else {REASON}
    rest = [name for name in table.columns if name not in used]
    left_out = [name for name in rest if all(number_of(c) is None for c in table.columns[name])]
    numbers = {name: _numbers_of(table, name) for name in rest if name not in left_out}
    if len(numbers) > MAX_NAMES - 1:
        problem, allowed = f"{len(numbers)} columns of numbers", f"at most {MAX_NAMES - 1}"
        fix = "leave some out with --ignore"
        raise InputError(problem, place=table.source, allowed=allowed, fix=fix)
    numbers = verdicts.numbers | numbers
    epochs = np.zeros((2, len(table.places)), np.int64)
    if has_epochs:
        epochs = _epochs(table, parameters, verdicts)
    groups = _groups(table, parameters)
    _refuse_twice(table, request, groups, seeds)
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
        (*request.ignore, *left_out),
        tuple(_notes(request, parameters, left_out, groups, seeds)),
    )


def _check_names(table: ResultsTable, request: ImportRequest) -> None:
    if not request.config:
        raise _no_config(table, request)
    given = {"config": request.config, "seed": (request.seed,), "ignore": request.ignore}
    for option, names in given.items():
        for name in names:
            _refuse_absent(table, name, option)
    several = [*request.config, request.seed, *request.ignore]
    for name in several:
        if several.count(name) > 1:
            raise InputError(
                f"column {name!r} is named twice", field="config", fix="name each column once"
            )


def _refuse_absent(table: ResultsTable, name: str, option: str) -> None:
    problem = f"{table.source} has no column {name!r}"
    refuse_unknown(name, table.columns, problem, field=option)


def _no_config(table: ResultsTable, request: ImportRequest) -> InputError:
    """The error if no parameter is named, with the columns that may be parameters."""
    others = {request.seed, request.success, EPOCHS_TO_SOLVE, REASON, *request.ignore}
    others |= {*judged_numbers(request.success)}
    rest = [name for name in table.columns if name not in others]
    return InputError(
        "it is unknown which columns are the configuration",
        field="config",
        allowed=f"some of {', '.join(rest)}" if rest else "columns beside seed and success",
        fix=f"name them: --config {','.join(rest)}" if rest else "add a column for each",
    )


def _seeds(table: ResultsTable, name: str) -> NDArray[np.int64]:
    """The seed of each row: shape (R,)."""
    numbers = table.numbers(name)

    def problem(cell: Cell) -> str:
        if cell is None:
            return "a missing seed"
        is_whole = (number_of(cell) or 0.5).is_integer()
        return f"seed {str(cell)[:60]}" if is_whole else f"{_short(cell)} is not a seed"

    wrong = ~((numbers >= 0) & (numbers <= MAX_SEED) & (numbers == np.floor(numbers)))
    table.refuse(wrong, name, problem, "a whole number from 0 to 2**32 - 1")
    return numbers.astype(np.int64)


def _epochs(
    table: ResultsTable, parameters: Mapping[str, ConfigColumn], verdicts: Verdicts
) -> NDArray[np.int64]:
    """The first epoch from which each row is solved (0: never), and its budget: shape (2, R)."""
    if EPOCHS not in parameters or parameters[EPOCHS].kind != "whole number":
        raise InputError(
            f"{EPOCHS_TO_SOLVE} without a parameter {EPOCHS!r}: what a failed seed has cost is not "
            "known",
            place=table.source,
            allowed=f"a column {EPOCHS}, a whole number, among the configuration",
            fix=f"name it with --config, or leave the other out: --ignore {EPOCHS_TO_SOLVE}",
        )
    budgets = parameters[EPOCHS].values
    wrong_budget = [not (isinstance(e, int) and 1 <= e <= MAX_EPOCHS) for e in budgets]
    table.refuse(wrong_budget, EPOCHS, lambda cell: f"{cell} epochs", f"1 to {MAX_EPOCHS:,}")
    budget, found = np.array(budgets, np.int64), table.numbers(EPOCHS_TO_SOLVE)
    solved = verdicts.status == Status.SOLVED  # a failed seed has cost all its epochs
    wrong = solved & ~((found >= 1) & (found <= budget) & (found == np.floor(found)))
    table.refuse(
        wrong,
        EPOCHS_TO_SOLVE,
        lambda cell: "is missing for a success" if cell is None else _short(cell),
        f"a whole number from 1 to the row's {budget[wrong.argmax()]} epochs",
    )
    return np.array([np.where(solved, found, 0), budget], np.int64)


def _groups(
    table: ResultsTable, parameters: Mapping[str, ConfigColumn]
) -> dict[Point, NDArray[np.int64]]:
    """The rows of each configuration, in the order of their first rows."""
    known: dict[tuple[str, ...], Point] = {}
    found: dict[Point, list[int]] = {}
    for row, values in enumerate(zip(*(one.values for one in parameters.values()), strict=True)):
        texts = tuple(map(repr, values))
        if texts not in known:
            pairs = zip(parameters, values, strict=True)
            known[texts] = Point({name: value for name, value in pairs if value is not None})
            if not known[texts]:
                problem = "no parameter has a value in this row"
                raise InputError(problem, place=table.where(row), allowed="at least one")
        found.setdefault(known[texts], []).append(row)
    return {point: np.array(rows, np.int64) for point, rows in found.items()}


def _refuse_twice(
    table: ResultsTable,
    request: ImportRequest,
    groups: Mapping[Point, NDArray[np.int64]],
    seeds: NDArray[np.int64],
) -> None:
    for point, rows in groups.items():
        again = pd.Series(seeds[rows]).duplicated().to_numpy()
        if not again.any():
            continue
        row = rows[again.argmax()]
        before = rows[(seeds[rows] == seeds[row]).argmax()]
        differing = [
            name
            for name, column in table.columns.items()
            if name not in {*request.config, request.seed} and column[before] != column[row]
        ]
        shown = ", ".join(f"{name} {value}" for name, value in point.items())
        fix = "leave one of the two out"
        if differing:
            fix += f", or name a parameter that tells them apart ({', '.join(differing[:5])})"
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
    """The seeds of a configuration, ascending, as blocks without gaps, each with its outcome."""
    order = rows[np.argsort(seeds[rows], kind="stable")]
    for part in np.split(order, np.flatnonzero(np.diff(seeds[order]) != 1) + 1):
        values = {name: array[part] for name, array in numbers.items()}
        failed = {
            int(seeds[row]): verdicts.reasons[row]
            for row in part.tolist()
            if row in verdicts.reasons
        }
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
    request: ImportRequest,
    parameters: Mapping[str, ConfigColumn],
    left_out: Sequence[str],
    groups: Mapping[Point, NDArray[np.int64]],
    seeds: NDArray[np.int64],
) -> Iterator[str]:
    for name, column in parameters.items():
        if column.why:
            yield f"{name} is read as text, for {column.why} is not a number"
    if left_out:
        yield f"not used, because they have no numbers: {', '.join(left_out)}"
    if len(groups) > 1 and all(len(rows) == 1 for rows in groups.values()):
        names = ", ".join(request.config)
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
# The space file of an imported run: the values of each parameter in the table, and no others.

MAX_CHOICES = 20  # numbers of a parameter with more values become a range


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


def _form(column: ConfigColumn) -> str:
    # 1 and 1.0 are one value, true and 1 are two.
    seen = list({(isinstance(v, bool), v): v for v in column.values if v is not None}.values())
    if len(seen) == 1:
        return json.dumps({"value": seen[0]})
    numbers = [v for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(seen) or len(seen) <= MAX_CHOICES:
        return json.dumps({"choice": sorted(numbers) if len(numbers) == len(seen) else seen})
    low, high = min(numbers), max(numbers)
    if any(isinstance(number, float) for number in numbers):
        low, high = float(low), float(high)
    return json.dumps({"low": low, "high": high})
