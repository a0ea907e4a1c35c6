"""Objectives on numbers that a user's own trainer tells of each seed: `accuracy_q10`, `loss_mean`.

Every seed counts. One that failed, or has no finite number, counts as what the objective says of it
(`failed`), else as worse than any number: a mean is infinitely bad as soon as one seed failed, a
quantile where it falls on a failed seed. None is left out, and none is averaged away.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.outcome import Outcome, Status
from xortune.space_model import Objective
from xortune.stats_values import interval_of_all, of_all

__all__ = [
    "Numbers",
    "counted",
    "numbers_in",
    "numbers_named",
    "summed",
    "summed_interval",
    "summed_only",
    "ties_of",
    "told_of",
]

Numbers: TypeAlias = Sequence[float] | NDArray[np.float64]
"""Of each seed; NaN where it failed."""

BEYOND = 1e300
"""What a sampler is told of failed seeds lies further off than this, and a number never does."""

NEXT_TO_NOTHING = 1e-6
"""Of a value, for the share of seeds that failed."""


def numbers_named(objectives: Iterable[Objective]) -> tuple[str, ...]:
    """The numbers that objectives sum up, or tell ties apart by, each once."""
    summed = [one for o in objectives for one in (o, o.ties) if one is not None]
    return tuple(dict.fromkeys(one.number for one in summed if one.number is not None))


def numbers_in(outcome: Outcome, name: str) -> NDArray[np.float64]:
    """float64, shape (S,): a number of each seed; NaN where the seed failed or has none."""
    return counted(outcome.details.values.get(name), outcome.status)


def counted(numbers: NDArray[np.float64] | None, status: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64, shape (S,): the numbers of seeds that did not fail and have a finite one, else NaN.

    Args:
        numbers: shape (S,); None if there are none.
        status: shape (S,), a `Status` for each.
    """
    if numbers is None:
        return np.full(status.shape, np.nan)
    return np.where(np.isfinite(numbers) & (status < Status.DIVERGED), numbers, np.nan)


def summed_only(objectives: Sequence[Objective]) -> Objective | None:
    """The objective, if a number of a user's own trainer is all that is looked for; else None."""
    return objectives[0] if len(objectives) == 1 and objectives[0].number is not None else None


def ties_of(objectives: Sequence[Objective]) -> Objective | None:
    """What tells configs of the same count apart, if a number does; see `Objective.ties`."""
    return objectives[0].ties if len(objectives) == 1 else None


def told_of(objective: Objective, numbers: Numbers) -> float:
    """What a sampler is told: `summed`, or a finite number where that is infinite.

    That is worse than any, and the worse the more of the seeds failed: so a search that has seen
    nothing else knows in which direction to go. For the same reason of equal ones those are told as
    better, by next to nothing, of which fewer seeds failed: see `benchmarks/failed_seeds.py`.
    """
    value = summed(objective, numbers)
    share = float(np.isnan(np.asarray(numbers, np.float64)).mean())
    if not math.isfinite(value):
        return math.copysign(BEYOND * (1 + share), value)
    value = min(max(value, -BEYOND / 2), BEYOND / 2)
    worse = NEXT_TO_NOTHING * share * max(1.0, abs(value))
    return value - worse if objective.maximize else value + worse


def _with_failed(objective: Objective, numbers: Numbers) -> NDArray[np.float64]:
    worst = -math.inf if objective.maximize else math.inf
    given = np.asarray(numbers, np.float64)
    failed = worst if objective.failed is None else float(objective.failed)
    # Sorted: a sum that depends on the order of results would not be the same twice.
    return np.sort(np.where(np.isnan(given), failed, given))


def summed(objective: Objective, numbers: Numbers) -> float:
    """What a config is worth: its statistic of all seeds, infinite where failed ones decide it.

    Args:
        objective: one with a number.
        numbers: of each seed, at least one; NaN where it failed.
    """
    assert objective.statistic is not None
    return float(of_all(_with_failed(objective, numbers), objective.statistic))


def summed_interval(objective: Objective, numbers: Numbers) -> tuple[float, float] | None:
    """Its 95 % interval over all seeds; see `stats_values.interval_of_all`."""
    assert objective.statistic is not None
    return interval_of_all(_with_failed(objective, numbers), objective.statistic)
