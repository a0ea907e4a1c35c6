"""Who is promoted next. The race of a search records counts and names the next configuration.

- `BestGrants` looks for the best success rate, by the rule of `racing.top_two`; it also says when
  a new configuration is worth more, and when the search ends.
- `Grants` proves a rate, `front.FrontGrants` looks for a front, `halving.NumberGrants` for the best
  of a user's number, `feasible.FeasibleGrants` for the best of what reaches a required rate. Where
  new configurations remain, `deciding.decisions` chooses between a promotion and a new one, by
  `PROMOTION_SHARE`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Hashable, Mapping
from functools import cache
from math import floor

from xortune.core.errors import InputError
from xortune.core.outcome import SeedCount, wilson
from xortune.racing.feasible import FeasibleGrants
from xortune.racing.front import FrontGrants
from xortune.racing.halving import NumberGrants
from xortune.racing.objectives import (
    constrained,
    cost_limits,
    cost_share,
    only_rate,
    only_statistic,
    worth,
)
from xortune.racing.posterior import Group
from xortune.racing.race import RaceRule, SeedRace, SeenFacts, race_lower
from xortune.racing.statement import Aim
from xortune.racing.top_two import NEW, Known, next_step
from xortune.spaces.grid import grid_size
from xortune.spaces.model import RaceSettings, SearchSpace, weighs_seeds
from xortune.stats.planning import fewest_seeds
from xortune.stats.proportions import expected_rate

# -------------------------------------------------------------------------------------------------
# Promotion of the most promising configuration, where a rate is to be proven. docs/racing.md has
# the rule, and benchmarks/README.md compares it with others. It stops no configuration: one that
# waits may go on when others fall behind. Only proven worse ones are out for good, by the promise
# of `racing.race`.

PROMOTION_SHARE = 0.5
"""The share of seeds that goes to promotions; the rest goes to new configurations."""

NEGLIGIBLE_SPEED = 0.005
"""A negligible difference in speed: about a tenth of the epochs. After few seeds the quickest of
many configurations are lucky, and would all be promoted to the top."""

Alike = tuple[int, int, int]
"""Successes, seeds, and the class of their price: between such configurations no rule chooses."""


Waiting = tuple[float, int]
"""Minus the speed, and the number: the quickest first, then the oldest."""


class Grants(SeedRace):
    """A search's race to prove a rate: decides who is promoted next.

    Configurations with equal counts are grouped, so that a decision looks at some dozens of counts
    instead of a million configurations. `speed` in [0, 1] decides between equal counts, see
    `racing.objectives.tie_break`. Prices of a seed within a factor of 2 are alike.
    """

    def __init__(self, rule: RaceRule) -> None:
        super().__init__(rule, speed="f8", price="i8", out="?")
        self._rungs = rule.rungs
        self._top, self._most = rule.rungs[-1], rule.finalists
        self._all: dict[Alike, list[Waiting]] = {}
        self._open: dict[Alike, list[Waiting]] = {}  # those that may be promoted

    def _look(self, number: int, seen: SeedCount, facts: SeenFacts) -> None:
        self._withdraw(number)
        price = self._mean_price() if facts.price is None else facts.price  # no seed of it says one
        alike = seen.k, seen.n, round(math.log2(price))
        row, waiting = self.rows[number - 1], (-facts.speed, number)
        row["speed"], row["price"] = facts.speed, alike[2]
        insort(self._all.setdefault(alike, []), waiting)
        if seen.n < self._top and (seen.k or self.weighs) and not row["out"]:
            insort(self._open.setdefault(alike, []), waiting)

    def _at(self, number: int) -> tuple[Alike, float] | None:
        """Where a configuration is, and its speed; None before the first look."""
        if (row := self.row(number)) is None:
            return None
        k, n, speed, price, _ = row.tolist()
        return (k, n, price), speed

    def _mean_price(self) -> float:
        """The mean price of a seed of all configurations."""
        sizes = [(price, len(members)) for (_, _, price), members in self._all.items()]
        if not any(price for price, _ in sizes):
            return 1.0
        return sum(2.0**price * size for price, size in sizes) / sum(size for _, size in sizes)

    def _withdraw(self, number: int) -> None:
        if (at := self._at(number)) is not None:
            _remove(self._all, *at, number)
            _remove(self._open, *at, number)

    def next(
        self, busy: Mapping[Hashable, int], *, last: bool = False, left: float = math.inf
    ) -> Hashable:
        """As `SeedRace.next`."""
        del left
        if last and self._most is not None and len(busy) >= self._most:
            return None
        while (number := self._best(busy, last=last)) is not None:
            name = self._race.name_of(number)
            if not self.is_stopped(name):
                return name
        return None

    def is_stopped(self, name: Hashable) -> bool:
        """As `SeedRace.is_stopped`."""
        number = self.enter(name)
        if (row := self.row(number)) is None:
            return False
        if not row["out"] and self._race.is_stopped(name, int(row["k"]), int(row["n"])):
            row["out"] = True
            if (at := self._at(number)) is not None:
                _remove(self._open, *at, number)
        return bool(row["out"])

    def _best(self, busy: Mapping[Hashable, int], *, last: bool) -> int | None:
        best: tuple[float, int] | None = None
        for (successes, n, _), members in self._open.items():
            if not successes:
                continue
            free = (m for m in members if self._race.name_of(m[1]) not in busy)
            if (first := next(free, None)) is None:
                continue
            flawless = last and successes == n
            value = 1 - first[0] if flawless else worth(successes, n, -first[0]), -first[1]
            if (best is None or value > best) and self._has_a_place(successes, n, first):
                best = value
        return None if best is None else -best[1]

    def _has_a_place(self, successes: int, n: int, member: Waiting) -> bool:
        """Whether fewer than `finalists` others are ahead of a member of a group."""
        if self._most is None:
            return True
        hoped, flawless = expected_rate(successes, n), successes == n
        ahead = 0
        for (k, seeds, _), members in self._all.items():
            if k < seeds * hoped or _low(k, seeds) < hoped:
                continue
            # The lower bound is below the mean: a configuration is not ahead of itself.
            slowest = (member[0] + NEGLIGIBLE_SPEED, math.inf)
            ahead += bisect_right(members, slowest) if flawless else len(members)
            if ahead >= self._most:
                return False
        return True


class BestGrants(Grants):
    """A search's race for the best success rate, by the rule of `racing.top_two`."""

    weighs = True
    needs_success = False  # a rate near 0 is a rate like others

    def __init__(self, rule: RaceRule, aim: Aim) -> None:
        super().__init__(rule)
        self._aim = aim
        self._paid_before: float | None = None  # for seeds up to the last new configuration

    def next(
        self, busy: Mapping[Hashable, int], *, last: bool = False, left: float = math.inf
    ) -> Hashable:
        """As `SeedRace.next`; None also if the search can say what it wants to say.

        Seeds in training count as if they came at the rate of those that are known: the kriging
        believer of Ginsbourger, Le Riche and Carraro (2010), Kriging is well-suited to parallelize
        optimization. So what is in training may get the seeds after its next, and nobody else gets
        seeds that its results are expected to make needless.
        """
        if last and left < math.inf and self._has_spent_all():
            return None
        while True:
            members = self._believed(busy)
            groups = tuple(
                Group(k, n, count, self._step(n), number is not None, 2.0**price)
                for (k, n, price), (count, number) in members.items()
            )
            known = Known(groups, 0 if last else self._rungs[0], left, self._mean_price())
            step = next_step(known, self._aim)
            if step is None or step == NEW:
                return None
            _, number = list(members.values())[step]
            assert number is not None
            name = self._race.name_of(number)
            if not self.is_stopped(name):
                return name

    def _has_spent_all(self) -> bool:
        """Whether a race with prices has spent what `finalists` times all seeds of its first cost.

        That is the limit of seeds after the last new configuration, for the price of the leader.
        """
        prices = {price for _, _, price in self._all}
        if self._most is None or prices <= {0}:
            return False
        paid = sum(n * 2.0**price * len(members) for (_, n, price), members in self._all.items())
        if self._paid_before is None:
            self._paid_before = paid
        first = max(self._all, key=lambda at: (expected_rate(at[0], at[1]), -at[2]))
        return paid - self._paid_before >= self._most * self._top * 2.0 ** first[2]

    def _believed(self, busy: Mapping[Hashable, int]) -> dict[Alike, tuple[int, int | None]]:
        """By count, with the seeds in training: how many, and the first that may be promoted."""
        sizes = {at: len(members) for at, members in self._all.items()}
        ahead: dict[Alike, int] = {}
        for name, seeds in busy.items():
            number = self.enter(name)
            if (known := self._at(number)) is None:  # a new one: nothing is known of it
                continue
            successes, n, price = known[0]
            sizes[known[0]] -= 1
            at = successes + round(seeds * successes / n), n + seeds, price
            sizes[at] = sizes.get(at, 0) + 1
            if n + seeds < self._top and not self.rows[number - 1]["out"]:
                ahead[at] = min(number, ahead.get(at, number))
        free = {at: self._free(at, busy) for at in sizes}
        return {
            at: (size, ahead.get(at) if free[at] is None else free[at])
            for at, size in sizes.items()
            if size
        }

    def _free(self, at: Alike, busy: Collection[Hashable]) -> int | None:
        """The first of a group that is not in training and may be promoted."""
        members = self._open.get(at, ())
        return next((m for _, m in members if self._race.name_of(m) not in busy), None)

    def _step(self, n: int) -> int:
        place = bisect_right(self._rungs, n)
        return self._rungs[place] - n if place < len(self._rungs) else 0


def _remove(groups: dict[Alike, list[Waiting]], at: Alike, speed: float, number: int) -> None:
    members = groups.get(at)
    if members is None:
        return
    place = bisect_left(members, (-speed, number))
    if place < len(members) and members[place] == (-speed, number):
        del members[place]
    if not members:
        del groups[at]


@cache
def _low(successes: int, n: int) -> float:
    return float(wilson(successes, n)[0])


# -------------------------------------------------------------------------------------------------
# The race of a space.


def raced(space: SearchSpace) -> bool:
    """Whether configurations compete for seeds, or a proven rate ends the search."""
    return len(space.seeds.ladder) > 1 or space.stop.proven_rate is not None


def race_of(space: SearchSpace) -> SeedRace | None:
    """The race that decides which configuration gets more seeds; None if all get the same."""
    if not raced(space):
        return None
    rule = RaceRule(space.seeds.ladder, alpha=space.seeds.alpha, finalists=space.seeds.finalists)
    if (sole := only_statistic(space.objectives)) is not None:
        limits = cost_limits(sole, space.bounds)
        return NumberGrants(rule, share=cost_share(sole), limits=limits)
    required = constrained(space.objectives)
    if required is not None and required.required is not None:
        return FeasibleGrants(rule, required.required)
    if not only_rate(space.objectives):
        return FrontGrants(rule)
    if weighs_seeds(space.objectives, space.stop):
        return BestGrants(rule, aim_of(space))
    return Grants(rule)


def aim_of(space: SearchSpace) -> Aim:
    """What a race for the best success rate wants to say at its end."""
    race = space.seeds.race or RaceSettings()
    return Aim(race.epsilon, race.delta, space.seeds.ladder[-1])


def refuse_unprovable(space: SearchSpace) -> None:
    """Refuse a `stop: {proven_rate: ...}`, or a required rate, that cannot be proven.

    Raises:
        InputError: not even the first configuration proves the rate of a stop if it solves all its
            seeds; or the last one not the required rate, and so may not be the answer.
    """
    most, alpha = space.seeds.ladder[-1], space.seeds.alpha
    # Later configurations need more seeds: see how alpha is spent in `racing.race`.
    number = space.search.trials or grid_size(space)
    required = space.objectives[0].required
    if required is None:
        rate, first, place = space.stop.proven_rate, 1, ("stop", "proven_rate")
    else:
        rate, first, place = required.rate, number, ("require", "rate")
    if rate is None or (best := float(race_lower(most, most, first, alpha=alpha))) >= rate:
        return

    def enough(n: int) -> bool:
        return float(race_lower(n, n, number, alpha=alpha)) >= rate

    def tells(n: int) -> bool:
        k = round(n * (1 + rate) / 2)
        return float(race_lower(k, n, number, alpha=alpha)) >= rate

    try:
        seeds = fewest_seeds(enough, 0, rate)
        fix = f"`race: {{max: {seeds}}}`, or such a last rung, is enough for each configuration"
        if required is not None:
            more = fewest_seeds(tells, 0, rate)
            fix += f" that never fails, {more} for one whose rate is {(1 + rate) / 2:g}"
    except InputError:
        fix = "ask for less"
    proves = f"{floor(best * 1e4) / 1e4:g}"
    raise InputError(
        f"{rate:g} can never be proven: {most:,} of {most:,} seeds prove {proves}",
        field=".".join(place),
        place=space.at(*place),
        allowed=f"at most {proves} with {most:,} seeds",
        fix=fix,
    )
