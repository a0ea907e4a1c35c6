"""One session of a search: prepare the run, choose who trains, train, note how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError, TrainingError
from xortune.core.formats import count, duration
from xortune.core.point import Point
from xortune.core.trainer import Block, Stacking, Trainer, has
from xortune.driver.batches import Ahead, Batches, least_in_flight, most_in_flight
from xortune.driver.certify import (
    estimate,
    fresh_seeds_after,
    missing_certificate,
    on_ray,
    seeds_callback,
)
from xortune.driver.cluster import THIS_MACHINE, Cluster, connected, slots, slots_to_come
from xortune.driver.decisions import SearchDecisions
from xortune.driver.executors import (
    PROCESS_SECONDS,
    Executor,
    LocalExecutor,
    ProcessExecutor,
    training_while_workers_start,
)
from xortune.driver.loop import Record, run
from xortune.driver.propose import LEARNING, SharedStudy, join_study, proposer_for
from xortune.driver.subprocesses import end_process, spares_are_ready, start_spares
from xortune.driver.trainer import Check
from xortune.driver.voice import NOBODY, Listener
from xortune.racing.grants import raced
from xortune.racing.objectives import only_rate, ties_of
from xortune.racing.race import FINALISTS
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal, held_journal
from xortune.runs.manifest import (
    fingerprint_of,
    identity_of,
    label_run,
    manifest_of,
    noted_objectives,
    update_manifest,
)
from xortune.runs.run import create, holds_run, load_run
from xortune.runs.sessions import continue_run, earlier_spaces, first_manifest
from xortune.runs.status import Progress
from xortune.runs.store import JOURNAL
from xortune.spaces.grid import budget, probes
from xortune.spaces.model import SearchSpace
from xortune.trainers.network import NetworkTrainer


@dataclass(frozen=True)
class Resume:
    """How a session may continue a run.

    Attributes:
        allowed: whether it may; otherwise a directory that holds a run is refused.
        extend: with a space that has grown.
        accept_versions: with another engine or other versions than made the run.
        command: the command line, for the manifest.
    """

    allowed: bool = False
    extend: bool = False
    accept_versions: bool = False
    command: Sequence[str] | None = None


def search_session(
    space: SearchSpace,
    trainer: Trainer,
    directory: Path,
    *,
    cluster: Cluster = THIS_MACHINE,
    shared: SharedStudy | None = None,
    resume: Resume = Resume(),  # frozen
    listener: Listener = NOBODY,
    labels: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    check: Check | None = None,
    executor: Executor | None = None,
    ends: ExitStack | None = None,
) -> bool:
    """Train what the space asks for and the journal lacks, then the certificate it asks for.

    If the time budget ends before all is done, the manifest says `complete: false`.

    Args:
        space: already checked by the trainer.
        trainer: what trains.
        directory: of the run, locked by the caller. A run in it is continued.
        cluster: where to train, and what each trial may use.
        shared: a study that other searches use too; None for one of its own.
        resume: how a run in the directory is continued.
        listener: callbacks.
        labels: the user's note and tags for the run.
        fail_fast: whether the first failure ends the session.
        check: result of the call of a user's function before the start.
        executor: trains everything if given, in place of this process and Ray.
        ends: the stack that ends the workers and the Ray of this session; its own if not given.

    Returns:
        False if the user interrupted it.

    Raises:
        TrainingError: a seed failed, with `fail_fast`.
        InputError: an unreachable cluster or one too small, a directory that cannot be written, a
            proposal that the trainer refuses, a run that may not be continued so.
    """
    began = time.monotonic()  # the time budget includes the start of Ray
    shared = join_study(shared, space, directory, listener.message)
    session = _Session(space, trainer, directory, cluster, shared, resume, listener, began)
    known = session.earlier_lines()
    is_searched = session.is_complete(known)
    if is_searched and missing_certificate(load_run(directory)) is None:
        label_run(directory, labels)
        return True
    if not known:
        session.create()  # before Ray starts, to refuse a directory that cannot be written at once
    label_run(directory, labels)
    with nullcontext(ends) if ends else ExitStack() as stack:
        seconds = _seconds_of_a_seed(known) if check is None else check.seconds
        workers = _Workers(session, stack, executor, seconds)
        session.set_limits(workers)
        with session.journal() as journal:
            record = Record(journal, listener.failure, fatal=fail_fast)
            stacking = None if check is None else check.stacking
            work = _Work(session, record, known=known, slots=workers.slots, stacking=stacking)
            work.is_searched = work.complete = is_searched
            known = ()  # frees each line when it has been used: there may be a million
            interrupted = False
            try:
                workers.train(work)
            except KeyboardInterrupt:
                interrupted = True
                journal.hurry()
    session.end(work.decisions, complete=work.complete, ahead=work.ahead)
    if record.ends is not None:
        raise TrainingError(record.ends.reason)
    return not interrupted


@dataclass
class _Session:
    """What a session searches, and what it knows of earlier sessions of the run."""

    space: SearchSpace
    trainer: Trainer
    directory: Path
    cluster: Cluster
    shared: SharedStudy | None
    resume: Resume
    listener: Listener
    began: float

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint_of(identity_of(self.trainer.describe()))
        self.spaces: tuple[SearchSpace, ...] = ()  # of earlier sessions
        # How many decisions may be in flight, and how many early in a race.
        self.max_in_flight: int | None = None
        self.min_in_flight: int | None = None
        self.cancels = _cancels(self.space, self.trainer)

    def earlier_lines(self) -> Sequence[Evaluation]:
        """Continue the run in the directory, if any, and return its evaluations."""
        if not holds_run(self.directory):
            return ()
        before = load_run(self.directory)
        notes = continue_run(
            self.space,
            self.trainer,
            before,
            extend=self.resume.extend,
            accept_versions=self.resume.accept_versions,
            command=self.resume.command,
        )
        for note in notes:
            self.listener.message(note)
        manifest = manifest_of(self.directory)
        self.spaces = earlier_spaces(self.directory, manifest)
        self.max_in_flight = manifest.get("window")
        self.min_in_flight = manifest.get("window_least")
        return before.evaluations

    def is_complete(self, known: Sequence[Evaluation]) -> bool:
        """Whether the known lines are all that the space asks for; the manifest says so then."""
        if self.max_in_flight is None and raced(self.space):
            return False  # a race that has no limit yet gets one first
        all_begun = len({e.proposal for e in known if e.final}) >= budget(self.space)
        may_be_proven = bool(known) and self.space.stop.proven_rate is not None
        if not (all_begun or may_be_proven):
            return False
        if self.space.search.as_they_come and manifest_of(self.directory).get("complete"):
            return True  # decisions made again with all results at once might ask for more
        with self.journal():
            decisions = self.decisions(known)
            complete = decisions.replay_known()
            if complete:
                self.end(decisions, complete=True)
        return complete

    def create(self) -> None:
        """Make the run's directory."""
        manifest = first_manifest(self.space, self.trainer, self.resume.command)
        objectives = self.space.objectives
        if not only_rate(objectives) or ties_of(objectives) is not None:
            manifest["objectives"] = noted_objectives(objectives)
        if self.shared is not None:
            manifest["study"] = self.shared.entry
        create(self.directory, space_text=self.space.text, manifest=manifest)

    def set_limits(self, workers: _Workers) -> None:
        """Set how many decisions of a new search that learns or races may be in flight."""
        races = raced(self.space)
        if self.max_in_flight is not None or not (races or self.space.search.sampler in LEARNING):
            return
        seconds = longest_first_block(self.space, self.trainer)
        self.max_in_flight = most_in_flight(
            seconds, slots=workers.slots, proposals=budget(self.space)
        )
        least = 1 if workers.one_keeps_up else least_in_flight(workers.slots)
        self.min_in_flight = least if races else None
        update_manifest(self.directory, window=self.max_in_flight, window_least=self.min_in_flight)
        if self.space.search.as_they_come:
            self.listener.message(
                "results are taken as they come: the same seed need not give the same search again;"
                " the journal has their order"
            )

    def journal(self) -> AbstractContextManager[Journal]:
        """The run's journal, locked."""
        return held_journal(
            self.directory / JOURNAL, self.fingerprint, on_message=self.listener.message
        )

    def decisions(self, known: Sequence[Evaluation]) -> SearchDecisions:
        """The search's decisions, with the known results."""
        return SearchDecisions(
            self.space,
            self.trainer,
            proposer_for(self.space, self.spaces, self.trainer.check, self.shared),
            max_in_flight=self.max_in_flight,
            min_in_flight=self.min_in_flight,
            known=known,
            fingerprint=self.fingerprint,
            ends=self.cancels,
        )

    def end(
        self, decisions: SearchDecisions, *, complete: bool, ahead: Ahead | None = None
    ) -> None:
        """Write to the manifest how the session ended."""
        notes: dict[str, object] = {"complete": complete}
        if ahead is not None and ahead.trained:
            notes["seeds_ahead"] = f"{ahead.trained:,} trained ahead, {ahead.used:,} of them used"
        if (proven := decisions.proven) is not None:
            notes["proven"] = {"key": proven[0], "rate": proven[1]}
        update_manifest(self.directory, **notes)


class _Work:
    """The work of a session: the search, then its certificate. Any executor can train some of it.

    Attributes:
        decisions: of the search.
        ahead: trains ahead of the decisions; None unless the trainer stacks seeds.
        is_searched: whether the search has ended, so that only its certificate may be left.
        complete: whether it has trained everything that the space asks for.
        finished: whether nothing is left to do.
    """

    def __init__(
        self,
        session: _Session,
        record: Record,
        *,
        known: Sequence[Evaluation],
        slots: int,
        stacking: Stacking | None,
    ) -> None:
        self.session, self.slots, self._record = session, slots, record
        self.decisions = session.decisions(known)
        stacks = has(session.trainer, "stacks_seeds")
        self.ahead = Ahead(self.decisions, stacking) if stacks else None
        started, tell = time.monotonic(), session.listener.progress

        def timed(news: Progress) -> None:
            if tell is not None:
                tell(replace(news, seconds=time.monotonic() - started))

        self._on_progress = timed
        budget = session.space.search.time_budget
        self._batches = Batches(
            self.decisions,
            session.trainer,
            record,
            slots=slots,
            max_in_flight=session.max_in_flight,
            limit=session.cluster.trial_timeout,
            deadline=None if budget is None else session.began + budget,
            ahead=self.ahead,
        )
        self.is_searched = self.complete = self.finished = False

    def train(self, executor: Executor) -> None:
        """Train until all is done, or this executor takes nothing more."""
        if not self.is_searched:
            try:
                run(self._batches, executor, self._record, self._on_progress)
            except KeyboardInterrupt:
                self._record_verdicts()
                raise
            if not self._batches.finished:
                return
            self.is_searched = True
            timed_out = self._batches.over and self.decisions.unfinished
            self.complete = not self._record.ends and not timed_out
            self._record_verdicts()
        if (batches := self._certificate) is not None:
            tell = seeds_callback(self.session.listener.certify)
            run(batches, executor, self._record, tell)
            self.finished = batches.finished
        else:
            self.finished = True

    def _record_verdicts(self) -> None:
        for line in self.decisions.verdicts():
            self._record(line)

    @cached_property
    def _certificate(self) -> Batches | None:
        session = self.session
        if session.space.seeds.certify is None or self._record.ends:
            return None
        spent = time.monotonic() - session.began
        fresh = fresh_seeds_after(
            session.directory,
            session.trainer,
            self.slots,
            budget=session.space.search.time_budget,
            spent=spent,
            accept=session.resume.accept_versions,
        )
        if fresh is None:
            return None
        limit = session.cluster.trial_timeout
        return Batches(fresh, session.trainer, self._record, slots=self.slots, limit=limit)


# -------------------------------------------------------------------------------------------------
# Who trains: this process, processes of this machine, or Ray.

TRIAL_SECONDS = 0.02
"""What a trial of Ray costs, about."""

START_AT_ONCE_FACTOR = 10
"""Start processes at once if the estimated work exceeds this multiple of `PROCESS_SECONDS`."""

SHORT = 0.1
"""Maximum seconds for a seed of a user's function that is trained while Ray starts."""


class _Workers:
    """Trains a session's work on the first of these that applies.

    1. The executor that the caller gave.
    2. This process, with `workers=0`.
    3. Processes of this machine, for the built-in network and a `TorchTraining`.
    4. Ray.

    Where trainings are short, this process trains while 3 or 4 start, and alone if that is sooner.
    A seed takes `seconds`, if that is known; `stack` ends what is started.

    Attributes:
        slots: how many trials run at once.
        one_keeps_up: whether one process trains the first configurations as fast as several would.
    """

    def __init__(
        self,
        session: _Session,
        stack: ExitStack,
        executor: Executor | None,
        seconds: float | None,
    ) -> None:
        space, trainer, cluster = session.space, session.trainer, session.cluster
        self._session, self._stack = session, stack
        self.one_keeps_up = executor is None and _in_milliseconds(space, trainer, seconds)
        is_alone = executor is None and session.shared is None  # a study is told each result
        self._processes = processes_here(space, trainer, cluster) if is_alone else 0
        if executor is None and cluster.workers == 0:
            executor = LocalExecutor(trainer)
        elif self._processes and has(trainer, "stacks_seeds"):
            executor = stack.enter_context(ProcessExecutor(trainer, self._processes))
        stack.callback(end_process)
        self._executor, self._trains_while_starting = executor, False
        if executor is not None:
            self.slots = executor.slots
            return
        if self._processes > 1:
            first = list(islice(_first_blocks(space), 100))
            each = sum(map(trainer.cost, first)) / len(first)
            if each * budget(space) / self._processes > START_AT_ONCE_FACTOR * PROCESS_SECONDS:
                self._begin_processes()  # they import while this process still does
        expected = 0
        if is_alone and _may_train_while_starting(trainer, cluster, seconds):
            expected = slots_to_come(cluster)
        self._trains_while_starting = expected > 0
        if not expected and not self._processes:
            stack.enter_context(connected(cluster))
        self.slots = expected or self._processes or slots(cluster)

    def train(self, work: _Work) -> None:
        """Train all work; return early only where its time is over or a failure ends it."""
        session = self._session
        if self._executor is not None:
            work.train(self._executor)
            return
        if self._trains_while_starting:
            self._train_while_starting(work)
        if work.finished:
            return
        if self._processes:
            executor = ProcessExecutor(session.trainer, self._processes)
            work.train(self._stack.enter_context(executor))
            return
        end_process()  # the process in which the function was checked
        with on_ray(
            session.trainer,
            session.cluster,
            session.directory.resolve() / "ray",
            cancels=session.cancels,
            on_message=session.listener.message,
        ) as ray:
            work.train(ray)

    def _train_while_starting(self, work: _Work) -> None:
        """Train in this process while Ray or processes start, if they are needed at all.

        Raises:
            InputError: Ray did not start, and there is more to train.
        """
        trainer, refusal = self._session.trainer, None
        begun = training_while_workers_start(
            work.train, trainer, self.slots, ray=not self._processes
        )
        with begun as needs_workers:
            if not needs_workers() or work.finished:
                return
            if self._processes:
                self._begin_processes()
                while not (spares_are_ready() or work.finished):
                    time.sleep(0.02)
                return
            try:
                self._stack.enter_context(connected(self._session.cluster))
            except InputError as error:
                refusal = error
        if refusal is not None and not work.finished:
            raise refusal

    def _begin_processes(self) -> None:
        """Start processes, which import and load the engine meanwhile."""
        first = next(_first_blocks(self._session.space))
        start_spares(self._session.trainer, Block(first.point, 0, 1), self._processes)


def _may_train_while_starting(trainer: Trainer, cluster: Cluster, seconds: float | None) -> bool:
    """Whether this machine may train before Ray has started.

    The fused engine may, in this process: it can neither hang nor die. A user's function may, in a
    separate process, if its seeds are known to be short.
    """
    if cluster.gpus_per_trial or cluster.trial_timeout is not None:
        return False
    if has(trainer, "own_process"):
        return seconds is not None and seconds <= SHORT
    return trainer.describe().get("engine") == "fused"


def processes_here(space: SearchSpace, trainer: Trainer, cluster: Cluster) -> int:
    """How many processes of this machine train in place of Ray's workers; 0: none.

    They train the built-in network and a `TorchTraining`. Only Ray's workers can cancel a training
    whose configuration is proven worse, or end one that takes too long.
    """
    if not (has(trainer, "stacks_seeds") or isinstance(trainer, NetworkTrainer)):
        return 0
    if cluster.gpus_per_trial or cluster.trial_timeout is not None or cluster.workers == 0:
        return 0
    return 0 if _cancels(space, trainer) else slots_to_come(cluster)


def _cancels(space: SearchSpace, trainer: Trainer) -> bool:
    """Whether trainings are cancelled once their configuration is proven worse."""
    return has(trainer, "gives_reports") and raced(space)


def _first_blocks(space: SearchSpace) -> Iterator[Block]:
    return (Block(point, 0, space.seeds.ladder[0]) for point in probes(space))


def longest_first_block(space: SearchSpace, trainer: Trainer) -> float:
    """Seconds that the first seeds of a configuration take at most, as the trainer estimates it."""
    return max(map(trainer.cost, islice(_first_blocks(space), 100)))


def _in_milliseconds(space: SearchSpace, trainer: Trainer, seconds: float | None) -> bool:
    """Whether the first seeds of a configuration take less than a trial of Ray costs.

    One process that knows all results before each decision then keeps up with several workers.
    `seconds` is what a seed of a user's function took; for the network the estimate counts.
    """
    if (engine := trainer.describe().get("engine")) is not None:
        return engine == "fused" and longest_first_block(space, trainer) <= TRIAL_SECONDS
    return seconds is not None and seconds * space.seeds.ladder[0] <= TRIAL_SECONDS


def _seconds_of_a_seed(known: Sequence[Evaluation]) -> float | None:
    """Mean seconds of a seed in the last lines of a journal; None if there are none."""
    last = known[-100:]
    seeds = sum(line.block.count for line in last)
    return sum(line.seconds for line in last) / seeds if seeds else None


# -------------------------------------------------------------------------------------------------
# Before a new search begins: its first proposals, and how long it will take.


def first_proposals(space: SearchSpace, trainer: Trainer, most: int) -> list[Point]:
    """The first points of a new search, at most so many; none for the built-in network.

    Raises:
        InputError: the trainer refuses one.
    """
    if space.task is not None:
        return []
    proposer = proposer_for(space, (), trainer.check)
    first = [proposer.propose(number) for number in range(min(most, budget(space)))]
    return [trainer.check(point) for point in first if point is not None]


def cost_of(space: SearchSpace, cluster: Cluster, check: Check) -> str | None:
    """Estimate how long a search takes, by the seed of its check; None if it takes seconds.

    The range is from the first seeds for each configuration to all seeds for all of them.
    """
    trials, first, most = budget(space), space.seeds.ladder[0], space.seeds.ladder[-1]
    each, gain = check.seconds, check.stacking.gain if check.stacking else 1.0
    workers = 1 if cluster.workers == 0 else slots_to_come(cluster)
    seeds = f"{first:,}" if first == most else f"{first:,} to {most:,}"
    what = f"search: {count(trials, 'configuration')} x {seeds} seeds"
    least = trials * first * each
    sentence = estimate(what, least, max(least, trials * most * each / gain), workers)
    if sentence is None or space.seeds.certify is None:
        return sentence
    fresh = duration(FINALISTS * space.seeds.certify * each / gain / (workers or 1))
    seeds = f"{FINALISTS} x {space.seeds.certify:,} seeds"
    return f"{sentence}; then {seeds} for the certificate: {fresh}"
