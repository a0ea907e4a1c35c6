"""What a search trains in this process while Ray is still starting.

Ray takes some five seconds until its first worker has trained something. Where trainings take
milliseconds, many a search has its answer by then. What is decided does not depend on who trains
(see `xortune.search.steps`), so the first steps need not wait.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from xortune.errors import TrainingError
from xortune.search.packs import Packs
from xortune.search.training import trained
from xortune.trainer import Trainer

__all__ = ["training_meanwhile"]


@contextmanager
def training_meanwhile(packs: Packs, trainer: Trainer) -> Iterator[None]:
    """Train packs in a thread for as long as the body runs; then what is left is for the workers.

    It is a thread and not the body because Ray wants the main one for its signal handlers. The pack
    that is being trained at the end is brought home first.

    Args:
        packs: where they come from; nobody else may take any in the body.
        trainer: one that can be trusted with this process: it neither hangs nor dies.

    Raises:
        InputError: afterwards: the trainer refused a proposal, the journal could not be written.
    """
    over = threading.Event()
    errors: list[BaseException] = []

    def train() -> None:
        try:
            while not over.is_set() and _one_pack(packs, trainer):
                pass
        except BaseException as error:  # raised again where it can be heard
            errors.append(error)

    thread = threading.Thread(target=train, name="training while Ray starts")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if errors:
        raise errors[0]


def _one_pack(packs: Packs, trainer: Trainer) -> bool:
    """Train the next pack; False if there is none that is small enough."""
    jobs = packs.next_brief()
    if not jobs:
        return False
    started = time.perf_counter()
    results = trained(trainer, [job.block for job in jobs])
    worker = f"{socket.gethostname()}:{os.getpid()}"
    if isinstance(results, TrainingError):
        packs.crashed(jobs, results, worker=worker)
    else:
        packs.receive(jobs, results, seconds=time.perf_counter() - started, worker=worker)
    return True
