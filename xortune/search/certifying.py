"""One call for a certificate: from a run to fresh seeds in its journal, and certificate.json.

Its blocks go through one queue (`xortune.search.checks`), and from there to Ray Tune like those of
a search: by the same packs, with the same retries, on the same cluster. Right after a search they
follow its own on the workers that are there already. Otherwise Ray would have to be started, and
with it workers that import and compile what they train with: where all of it takes less time than
that and no cluster is named, the queue is emptied in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from xortune.certify import Call, noted_certificate, tasks_of
from xortune.certify_plan import Task
from xortune.engine.network import usable_cores
from xortune.imported import is_imported
from xortune.journal import Journal
from xortune.run import JOURNAL, Run, load_run
from xortune.run_certificate import Certificate
from xortune.run_manifest import MANIFEST, manifest_of
from xortune.run_sessions import (
    Continuation,
    begin_session,
    held_journal,
    identity_of,
    made_id,
)
from xortune.run_versions import changed_trainer
from xortune.search.checks import CheckQueue, train_here
from xortune.search.cluster import Cluster
from xortune.search.meanwhile import RAY_SECONDS
from xortune.search.own_process import let_go
from xortune.search.process import alone
from xortune.trainer import NOT_FINISHED, Block, Trainer, runs_users_code

__all__ = ["certify_run", "queue_after"]


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
            from xortune.search.ray_tune import connected, slots

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
    from xortune.search.ray_tune import run_trials

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


def _estimated(task: Task, trainer: Trainer) -> float:
    """Seconds of one core, as the trainer says."""
    if not task.seeds:
        return 0.0
    return trainer.cost(Block(task.point, task.seeds[0].start, task.count))


def _pace(run: Run, tasks: Sequence[Task], trainer: Trainer) -> float:
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
