"""Executors of this machine: this process, a pool of processes, an event loop; see `loop.Executor`.

`ray_executor` has the one that trains on Ray.
"""

from __future__ import annotations

import math
import os
import queue
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.forks import ending_forks
from xortune.core.outcome import Outcome
from xortune.core.trainer import (
    Block,
    OutOfTime,
    Trainer,
    Unfinished,
)
from xortune.trainers.function import begin
from xortune.trainers.verdicts import one_line
from xortune.training.batches import Batches
from xortune.training.cluster import Cluster, awaiting, connected, slots_here
from xortune.training.jobs import BatchProgress, Done, Job, WorkerFailure
from xortune.training.loop import Executor
from xortune.training.process import uninterrupted
from xortune.training.processes import (
    Worker,
    end_processes,
    let_processes_go,
    processes_for,
    timed_out,
)
from xortune.training.worker import (
    AGAIN,
    BEGUN,
    DONE,
    RAISED,
    REPORTED,
    TRAINED,
    Piece,
    block_id,
    outcome_again,
    pieces,
)

LOOK_SECONDS = 1.0
"""Maximum seconds of a `wait`: the driver also writes the journal and looks at the time."""

FAILED_STARTS = 3
"""Number of workers in a row that end before they train, after which the search ends."""


class LocalExecutor:
    """Trains in this process.

    Args:
        trainer: trains the batches.
        slots: maximum batches that train together, as one call.
    """

    def __init__(self, trainer: Trainer, slots: int = 1) -> None:
        self._trainer, self.slots = trainer, slots
        self._batches = 0  # that are being trained
        self._progress = BatchProgress(())
        self._pieces: Iterator[Piece] = iter(())
        self._again: tuple[Block, ...] = ()  # they train after the others
        self._until: float | None = None
        self.done: deque[Done] = deque()

    def take(self, batches: Batches) -> None:
        """Keep the next batches for `wait`."""
        if self._batches:
            return
        taken: list[Job] = []
        while self._batches < self.slots and (jobs := batches.next()):
            taken += jobs
            self._batches += 1
        self._progress = BatchProgress(tuple(taken))
        blocks = [job.block for job in taken]
        self._until = batches.until
        self._pieces = pieces(self._trainer, blocks, until=self._until)
        self._again = batches.again_after(taken)

    def wait(self, seconds: float = math.inf) -> None:  # noqa: ARG002
        """Train the next piece of the batches that were taken."""
        worker, started = f"{socket.gethostname()}:{os.getpid()}", time.perf_counter()
        try:
            piece = next(self._pieces)
        except Exception as error:  # a trainer's own
            failure = WorkerFailure("batch", one_line(error_text(error)), error)
            jobs = self._progress.end(list(self._progress.left.items()))
            self._end(Done(jobs, failure, time.perf_counter() - started, worker))
            return
        first = piece.parts[0][1]
        jobs = self._progress.end(piece.parts)
        done = Done(jobs, piece.results, piece.seconds, worker, self._trainer.stacking(first))
        if self._progress.left:
            self.done.append(replace(done, ends=False))
        else:
            self._end(done)

    def _end(self, done: Done) -> None:
        again, self._again = self._again, ()
        if again and (found := outcome_again(self._trainer, again, self._until)):
            self.done.append(Done((), (), found[1], again=found[0], ends=False))
        self.done.append(done)
        self.done.extend([Done((), ())] * (self._batches - 1))
        self._batches = 0

    def stop(self) -> None:
        """Do nothing: `wait` trains synchronously."""


@dataclass(eq=False)
class _Busy:
    """A worker with a batch, and why it is killed, if it is."""

    worker: Worker
    progress: BatchProgress
    exceeded: str | None = None
    seconds: float = 0.0
    last: Done | None = None  # the last piece of a batch that trained as one
    again: tuple[Block, ...] = ()  # it trains them after its batch, but has not got them yet


class Pool:
    """Trains in processes of this machine, one batch in each; see `training.processes`.

    A worker that ends costs the seed that it trained. Seeds with results are done, seeds that had
    not begun go to another worker.

    Args:
        trainer: sent to each worker once.
        slots: how many workers.
        limit: seconds that a piece of a batch may take; None for any time. The time limit of a
            seed is the trainer's.
        encodes: whether workers encode outcomes for the journal.
    """

    def __init__(
        self, trainer: Trainer, slots: int, *, limit: float | None = None, encodes: bool = True
    ) -> None:
        self._trainer, self.slots, self._limit, self._encodes = trainer, slots, limit, encodes
        self._as_one, self._seed_limit = trainer.traits.trains_as_one, trainer.traits.killed_after
        self._processes = processes_for(trainer)
        self._busy: list[_Busy] = []
        self._cancelled: set[tuple[str, int]] = set()
        self._failed_starts = 0
        self.done: deque[Done] = deque()

    def take(self, batches: Batches) -> None:
        """Send the next batches to workers that have nothing to do."""
        if self._busy:
            self._cancel_unwanted(batches)
        while len(self._busy) < self.slots and (jobs := batches.next()):
            if not self._processes.is_usable:
                self._processes = processes_for(self._trainer)
            blocks = [job.block for job in jobs]
            again = batches.again_after(jobs)
            if (worker := self._processes.take_early(blocks)) is not None:
                self._busy.append(_Busy(worker, BatchProgress(jobs), again=again))
                continue
            worker = self._processes.take()
            worker.is_idle = False
            self._busy.append(_Busy(worker, BatchProgress(jobs)))
            until = batches.until
            worker.train(self._trainer, blocks, until, encodes=self._encodes, again=again)

    def _cancel_unwanted(self, batches: Batches) -> None:
        jobs = [job for busy in self._busy for job in busy.progress.jobs]
        if not (new := batches.unwanted(jobs) - self._cancelled):
            return
        self._cancelled |= new
        for busy in self._busy:
            if mine := new & {block_id(job.block) for job in busy.progress.jobs}:
                busy.worker.cancel(sorted(mine))

    def wait(self, seconds: float = math.inf) -> None:
        """Return when a result has arrived, or after so many seconds, at most `LOOK_SECONDS`.

        Raises:
            InputError: no worker can start.
        """
        by_connection: dict[object, _Busy] = {busy.worker.connection: busy for busy in self._busy}
        seconds = min([seconds, LOOK_SECONDS, *(self._left(busy) for busy in self._busy)])
        connections = [busy.worker.connection for busy in self._busy]
        ready = wait([*connections, self._processes.control], max(0.0, seconds))
        with uninterrupted():
            for connection in ready:
                if (busy := by_connection.get(connection)) is not None:
                    self._read(busy)
            self._processes.listen()
            for busy in [busy for busy in self._busy if busy.worker.code is not None]:
                self._read(busy)
                if busy in self._busy:
                    self._lose(busy)
            for busy in self._busy:
                if self._left(busy) <= 0 and busy.exceeded is None:
                    busy.exceeded = "late"
                    busy.seconds = time.monotonic() - busy.progress.since
                    self._processes.kill(busy.worker)

    def _left(self, busy: _Busy) -> float:
        """Seconds until what trains exceeds its time limit."""
        if busy.progress.begun is None or busy.exceeded is not None:
            return math.inf
        limit = math.inf if self._limit is None else self._limit
        if self._seed_limit is not None:
            jobs = busy.progress.jobs if self._as_one else ()
            seeds = sum(job.block.count for job in jobs) or busy.progress.begun[1].count
            limit = min(limit, self._seed_limit * seeds)
        return busy.progress.since + limit - time.monotonic()

    def _read(self, busy: _Busy) -> None:
        """Take what a worker has sent."""
        worker, progress = busy.worker, busy.progress
        if (message := worker.read()) is None:  # it has closed its end
            self._processes.listen(0.05)
        while message is not None:
            what, *content = message
            if what == BEGUN:
                progress.begin(*content)
                self._failed_starts = 0
            elif what == TRAINED:
                parts, results, seconds, stacking = content
                jobs = progress.end(parts)
                ends = self._as_one and not progress.left  # some are left if seeds were void
                done = Done(jobs, results, seconds, "", stacking, ends=ends)
                if ends:
                    busy.last = done
                else:
                    self._give(busy, done)
            elif what == REPORTED:
                self._give(busy, Done((), (), reported=content[0], ends=False))
            elif what == AGAIN:
                progress.end(())
                self._give(busy, Done((), (), content[1], again=content[0], ends=False))
            elif what == DONE and busy.again:
                worker.train(self._trainer, (), None, encodes=self._encodes, again=busy.again)
                busy.again = ()
            elif what in (DONE, RAISED):
                if what == RAISED:
                    jobs = progress.end(list(progress.left.items()))
                    refusal = content[0] if isinstance(content[0], InputError) else None
                    failure = WorkerFailure("batch", str(content[0]), refusal)
                    self._give(busy, Done(jobs, failure))
                else:
                    self._give(busy, busy.last or Done((), ()))
                self._busy.remove(busy)
                busy.worker.is_idle = True
                return
            message = worker.read()

    def _give(self, busy: _Busy, done: Done) -> None:
        if busy.worker.pid is None:
            self._processes.listen()
        worker = f"{socket.gethostname()}:{busy.worker.pid}"
        self.done.extend(busy.progress.told(replace(done, worker=worker)))

    def _lose(self, busy: _Busy) -> None:
        """Say what a worker that has ended leaves, and why it has."""
        self._busy.remove(busy)
        worker, progress = busy.worker, busy.progress
        worker.connection.close()
        if not progress.left:  # it had sent all results
            self._give(busy, busy.last or Done((), ()))
            return
        fault, rest = progress.lost(as_one=self._as_one)
        if rest:
            failure = WorkerFailure("stopped", worker.reason)
            self.done.extend(progress.told(Done(rest, failure, ends=not fault)))
        if not fault:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS:
                raise InputError(
                    f"no worker can start: the last one {worker.reason}",
                    fix="run it in this process, with workers=0, to see what ends it",
                )
            return
        if busy.exceeded is None:
            by_system = worker.code == -signal.SIGKILL and self._processes.is_usable
            kind: Literal["killed", "batch"] = "killed" if by_system else "batch"
            self._give(busy, Done(fault, WorkerFailure(kind, worker.reason)))
            return
        seeds, limit = sum(job.block.count for job in fault), self._seed_limit
        if limit is None or (self._limit is not None and self._limit < limit * seeds):
            late = WorkerFailure("late", f"took longer than {self._limit:g} s")
            self._give(busy, Done(fault, late, busy.seconds))
        elif seeds > 1:
            slow = WorkerFailure("slow", f"took longer than {limit:g} s for each of {seeds} seeds")
            self._give(busy, Done(fault, slow, busy.seconds))
        else:
            self._give(busy, Done(fault, [timed_out(fault[0].block, limit)], busy.seconds))

    def stop(self) -> None:
        """Kill the workers that train; what has finished is in `done`."""
        for busy in list(self._busy):
            self._read(busy)
        for busy in self._busy:
            self._processes.kill(busy.worker)
        for busy in self._busy:
            busy.worker.kill()
        self._busy.clear()


class EventLoop:
    """Trains by an async function, in the event loop of a thread of this process.

    As many batches are awaited at once as there are slots, the seeds of each one after the other.
    Results are used in the order of decisions, as everywhere: no answer depends on how many are
    awaited at once.

    Args:
        trainer: an async function; see `Trainer.awaits`.
        slots: how many seeds are awaited at once.
    """

    def __init__(self, trainer: Trainer, slots: int) -> None:
        self._trainer: Any = trainer
        self.slots = slots
        self._awaited: dict[int, tuple[tuple[Job, ...], Future[None]]] = {}  # by their numbers
        self._begun = 0
        self._unwanted: set[tuple[str, int]] = set()
        self._arrived: queue.SimpleQueue[tuple[int, Done | KeyboardInterrupt]] = queue.SimpleQueue()
        self.done: deque[Done] = deque()

    def take(self, batches: Batches) -> None:
        """Begin the next batches."""
        if self._awaited:
            jobs_awaited = (job for jobs, _ in self._awaited.values() for job in jobs)
            self._unwanted |= batches.unwanted(jobs_awaited)
        while len(self._awaited) < self.slots and (jobs := batches.next()):
            self._begun += 1
            training = begin(self._train(self._begun, jobs, batches.until))
            self._awaited[self._begun] = jobs, training

    async def _train(self, number: int, jobs: tuple[Job, ...], until: float | None) -> None:
        worker, progress = f"{socket.gethostname()}:{os.getpid()}", BatchProgress(jobs)
        began = time.perf_counter()
        try:
            while progress.left:
                index, left = next(iter(progress.left.items()))
                block, began = left.part(left.first, 1), time.perf_counter()
                result: Outcome | TrainingError = Unfinished()
                if until is not None and time.time() >= until:
                    result = OutOfTime()
                elif block_id(jobs[index].block) not in self._unwanted:
                    result = await self._trainer.attempt(block)
                seconds = time.perf_counter() - began
                ended = progress.end([(index, block)])
                done = Done(ended, [result], seconds, worker, ends=not progress.left)
                self._arrived.put((number, done))
        except Exception as error:  # of the trainer itself, such as a file that is no Python
            failure = WorkerFailure("batch", one_line(error_text(error)), error)
            rest = progress.end(list(progress.left.items()))
            seconds = time.perf_counter() - began
            self._arrived.put((number, Done(rest, failure, seconds, worker)))
        except KeyboardInterrupt as error:  # a debugger is left
            self._arrived.put((number, error))

    def wait(self, seconds: float = math.inf) -> None:
        """Return when a result has arrived, or after so many seconds, at most `LOOK_SECONDS`."""
        with suppress(queue.Empty):
            self._receive(*self._arrived.get(timeout=min(seconds, LOOK_SECONDS)))
        self._receive_all()

    def stop(self) -> None:
        """Cancel what is awaited; what has finished is in `done`."""
        self._receive_all()
        for _, training in self._awaited.values():
            training.cancel()
        self._awaited.clear()

    def _receive_all(self) -> None:
        with suppress(queue.Empty):
            while True:
                self._receive(*self._arrived.get_nowait())

    def _receive(self, number: int, done: Done | KeyboardInterrupt) -> None:
        if isinstance(done, KeyboardInterrupt):
            del self._awaited[number]
            raise done
        self.done.append(done)
        if done.ends:
            del self._awaited[number]


def pool_or_here(
    trainer: Trainer, cluster: Cluster, *, encodes: bool = True
) -> LocalExecutor | Pool | EventLoop:
    """What trains on this machine without Ray: this process, or a pool.

    The caller ends the pool's processes; see `processes.ending_processes`.

    Args:
        trainer: what trains.
        cluster: how many workers, and what each may use.
        encodes: as of `Pool`.

    Raises:
        InputError: this machine has too few CPUs.
    """
    if cluster.workers == 0:
        return LocalExecutor(trainer)
    if trainer.traits.awaits:
        return EventLoop(trainer, awaiting(cluster).workers or 1)
    return Pool(trainer, slots_here(cluster), limit=cluster.trial_timeout, encodes=encodes)


@contextmanager
def executor_for(
    trainer: Trainer,
    cluster: Cluster,
    folder: Path,
    *,
    cancels: bool = False,
    on_message: Callable[[str], None] | None = None,
    is_checked: bool = True,
) -> Iterator[Executor]:
    """What trains for a verb until exit: this process, a pool, or Ray.

    The caller waits for the end of the pool's processes; see `processes.ending_processes`.

    Args:
        trainer: what trains.
        cluster: where, and what each trial may use.
        folder: of the run; Ray Tune keeps its own files below it.
        cancels: whether Ray's workers end blocks whose results are not wanted any more.
        on_message: called with a sentence if no training can begin for a while.
        is_checked: whether the training is checked already. If not, its check begins when Ray's
            workers are there.

    Raises:
        InputError: an unreachable cluster or one too small; Ray does not start.
    """
    if cluster.workers == 0 or not cluster.is_ray:
        with ending_forks():
            try:
                yield pool_or_here(trainer, cluster)
            finally:
                let_processes_go()
        return
    end_processes()  # those of the check
    with connected(cluster):
        from xortune.training.ray_executor import RayExecutor

        with RayExecutor(
            trainer, cluster, folder.resolve() / "ray", cancels=cancels, on_message=on_message
        ) as ray:
            if not is_checked:
                ray.wait_for_workers()
            yield ray
