"""A worker of Ray: a trial of Ray Tune, which trains batches as long as the search lasts.

Each worker imports this module, so it imports no more than training needs.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import cloudpickle

from xortune.core.errors import InputError
from xortune.core.private import ray_tasks_checked
from xortune.core.trainer import Block, Trainer
from xortune.core.version import VERSION
from xortune.trainers.limits import use_threads
from xortune.training.jobs import block_id
from xortune.training.process import ray_settings
from xortune.training.worker import BatchWorker, raised

with ray_settings():
    import ray
    from ray import tune

LOOK_SECONDS = 1.0
"""Time between two looks of a training that reports at whether its block is cancelled."""

RAY_REPORT_SECONDS = 5.0
"""Minimum time between two reports of a training that its worker passes on: there may be a thousand
workers."""

WARNED = "warned"
"""What a worker says of a warning that its trainer has logged."""

ANSWER_SECONDS = 5.0
"""Maximum time that it waits for the answer; then it goes on."""

logger = logging.getLogger("xortune.trainers")
"""What trainers log."""


@dataclass(frozen=True)
class PickledTrainer:
    """A trainer as bytes, with the folders that the program has put into `sys.path`.

    Ray does not send those. Folders of Python itself exist on the worker.
    """

    content: bytes
    path: tuple[str, ...]

    @classmethod
    def of(cls, trainer: Trainer) -> PickledTrainer:
        """Pickle a trainer."""
        path = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100  # resolves "" too
        own = [folder for folder in path if not folder.startswith((sys.prefix, sys.base_prefix))]
        return cls(cloudpickle.dumps(trainer), tuple(own))

    def load(self) -> Trainer:
        """The trainer; its module is imported."""
        sys.path[:0] = [folder for folder in self.path if folder not in sys.path]
        trainer: Trainer = pickle.loads(self.content)  # noqa: S301  # from our own driver
        return trainer


class WorkerTrial(tune.Trainable):  # type: ignore[misc]  # Ray ships no types
    """Trains the batches that it gets from the mailbox, until it is killed."""

    def setup(
        self,
        config: dict[str, Any],  # noqa: ARG002
        trainer: PickledTrainer,
        drivers: dict[str, str],
        mailbox: Any,
    ) -> None:
        """Say that this worker is there, and import what it trains."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        actor = ray.get_runtime_context().current_actor
        # As bytes: a handle would have the mailbox import this class.
        ray.get(mailbox.begin.remote(self.trial_id, name, pickle.dumps(actor)))
        refuse_other_versions(drivers)
        loaded = trainer.load()
        if loaded.traits.users_code:
            use_threads(loaded.traits.threads)
        self._trainer, self._worker = loaded, _RayWorker(self.trial_id, mailbox)

    def step(self) -> dict[str, Any]:
        """Train batch after batch."""
        users = self._trainer.traits.users_code
        with refusing_tasks() if users else nullcontext():
            while True:
                self._worker.train_next(self._trainer)


class _RayWorker(BatchWorker):
    """A worker behind the mailbox; it also says `(WARNED, text)` of what the trainer logs.

    Args:
        name: of this worker in the mailbox.
        mailbox: the actor.
    """

    report_seconds = RAY_REPORT_SECONDS
    look_seconds = LOOK_SECONDS

    def __init__(self, name: str, mailbox: Any) -> None:
        super().__init__()
        self._name, self._mailbox = name, mailbox
        self._said: list[tuple[Any, ...]] = []  # what is not sent yet

    def train_next(self, trainer: Trainer) -> None:
        """Wait for a batch and train it."""
        content, left = ray.get(self._mailbox.next.remote(self._name, self._packed()))
        blocks, again = pickle.loads(content)  # noqa: S301  # from our own driver
        until = None if left is None else time.time() + left
        try:
            with hearing_warnings(partial(self.say, WARNED)):
                self.train(trainer, blocks, until=until, again=again)
        except ray.exceptions.RayError:  # of the mailbox: the driver has ended
            raise
        except Exception as error:  # a trainer's own; the worker lives on for the next batch
            self.say(*raised(error))

    def say(self, what: str, *content: Any) -> None:
        """Keep it for the next question."""
        self._said.append((what, *content))

    def wants(self, block: Block) -> bool:
        """Send what is to be said, and ask whether the results of a block are wanted."""
        said = self._mailbox.say.remote(self._name, self._packed(), block_id(block))
        try:
            return bool(ray.get(said, timeout=ANSWER_SECONDS))
        except ray.exceptions.GetTimeoutError:  # the driver is slow
            return True

    def _packed(self) -> bytes | None:
        said, self._said = self._said, []
        return pickle.dumps(said) if said else None


PACKAGES = ("torch", "numba", "numpy")
"""The packages that determine the numbers of a training."""


def versions() -> dict[str, str]:
    """Versions of xortune and of `PACKAGES`, without the build (`+cpu`), which may differ."""
    return {"xortune": VERSION} | {name: version(name).partition("+")[0] for name in PACKAGES}


def refuse_other_versions(drivers: dict[str, str]) -> None:
    """Raise an InputError if a version differs from the driver's: one count has one version."""
    here = versions()
    others = [f"{name} {here[name]}, not {v}" for name, v in drivers.items() if here[name] != v]
    if others:
        raise InputError(f"{socket.gethostname()} has {'; '.join(others)} as the driver has")


@contextmanager
def hearing_warnings(hear: Callable[[str], object]) -> Iterator[None]:
    """Call `hear` with the warnings that engines log, once with each: nobody reads this log."""
    heard = set[str]()

    def note(record: logging.LogRecord) -> bool:
        if (message := record.getMessage()) not in heard:
            heard.add(message)
            hear(message)
        return False

    handler = logging.Handler(logging.WARNING)
    handler.addFilter(note)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


# A user's function may not use Ray itself: its tasks would wait forever.

USES_RAY = (
    "the function uses Ray itself, but the trials of a search hold all CPUs: tasks that it starts "
    "would wait forever; train without Ray, or ask for num_cpus=0 and give --no-check"
)


def refuse(_: object = None) -> None:
    """Raise a RuntimeError: Ray calls this before it starts in a function's subprocess."""
    raise RuntimeError(USES_RAY)


def refusing_tasks() -> AbstractContextManager[None]:
    """Refuse tasks and actors that ask for CPUs: the trial holds all of its placement group."""
    return ray_tasks_checked(_refuse_cpus)


def _refuse_cpus(options: dict[str, Any]) -> None:
    if options.get("num_cpus") != 0 and options.get("scheduling_strategy") is None:
        refuse()
