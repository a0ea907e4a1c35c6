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
from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import wilson
from xortune.racing.race import ProvenRates, RaceRule, best_lower, is_worse

_FRONT_ROW = np.dtype(
    [
        ("k", "i8"),
        ("n", "i8"),
        ("low", "f8"),
        ("proven", "f8"),
        ("out", "?"),
    ]
)


class FrontGrants(ProvenRates):
    """A search's race for a front: as `grants.Grants`, with costs. A decision compares all."""

    def __init__(self, rule: RaceRule) -> None:
        super().__init__(rule)
        self._rule = rule
        # One row for each number. Costs are NaN before the first look, and so compare as false.
        self._rows, self._costs = np.zeros(0, _FRONT_ROW), np.empty((0, 0))

    def forget(self, name: Hashable) -> None:
        """As `grants.Grants.forget`."""
        number = self.enter(name)
        if number <= len(self._rows):
            self._rows[number - 1], self._costs[number - 1] = 0, np.nan
        rows = enumerate(self._rows.tolist(), 1)
        self._race.forget(name, ((self._race.name_of(i), k, n) for i, (k, n, *_) in rows if n))

    def see(
        self,
        name: Hashable,
        successes: int,
        n: int,
        *,
        costs: tuple[float, ...],
        **_: object,
    ) -> None:
        """As `grants.Grants.see`, with the cost in each other objective: less is better."""
        number, have = self.enter(name), len(self._rows)
        if number > have:
            more = max(number, 2 * have) - have
            empty = np.full((more, len(costs)), np.nan)
            self._costs = np.vstack([self._costs.reshape(have, len(costs)), empty])
            self._rows = np.append(self._rows, np.zeros(more, _FRONT_ROW))
        self._race.see(name, successes, n)
        row = self._rows[number - 1]
        proven = best_lower(successes, n, number, float(row["proven"]), alpha=self._rule.alpha)
        self._costs[number - 1] = costs
        low = float(wilson(successes, n)[0])
        self._rows[number - 1] = successes, n, low, proven, row["out"]

    def next(
        self,
        busy: Mapping[Hashable, int],
        *,
        last: bool = False,  # noqa: ARG002
        left: float = math.inf,  # noqa: ARG002
    ) -> Hashable:
        """The configuration to promote; None if there is none.

        It has the highest expected rate of those that are not proven worse than another of no
        higher costs, and that have fewer than `finalists` others ahead. Ahead are those of no
        higher costs whose lower end of Wilson's interval reaches its expected rate.
        """
        k, n = self._rows["k"], self._rows["n"]
        rates = np.where(n > 0, (k + 1) / (n + 2), 0.0)
        may = (k > 0) & (n < self._rule.rungs[-1]) & ~self._rows["out"]
        for row in np.argsort(-rates, kind="stable").tolist():
            if not may[row] or (name := self._race.name_of(row + 1)) in busy:
                continue
            rivals = self._rivals(row)
            ahead = rivals & (self._rows["low"] >= rates[row])
            if self._rule.finalists is not None and ahead.sum() >= self._rule.finalists:
                continue
            if not self._is_worse(row, rivals):
                return name
        return None

    def is_stopped(self, name: Hashable) -> bool:
        """Whether a configuration is proven worse than another of no higher costs."""
        row = self.enter(name) - 1
        if row >= len(self._rows) or not self._rows["n"][row]:
            return False
        return bool(self._rows["out"][row]) or self._is_worse(row, self._rivals(row))

    def may_climb(self, name: Hashable, successes: int) -> bool:  # noqa: ARG002
        """As `ProvenRates.may_climb`, without proofs: costs may change, and a look is final."""
        return successes > 0

    def _rivals(self, row: int) -> NDArray[np.bool_]:
        """bool, shape (rows,): the other configurations that cost no more in any objective."""
        rivals: NDArray[np.bool_] = np.all(self._costs <= self._costs[row], axis=1)
        rivals[row] = False
        return rivals

    def _is_worse(self, row: int, rivals: NDArray[np.bool_]) -> bool:
        best = float(self._rows["proven"][rivals].max(initial=0.0))
        most, n = int(self._rows["k"][row]), int(self._rows["n"][row])
        worse = is_worse(most, n, row + 1, best, alpha=self._rule.alpha)
        self._rows["out"][row] |= worse
        return worse
