"""Which batch trains next, how large it is, and what is done with its results.

`Batches` makes batches of the blocks that a `Decider` wants. `timing` says what they take and when
the time is over, `jobs` what is trained instead of a batch without results, and `ahead` which
blocks are likely to be decided soon.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from operator import itemgetter
from typing import Protocol

from xortune.core.audit import AT_FIRST, TOLERANCE, Audit
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.pruning import judged, pruned_at
from xortune.core.trainer import (
    AUDITED,
    HELD_AFTER,
    NOT_FINISHED,
    Block,
    Outages,
    Postponed,
    Reported,
    Trainer,
    Unfinished,
    Void,
)
from xortune.runs.evaluation import EncodedOutcome, Evaluation, encode_outcome
from xortune.runs.status import Pace
from xortune.training.ahead import Ahead
from xortune.training.jobs import ATTEMPTS, Done, Job, Retries, WorkerFailure, block_id
from xortune.training.stacks import SharedStacks, audit_of, is_audit
from xortune.training.timing import MeasuredSeconds, TimeBudget, WorkerTime


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
        """Take back a block, or the rest of one, that does not train yet."""

    def wants(self, job: Job) -> bool:
        """Whether a block's results are still of interest."""

    def tell(self, job: Job, result: Evaluation) -> None:
        """Use the result of a block, which is in the journal already."""

    def hear(self, reported: Reported) -> None:
        """Add what a training reported on its way to the news. It decides nothing."""

    def stop(self, *, now: bool = False) -> None:
        """Decide nothing more; with `now` also drop what is not handed out yet."""


# -------------------------------------------------------------------------------------------------
# How large a batch is.

BATCH_SECONDS = 0.5
"""Seconds of work in a batch. A seed that takes longer than about that is sent alone: nobody waits
behind it, and it is in the journal when it has ended."""

LEAST_COST = 1e-9
"""What a block is taken to cost at least: a user's own trainer may say 0."""

LIMIT_SHARE = 4
"""A batch should take at most its time limit divided by this, so that it is not stopped."""

LEAST_AT_ONCE = 16
"""Minimum number of seeds of a call that trains many seeds at once, if there are so many. It hardly
takes longer than a call with one."""


def batch_seconds(limit: float | None) -> float:
    """Seconds of work in a batch that is stopped after `limit` seconds; None: it is not."""
    return BATCH_SECONDS if limit is None else min(BATCH_SECONDS, limit / LIMIT_SHARE)


def blocks_in_batch(in_flight: int, *, slots: int) -> int:
    """How many blocks make a batch, so that each slot has one batch running and one waiting.

    Args:
        in_flight: how many blocks may be in flight.
        slots: batches that train at once.
    """
    return max(1, (in_flight // slots - 1) // 2)


def seeds_at_once(
    trainer: Trainer, block: Block, expected: float | None, *, most_seconds: float
) -> int:
    """How many seeds of a block a worker gets at once; it may be more than the block has.

    Args:
        trainer: trains it.
        block: all its seeds.
        expected: seconds of the whole block. None if nothing was measured: then one seed of a
            user's code is sent, to measure it.
        most_seconds: of a batch.
    """
    is_users = trainer.traits.users_code
    if trainer.traits.awaits:
        return 1  # its seeds are not sent anywhere: each is a batch of its own
    if expected is None:
        return 1 if is_users else LEAST_AT_ONCE
    least = 1 if is_users and not trainer.traits.takes_many_seeds else LEAST_AT_ONCE
    expected = max(expected, 1e-9)  # by a coarse clock it may be 0
    return max(least, int(most_seconds * block.count / expected))


# -------------------------------------------------------------------------------------------------
# Seeds that could not be tried, and are tried again.


class Untried:
    """The seeds that wait for another try. No worker waits with them.

    Args:
        outages: how long they wait.
    """

    def __init__(self, outages: Outages) -> None:
        self._outages = outages
        self._waiting: list[tuple[float, Job]] = []  # until when, by `time.monotonic`
        self._in_a_row = 0  # seeds that could not be tried, since another one could

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, job: Job, after: float | None) -> Job | None:
        """Let a seed wait, and return it with its next try; None if it is void."""
        if (wait := self._outages.wait(job.tries, after)) is None:
            self._in_a_row = 0
            return None
        self._in_a_row += not job.tries
        job = replace(job, tries=job.tries + 1, waited=job.waited + wait)
        self._waiting.append((time.monotonic() + wait, job))
        return job

    def pop(self, wants: Callable[[Job], bool]) -> Job | None:
        """Remove the next seed that has waited, or that is not wanted any more; None if none."""
        now = time.monotonic()
        over = [one for one in self._waiting if one[0] <= now or not wants(one[1])]
        if not over:
            return None
        self._waiting.remove(found := min(over, key=itemgetter(0)))
        return found[1]

    @property
    def seconds(self) -> float | None:
        """Seconds until the next one has waited, 0 or more; None if none waits."""
        first = min((until for until, _ in self._waiting), default=None)
        return None if first is None else max(0.0, first - time.monotonic())

    @property
    def are_many(self) -> bool:
        """Whether `HELD_AFTER` of them came in a row."""
        return self._in_a_row >= HELD_AFTER

    def note_result(self) -> None:
        """Note that a seed could be tried."""
        self._in_a_row = 0

    @property
    def jobs(self) -> list[Job]:
        """Those that wait."""
        return [job for _, job in self._waiting]

    def keep(self, keys: Collection[str]) -> None:
        """Try only seeds of these configurations again."""
        self._waiting = [one for one in self._waiting if one[1].block.point.key in keys]

    def clear(self) -> None:
        """Try none of them again."""
        self._waiting.clear()


# -------------------------------------------------------------------------------------------------
# The seed of the check, which trains again.

BEFORE_AGAIN = 4
"""Batches of each slot for which `Again` waits, until one has another seed of its config."""


@dataclass
class Again:
    """A seed that trains a second time, while the search goes on.

    It trains in a worker that has trained another seed of the same config just before: what that
    one has left behind may change its outcome. If no batch has such a seed, one trains for this.

    Attributes:
        block: the seed.
        tell: called with its outcome.
        passed: batches that have gone out without it.
        was_sent: whether a worker was asked to train it.
        was_told: whether it has trained.
    """

    block: Block
    tell: Callable[[Outcome], None]
    passed: int = 0
    was_sent: bool = False
    was_told: bool = False

    def after(self, jobs: Iterable[Job], *, slots: int) -> tuple[Block, ...]:
        """What the worker of a batch trains after it; empty for all batches but one.

        Args:
            jobs: of the batch.
            slots: batches that train at once.
        """
        if self.was_sent:
            return ()
        block = self.block
        same = (job.block for job in jobs if job.block.point.key == block.point.key)
        is_after_another = any(set(one.seeds) - set(block.seeds) for one in same)
        if not is_after_another and self.passed < BEFORE_AGAIN * slots:
            self.passed += 1
            return ()
        self.was_sent = True
        other = Block(block.point, block.seeds.stop, 1)
        return (block,) if is_after_another else (other, block)


# -------------------------------------------------------------------------------------------------
# From decided jobs to lines of the journal.

MAX_WAITING_AHEAD = 1
"""Batches trained ahead that may wait for a slot. Tune ends a worker for which none waits, and
takes seconds to start another one."""


class Batches:
    """Makes batches of decided jobs, and turns their results into lines of the journal.

    A batch holds several trainings, where each takes less time than sending it. A block that takes
    longer is handed out in parts, one that was never measured as one seed first: so no slot is idle
    while an allowed seed waits. `next` has the rule of what comes next.

    Args:
        decider: says which block is next.
        trainer: estimates the cost of a block.
        record: called with each line for the journal, before the decider is told.
        slots: batches that train at once.
        max_in_flight: of a decider that learns, which limits the jobs in a batch; None: no limit.
        most: maximum jobs in a batch; None: no limit.
        attempts: as of `Retries`.
        limit: seconds after which a batch is stopped, if any.
        budget: seconds from the first batch after which nothing begins; None: any time.
        ahead: chooses what is trained ahead; None: nothing.
        expected: what seeds are known to take.
        again: a seed that trains a second time.
        checked: seconds of the seeds whose outcomes the trainer has from a check, by the key of the
            config and the seed. Workers have not trained them.
        fills: whether near the end of the time budget only what is expected to end in it begins.
        outages: when a seed that could not be tried is tried again.
        untried: seeds that wait for that, of earlier batches of this trainer.
        rests: whether none of them is tried again for now: the loop ends, and they go on waiting.
        on_wait: called with such a seed, and why, when it begins to wait.
        on_again: called with it when it is tried again.
        audit: what is known of seeds that this trainer stacks, from the journal; with a fault no
            seed is stacked.
        alone: whether no seed is to be stacked, although no fault is known.

    Attributes:
        begins_again: whether results of stacks were recorded and are replaced, because one was
            shown wrong. Nothing more begins and nothing more is recorded: the caller begins again.
        recorded: what lines say of seeds that this trainer stacks.
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
        outages: Outages | None = None,
        untried: Untried | None = None,
        rests: Callable[[], bool] = lambda: False,
        on_wait: Callable[[Job, str], None] = lambda _, __: None,
        on_again: Callable[[Job], None] = lambda _: None,
        audit: Audit | None = None,
        alone: bool = False,
    ) -> None:
        self._decider, self._trainer, self._record = decider, trainer, record
        self._ahead, self._again, self._checked = ahead, again, checked or {}
        self._in_flight, self._most = max_in_flight, most
        self._seconds = batch_seconds(limit)
        self._expected = MeasuredSeconds(trainer) if expected is None else expected
        self._budget, self._fills = TimeBudget(budget), fills
        self._alone: deque[tuple[Job, ...]] = deque()  # what the system killed
        self._one_trains_alone = False
        self._queue: deque[tuple[Job, ...]] = deque()  # what trains again
        if untried is None:
            untried = Untried(Outages() if outages is None else outages)
        self._untried, self._rests = untried, rests
        self._on_wait, self._on_again = on_wait, on_again
        self._retries = Retries(users_code=trainer.traits.users_code, attempts=attempts)
        # Batches that an executor has: those with decided jobs, and all.
        self._decided_under_way = self._all_under_way = 0
        self._time = WorkerTime(slots)
        self.too_long: list[Job] = []
        self.begins_again = False
        self._stacks, self.recorded = trainer.traits.stacks_seeds, audit or Audit()
        # As of `Block`: also of seeds that were trained ahead.
        self._agreed = None if alone or self.recorded.fault else self.recorded.audited
        self._audited_under_way = 0  # seeds of batches that were sent before enough agreed
        self._shared = SharedStacks()
        # Whether seeds train as one model, as the check or a worker has said last.
        self._is_stacked = ahead is not None and ahead.stacks
        self.resize(slots)

    def resize(self, slots: int) -> None:
        """Size batches for this number of slots from now on."""
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
        return self._time.pace

    @property
    def under_way(self) -> int:
        """How many batches of an executor are waited for.

        One that was only trained ahead is not, unless a decided job needs its results.
        """
        if self.begins_again:
            return self._all_under_way
        waits = self._is_reserved or bool(self._shared)
        waits = waits or (self._ahead is not None and self._ahead.waited_for)
        return self._decided_under_way or int(waits and self._all_under_way > 0)

    @property
    def budget_left(self) -> float | None:
        """Seconds of the time budget that are left; None without one."""
        return self._budget.left if math.isfinite(self._budget.left) else None

    @property
    def seconds_to_next_try(self) -> float | None:
        """Seconds until a seed that could not be tried is tried again; None if none waits now."""
        return None if self._rests() else self._untried.seconds

    @property
    def until(self) -> float | None:
        """`time.time` from which on no training begins; None: never."""
        return self._budget.until

    def stop_if_over(self) -> bool:
        """Stop if the time is over, so that nothing more begins; return whether it is."""
        is_over = self._budget.left <= 0
        if is_over:
            self.stop(now=True)
        return is_over

    def stop(self, *, now: bool = False) -> None:
        """Decide nothing more. What is decided still trains, but with `now` only what has begun.

        No seed that could not be tried is tried again.
        """
        self._decider.stop(now=now)
        self._untried.clear()
        if now:
            self._alone.clear()
            self._queue.clear()
            self._shared.stop()

    # The next batch.

    def next(self) -> tuple[Job, ...]:
        """The next batch; empty if there is none now.

        The rule of what comes next:

        1. A batch that the system killed. It trains alone: nothing begins before all other batches
           have ended, and nothing else begins before it has ended.
        2. A seed that is audited: the results of its stack wait for it.
        3. A seed that could not be tried, once it has waited: see `Untried`.
        4. What a worker did not begin or did not finish, and the parts of a batch that failed. The
           batch that came back last is first.
        5. Another attempt at a block, in the order in which the attempts failed.
        6. If nothing waits here, what the decider decides.
        """
        if self.begins_again or self.stop_if_over():
            return ()
        waits = self._waits_for_audits and not self._shared.to_send
        if self._all_under_way and (self._is_reserved or waits):
            return ()
        self._one_trains_alone = bool(self._alone)
        if self._alone:
            jobs = self._alone.popleft()
        elif self._shared.to_send:
            jobs = (self._shared.to_send.popleft(),)
        else:
            jobs = self._widened(self._untried_batch() or self._further_batch())
        if jobs:
            self._budget.begin()
            self._all_under_way += 1
            self._decided_under_way += any(not job.ahead for job in jobs)
        return self._stacked(jobs) if self._stacks else jobs

    @property
    def _is_reserved(self) -> bool:
        """Whether a batch trains alone, or waits until it can: no other batch may begin."""
        return self._one_trains_alone or bool(self._alone)

    @property
    def _waits_for_audits(self) -> bool:
        """Whether `AT_FIRST` seeds train alone, too.

        Otherwise each worker would do so on its own, before its first results are used.
        """
        if not self._is_stacked or self._agreed is None or self._agreed >= AT_FIRST:
            return False
        return self._agreed + self._audited_under_way >= AT_FIRST

    def _stacked(self, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        """Jobs with what their worker is to know of stacks."""
        if not jobs or is_audit(jobs[0]):
            return jobs
        seeds = sum(job.block.count for job in jobs)
        if self._agreed is not None and self._agreed < AT_FIRST:
            self._audited_under_way += seeds
        jobs = tuple(replace(job, block=replace(job.block, agreed=self._agreed)) for job in jobs)
        return self._shared.share(jobs) if seeds > 1 and self._has_auditors else jobs

    @property
    def _has_auditors(self) -> bool:
        """Whether other workers train the audited seeds of the next stack: those that are idle.

        Until enough agree others begin no stack. Where a training amplifies rounding, only the
        worker of the stack can tell.
        """
        if not self._is_stacked or self._agreed is None or self.recorded.largest > TOLERANCE:
            return False
        slots, waiting = self._time.slots, len(self._shared.to_send)
        return slots > 1 and (self._agreed < AT_FIRST or slots > self._all_under_way + waiting)

    def again_after(self, jobs: Iterable[Job]) -> tuple[Block, ...]:
        """What the worker of a batch trains after it, see `Again`."""
        return () if self._again is None else self._again.after(jobs, slots=self._time.slots)

    def unwanted(self, jobs: Iterable[Job]) -> set[tuple[str, int]]:
        """The blocks whose results are of no interest any more, by their `block_id`."""
        unwanted = (job for job in jobs if not (job.ahead or self._decider.wants(job)))
        return {block_id(job.block) for job in unwanted}

    def _untried_batch(self) -> tuple[Job, ...]:
        """A seed that could not be tried and has waited; those of no interest are recorded."""
        while not self._rests() and (job := self._untried.pop(self._decider.wants)) is not None:
            if self._decider.wants(job):
                self._on_again(job)
                return (job,)
            self._settle(job, Unfinished())
        return ()

    def _further_batch(self) -> tuple[Job, ...]:
        """What waits in the queue or is decided; nothing while too many seeds cannot be tried."""
        if self._untried.are_many and (self._untried or self._decided_under_way):
            return ()
        return self._queued_batch() or self._decided_batch()

    def _queued_batch(self) -> tuple[Job, ...]:
        """The next batch of the queue; jobs that are given up or unwanted by now are recorded."""
        while self._queue:
            batch = self._queue.popleft()
            for job in (unwanted := [job for job in batch if not self._decider.wants(job)]):
                self._settle(job, Unfinished())
            left = (job for job in batch if job not in unwanted)
            if jobs := tuple(job for job in left if not self._record_if_given_up(job)):
                return jobs
        return ()

    def _decided_batch(self) -> tuple[Job, ...]:
        """Decided jobs that together take as long as a batch should; at least one if any waits."""
        jobs: list[Job] = []
        seconds = 0.0
        while seconds < self._seconds and (self._most is None or len(jobs) < self._most):
            job = self._decided_job()
            if job is None:
                break
            if self._record_if_given_up(job):
                continue
            job = self._cut(job)
            jobs.append(job)
            expected = self._expected.of(job.block)
            # Other jobs should not wait for what was never measured, or for what is awaited.
            if expected is None or self._trainer.traits.awaits:
                break
            seconds += expected
        return tuple(jobs)

    def _widened(self, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
        """A batch with jobs that stack with it: first decided ones, then ones trained ahead.

        An empty batch gets jobs trained ahead if a slot is idle, or would be next.
        """
        ahead = self._ahead
        if ahead is None:
            return jobs
        if not jobs:
            has_room = 0 < self._all_under_way < self._time.slots + MAX_WAITING_AHEAD
            return ahead.beside(()) if has_room else ()
        if self._in_flight is not None:  # else `_decided_batch` has added as many as it may
            others: list[Job] = []
            decided = iter(self._decided_job, None)
            for job in list(islice(decided, max(0, ahead.room(jobs)))):
                if ahead.room(jobs, job) >= 0:
                    jobs += (job,)
                else:
                    others.append(job)
            for job in reversed(others):
                self._decider.put_back(job)
        return jobs + ahead.beside(jobs)

    def _decided_job(self) -> Job | None:
        """The next job that the decider wants trained; None if there is none now.

        Jobs whose results are there already or of no interest are recorded on the way.
        """
        while (job := self._decider.next(self._expected.of)) is not None:
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
        return None

    def _fits(self, block: Block) -> bool:
        """Whether the first seed of a block is expected to end before the time is over."""
        expected = self._expected.of(block)
        return not self._fills or expected is None or expected / block.count <= self._budget.left

    def _cut(self, job: Job) -> Job:
        """The seeds of a job that a worker gets at once; the decider takes back the others."""
        block = job.block
        if self._ahead is None:
            expected = self._expected.of(block)
            size = seeds_at_once(self._trainer, block, expected, most_seconds=self._seconds)
        else:
            size = self._ahead.width(block)
        first, *others = job.split_off(size)
        for rest in others:
            self._decider.put_back(rest)
        return first

    def _record_if_given_up(self, job: Job) -> bool:
        """Whether a job's config is given up; then the job is recorded as failed."""
        if (error := self._retries.error_if_given_up(job)) is None:
            return False
        self._settle(self._retries.at_last_attempt(job), error)
        return True

    # Results.

    def receive(self, done: Done) -> None:
        """Record the results of a batch or of a part of it, or plan what to try instead."""
        self._time.note(done.seconds)
        if done.reported is not None:
            self._decider.hear(done.reported)
            return
        if done.again is not None and self._again is not None:
            self._again.was_told = True
            self._again.tell(done.again)
        has_decided = any(not job.ahead for job in done.jobs)
        # A batch may come back in parts. What ends one and has no decided job ends one that had
        # none; without any job it ends one whose decided jobs came before: `Batch`.
        if done.ends:
            self._all_under_way -= 1
            self._decided_under_way -= has_decided or not done.jobs
        if (audited := self._audited(done) if self._stacks else done) is None:
            return
        done, decided = audited, tuple(job for job in audited.jobs if not job.ahead)
        if not isinstance(done.results, WorkerFailure):
            self._trained(done)
        elif done.results.kind == "killed" and self._retries.gives_second_chance(done.jobs):
            self._alone.append(done.jobs)
            return
        else:
            self._failed(done, decided, done.results)
        if self._ahead is not None and done.jobs:
            for job, kept in self._ahead.receive(done):
                if kept is None:
                    self._queue.appendleft((job,))
                else:
                    self._settle(job, kept.result, kept.seconds, kept.worker)

    def _audited(self, done: Done) -> Done | None:
        """Use what a batch says of its stacks; after a fault results of stacks train again.

        Returns:
            Its results; None while audited seeds of it train elsewhere, or if all begins again.
        """
        if (shared := self._shared.receive(done)) is None:
            return None
        done = shared
        if done.stacking is not None:
            self._is_stacked = done.stacking.width > 1
        ended = sum(job.block.count for job in done.jobs)
        self._audited_under_way = max(0, self._audited_under_way - ended)
        if isinstance(done.results, WorkerFailure):
            return None if self.begins_again else done
        audits = [audit_of(result) for result in done.results]
        for job, audit in zip(done.jobs, audits, strict=True):
            if audit.fault and not self.recorded.fault:
                self._end_stacks(job, audit.fault, done.worker)
            elif self._agreed is not None:
                self._agreed += audit.audited
        if self.begins_again:
            return None
        if self._agreed is not None:
            return done
        results = [
            result if not audit.stacked else _not_alone(job)
            for job, result, audit in zip(done.jobs, done.results, audits, strict=True)
        ]
        return replace(done, results=results, stacking=None)

    def _end_stacks(self, job: Job, fault: str, worker: str) -> None:
        """Stack no seed any more, and say in the journal that results of stacks are replaced."""
        self._agreed, audit = None, Audit(fault=fault)
        self.recorded = replace(self.recorded, fault=fault)
        proposal = max(job.proposal, 0)  # trained ahead it has none
        line = Evaluation(proposal, job.block, None, AUDITED, False, 0.0, worker, audit=audit)
        self._record(line)
        if self._ahead is not None:
            self._ahead.forget()
        if self.recorded.stacked:
            self.begins_again = True
            self.stop(now=True)

    def _trained(self, done: Done) -> None:
        """Record the results of a batch: its seconds are split by the estimates of its blocks."""
        assert not isinstance(done.results, WorkerFailure)
        costs = [max(self._trainer.cost(job.block), LEAST_COST) for job in done.jobs]
        estimated, postponed = sum(costs), list[Job]()
        for job, cost, result in zip(done.jobs, costs, done.results, strict=True):
            seconds = done.seconds * cost / estimated + sum(self._checked_in(job.block))
            if not isinstance(result, TrainingError):
                self._retries.succeeded(job)
                self._expected.note(job.block, seconds)
            if job.ahead:
                continue
            if not isinstance(result, Postponed | Void):
                self._settle(job, result, seconds, done.worker)
                continue
            rest = self._unfinished(job, result, seconds, done.worker)
            if isinstance(result, Void):  # the first of these seeds could not be tried
                untried, *others = rest.split_off(1)
                self._settle(untried, result, seconds, done.worker)
                postponed += others
            else:  # a worker's clock may be ahead of the driver's
                postponed.append(rest)
        if postponed:
            self._queue.appendleft(tuple(postponed))

    def _failed(self, done: Done, decided: tuple[Job, ...], failure: WorkerFailure) -> None:
        """Plan what to try instead of a batch without results; nothing for what was ahead.

        Args:
            done: says that it has none.
            decided: the jobs that are not ahead.
            failure: why it has none.
        """
        is_at_fault = failure.kind in ("batch", "killed", "late", "slow")
        if self._ahead is not None and is_at_fault and len(decided) < len(done.jobs):
            self._ahead.end()  # a job trained ahead may be at fault
            self._queue.extendleft((job,) for job in reversed(decided))
            return
        if not decided:
            return
        if failure.kind == "late" and len(decided) > 1:  # it is likelier that all are slow
            for job in decided:
                self._expected.note(job.block, done.seconds / len(decided))
        after = self._retries.after(decided, failure)
        if isinstance(after, Job):
            self._settle(after, TrainingError(failure.reason), worker=done.worker)
        else:
            self._queue.extendleft(reversed(after))

    def _settle(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        seconds: float = 0.0,
        worker: str = "",
    ) -> None:
        """Record a result. Plan the next attempt at a block without an outcome."""
        if isinstance(result, Void):
            if (again := self._untried.put(job, result.after)) is not None:
                self._on_wait(again, result.reason)
                return
            self._tell(job, None, str(result), seconds=seconds, worker=worker)
        elif isinstance(result, TrainingError) and not self._decider.wants(job):
            rest = self._unfinished(job, result, seconds, worker)
            self._tell(rest, None, NOT_FINISHED, worker=worker)
        elif isinstance(result, TrainingError):
            retries = self._retries.next_attempt(job)
            self._tell(job, None, str(result), final=not retries, seconds=seconds, worker=worker)
            self._queue.extend(retries)
        else:
            self._untried.note_result()
            outcome = _judged(job.block, result)
            self._tell(job, outcome, None, final=True, seconds=seconds, worker=worker)

    def _unfinished(self, job: Job, result: TrainingError, seconds: float, worker: str) -> Job:
        """Record those seeds of a job that have finished; return the job of the others."""
        if not isinstance(result, Unfinished) or (outcome := result.outcome) is None:
            return job
        finished, rest = job.split_off(outcome.n)
        self._settle(finished, outcome, seconds, worker)
        return rest

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
        if self._stacks and outcome is not None:
            self.recorded += audit_of(outcome)
        if final:
            self._time.seeds += job.block.count - len(self._checked_in(job.block))
        self._decider.tell(job, line)

    def _checked_in(self, block: Block) -> list[float]:
        """Seconds of each seed of a block whose outcome is from a check."""
        return [
            seconds
            for (key, seed), seconds in self._checked.items()
            if key == block.point.key and seed in block.seeds
        ]


def _not_alone(job: Job) -> TrainingError:
    """Why the result of a stack is none, once no seed is to be stacked: it trains again alone."""
    if job.block.agreed is None:
        return TrainingError("its trainer has stacked seeds that were to train alone")
    return Postponed()


def _judged(block: Block, outcome: Outcome | EncodedOutcome) -> Outcome | EncodedOutcome:
    """The outcome of a block with its pruned seeds as such; see `core.pruning`.

    Some were trained to the end: they were trained ahead, or on.
    """
    if (pruning := block.pruning) is None:
        return outcome
    if not (pruned := pruned_at(pruning, outcome.details)):
        return outcome
    if isinstance(outcome, Outcome):
        return judged(pruning, block.point.key, outcome, pruned)
    found = judged(pruning, block.point.key, outcome.decoded(block), pruned)
    return encode_outcome(block, found)
