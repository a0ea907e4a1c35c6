"""Values of objectives, from counts, epochs and numbers of a trainer; the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.numbers import Statistic, statistic_named
from xortune.core.outcome import Outcome, SeedCount, valid_numbers
from xortune.core.point import Point
from xortune.racing.feasible import speaks_for
from xortune.racing.race import SeenFacts
from xortune.spaces.model import (
    FLAWLESS_SEEDS,
    RATE,
    SECONDS,
    SUCCESS_RATE,
    MeasuredObjective,
    Objective,
    TimedBlock,
    seconds_of_seed,
)
from xortune.stats.proportions import expected_rate

# -------------------------------------------------------------------------------------------------
# Objectives on numbers that a user's own trainer returns for each seed, such as `accuracy_q10`.
#
# Every seed counts. A seed that failed, or has no finite number, counts as the objective's
# `failed`, or else as worse than any number: then a mean is infinitely bad as soon as one seed
# failed, a quantile where it falls on a failed seed.

Numbers: TypeAlias = Sequence[float] | NDArray[np.float64]
"""A number of each seed; NaN where the seed failed."""

BEYOND = 1e300
"""A sampler's value is beyond this if, and only if, failed seeds make the statistic infinite."""

FAILURE_PENALTY = 1e-6
"""The relative penalty of a sampler's value if all seeds failed."""


def numbers_named(objectives: Iterable[Objective]) -> tuple[str, ...]:
    """The numbers of objectives and of their ties, each once."""
    both = (part for objective in objectives for part in (objective, objective.ties))
    return tuple(dict.fromkeys(part.number for part in both if part and part.number is not None))


def numbers_in(outcome: Outcome, name: str) -> NDArray[np.float64]:
    """float64, shape (S,): a number of each seed; NaN where the seed failed or lacks it."""
    return valid_numbers(outcome.details.values.get(name), outcome.status)


def only_statistic(objectives: Sequence[Objective]) -> Objective | None:
    """The objective, if it is the only one and sums up a trainer's number; else None.

    None also where a rate is required, which comes first.
    """
    if len(objectives) != 1 or constrained(objectives) is not None:
        return None
    return objectives[0] if objectives[0].number is not None else None


def constrained(objectives: Sequence[Objective]) -> Objective | None:
    """The objective, if a configuration has to reach a rate before it counts; else None."""
    return objectives[0] if objectives and objectives[0].required is not None else None


def timed_objective(objectives: Sequence[Objective]) -> Objective | None:
    """The objective, if it is the measured seconds of a seed; else None."""
    return objectives[0] if objectives and objectives[0].name == SECONDS else None


def ties_of(objectives: Sequence[Objective]) -> Objective | None:
    """The number that decides between equal counts, if there is one; see `Objective.ties`."""
    return objectives[0].ties if len(objectives) == 1 else None


def sampler_value(objective: Objective, numbers: Numbers) -> float:
    """The sampler's value: `statistic_value`, or a finite number where that is infinite.

    That number is worse than any other, and the worse the more seeds failed, so that a search that
    has seen nothing else knows in which direction to go. For the same reason equal values differ by
    a tiny penalty for failed seeds: see `benchmarks/failed_seeds.py`.
    """
    value = statistic_value(objective, numbers)
    share = float(np.isnan(np.asarray(numbers, np.float64)).mean())
    if not math.isfinite(value):
        return math.copysign(BEYOND * (1 + share), value)
    value = min(max(value, -BEYOND / 2), BEYOND / 2)
    worse = FAILURE_PENALTY * share * max(1.0, abs(value))
    return value - worse if objective.maximize else value + worse


def values_of_seeds(objective: Objective, numbers: Numbers) -> NDArray[np.float64]:
    """float64, shape (S,): the numbers of all seeds, in their order, a failed one as it counts."""
    worst = -math.inf if objective.maximize else math.inf
    values = np.asarray(numbers, np.float64)
    failed = worst if objective.failed is None else float(objective.failed)
    return np.where(np.isnan(values), failed, values)


def _with_failed(objective: Objective, numbers: Numbers) -> NDArray[np.float64]:
    # Sorted, so that a sum does not depend on the order of results.
    return np.sort(values_of_seeds(objective, numbers))


def statistic_value(objective: Objective, numbers: Numbers) -> float:
    """The objective's statistic over all seeds; infinite where failed seeds decide it."""
    return _statistic(objective).estimate(_with_failed(objective, numbers))


def _statistic(objective: Objective) -> Statistic:
    """Of an objective that sums up a number."""
    assert objective.statistic is not None
    return statistic_named(objective.statistic)


def seed_costs(objective: Objective, numbers: Numbers) -> NDArray[np.float64]:
    """The numbers of all seeds, ascending, with the sign by which less is better."""
    values = _with_failed(objective, numbers)
    return -values[::-1] if objective.maximize else values


def cost_share(objective: Objective) -> float | None:
    """The share of the objective's quantile in `seed_costs`; None for a mean."""
    share = _statistic(objective).share
    return share if share is None or not objective.maximize else 1 - share


def cost_limits(
    objective: Objective, bounds: tuple[float, float] | None
) -> tuple[float, float] | None:
    """The limits of `seed_costs`, if the objective is a mean of numbers with these bounds."""
    if bounds is None or objective.statistic != "mean":
        return None
    low, high = bounds
    return (-high, -low) if objective.maximize else (low, high)


def statistic_interval(objective: Objective, numbers: Numbers) -> tuple[float, float] | None:
    """The 95 % interval of `statistic_value`; see `core.numbers.Statistic`."""
    return _statistic(objective).interval(_with_failed(objective, numbers))


def price_of_seed(price: str, names: Sequence[str], seen: SeedSummary) -> float | None:
    """What a seed of a configuration costs so far; None if that is not known.

    Args:
        price: `seconds`, or a number of the user's trainer: see `mean_price`.
        names: of the numbers that `seen` has.
        seen: the results.
    """
    if price == SECONDS:
        seconds = seconds_of_seed(seen.timed_blocks)
        return seconds if 0 < seconds < math.inf else None
    return mean_price(seen.numbers[names.index(price)])


def mean_price(numbers: ArrayLike) -> float | None:
    """The mean of the prices of seeds, shape (S,), that are finite and above 0; None without."""
    given = np.asarray(numbers, np.float64)
    known = np.sort(given[(given > 0) & np.isfinite(given)])
    return float(known.mean()) if known.size else None


MAX_TRAINED_EPOCHS = 2**31
"""Maximum epochs of a training, since a seed's epoch is an int32."""


@dataclass(frozen=True, slots=True)
class SeedSummary(SeedCount):
    """Results of seeds of a configuration, summed up: what objectives and decisions read.

    Attributes:
        timed: epochs until each seed was solved for good, unsolved ones at the full budget, summed
            over seeds with an outcome.
        crashed: seeds without an outcome.
        budget: epochs that a seed may take; 0 until there is an outcome.
        numbers: for each of `numbers_named` a number of each seed; NaN where the seed failed.
        timed_blocks: seconds of a seed, and how many seeds, of each block; empty if nobody asks.
    """

    k: int = 0
    n: int = 0
    timed: int = 0
    crashed: int = 0
    budget: int = 0
    numbers: tuple[Numbers, ...] = ()
    timed_blocks: tuple[TimedBlock, ...] = ()

    def __add__(self, more: SeedSummary) -> SeedSummary:
        """The results of both; `more` are those of other seeds."""
        numbers = more.numbers or self.numbers
        if self.numbers and more.numbers:
            numbers = tuple((*a, *b) for a, b in zip(self.numbers, more.numbers, strict=True))
        return SeedSummary(
            self.k + more.k,
            self.n + more.n,
            self.timed + more.timed,
            self.crashed + more.crashed,
            max(self.budget, more.budget),
            numbers,
            self.timed_blocks + more.timed_blocks,
        )

    @property
    def spent(self) -> int:
        """Epochs spent by all seeds; a crashed seed counts the full budget."""
        return self.timed + self.crashed * self.budget


def summary_of(outcome: Outcome, objectives: Iterable[Objective]) -> SeedSummary:
    """The results of an outcome for these objectives."""
    numbers = tuple(numbers_in(outcome, name) for name in numbers_named(objectives))
    return SeedSummary(outcome.successes, outcome.n, outcome.epochs_spent, numbers=numbers)


def only_rate(objectives: Sequence[Objective]) -> bool:
    """Whether the success rate is the only objective."""
    return [objective.name for objective in objectives] == [SUCCESS_RATE]


def _number(objectives: Iterable[Objective], objective: Objective, seen: SeedSummary) -> Numbers:
    """The number of each seed that an objective, or its ties, sums up."""
    assert objective.number is not None
    return seen.numbers[numbers_named(objectives).index(objective.number)]


def sampler_values(
    objectives: Sequence[Objective], point: Point, seen: SeedSummary
) -> tuple[float, ...]:
    """The sampler's values: a finite number for each objective, with its direction.

    A success rate alone is `worth`, which also decides between equal counts. Beside others it is
    `expected_rate`, epochs to solve are `log_epochs_to_solve`, a parameter is its value, and a
    statistic of numbers is `sampler_value`. Where a rate is required, it is `required_value`.
    """
    if (objective := constrained(objectives)) is not None:
        return (required_value(objective, seen, *costs(objectives, point, seen)),)
    if only_rate(objectives):
        return (worth(seen.k, seen.n, tie_break(objectives, seen)),)
    return _values(objectives, point, seen, lambda one: one.told(seen), sampler_value)


def required_value(objective: Objective, seen: SeedSummary, cost: float) -> float:
    """The sampler's value where a rate is required: whether it may be reached, then the cost.

    While the seeds of a configuration speak for the rate (`feasible.speaks_for`) it is c = cost /
    (1 + |cost|), in [-1, 1]; otherwise 1 + the expected rate of failure, which is worse. Samplers
    that only compare values, such as TPE, so prefer first what may reach the rate, then what costs
    less: the rule of Deb (2000), An efficient constraint handling method for genetic algorithms.
    """
    assert objective.required is not None
    if speaks_for(seen.k, seen.n, objective.required.rate):
        value = _in_unit(cost) if math.isfinite(cost) else 1.0
    else:
        value = 2.0 - expected_rate(seen.k, seen.n)
    return -value if objective.maximize else value


def _in_unit(value: float) -> float:
    """A finite number in (-1, 1), in the same order."""
    return value / (1 + abs(value))


def _values(
    objectives: Sequence[Objective],
    point: Point,
    seen: SeedSummary,
    measured: Callable[[MeasuredObjective], float],
    statistic: Callable[[Objective, Numbers], float],
) -> tuple[float, ...]:
    """The value of each objective: measured, a statistic of numbers, or a parameter's value."""

    def value(objective: Objective) -> float:
        if objective.measured is not None:
            return measured(objective.measured)
        if objective.number is not None:
            return statistic(objective, _number(objectives, objective, seen))
        parameter = point[objective.name]  # a number: the space and the trainer were checked
        assert isinstance(parameter, int | float)
        return float(parameter)

    return tuple(map(value, objectives))


def sampler_value_names(objectives: Sequence[Objective]) -> list[str]:
    """Names of the sampler's values, for people who look at its study."""
    if (sole := constrained(objectives)) is not None:
        return [f"{sole.name}, if the required rate may be reached"]
    if only_rate(objectives):
        ties = ties_of(objectives)
        liked = "the quicker" if ties is None else f"the better {ties.name}"
        return [f"{RATE.told_as}, {liked} the more"]
    return [one.measured.told_as if one.measured else one.name for one in objectives]


def estimates(
    objectives: Sequence[Objective], point: Point, seen: SeedSummary
) -> tuple[float, ...]:
    """Values for people: what is measured, a parameter's value, `statistic_value`."""
    return _values(objectives, point, seen, lambda one: one.estimate(seen), statistic_value)


def costs(objectives: Sequence[Objective], point: Point, seen: SeedSummary) -> tuple[float, ...]:
    """The estimates of all but the success rate, with the sign by which less is better."""
    pairs = zip(objectives, estimates(objectives, point, seen), strict=True)
    return tuple(-v if o.maximize else v for o, v in pairs if o.name != SUCCESS_RATE)


def least_cost(objective: Objective, seen: SeedSummary, cost: float) -> float:
    """The cost that a configuration may have at least, where `cost` was measured so far.

    A parameter is known. Of a number it is the lower end of its 95 % interval; of what else is
    measured nothing is known before the first `FLAWLESS_SEEDS` seeds.
    """
    if objective.number is not None:
        interval = _statistic(objective).interval(seed_costs(objective, seen.numbers[0]))
        return -math.inf if interval is None else interval[0]
    return -math.inf if objective.measured and seen.n < FLAWLESS_SEEDS else cost


def worth(successes: int, n: int, liked: float) -> float:
    """The sampler's value of the success rate alone: (k + 1 + s) / (n + 2), s the `tie_break`.

    Since 0 < s < 1, of two configurations with equally many seeds the one with more successes is
    worth more, and with equally many successes the one with the larger s. So where many always
    solve, the search goes on toward those that solve sooner. It is the mean of a rate whose prior
    is Beta(1 + s, 1 - s). benchmarks/README.md ("Tries") says what else was tried.
    """
    return (successes + 1 + liked) / (n + 2)


def tie_break(objectives: Sequence[Objective], seen: SeedSummary) -> float:
    """A number in (0, 1) that orders equal counts. One more solved seed outweighs it.

    Where a rule judges a number, it grows with the median of that number over the seeds: 1/2 for 0,
    toward 1 for much better and toward 0 for much worse, for any scale. Else it is the `speed`.
    """
    if (ties := ties_of(objectives)) is None:
        return speed(seen)
    median = statistic_value(ties, _number(objectives, ties, seen))
    better = median if ties.maximize else -median
    share = _in_unit(better) if math.isfinite(better) else -1.0  # failed seeds decide
    return 0.5 + 0.499 * share


def facts_for_race(
    objectives: Sequence[Objective],
    names: Sequence[str],
    price: str | None,
    point: Point,
    seen: SeedSummary,
) -> SeenFacts:
    """What a race is shown of a configuration.

    Args:
        objectives: of the search.
        names: of the numbers that `seen` has.
        price: what a seed costs, as of `price_of_seed`; None: seeds have no price.
        point: the configuration.
        seen: its results.
    """
    per_seed, least = None, -math.inf
    cost = () if only_rate(objectives) else costs(objectives, point, seen)
    if (wanted := constrained(objectives)) is not None:
        least = least_cost(wanted, seen, cost[0])
    if (sole := only_statistic(objectives)) is not None and sole.number is not None:
        per_seed = seed_costs(sole, seen.numbers[names.index(sole.number)])
    return SeenFacts(
        speed=tie_break(objectives, seen),
        costs=cost,
        least=least,
        seed_costs=per_seed,
        price=None if price is None else price_of_seed(price, names, seen),
    )


def speed(seen: SeedSummary) -> float:
    """In (0, 1), larger for fewer epochs of a seed: 0.89 for 10, 0.79 for 100, 0.68 for 1,000."""
    share = 1 - math.log1p(seen.spent / seen.n) / math.log1p(MAX_TRAINED_EPOCHS)
    return min(max(share, 0.001), 0.999)  # a seed is worth more, whatever the rounding


def front(values: ArrayLike, objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Which rows are on the Pareto front: no other is as good in everything and better in one.

    Equal rows are both on it, or both not.

    Args:
        values: float, shape (C, O): C configurations, O objectives; may be infinite, no NaN.
        objectives: the O objectives, with their directions.

    Returns:
        bool, shape (C,).
    """
    signs = np.array([-1.0 if objective.maximize else 1.0 for objective in objectives])
    costs = np.asarray(values, np.float64).reshape(-1, len(signs)) * signs
    kept = np.zeros(len(costs), np.bool_)
    # In this order no row is dominated by a later one.
    best = np.empty((0, len(signs)))
    for row in np.lexsort(costs.T[::-1]):
        mine = costs[row]
        as_good = best[(best <= mine).all(axis=1)]
        if not (as_good < mine).any():
            kept[row] = True
            if not len(as_good):
                best = np.vstack([best, mine])
    return kept
