"""A comparison by a number of the seeds: whose mean, interquartile mean or quantile is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.comparisons.runs import (
    Better,
    Contestant,
    Improvement,
    Reused,
    compared_seeds,
    notes,
    old_seeds,
    p_text,
    values_of,
)
from xortune.core.errors import InputError, check_type, refuse_unknown
from xortune.core.formats import (
    as_html,
    count,
    estimated,
    interval,
    measured,
    number,
    percent,
    plain,
    span,
)
from xortune.core.numbers import (
    CONFIDENCE,
    Estimate,
    Statistic,
    endings,
    named_statistic,
    quantile_meant,
    statistic_named,
)
from xortune.core.outcome import Outcome
from xortune.core.success import Rule, larger_is_better
from xortune.runs.results import number_names, reported
from xortune.stats.betting import (
    UNIT,
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    paired_limits,
)
from xortune.stats.numbers import (
    StatisticDifference,
    difference,
    p_not_larger,
    probability_of_larger,
)
from xortune.stats.proportions import holm

Floats = NDArray[np.float64]


SIGN = "sign"
"""What is compared seed by seed: under how many seeds one of two has the better number."""


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Attributes:
        name: of the number.
        statistic: mean, iqm, median, q01 to q99, or `SIGN`.
        better: which direction is better.
        limits: what no seed's number can be below or above; None: unknown.
    """

    name: str
    statistic: str
    better: Better
    limits: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """`return_iqm`; `return` if only signs are compared."""
        return self.name if self.statistic == SIGN else f"{self.name}_{self.statistic}"

    def of(self, outcome: Outcome) -> Floats:
        """float64, shape (S,): the number of each seed; a failed seed is worse than any other."""
        values = values_of(outcome, self.name, self.better)
        if self.limits is None:
            return values
        return np.where(np.isfinite(values), values, self.limits[self.better == "smaller"])

    def estimate(self, values: Floats) -> Estimate:
        """The statistic of the seeds, with its 95 % interval."""
        if self.is_bounded:
            limits = self.limits or UNIT
            low, high = mean_bounds(
                values, alpha=(1 - CONFIDENCE) / 2, limits=limits, ordered=False
            )
            return Estimate(float(values.mean()), low, high)
        low, high = self.of_numbers.interval(values) or (-math.inf, math.inf)
        return Estimate(self.of_numbers.estimate(values), low, high)

    @property
    def of_numbers(self) -> Statistic:
        """The statistic; `SIGN` is none."""
        return statistic_named(self.statistic)

    @property
    def is_bounded(self) -> bool:
        """Whether it is a mean of numbers with limits, on which one can bet."""
        return self.limits is not None and self.statistic == "mean"


def parse_measure(by: str, *, sequential: bool) -> tuple[str, str]:
    """The name of a number and a statistic: ("return", "iqm") of `return_iqm`.

    The name alone, in a sequential comparison, means `SIGN`.

    Raises:
        InputError: it ends with no statistic.
    """
    check_type("by", by, str, f"the name of a number with {endings()}")
    found = named_statistic(by)
    if found is None and sequential:
        return by, SIGN
    if found is None or not statistic_named(found[1]).has_test:
        raise InputError(
            f"{by!r} is no statistic of a number" if found is None else f"no test compares {by!r}",
            field="by",
            allowed=f"the name of a number with {endings()}; with sequential also the name alone",
            fix=f"write {quantile_meant(by) or f'{by}_mean, {by}_iqm or {by}_median'}",
        )
    return found


def measure_of(
    by: str,
    outcomes: Sequence[Outcome],
    rules: Sequence[Rule | None],
    limits: tuple[float, float] | None,
    *,
    sequential: bool = False,
) -> Measure:
    """What `by` names among the numbers of these outcomes, whose seeds these rules judge.

    The direction is that of the rule that judges the number; else less is better of what is called
    a loss, an error or a time, and more of all others.

    Raises:
        InputError: no outcome has such a number, or one is beyond the limits.
    """
    name, ending = parse_measure(by, sequential=sequential)
    known = number_names(outcomes)
    if not known:
        raise InputError(
            "no seed has a number",
            field="by",
            allowed="what is trained by a function or a command that returns numbers",
        )
    refuse_unknown(name, known, f"there is no number {name!r}", field="by")
    larger = larger_is_better(name, rules, reported(outcomes, name))
    return Measure(name, ending, "larger" if larger else "smaller", limits)


@dataclass(frozen=True)
class NumberPair:
    """Two contestants, A and B, compared by a statistic of a number.

    Attributes:
        a, b: their places among the contestants, a < b.
        shared: whether both have the same seeds, which are then compared one by one.
        n_a, n_b: seeds that are compared; failed ones are among them.
        value_a, value_b: the statistic of both; not finite if failed seeds decide it.
        difference: of A minus B.
        low, high: its interval with confidence 1 - alpha, of the method of p; 0 is in it unless
            the two differ.
        p: two-sided; see `method`.
        p_holm: adjusted for all pairs.
        differs: p_holm < alpha.
        probability: that a seed of A has a better number than a seed of B; a tie counts half.
        p_margin: one-sided, of "A is worse than B by more than the margin", adjusted for all
            pairs; None without a margin.
        least: the smallest p that so many seeds can give, however large the difference is.
    """

    a: int
    b: int
    shared: bool
    n_a: int
    n_b: int
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    differs: bool
    probability: Improvement
    p_margin: float | None = None
    least: float = 0.0


@dataclass(frozen=True, eq=False)
class NumberComparison:
    """Several contestants, compared two by two by a statistic of a number.

    Attributes:
        contestants: in the given order.
        measure: the statistic and the direction.
        pairs: all pairs, in the same order.
        alpha: level of all tests together (Holm).
        margin: by how much a contestant may be worse and count as not worse; None: not asked.
        reused: how many seeds are old; None if none were asked for.
    """

    contestants: tuple[Contestant, ...]
    measure: Measure
    pairs: tuple[NumberPair, ...]
    alpha: float
    margin: float | None = None
    reused: Reused | None = None

    def values(self, place: int) -> Floats:
        """float64, shape (S,): the numbers of a contestant; a failed seed is the worst infinity."""
        return self.measure.of(self.contestants[place].outcome)

    def estimate(self, place: int) -> Estimate:
        """The statistic of a contestant, with its 95 % interval, by all its seeds."""
        return self.measure.estimate(self.values(place))

    def estimates(self, pair: NumberPair) -> tuple[Estimate, Estimate]:
        """The statistics of A and B, with their 95 % intervals, by the seeds that are compared."""
        mine, theirs, _ = compared_seeds(self.contestants[pair.a], self.contestants[pair.b])
        first, second = self.values(pair.a)[mine], self.values(pair.b)[theirs]
        return self.measure.estimate(first[: pair.n_a]), self.measure.estimate(second[: pair.n_b])

    def ahead(self, pair: NumberPair) -> int | None:
        """The place of the better one of a pair; None if they are indistinguishable."""
        if not pair.differs:
            return None
        larger = pair.difference > 0
        return pair.a if larger == (self.measure.better == "larger") else pair.b

    def beaten_by(self, place: int) -> tuple[int, ...]:
        """Return the places of those that are better than the contestant at this place."""
        ahead = (self.ahead(pair) for pair in self.pairs if place in (pair.a, pair.b))
        return tuple(sorted(one for one in ahead if one is not None and one != place))

    @property
    def best(self) -> int | None:
        """The place of the one that is better than each of the others; None if there is none."""
        for place in range(len(self.contestants)):
            own = [pair for pair in self.pairs if place in (pair.a, pair.b)]
            if all(self.ahead(pair) == place for pair in own):
                return place
        return None

    @property
    def first_is_worse(self) -> bool:
        """Whether another is better than the first one; with a margin, whether it may be worse.

        With a margin the first one must be shown not to be worse by more than that than any other.
        """
        if self.margin is None:
            return bool(self.beaten_by(0))
        return any(not self.not_worse(pair) for pair in self.pairs if pair.a == 0)

    def not_worse(self, pair: NumberPair) -> bool:
        """Whether A is shown not to be worse than B by more than the margin."""
        return pair.p_margin is not None and pair.p_margin < self.alpha

    def __repr__(self) -> str:
        shown = [f"{one.label} {self.estimate(i)}" for i, one in enumerate(self.contestants[:5])]
        told = "; ".join([self.lines[0], *old_seeds(self)])
        return f"NumberComparison({self.measure.text}: {', '.join(shown)}; {told})"

    def __str__(self) -> str:
        return "\n".join([*self.lines, *notes(self)])

    def _repr_html_(self) -> str:
        return as_html(" ".join([self.lines[0], *notes(self)]), self.table)

    @property
    def lines(self) -> list[str]:
        """Sentences: of three or more first who is best, then one about each pair."""
        lines = [self.sentence(pair) for pair in self.pairs]
        if len(self.contestants) < 3:
            return lines
        best = self.best
        what = self.measure.text
        if best is None:
            return [f"None has a better {what} than each of the others.", *lines]
        label = plain(self.contestants[best].label)
        return [f"{label} has a better {what} than each of the others.", *lines]

    def sentence(self, pair: NumberPair) -> str:
        """Return a sentence about two contestants, the one that is ahead first."""
        what, first, second = self.measure.text, pair.a, pair.b
        low, high, apart = pair.low, pair.high, pair.difference
        chance = pair.probability
        values = [str(estimate) for estimate in self.estimates(pair)]
        if self.ahead(pair) == pair.b:
            first, second, low, high, apart = second, first, -high, -low, -apart
            chance = Improvement(1 - chance.probability, 1 - chance.high, 1 - chance.low)
            values.reverse()
        names = [plain(self.contestants[place].label) for place in (first, second)]
        between = f"{values[0]} against {values[1]}"
        if math.isfinite(apart):
            between += f", difference {estimated(apart, *_ends(low, high))} [{span(low, high)}]"
        odds = (
            f"; a seed of {names[0]} is better than one of {names[1]} in "
            f"{measured(chance.probability, chance.low, chance.high)} of pairs "
            f"({interval(chance.low, chance.high)})"
        )
        basis = f"{p_text(pair.p_holm)} ({self.basis(pair)}; {self.measure.better} is better)"
        if pair.differs:
            told = f"{names[0]} has a better {what} than {names[1]}"
        else:
            told = f"{names[0]} and {names[1]} are indistinguishable in {what}"
        return f"{told}: {between}, {basis}{odds}{self._more(pair)}."

    def basis(self, pair: NumberPair) -> str:
        """The seeds and the test of a pair."""
        seeds = f"{pair.n_a:,} and {count(pair.n_b, 'seed')}"
        if pair.shared:
            seeds = count(pair.n_a, "shared seed")
        holm_over = f", Holm over {len(self.pairs)} pairs" if len(self.pairs) > 1 else ""
        return f"{seeds}, {method(self.measure, shared=pair.shared)}{holm_over}"

    def _more(self, pair: NumberPair) -> str:
        text = ""
        if not math.isfinite(pair.value_a) or not math.isfinite(pair.value_b):
            text = "; failed seeds decide it, and nobody knows how bad they are"
        elif pair.least >= self.alpha / len(self.pairs) and not pair.differs:
            text = "; so few seeds could prove no difference, however large"
        elif pair.p <= pair.least:
            text = "; no difference of so few seeds has a smaller p, however large"
        if pair.differs and self.measure.statistic == "mean" and not self.measure.is_bounded:
            text += f"; {what_means_need(min(pair.n_a, pair.n_b))}"
        if self.margin is None:
            return text
        names = [plain(self.contestants[place].label) for place in (pair.a, pair.b)]
        told = "is not worse" if self.not_worse(pair) else "is not shown to be no worse"
        return (
            f"{text}; {names[0]} {told} than {names[1]} by more than {number(self.margin)} "
            f"(one-sided {p_text(pair.p_margin or 0.0)})"
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with labels in place of places."""
        rows = []
        for pair in self.pairs:
            ends = self.estimates(pair)
            row = asdict(pair) | {
                "a": self.contestants[pair.a].label,
                "b": self.contestants[pair.b].label,
                "by": self.measure.text,
                "low_a": ends[0].low,
                "high_a": ends[0].high,
                "low_b": ends[1].low,
                "high_b": ends[1].high,
                "probability": pair.probability.probability,
                "probability_low": pair.probability.low,
                "probability_high": pair.probability.high,
                "not_worse": None if self.margin is None else self.not_worse(pair),
            }
            rows.append(row)
        return pd.DataFrame(rows)[list(COLUMNS)]


COLUMNS = (
    *("by", "a", "b", "shared", "n_a", "value_a", "low_a", "high_a"),
    *("n_b", "value_b", "low_b", "high_b", "difference", "low", "high", "p", "p_holm", "differs"),
    *("probability", "probability_low", "probability_high", "p_margin", "not_worse"),
)
"""The columns of comparison.csv of a comparison by a number."""


def method(measure: Measure, *, shared: bool) -> str:
    """The test and the interval of a difference, in words."""
    if measure.is_bounded:
        return "bets on differences"
    if measure.of_numbers.share is not None:
        return "order statistics"
    of_pairs = " of pairs" if shared else ""
    if measure.of_numbers.trim:
        return f"Yuen's t{of_pairs}, resampled seeds, rearranged labels"
    return f"{'Student' if shared else 'Welch'}'s t{of_pairs}, rearranged labels"


def what_means_need(n: int) -> str:
    """What a comparison of means without limits cannot see, in words.

    With n seeds nothing shows, with a probability of 5 %, of what happens under a share
    1 - 0.05^(1/n) of all seeds.
    """
    unseen = percent(1 - (1 - CONFIDENCE) ** (1 / n))
    return (
        f"this assumes that no rare seeds are far off: what happens under {unseen} of seeds is "
        f"missed by {n:,} seeds in one case of 20"
    )


def compare_numbers(
    contestants: Sequence[Contestant],
    measure: Measure,
    *,
    alpha: float = 0.05,
    margin: float | None = None,
) -> NumberComparison:
    """Compare every two contestants by a number, whose labels differ."""
    places = list(combinations(range(len(contestants)), 2))
    tested = [
        _tested((contestants[a], contestants[b]), measure, alpha=alpha, margin=margin)
        for a, b in places
    ]
    adjusted = holm([pair.p for pair in tested]).tolist()
    pairs = []
    for (a, b), pair, p in zip(places, tested, adjusted, strict=True):
        if differs := p < alpha:
            low, high = pair.low, pair.high
        else:
            low, high = min(pair.low, 0.0), max(pair.high, 0.0)
        pairs.append(replace(pair, a=a, b=b, low=low, high=high, p_holm=p, differs=differs))
    if margin is not None:
        worse = holm([pair.p_margin or 0.0 for pair in pairs]).tolist()
        pairs = [replace(pair, p_margin=p) for pair, p in zip(pairs, worse, strict=True)]
    return NumberComparison(tuple(contestants), measure, tuple(pairs), alpha, margin)


def _tested(
    both: tuple[Contestant, Contestant],
    measure: Measure,
    *,
    alpha: float,
    margin: float | None,
) -> NumberPair:
    mine, theirs, shared = compared_seeds(*both)
    first, second = measure.of(both[0].outcome)[mine], measure.of(both[1].outcome)[theirs]
    if measure.is_bounded:  # one bets on differences, so on equally many seeds
        fewer = min(first.size, second.size)
        first, second = first[:fewer], second[:fewer]
    sign = 1.0 if measure.better == "larger" else -1.0
    found = difference_of(first, second, measure, shared=shared, alpha=alpha)
    p_margin = None
    if margin is not None:
        p_margin = _margin_p(sign * first, sign * second, measure, margin, shared=shared)
    return NumberPair(
        *(0, 1, shared, first.size, second.size),
        value_a=measure.of_numbers.estimate(first),
        value_b=measure.of_numbers.estimate(second),
        difference=found.value,
        low=found.low,
        high=found.high,
        p=found.p,
        p_holm=found.p,
        differs=False,
        probability=Improvement(*probability_of_larger(sign * first, sign * second, shared=shared)),
        p_margin=p_margin,
        least=_least(first.size, second.size, measure, shared=shared),
    )


def difference_of(
    first: Floats, second: Floats, measure: Measure, *, shared: bool, alpha: float
) -> StatisticDifference:
    """The statistic of A minus that of B: by bets if the mean has limits, else `difference`."""
    if not measure.is_bounded:
        return difference(first, second, measure.of_numbers, shared=shared, alpha=alpha)
    limits, apart = paired_limits(measure.limits or UNIT), first - second
    # After the last seed, which is the only look: no order of the seeds says more than another.
    low, high = mean_bounds(apart, alpha=alpha / 2, limits=limits, ordered=False)
    sides = mean_evidence_above, mean_evidence_below
    most = max(side(apart, 0.0, limits=limits)[-1] for side in sides)
    return StatisticDifference(float(apart.mean()), low, high, min(1.0, 2 * math.exp(-most)))


def _margin_p(
    first: Floats, second: Floats, measure: Measure, margin: float, *, shared: bool
) -> float:
    """One-sided p of "A is worse by more than the margin", where larger is better."""
    if measure.is_bounded:
        limits = paired_limits(measure.limits or UNIT)
        grown = mean_evidence_above(first - second, -margin, limits=limits)[-1]
        return min(1.0, math.exp(-grown))
    return p_not_larger(first + margin, second, measure.of_numbers, shared=shared)


def _least(n: int, m: int, measure: Measure, *, shared: bool) -> float:
    """The smallest p that so many seeds can give: all of A far better than all of B."""
    if measure.is_bounded:
        low, high = measure.limits or UNIT
        ends = np.full(n, high), np.full(m, low)
        return difference_of(*ends, measure, shared=shared, alpha=0.05).p
    # Scattered otherwise in A than in B, so that differences of shared seeds scatter too.
    one, other = np.arange(n, dtype=np.float64) + 1e9, 2 * np.arange(m, dtype=np.float64)
    return difference(one, other, measure.of_numbers, shared=shared, alpha=0.05).p


def _ends(low: float, high: float) -> tuple[float | None, float | None]:
    return (low, high) if math.isfinite(high - low) else (None, None)
