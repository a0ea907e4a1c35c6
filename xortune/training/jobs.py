"""What goes between the driver and its workers: jobs on their way there, and what comes back.

`BatchProgress` is what has become of a batch that a worker has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
        tries: how often its seed, which could not be tried, has been given another try.
        waited: seconds for which it waited before these tries, in all.
    """

    proposal: int
    block: Block
    attempt: int = 1
    promoted: bool = False
    decision: int = 0
    noted: int | None = None
    purpose: Purpose | None = None
    ahead: bool = False
    tries: int = 0
    waited: float = 0.0

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


Parts = Sequence[tuple[int, Block]]
"""Parts of a batch: the index of a job, and the part of its block."""


@dataclass
class BatchProgress:
    """What has become of a batch.

    Attributes:
        jobs: of the batch.
        left: the part of each job's block without a result, by the index of the job.
        begun: the part that trains now; None before the first and between two. Its index is None
            if it is no part of the batch, but trains after it; see `batches.Again`.
        since: `time.monotonic` when it began.
    """

    jobs: tuple[Job, ...]
    left: dict[int, Block] = field(init=False)
    begun: tuple[int | None, Block] | None = None
    since: float = math.inf

    def __post_init__(self) -> None:
        self.left = {index: job.block for index, job in enumerate(self.jobs)}

    def begin(self, index: int | None, part: Block) -> None:
        """Note that a part trains now."""
        self.begun, self.since = (index, part), time.monotonic()

    def end(self, parts: Parts) -> tuple[Job, ...]:
        """Note that parts have a result; return them as jobs."""
        self.begun, self.since = None, math.inf
        ended = []
        for index, part in parts:
            job, left = self.jobs[index], self.left.pop(index)
            ended.append(replace(job, block=job.block.part(part.first, part.count)))
            if rest := left.count - part.count:
                self.left[index] = job.block.part(part.seeds.stop, rest)
        return tuple(ended)

    def told(self, done: Done) -> tuple[Done, ...]:
        """What of this batch has ended, as `Batches.receive` expects it.

        A batch ends with a decided job, or with nothing, if it has decided jobs at all.
        """
        if not done.ends or not done.jobs or not all(job.ahead for job in done.jobs):
            return (done,)
        if all(job.ahead for job in self.jobs):
            return (done,)
        return replace(done, ends=False), Done((), (), worker=done.worker)

    def lost(self, *, as_one: bool) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
        """The jobs that trained when their worker ended, and those that had not begun.

        Args:
            as_one: whether a batch trains as one.
        """
        fault, rest = [], []
        for index, block in self.left.items():
            job = replace(self.jobs[index], block=block)
            if self.begun is not None and as_one:
                fault.append(job)
            elif self.begun is None or index != self.begun[0]:
                rest.append(job)
            else:
                part = self.begun[1]
                fault.append(replace(job, block=block.part(part.first, part.count)))
                before, after = part.first - block.first, block.seeds.stop - part.seeds.stop
                if before:  # trained, but not sent
                    rest.append(replace(job, block=block.part(block.first, before)))
                if after:
                    rest.append(replace(job, block=block.part(part.seeds.stop, after)))
        return tuple(fault), tuple(rest)
