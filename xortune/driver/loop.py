"""The loop of a search: decide, batch, execute, record; and where it ends.

`run` joins one object for each: `decisions.SearchDecisions`, `batches.Batches`, an executor
(`executors`, `ray_executor`) and `Record`. A certificate runs in the same loop.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any, Protocol

from xortune.core.errors import InputError
from xortune.core.forks import end_fork_of
from xortune.core.outcome import Failure
from xortune.core.trainer import VOID, Block, Reported, is_void
from xortune.driver.batches import Batches, Done, Job
from xortune.driver.process import uninterrupted
from xortune.driver.void import LEAST_JUDGED, MAX_VOID
from xortune.runs.evaluation import Evaluation, SeedsToTrain
from xortune.runs.journal import Journal


class Executor(Protocol):
    """Trains batches: in this process, in a pool of processes, or as trials of Ray Tune."""

    slots: int
    """How many batches it trains at once."""

    done: deque[Done]
    """Results of batches and of parts of them, the oldest first."""

    def take(self, batches: Batches) -> None:
        """Begin the next of these batches, as many as it has room for."""

    def wait(self) -> None:
        """Return when `done` may have something."""

    def stop(self) -> None:
        """End what is under way; what has finished is in `done`."""


def run(
    batches: Batches,
    executor: Executor,
    record: Record,
    on_news: Callable[[Any], None] | None = None,
) -> None:
    """Train until nothing is left to do, or the executor takes nothing more.

    A fork that comes out of the user's code, which a callback or a training may be, ends: only the
    process that began decides and writes.

    `on_news` is called with the decider's news, once the lines they are about are on the disk.

    Raises:
        InputError: the trainer refused a proposal, or the journal cannot be written.
        KeyboardInterrupt: the user interrupted. What had finished is in the journal.
    """
    refusal: InputError | None = None
    process = os.getpid()
    try:
        while True:
            with uninterrupted():
                _receive(batches, executor)
                record.announce(batches.news, on_news)
                end_fork_of(process)
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
            end_fork_of(process)
    except BaseException:
        end_fork_of(process)
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
        max_void: the share of seeds that may be void, see `trainer.Void`; more end the search.

    Attributes:
        failure: the first one among the final lines.
        void: by config key and seed, why a seed could not be tried.
    """

    def __init__(
        self,
        journal: Journal | NoJournal,
        on_failure: Callable[[Failure], None] | None = None,
        *,
        fatal: bool = False,
        max_void: float = MAX_VOID,
    ) -> None:
        self.journal, self._on_failure, self._fatal = journal, on_failure, fatal
        self.failure: Failure | None = None
        self.void: dict[tuple[str, int], str] = {}
        self._seeds, self._max_void = 0, max_void
        # With the number of lines that have to be on the disk before.
        self._news: deque[tuple[int, object]] = deque()

    @property
    def ends(self) -> Failure | None:
        """The failure that ends the search."""
        return self._too_many_void or (self.failure if self._fatal else None)

    @property
    def _too_many_void(self) -> Failure | None:
        all_seeds = self._seeds + len(self.void)
        if len(self.void) <= self._max_void * max(all_seeds, LEAST_JUDGED):
            return None
        (_, seed), why = list(self.void.items())[-1]
        return Failure(
            {},
            seed,
            f"{len(self.void)} of {all_seeds} seeds could not be tried, which is more than "
            f"max_void ({self._max_void:g}) allows; the last one: {why}",
        )

    def __call__(self, line: Evaluation) -> None:
        """Write a line."""
        self.journal.append(line)
        if is_void(line.error):
            reason = str(line.error).removeprefix(VOID)
            self.void |= {(line.block.point.key, seed): reason for seed in line.block.seeds}
        self._seeds += line.block.count if line.final else 0
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
# Fresh seeds. They are all known from the start.


class FreshSeeds:
    """Decides which fresh seeds train next: a part of each config's in turn.

    All configs begin before the first is known to be good or bad, so nobody can choose among them
    by interrupting an attempt. Parts of one config may train at once, and results come in any
    order.

    Args:
        tasks: the seeds of each config.
        further: called with all lines so far; returns further tasks, or none once all is decided.

    Attributes:
        configs: number of configs with seeds to train.
        news: pairs (seeds done, all seeds) for the user's callback.
        lines: the evaluations recorded so far.
    """

    def __init__(
        self,
        tasks: Sequence[SeedsToTrain],
        *,
        further: Callable[[Sequence[Evaluation]], Sequence[SeedsToTrain]] | None = None,
    ) -> None:
        self._further = further
        self._waiting = deque(_jobs_of(tasks))
        self._begun = set[str]()  # keys of configs
        self.configs = len({job.block.point.key for job in self._waiting})
        self._total, self._done = _seeds_of(self._waiting), 0
        self.news: deque[object] = deque([(0, self._total)])
        self.lines: list[Evaluation] = []

    @property
    def blocks(self) -> list[Block]:
        """The seeds that nobody has begun to train."""
        return [job.block for job in self._waiting]

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002
        """Begin no further seed; those in flight may finish."""
        self._waiting.clear()
        self._further = None

    def next(self, seconds: Callable[[Block], float | None] = lambda _: None) -> Job | None:
        """The next seeds to train; None if there are none now.

        Once each config has begun, the one that takes longest for the rest is next: so no worker is
        left alone with it at the end.
        """
        if not self._waiting:
            return None
        job = self._waiting[0]
        if self._begun.issuperset(one.block.point.key for one in self._waiting):
            job = max(self._waiting, key=lambda one: seconds(one.block) or 0.0)
        self._waiting.remove(job)
        self._begun.add(job.block.point.key)
        return job

    def put_back(self, job: Job) -> None:
        """Take back the rest of a config's seeds: the other configs are next."""
        self._waiting.append(job)

    def wants(self, job: Job) -> bool:  # noqa: ARG002
        """Whether the result of a block is wanted: always."""
        return True

    def tell(self, job: Job, result: Evaluation) -> None:
        """Record the result of a block."""
        self.lines.append(result)
        if not result.final and not is_void(result.error):
            return
        self._done += job.block.count
        if self._further is not None:
            more = _jobs_of(task for task in self._further(self.lines) if task.seeds)
            if self._done == self._total:
                self._waiting.extend(more)
                self._total += _seeds_of(more)
            elif not more:  # the seeds so far have decided
                self._total -= _seeds_of(self._waiting)
                self._waiting.clear()
        self.news.append((self._done, self._total))

    def hear(self, reported: Reported) -> None:
        """Do nothing: the news of fresh seeds are counts."""


def _jobs_of(tasks: Iterable[SeedsToTrain]) -> list[Job]:
    """A job for each contiguous part of each task's seeds: first one of each task, then more."""
    rows = [
        [
            Job(task.proposal, Block(task.point, part.start, len(part)), purpose=task.purpose)
            for part in task.seeds
        ]
        for task in tasks
    ]
    return [job for jobs in zip_longest(*rows) for job in jobs if job is not None]


def _seeds_of(jobs: Iterable[Job]) -> int:
    return sum(job.block.count for job in jobs)
