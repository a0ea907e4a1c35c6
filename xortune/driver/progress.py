"""What has become of a batch: which of its parts have results, which one trains."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xortune.core.trainer import Block
from xortune.driver.jobs import Done, Job

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
