"""A comparison of runs, configs or outcomes: which solves more seeds, and how certain that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import (
    as_html,
    capitalized,
    count,
    date,
    decimals,
    number,
    plain,
    rounded_down,
    rounded_up,
)
from xortune.core.numbers import IQM, finite
from xortune.core.outcome import Outcome, SeedCount, wilson
from xortune.core.point import Point
from xortune.core.success import Rule
from xortune.runs.results import free_name, measured_names
from xortune.stats.numbers import probability_of_larger
from xortune.stats.planning import rough_independent_seeds, shared_seeds
from xortune.stats.proportions import (
    boschloo,
    holm,
    mcnemar_two_sided,
    paired_difference,
    paired_margin_p,
    unpaired_difference,
    unpaired_margin_p,
)

# Each contestant has seeds that had no part in choosing it. Two contestants with the same seeds are
# compared seed by seed, others as independent samples.

Origin: TypeAlias = Literal["certificate", "trained", "given"]
"""The origin of a contestant's seeds: its run's certificate, trained for the comparison, given."""

Floats: TypeAlias = NDArray[np.float64]

POWER = 0.8  # the probability of telling a pair apart with `more_seeds` further seeds
MOST_SHOWN = 5  # contestants in a repr


@dataclass(frozen=True, eq=False)
class Contestant:
    """A config under fresh seeds.

    Attributes:
        label: its name, different from all others.
        key: key of the config; empty for a given outcome.
        point: the config; None for a given outcome.
        outcome: what its seeds came to.
        origin: where the seeds are from.
        facts: how it was found and trained, by name.
        notes: warnings about its seeds.
        rule: the rule for success of a user's own trainer; None if there is none or it is unknown.
        twice: two results of one seed, in a sentence, if its seeds are known not to determine their
            results; then they are compared as independent samples.
    """

    label: str
    key: str
    point: Point | None
    outcome: Outcome
    origin: Origin
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    rule: Rule | None = None
    twice: str = ""


@dataclass(frozen=True)
class Reused:
    """The seeds of a comparison that it did not train itself, but found (`reuse` of `compare`).

    Attributes:
        count: how many, of all configurations together.
        of: seeds that were trained for the comparison, now or before.
        oldest, newest: when the first and the last of them was trained, in seconds since 1970; None
            if there are none, or it is not known.
    """

    count: int
    of: int
    oldest: float | None
    newest: float | None

    def __str__(self) -> str:
        if not self.count:
            return f"none of the {self.of:,} seeds is old: all were trained now"
        when = ""
        if self.oldest is not None and self.newest is not None:
            oldest, newest = date(self.oldest), date(self.newest)
            when = (
                f", trained {f'from {oldest} to {newest}' if oldest < newest else f'on {oldest}'}"
            )
        return (
            f"{self.count:,} of the {self.of:,} seeds are old{when}; the first of each was tried "
            "again and gave the same, but what the training depends on, such as a file or a "
            "service, may have changed since"
        )


@dataclass(frozen=True)
class Pair:
    """Two contestants, A and B, compared.

    Attributes:
        a, b: their places among the contestants, a < b.
        shared: whether both have the same seeds, which are then compared one by one.
        p_margin: one-sided, of "A is worse than B by more than the margin", adjusted for all
            pairs; None without a margin.
        determined: whether seeds determine their results, as far as is known. If not, they are not
            shared, whichever they are.
        k_a, n_a, k_b, n_b: seeds solved and seeds, of those that are compared.
        wins, losses: shared seeds that only A solves, and only B; None if seeds are not shared.
        difference: rate of A minus rate of B, in [-1, 1].
        low, high: its interval, with the `confidence` of the comparison, by the score test that
            belongs to p. 0 is in it if and only if the pair does not differ.
        p: two-sided exact McNemar test of shared seeds, else Boschloo's test.
        p_holm: adjusted for all pairs.
        differs: p_holm < alpha.
        more_seeds: estimated further seeds for each that would tell them apart with probability
            `POWER` at the observed rates; None if they are told apart, equal, or too close.
        unused: seeds of A and of B that are left out because the two share only some.
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
    determined: bool = True
    p_margin: float | None = None

    @property
    def ahead(self) -> int | None:
        """The place of the one that solves more seeds; None if they are indistinguishable."""
        if not self.differs:
            return None
        return self.a if self.difference > 0 else self.b


# -------------------------------------------------------------------------------------------------
# Epochs to solve, and the numbers that trainers report of seeds: whose are better, and their means.
#
# An unsolved seed takes more epochs than any solved one. The number that a rule for success judges
# has a direction: for `accuracy >= 0.9` larger is better. There a seed without the number, which
# crashed or diverged, is worse than any with a number, so that a failed seed stays data. For other
# numbers the direction is unknown: the comparison shows whose are larger, among seeds with a
# number.
#
# Both statistics follow Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the
# Statistical Precipice", NeurIPS 34 (rliable). Their bootstrapped intervals are too narrow for few
# seeds: `stats.numbers` has others.

Better: TypeAlias = Literal["larger", "smaller", ""]  # empty: no rule gives a direction


@dataclass(frozen=True)
class Improvement:
    """The probability that a seed of A does better than a seed of B; a tie counts half.

    Attributes:
        probability: in [0, 1]; one half favours neither.
        low, high: its 95 % interval.
    """

    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class NumberSummary:
    """The summary of one contestant's numbers.

    Attributes:
        known: seeds with a finite number.
        n: seeds that count: all of them if the direction is known, else `known`.
        middle: interquartile mean; None if a seed of the middle half has no number.
        low, high: its 95 % interval; None for an end that failed seeds or too few seeds leave open.
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
        name: name of the number.
        better: which direction is better.
        of: the summary of each contestant; None if it has no such number.
        wins: for each pair the probability that the number of a seed of A is better than that of a
            seed of B (larger, if the direction is unknown); None if one of them has no number.
    """

    name: str
    better: Better
    of: tuple[NumberSummary | None, ...]
    wins: tuple[Improvement | None, ...]


def _better(name: str, rules: Sequence[Rule | None], numbers: Sequence[Floats]) -> Better:
    """What rules say of a number, if all that judge it order the numbers of all contestants."""
    every = np.concatenate(numbers)
    said = {rule.ordering(name, every) for rule in rules if rule and name in rule.names}
    if said == {True}:
        return "larger"
    return "smaller" if said == {False} else ""


def epochs_needed(outcome: Outcome) -> Floats:
    """Return float64, shape (S,): the epoch from which each seed stays solved; inf if unsolved."""
    return np.where(outcome.solved, outcome.solved_epoch, np.inf)


def values_of(outcome: Outcome, name: str, better: Better) -> Floats:
    """Return a number of each seed, float64, shape (S,), with a missing one as the worst infinity.

    If the direction is unknown, seeds without the number are left out.
    """
    return _counting(_reported(outcome, name), better)


def _summary(values: Floats, better: Better) -> NumberSummary:
    counting = _counting(values, better)
    known, n = int(np.isfinite(counting).sum()), counting.size
    middle = IQM.estimate(counting)
    if not np.isfinite(middle):
        return NumberSummary(known, n, None, None, None)
    ends = IQM.interval(counting) or (-np.inf, np.inf)
    low, high = (end if np.isfinite(end) else None for end in ends)
    return NumberSummary(known, n, middle, low, high)


def _reported(outcome: Outcome, name: str) -> Floats:
    return outcome.details.values.get(name, np.full(outcome.n, np.nan))


def _counting(values: Floats, better: Better) -> Floats:
    """Make missing numbers the worst possible, or leave them out if the direction is unknown."""
    if not better:
        return values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, -np.inf if better == "larger" else np.inf)


# -------------------------------------------------------------------------------------------------
# The comparison of all contestants, two by two.


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Several contestants, compared two by two.

    Attributes:
        contestants: in the given order.
        pairs: all pairs, in the same order.
        alpha: level of all tests together (Holm).
        margin: by how much a contestant's rate may be lower and it counts as not worse; None: not
            asked.
        confidence: of the interval of each difference: 1 minus the level at which Holm's tests end,
            alpha divided by the number of pairs that are indistinguishable.
        reused: how many seeds are old; None if none were asked for.
    """

    contestants: tuple[Contestant, ...]
    pairs: tuple[Pair, ...]
    alpha: float
    margin: float | None = None
    confidence: float = 0.95
    reused: Reused | None = None

    @cached_property
    def epochs(self) -> ComparedNumbers:
        """The epochs to solve; without contestants whose trainers count none."""
        outcomes = [one.outcome for one in self.contestants]
        needed = [epochs_needed(outcome) if outcome.epochs else None for outcome in outcomes]
        return self._compare("epochs", "smaller", needed)

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """The names of numbers: first those that a rule judges.

        Others are left out if they are the same for all seeds, or count the progress of a seed.
        """
        judged = [name for one in self.contestants if one.rule for name in one.rule.names]
        outcomes = [one.outcome for one in self.contestants]
        others = [
            name
            for name in measured_names(outcomes)
            if np.unique(finite(np.concatenate([_reported(o, name) for o in outcomes]))).size > 1
        ]
        return tuple(dict.fromkeys([*judged, *others]))

    @cached_property
    def numbers(self) -> tuple[ComparedNumbers, ...]:
        """Each of `number_names` that two contestants or more have."""
        compared = []
        for name in self.number_names:
            rules = [one.rule for one in self.contestants]
            reported = [_reported(one.outcome, name) for one in self.contestants]
            known = [bool(np.isfinite(values).any()) for values in reported]
            # A contestant that is judged by the number counts even if all of its seeds failed.
            counted = [
                values if has or (rule and name in rule.names) else None
                for values, rule, has in zip(reported, rules, known, strict=True)
            ]
            if sum(values is not None for values in counted) > 1 and any(known):
                compared.append(self._compare(name, _better(name, rules, reported), counted))
        return tuple(compared)

    def _compare(
        self, name: str, better: Better, numbers: Sequence[Floats | None]
    ) -> ComparedNumbers:
        """Compare numbers, shape (S,) of each contestant, not finite where a seed has none."""

        def won(pair: Pair) -> Improvement | None:
            first, second = numbers[pair.a], numbers[pair.b]
            if first is None or second is None:
                return None
            mine, theirs, same = compared_seeds(self.contestants[pair.a], self.contestants[pair.b])
            first, second = first[mine], second[theirs]
            if same and not better:  # both must have a number of the seed
                both = np.isfinite(first) & np.isfinite(second)
                first, second = first[both], second[both]
            first, second = (_counting(one, better) for one in (first, second))
            if not (first.size and second.size):
                return None
            if better == "smaller":
                first, second = -first, -second
            return Improvement(*probability_of_larger(first, second, shared=same))

        of = tuple(None if values is None else _summary(values, better) for values in numbers)
        return ComparedNumbers(name, better, of, tuple(map(won, self.pairs)))

    def pair(self, a: int, b: int) -> Pair:
        """Return the pair of two contestants, in either order."""
        return next(pair for pair in self.pairs if {pair.a, pair.b} == {a, b})

    def beaten_by(self, place: int) -> tuple[int, ...]:
        """Return the places of those that solve more seeds than the contestant at this place."""
        ahead = (pair.ahead for pair in self.pairs if place in (pair.a, pair.b))
        return tuple(sorted(one for one in ahead if one is not None and one != place))

    @property
    def first_is_worse(self) -> bool:
        """Whether the first contestant solves fewer seeds than another, by the tests.

        With a margin: whether it is not shown to be no worse by more than that than each other.
        """
        if self.margin is None:
            return bool(self.beaten_by(0))
        return any(not self.not_worse(pair) for pair in self.pairs if pair.a == 0)

    def not_worse(self, pair: Pair) -> bool:
        """Whether A is shown not to be worse than B by more than the margin."""
        return pair.p_margin is not None and pair.p_margin < self.alpha

    def __repr__(self) -> str:
        shown = [
            f"{one.label} {one.outcome.successes:,}/{one.outcome.n:,}" for one in self.contestants
        ]
        if len(shown) > MOST_SHOWN:
            shown = [*shown[:MOST_SHOWN], f"{len(shown) - MOST_SHOWN:,} more"]
        differ = f"{sum(pair.differs for pair in self.pairs):,} of {len(self.pairs):,} pairs differ"
        return f"RunComparison({', '.join(shown)}; {'; '.join([differ, *old_seeds(self)])})"

    def __str__(self) -> str:
        return "\n".join([answer(self)[0], *notes(self)])

    def _repr_html_(self) -> str:
        """Show how many pairs differ by which test, and the pairs, in a notebook."""
        differ = sum(pair.differs for pair in self.pairs)
        # `table` would resample epochs, which is slow.
        rows = pd.DataFrame([_row(self, pair) for pair in self.pairs])
        counts = ["a", "k_a", "n_a", "b", "k_b", "n_b", "difference", "low", "high"]
        ends = {"low": "difference_low", "high": "difference_high"}
        return as_html(
            f"{answer(self)[0]} {differ:,} of {len(self.pairs):,} pairs told apart: exact McNemar "
            f"test where seeds are shared, else Boschloo's; Holm's correction at {self.alpha:g}; "
            f"intervals of differences 95 %, each for itself. {' '.join(notes(self))}".rstrip(),
            rows[[*counts, "p_holm", "differs"]].rename(columns=ends),
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair, with `PAIR_COLUMNS`; rates and differences are fractions.

        Then follow the columns `NUMBER_ENDINGS` of each of `numbers`. A number whose columns would
        have the names of others is called `value_NAME`.
        """
        table = pd.DataFrame([_row(self, pair) for pair in self.pairs])
        table = table.join(self._cells(self.epochs, "epochs"))
        table = table.rename(columns=lambda name: name.replace("epochs_wins", "sooner"))
        whole = dict.fromkeys(("only_a", "only_b", "more_seeds"), "Int64")
        table = table[list(PAIR_COLUMNS)].astype(whole)
        endings = [f"_{ending}" for ending in NUMBER_ENDINGS]
        for numbers in self.numbers:
            name = free_name(numbers.name, table.columns, endings=endings)
            table = table.join(self._cells(numbers, name))
        return table

    def _cells(self, numbers: ComparedNumbers, name: str) -> pd.DataFrame:
        """Return the columns `NUMBER_ENDINGS`; NaN where there is no such number."""
        summaries = [(o.known, o.middle, o.low, o.high) if o else (None,) * 4 for o in numbers.of]
        wins = [astuple(win) if win else (None,) * 3 for win in numbers.wins]
        rows = [
            (*summaries[pair.a], *summaries[pair.b], *win)
            for pair, win in zip(self.pairs, wins, strict=True)
        ]
        cells = pd.DataFrame(rows, columns=list(NUMBER_ENDINGS), dtype=np.float64)
        return cells.astype({"n_a": "Int64", "n_b": "Int64"}).add_prefix(f"{name}_")


def compare_runs(
    contestants: Sequence[Contestant], *, alpha: float = 0.05, margin: float | None = None
) -> RunComparison:
    """Compare every two contestants, whose labels differ."""
    places = list(combinations(range(len(contestants)), 2))
    tested = [_tested(contestants[a], contestants[b], a, b) for a, b in places]
    adjusted = holm([pair.p for pair in tested])
    apart = adjusted < alpha
    # The strictest level of Holm: seeds that are enough at it are enough whatever other pairs give.
    level = alpha / len(tested)
    confidence = 1 - alpha / max(1, int((~apart).sum()))
    pairs = []
    for pair, p, differs in zip(tested, adjusted.tolist(), apart.tolist(), strict=True):
        low, high = _interval(pair, confidence, differs=differs)
        more = None if differs else _more_seeds(pair, level)
        verdict = {"p_holm": p, "differs": differs, "more_seeds": more}
        pairs.append(replace(pair, low=low, high=high, **verdict))
    if margin is not None:
        worse = holm([_margin_p(pair, margin) for pair in pairs]).tolist()
        pairs = [replace(pair, p_margin=p) for pair, p in zip(pairs, worse, strict=True)]
    return RunComparison(tuple(contestants), tuple(pairs), alpha, margin, confidence)


def _interval(pair: Pair, confidence: float, *, differs: bool) -> tuple[float, float]:
    """The interval of the difference."""
    asked: dict[str, Any] = {"alpha": 1 - confidence, "apart": differs}
    if pair.wins is None or pair.losses is None:
        return unpaired_difference(pair.k_a, pair.n_a, pair.k_b, pair.n_b, **asked)
    return paired_difference(pair.wins, pair.losses, pair.n_a, **asked)


def _margin_p(pair: Pair, margin: float) -> float:
    """One-sided p of "A is worse by more than the margin"."""
    if pair.wins is None or pair.losses is None:
        return unpaired_margin_p(pair.k_a, pair.n_a, pair.k_b, pair.n_b, margin)
    return paired_margin_p(pair.wins, pair.losses, pair.n_a, margin)


def _tested(first: Contestant, second: Contestant, a: int, b: int) -> Pair:
    mine, theirs, shared = compared_seeds(first, second)
    one, other = first.outcome, second.outcome
    solved, their_solved = one.solved[mine], other.solved[theirs]
    k_a, k_b = int(solved.sum()), int(their_solved.sum())
    n_a, n_b = solved.size, their_solved.size
    wins = losses = None
    if shared:
        wins, losses = int((solved & ~their_solved).sum()), int((~solved & their_solved).sum())
        p = float(mcnemar_two_sided(wins, losses))
    else:
        p = boschloo(k_a, n_a, k_b, n_b)
    return Pair(
        *(a, b, shared, k_a, n_a, k_b, n_b, wins, losses),
        difference=k_a / n_a - k_b / n_b,
        low=-1.0,
        high=1.0,
        p=p,
        p_holm=p,
        differs=False,
        more_seeds=None,
        unused=(one.n - n_a, other.n - n_b),
        determined=not (first.twice or second.twice),
    )


def compared_seeds(
    first: Contestant, second: Contestant
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Return the positions of the compared seeds of both, and whether they are the same seeds.

    A seed that both have never counts as two independent ones, unless it does not determine the
    result: then all seeds are independent trainings. If they share only some seeds,
    either these are compared one by one or the others as independent samples, whichever say more.
    The choice depends on the numbers of seeds only, not on their outcomes.
    """
    one, other = first.outcome, second.outcome
    if first.twice or second.twice:
        return np.arange(one.n), np.arange(other.n), False
    common, mine, theirs = np.intersect1d(one.seeds, other.seeds, return_indices=True)
    own = np.setdiff1d(np.arange(one.n), mine)
    their_own = np.setdiff1d(np.arange(other.n), theirs)
    unshared = 0.0
    if own.size and their_own.size:  # two samples say as much as two of this size (harmonic mean)
        unshared = 2 * own.size * their_own.size / (own.size + their_own.size)
    if common.size >= unshared:
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
# comparison.csv: one row for each pair.

PAIR_COLUMNS = (
    *("a", "b", "key_a", "key_b", "seeds"),
    *("k_a", "n_a", "rate_a", "low_a", "high_a", "k_b", "n_b", "rate_b", "low_b", "high_b"),
    *("only_a", "only_b", "difference", "low", "high", "p", "p_holm", "differs", "more_seeds"),
    *("p_margin", "not_worse"),
    *("sooner", "sooner_low", "sooner_high"),
    *(f"epochs_{ending}_{side}" for side in "ab" for ending in ("iqm", "iqm_low", "iqm_high")),
)
"""The columns of comparison.csv. `iqm` is the interquartile mean."""

NUMBER_ENDINGS = (
    *(f"{ending}_{side}" for side in "ab" for ending in ("n", "iqm", "iqm_low", "iqm_high")),
    *("wins", "wins_low", "wins_high"),
)
"""Columns of each number NAME that trainers reported: NAME_n_a (seeds of A with the number),
NAME_iqm_a and so on; NAME_wins, the probability that it is better for A than for B (larger, if no
rule gives a direction)."""


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
        "not_worse": None if comparison.margin is None else comparison.not_worse(pair),
    }


# -------------------------------------------------------------------------------------------------
# The result of a comparison in sentences; each number with the data that it rests on.

MOST_PLANNED = 20_000  # the most seeds of a plan; see `planning.shared_seeds`


def answer(comparison: RunComparison) -> list[str]:
    """Return the sentence about two contestants; of more, a headline and one for each pair."""
    if len(comparison.pairs) == 1:
        return [sentence(comparison, comparison.pairs[0])]
    bases = {_basis(comparison, pair) for pair in comparison.pairs}
    alike = len(bases) == 1
    first = f"{headline(comparison)} ({bases.pop()}.)" if alike else headline(comparison)
    return [first, *(sentence(comparison, pair, basis=not alike) for pair in comparison.pairs)]


def headline(comparison: RunComparison) -> str:
    """Return a sentence about who solves the most seeds."""
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
    """Return a sentence about two contestants, the one that is ahead first.

    Args:
        comparison: all contestants.
        pair: the two.
        basis: add the seeds and the test.
    """
    first, second = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
    counts = SeedCount(pair.k_a, pair.n_a), SeedCount(pair.k_b, pair.n_b)
    rates = [count.rate_text for count in counts]
    low, high, difference = pair.low, pair.high, pair.difference
    if pair.ahead == pair.b:
        low, high, difference = -high, -low, -difference
        first, second, rates = second, first, rates[::-1]
    numbers = (
        f"{rates[0]} against {rates[1]}, difference {points(difference, low, high)} points "
        f"{points_interval(low, high)}, {p_text(pair.p_holm)}"
    )
    if basis:
        numbers += f" ({_basis(comparison, pair)})"
    numbers += _margin_text(comparison, pair)
    if pair.differs:
        return f"{first} solves more seeds than {second}: {numbers}."
    return f"{first} is indistinguishable from {second}: {numbers}; {_more(pair)}."


def _margin_text(comparison: RunComparison, pair: Pair) -> str:
    if comparison.margin is None or pair.p_margin is None:
        return ""
    a, b = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
    told = "is not worse" if comparison.not_worse(pair) else "is not shown to be no worse"
    test = "Tango's" if pair.shared else "Miettinen and Nurminen's"
    allowed = f"{number(100 * comparison.margin)} points"
    return (
        f"; {a} {told} than {b} by more than {allowed} "
        f"(one-sided {p_text(pair.p_margin)}, {test} score test)"
    )


def points(difference: float, low: float, high: float) -> str:
    """Format a difference in percentage points: `12.8`, with as many decimals as its interval."""
    digits = decimals(low, high)
    return f"{round(100 * difference, digits) + 0.0:.{digits}f}"  # no -0.0


def points_interval(low: float, high: float) -> str:
    """Format an interval of a difference in percentage points: `[9.9, 15.8]`, rounded outwards."""
    digits = decimals(low, high)
    down, up = rounded_down(100 * low, digits) + 0.0, rounded_up(100 * high, digits) + 0.0
    return f"[{down:.{digits}f}, {up:.{digits}f}]"


def p_text(p: float) -> str:
    """Format p: `p < 0.001` or `p = 0.0314`."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def tested_by(pair: Pair) -> str:
    """Return the pair's seeds and test: `1,000 shared seeds, exact McNemar test`."""
    if pair.shared:
        return f"{count(pair.n_a, 'shared seed')}, exact McNemar test"
    relation = "none shared" if pair.determined else "not paired"
    return f"{pair.n_a:,} and {count(pair.n_b, 'seed')}, {relation}, Boschloo's exact test"


def wanted_seeds(seeds: int) -> str:
    """Format an estimated number of seeds: two digits, rounded up."""
    size = 10 ** max(0, len(str(seeds)) - 2)
    return f"{math.ceil(seeds / size) * size:,}"


class HasContestants(Protocol):
    """A comparison of contestants."""

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """In the given order."""

    @property
    def reused(self) -> Reused | None:
        """How many seeds are old; None if none were asked for."""


def old_seeds(comparison: HasContestants) -> list[str]:
    """Return how many seeds are old and from when, if old ones were asked for."""
    return [] if comparison.reused is None else [str(comparison.reused)]


def notes(comparison: HasContestants) -> list[str]:
    """Return how many seeds are old, if they were asked for, and the notes on contestants."""
    old = [f"{capitalized(sentence)}." for sentence in old_seeds(comparison)]
    return [*old, *contestant_notes(comparison)]


def contestant_notes(comparison: HasContestants) -> list[str]:
    """Return the notes on contestants, each once with the names of all that it concerns."""
    whose: dict[str, list[str]] = {}
    for one in comparison.contestants:
        unpaired = [f"{one.twice}, so its seeds are not paired with others"] * bool(one.twice)
        for note in (*unpaired, *one.notes):
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
        "as seen (a second look is a second chance to be wrong; --sequential counts its looks)"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
