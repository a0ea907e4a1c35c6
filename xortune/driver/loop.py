"""The loop of a search: decide, batch, execute, record; and where it ends.

`run` joins one object for each: `decisions.SearchDecisions`, `batches.Batches`, an executor
(`executors`, `ray_executor`) and `Record`. A certificate runs in the same loop.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from xortune.core.errors import InputError
from xortune.core.outcome import Failure
from xortune.core.trainer import Block, Trainer
from xortune.driver.batches import BATCHES_PER_SLOT, MIN_BATCH_SECONDS, Batches, Job
from xortune.driver.executors import Executor
from xortune.driver.process import uninterrupted
from xortune.runs.evaluation import Evaluation, SeedsToTrain
from xortune.runs.journal import Journal


def run(
    batches: Batches,
    executor: Executor,
    record: Record,
    on_news: Callable[[Any], None] | None = None,
) -> None:
    """Train until nothing is left to do, or the executor takes nothing more.

    `on_news` is called with the decider's news, once the lines they are about are on the disk.

    Raises:
        InputError: the trainer refused a proposal, or the journal cannot be written.
        KeyboardInterrupt: the user interrupted. What had finished is in the journal.
    """
    refusal: InputError | None = None
    try:
        while True:
            with uninterrupted():
                _receive(batches, executor)
                record.announce(batches.news, on_news)
                batches.resize(executor.slots)
                if record.ends:
                    batches.stop()
                try:
                    if refusal is None:
                        executor.take(batches)
                except InputError as error:  # of a proposal; batches under way may finish
                    refusal = error
            if not batches.under_way:
                break
            executor.wait()
    except BaseException:
        executor.stop()
        with uninterrupted():
            _receive(batches, executor)
        raise
    record.journal.sync()
    record.announce(batches.news, on_news)
    if refusal is not None:
        raise refusal


def _receive(batches: Batches, executor: Executor) -> None:
    while executor.done:
        batches.receive(executor.done.popleft())


class NoJournal:
    """Takes the lines of trainings that leave no run behind, in place of a `Journal`."""

    appended = settled = 0

    def append(self, line: Evaluation) -> None:
        """Keep nothing."""

    def sync(self) -> None:
        """Do nothing."""


class Record:
    """Writes each line to the journal, and then reports the first failure and the progress.

    Args:
        journal: of the run.
        on_failure: called with the first failure.
        fatal: whether that ends the search.

    Attributes:
        failure: the first one among the final lines.
    """

    def __init__(
        self,
        journal: Journal | NoJournal,
        on_failure: Callable[[Failure], None] | None = None,
        *,
        fatal: bool = False,
    ) -> None:
        self.journal, self._on_failure, self._fatal = journal, on_failure, fatal
        self.failure: Failure | None = None
        # With the number of lines that have to be on the disk before.
        self._news: deque[tuple[int, object]] = deque()

    @property
    def ends(self) -> Failure | None:
        """The failure that ends the search."""
        return self.failure if self._fatal else None

    def __call__(self, line: Evaluation) -> None:
        """Write a line."""
        self.journal.append(line)
        if self.failure is not None or not line.final:
            return
        outcome, point = line.outcome, line.block.point
        if outcome is None:
            self.failure = Failure(point.as_dict(), line.block.first, str(line.error))
        elif outcome.details.failed:
            self.failure = outcome.details.first_failure(point.as_dict())
        if self.failure is not None and self._on_failure is not None:
            self._on_failure(self.failure)

    def announce(self, news: deque[object], on_news: Callable[[Any], None] | None) -> None:
        """Take over the news, and report those whose lines are on the disk."""
        while news:
            self._news.append((self.journal.appended, news.popleft()))
        while self._news and self._news[0][0] <= self.journal.settled:
            _, progress = self._news.popleft()
            if on_news is not None:
                on_news(progress)


# -------------------------------------------------------------------------------------------------
# Fresh seeds. They are all known from the start; only the sizes of blocks are decided here.

BLOCK_SECONDS, LEAST_SEEDS = 1.0, 16
"""Target length of a block on one core, and its minimum number of seeds."""

SHORT_SECONDS, GROWTH = 0.1, 8
"""Where the time of a seed is not known beforehand: the target length if each block may be the last
one, and the maximum growth from the largest block to the next."""


class FreshSeeds:
    """Decides which fresh seeds train next: one block of each config in turn.

    All configs begin before the first is known to be good or bad, so nobody can choose among them
    by interrupting an attempt. Blocks of one config may train at once, and results come in any
    order.

    Args:
        tasks: the seeds of each config.
        trainer: estimates the time of a block.
        slots: batches that train at once. Blocks are smaller if slots would be idle.
        further: called with all lines so far; returns further tasks, or none once all is decided.
        pace: measured time of a block as a multiple of the trainer's estimate; None: not known, so
            that the first blocks are small. Finished blocks correct it.
        least: minimum number of seeds of a block.

    Attributes:
        configs: number of configs with seeds to train.
        news: pairs (seeds done, all seeds) for the user's callback.
        lines: the evaluations recorded so far.
    """

    ready = 0

    def __init__(
        self,
        tasks: Sequence[SeedsToTrain],
        trainer: Trainer,
        *,
        slots: int = 1,
        pace: float | None = 1.0,
        further: Callable[[Sequence[Evaluation]], Sequence[SeedsToTrain]] | None = None,
        least: int = LEAST_SEEDS,
    ) -> None:
        self.slots = slots
        self._further = further
        self._trainer, self._pace, self._least = trainer, pace, least
        self._seconds, self._fastest, self._most = BLOCK_SECONDS, 1.0, 2**32
        if pace is None:
            self._seconds = BLOCK_SECONDS if further is None else SHORT_SECONDS
            self._fastest, self._most = 0.0, min(least, LEAST_SEEDS)
        self._waiting = deque(task for task in tasks if task.seeds)
        self.configs = len({task.point.key for task in self._waiting})
        self._total, self._done = _seeds_of(self._waiting), 0
        self.news: deque[object] = deque([(0, self._total)])
        self.lines: list[Evaluation] = []

    @property
    def left(self) -> int:
        """Estimated number of blocks that are still to be made."""
        return sum(math.ceil(task.count / self._size(task)) for task in self._waiting)

    @property
    def work_left(self) -> float:
        """Estimated seconds of work for one core; 0 while nobody knows."""
        return (self._pace or 0.0) * sum(self._cost(task) for task in self._waiting)

    @property
    def open(self) -> bool:
        """Whether `next` returns a block now."""
        return bool(self._waiting)

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002
        """Begin no further block; those in flight may finish."""
        self._waiting.clear()
        self._further = None

    def next(self) -> Job | None:
        """The next block to train; None if there is none now."""
        if not self._waiting:
            return None
        size = self._size(self._waiting[0])  # it depends on all that waits
        task = self._waiting.popleft()
        part, *others = task.seeds
        block = Block(task.point, part.start, min(size, len(part)))
        if rest := range(block.seeds.stop, part.stop):
            others.insert(0, rest)
        if others:
            self._waiting.append(replace(task, seeds=tuple(others)))
        return Job(task.proposal, block, purpose=task.purpose)

    def wants(self, job: Job) -> bool:  # noqa: ARG002
        """Whether the result of a block is wanted: always."""
        return True

    def tell(self, job: Job, result: Evaluation) -> None:
        """Record the result of a block."""
        self.lines.append(result)
        estimated = self._trainer.cost(job.block)
        if result.outcome is not None and estimated > 0:
            pace = result.seconds / estimated
            self._pace = pace if self._pace is None else 0.7 * self._pace + 0.3 * pace
            self._most = max(self._most, GROWTH * job.block.count)
        if result.final:
            self._done += job.block.count
            if self._further is not None:
                more = [task for task in self._further(self.lines) if task.seeds]
                if self._done == self._total:
                    self._waiting.extend(more)
                    self._total += _seeds_of(more)
                elif not more:  # the seeds so far have decided
                    self._total -= _seeds_of(self._waiting)
                    self._waiting.clear()
            self.news.append((self._done, self._total))

    def _cost(self, task: SeedsToTrain) -> float:
        return self._trainer.cost(Block(task.point, task.seeds[0].start, task.count))

    def _size(self, task: SeedsToTrain) -> int:
        """Maximum number of seeds of the next block."""
        each = max(self._fastest, self._pace or 1.0) * self._cost(task) / task.count
        if each <= 0:
            return task.count
        seconds, least = self._seconds, self._least
        if self.slots > 1:
            # Each slot gets about the same number of blocks, so that all end together.
            share = math.ceil(_seeds_of(self._waiting) / (BATCHES_PER_SLOT * self.slots))
            seconds = min(seconds, max(MIN_BATCH_SECONDS, share * each))
            least = min(least, share)
        return min(max(round(seconds / each), least, 1), self._most)


def _seeds_of(tasks: Iterable[SeedsToTrain]) -> int:
    return sum(task.count for task in tasks)
