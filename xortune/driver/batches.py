"""Packs: how many blocks a Ray trial trains, so that the scheduling costs little of the time."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import OutOfTime, Trainer, runs_users_code
from xortune.driver.jobs import ATTEMPTS, BlockSource, CrashBisector, Job, split
from xortune.runs.evaluation import EncodedOutcome

LEAST_SECONDS = 0.4
"""Of work in a pack, if there is so much: some twenty times what Ray takes for a trial."""

MOST_SECONDS = 4.0
"""Of work in a pack: how long the user waits for news, and what a killed worker loses."""

LIMIT_SHARE = 4
"""A pack is to take at most this fraction of its time limit: a fast one is never stopped."""

LOSSES = 3
"""So often a block may lose the machine under it without that being held against it."""

ALIKE = 2
"""The parts of a long climb take about so many times what blocks take on average."""

SHARE = 3
"""A pack takes at most this fraction of what each slot has left, so that all end together."""


def window_of(seconds: float, *, slots: int, proposals: int) -> int:
    """How many steps of a search that learns or races may be under way or not yet taken in.

    At least what runs, as much again that waits for a free worker, and as much that has finished
    before an earlier step did. Where a training takes less than a pack should, more, for a pack to
    be a batch of steps; but never more than an eighth of the proposals: it would learn nothing. It
    follows from the space and the number of slots alone: a search can be repeated.

    Args:
        seconds: what a first block takes, as the trainer estimates it.
        slots: trials that run at once.
        proposals: of the whole search.
    """
    batch = int(LEAST_SECONDS / seconds) + 1
    return max(least_window(slots), min(slots * (2 * batch + 1), proposals // 8))


def least_window(slots: int) -> int:
    """For each slot a step that runs, one that waits, and one that finished before its turn."""
    return 3 * slots


def batch_of(window: int, *, slots: int) -> int:
    """How many steps make a pack: one runs while another waits."""
    return max(1, (window // slots - 1) // 2)


class Batches:
    """Takes jobs from the queue by packs and brings back what became of them.

    The first packs are small: they measure what a trainer's estimate of a block's cost is worth.
    Then they are large, and small again towards the end, when no slot should wait for another. A
    pack that kills its worker is halved and tried again, until the block that did it is alone; and
    where the code of users trains, until the seed that did it is.
    """

    def __init__(
        self,
        queue: BlockSource,
        trainer: Trainer,
        slots: int,
        most: int | None,
        limit: float | None = None,
    ) -> None:
        """Fill packs for so many slots, of at most `most` blocks (for a sampler that learns).

        `limit` is how many seconds a pack may take, if it is stopped then.
        """
        self._queue, self._trainer, self._slots, self._most = queue, trainer, slots, most
        self._cap = math.inf if limit is None else limit / LIMIT_SHARE
        self._longest = min(MOST_SECONDS, self._cap)
        # Of other trainers a seed is as good as another: what kills is a block's size or config.
        self._narrow = CrashBisector() if runs_users_code(trainer) else None
        self._losses: Counter[tuple[int, int]] = Counter()
        self._again: deque[tuple[Job, ...]] = deque()
        self._under_way = 0  # packs
        self._taken = 0
        self._estimated = 0.0  # of all jobs taken
        self._true: float | None = None  # measured over estimated seconds

    @property
    def finished(self) -> bool:
        """Nothing is left to do."""
        return self._queue.finished

    def resize(self, slots: int, most: int | None) -> None:
        """Fill packs for another number of slots from now on."""
        self._slots, self._most = slots, most

    def stop(self) -> None:
        """Make no further proposals; packs under way may finish."""
        self._queue.stop()

    def next(self) -> tuple[Job, ...]:
        """The next pack; empty if there is none now."""
        self._give_back()
        while self._again and self._narrow is not None:
            job = self._again[0][0]
            if (reason := self._narrow.hopeless(job)) is None:
                break
            self._again.popleft()
            self._queue.receive(job, reason, seconds=0.0, worker="")
        jobs = self._again.popleft() if self._again else self._filled(self._wanted())
        self._under_way += bool(jobs)
        return jobs

    def next_brief(self) -> tuple[Job, ...]:
        """The next pack, if it takes about `LEAST_SECONDS`; empty if there is no such now.

        The first is one block: before anything is measured, the estimate may be far off.
        """
        self._give_back()
        wanted = 0.0 if self._true is None else LEAST_SECONDS
        jobs = self._again.popleft() if self._again else self._filled(wanted)
        cost = sum(self._trainer.cost(job.block) for job in jobs)
        if cost * (self._true or 1.0) > 2 * LEAST_SECONDS:
            self._again.appendleft(jobs)
            return ()
        self._under_way += bool(jobs)
        return jobs

    @property
    def over(self) -> bool:
        """Whether the time is over: nothing begins any more."""
        return self._queue.over

    @property
    def left_time(self) -> float | None:
        """Seconds until the time is over, at least 0; None for any time."""
        return self._queue.left_time

    def _give_back(self) -> None:
        """Where the time is over, what waits is not begun."""
        while self._again and self.over:
            for job in self._again.popleft():
                self._queue.receive(job, OutOfTime(), seconds=0.0, worker="")

    def _filled(self, wanted: float) -> tuple[Job, ...]:
        """Jobs that take so many seconds, or a little longer."""
        jobs: list[Job] = []
        cost = 0.0
        while self._most is None or len(jobs) < self._most:
            if jobs and cost * (self._true or 1.0) >= wanted:
                break
            job = self._queue.next_job()
            if job is None:
                break
            job = self._first_part(job)
            estimate = self._trainer.cost(job.block)
            cost += estimate
            self._taken, self._estimated = self._taken + 1, self._estimated + estimate
            jobs.append(job)
            if job.attempt > 1:  # it failed before: its company should not wait for it
                break
        return tuple(jobs)

    def _first_part(self, job: Job) -> Job:
        """All of a block; or a part of it, for others to go out beside it.

        A few finalists have many seeds to go while others wait for their results, or all proposals
        are made. Seeds are independent: what takes one slot a minute, all can do side by side.
        """
        block, ready = job.block, self._queue.ready
        seconds = self._trainer.cost(block) * (self._true or 0.0)
        if self._narrow is not None and (job.attempt >= ATTEMPTS or seconds > self._cap):
            whole = int(min(block.count, max(1.0, seconds / self._cap)))
            return self._begun([p for j in split(job, whole) for p in self._narrow.parts(j)])
        if not job.climbs or seconds < 2 * LEAST_SECONDS:
            return job
        # As long as a slot's share of what is left, as in `_wanted`, but not much longer than other
        # blocks, for few steps are made before its results are in; shorter where slots are idle.
        share = (self._left() + (ready + 1) * seconds) / (SHARE * self._slots)
        share = min(share, ALIKE * self._estimated / max(self._taken, 1) * (self._true or 0.0))
        parts = int(seconds / min(self._cap, max(MOST_SECONDS, share)))
        idle = (self._slots - self._under_way) // (ready + 1)
        if idle > parts and not self._queue.open:
            parts = min(idle, int(seconds / LEAST_SECONDS))
        parts = min(parts, block.count)
        if parts < 2:
            return job
        first, *others = split(job, parts)
        self._again += [(other,) for other in others]
        return first

    def _begun(self, parts: Sequence[Job]) -> Job:
        """The first part of a block; the others come next."""
        self._again.extendleft((part,) for part in reversed(parts[1:]))
        return parts[0]

    def _wanted(self) -> float:
        """Seconds of work that the next pack should hold."""
        if self._true is None:
            return min(self._longest, LEAST_SECONDS)
        return min(self._longest, max(LEAST_SECONDS, self._left() / (SHARE * self._slots)))

    @property
    def measured(self) -> bool:
        """Whether something has been trained."""
        return self._true is not None

    @property
    def left_seconds(self) -> float:
        """Seconds of work for one core that are left, roughly; inf before anything is trained."""
        if self._true is None:
            return math.inf
        waiting = sum(self._trainer.cost(job.block) for jobs in self._again for job in jobs)
        return self._left() + waiting * self._true

    def _left(self) -> float:
        """Seconds of work that proposals still to be made will take, roughly."""
        return self._queue.left * self._estimated / self._taken * (self._true or 1.0)

    def receive(
        self,
        jobs: Sequence[Job],
        results: Sequence[Outcome | EncodedOutcome | TrainingError],
        *,
        seconds: float,
        worker: str,
    ) -> None:
        """Take the results of a pack, which took so many seconds."""
        self._under_way -= 1
        costs = [self._trainer.cost(job.block) for job in jobs]
        estimated = sum(costs)
        measured = seconds / estimated
        self._true = measured if self._true is None else 0.7 * self._true + 0.3 * measured
        for job, result, cost in zip(jobs, results, costs, strict=True):
            if self._narrow is not None and not isinstance(result, TrainingError):
                self._narrow.came(job)
            share = seconds * cost / estimated
            self._queue.receive(job, result, seconds=share, worker=worker)

    def crashed(self, jobs: Sequence[Job], reason: TrainingError, *, worker: str = "") -> None:
        """Take it that a pack came to nothing, by what it trained."""
        if not jobs:
            return
        self._under_way -= 1
        if len(jobs) == 1:
            if self._narrow is not None and (parts := self._narrow.died(jobs[0], reason)):
                self._again.extendleft((part,) for part in reversed(parts))
            else:
                self._queue.receive(jobs[0], reason, seconds=0.0, worker=worker)
            return
        middle = len(jobs) // 2
        self._again += [tuple(jobs[:middle]), tuple(jobs[middle:])]

    def late(
        self, jobs: Sequence[Job], reason: TrainingError, *, seconds: float, worker: str = ""
    ) -> None:
        """Take it that a pack was stopped after so many seconds: it is halved like one that died.

        That it takes at least so long is known now, and packs are made smaller.
        """
        estimated = sum(self._trainer.cost(job.block) for job in jobs)
        if len(jobs) > 1:  # one block may hang; that all of them are slow is the likelier guess
            self._true = max(self._true or 0.0, seconds / estimated)
        elif jobs and self._narrow is not None:  # the same again would take as long
            jobs = [replace(jobs[0], attempt=ATTEMPTS)]
        self.crashed(jobs, reason, worker=worker)

    def lost(self, jobs: Sequence[Job], reason: TrainingError) -> None:
        """Take it that a pack lost its machine: it is tried again as it is.

        Nothing is held against its blocks, unless one has lost so many machines that it may be what
        brings them down: then it counts as if it had died by itself.
        """
        keys = [(job.proposal, job.block.first) for job in jobs]
        self._losses.update(keys)
        if any(self._losses[key] > LOSSES for key in keys):
            self.crashed(jobs, reason)
        else:
            self.returned(jobs)

    def returned(self, jobs: Sequence[Job]) -> None:
        """Take it that a pack was never begun: it waits again, before what is still to be made."""
        if jobs:
            self._under_way -= 1
            self._again.appendleft(tuple(jobs))
