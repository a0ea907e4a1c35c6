"""A turn is one proposal on its way up the rungs of the race; in which order turns are judged.

Judged as results come in, a race would depend on which worker was faster, and so would all that a
sampler learns from it. So it is judged in an order that follows from the numbers of the proposals
alone: the r-th rung of proposal i when the first rungs of all proposals before i + r * lag have
been judged. With a lag of some proposals the higher rungs of earlier ones are trained beside the
first rungs of later ones, and nobody waits for a rung to fill.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xortune.evaluation import Evaluation, Packed, epochs_spent
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.trainer import Block

__all__ = ["Count", "Order", "Turn", "gaps"]


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

    @property
    def effort(self) -> float:
        """Epochs to solve; 0 where a seed has failed, for the race does not ask then."""
        return self.spent / self.n if 0 < self.n == self.successes else 0.0


@dataclass(slots=True)
class Turn:
    """One proposal's way: the seeds it may get, and what came of those it got.

    Attributes:
        number: of the proposal.
        point: in its trainer's normal form.
        base: its first seed; the seeds up to the last rung are reserved for it.
        known: what the journal of an earlier session holds of it.
        rung: the one that it is on, from 0.
        missing: seeds of this rung without a result yet.
        timed: whether anyone asks how many epochs its seeds took.
        count: of all its rungs.
        gained: of this rung, which the race has not seen yet.
        failed: whether a block of it finally produced nothing.
        fresh: whether something of it was trained in this session.
    """

    number: int
    point: Point
    base: int
    known: list[Evaluation]
    timed: bool = True
    count: Count = field(default_factory=Count)
    gained: Count = field(default_factory=Count)
    rung: int = 0
    missing: int = 0
    failed: bool = False
    fresh: bool = False

    def take(self, outcome: Outcome | Packed | None, seeds: int) -> None:
        """Add a block's results."""
        if outcome is None:
            epochs = self.point.get("epochs")
            found = Count(n=seeds, crashed=seeds, budget=epochs if isinstance(epochs, int) else 0)
            self.failed = True
        else:
            timed = epochs_spent(outcome) if self.timed else 0
            found = Count(outcome.successes, seeds, timed, budget=int(outcome.epochs))
        self.count.add(found)
        self.gained.add(found)

    def climb(self, rung: int, rungs: Sequence[int]) -> list[Block]:
        """Go to a rung; the blocks to train for it, without what is known already."""
        start = self.base + (rungs[rung - 1] if rung else 0)
        end = self.base + rungs[rung]
        self.rung = rung
        if not self.known:
            self.missing = end - start
            return [Block(self.point, start, end - start)]
        here = [e for e in self.known if start <= e.block.first < end]
        self.known = [e for e in self.known if e.block.first >= end]
        for evaluation in here:
            self.take(evaluation.outcome, evaluation.block.count)
            end = max(end, evaluation.block.first + evaluation.block.count)
        # A block from before there were rungs may span several.
        self.rung = max(r for r, seeds in enumerate(rungs) if self.base + seeds <= end)
        blocks = [
            Block(self.point, first, count)
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


class Order:
    """Which turn is judged next: by proposal number plus rung times lag, then by number."""

    def __init__(self, lag: int) -> None:
        self._lag = lag
        self._turns: list[tuple[int, int]] = []

    def put(self, turn: Turn) -> None:
        """A turn that is to be judged on the rung where it is."""
        heapq.heappush(self._turns, (turn.number + turn.rung * self._lag, turn.number))

    def first(self, made: int | None) -> int | None:
        """The number of the turn to be judged next; None if one not yet made may come before it.

        Args:
            made: how many proposals there are so far; None if there will be no more.
        """
        if not self._turns or (made is not None and self._turns[0] > (made, made)):
            return None
        return self._turns[0][1]

    def drop(self) -> None:
        """Take the first one out."""
        heapq.heappop(self._turns)
