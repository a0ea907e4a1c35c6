"""Executors of this machine: this process, a pool of processes, an event loop; see `loop.Executor`.

`ray_executor` has the one that trains on Ray.
"""

from __future__ import annotations

import os
import queue
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.forks import ending_forks
from xortune.core.outcome import Outcome
from xortune.core.plugins import installed
from xortune.core.trainer import Block, OutOfTime, Trainer, Unfinished
from xortune.trainers.awaited import begin
from xortune.trainers.verdicts import one_line
from xortune.training.batches import Batches
from xortune.training.cluster import connected
from xortune.training.jobs import (
    BEGUN,
    DONE,
    FAILED_STARTS,
    Batch,
    Job,
    Limits,
    WorkerFailure,
    block_id,
)
from xortune.training.loop import Executor
from xortune.training.process import uninterrupted
from xortune.training.processes import Worker, end_processes, let_processes_go, processes_for
from xortune.training.resources import Cluster, awaiting
from xortune.training.slots import slots_here
from xortune.training.worker import Piece, outcome_again, pieces


class LocalExecutor(Executor):
    """Trains in this process.

    Args:
        trainer: trains the batches.
        slots: maximum batches that train together, as one call.
    """

    def __init__(self, trainer: Trainer, slots: int = 1) -> None:
        super().__init__(trainer, slots)
        self._pieces: Iterator[Piece] = iter(())

    def take(self, batches: Batches) -> None:
        """Keep the next batches for `wait`, as one."""
        taken: list[tuple[Job, ...]] = []
        while not self.under_way and len(taken) < self.slots and (jobs := batches.next()):
            taken.append(jobs)
        if taken:
            self._begin(tuple(job for jobs in taken for job in jobs), batches, len(taken))

    def send(self, batch: Batch) -> None:
        """Keep it for `receive`."""
        batch.worker = _this_process()
        self._pieces = pieces(self.trainer, batch.blocks, until=batch.until)

    def receive(self, seconds: float) -> None:  # noqa: ARG002
        """Train the next piece of the batch."""
        [batch] = self.under_way
        started = time.perf_counter()
        try:
            piece = next(self._pieces)
        except Exception as error:  # a trainer's own
            batch.fail(one_line(error_text(error)), error, time.perf_counter() - started)
        else:
            stacking = self.trainer.stacking(piece.parts[0][1])
            batch.trained(piece.parts, piece.results, piece.seconds, stacking)
        if batch.left:
            return
        if batch.again and (found := outcome_again(self.trainer, batch.again, batch.until)):
            batch.trained_again(*found)
        if not batch.has_ended:
            batch.end()

    def stop(self) -> None:
        """Do nothing: `wait` trains synchronously."""


class Pool(Executor):
    """Trains in processes of this machine, one batch in each; see `training.processes`.

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
        super().__init__(trainer, slots, Limits(limit, trainer.traits.killed_after))
        self._encodes, self._processes = encodes, processes_for(trainer)
        self._workers: dict[Batch, Worker] = {}
        # `Batch.again` of those that began with the check.
        self._again: dict[Batch, tuple[Block, ...]] = {}
        self._failed_starts = 0

    def send(self, batch: Batch) -> None:
        """Send a batch to a worker that has nothing to do, unless one trains it already."""
        if not self._processes.is_usable:
            self._processes = processes_for(self.trainer)
        if (worker := self._processes.take_early(batch.blocks)) is not None:
            self._workers[batch], self._again[batch] = worker, batch.again
            return
        self._workers[batch] = worker = self._processes.take()
        worker.train(
            self.trainer, batch.blocks, batch.until, encodes=self._encodes, again=batch.again
        )

    def cancel(self, blocks: set[tuple[str, int]]) -> None:
        """Tell the workers that have these blocks."""
        for batch, worker in self._workers.items():
            if mine := blocks & set(map(block_id, batch.blocks)):
                worker.cancel(sorted(mine))

    def receive(self, seconds: float) -> None:
        """Take what workers have sent, and note which have ended."""
        connections = [worker.connection for worker in self._workers.values()]
        ready = wait([*connections, self._processes.control], seconds)
        with uninterrupted():
            self._processes.listen()
            for batch, worker in list(self._workers.items()):
                if worker.connection in ready or worker.code is not None:
                    self._read(batch, worker)
                if worker.code is not None and not batch.has_ended:
                    self._lose(batch)

    def _read(self, batch: Batch, worker: Worker) -> None:
        batch.worker = f"{socket.gethostname()}:{worker.pid}"
        while (message := worker.read()) is not None:
            if message[0] == BEGUN:
                self._failed_starts = 0
            if message[0] == DONE and (again := self._again.pop(batch, ())):
                worker.train(self.trainer, (), None, encodes=self._encodes, again=again)
            else:
                batch.hear(*message)
            if batch.has_ended:
                self._forget(batch)
                worker.is_idle = True
                return

    def _lose(self, batch: Batch) -> None:
        worker = self._workers[batch]
        self._forget(batch)
        worker.connection.close()
        by_system = worker.code == -signal.SIGKILL and self._processes.is_usable
        kind: Literal["killed", "batch"] = "killed" if by_system else "batch"
        fault, rest = batch.lose(WorkerFailure(kind, worker.reason))
        if fault or not rest:
            return
        self._failed_starts += 1
        if self._failed_starts >= FAILED_STARTS:
            raise InputError(
                f"no worker can start: the last one {worker.reason}",
                fix="run it in this process, with workers=0, to see what ends it",
            )

    def _forget(self, batch: Batch) -> None:
        del self._workers[batch]
        self._again.pop(batch, None)

    def __exit__(self, *_: object) -> None:
        """Do nothing: `let_processes_go` ends what still trains, without waiting for it."""

    def kill(self, batch: Batch) -> None:
        """Kill the worker of a batch, and all that it has started."""
        self._processes.kill(self._workers[batch])

    def stop(self) -> None:
        """Kill the workers that train; what has finished is in `done`."""
        for batch, worker in list(self._workers.items()):
            self._read(batch, worker)
        for worker in self._workers.values():
            self._processes.kill(worker)
        for worker in self._workers.values():
            worker.kill()
        self._workers.clear()
        self.under_way.clear()


class EventLoop(Executor):
    """Trains by an async function, in the event loop of a thread of this process.

    As many batches are awaited at once as there are slots, the seeds of each one after the other.
    Results are used in the order of decisions, as everywhere: no answer depends on how many are
    awaited at once.
    """

    def __init__(self, trainer: Trainer, slots: int) -> None:
        super().__init__(trainer, slots)
        self._awaited: dict[Batch, Future[None]] = {}
        self._unwanted: set[tuple[str, int]] = set()
        self._arrived: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def send(self, batch: Batch) -> None:
        """Begin to await its first seed."""
        batch.worker = _this_process()
        self._awaited[batch] = begin(self._train(batch))

    def cancel(self, blocks: set[tuple[str, int]]) -> None:
        """No further seed of these blocks is awaited."""
        self._unwanted |= blocks

    async def _train(self, batch: Batch) -> None:
        """Await seed after seed; what comes of each is told by the thread of the search."""
        tell, began = self._arrived.put, time.perf_counter()
        try:
            for index, block in enumerate(batch.blocks):
                for seed in block.seeds:
                    part, began = block.part(seed, 1), time.perf_counter()
                    result: Outcome | TrainingError = Unfinished()
                    if batch.until is not None and time.time() >= batch.until:
                        result = OutOfTime()
                    elif block_id(block) not in self._unwanted:
                        result = await self.trainer.attempt(part)
                    seconds = time.perf_counter() - began
                    tell(partial(batch.trained, [(index, part)], [result], seconds))
            tell(batch.end)
        except Exception as error:  # of the trainer itself, such as a file that is no Python
            seconds = time.perf_counter() - began
            tell(partial(batch.fail, one_line(error_text(error)), error, seconds))
        except KeyboardInterrupt as error:  # a debugger is left
            tell(partial(_raise, error))

    def receive(self, seconds: float) -> None:
        """Use what has arrived."""
        with suppress(queue.Empty):
            self._arrived.get(timeout=seconds)()
            while True:
                self._arrived.get_nowait()()

    def stop(self) -> None:
        """Cancel what is awaited; what has finished is in `done`."""
        self.receive(0.0)
        for training in self._awaited.values():
            training.cancel()
        self._awaited.clear()
        self.under_way.clear()


def _raise(error: BaseException) -> None:
    raise error


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


# -------------------------------------------------------------------------------------------------
# Which of them trains.


@dataclass(frozen=True)
class AskedExecutor:
    """What is asked of an executor.

    Attributes:
        trainer: what trains.
        cluster: where, and what each trial may use.
        folder: of the run; Ray Tune keeps its own files below it. None where there is no run: then
            this machine trains.
        encodes: whether outcomes are to be encoded for the journal where they are trained.
        on_message: called with a sentence if no training can begin for a while.
        is_checked: whether the training is checked already. If not, its check begins when Ray's
            workers are there.
    """

    trainer: Trainer
    cluster: Cluster
    folder: Path | None = None
    encodes: bool = True
    on_message: Callable[[str], None] | None = None
    is_checked: bool = True


@contextmanager
def _here(_: AskedExecutor) -> Iterator[None]:
    """What trains on this machine: its processes end afterwards, while the caller goes on."""
    with ending_forks():
        try:
            yield
        finally:
            let_processes_go()


@contextmanager
def _on_ray(asked: AskedExecutor) -> Iterator[None]:
    end_processes()  # those of the check
    with connected(asked.cluster):
        yield


def _ray(asked: AskedExecutor) -> Executor:
    from xortune.training.ray_executor import RayExecutor  # which imports Ray, for a second

    assert asked.folder is not None
    return RayExecutor(
        asked.trainer,
        asked.cluster,
        asked.folder.resolve() / "ray",
        on_message=asked.on_message,
        waits=not asked.is_checked,
    )


@dataclass(frozen=True)
class ExecutorKind:
    """A kind of executors. A package adds one as an entry point of `xortune.executors`.

    Attributes:
        name: for lists of kinds.
        about: where it trains, in a few words.
        matches: whether it is meant. Of all kinds that match the last one is taken.
        make: makes it.
        around: what surrounds it: a connection to a cluster, say.
    """

    name: str
    about: str
    matches: Callable[[AskedExecutor], bool]
    make: Callable[[AskedExecutor], Executor]
    around: Callable[[AskedExecutor], AbstractContextManager[None]] = _here


EXECUTORS = (
    ExecutorKind(
        "pool",
        "processes of this machine",
        lambda _: True,
        lambda asked: Pool(
            asked.trainer,
            slots_here(asked.cluster),
            limit=asked.cluster.each.limit,
            encodes=asked.encodes,
        ),
    ),
    ExecutorKind(
        "event loop",
        "an event loop of this process, for async functions",
        lambda asked: asked.trainer.traits.awaits,
        lambda asked: EventLoop(asked.trainer, awaiting(asked.cluster).workers or 1),
    ),
    ExecutorKind(
        "ray",
        "Ray Tune",
        lambda asked: asked.cluster.is_ray and asked.folder is not None,
        _ray,
        _on_ray,
    ),
    ExecutorKind(
        "here",
        "this process, one batch after the other",
        lambda asked: asked.cluster.workers == 0,
        lambda asked: LocalExecutor(asked.trainer),
    ),
)
"""xortune's own kinds of executors; the first one takes all that no other takes."""


def _kind_of(asked: AskedExecutor) -> ExecutorKind:
    kinds = installed("xortune.executors", ExecutorKind, EXECUTORS)
    return next(kind for kind in reversed(kinds) if kind.matches(asked))


def executor_here(asked: AskedExecutor) -> Executor:
    """What trains on this machine; the caller ends the pool's processes: `ending_processes`.

    Raises:
        InputError: this machine has too few CPUs.
    """
    return _kind_of(asked).make(asked)


@contextmanager
def executor_for(asked: AskedExecutor) -> Iterator[Executor]:
    """What trains for a verb until exit: this process, a pool, or Ray.

    The caller waits for the end of the pool's processes: `processes.ending_processes`.

    Raises:
        InputError: an unreachable cluster or one too small; Ray does not start.
    """
    kind = _kind_of(asked)
    with kind.around(asked), kind.make(asked) as executor:
        yield executor
