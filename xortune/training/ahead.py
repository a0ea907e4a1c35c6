"""Training ahead: blocks that are likely to be decided soon, in one stack with those that are.

A step of a stack of 64 models takes hardly longer than a step of a few, while a race decides on a
block or two at a time. So where the trainer says that this is cheap, a batch also gets blocks that
are likely to be decided soon: the first seeds of coming proposals, and the next rungs of the best
configs. Their results are kept in memory until they are decided.

Decisions know nothing of it: proposals, promotions and the journal are the same with it and
without. Results that are never asked for are dropped, failed seeds included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Protocol

from xortune.core.errors import TrainingError
from xortune.core.outcome import NO_SEEDS, Outcome, SeedCount
from xortune.core.point import Point
from xortune.core.trainer import Block, Stacking
from xortune.runs.evaluation import EncodedOutcome
from xortune.training.jobs import Done, Job

LIKELY = 0.25
"""Minimum chance that a block trained ahead will be decided, roughly."""

FORESEEN = 512
"""Maximum number of proposals to foresee."""


@dataclass(frozen=True)
class Prospect:
    """A config that may get its next seeds.

    Attributes:
        point: of the config.
        rungs: its total seeds after each of its next decisions, ascending.
        granted: it has been given so many seeds, from `first_seed` on.
        seen: its known results.
    """

    point: Point
    rungs: tuple[int, ...]
    granted: int = 0
    seen: SeedCount = NO_SEEDS
    first_seed: int = 0

    @property
    def next_block(self) -> Block:
        """Its next seeds."""
        first = self.first_seed + self.granted
        return Block(self.point, first, self.rungs[0] - self.granted)

    @property
    def after_next(self) -> Prospect:
        """The config once these are granted, and not known yet."""
        return replace(self, granted=self.rungs[0], rungs=self.rungs[1:])


class Prospects(Protocol):
    """A decider that foresees its decisions."""

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may get their next seeds; coming proposals first."""


@dataclass(frozen=True)
class TrainedAhead:
    """The result of a block that was trained ahead."""

    result: Outcome | EncodedOutcome
    seconds: float
    worker: str


class Ahead:
    """Chooses blocks to train ahead, and keeps their results until they are decided.

    Args:
        decider: makes the decisions.
        stacking: what the check found out about stacks.

    Attributes:
        stacks: whether the check found that seeds train in stacks.
        trained, used: seeds trained ahead, and those of them that have been decided since.
    """

    def __init__(self, decider: Prospects, stacking: Stacking | None = None) -> None:
        self._decider = decider
        self._apart = frozenset[str]() if stacking is None else stacking.apart
        self._width = 1 if stacking is None else stacking.width
        self.stacks = self._width > 1
        self._widths: dict[tuple[object, ...], int] = {}  # seeds in a stack, by `_kind`
        self._kept: dict[Block, TrainedAhead] = {}
        self._under_way: dict[Block, Job | None] = {}  # with the decided job that waits for it
        self._ended = False
        self.trained = self.used = 0

    def beside(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """Jobs to train ahead in one stack with decided jobs; without any, the likeliest ones."""
        if self._ended:
            return ()
        likely = self._likely({job.block for job in jobs})
        if jobs:
            kind, room = self._kind(jobs[0].block.point), self.room(jobs)
        elif (first := next(likely, None)) is not None:
            kind, likely = self._kind(first.point), self._likely(set())
            room = self._widths.get(kind, self._width)
        else:
            return ()
        chosen = []
        for block in likely:
            if room <= 0:
                break
            if block.count <= room and self._kind(block.point) == kind:
                room -= block.count
                chosen.append(Job(-1, block, ahead=True))
                self._under_way[block] = None
        return tuple(chosen)

    def room(self, jobs: Sequence[Job], more: Job | None = None) -> int:
        """How many more seeds fit into the stack of these jobs, and of `more`.

        Negative if `more` does not fit, or cannot be stacked with them.
        """
        kind = self._kind(jobs[0].block.point)
        taken = sum(job.block.count for job in jobs)
        if more is not None:
            if self._kind(more.block.point) != kind:
                return -1
            taken += more.block.count
        return self._widths.get(kind, self._width) - taken

    def take(self, job: Job) -> TrainedAhead | None:
        """The result of a job that is decided now, if it was trained ahead."""
        kept = self._kept.pop(job.block, None)
        self.used += 0 if kept is None else job.block.count
        return kept

    def waits_for(self, job: Job) -> bool:
        """Whether a job that is decided now is under way; `receive` will hand over its result."""
        if job.block not in self._under_way:
            return False
        self._under_way[job.block] = job
        return True

    @property
    def waited_for(self) -> bool:
        """Whether a decided job waits for a result that is under way."""
        return any(job is not None for job in self._under_way.values())

    def width(self, block: Block) -> int:
        """Seeds that fit into one stack with those of a block: fewer would take as long."""
        return self._widths.get(self._kind(block.point), self._width)

    def receive(self, done: Done) -> Iterator[tuple[Job, TrainedAhead | None]]:
        """Keep the results of what was trained ahead in a batch.

        Yields:
            Each job that was decided meanwhile, with its result; None if it has to be trained.
        """
        results = done.results if isinstance(done.results, Sequence) else [None] * len(done.jobs)
        if (stacking := done.stacking) is not None:
            if not stacking.apart <= self._apart:
                self._apart |= stacking.apart
                self._widths.clear()
            self._widths[self._kind(done.jobs[0].block.point)] = self._width = stacking.width
        seconds = done.seconds / sum(job.block.count for job in done.jobs)
        for job, result in zip(done.jobs, results, strict=True):
            if not job.ahead:
                continue
            waiting, kept = self._under_way.pop(job.block, None), None
            if result is not None and not isinstance(result, TrainingError):
                kept = TrainedAhead(result, seconds * job.block.count, done.worker)
                self.trained += job.block.count
            if waiting is not None:
                self.used += 0 if kept is None else job.block.count
                yield waiting, kept
            elif kept is not None:
                self._kept[job.block] = kept

    def end(self) -> None:
        """Train nothing more ahead: a batch has killed its worker, or took too long."""
        self._ended = True

    def forget(self) -> None:
        """As `end`, and drop all results: what was trained in stacks may be wrong."""
        self.end()
        self._kept.clear()
        self._widths.clear()
        self._width = 1

    def _kind(self, point: Point) -> tuple[object, ...]:
        """Values of the settings in which configs of one stack must agree."""
        return tuple(repr(point.get(name)) for name in sorted(self._apart))

    def _likely(self, beside: set[Block]) -> Iterator[Block]:
        """Blocks that are neither trained nor under way, the likeliest to be decided first."""
        heap: list[tuple[float, int, Prospect]] = []
        for number, prospect in enumerate(self._decider.prospects()):
            heappush(heap, (-_chance(prospect), number, prospect))
        while heap and -heap[0][0] >= LIKELY:
            chance, number, prospect = heappop(heap)
            block, later = prospect.next_block, prospect.after_next
            if (kept := self._kept.get(block)) is not None:
                seen = prospect.seen
                solved = seen.k + kept.result.successes
                later = replace(later, seen=SeedCount(solved, seen.n + block.count))
                chance = -_chance(later)
            else:
                chance *= _chance(later)
                if block not in self._under_way and block not in beside:
                    yield block
            if later.rungs:
                heappush(heap, (chance, number, later))


def _chance(prospect: Prospect) -> float:
    """Rough chance that a config gets its next seeds: 1 for a new one, else by its success rate."""
    if not prospect.granted:
        return 1.0
    return ((prospect.seen.k + 1) / (prospect.seen.n + 2)) ** 2
