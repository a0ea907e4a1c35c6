"""One session of a search: from a checked space to a journal that holds what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from xortune.core.errors import InputError, TrainingError
from xortune.core.formats import count, duration
from xortune.core.outcome import Failure
from xortune.core.point import Point
from xortune.core.trainer import Block, Stacking, Trainer
from xortune.driver.ahead import Ahead
from xortune.driver.batches import Batches, least_in_flight, most_in_flight
from xortune.driver.certify import (
    FINALISTS,
    estimate,
    fresh_seeds_after,
    on_ray,
    seconds_for_certificate,
    seeds_callback,
)
from xortune.driver.cluster import THIS_MACHINE, Cluster, connected, slots, slots_to_come
from xortune.driver.decisions import SearchDecisions
from xortune.driver.loop import (
    PROCESS_SECONDS,
    Executor,
    FirstFailure,
    LocalExecutor,
    ProcessExecutor,
    Record,
    run,
    training_meanwhile,
)
from xortune.driver.propose import LEARNING, SharedStudy, budget, joined, proposer_for
from xortune.driver.subprocesses import end_process, spares_are_ready, start_spares
from xortune.driver.trainer import Check
from xortune.racing.grants import raced
from xortune.racing.objectives import only_rate, ties_of
from xortune.runs.evaluation import Evaluation
from xortune.runs.journal import Journal, held_journal
from xortune.runs.manifest import (
    identity_of,
    label_run,
    made_id,
    manifest_of,
    noted_objectives,
    update_manifest,
)
from xortune.runs.run import JOURNAL, create, holds_run, load_run
from xortune.runs.sessions import continue_run, earlier_spaces, first_manifest
from xortune.runs.status import Progress
from xortune.spaces.grid import probes
from xortune.spaces.model import SearchSpace
from xortune.trainers.function import CustomTrainer
from xortune.trainers.network import NetworkTrainer


@dataclass(frozen=True)
class Listener:
    """Who is told of a search while it runs.

    Attributes:
        progress: called after each finished trial, once it is on the disk.
        certify: called with the fresh seeds done and all of them.
        message: called with a sentence that the user should read.
        failure: called with the first seed that fails, or block that produces nothing.
    """

    progress: Callable[[Progress], None] | None = None
    certify: Callable[[int, int], None] | None = None
    message: Callable[[str], None] | None = None
    failure: Callable[[Failure], None] | None = None


@dataclass(frozen=True)
class Resume:
    """How a session may continue a run.

    Attributes:
        extend: with a space that has grown.
        accept_versions: with another engine or other versions than made the run.
        command: the command line, for the manifest.
    """

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
    listener: Listener = Listener(),
    labels: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    seconds: float | None = None,
    stacking: Stacking | None = None,
    executor: Executor | None = None,
    ends: ExitStack | None = None,
) -> bool:
    """Evaluate what the space asks for and the journal does not hold yet; False if interrupted.

    A certificate that the space asks for follows on the same workers. Where the time budget is over
    before all is done, the manifest says `complete: false`.

    Args:
        space: already checked by the trainer.
        trainer: what trains.
        directory: of the run; one that holds a run is continued. Its lock is held.
        cluster: where it is trained, and what each trial may use.
        shared: a study that other searches ask and tell too; None for one of its own.
        resume: how a run that the directory holds is continued.
        listener: who is told of it.
        labels: what the user calls the run.
        fail_fast: whether the first failure ends the session.
        seconds: that a seed of a user's function takes, as far as is known.
        stacking: what is known of stacks of a `TorchTraining`.
        executor: trains all of it, if it is given, in place of this process and Ray.
        ends: what is to end the workers, and the Ray, that it starts; if not given, it does.

    Raises:
        TrainingError: a seed failed, and `fail_fast` is asked for.
        InputError: an unreachable cluster or one too small, a directory that cannot be written, a
            proposal that the trainer refuses, a run that may not be continued so.
    """
    began = time.monotonic()  # what Ray takes to start is of the time budget too
    shared = joined(shared, space, directory, listener.message)
    session = _Session(space, trainer, directory, cluster, shared, resume, listener, began)
    known = session.earlier_lines()
    if session.may_be_done(known) and session.recalls(known):
        label_run(directory, labels)
        return True
    if not known:  # before Ray is started: a directory that cannot be written is told at once
        session.create()
    label_run(directory, labels)
    with nullcontext(ends) if ends else ExitStack() as stack:
        alone = executor is None  # or it is a launcher's to train at once
        processes = processes_here(space, trainer, cluster) if alone and shared is None else 0
        if executor is None and cluster.workers == 0:
            executor = LocalExecutor(trainer)
        elif processes and isinstance(trainer, CustomTrainer):
            executor = stack.enter_context(ProcessExecutor(trainer, processes))
        stack.callback(end_process)
        _begin_surely(space, trainer, processes)
        took = _seconds_of_a_seed(known) if seconds is None else seconds
        here = executor is None and shared is None  # a study must be told
        here = here and _may_train_here(trainer, cluster, took)
        expected = slots_to_come(cluster) if here else 0
        if executor is None and not expected and not processes:
            stack.enter_context(connected(cluster))
        room = executor.slots if executor is not None else expected or processes or slots(cluster)
        session.set_limits(room, alone=alone and _in_milliseconds(space, trainer, took))
        with session.journal() as journal:
            failures = FirstFailure(listener.failure, fatal=fail_fast)
            agenda = _Agenda(session, journal, failures, known=known, room=room, stacking=stacking)
            known = ()  # each is freed when it has been used: there may be a million
            uninterrupted = True
            try:
                if executor is not None:
                    agenda.train(executor)
                elif expected:
                    _begin_here(agenda, stack, processes)
                if executor is None and not agenda.finished and processes:
                    agenda.train(stack.enter_context(ProcessExecutor(trainer, processes)))
                elif executor is None and not agenda.finished:
                    end_process()  # the process in which the function was tried
                    with on_ray(
                        trainer,
                        cluster,
                        directory.resolve() / "ray",
                        cancels=session.cancels,
                        on_message=listener.message,
                    ) as workers:
                        agenda.train(workers)
            except KeyboardInterrupt:
                uninterrupted = False
                journal.hurry()
    session.end(agenda.decisions, complete=agenda.complete, ahead=agenda.ahead)
    if failures.ends is not None:
        raise TrainingError(failures.ends.reason)
    return uninterrupted


@dataclass
class _Session:
    """What a session searches and knows of those before it."""

    space: SearchSpace
    trainer: Trainer
    directory: Path
    cluster: Cluster
    shared: SharedStudy | None
    terms: Resume
    listener: Listener
    began: float

    def __post_init__(self) -> None:
        self.made = made_id(identity_of(self.trainer.describe()))
        self.spaces: tuple[SearchSpace, ...] = ()  # of earlier sessions
        # How many decisions may be in flight, and how many early in a race.
        self.most: int | None = None
        self.least: int | None = None
        # Trainings that report can be cancelled.
        reports = isinstance(self.trainer, CustomTrainer) and self.trainer.reports
        self.cancels = reports and raced(self.space)

    def earlier_lines(self) -> Sequence[Evaluation]:
        """Continue the run that the directory holds, if any; its evaluations."""
        if not holds_run(self.directory):
            return ()
        before = load_run(self.directory)
        continue_run(
            self.space, self.trainer, before, say=self.listener.message, **vars(self.terms)
        )
        manifest = manifest_of(self.directory)
        self.spaces = earlier_spaces(self.directory, manifest)
        self.most, self.least = manifest.get("window"), manifest.get("window_least")
        return before.evaluations

    def may_be_done(self, known: Sequence[Evaluation]) -> bool:
        """Whether what is known may be all that was asked for."""
        all_begun = len({e.proposal for e in known if e.final}) >= budget(self.space)
        proof = known and self.space.stop.proven_rate is not None  # may have ended it sooner
        # A race that began before races had limits gets one first.
        return bool(all_begun or proof) and not (self.most is None and raced(self.space))

    def recalls(self, known: Sequence[Evaluation]) -> bool:
        """Whether what is known is all that was asked for; then the manifest says so."""
        if self.space.search.as_they_come and manifest_of(self.directory).get("complete"):
            return True  # decided again, by all that is known at once, it might ask for more
        with self.journal():
            decisions = self.decisions(known)
            done = decisions.recall()
            if done:
                self.end(decisions, complete=True)
        return done

    def create(self) -> None:
        """Make the run's directory."""
        noted = first_manifest(self.space, self.trainer, self.terms.command)
        objectives = self.space.objectives
        if not only_rate(objectives) or ties_of(objectives) is not None:
            noted["objectives"] = noted_objectives(objectives)
        if self.shared is not None:
            noted["study"] = self.shared.entry
        create(self.directory, space_text=self.space.text, manifest=noted)

    def set_limits(self, room: int, *, alone: bool) -> None:
        """Of a new search that learns or races: how many decisions may be in flight.

        Where one process `alone` trains the first configurations as soon as many would, it is 1.
        """
        races = raced(self.space)
        if self.most is not None or not (races or self.space.search.sampler in LEARNING):
            return
        seconds = longest_first_block(self.space, self.trainer)
        self.most = most_in_flight(seconds, slots=room, proposals=budget(self.space))
        self.least = (1 if alone else least_in_flight(room)) if races else None
        update_manifest(self.directory, window=self.most, window_least=self.least)
        if self.space.search.as_they_come and self.listener.message is not None:
            self.listener.message(AS_THEY_COME)

    def journal(self) -> AbstractContextManager[Journal]:
        """The run's journal, held."""
        return held_journal(self.directory / JOURNAL, self.made, say=self.listener.message)

    def decisions(self, known: Sequence[Evaluation]) -> SearchDecisions:
        """The search's decisions, with what is known."""
        return SearchDecisions(
            self.space,
            self.trainer,
            proposer_for(self.space, self.spaces, self.trainer.check, self.shared),
            max_in_flight=self.most,
            min_in_flight=self.least,
            known=known,
            made=self.made,
            ends=self.cancels,
        )

    def end(
        self, decisions: SearchDecisions, *, complete: bool, ahead: Ahead | None = None
    ) -> None:
        """Note how it ended, and which config ended it before all its proposals were made."""
        proof: dict[str, object] = {}
        if ahead is not None and ahead.trained:
            proof["seeds_ahead"] = f"{ahead.trained:,} trained ahead, {ahead.used:,} of them used"
        if (proven := decisions.proven) is not None:
            proof["proven"] = {"key": proven[0], "rate": proven[1]}
        update_manifest(self.directory, complete=complete, **proof)


class _Agenda:
    """What a session trains, by whichever executor: the search, then its certificate.

    Attributes:
        decisions: of the search.
        ahead: what is trained ahead of its decisions; None where each seed takes its own time.
        finished: whether all is done.
    """

    def __init__(
        self,
        session: _Session,
        journal: Journal,
        failures: FirstFailure,
        *,
        known: Sequence[Evaluation],
        room: int,
        stacking: Stacking | None = None,
    ) -> None:
        self.session, self.room = session, room
        self._journal, self._failures = journal, failures
        self.decisions = session.decisions(known)
        trainer = session.trainer
        stacks = isinstance(trainer, CustomTrainer) and trainer.form.stacked
        self.ahead = Ahead(self.decisions, stacking) if stacks else None
        started, tell = time.monotonic(), session.listener.progress

        def clocked(news: Progress) -> None:
            if tell is not None:
                tell(Progress(**vars(news) | {"seconds": time.monotonic() - started}))

        self._record = Record(journal, self.decisions, clocked, failures)
        budget = session.space.search.time_budget
        self._batches = Batches(
            self.decisions,
            session.trainer,
            self._record,
            slots=room,
            max_in_flight=session.most,
            limit=session.cluster.trial_timeout,
            deadline=None if budget is None else session.began + budget,
            ahead=self.ahead,
        )
        self._following: tuple[Batches, Record] | None = None
        self._searched = self.finished = False

    def train(self, executor: Executor) -> None:
        """Train until all is done, or nothing that this executor takes."""
        run(self._batches, executor, self._record)
        self._searched = self._batches.finished
        if self._searched:
            self._record.note(self.decisions.verdicts())
        if self._searched and self._following is None and not self._failures.ends:
            self._following = self._certificate()
        if not self._searched or self._following is None:
            self.finished = self._searched
            return
        batches, record = self._following
        run(batches, executor, record)
        self.finished = batches.finished

    def _certificate(self) -> tuple[Batches, Record] | None:
        session, spent = self.session, time.monotonic() - self.session.began
        if session.space.seeds.certify is None:
            return None
        fresh = fresh_seeds_after(
            session.directory,
            session.trainer,
            self.room,
            most=seconds_for_certificate(session.space.search.time_budget, spent),
            accept=session.terms.accept_versions,
        )
        if fresh is None:
            return None
        tell, limit = seeds_callback(session.listener.certify), session.cluster.trial_timeout
        record = Record(self._journal, fresh, tell, self._failures)
        return Batches(fresh, session.trainer, record, slots=self.room, limit=limit), record

    @property
    def complete(self) -> bool:
        """Whether the search has trained all that it was asked for."""
        timed_out = self._batches.over and self.decisions.undone
        return self._searched and not self._failures.ends and not timed_out


# -------------------------------------------------------------------------------------------------
# What is trained in this process, before or instead of Ray.

AS_THEY_COME = (
    "results are taken as they come: the same seed need not give the same search again; the journal"
    " has their order"
)

TRIAL_SECONDS = 0.02
"""What a trial of Ray costs, about."""

SURE = 10
"""How many times as long as it pays a search must be estimated to take, to be sure of that."""

SHORT = 0.1
"""Seconds that a seed of a user's function takes at most, to be trained while Ray starts."""


def _may_train_here(trainer: Trainer, cluster: Cluster, seconds: float | None) -> bool:
    """Whether trainings may begin on this machine before Ray has started.

    Those of the fused engine may, in this process: they cannot hang nor die. A user's function may,
    in a process of its own, if its seeds are known to be short.
    """
    if cluster.gpus_per_trial or cluster.trial_timeout is not None:
        return False
    if isinstance(trainer, NetworkTrainer):
        return trainer.describe()["engine"] == "fused"
    return isinstance(trainer, CustomTrainer) and seconds is not None and seconds <= SHORT


def processes_here(space: SearchSpace, trainer: Trainer, cluster: Cluster) -> int:
    """How many processes of this machine train without Ray; 0: Ray's workers do.

    They train the built-in network and a `TorchTraining`. Ray's are told of configurations that are
    proven worse while they train, and are ended in time.
    """
    stacks = isinstance(trainer, CustomTrainer) and trainer.form.stacked
    if not stacks and not isinstance(trainer, NetworkTrainer):
        return 0
    if cluster.gpus_per_trial or cluster.trial_timeout is not None or cluster.workers == 0:
        return 0
    told = isinstance(trainer, CustomTrainer) and trainer.reports and raced(space)
    return 0 if told else slots_to_come(cluster)


def _first_blocks(space: SearchSpace) -> Iterator[Block]:
    return (Block(point, 0, space.seeds.ladder[0]) for point in probes(space))


def _in_milliseconds(space: SearchSpace, trainer: Trainer, seconds: float | None) -> bool:
    """Whether the first seeds of a configuration take less than a trial of Ray costs.

    Then one process that knows all results before each decision keeps up with several workers. A
    seed of a user's function took so many seconds; of the built-in network the estimate counts.
    """
    if isinstance(trainer, NetworkTrainer):  # the estimate is of the fused engine
        fused = trainer.describe()["engine"] == "fused"
        return fused and longest_first_block(space, trainer) <= TRIAL_SECONDS
    return seconds is not None and seconds * space.seeds.ladder[0] <= TRIAL_SECONDS


def _seconds_of_a_seed(known: Sequence[Evaluation]) -> float | None:
    """Seconds that a seed has taken in the last lines of a journal; None if there are none."""
    last = known[-100:]
    seeds = sum(line.block.count for line in last)
    return sum(line.seconds for line in last) / seeds if seeds else None


def _begin_surely(space: SearchSpace, trainer: Trainer, processes: int) -> None:
    """Start processes that will be wanted without doubt: they import while this one still does."""
    if processes > 1 and isinstance(trainer, NetworkTrainer):
        first = list(islice(_first_blocks(space), 100))
        seconds = sum(map(trainer.cost, first)) / len(first) * budget(space) / processes
        if seconds > SURE * PROCESS_SECONDS:
            _begin_processes(space, trainer, processes)


def _begin_processes(space: SearchSpace, trainer: NetworkTrainer, processes: int) -> None:
    """Start the processes that will train: they import, and load the engine, meanwhile."""
    start_spares(trainer, Block(next(_first_blocks(space)).point, 0, 1), processes)


def _begin_here(agenda: _Agenda, stack: ExitStack, processes: int) -> None:
    """Train in this process while Ray starts, or instead: then no Ray may be needed.

    Where processes of this machine train what is left, there is none to start.

    Raises:
        InputError: Ray did not start, and there is more to train.
    """
    missed: InputError | None = None
    trainer = agenda.session.trainer
    begun = training_meanwhile(agenda.train, trainer, agenda.room, ray=not processes)
    with begun as wants_workers:
        wanted = wants_workers() and not agenda.finished
        if wanted and processes and isinstance(trainer, NetworkTrainer):
            _begin_processes(agenda.session.space, trainer, processes)
            while not (spares_are_ready() or agenda.finished):
                time.sleep(0.02)
        elif wanted:
            try:
                stack.enter_context(connected(agenda.session.cluster))
            except InputError as error:
                missed = error
    if missed is not None and not agenda.finished:
        raise missed


def longest_first_block(space: SearchSpace, trainer: Trainer) -> float:
    """Seconds that the first seeds of a config take, as the trainer estimates it, at most."""
    return max(map(trainer.cost, islice(_first_blocks(space), 100)))


# -------------------------------------------------------------------------------------------------
# What is known before a new search begins: its first proposals, and what it will take.


def first_proposals(space: SearchSpace, trainer: Trainer, most: int) -> list[Point]:
    """What a new search of a trainer of the user's own trains first, at most so many.

    Raises:
        InputError: the trainer refuses one.
    """
    if space.task is not None:
        return []
    proposer = proposer_for(space, (), trainer.check)
    first = [proposer.propose(number) for number in range(min(most, budget(space)))]
    return [trainer.check(point) for point in first if point is not None]


def cost_of(space: SearchSpace, cluster: Cluster, check: Check) -> str | None:
    """How long a search takes by the seed of its check; None if that is a matter of seconds.

    From what it takes if each configuration gets the first seeds, to what it takes if all get all.
    """
    trials, first, most = budget(space), space.seeds.ladder[0], space.seeds.ladder[-1]
    each, gain = check.seconds, check.stacking.gain if check.stacking else 1.0
    workers = 1 if cluster.workers == 0 else slots_to_come(cluster)
    seeds = f"{first:,}" if first == most else f"{first:,} to {most:,}"
    what = f"search: {count(trials, 'configuration')} x {seeds} seeds"
    least = trials * first * each
    told = estimate(what, least, max(least, trials * most * each / gain), workers)
    if told is None or space.seeds.certify is None:
        return told
    fresh = duration(FINALISTS * space.seeds.certify * each / gain / (workers or 1))
    seeds = f"{FINALISTS} x {space.seeds.certify:,} seeds"
    return f"{told}; then {seeds} for the certificate: {fresh}"
