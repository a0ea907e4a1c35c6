"""What a search trains next, and what a result means for it: pure decisions, no clock, no files.

A search decides again and again what is trained next: a new trial, or more seeds for a config that
it knows. Decided as results come in, that would depend on which worker was faster, and so would all
that a sampler learns. So decision number s is made when exactly the results of the decisions before
s - max_in_flight + 1 are known, however many more are there: what is proposed and who is promoted
follows from the seed and `max_in_flight` alone, and nobody waits for a rung to fill.

A race begins with the least limit that keeps its workers busy and widens it as it goes on
(`in_flight_at`): early, what a wide limit leaves unseen is most of what there is to learn from.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, TypeAlias

from xortune.core.errors import InputError
from xortune.core.outcome import Outcome, counted, wilson
from xortune.core.point import Point
from xortune.core.trainer import NOT_FINISHED, PROVEN_WORSE, Block, Trainer
from xortune.driver.ahead import FORESEEN, Prospect
from xortune.driver.jobs import Job
from xortune.driver.propose import Proposer, budget
from xortune.racing.grants import VERIFY, race_of, seeds_at_first
from xortune.racing.objectives import (
    Seen,
    costs,
    liking,
    numbers_named,
    seed_costs,
    summed_only,
)
from xortune.runs.evaluation import EncodedOutcome, Evaluation
from xortune.runs.status import Progress
from xortune.spaces.model import SearchSpace

WIDENS = 16
"""A race's limit is one more after each so many decisions. See benchmarks/README.md."""


class Decider(Protocol):
    """Decides what is trained next: a search, or the fresh seeds of a certificate."""

    news: deque[object]
    """What the user hears of once it is on the disk."""

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out, without those that are made when asked for."""

    @property
    def left(self) -> int:
        """How many blocks are still to be made, at most."""

    @property
    def open(self) -> bool:
        """Whether another block can be made now."""

    def next(self) -> Job | None:
        """The next block to train; None if there is none now."""

    def wants(self, job: Job) -> bool:
        """Whether a block's results are still of interest."""

    def tell(self, job: Job, result: Evaluation) -> None:
        """Take in what came of a block; it is in the journal already."""

    def stop(self, *, now: bool = False) -> None:
        """Begin nothing new; with `now` neither what was decided and not yet handed out."""


def in_flight_at(decision: int, most: int, least: int | None) -> int:
    """How many decisions may be in flight when this one is made, itself counted.

    Between `least`, which keeps all workers busy, and `most`. It never grows by more than one from
    a decision to the next: what one knows, all later ones do.
    """
    return most if least is None else min(most, max(least, decision // WIDENS))


# -------------------------------------------------------------------------------------------------
# What is known of a config, and one decision about it.

Snapshot: TypeAlias = tuple[int, tuple[tuple[str, int, int, int], ...]]
"""What is kept of a config that waits for nothing: the seeds granted, and of each version that made
some of them its digest, lowest seed, successes and finished seeds."""


@cache
def _same(snapshot: Snapshot) -> Snapshot:
    """The same object for equal ones, of which there are many."""
    return snapshot


@cache
def _rank(count: tuple[int, int]) -> tuple[float, int]:
    successes, n = count
    return (float(wilson(successes, n)[0]) if n else -1.0), n


def short(key: str) -> int:
    """A config's key as a number, half as large.

    Strings of a loaded run would hold on to nearly all the memory that the run took.
    """
    return int(key, 16)


@dataclass(slots=True)
class Count:
    """Results of a config, or of a part of its seeds.

    Attributes:
        successes: seeds solved.
        n: seeds; crashed ones are failures.
        timed: epochs spent by all seeds with an outcome.
        crashed: seeds without one.
        budget: epochs that a seed may take; 0 as long as there is no outcome.
        numbers: of each seed those that are looked for, NaN where it failed: one tuple for each.
    """

    successes: int = 0
    n: int = 0
    timed: int = 0
    crashed: int = 0
    budget: int = 0
    numbers: tuple[tuple[float, ...], ...] = ()

    def add(self, more: Count) -> None:
        """Take in more seeds."""
        self.successes += more.successes
        self.n += more.n
        self.timed += more.timed
        self.crashed += more.crashed
        self.budget = max(self.budget, more.budget)
        if more.numbers:
            pairs = zip(self.numbers, more.numbers, strict=True)
            self.numbers = tuple(a + b for a, b in pairs) if self.numbers else more.numbers

    @property
    def spent(self) -> int:
        """Epochs of all seeds, those not solved at the full budget."""
        return self.timed + self.crashed * self.budget


@dataclass(slots=True)
class ProvenanceGroups:
    """Counts of a config, those of each version by themselves.

    One version counts: see `runs.results.by_version`.

    Attributes:
        made: digest of the version that counts; None without any seed.
        parts: of each version the lowest seed and the count.
    """

    made: str | None = None
    parts: dict[str, tuple[int, Count]] = field(default_factory=dict)

    def add(self, made: str, first: int, more: Count) -> None:
        """Take in seeds, of which `first` is the lowest, that one version made."""
        lowest, count = self.parts.get(made) or (first, Count())
        count.add(more)
        self.parts[made] = min(lowest, first), count
        self.made = made
        if len(self.parts) > 1:
            self.made = max(self.parts, key=lambda one: (self.parts[one][1].n, -self.parts[one][0]))

    def join(self, more: ProvenanceGroups) -> bool:
        """Take in all of another; whether another version counts from here on."""
        before = self.made
        for made, (first, count) in more.parts.items():
            self.add(made, first, count)
        return before not in (None, self.made)

    @property
    def counted(self) -> Count:
        """Of the version that counts."""
        return Count() if self.made is None else self.parts[self.made][1]

    @property
    def aside(self) -> int:
        """Seeds that do not count."""
        if len(self.parts) < 2:
            return 0
        return sum(count.n for _, count in self.parts.values()) - self.counted.n


@dataclass(slots=True)
class ConfigState:
    """A config in the search.

    Attributes:
        point: in its trainer's normal form.
        proposal: the last one of it.
        granted: seeds that it has been given, from 0 to here.
        seen: the results that decisions know.
        shown: all results that have finished.
        in_flight: decisions about it whose results are not known yet.
    """

    point: Point
    proposal: int = 0
    granted: int = 0
    seen: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    shown: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    in_flight: int = 0

    @classmethod
    def of(cls, point: Point, snapshot: Snapshot | None) -> ConfigState:
        """A config that is new (None), or that was known."""
        granted, parts = snapshot or (0, ())
        state = cls(point, granted=granted)
        for made, first, successes, n in parts:
            state.shown.add(made, first, Count(successes, n))
        return state

    @property
    def snapshot(self) -> Snapshot:
        """What is kept of it."""
        parts = [(made, at, c.successes, c.n) for made, (at, c) in self.shown.parts.items()]
        return _same((self.granted, tuple(parts)))

    def worth(self, names: Sequence[str]) -> Seen:
        """What decisions know of it, with the numbers that the search looks for."""
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
    """Some more seeds for a config.

    Attributes:
        proposal: the trial that they belong to.
        state: of the config.
        new: whether the sampler waits for this trial: it ends with this decision, or goes on.
        gained: results so far.
        missing: seeds without a result yet.
        counted: whether the trial is counted as done.
        failed: whether a block of it finally produced nothing.
    """

    proposal: int
    state: ConfigState
    new: bool
    gained: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    missing: int = 0
    counted: bool = False
    failed: bool = False


def gaps(start: int, end: int, blocks: Sequence[Block]) -> Iterator[tuple[int, int]]:
    """First seed and count of each part of [start, end) that is in none of the blocks."""
    for block in sorted(blocks, key=lambda block: block.first):
        if block.first > start:
            yield start, block.first - start
        start = max(start, block.first + block.count)
    if start < end:
        yield start, end - start


# -------------------------------------------------------------------------------------------------
# What the user is told of a search while it runs.


class Tally:
    """Progress of a search: counts of finished results, whether decisions know them or not.

    Finds the best from a histogram of (k, n), without scanning every config.

    Attributes:
        best: successes and seeds of the highest lower end of Wilson's interval; of equal ones the
            one of more seeds.
        done, fresh: trials with a result, and those of them with one of this session.
        new_seeds, more_seeds: given to new trials, and to configs that were known.
        failed: trials of which a block finally produced nothing.
    """

    def __init__(self, total: int) -> None:
        self.total, self.best = total, (0, 0)
        self.done = self.fresh = self.new_seeds = self.more_seeds = 0
        self.failed = set[int]()
        self._configs: Counter[tuple[int, int]] = Counter()

    def count(self, decision: Decision, *, fresh: bool) -> None:
        """Count a trial as done, once it has results."""
        if not decision.counted:
            decision.counted = True
            self.done += 1
            self.fresh += fresh

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
            self.best = max(self._configs, key=_rank)
        elif _rank(after) > _rank(self.best):
            self.best = after

    @property
    def progress(self) -> Progress:
        """As it is now; the clock is the caller's."""
        return Progress(
            done=self.done,
            total=self.total,
            fresh=self.fresh,
            seconds=0.0,
            best=self.best,
            failed=len(self.failed),
            seeds=self.new_seeds + self.more_seeds,
        )


# -------------------------------------------------------------------------------------------------
# The decisions.


class SearchDecisions:
    """Decides which block a search trains next, and learns from results in any order.

    A trial begins with the seeds of the first rung. Where there are several, the search races:
    `racing.grants` says who is promoted. A point that is proposed again gets its next seeds.

    Without `max_in_flight`, for a sampler that does not learn and a search without a race, nothing
    is waited for.

    Args:
        space: what is searched.
        trainer: what checks proposals.
        proposer: where they come from.
        max_in_flight: how many decisions may be without known results; a race needs a limit.
        min_in_flight: the limit early in a race (see `in_flight_at`); None: the same.
        known: what a journal holds already.
        made: digest of what trains now; see `runs.manifest`. What different versions made is
            never counted together: the race and the sampler see of a config what its table has.
        ends: whether promotions under way end when their config is proven worse; see `wants`.

    With `search: {as_they_come: true}` decisions are learned from in the order in which their
    results come, not in their own, and a decision is made on all that is known: no worker waits for
    another, and who was faster decides what is proposed. The journal's lines are in that order.

    Raises:
        InputError: from `next`, when the trainer refuses a proposal.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: Trainer,
        proposer: Proposer,
        *,
        max_in_flight: int | None,
        min_in_flight: int | None = None,
        known: Sequence[Evaluation] = (),
        made: str = "",
        ends: bool = False,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._race, self._names = race_of(space), numbers_named(space.objectives)
        self._weighs = self._race is not None and self._race.weighs
        assert max_in_flight is not None or self._race is None  # without one nothing is learned
        self._limit, self._least = max_in_flight, min_in_flight
        self._made, self._ends = made, ends
        self.news: deque[object] = deque()
        self._tally = Tally(budget(space))
        self._known: dict[str, list[Evaluation]] = {}  # of earlier sessions, until it is used
        self._points: dict[int, Point] = {}
        self._verdicts = set[str]()  # configs whose verdict is recorded
        for evaluation in known:
            if evaluation.error == PROVEN_WORSE:
                self._verdicts.add(evaluation.block.point.key)
            if evaluation.final or evaluation.error == NOT_FINISHED:
                self._known.setdefault(evaluation.block.point.key, []).append(evaluation)
            if evaluation.final:
                self._points[evaluation.proposal] = evaluation.block.point
        self._configs: dict[str, ConfigState] = {}
        # Of configs that wait for nothing, by `short`. Allocated first: later allocations would
        # fragment the memory of what is known, which is freed bit by bit.
        self._snapshots: dict[int, Snapshot | None] = {}
        if max_in_flight is None:
            self._snapshots = dict.fromkeys(map(short, self._known))
        self._decisions: dict[int, Decision] = {}
        self._made_so_far = self._learned = self._proposed = 0
        self._ready: deque[Job] = deque()
        self._going_on: deque[tuple[int, str]] = deque()  # new trials that get more at once
        # Decisions with all their results, in the order in which these came; None: in their own.
        self._come: deque[int] | None = deque() if space.search.as_they_come else None
        self._untaught: list[tuple[int, ConfigState]] = []  # new trials that the sampler waits for
        self._busy, self._given_up = set[str](), set[str]()  # configs
        self._exhausted = self._stopped = self._proven = self._held_back = False

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out."""
        return len(self._ready)

    @property
    def open(self) -> bool:
        """Whether another trial can be proposed now."""
        return not self._stopped and not self._all_proposed and self._may_decide()

    @property
    def left(self) -> int:
        """How many trials are still to be proposed, at most."""
        return 0 if self._stopped or self._all_proposed else self._tally.total - self._proposed

    @property
    def _all_proposed(self) -> bool:
        return self._exhausted or self._proposed >= self._tally.total

    @property
    def undone(self) -> bool:
        """Whether something was left undone when it was stopped, and not because of a proof."""
        while self._learn():
            pass
        if self._proven:
            return False
        if not self._all_proposed or self._held_back or self._going_on:
            return True
        if any(decision.missing for decision in self._decisions.values()):
            return True
        return self._race is not None and self._race.next(self._busy, last=True) is not None

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self._race is None or not self._proven:
            return None
        return str(self._race.leader), self._race.proven

    def verdicts(self) -> Iterator[Evaluation]:
        """For the journal: the configs that get no more seeds because they are proven worse."""
        if self._race is None:
            return
        for key, state in self._configs.items():
            count = state.seen.counted
            climbs = count.successes > 0 or summed_only(self._space.objectives) is not None
            short = climbs and count.n < self._space.seeds.ladder[-1]
            if short and key not in self._verdicts and self._race.gives_up(key):
                self._verdicts.add(key)
                block = Block(state.point, state.granted, 1)
                yield Evaluation(state.proposal, block, None, PROVEN_WORSE, False, 0.0, "")

    def stop(self, *, now: bool = False) -> None:
        """Make no further decision; with `now` hand out nothing of those that were made."""
        self._stopped = True
        if now:
            self._ready.clear()

    def recall(self) -> bool:
        """Use what is known of earlier sessions; whether that was all there is to do."""
        while not self._ready and self._decide():
            self.news.clear()
        return not self._ready and not self._decisions and (self._proven or not self.undone)

    def next(self) -> Job | None:
        """The next block to train; None if there is none now."""
        while not self._ready:
            if not self._decide():
                return None
        return self._ready.popleft()

    def wants(self, job: Job) -> bool:
        """Whether a block's results are of interest: its config is not given up.

        A promotion of one that is proven worse than another decides nothing any more. What has
        finished of it counts, what has not is in no count. A config is given up by what decisions
        know, in their order, and the race does not look at what its last promotion comes to: so no
        decision depends on how far that got.
        """
        decision = self._decisions.get(job.decision)
        return decision is None or decision.new or job.block.point.key not in self._given_up

    def tell(self, job: Job, result: Evaluation) -> None:
        """Take in a line of the journal: a final result, or seeds that were given up."""
        decision = self._decisions[job.decision]
        if result.final:
            self._take(decision, result.block, result.outcome, self._made)
            self._tally.count(decision, fresh=True)
        elif result.error != NOT_FINISHED:
            return  # it is tried again
        decision.missing -= result.block.count
        if not decision.missing:
            self._complete(job.decision)

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may be given their next seeds: see `driver.ahead`."""
        if self._stopped:
            return
        ladder = self._space.seeds.ladder
        end = min(self._tally.total, self._proposed + FORESEEN)
        for number in range(self._proposed, end):
            if number in self._points:  # of an earlier session, which has trained it
                continue
            point = self._proposer.foresee(number)
            with suppress(InputError):  # the search refuses it when it is proposed
                if (
                    point is not None
                    and (one := self._trainer.check(point)).key not in self._configs
                ):
                    yield Prospect(one, ladder)
        if self._race is None:
            return
        for state in self._configs.values():
            count, start = state.seen.counted, state.granted
            rungs = tuple(rung for rung in ladder if rung > start)
            if rungs and state.point.key not in self._given_up:
                yield Prospect(state.point, rungs, start, count.successes, count.n)

    # What follows makes decisions, each by what was known when it was its turn.

    def _decide(self) -> bool:
        """Make the next decision; False if that must wait for results, or there is none."""
        if not self._may_decide():
            return False
        while self._come and self._learn():
            pass
        while not self._decided():
            if not self._learn():  # to know more
                return False
        return True

    def _may_decide(self) -> bool:
        """Whether all is known that the next decision depends on."""
        number, limit = self._made_so_far, self._limit
        while limit is not None and self._learned <= number - in_flight_at(
            number, limit, self._least
        ):
            if not self._learn():
                return False
        return True

    def _decided(self) -> bool:
        """Decide by what is known; False if by that there is nothing to do."""
        if self._stopped:
            return False
        if self._going_on:
            proposal, key = self._going_on.popleft()
            self._tally.new_seeds += self._grant(proposal, key, new=True, counted=True)
            return True
        tally = self._tally
        share = VERIFY * (tally.new_seeds + tally.more_seeds)
        climbs = self._weighs or tally.more_seeds < share
        return (climbs and self._promote()) or self._propose() or self._promote()

    def _promote(self) -> bool:
        """Give more seeds to a config that the race names."""
        if self._race is None:
            return False
        key = self._race.next(self._busy, last=self._all_proposed)
        if key is None:
            return False
        proposal = self._configs[str(key)].proposal
        self._tally.more_seeds += self._grant(proposal, str(key), new=False, counted=True)
        return True

    def _propose(self) -> bool:
        """Begin a new trial."""
        if self._all_proposed:
            return False
        self._teach()
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
        state = self._configs.get(key)
        if state is None:
            state = self._configs[key] = ConfigState.of(point, self._snapshots.get(short(key)))
        state.proposal = number
        if self._race is not None:
            self._race.enter(key)
        self._tally.new_seeds += self._grant(number, key, new=True, counted=False)
        return True

    def _grant(self, proposal: int, key: str, *, new: bool, counted: bool) -> int:
        """Give a config its next seeds, without training those that are known; how many."""
        state = self._configs[key]
        start, end = state.granted, state.next_rung(self._space.seeds.ladder)
        decision = Decision(proposal, state, new, counted=counted)
        missing = [(start, end - start)]
        if known := self._known.pop(key, None):
            here = [e for e in known if start <= e.block.first < end]
            if later := [e for e in known if e.block.first >= end]:
                self._known[key] = later
            for e in here:
                if e.final:  # else it was given up: neither counted nor trained again
                    self._take(decision, e.block, e.outcome, e.made or "")
                    end = max(end, e.block.first + e.block.count)  # of another ladder
            missing = list(gaps(start, end, [e.block for e in here]))
        state.granted = end
        decision.missing = sum(count for _, count in missing)
        if decision.missing < end - start:
            self._tally.count(decision, fresh=False)
        number = self._made_so_far
        self._made_so_far += 1
        self._decisions[number] = decision
        state.in_flight += 1
        if self._race is not None:
            self._busy.add(key)
        self._ready.extend(
            Job(proposal, Block(state.point, *part), promoted=start > 0, decision=number)
            for part in missing
        )
        if not missing:
            self.news.clear()  # of what was known before, the last is enough
            self._complete(number)
        return end - start

    def _take(
        self, decision: Decision, block: Block, outcome: Outcome | EncodedOutcome | None, made: str
    ) -> None:
        """Add a block's results, which a version made, to those of a decision."""
        seeds = block.count
        if outcome is None:
            epochs = block.point.get("epochs")
            found = Count(n=seeds, crashed=seeds, budget=epochs if isinstance(epochs, int) else 0)
            found.numbers = ((math.nan,) * seeds,) * len(self._names)
            decision.failed = True
        else:  # the epochs of seeds are summed where somebody asks for them
            spent = 0 if self._limit is None else outcome.epochs_spent
            found = Count(outcome.successes, seeds, spent, budget=int(outcome.epochs))
            for name in self._names:
                numbers = counted(outcome.details.values.get(name), outcome.status)
                found.numbers += (tuple(numbers.tolist()),)
        decision.gained.add(made, block.first, found)

    def _complete(self, number: int) -> None:
        """A decision has all its results: news for the user; it is learned from in its turn."""
        decision = self._decisions[number]
        self._tally.grow(decision.state.shown, decision.gained)
        if decision.failed:
            self._tally.failed.add(decision.proposal)
        self._tally.count(decision, fresh=False)
        self.news.append(self._tally.progress)
        if self._come is not None:
            self._come.append(number)
        if self._limit is None:  # nobody waits, or asks which it was unless it is proposed again
            state = self._decisions.pop(number).state
            state.in_flight -= 1
            if not state.in_flight:
                key = state.point.key
                self._snapshots[short(key)] = self._configs.pop(key).snapshot

    def _learn(self) -> bool:
        """Learn from the next decision in their order; False if it is under way, or none is."""
        number = self._learned if self._come is None else self._came()
        decision = self._decisions.get(number)
        if self._limit is None or decision is None or decision.missing:
            return False
        del self._decisions[number]
        self._learned += 1
        if self._come is not None:
            self._come.remove(number)
        state = self._settle(decision)
        if decision.new:
            # Whether it goes on without being compared with any other.
            count, rungs = state.seen.counted, self._space.seeds.ladder
            more = self._race is not None and not self._weighs and count.n < rungs[-1]
            more = more and seeds_at_first(rungs, count.successes, count.n) is not None
            if more and not self._stopped:
                self._going_on.append((decision.proposal, state.point.key))
            else:
                self._held_back = self._held_back or more
                self._untaught.append((decision.proposal, state))
        if not self._weighs or self._stopped or self._all_proposed:
            self._teach()
        return True

    def _came(self) -> int:
        """The next decision by when its results came; -1 if there is none.

        Those about one config stay in their order: a result that comes soon may be one that failed,
        and its seeds may not be counted before others for that.
        """
        assert self._come is not None
        under_way = {d.state.point.key: n for n, d in reversed(self._decisions.items())}
        first = (n for n in self._come if under_way[self._decisions[n].state.point.key] == n)
        return next(first, -1)

    def _teach(self) -> None:
        """Tell the sampler of new trials; where seeds are weighed, of those that may climb, late.

        They begin with one seed, which says little. By the time the sampler is asked for the next
        proposal, the most promising ones have had more.
        """
        waiting = [one for one in self._untaught if self._weighs and one[1].in_flight]
        for proposal, state in self._untaught:
            if not (self._weighs and state.in_flight):
                self._proposer.learn(proposal, state.worth(self._names))
        self._untaught = waiting

    def _settle(self, decision: Decision) -> ConfigState:
        """Count a decision's results, for the race too."""
        state = decision.state
        key = state.point.key
        anew = state.seen.join(decision.gained)
        state.in_flight -= 1
        if not state.in_flight:
            self._busy.discard(key)
        if self._race is None:
            return state
        if anew:  # what was seen of it so far, another version made
            self._race.forget(key)
            self._given_up.discard(key)
        if key in self._given_up:
            return state
        seen, objectives = state.worth(self._names), self._space.objectives
        liked, paid = liking(objectives, seen), costs(objectives, seen)
        told = None
        if (summed := summed_only(objectives)) is not None and summed.number is not None:
            told = seed_costs(summed, seen.numbers[summed.number])
        self._race.see(key, seen.successes, seen.n, speed=liked, costs=paid, seed_costs=told)
        if self._ends:
            promoted = {d.state.point.key for d in self._decisions.values() if not d.new}
            gives_up = self._race.gives_up
            self._given_up |= {other for other in promoted - self._given_up if gives_up(other)}
        wanted = self._space.stop.proven_rate
        if wanted is not None and self._race.proven >= wanted:
            self._proven = True
            self.stop()
        return state
