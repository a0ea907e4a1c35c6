"""The loop of a search: decide, batch, execute, record. One object for each, joined by `run`."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, Protocol

from xortune.core.errors import InputError
from xortune.core.outcome import Failure
from xortune.core.trainer import Block, Trainer
from xortune.driver.batches import LEAST_SECONDS, Batches
from xortune.driver.decisions import Decider
from xortune.driver.jobs import Done, Job, WorkerFailure, trained
from xortune.driver.process import uninterrupted
from xortune.driver.subprocesses import (
    end_process,
    keep_as_spare,
    kill_process_of,
    process_for,
    stacking_in_subprocess,
)
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal
from xortune.trainers.function import CustomTrainer


class Executor(Protocol):
    """Trains batches: in this process, or as trials of Ray Tune."""

    done: deque[Done]
    """What has come back, the oldest first."""

    @property
    def slots(self) -> int:
        """How many batches it trains at once."""

    @property
    def brief(self) -> bool:
        """Whether it takes brief batches only."""

    def takes(self, batches: Batches) -> bool:
        """Whether it takes another of these batches now."""

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Take a batch; nothing of it begins when so many seconds are over."""

    def wait(self, batches: Batches) -> None:
        """Return when something may have come back."""

    def stop(self) -> None:
        """End what is under way; what has finished is in `done`."""


def run(batches: Batches, executor: Executor, record: Record) -> None:
    """Train until nothing is left to do, or nothing that this executor takes.

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
                    while refusal is None and executor.takes(batches):
                        jobs = batches.next(brief=executor.brief)
                        if not jobs:
                            break
                        executor.submit(jobs, batches.seconds_left)
                except InputError as error:  # a proposal; what is under way may finish
                    refusal = error
                record.announce()
            if not batches.under_way:
                break
            executor.wait(batches)
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
# What is recorded: the journal first, then whoever decides by it, then the user.


class FirstFailure:
    """Looks for the first failure of a search, and tells of it.

    Args:
        tell: called with it.
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
        """Look whether a line of the journal is the first that has a failure, and is final."""
        if self.failure is not None or not line.final:
            return
        outcome, point = line.outcome, line.block.point
        if outcome is None:
            self.failure = Failure(point.as_dict(), line.block.first, str(line.error))
        elif outcome.details.failed:
            self.failure = outcome.details.first_failure(point.as_dict())
        if self.failure is not None and self._tell is not None:
            self._tell(self.failure)


class Record:
    """Writes results to the journal, before anyone decides by them; then tells who waits for them.

    Args:
        journal: of the run.
        decider: told of each line.
        on_news: called with the decider's news, once what they tell of is on the disk.
        first_failure: shown each line.
    """

    def __init__(
        self,
        journal: Journal,
        decider: Decider,
        on_news: Callable[[Any], None] | None = None,
        first_failure: FirstFailure | None = None,
    ) -> None:
        self._journal, self._decider, self._on_news = journal, decider, on_news
        self.first_failure = first_failure or FirstFailure()
        self._news: deque[tuple[int, object]] = deque()  # by the line that must be on the disk

    def __call__(self, job: Job, line: Evaluation) -> None:
        """Record what came of a job."""
        self._journal.append(line)
        self._decider.tell(job, line)
        self.announce()
        self.first_failure.look(line)

    def note(self, verdicts: Iterable[Evaluation]) -> None:
        """Write lines that nobody is told of."""
        for line in verdicts:
            self._journal.append(line)

    def announce(self) -> None:
        """Tell the news that no power cut can take back."""
        number, news = self._journal.appended, self._decider.news
        while news:
            self._news.append((number, news.popleft()))
        while self._news and self._news[0][0] <= self._journal.settled:
            _, one = self._news.popleft()
            if self._on_news is not None:
                self._on_news(one)

    def flush(self) -> None:
        """Bring all lines to the disk, and tell all news."""
        self._journal.sync()
        self.announce()


# -------------------------------------------------------------------------------------------------
# The executor of this process.


class LocalExecutor:
    """Trains one batch after the other in this process; a user's function in one of its own."""

    slots, brief = 1, False

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._next: tuple[tuple[Job, ...], float | None] | None = None
        self.done: deque[Done] = deque()

    def takes(self, batches: Batches) -> bool:  # noqa: ARG002  # one is as good as another
        """Whether it has nothing to train."""
        return self._next is None

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Keep the batch for `wait`."""
        self._next = jobs, None if seconds_left is None else time.time() + seconds_left

    def wait(self, batches: Batches) -> None:  # noqa: ARG002  # one is as good as another
        """Train the batch."""
        assert self._next is not None
        (jobs, until), self._next = self._next, None
        self.done.append(_trained_here(self._trainer, jobs, until))

    def stop(self) -> None:
        """Nothing runs in between."""


def _trained_here(
    trainer: Trainer, jobs: tuple[Job, ...], until: float | None, *, apart: bool | None = None
) -> Done:
    started = time.perf_counter()
    apart = isinstance(trainer, CustomTrainer) if apart is None else apart
    results = trained(trainer, [job.block for job in jobs], apart=apart, until=until)
    seconds, worker = time.perf_counter() - started, f"{socket.gethostname()}:{os.getpid()}"
    stacking = None
    if isinstance(trainer, CustomTrainer) and not isinstance(results, WorkerFailure):
        stacking = stacking_in_subprocess(trainer, jobs[0].block)
    return Done(jobs, results, seconds, worker, stacking)


class ProcessExecutor:
    """Trains in processes of its own on this machine: the built-in network, or a `TorchTraining`.

    They are there when the check ends, where Ray and its workers would come up one after the other.
    """

    brief = False

    def __init__(self, trainer: Trainer, slots: int) -> None:
        self._trainer, self.slots = trainer, slots
        # What waits would be decided upon knowing less: a stack takes seconds.
        self._most = slots if isinstance(trainer, CustomTrainer) else 3 * slots
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="trains")
        self._threads: set[int] = set()
        self._under_way: set[Future[Done]] = set()
        self.done: deque[Done] = deque()

    def __enter__(self) -> ProcessExecutor:
        keep_as_spare()  # the process in which the training was tried
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown()
        for thread in self._threads:
            end_process(thread)
        end_process()

    def takes(self, batches: Batches) -> bool:  # noqa: ARG002  # one is as good as another
        """Whether a process is free, or would soon be."""
        return len(self._under_way) < self._most

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Have the batch trained."""
        until = None if seconds_left is None else time.time() + seconds_left
        self._under_way.add(self._pool.submit(self._train, jobs, until))

    def _train(self, jobs: tuple[Job, ...], until: float | None) -> Done:
        self._threads.add(threading.get_ident())
        return _trained_here(self._trainer, jobs, until, apart=True)

    def wait(self, batches: Batches) -> None:  # noqa: ARG002  # one is as good as another
        """Return when a batch has come back."""
        done, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
        self.done.extend(one.result() for one in done)

    def stop(self) -> None:
        """End the processes that train; what has finished is in `done`."""
        ended = [one for one in self._under_way if not one.done()]
        while any(not (one.cancel() or one.done()) for one in ended):
            for thread in tuple(self._threads):
                kill_process_of(thread)
            time.sleep(0.01)
        self.done.extend(one.result() for one in self._under_way.difference(ended))
        self._under_way.clear()


# -------------------------------------------------------------------------------------------------
# What a search trains in this process: all of it where that is sooner, else until Ray has started.
#
# Ray takes some five seconds until its first worker has trained something. Where trainings take
# milliseconds, many a search is over by then. What is decided does not depend on who trains, so the
# first decisions need not wait, and a small search needs no Ray.

RAY_SECONDS = 8.0
"""What Ray takes, about: a start of two seconds, as long again until its first workers have trained
something, its end, and what all that takes from who trains meanwhile. Where its workers would save
less, this process trains alone."""

PROCESS_SECONDS = 2.0
"""What processes of this machine take: they import while nobody else trains."""

WORKER_SECONDS = 2.5
"""What workers take to come up when Ray has started. What takes less is brought to its end here."""

PATIENCE = 2.0
"""Seconds to wait for a first measurement. It comes late where the engine has to be compiled."""

PATIENCE_OWN = 10.0
"""The same for a user's function, whose process imports its modules first."""


class _StartingExecutor:
    """Trains brief batches until workers are there, and to the end if that is near.

    A thread of its own trains them. Where that is by a process of a user's function, the next batch
    is decided upon meanwhile, and what came of the last one is written down.
    """

    brief = True

    def __init__(self, trainer: Trainer, slots: int, *, ray: bool) -> None:
        self._trainer, self.slots = trainer, slots  # for which the search sizes its batches
        self._worth = RAY_SECONDS if ray else PROCESS_SECONDS
        self._most = 2 if isinstance(trainer, CustomTrainer) else 1
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trains while Ray starts")
        self._thread = 0
        self._prepared = self._aborted = False
        self._under_way: deque[Future[Done]] = deque()
        self.done: deque[Done] = deque()
        self.workers_there, self.measured, self.known = (threading.Event() for _ in range(3))

    def takes(self, batches: Batches) -> bool:
        """Whether it has little to train, and does not leave the rest to the workers."""
        if batches.measured:
            if batches.saved_by(self.slots) > self._worth:
                self.known.set()
            self.measured.set()
        near_end = batches.work_left < WORKER_SECONDS
        wanted = near_end or not self.workers_there.is_set()
        return len(self._under_way) < self._most and wanted and not self._aborted

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Have the batch trained after those before it."""
        until = None if seconds_left is None else time.time() + seconds_left
        self._under_way.append(self._pool.submit(self._train, jobs, until))

    def wait(self, batches: Batches) -> None:  # noqa: ARG002  # the oldest comes first
        """Take what comes of the oldest batch; of one that `abort` has ended nothing does."""
        done = self._under_way.popleft().result()
        if self._ended(done):
            raise KeyboardInterrupt
        self.done.append(done)

    def _ended(self, done: Done) -> bool:
        """Whether `abort` ended it."""
        return self._aborted and isinstance(done.results, WorkerFailure)

    def stop(self) -> None:
        """Begin nothing more; what finishes is in `done`."""
        under_way = [batch for batch in self._under_way if not batch.cancel()]
        self._under_way.clear()
        found = (batch.result() for batch in under_way if batch.exception() is None)
        self.done.extend(done for done in found if not self._ended(done))

    def close(self) -> None:
        """End the thread that trains, and the process of a user's function that it keeps."""
        if isinstance(self._trainer, CustomTrainer):
            self._pool.submit(end_process)
        self._pool.shutdown()

    def abort(self) -> None:
        """Begin nothing more, and end the process of a user's function that trains."""
        self._aborted = True
        kill_process_of(self._thread)

    # What follows runs in the thread that trains.

    def _train(self, jobs: tuple[Job, ...], until: float | None) -> Done:
        self._thread = threading.get_ident()
        blocks = [job.block for job in jobs]
        if not self._prepared:
            self._prepare(blocks)
        if self._aborted:
            return Done(jobs, WorkerFailure("stopped", "interrupted"))
        return _trained_here(self._trainer, jobs, until)

    def _prepare(self, blocks: Sequence[Block]) -> None:
        """Load the engine, or the user's module: that is not what is to be measured."""
        self._prepared = True
        if isinstance(self._trainer, CustomTrainer):
            process_for(self._trainer.source, self._trainer.threads).prepare(self._trainer)
        elif self._trainer.cost(blocks[0]) < LEAST_SECONDS / 4:
            trained(self._trainer, blocks)


@contextmanager
def training_meanwhile(
    train: Callable[[Executor], None], trainer: Trainer, slots: int, *, ray: bool = True
) -> Iterator[Callable[[], bool]]:
    """Train in this process while the body starts Ray, and to the end if that is near.

    It is done in a thread because Ray wants to be started by the main one, for its signal handlers.

    Args:
        train: trains by an executor as long as that takes batches.
        trainer: what trains.
        slots: trials that will run at once.
        ray: whether the workers are Ray's; else they are processes of this machine.

    Yields:
        Waits until it is known whether Ray is needed; whether it is.

    Raises:
        InputError: afterwards: the trainer refused a proposal, the journal could not be written.
    """
    executor = _StartingExecutor(trainer, slots, ray=ray)
    keep_as_spare()  # the process in which the function was tried
    errors: list[BaseException] = []

    def body() -> None:
        try:
            train(executor)
        except BaseException as error:  # raised again where it can be heard
            errors.append(error)
        finally:
            executor.close()
        executor.known.set()
        executor.measured.set()

    def wants_workers() -> bool:
        own = isinstance(trainer, CustomTrainer)
        if executor.measured.wait(PATIENCE_OWN if own else PATIENCE):
            executor.known.wait()
        return not errors

    thread = threading.Thread(target=body, name="decides while Ray starts")
    thread.start()
    try:
        yield wants_workers
        executor.workers_there.set()
        thread.join()
    except BaseException:
        executor.abort()
        thread.join()
        raise
    if errors:
        raise errors[0]
