"""Who gets seeds next: the most promising configuration of those that may still be the best."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Hashable
from functools import cache
from heapq import nsmallest
from itertools import islice
from math import floor
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from xortune.core.errors import InputError
from xortune.core.outcome import wilson
from xortune.racing.objectives import cost_share, expected, only_rate, summed_only, worth
from xortune.racing.race import Race, RaceRule, best_lower, is_worse, race_lower, race_share
from xortune.spaces.grid import grid_size
from xortune.spaces.model import FIRST, SearchSpace, weighs_seeds
from xortune.stats.anytime import anytime_quantile
from xortune.stats.planning import fewest_seeds

# -------------------------------------------------------------------------------------------------
# What a seed is worth: the knowledge gradient KG(*) of Frazier and Powell (2010), Paradoxes in
# learning and the marginal value of information, Decision Analysis 7, 378-403, with a prior over
# rates that the search learns by expectation maximisation (Robbins 1956; Laird 1978, JASA 73,
# 805-811). docs/racing.md says how it decides, and what it assumes. A wrong prior costs seeds; it
# proves nothing, and stops nobody. Who is proven worse is out, by `racing.race`.

RATES = expit(np.linspace(logit(0.003), logit(0.9995), 32))
"""What a rate may be, as a search weighs its seeds."""

EVENLY = 4.0
"""So many configurations the even distribution over `RATES` counts for."""

LOOKS = tuple(2**i for i in range(9))
"""How many seeds ahead a search looks, in powers of two."""


CHUNK = 8
"""So many are looked at in one product."""

NEGLIGIBLE = 1e-6
"""A gain for each seed that is none: of 256 seeds 0.0003. Then a newcomer comes, which may be
quicker."""

NEGLIGIBLE_AT_THE_END = 1e-4
"""The same where no newcomer is left; then the most promising one climbs. Of configurations that
all failed every seed, each would have all seeds at `NEGLIGIBLE`."""


@cache
def _looked() -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """P(j of m seeds succeed) at each rate, the rows of each m one after the other; where m begins.

    Shapes (sum of m + 1, rates) and (looks,).
    """
    from scipy.stats import binom  # half a second to import

    rows = [binom.pmf(np.arange(m + 1)[:, None], m, RATES) for m in LOOKS]
    return _normal(np.vstack(rows)), np.cumsum([0, *(m + 1 for m in LOOKS[:-1])])


@cache
def _likelihood(successes: int, n: int) -> NDArray[np.float64]:
    log = successes * np.log(RATES) + (n - successes) * np.log1p(-RATES)
    return _normal(np.exp(log - log.max()))


def _normal(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without those that no product may be made of: subnormal numbers take 20 times as long."""
    return np.where(chances < 1e-60, 0.0, chances)


def gains(advantages: NDArray[np.float64]) -> NDArray[np.float64]:
    """What seeds are worth: the mean gain of the answer, for each seed, as far ahead as one looks.

    Args:
        advantages: of each configuration the belief in each rate, times by how much the answer
            would be better, were that the rate; shape (C, rates).

    Returns:
        The gain of m more seeds divided by m, for each m of `LOOKS`; shape (looks, C).
    """
    chances, starts = _looked()
    hoped = np.add.reduceat(np.maximum(chances @ advantages.T, 0.0), starts)
    return np.asarray(hoped / np.array(LOOKS)[:, None], np.float64)


def _most_worth(
    advantages: NDArray[np.float64],
    steps: NDArray[np.int64],
    numbers: list[int | None],
    least: float,
) -> int | None:
    """The number of whom the largest gain is expected, looking ahead its next step or further.

    No seeds gain more than to know the rate would. Few are worth that much, so few are computed.
    """
    ceilings = np.maximum(advantages, 0.0).sum(axis=1) / steps
    order = np.argsort(-ceilings, kind="stable")
    best, worth = None, least
    for at in range(0, len(order), CHUNK):
        some = order[at : at + CHUNK]
        if ceilings[some[0]] <= worth:
            break
        ahead = np.array(LOOKS)[:, None] >= steps[some]
        worths = np.where(ahead, gains(advantages[some]), 0.0).max(axis=0)
        if worths.max() > worth:
            worth = worths.max()
            # Of two with the count of the leader both are worth the same, but for rounding.
            best = numbers[some[worths >= worth * (1 - 1e-9)].min()]
    return best


# -------------------------------------------------------------------------------------------------
# Where a rate is to be proven, and once no seeds are worth anything and no newcomers are left: the
# most promising one climbs. docs/racing.md has the rule, and benchmarks/README.md how it compares
# with others. Nobody is stopped by it: who waits may go on when those ahead of it fall behind. Only
# who is proven worse is out for good, and for that the promise of `racing.race` holds.

VERIFY = 0.5
"""The share of seeds that goes to learning more of what was found."""

AS_QUICK = 0.005
"""A difference in speed that is none: about a tenth of the epochs. After few seeds the quickest of
many are the luckiest, and would all climb to the top for that."""

Waiting = tuple[float, int]
"""Minus the speed, and the number: the quickest first, then the oldest."""


def seeds_at_first(rungs: tuple[int, ...], successes: int, n: int) -> int | None:
    """The seeds to which a newcomer goes on at once, or None if it stays where it is for now."""
    if successes < n:
        return None
    return next((rung for rung in rungs if n < rung <= FIRST), None)


class ProvenRates:
    """What races of a search share in which `Race` says what is proven of success rates."""

    weighs = False
    """Whether it weighs a climb against a newcomer; else half of all seeds are for climbs."""

    def __init__(self, rule: RaceRule) -> None:
        self._race = Race(rule)

    @property
    def proven(self) -> float:
        """A rate that one configuration at least has, by the race's promise; 0 at first."""
        return self._race.proven

    @property
    def leader(self) -> Hashable:
        """The configuration of which the highest rate is proven; None at first."""
        return self._race.leader

    def enter(self, name: Hashable) -> int:
        """As `Race.enter`: before any of its results are known."""
        return self._race.enter(name)


class Grants(ProvenRates):
    """A search's race for the success rate: takes in counts, says who climbs next.

    Configurations with the same count are kept together, so that a decision looks at some dozens of
    counts, not at a million configurations.
    """

    def __init__(self, rule: RaceRule, *, weighs: bool = False) -> None:
        super().__init__(rule)
        self.weighs = weighs
        self._rungs = rule.rungs
        self._prior = np.full(len(RATES), 1 / len(RATES))
        self._top, self._most = rule.rungs[-1], rule.finalists
        self._at: dict[int, tuple[int, int, float]] = {}  # number: successes, n, speed
        self._all: dict[tuple[int, int], list[Waiting]] = {}
        self._open: dict[tuple[int, int], list[Waiting]] = {}  # those that may climb
        self._stopped: set[int] = set()

    def forget(self, name: Hashable) -> None:
        """Take back all that was seen of a configuration, which enters anew.

        Earlier proofs concern what the configuration was before. With its new seeds it gets a new
        number and a new share of alpha. Configurations that it stopped stay stopped.
        """
        number = self.enter(name)
        at = self._at.pop(number, None)
        if at is not None:
            _remove(self._all, at, number)
            _remove(self._open, at, number)
        others = ((self._race.name_of(i), k, n) for i, (k, n, _) in self._at.items())
        self._race.forget(name, others)

    def see(
        self,
        name: Hashable,
        successes: int,
        n: int,
        *,
        speed: float = 0.5,
        costs: tuple[float, ...] = (),  # noqa: ARG002  # a front has some
        seed_costs: NDArray[np.float64] | None = None,  # noqa: ARG002  # numbers have some
    ) -> None:
        """Take in all that is known of a configuration.

        Args:
            name: entered or not.
            successes: of all its seeds so far.
            n: its seeds so far, at least 1.
            speed: between 0 and 1, more is better: tells the equally good apart. Where a rule
                judges a number it is of that, and no speed: see `racing.objectives.liking`.
            costs: none here; see `FrontGrants`.
            seed_costs: none here; see `NumberGrants`.
        """
        number = self.enter(name)
        self._race.see(name, successes, n)
        if (before := self._at.get(number)) is not None:
            _remove(self._all, before, number)
            _remove(self._open, before, number)
        self._at[number] = successes, n, speed
        insort(self._all.setdefault((successes, n), []), (-speed, number))
        if n < self._top and (successes or self.weighs) and number not in self._stopped:
            insort(self._open.setdefault((successes, n), []), (-speed, number))

    def next(self, busy: Collection[Hashable], *, last: bool = False) -> Hashable:
        """The configuration that shall climb; None if there is none, or a newcomer is worth more.

        Args:
            busy: those that have seeds under way.
            last: whether no newcomers are left.
        """
        if last and self._most is not None and len(busy) >= self._most:
            return None
        if self.weighs and not last:  # the last prior stays: what a search asks changes nothing
            self._learn()
        while True:
            number = self._weighed(busy, last=last) if self.weighs else None
            if number is None and (last or not self.weighs):
                number = self._best(busy, last=last)
            if number is None:
                return None
            name = self._race.name_of(number)
            if not self.gives_up(name):
                return name

    def gives_up(self, name: Hashable) -> bool:
        """Whether a configuration is proven worse than another; it never climbs again then."""
        number = self.enter(name)
        if number in self._stopped:
            return True
        if (found := self._at.get(number)) is None:
            return False
        if not self._race.is_stopped(name, found[0], found[1]):
            return False
        self._stopped.add(number)
        _remove(self._open, found, number)
        return True

    def _learn(self) -> None:
        """Bring the prior nearer to what all counts say: two steps of expectation maximisation."""
        counts = np.array([len(members) for members in self._all.values()])
        likelihood = np.array([_likelihood(*at) for at in self._all])
        for _ in range(2 if len(counts) else 0):
            beliefs = self._prior * likelihood
            found = (counts / beliefs.sum(axis=1)) @ beliefs
            self._prior = (EVENLY / len(RATES) + found) / (EVENLY + counts.sum())

    def _weighed(self, busy: Collection[Hashable], *, last: bool) -> int | None:
        """Whose next seeds are worth more than a newcomer's, if one may come, and most of all."""
        if not self._all:
            return None
        groups = list(self._all)
        beliefs = self._prior * np.array([_likelihood(*at) for at in groups])
        beliefs /= beliefs.sum(axis=1, keepdims=True)
        means = beliefs @ RATES
        first = int(means.argmax())
        leader = self._all[groups[first]][0][1]
        others = means if len(self._all[groups[first]]) > 1 else np.delete(means, first)
        highest, second = means[first], others.max(initial=0.0)
        numbers: list[int | None] = [None]
        rows, steps = [], [self._rungs[0]]
        for row, at in enumerate(groups):
            free = (m for _, m in self._open.get(at, ()) if self._race.name_of(m) not in busy)
            for number in islice(free, 2 if row == first else 1):
                numbers.append(number)
                rows.append(row)
                steps.append(self._rungs[bisect_right(self._rungs, at[1])] - at[1])
        newcomer = np.zeros_like(self._prior) if last else self._prior
        advantages = np.vstack([newcomer, beliefs[rows]]) * (RATES - highest)
        if leader in numbers:
            advantages[numbers.index(leader)] = beliefs[first] * (second - RATES)
        least = NEGLIGIBLE_AT_THE_END if last else NEGLIGIBLE
        return _most_worth(advantages, np.minimum(steps, LOOKS[-1]), numbers, least)

    def _best(self, busy: Collection[Hashable], *, last: bool) -> int | None:
        best: tuple[float, int] | None = None
        for (successes, n), members in self._open.items():
            if not successes:
                continue
            free = (m for m in members if self._race.name_of(m[1]) not in busy)
            if (first := next(free, None)) is None:
                continue
            flawless = last and successes == n
            value = 1 - first[0] if flawless else worth(successes, n, -first[0]), -first[1]
            if (best is None or value > best) and self._may(successes, n, first):
                best = value
        return None if best is None else -best[1]

    def _may(self, successes: int, n: int, member: Waiting) -> bool:
        """Whether fewer than `finalists` others are ahead of it."""
        if self._most is None:
            return True
        hoped, flawless = expected(successes, n), successes == n
        ahead = 0
        for (k, seeds), members in self._all.items():
            if k < seeds * hoped or _low(k, seeds) < hoped:
                continue
            # The lower end is below the mean: nobody is ahead of itself.
            slowest = (member[0] + AS_QUICK, math.inf)
            ahead += bisect_right(members, slowest) if flawless else len(members)
            if ahead >= self._most:
                return False
        return True


def _remove(
    groups: dict[tuple[int, int], list[Waiting]], at: tuple[int, int, float], number: int
) -> None:
    successes, n, speed = at
    members = groups.get((successes, n))
    if members is None:
        return
    place = bisect_left(members, (-speed, number))
    if place < len(members) and members[place] == (-speed, number):
        del members[place]
    if not members:
        del groups[successes, n]


@cache
def _low(successes: int, n: int) -> float:
    return float(wilson(successes, n)[0])


# -------------------------------------------------------------------------------------------------
# The race where more than the success rate counts: who may still be on the Pareto front goes on.
#
# It is about success rates all the same, and its bounds and shares of alpha are those of
# `racing.race`. But a config competes only with those that cost no more in any other objective: a
# network of 3 units is not stopped for one of 20 that is better.
#
# **The promise.** With probability at least 1 - alpha, every stopped config really has a lower
# success rate than another which costs no more in any other objective: by the same proof, since all
# bounds hold together whoever is compared with whom. A parameter is known exactly, and then a
# stopped config is dominated. Epochs to solve are what has been measured of both so far; for them
# the promise says no more than that.

_FRONT_ROW = np.dtype([("k", "i8"), ("n", "i8"), ("low", "f8"), ("proven", "f8"), ("out", "?")])


class FrontGrants(ProvenRates):
    """A search's race for a front; like `Grants`, but for the costs.

    A decision compares a config with all others.
    """

    def __init__(self, rule: RaceRule) -> None:
        super().__init__(rule)
        self._rule = rule
        # One row for each number. The costs are NaN before the first look: nobody is compared then.
        self._rows, self._costs = np.zeros(0, _FRONT_ROW), np.empty((0, 0))

    def forget(self, name: Hashable) -> None:
        """As `Grants.forget`."""
        number = self.enter(name)
        if number <= len(self._rows):
            self._rows[number - 1], self._costs[number - 1] = 0, np.nan
        seen = [(i, row) for i, row in enumerate(self._rows.tolist(), 1) if row[1]]
        self._race.forget(name, ((self._race.name_of(i), row[0], row[1]) for i, row in seen))

    def see(
        self,
        name: Hashable,
        successes: int,
        n: int,
        *,
        costs: tuple[float, ...],
        speed: float = 0.5,  # noqa: ARG002  # where it counts, it is among the costs
        seed_costs: NDArray[np.float64] | None = None,  # noqa: ARG002
    ) -> None:
        """As `Grants.see`.

        `costs` are those in each other objective; less is better, inf is allowed.
        """
        number, have = self.enter(name), len(self._rows)
        if number > have:
            more = max(number, 2 * have) - have
            nothing = np.full((more, len(costs)), np.nan)
            self._costs = np.vstack([self._costs.reshape(have, len(costs)), nothing])
            self._rows = np.append(self._rows, np.zeros(more, _FRONT_ROW))
        self._race.see(name, successes, n)
        row = self._rows[number - 1]
        proven = best_lower(successes, n, number, float(row["proven"]), alpha=self._rule.alpha)
        self._costs[number - 1] = costs
        self._rows[number - 1] = successes, n, _low(successes, n), proven, row["out"]

    def next(self, busy: Collection[Hashable], *, last: bool = False) -> Hashable:  # noqa: ARG002
        """The config that shall climb; None if there is none.

        The one expected to succeed most often, of those that are not proven worse than another of
        no higher costs, and that have fewer than `finalists` others ahead: of no higher costs, and
        shown to do as well as it is expected to (by the lower end of Wilson's interval).
        """
        k, n = self._rows["k"], self._rows["n"]
        hoped = np.where(n > 0, (k + 1) / (n + 2), 0.0)
        may = (k > 0) & (n < self._rule.rungs[-1]) & ~self._rows["out"]
        for row in np.lexsort((np.arange(len(hoped)), -hoped)).tolist():
            if not may[row] or (name := self._race.name_of(row + 1)) in busy:
                continue
            rivals = self._rivals(row)
            ahead = rivals & (self._rows["low"] >= hoped[row])
            if self._rule.finalists is not None and ahead.sum() >= self._rule.finalists:
                continue
            if not self._is_worse(row, rivals):
                return name
        return None

    def gives_up(self, name: Hashable) -> bool:
        """As `Grants.gives_up`: of no higher costs."""
        row = self.enter(name) - 1
        if row >= len(self._rows) or not self._rows["n"][row]:
            return False
        return bool(self._rows["out"][row]) or self._is_worse(row, self._rivals(row))

    def _rivals(self, row: int) -> NDArray[np.bool_]:
        """Who costs no more in anything."""
        rivals: NDArray[np.bool_] = np.all(self._costs <= self._costs[row], axis=1)
        rivals[row] = False
        return rivals

    def _is_worse(self, row: int, rivals: NDArray[np.bool_]) -> bool:
        best = float(self._rows["proven"][rivals].max(initial=0.0))
        k, n = int(self._rows["k"][row]), int(self._rows["n"][row])
        worse = is_worse(k, n, row + 1, best, alpha=self._rule.alpha)
        self._rows["out"][row] |= worse
        return worse


# -------------------------------------------------------------------------------------------------
# The race where a number of a user's own trainer is looked for: the best of a rung climb.
#
# It is successive halving without waiting (Li et al. 2020, A System for Massively Parallel
# Hyperparameter Tuning, MLSys: ASHA), see docs/own-trainer.md. Of itself it promises nothing.
#
# A quantile has bounds that hold however often one looks, whatever the numbers are, for it is above
# x just where the rate of numbers up to x is below its share (`stats.anytime.anytime_quantile`). So
# whoever is proven worse by them is out, with the promise of `racing.race` word for word: with
# probability at least 1 - alpha every stopped config's quantile really is worse than that of the
# one it was stopped for, by the same proof and with the same shares of alpha. A seed that failed
# counts as its objective says. A mean of numbers without known limits has no such bound, and so
# nobody is stopped for one.
#
# What is proven of success rates (`stop: {proven_rate: ..}`) is so by `racing.race`, as always.

NumberMember = tuple[float, int]
"""What a config costs with the seeds of a rung, and its number: the best first, then the oldest."""


class NumberGrants(ProvenRates):
    """A search's race for an objective on numbers; like `Grants`.

    Args:
        rule: of the race.
        share: of what is looked for, if that is a quantile: of the costs that `see` is told.
    """

    def __init__(self, rule: RaceRule, *, share: float | None = None) -> None:
        super().__init__(rule)
        self._rungs, self._share, self._alpha = rule.rungs, share, rule.alpha
        # By number: the quantile costs at least, and at most, so much; of all looks.
        self._least: dict[int, float] = {}
        self._at_most: dict[int, float] = {}
        self._bars: tuple[tuple[float, int], ...] = ()  # the two that cost least at most
        self._at: dict[int, tuple[int, int]] = {}  # number: successes, n
        self._came: list[list[NumberMember]] = [[] for _ in rule.rungs]  # all that came to a rung
        self._wait: list[list[NumberMember]] = [
            [] for _ in rule.rungs
        ]  # those that have not left it

    def forget(self, name: Hashable) -> None:
        """As `Grants.forget`."""
        number = self.enter(name)
        if self._at.pop(number, None) is not None:
            for members in (*self._came, *self._wait):
                members[:] = [member for member in members if member[1] != number]
        self._least.pop(number, None)
        if self._at_most.pop(number, None) is not None:
            self._bars = tuple(nsmallest(2, ((cost, i) for i, cost in self._at_most.items())))
        others = ((self._race.name_of(i), k, n) for i, (k, n) in self._at.items())
        self._race.forget(name, others)

    def see(
        self,
        name: Hashable,
        successes: int,
        n: int,
        *,
        costs: tuple[float, ...],
        speed: float = 0.5,  # noqa: ARG002  # of a success rate
        seed_costs: NDArray[np.float64] | None = None,
    ) -> None:
        """As `Grants.see`, by the numbers of seeds.

        `costs` is one: the objective, turned so that less is better; inf where failed seeds decide.
        `seed_costs` are the numbers of the seeds, turned the same way; inf of a failed one.
        """
        number = self.enter(name)
        self._race.see(name, successes, n)
        if self._share is not None and seed_costs is not None:
            self._bound(number, seed_costs)
        before = self._at.get(number, (0, 0))[1]
        self._at[number] = successes, n
        [cost] = costs
        for place, rung in enumerate(self._rungs):
            if not before < rung <= n:
                continue
            insort(self._came[place], (cost, number))
            insort(self._wait[place], (cost, number))
            if place:  # it has left the one before
                _remove_member(self._wait[place - 1], number)

    def next(self, busy: Collection[Hashable], *, last: bool = False) -> Hashable:
        """The config that shall climb; None if there is none.

        The best of the highest rung on which one may.
        """
        for place in reversed(range(len(self._rungs) - 1)):
            came, share = self._came[place], self._rungs[place + 1] / self._rungs[place]
            most = math.ceil(len(came) / share) if last else int(len(came) / share)
            for member in self._wait[place]:
                if not math.isfinite(member[0]) or bisect_left(came, member) >= most:
                    break
                name = self._race.name_of(member[1])
                if name not in busy and not self.gives_up(name):
                    return name
        return None

    def gives_up(self, name: Hashable) -> bool:
        """Whether its quantile is proven worse than another's; of a mean nothing is proven."""
        number = self.enter(name)
        bar = next((cost for cost, other in self._bars if other != number), math.inf)
        return self._least.get(number, -math.inf) > bar

    def _bound(self, number: int, seed_costs: NDArray[np.float64]) -> None:
        # The bounds of all looks hold together: the best of them count.
        assert self._share is not None
        alpha = self._alpha * float(race_share(number)) / 2
        low, high = map(float, anytime_quantile(seed_costs, self._share, alpha=alpha))
        self._least[number] = max(low, self._least.get(number, -math.inf))
        cost = self._at_most[number] = min(high, self._at_most.get(number, math.inf))
        others = (bar for bar in self._bars if bar[1] != number)
        self._bars = tuple(nsmallest(2, [*others, (cost, number)]))


def _remove_member(members: list[NumberMember], number: int) -> None:
    at = next((at for at, member in enumerate(members) if member[1] == number), None)
    if at is not None:
        del members[at]


SeedRace: TypeAlias = Grants | NumberGrants | FrontGrants
"""What a search asks of a race; see `Grants`."""


def raced(space: SearchSpace) -> bool:
    """Whether configs compete for seeds, or one that is proven good ends the search."""
    return len(space.seeds.ladder) > 1 or space.stop.proven_rate is not None


def race_of(space: SearchSpace) -> SeedRace | None:
    """Who says which config gets more seeds; None if all get the same."""
    if not raced(space):
        return None
    rule = RaceRule(space.seeds.ladder, alpha=space.seeds.alpha, finalists=space.seeds.finalists)
    if (summed := summed_only(space.objectives)) is not None:
        return NumberGrants(rule, share=cost_share(summed))
    if not only_rate(space.objectives):
        return FrontGrants(rule)
    return Grants(rule, weighs=weighs_seeds(space.objectives, space.stop))


def refuse_unprovable(space: SearchSpace) -> None:
    """Return if `stop: {proven_rate: ...}` can end the search of a space.

    Raises:
        InputError: not even a first configuration that solves all its seeds proves such a rate.
    """
    rate, most, alpha = space.stop.proven_rate, space.seeds.ladder[-1], space.seeds.alpha
    if rate is None or (best := float(race_lower(most, most, 1, alpha=alpha))) >= rate:
        return
    # Beyond the first, a configuration needs more: see how alpha is spent in `racing.race`.
    number = space.search.trials or grid_size(space)

    def enough(n: int) -> bool:
        return float(race_lower(n, n, number, alpha=alpha)) >= rate

    try:
        seeds = fewest_seeds(enough, 0, rate)
        fix = f"`race: {{max: {seeds}}}`, or such a last rung, is enough for each configuration"
    except InputError:
        fix = "ask for less"
    proves = f"{floor(best * 1e4) / 1e4:g}"
    raise InputError(
        f"{rate:g} can never be proven: {most:,} of {most:,} seeds prove {proves}",
        field="stop.proven_rate",
        place=space.at("stop", "proven_rate"),
        allowed=f"at most {proves} with {most:,} seeds",
        fix=fix,
    )
