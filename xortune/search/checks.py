"""The blocks of a certificate: planned beforehand, handed out like those of a search.

Knows neither Ray nor Optuna. `BlockQueue` decides block by block what a search trains next; here
all seeds are known from the start, and what is left to decide is how finely they are split.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from xortune.certify_plan import Task
from xortune.errors import TrainingError
from xortune.evaluation import Evaluation, Packed
from xortune.evaluation_purpose import Purpose
from xortune.journal import FSYNC_SECONDS, Journal
from xortune.outcome import Outcome
from xortune.search.blocks import ATTEMPTS, Job
from xortune.search.own_process import ProcessEnded, let_go_after
from xortune.search.packs import LEAST_SECONDS, SHARE, Packs
from xortune.search.source import Source
from xortune.search.training import trained
from xortune.trainer import Block, Trainer

__all__ = ["Check", "CheckQueue", "InTurn", "train_here"]

BLOCK_SECONDS, LEAST_SEEDS = 1.0, 16
"""A block takes about so long on one core, and has at least so many seeds."""


@dataclass(frozen=True, kw_only=True)
class Check(Job):
    """A block of a certificate on its way to a worker.

    Attributes:
        purpose: for the journal.
    """

    purpose: Purpose


class CheckQueue:
    """Hands out the blocks of a certificate, one of each config in turn, and takes results.

    So a config is not known to be good or bad before each has begun, and whoever interrupts an
    attempt cannot choose what was in it. Seeds are independent: whoever has all slots gets the
    blocks of a single finalist side by side, and results come in any order.

    Args:
        tasks: what is to be trained.
        trainer: what will train it, and says what a block may cost.
        journal: where results go.
        slots: trials that run at once; blocks are smaller where some would be idle.
        pace: how many times as long as the trainer says a block is known to take. What this queue
            sees of its own blocks corrects it.
        on_progress: called with the seeds done and all seeds, at first and whenever more are on the
            disk.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        trainer: Trainer,
        journal: Journal,
        *,
        slots: int = 1,
        pace: float = 1.0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._trainer, self._journal, self._slots, self._pace = trainer, journal, slots, pace
        self._on_progress = on_progress or (lambda *_: None)
        self._waiting = deque(task for task in tasks if task.seeds)
        self._retries: deque[Check] = deque()
        self._total, self._done = sum(task.count for task in tasks), 0
        self._under_way = 0  # seeds: a block may come back in parts
        self._untold: deque[tuple[int, int]] = deque()
        self._synced = -math.inf
        self.lines: list[Evaluation] = []
        """What the journal has got from here."""
        self._on_progress(0, self._total)

    @property
    def finished(self) -> bool:
        """Every block has its final result."""
        return not (self._waiting or self._retries or self._under_way)

    @property
    def ready(self) -> int:
        """How many blocks wait to be tried again."""
        return len(self._retries)

    @property
    def left(self) -> int:
        """How many blocks are still to be made, about."""
        return sum(math.ceil(task.count / self._size(task)) for task in self._waiting)

    @property
    def open(self) -> bool:
        """Whether another block can be made now."""
        return bool(self._waiting)

    @property
    def over(self) -> bool:
        """Never: a certificate that was begun is trained to its end."""
        return False

    @property
    def left_time(self) -> None:
        """Any."""
        return

    def stop(self) -> None:
        """Begin no further block; those under way may finish."""
        self._waiting.clear()

    def next_job(self) -> Check | None:
        """The next block to train; None if there is none now (see `finished`)."""
        if self._retries:
            job = self._retries.popleft()
        elif self._waiting:
            task = self._waiting[0]
            size = self._size(task)
            self._waiting.popleft()
            part, *others = task.seeds
            block = Block(task.point, part.start, min(size, len(part)))
            rest = range(block.seeds.stop, part.stop)
            if rest or others:
                seeds = (rest, *others) if rest else tuple(others)
                self._waiting.append(replace(task, seeds=seeds))
            job = Check(task.proposal, block, purpose=task.purpose)
        else:
            return None
        self._under_way += job.block.count
        return job

    def receive(
        self, job: Job, result: Outcome | Packed | TrainingError, *, seconds: float, worker: str
    ) -> None:
        """Journal a result; a block without an outcome is queued again, or given up."""
        assert isinstance(job, Check)
        self._under_way -= job.block.count
        failed = isinstance(result, TrainingError)
        line = Evaluation(
            proposal=job.proposal,
            block=job.block,
            outcome=None if isinstance(result, TrainingError) else result,
            error=str(result) if isinstance(result, TrainingError) else None,
            final=not failed or job.attempt >= ATTEMPTS,
            seconds=seconds,
            worker=worker,
            purpose=job.purpose,
        )
        if not line.final:
            self._retries.append(replace(job, attempt=job.attempt + 1))
        number = self._journal.append(line)
        self.lines.append(line)
        estimated = self._trainer.cost(job.block)
        if not failed and estimated > 0:
            self._pace = 0.7 * self._pace + 0.3 * seconds / estimated
        if line.final:
            self._done += job.block.count
            self._untold.append((number, self._done))
        self._tell()

    def _size(self, task: Task) -> int:
        """How many seeds the next block of a config has at most."""
        whole = Block(task.point, task.seeds[0].start, task.count)
        each = max(1.0, self._pace) * self._trainer.cost(whole) / whole.count
        if each <= 0:
            return whole.count
        seconds, least = BLOCK_SECONDS, LEAST_SEEDS
        if self._slots > 1:
            # About as many of these blocks for each slot, that all may end together.
            share = math.ceil(sum(one.count for one in self._waiting) / (SHARE * self._slots))
            seconds = min(seconds, max(LEAST_SECONDS, share * each))
            least = min(least, share)
        return max(round(seconds / each), least, 1)

    def _tell(self) -> None:
        """Tell what no power cut can take back: at the end, and now and then before."""
        now = time.monotonic()
        if self.finished or now - self._synced >= FSYNC_SECONDS:
            self._journal.sync()
            self._synced = now
        while self._untold and self._untold[0][0] <= self._journal.settled:
            self._on_progress(self._untold.popleft()[1], self._total)


class InTurn:
    """One source after another: the second is made when the first has finished.

    So a certificate goes out on the workers that have trained the search.
    """

    def __init__(self, first: Source, then: Callable[[], Source | None]) -> None:
        self._now, self._then = first, [then]

    @property
    def finished(self) -> bool:
        """Both have."""
        return not self._then and self._now.finished

    @property
    def ready(self) -> int:
        """Of the one whose turn it is."""
        return self._now.ready

    @property
    def left(self) -> int:
        """Of the one whose turn it is."""
        return self._now.left

    @property
    def open(self) -> bool:
        """Of the one whose turn it is."""
        return self._now.open

    @property
    def over(self) -> bool:
        """Of the one whose turn it is."""
        return self._now.over

    @property
    def left_time(self) -> float | None:
        """Of the one whose turn it is."""
        return self._now.left_time

    def stop(self) -> None:
        """Begin nothing new."""
        self._then.clear()
        self._now.stop()

    def next_job(self) -> Job | None:
        """The next block of the one whose turn it is."""
        job = self._now.next_job()
        if job is None and self._then and self._now.finished:
            following = self._then.pop()()
            if following is not None:
                self._now = following
                job = following.next_job()
        return job

    def receive(
        self, job: Job, result: Outcome | Packed | TrainingError, *, seconds: float, worker: str
    ) -> None:
        """A result for the one whose turn it is."""
        self._now.receive(job, result, seconds=seconds, worker=worker)


def train_here(source: Source, trainer: Trainer) -> None:
    """Train all blocks of a source on this machine without Ray, one after the other.

    A user's function is called in a process of its own, and what ends that is treated as what kills
    a worker of Ray's.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    packs = Packs(source, trainer, slots=1, most=1)
    with let_go_after():
        while jobs := packs.next():
            started = time.perf_counter()
            try:
                found = trained(trainer, [jobs[0].block], apart=True)
            except ProcessEnded as error:
                packs.crashed(jobs, TrainingError(str(error)), worker=worker)
                continue
            results = [found] if isinstance(found, TrainingError) else found
            packs.receive(jobs, results, seconds=time.perf_counter() - started, worker=worker)
