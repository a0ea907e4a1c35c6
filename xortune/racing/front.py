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

import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import SeedCount, wilson
from xortune.racing.race import RaceRule, SeedRace, SeenFacts, best_lower, is_worse


def next_on_front(rows: NDArray[Any], costs: NDArray[np.float64], rule: RaceRule) -> Iterator[int]:
    """The rows that may be promoted, the next one first.

    They have the highest expected rates of those that have fewer than `finalists` others ahead.
    Ahead are those of no higher costs whose lower end of Wilson's interval reaches that rate.

    Args:
        rows: of a `FrontGrants`, C of them.
        costs: shape (C, objectives).
        rule: of the race.
    """
    k, n = rows["k"], rows["n"]
    rates = np.where(n > 0, (k + 1) / (n + 2), 0.0)
    may = (k > 0) & (n < rule.rungs[-1]) & ~rows["out"]
    for row in np.argsort(-rates, kind="stable").tolist():
        if not may[row]:
            continue
        ahead = _rivals(costs, row) & (rows["low"] >= rates[row])
        if rule.finalists is None or ahead.sum() < rule.finalists:
            yield row


def _rivals(costs: NDArray[np.float64], row: int) -> NDArray[np.bool_]:
    """bool, shape (C,): the other configurations that cost no more in any objective."""
    rivals: NDArray[np.bool_] = np.all(costs <= costs[row], axis=1)
    rivals[row] = False
    return rivals


class FrontGrants(SeedRace):
    """A search's race for a front: `costs` in each other objective, less is better.

    A decision compares all configurations.
    """

    def __init__(self, rule: RaceRule) -> None:
        super().__init__(rule, low="f8", proven="f8", out="?")
        # One row for each of `rows`; NaN before the first look, which compares as false.
        self._costs = np.empty((0, 0))

    def _look(self, number: int, seen: SeedCount, facts: SeenFacts) -> None:
        if (more := len(self.rows) - (have := len(self._costs))) > 0:
            empty = np.full((more, len(facts.costs)), np.nan)
            self._costs = np.vstack([self._costs.reshape(have, len(facts.costs)), empty])
        row = self.rows[number - 1]
        least = float(row["proven"])
        row["proven"] = best_lower(seen.k, seen.n, number, least, alpha=self.rule.alpha)
        row["low"] = float(wilson(seen.k, seen.n)[0])
        self._costs[number - 1] = facts.costs

    def _withdraw(self, number: int) -> None:
        self._costs[number - 1 : number] = np.nan

    def next(
        self,
        busy: Mapping[Hashable, int],
        *,
        last: bool = False,  # noqa: ARG002
        left: float = math.inf,  # noqa: ARG002
    ) -> Hashable:
        """The first of `next_on_front` that is not in training; None if there is none."""
        for row in next_on_front(self.rows, self._costs, self.rule):
            name = self._race.name_of(row + 1)
            if name not in busy and not self._is_worse(row):
                return name
        return None

    def is_stopped(self, name: Hashable) -> bool:
        """Whether a configuration is proven worse than another of no higher costs."""
        number = self.enter(name)
        return self.row(number) is not None and self._is_worse(number - 1)

    def may_climb(self, name: Hashable, successes: int) -> bool:  # noqa: ARG002
        """As `SeedRace.may_climb`, without proofs: costs may change, and a look is final."""
        return successes > 0

    def _is_worse(self, row: int) -> bool:
        """Whether another of no higher costs has a proven rate that is better."""
        if not self.rows["out"][row]:
            best = float(self.rows["proven"][_rivals(self._costs, row)].max(initial=0.0))
            k, n = int(self.rows["k"][row]), int(self.rows["n"][row])
            self.rows["out"][row] = is_worse(k, n, row + 1, best, alpha=self.rule.alpha)
        return bool(self.rows["out"][row])
