"""The race where more than the success rate counts: who may still be on the Pareto front goes on.

It is about success rates all the same, and its bounds and shares of alpha are those of
`racing.race`. But a config competes only with those that cost no more in any other objective: a
network of 3 units is not stopped for one of 20 that is better.

**The promise.** With probability at least 1 - alpha, every stopped config really has a lower
success rate than another which costs no more in any other objective: by the same proof, since all
bounds hold together whoever is compared with whom. A parameter is known exactly, and then a stopped
config is dominated. Epochs to solve are what has been measured of both so far; for them the promise
says no more than that.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable

import numpy as np
from numpy.typing import NDArray

from xortune.core.counts import wilson
from xortune.racing.race import RaceRule, best_lower, is_worse


class FrontGrants:
    """A search's race for a front; like `racing.grants.Grants`, but for the costs.

    A decision compares a config with all others.
    """

    weighs = False

    def __init__(self, rule: RaceRule) -> None:
        self.rule = rule
        self._names: list[Hashable] = []
        self._numbers: dict[Hashable, int] = {}
        self._leader: Hashable = None
        # One row for each number. The costs are NaN before the first look: nobody is compared then.
        self._costs = np.empty((0, 0))
        self._k = np.zeros(0, np.int64)
        self._n = np.zeros(0, np.int64)
        self._low = np.zeros(0)
        self._proven = np.zeros(0)
        self._out = np.zeros(0, np.bool_)

    @property
    def proven(self) -> float:
        """A rate that one config at least has, by the promise; 0 before the first look."""
        return float(self._proven.max(initial=0.0))

    @property
    def leader(self) -> Hashable:
        """The config of which the highest rate is proven; None before the first look."""
        return self._leader

    def enter(self, name: Hashable) -> int:
        """As `Race.enter`."""
        number = self._numbers.get(name)
        if number is None:
            self._names.append(name)
            number = self._numbers[name] = len(self._names)
        return number

    def forget(self, name: Hashable) -> None:
        """As `racing.grants.Grants.forget`."""
        number = self._numbers.pop(name, None)
        if number is None or number > len(self._proven):
            return
        row = number - 1
        self._costs[row] = np.nan
        self._k[row] = self._n[row] = 0
        self._low[row] = self._proven[row] = 0.0
        if self._leader == name:
            best = int(self._proven.argmax())
            self._leader = self._names[best] if self._n[best] else None

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
        """As `racing.grants.Grants.see`.

        `costs` are those in each other objective; less is better, inf is allowed.
        """
        number = self.enter(name)
        self._make_room(number, len(costs))
        row = number - 1
        least = float(self._proven[row])
        proven = best_lower(successes, n, number, least, alpha=self.rule.alpha)
        if self._leader is None or proven > self.proven:
            self._leader = name
        self._costs[row], self._proven[row] = costs, proven
        self._k[row], self._n[row] = successes, n
        self._low[row] = float(wilson(successes, n)[0])

    def next(self, busy: Collection[Hashable], *, last: bool = False) -> Hashable:  # noqa: ARG002
        """The config that shall climb; None if there is none.

        The one expected to succeed most often, of those that are not proven worse than another of
        no higher costs, and that have fewer than `finalists` others ahead: of no higher costs, and
        shown to do as well as it is expected to (by the lower end of Wilson's interval).
        """
        known = self._n > 0
        hoped = np.where(known, (self._k + 1) / (self._n + 2), 0.0)
        may = known & ~self._out & (self._k > 0) & (self._n < self.rule.rungs[-1])
        for row in np.lexsort((np.arange(len(hoped)), -hoped)):
            if not may[row] or self._names[row] in busy:
                continue
            rivals = self._rivals(int(row))
            ahead = rivals & (self._low >= hoped[row])
            if self.rule.finalists is not None and ahead.sum() >= self.rule.finalists:
                continue
            if self._is_worse(int(row), rivals):
                continue
            return self._names[int(row)]
        return None

    def gives_up(self, name: Hashable) -> bool:
        """As `racing.grants.Grants.gives_up`: of no higher costs."""
        row = self.enter(name) - 1
        if row >= len(self._out) or not self._n[row]:
            return False
        return bool(self._out[row]) or self._is_worse(row, self._rivals(row))

    def _rivals(self, row: int) -> NDArray[np.bool_]:
        """Who costs no more in anything."""
        rivals: NDArray[np.bool_] = np.all(self._costs <= self._costs[row], axis=1)
        rivals[row] = False
        return rivals

    def _is_worse(self, row: int, rivals: NDArray[np.bool_]) -> bool:
        best = float(self._proven[rivals].max(initial=0.0))
        worse = is_worse(int(self._k[row]), int(self._n[row]), row + 1, best, alpha=self.rule.alpha)
        self._out[row] |= worse
        return worse

    def _make_room(self, number: int, width: int) -> None:
        have = len(self._proven)
        if number > have:
            more = max(number, 2 * have) - have
            rows = np.full((more, width), np.nan)
            self._costs = np.vstack([self._costs.reshape(have, width), rows])
            self._k = np.append(self._k, np.zeros(more, np.int64))
            self._n = np.append(self._n, np.zeros(more, np.int64))
            self._low = np.append(self._low, np.zeros(more))
            self._proven = np.append(self._proven, np.zeros(more))
            self._out = np.append(self._out, np.zeros(more, np.bool_))
