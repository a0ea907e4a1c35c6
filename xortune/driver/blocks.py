"""Decisions of a search, step by step: which block is trained next, and what its result means."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeAlias

from xortune.core.counts import wilson
from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.progress import Progress
from xortune.core.trainer import NOT_FINISHED, Block, OutOfTime, Trainer, Unfinished
from xortune.driver.jobs import ATTEMPTS, Job
from xortune.driver.propose import Proposer, budget
from xortune.racing.grants import VERIFY, race_of, seeds_at_first
from xortune.racing.objectives import Seen, costs, liking, numbers_named
from xortune.runs.evaluation import EncodedOutcome, Evaluation, epochs_spent, numbers_of
from xortune.runs.journal import Journal
from xortune.runs.results import Count, ProvenanceGroups
from xortune.spaces.model import SearchSpace

# -------------------------------------------------------------------------------------------------
# Steps: the search's decisions, one after the other, whatever the speed of the workers.
#
# A search decides again and again what is trained next: a new proposal, or more seeds for a config
# that it knows. Decided as results come in, that would depend on which worker was faster, and so
# would all that a sampler learns. So decision number s is made when exactly the results of the
# decisions before s - window + 1 are known, however many more are there: what is proposed and who
# climbs follows from the seed and the window alone, and nobody waits for a rung to fill.
#
# A race narrows its window after its first decisions (`window_at`): by then there is something to
# learn from, and what the widest window leaves unseen is most of it.

BLIND, WIDENS = 12, 3
"""So many steps a race makes with its whole window, to have several to choose from; then it begins
with the least again, and gets one more after each so many steps. See benchmarks/README.md."""

Snapshot: TypeAlias = tuple[int, tuple[tuple[str, int, int, int], ...]]
"""What is kept of a config that waits for nothing: the seeds granted, and of each version that made
some of them its digest, lowest seed, successes and finished seeds."""


class Tally:
    """How many configs have which count.

    The best of a million is told from some hundreds of counts, however often it changes.

    Attributes:
        best: successes and seeds of the highest lower end of Wilson's interval; of equal ones the
            one of more seeds.
    """

    def __init__(self) -> None:
        self.best = (0, 0)
        self._configs: Counter[tuple[int, int]] = Counter()

    def grow(self, shown: ProvenanceGroups, more: ProvenanceGroups) -> None:
        """Add `more` to what is known of a config, of which one version counts."""
        before = shown.counted.successes, shown.counted.n
        shown.join(more)
        after = shown.counted.successes, shown.counted.n
        self._configs[after] += 1
        if before[1]:
            self._configs[before] -= 1
            if not self._configs[before]:
                del self._configs[before]
        if before == self.best and before not in self._configs:
            self.best = max(self._configs, key=lambda one: _rank(*one))
        elif _rank(*after) > _rank(*self.best):
            self.best = after


@cache
def _rank(successes: int, n: int) -> tuple[float, int]:
    return (float(wilson(successes, n)[0]) if n else -1.0), n


@cache
def _one(rest: Snapshot) -> Snapshot:
    """The same object for equal ones, of which there are many."""
    return rest


def short(key: str) -> int:
    """A config's key as a number, half as large.

    Strings that came with a run that was loaded would hold on to nearly all the memory it took.
    """
    return int(key, 16)


@dataclass(slots=True)
class ConfigState:
    """A config in the search.

    Attributes:
        point: in its trainer's normal form.
        proposal: the last one of it.
        granted: seeds that it has been given, from 0 to here.
        seen: what the search has taken in.
        shown: what has finished, taken in or not.
        under_way: steps of it that have not been taken in.
    """

    point: Point
    proposal: int = 0
    granted: int = 0
    seen: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    shown: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    under_way: int = 0

    @classmethod
    def of(cls, point: Point, rest: Snapshot | None) -> ConfigState:
        """A config that is new (`rest` is None), or that was known."""
        granted, parts = rest or (0, ())
        standing = cls(point, granted=granted)
        for made, first, successes, n in parts:
            standing.shown.add(made, first, Count(successes, n))
        return standing

    @property
    def rest(self) -> Snapshot:
        """What is kept of it."""
        parts = ((made, first, c.successes, c.n) for made, first, c in self.shown.parts())
        return _one((self.granted, tuple(parts)))

    def worth(self, names: Sequence[str]) -> Seen:
        """What the search has taken in of it, with the numbers that it looks for."""
        count = self.seen.counted
        numbers = dict(zip(names, count.numbers, strict=True)) if names else {}
        return Seen(self.point, count.successes, count.n, count.spent, numbers)

    def next_rung(self, rungs: Sequence[int]) -> int:
        """Seeds granted in all so that those that count come to the next rung.

        Beyond the last one, as many more as the first rung has. Seeds that versions made which do
        not count take it no higher.
        """
        counting = self.granted - self.seen.aside
        more = next((rung - counting for rung in rungs if rung > counting), rungs[0])
        return self.granted + more


@dataclass(slots=True)
class Decision:
    """A decision: some more seeds for a config.

    Attributes:
        proposal: whose seeds they are.
        standing: of the config.
        newcomer: whether the proposal has not been told yet: it ends with this step, or goes on.
        timed: whether anyone asks how many epochs seeds took.
        counted: whether its proposal is counted as done.
        gained: its results so far.
        missing: seeds without a result yet.
        line: the journal's line that was written last for it; 0 if it is all from before.
        failed: whether a block of it finally produced nothing.
        numbers: the names of those that the search looks for, of a trainer of the user's own.
    """

    proposal: int
    standing: ConfigState
    newcomer: bool
    timed: bool
    counted: bool = False
    gained: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    missing: int = 0
    line: int = 0
    failed: bool = False
    numbers: tuple[str, ...] = ()

    def take(self, block: Block, outcome: Outcome | EncodedOutcome | None, made: str) -> None:
        """Add a block's results, which a version made."""
        seeds = block.count
        if outcome is None:
            epochs = self.standing.point.get("epochs")
            found = Count(n=seeds, crashed=seeds, budget=epochs if isinstance(epochs, int) else 0)
            self.failed = True
        else:
            timed = epochs_spent(outcome) if self.timed else 0
            found = Count(outcome.successes, seeds, timed, budget=int(outcome.epochs))
        if self.numbers:
            found.numbers = numbers_of(outcome, self.numbers, seeds)
        self.gained.add(made, block.first, found)

    def begin(self, end: int, known: list[Evaluation]) -> list[Block]:
        """Grant the seeds up to `end`; the blocks to train, without what is known already.

        Args:
            end: total seeds of the config afterwards.
            known: what a journal holds of the config; what is used is taken out.
        """
        start = self.standing.granted
        here = [e for e in known if start <= e.block.first < end]
        if here:
            known[:] = [e for e in known if e.block.first >= end]
        for evaluation in here:
            if not evaluation.final:  # ended on the way: neither counted nor trained again
                continue
            self.take(evaluation.block, evaluation.outcome, evaluation.made or "")
            end = max(end, evaluation.block.first + evaluation.block.count)  # of another ladder
        self.standing.granted = end
        blocks = [
            Block(self.standing.point, first, count)
            for first, count in gaps(start, end, [e.block for e in here])
        ]
        self.missing = sum(block.count for block in blocks)
        return blocks


def window_at(step: int, most: int, least: int | None) -> int:
    """How many steps may be under way or not taken in when this one is made, itself counted.

    It never grows by more than one from a step to the next: what one step knows, all later ones do.

    Args:
        step: its number, from 0.
        most: the window of the search.
        least: what keeps all workers busy; None: the window stays as it is.
    """
    if step < BLIND or least is None:
        return most
    return min(most, max(least, (step - BLIND) // WIDENS))


def gaps(start: int, end: int, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """First seed and count of each part of [start, end) that is in none of the blocks."""
    for block in sorted(blocks, key=lambda block: block.first):
        if block.first > start:
            yield start, block.first - start
        start = max(start, block.first + block.count)
    if start < end:
        yield start, end - start


# -------------------------------------------------------------------------------------------------
# Which block is trained next, and what becomes of its result; knows neither Ray nor Optuna.


class BlockQueue:
    """Hands out blocks and takes results, in whatever order workers deliver them.

    A proposal begins with the seeds of the first rung. Where there are several, the search races:
    `racing.grants` says who goes on. A point that is proposed again gets its next seeds.

    What is proposed and who climbs depends on the seed and the window, not on which worker was
    faster: see `driver.blocks`. With a window of None, for a sampler that does not learn and
    a search without a race, nothing is waited for.

    Args:
        space: what is searched.
        trainer: what checks proposals.
        proposer: where they come from.
        journal: where results go.
        window: how many steps may be under way or not yet taken in; a race needs one.
        least: how many early in a race (see `driver.blocks.window_at`); None: as many.
        known: what a journal holds already.
        made: digest of what trains now; see `runs.sessions`. What different versions made is
            never counted together: the race and the sampler see of a config what its table has.
        on_progress: called when a proposal or a climb has its results, and they are on the disk.
        ends: whether climbs under way end when their config is proven worse; see `wants`.
        began: when the time budget began to run, by `time.monotonic`; now, if not given.

    Raises:
        InputError: from `next_job`, when the trainer refuses a proposal; from all that writes, when
            the journal cannot be written.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: Trainer,
        proposer: Proposer,
        journal: Journal,
        *,
        window: int | None,
        least: int | None = None,
        known: Sequence[Evaluation] = (),
        made: str = "",
        on_progress: Callable[[Progress], None] | None = None,
        ends: bool = False,
        began: float | None = None,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._journal, self._on_progress = journal, on_progress
        self._total = budget(space)
        self._rungs, self._wanted = space.seeds.ladder, space.stop.proven_rate
        self._race, self._numbers = race_of(space), numbers_named(space.objectives)
        assert window is not None or self._race is None  # without one nothing is taken in
        self._window, self._least = window, least
        self._made = made
        self._ends, self._over = ends, set[str]()  # configs that are given up
        self._known: dict[str, list[Evaluation]] = {}  # until it is taken in
        self._points: dict[int, Point] = {}
        for evaluation in known:
            if evaluation.final or evaluation.error == NOT_FINISHED:
                self._known.setdefault(evaluation.block.point.key, []).append(evaluation)
            if evaluation.final:
                self._points[evaluation.proposal] = evaluation.block.point
        self._retries: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._standings: dict[str, ConfigState] = {}
        # Of configs that wait for nothing, by `short`. Numbers that are made now, before what is
        # known is let go of bit by bit, do not come to lie between it, and keep its memory taken.
        self._rests: dict[int, Snapshot | None] = {}
        if window is None:
            self._rests = dict.fromkeys(map(short, self._known))
        self._busy: set[str] = set()  # configs with steps that are not taken in
        self._steps: dict[int, Decision] = {}
        self._granted = self._taken = 0  # steps
        self._newcomers: deque[tuple[int, str]] = deque()  # that go on at once
        self._proposed = self._under_way = self._new_seeds = self._climb_seeds = 0
        self._exhausted = self._stopped = self._proven = False
        self._timed_out = self._held_back = False
        self._out = 0  # seeds that are with a worker, or on their way
        self._tally = Tally()  # of finished steps, taken in or not
        self._failed: set[int] = set()
        self._done = self._new = 0
        self._started = time.monotonic()
        limit = space.search.time_budget
        start = self._started if began is None else began
        self._until = None if limit is None else start + limit
        self._news: deque[tuple[int, Progress]] = deque()  # by the line that must be on the disk

    @property
    def finished(self) -> bool:
        """All that was asked for has its final result, or the time is over and nothing runs."""
        if self.over:
            if self._out:
                return False
            while self._take_in():
                pass
            self._journal.sync()
            self._tell_news()
            return True
        if self._under_way or self._retries or self._ready or self._grant():
            return False
        if self._news:
            self._journal.sync()
            self._tell_news()
        return self._stopped or self._all_made

    @property
    def over(self) -> bool:
        """Whether the time budget is over: nothing begins any more."""
        if self._timed_out or self._until is None or time.monotonic() < self._until:
            return self._timed_out
        self._timed_out = True
        self.stop()
        self._retries.clear()
        self._ready.clear()
        return True

    @property
    def left_time(self) -> float | None:
        """Seconds until then; None for any time."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    @property
    def left_undone(self) -> bool:
        """Whether something was left undone since the time budget was over; once it is finished."""
        if not self._timed_out or self._proven:
            return False
        if not self._all_made or self._held_back or any(s.missing for s in self._steps.values()):
            return True
        return self._race is not None and self._race.next(self._busy, last=True) is not None

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self._race is None or not self._proven:
            return None
        return str(self._race.leader), self._race.proven

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out, those of steps still to be made aside."""
        return len(self._retries) + len(self._ready)

    @property
    def open(self) -> bool:
        """Whether another proposal can be made now."""
        return not self._stopped and not self._all_made and self._may_grant()

    @property
    def left(self) -> int:
        """How many proposals are still to be made, at most."""
        return 0 if self._stopped or self._all_made else self._total - self._proposed

    @property
    def _all_made(self) -> bool:
        return self._exhausted or self._proposed >= self._total

    def stop(self) -> None:
        """Begin nothing new; what is under way may finish."""
        self._stopped = True

    def recall(self) -> bool:
        """Take in what is known of an earlier session; whether that was all there is to do."""
        while not self._ready and self._grant():
            pass
        return self.finished and not self.left_undone

    def next_job(self) -> Job | None:
        """The next block to train; None if there is none now (see `finished`)."""
        self._tell_news()
        job = None if self.over else self._next()
        self._out += 0 if job is None else job.block.count
        return job

    def _next(self) -> Job | None:
        if self._retries:
            return self._retries.popleft()
        while True:
            while not self._ready:
                if not self._grant():
                    return None
            job = self._ready.popleft()
            if self.wants(job):
                return job
            self._enter(job, Unfinished(), seconds=0.0, worker="")

    def wants(self, job: Job) -> bool:
        """Whether a block's results are of interest: its config is not given up.

        A climb of one that is proven worse than another decides nothing any more. What has finished
        of it counts, what has not is in no count. A config is given up by what has been taken in,
        in the order of steps, and the race does not look at what its last climb comes to: so no
        decision depends on how far that got.
        """
        step = self._steps.get(job.step)
        return step is None or step.newcomer or job.block.point.key not in self._over

    def receive(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
    ) -> None:
        """Journal a result; a block without an outcome is queued again, or given up.

        What was not trained since the time was over waits again, where a worker's clock is fast;
        else it is left for a session to come.
        """
        self._out -= job.block.count
        self._enter(job, result, seconds=seconds, worker=worker)

    def _enter(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
    ) -> None:
        if isinstance(result, OutOfTime) or (
            isinstance(result, TrainingError) and not self.wants(job)
        ):
            found = result.outcome if isinstance(result, Unfinished) else None
            rest = job.block
            if found is not None:
                part = replace(job, block=Block(rest.point, rest.first, found.n))
                rest = Block(rest.point, rest.first + found.n, rest.count - found.n)
                self._enter(part, found, seconds=seconds, worker=worker)
            if isinstance(result, OutOfTime):
                if not self.over:
                    self._ready.appendleft(replace(job, block=rest))
                return
            ended = Evaluation(job.proposal, rest, None, NOT_FINISHED, False, 0.0, worker)
            self._finish(job.step, rest.count, self._journal.append(ended))
            return
        if not isinstance(result, TrainingError):
            evaluation = Evaluation(job.proposal, job.block, result, None, True, seconds, worker)
        else:
            final = job.attempt >= ATTEMPTS
            evaluation = Evaluation(
                job.proposal, job.block, None, str(result), final, seconds, worker
            )
            if not final and not self.over:
                self._retries.append(replace(job, attempt=job.attempt + 1))
        line = self._journal.append(evaluation)
        if not evaluation.final:
            return
        step = self._steps[job.step]
        step.take(job.block, evaluation.outcome, self._made)
        self._count(step, new=1)
        self._finish(job.step, job.block.count, line)

    def _finish(self, number: int, seeds: int, line: int) -> None:
        step = self._steps[number]
        step.missing -= seeds
        step.line = line
        if not step.missing:
            self._complete(number)

    def _grant(self) -> bool:
        """Make the next step; False if that must wait for results, or there is none."""
        if not self._may_grant():
            return False
        while not self._make_step():
            if not self._take_in():  # to know more
                return False
        return True

    def _may_grant(self) -> bool:
        """Whether all is known that the next step depends on."""
        step, most = self._granted, self._window
        while most is not None and self._taken <= step - window_at(step, most, self._least):
            if not self._take_in():
                return False
        return True

    def _make_step(self) -> bool:
        """Make a step by what has been taken in; False if by that there is none to make."""
        if self._stopped:
            return False
        if self._newcomers:
            proposal, key = self._newcomers.popleft()
            self._new_seeds += self._add_step(proposal, key, newcomer=True, counted=True)
            return True
        all_seeds = self._new_seeds + self._climb_seeds
        if self._race is not None and self._climb_seeds < VERIFY * all_seeds and self._climb():
            return True
        return self._propose() or self._climb()

    def _climb(self) -> bool:
        if self._race is None:
            return False
        key = self._race.next(self._busy, last=self._all_made)
        if key is None:
            return False
        proposal = self._standings[str(key)].proposal
        self._climb_seeds += self._add_step(proposal, str(key), newcomer=False)
        return True

    def _propose(self) -> bool:
        if self._all_made:
            return False
        number = self._proposed
        if (known := self._points.pop(number, None)) is not None:
            point = known
            self._proposer.replay(number, point)
        else:
            values = self._proposer.propose(number)
            if values is None:
                self._exhausted = True
                return False
            point = self._trainer.check(values)
        self._proposed += 1
        key = point.key
        standing = self._standings.get(key)
        if standing is None:
            standing = self._standings[key] = ConfigState.of(point, self._rests.get(short(key)))
        standing.proposal = number
        if self._race is not None:
            self._race.enter(key)
        self._new_seeds += self._add_step(number, key, newcomer=True)
        return True

    def _add_step(self, proposal: int, key: str, *, newcomer: bool, counted: bool = False) -> int:
        """Grant a config its next seeds; how many."""
        standing = self._standings[key]
        begin = standing.granted
        timed = self._race is not None or self._window is not None
        counted = counted or not newcomer
        step = Decision(proposal, standing, newcomer, timed, counted, numbers=self._numbers)
        known = self._known.pop(key, [])
        blocks = step.begin(standing.next_rung(self._rungs), known)
        if known:
            self._known[key] = known
        if step.missing < standing.granted - begin:
            self._count(step, new=0)
        number = self._granted
        self._steps[number] = step
        self._granted += 1
        self._under_way += 1
        self._busy.add(key)
        standing.under_way += 1
        climbs = begin > 0
        self._ready.extend(Job(proposal, block, step=number, climbs=climbs) for block in blocks)
        if not blocks:
            self._complete(number)
        return standing.granted - begin

    def _complete(self, number: int) -> None:
        """A step has all its results: news for the user; for the search, when it is its turn."""
        self._under_way -= 1
        step = self._steps[number]
        shown = step.standing.shown
        self._tally.grow(shown, step.gained)
        if step.failed:
            self._failed.add(step.proposal)
        self._count(step, new=0)
        self._note_progress(step.line)
        if self._window is None:  # nobody waits, or asks who it was unless it is proposed again
            self._settle(self._steps.pop(number))
            if not step.standing.under_way:
                key = step.standing.point.key
                self._rests[short(key)] = self._standings.pop(key).rest

    def _note_progress(self, line: int) -> None:
        """News for the user, for when that line of the journal is on the disk."""
        if self._on_progress is not None:
            progress = Progress(
                done=self._done,
                total=self._total,
                fresh=self._new,
                seconds=time.monotonic() - self._started,
                best=self._tally.best,
                failed=len(self._failed),
                seeds=self._new_seeds + self._climb_seeds,
            )
            self._news.append((line, progress))
            self._tell_news()

    def _tell_news(self) -> None:
        """Announce what is on the disk."""
        while self._news and self._news[0][0] <= self._journal.settled:
            _, progress = self._news.popleft()
            if self._on_progress is not None:
                self._on_progress(progress)

    def _on_at_once(self, count: Count) -> int | None:
        """Seeds to which a newcomer goes on without being compared with anyone; or None."""
        if self._race is None or count.n >= self._rungs[-1]:
            return None
        return seeds_at_first(self._rungs, count.successes, count.n)

    def _take_in(self) -> bool:
        """Learn from the next step in their order; False if it is under way, or there is none."""
        step = self._steps.get(self._taken)
        if self._window is None or step is None or step.missing:
            return False
        del self._steps[self._taken]
        self._taken += 1
        self._settle(step)
        if not step.newcomer:
            return True
        on = self._on_at_once(step.standing.seen.counted) is not None
        if on and not self._stopped:
            self._newcomers.append((step.proposal, step.standing.point.key))
        else:
            self._held_back = self._held_back or on
            self._proposer.learn(step.proposal, step.standing.worth(self._numbers))
        return True

    def _count(self, step: Decision, *, new: int) -> None:
        """Count a proposal as done, once it has results; `new` is 0 if these are from before."""
        if not step.counted:
            step.counted = True
            self._done += 1
            self._new += new

    def _settle(self, step: Decision) -> None:
        """What a step has shown counts from here on, for the race too."""
        standing = step.standing
        key = standing.point.key
        anew = standing.seen.join(step.gained)
        standing.under_way -= 1
        if not standing.under_way:
            self._busy.discard(key)
        if self._race is None:
            return
        if anew:  # what was seen of it so far, another version made
            self._race.forget(key)
            self._over.discard(key)
        if key in self._over:
            return
        seen = standing.worth(self._numbers)
        paid = costs(self._space.objectives, seen)
        liked = liking(self._space.objectives, seen)
        self._race.see(key, seen.successes, seen.n, speed=liked, costs=paid)
        if self._ends:
            climbing = {s.standing.point.key for s in self._steps.values() if not s.newcomer}
            self._over |= {other for other in climbing - self._over if self._race.gives_up(other)}
        if self._wanted is not None and self._race.proven >= self._wanted:
            self._proven = True
            self.stop()
