"""Objectives: numbers from counts, epochs and a trainer's own numbers; the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.outcome import Outcome, counted
from xortune.core.point import Point
from xortune.spaces.model import EPOCHS_TO_SOLVE, SUCCESS_RATE, Objective
from xortune.stats.numbers import interval_of_all, of_all, quantile_share

# -------------------------------------------------------------------------------------------------
# Objectives on numbers that a user's own trainer tells of each seed: `accuracy_q10`, `loss_mean`.
#
# Every seed counts. One that failed, or has no finite number, counts as what the objective says of
# it (`failed`), else as worse than any number: a mean is infinitely bad as soon as one seed
# failed, a quantile where it falls on a failed seed. None is left out, and none is averaged away.

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
    """What a config is worth: its statistic of all seeds, infinite where failed ones decide it."""
    assert objective.statistic is not None
    return of_all(_with_failed(objective, numbers), objective.statistic)


def seed_costs(objective: Objective, numbers: Numbers) -> NDArray[np.float64]:
    """Of each seed its number, turned so that less is better; ascending, failed ones included."""
    given = _with_failed(objective, numbers)
    return -given[::-1] if objective.maximize else given


def cost_share(objective: Objective) -> float | None:
    """Of `seed_costs` the quantile that an objective is; None if it is a mean."""
    share = quantile_share(objective.statistic or "mean")
    return share if share is None or not objective.maximize else 1 - share


def summed_interval(objective: Objective, numbers: Numbers) -> tuple[float, float] | None:
    """Its 95 % interval over all seeds; see `numbers.interval_of_all`."""
    assert objective.statistic is not None
    return interval_of_all(_with_failed(objective, numbers), objective.statistic)


LONGEST = 2**31
"""Epochs: no training has more, since a seed's epoch is an int32."""


@dataclass(frozen=True)
class Seen:
    """What has been seen of a config.

    Attributes:
        n: seeds, crashed ones included; at least 1.
        spent: epochs until each seed was solved for good, unsolved ones at the full budget, summed;
            that of crashed ones as far as it is known.
        numbers: by name those that are looked for, one for each seed; NaN where it failed.
    """

    point: Point
    successes: int
    n: int
    spent: int
    numbers: Mapping[str, Sequence[float] | NDArray[np.float64]] = field(default_factory=dict)


def seen_of(point: Point, outcome: Outcome, objectives: Iterable[Objective]) -> Seen:
    """What an outcome is for these objectives."""
    numbers = {name: numbers_in(outcome, name) for name in numbers_named(objectives)}
    return Seen(point, outcome.successes, outcome.n, outcome.epochs_spent, numbers)


def only_rate(objectives: Sequence[Objective]) -> bool:
    """Whether the success rate is all that is looked for."""
    return [objective.name for objective in objectives] == [SUCCESS_RATE]


def told(objectives: Sequence[Objective], seen: Seen) -> tuple[float, ...]:
    """One finite number for each objective, in their order and of their direction.

    A success rate alone is told as `worth`, for there is nothing else to tell ties apart. Beside
    others it is `expected`; epochs to solve are `epochs_told`; a parameter is its own value; of a
    statistic of numbers `told_of`.
    """
    if only_rate(objectives):
        return (worth(seen.successes, seen.n, liking(objectives, seen)),)
    return tuple(_told(objective, seen) for objective in objectives)


def names_told(objectives: Sequence[Objective]) -> list[str]:
    """What each of the numbers that are `told` is, for people who look at a sampler's study."""
    known = {SUCCESS_RATE: "expected success rate", EPOCHS_TO_SOLVE: "ln of epochs to solve"}
    if only_rate(objectives):
        ties = ties_of(objectives)
        known[SUCCESS_RATE] += (
            ", the quicker the more" if ties is None else f", the better {ties.name} the more"
        )
    return [known.get(objective.name, objective.name) for objective in objectives]


def _told(objective: Objective, seen: Seen) -> float:
    name = objective.name
    if objective.number is not None:
        return told_of(objective, seen.numbers[objective.number])
    if name == SUCCESS_RATE:
        return expected(seen.successes, seen.n)
    if name == EPOCHS_TO_SOLVE:
        return epochs_told(seen)
    return _parameter(name, seen)


def _parameter(name: str, seen: Seen) -> float:
    value = seen.point[name]  # a number: the space and the trainer were checked
    assert isinstance(value, int | float)
    return float(value)


def estimates(objectives: Sequence[Objective], seen: Seen) -> tuple[float, ...]:
    """What a person is shown, for each objective: k / n, ERT (inf without a success), the value.

    Of numbers `summed`.
    """
    known = {
        SUCCESS_RATE: seen.successes / seen.n,
        EPOCHS_TO_SOLVE: seen.spent / seen.successes if seen.successes else math.inf,
    }
    return tuple(
        summed(o, seen.numbers[o.number])
        if o.number is not None
        else known[o.name]
        if o.name in known
        else _parameter(o.name, seen)
        for o in objectives
    )


def costs(objectives: Sequence[Objective], seen: Seen) -> tuple[float, ...]:
    """The estimates of all but the success rate, turned so that less is better."""
    pairs = zip(objectives, estimates(objectives, seen), strict=True)
    return tuple(-v if o.maximize else v for o, v in pairs if o.name != SUCCESS_RATE)


def expected(successes: int, n: int) -> float:
    """(k + 1) / (n + 2): 128 of 128 is more than 8 of 8, and both are less than certain.

    The mean of the rate where nothing was known of it before: Laplace's rule of succession.
    """
    return (successes + 1) / (n + 2)


def worth(successes: int, n: int, liked: float) -> float:
    """What a search for the success rate alone maximises: (k + 1 + s) / (n + 2), s the `liking`.

    Since 0 < s < 1, of two configs with as many seeds the one with more successes is worth more,
    however slow it is, and of two with as many successes the sooner: where many always solve, the
    search goes on toward those that solve sooner. It is the mean of a rate that was Beta(1 + s,
    1 - s) before anything was seen. What else was tried, and how that went, is told by
    `benchmarks/objectives.py` and benchmarks/README.md.
    """
    return (successes + 1 + liked) / (n + 2)


def liking(objectives: Sequence[Objective], seen: Seen) -> float:
    """In (0, 1): by what configs with the same count are told apart.

    Where a rule judges a number, it is larger the better the median of that number over the seeds
    is: 1/2 for 0, toward 1 for what is much better and toward 0 for what is much worse, whatever
    the number's scale. Else it is the `speed`. A seed is worth more than any of it.
    """
    if (ties := ties_of(objectives)) is None:
        return speed(seen)
    median = summed(ties, seen.numbers[ties.number or ""])
    better = median if ties.maximize else -median
    share = better / (1 + abs(better)) if math.isfinite(better) else -1.0  # failed seeds decide
    return 0.5 + 0.499 * share


def epochs_told(seen: Seen) -> float:
    """The logarithm of the epochs to solve (ERT), with one success more than there was.

    One more success, of a seed that took as many epochs as the mean of the others: ln(spent (n + 1)
    / n / (k + 1)). Without a success that is what n + 1 seeds of full length cost, more than with
    one success or more of as many seeds, and finite. A sampler that looks at volumes (TPE's
    hypervolume, NSGA-II's crowding) or fits a surface (GP) would see nothing but such a value if it
    were enormous; and as a logarithm a tenth fewer epochs count the same wherever one is.
    """
    spent = max(seen.spent, 1) / seen.n * (seen.n + 1)
    return math.log(spent / (seen.successes + 1))


def speed(seen: Seen) -> float:
    """In (0, 1), larger for fewer epochs of a seed: 0.89 for 10, 0.79 for 100, 0.68 for 1,000."""
    share = 1 - math.log1p(seen.spent / seen.n) / math.log1p(LONGEST)
    return min(max(share, 0.001), 0.999)  # a seed stays worth more, whatever is rounded


def front(values: ArrayLike, objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Which rows are on the Pareto front: no other is as good in everything and better in one.

    Equal rows are both on it, or both not.

    Args:
        values: float, shape (C, O): C configs, O objectives; infinite ones allowed, no NaN.
        objectives: O of them, which say what is better.

    Returns:
        bool, shape (C,).
    """
    signs = np.array([-1.0 if objective.maximize else 1.0 for objective in objectives])
    costs = np.asarray(values, np.float64).reshape(-1, len(signs)) * signs
    kept = np.zeros(len(costs), np.bool_)
    # In this order nobody is dominated by a later one.
    best = np.empty((0, len(signs)))
    for row in np.lexsort(costs.T[::-1]):
        mine = costs[row]
        as_good = best[(best <= mine).all(axis=1)]
        if not (as_good < mine).any():
            kept[row] = True
            if not len(as_good):
                best = np.vstack([best, mine])
    return kept
