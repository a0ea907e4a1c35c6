"""A block on its way to a worker and back: the job, its training, what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from xortune.core.errors import TrainingError, named
from xortune.core.trainer import (
    Block,
    OutOfTime,
    Stacking,
    Trainer,
    runs_users_code,
)
from xortune.driver.subprocesses import ProcessEnded, encoded, kills_late, train_in_subprocess
from xortune.runs.evaluation import EncodedOutcome, Purpose
from xortune.trainers.function import CustomTrainer
from xortune.trainers.limits import ending_at, time_is_over
from xortune.trainers.network import NetworkTrainer
from xortune.trainers.verdicts import one_line

ATTEMPTS = 3
"""So often a block that produces no outcome is tried in all."""


@dataclass(frozen=True, slots=True)
class Job:
    """A block on its way to a worker.

    Attributes:
        proposal: the number of the proposal it belongs to.
        block: what to train.
        attempt: from 1, more for the repetitions of a block that produced nothing.
        promoted: whether it is not the first of its config.
        decision: the number of the decision it comes from.
        purpose: for the journal, if it is not of a search.
        ahead: whether nobody has decided to train it yet; see `driver.ahead`.
    """

    proposal: int
    block: Block
    attempt: int = 1
    promoted: bool = False
    decision: int = 0
    purpose: Purpose | None = None
    ahead: bool = False

    def split(self, parts: int) -> list[Job]:
        """The same as several, of about as many seeds each."""
        block = self.block
        bounds = [block.first + block.count * part // parts for part in range(parts + 1)]
        return [
            replace(self, block=Block(block.point, start, end - start))
            for start, end in pairwise(bounds)
        ]


@dataclass(frozen=True)
class WorkerFailure:
    """Why a worker delivered nothing.

    Attributes:
        kind: `batch`, something that it trained killed it, or raised; `late`, it was stopped
            because it took too long; `node`, its machine has left or cannot be reached; `setup`, it
            never got as far as the batch; `stopped`, it had been stopped before it was given the
            batch.
        reason: for the journal, or for the user.
    """

    kind: Literal["batch", "late", "node", "setup", "stopped"]
    reason: str


@dataclass(frozen=True)
class Done:
    """What came of a batch: a result or error for each of its jobs, or one failure for all.

    Attributes:
        stacking: what its worker knows of stacks with the first of these jobs.
    """

    jobs: tuple[Job, ...]
    results: Sequence[EncodedOutcome | TrainingError] | WorkerFailure
    seconds: float = 0.0
    worker: str = ""
    stacking: Stacking | None = None


# -------------------------------------------------------------------------------------------------
# Training a batch where it is trained: on a worker, or in this process.


def trained(
    trainer: Trainer, blocks: Sequence[Block], *, apart: bool = False, until: float | None = None
) -> list[EncodedOutcome | TrainingError] | WorkerFailure:
    """One result or error for each block, or one failure for all.

    Outcomes are encoded here, where there are many processors, and are small on their way.

    Args:
        trainer: what trains.
        blocks: what is trained.
        apart: in a process of its own, if it is a user's function; it is kept until `end_process`.
        until: when the search's time is over, by `time.time`: nothing begins afterwards. What is
            not the code of users trains a batch as one, in seconds.
    """
    try:
        with ending_at(until):
            results: list[Any] = []
            apart = _may_be_apart(trainer) and (apart or kills_late(trainer))
            together = apart or not runs_users_code(trainer) or _stacks(trainer)
            for part in [blocks] if together else [[one] for one in blocks]:
                if time_is_over():
                    results += [OutOfTime() for _ in part]
                elif isinstance(trainer, CustomTrainer | NetworkTrainer) and apart:
                    results += train_in_subprocess(trainer, part, encodes=True)
                else:
                    results += trainer.train(part)
        return [encoded(block, result) for block, result in zip(blocks, results, strict=True)]
    except ProcessEnded as error:
        return WorkerFailure("batch", str(error))
    except Exception as error:  # a trainer's own; the worker lives on for the next batch
        return WorkerFailure("batch", one_line(named(error)))


def _may_be_apart(trainer: Trainer) -> bool:
    return not isinstance(trainer, CustomTrainer) or trainer.on_raise is None


def _stacks(trainer: Trainer) -> bool:
    return isinstance(trainer, CustomTrainer) and trainer.form.stacked
