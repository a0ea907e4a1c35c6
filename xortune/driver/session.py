"""One session of a search: prepare the run, choose who trains, train, note how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xortune.core.errors import InputError, Interrupted, TrainingError
from xortune.core.formats import count, duration
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.seeds import IgnoredSeed
from xortune.core.trainer import Block, Outages, Trainer
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import least_in_flight, most_in_flight
from xortune.deciding.knowledge import TakenOver
from xortune.deciding.propose import proposer_for
from xortune.driver.audits import lacks_audits
from xortune.driver.certify import (
    estimate,
    fresh_seeds_after,
    missing_certificate,
)
from xortune.driver.trainer import Check, counting, differing, noted_seeds, train_later
from xortune.driver.voice import SILENT, Voice
from xortune.driver.workplace import Workplace
from xortune.racing.grants import raced
from xortune.racing.objectives import only_rate, ties_of
from xortune.racing.race import FINALISTS
from xortune.runs.evaluation import Evaluations
from xortune.runs.journal import Journal, held_journal
from xortune.runs.manifest import (
    UNKNOWN,
    fingerprint_of,
    identities_of,
    identity_of,
    label_run,
    manifest_of,
    noted_objectives,
    update_manifest,
)
from xortune.runs.run import create, holds_run, load_run
from xortune.runs.sessions import (
    NEW_RUN,
    Resume,
    continue_run,
    earlier_spaces,
    first_manifest,
    note_session,
)
from xortune.runs.status import Pace, Progress
from xortune.runs.store import JOURNAL
from xortune.spaces.grid import budget, probes
from xortune.spaces.model import SearchSpace
from xortune.spaces.samplers import sampler_named
from xortune.training.ahead import Ahead
from xortune.training.batches import Again, Batches
from xortune.training.executors import AskedExecutor, executor_for
from xortune.training.loop import Executor, Record
from xortune.training.process import is_interrupted
from xortune.training.processes import let_processes_go
from xortune.training.resources import THIS_MACHINE, Cluster
from xortune.training.slots import slots_to_come
from xortune.training.timing import MeasuredSeconds


def search_session(
    space: SearchSpace,
    trainer: Trainer,
    directory: Path,
    *,
    cluster: Cluster = THIS_MACHINE,
    resume: Resume = NEW_RUN,
    taken: TakenOver | None = None,
    voice: Voice = SILENT,
    labels: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    outages: Outages | None = None,
    check: Check | None = None,
    check_later: Callable[[], Check | None] | None = None,
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
        resume: how a run in the directory is continued.
        taken: what a new run takes over from another one.
        voice: tells the user and the caller's listener.
        labels: the user's note and tags for the run.
        fail_fast: whether the first failure ends the session.
        outages: what becomes of seeds that cannot be tried.
        check: result of the call of a user's function before the start.
        check_later: calls it, once Ray's workers are there.
        executor: trains everything if given, in place of what `cluster` says.
        ends: the stack that ends the workers of this session; its own if not given.

    Returns:
        False if the user interrupted it.

    Raises:
        TrainingError: a seed failed, with `fail_fast`; or more seeds are void than `max_void`
            allows.
        InputError: an unreachable cluster or one too small, a directory that cannot be written, a
            proposal that the trainer refuses, a run that may not be continued so.
    """
    began, outages = time.monotonic(), Outages() if outages is None else outages
    session = _Session(space, trainer, directory, resume, taken, voice, began)
    known = session.earlier_lines()
    if known and check is not None:  # which was asked for
        update_manifest(directory, **noted_seeds(check.twice))
    is_searched = session.is_complete(known)
    is_audited = not lacks_audits(known.lines.audit(session.fingerprint))
    if is_searched and is_audited and missing_certificate(load_run(directory)) is None:
        label_run(directory, labels)
        return True
    if not holds_run(directory):
        session.create(
            check
        )  # before Ray starts, to refuse a directory that cannot be written at once
    label_run(directory, labels)
    with _interrupts_named(directory), nullcontext(ends) if ends else ExitStack() as stack:
        if executor is None:
            asked = AskedExecutor(
                trainer,
                cluster,
                directory,
                on_message=voice.warn,
                is_checked=check_later is None,
            )
            executor = stack.enter_context(executor_for(asked))
        if check_later is not None:
            check = check_later()
            let_processes_go()
            update_manifest(directory, **noted_seeds(None if check is None else check.twice))
        session.set_limits(executor.slots)
        with session.journal() as journal:
            # A seed of the network crashes for lack of memory; a traceback says nothing of that.
            on_failure = voice.fail if space.task is None else voice.tell
            if not is_searched:
                seconds = space.search.time_budget
                noted = {} if seconds is None else {"time_budget": seconds}
                note_session(directory, workers=max(1, executor.slots), **noted)
            limit, file = cluster.each.limit, directory / JOURNAL
            place = Workplace(trainer, executor, voice, outages, limit, journal, file)
            begins_again, interrupted = True, False
            while begins_again:
                record = place.record(
                    on_failure,
                    fatal=fail_fast,
                    before=int((known.column("count") * known.column("final")).sum()),
                    ignored=IgnoredSeed(counting(space), voice.warn, several=budget(space) > 1),
                )
                work = _Work(session, place, record, known=known, check=check)
                work.is_searched = work.complete = is_searched
                try:
                    work.train()
                except KeyboardInterrupt:
                    interrupted = True
                    journal.hurry()
                    break
                if begins_again := work.begins_again:
                    journal.sync()
                    known, is_searched = session.begin_again(), False
    if not is_searched:
        session.note_pace(work.pace)
    if not work.begins_again:  # else it was interrupted before it could
        session.end(work.decisions, complete=work.complete, ahead=work.ahead)
    if record.ends is not None:
        raise TrainingError(record.ends.reason)
    return not interrupted


@contextmanager
def _interrupts_named(directory: Path) -> Iterator[None]:
    """Name the run in an interrupt that comes while Ray or the workers start: it can be resumed."""
    try:
        yield
    except (KeyboardInterrupt, ImportError) as error:
        # A compiled package makes an ImportError of a signal that comes while it is imported.
        if isinstance(error, ImportError) and not is_interrupted():
            raise
        raise Interrupted(str(directory)) from None


@dataclass
class _Session:
    """What a session searches, and what it knows of earlier sessions of the run."""

    space: SearchSpace
    trainer: Trainer
    directory: Path
    resume: Resume
    taken: TakenOver | None
    voice: Voice
    began: float

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint_of(identity_of(self.trainer.describe()))
        self.spaces: tuple[SearchSpace, ...] = ()  # of earlier sessions
        self.budget = self.space.search.time_budget  # what is left of it
        # How many decisions may be in flight, and how many early in a race.
        self.max_in_flight: int | None = None
        self.min_in_flight: int | None = None
        self.cancels = _cancels(self.space, self.trainer)
        self.replayed: SearchDecisions | None = None  # with all known results

    def earlier_lines(self) -> Evaluations:
        """Continue the run in the directory, if any, and return its evaluations."""
        if not holds_run(self.directory):
            if self.resume.allowed:
                self.voice.inform(f"{self.directory} holds no run yet: a new one begins")
            return Evaluations.of(())
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
            self.voice.warn(note)
        is_new = self.fingerprint not in identities_of(before.manifest)
        if is_new and before.manifest.get("deterministic") is True:
            update_manifest(self.directory, deterministic=UNKNOWN)
        manifest = manifest_of(self.directory)
        began = TakenOver.of(manifest)
        if self.taken is not None and (began is None or not began.is_of(self.taken.source)):
            other = "without another one" if began is None else f"with {began.source}"
            raise InputError(
                f"this run began {other}, and a run takes over what another knows as it begins",
                field="from_",
                place=str(self.directory),
                fix=f"leave it out, or begin another run with {self.taken.source}",
            )
        self.spaces = earlier_spaces(self.directory, manifest)
        self.max_in_flight = manifest.get("window")
        self.min_in_flight = manifest.get("window_least")
        return before.evaluations

    def is_complete(self, known: Evaluations) -> bool:
        """Whether the known lines are all that the space asks for; the manifest says so then."""
        learns = raced(self.space) or _learns(self.space)
        if self.max_in_flight is None and learns:
            return False  # a search that has no limit yet gets one first
        begun = known.where(known.column("final") > 0).column("proposal")
        all_begun = len(np.unique(begun)) >= budget(self.space)
        may_have_ended = bool(known) and self.space.stop.by_results
        if not (all_begun or may_have_ended):
            return False
        if self.space.search.as_they_come and manifest_of(self.directory).get("complete"):
            return True  # decisions made again with all results at once might ask for more
        with self.journal():
            decisions = self.replayed = self.decisions(known)
            complete = decisions.replay_known()
            if complete:
                self.end(decisions, complete=True)
        return complete

    def begin_again(self) -> Evaluations:
        """The lines that count, once results of stacks are replaced."""
        self.replayed = None
        if self.budget is not None:
            self.budget = max(self.budget - (time.monotonic() - self.began), 0.0)
        update_manifest(self.directory, complete=False, proven=None)
        return load_run(self.directory).evaluations

    def create(self, check: Check | None) -> None:
        """Make the run's directory."""
        manifest = first_manifest(self.space, self.trainer, self.resume.command)
        if self.space.task is None:
            manifest |= noted_seeds(None if check is None else check.twice)
        objectives = self.space.objectives
        if not only_rate(objectives) or ties_of(objectives) is not None:
            manifest["objectives"] = noted_objectives(objectives)
        if (taken := self.taken) is not None:
            manifest["taken_over"] = taken.entry
            self.voice.warn(str(taken))
        create(self.directory, space_text=self.space.text, manifest=manifest)

    def set_limits(self, slots: int) -> None:
        """Set how many seeds of a new search that learns or races may be in flight.

        The limits depend on the space, the trainer's estimates and the number of slots alone, so
        that whatever trains, the same decisions are made.
        """
        races = raced(self.space)
        if self.max_in_flight is not None or not (races or _learns(self.space)):
            return
        least = most = least_in_flight(slots)
        # What a seed of a user's code takes is not known beforehand, and more in flight than keeps
        # the workers busy is not known to the next decision.
        if self.trainer.traits.stacks_seeds or not self.trainer.traits.users_code:
            seconds = longest_first_block(self.space, self.trainer)
            most = most_in_flight(seconds, slots=slots, proposals=budget(self.space))
            least = 0 if seconds <= SHORT_BLOCK_SECONDS else least
        self.max_in_flight = self.space.seeds.ladder[0] * most
        self.min_in_flight = least if races else None
        update_manifest(self.directory, window=self.max_in_flight, window_least=self.min_in_flight)
        if self.space.search.as_they_come:
            self.voice.warn(
                "results are taken as they come: the same seed need not give the same search again;"
                " the journal has their order"
            )

    def journal(self) -> AbstractContextManager[Journal]:
        """The run's journal, locked."""
        return held_journal(self.directory / JOURNAL, self.fingerprint, on_message=self.voice.warn)

    def decisions(self, known: Evaluations) -> SearchDecisions:
        """The search's decisions, with the known results."""
        taken = TakenOver.of(manifest_of(self.directory))
        return SearchDecisions(
            self.space,
            self.trainer,
            proposer_for(self.space, self.spaces, self.trainer.check, taken),
            max_in_flight=self.max_in_flight,
            min_in_flight=self.min_in_flight,
            known=known,
            fingerprint=self.fingerprint,
            ends=self.cancels,
            first_seed=0 if taken is None else taken.first_seed,
        )

    def note_pace(self, pace: Pace) -> None:
        """Write to the manifest how many workers the session had, and how long they trained."""
        note_session(
            self.directory,
            workers=max(1, pace.workers),
            busy_seconds=round(pace.busy_seconds, 3),
            worker_seconds=round(pace.worker_seconds, 3),
        )

    def end(
        self, decisions: SearchDecisions, *, complete: bool, ahead: Ahead | None = None
    ) -> None:
        """Write to the manifest how the session ended."""
        limit = decisions.seed_limit if complete else None
        notes: dict[str, object] = {"complete": complete, "seed_limit": limit}
        if ahead is not None and ahead.trained:
            notes["seeds_ahead"] = f"{ahead.trained:,} trained ahead, {ahead.used:,} of them used"
        if (proven := decisions.proven) is not None:
            notes["proven"] = {"key": proven[0], "rate": proven[1]}
        update_manifest(self.directory, **notes)


class _Work:
    """The work of a session: the search, then its certificate.

    Attributes:
        decisions: of the search.
        ahead: trains ahead of the decisions; None unless the trainer stacks seeds.
        is_searched: whether the search has ended, so that only its certificate may be left.
        complete: whether it has trained everything that the space asks for.
        begins_again: whether results of stacks were shown wrong and are replaced, so that the
            session begins again with the lines that are left, as a resumed one.
    """

    def __init__(
        self,
        session: _Session,
        place: Workplace,
        record: Record,
        *,
        known: Evaluations,
        check: Check | None,
    ) -> None:
        self.session, self._place, self._record = session, place, record
        self.decisions = session.replayed or session.decisions(known)
        if known:  # the time budget is for training
            self.decisions.replay_known()
            session.began = time.monotonic()
        self.ahead: Ahead | None = None
        audit = known.lines.audit(session.fingerprint)
        if session.trainer.traits.stacks_seeds:
            stacking = None if check is None or (audit and audit.fault) else check.stacking
            self.ahead = Ahead(self.decisions, stacking)

        def timed(news: Progress) -> None:
            pace, left = self._batches.pace, self._batches.budget_left
            session.voice.tell(replace(news, pace=pace, budget_left=left))

        self._on_progress = timed
        self._check, self._again = check, None if check is None else self._second_training(check)
        self._batches = place.batches(
            self.decisions,
            record,
            max_in_flight=session.max_in_flight,
            budget=session.budget,
            ahead=self.ahead,
            expected=MeasuredSeconds(
                session.trainer, _seconds_of_a_seed(known) if check is None else check.seconds
            ),
            again=self._again,
            fills=session.space.seeds.price is not None,
            checked=None if check is None else check.took,
            audit=audit,
        )
        self._search = self._batches
        self.is_searched = self.complete = False

    def _second_training(self, check: Check) -> Again | None:
        """The check's seed, which a worker trains again; the manifest says whether it differs."""
        if check.first is None:
            return None
        block, first = check.first

        def note(outcome: Outcome) -> None:
            twice = differing(first, outcome, check.names)
            update_manifest(self.session.directory, **noted_seeds(twice))
            if twice:
                self.session.voice.warn(twice)

        return Again(block, note)

    def train(self) -> None:
        """Train until all is done, its time is over or a failure ends it."""
        if not self.is_searched:
            try:
                self._place.run(self._batches, self._record, self._on_progress)
            except KeyboardInterrupt:
                if not self._batches.begins_again:
                    self._record_verdicts()
                raise
            if self.begins_again:
                return
            self.is_searched = True
            self._tell_end()
            self._train_later()
            is_over = self._batches.stop_if_over() or bool(self._batches.too_long)
            timed_out = is_over and self.decisions.use_all_and_ask_unfinished()
            self.complete = not self._record.ends and not timed_out
            self._record_verdicts()
            if self.complete and (unused := self.decisions.unused):
                self.session.voice.inform(
                    f"{unused:,} seeds of earlier sessions, which now no decision asked for, count "
                    "in the tables all the same"
                )
        self._place.audit(self._batches, self._record)
        if self.begins_again:
            return
        if (batches := self._certificate()) is not None:
            self._batches = batches
            self._place.train(batches, self._record, self.session.voice.seeds)

    @property
    def begins_again(self) -> bool:
        """See the class."""
        return self._batches.begins_again

    def _train_later(self) -> None:
        """Train the check's seed again, if the search was too short for it."""
        if self._check is None or self._again is None or self._again.was_told:
            return
        if self._record.ends or self._batches.stop_if_over():
            return
        outcome = train_later(self.session.trainer, self._check)
        if outcome is not None:
            self._again.tell(outcome)

    @property
    def pace(self) -> Pace:
        """How much the workers of the search have trained."""
        return self._search.pace

    def _tell_end(self) -> None:
        """Say that no more seeds are expected, where the last result did not say so."""
        last = self.decisions.progress
        if last.seeds_done and not last.ended:
            self._on_progress(replace(last, seeds_expected=(last.seeds_done, last.seeds_done)))

    def _record_verdicts(self) -> None:
        for line in self.decisions.verdicts():
            self._record(line)

    def _certificate(self) -> Batches | None:
        session = self.session
        if session.space.seeds.certify is None or self._record.ends:
            return None
        found = fresh_seeds_after(
            session.directory,
            session.trainer,
            budget=session.space.search.time_budget,
            spent=time.monotonic() - session.began,
            accept=session.resume.accept_versions,
        )
        if found is None:
            return None
        fresh, expected = found
        audit = self._batches.recorded
        return self._place.batches(fresh, self._record, expected=expected, audit=audit)


SHORT_BLOCK_SECONDS = 0.02
"""Where the first seeds of a configuration take so little by a reliable estimate, a race begins
with one decision after the other: an idle worker costs less than what it would not know."""


def _learns(space: SearchSpace) -> bool:
    """Whether what is proposed, or which seeds are pruned, follows from results."""
    return sampler_named(space.search.sampler).learns or space.search.pruner is not None


def _cancels(space: SearchSpace, trainer: Trainer) -> bool:
    """Whether trainings are cancelled once their configuration is proven worse."""
    return trainer.traits.gives_reports and raced(space)


def _first_blocks(space: SearchSpace) -> Iterator[Block]:
    return (Block(point, 0, space.seeds.ladder[0]) for point in probes(space))


def longest_first_block(space: SearchSpace, trainer: Trainer) -> float:
    """Seconds that the first seeds of a configuration take at most, as the trainer estimates it."""
    return max(map(trainer.cost, islice(_first_blocks(space), 100)))


def _seconds_of_a_seed(known: Evaluations) -> float | None:
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

    The range is from the first seeds for each configuration to all seeds for all of them, as far
    as the time budget lets them train.
    """
    trials, first, most = budget(space), space.seeds.ladder[0], space.seeds.ladder[-1]
    each, gain = check.seconds, check.stacking.gain if check.stacking else 1.0
    workers = 1 if cluster.workers == 0 else slots_to_come(cluster)
    seeds = f"{first:,}" if first == most else f"{first:,} to {most:,}"
    what = f"search: {count(trials, 'configuration')} x {seeds} seeds"
    least = trials * first * each
    ends = least, max(least, trials * most * each / gain)
    limit = space.search.time_budget
    is_limited = limit is not None and ends[1] / (workers or 1) > limit
    if limit is not None and workers:
        ends = min(ends[0], limit * workers), min(ends[1], limit * workers)
    sentence = estimate(what, *ends, workers)
    if sentence is not None and limit is not None and is_limited:
        sentence += f"; the time budget ends it after {duration(limit)}"
    if sentence is None or space.seeds.certify is None:
        return sentence
    fresh = duration(FINALISTS * space.seeds.certify * each / gain / (workers or 1))
    seeds = f"{FINALISTS} x {space.seeds.certify:,} seeds"
    return f"{sentence}; then {seeds} for the certificate: {fresh}"
