"""Steps: the search's decisions, one after the other, whatever the speed of the workers.

A search decides again and again what is trained next: a new proposal, or more seeds for a config
that it knows. Decided as results come in, that would depend on which worker was faster, and so
would all that a sampler learns. So decision number s is made when exactly the results of the
decisions before s - window + 1 are known, however many more are there: what is proposed and who
climbs follows from the seed and the window alone, and nobody waits for a rung to fill.

A race narrows its window after its first decisions (`window_at`): by then there is something to
learn from, and what the widest window leaves unseen is most of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TypeAlias

from xortune.evaluation import Evaluation, Packed, epochs_spent
from xortune.evaluation_numbers import numbers_of
from xortune.objective import Seen
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.run_apart import Apart, Count
from xortune.stats import wilson
from xortune.trainer import Block

__all__ = ["Rest", "Standing", "Step", "Tally", "gaps", "short", "window_at"]

BLIND, WIDENS = 12, 3
"""So many steps a race makes with its whole window, to have several to choose from; then it begins
with the least again, and gets one more after each so many steps. See benchmarks/README.md."""

Rest: TypeAlias = tuple[int, tuple[tuple[str, int, int, int], ...]]
"""What is kept of a config that waits for nothing: the seeds granted, and of each version that made
some of them its digest, lowest seed, successes and finished seeds."""


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

    def grow(self, shown: Apart, more: Apart) -> None:
        """Add `more` to what is known of a config, of which one version counts."""
        before = shown.counted.successes, shown.counted.n
        shown.join(more)
        after = shown.counted.successes, shown.counted.n
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


def short(key: str) -> int:
    """A config's key as a number, half as large.

    Strings that came with a run that was loaded would hold on to nearly all the memory it took.
    """
    return int(key, 16)


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
    seen: Apart = field(default_factory=Apart)
    shown: Apart = field(default_factory=Apart)
    under_way: int = 0

    @classmethod
    def of(cls, point: Point, rest: Rest | None) -> Standing:
        """A config that is new (`rest` is None), or that was known."""
        granted, parts = rest or (0, ())
        standing = cls(point, granted=granted)
        for made, first, successes, n in parts:
            standing.shown.add(made, first, Count(successes, n))
        return standing

    @property
    def rest(self) -> Rest:
        """What is kept of it."""
        parts = ((made, first, c.successes, c.n) for made, first, c in self.shown.parts())
        return _one((self.granted, tuple(parts)))

    def worth(self, names: Sequence[str]) -> Seen:
        """What the search has taken in of it, with the numbers that it looks for."""
        count = self.seen.counted
        numbers = dict(zip(names, count.numbers, strict=True)) if names else {}
        return Seen(self.point, count.successes, count.n, count.spent, numbers)

    def next_rung(self, rungs: Sequence[int]) -> int:
        """Seeds granted in all so that those that count come to the next rung.

        Beyond the last one, as many more as the first rung has. Seeds that versions made which do
        not count take it no higher.
        """
        counting = self.granted - self.seen.aside
        more = next((rung - counting for rung in rungs if rung > counting), rungs[0])
        return self.granted + more


@dataclass(slots=True)
class Step:
    """A decision: some more seeds for a config.

    Attributes:
        proposal: whose seeds they are.
        standing: of the config.
        newcomer: whether the proposal has not been told yet: it ends with this step, or goes on.
        timed: whether anyone asks how many epochs seeds took.
        counted: whether its proposal is counted as done.
        gained: its results so far.
        missing: seeds without a result yet.
        line: the journal's line that was written last for it; 0 if it is all from before.
        failed: whether a block of it finally produced nothing.
        numbers: the names of those that the search looks for, of a trainer of the user's own.
    """

    proposal: int
    standing: Standing
    newcomer: bool
    timed: bool
    counted: bool = False
    gained: Apart = field(default_factory=Apart)
    missing: int = 0
    line: int = 0
    failed: bool = False
    numbers: tuple[str, ...] = ()

    def take(self, block: Block, outcome: Outcome | Packed | None, made: str) -> None:
        """Add a block's results, which a version made."""
        seeds = block.count
        if outcome is None:
            epochs = self.standing.point.get("epochs")
            found = Count(n=seeds, crashed=seeds, budget=epochs if isinstance(epochs, int) else 0)
            self.failed = True
        else:
            timed = epochs_spent(outcome) if self.timed else 0
            found = Count(outcome.successes, seeds, timed, budget=int(outcome.epochs))
        if self.numbers:
            found.numbers = numbers_of(outcome, self.numbers, seeds)
        self.gained.add(made, block.first, found)

    def begin(self, end: int, known: list[Evaluation], first_made: str) -> list[Block]:
        """Grant the seeds up to `end`; the blocks to train, without what is known already.

        Args:
            end: total seeds of the config afterwards.
            known: what a journal holds of the config; what is used is taken out.
            first_made: the version of lines that name none.
        """
        start = self.standing.granted
        here = [e for e in known if start <= e.block.first < end]
        if here:
            known[:] = [e for e in known if e.block.first >= end]
        for evaluation in here:
            if not evaluation.final:  # ended on the way: neither counted nor trained again
                continue
            self.take(evaluation.block, evaluation.outcome, evaluation.made or first_made)
            end = max(end, evaluation.block.first + evaluation.block.count)  # of another ladder
        self.standing.granted = end
        blocks = [
            Block(self.standing.point, first, count)
            for first, count in gaps(start, end, [e.block for e in here])
        ]
        self.missing = sum(block.count for block in blocks)
        return blocks


def window_at(step: int, most: int, least: int | None) -> int:
    """How many steps may be under way or not taken in when this one is made, itself counted.

    It never grows by more than one from a step to the next: what one step knows, all later ones do.

    Args:
        step: its number, from 0.
        most: the window of the search.
        least: what keeps all workers busy; None: the window stays as it is.
    """
    if step < BLIND or least is None:
        return most
    return min(most, max(least, (step - BLIND) // WIDENS))


def gaps(start: int, end: int, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """First seed and count of each part of [start, end) that is in none of the blocks."""
    for block in sorted(blocks, key=lambda block: block.first):
        if block.first > start:
            yield start, block.first - start
        start = max(start, block.first + block.count)
    if start < end:
        yield start, end - start
