"""Training ahead: blocks that are likely to be decided soon are trained beside one that was.

A step of a stack of 64 models takes hardly longer than one of a few, while a race decides upon a
block or two at a time. So a batch is widened, where a trainer says that this is cheap, by blocks
that nobody has decided upon yet: first seeds of the next proposals, and next rungs of the configs
that do best. What comes of them is kept here, in memory, and handed over when they are decided.

Decisions know nothing of it: what is proposed, who is promoted and what the journal holds is the
same with it and without. What is never decided is forgotten, the seeds that failed in it too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.core.trainer import Block, Stacking
from xortune.driver.jobs import Done, Job
from xortune.runs.evaluation import EncodedOutcome

LIKELY = 0.25
"""A block is trained ahead if its chance to be decided is at least this, roughly."""

FORESEEN = 512
"""So many proposals are foreseen at most."""


@dataclass(frozen=True)
class Prospect:
    """A config that may be given its next seeds.

    Attributes:
        point: of the config.
        rungs: total seeds at which it stands after its next decisions, ascending.
        granted: seeds that it has been given, from 0 to here.
        successes, n: of those that are known.
    """

    point: Point
    rungs: tuple[int, ...]
    granted: int = 0
    successes: int = 0
    n: int = 0

    @property
    def next_block(self) -> Block:
        """The seeds that it is given next."""
        return Block(self.point, self.granted, self.rungs[0] - self.granted)

    @property
    def after_next(self) -> Prospect:
        """The same when these have been granted, and are not known yet."""
        return replace(self, granted=self.rungs[0], rungs=self.rungs[1:])


class Prospects(Protocol):
    """Knows what may be decided next."""

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may be given their next seeds; those of proposals to come first."""


@dataclass(frozen=True)
class TrainedAhead:
    """What came of a block that was trained ahead."""

    result: EncodedOutcome
    seconds: float
    worker: str


class Ahead:
    """Says what is trained ahead, and keeps what came of it until it is decided.

    Args:
        decider: whose decisions are looked ahead of.
        stacking: what is known of stacks before anything is trained.

    Attributes:
        trained, used: seeds that were trained ahead, and those of them that were decided since.
    """

    def __init__(self, decider: Prospects, stacking: Stacking | None = None) -> None:
        self._decider = decider
        self._apart = frozenset[str]() if stacking is None else stacking.apart
        self._width = 1 if stacking is None else stacking.width
        self._widths: dict[tuple[object, ...], int] = {}  # by the values that keep configs apart
        self._kept: dict[Block, TrainedAhead] = {}
        self._under_way: dict[Block, Job | None] = {}  # with the job that waits for it
        self._ended = False
        self.trained = self.used = 0

    def beside(self, jobs: Sequence[Job]) -> tuple[Job, ...]:
        """What is trained in a batch beside jobs that were decided; without any the most likely."""
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
        found = []
        for block in likely:
            if room <= 0:
                break
            if block.count <= room and self._kind(block.point) == kind:
                room -= block.count
                found.append(Job(-1, block, ahead=True))
                self._under_way[block] = None
        return tuple(found)

    def room(self, jobs: Sequence[Job], more: Job | None = None) -> int:
        """Seeds that a stack of these jobs has room for, with one more; below 0: not for that."""
        kind = self._kind(jobs[0].block.point)
        if more is not None and self._kind(more.block.point) != kind:
            return -1
        taken = sum(job.block.count for job in (*jobs, *([] if more is None else [more])))
        return self._widths.get(kind, self._width) - taken

    def take(self, job: Job) -> TrainedAhead | None:
        """What is known of a block that was decided now, if it was trained ahead."""
        found = self._kept.pop(job.block, None)
        self.used += 0 if found is None else job.block.count
        return found

    def waits(self, job: Job) -> bool:
        """Whether a block that was decided now is under way: `receive` hands it over then."""
        if job.block not in self._under_way:
            return False
        self._under_way[job.block] = job
        return True

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for what is under way."""
        return any(job is not None for job in self._under_way.values())

    def is_one_stack(self, block: Block) -> bool:
        """Whether a block is trained as one, so that its parts take as long as it does."""
        return block.count <= self._widths.get(self._kind(block.point), self._width)

    def receive(self, done: Done) -> Iterator[tuple[Job, TrainedAhead | None]]:
        """Keep what was trained ahead in a batch.

        Yields:
            Jobs that were decided meanwhile, with what came of them; None: they are to be trained.
        """
        results = done.results if isinstance(done.results, Sequence) else [None] * len(done.jobs)
        if (said := done.stacking) is not None:
            if not said.apart <= self._apart:
                self._apart |= said.apart
                self._widths.clear()
            self._widths[self._kind(done.jobs[0].block.point)] = self._width = said.width
        seconds = done.seconds / sum(job.block.count for job in done.jobs)
        for job, result in zip(done.jobs, results, strict=True):
            if not job.ahead:
                continue
            waiting = self._under_way.pop(job.block, None)
            kept = None
            if result is not None and not isinstance(result, TrainingError):
                kept = TrainedAhead(result, seconds * job.block.count, done.worker)
                self.trained += job.block.count
            if waiting is not None:
                self.used += 0 if kept is None else job.block.count
                yield waiting, kept
            elif kept is not None:
                self._kept[job.block] = kept

    def end(self) -> None:
        """Train nothing ahead any more: a batch has killed its worker, or took too long."""
        self._ended = True

    def _kind(self, point: Point) -> tuple[object, ...]:
        return tuple(repr(point.get(name)) for name in sorted(self._apart))

    def _likely(self, beside: set[Block]) -> Iterator[Block]:
        """Blocks that are neither trained nor under way, the most likely to be decided first."""
        order = count()
        heap: list[tuple[float, int, Prospect]] = []
        for one in self._decider.prospects():
            heappush(heap, (-_chance(one), next(order), one))
        while heap and -heap[0][0] >= LIKELY:
            chance, number, one = heappop(heap)
            block, later = one.next_block, one.after_next
            if (kept := self._kept.get(block)) is not None:
                later = replace(
                    later, successes=one.successes + kept.result.successes, n=one.n + block.count
                )
                chance = -_chance(later)
            else:
                chance *= _chance(later)
                if block not in self._under_way and block not in beside:
                    yield block
            if later.rungs:
                heappush(heap, (chance, number, later))


def _chance(one: Prospect) -> float:
    """How likely a config is given its next seeds, roughly: newcomers are, then who succeeds."""
    return ((one.successes + 1) / (one.n + 2)) ** 2 if one.granted else 1.0
