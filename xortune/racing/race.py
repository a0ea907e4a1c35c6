"""The race: which configurations are stopped, and why. `racing.grants` decides who gets more seeds.

Every configuration has an unknown success rate. It is trained under a few seeds, then looked at,
then trained under more. It is stopped if its upper bound lies below the lower bound of another. A
look at one configuration never waits for another one.

**The promise.** With probability at least 1 - alpha, *every* stopped configuration really has a
lower success rate than the one it was stopped for. So no configuration whose rate is at least that
of every other is ever stopped: neither the best one nor one of several equally good ones. This
holds simultaneously over all configurations, however many join the race, and over all looks, after
every seed if wanted. Proven rates (`Race.proven`) hold within the same 1 - alpha.

*Proof.* Configuration number i = 1, 2, ... has two one-sided confidence sequences, each with error
alpha w_i / 2, and the w_i sum to 1. Each holds at all n with probability 1 - alpha w_i / 2 (Ville's
inequality; see `stats.anytime`). By the union bound all bounds of all configurations at all n hold
together with probability 1 - alpha. Then i is stopped for j only if rate_i < upper_i < lower_j <=
rate_j. The outcomes of different configurations may depend on each other: they share their seeds.
The proof assumes that the number of a configuration says nothing about its future seeds: each seed
succeeds with the configuration's rate, whatever is known when the configuration is entered. This
holds for a grid or a random search, and for a sampler that learns except for what it can learn of
the seeds, which all configurations share; see docs/racing.md. So a configuration is entered, and
numbered, before its results are looked at. It enters again, with a new number, if another version
makes its results or its trial is run again.

**How alpha is spent.** w_i = ln c (1/ln(c + i - 1) - 1/ln(c + i)) with c = 20: the sum telescopes
to 1, and w_i falls as 1/(i ln² i), about as slowly as an infinite sum allows. A bound costs
ln(1/w_i) in its exponent: 4.1 for the first, 4.7 for the tenth, 7.7 for the 200th, 9.7 for the
1000th (6/(pi² i²): 0.5, 5.1, 11.1, 14.3).

**Why not the paired test.** All configurations are trained under the same seeds, so wins and losses
on them could be compared. But the leader was chosen by looking at these seeds. So the test has to
hold for all pairs, which costs ln(1/w) twice, and it uses no more seeds than the weaker one has,
where the bounds use all seeds of the leader. benchmarks/README.md has figures.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xortune.core.errors import check_share
from xortune.core.outcome import SeedCount
from xortune.spaces.model import FLAWLESS_SEEDS
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_lower,
    anytime_upper,
)

FINALISTS = 5
"""The default number of finalists, which a search certifies."""

EVEN_SHARES = 20
"""c in `race_share`: about the first 20 configurations have nearly equal shares of alpha."""


@dataclass(frozen=True)
class RaceRule:
    """The settings of a race.

    Attributes:
        rungs: total seeds at which a configuration is looked at, strictly ascending; the last is
            the full count.
        alpha: the greatest probability that any configuration is stopped wrongly.
        finalists: where a rate is proven or there are several objectives, a search pauses a
            configuration that is not proven worse while so many others are shown to do as well and
            as soon; None never pauses one.

    Raises:
        InputError: alpha is outside (0, 1).
    """

    rungs: tuple[int, ...]
    alpha: float = 0.05
    finalists: int | None = FINALISTS

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)


LookResult: TypeAlias = Literal["continues", "full", "stopped"]
"""The result of a look: the configuration may get more seeds, has had all of them, or is proven
worse than another."""


class _Bar(NamedTuple):
    """The highest lower bound so far, and the configuration that has it."""

    lower: float
    name: Hashable


_FLOOR = _Bar(0.0, None)


def race_share(number: ArrayLike) -> NDArray[np.float64]:
    """w_i: the share of alpha of configuration number i = 1, 2, ...; all shares sum to 1."""
    i = np.asarray(number, np.float64)
    before, after = np.log(EVEN_SHARES + i - 1), np.log(EVEN_SHARES + i)
    # The difference of the inverses without cancellation.
    return np.asarray(np.log(EVEN_SHARES) * np.log1p(1 / (EVEN_SHARES + i - 1)) / (before * after))


def race_lower(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """Lower bounds of configurations' rates, which hold for all numbers at all n together.

    Counts, seeds and numbers of configurations, from 1, are broadcast; alpha is of the whole race.
    """
    return anytime_lower(successes, n, alpha=alpha * race_share(number) / 2)


def race_upper(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """Upper bounds; as `race_lower`."""
    return anytime_upper(successes, n, alpha=alpha * race_share(number) / 2)


def is_worse(successes: int, n: int, number: int, lower: float, *, alpha: float = 0.05) -> bool:
    """Whether `race_upper` is below the lower bound of another, without computing `race_upper`."""
    if successes >= n or lower <= successes / n:
        return False
    return _evidence_below(successes, n, lower) > -_log_level(number, alpha)


def best_lower(successes: int, n: int, number: int, least: float, *, alpha: float = 0.05) -> float:
    """`race_lower` if it is above `least`, else `least`; `race_lower` is rarely computed."""
    if successes / n <= least:
        return least
    if least > 0 and _evidence_above(successes, n, least) <= -_log_level(number, alpha):
        return least
    return max(least, float(race_lower(successes, n, number, alpha=alpha)))


@dataclass(frozen=True)
class SeenFacts:
    """What a race is shown of a configuration's results beside its counts.

    Attributes:
        speed: in [0, 1], more is better: decides between equal counts; see `tie_break` of
            `racing.objectives`.
        costs: one for each objective, less is better, infinite where failed seeds decide it; none
            if the success rate is the only one.
        least: with a required rate the least that the cost may be; -inf if any is possible.
        seed_costs: of a rule that judges a number: of each seed, ascending, inf for a failed one
            unless the objective says another number, shape (S,); else None.
        price: of a seed; None if seeds have none, or it is not known.
    """

    speed: float = 0.5
    costs: tuple[float, ...] = ()
    least: float = -math.inf
    seed_costs: NDArray[np.float64] | None = None
    price: float | None = None


class RaceAsked(NamedTuple):
    """What a race is asked for the next configuration with.

    Attributes:
        busy: configurations in training, with how many seeds.
        last: whether no new configurations are left.
        left: how many seeds may still be granted; infinite: without any limit.
    """

    busy: Mapping[Hashable, int]
    last: bool
    left: float


Alike: TypeAlias = tuple[int, int, int]
"""Successes, seeds, and the class of their price: between such configurations no rule chooses."""

Member: TypeAlias = tuple[float, int]
"""Minus the speed, and the number: the quickest first, then the oldest."""

Groups: TypeAlias = dict[Alike, list[Member]]


class Race:
    """A race: the table of what is known of configurations, what is proven, and a kind of race.

    A look at a configuration is one call, and costs a few logarithms. The promise holds for any
    configurations and any order of looks.

    Args:
        rule: the settings.
        kind: says who is promoted, and who is stopped for what; without one nobody is promoted.

    Attributes:
        rows: one for each number of a configuration, from 1; all 0 before the first look. Its
            columns are `k`, `n`, the speed, the class of the price of a seed, which is log2 of it,
            whether it is out for good, and those of the kind.
        alike: all configurations by their counts, so that a decision looks at some dozens of counts
            instead of a million configurations.
        waiting: those of them that may be promoted.
    """

    def __init__(self, rule: RaceRule, kind: RaceKind | None = None) -> None:
        self.rule, self.kind = rule, kind or RaceKind()
        common = [("k", "i8"), ("n", "i8"), ("speed", "f8"), ("price", "i8"), ("out", "?")]
        self.rows = np.zeros(0, [*common, *self.kind.columns])
        self.alike: Groups = {}
        self.waiting: Groups = {}
        self.paid_before: float | None = None  # for seeds up to the last new configuration
        self._numbers: dict[Hashable, int] = {}
        self._names: list[Hashable] = []  # by number - 1; a forgotten configuration has two
        self._bar, self._next = _FLOOR, _FLOOR  # the two highest, of two different configurations

    @property
    def proven(self) -> float:
        """The highest proven rate of a configuration, by the promise; 0 before the first look."""
        return self._bar.lower

    @property
    def leader(self) -> Hashable:
        """The configuration with the highest proven rate; None before the first look."""
        return self._bar.name

    def enter(self, name: Hashable) -> int:
        """The number of a configuration, from 1, in the order of entering.

        Enter a configuration before its results are known. Entering it again changes nothing.
        """
        number = self._numbers.get(name)
        if number is None:
            self._names.append(name)
            number = self._numbers[name] = len(self._names)
        return number

    def enter_anew(self, name: Hashable) -> int:
        """Give a configuration a new number, and so a new share of alpha.

        For a configuration that is run again from its first seed, since its results may differ.
        Proofs by its former results stay valid, by their own share.
        """
        self._numbers.pop(name, None)
        return self.enter(name)

    def name_of(self, number: int) -> Hashable:
        """The configuration that has, or had, a number."""
        return self._names[number - 1]

    def row(self, number: int) -> np.void | None:
        """What is known of a number; None before the first look. Writing into it changes `rows`."""
        known: np.void | None = self.rows[number - 1] if number <= len(self.rows) else None
        return known if known is not None and known["n"] else None

    def at(self, number: int) -> tuple[Alike, Member] | None:
        """Where a number is in `alike`; None before the first look."""
        if (row := self.row(number)) is None:
            return None
        return (int(row["k"]), int(row["n"]), int(row["price"])), (-float(row["speed"]), number)

    def look(self, name: Hashable, successes: int, n: int) -> LookResult:
        """Record a configuration's results so far, and decide whether it goes on."""
        self.see(name, successes, n)
        if self.is_stopped(name):
            return "stopped"
        return "continues" if n < self.rule.rungs[-1] else "full"

    def see(self, name: Hashable, successes: int, n: int, **facts: Any) -> None:
        """Record the results of a configuration.

        Args:
            name: entered or not.
            successes: of all its seeds so far.
            n: its seeds so far.
            facts: those of `SeenFacts` that are known; a kind reads what it needs.
        """
        number, have, seen = self.enter(name), len(self.rows), SeenFacts(**facts)
        if number > have:
            more = max(number, 2 * have) - have
            self.rows = np.append(self.rows, np.zeros(more, self.rows.dtype))
        self._prove(name, successes, n)
        self._withdraw(number)
        row = self.rows[number - 1]
        self.kind.look(self, number, SeedCount(successes, n), seen)
        price = self.mean_price() if seen.price is None else seen.price  # no seed of it says one
        row["k"], row["n"], row["speed"] = successes, n, seen.speed
        row["price"] = round(math.log2(price))
        at, member = (successes, n, int(row["price"])), (-seen.speed, number)
        insort(self.alike.setdefault(at, []), member)
        may = successes > 0 or not self.kind.needs_success
        if n < self.rule.rungs[-1] and may and not row["out"]:
            insort(self.waiting.setdefault(at, []), member)

    def mean_price(self) -> float:
        """The mean price of a seed of all configurations."""
        sizes = [(price, len(members)) for (_, _, price), members in self.alike.items()]
        if not any(price for price, _ in sizes):
            return 1.0
        return sum(2.0**price * size for price, size in sizes) / sum(size for _, size in sizes)

    def _prove(self, name: Hashable, successes: int, n: int) -> None:
        # The bounds of all looks hold together, so the highest one counts.
        number, leads = self.enter(name), self._bar.name == name
        least = self._bar.lower if leads else self._next.lower
        lower = best_lower(successes, n, number, least, alpha=self.rule.alpha)
        if lower <= least:
            return
        if leads:
            self._bar = _Bar(lower, name)
        elif lower > self._bar.lower:
            self._bar, self._next = _Bar(lower, name), self._bar
        else:
            self._next = _Bar(lower, name)

    def forget(self, name: Hashable) -> None:
        """Forget the results of a configuration, which enters again.

        Its new results get a new number and a new share of alpha. Configurations that its former
        results stopped stay stopped.
        """
        number = self.enter(name)
        self._withdraw(number)
        if number <= len(self.rows):
            self.rows[number - 1] = np.zeros((), self.rows.dtype)
        self.enter_anew(name)
        if name in (self._bar.name, self._next.name):
            self._bar, self._next = _FLOOR, _FLOOR
            for other, (successes, n) in enumerate(self.rows[["k", "n"]].tolist(), 1):
                if n:
                    self._prove(self.name_of(other), successes, n)

    def _withdraw(self, number: int) -> None:
        if (known := self.at(number)) is not None:
            for groups in (self.alike, self.waiting):
                _remove(groups, *known)

    def next(
        self, busy: Mapping[Hashable, int], *, last: bool = False, left: float = math.inf
    ) -> Hashable:
        """The configuration to promote; None if there is none, or a new one is worth more.

        The arguments are those of `RaceAsked`.
        """
        names = map(self.name_of, self.kind.order(self, RaceAsked(busy, last, left)))
        return next((name for name in names if not self.is_stopped(name)), None)

    def is_stopped(self, name: Hashable) -> bool:
        """Whether a configuration is proven worse than another, and so never promoted again."""
        number = self.enter(name)
        return self.row(number) is not None and self.kind.stops(self, number)

    def lower_of_others(self, number: int) -> float:
        """The highest proven rate of the other configurations."""
        leads = self._bar.name == self.name_of(number)
        return (self._next if leads else self._bar).lower

    def stop_below(self, number: int, lower: float) -> bool:
        """Whether a configuration is out for good, since its rate is proven to be below another."""
        row = self.rows[number - 1]
        if not row["out"]:
            k, n = int(row["k"]), int(row["n"])
            if is_worse(k, n, number, lower, alpha=self.rule.alpha):
                row["out"] = True
                _remove(self.waiting, (k, n, int(row["price"])), (-float(row["speed"]), number))
        return bool(row["out"])

    def continues(self, successes: int, n: int) -> bool:
        """Whether a new configuration gets its next seeds at once, before it is compared."""
        if self.kind.weighs or successes < n:
            return False
        return any(n < rung <= FLAWLESS_SEEDS for rung in self.rule.rungs)

    def may_climb(self, name: Hashable, successes: int) -> bool:
        """Whether a configuration that is not in training may get more seeds, as far as is known.

        A look at what is proven of it makes that final.
        """
        may = successes > 0 or not self.kind.needs_success
        return may and (self.kind.costs_change or not self.is_stopped(name))


def _remove(groups: Groups, at: Alike, member: Member) -> None:
    members = groups.get(at, [])
    place = bisect_left(members, member)
    if members[place : place + 1] == [member]:
        del members[place]
        if not members:
            del groups[at]


def _is_below(race: Race, number: int) -> bool:
    """Whether the rate of a configuration is proven worse than that of another, by its counts now.

    So a program that goes on with it is told no more if more seeds say otherwise.
    """
    k, n = race.rows[["k", "n"]][number - 1].tolist()
    return is_worse(k, n, number, race.lower_of_others(number), alpha=race.rule.alpha)


def proven_worse(race: Race, number: int) -> bool:
    """Whether the rate of a configuration is proven worse than that of another, for good."""
    return race.stop_below(number, race.lower_of_others(number))


@dataclass(frozen=True)
class RaceKind:
    """What makes a kind of race: functions of the table.

    Attributes:
        order: yields the numbers of the configurations that may be promoted, the next one first.
        stops: whether a configuration that has been looked at is stopped.
        look: writes the kind's own columns; the row still has the counts of the look before.
        columns: the kind's own: name, NumPy's type, and the shape if it is none.
        weighs: whether it weighs promotions against new configurations; else a fixed share decides.
        needs_success: whether a configuration without any success gets no more seeds.
        costs_change: whether a configuration that is worse now may be better later.
    """

    order: Callable[[Race, RaceAsked], Iterable[int]] = lambda _race, _asked: ()
    stops: Callable[[Race, int], bool] = _is_below
    look: Callable[[Race, int, SeedCount, SeenFacts], None] = lambda *_: None
    columns: tuple[tuple[Any, ...], ...] = ()
    weighs: bool = False
    needs_success: bool = True
    costs_change: bool = False


@cache
def _log_level(number: int, alpha: float) -> float:
    # A bound is Ville's: evidence at least -log(level) has at most the probability `level`.
    return math.log(alpha * float(race_share(number)) / 2)


@lru_cache(maxsize=4096)
def _evidence_above(successes: int, n: int, rate: float) -> float:
    # A log e-value, as that of `_evidence_below`.
    return float(anytime_evidence_above(successes, n, rate))


@lru_cache(maxsize=4096)
def _evidence_below(successes: int, n: int, rate: float) -> float:
    return float(anytime_evidence_below(successes, n, rate))
