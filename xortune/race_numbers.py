"""The race where a number of a user's own trainer is looked for: the best of a rung climb.

Of a quantile or a mean of numbers nothing is proven here as it is of success rates: what a trainer
tells has no known bounds, and so there is no bound that would hold however often one looks. A
config climbs to the next rung if it is among the best of all that have come to its own: one in so
many as the next rung has times the seeds, by the objective as it was with the seeds of that rung.
So each rung costs about as much as the one before. That is successive halving without waiting
(Li et al. 2020, A System for Massively Parallel Hyperparameter Tuning, MLSys: ASHA), and it
promises nothing: a config with an unlucky first rung may be left behind.

What is proven of success rates (`stop: {proven_rate: ..}`) is so by `xortune.race`, as always.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Collection, Hashable

from xortune.race import RaceRule
from xortune.race_next import ProvenRates

__all__ = ["NumberGrants"]

_Member = tuple[float, int]
"""What a config costs with the seeds of a rung, and its number: the best first, then the oldest."""


class NumberGrants(ProvenRates):
    """A search's race for an objective on numbers; like `xortune.race_next.Grants`."""

    def __init__(self, rule: RaceRule) -> None:
        super().__init__(rule)
        self._rungs = rule.rungs
        self._at: dict[int, tuple[int, int]] = {}  # number: successes, n
        self._came: list[list[_Member]] = [[] for _ in rule.rungs]  # all that came to a rung
        self._wait: list[list[_Member]] = [[] for _ in rule.rungs]  # those that have not left it

    def forget(self, name: Hashable) -> None:
        """As `xortune.race_next.Grants.forget`."""
        number = self.enter(name)
        if self._at.pop(number, None) is not None:
            for members in (*self._came, *self._wait):
                members[:] = [member for member in members if member[1] != number]
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
    ) -> None:
        """Take in all that is known of a config.

        Args:
            name: entered or not.
            successes: of all its seeds so far.
            n: its seeds so far, at least 1.
            costs: one: the objective, turned so that less is better; inf where failed seeds decide.
            speed: not used.
        """
        number = self.enter(name)
        self._race.see(name, successes, n)
        before = self._at.get(number, (0, 0))[1]
        self._at[number] = successes, n
        [cost] = costs
        for place, rung in enumerate(self._rungs):
            if not before < rung <= n:
                continue
            insort(self._came[place], (cost, number))
            insort(self._wait[place], (cost, number))
            if place:  # it has left the one before
                _remove(self._wait[place - 1], number)

    def next(self, busy: Collection[Hashable], *, last: bool = False) -> Hashable:
        """The config that shall climb; None if there is none.

        The best of the highest rung on which one may.

        Args:
            busy: those that have seeds under way.
            last: whether no newcomers are left: then one of each rung climbs at least.
        """
        for place in reversed(range(len(self._rungs) - 1)):
            came, share = self._came[place], self._rungs[place + 1] / self._rungs[place]
            most = math.ceil(len(came) / share) if last else int(len(came) / share)
            for member in self._wait[place]:
                if not math.isfinite(member[0]) or bisect_left(came, member) >= most:
                    break
                if (name := self._race.name_of(member[1])) not in busy:
                    return name
        return None

    def gives_up(self, name: Hashable) -> bool:  # noqa: ARG002
        """Never: nothing is proven of numbers."""
        return False


def _remove(members: list[_Member], number: int) -> None:
    at = next((at for at, member in enumerate(members) if member[1] == number), None)
    if at is not None:
        del members[at]
