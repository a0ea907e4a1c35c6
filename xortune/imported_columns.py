"""Columns of a table of results that are no parameters: how each row went, and its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError, nearest
from xortune.evaluation_details import MAX_NAMES, MAX_REASON
from xortune.imported_table import Cell, Table, number_of
from xortune.outcome import Status
from xortune.success import Success, parse_success

__all__ = ["REASON", "SUCCESS", "Numbers", "Verdicts", "numbers_in", "verdicts_in"]

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
class Numbers:
    """Columns of numbers.

    Attributes:
        values: by name, float64 of shape (R,): NaN where a row has none.
        left_out: columns without a number.
    """

    values: Mapping[str, NDArray[np.float64]]
    left_out: tuple[str, ...] = ()


def verdicts_in(table: Table, success: str, *, missing_fails: bool) -> Verdicts:
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


def numbers_in(table: Table, names: Sequence[str]) -> Numbers:
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
    return Numbers(values, tuple(left_out))


def _reasons(table: Table) -> dict[int, str]:
    cells = table.columns.get(REASON, [])
    return {
        row: " ".join(cell.split())[:MAX_REASON]
        for row, cell in enumerate(cells)
        if isinstance(cell, str) and cell.strip()
    }


def _said(table: Table, name: str, reasons: dict[int, str], *, missing_fails: bool) -> Verdicts:
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
    table: Table, rule: Success, reasons: dict[int, str], *, missing_fails: bool
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


def _no_verdict(table: Table, row: int, name: str, allowed: str) -> InputError:
    cell = table.columns[name][row]
    if not _is_nothing(cell):
        return InputError(
            f"{str(cell)[:60]!r} says neither", place=table.cell(row, name), allowed=allowed
        )
    return InputError(
        "nothing says how this seed went" if cell is None else f"{cell} says nothing",
        place=table.cell(row, name),
        allowed=allowed,
        fix="if it failed, say so, or count all such rows as failed (--missing-fails, "
        "missing_fails=True); if it was never trained, remove the row",
    )


def _no_number(table: Table, row: int, name: str) -> InputError:
    return InputError(
        f"{str(table.columns[name][row])[:60]!r} is no number",
        place=table.cell(row, name),
        allowed="a number, nan, or an empty cell",
        fix=f"correct it, name {name!r} with --config, or leave it out with --ignore",
    )


def _both(table: Table, row: int, name: str, reason: str) -> InputError:
    return InputError(
        f"a success that has a reason for its failure ({reason[:60]!r})",
        place=table.cell(row, name),
        fix="remove one of the two",
    )
