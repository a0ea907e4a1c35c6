"""The race with several objectives: configurations that may still be on the Pareto front go on.

It compares success rates, with the bounds and shares of alpha of `racing.race`. But a configuration
competes only with those that cost no more in any other objective: a network of 3 units is not
stopped for a better one of 20 units.

**The promise.** With probability at least 1 - alpha, every stopped configuration really has a lower
success rate than another one that costs no more in any other objective. The proof is the same: all
bounds hold together, whichever configurations are compared. A parameter is known exactly, so a
stopped configuration is dominated. Epochs to solve are those measured so far, and the promise holds
for these measurements only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import SeedCount, wilson
from xortune.racing.race import Race, RaceAsked, RaceKind, RaceRule, SeenFacts, best_lower


def _next_on_front(race: Race, asked: RaceAsked) -> Iterator[int]:
    """The numbers of those that may be promoted, the next one first.

    They have the highest expected rates of those that have fewer than `finalists` others ahead.
    Ahead are those of no higher costs whose lower end of Wilson's interval reaches that rate.
    """
    rows, most = race.rows, race.rule.finalists
    k, n = rows["k"], rows["n"]
    rates = np.where(n > 0, (k + 1) / (n + 2), 0.0)
    may = (k > 0) & (n < race.rule.rungs[-1]) & ~rows["out"]
    for row in np.argsort(-rates, kind="stable").tolist():
        if not may[row] or race.name_of(row + 1) in asked.busy:
            continue
        ahead = _rivals(race, row + 1) & (rows["low"] >= rates[row])
        if most is None or ahead.sum() < most:
            yield row + 1


def _rivals(race: Race, number: int) -> NDArray[np.bool_]:
    """bool, shape (C,): the other configurations that cost no more in any objective."""
    costs = race.rows["costs"]
    rivals: NDArray[np.bool_] = np.all(costs <= costs[number - 1], axis=1)
    rivals[number - 1] = False
    return rivals


def _look(race: Race, number: int, seen: SeedCount, facts: SeenFacts) -> None:
    row = race.rows[number - 1]
    least = float(row["proven"])
    row["proven"] = best_lower(seen.k, seen.n, number, least, alpha=race.rule.alpha)
    row["low"], row["costs"] = float(wilson(seen.k, seen.n)[0]), facts.costs


def _stops(race: Race, number: int) -> bool:
    """Whether another of no higher costs has a proven rate that is better."""
    best = race.rows["proven"][_rivals(race, number)].max(initial=0.0)
    return race.stop_below(number, float(best))


def front_race(rule: RaceRule, costs: int) -> Race:
    """A race for a front, of so many objectives beside the rate: less is better in each.

    A decision compares all configurations.
    """
    columns = (("low", "f8"), ("proven", "f8"), ("costs", "f8", (costs,)))
    kind = RaceKind(_next_on_front, _stops, _look, columns, costs_change=True)
    return Race(rule, kind)
