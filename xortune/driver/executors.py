"""Executors on this machine: in this process, in processes beside it, and while Ray starts.

`ray_executor` has the one that trains on Ray.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from typing import Protocol

from xortune.core.errors import TrainingError, error_text
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, Trainer, has
from xortune.driver.batches import MIN_BATCH_SECONDS, Batches, Done, Job, WorkerFailure
from xortune.driver.subprocesses import (
    ProcessEnded,
    encoded,
    end_process,
    keep_as_spare,
    kill_process_of,
    killed_after,
    process_for,
    stacking_in_subprocess,
    train_in_subprocess,
    train_in_time,
)
from xortune.runs.evaluation import EncodedOutcome
from xortune.trainers.limits import ending_at, time_is_over
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.verdicts import one_line


class Executor(Protocol):
    """Trains batches: in this process, in others of this machine, or as trials of Ray Tune."""

    done: deque[Done]
    """Results of finished batches, the oldest first."""

    @property
    def slots(self) -> int:
        """How many batches it trains at once."""

    @property
    def short_batches_only(self) -> bool:
        """Whether it takes only batches of about `MIN_BATCH_SECONDS`."""

    def has_capacity(self, batches: Batches) -> bool:
        """Whether it takes another of these batches now."""

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Take a batch. No training of it begins later than `seconds_left` from now."""

    def wait(self, batches: Batches) -> None:
        """Return when `done` may have something."""

    def stop(self) -> None:
        """End what is under way; what has finished is in `done`."""


def train_blocks(
    trainer: Trainer,
    blocks: Sequence[Block],
    *,
    in_subprocess: bool = False,
    deadline: float | None = None,
    is_sent: bool = True,
) -> list[Outcome | EncodedOutcome | TrainingError] | WorkerFailure:
    """Train blocks where this is called: on a worker, or in the driver's process.

    Args:
        trainer: what trains.
        blocks: what is trained.
        in_subprocess: train a user's function or the built-in network in a separate process, which
            stays for the next blocks until `end_process`.
        deadline: `time.time` from which on no training begins. The built-in network and stacks
            train a batch as one, in seconds.
        is_sent: whether the results go to another process. Outcomes are then encoded here, because
            there are many workers, and because they are smaller to send.

    Returns:
        An outcome or an error for each block, or one failure for all.
    """
    in_subprocess = in_subprocess or killed_after(trainer) is not None
    try:
        with ending_at(deadline):
            if in_subprocess and not time_is_over():
                results = train_in_subprocess(trainer, blocks)
            else:
                results = train_in_time(trainer, blocks)
        done = zip(blocks, results, strict=True)
        return [encoded(block, result) for block, result in done] if is_sent else results
    except ProcessEnded as error:
        return WorkerFailure("batch", str(error))
    except Exception as error:  # a trainer's own; the worker lives on for the next batch
        return WorkerFailure("batch", one_line(error_text(error)), None if is_sent else error)


def _train_here(
    trainer: Trainer, jobs: tuple[Job, ...], deadline: float | None, *, in_subprocess: bool
) -> Done:
    started = time.perf_counter()
    blocks = [job.block for job in jobs]
    is_sent = not has(trainer, "users_code")
    results = train_blocks(
        trainer, blocks, in_subprocess=in_subprocess, deadline=deadline, is_sent=is_sent
    )
    seconds, failed = time.perf_counter() - started, isinstance(results, WorkerFailure)
    stacking = None if failed else stacking_in_subprocess(trainer, blocks[0])
    return Done(jobs, results, seconds, f"{socket.gethostname()}:{os.getpid()}", stacking)


def _deadline(seconds_left: float | None) -> float | None:
    return None if seconds_left is None else time.time() + seconds_left


class LocalExecutor:
    """Trains in this process; a user's function in a separate process.

    Args:
        trainer: trains the batches.
        slots: maximum batches that train together, as one call.

    Attributes:
        closed: whether it takes nothing more, so that another executor can go on.
    """

    short_batches_only = closed = False

    def __init__(self, trainer: Trainer, slots: int = 1) -> None:
        self._trainer, self.slots = trainer, slots
        self._waiting: list[tuple[Job, ...]] = []
        self._deadline: float | None = None
        self.done: deque[Done] = deque()

    def has_capacity(self, batches: Batches) -> bool:  # noqa: ARG002
        """Whether the next call has room."""
        return len(self._waiting) < self.slots and not self.closed

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Keep the batch for `wait`."""
        self._waiting.append(jobs)
        self._deadline = _deadline(seconds_left)

    def wait(self, batches: Batches) -> None:  # noqa: ARG002
        """Train the submitted batches."""
        waiting, self._waiting = self._waiting, []
        jobs, own = tuple(chain(*waiting)), has(self._trainer, "own_process")
        done = _train_here(self._trainer, jobs, self._deadline, in_subprocess=own)
        results = None if isinstance(done.results, WorkerFailure) else iter(done.results)
        seeds = sum(job.block.count for job in jobs)
        for batch in waiting:
            share = sum(job.block.count for job in batch) / seeds
            own_results = done.results if results is None else list(islice(results, len(batch)))
            seconds = share * done.seconds
            self.done.append(replace(done, jobs=batch, results=own_results, seconds=seconds))

    def stop(self) -> None:
        """Do nothing: `wait` trains synchronously."""


class ProcessExecutor:
    """Trains in separate processes of this machine.

    They exist when the check ends, while Ray would start its workers one after the other.
    """

    short_batches_only = False

    def __init__(self, trainer: Trainer, slots: int) -> None:
        self._trainer, self.slots = trainer, slots
        # A stack takes seconds. A batch that waits so long would be decided on fewer results.
        self._max_under_way = slots if has(trainer, "users_code") else 3 * slots
        self._others = REAPER.living
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="trains")
        self._threads: set[int] = set()
        self._under_way: set[Future[Done]] = set()
        self.done: deque[Done] = deque()

    def __enter__(self) -> ProcessExecutor:
        keep_as_spare()  # the process in which the training was checked
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._pool.shutdown()
        for thread in self._threads:
            end_process(thread)
        end_process()

    def has_capacity(self, batches: Batches) -> bool:  # noqa: ARG002
        """Whether a process is free, or soon will be."""
        return len(self._under_way) < self._max_under_way

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Train the batch in the next free process."""
        self._under_way.add(self._pool.submit(self._train, jobs, _deadline(seconds_left)))

    def _train(self, jobs: tuple[Job, ...], deadline: float | None) -> Done:
        self._threads.add(threading.get_ident())
        is_command = has(self._trainer, "users_code") and not has(self._trainer, "own_process")
        return _train_here(self._trainer, jobs, deadline, in_subprocess=not is_command)

    def wait(self, batches: Batches) -> None:  # noqa: ARG002
        """Return when a batch has finished."""
        finished, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
        self.done.extend(batch.result() for batch in finished)

    def stop(self) -> None:
        """Kill the processes that train; what has finished is in `done`."""
        unfinished = [batch for batch in self._under_way if not batch.done()]
        with ending_at(0.0):  # a command begins no further seed
            while any(not (batch.cancel() or batch.done()) for batch in unfinished):
                for thread in tuple(self._threads):
                    kill_process_of(thread)
                for command in REAPER.living - self._others:
                    kill_group(command, session=True)
                time.sleep(0.01)
        self.done.extend(batch.result() for batch in self._under_way.difference(unfinished))
        self._under_way.clear()


# -------------------------------------------------------------------------------------------------
# Training in this process while workers start.
#
# The first worker of Ray returns a result after some five seconds. Where trainings take
# milliseconds, many a search has ended by then. Decisions do not depend on who trains, so the first
# ones need not wait, and a small search needs no Ray.

RAY_SECONDS = 8.0
"""What Ray costs, about: two seconds to start, two until its first workers have trained something,
its end, and what these take from the trainings meanwhile. Where its workers would save less, this
process trains all of the search."""

PROCESS_SECONDS = 2.0
"""What processes of this machine cost: nobody trains while they import."""

WORKER_SECONDS = 2.5
"""How long workers take to come up once Ray has started. This process trains the rest of a search
that takes less."""

PATIENCE = 2.0
"""Seconds to wait for the first measurement, which is late if the engine has to be compiled."""

PATIENCE_OWN = 10.0
"""The same for a user's function, whose process imports its modules first."""


class _StartingExecutor:
    """Trains short batches until workers have started, and the rest if it is short.

    It trains in a thread of its own. Where that only waits for the process of a user's function,
    the next batch is decided and the last one is recorded meanwhile.

    Attributes:
        workers_started: set by the caller.
        measured: set when a batch has been measured.
        workers_needed: set when workers would save more time than they cost, or at the end.
    """

    short_batches_only = True

    def __init__(self, trainer: Trainer, slots: int, *, ray: bool) -> None:
        self._trainer, self.slots = trainer, slots  # for which the search sizes its batches
        self._own = has(trainer, "own_process")
        self._worth = RAY_SECONDS if ray else PROCESS_SECONDS
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="trains while Ray starts")
        self._thread = 0
        self._prepared = self._aborted = False
        self._under_way: deque[Future[Done]] = deque()
        self.done: deque[Done] = deque()
        self.workers_started = threading.Event()
        self.measured = threading.Event()
        self.workers_needed = threading.Event()

    def has_capacity(self, batches: Batches) -> bool:
        """Whether it has little to train, and does not leave the rest to the workers."""
        if batches.measured:
            if batches.saved_by(self.slots) > self._worth:
                self.workers_needed.set()
            self.measured.set()
        is_near_end = batches.work_left < WORKER_SECONDS
        trains_here = is_near_end or not self.workers_started.is_set()
        has_room = len(self._under_way) < (2 if self._own else 1)
        return has_room and trains_here and not self._aborted

    def submit(self, jobs: tuple[Job, ...], seconds_left: float | None) -> None:
        """Train the batch after those submitted before it."""
        self._under_way.append(self._pool.submit(self._train, jobs, _deadline(seconds_left)))

    def wait(self, batches: Batches) -> None:  # noqa: ARG002
        """Wait for the oldest batch. Raise KeyboardInterrupt if `abort` has ended it."""
        done = self._under_way.popleft().result()
        if self._was_aborted(done):
            raise KeyboardInterrupt
        self.done.append(done)

    def _was_aborted(self, done: Done) -> bool:
        return self._aborted and isinstance(done.results, WorkerFailure)

    def stop(self) -> None:
        """Begin nothing more; what finishes is in `done`."""
        under_way = [batch for batch in self._under_way if not batch.cancel()]
        self._under_way.clear()
        finished = (batch.result() for batch in under_way if batch.exception() is None)
        self.done.extend(done for done in finished if not self._was_aborted(done))

    def close(self) -> None:
        """End the thread that trains, and the process of a user's function that it keeps."""
        if self._own:
            self._pool.submit(end_process)
        self._pool.shutdown()

    def abort(self) -> None:
        """Begin nothing more, and kill the process of a user's function."""
        self._aborted = True
        kill_process_of(self._thread)

    # What follows runs in the thread that trains.

    def _train(self, jobs: tuple[Job, ...], deadline: float | None) -> Done:
        self._thread = threading.get_ident()
        if not self._prepared:
            self._prepare([job.block for job in jobs])
        if self._aborted:
            return Done(jobs, WorkerFailure("stopped", "interrupted"))
        return _train_here(self._trainer, jobs, deadline, in_subprocess=self._own)

    def _prepare(self, blocks: Sequence[Block]) -> None:
        """Load the engine or the user's module, which is not to be measured."""
        self._prepared = True
        if self._own:
            process_for(self._trainer).prepare(self._trainer)
        elif self._trainer.cost(blocks[0]) < MIN_BATCH_SECONDS / 4:
            train_blocks(self._trainer, blocks)


@contextmanager
def training_while_workers_start(
    train: Callable[[Executor], None], trainer: Trainer, slots: int, *, ray: bool = True
) -> Iterator[Callable[[], bool]]:
    """Train in this process while the body starts workers, and the rest if it is short.

    A thread decides and trains, because Ray has to be started by the main one, for its signal
    handlers.

    Args:
        train: trains with an executor as long as that takes batches.
        trainer: what trains.
        slots: trials that will run at once.
        ray: whether the workers are Ray's; else they are processes of this machine.

    Yields:
        A function that waits until it is known whether workers are needed, and says so.

    Raises:
        InputError: afterwards: the trainer refused a proposal, the journal could not be written.
    """
    executor = _StartingExecutor(trainer, slots, ray=ray)
    keep_as_spare()  # the process in which the function was checked
    errors: list[BaseException] = []

    def body() -> None:
        try:
            train(executor)
        except BaseException as error:  # raised again in the caller's thread
            errors.append(error)
        finally:
            executor.close()
        executor.workers_needed.set()
        executor.measured.set()

    def needs_workers() -> bool:
        if executor.measured.wait(PATIENCE_OWN if has(trainer, "own_process") else PATIENCE):
            executor.workers_needed.wait()
        return not errors

    thread = threading.Thread(target=body, name="decides while Ray starts")
    thread.start()
    try:
        yield needs_workers
        executor.workers_started.set()
        thread.join()
    except BaseException:
        executor.abort()
        thread.join()
        raise
    if errors:
        raise errors[0]
