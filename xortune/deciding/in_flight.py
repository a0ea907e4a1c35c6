"""Decisions whose results are not used yet: which are used next, and when one waits for them.

If a decision used whatever results are there, it would depend on which worker was faster, and so
would everything that a sampler learns. Therefore results are used in the order of decisions, and a
decision is made as soon as the seeds in flight beside the oldest decision are fewer than
`max_in_flight`, with no later results, even if they have arrived. The seed and `max_in_flight`
alone determine who is proposed and promoted, and nobody waits for a rung to fill. The oldest
decision is left out: its last seeds may train alone for long, and others keep the workers busy
meanwhile.

A race begins with the smallest limit that keeps its workers busy, and widens it (`in_flight_at`):
early, the results that a wide limit leaves unused are most of what there is to learn from.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from xortune.deciding.configs import ConfigState, ResultsByVersion
from xortune.deciding.measured import SeedTrial
from xortune.training.batches import BATCH_SECONDS

WIDENS = 16
"""Decisions after which a race's limit grows by one; see benchmarks/README.md."""


def most_in_flight(seconds: float, *, slots: int, proposals: int) -> int:
    """How many blocks of a search that learns or races may be in flight beside the oldest one.

    Where a block takes less time than a batch should, a batch holds several blocks. But at most an
    eighth of the proposals are in flight: with more, the search would learn too late. The limit
    depends on the space and the number of slots alone, so that a search can be repeated.

    Args:
        seconds: of a first block, as the trainer estimates it.
        slots: batches that train at once.
        proposals: of the whole search.
    """
    batch = int(BATCH_SECONDS / seconds) + 1
    return max(least_in_flight(slots), min(slots * (2 * batch + 1), proposals // 8))


def least_in_flight(slots: int) -> int:
    """How many blocks in flight keep all slots busy.

    Each slot has one that trains, one that waits, and some that have finished and wait for results
    of earlier decisions. Up to 16 slots that is one. With more slots it is more, because the
    slowest of many seeds takes longer: see benchmarks/README.md.

    One slot knows each result before the next decision.
    """
    return slots * max(3, math.ceil(math.log2(slots) / 2) + 1) if slots > 1 else 0


def in_flight_at(decision: int, most: int, least: int | None) -> int:
    """How many seeds may be in flight beside the oldest decision when this one is made.

    It grows from `least`, which keeps all workers busy, to `most`, by at most one per decision: so
    each decision knows all results that earlier ones knew.
    """
    return most if least is None else min(most, max(least, decision // WIDENS))


@dataclass(slots=True)
class Decision:
    """More seeds for a configuration.

    Attributes:
        proposal: number of the trial that they belong to.
        state: of the configuration.
        new: whether the trial is new, so that the sampler has to be told of it.
        seeds: granted by it.
        gained: results so far.
        missing: seeds without a result yet.
        counted: whether the trial is counted as done.
        trials: of the results so far, by the first seed of a block, for a pruner.
    """

    proposal: int
    state: ConfigState
    new: bool
    seeds: int = 0
    gained: ResultsByVersion = field(default_factory=ResultsByVersion)
    missing: int = 0
    counted: bool = False
    trials: dict[int, list[SeedTrial]] = field(default_factory=dict)


class InFlight:
    """The decisions whose results are not used yet.

    Args:
        most: how many seeds may be in flight beside those of the oldest decision; None: any number,
            and no decision uses results.
        least: the same early in a race, see `in_flight_at`; None: as `most`.
        as_they_come: whether results are used in the order in which the last one of each decision
            came, in place of the order of decisions.

    Attributes:
        made: number of the next decision.
        seeds: of all of them.
        by_config: seeds of each configuration, by its key.
        learns: whether decisions use results.
    """

    def __init__(self, most: int | None, least: int | None, *, as_they_come: bool) -> None:
        self._most, self._least, self.learns = most, least, most is not None
        self.made = self.seeds = 0
        self.by_config: dict[Hashable, int] = {}
        self._decisions: dict[int, Decision] = {}
        self._arrived: list[int] | None = [] if as_they_come and self.learns else None

    def __len__(self) -> int:
        return len(self._decisions)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._decisions.values())

    def get(self, number: int) -> Decision | None:
        """A decision; None if its results are used."""
        return self._decisions.get(number)

    @property
    def is_full(self) -> bool:
        """Whether the next decision waits for results."""
        if self._most is None or not self._decisions:
            return False
        oldest = next(iter(self._decisions.values()))
        return self.seeds - oldest.seeds >= in_flight_at(self.made, self._most, self._least)

    @property
    def leaves_workers_idle(self) -> bool:
        """Whether a race has fewer seeds in flight than keep its workers busy."""
        return self._least is not None and self.seeds < self._least

    def add(self, decision: Decision) -> int:
        """Add a decision, and return its number."""
        number, key = self.made, decision.state.point.key
        self._decisions[number] = decision
        self.made += 1
        self.seeds += decision.seeds
        self.by_config[key] = self.by_config.get(key, 0) + decision.seeds
        decision.state.in_flight += 1
        return number

    def complete(self, number: int) -> None:
        """Note that a decision has all its results."""
        if self._arrived is not None:
            self._arrived.append(number)

    @property
    def has_arrived(self) -> bool:
        """Whether a decision has all its results, and needs not wait for earlier ones."""
        return bool(self._arrived)

    def next_complete(self) -> int | None:
        """The decision whose results are used next; None before all of them have come.

        Decisions about one configuration keep their own order, also where results are used as they
        come. Otherwise failures, which often come first, would be counted before its other seeds.
        """
        if self._arrived is None:
            oldest = next(iter(self._decisions), None)
            return None if oldest is None or self._decisions[oldest].missing else oldest
        first_of = {d.state.point.key: n for n, d in reversed(self._decisions.items())}
        keys = ((n, self._decisions[n].state.point.key) for n in self._arrived)
        return next((n for n, key in keys if first_of[key] == n), None)

    def remove(self, number: int) -> Decision:
        """Remove a decision: its results are used now."""
        decision = self._decisions.pop(number)
        state, key = decision.state, decision.state.point.key
        if self._arrived is not None:
            self._arrived.remove(number)
        self.seeds -= decision.seeds
        state.in_flight -= 1
        self.by_config[key] -= decision.seeds
        if not state.in_flight:
            del self.by_config[key]
        return decision
