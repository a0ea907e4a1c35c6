"""What becomes of a batch: jobs on their way to a worker, what comes back, and what trains instead.

`Batch` is a batch that somebody trains, whoever it is: which of its seeds have begun, have a
result, have taken too long, or are at fault. `Retries` says what trains in place of those without a
result.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import Block, Reported, Stacking
from xortune.runs.evaluation import EncodedOutcome, Purpose


def block_id(block: Block) -> tuple[str, int]:
    """What names a block that is cancelled or lost: the key of its config, its first seed."""
    return block.point.key, block.first


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
        stack: number of a stack whose audited seeds other workers train alone, of its own job and
            of theirs; see `SharedStack`. 0: none.
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
    stack: int = 0

    def of(self, first: int, count: int) -> Job:
        """The same with a part of its block."""
        return replace(self, block=self.block.part(first, count))

    def split_off(self, count: int) -> list[Job]:
        """The job of its first seeds, so many, and of the others, if there are any."""
        if count >= self.block.count:
            return [self]
        first = self.block.first
        return [self.of(first, count), self.of(first + count, self.block.count - count)]

    def split(self, parts: int) -> list[Job]:
        """Split it into jobs of about equally many seeds."""
        block = self.block
        bounds = [block.first + block.count * part // parts for part in range(parts + 1)]
        return [self.of(start, end - start) for start, end in pairwise(bounds)]


@dataclass(frozen=True)
class WorkerFailure:
    """Why a worker returned no results.

    Attributes:
        kind: `batch`: something in the batch killed the worker or raised; `killed`: the system
            killed it, as it does where memory is short; `late`: it exceeded its time limit; `slow`:
            seeds that train together took longer than their time limits in all; `node`: its machine
            has left or cannot be reached; `stopped`: it ended before it began the batch.
        reason: for the journal, or for the user.
        cause: what the trainer itself raised, if it was on this machine.
    """

    kind: Literal["batch", "killed", "late", "slow", "node", "stopped"]
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


# -------------------------------------------------------------------------------------------------
# A batch that somebody trains.

BEGUN, TRAINED, REPORTED, AGAIN = "begun", "trained", "reported", "again"
DONE, RAISED = "done", "raised"
"""What a worker says of its batch, with what `Batch.begin`, `.trained`, `.report`, `.trained_again`
and `.end` take; `RAISED` with the trainer's own exception."""

LOOK_SECONDS = 1.0
"""Maximum seconds of a wait: the driver also writes the journal and looks at the time."""


FAILED_STARTS = 3
"""Number of workers in a row that end before they train, after which the search ends."""


class Clock:
    """Seconds by a clock that stands still while the driver is busy.

    After minutes of other work the driver has not yet seen the results that have arrived: what
    they are of is not late.

    Args:
        time_now: returns the time.
    """

    def __init__(self, time_now: Callable[[], float] = time.monotonic) -> None:
        self._time_now, self._seen, self._seconds = time_now, time_now(), 0.0

    def now(self) -> float:
        """The seconds of this clock."""
        return self._seconds + min(self._time_now() - self._seen, LOOK_SECONDS)

    def look(self) -> None:
        """Note that the driver looks at what has arrived."""
        self._seconds, self._seen = self.now(), self._time_now()


@dataclass(frozen=True)
class Limits:
    """Seconds that what trains may take; None for any time.

    Attributes:
        part: of a part of a batch that trains at once.
        seed: of a seed; of several that train at once, so many times as much.
    """

    part: float | None = None
    seed: float | None = None

    def of(self, seeds: int) -> float:
        """Seconds of so many seeds that train at once."""
        part = math.inf if self.part is None else self.part
        return part if self.seed is None else min(part, self.seed * seeds)


NO_LIMITS = Limits()


class Batch:
    """A batch that somebody trains: what it goes through, and what the search is told of it.

    Whoever trains it calls these methods, each in its order: `begin` before a part of a job trains,
    or once `begin_all`; `report` for what trains reports on its way; `trained` when parts have
    results; `trained_again` for the seed of `again`, after all others; and `end`. Or, at any time,
    `fail` if the trainer itself raises, or `lose` if its worker has ended.

    Args:
        jobs: of the batch.
        done: where it puts what `Batches.receive` is told, in the order in which it happens.
        as_one: whether they are one training, as of `Traits`: its results end the batch.
        limits: of the time.
        clock: by which they are kept.
        until: `time.time` from which on no training begins; None: never.
        again: blocks that train after the others, where a transport does so; see
            `Batches.again_after`.
        count: how many batches of the search these are.

    Attributes:
        worker: its name for the journal.
        left: the part of each job's block without a result, by the index of the job.
        begun: the part that trains now; None before the first and between two. Its index is None
            if it is of `again`.
        late: seconds after which what trains exceeded its limits; None if it did not.
        has_ended: whether nothing more comes of it.
    """

    def __init__(
        self,
        jobs: tuple[Job, ...],
        done: deque[Done],
        *,
        as_one: bool = False,
        limits: Limits = NO_LIMITS,
        clock: Clock | None = None,
        until: float | None = None,
        again: tuple[Block, ...] = (),
        count: int = 1,
    ) -> None:
        self.jobs, self.until, self.again, self._count = jobs, until, again, count
        self._done, self._as_one, self._limits = done, as_one, limits
        self._clock = Clock() if clock is None else clock
        self.worker = ""
        self.left = {index: job.block for index, job in enumerate(jobs)}
        self.begun: tuple[int | None, Block] | None = None
        self._since = 0.0  # of the clock, when that began
        self.late: float | None = None
        self._last: Done | None = None  # the results of one training, until its batch ends
        self.has_ended = False

    @property
    def blocks(self) -> list[Block]:
        """What is to be trained, a block for each job."""
        return [job.block for job in self.jobs]

    def hear(self, what: str, *content: Any) -> None:
        """Use a message of a worker."""
        if what == RAISED:
            error = content[0]
            self.fail(str(error), error if isinstance(error, InputError) else None)
            return
        heard: dict[str, Callable[..., None]] = {
            BEGUN: self.begin,
            TRAINED: self.trained,
            REPORTED: self.report,
            AGAIN: self.trained_again,
            DONE: self.end,
        }
        heard[what](*content)

    def begin(self, index: int | None, part: Block) -> None:
        """A part of the job of this index trains now; None: a block of `again`."""
        self.begun, self._since = (index, part), self._clock.now()

    def begin_all(self) -> None:
        """All of it trains now: for those who do not learn which part does."""
        self._as_one = True
        self.begin(0, self.jobs[0].block)

    def report(self, reported: Reported) -> None:
        """What trains has reported something."""
        self._tell(Done((), (), reported=reported, ends=False))

    def trained(
        self,
        parts: Parts,
        results: Sequence[Outcome | EncodedOutcome | TrainingError],
        seconds: float,
        stacking: Stacking | None = None,
    ) -> None:
        """Parts of jobs have a result each, after so many seconds in all.

        `stacking` is how the seeds of the first part are stacked, if they are.
        """
        done = Done(self._ended(parts), results, seconds, stacking=stacking, ends=False)
        if self._as_one and not self.left:
            self._last = replace(done, ends=True)
        else:
            self._tell(done)

    def trained_again(self, outcome: Outcome, seconds: float) -> None:
        """The last block of `again` has this outcome; all of them took so many seconds."""
        self.begun = None
        self._tell(Done((), (), seconds, again=outcome, ends=False))

    def end(self) -> None:
        """All is said."""
        self._tell(self._last or Done((), ()))

    def fail(self, reason: str, cause: Exception | None = None, seconds: float = 0.0) -> None:
        """The trainer itself has raised: no job that is left has a result."""
        jobs = self._ended(list(self.left.items()))
        self._tell(Done(jobs, WorkerFailure("batch", reason, cause), seconds))

    @property
    def seconds_left(self) -> float:
        """Seconds until what trains exceeds its limits; infinite if it cannot."""
        if self.begun is None or self.late is not None:
            return math.inf
        seeds = sum(job.block.count for job in self.jobs) if self._as_one else self.begun[1].count
        return self._since + self._limits.of(seeds) - self._clock.now()

    def exceed(self) -> None:
        """What trains has exceeded its limits: its worker is about to be killed."""
        self.late = self._clock.now() - self._since

    def lose(self, failure: WorkerFailure) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
        """Its worker has ended.

        Returns:
            The jobs that trained then, of which one is at fault, and those that had not begun.
        """
        fault, rest = self._lost()
        if rest:
            stopped = WorkerFailure("stopped", failure.reason)
            self._tell(Done(rest, stopped, ends=not fault))
        elif not fault:  # it had sent all results
            self.end()
        if fault:
            self._tell(Done(fault, failure) if self.late is None else self._too_late(fault))
        return fault, rest

    def _lost(self) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
        fault, rest = [], []
        for index, block in self.left.items():
            job = replace(self.jobs[index], block=block)
            if self.begun is not None and self._as_one:
                fault.append(job)
            elif self.begun is None or index != self.begun[0]:
                rest.append(job)
            else:
                part = self.begun[1]
                fault.append(job.of(part.first, part.count))
                before, after = part.first - block.first, block.seeds.stop - part.seeds.stop
                if before:  # trained, but not sent
                    rest.append(job.of(block.first, before))
                if after:
                    rest.append(job.of(part.seeds.stop, after))
        return tuple(fault), tuple(rest)

    def _too_late(self, fault: tuple[Job, ...]) -> Done:
        """A seed that exceeds its own limit alone has crashed; others train again, each alone."""
        part, seed = self._limits.part, self._limits.seed
        seeds, seconds = sum(job.block.count for job in fault), self.late or 0.0
        if seed is None or (part is not None and part < seed * seeds):
            return Done(fault, WorkerFailure("late", f"took longer than {part:g} s"), seconds)
        if seeds == 1:
            return Done(fault, [timed_out(fault[0].block, seed)], seconds)
        reason = f"took longer than {seed:g} s for each of {seeds} seeds"
        return Done(fault, WorkerFailure("slow", reason), seconds)

    def _ended(self, parts: Parts) -> tuple[Job, ...]:
        """Parts that have a result, as jobs."""
        self.begun = None
        ended = []
        for index, part in parts:
            job, left = self.jobs[index], self.left.pop(index)
            ended.append(job.of(part.first, part.count))
            if rest := left.count - part.count:
                self.left[index] = job.block.part(part.seeds.stop, rest)
        return tuple(ended)

    def _tell(self, done: Done) -> None:
        """Give out what has happened.

        A batch ends with a decided job, or with nothing, if it has decided jobs at all.
        """
        done = replace(done, worker=self.worker)
        is_ahead = bool(done.jobs) and all(job.ahead for job in done.jobs)
        if done.ends and is_ahead and not all(job.ahead for job in self.jobs):
            self._done.append(replace(done, ends=False))
            done = Done((), (), worker=self.worker)
        self._done.append(done)
        if done.ends:
            self.has_ended = True
            self._done.extend([Done((), ())] * (self._count - 1))


def timed_out(block: Block, limit: float) -> Outcome:
    """The outcome of a seed that took longer than its time limit."""
    reason = f"took longer than {limit:g} s"
    outcome = Outcome.crashed(block.seeds, 0, reason)
    # As of one that reports: it may be this seed alone, so that a check tries others too.
    return replace(outcome, details=replace(outcome.details, traceback=reason))


# -------------------------------------------------------------------------------------------------
# What trains instead of a batch without results.

ATTEMPTS = 3
"""Maximum number of attempts for a block that produces no outcome."""

MAX_PARTS = 16
"""Maximum number of parts that a block is split into. With at most so many seeds each part is one
seed, and only the seeds at fault cost a worker. Ray Tune keeps each part as a trial."""

CRASHES_TO_GIVE_UP = 8
"""Give up a configuration after this many crashed parts, if none has succeeded."""

MAX_MACHINE_LOSSES = 3
"""Node failures after which a block is retried as it is; more count as failed attempts."""


class Retries:
    """Decides what is trained instead of a batch without results.

    - A batch that no worker has begun is sent again as it is. So is one that has lost its machine,
      unless one of its blocks has lost so many machines that it may be what brings them down.
    - A batch that the system killed, as it does where memory is short, trains once more alone. If
      it is killed again, it is at fault.
    - Seeds that train together and take longer than their time limits in all train again, each
      alone with a time limit of its own.
    - A batch at fault that has several blocks is halved, until the block at fault is alone.
    - One block at fault has failed an attempt. The next attempt trains it as it is, because its
      worker may have died for another reason.
    - The last attempt at a block of a user's code is in parts. A part that fails is split again,
      until the seeds at fault are alone. Each costs a worker, so a configuration that kills one
      with every seed is given up early.

    Only of a user's code one seed may be at fault. With other trainers all seeds are alike: what
    kills is a block's size or its configuration.

    Args:
        users_code: whether the trainer runs a user's code.
        attempts: at a block that produces no outcome. With one, a block that kills its worker is
            split at once, no configuration is given up, and what a trainer raises is raised.
    """

    def __init__(self, *, users_code: bool, attempts: int) -> None:
        self._users_code, self._attempts = users_code, attempts
        # By the key of a config.
        self._crashes: defaultdict[str, list[TrainingError]] = defaultdict(list)
        self._succeeded: set[str] = set()
        # By `block_id`.
        self._machine_losses: Counter[tuple[str, int]] = Counter()
        self._had_second_chance: set[tuple[str, int]] = set()

    def gives_second_chance(self, jobs: Iterable[Job]) -> bool:
        """Whether a batch that the system killed trains once more: True once for each block."""
        ids = {block_id(job.block) for job in jobs}
        is_first = not ids & self._had_second_chance
        self._had_second_chance |= ids
        return is_first

    def after(self, jobs: tuple[Job, ...], failure: WorkerFailure) -> list[tuple[Job, ...]] | Job:
        """The batches to train instead of one that failed, or the job that has failed an attempt.

        Raises:
            Exception: what the trainer itself raised, if there is one attempt.
        """
        if failure.kind == "stopped" or (failure.kind == "node" and self._count_lost_machine(jobs)):
            return [jobs]
        if failure.cause is not None and self._attempts == 1:
            raise failure.cause
        if failure.kind == "slow":
            return [(seed,) for job in jobs for seed in job.split(job.block.count)]
        if len(jobs) > 1:
            middle = len(jobs) // 2
            return [jobs[:middle], jobs[middle:]]
        [job] = jobs
        if not self._users_code:
            return job
        if failure.kind == "late":
            job = self.at_last_attempt(job)  # another attempt would take as long
        if job.attempt < self._attempts:
            return job
        self._crashes[job.block.point.key].append(TrainingError(failure.reason))
        parts = self._parts(job)
        return [(part,) for part in parts] if len(parts) > 1 else job

    def next_attempt(self, job: Job) -> list[tuple[Job, ...]]:
        """The batches of the next attempt at a job; none after the last one."""
        if job.attempt >= self._attempts:
            return []
        return [(part,) for part in self._parts(replace(job, attempt=job.attempt + 1))]

    def at_last_attempt(self, job: Job) -> Job:
        """The job as if all other attempts had failed."""
        return replace(job, attempt=self._attempts)

    def error_if_given_up(self, job: Job) -> TrainingError | None:
        """The error of a job whose configuration is given up; None if it is not."""
        key = job.block.point.key
        if self._attempts == 1 or key in self._succeeded:
            return None
        crashes = self._crashes.get(key, [])
        return crashes[-1] if len(crashes) >= CRASHES_TO_GIVE_UP else None

    def succeeded(self, job: Job) -> None:
        """Note that a job has results."""
        self._succeeded.add(job.block.point.key)

    def _parts(self, job: Job) -> list[Job]:
        """The parts of a job at the last attempt at a user's code; else the job itself."""
        is_last = self._users_code and job.attempt >= self._attempts
        if not is_last or job.block.count == 1 or self.error_if_given_up(job):
            return [job]
        return job.split(min(MAX_PARTS, job.block.count))

    def _count_lost_machine(self, jobs: tuple[Job, ...]) -> bool:
        """Count the machine that a batch has lost; return whether it may lose another one."""
        ids = [block_id(job.block) for job in jobs]
        self._machine_losses.update(ids)
        return all(self._machine_losses[one] <= MAX_MACHINE_LOSSES for one in ids)


# -------------------------------------------------------------------------------------------------
# Seeds that cannot be tried; see `core.outages`. `batches.Batches` tries them again.

DOWN = 10
"""Void seeds in a row after which a service is taken to be down: where the share of void seeds is
that of all planned ones, the rest is not tried."""


def too_many_void(void: int, seeds: int, max_void: float, why: str) -> str:
    """The sentence that says so; `why` the last one could not be tried."""
    return (
        f"{void} of {seeds} seeds could not be tried, which is more than max_void ({max_void:g}) "
        f"allows; the last one: {why}"
    )
