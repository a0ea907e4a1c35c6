"""What trains instead of a batch without results, and which exceptions say nothing of a seed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import replace

from xortune.core.errors import TrainingError
from xortune.training.jobs import Job, WorkerFailure
from xortune.training.worker import block_id

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
        if failure.kind in ("setup", "stopped"):
            return [jobs]
        if failure.kind == "node" and self._count_lost_machine(jobs):
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
