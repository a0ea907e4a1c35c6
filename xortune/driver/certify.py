"""The verb `certify`, and what a search does when its space file asks for a certificate."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xortune.certificates.fresh import Call, noted_certificate
from xortune.core.errors import InputError
from xortune.driver.own_process import let_go_after
from xortune.driver.process import as_before
from xortune.driver.trainer import own_of_run
from xortune.integrations.export import task_of
from xortune.reports.files import write_report
from xortune.reports.tables import certify_command
from xortune.runs.certificate import certificate_of
from xortune.runs.manifest import MANIFEST
from xortune.runs.resume import session_entry
from xortune.runs.run import Run, load_run
from xortune.runs.sessions import CERTIFIED, last_identity
from xortune.runs.store import driven
from xortune.spaces.model import parse_duration
from xortune.trainers.network import NetworkTrainer, engine_described, usable_cores

if TYPE_CHECKING:
    from xortune.core.trainer import Trainer
    from xortune.driver.certifying import CheckQueue
    from xortune.driver.cluster import Cluster
    from xortune.runs.certificate import Certificate
    from xortune.runs.journal import Journal


FINALISTS = 5
"""How many a search certifies by itself."""

AFTERWARDS = 0.1
"""A search whose time is over still certifies if that takes at most this share of its budget: it is
what makes the result believable, and mostly takes seconds."""


@as_before()
def certify(
    run: Run | str | os.PathLike[str],
    *,
    top: int | None = None,
    seeds: int = 1000,
    confidence: float | None = None,
    extendable: bool = False,
    extend: bool = False,
    neighbourhood: float | None = None,
    by: str | None = None,
    trainer: Trainer | None = None,
    engine: str | None = None,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    trial_timeout: float | str | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    command: Sequence[str] | None = None,
    train: Callable[..., Any] | None = None,
) -> Certificate:
    """Train the best configs of a run on seeds that the search never saw, and bound their rates.

    With a probability of at least `confidence` all lower bounds of all attempts of the run hold
    together: see `runs.certificate`. The result is in the run's certificate.json too, and
    every block in its journal. A call that was interrupted is continued by the same call.

    Args:
        run: a run, or its directory.
        top: how many configs, the first in the search's own order; 5 if not given.
        seeds: fresh seeds for each, one number planned beforehand; with `extend`, how many more.
        confidence: of all bounds together; 0.95 if not given.
        extendable: begin an attempt whose seeds may be added to later: its bound is the anytime
            one, a little lower.
        extend: add seeds to the last attempt, which was begun as extendable.
        neighbourhood: also measure each config with its numeric settings moved: 0.2 moves those on
            a log scale by factors of 1/1.2 and 1.2, others by 5 % of their range.
        by: what orders the finalists, and so which one `gate` and `export` take: `own`, the lower
            bound of each (if not given), or `neighbourhood`, the lower bound of the worst among it
            and its neighbours.
        trainer: what trained the run, if it was not the built-in network.
        engine: of the built-in network: auto, fused, reference or cuda; that of the search if not
            given.
        address: of a Ray cluster, which then trains all of it. By default Ray is started on this
            machine, and shut down again; where the training takes less time than that (some
            seconds, by what the search measured), it is done in this process.
        cpus_per_trial: logical CPUs for each Ray trial.
        gpus_per_trial: logical GPUs for each Ray trial; fractions share one.
        trial_timeout: as of `search`; what is trained on Ray only can be stopped, and so all is.
        accept_versions: leave an attempt that was begun with another engine, torch or Numba, and
            begin a new one.
        on_progress: called with the seeds done and all seeds.
        on_word: called with a sentence that the user should read.
        command: the command line, for the manifest.
        train: your own function that trained the run, if its space does not name it.

    Raises:
        InputError: an argument that is not usable, nothing to certify, an attempt that cannot be
            extended or was begun with other versions, a cluster that cannot be reached, or a task
            that is no longer the run's.
        KeyboardInterrupt: the user interrupted; the same call continues.
    """
    from xortune.driver.certifying import certify_run

    if extend:
        begun = {"top": top, "confidence": confidence, "extendable": extendable, "by": by}
        for name, given in begun.items():
            if given not in (None, False):
                raise InputError(
                    f"{given} for an attempt that is extended",
                    field=name,
                    allowed="at the beginning of an attempt: what it was begun with stays",
                    fix="leave it out",
                )
    cluster = cluster_of(address, cpus_per_trial, gpus_per_trial, trial_timeout)
    loaded = run if isinstance(run, Run) else load_run(run)
    call = Call(
        top=FINALISTS if top is None else top,
        seeds=seeds,
        confidence=0.95 if confidence is None else confidence,
        extendable=extendable,
        extend=extend,
        neighbourhood=neighbourhood,
        by="own" if by is None else by,
    )
    # Workers elsewhere may have the GPUs that this machine lacks.
    elsewhere = gpus_per_trial if address is not None else 0.0
    with let_go_after():
        if trainer is None:
            trainer = trainer_of(loaded, engine, elsewhere, train=train, accept=accept_versions)
        worker, here = with_cores(trainer, gpus=gpus_per_trial)
        certificate = certify_run(
            driven(loaded.path),
            worker,
            call,
            cluster=cluster,
            here=here,
            on_progress=on_progress,
            on_word=on_word,
            accept_versions=accept_versions,
            session={"what": CERTIFIED, **session_entry(command)},
        )

    write_report(_told_of(load_run(loaded.path)), formats=["html", "md", "tex"])
    return certificate


def following(
    path: Path,
    trainer: Trainer,
    journal: Journal,
    slots: int,
    *,
    most: float | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckQueue | None:
    """The certificate that a search's space asks for, as blocks that follow those of the search.

    Args:
        path: of the run, whose search is done.
        trainer: of the search.
        journal: of the run.
        slots: trials that run at once.
        most: as in `certified`, which is to be called in any case when all is trained.
        accept_versions: as in `certified`.
        on_progress: called with the seeds done and all seeds.

    Returns:
        None where `certified` would do nothing, or leave it out.

    Raises:
        InputError: no fresh seeds are left, or an attempt was begun with other versions.
    """
    from xortune.driver.certifying import queue_after

    run = load_run(path)
    call = _lacking(run)
    if call is None or (most is not None and _seconds(run, call) > most):
        return None
    return queue_after(
        run,
        trainer,
        call,
        journal,
        slots=slots,
        accept_versions=accept_versions,
        on_progress=on_progress,
    )


def certified(
    run: Run,
    trainer: Trainer,
    *,
    most: float | None = None,
    cluster: Cluster | None = None,
    accept_versions: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Run, bool]:
    """Certify the finalists of a search that is done, if its space asks for that.

    Nothing is trained where no config solved a seed, or where the finalists are certified already:
    the blocks followed those of the search, or a finished search is resumed, which must not spend
    another attempt.

    Args:
        run: the search.
        trainer: of the search.
        most: how many seconds it may take, by what the search measured. If it takes more it is not
            begun, and the entry `not_certified` of the manifest has the command that does it.
        cluster: where it may be trained; without it in this process.
        accept_versions: whether an attempt that other versions began may be left; see `certify`.
        on_progress: called with the seeds done and all seeds.

    Returns:
        The run as it is then, and False if the user interrupted; resuming the search continues.

    Raises:
        InputError: the directory cannot be written, or there is no such cluster.
    """
    from xortune.driver.certifying import certify_run

    call = _lacking(run)
    if call is None:
        return (_told_of(run) if noted_certificate(run) else run), True
    if most is not None and (seconds := _seconds(run, call)) > most:
        return run.noted(not_certified=_left_out(run, call.seeds, seconds)), True
    worker, here = with_cores(trainer)
    try:
        certify_run(
            run.path,
            worker,
            call,
            cluster=cluster,
            here=here,
            accept_versions=accept_versions,
            on_progress=on_progress,
        )
    except KeyboardInterrupt:
        return load_run(run.path), False
    return _told_of(load_run(run.path)), True


def _lacking(run: Run) -> Call | None:
    """What its space asks for and the run does not have; None if there is no such thing."""
    seeds, solving = run.asked.seeds.certify, _solving(run)
    if seeds is None or not solving:
        return None
    known = certificate_of(run.checks)
    for attempt in known.attempts if known is not None else ():
        ranked = sorted(attempt.finalists, key=lambda found: found.rank)
        if attempt.complete and attempt.seeds >= seeds and [f.key for f in ranked] == solving:
            return None
    return Call(top=FINALISTS, seeds=seeds)


def _solving(run: Run) -> list[str]:
    """Whom a search certifies."""
    return [result.key for result in run.results[:FINALISTS] if result.outcome.successes]


def cluster_of(
    address: str | None,
    cpus_per_trial: float,
    gpus_per_trial: float,
    trial_timeout: float | str | None = None,
) -> Cluster:
    """Where to train.

    Raises:
        InputError: no share of a CPU, less than none of a GPU, a timeout that is no duration.
    """
    from xortune.driver.cluster import Cluster

    for name, amount, least in (
        ("cpus_per_trial", cpus_per_trial, "above 0"),
        ("gpus_per_trial", gpus_per_trial, "0 or more"),
    ):
        if not amount >= 0 or (least == "above 0" and amount == 0):
            raise InputError(f"{amount} is out of range", field=name, allowed=least)
    try:
        limit = None if trial_timeout is None else parse_duration(trial_timeout)
    except InputError as error:
        raise InputError(
            error.problem, field="trial_timeout", allowed=error.allowed, fix=error.fix
        ) from None
    return Cluster(address, cpus_per_trial, gpus_per_trial, limit)


def with_cores(trainer: Trainer, *, gpus: float = 0.0) -> tuple[Trainer, Trainer]:
    """The trainer for a worker, which has one core, and the one for this process, with all."""
    if not isinstance(trainer, NetworkTrainer):
        return trainer, trainer
    worker = replace(trainer, threads=1, gpus=trainer.gpus or gpus)
    return worker, replace(worker, threads=usable_cores())


def _seconds(run: Run, call: Call) -> float:
    """About how long certifying takes on all cores of this machine, as the search's blocks did."""
    each = 0.0
    for key in _solving(run):
        lines = [e for e in run.evaluations if e.block.point.key == key and e.outcome is not None]
        each += sum(e.seconds for e in lines) / sum(e.block.count for e in lines)
    return each * call.seeds / usable_cores()


def _left_out(run: Run, seeds: int, seconds: float) -> dict[str, str | float]:
    """For the manifest: why there is no certificate, what makes it, and how long that takes."""
    words = shlex.join(["xortune", "certify", str(run.path), "--seeds", str(seeds)])
    return {
        "why": "the time budget had run out",
        "command": certify_command(run, seeds, str(run.path)) or words,
        "seconds": seconds,
    }


def _told_of(run: Run) -> Run:
    """The run, without a word about the certificate that it lacked before."""
    return run.noted(not_certified=None) if run.manifest.get("not_certified") else run


def trainer_of(
    run: Run,
    engine: str | None,
    gpus: float,
    *,
    train: Callable[..., Any] | None = None,
    accept: bool = False,
) -> Trainer:
    """What trained the search, or the same with another engine.

    Args:
        run: the search.
        engine: of the built-in network; that of the search if not given.
        gpus: of each trial.
        train: the user's own function, where the run's space does not name it.
        accept: whether such a function may be another than that of the search.

    Raises:
        InputError: its task is no longer the run's, such an engine is not there, or the user's own
            function cannot be loaded or has changed.
    """
    if not run.is_network:
        return own_of_run(run, train, accept=accept)
    if engine is None:
        engine = engine_described(last_identity(run.manifest, str(run.path / MANIFEST)))
    trainer = NetworkTrainer(task_of(run), engine, gpus if engine == "cuda" else 0)
    try:
        trainer.describe()  # refuses an engine that is not there
    except InputError as error:
        if engine != "cuda":
            raise
        raise InputError(
            error.problem,
            field="engine",
            fix="certify on a machine with a GPU, name a cluster with --address and "
            "--gpus-per-trial, or train by another engine than the search: --engine auto",
        ) from None
    return trainer
