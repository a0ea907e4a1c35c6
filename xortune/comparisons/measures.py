"""What is compared, success rates or a statistic of a number, and by which test.

A success is a number that is 0 or 1, and a success rate its mean. Where there is a better test of
such numbers, a `Method` says so: one of `RATES`, `SIGNS`, `BETS`, `QUANTILES` and `MEANS` compares
each measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, check_type, refuse_unknown
from xortune.core.numbers import (
    CONFIDENCE,
    MEAN,
    Ends,
    Estimate,
    Statistic,
    endings,
    named_statistic,
    quantile_meant,
    statistic_named,
)
from xortune.core.outcome import Outcome, SeedCount
from xortune.core.success import Rule, larger_is_better
from xortune.runs.results import number_names, reported
from xortune.stats.anytime import anytime_quantile, anytime_quantiles
from xortune.stats.betting import (
    UNIT,
    mean_bounds,
    mean_evidence_above,
    mean_evidence_below,
    paired_limits,
)
from xortune.stats.numbers import difference, p_not_larger
from xortune.stats.proportions import (
    boschloo,
    mcnemar_two_sided,
    paired_difference,
    paired_margin_p,
    unpaired_difference,
    unpaired_margin_p,
)
from xortune.stats.sequential import PairedAnswer, paired_answer

Floats: TypeAlias = NDArray[np.float64]

Better: TypeAlias = Literal["larger", "smaller", ""]
"""Which numbers are better; empty where no rule gives a direction."""

RATE, SIGN = "rate", "sign"
"""The success rate, and under how many seeds one of two has the better number: no `Statistic`."""


@dataclass(frozen=True)
class Measure:
    """What is compared.

    Attributes:
        name: of the number.
        statistic: mean, iqm, median, q01 to q99, `SIGN`, or `RATE` of `SUCCESS`.
        better: which direction is better.
        limits: what no seed's number can be below or above; None: unknown.
        read: the number of each seed, not finite where it has none; None: what the trainer
            reported by the name.
    """

    name: str
    statistic: str
    better: Better
    limits: tuple[float, float] | None = None
    read: Callable[[Outcome], Floats] | None = None

    @property
    def text(self) -> str:
        """`return_iqm`; `return` if only signs are compared."""
        return self.name if self.statistic == SIGN else f"{self.name}_{self.statistic}"

    @property
    def is_rate(self) -> bool:
        """Whether it is the success rate."""
        return self.statistic == RATE

    @property
    def in_points(self) -> bool:
        """Whether differences are shares of seeds, shown in percentage points."""
        return self.statistic in (RATE, SIGN)

    @property
    def is_bounded(self) -> bool:
        """Whether it is a mean of numbers with limits, on which one can bet."""
        return self.limits is not None and self.statistic == "mean"

    @property
    def of_numbers(self) -> Statistic:
        """The statistic; `SIGN` is none."""
        return MEAN if self.is_rate else statistic_named(self.statistic)

    @property
    def method(self) -> Method:
        """How two are compared by it."""
        if self.in_points:
            return RATES if self.is_rate else SIGNS
        if self.is_bounded:
            return BETS
        return MEANS if self.of_numbers.share is None else QUANTILES

    def known(self, outcome: Outcome) -> Floats:
        """float64, shape (S,): the number of each seed; not finite where it has none."""
        if self.read is not None:
            return self.read(outcome)
        return outcome.details.values.get(self.name, np.full(outcome.n, np.nan))

    def counting(self, values: Floats) -> Floats:
        """The same, a failed seed worse than any other; left out if the direction is unknown."""
        known = np.isfinite(values)
        if not self.better:
            return values[known]
        worst = self.limits or (-math.inf, math.inf)
        return np.where(known, values, worst[self.better == "smaller"])

    def of(self, outcome: Outcome) -> Floats:
        """float64, shape (S,): the numbers of the seeds that count."""
        return self.counting(self.known(outcome))

    def wins(self, one: Floats, other: Floats) -> NDArray[np.bool_]:
        """Shape (S,): under which shared seeds the first one is better."""
        return np.less(one, other) if self.better == "smaller" else np.greater(one, other)

    def estimate(self, values: Floats) -> Estimate:
        """The statistic of the seeds, with its 95 % interval."""
        value = self.of_numbers.estimate(values)
        if self.is_rate:
            return Estimate(value, *SeedCount(int(values.sum()), values.size).interval())
        if self.is_bounded:
            return Estimate(value, *_bounded(values, (1 - CONFIDENCE) / 2, self.limits))
        return Estimate(value, *(self.of_numbers.interval(values) or (-math.inf, math.inf)))


def _solved(outcome: Outcome) -> Floats:
    return outcome.solved.astype(np.float64)


SUCCESS = Measure("success", RATE, "larger", UNIT, _solved)
"""The success rate: the mean of numbers that are 1 where a seed is solved, and else 0."""


def _epochs(outcome: Outcome) -> Floats:
    return np.where(outcome.solved, outcome.solved_epoch, np.nan)


EPOCHS = Measure("epochs", "iqm", "smaller", read=_epochs)
"""The epoch from which a seed stays solved: an unsolved one takes more than any other."""


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
    by: str | None,
    outcomes: Sequence[Outcome],
    rules: Sequence[Rule | None],
    limits: tuple[float, float] | None = None,
    *,
    sequential: bool = False,
) -> Measure:
    """What `by` names among the numbers of these outcomes, whose seeds these rules judge.

    The direction is that of the rule that judges the number; else less is better of what is called
    a loss, an error or a time, and more of all others. Without `by` it is the success rate.

    Raises:
        InputError: no outcome has such a number; or, of a sequential comparison, no bounds of it
            hold at every look.
    """
    if by is None:
        return SUCCESS
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
    measure = Measure(name, ending, "larger" if larger else "smaller", limits)
    if sequential and measure.method.proof is None:
        raise InputError(
            f"{measure.text}, looked at after every seed",
            field="by",
            allowed="quantiles, means of numbers with known limits, and the name of the number "
            "alone: nothing else has bounds that hold at every look",
            fix=f"compare {name}, which is better under more seeds, or {name}_median; "
            "or give bounds=[0, 1] for a mean",
        )
    return measure


# -------------------------------------------------------------------------------------------------
# The methods. Samples are float64, shape (S,) and (T,), of `Measure.of`; S = T if seeds are shared,
# and in all that is compared seed after seed.


@dataclass(frozen=True)
class Tested:
    """Two samples, A and B, compared once.

    Attributes:
        difference: of A minus B; not finite if failed seeds decide it.
        p: two-sided.
        interval: of the difference, by 1 minus its confidence, and whether the two are told apart.
    """

    difference: float
    p: float
    interval: Callable[[float, bool], Ends]


@dataclass(frozen=True)
class NextLook:
    """A look at two samples that grow.

    Attributes:
        max_seeds: the most seeds of each, fixed beforehand.
        alpha: the greatest probability of a wrong proof at any look.
        earlier: the answer about fewer of these seeds, or none.
    """

    max_seeds: int
    alpha: float
    earlier: PairedAnswer


@dataclass(frozen=True)
class Method:
    """How two samples are compared: by one test of all seeds, or seed after seed, or either way.

    Attributes:
        text: the test of samples that share their seeds, or of others, in words.
        test: of whether A and B differ, by one interval with confidence 1 - alpha:
            (A, B, measure, shared, alpha). None: there is none.
        p_margin: one-sided p of "A is worse than B by more than the margin":
            (A, B, measure, shared, margin), where larger is better.
        proof: which of two is proven better, by the first look that proves it:
            (A, B, measure, which look it is). None: no bounds hold at every look.
        bounds: the interval of the difference, which holds at every look: (A, B, measure, the
            answer's `ahead`, alpha).
        pairs: whether it takes equally many seeds of both, whether they are shared or not.
    """

    text: Callable[[Measure, bool], str] = lambda _measure, _shared: ""
    test: Callable[[Floats, Floats, Measure, bool, float], Tested] | None = None
    p_margin: Callable[[Floats, Floats, Measure, bool, float], float] | None = None
    proof: Callable[[Floats, Floats, Measure, NextLook], PairedAnswer] | None = None
    bounds: Callable[[Floats, Floats, Measure, int, float], Ends] | None = None
    pairs: bool = False


# Of the counts of success: exact tests, and the score intervals that belong to them.


def _counts(one: Floats, other: Floats, shared: bool) -> tuple[int, ...]:
    """Wins, losses and n of shared seeds; of others k and n of both."""
    if shared:
        return int((one > other).sum()), int((one < other).sum()), one.size
    return int(one.sum()), one.size, int(other.sum()), other.size


def _exact(one: Floats, other: Floats, _of: Measure, shared: bool, _alpha: float) -> Tested:
    counts = _counts(one, other, shared)
    p = float(mcnemar_two_sided(*counts[:2])) if shared else boschloo(*counts)
    interval = paired_difference if shared else unpaired_difference
    return Tested(
        float(one.mean() - other.mean()),
        p,
        lambda level, apart: interval(*counts, alpha=level, apart=apart),
    )


def _by_score(one: Floats, other: Floats, _of: Measure, shared: bool, margin: float) -> float:
    p_of: Callable[..., float] = paired_margin_p if shared else unpaired_margin_p
    return p_of(*_counts(one, other, shared), margin)


def _exact_text(_of: Measure, shared: bool) -> str:
    return "exact McNemar test" if shared else "Boschloo's exact test"


# Of the seeds under which one of two is better: fair tosses if both are alike.


def _tossed(one: Floats, other: Floats, measure: Measure, look: NextLook) -> PairedAnswer:
    won, lost = measure.wins(one, other), measure.wins(other, one)
    return paired_answer(won, lost, seeds=look.max_seeds, alpha=look.alpha)


def _tosses_bounds(one: Floats, other: Floats, measure: Measure, ahead: int, alpha: float) -> Ends:
    """The interval of the share of seeds that A wins minus that of B.

    The verdict has half of alpha; it decides whether 0 is in the interval, and excludes nothing
    else. The two ends have the other half: bets on the differences, which are -1, 0 or 1.
    """
    apart = measure.wins(one, other).astype(np.float64) - measure.wins(other, one)
    low, high = _bounded(apart, alpha / 4, (-1.0, 1.0))
    if ahead == 0:
        return min(low, 0.0), max(high, 0.0)
    return (max(low, 0.0), high) if ahead > 0 else (low, min(high, 0.0))


# Of means of numbers with limits: bets on the differences.


def _bounded(numbers: Floats, alpha: float, limits: Ends | None) -> Ends:
    """Bounds of a mean after the last seed: no order of the seeds says more than another."""
    return mean_bounds(numbers, alpha=alpha, limits=limits or UNIT, ordered=False)


def _bet(one: Floats, other: Floats, measure: Measure, _shared: bool, alpha: float) -> Tested:
    apart, limits = one - other, paired_limits(measure.limits or UNIT)
    sides = mean_evidence_above, mean_evidence_below
    most = max(side(apart, 0.0, limits=limits)[-1] for side in sides)
    ends = _bets_bounds(one, other, measure, 0, alpha)
    return Tested(float(apart.mean()), min(1.0, 2 * math.exp(-most)), _with_verdict(ends))


def _margin_bet(
    one: Floats, other: Floats, measure: Measure, _shared: bool, margin: float
) -> float:
    limits = paired_limits(measure.limits or UNIT)
    return min(1.0, math.exp(-mean_evidence_above(one - other, -margin, limits=limits)[-1]))


def _proven_by_bets(one: Floats, other: Floats, measure: Measure, look: NextLook) -> PairedAnswer:
    limits, target = paired_limits(measure.limits or UNIT), math.log(2 / look.alpha)
    above, below = (
        side(one - other, 0.0, limits=limits) >= target
        for side in (mean_evidence_above, mean_evidence_below)
    )
    return _first_proof(above, below, measure, 1)


def _bets_bounds(one: Floats, other: Floats, measure: Measure, _ahead: int, alpha: float) -> Ends:
    return _bounded(one - other, alpha / 2, paired_limits(measure.limits or UNIT))


def _first_proof(
    above: NDArray[np.bool_], below: NDArray[np.bool_], measure: Measure, first: int
) -> PairedAnswer:
    """The answer where A is shown to be larger than B, or smaller, at looks from `first` on."""
    decided = np.flatnonzero(above | below)
    if not decided.size:
        return PairedAnswer(0, first + above.size - 1)
    at = int(decided[0])
    sign = 1 if measure.better == "larger" else -1
    return PairedAnswer(sign if above[at] else -sign, first + at)


# Of quantiles and of means without limits: see `stats.numbers.difference`.


def _statistics(one: Floats, other: Floats, measure: Measure, shared: bool, alpha: float) -> Tested:
    found = difference(one, other, measure.of_numbers, shared=shared, alpha=alpha)
    return Tested(found.value, found.p, _with_verdict((found.low, found.high)))


def _with_verdict(ends: Ends) -> Callable[[float, bool], Ends]:
    """An interval of one level, with 0 in it unless the two are told apart."""
    low, high = ends
    return lambda _level, apart: ends if apart else (min(low, 0.0), max(high, 0.0))


def _by_shift(one: Floats, other: Floats, measure: Measure, shared: bool, margin: float) -> float:
    return p_not_larger(one + margin, other, measure.of_numbers, shared=shared)


def _means_text(measure: Measure, shared: bool) -> str:
    of_pairs = " of pairs" if shared else ""
    if measure.of_numbers.trim:
        return f"Yuen's t{of_pairs}, resampled seeds, rearranged labels"
    return f"{'Student' if shared else 'Welch'}'s t{of_pairs}, rearranged labels"


def _proven_by_quantiles(
    one: Floats, other: Floats, measure: Measure, look: NextLook
) -> PairedAnswer:
    """By the bounds of `_quantiles_bounds`, at each look from the first that is new."""
    if look.earlier.ahead:
        return look.earlier
    first = look.earlier.n + 1
    (low, high), (other_low, other_high) = (
        anytime_quantiles(
            numbers, measure.of_numbers.share or 0.5, alpha=look.alpha / 4, first=first
        )
        for numbers in (one, other)
    )
    with np.errstate(invalid="ignore"):  # two that are infinite prove nothing
        above, below = low - other_high > 0, high - other_low < 0
    return _first_proof(above, below, measure, first)


def _quantiles_bounds(
    one: Floats, other: Floats, measure: Measure, _ahead: int, alpha: float
) -> Ends:
    ends = [
        anytime_quantile(numbers, measure.of_numbers.share or 0.5, alpha=alpha / 4)
        for numbers in (one, other)
    ]
    with np.errstate(invalid="ignore"):
        low, high = float(ends[0][0] - ends[1][1]), float(ends[0][1] - ends[1][0])
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


RATES = Method(_exact_text, _exact, _by_score, _tossed, _tosses_bounds)
SIGNS = Method(proof=_tossed, bounds=_tosses_bounds)
BETS = Method(
    lambda _measure, _shared: "bets on differences",
    *(_bet, _margin_bet, _proven_by_bets, _bets_bounds),
    pairs=True,
)
QUANTILES = Method(
    lambda _measure, _shared: "order statistics",
    *(_statistics, _by_shift, _proven_by_quantiles, _quantiles_bounds),
)
MEANS = Method(_means_text, _statistics, _by_shift)
