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
from xortune.driver.batches import BATCHES_PER_SLOT, MIN_BATCH_SECONDS, Batches, Decider, Job
from xortune.driver.executors import Executor
from xortune.driver.process import uninterrupted
from xortune.runs.evaluation import Evaluation, SeedsToTrain
from xortune.runs.journal import Journal


def run(batches: Batches, executor: Executor, record: Record) -> None:
    """Train until nothing is left to do, or the executor takes nothing more.

    Raises:
        InputError: the trainer refused a proposal, or the journal cannot be written.
        KeyboardInterrupt: the user interrupted. What had finished is in the journal.
    """
    refusal: InputError | None = None
    try:
        while True:
            with uninterrupted():
                while executor.done:
                    batches.receive(executor.done.popleft())
                batches.resize(executor.slots)
                if record.first_failure.ends:
                    batches.stop()
                try:
                    if refusal is None:
                        executor.take(batches)
                except InputError as error:  # of a proposal; batches under way may finish
                    refusal = error
                record.announce()
            if not batches.under_way:
                break
            executor.wait()
    except BaseException:
        executor.stop()
        with uninterrupted():
            while executor.done:
                batches.receive(executor.done.popleft())
        raise
    record.flush()
    if refusal is not None:
        raise refusal


# -------------------------------------------------------------------------------------------------
# Recording a result: first in the journal, then for the decisions, then for the user.


class FirstFailure:
    """Finds the first failure of a search, and reports it.

    Args:
        tell: called with the failure.
        fatal: whether it ends the search.
    """

    def __init__(
        self, tell: Callable[[Failure], None] | None = None, *, fatal: bool = False
    ) -> None:
        self._tell, self._fatal = tell, fatal
        self.failure: Failure | None = None

    @property
    def ends(self) -> Failure | None:
        """The failure that ends the search."""
        return self.failure if self._fatal else None

    def look(self, line: Evaluation) -> None:
        """Report the line's failure if it is final and the first one."""
        if self.failure is not None or not line.final:
            return
        outcome, point = line.outcome, line.block.point
        if outcome is None:
            self.failure = Failure(point.as_dict(), line.block.first, str(line.error))
        elif outcome.details.failed:
            self.failure = outcome.details.first_failure(point.as_dict())
        if self.failure is not None and self._tell is not None:
            self._tell(self.failure)


class NoJournal:
    """Takes the lines of trainings that leave no run behind, in place of a `Journal`."""

    appended = settled = 0

    def append(self, line: Evaluation) -> None:
        """Keep nothing."""

    def sync(self) -> None:
        """Do nothing."""


class Record:
    """Writes each result to the journal before a decision uses it, and then reports progress.

    Args:
        journal: of the run.
        decider: uses the results.
        on_news: called with the decider's news, once the lines they are about are on the disk.
        first_failure: looks at each line.
    """

    def __init__(
        self,
        journal: Journal | NoJournal,
        decider: Decider,
        on_news: Callable[[Any], None] | None = None,
        first_failure: FirstFailure | None = None,
    ) -> None:
        self._journal, self._decider, self._on_news = journal, decider, on_news
        self.first_failure = first_failure or FirstFailure()
        self._news: deque[tuple[int, object]] = (
            deque()
        )  # with the number of lines to be on the disk

    def __call__(self, job: Job, line: Evaluation) -> None:
        """Record the result of a job."""
        self._journal.append(line)
        self._decider.tell(job, line)
        self.announce()
        self.first_failure.look(line)

    def note(self, lines: Iterable[Evaluation]) -> None:
        """Write verdicts to the journal; no decision reads them."""
        for line in lines:
            self._journal.append(line)

    def announce(self) -> None:
        """Report the news whose lines are on the disk."""
        number, news = self._journal.appended, self._decider.news
        while news:
            self._news.append((number, news.popleft()))
        while self._news and self._news[0][0] <= self._journal.settled:
            _, progress = self._news.popleft()
            if self._on_news is not None:
                self._on_news(progress)

    def flush(self) -> None:
        """Bring all lines to the disk, and report all news."""
        self._journal.sync()
        self.announce()


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
