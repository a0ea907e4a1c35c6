"""Fresh seeds for finalists: the blocks of a certificate, trained like those of a search."""

from __future__ import annotations

import math
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xortune.certificates.fresh import Call, CertificateTask, noted_certificate, tasks_of
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import NOT_FINISHED, Block, Trainer, runs_users_code
from xortune.driver.batches import LEAST_SECONDS, SHARE, Batches
from xortune.driver.cluster import Cluster, connected, slots
from xortune.driver.jobs import ATTEMPTS, BlockSource, Job, trained
from xortune.driver.local_executor import RAY_SECONDS
from xortune.driver.own_process import ProcessEnded, let_go, let_go_after
from xortune.driver.process import alone
from xortune.driver.ray_executor import run_trials
from xortune.runs.certificate import Certificate
from xortune.runs.evaluation import EncodedOutcome, Evaluation, Purpose
from xortune.runs.journal import FSYNC_SECONDS, Journal
from xortune.runs.manifest import MANIFEST, is_imported, manifest_of
from xortune.runs.resume import changed_trainer
from xortune.runs.run import JOURNAL, Run, load_run
from xortune.runs.sessions import Continuation, begin_session, held_journal, identity_of, made_id
from xortune.trainers.network import usable_cores

# -------------------------------------------------------------------------------------------------
# The blocks of a certificate: planned beforehand, handed out like those of a search.
#
# Knows neither Ray nor Optuna. `BlockQueue` decides block by block what a search trains next; here
# all seeds are known from the start, and what is left to decide is how finely they are split.

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
        tasks: Sequence[CertificateTask],
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
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
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

    def _size(self, task: CertificateTask) -> int:
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

    def __init__(self, first: BlockSource, then: Callable[[], BlockSource | None]) -> None:
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
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
    ) -> None:
        """A result for the one whose turn it is."""
        self._now.receive(job, result, seconds=seconds, worker=worker)


def train_here(source: BlockSource, trainer: Trainer) -> None:
    """Train all blocks of a source on this machine without Ray, one after the other.

    A user's function is called in a process of its own, and what ends that is treated as what kills
    a worker of Ray's.
    """
    worker = f"{socket.gethostname()}:{os.getpid()}"
    packs = Batches(source, trainer, slots=1, most=1)
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


# -------------------------------------------------------------------------------------------------
# One call for a certificate: from a run to fresh seeds in its journal, and certificate.json.
#
# Its blocks go through one queue (`driver.certifying`), and from there to Ray Tune like those of a
# search: by the same packs, with the same retries, on the same cluster. Right after a search they
# follow its own on the workers that are there already. Otherwise Ray would have to be started, and
# with it workers that import and compile what they train with: where all of it takes less time
# than that and no cluster is named, the queue is emptied in this process.


def certify_run(
    path: Path,
    trainer: Trainer,
    call: Call,
    *,
    cluster: Cluster | None = None,
    here: Trainer | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    accept_versions: bool = False,
    session: Mapping[str, Any] | None = None,
) -> Certificate:
    """Train a run's finalists on fresh seeds, and write certificate.json.

    Args:
        path: the run's directory; nothing else may be writing to it.
        trainer: what trained the run; it is sent to the workers.
        call: what is asked for.
        cluster: trains what is worth it, or all if it has an address or a timeout; without it all
            is trained in this process.
        here: what trains in this process, if it is not as on a worker: on all cores, for instance.
        on_progress: called with the seeds done and all seeds, at first and after each block.
        on_word: called with a sentence for the user.
        accept_versions: whether an attempt that was begun with another engine or other versions may
            be left as it is, and a new one begun.
        session: what the manifest says of this session, if it is not that of a search.

    Raises:
        InputError: nothing to certify, an attempt that cannot be extended or was begun with another
            engine or version, no fresh seeds left, a cluster that cannot be reached or is too
            small, or a directory that cannot be written.
        KeyboardInterrupt: the user interrupted; an equal call continues.
    """
    identity = identity_of(trainer.describe())
    with ExitStack() as stack:
        stack.enter_context(alone())
        # Nobody else takes seeds meanwhile.
        journal = stack.enter_context(held_journal(path / JOURNAL, made_id(identity), say=on_word))
        run = load_run(path)
        tasks = tasks_of(run, trainer, call, accept=accept_versions)
        pace = _pace(run, tasks, trainer)
        if cluster is not None and cluster.address is None and cluster.trial_timeout is None:
            seconds = pace * sum(_estimated(task, trainer) for task in tasks)
            if seconds / usable_cores() < RAY_SECONDS and not _deadly(run, trainer):
                cluster = None
        room = 1
        if cluster is not None:
            stack.enter_context(connected(cluster.address))
            room = slots(cluster.cpus_per_trial, cluster.gpus_per_trial)
        others = changed_trainer(run.manifest, identity, str(path / MANIFEST))
        if others and on_word is not None:
            on_word(_apart(run, others))
        if session is not None:
            attempts = {"attempt": tasks[0].purpose.attempt} if tasks else {}
            begin_session(path, Continuation({**session, **attempts}), identity)
            run = replace(run, manifest=manifest_of(path))
        queue = CheckQueue(tasks, trainer, journal, slots=room, pace=pace, on_progress=on_progress)
        try:
            _train(queue, trainer, here or trainer, cluster, path, say=on_word)
        finally:
            made = made_id(identity)
            certificate = noted_certificate(run, [replace(e, made=made) for e in queue.lines])
    assert certificate is not None
    return certificate


def _deadly(run: Run, trainer: Trainer) -> bool:
    """Whether a user's code may have killed its process: blocks of the run came to nothing."""
    lines = (*run.evaluations, *run.checks)
    return runs_users_code(trainer) and any(
        line.outcome is None and line.error != NOT_FINISHED for line in lines
    )


def _apart(run: Run, others: Sequence[tuple[str, str, str]]) -> str:
    """Why the search's counts are not those of these seeds: name, before, now of what changed."""
    if is_imported(run.manifest):
        return (
            "whether this trainer made what was imported is not known: its counts stand beside "
            "those that were imported"
        )
    shown = ", ".join(f"{name}: {before} -> {now}" for name, before, now in others)
    return f"the search was made with other versions ({shown}): its counts are not these"


def _train(
    queue: CheckQueue,
    trainer: Trainer,
    here: Trainer,
    cluster: Cluster | None,
    path: Path,
    *,
    say: Callable[[str], None] | None,
) -> None:
    if cluster is None:
        train_here(queue, here)
        return

    let_go()  # the process in which the function was looked at
    folder = path.resolve() / "ray"
    if not run_trials(queue, trainer, cluster=cluster, folder=folder, say=say):
        raise KeyboardInterrupt


def queue_after(
    run: Run,
    trainer: Trainer,
    call: Call,
    journal: Journal,
    *,
    slots: int,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckQueue:
    """The blocks of a certificate that follow those of a search, into the same journal.

    Who empties the queue notes the certificate (`noted_certificate`) when it is over.

    Args:
        run: the search, as its journal holds it now.
        trainer: as in `certify_run`.
        call: what is asked for.
        journal: of the run.
        slots: trials that run at once.
        accept_versions: as in `certify_run`.
        on_progress: as in `certify_run`.

    Raises:
        InputError: as `tasks_of`.
    """
    tasks = tasks_of(run, trainer, call, accept=accept_versions)
    pace = _pace(run, tasks, trainer)
    return CheckQueue(tasks, trainer, journal, slots=slots, pace=pace, on_progress=on_progress)


def _estimated(task: CertificateTask, trainer: Trainer) -> float:
    """Seconds of one core, as the trainer says."""
    if not task.seeds:
        return 0.0
    return trainer.cost(Block(task.point, task.seeds[0].start, task.count))


def _pace(run: Run, tasks: Sequence[CertificateTask], trainer: Trainer) -> float:
    """How many times as long as the trainer says the finalists took in the search; 1 at least.

    By the fastest of their blocks: the first of a worker also took what it imported and compiled.
    """
    finalists = {task.purpose.finalist for task in tasks}
    ratios = [
        line.seconds / cost
        for line in run.evaluations
        if line.outcome is not None
        and line.block.point.key in finalists
        and (cost := trainer.cost(line.block)) > 0
    ]
    return max(1.0, min(ratios, default=1.0))
