"""What a search trains in this process: all of it where that is sooner, else until Ray has started.

Ray takes some five seconds until its first worker has trained something. Where trainings take
milliseconds, many a search is over by then. What is decided does not depend on who trains (see
`driver.blocks`), so the first steps need not wait, and a small search needs no Ray.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from xortune.core.errors import TrainingError
from xortune.core.trainer import Trainer
from xortune.driver.batches import LEAST_SECONDS, Batches
from xortune.driver.jobs import trained

RAY_SECONDS = 5.0
"""What Ray takes until its first workers have trained something, about: a start of two seconds, and
as long again for the workers. What takes less is trained in this process."""

WORKER_SECONDS = 2.5
"""What workers take to come up when Ray has started. What takes less is brought to its end here."""

PATIENCE = 2.0
"""Seconds to wait for a first measurement. It comes late where the engine has to be compiled."""


class LocalExecutor:
    """Packs on their way through this process, in a thread of their own.

    It is a thread because Ray wants to be started by the main one, for its signal handlers.
    """

    def __init__(self, packs: Batches, trainer: Trainer) -> None:
        self._packs, self._trainer = packs, trainer
        self._over, self._measured, self._known = (threading.Event() for _ in range(3))
        self._thread = threading.Thread(target=self._train, name="trains while Ray starts")
        self._error: BaseException | None = None

    def wants_workers(self) -> bool:
        """Wait until it is known whether Ray is needed; whether it is."""
        if not self._measured.wait(PATIENCE):
            return True
        self._known.wait()
        return self._error is None and not self._packs.finished

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def end(self) -> None:
        """Leave the rest to the workers, if it is worth their while; the last pack comes home."""
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what the thread has raised."""
        if self._error is not None:
            raise self._error

    def _train(self) -> None:
        try:
            while not self._over.is_set() or self._packs.left_seconds < WORKER_SECONDS:
                if not self._one_pack():
                    break
                if self._packs.left_seconds > RAY_SECONDS:
                    self._known.set()
                self._measured.set()
        except BaseException as error:  # raised again where it can be heard
            self._error = error
        finally:
            self._known.set()
            self._measured.set()

    def _one_pack(self) -> bool:
        """Train the next pack; False if there is none that is small enough."""
        first = not self._packs.measured
        jobs = self._packs.next_brief()
        if not jobs:
            return False
        blocks = [job.block for job in jobs]
        if first and self._trainer.cost(blocks[0]) < LEAST_SECONDS / 4:
            trained(self._trainer, blocks)  # loads the engine: that is not what it is to measure
        started = time.perf_counter()
        left = self._packs.left_time
        until = None if left is None else time.time() + left
        results = trained(self._trainer, blocks, until=until)
        worker = f"{socket.gethostname()}:{os.getpid()}"
        if isinstance(results, TrainingError):
            self._packs.crashed(jobs, results, worker=worker)
        else:
            seconds = time.perf_counter() - started
            self._packs.receive(jobs, results, seconds=seconds, worker=worker)
        return True


@contextmanager
def local_executor(packs: Batches, trainer: Trainer) -> Iterator[LocalExecutor]:
    """Train packs while the body runs, and to the end if that is near; the rest is for workers.

    Args:
        packs: where they come from; nobody else may take any in the body.
        trainer: one that can be trusted with this process: it neither hangs nor dies.

    Raises:
        InputError: afterwards: the trainer refused a proposal, the journal could not be written.
    """
    here = LocalExecutor(packs, trainer)
    here.start()
    try:
        yield here
    finally:
        here.end()
    here.check()
