"""Steps: the search's decisions, one after the other, whatever the speed of the workers.

A search decides again and again what is trained next: a new proposal, or more seeds for a config
that it knows. Decided as results come in, that would depend on which worker was faster, and so
would all that a sampler learns. So decision number s is made when exactly the results of the
decisions before s - window + 1 are known, however many more are there: what is proposed and who
climbs follows from the seed and the window alone, and nobody waits for a rung to fill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

from xortune.evaluation import Evaluation, Packed, epochs_spent
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.stats import wilson
from xortune.trainer import Block

__all__ = ["Count", "Rest", "Standing", "Step", "Tally", "gaps"]

Rest: TypeAlias = tuple[int, int, int]
"""What is kept of a config that waits for nothing: seeds granted, successes, seeds finished."""


@dataclass(slots=True)
class Count:
    """Results of a config, or of a part of its seeds.

    Attributes:
        successes: seeds solved.
        n: seeds; crashed ones are failures.
        timed: epochs spent by all seeds with an outcome.
        crashed: seeds without one.
        budget: epochs that a seed may take; 0 as long as there is no outcome.
    """

    successes: int = 0
    n: int = 0
    timed: int = 0
    crashed: int = 0
    budget: int = 0

    def add(self, more: Count) -> None:
        """Take in more seeds."""
        self.successes += more.successes
        self.n += more.n
        self.timed += more.timed
        self.crashed += more.crashed
        self.budget = max(self.budget, more.budget)

    @property
    def spent(self) -> int:
        """Epochs of all seeds, those not solved at the full budget."""
        return self.timed + self.crashed * self.budget


class Tally:
    """How many configs have which count.

    The best of a million is told from some hundreds of counts, however often it changes.

    Attributes:
        best: successes and seeds of the highest lower end of Wilson's interval; of equal ones the
            one of more seeds.
    """

    def __init__(self) -> None:
        self.best = (0, 0)
        self._configs: Counter[tuple[int, int]] = Counter()

    def grow(self, count: Count, more: Count) -> None:
        """Add `more` to what is known of a config."""
        before = count.successes, count.n
        count.add(more)
        after = count.successes, count.n
        self._configs[after] += 1
        if before[1]:
            self._configs[before] -= 1
            if not self._configs[before]:
                del self._configs[before]
        if before == self.best and before not in self._configs:
            self.best = max(self._configs, key=lambda one: _rank(*one))
        elif _rank(*after) > _rank(*self.best):
            self.best = after


@cache
def _rank(successes: int, n: int) -> tuple[float, int]:
    return (float(wilson(successes, n)[0]) if n else -1.0), n


@cache
def _one(rest: Rest) -> Rest:
    """The same object for equal ones, of which there are many."""
    return rest


@dataclass(slots=True)
class Standing:
    """A config in the search.

    Attributes:
        point: in its trainer's normal form.
        proposal: the last one of it.
        granted: seeds that it has been given, from 0 to here.
        seen: what the search has taken in.
        shown: what has finished, taken in or not.
        under_way: steps of it that have not been taken in.
    """

    point: Point
    proposal: int = 0
    granted: int = 0
    seen: Count = field(default_factory=Count)
    shown: Count = field(default_factory=Count)
    under_way: int = 0

    @classmethod
    def of(cls, point: Point, rest: Rest | None) -> Standing:
        """A config that is new (`rest` is None), or that was known."""
        granted, successes, n = rest or (0, 0, 0)
        return cls(point, granted=granted, shown=Count(successes, n))

    @property
    def rest(self) -> Rest:
        """What is kept of it."""
        return _one((self.granted, self.shown.successes, self.shown.n))


@dataclass(slots=True)
class Step:
    """A decision: some more seeds for a config.

    Attributes:
        proposal: whose seeds they are.
        standing: of the config.
        newcomer: whether the proposal has not been told yet: it ends with this step, or goes on.
        timed: whether anyone asks how many epochs seeds took.
        ends: whether its proposal seems to be done with it.
        gained: its results so far.
        missing: seeds without a result yet.
        line: the journal's line that was written last for it; 0 if it is all from before.
        failed: whether a block of it finally produced nothing.
    """

    proposal: int
    standing: Standing
    newcomer: bool
    timed: bool
    ends: bool = False
    gained: Count = field(default_factory=Count)
    missing: int = 0
    line: int = 0
    failed: bool = False

    def take(self, outcome: Outcome | Packed | None, seeds: int) -> None:
        """Add a block's results."""
        if outcome is None:
            epochs = self.standing.point.get("epochs")
            found = Count(n=seeds, crashed=seeds, budget=epochs if isinstance(epochs, int) else 0)
            self.failed = True
        else:
            timed = epochs_spent(outcome) if self.timed else 0
            found = Count(outcome.successes, seeds, timed, budget=int(outcome.epochs))
        self.gained.add(found)

    def begin(self, end: int, known: list[Evaluation]) -> list[Block]:
        """Grant the seeds up to `end`; the blocks to train, without what is known already.

        Args:
            end: total seeds of the config afterwards.
            known: what a journal holds of the config; what is used is taken out.
        """
        start = self.standing.granted
        here = [e for e in known if start <= e.block.first < end]
        if here:
            known[:] = [e for e in known if e.block.first >= end]
        for evaluation in here:
            self.take(evaluation.outcome, evaluation.block.count)
            end = max(end, evaluation.block.first + evaluation.block.count)  # of another ladder
        self.standing.granted = end
        blocks = [
            Block(self.standing.point, first, count)
            for first, count in gaps(start, end, [e.block for e in here])
        ]
        self.missing = sum(block.count for block in blocks)
        return blocks


def gaps(start: int, end: int, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """First seed and count of each part of [start, end) that is in none of the blocks."""
    for block in sorted(blocks, key=lambda block: block.first):
        if block.first > start:
            yield start, block.first - start
        start = max(start, block.first + block.count)
    if start < end:
        yield start, end - start
