"""Which seed of a block it is that kills its worker, or hangs.

A user's own code may do either for one seed of many. Its block is tried again as it is, for the
worker may have died of something else; the last time in parts, and what dies of these in smaller
ones, until the seeds at fault are alone. Each of them costs a worker, and so a configuration that
kills one under every seed is not tried to the last of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from xortune.errors import TrainingError
from xortune.search.jobs import ATTEMPTS, Job
from xortune.trainer import Block

__all__ = ["HOPELESS", "Narrow", "split"]

PARTS = 16
"""A block is split into so many parts at most. Up to so many seeds each is one by itself: then none
but the seeds at fault costs a worker. Of more, each part is a trial of Tune's, which keeps them."""

HOPELESS = 8
"""Where so many parts of a configuration have died and none has come through, none will."""


def split(job: Job, parts: int) -> list[Job]:
    """A job as several, of about as many seeds each."""
    block = job.block
    bounds = [block.first + block.count * part // parts for part in range(parts + 1)]
    return [
        replace(job, block=Block(block.point, start, end - start))
        for start, end in pairwise(bounds)
    ]


class Narrow:
    """Takes what became of blocks that are tried for the last time; says what of them to try."""

    def __init__(self) -> None:
        self._died: Counter[str] = Counter()  # by the key of the config
        self._last: dict[str, TrainingError] = {}
        self._came: set[str] = set()

    def parts(self, job: Job) -> list[Job]:
        """What is handed out for a job: itself, or its parts if it is its last try."""
        if job.attempt < ATTEMPTS or job.block.count == 1 or self.hopeless(job):
            return [job]
        return split(job, min(PARTS, job.block.count))

    def hopeless(self, job: Job) -> TrainingError | None:
        """Why a job is not worth its last try; None if it is."""
        key = job.block.point.key
        if job.attempt < ATTEMPTS or key in self._came or self._died[key] < HOPELESS:
            return None
        return self._last[key]

    def died(self, job: Job, reason: TrainingError) -> list[Job]:
        """What is tried instead of a job that came to nothing; nothing if that was its end."""
        if job.attempt < ATTEMPTS:
            return []
        self._died[job.block.point.key] += 1
        self._last[job.block.point.key] = reason
        parts = self.parts(job)
        return parts if len(parts) > 1 else []

    def came(self, job: Job) -> None:
        """A job has results."""
        if self._died:
            self._came.add(job.block.point.key)
