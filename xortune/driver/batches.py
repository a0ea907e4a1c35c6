"""What a batch holds, by measured cost; what its results lead to; when the time budget is over.

`Batches` groups jobs (`driver.jobs`), `CrashBisector` finds seeds that kill a worker, and
`ahead.Ahead` adds blocks that are likely to be decided soon.
"""

from __future__ import annotations

import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from xortune.core.band import judged_by, left_by
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import (
    NOT_FINISHED,
    Block,
    OutOfTime,
    Reported,
    Trainer,
    Unfinished,
    Void,
    has,
)
from xortune.driver.ahead import Ahead
from xortune.driver.jobs import Done, Job, WorkerFailure
from xortune.runs.evaluation import EncodedOutcome, Evaluation, encode_outcome
from xortune.runs.status import Pace

ATTEMPTS = 3
"""Maximum number of attempts for a block that produces no outcome."""


@dataclass
class Again:
    """A seed that trains a second time, while the search goes on.

    Attributes:
        block: the seed.
        tell: called with its outcome.
        passed: batches that have gone out without it.
        was_sent: whether a worker has it.
    """

    block: Block
    tell: Callable[[Outcome], None]
    passed: int = 0
    was_sent: bool = False


class Decider(Protocol):
    """Decides what is trained next: a search, or the fresh seeds of a certificate."""

    news: deque[object]
    """Progress to show once it is on the disk."""

    def next(self, seconds: Callable[[Block], float | None]) -> Job | None:
        """The next block to train; None if there is none now.

        Args:
            seconds: what a block is expected to take; None if that is not known.
        """

    def put_back(self, job: Job) -> None:
        """Take back the rest of a block, of which the first seeds are trained now."""

    def wants(self, job: Job) -> bool:
        """Whether a block's results are still of interest."""

    def tell(self, job: Job, result: Evaluation) -> None:
        """Use the result of a block, which is in the journal already."""

    def hear(self, reported: Reported) -> None:
        """Add what a training reported on its way to the news. It decides nothing."""

    def stop(self, *, now: bool = False) -> None:
        """Decide nothing more; with `now` also drop what is not handed out yet."""


# -------------------------------------------------------------------------------------------------
# How many decisions are in flight, and how many make a batch.

BATCH_SECONDS = 0.5
"""Seconds of work in a batch. A seed that takes longer than about that is sent alone: nobody waits
behind it, and it is in the journal when it has ended."""

AWAITED_SECONDS = 1e-9
"""The same of an async function: its seeds are not sent anywhere, so each is a batch."""

LIMIT_SHARE = 4
"""A batch should take at most its time limit divided by this, so that it is not stopped."""

LEAST_AT_ONCE = 16
"""Minimum number of seeds of a call that trains many seeds at once, if there are so many. It hardly
takes longer than a call with one."""

RECENT = 32
"""How many of the last measurements say what an unmeasured configuration may take."""

MEASURED_CONFIGS = 4096
"""Maximum number of configurations whose seconds are remembered, the last ones."""

BEFORE_AGAIN = 4
"""Batches of each slot that are waited for, so that one with another seed of the same config comes;
if none of them is such, another seed is trained for this, and then the seed a second time."""

MAX_MACHINE_LOSSES = 3
"""Node failures after which a block is retried as it is; more count as failed attempts."""

MAX_WAITING_AHEAD = 1
"""Batches trained ahead that may wait for a slot. Tune ends a worker for which none waits, and
takes seconds to start another one."""


def most_in_flight(seconds: float, *, slots: int, proposals: int) -> int:
    """How many blocks of a search that learns or races may be in flight beside the oldest one.

    Where a block takes less time than a batch should, a batch holds several decisions. But at most
    an eighth of the proposals are in flight: the search would learn nothing. The limit depends on
    the space and the number of slots alone, so that a search can be repeated.

    Args:
        seconds: of a first block, as the trainer estimates it.
        slots: trials that run at once.
        proposals: of the whole search.
    """
    batch = int(BATCH_SECONDS / seconds) + 1
    return max(least_in_flight(slots), min(slots * (2 * batch + 1), proposals // 8))


def least_in_flight(slots: int) -> int:
    """For each slot: a seed that runs, one that waits, and those that finished before their turn.

    That is one up to 16 slots. It is more the more slots there are, because the slowest of many
    seeds takes longer: see benchmarks/README.md.

    One slot has no others that could run meanwhile: it knows each result before the next decision.
    """
    return slots * max(3, math.ceil(math.log2(slots) / 2) + 1) if slots > 1 else 0


def blocks_in_batch(in_flight: int, *, slots: int) -> int:
    """How many decisions make a batch, so that a slot has one batch running and one waiting."""
    return max(1, (in_flight // slots - 1) // 2)


class MeasuredSeconds:
    """What seeds take, by what was measured.

    A user's code tells nothing of the cost of a configuration. So one that was never trained is
    expected to take as long as the slowest of the last ones: a seed of unknown length should not
    keep others waiting. The built-in network's estimates are right up to a factor.

    Args:
        trainer: estimates the cost of a block.
        seconds: of a seed of some configuration, if that is known, as from a check.
    """

    def __init__(self, trainer: Trainer, seconds: float | None = None) -> None:
        self._trainer, self._is_users = trainer, has(trainer, "users_code")
        self._own: OrderedDict[str, float] = OrderedDict()  # seconds of a seed, by config key
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._weighted, self._costs = 0.0, 0.0
        if seconds is not None and self._is_users:
            self._recent.append(seconds)

    def note(self, block: Block, seconds: float) -> None:
        """Note what a block took."""
        if not self._is_users:
            self._weighted = 0.7 * self._weighted + seconds
            self._costs = 0.7 * self._costs + self._trainer.cost(block)
            return
        each = seconds / block.count
        self._recent.append(each)
        self._own[block.point.key] = each
        self._own.move_to_end(block.point.key)
        if len(self._own) > MEASURED_CONFIGS:
            self._own.popitem(last=False)

    def of(self, block: Block) -> float | None:
        """Expected seconds of a block; None before anything was measured."""
        if not self._is_users:
            pace = self._weighted / self._costs if self._costs else None
            return None if pace is None else pace * self._trainer.cost(block)
        each = self._own.get(block.point.key)
        if each is None and self._recent:
            each = max(self._recent)
        return None if each is None else each * block.count


class WorkerTime:
    """How long workers were there and how long they trained, from the first training on.

    Args:
        slots: how many workers there are.
    """

    def __init__(self, slots: int) -> None:
        self.slots, self.busy = slots, 0.0
        self._before = 0.0  # worker seconds with other numbers of workers
        self._since: float | None = None  # `time.monotonic`, from which on there are `slots`
        self._last = 0.0

    def resize(self, slots: int) -> None:
        """There are so many workers from now on."""
        if slots != self.slots and self._since is not None:
            now = time.monotonic()
            self._before += self.slots * (now - self._since)
            self._since = self._last = now
        self.slots = slots

    def note(self, seconds: float) -> None:
        """Note that a training of so many seconds has ended; 0 where nothing was trained."""
        if not seconds:
            return
        self._last = time.monotonic()
        self.busy += seconds
        if self._since is None:
            self._since = self._last - seconds
        elif not self._before:  # others may have begun earlier than the first that ended
            self._since = min(self._since, self._last - seconds)

    @property
    def all(self) -> float:
        """Worker seconds from the begin of the first training to the last result."""
        return self._before + (
            0.0 if self._since is None else self.slots * (self._last - self._since)
        )


# -------------------------------------------------------------------------------------------------
# Which seed of a block kills its worker, or hangs.

MAX_PARTS = 16
"""Maximum number of parts that a block is split into. With at most so many seeds each part is one
seed, and only the seeds at fault cost a worker. Ray Tune keeps each part as a trial."""

CRASHES_TO_GIVE_UP = 8
"""Give up a configuration after this many crashed parts, if none has succeeded."""


class CrashBisector:
    """Finds the seeds of a user's code that kill their worker.

    A block is tried again as it is, because the worker may have died for another reason. Its last
    attempt is in parts, and a part that crashes is split again, until the seeds at fault are alone.
    Each costs a worker, so a config that kills one with every seed is given up early.

    With other trainers all seeds are alike: what kills is a block's size or its config.
    """

    def __init__(self, *, users_code: bool, attempts: int) -> None:
        self.users_code, self._attempts = users_code, attempts
        self._crashes: Counter[str] = Counter()  # by the key of the config
        self._last_error: dict[str, TrainingError] = {}
        self._succeeded: set[str] = set()

    def parts(self, job: Job) -> list[Job]:
        """What to hand out for a job: itself, or its parts at its last attempt."""
        is_last = self.users_code and job.attempt >= self._attempts
        if not is_last or job.block.count == 1 or self.error_if_given_up(job):
            return [job]
        return job.split(min(MAX_PARTS, job.block.count))

    def error_if_given_up(self, job: Job) -> TrainingError | None:
        """The error of a job whose config is given up; None if it is not."""
        key = job.block.point.key
        if self._attempts == 1 or key in self._succeeded:
            return None
        if self._crashes[key] < CRASHES_TO_GIVE_UP:
            return None
        return self._last_error[key]

    def crashed(self, job: Job, reason: TrainingError) -> list[Job]:
        """Note a crash; return the parts to try instead, none if the job is not split."""
        if not self.users_code or job.attempt < self._attempts:
            return []
        self._crashes[job.block.point.key] += 1
        self._last_error[job.block.point.key] = reason
        parts = self.parts(job)
        return parts if len(parts) > 1 else []

    def succeeded(self, job: Job) -> None:
        """Note that a job has results."""
        if self._crashes:
            self._succeeded.add(job.block.point.key)


def _judged(block: Block, outcome: Outcome | EncodedOutcome) -> Outcome | EncodedOutcome:
    """The outcome of a block, with its hopeless seeds as such; see `core.band`.

    Those that were trained to the end are among them: they were trained ahead, or are audited.
    """
    if (band := block.band) is None or not (left := left_by(band, outcome.details)):
        return outcome
    if isinstance(outcome, Outcome):
        return judged_by(band, block.point.key, outcome, left)
    return encode_outcome(block, judged_by(band, block.point.key, outcome.decoded(block), left))


# -------------------------------------------------------------------------------------------------
# Batches.


class Batches:
    """Groups decided jobs into batches, and turns their results into lines of the journal.

    Batches are for trainings that are shorter than their sending. A block that takes longer is
    handed out in parts, and what was never measured as one seed: so no slot is idle while an
    allowed seed waits. A batch that kills its worker is halved and tried again until the block at
    fault is alone, and with users' code until the seed at fault is. A block without an outcome is
    tried `ATTEMPTS` times.

    Args:
        decider: says which block is next.
        trainer: estimates the cost of a block.
        record: called with each line for the journal, before the decider is told.
        slots: trials that run at once.
        max_in_flight: of a decider that learns, which limits the jobs in a batch; None: no limit.
        most: maximum jobs in a batch; None: no limit.
        attempts: at a block that produces no outcome. With one, a block that kills its worker is
            split at once, no configuration is given up, and what a trainer raises is raised.
        limit: seconds after which a batch is stopped, if any.
        ahead: chooses what is trained ahead; None: nothing.
        budget: seconds from the first batch after which nothing begins; None: any time.
        expected: what seeds are known to take.
        again: a seed that trains a second time.
        fills: whether near the end of the time budget only what is expected to end in it begins.
        checked: seconds of the seeds whose outcomes the trainer has from a check, by the key of the
            config and the seed. Workers have not trained them.

    Attributes:
        too_long: jobs that are decided and were not begun, since the rest of the time budget is too
            short for their first seed; a later session trains them.
    """

    def __init__(
        self,
        decider: Decider,
        trainer: Trainer,
        record: Callable[[Evaluation], None],
        *,
        slots: int = 1,
        max_in_flight: int | None = None,
        most: int | None = None,
        attempts: int = ATTEMPTS,
        limit: float | None = None,
        budget: float | None = None,
        ahead: Ahead | None = None,
        expected: MeasuredSeconds | None = None,
        again: Again | None = None,
        checked: Mapping[tuple[str, int], float] | None = None,
        fills: bool = False,
    ) -> None:
        self._checked, self._fills = checked or {}, fills
        self.too_long: list[Job] = []
        self._ahead, self._again = ahead, again
        self._decider, self._trainer, self._record = decider, trainer, record
        self._in_flight, self._most, self._budget = max_in_flight, most, budget
        self._deadline: float | None = None  # `time.monotonic`
        longest = AWAITED_SECONDS if has(trainer, "awaits") else BATCH_SECONDS
        self._batch_seconds = min(longest, math.inf if limit is None else limit / LIMIT_SHARE)
        # Batches with decided jobs, and all batches, that an executor has.
        self._decided_under_way = self._all_under_way = 0
        self._time, self._seeds = WorkerTime(slots), 0
        self.resize(slots)
        self._attempts = attempts
        self._bisector = CrashBisector(users_code=has(trainer, "users_code"), attempts=attempts)
        self._losses: Counter[tuple[int, int]] = Counter()
        self._waiting: deque[tuple[Job, ...]] = deque()  # batches that are made
        self._retries: deque[Job] = deque()
        self._unstacked: deque[Job] = deque()  # decided, but no part of the batch of that moment
        self._expected = MeasuredSeconds(trainer) if expected is None else expected

    def resize(self, slots: int) -> None:
        """Size batches for this number of slots from now on."""
        self._slots = slots
        self._time.resize(slots)
        if self._in_flight is not None:
            self._most = blocks_in_batch(self._in_flight, slots=slots)

    @property
    def news(self) -> deque[object]:
        """The decider's news."""
        return self._decider.news

    @property
    def pace(self) -> Pace:
        """How much the workers have trained."""
        return Pace(self._seeds, self._slots, self._time.busy, self._time.all)

    @property
    def under_way(self) -> int:
        """Batches of an executor whose results are waited for."""
        waits = self._ahead is not None and self._ahead.waited_for
        return self._decided_under_way or int(waits)

    def stop_if_over(self) -> bool:
        """Stop if the time is over, so that nothing more begins; return whether it is."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return False
        self.stop(now=True)
        return True

    @property
    def until(self) -> float | None:
        """`time.time` from which on no training begins; None: never."""
        return None if self._deadline is None else time.time() + self._deadline - time.monotonic()

    def decide_and_ask_finished(self) -> bool:
        """Decide what is next if nothing waits; return whether nothing is under way or left."""
        may_fill = not (self.under_way or self.stop_if_over() or self._waiting)
        if may_fill and (jobs := self._fill()):
            self._waiting.append(jobs)
        return not self.under_way and not self._waiting

    def stop(self, *, now: bool = False) -> None:
        """Decide nothing more; with `now` also begin nothing that was decided."""
        self._decider.stop(now=now)
        if now:
            self._waiting.clear()
            self._retries.clear()
            self._unstacked.clear()

    def next(self) -> tuple[Job, ...]:
        """The next batch; empty if there is none now."""
        if self.stop_if_over():
            return ()
        while self._waiting and (reason := self._bisector.error_if_given_up(self._waiting[0][0])):
            job, *others = self._waiting.popleft()
            self._give_up(job, reason)
            if others:
                self._waiting.appendleft(tuple(others))
        jobs = self._waiting.popleft() if self._waiting else self._fill()
        self._decided_under_way += bool(jobs)
        if self._ahead is not None:
            jobs = self._widen(jobs, self._ahead)
        self._all_under_way += bool(jobs)
        if jobs and self._deadline is None and self._budget is not None:
            self._deadline = time.monotonic() + self._budget
        return jobs

    def again_after(self, jobs: Iterable[Job]) -> tuple[Block, ...]:
        """What the worker of a batch trains after it: once, the seed that trains a second time.

        What a training leaves behind shows after another seed of the same config. If none goes out
        soon, one trains for this.
        """
        again = self._again
        if again is None or again.was_sent:
            return ()
        block = again.block
        same = (job.block for job in jobs if job.block.point.key == block.point.key)
        is_after_another = any(set(one.seeds) - set(block.seeds) for one in same)
        if not is_after_another and again.passed < BEFORE_AGAIN * self._slots:
            again.passed += 1
            return ()
        again.was_sent = True
        other = Block(block.point, block.seeds.stop, 1)
        return (block,) if is_after_another else (other, block)

    def receive(self, done: Done) -> None:
        """Record the results of a batch or of a part of it, or plan what to try instead."""
        self._time.note(done.seconds)
        if done.reported is not None:
            self._decider.hear(done.reported)
            return
        if done.again is not None and self._again is not None:
            self._again.tell(done.again)
        decided = tuple(job for job in done.jobs if not job.ahead)
        # All jobs of a batch with some that are ahead come back at once, whatever became of them.
        # So a `Done` that ends a batch and has no decided job ends one that had none, unless it has
        # no jobs at all: then the decided ones came back before, in parts.
        assert done.ends or len(decided) == len(done.jobs), "a part of a batch with jobs ahead"
        self._all_under_way -= done.ends
        self._decided_under_way -= done.ends and (bool(decided) or not done.jobs)
        failure = done.results if isinstance(done.results, WorkerFailure) else None
        if failure is None:
            self._trained(done)
        elif len(decided) < len(done.jobs) and failure.kind in ("batch", "late"):
            self._waiting.extend((job,) for job in decided)
            if self._ahead is not None:  # a job trained ahead may be at fault
                self._ahead.end()
        else:
            self._failed(decided, failure, done)
        if self._ahead is not None and done.jobs:
            for job, kept in self._ahead.receive(done):
                if kept is None:
                    self._waiting.append((job,))
                else:
                    self._settle(job, kept.result, kept.seconds, kept.worker)

    def _checked_in(self, block: Block) -> list[float]:
        """Seconds of each seed of a block whose outcome is from a check."""
        return [
            seconds
            for (key, seed), seconds in self._checked.items()
            if key == block.point.key and seed in block.seeds
        ]

    def unwanted(self, jobs: Iterable[Job]) -> set[tuple[str, int]]:
        """The blocks whose results are of no interest any more: key of the config, first seed."""
        done_with = (job.block for job in jobs if not (job.ahead or self._decider.wants(job)))
        return {(block.point.key, block.first) for block in done_with}

    # Results.

    def _trained(self, done: Done) -> None:
        """Record the results of a batch: its seconds are split by the estimates of its blocks."""
        if not done.jobs or isinstance(done.results, WorkerFailure):
            return
        costs = [self._trainer.cost(job.block) for job in done.jobs]
        estimated = sum(costs)
        for job, cost, result in zip(done.jobs, costs, done.results, strict=True):
            seconds = done.seconds * cost / estimated + sum(self._checked_in(job.block))
            if not isinstance(result, TrainingError):
                self._bisector.succeeded(job)
                self._expected.note(job.block, seconds)
            if not job.ahead:
                self._settle(job, result, seconds, done.worker)

    def _failed(self, jobs: tuple[Job, ...], failure: WorkerFailure, done: Done) -> None:
        """Plan what to try instead of a batch without results; nothing for what was ahead."""
        if not jobs:
            return
        if self._is_faultless(jobs, failure):
            self._waiting.appendleft(jobs)
            return
        if failure.cause is not None and self._attempts == 1:
            raise failure.cause
        if len(jobs) > 1:
            if failure.kind == "late":  # one block may hang, but it is likelier that all are slow
                for job in jobs:
                    self._expected.note(job.block, done.seconds / len(jobs))
            middle = len(jobs) // 2
            self._waiting += [jobs[:middle], jobs[middle:]]
            return
        job, reason = jobs[0], TrainingError(failure.reason)
        if failure.kind == "late" and self._bisector.users_code:
            job = replace(job, attempt=self._attempts)  # another attempt would take as long
        parts = self._bisector.crashed(job, reason)
        self._waiting.extendleft((part,) for part in reversed(parts))
        if not parts:
            self._settle(job, reason, worker=done.worker)

    def _is_faultless(self, jobs: tuple[Job, ...], failure: WorkerFailure) -> bool:
        """Whether a batch is tried again as it is: it was never begun, or its machine was lost.

        Unless one of its blocks has lost so many machines that it may be what brings them down.
        """
        if failure.kind != "node":
            return failure.kind in ("setup", "stopped")
        keys = [(job.proposal, job.block.first) for job in jobs]
        self._losses.update(keys)
        return all(self._losses[key] <= MAX_MACHINE_LOSSES for key in keys)

    def _settle(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        seconds: float = 0.0,
        worker: str = "",
    ) -> None:
        """Record a result. Plan another attempt for a block without an outcome, or give it up."""
        if isinstance(result, Void):
            self._tell(job, None, str(result), seconds=seconds, worker=worker)
        elif isinstance(result, OutOfTime):  # a worker's clock may be ahead of the driver's
            self._waiting.appendleft((self._unfinished(job, result, seconds, worker),))
        elif isinstance(result, TrainingError) and not self._decider.wants(job):
            rest = self._unfinished(job, result, seconds, worker)
            self._tell(rest, None, NOT_FINISHED, worker=worker)
        elif isinstance(result, TrainingError):
            final = job.attempt >= self._attempts
            self._tell(job, None, str(result), final=final, seconds=seconds, worker=worker)
            if not final:
                self._retries.append(replace(job, attempt=job.attempt + 1))
        else:
            outcome = _judged(job.block, result)
            self._tell(job, outcome, None, final=True, seconds=seconds, worker=worker)

    def _unfinished(self, job: Job, result: TrainingError, seconds: float, worker: str) -> Job:
        """Record those seeds of a job that have finished; return the job of the others."""
        if not isinstance(result, Unfinished) or (outcome := result.outcome) is None:
            return job
        block = job.block
        finished = replace(job, block=block.part(block.first, outcome.n))
        self._settle(finished, outcome, seconds, worker)
        return replace(job, block=block.part(block.first + outcome.n, block.count - outcome.n))

    def _give_up(self, job: Job, reason: TrainingError) -> None:
        """Record a job that nobody tries again."""
        self._settle(replace(job, attempt=self._attempts), reason)

    def _tell(
        self,
        job: Job,
        outcome: Outcome | EncodedOutcome | None,
        error: str | None,
        *,
        final: bool = False,
        seconds: float = 0.0,
        worker: str = "",
    ) -> None:
        """Write a job's line to the journal, and then let the decider use it."""
        line = Evaluation(
            job.proposal,
            job.block,
            outcome,
            error,
            final,
            seconds,
            worker,
            purpose=job.purpose,
            decision=job.noted,
        )
        self._record(line)
        if final:
            self._seeds += job.block.count - len(self._checked_in(job.block))
        self._decider.tell(job, line)

    # The next batch.

    def _fill(self) -> tuple[Job, ...]:
        """Jobs that take about `BATCH_SECONDS`, at least one if there is any."""
        jobs: list[Job] = []
        seconds = 0.0
        while self._most is None or len(jobs) < self._most:
            if seconds >= self._batch_seconds:
                break
            job = self._retries.popleft() if self._retries else self._decided_job()
            if job is None:
                break
            if (reason := self._bisector.error_if_given_up(job)) is not None:
                self._give_up(job, reason)
                continue
            job = self._first_part(job)
            jobs.append(job)
            expected = self._expected.of(job.block)
            # What was never measured, and what may fail again: other jobs should not wait for it.
            if expected is None or job.attempt > 1:
                break
            seconds += expected
        return tuple(jobs)

    def _widen(self, jobs: tuple[Job, ...], ahead: Ahead) -> tuple[Job, ...]:
        """Add jobs that stack with those of a batch: first decided ones, then ones trained ahead.

        An empty batch gets jobs trained ahead if a slot is idle, or would be next.
        """
        if not jobs:
            has_room = 0 < self._all_under_way < self._slots + MAX_WAITING_AHEAD
            return ahead.beside(()) if has_room else ()
        if self._in_flight is not None:  # else `_fill` has added as many as it may
            stack = list(jobs)
            decided = iter(self._decided_job, None)
            for job in list(islice(decided, max(0, ahead.room(stack)))):
                (stack if ahead.room(stack, job) >= 0 else self._unstacked).append(job)
            jobs = tuple(stack)
        return jobs + ahead.beside(jobs)

    def _decided_job(self) -> Job | None:
        """The next job to train. Others, given up or trained ahead, are recorded on the way."""
        while True:
            job = (
                self._unstacked.popleft()
                if self._unstacked
                else self._decider.next(self._expected.of)
            )
            if job is None:
                return None
            if not self._decider.wants(job):
                self._settle(job, Unfinished())
            elif not self._fits(job.block):
                self.too_long.append(job)
            elif self._ahead is None:
                return job
            elif (kept := self._ahead.take(job)) is not None:
                self._settle(job, kept.result, kept.seconds, kept.worker)
            elif not self._ahead.waits_for(job):
                return job

    def _fits(self, block: Block) -> bool:
        """Whether the first seed of a block is expected to end before the time is over."""
        if not self._fills or self._deadline is None:
            return True
        expected = self._expected.of(block)
        left = self._deadline - time.monotonic()
        return expected is None or expected / block.count <= left

    def _first_part(self, job: Job) -> Job:
        """A job, or its first part if it is long; the rest is handed out next."""
        count = job.block.count
        if self._bisector.users_code and 1 < self._attempts <= job.attempt:
            first, *others = self._bisector.parts(job)
            self._waiting.extendleft((other,) for other in reversed(others))
            return first
        size = min(count, self._seeds_at_once(job.block))
        if size == count:
            return job
        block = job.block
        rest = replace(job, block=block.part(block.first + size, count - size))
        if job.attempt > 1:
            self._retries.appendleft(rest)
        else:
            self._decider.put_back(rest)
        return replace(job, block=block.part(block.first, size))

    def _seeds_at_once(self, block: Block) -> int:
        """How many seeds of a block a worker gets at once."""
        if self._ahead is not None:
            return self._ahead.width(block)
        is_single = has(self._trainer, "users_code") and not has(self._trainer, "takes_many_seeds")
        least = 1 if is_single else LEAST_AT_ONCE
        expected = self._expected.of(block)
        if expected is None:
            return 1 if self._bisector.users_code else LEAST_AT_ONCE
        return max(least, int(self._batch_seconds * block.count / max(expected, 1e-9)))
