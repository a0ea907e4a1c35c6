"""The verb `search`, from its checks to its report, and its dry run."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, Unpack, overload

from xortune.certificates.fresh import save_certificate
from xortune.core.errors import (
    DisturbedError,
    Halted,
    InputError,
    Interrupted,
    TrainingError,
    command_line,
    error_text,
    memory_fix,
)
from xortune.core.files import without_passwords
from xortune.core.trainer import Trainer, has
from xortune.driver.cluster import (
    THIS_MACHINE,
    Cluster,
    Ray,
    Workers,
    awaiting,
    slots_to_come,
)
from xortune.driver.knowledge import take_over
from xortune.driver.process import exclusive, process_restored
from xortune.driver.processes import (
    ending_processes,
    in_this_process,
    processes_for,
    refuse_unsendable,
)
from xortune.driver.trainer import (
    LONG_SEED,
    TRIED_CONFIGS,
    Check,
    check_by_training,
    refuse_large,
    threads_of,
    trainer_for,
    with_train,
)
from xortune.driver.voice import SILENT, Listen, Voice
from xortune.driver.void import MAX_VOID, checked_max_void, exceptions, retrying
from xortune.integrations.following import following
from xortune.integrations.trackers import Tracker, checked_trackers
from xortune.racing.grants import refuse_unprovable
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
    refuse_unwritable,
)
from xortune.runs.sessions import continue_run, end_of_session, now
from xortune.runs.store import JOURNAL, StoredPath, driver_directory, holds_lines
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import check_space, load_space, with_function, with_search
from xortune.trainers.command import CommandTrainer
from xortune.trainers.function import CustomTrainer
from xortune.trainers.limits import threads_for

if TYPE_CHECKING:
    from xortune.driver.loop import Executor
    from xortune.driver.session import Resume
    from xortune.driver.shared_study import SharedStudy, Study


SpaceLike: TypeAlias = SearchSpace | str | os.PathLike[str] | Mapping[str, Any]

Place: TypeAlias = str | os.PathLike[str] | None

CheckFirst: TypeAlias = bool | Literal["seeds"]
"""Whether a user's function is called before a search; `seeds`: its first seed always twice."""


class _SearchOptions(TypedDict, total=False):
    """The arguments that a search and its dry run share."""

    output: Place
    trials: int | None
    seed: int | None
    sampler: str | None
    time_budget: float | str | None
    resume: bool
    extend: bool
    accept_versions: bool
    train: Callable[..., Any] | None
    engine: str
    workers: int | Workers | None
    ray: bool | Ray
    address: str | None
    study: Study | None
    trackers: Sequence[Tracker]
    listener: Listen | None
    check: CheckFirst
    fail_fast: bool
    retry: type[BaseException] | Sequence[type[BaseException]]
    max_void: float | None
    from_: Place
    note: str | None
    tags: Iterable[str] | None
    verbose: int


@overload
def search(
    space: SpaceLike, *, dry_run: Literal[False] = False, **options: Unpack[_SearchOptions]
) -> Run: ...


@overload
def search(
    space: SpaceLike, *, dry_run: Literal[True], **options: Unpack[_SearchOptions]
) -> DryRun: ...


@exclusive(ray=True)
@process_restored()
@ending_processes()
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
    train: Callable[..., Any] | None = None,
    engine: str = "auto",
    workers: int | Workers | None = None,
    ray: bool | Ray = False,
    address: str | None = None,
    study: Study | None = None,
    trackers: Sequence[Tracker] = (),
    listener: Listen | None = None,
    dry_run: bool = False,
    check: CheckFirst = True,
    fail_fast: bool = False,
    retry: type[BaseException] | Sequence[type[BaseException]] = (),
    max_void: float | None = None,
    from_: Place = None,
    note: str | None = None,
    tags: Iterable[str] | None = None,
    verbose: int = 1,
) -> Run | DryRun:
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
        train: a function of your own that trains instead of the built-in network:
            f(config, seed), or f(config, seeds) for all seeds of a block at once; see
            docs/own-trainer.md. A space file may name it too.
        engine: what trains the built-in network on all workers: auto, fused, reference or cuda.
        workers: how many processes train at once on this machine, or an `xt.Workers`; as many as
            its CPUs allow if not given. 0 trains in this process, one seed after the other, for a
            debugger; with `fail_fast` the cause of the TrainingError is then the seed's exception.
            Of an async function: as of `evaluate`.
        ray: train by Ray Tune: True on this machine, where the search starts Ray and stops it
            again, or an `xt.Ray`, which may name a cluster, CPUs and GPUs.
        address: of a Ray cluster, short for `ray=xt.Ray(address)`.
        study: an Optuna study in which several searches take part, each with its own run; see
            docs/cluster.md.
        trackers: where each configuration is logged, as `log` does: `xt.TensorBoard`, `xt.MLflow`,
            `xt.WandB`. A tracker that fails does not end the search.
        listener: called with each event: a `Progress` after each result, and with what a training
            reports on its way, once a second for each worker (on Ray once in 5 s); `SeedsDone` of
            the certificate that the space asks for; a `Message`; the first `Failure`.
        dry_run: do everything up to the training, say what the search would do, and train nothing.
        check: whether to call a function of your own before a new run begins, in a process of its
            own: its first seed twice, and another seed in between. "seeds": its first seed twice
            even if it takes more than a minute, or the run is resumed.
        fail_fast: end the search at the first seed that fails; `resume` continues it.
        retry: exceptions that say nothing of the training, as of `evaluate`.
        max_void: the share of seeds that may be void; 0.05 if not given. `resume` tries them again.
        from_: another run's directory, also an imported table: its best configurations are proposed
            first, while their new seeds hold up. Its seeds count in no result; see docs/resume.md.
        note: a sentence about the run, for its manifest, `status` and the report.
        tags: words for the same places; with `resume` they are added to the run's tags.
        verbose: 0 shows nothing; 1 shows the progress on a terminal or in a notebook, sentences
            that the user should read and the first failure; 2 shows each step in a line. If your
            program has set up logging, the sentences go to the logger `xortune`.

    Returns:
        The run, with its tables and report written; with `dry_run` what the search would do.

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
    from xortune.driver.shared_study import shared_study

    labels, voice = checked_labels(note, tags), Voice(verbose, listener)
    # Others may read the manifest, which has the command.
    command = command_line()
    how = session.Resume(
        resume or extend, extend, accept_versions, command and without_passwords(command)
    )
    cluster = Cluster.of(workers, ray, address)
    space = with_train(_loaded(space), train)
    space = with_search(space, trials=trials, sampler=sampler, seed=seed, time_budget=time_budget)
    if from_ is not None:
        how = replace(how, taken=take_over(space, from_))
    checked = _checked(
        space,
        output,
        _Asked(train, engine, cluster, shared_study(space, study), exceptions(retry)),
        checked_trackers(trackers, output),
        voice,
        resume=how.allowed,
        check=check,
        dry_run=dry_run,
    )
    if dry_run:
        return _dry(checked, output, how, voice)
    share = checked_max_void(max_void)
    return _run_search(
        checked, output, voice, how, labels=labels, fail_fast=fail_fast, max_void=share
    )


@exclusive(ray=True)
@process_restored()
def search_with(
    executor: Executor,
    trainer: Trainer,
    space: SearchSpace,
    output: Place,
    *,
    resume: bool,
    check: bool,
    command: Sequence[str] | None,
) -> Run:
    """Search with an executor of the caller's in place of this process and Ray.

    The trainer's `train` is called for the check. `command` is the command line, for the manifest.
    The other arguments are those of `search`.

    Raises:
        InputError: as `search`.
        KeyboardInterrupt: as `search`.
    """
    from xortune.driver import session

    own = with_function(space)
    check_space(own, trainer)
    refuse_unprovable(own)
    directory = _planned_directory(own, output, resume=resume)
    goes_on = resume and _holds(directory)
    if not goes_on:
        refuse_unwritable(directory)
    checked = _Checked(own, trainer, THIS_MACHINE)
    if check and not goes_on:
        checked = replace(checked, check=check_by_training(own, trainer))
    how = session.Resume(resume, command=command and without_passwords(command))
    return _run_search(checked, output, SILENT, how, executor=executor)


def _run_search(
    checked: _Checked,
    output: Place,
    voice: Voice,
    resume: Resume,
    *,
    labels: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    max_void: float = MAX_VOID,
    executor: Executor | None = None,
) -> Run:
    """Run a checked search: train, certify, note how it ended, and write tables and report."""
    from xortune.driver import certify, importance, session

    space, trainer, budget = checked.space, checked.trainer, checked.space.search.time_budget
    directory = _run_directory(space, output, resume=resume.allowed)
    is_own = output is None or not (isinstance(directory, StoredPath) or directory.exists())
    failure: TrainingError | Halted | None = None
    with (
        _directory_in_errors(directory),
        # It also reads the end of the run.
        following(directory, checked.trackers, on_failure=voice.complain),
        held(directory, on_message=voice.warn),  # until the report is written
        voice.drawing() as shown,
    ):
        with ThreadPoolExecutor(1) as reader, ExitStack() as workers:
            try:
                complete = session.search_session(
                    space,
                    trainer,
                    directory,
                    cluster=checked.cluster,
                    shared=checked.shared,
                    resume=resume,
                    voice=shown,
                    labels=labels,
                    fail_fast=fail_fast,
                    max_void=max_void,
                    check=checked.check,
                    check_later=checked.check_later,
                    executor=executor,
                    ends=workers,
                )
            except (TrainingError, Halted) as error:
                complete, failure = False, error
                error.__cause__ = checked.raised[0] if checked.raised else None
            except InputError as error:
                is_new = is_own and not resume.allowed and not holds_run(directory)
                if is_new and not isinstance(error, DisturbedError):
                    shutil.rmtree(directory, ignore_errors=True)  # made for this search only
                raise
            loading = reader.submit(load_run, directory)  # while the workers end, in a second
        run = loading.result()
        if complete:
            run = certify.with_certificate(run)
        else:
            save_certificate(run)  # of the fresh seeds that finished before an interruption
        timed_out = budget is not None and run.manifest.get("complete") is False
        ending = _ending(failure, budget if timed_out else None, complete=complete)
        if checked.check is not None and checked.check.note:
            ending["seeds_at_once"] = checked.check.note
        matters = importance.importance(run, space).entries()
        run = _reported(run, matters | ending | end_of_session(run, **ending))
        # A command that is complete says so itself, below its result.
        if run.unwritten is not None and not (complete and resume.command):
            voice.warn(run.unwritten)
        if not complete:
            raise failure or KeyboardInterrupt
        return run


def _reported(run: Run, entries: Mapping[str, Any]) -> Run:
    """The run, with its manifest and report written, or with what could not be.

    Its results are known by now, and a full disk must not take them away.
    """
    try:
        run = run.noted(**entries)
        write_report(run)
    except DisturbedError:
        raise
    except (InputError, OSError, ImportError, MemoryError) as error:  # too little memory
        text = str(error) if isinstance(error, InputError) else error_text(error)
        fix = memory_fix(error)
        text += "" if fix is None else f"; fix: {fix}"
        if (again := f"xortune report {run.path}") not in text:
            text += f"; `{again}` writes the report again"
        return replace(run, unwritten=f"{text}; all results are in {run.path / JOURNAL}")
    return run


@contextmanager
def _directory_in_errors(directory: Path) -> Iterator[None]:
    """Name the run's directory in an interruption, so that the user can continue it."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(str(directory)) from None
    except Halted as error:
        error.place = str(directory)
        raise


def _ending(
    failure: TrainingError | Halted | None, budget: float | None, *, complete: bool
) -> dict[str, str | None]:
    """For the manifest: how a session ended. `budget` is the time budget that was over, if any."""
    at = now()
    if complete:
        stopped = None if budget is None else f"the time budget of {budget:g} s was over at {at}"
        return {"finished": at, "stopped": stopped}
    why = "by the user" if failure is None else f"({failure})"
    return {"stopped": f"interrupted {why} at {at}"}


# -------------------------------------------------------------------------------------------------
# The dry run.


@dataclass(frozen=True)
class DryRun:
    """What a search would do.

    Attributes:
        space: what it would search.
        directory: where its run would be.
        continues: evaluations of the run that it would continue; 0 for a new run.
        notes: what it would say about continuing that run.
    """

    space: SearchSpace
    directory: Path
    continues: int = 0
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        evaluations = f"which has {self.continues:,} evaluations"
        where = self.directory
        would = f"continue {where}, {evaluations}" if self.continues else f"make {where}"
        valid = "the space and all options are valid"
        return f"dry run: {valid}; the search would {would}; nothing was started"


def _dry(checked: _Checked, output: Place, resume: Resume, voice: Voice) -> DryRun:
    """What a checked search would do; an InputError if it may not continue the run so."""
    space, directory = checked.space, _requested_directory(checked.space, output)
    if resume.allowed and _holds(directory):
        refuse_held(directory)
        before = load_run(output if output is not None else directory)
        notes = continue_run(
            *(space, checked.trainer, before),
            extend=resume.extend,
            accept_versions=resume.accept_versions,
            dry_run=True,
        )
        found = DryRun(space, directory, len(before.evaluations), tuple(notes))
    else:
        found = DryRun(space, _planned_directory(space, output, resume=resume.allowed))
    for sentence in found.notes:
        voice.warn(sentence)
    if voice.verbose:
        print(found)
    return found


# -------------------------------------------------------------------------------------------------
# The checks of a search.


@dataclass(frozen=True)
class _Asked:
    """Who trains, as a user asked for it: see `search`."""

    train: Callable[..., Any] | None
    engine: str
    cluster: Cluster
    shared: SharedStudy | None
    retry: tuple[type[BaseException], ...] = ()


@dataclass(frozen=True)
class _Checked:
    space: SearchSpace
    trainer: Trainer
    cluster: Cluster
    shared: SharedStudy | None = None
    trackers: tuple[Tracker, ...] = ()
    check: Check | None = None
    """Result of the call of the user's function; None if it was not called."""
    check_later: Callable[[], Check | None] | None = None
    """Calls it once Ray's workers are there, which would be idle if Ray started after the check."""
    raised: Sequence[BaseException] = ()
    """Exceptions of seeds that this process trains."""


def _loaded(space: SpaceLike) -> SearchSpace:
    return space if isinstance(space, SearchSpace) else load_space(space)


def _checked(
    space: SearchSpace,
    output: Place,
    asked: _Asked,
    trackers: tuple[Tracker, ...],
    voice: Voice,
    *,
    resume: bool,
    check: CheckFirst,
    dry_run: bool,
) -> _Checked:
    """Check a search, and call a user's function. Nothing is written."""
    if check not in (True, False, "seeds"):
        raise InputError(f"{check!r}", field="check", allowed='True, False, or "seeds"')
    directory = _requested_directory(space, output)
    trainer, cluster, here, raised = _who_trains(space, asked, directory, resume=resume)
    check_space(space, trainer)
    if cluster.address is None:  # the memory of a cluster's machines is not known yet
        refuse_large(space, trainer)
    refuse_unprovable(space)
    if not here:
        refuse_unsendable(trainer)
    if not (dry_run or here or cluster.is_ray):
        processes_for(trainer)  # they import while this process goes on
    goes_on = resume and _holds(directory)
    if not goes_on:
        refuse_unwritable(_planned_directory(space, output, resume=resume))
    checked = _Checked(space, trainer, cluster, asked.shared, trackers, raised=raised)
    if not check or (goes_on and check is True):
        return checked
    return _check_first(checked, voice, check=check, dry_run=dry_run, goes_on=goes_on, here=here)


def _who_trains(
    space: SearchSpace, asked: _Asked, directory: Path, *, resume: bool
) -> tuple[Trainer, Cluster, bool, list[BaseException]]:
    """Trainer, cluster, whether this process trains, and a list for the exceptions of its seeds."""
    cluster, raised = asked.cluster, list[BaseException]()
    # The manifest of a run in a store is read later; other numbers of threads are refused then.
    is_local_run = resume and not isinstance(directory, StoredPath)
    threads = threads_of(manifest_of(directory)) if is_local_run else None
    threads, here = threads or threads_for(cluster.cpus_per_trial), cluster.workers == 0
    trainer = trainer_for(
        space, asked.train, asked.engine, cluster.gpus_per_trial, threads, here=here
    )
    trainer = retrying(trainer, asked.retry)
    awaits = has(trainer, "awaits") and not cluster.is_ray
    here, cluster = here or awaits, awaiting(cluster) if awaits else cluster
    if here:
        trainer = in_this_process(trainer, raised.append)
    return trainer, cluster, here, raised


def _check_first(
    checked: _Checked, voice: Voice, *, check: CheckFirst, dry_run: bool, goes_on: bool, here: bool
) -> _Checked:
    """Call a user's function before the search, or say that Ray's workers call it later.

    The process in which it was called stays, to train in; that of a dry run ends.
    """
    from xortune.driver import session

    space, trainer, cluster = checked.space, checked.trainer, checked.cluster
    # Workers of Ray may train on a GPU, and so otherwise than this process.
    counts = not dry_run and checked.shared is None and not goes_on and not cluster.is_ray
    processes = 0 if here or cluster.is_ray else slots_to_come(cluster)
    most_points = max(TRIED_CONFIGS, processes // space.seeds.ladder[0] + 1)
    points = session.first_proposals(space, trainer, most_points) if counts else []
    longest = 0.0 if dry_run else LONG_SEED

    def checking() -> Check | None:
        found = check_by_training(
            *(space, trainer, points),
            counts=bool(points),
            most=cluster.trial_timeout,
            processes=processes,
            longest=math.inf if check == "seeds" else longest,
            later=not dry_run and not goes_on,
            begins_early=bool(points) and space.search.time_budget is None,
        )
        if found is not None:
            voice.inform("; ".join(filter(None, (found.sentence, found.note))))
            if found.twice:
                voice.warn(found.twice)
            if not dry_run and (cost := session.cost_of(space, cluster, found)):
                voice.inform(cost)
        return found

    if cluster.is_ray and not (dry_run or goes_on):
        return replace(checked, check_later=checking)
    found = checking()
    if found is not None and found.known and isinstance(trainer, CustomTrainer | CommandTrainer):
        trainer = replace(trainer, known=found.known)
    return replace(checked, trainer=trainer, check=found)


# -------------------------------------------------------------------------------------------------
# Where the run goes. Requested: a name, nothing is made. Planned: what a dry run may say.
# Run: it is made now, which may raise. New: the same for a run that must not be there yet.


def _requested_directory(space: SearchSpace, output: Place) -> Path:
    return driver_directory(output) if output is not None else Path(RUNS) / space.name


def _holds(path: Path) -> bool:
    return holds_lines(path) if isinstance(path, StoredPath) else holds_run(path)


def _planned_directory(space: SearchSpace, output: Place, *, resume: bool) -> Path:
    """What `_run_directory` will return, which without `output` makes a directory."""
    if output is None and not resume:
        return next_directory(RUNS, space.name)
    return _run_directory(space, output, resume=resume)


def _run_directory(space: SearchSpace, output: Place, *, resume: bool) -> Path:
    """The directory of the new or continued run.

    Raises:
        InputError: it holds a run, without `resume`, or files of others.
    """
    if not resume:
        fix = "continue it with --resume, or give another --output"
        return new_directory(output, space.name, fix=fix)
    if not _holds(directory := _requested_directory(space, output)):
        refuse_files_of_others(directory)
    return directory


def new_directory(output: Place, name: str, *, fix: str) -> Path:
    """The directory of a new run: `output`, or runs/NAME, NAME-2, ... if it is not given.

    Raises:
        InputError: it holds a run, or files of others.
    """
    if output is None:
        return fresh_directory(RUNS, name)
    directory = driver_directory(output)
    if _holds(directory):
        refuse_held(directory)  # names the process that writes to it
        raise InputError("already holds a run", place=str(directory), fix=fix)
    refuse_files_of_others(directory)
    return directory
