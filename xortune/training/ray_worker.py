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
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import reduce
from importlib.metadata import version
from typing import Any

import cloudpickle

from xortune.core.errors import InputError, TrainingError, error_text
from xortune.core.outcome import Outcome
from xortune.core.private import ray_tasks_checked
from xortune.core.trainer import Block, OutOfTime, Reported, Trainer, Traits
from xortune.core.version import VERSION
from xortune.trainers.limits import time_is_over, use_threads
from xortune.trainers.reports import Reports, cancelling_if, hearing_reports
from xortune.trainers.verdicts import one_line
from xortune.training.jobs import AGAIN, BEGUN, DONE, RAISED, REPORTED, TRAINED, block_id
from xortune.training.process import ray_settings
from xortune.training.processes import CallTimedOut, ProcessEnded, train_in_process
from xortune.training.worker import encoded, outcome_again, pieces

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
        self._worker = _BatchTrainer(self.trial_id, loaded, mailbox)

    def step(self) -> dict[str, Any]:
        """Train batch after batch."""
        users = self._worker.trainer.traits.users_code
        with refusing_tasks() if users else nullcontext():
            while True:
                self._worker.train_next()


class _BatchTrainer:
    """Trains batches of a mailbox, and says what becomes of each.

    It says what `worker.serve` says of a batch, and `(WARNED, text)` for each new warning. A report
    is passed on once in `RAY_REPORT_SECONDS`.

    Args:
        name: of this worker in the mailbox.
        trainer: what trains.
        mailbox: the actor.
    """

    def __init__(self, name: str, trainer: Trainer, mailbox: Any) -> None:
        self.trainer = trainer
        self._name, self._mailbox = name, mailbox
        self._said: list[tuple[Any, ...]] = []  # what is not sent yet

    def train_next(self) -> None:
        """Wait for a batch and train it."""
        content, left = ray.get(self._mailbox.next.remote(self._name, self._packed()))
        blocks, again = pickle.loads(content)  # noqa: S301  # from our own driver
        until = None if left is None else time.time() + left
        try:
            self._train(blocks, until)
            if again:
                self._train_again(again, until)
        except ray.exceptions.RayError:  # of the mailbox: the driver has ended
            raise
        except Exception as error:  # a trainer's own; the worker lives on for the next batch
            self._said.append((RAISED, TrainingError(one_line(error_text(error)))))
        else:
            self._said.append((DONE,))

    def _train(self, blocks: Sequence[Block], until: float | None) -> None:
        current, looked, spoke = blocks[0], time.monotonic(), 0.0

        def begin(index: int, part: Block) -> bool:
            nonlocal current, looked, spoke
            current, looked, spoke = blocks[index], time.monotonic(), time.monotonic()
            self._said.append((BEGUN, index, part))
            return self._is_wanted(current)

        def hear(block: Block, reports: Reports) -> None:
            nonlocal spoke
            if time.monotonic() - spoke >= RAY_REPORT_SECONDS:  # what asks for the block sends it
                spoke = time.monotonic()
                self._said.append((REPORTED, Reported(block, reports.count, reports.medians)))

        def is_cancelled(_: Block) -> bool:
            nonlocal looked
            if time.monotonic() - looked < LOOK_SECONDS:
                return False
            looked = time.monotonic()
            with suppress(ray.exceptions.GetTimeoutError):  # the driver is slow
                return not self._is_wanted(current, ANSWER_SECONDS)
            return False

        in_process = self.trainer.traits.killed_after is not None
        trainer = _InProcess(self.trainer) if in_process else self.trainer
        singly = trainer.traits.sends_singly
        cancels = is_cancelled if trainer.traits.users_code else None
        with captured_messages() as messages, cancelling_if(cancels), hearing_reports(hear):
            for piece in pieces(trainer, blocks, until=until, singly=singly, begin=begin):
                results = [
                    encoded(p, r) for (_, p), r in zip(piece.parts, piece.results, strict=True)
                ]
                stacking = trainer.stacking(piece.parts[0][1])
                self._said += [(WARNED, text) for text in messages]
                messages.clear()
                self._said.append((TRAINED, piece.parts, results, piece.seconds, stacking))

    def _train_again(self, blocks: Sequence[Block], until: float | None) -> None:
        def begin(block: Block) -> None:
            self._said.append((BEGUN, None, block))
            self._is_wanted(block)

        in_process = self.trainer.traits.killed_after is not None
        trainer = self.trainer.knowing({})
        trainer = _InProcess(trainer) if in_process else trainer
        if (again := outcome_again(trainer, blocks, until, begin)) is not None:
            self._said.append((AGAIN, *again))

    def _is_wanted(self, block: Block, seconds: float | None = None) -> bool:
        """Send what is to be said, and ask for whether the results of a block are wanted."""
        said = self._mailbox.say.remote(self._name, self._packed(), block_id(block))
        is_wanted: bool = ray.get(said, timeout=seconds)
        return is_wanted

    def _packed(self) -> bytes | None:
        said, self._said = self._said, []
        return pickle.dumps(said) if said else None


class _InProcess(Trainer):
    """Trains seeds whose time limit only killing their process enforces, in another process.

    Where that process ends, its seed has no result, as where a worker ends: it is tried again.
    So are the seeds that trained together there. Those that exceeded their time limits in all train
    again here, each alone.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    @property
    def traits(self) -> Traits:
        """Those of the trainer."""
        return self._trainer.traits

    def describe(self) -> dict[str, str]:
        """That of the trainer."""
        return self._trainer.describe()

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        """One result for each block."""
        return [self._result(block) for block in blocks]

    def _result(self, block: Block) -> Outcome | TrainingError:
        result = train_in_process(self._trainer, block)
        if isinstance(result, CallTimedOut):
            return self._each_alone(block)
        if isinstance(result, ProcessEnded) and block.count > 1:
            raise result  # so that the driver finds the seed at fault
        return result

    def _each_alone(self, block: Block) -> Outcome | TrainingError:
        found = list[Outcome]()
        for seed in block.seeds:
            if time_is_over():
                return OutOfTime(reduce(Outcome.merge, found) if found else None)
            result = train_in_process(self._trainer, block.part(seed, 1))
            if isinstance(result, TrainingError):
                raise result
            found.append(result)
        return reduce(Outcome.merge, found)


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
def captured_messages() -> Iterator[list[str]]:
    """The warnings that engines log, each once: the driver shows them, as nobody reads this log."""
    messages: list[str] = []

    def capture(record: logging.LogRecord) -> bool:
        if (message := record.getMessage()) not in messages:
            messages.append(message)
        return False

    handler = logging.Handler(logging.WARNING)
    handler.addFilter(capture)
    logger.addHandler(handler)
    try:
        yield messages
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
