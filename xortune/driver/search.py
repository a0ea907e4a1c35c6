"""The verb `search`, and its dry run: both check all that they are given before anything starts."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xortune.certificates.fresh import noted_certificate
from xortune.core.errors import DisturbedError, Halted, InputError, Interrupted, TrainingError
from xortune.core.files import without_passwords
from xortune.core.outcome import Failure
from xortune.core.trainer import Trainer
from xortune.driver.cluster import THIS_MACHINE, Cluster
from xortune.driver.process import exclusive, process_restored
from xortune.driver.subprocesses import ending_process, in_this_process, refuse_unsendable
from xortune.driver.trainer import (
    TRIES,
    Check,
    check_by_training,
    refuse_large,
    threads_of,
    trainer_for,
    with_train,
)
from xortune.driver.voice import Voice
from xortune.integrations.following import logging
from xortune.integrations.trackers import trackers_for
from xortune.racing.grants import raced, refuse_unprovable
from xortune.reports.files import write_report
from xortune.runs.lock import held, refuse_held
from xortune.runs.manifest import checked_labels, manifest_of
from xortune.runs.run import (
    RUNS,
    Run,
    fresh_directory,
    holds_run,
    load_run,
    next_directory,
    refuse_files_of_others,
)
from xortune.runs.sessions import continuation, end_of_session, now
from xortune.runs.status import Progress
from xortune.runs.store import StoredPath, driven, holds_lines
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import check_space, load_space, with_own, with_search
from xortune.trainers.command import CommandTrainer
from xortune.trainers.function import CustomTrainer
from xortune.trainers.limits import threads_for

if TYPE_CHECKING:
    from xortune.driver.loop import Executor
    from xortune.driver.propose import SharedStudy
    from xortune.driver.session import Resume
    from xortune.integrations.trackers import Tracker


SpaceLike: TypeAlias = SearchSpace | str | os.PathLike[str] | Mapping[str, Any]

Place: TypeAlias = str | os.PathLike[str] | None


@exclusive(ray=True)
@process_restored()
@ending_process()
def search(
    space: SpaceLike,
    *,
    output: Place = None,
    trials: int | None = None,
    seed: int | None = None,
    sampler: str | None = None,
    time_budget: float | str | None = None,
    resume: bool = False,
    extend: bool = False,
    accept_versions: bool = False,
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    engine: str = "auto",
    trial_timeout: float | str | None = None,
    study_storage: str | None = None,
    study_name: str | None = None,
    tensorboard: str | os.PathLike[str] | bool | None = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_certify: Callable[[int, int], None] | None = None,
    on_word: Callable[[str], None] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    command: Sequence[str] | None = None,
    train: Callable[..., Any] | None = None,
    dry_run: bool = True,
    fail_fast: bool = False,
    n_trials: int | None = None,
    note: str | None = None,
    tags: Iterable[str] | None = None,
    workers: int | None = None,
    verbose: int = 1,
) -> Run:
    """Search a space for the configuration that solves its task for the most seeds.

    Args:
        space: a space file, a loaded space, or the content of a file as a dict.
        output: the run's directory, or a URL such as s3://bucket/folder/run (see
            docs/durability.md); runs/NAME (or NAME-2, ...) if not given.
        trials: how many configurations; replaces the space file's.
        seed: the sampler's; replaces the space file's.
        sampler: replaces the space file's.
        time_budget: seconds, or "10m", counted from the start in the run's manifest. When it is
            over, no training begins; a certificate is made if it takes at most a tenth of the
            budget. The manifest says that the budget ended the search (`complete`, `stopped`), and
            `resume` continues it.
        resume: continue the run in `output` instead of refusing it. Only the number of trials may
            differ in the space; see docs/resume.md.
        extend: resume with a larger space: wider ranges, new choices, more `start` entries, a
            larger certificate.
        accept_versions: resume with another engine, torch or Numba than made the run. No count
            mixes blocks of different versions.
        address: of a Ray cluster. If not given, the search starts Ray on this machine, and stops
            it again.
        cpus_per_trial: logical CPUs for each Ray trial.
        gpus_per_trial: logical GPUs for each Ray trial; with fractions trials share one. Above 0,
            the engine `auto` is `cuda` if torch sees a GPU here; see docs/gpu.md.
        engine: what trains the built-in network on all workers: auto, fused, reference or cuda.
        trial_timeout: seconds, or "10m", for a batch of trainings. A worker that takes longer is
            killed, and a training that takes longer alone counts as crashed.
        study_storage: journal://PATH, sqlite:///PATH or postgresql://...: an Optuna study in which
            several searches take part, each with its own run; see docs/cluster.md.
        study_name: of that study; derived from the space if not given.
        tensorboard: log each config for TensorBoard, as `log` does.
        mlflow: log each config to MLflow, as `log` does.
        wandb: log each config to W&B, as `log` does. A tracker that fails does not end the search.
        on_progress: called after each finished evaluation.
        on_certify: called with the fresh seeds done and all of them, if the space asks for a
            certificate.
        on_word: called with a sentence that the user should read, for example that the lock of a
            killed search was taken over.
        on_failure: called with the first seed that fails; if not given, stderr shows it.
        command: the command line, for the manifest.
        train: a function of your own that trains instead of the built-in network:
            f(config, seed), or f(config, seeds) for all seeds of a block at once; see
            docs/own-trainer.md. A space file may name it too.
        dry_run: whether to call a function of your own once before a new run begins, in a process
            of its own.
        fail_fast: end the search at the first seed that fails; `resume` continues it.
        n_trials: Optuna's name for `trials`.
        note: a sentence about the run, for its manifest, `status` and the report.
        tags: words for the same places; with `resume` they are added to the run's tags.
        workers: how many trials run at once on this machine; as many as its CPUs allow if not
            given. 0 starts no Ray and trains in this process, one seed after the other, for a
            debugger; with `fail_fast` the cause of the TrainingError is then the seed's exception.
        verbose: 0 shows nothing; 1 shows the progress on a terminal or in a notebook, sentences
            that the user should read and the first failure; 2 shows each step in a line. If your
            program has set up logging, the sentences go to the logger `xortune`.

    Returns:
        The run, with its tables and report written.

    Raises:
        InputError: an argument or the space file is not usable; nothing was overwritten.
        TrainingError: a seed failed, and `fail_fast` was given. The run keeps what had finished.
        Halted: Ray has ended. The run keeps what had finished.
        KeyboardInterrupt: the user interrupted. The run keeps what had finished, its report is
            written, and `resume` continues it. The argument is the run's directory.
        DisturbedError: an InputError; somebody replaced or removed the run's files meanwhile. The
            message says where the finished results are.
    """
    from xortune.driver import session

    if n_trials is not None:
        if trials is not None:
            raise InputError(
                "given together with trials", field="n_trials", allowed="one of the two"
            )
        trials = n_trials
    labels = checked_labels(note, tags)
    resume, voice = resume or extend, Voice(verbose, on_word)
    raised: list[BaseException] = []  # in this process, if it trains
    space = with_train(_loaded(space), train)
    asked = _checked(
        with_search(space, trials=trials, sampler=sampler, seed=seed, time_budget=time_budget),
        output,
        resume=resume,
        train=train,
        engine=engine,
        address=address,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus_per_trial,
        trial_timeout=trial_timeout,
        workers=workers,
        on_raise=raised.append,
        counted=True,
        study_storage=study_storage,
        study_name=study_name,
        tensorboard=tensorboard,
        mlflow=mlflow,
        wandb=wandb,
        dry_run=dry_run,
        on_word=voice.inform,
    )
    if asked.check is not None and (
        cost := session.cost_of(asked.space, asked.cluster, asked.check)
    ):
        voice.inform(cost)
    if on_failure is None and not asked.space.task:
        on_failure = voice.fail
    # The command is for a manifest that others may read.
    terms = session.Resume(extend, accept_versions, command and without_passwords(command))
    return _searched(
        asked,
        output,
        voice,
        resume=resume,
        terms=terms,
        on_progress=on_progress,
        on_certify=on_certify,
        on_failure=on_failure,
        labels=labels,
        fail_fast=fail_fast,
        raised=raised,
    )


@exclusive(ray=True)
@process_restored()
def search_with(
    executor: Executor,
    trainer: Trainer,
    space: SpaceLike,
    output: Place,
    *,
    resume: bool = False,
    dry_run: bool = True,
    command: Sequence[str] | None = None,
) -> Run:
    """As `search`, but trained by another executor than this process and Ray.

    Args:
        executor: trains what is decided, the space's certificate included.
        trainer: what it trains with; its `train` is called for the dry run.
        space: without a trainer of its own.
        output: as in `search`.
        resume: as in `search`.
        dry_run: whether one seed is trained before a new run begins.
        command: the command line, for the manifest.

    Raises:
        InputError: as `search`.
        KeyboardInterrupt: as `search`.
    """
    from xortune.driver import session

    own, voice = with_own(_loaded(space)), Voice(0, None)
    check_space(own, trainer)
    refuse_unprovable(own)
    goes_on = resume and _holds(_directory(own, output, resume=resume))
    check = check_by_training(own, trainer) if dry_run and not goes_on else None
    return _searched(
        _Checked(own, trainer, THIS_MACHINE, None, (), check),
        output,
        voice,
        resume=resume,
        terms=session.Resume(command=command and without_passwords(command)),
        on_failure=voice.fail,
        executor=executor,
    )


def _searched(
    asked: _Checked,
    output: Place,
    voice: Voice,
    *,
    resume: bool,
    terms: Resume,
    on_progress: Callable[[Progress], None] | None = None,
    on_certify: Callable[[int, int], None] | None = None,
    on_failure: Callable[[Failure], None] | None = None,
    labels: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    raised: Sequence[BaseException] = (),
    executor: Executor | None = None,
) -> Run:
    """The run of a search that is checked, from its first line to its report."""
    from xortune.driver import certify, importance, session

    space, trainer, limit = asked.space, asked.trainer, asked.space.search.time_budget
    here = executor is not None or asked.cluster.workers == 0
    directory = _directory(space, output, resume=resume)
    failed: TrainingError | Halted | None = None
    # Held to the end, since tables and report are this driver's too; logged to the end after that.
    with (
        _interrupted_at(directory),
        logging(directory, asked.trackers),
        held(directory, say=voice.warn),
        voice.searching(on_progress, on_certify, raced=raced(space)) as (show, show_certified),
    ):
        began = time.monotonic()
        with ThreadPoolExecutor(1) as reader, ExitStack() as workers:
            try:
                complete = session.search_session(
                    space,
                    trainer,
                    directory,
                    cluster=asked.cluster,
                    shared=asked.shared,
                    resume=terms,
                    listener=session.Listener(show, show_certified, voice.warn, on_failure),
                    labels=labels,
                    fail_fast=fail_fast,
                    seconds=None if asked.check is None else asked.check.seconds,
                    stacking=None if asked.check is None else asked.check.stacking,
                    executor=executor,
                    ends=workers,
                )
            except (TrainingError, Halted) as error:
                complete, failed = False, error
                error.__cause__ = raised[0] if raised else None
            except InputError as error:
                # Made for this search only, if nothing was put back there.
                new = output is None and not resume and not isinstance(error, DisturbedError)
                if new and not holds_run(directory):
                    shutil.rmtree(directory, ignore_errors=True)
                raise
            reading = reader.submit(load_run, directory)  # while they end, which takes a second
        run = reading.result()
        if complete:
            run, complete = certify.certified(
                run,
                trainer,
                most=certify.seconds_for_certificate(limit, time.monotonic() - began),
                cluster=None if here else asked.cluster,
                accept=terms.accept_versions,
                on_progress=show_certified,
            )
        else:
            noted_certificate(run)  # of what it has, if it was interrupted while it certified
        timed_out = limit is not None and run.manifest.get("complete") is False
        how = _ending(failed, limit if timed_out else None, complete=complete)
        if asked.check is not None and asked.check.note:
            how["seeds_at_once"] = asked.check.note
        matters = importance.importance(run, space).entries()
        run = run.noted(**matters, **how, **end_of_session(run, **how))
        write_report(run)
        if not complete:
            raise failed or KeyboardInterrupt
        return run


@dataclass(frozen=True)
class DryRun:
    """What a search would do.

    Attributes:
        space: what it would search.
        directory: where its run would be.
        continues: evaluations that the run there has; 0 for a new one.
        notes: what would be said of going on with it.
    """

    space: SearchSpace
    directory: Path
    continues: int = 0
    notes: tuple[str, ...] = ()


@ending_process()
def dry_run(
    space: SpaceLike,
    *,
    output: Place = None,
    resume: bool = False,
    extend: bool = False,
    accept_versions: bool = False,
    **options: Any,
) -> DryRun:
    """Check all that `search` is given, as it does, and say what it would do. Nothing is started.

    Arguments are named as in `search`: `dry_run` is whether a function of a user's own is called
    once, which is all that may take time.

    Raises:
        InputError: what `search` refuses before it starts, of a run to go on with too.
    """
    resume = resume or extend
    asked = _checked(with_train(_loaded(space), None), output, resume=resume, **options)
    wanted = _wanted(asked.space, output)
    if resume and _holds(wanted):
        refuse_held(wanted)
        before = load_run(output if output is not None else wanted)
        notes = continuation(
            asked.space, asked.trainer, before, extend=extend, accept_versions=accept_versions
        ).notes
        return DryRun(asked.space, wanted, len(before.evaluations), tuple(notes))
    if output is None and not resume:
        return DryRun(asked.space, next_directory(RUNS, asked.space.name))
    return DryRun(asked.space, _directory(asked.space, output, resume=resume))


# -------------------------------------------------------------------------------------------------
# What a search is made of, once all that it is given is found to be usable.


@dataclass(frozen=True)
class _Checked:
    space: SearchSpace
    trainer: Trainer
    cluster: Cluster
    shared: SharedStudy | None
    trackers: tuple[Tracker, ...]
    check: Check | None
    """What a call of the user's function came to; None if it was not called."""


def _loaded(space: SpaceLike) -> SearchSpace:
    return space if isinstance(space, SearchSpace) else load_space(space)


def _checked(
    space: SearchSpace,
    output: Place,
    *,
    resume: bool,
    train: Callable[..., Any] | None = None,
    engine: str = "auto",
    address: str | None = None,
    cpus_per_trial: float = 1.0,
    gpus_per_trial: float = 0.0,
    trial_timeout: float | str | None = None,
    workers: int | None = None,
    on_raise: Callable[[BaseException], None] | None = None,
    counted: bool = False,
    study_storage: str | None = None,
    study_name: str | None = None,
    dry_run: bool = True,
    on_word: Callable[[str], None] | None = None,
    **trackers: Any,
) -> _Checked:
    """Check what a search is given; one call of a user's own trainer is part of that.

    Nothing is written, and nothing started that goes on but the process in which the function was
    called: it may train.
    """
    from xortune.driver import session
    from xortune.driver.propose import shared_study

    cluster = Cluster.of(address, cpus_per_trial, gpus_per_trial, trial_timeout, workers)
    shared = shared_study(space, study_storage, study_name)
    told = trackers_for(output, **trackers)
    wanted = _wanted(space, output)
    # The manifest of a run in a store is not here yet: other threads are refused when it is.
    goes_on = resume and not isinstance(wanted, StoredPath)
    threads = threads_of(manifest_of(wanted)) if goes_on else None
    check = None
    threads, here = threads or threads_for(cpus_per_trial), cluster.workers == 0
    trainer = trainer_for(space, train, engine, gpus_per_trial, threads, here=here)
    if here:
        trainer = in_this_process(trainer, on_raise or _ignored)
    check_space(space, trainer)
    if address is None:  # the machines of a cluster are not known yet
        refuse_large(space, trainer)
    if not resume:  # a run from before this was refused can be finished
        refuse_unprovable(space)
    if not here:
        refuse_unsendable(trainer)
    if dry_run and output is not None:  # what is refused is so before the function is called
        _directory(space, output, resume=resume)
    if dry_run and not (resume and _holds(wanted)):
        # Elsewhere it may be trained on a GPU, and here not.
        counts = counted and shared is None and not (address or gpus_per_trial)
        points = session.first_proposals(space, trainer, TRIES) if counts else []
        alone = counted and shared is None
        check = check_by_training(
            *(space, trainer, points),
            counts=bool(points),
            most=cluster.trial_timeout,
            processes=session.processes_here(space, trainer, cluster) if alone else 0,
        )
        known = {} if check is None else check.known
        if known and isinstance(trainer, CustomTrainer | CommandTrainer):
            trainer = replace(trainer, known=known)
        if check is not None and on_word is not None:
            on_word("; ".join(filter(None, (check.sentence, check.note))))
    return _Checked(space, trainer, cluster, shared, told, check)


def _ignored(error: BaseException) -> None:
    """Of a dry run nobody asks what it raised."""


def _wanted(space: SearchSpace, output: Place) -> Path:
    return driven(output) if output is not None else Path(RUNS) / space.name


def _holds(path: Path) -> bool:
    return holds_lines(path) if isinstance(path, StoredPath) else holds_run(path)


def _directory(space: SearchSpace, output: Place, *, resume: bool) -> Path:
    """Where the run goes, or goes on."""
    if not resume:
        fix = "continue it with --resume, or give another --output"
        return new_directory(output, space.name, fix=fix)
    if not _holds(wanted := _wanted(space, output)):
        refuse_files_of_others(wanted)
    return wanted


def new_directory(output: Place, name: str, *, fix: str) -> Path:
    """Where a new run goes: runs/NAME, or NAME-2, ..., if `output` is not given.

    Raises:
        InputError: there is a run, or files of others.
    """
    if output is None:
        return fresh_directory(RUNS, name)
    wanted = driven(output)
    if _holds(wanted):
        refuse_held(wanted)  # says who is at it
        raise InputError("already holds a run", place=str(wanted), fix=fix)
    refuse_files_of_others(wanted)
    return wanted


# -------------------------------------------------------------------------------------------------
# How it ends.


@contextmanager
def _interrupted_at(directory: Path) -> Iterator[None]:
    """Whoever is told that the search was interrupted is told where the run is."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(str(directory)) from None
    except Halted as error:
        error.place = str(directory)
        raise


def _ending(
    failed: TrainingError | Halted | None, over: float | None, *, complete: bool
) -> dict[str, str | None]:
    """For the manifest: how a session ended, and the time budget that was over, if it was."""
    at = now()
    if complete:
        stopped = None if over is None else f"the time budget of {over:g} s was over at {at}"
        return {"finished": at, "stopped": stopped}
    why = "by the user" if failed is None else f"by a seed that failed ({failed})"
    if isinstance(failed, Halted):
        why = f"({failed})"
    return {"stopped": f"interrupted {why} at {at}"}
