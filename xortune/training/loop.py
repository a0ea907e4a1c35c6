"""The loop of a search: decide, batch, execute, record, until the decisions have no more.

`run` joins one object for each: `decisions.SearchDecisions`, `batches.Batches`, an executor
(`executors`, `ray_executor`) and `Record`. A certificate runs in the same loop.
"""

from __future__ import annotations

import math
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from xortune.core.errors import InputError
from xortune.core.forks import end_fork_of
from xortune.core.outcome import Failure
from xortune.core.seeds import IgnoredSeed
from xortune.core.trainer import MAX_VOID, VOID, Trainer, exceeds, is_void
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal
from xortune.training.batches import Batches
from xortune.training.jobs import (
    DOWN,
    LOOK_SECONDS,
    NO_LIMITS,
    Batch,
    Clock,
    Done,
    Job,
    Limits,
    too_many_void,
)
from xortune.training.process import raise_lost_interrupt, uninterrupted

SLEEP_SECONDS = 1.0
"""Maximum seconds for which the loop sleeps where nothing trains."""


class Executor(ABC):
    """Trains batches: the base of this process, the pool, the event loop and Ray.

    A subclass is a transport: `send` brings a batch to where it trains, `receive` says what has
    come of it, `kill` ends one. What that means is the business of `Batch`: which seeds are at
    fault if a worker dies or takes too long, and which train again elsewhere. So all transports
    give the same table. `examples/plugin/xortune_plugin/executor.py` is one on
    `concurrent.futures`, in forty lines.

    Args:
        trainer: what trains.
        slots: how many batches train at once.
        limits: of the time of what trains. Where they are exceeded, `kill` is called; `receive`
            then says that the batch is lost.

    Attributes:
        slots: the same, now.
        done: results of batches and of parts of them, the oldest first.
        under_way: batches that were sent and have not ended.
    """

    def __init__(self, trainer: Trainer, slots: int, limits: Limits = NO_LIMITS) -> None:
        self.trainer, self.slots, self._limits = trainer, slots, limits
        self.done: deque[Done] = deque()
        self.under_way: list[Batch] = []
        self._clock = Clock()
        self._cancelled: set[tuple[str, int]] = set()

    # What a transport says.

    @abstractmethod
    def send(self, batch: Batch) -> None:
        """Have somebody train a batch, or be the next to do so, without waiting.

        Raises:
            InputError: the trainer cannot be sent.
        """

    @abstractmethod
    def receive(self, seconds: float) -> None:
        """Wait so long for the first message, and tell each batch all that has come of it.

        Raises:
            InputError: nobody can train.
        """

    def kill(self, batch: Batch) -> None:  # noqa: ARG002
        """End what trains a batch; a later `receive` tells that it is lost."""
        raise TypeError(f"{type(self).__name__} was given limits, and has no `kill`")

    @abstractmethod
    def stop(self) -> None:
        """End what is under way; what has finished is in `done`."""

    def cancel(  # noqa: B027  # a transport that only waits has nothing to do
        self, blocks: set[tuple[str, int]]
    ) -> None:
        """Results of these blocks, by their `block_id`, are not wanted any more."""

    @property
    def room(self) -> int:
        """How many batches may be under way, those that wait for a worker included."""
        return self.slots

    # What the loop calls.

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def take(self, batches: Batches) -> None:
        """Begin the next of these batches, as many as there is room for.

        Raises:
            InputError: the trainer refused a proposal; batches under way may finish.
        """
        if self.under_way:
            trained = (job for batch in self.under_way for job in batch.jobs)
            if new := batches.unwanted(trained) - self._cancelled:
                self._cancelled |= new
                self.cancel(new)
        while len(self.under_way) < self.room and (jobs := batches.next()):
            self._begin(jobs, batches)

    def _begin(self, jobs: tuple[Job, ...], batches: Batches, count: int = 1) -> None:
        batch = Batch(
            jobs,
            self.done,
            as_one=self.trainer.traits.trains_as_one,
            limits=self._limits,
            clock=self._clock,
            until=batches.until,
            again=batches.again_after(jobs),
            count=count,
        )
        self.under_way.append(batch)
        try:
            self.send(batch)
        except InputError as error:
            batch.fail(str(error), error)  # or the loop would wait for it
            raise

    def wait(self, seconds: float = math.inf) -> None:
        """Return when `done` may have something, or after so many seconds, at most `LOOK_SECONDS`.

        Raises:
            InputError: nobody can train.
        """
        left = [batch.seconds_left for batch in self.under_way]
        self.receive(max(0.0, min(seconds, LOOK_SECONDS, *left)))
        self._clock.look()
        self.under_way = [batch for batch in self.under_way if not batch.has_ended]
        with uninterrupted():
            for batch in self.under_way:
                if batch.seconds_left <= 0:
                    batch.exceed()
                    self.kill(batch)


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
                    batches.stop(now=record.too_many_void is not None)
                try:
                    if refusal is None:
                        executor.take(batches)
                except InputError as error:  # of a proposal; batches under way may finish
                    refusal = error
            seconds = batches.seconds_to_next_try
            if not batches.under_way and (seconds is None or refusal is not None):
                break
            raise_lost_interrupt()
            if not batches.under_way:
                time.sleep(min(seconds or 0.0, SLEEP_SECONDS))
            elif seconds:  # without any the seed waits for a worker
                executor.wait(seconds)
            else:
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


def told_fault(fault: str) -> str:
    """What users are told when seeds are shown to train otherwise as one model."""
    return (
        f"seeds trained as one model differ from seeds trained alone ({fault}): from here on each "
        "seed trains alone, and all results of stacks are replaced"
    )


class Record:
    """Writes each line to the journal, and then reports the first failure and the progress.

    Args:
        journal: of the run.
        on_failure: called with the first failure.
        fatal: whether that ends the search.
        on_fault: called with a sentence if seeds were shown to train otherwise as one model.
        max_void: the share of seeds that may be void, see `trainer.Void`; more end the search.
        ignored: looks at the numbers of each outcome.
        before: seeds that had a result before: they are among those of which the share is.
        planned: of which the share is if they are more than those tried so far; 0: not known.
        void: the attribute, if it goes on.

    Attributes:
        failure: the first one among the final lines.
        void: by config key and seed, why a seed could not be tried.
    """

    def __init__(
        self,
        journal: Journal | NoJournal,
        on_failure: Callable[[Failure], None] | None = None,
        *,
        on_fault: Callable[[str], None] | None = None,
        fatal: bool = False,
        max_void: float = MAX_VOID,
        ignored: IgnoredSeed | None = None,
        before: int = 0,
        planned: int = 0,
        void: dict[tuple[str, int], str] | None = None,
    ) -> None:
        self.journal, self._on_failure, self._fatal = journal, on_failure, fatal
        self._on_fault = on_fault
        self.failure: Failure | None = None
        self.void: dict[tuple[str, int], str] = {} if void is None else void
        self._seeds, self._max_void, self._ignored = before, max_void, ignored
        self._planned, self._void_in_a_row = planned, 0
        # With the number of lines that have to be on the disk before.
        self._news: deque[tuple[int, object]] = deque()

    @property
    def ends(self) -> Failure | None:
        """The failure that ends the search."""
        return self.too_many_void or (self.failure if self._fatal else None)

    @property
    def too_many_void(self) -> Failure | None:
        """Why the search ends at once: each further seed would be tried for a minute, in vain."""
        tried, void = self._seeds + len(self.void), len(self.void)
        if not exceeds(void, tried, self._max_void):
            return None
        (_, seed), why = next(reversed(self.void.items()))
        if exceeds(void, planned := max(tried, self._planned), self._max_void):
            return Failure({}, seed, too_many_void(void, planned, self._max_void, why))
        if self._void_in_a_row < DOWN:  # the others may be few enough
            return None
        in_a_row = f"the last {self._void_in_a_row} seeds could not be tried"
        return Failure({}, seed, f"{in_a_row}, and {void} of {tried} so far; the last one: {why}")

    def __call__(self, line: Evaluation) -> None:
        """Write a line."""
        self.journal.append(line)
        if line.audit is not None:
            if line.audit.fault and self._on_fault is not None:
                self._on_fault(told_fault(line.audit.fault))
            return
        if is_void(line.error):
            reason = str(line.error).removeprefix(VOID)
            self.void |= {(line.block.point.key, seed): reason for seed in line.block.seeds}
            self._void_in_a_row += line.block.count
        if line.final:
            self._seeds += line.block.count
            self._void_in_a_row = 0
        if self._ignored is not None and line.outcome is not None:
            self._ignored.see(line.block.point.key, line.outcome.details.values)
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
