"""Batches: how many blocks one Ray trial trains, and what follows when one comes to nothing."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import (
    NOT_FINISHED,
    Block,
    OutOfTime,
    Trainer,
    Unfinished,
    runs_users_code,
)
from xortune.driver.ahead import Ahead
from xortune.driver.decisions import Decider
from xortune.driver.jobs import ATTEMPTS, Done, Job, WorkerFailure
from xortune.runs.evaluation import EncodedOutcome, Evaluation

LEAST_SECONDS = 0.4
"""Of work in a batch, if there is so much: some twenty times what Ray takes for a trial."""

DOUBT = 10.0
"""A block of milliseconds may take so many times as long as its training does."""

BLOCK_SECONDS = 2.5e-4
"""That a driver takes to decide upon a block and to record it, about."""

MOST_SECONDS = 4.0
"""Of work in a batch: how long the user waits for news, and what a killed worker loses."""

LIMIT_SHARE = 4
"""A batch takes at most this fraction of its time limit: a fast one is never stopped."""

LOSSES = 3
"""So often a block may lose the machine under it without that being held against it."""

ALIKE = 2
"""Target length of the parts of a long promotion, as a multiple of the mean block time."""

WAITING = 1
"""So many batches that are trained ahead may wait for a slot: Tune ends a worker for which none
waits, and another one takes seconds to start."""

SHARE = 3
"""A batch takes at most this fraction of what each slot has left, so that all end together."""

# -------------------------------------------------------------------------------------------------
# How many decisions are in flight, and how many make a batch.


def most_in_flight(seconds: float, *, slots: int, proposals: int) -> int:
    """How many decisions of a search that learns or races may be without known results.

    Where a training takes less than a batch should, more than the least, so that a batch holds
    several decisions; but never more than an eighth of the proposals: it would learn nothing. It
    follows from the space and the number of slots alone: a search can be repeated.

    Args:
        seconds: what a first block takes, as the trainer estimates it.
        slots: trials that run at once.
        proposals: of the whole search.
    """
    batch = int(LEAST_SECONDS / seconds) + 1
    return max(least_in_flight(slots), min(slots * (2 * batch + 1), proposals // 8))


def least_in_flight(slots: int) -> int:
    """For each slot a decision that runs, one that waits, one that finished before its turn."""
    return 3 * slots


def blocks_in_batch(in_flight: int, *, slots: int) -> int:
    """How many decisions make a batch: one batch runs while another waits."""
    return max(1, (in_flight // slots - 1) // 2)


# -------------------------------------------------------------------------------------------------
# Which seed of a block it is that kills its worker, or hangs.

PARTS = 16
"""The largest number of parts that a block is split into. With at most so many seeds each part is
one seed, and only the seeds at fault cost a worker. Ray Tune keeps each part as a trial."""

HOPELESS = 8
"""Where so many parts of a configuration have died and none has come through, none will."""


class CrashBisector:
    """Finds the seeds of a user's own code that kill their worker.

    A block is tried again as it is, for the worker may have died of something else; the last time
    in parts, and what dies of these in smaller ones, until the seeds at fault are alone. Each of
    them costs a worker, so a config that kills one under every seed is not tried to the last.

    Of other trainers a seed is as good as another: what kills is a block's size or config.
    """

    def __init__(self, *, users_code: bool = True) -> None:
        self.users_code = users_code
        self._crashes: Counter[str] = Counter()  # by the key of the config
        self._last: dict[str, TrainingError] = {}
        self._succeeded: set[str] = set()

    def parts(self, job: Job) -> list[Job]:
        """What is handed out for a job: itself, or its parts if it is its last try."""
        last = self.users_code and job.attempt >= ATTEMPTS
        if not last or job.block.count == 1 or self.hopeless(job):
            return [job]
        return job.split(min(PARTS, job.block.count))

    def hopeless(self, job: Job) -> TrainingError | None:
        """Why a job is not worth its last try; None if it is."""
        key = job.block.point.key
        if job.attempt < ATTEMPTS or key in self._succeeded or self._crashes[key] < HOPELESS:
            return None
        return self._last[key]

    def crashed(self, job: Job, reason: TrainingError) -> list[Job]:
        """What is tried instead of a job that came to nothing; nothing if that was its end."""
        if not self.users_code or job.attempt < ATTEMPTS:
            return []
        self._crashes[job.block.point.key] += 1
        self._last[job.block.point.key] = reason
        parts = self.parts(job)
        return parts if len(parts) > 1 else []

    def succeeded(self, job: Job) -> None:
        """A job has results."""
        if self._crashes:
            self._succeeded.add(job.block.point.key)


# -------------------------------------------------------------------------------------------------
# Batches.


class Batches:
    """Groups what is decided into batches, and sorts what comes back.

    The first batches are small: they measure what a trainer's estimate of a block's cost is worth.
    Then they are large, and small again towards the end, when no slot should wait for another. A
    batch that kills its worker is halved and tried again, until the block that did it is alone; and
    where the code of users trains, until the seed that did it is. A block without an outcome is
    tried `ATTEMPTS` times.

    Args:
        decider: says which block is next.
        trainer: says what a block may cost.
        record: called with each line for the journal, and the job that it is of.
        slots: trials that run at once.
        max_in_flight: of a decider that learns, whose batches are small; None for any size.
        most: blocks in a batch; None for any number.
        limit: seconds that a batch may take, if it is stopped then.
        ahead: says what is trained beside what was decided; None: nothing is.
        deadline: when the time is over, by `time.monotonic`; None: never. Nothing begins then.
    """

    def __init__(
        self,
        decider: Decider,
        trainer: Trainer,
        record: Callable[[Job, Evaluation], None],
        *,
        slots: int = 1,
        max_in_flight: int | None = None,
        most: int | None = None,
        limit: float | None = None,
        deadline: float | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._ahead = ahead
        self._decider, self._trainer, self._record = decider, trainer, record
        self._in_flight, self._most, self._deadline = max_in_flight, most, deadline
        self._longest_allowed = math.inf if limit is None else limit / LIMIT_SHARE
        self._decided_upon = self._handed_out = 0
        self.resize(slots)
        self._bisector = CrashBisector(users_code=runs_users_code(trainer))
        self._losses: Counter[tuple[int, int]] = Counter()
        self._waiting: deque[tuple[Job, ...]] = deque()  # batches that are made
        self._retries: deque[Job] = deque()
        # Decided, and trained apart from what was then handed out.
        self._aside: deque[Job] = deque()
        self._blocks, self._estimated = 0, 0.0  # of all that was put into batches
        self._pace: float | None = None  # measured over estimated seconds
        self._trained = 0.0  # seconds

    def resize(self, slots: int) -> None:
        """Make batches for so many slots from now on."""
        self._slots = slots
        if self._in_flight is not None:
            self._most = blocks_in_batch(self._in_flight, slots=slots)

    @property
    def under_way(self) -> int:
        """Batches that an executor has, of which results are waited for."""
        late = self._ahead is not None and self._ahead.waited_for
        return self._decided_upon or int(late)

    @property
    def over(self) -> bool:
        """Whether the time is over: nothing begins any more."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        self.stop(now=True)
        return True

    @property
    def seconds_left(self) -> float | None:
        """Until the time is over, at least 0; None for any time."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    @property
    def finished(self) -> bool:
        """Whether nothing is under way and nothing is left to begin."""
        if not self.under_way and not self.over and not self._waiting and (jobs := self._fill(0)):
            self._waiting.append(jobs)
        return not self.under_way and not self._waiting

    def stop(self, *, now: bool = False) -> None:
        """Decide nothing new; with `now` begin nothing of what was decided either."""
        self._decider.stop(now=now)
        if now:
            self._waiting.clear()
            self._retries.clear()
            self._aside.clear()

    def next(self, *, brief: bool = False) -> tuple[Job, ...]:
        """The next batch; empty if there is none now.

        With `brief` only one of about `LEAST_SECONDS`; the first is one block then: before anything
        is measured, the estimate may be far off.
        """
        if self.over:
            return ()
        while self._waiting and (reason := self._bisector.hopeless(self._waiting[0][0])):
            self._settle(self._waiting.popleft()[0], reason)
        if self._waiting:
            jobs = self._waiting.popleft()
        elif brief:
            jobs = self._fill(LEAST_SECONDS if self.measured else 0.0)
        else:
            jobs = self._fill(self._wanted())
        if brief and self._cost(jobs) * (self._pace or 1.0) > 2 * LEAST_SECONDS * self.doubt:
            self._waiting.appendleft(jobs)
            return ()
        self._decided_upon += bool(jobs)
        if self._ahead is not None and not brief:
            jobs = self._widened(jobs, self._ahead)
        self._handed_out += bool(jobs)
        return jobs

    def receive(self, done: Done) -> None:
        """Take what came of a batch."""
        jobs, results = tuple(job for job in done.jobs if not job.ahead), done.results
        self._handed_out -= 1
        self._decided_upon -= bool(jobs)
        if isinstance(results, WorkerFailure):
            if len(jobs) == len(done.jobs) or results.kind not in {"batch", "late"}:
                self._failed(jobs, results, done)
            else:  # what was trained ahead may have done it
                self._waiting.extend((job,) for job in jobs)
                if self._ahead is not None:
                    self._ahead.end()
        else:
            costs = [self._trainer.cost(job.block) for job in done.jobs]
            estimated = sum(costs)
            self._measure(done.seconds, estimated)
            for job, cost, result in zip(done.jobs, costs, results, strict=True):
                if not isinstance(result, TrainingError):
                    self._bisector.succeeded(job)
                if not job.ahead:
                    self._settle(job, result, done.seconds * cost / estimated, done.worker)
        if self._ahead is not None:
            for job, kept in self._ahead.receive(done):
                if kept is None:
                    self._waiting.append((job,))
                else:
                    self._settle(job, kept.result, kept.seconds, kept.worker)

    def _measure(self, seconds: float, estimated: float) -> None:
        """Follow the pace; what is in doubt is replaced by the next measurement."""
        if self._pace is None or self.doubt > 1:
            self._pace = seconds / estimated
        else:
            self._pace = 0.7 * self._pace + 0.3 * seconds / estimated
        self._trained += seconds

    @property
    def measured(self) -> bool:
        """Whether something has been trained."""
        return self._pace is not None

    @property
    def doubt(self) -> float:
        """By what factor the work that is left may be estimated too long: `DOUBT` at first, then 1.

        What took little time was mostly on its way.
        """
        return DOUBT if self._trained < LEAST_SECONDS else 1.0

    @property
    def work_left(self) -> float:
        """Seconds of work for one core that are left, roughly; inf before anything is trained."""
        if self._pace is None:
            return math.inf
        return self._undecided() + self._pace * sum(map(self._cost, self._waiting))

    def saved_by(self, slots: int) -> float:
        """Seconds that so many workers would save, which share the cores with the driver.

        None as long as that is in doubt: one block of milliseconds may have waited for a core.
        """
        driver = self._decider.left * BLOCK_SECONDS
        return 0.0 if self.doubt > 1 else self.work_left * (1 - 1 / slots) - driver / slots

    def wants(self, jobs: Sequence[Job]) -> list[bool]:
        """Of each job whether its results are still of interest."""
        return [job.ahead or self._decider.wants(job) for job in jobs]

    # What comes back.

    def _failed(self, jobs: tuple[Job, ...], failure: WorkerFailure, done: Done) -> None:
        if not jobs:  # all of it was trained ahead
            return
        if failure.kind in ("setup", "stopped"):  # it was never begun
            self._waiting.appendleft(jobs)
            return
        if failure.kind == "node":
            # It is tried again as it is, unless a block has lost so many machines that it may be
            # what brings them down: then it counts as if it had died by itself.
            keys = [(job.proposal, job.block.first) for job in jobs]
            self._losses.update(keys)
            if all(self._losses[key] <= LOSSES for key in keys):
                self._waiting.appendleft(jobs)
                return
        if failure.kind == "late":
            if len(jobs) > 1:  # one block may hang; that all of them are slow is the likelier guess
                self._pace = max(self._pace or 0.0, done.seconds / self._cost(jobs))
            elif self._bisector.users_code:  # the same again would take as long
                jobs = (replace(jobs[0], attempt=ATTEMPTS),)
        if len(jobs) > 1:
            middle = len(jobs) // 2
            self._waiting += [jobs[:middle], jobs[middle:]]
            return
        reason = TrainingError(failure.reason)
        parts = self._bisector.crashed(jobs[0], reason)
        self._waiting.extendleft((part,) for part in reversed(parts))
        if not parts:
            self._settle(jobs[0], reason, worker=done.worker)

    def _settle(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        seconds: float = 0.0,
        worker: str = "",
    ) -> None:
        """Record a result; a block without an outcome is tried again, or given up."""
        block, failed = job.block, isinstance(result, TrainingError)
        if isinstance(result, OutOfTime) or (failed and not self._decider.wants(job)):
            if isinstance(result, Unfinished) and (found := result.outcome) is not None:
                first = Block(block.point, block.first, found.n)
                self._settle(replace(job, block=first), found, seconds, worker)
                block = Block(block.point, block.first + found.n, block.count - found.n)
                job = replace(job, block=block)
            if isinstance(result, OutOfTime):  # of a worker with a fast clock, if time is not over
                self._waiting.appendleft((job,))
            else:
                left = Evaluation(job.proposal, block, None, NOT_FINISHED, False, 0.0, worker)
                self._record(job, left)
            return
        final = not failed or job.attempt >= ATTEMPTS
        outcome = None if isinstance(result, TrainingError) else result
        error = str(result) if failed else None
        line = Evaluation(
            job.proposal, block, outcome, error, final, seconds, worker, purpose=job.purpose
        )
        self._record(job, line)
        if not final:
            self._retries.append(replace(job, attempt=job.attempt + 1))

    # What goes out.

    def _cost(self, jobs: Sequence[Job]) -> float:
        return sum(self._trainer.cost(job.block) for job in jobs)

    def _wanted(self) -> float:
        """Seconds of work that the next batch should hold."""
        longest = min(MOST_SECONDS, self._longest_allowed)
        if self._pace is None:
            return min(longest, LEAST_SECONDS)
        return min(longest, max(LEAST_SECONDS, self._undecided() / (SHARE * self._slots)))

    def _undecided(self) -> float:
        """Seconds of work that is still to be decided upon, roughly."""
        return self._decider.left * self._estimated / self._blocks * (self._pace or 1.0)

    def _fill(self, seconds: float) -> tuple[Job, ...]:
        """Jobs that take so many seconds, or a little longer."""
        jobs: list[Job] = []
        cost = 0.0
        while self._most is None or len(jobs) < self._most:
            if jobs and cost * (self._pace or 1.0) >= seconds:
                break
            job = self._retries.popleft() if self._retries else self._decided()
            if job is None:
                break
            job, estimate = self._first_part(job, self._trainer.cost(job.block))
            cost += estimate
            self._blocks, self._estimated = self._blocks + 1, self._estimated + estimate
            jobs.append(job)
            if job.attempt > 1:  # it failed before: its company should not wait for it
                break
        return tuple(jobs)

    def _widened(self, jobs: tuple[Job, ...], ahead: Ahead) -> tuple[Job, ...]:
        """A batch with others that train as one with it: such as are decided, then ahead of that.

        Without any job it is one ahead of all decisions, where a slot idles or would idle next.
        """
        if not jobs:
            few = 0 < self._handed_out < self._slots + WAITING
            return ahead.beside(()) if few else ()
        if self._in_flight is not None:  # else a batch has as many as it may
            found = list(jobs)
            decided = iter(self._decided, None)
            for job in list(islice(decided, max(0, ahead.room(found)))):
                (found if ahead.room(found, job) >= 0 else self._aside).append(job)
            jobs = tuple(found)
        return jobs + ahead.beside(jobs)

    def _decided(self) -> Job | None:
        """The next job that is of interest; what is of none any more is recorded as such."""
        while (job := self._next()) is not None:
            if not self._decider.wants(job):
                self._settle(job, Unfinished())
            elif self._ahead is None:
                break
            elif (kept := self._ahead.take(job)) is not None:
                self._settle(job, kept.result, kept.seconds, kept.worker)
            elif not self._ahead.waits(job):
                break
        return job

    def _next(self) -> Job | None:
        return self._aside.popleft() if self._aside else self._decider.next()

    def _first_part(self, job: Job, cost: float) -> tuple[Job, float]:
        """All of a block that costs so much, or a part of it and its cost; others go out beside it.

        A few finalists have many seeds to go while others wait for their results, or all proposals
        are made. Seeds are independent: what takes one slot a minute, all can do side by side.
        """
        count, cap = job.block.count, self._longest_allowed
        ready = len(self._retries) + self._decider.ready
        seconds = cost * (self._pace or 0.0)
        if self._bisector.users_code and (job.attempt >= ATTEMPTS or seconds > cap):
            whole = int(min(count, max(1.0, seconds / cap)))
            first, *others = [p for j in job.split(whole) for p in self._bisector.parts(j)]
            self._waiting.extendleft((other,) for other in reversed(others))
            return first, self._trainer.cost(first.block)
        one = self._ahead is not None and self._ahead.is_one_stack(job.block)
        if not job.promoted or seconds < 2 * LEAST_SECONDS or one:
            return job, cost
        # As long as a slot's share of what is left, as in `_wanted`, but not much longer than other
        # blocks, for few decisions are made before its results are in; shorter where slots idle.
        mean = self._estimated / max(self._blocks, 1) * (self._pace or 0.0)
        share = (self._undecided() + (ready + 1) * seconds) / (SHARE * self._slots)
        parts = int(seconds / min(cap, max(MOST_SECONDS, min(share, ALIKE * mean))))
        idle = (self._slots - self.under_way) // (ready + 1)
        if idle > parts and not self._decider.open:
            parts = min(idle, int(seconds / LEAST_SECONDS))
        parts = min(parts, count)
        if parts < 2:
            return job, cost
        first, *others = job.split(parts)
        self._waiting += [(other,) for other in others]
        return first, self._trainer.cost(first.block)
