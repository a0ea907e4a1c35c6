"""A table of results as blocks of seeds: which columns are what, and what each row came to.

Every row is one seed of one config, and is counted once. What cannot be read is refused with its
line and column; a row is never left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError
from xortune.evaluation import Evaluation
from xortune.imported_columns import REASON, SUCCESS, Numbers, Verdicts, numbers_in, verdicts_in
from xortune.imported_table import Table, Typed, number_of, typed
from xortune.outcome import MAX_SEED, Outcome, Status
from xortune.outcome_details import NO_DETAILS, Details
from xortune.point import Point, Value
from xortune.trainer import Block

__all__ = ["Asked", "Results", "results_in"]

EPOCHS_TO_SOLVE, EPOCHS = "epochs_to_solve", "epochs"

MAX_EPOCHS = 2**31 - 1


@dataclass(frozen=True)
class Asked:
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
class _Rows:
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
    numbers: Numbers
    solved_epoch: NDArray[np.int32]
    budget: NDArray[np.int64]


def results_in(table: Table, asked: Asked) -> Results:
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
    rows = _Rows(seeds, verdicts, Numbers({**judged, **numbers.values}), solved_epoch, budget)
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


def _check_names(table: Table, asked: Asked) -> None:
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


def _no_config(table: Table, asked: Asked) -> InputError:
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


def _seeds(table: Table, name: str) -> NDArray[np.int64]:
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
    table: Table, parameters: Mapping[str, Typed], verdicts: Verdicts, *, counted: bool
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


def _groups(table: Table, parameters: Mapping[str, Typed]) -> dict[Point, list[int]]:
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
    table: Table, asked: Asked, groups: Mapping[Point, list[int]], seeds: NDArray[np.int64]
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


def _blocks(point: Point, members: Sequence[int], rows: _Rows) -> list[tuple[Block, Outcome]]:
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
    asked: Asked,
    parameters: Mapping[str, Typed],
    numbers: Numbers,
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
