"""Who is promoted next. The race of a search records counts and names the next configuration.

- `best_race` looks for the best success rate, by the rule of `racing.top_two`; it also says when
  a new configuration is worth more, and when the search ends.
- `proof_race` proves a rate, `front.front_race` looks for a front, `halving.number_race` for the
  best of a user's number, `feasible.feasible_race` for the best of what reaches a required rate.
  Where new configurations remain, `deciding.decisions` chooses between a promotion and a new one,
  by `PROMOTION_SHARE`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import cache
from math import floor

from xortune.core.errors import InputError
from xortune.core.outcome import wilson
from xortune.racing.feasible import feasible_race
from xortune.racing.front import front_race
from xortune.racing.halving import number_race
from xortune.racing.objectives import (
    constrained,
    cost_limits,
    cost_share,
    only_rate,
    only_statistic,
    worth,
)
from xortune.racing.posterior import Group
from xortune.racing.race import (
    Alike,
    Member,
    Race,
    RaceAsked,
    RaceKind,
    RaceRule,
    proven_worse,
    race_lower,
)
from xortune.racing.statement import Aim
from xortune.racing.top_two import NEW, Known, next_step
from xortune.spaces.grid import grid_size
from xortune.spaces.model import SUCCESS_RATE, RaceSettings, SearchSpace, weighs_seeds
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


def _next_to_prove(race: Race, asked: RaceAsked) -> Iterator[int]:
    """The most promising configurations, where a rate is to be proven.

    `speed` in [0, 1] decides between equal counts, see `racing.objectives.tie_break`. Prices of a
    seed within a factor of 2 are alike.
    """
    most = race.rule.finalists
    if asked.last and most is not None and len(asked.busy) >= most:
        return
    while (number := _most_promising(race, asked)) is not None:
        yield number


def _most_promising(race: Race, asked: RaceAsked) -> int | None:
    best: tuple[float, int] | None = None
    for (successes, n, _), members in race.waiting.items():
        free = (m for m in members if race.name_of(m[1]) not in asked.busy)
        if not successes or (first := next(free, None)) is None:
            continue
        flawless = asked.last and successes == n
        value = 1 - first[0] if flawless else worth(successes, n, -first[0]), -first[1]
        if (best is None or value > best) and _has_a_place(race, successes, n, first):
            best = value
    return None if best is None else -best[1]


def _has_a_place(race: Race, successes: int, n: int, member: Member) -> bool:
    """Whether fewer than `finalists` others are ahead of a member of a group."""
    if race.rule.finalists is None:
        return True
    hoped, flawless = expected_rate(successes, n), successes == n
    ahead = 0
    for (k, seeds, _), members in race.alike.items():
        if k < seeds * hoped or _low(k, seeds) < hoped:
            continue
        # The lower bound is below the mean: a configuration is not ahead of itself.
        slowest = (member[0] + NEGLIGIBLE_SPEED, math.inf)
        ahead += bisect_right(members, slowest) if flawless else len(members)
        if ahead >= race.rule.finalists:
            return False
    return True


def proof_race(rule: RaceRule) -> Race:
    """A race to prove a rate."""
    return Race(rule, RaceKind(_next_to_prove, proven_worse))


def best_race(rule: RaceRule, aim: Aim) -> Race:
    """A race for the best success rate, by the rule of `racing.top_two`.

    It names nobody also if the search can say what it wants to say. Seeds in training count as if
    they came at the rate of those that are known: the kriging believer of Ginsbourger, Le Riche and
    Carraro (2010), Kriging is well-suited to parallelize optimization. So what is in training may
    get the seeds after its next, and nobody else gets seeds that its results are expected to make
    needless.
    """

    def order(race: Race, asked: RaceAsked) -> Iterator[int]:
        if asked.last and asked.left < math.inf and _has_spent_all(race):
            return
        while True:
            members = _believed(race, asked.busy)
            groups = tuple(
                Group(k, n, count, _step(rule.rungs, n), number is not None, 2.0**price)
                for (k, n, price), (count, number) in members.items()
            )
            new = 0 if asked.last else rule.rungs[0]
            step = next_step(Known(groups, new, asked.left, race.mean_price()), aim)
            if step is None or step == NEW:
                return
            _, number = list(members.values())[step]
            assert number is not None
            yield number

    # A rate near 0 is a rate like others.
    return Race(rule, RaceKind(order, proven_worse, weighs=True, needs_success=False))


def _has_spent_all(race: Race) -> bool:
    """Whether a race with prices has spent what `finalists` times all seeds of its first cost.

    That is the limit of seeds after the last new configuration, for the price of the leader.
    """
    most, top = race.rule.finalists, race.rule.rungs[-1]
    prices = {price for _, _, price in race.alike}
    if most is None or prices <= {0}:
        return False
    paid = sum(n * 2.0**price * len(members) for (_, n, price), members in race.alike.items())
    if race.paid_before is None:
        race.paid_before = paid
    first = max(race.alike, key=lambda at: (expected_rate(at[0], at[1]), -at[2]))
    return paid - race.paid_before >= most * top * 2.0 ** first[2]


def _believed(race: Race, busy: Mapping[Hashable, int]) -> dict[Alike, tuple[int, int | None]]:
    """By count, with the seeds in training: how many, and the first that may be promoted."""
    sizes = {at: len(members) for at, members in race.alike.items()}
    ahead: dict[Alike, int] = {}
    for name, seeds in busy.items():
        number = race.enter(name)
        if (known := race.at(number)) is None:  # a new one: nothing is known of it
            continue
        successes, n, price = known[0]
        sizes[known[0]] -= 1
        at = successes + round(seeds * successes / n), n + seeds, price
        sizes[at] = sizes.get(at, 0) + 1
        if n + seeds < race.rule.rungs[-1] and not race.rows["out"][number - 1]:
            ahead[at] = min(number, ahead.get(at, number))

    def first(at: Alike) -> int | None:
        """The first of a group that is not in training and may be promoted, or else any."""
        free = (m for _, m in race.waiting.get(at, ()) if race.name_of(m) not in busy)
        return next(free, ahead.get(at))

    return {at: (size, first(at)) for at, size in sizes.items() if size}


def _step(rungs: Sequence[int], n: int) -> int:
    """Seeds up to the next rung; 0 after the last one."""
    return next((rung - n for rung in rungs if rung > n), 0)


@cache
def _low(successes: int, n: int) -> float:
    return float(wilson(successes, n)[0])


# -------------------------------------------------------------------------------------------------
# The race of a space.


def raced(space: SearchSpace) -> bool:
    """Whether configurations compete for seeds, or a proven rate ends the search."""
    return len(space.seeds.ladder) > 1 or space.stop.proven_rate is not None


def race_of(space: SearchSpace) -> Race | None:
    """The race that decides which configuration gets more seeds; None if all get the same."""
    if not raced(space):
        return None
    rule = RaceRule(space.seeds.ladder, alpha=space.seeds.alpha, finalists=space.seeds.finalists)
    if (sole := only_statistic(space.objectives)) is not None:
        limits = cost_limits(sole, space.bounds)
        return number_race(rule, share=cost_share(sole), limits=limits)
    required = constrained(space.objectives)
    if required is not None and required.required is not None:
        return feasible_race(rule, required.required)
    if not only_rate(space.objectives):
        return front_race(rule, sum(one.name != SUCCESS_RATE for one in space.objectives))
    if weighs_seeds(space.objectives, space.stop):
        return best_race(rule, aim_of(space))
    return proof_race(rule)


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
