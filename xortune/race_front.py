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
from dataclasses import dataclass

from xortune.race import Decision, RaceRule, best_lower, is_worse
from xortune.stats import wilson

__all__ = ["FrontRace"]


@dataclass(frozen=True)
class _Standing:
    """How a config stands: what is proven of its rate, its Wilson bound, its counts and costs."""

    proven: float
    low: float
    successes: int
    n: int
    costs: tuple[float, ...]


class FrontRace:
    """A race under way; like `xortune.race.Race`, but for the costs. A look goes through all."""

    def __init__(self, rule: RaceRule) -> None:
        self.rule = rule
        self._numbers: dict[Hashable, int] = {}
        self._standings: dict[Hashable, _Standing] = {}
        self._leader: Hashable = None

    @property
    def proven(self) -> float:
        """A rate that one config at least has, by the promise; 0 before the first look."""
        return 0.0 if self._leader is None else self._standings[self._leader].proven

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
        before = self._standings.get(name)
        proven = best_lower(
            successes, n, number, before.proven if before else 0.0, alpha=self.rule.alpha
        )
        low = float(wilson(successes, n)[0])
        self._standings[name] = _Standing(proven, low, successes, n, costs)
        if self._leader is None or proven > self.proven:
            self._leader = name
        rivals = [
            other
            for key, other in self._standings.items()
            if key != name
            and all(theirs <= mine for theirs, mine in zip(other.costs, costs, strict=True))
        ]
        first = max(rivals, key=lambda other: other.proven, default=None)
        if first and is_worse(successes, n, number, first.proven, alpha=self.rule.alpha):
            why = f"worse than {first.successes} of {first.n} of one that costs no more"
            return Decision("stopped", n, f"{successes} of {n}: {why}")
        following = next((base + rung for rung in self.rule.rungs if base + rung > n), None)
        if following is None:
            return Decision("full", n, f"{successes} of {n}: it has had all seeds")
        expected = (successes + 1) / (n + 2)  # the mean of a rate after such a count
        ahead = sum(other.low >= expected and other.n > self.rule.rungs[0] for other in rivals)
        if self.rule.finalists is not None and ahead >= self.rule.finalists:
            why = f"{ahead} others are shown to do as well and cost no more"
            return Decision("enough", n, f"{successes} of {n}: {why}")
        return Decision("climbs", following, f"{successes} of {n}: not worse than another")
