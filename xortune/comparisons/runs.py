"""Runs, configs or outcomes beside each other: which solves more seeds, and how surely."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import as_html, count, decimals, number, plain, rounded_down, rounded_up
from xortune.core.outcome import Outcome, rate_of, wilson
from xortune.core.point import Point
from xortune.core.success import Success
from xortune.stats.planning import rough_independent_seeds, shared_seeds
from xortune.stats.proportions import (
    boschloo,
    holm,
    mcnemar_two_sided,
    paired_difference,
    unpaired_difference,
)

# Each contestant enters with seeds that had no part in choosing it. Two that were trained under
# the same seeds are compared seed by seed, others as the independent samples that they are.

Origin: TypeAlias = Literal["certificate", "trained", "given"]
"""Where a contestant's seeds are from: its run's certificate, trained for this, or as handed in."""

Floats: TypeAlias = NDArray[np.float64]

POWER = 0.8  # the chance to be told apart with `more_seeds` further ones


MOST_SHOWN = 5  # contestants in a repr


@dataclass(frozen=True, eq=False)
class Contestant:
    """What is compared: one config under fresh seeds.

    Attributes:
        label: what it is called, different from all others.
        key: of the config; empty for an outcome that was handed in.
        point: the config; None for such an outcome.
        rule: for success, of a trainer of the user's own; None if there is none, or none is known.
    """

    label: str
    key: str
    point: Point | None
    outcome: Outcome
    origin: Origin
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rule: Success | None = None


@dataclass(frozen=True)
class Pair:
    """Two contestants, A and B, compared.

    Attributes:
        a, b: their places among the contestants, a < b.
        shared: whether the seeds are the same, and so compared one by one.
        k_a, n_a, k_b, n_b: seeds solved and seeds, of those that are compared.
        wins, losses: shared seeds that only A solves, and only B; None if they are not shared.
        difference: rate of A minus that of B, in [-1, 1].
        low, high: its 95 % interval; see `stats.proportions`.
        p: exact McNemar test of shared seeds, Boschloo's of others; two-sided.
        p_holm: adjusted for all pairs.
        differs: p_holm < alpha.
        more_seeds: about how many further seeds for each would tell them apart four times in five
            if the rates are as seen; None if they are told apart, came out equal, or are too close.
        unused: seeds of A and of B that had to be left out, where they share only some.
    """

    a: int
    b: int
    shared: bool
    k_a: int
    n_a: int
    k_b: int
    n_b: int
    wins: int | None
    losses: int | None
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    differs: bool
    more_seeds: int | None
    unused: tuple[int, int]

    @property
    def ahead(self) -> int | None:
        """The one that is shown to solve more seeds; None if the two cannot be told apart."""
        if not self.differs:
            return None
        return self.a if self.difference > 0 else self.b


# -------------------------------------------------------------------------------------------------
# How soon seeds are solved, and the numbers that trainers told of them: whose are better, and their
# middles.
#
# A seed that is never solved takes longer than any that is. The judged number of a rule for success
# has a direction: of `accuracy >= 0.9` more is better. There a seed without the number, which
# crashed or diverged, is worse than any that has one, so that a failed seed stays data. Of a number
# without a rule nobody knows what is better: whose is larger is shown, of the seeds that have one.
#
# Both summaries, and the resampling, are those of Agarwal et al. (2021), "Deep Reinforcement
# Learning at the Edge of the Statistical Precipice", NeurIPS 34 (rliable). Their bootstrap is
# stratified by task; here is one task, and its seeds are drawn.

RESAMPLES, PART, RESAMPLING = 1000, 50, 0
"""Of each bootstrap, how many at once, and its seed: with another one the ends of an interval move
by a few hundredths of its length."""

TAILS = (0.025, 0.975)  # of intervals of 95 %
Better: TypeAlias = Literal["larger", "smaller", ""]  # what is better; empty where no rule says

_SIGNS: dict[str, Better] = {">": "larger", ">=": "larger", "<": "smaller", "<=": "smaller"}


@dataclass(frozen=True)
class Improvement:
    """How probable it is that a seed of A does better than another one of B; a tie counts half.

    Attributes:
        probability: in [0, 1]; one half says nothing of either.
        low, high: its 95 % interval, bootstrapped over seeds.
    """

    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Summed:
    """The numbers of one contestant in few.

    Attributes:
        known: seeds with a finite number.
        n: seeds that count: all where it is known what is better, else those of `known`.
        middle: interquartile mean; None if some of the middle half have no number.
        low, high: its 95 % interval, bootstrapped over seeds; None for an end where some of a
            resample's middle half have none.
    """

    known: int
    n: int
    middle: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ComparedNumbers:
    """One number of several contestants.

    Attributes:
        name: of the number.
        better: what is.
        of: for each contestant its numbers in few; None of one that tells no such number.
        wins: for each pair how probable it is that the number of a seed of A is better than that of
            another of B (larger, if nothing says what is better); None where one of the two has
            none.
    """

    name: str
    better: Better
    of: tuple[Summed | None, ...]
    wins: tuple[Improvement | None, ...]


def epochs_needed(outcome: Outcome) -> Floats:
    """float64, shape (S,): the epoch from which each seed stays solved; inf if it is not."""
    return np.where(outcome.solved, outcome.solved_epoch, np.inf)


def values_of(outcome: Outcome, name: str, better: Better) -> Floats:
    """Float64, shape (S,) or of the seeds that have the number if nothing says what is better.

    What is missing is infinite, on the side of what is worse.
    """
    return _counting(_told(outcome, name), better)


def improvement(first: Floats, second: Floats, *, shared: bool) -> Improvement:
    """How probable it is that A solves a seed in fewer epochs than B does another seed.

    Args:
        first: the `epochs_needed` of A, shape (S,); or other costs, of which less is better.
        second: those of B, shape (T,).
        shared: whether both are of the same seeds, in the same order: then a resample draws both
            together.
    """
    rng = np.random.default_rng(RESAMPLING)
    levels, ranks = np.unique(np.concatenate([first, second]), return_inverse=True)
    mine, theirs = ranks[: first.size], ranks[first.size :]

    def sooner(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
        """Mann and Whitney's statistic, as a share of all pairs."""
        counts = np.bincount(other, minlength=levels.size)
        not_later = np.cumsum(counts)
        return float((other.size - not_later + counts / 2)[one].mean() / other.size)

    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(first.size, size=first.size)
        also = drawn if shared else rng.integers(second.size, size=second.size)
        found.append(sooner(mine[drawn], theirs[also]))
    low, high = np.quantile(found, TAILS)
    return Improvement(sooner(mine, theirs), float(low), float(high))


def middle_half(costs: Floats) -> tuple[float | None, float | None, float | None]:
    """The mean of the middle half of costs, and the ends of its bootstrapped 95 % interval.

    Args:
        costs: the less the better, shape (S,); inf for a seed that has none.

    Returns:
        (mean, low, high): None where some of the middle half are infinite: the high end first.
    """
    from scipy.stats import trim_mean  # half a second to import

    rng = np.random.default_rng(RESAMPLING)
    found: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the largest ones
        whole = float(trim_mean(costs, 0.25))
        if not np.isfinite(whole):
            return None, None, None
        for _ in range(RESAMPLES // PART):  # all at once would fill the memory
            drawn = costs[rng.integers(costs.size, size=(PART, costs.size))]
            found += trim_mean(drawn, 0.25, axis=1).tolist()
    # Between a number and infinity there is nothing to interpolate.
    low, high = np.quantile(found, TAILS, method="inverted_cdf")
    low, high = (float(end) if np.isfinite(end) else None for end in (low, high))
    return whole, low, high


def _epochs(contestants: Sequence[Contestant], pairs: Sequence[Pair]) -> ComparedNumbers:
    counting = [
        epochs_needed(o) if o.epochs else None for o in (one.outcome for one in contestants)
    ]
    return _compared_numbers("epochs", "smaller", counting, contestants, pairs)


def _numbers(
    contestants: Sequence[Contestant], pairs: Sequence[Pair]
) -> tuple[ComparedNumbers, ...]:
    """Each number that two contestants have or more, those that are judged first."""
    judged = [one.rule.name for one in contestants if one.rule is not None]
    others = [name for one in contestants for name in one.outcome.details.values]
    found = []
    for name in dict.fromkeys([*judged, *others]):
        rules = [one.rule if one.rule and one.rule.name == name else None for one in contestants]
        told = [_told(one.outcome, name) for one in contestants]
        known = [bool(np.isfinite(values).any()) for values in told]
        # One that is judged would have had such numbers if its seeds had not failed.
        given = [
            values if rule or has else None
            for values, rule, has in zip(told, rules, known, strict=True)
        ]
        if sum(values is not None for values in given) > 1 and any(known):
            agreed = {_SIGNS.get(rule.sign, "") for rule in rules if rule}
            better = agreed.pop() if len(agreed) == 1 else ""
            found.append(_compared_numbers(name, better, given, contestants, pairs))
    return tuple(found)


def _compared_numbers(
    name: str,
    better: Better,
    given: Sequence[Floats | None],
    contestants: Sequence[Contestant],
    pairs: Sequence[Pair],
) -> ComparedNumbers:
    """Numbers of each contestant, shape (S,) and not finite where a seed has none, compared."""

    def won(pair: Pair) -> Improvement | None:
        first, second = given[pair.a], given[pair.b]
        if first is None or second is None:
            return None
        mine, theirs, same = _compared(contestants[pair.a].outcome, contestants[pair.b].outcome)
        first, second = first[mine], second[theirs]
        if same and not better:  # a seed of which one has no number is no pair
            both = np.isfinite(first) & np.isfinite(second)
            first, second = first[both], second[both]
        first, second = (_costs(_counting(one, better), better) for one in (first, second))
        return improvement(first, second, shared=same) if first.size and second.size else None

    summed = tuple(None if values is None else _summed(values, better) for values in given)
    return ComparedNumbers(name, better, summed, tuple(map(won, pairs)))


def _summed(values: Floats, better: Better) -> Summed:
    counting = _counting(values, better)
    middle, low, high = middle_half(_costs(counting, better))
    if better != "smaller":
        middle, low, high = (None if end is None else 0.0 - end for end in (middle, high, low))
    return Summed(int(np.isfinite(counting).sum()), counting.size, middle, low, high)


def _told(outcome: Outcome, name: str) -> Floats:
    return outcome.details.values.get(name, np.full(outcome.n, np.nan))


def _counting(values: Floats, better: Better) -> Floats:
    """What is missing as the worst there is, or left out where nothing says what is better."""
    if not better:
        return values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, -np.inf if better == "larger" else np.inf)


def _costs(values: Floats, better: Better) -> Floats:
    """Less is better; of numbers of which nothing is known, more."""
    return values if better == "smaller" else -values


# -------------------------------------------------------------------------------------------------
# All of them, compared two by two.


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Several contestants, compared two by two.

    Attributes:
        contestants: in the order in which they were given.
        pairs: all of them, in that order too.
        alpha: level of all tests together (Holm).
    """

    contestants: tuple[Contestant, ...]
    pairs: tuple[Pair, ...]
    alpha: float

    @cached_property
    def epochs(self) -> ComparedNumbers:
        """The epochs to solve; of a contestant whose trainer counts none, none."""
        return _epochs(self.contestants, self.pairs)

    @cached_property
    def numbers(self) -> tuple[ComparedNumbers, ...]:
        """The numbers that trainers told of the seeds, those that are judged first."""
        return _numbers(self.contestants, self.pairs)

    def pair(self, a: int, b: int) -> Pair:
        """The pair of these two, whichever comes first."""
        low, high = min(a, b), max(a, b)
        return next(pair for pair in self.pairs if (pair.a, pair.b) == (low, high))

    def beaten_by(self, place: int) -> tuple[int, ...]:
        """Who is shown to solve more seeds than the one at this place."""
        found = (pair.ahead for pair in self.pairs if place in (pair.a, pair.b))
        return tuple(sorted(one for one in found if one is not None and one != place))

    @property
    def first_is_worse(self) -> bool:
        """Whether the first contestant is shown to solve fewer seeds than another."""
        return bool(self.beaten_by(0))

    def __repr__(self) -> str:
        shown = [
            f"{one.label} {one.outcome.successes:,}/{one.outcome.n:,}" for one in self.contestants
        ]
        if len(shown) > MOST_SHOWN:
            shown = [*shown[:MOST_SHOWN], f"{len(shown) - MOST_SHOWN:,} more"]
        differ = sum(pair.differs for pair in self.pairs)
        return f"RunComparison({', '.join(shown)}; {differ:,} of {len(self.pairs):,} pairs differ)"

    def __str__(self) -> str:
        return answer(self)[0]

    def _repr_html_(self) -> str:
        """What a notebook shows: how many differ by which test, and the pairs."""
        differ = sum(pair.differs for pair in self.pairs)
        # Not `table`: that resamples epochs, which takes a while.
        rows = pd.DataFrame([_row(self, pair) for pair in self.pairs])
        counts = ["a", "k_a", "n_a", "b", "k_b", "n_b", "difference", "low", "high"]
        ends = {"low": "difference_low", "high": "difference_high"}
        return as_html(
            f"{self} {differ:,} of {len(self.pairs):,} pairs told apart: exact McNemar test where "
            f"seeds are shared, else Boschloo's; Holm's correction at {self.alpha:g}; intervals of "
            "differences 95 %, each for itself.",
            rows[[*counts, "p_holm", "differs"]].rename(columns=ends),
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with `PAIR_COLUMNS`; rates and differences as fractions.

        Behind them, for each of `numbers`, what both have: `NUMBER_ENDINGS`. A number whose columns
        would be called like others is `value_NAME`.
        """
        table = pd.DataFrame([_row(self, pair) for pair in self.pairs])
        table = table.join(self._cells(self.epochs, "epochs"))
        table = table.rename(columns=lambda name: name.replace("epochs_wins", "sooner"))
        whole = dict.fromkeys(("only_a", "only_b", "more_seeds"), "Int64")
        table = table[list(PAIR_COLUMNS)].astype(whole)
        for numbers in self.numbers:
            name = numbers.name
            while any(f"{name}_{ending}" in table for ending in NUMBER_ENDINGS):
                name = f"value_{name}"
            table = table.join(self._cells(numbers, name))
        return table

    def _cells(self, numbers: ComparedNumbers, name: str) -> pd.DataFrame:
        """Columns of `NUMBER_ENDINGS`; NaN where there is no such number."""
        few = [(o.known, o.middle, o.low, o.high) if o else (None,) * 4 for o in numbers.of]
        wins = [astuple(win) if win else (None,) * 3 for win in numbers.wins]
        rows = [(*few[p.a], *few[p.b], *win) for p, win in zip(self.pairs, wins, strict=True)]
        found = pd.DataFrame(rows, columns=list(NUMBER_ENDINGS), dtype=np.float64)
        return found.astype({"n_a": "Int64", "n_b": "Int64"}).add_prefix(f"{name}_")


def compare_runs(contestants: Sequence[Contestant], *, alpha: float = 0.05) -> RunComparison:
    """Compare every two contestants.

    Raises:
        InputError: a label given twice, an alpha out of range.
    """
    labels = [one.label for one in contestants]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"{twice!r} is given twice", field="labels", allowed="one for each")
    if not 0 < alpha < 1:
        raise InputError(f"{alpha} is out of range", field="alpha", allowed="between 0 and 1")
    places = list(combinations(range(len(contestants)), 2))
    found = [_tested(contestants[a].outcome, contestants[b].outcome, a, b) for a, b in places]
    adjusted = holm([pair.p for pair in found])
    # Of Holm's steps the first: so many seeds suffice whatever comes of the other pairs.
    level = alpha / len(found)
    pairs = []
    for pair, p in zip(found, adjusted.tolist(), strict=True):
        differs = p < alpha
        more = None if differs else _more_seeds(pair, level)
        pairs.append(replace(pair, p_holm=p, differs=differs, more_seeds=more))
    return RunComparison(tuple(contestants), tuple(pairs), alpha)


def _tested(one: Outcome, other: Outcome, a: int, b: int) -> Pair:
    mine, theirs, shared = _compared(one, other)
    solved, their_solved = one.solved[mine], other.solved[theirs]
    k_a, k_b = int(solved.sum()), int(their_solved.sum())
    n_a, n_b = solved.size, their_solved.size
    wins = losses = None
    if shared:
        wins, losses = int((solved & ~their_solved).sum()), int((~solved & their_solved).sum())
        both, neither = k_a - wins, n_a - k_a - losses
        low, high = paired_difference(both, wins, losses, neither)
        p = float(mcnemar_two_sided(wins, losses))
    else:
        low, high = unpaired_difference(k_a, n_a, k_b, n_b)
        p = boschloo(k_a, n_a, k_b, n_b)
    return Pair(
        a=a,
        b=b,
        shared=shared,
        k_a=k_a,
        n_a=n_a,
        k_b=k_b,
        n_b=n_b,
        wins=wins,
        losses=losses,
        difference=k_a / n_a - k_b / n_b,
        low=float(low),
        high=float(high),
        p=p,
        p_holm=p,
        differs=False,
        more_seeds=None,
        unused=(one.n - n_a, other.n - n_b),
    )


def _compared(one: Outcome, other: Outcome) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Positions of the seeds of both that are compared, and whether they are the same seeds.

    A seed that both have is never counted as two independent ones. Where they share only some,
    those are compared one by one, or the others as independent samples, whichever are more: a
    choice that knows how many seeds there are, and nothing of what came of them.
    """
    common, mine, theirs = np.intersect1d(one.seeds, other.seeds, return_indices=True)
    own = np.setdiff1d(np.arange(one.n), mine)
    their_own = np.setdiff1d(np.arange(other.n), theirs)
    apart = 0.0
    if own.size and their_own.size:  # two samples say as much as equal ones of this size
        apart = 2 * own.size * their_own.size / (own.size + their_own.size)
    if common.size >= apart:
        return mine, theirs, True
    return own, their_own, False


def _more_seeds(pair: Pair, level: float) -> int | None:
    p1, p2 = pair.k_a / pair.n_a, pair.k_b / pair.n_b
    if p1 == p2:
        return None
    have = min(pair.n_a, pair.n_b)
    try:
        if pair.wins is None or pair.losses is None:
            needed = rough_independent_seeds(p1, p2, alpha=level, power=POWER)
        else:
            discordance = (pair.wins + pair.losses) / pair.n_a
            needed = shared_seeds(p1, p2, alpha=level, power=POWER, discordance=discordance)
    except InputError:  # too close to be planned for
        return None
    return max(needed - have, 1)


# -------------------------------------------------------------------------------------------------
# comparison.csv: one row for each pair of what is compared.

PAIR_COLUMNS = (
    *("a", "b", "key_a", "key_b", "seeds"),
    *("k_a", "n_a", "rate_a", "low_a", "high_a", "k_b", "n_b", "rate_b", "low_b", "high_b"),
    *("only_a", "only_b", "difference", "low", "high", "p", "p_holm", "differs", "more_seeds"),
    *("sooner", "sooner_low", "sooner_high"),
    *(f"epochs_{ending}_{side}" for side in "ab" for ending in ("iqm", "iqm_low", "iqm_high")),
)
"""The columns of comparison.csv, one row for each pair. epochs_iqm is the interquartile mean."""

NUMBER_ENDINGS = (
    *(f"{ending}_{side}" for side in "ab" for ending in ("n", "iqm", "iqm_low", "iqm_high")),
    *("wins", "wins_low", "wins_high"),
)
"""Of each number NAME that trainers told: NAME_n_a, the seeds of A that have it, NAME_iqm_a, and so
on; NAME_wins, how probable it is that it is better (larger, if no rule says) for A than for B."""


def _row(comparison: RunComparison, pair: Pair) -> dict[str, object]:
    first, second = comparison.contestants[pair.a], comparison.contestants[pair.b]
    low, high = wilson([pair.k_a, pair.k_b], [pair.n_a, pair.n_b])
    return {
        **vars(pair),
        "a": first.label,
        "b": second.label,
        "key_a": first.key,
        "key_b": second.key,
        "seeds": "shared" if pair.shared else "unshared",
        "rate_a": pair.k_a / pair.n_a,
        "low_a": low[0],
        "high_a": high[0],
        "rate_b": pair.k_b / pair.n_b,
        "low_b": low[1],
        "high_b": high[1],
        "only_a": pair.wins,
        "only_b": pair.losses,
    }


# -------------------------------------------------------------------------------------------------
# What a comparison comes to, in sentences; each number with what it rests on.

MOST_PLANNED = 20_000  # seeds beyond which no plan is made; see `planning.shared_seeds`


def answer(comparison: RunComparison) -> list[str]:
    """The answer: a sentence of two contestants; of more one of all, and then one of each pair."""
    if len(comparison.pairs) == 1:
        return [sentence(comparison, comparison.pairs[0])]
    bases = {_basis(comparison, pair) for pair in comparison.pairs}
    alike = len(bases) == 1
    first = f"{headline(comparison)} ({bases.pop()}.)" if alike else headline(comparison)
    return [first, *(sentence(comparison, pair, basis=not alike) for pair in comparison.pairs)]


def headline(comparison: RunComparison) -> str:
    """Who solves the most seeds, as far as that is shown."""
    names = [plain(one.label) for one in comparison.contestants]
    losers = {place: comparison.beaten_by(place) for place in range(len(names))}
    unbeaten = [place for place, by in losers.items() if not by]
    for place in unbeaten:
        if sum(place in by for by in losers.values()) == len(names) - 1:
            return f"{names[place]} solves more seeds than each of the others."
    if len(unbeaten) == len(names):
        return f"{_listed(names)} are indistinguishable from each other."
    beaten = [name for place, name in enumerate(names) if place not in unbeaten]
    verb = "is" if len(beaten) == 1 else "are each"
    return (
        f"The best subset is {_listed([names[place] for place in unbeaten])}: {_listed(beaten)} "
        f"{verb} shown to solve fewer seeds than another."
    )


def sentence(comparison: RunComparison, pair: Pair, *, basis: bool = True) -> str:
    """What the data say of two contestants, the one that is ahead first.

    With its `basis`, the seeds and the test, if these are not said elsewhere.
    """
    first, second = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
    rates = [rate_of(pair.k_a, pair.n_a), rate_of(pair.k_b, pair.n_b)]
    low, high, difference = pair.low, pair.high, pair.difference
    if pair.ahead == pair.b:
        low, high, difference = -high, -low, -difference
        first, second, rates = second, first, rates[::-1]
    found = (
        f"{rates[0]} against {rates[1]}, difference {points(difference, low, high)} points "
        f"{points_interval(low, high)}, {p_text(pair.p_holm)}"
    )
    if basis:
        found += f" ({_basis(comparison, pair)})"
    if pair.differs:
        return f"{first} solves more seeds than {second}: {found}."
    return f"{first} is indistinguishable from {second}: {found}; {_more(pair)}."


def points(difference: float, low: float, high: float) -> str:
    """A difference in percentage points, without the unit: `12.8`, in the interval's decimals."""
    digits = decimals(low, high)
    return f"{round(100 * difference, digits) + 0.0:.{digits}f}"  # no -0.0


def points_interval(low: float, high: float) -> str:
    """An interval of a difference in percentage points: `[9.9, 15.8]`, rounded outwards."""
    digits = decimals(low, high)
    down, up = rounded_down(100 * low, digits) + 0.0, rounded_up(100 * high, digits) + 0.0
    return f"[{down:.{digits}f}, {up:.{digits}f}]"


def p_text(p: float) -> str:
    """`p < 0.001` or `p = 0.0314`."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def tested_by(pair: Pair) -> str:
    """The test that the pair's p is of, after its seeds: `1,000 shared seeds`."""
    if pair.shared:
        return f"{count(pair.n_a, 'shared seed')}, exact McNemar test"
    return f"{pair.n_a:,} and {count(pair.n_b, 'seed')}, none shared, Boschloo's exact test"


def wanted_seeds(seeds: int) -> str:
    """A number of seeds, two digits of it, rounded up: it is an estimate."""
    size = 10 ** max(0, len(str(seeds)) - 2)
    return f"{math.ceil(seeds / size) * size:,}"


def notes(comparison: RunComparison) -> list[str]:
    """What must be said of contestants, once for those of whom the same is to be said."""
    whose: dict[str, list[str]] = {}
    for one in comparison.contestants:
        for note in one.notes:
            whose.setdefault(note, []).append(plain(one.label))
    return [f"{', '.join(names)}: {note}." for note, names in whose.items()]


def _basis(comparison: RunComparison, pair: Pair) -> str:
    pairs = len(comparison.pairs)
    return tested_by(pair) + (f", Holm over {pairs} pairs" if pairs > 1 else "")


def _more(pair: Pair) -> str:
    if pair.difference == 0:
        return "as their rates are equal, no number of further seeds can be computed"
    if pair.more_seeds is None:
        return f"at rates this close more than {MOST_PLANNED:,} seeds would be needed"
    seeds = wanted_seeds(pair.more_seeds)
    each = f"{'seed' if seeds == '1' else 'seeds'}{'' if pair.shared else ' for each'}"
    return (
        f"about {seeds} more {each} would tell them apart, four times in five, if the rates are "
        "as seen"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
