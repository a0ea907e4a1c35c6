"""The verb `search`: what is asked, checked, trained, written and told; and its dry run.

`search` puts its arguments into an `_Asked`, `_checked` refuses what cannot be searched so, and
`_run_search` trains (`_trained`), certifies, and writes how the session ended and the report.
Proposals, decisions and results are the work of `session.search_session`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeAlias, cast, overload

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
from xortune.core.trainer import Outages, Trainer
from xortune.deciding.knowledge import TakenOver, take_over
from xortune.driver.arguments import Place, SearchArguments, SpaceLike, verb
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
from xortune.driver.voice import SILENT, Voice
from xortune.driver.workplace import WhoTrains, who_trains
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
from xortune.runs.sessions import Resume, continue_run, end_of_session, now
from xortune.runs.store import JOURNAL, StoredPath, driver_directory, holds_lines
from xortune.spaces.model import SearchSettings, SearchSpace
from xortune.spaces.space import check_space, load_space, with_function, with_search
from xortune.trainers.limits import threads_for
from xortune.training.process import ending, exclusive, process_restored
from xortune.training.processes import ending_processes, pickled, processes_for
from xortune.training.resources import THIS_MACHINE, Cluster
from xortune.training.slots import slots_to_come

if TYPE_CHECKING:
    from xortune.core.point import Point
    from xortune.training.loop import Executor

P = ParamSpec("P")


@dataclass(frozen=True)
class _Asked:
    """What a search is asked to do, each part valid by itself.

    Attributes:
        given: the arguments of `search`.
        space: with the arguments that replace the file's.
        how: whether and how it may continue a run.
        cluster: who trains.
        outages: what becomes of seeds that cannot be tried.
        taken: what a new run takes over from another one.
        labels: the user's note and tags.
    """

    given: SearchArguments
    space: SearchSpace
    how: Resume
    cluster: Cluster = THIS_MACHINE
    outages: Outages = field(default_factory=Outages)
    taken: TakenOver | None = None
    trackers: tuple[Tracker, ...] = ()
    labels: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Checked:
    """A search that may begin: nothing of it is refused any more, and nothing was written.

    Attributes:
        goes_on: whether it continues a run.
        check: the result of the call of the user's function; None if it was not called.
        check_later: calls it once Ray's workers are there, which would be idle if Ray started after
            the check.
    """

    asked: _Asked
    who: WhoTrains
    goes_on: bool
    check: Check | None = None
    check_later: Callable[[], Check | None] | None = None


class _Search(Protocol[P]):
    """The verb: a run, or with `dry_run` what the search would do."""

    @overload  # the first that fits counts
    def __call__(  # type: ignore[overload-overlap]
        self, space: SpaceLike, *, dry_run: Literal[True], **options: Any
    ) -> DryRun: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Run: ...


def _typed(found: Callable[P, Run | DryRun]) -> _Search[P]:
    return cast("_Search[P]", found)


@_typed
@verb(SearchArguments)
@exclusive(ray=True)  # one search at a time in a process
@process_restored()  # afterwards its environment, loggers and signal handlers are as before
@ending_processes()  # and its workers have ended
def search(given: SearchArguments) -> Run | DryRun:
    """Search a space for the configuration that solves its task for the most seeds.

    Returns:
        The run, with its tables and report written; with `dry_run` what the search would do.

    Raises:
        InputError: an argument or the space file is not usable; nothing was overwritten.
        TrainingError: a seed failed, and `fail_fast` was given; or more seeds are void than
            `max_void` allows. The run keeps what had finished.
        Halted: Ray has ended. The run keeps what had finished.
        KeyboardInterrupt: the user interrupted. The run keeps what had finished, its report is
            written, and `resume` continues it. The argument is the run's directory.
        DisturbedError: an InputError; somebody replaced or removed the run's files meanwhile. The
            message says where the finished results are.
    """
    labels, voice = checked_labels(given.note, given.tags), Voice(given.verbose, given.listener)
    how = Resume(
        given.resume or given.extend, given.extend, given.accept_versions, _shown(command_line())
    )
    cluster = Cluster.of(given.workers, given.ray, given.address)
    space = asked_space(given)
    asked = _Asked(
        given,
        space,
        how,
        cluster,
        taken=None if given.from_ is None else take_over(space, given.from_),
        outages=Outages.of(given.retry, given.retry_wait, given.max_void),
        trackers=checked_trackers(given.trackers, given.output),
        labels=labels,
    )
    checked = _checked(asked, voice)
    return _dry(checked, voice) if given.dry_run else _run_search(checked, voice)


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
    given = SearchArguments(space, output=output, check=check)
    asked = _Asked(given, with_function(space), Resume(resume, command=_shown(command)))
    check_space(asked.space, trainer)
    refuse_unprovable(asked.space)
    checked = _Checked(asked, WhoTrains(trainer, THIS_MACHINE), _goes_on(asked))
    if not checked.goes_on:
        refuse_unwritable(_planned_directory(asked))
        if check:
            checked = replace(checked, check=check_by_training(asked.space, trainer))
    return _run_search(checked, SILENT, executor)


def asked_space(given: SearchArguments) -> SearchSpace:
    """The space, with the arguments that have the name of a key of `search` in place of its own.

    Raises:
        InputError: the file, the function or one of these arguments is not usable.
    """
    space = given.space
    if not isinstance(space, SearchSpace):
        space = load_space(space, trials_follow=given.trials is not None)
    keys = {one.name for one in fields(SearchSettings)}
    changes = {name: value for name, value in vars(given).items() if name in keys}
    return with_search(with_train(space, given.train), **changes)


def _shown(command: Sequence[str] | None) -> Sequence[str] | None:
    """The command line for the manifest, which others may read."""
    return command and without_passwords(command)


# -------------------------------------------------------------------------------------------------
# Before the training: what cannot be searched so is refused, and a user's function is called.


def _checked(asked: _Asked, voice: Voice) -> _Checked:
    """Decide who trains, refuse what cannot be searched so, and call a user's function.

    Nothing is written.

    Raises:
        InputError: it cannot be searched so.
    """
    if not (isinstance(asked.given.check, bool) or asked.given.check == "seeds"):
        raise InputError(f"{asked.given.check!r}", field="check", allowed='True, False, or "seeds"')
    who, space = _who_trains(asked), asked.space
    check_space(space, who.trainer)
    if who.cluster.address is None:  # the memory of a cluster's machines is not known yet
        refuse_large(space, who.trainer)
    refuse_unprovable(space)
    if not who.here:
        pickled(who.trainer)  # or it says why it cannot be sent to a worker
    if not (asked.given.dry_run or who.here or who.cluster.is_ray):
        processes_for(who.trainer)  # they import while this process goes on
    checked = _Checked(asked, who, _goes_on(asked))
    if not checked.goes_on:
        refuse_unwritable(_planned_directory(asked))
    if not asked.given.check or (checked.goes_on and asked.given.check is True):
        return checked
    return _check_first(checked, voice)


def _who_trains(asked: _Asked) -> WhoTrains:
    """Make the trainer; a user's function is imported for it, in a worker unless it trains here."""
    cluster, directory, threads = asked.cluster, _requested_directory(asked), None
    # The manifest of a run in a store is read later; other numbers of threads are refused then.
    if asked.how.allowed and not isinstance(directory, StoredPath):
        threads = threads_of(manifest_of(directory))
    threads, here = threads or threads_for(cluster.each.cpus), cluster.workers == 0
    trainer = trainer_for(
        asked.space, asked.given.train, asked.given.engine, cluster.each.gpus, threads, here=here
    )
    return who_trains(trainer, cluster, asked.outages)


def _check_first(checked: _Checked, voice: Voice) -> _Checked:
    """Call a user's function before the search, or say that Ray's workers call it later."""
    asked, who = checked.asked, checked.who
    if who.cluster.is_ray and not (asked.given.dry_run or checked.goes_on):
        return replace(checked, check_later=partial(_call_first, checked, voice))
    found, trainer = _call_first(checked, voice), who.trainer
    if found is not None and found.known:
        who = replace(who, trainer=trainer.knowing(found.known))
    return replace(checked, who=who, check=found)


def _call_first(checked: _Checked, voice: Voice) -> Check | None:
    """Train a seed with the user's function, and tell what it was like; None for the network.

    In a new search the seed is the first of its first proposal, and counts. The process in which it
    trains stays, to train in; that of a dry run ends.
    """
    from xortune.driver import session

    asked, trainer, cluster = checked.asked, checked.who.trainer, checked.who.cluster
    space, is_new = asked.space, not (asked.given.dry_run or checked.goes_on)
    processes = 0 if checked.who.here or cluster.is_ray else slots_to_come(cluster)
    points: Sequence[Point] = ()
    # The seed of a new search counts, unless Ray's workers train, maybe on a GPU and so otherwise
    # than this process.
    if is_new and not cluster.is_ray:
        most = max(TRIED_CONFIGS, processes // space.seeds.ladder[0] + 1)
        points = session.first_proposals(space, trainer, most)
    twice_up_to = 0.0 if asked.given.dry_run else LONG_SEED  # seconds of a seed that trains twice
    found = check_by_training(
        *(space, trainer, points),
        counts=bool(points),
        most=cluster.each.limit,
        processes=processes,
        longest=math.inf if asked.given.check == "seeds" else twice_up_to,
        later=is_new,
        begins_early=bool(points) and space.search.time_budget is None,
    )
    if found is not None:
        voice.inform("; ".join(filter(None, (found.sentence, found.note))))
        if found.twice:
            voice.warn(found.twice)
        if not asked.given.dry_run and (cost := session.cost_of(space, cluster, found)):
            voice.inform(cost)
    return found


# -------------------------------------------------------------------------------------------------
# The search: it is trained, certified, written and told.

EndedEarly: TypeAlias = TrainingError | Halted | KeyboardInterrupt
"""What ends a search before its end: a failure with `fail_fast`, too many void seeds, the loss of
Ray, the user."""


def _run_search(checked: _Checked, voice: Voice, executor: Executor | None = None) -> Run:
    """Train what is asked for, certify it, and write how the session ended and the report.

    If it ends early, this is raised once all is written.
    """
    from xortune.driver import certify

    asked = checked.asked
    directory = _run_directory(asked)
    is_there = isinstance(directory, StoredPath) or directory.exists()
    is_new = not asked.how.allowed and (asked.given.output is None or not is_there)
    with (
        _directory_in_errors(directory),
        # The trackers' thread; it also reads the end of the run.
        following(directory, asked.trackers, on_failure=voice.complain),
        # The run's lock, until the report is written.
        held(directory, on_message=voice.warn),
        voice.drawing() as shown,
    ):
        run, early = _trained(checked, directory, shown, executor, is_new=is_new)
        if early is None:
            run = certify.with_certificate(run)
        else:
            save_certificate(run)  # of the fresh seeds that finished before
        run = _reported(run, _last_entries(checked, run, early))
        # A command that is complete says so itself, below its result.
        if run.unwritten is not None and (early is not None or not asked.how.command):
            voice.warn(run.unwritten)
        if early is not None:
            raise early
        return run


def _trained(
    checked: _Checked, directory: Path, voice: Voice, executor: Executor | None, *, is_new: bool
) -> tuple[Run, EndedEarly | None]:
    """Train until all is done, its time is over or something ends it, and read the run.

    `is_new` says that the directory was made for this search: it goes if the search is refused.
    """
    from xortune.driver import session

    asked, who = checked.asked, checked.who
    early: EndedEarly | None = None
    with ThreadPoolExecutor(1) as reader, ExitStack() as workers:
        try:
            is_uninterrupted = session.search_session(
                asked.space,
                who.trainer,
                directory,
                cluster=who.cluster,
                resume=asked.how,
                taken=asked.taken,
                voice=voice,
                labels=asked.labels,
                fail_fast=asked.given.fail_fast,
                outages=asked.outages,
                check=checked.check,
                check_later=checked.check_later,
                executor=executor,
                ends=workers,
            )
            early = None if is_uninterrupted else KeyboardInterrupt()
        except (TrainingError, Halted) as error:
            if who.raised:
                error.__cause__ = who.raised[0]
            early = error
        except Interrupted as error:  # before the first seed: as Ray starts
            early = error
        except InputError as error:
            if is_new and not (isinstance(error, DisturbedError) or holds_run(directory)):
                shutil.rmtree(directory, ignore_errors=True)
            raise
        loading = reader.submit(load_run, directory)  # while the workers end, in a second
    return loading.result(), early


def _last_entries(checked: _Checked, run: Run, early: EndedEarly | None) -> dict[str, Any]:
    """The manifest's entries at the end of a session: how it ended, and which parameters matter."""
    from xortune.deciding import importance

    space, check, at = checked.asked.space, checked.check, now()
    ended: dict[str, str | None]
    if early is not None:
        is_signal = isinstance(early, KeyboardInterrupt)
        how = ending(" by the user") if is_signal else f"interrupted ({early})"
        ended = {"stopped": f"{how} at {at}"}
    elif (budget := space.search.time_budget) is not None and run.manifest.get("complete") is False:
        over = f"the time budget of {budget:g} s was over at {at}"
        ended = {"finished": at, "stopped": over}
    else:
        ended = {"finished": at, "stopped": None}
    if run.audit is not None and run.audit.fault:
        ended["seeds_at_once"] = "each seed trains alone"
    elif check is not None and check.note:
        ended["seeds_at_once"] = check.note
    matters = importance.importance(run, space).entries()
    if early is not None and "complete" not in run.manifest:  # it ended before the first decision
        matters["complete"] = False
    return matters | ended | end_of_session(run, **ended)


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


def _dry(checked: _Checked, voice: Voice) -> DryRun:
    """What a checked search would do; an InputError if it may not continue the run so."""
    asked = checked.asked
    space, directory = asked.space, _requested_directory(asked)
    if checked.goes_on:
        refuse_held(directory)
        before = load_run(asked.given.output if asked.given.output is not None else directory)
        notes = continue_run(
            *(space, checked.who.trainer, before),
            extend=asked.how.extend,
            accept_versions=asked.how.accept_versions,
            dry_run=True,
        )
        found = DryRun(space, directory, len(before.evaluations), tuple(notes))
    else:
        found = DryRun(space, _planned_directory(asked))
    for sentence in found.notes:
        voice.warn(sentence)
    if voice.verbose:
        print(found)
    return found


# -------------------------------------------------------------------------------------------------
# Where the run goes.


def _requested_directory(asked: _Asked) -> Path:
    """The directory by its name alone: it may hold a run, or not exist."""
    if asked.given.output is not None:
        return driver_directory(asked.given.output)
    return Path(RUNS) / asked.space.name


def _holds(path: Path) -> bool:
    """Whether a directory, or the store behind it, has a line of a run's journal."""
    return holds_lines(path) if isinstance(path, StoredPath) else holds_run(path)


def _goes_on(asked: _Asked) -> bool:
    """Whether the search continues a run: it may, and there is one."""
    return asked.how.allowed and _holds(_requested_directory(asked))


def _planned_directory(asked: _Asked) -> Path:
    """What `_run_directory` will return; nothing is made.

    Raises:
        InputError: as `_run_directory`.
    """
    if asked.given.output is None and not asked.how.allowed:
        return next_directory(RUNS, asked.space.name)
    return _run_directory(asked)


def _run_directory(asked: _Asked) -> Path:
    """The directory of the new or continued run; a new one under runs/ is made.

    Raises:
        InputError: it holds a run that may not be continued, or files of others.
    """
    if not asked.how.allowed:
        fix = "continue it with --resume, or give another --output"
        return new_directory(asked.given.output, asked.space.name, fix=fix)
    if not _holds(directory := _requested_directory(asked)):
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
