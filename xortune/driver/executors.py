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
from xortune.core.trainer import Block, Trainer, has, stacking_of
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
from xortune.trainers.limits import end_at_once, ending_at, time_is_over
from xortune.trainers.reaper import REAPER, kill_group
from xortune.trainers.verdicts import one_line


class Executor(Protocol):
    """Trains batches: in this process, in others of this machine, or as trials of Ray Tune."""

    slots: int
    """How many batches it trains at once."""

    done: deque[Done]
    """Results of finished batches, the oldest first."""

    def take(self, batches: Batches) -> None:
        """Begin the next of these batches, as many as it has room for."""

    def wait(self) -> None:
        """Return when `done` may have something."""

    def stop(self) -> None:
        """End what is under way; what has finished is in `done`."""


def train_blocks(
    trainer: Trainer,
    blocks: Sequence[Block],
    *,
    in_subprocess: bool = False,
    until: float | None = None,
    is_sent: bool = False,
) -> Done:
    """Train blocks where this is called: on a worker, or in the driver's process.

    Args:
        trainer: what trains.
        blocks: what is trained.
        in_subprocess: train a user's function or the built-in network in a separate process, which
            stays for the next blocks until `end_process`.
        until: `time.time` from which on no training begins. The built-in network and stacks train a
            batch as one, in seconds.
        is_sent: whether the results go to another process. Outcomes are then encoded here, because
            there are many workers, and because they are smaller to send. Those of the built-in
            network always are.

    Returns:
        An outcome or an error for each block, or one failure for all; without the jobs.
    """
    started = time.perf_counter()
    in_subprocess = in_subprocess or killed_after(trainer) is not None
    is_encoded = is_sent or not has(trainer, "users_code")
    results: Sequence[Outcome | EncodedOutcome | TrainingError] | WorkerFailure
    try:
        with ending_at(until):
            if in_subprocess and not time_is_over():
                results = train_in_subprocess(trainer, blocks)
            else:
                results = train_in_time(trainer, blocks)
        if is_encoded:
            done = zip(blocks, results, strict=True)
            results = [encoded(block, result) for block, result in done]
    except ProcessEnded as error:
        results = WorkerFailure("batch", str(error))
    except Exception as error:  # a trainer's own; the worker lives on for the next batch
        cause = None if is_encoded else error
        results = WorkerFailure("batch", one_line(error_text(error)), cause)
    seconds, stacking = time.perf_counter() - started, None
    if not isinstance(results, WorkerFailure):
        found = stacking_in_subprocess if in_subprocess else stacking_of
        stacking = found(trainer, blocks[0])
    return Done((), results, seconds, f"{socket.gethostname()}:{os.getpid()}", stacking)


class LocalExecutor:
    """Trains in this process; a user's function in a separate process.

    Args:
        trainer: trains the batches.
        slots: maximum batches that train together, as one call.

    Attributes:
        closed: whether it takes nothing more, so that another executor can go on.
    """

    closed = False

    def __init__(self, trainer: Trainer, slots: int = 1) -> None:
        self._trainer, self.slots = trainer, slots
        self._taken: list[tuple[Job, ...]] = []
        self._until: float | None = None
        self.done: deque[Done] = deque()

    def take(self, batches: Batches) -> None:
        """Keep the next batches for `wait`."""
        while len(self._taken) < self.slots and not self.closed and (jobs := batches.next()):
            self._taken.append(jobs)
        self._until = batches.until

    def wait(self) -> None:
        """Train the batches that were taken."""
        taken, self._taken = self._taken, []
        jobs, own = list(chain(*taken)), has(self._trainer, "own_process")
        blocks = [job.block for job in jobs]
        done = train_blocks(self._trainer, blocks, in_subprocess=own, until=self._until)
        results = None if isinstance(done.results, WorkerFailure) else iter(done.results)
        seeds = sum(block.count for block in blocks)
        for batch in taken:
            share = sum(job.block.count for job in batch) / seeds
            own_results = done.results if results is None else list(islice(results, len(batch)))
            seconds = share * done.seconds
            self.done.append(replace(done, jobs=batch, results=own_results, seconds=seconds))

    def stop(self) -> None:
        """Do nothing: `wait` trains synchronously."""


class _Threads:
    """Trains in threads of this process, each of which may keep a subprocess.

    Args:
        trainer: trains the batches.
        threads: how many.
        room: maximum batches that train or wait for a thread.
        in_subprocess: as of `train_blocks`.
    """

    _short = False  # as of `Batches.next`

    def __init__(self, trainer: Trainer, threads: int, room: int, *, in_subprocess: bool) -> None:
        self._trainer, self._in_subprocess, self._room = trainer, in_subprocess, room
        keep_as_spare()  # the process in which the training was checked
        self._others = REAPER.living
        self._threads: set[int] = set()
        self._pool = ThreadPoolExecutor(threads, "trains", self._note_thread)
        self._under_way: list[Future[Done]] = []
        self.done: deque[Done] = deque()

    def take(self, batches: Batches) -> None:
        """Train the next batches in the next free threads."""
        while self._has_room(batches) and (jobs := batches.next(short=self._short)):
            self._under_way.append(self._pool.submit(self._train, jobs, batches.until))

    def _has_room(self, batches: Batches) -> bool:  # noqa: ARG002
        return len(self._under_way) < self._room

    def _note_thread(self) -> None:
        self._threads.add(threading.get_ident())

    def _train(self, jobs: tuple[Job, ...], until: float | None) -> Done:
        blocks, own = [job.block for job in jobs], self._in_subprocess
        done = train_blocks(self._trainer, blocks, in_subprocess=own, until=until)
        return replace(done, jobs=jobs)

    def wait(self) -> None:
        """Return when a batch has finished."""
        wait(self._under_way, return_when=FIRST_COMPLETED)
        for batch in [batch for batch in self._under_way if batch.done()]:
            self._under_way.remove(batch)
            self.done.append(batch.result())

    def stop(self) -> None:
        """Kill the processes that train; what has finished is in `done`."""
        finished = [batch for batch in self._under_way if batch.done()]
        while any(not (batch.cancel() or batch.done()) for batch in self._under_way):
            self._kill()
            time.sleep(0.01)
        self.done.extend(batch.result() for batch in finished if batch.exception() is None)
        self._under_way.clear()

    def _kill(self) -> None:
        for thread in tuple(self._threads):
            end_at_once(thread)
            kill_process_of(thread)
        for command in REAPER.living - self._others:
            kill_group(command, session=True)

    def close(self) -> None:
        """End the threads and their processes."""
        self._pool.shutdown()
        for thread in self._threads:
            end_process(thread)


class ProcessExecutor(_Threads):
    """Trains in separate processes of this machine.

    They exist when the check ends, while Ray would start its workers one after the other.
    """

    def __init__(self, trainer: Trainer, slots: int) -> None:
        own = has(trainer, "users_code")
        # A stack takes seconds. A batch that waits so long would be decided on fewer results.
        room = slots if own else 3 * slots
        is_command = own and not has(trainer, "own_process")
        super().__init__(trainer, slots, room, in_subprocess=not is_command)
        self.slots = slots

    def __enter__(self) -> ProcessExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.close()
        end_process()


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


class _StartingExecutor(_Threads):
    """Trains short batches until workers have started, and the rest if it is short.

    It trains in a thread of its own. Where that only waits for the process of a user's function,
    the next batch is decided and the last one is recorded meanwhile.

    Attributes:
        workers_started: set by the caller.
        measured: set when a batch has been measured.
        workers_needed: set when workers would save more time than they cost, or at the end.
    """

    _short = True

    def __init__(self, trainer: Trainer, slots: int, *, ray: bool) -> None:
        own = has(trainer, "own_process")
        super().__init__(trainer, 1, 2 if own else 1, in_subprocess=own)
        self.slots = slots  # for which the search sizes its batches
        self._worth = RAY_SECONDS if ray else PROCESS_SECONDS
        self._prepared = self._aborted = False
        self.workers_started = threading.Event()
        self.measured = threading.Event()
        self.workers_needed = threading.Event()

    def _has_room(self, batches: Batches) -> bool:
        """Whether it has little to train, and does not leave the rest to the workers."""
        if batches.measured:
            if batches.saved_by(self.slots) > self._worth:
                self.workers_needed.set()
            self.measured.set()
        is_near_end = batches.work_left < WORKER_SECONDS
        trains_here = is_near_end or not self.workers_started.is_set()
        return trains_here and super()._has_room(batches)

    def _train(self, jobs: tuple[Job, ...], until: float | None) -> Done:
        if not self._prepared:
            self._prepare([job.block for job in jobs])
        done = None if self._aborted else super()._train(jobs, until)
        if done is None or (self._aborted and self._in_subprocess):  # which has been killed
            return Done(jobs, WorkerFailure("stopped", "interrupted"))
        return done

    def _prepare(self, blocks: Sequence[Block]) -> None:
        """Load the engine or the user's module, which is not to be measured."""
        self._prepared = True
        if self._in_subprocess:
            process_for(self._trainer).prepare(self._trainer)
        elif self._trainer.cost(blocks[0]) < MIN_BATCH_SECONDS / 4:
            train_blocks(self._trainer, blocks)

    def wait(self) -> None:
        """Return when a batch has finished. Raise KeyboardInterrupt after `abort`."""
        super().wait()
        if self._aborted:
            raise KeyboardInterrupt

    def abort(self) -> None:
        """Begin nothing more, and kill the process of a user's function."""
        self._aborted = True
        self._kill()


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

    def body() -> None:
        try:
            train(executor)
        finally:
            executor.close()

    def end(_: object) -> None:
        executor.workers_needed.set()
        executor.measured.set()

    def needs_workers() -> bool:
        if executor.measured.wait(PATIENCE_OWN if has(trainer, "own_process") else PATIENCE):
            executor.workers_needed.wait()
        return not (training.done() and training.exception())

    with ThreadPoolExecutor(1, "decides while Ray starts") as pool:
        training = pool.submit(body)
        training.add_done_callback(end)
        try:
            yield needs_workers
            executor.workers_started.set()
            training.result()
        except BaseException:
            executor.abort()
            raise
