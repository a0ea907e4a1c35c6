"""The race where more than the success rate counts: who may still be on the Pareto front goes on.

It is about success rates all the same, and its bounds and shares of alpha are those of
`xortune.race`. But a config competes only with those that cost no more in any other objective: a
network of 3 units is not stopped for one of 20 that is better.

**The promise.** With probability at least 1 - alpha, every stopped config really has a lower
success rate than another which costs no more in any other objective: by the same proof, since all
bounds hold together whoever is compared with whom. A parameter is known exactly, and then a stopped
config is dominated. Epochs to solve are what has been measured of both so far; for them the promise
says no more than that.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from xortune.race import Decision, RaceRule, best_lower, is_worse
from xortune.stats import wilson

__all__ = ["FrontRace"]


class FrontRace:
    """A race under way; like `xortune.race.Race`, but for the costs. A look compares with all."""

    def __init__(self, rule: RaceRule) -> None:
        self.rule = rule
        self._numbers: dict[Hashable, int] = {}
        self._counts: dict[int, tuple[int, int]] = {}  # by number
        self._leader: Hashable = None
        # One row for each number: the costs (NaN before the first look, so that nobody is compared
        # with it), what is proven of the rate, and Wilson's bound where it has climbed, else 0.
        self._costs = np.empty((0, 0))
        self._proven = np.zeros(0)
        self._low = np.zeros(0)

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
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    def look(
        self, name: Hashable, successes: int, n: int, *, costs: tuple[float, ...], base: int = 0
    ) -> Decision:
        """Take in a config's results so far, and decide what it gets.

        It is `stopped` when it is proven worse than another of no higher costs, and `enough` when
        so many as `finalists` of no higher costs are shown to do as well: then it is most probably
        not on the front, or one of many there.

        Args:
            name: the config, entered or not.
            successes: of all its seeds so far.
            n: its seeds so far, at least 1.
            costs: what it costs in each other objective, less is better; inf is allowed.
            base: seeds of an earlier turn that is over; the rungs are counted from there.
        """
        number = self.enter(name)
        self._make_room(number, len(costs))
        row, alpha = number - 1, self.rule.alpha
        self._counts[number] = successes, n
        proven = best_lower(successes, n, number, float(self._proven[row]), alpha=alpha)
        if self._leader is None or proven > self.proven:
            self._leader = name
        self._costs[row], self._proven[row] = costs, proven
        climbed = n > self.rule.rungs[0]
        self._low[row] = float(wilson(successes, n)[0]) if climbed else 0.0
        rivals = np.atleast_1d(np.all(self._costs <= costs, axis=1))
        rivals[row] = False
        first = int(np.where(rivals, self._proven, -1.0).argmax())
        if rivals[first] and is_worse(
            successes, n, number, float(self._proven[first]), alpha=alpha
        ):
            k, seeds = self._counts[first + 1]
            why = f"worse than {k} of {seeds} of one that costs no more"
            return Decision("stopped", n, f"{successes} of {n}: {why}")
        following = next((base + rung for rung in self.rule.rungs if base + rung > n), None)
        if following is None:
            return Decision("full", n, f"{successes} of {n}: it has had all seeds")
        expected = (successes + 1) / (n + 2)  # the mean of a rate after such a count
        ahead = int(np.count_nonzero(rivals & (self._low >= expected)))
        if self.rule.finalists is not None and ahead >= self.rule.finalists:
            why = f"{ahead} others are shown to do as well and cost no more"
            return Decision("enough", n, f"{successes} of {n}: {why}")
        return Decision("climbs", following, f"{successes} of {n}: not worse than another")

    def _make_room(self, number: int, width: int) -> None:
        have = len(self._proven)
        if number > have:
            more = max(number, 2 * have) - have
            rows = np.full((more, width), np.nan)
            self._costs = np.vstack([self._costs.reshape(have, width), rows])
            self._proven = np.append(self._proven, np.zeros(more))
            self._low = np.append(self._low, np.zeros(more))
