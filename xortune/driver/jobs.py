"""What goes between the driver and its workers: jobs on their way there, and what comes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, Reported, Stacking
from xortune.runs.evaluation import EncodedOutcome, Purpose


@dataclass(frozen=True, slots=True)
class Job:
    """A block on its way to a worker.

    Attributes:
        proposal: number of the proposal it belongs to.
        block: what to train.
        attempt: counts from 1.
        promoted: whether the config had seeds before.
        decision: number of the decision it comes from.
        noted: the same, for the journal; None where a resumed search makes the decision again.
        purpose: for the journal, if it does not belong to a search.
        ahead: whether no decision asks for it yet; see `Ahead`.
    """

    proposal: int
    block: Block
    attempt: int = 1
    promoted: bool = False
    decision: int = 0
    noted: int | None = None
    purpose: Purpose | None = None
    ahead: bool = False

    def split(self, parts: int) -> list[Job]:
        """Split it into jobs of about equally many seeds."""
        block = self.block
        bounds = [block.first + block.count * part // parts for part in range(parts + 1)]
        return [
            replace(self, block=block.part(start, end - start)) for start, end in pairwise(bounds)
        ]


@dataclass(frozen=True)
class WorkerFailure:
    """Why a worker returned no results.

    Attributes:
        kind: `batch`: something in the batch killed the worker or raised; `killed`: the system
            killed it, as it does where memory is short; `late`: it exceeded its time limit; `slow`:
            seeds that train together took longer than their time limits in all; `node`: its machine
            has left or cannot be reached; `setup`: it failed before it began the batch; `stopped`:
            it was stopped before it began the batch.
        reason: for the journal, or for the user.
        cause: what the trainer itself raised, if it was on this machine.
    """

    kind: Literal["batch", "killed", "late", "slow", "node", "setup", "stopped"]
    reason: str
    cause: Exception | None = None


@dataclass(frozen=True)
class Done:
    """Results of a batch: one for each of these jobs, or one failure for all of them.

    A batch whose results come one after the other gives a `Done` for each of its pieces.

    Attributes:
        jobs: those of the batch, or the parts of them that have ended. None on a worker of Ray,
            which knows their blocks alone.
        stacking: how many seeds its worker can stack with those of the first job.
        ends: whether nothing more comes of the batch.
        again: the outcome of the seed that was to train a second time; see `Again`.
        reported: what one of the jobs reported on its way.
    """

    jobs: tuple[Job, ...]
    results: Sequence[Outcome | EncodedOutcome | TrainingError] | WorkerFailure
    seconds: float = 0.0
    worker: str = ""
    stacking: Stacking | None = None
    ends: bool = True
    again: Outcome | None = None
    reported: Reported | None = None
