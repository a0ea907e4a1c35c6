"""Numbers and reasons of seeds as columns: of a trainer of the user's own; others have none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xortune.objective_numbers import numbers_in, summed, summed_interval
from xortune.outcome_details import NO_DETAILS
from xortune.stats_values import STATISTICS, finite, summary

if TYPE_CHECKING:
    from xortune.outcome import Outcome
    from xortune.space_model import Objective

__all__ = [
    "NOTHING_MORE",
    "REASON",
    "More",
    "config_columns",
    "more_of",
    "objective_columns",
    "seed_columns",
]

REASON = "reason"


@dataclass(frozen=True)
class More:
    """What some outcomes have beside what all have.

    Attributes:
        names: of their numbers, in the order in which they are met.
        reasons: whether a seed has a reason why it failed.
    """

    names: tuple[str, ...] = ()
    reasons: bool = False


NOTHING_MORE = More()


def more_of(outcomes: Sequence[Outcome]) -> More:
    """What they have."""
    detailed = [o.details for o in outcomes if o.details is not NO_DETAILS]
    if not detailed:
        return NOTHING_MORE
    names = {name: None for details in detailed for name in details.values}
    return More(tuple(names), any(details.failed for details in detailed))


def seed_columns(
    outcomes: Sequence[Outcome], more: More, taken: Collection[str]
) -> dict[str, NDArray[Any] | list[str | None]]:
    """A float64 column for each number (NaN where a seed has none), then `reason` (or None).

    Args:
        outcomes: whose seeds they are, in this order.
        more: what to make; a table that is made in parts has the same columns in each.
        taken: names of other columns; a number of that name is `value_NAME`.
    """
    columns: dict[str, NDArray[Any] | list[str | None]] = {}
    for name in more.names:
        parts = [o.details.values.get(name, np.full(o.n, np.nan)) for o in outcomes]
        column = _free(name, {*taken, *columns, REASON})
        columns[column] = np.concatenate([np.empty(0), *parts])
    if more.reasons:
        columns[REASON] = [
            reason for o in outcomes for reason in map(o.details.failed.get, o.seeds.tolist())
        ]
    return columns


def config_columns(outcomes: Sequence[Outcome], taken: Collection[str]) -> dict[str, NDArray[Any]]:
    """For each number NAME_n, the seeds that have it, and NAME_mean and so on; see `STATISTICS`.

    Args:
        outcomes: of the configs, in this order.
        taken: names of other columns.
    """
    columns: dict[str, NDArray[Any]] = {}
    for name in more_of(outcomes).names:
        known = [finite(o.details.values.get(name, np.empty(0))) for o in outcomes]
        found = [summary(numbers) for numbers in known]
        endings = ("n", *STATISTICS)
        base = name
        while any(f"{base}_{ending}" in {*taken, *columns} for ending in endings):
            base = f"value_{base}"
        columns[f"{base}_n"] = np.array([numbers.size for numbers in known], np.int64)
        for ending in STATISTICS:
            columns[f"{base}_{ending}"] = np.array([one[ending] for one in found])
    return columns


def objective_columns(
    outcomes: Sequence[Outcome], objective: Objective, taken: Collection[str]
) -> dict[str, NDArray[Any]]:
    """`objective`, of all seeds, with `objective_low` and `objective_high`, its 95 % interval.

    Empty where failed seeds decide it, and an end of the interval also where the seeds are too few
    for one; see `stats_values.interval_of_all`.

    Args:
        outcomes: of the configs, in this order.
        objective: one with a number.
        taken: names of other columns.
    """
    rows = np.full((len(outcomes), 3), np.nan)
    for row, outcome in zip(rows, outcomes, strict=True):
        numbers = numbers_in(outcome, objective.number or "")
        row[0] = summed(objective, numbers)
        row[1:] = summed_interval(objective, numbers) or (np.nan, np.nan)
    rows[np.isinf(rows)] = np.nan
    base = "objective"
    while any(f"{base}{ending}" in taken for ending in ("", "_low", "_high")):
        base = f"value_{base}"
    return {f"{base}{ending}": rows[:, i] for i, ending in enumerate(("", "_low", "_high"))}


def _free(name: str, taken: Collection[str]) -> str:
    while name in taken:
        name = f"value_{name}"
    return name
