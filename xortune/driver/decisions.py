"""Who decides: which configuration a search trains next, and with which seeds. No clock, no files.

A decision is a new trial, or more seeds for a configuration that has some. If it used whatever
results are there, it would depend on which worker was faster, and so would everything that a
sampler learns. Therefore results are used in the order of decisions, and a decision is made as soon
as the seeds in flight beside the oldest decision are fewer than `max_in_flight`, with no later
results, even if they have arrived. The seed and `max_in_flight` alone determine who is proposed and
promoted, and nobody waits for a rung to fill. The oldest decision is left out: its last seeds may
train alone for long, and others keep the workers busy meanwhile.

A race begins with the smallest limit that keeps its workers busy, and widens it (`in_flight_at`):
early, the results that a wide limit leaves unused are most of what there is to learn from.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.outcome import NO_SEEDS, Outcome, SeedCount, Status, valid_numbers
from xortune.core.point import Point
from xortune.core.trainer import NOT_FINISHED, PROVEN_WORSE, Block, Reported, Trainer, missing_seeds
from xortune.driver.batches import FORESEEN, Job, Prospect
from xortune.driver.propose import Proposer
from xortune.racing.grants import PROMOTION_SHARE, race_of, seeds_at_first
from xortune.racing.objectives import (
    Numbers,
    SeedSummary,
    costs,
    numbers_named,
    only_rate,
    only_statistic,
    seed_costs,
    statistic_value,
    tie_break,
)
from xortune.runs.evaluation import EncodedOutcome, Evaluation, Evaluations
from xortune.runs.results import criteria
from xortune.runs.status import Progress
from xortune.spaces.grid import budget
from xortune.spaces.model import Objective, SearchSpace

MAX_AHEAD = 6
"""Maximum number of decisions in flight about one configuration."""

WIDENS = 16
"""Decisions after which a race's limit grows by one; see benchmarks/README.md."""


def in_flight_at(decision: int, most: int, least: int | None) -> int:
    """How many seeds may be in flight beside the oldest decision when this one is made.

    It grows from `least`, which keeps all workers busy, to `most`, by at most one per decision: so
    each decision knows all results that earlier ones knew.
    """
    return most if least is None else min(most, max(least, decision // WIDENS))


# -------------------------------------------------------------------------------------------------
# The state of a configuration, and one decision about it.

Snapshot: TypeAlias = tuple[int, tuple[tuple[str, int, SeedSummary], ...]]
"""Compact state of a config without decisions in flight: the seeds granted, and for each version
that trained some of them its fingerprint, lowest seed and results, without epochs; with the numbers
if they decide who is first."""


@cache
def _same(snapshot: Snapshot) -> Snapshot:
    """One object for all equal snapshots, which saves memory."""
    return snapshot


def key_as_int(key: str) -> int:
    """A config's key as a number, which takes half the memory.

    The key's string would also keep most of a loaded run in memory.
    """
    return int(key, 16)


@dataclass(slots=True)
class ProvenanceGroups:
    """Results of a config by the version of the software that trained them.

    Only one version counts; `runs.results.by_version` says which.

    Attributes:
        fingerprint: of the version that counts; None without any seed.
        parts: the lowest seed and the results of each version, by fingerprint.
    """

    fingerprint: str | None = None
    parts: dict[str, tuple[int, SeedSummary]] = field(default_factory=dict)

    def add(self, fingerprint: str, first: int, more: SeedSummary) -> None:
        """Add results of one version, of which `first` is the lowest seed."""
        if fingerprint in self.parts:
            lowest, known = self.parts[fingerprint]
            first, more = min(lowest, first), known + more
        self.parts[fingerprint] = first, more
        self.fingerprint = fingerprint
        if len(self.parts) > 1:
            self.fingerprint = max(
                self.parts, key=lambda one: (self.parts[one][1].n, -self.parts[one][0])
            )

    def join(self, more: ProvenanceGroups) -> bool:
        """Add all results of another; return whether this changes the version that counts."""
        before = self.fingerprint
        for fingerprint, (first, count) in more.parts.items():
            self.add(fingerprint, first, count)
        return before not in (None, self.fingerprint)

    @property
    def counted(self) -> SeedSummary:
        """Results of the version that counts."""
        return SeedSummary() if self.fingerprint is None else self.parts[self.fingerprint][1]

    @property
    def superseded(self) -> int:
        """Seeds of versions that do not count."""
        if len(self.parts) < 2:
            return 0
        return sum(count.n for _, count in self.parts.values()) - self.counted.n


@dataclass(slots=True)
class ConfigState:
    """A configuration in the search.

    Attributes:
        point: in its trainer's normal form.
        proposal: number of its latest proposal.
        granted: it has been given the seeds from 0 up to this one.
        seen: the results that decisions use.
        shown: all results that have finished, for the user.
        in_flight: decisions about it whose results are not used yet.
    """

    point: Point
    proposal: int = 0
    granted: int = 0
    seen: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    shown: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    in_flight: int = 0

    @classmethod
    def of(cls, point: Point, snapshot: Snapshot | None) -> ConfigState:
        """Restore a configuration from its snapshot, or make a new one."""
        granted, parts = snapshot or (0, ())
        state = cls(point, granted=granted)
        for part in parts:
            state.shown.add(*part)
        return state

    def snapshot(self, *, numbers: bool) -> Snapshot:
        """Its compact form, with or without its numbers."""
        parts = tuple(
            (fingerprint, first, SeedSummary(of.k, of.n, numbers=of.numbers if numbers else ()))
            for fingerprint, (first, of) in self.shown.parts.items()
        )
        return (self.granted, parts) if numbers else _same((self.granted, parts))

    def next_rung(self, rungs: Sequence[int]) -> int:
        """Total seeds to grant so that those that count reach the next rung.

        Beyond the last rung, grant as many more as the first rung has.
        """
        counting = self.granted - self.seen.superseded
        place = bisect_right(rungs, counting)
        return self.granted + (rungs[place] - counting if place < len(rungs) else rungs[0])


@dataclass(slots=True)
class Decision:
    """More seeds for a configuration.

    Attributes:
        proposal: number of the trial that they belong to.
        state: of the configuration.
        new: whether the trial is new, so that the sampler has to be told of it.
        seeds: granted by it.
        gained: results so far.
        missing: seeds without a result yet.
        counted: whether the trial is counted as done.
    """

    proposal: int
    state: ConfigState
    new: bool
    seeds: int = 0
    gained: ProvenanceGroups = field(default_factory=ProvenanceGroups)
    missing: int = 0
    counted: bool = False


# -------------------------------------------------------------------------------------------------
# What the journal has of earlier sessions.


class KnownBlock(NamedTuple):
    """A block in the journal; a line of it in numbers.

    Attributes:
        line: its index in the journal.
        config: index of its config in the journal's `keys`.
        proposal, decision: see `Evaluation`; `decision` is -1 for none.
        first, n: its seeds.
        final, outcome: whether the line is final, and whether it has an outcome.
        fingerprint: index of what trained it in the journal's `names`; -1 for none.
        epochs: the budget.
        solved, taken: seeds solved, and their epochs.
    """

    line: int
    config: int
    proposal: int
    decision: int
    first: int
    n: int
    final: int
    outcome: int
    fingerprint: int
    epochs: int
    solved: int
    taken: int


def _known_blocks(known: Evaluations) -> Iterator[KnownBlock]:
    ended, taken = known.lines.ends()
    columns = (
        known.places,
        *map(known.column, ("config", "proposal", "decision", "first", "count")),
        *map(known.column, ("final", "outcome", "fingerprint", "epochs")),
        ended[known.places, Status.SOLVED],
        taken[known.places],
    )
    yield from map(KnownBlock._make, zip(*(column.tolist() for column in columns), strict=True))


# -------------------------------------------------------------------------------------------------
# Progress, for the user.


class _Order:
    """Says which results come first, by `runs.results.criteria`; epochs and keys are left out."""

    def __init__(self, space: SearchSpace) -> None:
        self._objectives, self._rungs = space.objectives, space.seeds.ladder
        self._statistic = only_statistic(space.objectives)
        self._names = numbers_named(space.objectives)
        self._by_counts = cache(self._key)

    @property
    def needs_numbers(self) -> bool:
        """Whether the trainer's numbers decide before the counts do."""
        return self._statistic is not None

    def __call__(self, seen: SeedSummary) -> tuple[float, ...]:
        """The criteria, the lower the better, then minus the seeds and the successes."""
        if self._statistic is None:
            return self._by_counts(seen.k, seen.n)
        return self._key(seen.k, seen.n, seen.numbers)

    def _key(self, k: int, n: int, numbers: tuple[Numbers, ...] = ()) -> tuple[float, ...]:
        def cost(objective: Objective) -> NDArray[np.float64]:
            if not numbers:  # they only decide between equal counts, which are shown alike
                return np.zeros(1)
            value = statistic_value(objective, numbers[self._names.index(objective.number or "")])
            return np.array([-value if objective.maximize else value])

        columns = criteria(
            self._objectives,
            self._rungs,
            k=np.array([k]),
            n=np.array([n]),
            epochs_to_solve=np.array([np.nan]),
            costs=cost,
        )
        return (*(float(column[0]) for column in columns), -n, k)


class Tally:
    """Progress of a search: counts all finished results, also those that no decision uses yet.

    Finds the best from a histogram of results, without scanning every configuration.

    Attributes:
        best: of the first configuration in the order of the table.
        done, fresh: trials with a result, and those of them with a result of this session.
        new_seeds, more_seeds: seeds granted to new trials, and to promoted configurations.
        seeds: with a result.
        dropped: seeds that were granted and are given up.
        failed: trials of which a block finally produced no outcome.
    """

    def __init__(self, total: int, order: _Order) -> None:
        self.total, self.best, self._order = total, NO_SEEDS, order
        self.done = self.fresh = self.new_seeds = self.more_seeds = 0
        self.seeds = self.dropped = 0
        self.failed = set[int]()
        self._results: Counter[tuple[float, ...]] = Counter()
        self._first: tuple[float, ...] = (math.inf,)

    def count(self, decision: Decision, *, fresh: bool) -> None:
        """Count a trial as done, once it has results."""
        if not decision.counted:
            decision.counted = True
            self.done += 1
            self.fresh += fresh

    def grow(
        self, shown: ProvenanceGroups, fingerprint: str, first: int, more: SeedSummary
    ) -> None:
        """Add results of one version to a configuration's, and update the best."""
        self.seeds += more.n
        before = self._order(shown.counted) if shown.counted.n else None
        shown.add(fingerprint, first, more)
        after = self._order(shown.counted)
        self._results[after] += 1
        if before is not None:
            self._results[before] -= 1
            if not self._results[before]:
                del self._results[before]
        gone = before == self._first and before not in self._results
        self._first = min(self._results) if gone else min(self._first, after)
        self.best = SeedCount(int(self._first[-1]), -int(self._first[-2]))

    @property
    def granted(self) -> int:
        """Seeds with a result, and those that are to have one."""
        return self.new_seeds + self.more_seeds - self.dropped

    def progress(self, expected: tuple[int, int]) -> Progress:
        """The progress now; the caller sets its seconds and its pace."""
        return Progress(
            done=self.done,
            total=self.total,
            fresh=self.fresh,
            seconds=0.0,
            best=self.best,
            failed=len(self.failed),
            seeds_done=self.seeds,
            seeds_expected=expected,
        )


LOOKS = 2
"""Configurations whose proofs are looked up, in turn, when a race uses a result."""


class Rooms:
    """How many seeds a race may still give to each of its configurations, and to all together."""

    def __init__(self) -> None:
        self._seeds: OrderedDict[str, int] = OrderedDict()
        self.total = 0

    def set(self, key: str, seeds: int) -> None:
        """Note what a configuration may get; it is the last to be looked at again."""
        self.total += seeds - self._seeds.pop(key, 0)
        if seeds:
            self._seeds[key] = seeds

    def oldest(self) -> Iterator[tuple[str, int]]:
        """The next configurations to look at, with what they may get."""
        yield from list(islice(self._seeds.items(), LOOKS))


# -------------------------------------------------------------------------------------------------
# The decisions.


class SearchDecisions:
    """Decides which block a search trains next. Results may come in any order.

    A trial begins with the seeds of the first rung. If the ladder has several rungs, the search
    races: `racing.grants` says who is promoted. A point that is proposed again gets its next seeds.

    Without `max_in_flight` no decision waits for results: for a sampler that does not learn, and no
    race.

    With `search: {as_they_come: true}` a decision uses all results that are there, in the order in
    which they came, which is the journal's. No worker waits for another, and the speed of workers
    affects what is proposed.

    Args:
        space: what is searched.
        trainer: checks proposals.
        proposer: makes proposals.
        max_in_flight: how many seeds may be in flight beside those of the oldest decision; a race
            needs a limit.
        min_in_flight: the limit early in a race (see `in_flight_at`); None: the same.
        known: lines of the run's journal. A race makes the decisions that they name, as long as
            they have trials that are not proposed yet.
        fingerprint: of what trains now; see `runs.manifest`. Seeds of different versions are never
            counted together: the race and the sampler see the counts of the run's table.
        ends: whether a promotion under way is ended when its config is proven worse; see `wants`.

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
        fingerprint: str = "",
        ends: bool = False,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._race, self._names = race_of(space), numbers_named(space.objectives)
        self._weighs = self._race is not None and self._race.weighs
        assert max_in_flight is not None or self._race is None  # without one nothing is learned
        self._limit, self._min_limit = max_in_flight, min_in_flight
        self._fingerprint, self._ends = fingerprint, ends
        self.news: deque[object] = deque()
        self._order = _Order(space)
        self._tally, self._rooms = Tally(budget(space), self._order), Rooms()
        journal = Evaluations.of(known)
        self._lines = journal.lines
        self._known: dict[str, list[KnownBlock]] = {}  # not used yet, by config key
        self._trials: dict[int, int] = {}  # not proposed yet: a trial's config in the journal
        self._recorded: dict[int, tuple[int, str]] = {}  # a decision's trial and config
        self._verdicts = set[str]()  # configs whose verdict is recorded
        keys, errors = self._lines.keys, self._lines.errors
        for block in _known_blocks(journal):
            key, error = keys[block.config], errors.get(block.line)
            if error == PROVEN_WORSE:
                self._verdicts.add(key)
            if block.final or error == NOT_FINISHED:
                self._known.setdefault(key, []).append(block)
            if block.final:
                self._trials[block.proposal] = block.config
            if block.decision >= 0:
                self._recorded[block.decision] = block.proposal, key
        self._configs: dict[str, ConfigState] = {}
        # Configs without decisions in flight, by `key_as_int`.
        self._snapshots: dict[int, Snapshot] = {}
        self._decisions: dict[int, Decision] = {}
        self._decided = self._learned = self._proposed = 0  # decisions, and trials
        self._in_flight = 0  # seeds of decisions that nobody has learned from
        self._ready: deque[Job] = deque()
        self._to_continue: deque[tuple[int, str]] = deque()  # new trials that get more at once
        # With `as_they_come`, the decisions with all their results, in the order of the last ones.
        self._arrived: deque[int] | None = deque() if space.search.as_they_come else None
        # New trials to tell the sampler of, and those that wait for promotions, by config key.
        self._pending: list[tuple[int, ConfigState]] = []
        self._held: dict[str, list[tuple[int, ConfigState]]] = {}
        self._busy: dict[Hashable, int] = {}  # seeds in flight, by the key of their config
        self._given_up = set[str]()  # keys of configs
        self._exhausted = self._stopped = self._proven = self._held_back = False
        self._granted_to_new: int | None = None  # seeds granted when all trials were proposed

    @property
    def _all_proposed(self) -> bool:
        return self._exhausted or self._proposed >= self._tally.total

    @property
    def _seeds_left(self) -> float:
        """How many seeds the race may still grant; no limit while there are new configurations."""
        seeds, granted = self._space.seeds, self._tally.new_seeds + self._tally.more_seeds
        if not self._all_proposed or seeds.finalists is None:
            return math.inf
        if self._granted_to_new is None:
            self._granted_to_new = granted
        return self._granted_to_new + seeds.finalists * seeds.ladder[-1] - granted

    @property
    def unfinished(self) -> bool:
        """Whether a stop left something unfinished, other than by a proof."""
        while self._learn():
            pass
        if self._proven:
            return False
        if not self._all_proposed or self._held_back or self._to_continue:
            return True
        if any(decision.missing for decision in self._decisions.values()):
            return True
        if self._race is None:
            return False
        return self._race.next(self._busy, last=True, left=self._seeds_left) is not None

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self._race is None or not self._proven:
            return None
        return str(self._race.leader), self._race.proven

    def verdicts(self) -> Iterator[Evaluation]:
        """Lines for the journal: the configs that get no more seeds, proven worse than another."""
        if self._race is None:
            return
        for key, state in self._configs.items():
            count = state.seen.counted
            may_climb = count.k > 0 or only_statistic(self._space.objectives) is not None
            unfinished = may_climb and count.n < self._space.seeds.ladder[-1]
            if unfinished and key not in self._verdicts and self._race.is_stopped(key):
                self._verdicts.add(key)
                block = Block(state.point, state.granted, 1)
                yield Evaluation(state.proposal, block, None, PROVEN_WORSE, False, 0.0, "")

    def stop(self, *, now: bool = False) -> None:
        """Make no further decision; with `now` also drop the blocks that are not handed out yet."""
        self._stopped = True
        if now:
            self._ready.clear()

    def replay_known(self) -> bool:
        """Use the known lines; return whether nothing is left to train.

        What is missing waits in `ready`.
        """
        while (not self._ready or self._repeats) and self._decide():
            self.news.clear()
        return not self._ready and not self._decisions and (self._proven or not self.unfinished)

    def next(self, _: object = None) -> Job | None:
        """The next block to train, in the order of decisions; None if there is none now."""
        while not self._ready:
            if not self._decide():
                return None
        return self._ready.popleft()

    def put_back(self, job: Job) -> None:
        """Take back the rest of a block: it is the next."""
        self._ready.appendleft(job)

    def wants(self, job: Job) -> bool:
        """Whether a block's results are of interest: its config is not given up.

        The promotion of a config that is proven worse than another affects no decision any more.
        Its finished seeds count, its other seeds are in no count. A config is given up at a fixed
        place in the order of decisions, and the race ignores what its last promotion still returns:
        so no decision depends on how many of these seeds had finished.
        """
        decision = self._decisions.get(job.decision)
        return decision is None or decision.new or job.block.point.key not in self._given_up

    def tell(self, job: Job, result: Evaluation) -> None:
        """Use a line of the journal: a final result, or seeds that were given up."""
        decision = self._decisions[job.decision]
        if result.final:
            self._take(decision, result.block, result.outcome, self._fingerprint)
            self._tally.count(decision, fresh=True)
        elif result.error == NOT_FINISHED:
            self._tally.dropped += result.block.count
        else:
            return  # another attempt follows
        decision.missing -= result.block.count
        if not decision.missing:
            self._complete(job.decision)
        self.news.append(self.progress)

    def hear(self, reported: Reported) -> None:
        """Add what a training reported on its way to the news."""
        self.news.append(replace(self.progress, reported=reported))

    @property
    def progress(self) -> Progress:
        """The progress now, in the same time however many configurations there are."""
        tally, ladder = self._tally, self._space.seeds.ladder
        coming = 0 if self._stopped or self._exhausted else tally.total - self._proposed
        least = most = tally.granted + coming * ladder[0]
        if self._race is not None:
            most = tally.granted + (0 if self._stopped else coming * ladder[-1] + self._rooms.total)
        if self._space.stop.proven_rate is not None:
            least = tally.granted  # any seed may be the last one that the proof lacks
        return tally.progress((least, most))

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may get their next seeds, for `batches.Ahead`."""
        if self._stopped:
            return
        ladder = self._space.seeds.ladder
        end = min(self._tally.total, self._proposed + FORESEEN)
        for number in range(self._proposed, end):
            if number in self._trials:  # an earlier session has trained it
                continue
            if (values := self._proposer.foresee(number)) is None:
                continue
            with suppress(InputError):  # raised when the search proposes it
                point = self._trainer.check(values)
                if point.key not in self._configs:
                    yield Prospect(point, ladder)
        if self._race is None:
            return
        for state in self._configs.values():
            count, start = state.seen.counted, state.granted
            rungs = tuple(rung for rung in ladder if rung > start)
            if rungs and state.point.key not in self._given_up:
                yield Prospect(state.point, rungs, start, count)

    # Making decisions.

    def _decide(self) -> bool:
        """Make the next decision; False if it must wait for results, or there is none."""
        if not self._may_decide():
            return False
        while self._arrived and self._learn():
            pass
        while not self._choose():
            if not self._learn():
                return False
        return True

    def _may_decide(self) -> bool:
        """Whether all results are known that the next decision depends on."""
        if self._limit is None:
            return True
        most = in_flight_at(self._decided, self._limit, self._min_limit)
        while self._decisions and self._in_flight_beside_oldest >= most:
            if not self._learn():
                return False
        return True

    @property
    def _in_flight_beside_oldest(self) -> int:
        return self._in_flight - next(iter(self._decisions.values())).seeds

    def _choose(self) -> bool:
        """Continue a new trial, promote a config, or propose one; False if nothing can be done."""
        if self._stopped:
            return False
        if self._to_continue:
            proposal, key = self._to_continue.popleft()
            self._tally.new_seeds += self._grant(proposal, key, new=True, counted=True)
            return True
        if self._repeat():
            return True
        tally = self._tally
        share = PROMOTION_SHARE * (tally.new_seeds + tally.more_seeds)
        promotes_first = self._weighs or tally.more_seeds < share
        return (
            (promotes_first and self._promote(self._busy))
            or self._propose()
            or self._promote(self._busy)
            or self._promote_ahead()
        )

    def _promote_ahead(self) -> bool:
        """Give the seeds after the next to a config whose next seeds are in flight.

        A race has few candidates near its end, fewer than workers. Rather than that some are idle,
        those in flight get the seeds that they would get next, the one with the fewest decisions in
        flight first. A race for the best rate sees to that itself, see `BestGrants.next`.
        """
        if self._min_limit is None or self._in_flight >= self._min_limit or self._weighs:
            return False
        top = self._space.seeds.ladder[-1]
        states = [self._configs[str(key)] for key in self._busy]
        granted = [one for one in states if one.granted >= top]
        full = {one.point.key for one in granted if one.granted - one.seen.superseded >= top}
        # With as many decisions as the fewest have, all would be left out.
        fewest = min((one.in_flight for one in states if one.point.key not in full), default=0)
        for depth in range(fewest + 1, MAX_AHEAD + 1):
            deeper = {one.point.key for one in states if one.in_flight >= depth}
            if self._promote({key: self._busy[key] for key in full | deeper}):
                return True
        return False

    @property
    def _repeats(self) -> bool:
        """Whether trials in the journal are still to be proposed again.

        After the last one the journal's decisions may be of a search with fewer trials.
        """
        return bool(self._trials) and not self._all_proposed and not self._stopped

    def _repeat(self) -> bool:
        """Make the decision that the journal has at this place; False if it has none."""
        recorded = self._recorded.get(self._decided)
        if recorded is None or self._race is None or not self._repeats:
            return False
        proposal, key = recorded
        if proposal != self._proposed and key not in self._configs:  # lines were removed
            return False
        self._race.skip()
        return self._propose() if proposal == self._proposed else self._give_more(key)

    def _promote(self, busy: Mapping[Hashable, int]) -> bool:
        """Give more seeds to the config that the race names, of those that are not busy."""
        if self._race is None:
            return False
        key = self._race.next(busy, last=self._all_proposed, left=self._seeds_left)
        return key is not None and self._give_more(str(key))

    def _give_more(self, key: str) -> bool:
        proposal = self._configs[key].proposal
        self._tally.more_seeds += self._grant(proposal, key, new=False, counted=True)
        return True

    def _propose(self) -> bool:
        """Begin a new trial."""
        if self._all_proposed:
            return False
        self._tell_sampler()
        number = self._proposed
        if (config := self._trials.pop(number, None)) is not None:
            point = self._lines.point(config)
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
            state = self._configs[key] = ConfigState.of(point, self._snapshots.get(key_as_int(key)))
        state.proposal = number
        if self._race is not None:
            self._race.enter(key)
        self._tally.new_seeds += self._grant(number, key, new=True, counted=False)
        return True

    def _grant(self, proposal: int, key: str, *, new: bool, counted: bool) -> int:
        """Give a config its next seeds, and return how many; known ones are not trained again."""
        state = self._configs[key]
        start, end = state.granted, state.next_rung(self._space.seeds.ladder)
        decision = Decision(proposal, state, new, counted=counted)
        missing = [range(start, end)]
        if known := self._known.pop(key, None):
            here = [block for block in known if start <= block.first < end]
            if later := [block for block in known if block.first >= end]:
                self._known[key] = later
            for block in here:
                if not block.final:  # it was given up: do not count it, do not train it again
                    self._tally.dropped += block.n
                else:
                    self._use(decision, block)
                    end = max(end, block.first + block.n)  # the ladder was another one
            for version, (first, gained) in decision.gained.parts.items():
                self._tally.grow(state.shown, version, first, gained)
            blocks = [Block(state.point, block.first, block.n) for block in here]
            is_whole = [block.seeds for block in blocks] == [range(start, end)]
            missing = [] if is_whole else list(missing_seeds(range(start, end), blocks))
        state.granted, decision.seeds = end, end - start
        self._in_flight += decision.seeds
        decision.missing = sum(map(len, missing))
        if decision.missing < end - start:
            self._tally.count(decision, fresh=False)
        number = self._decided
        self._decided += 1
        self._decisions[number] = decision
        state.in_flight += 1
        if self._race is not None:
            self._busy[key] = self._busy.get(key, 0) + decision.seeds
            top = self._space.seeds.ladder[-1]
            self._rooms.set(key, max(0, top - (end - state.seen.superseded)))
        self._ready.extend(
            Job(
                proposal,
                Block(state.point, part.start, len(part)),
                promoted=start > 0,
                decision=number,
                noted=None if self._race is None or self._all_proposed else number,
            )
            for part in missing
        )
        if not missing:
            self._complete(number)
            self.news.clear()  # of known results only the last progress is shown
            self.news.append(self.progress)
        return end - start

    def _take(
        self,
        decision: Decision,
        block: Block,
        outcome: Outcome | EncodedOutcome | None,
        fingerprint: str,
    ) -> None:
        """Add a block's results, trained by one version, to those of a decision."""
        if outcome is None:
            gained = self._crashed(decision, block.count)
        else:  # without a limit nobody asks for the epochs, and summing them takes time
            spent = 0 if self._limit is None else outcome.epochs_spent
            numbers = tuple(
                tuple(valid_numbers(outcome.details.values.get(name), outcome.status).tolist())
                for name in self._names
            )
            gained = SeedSummary(
                outcome.successes, block.count, spent, budget=int(outcome.epochs), numbers=numbers
            )
        decision.gained.add(fingerprint, block.first, gained)
        self._tally.grow(decision.state.shown, fingerprint, block.first, gained)

    def _use(self, decision: Decision, block: KnownBlock) -> None:
        """Add the results of a block in the journal to those of a decision."""
        if block.outcome:
            spent = block.taken + block.epochs * (block.n - block.solved)
            numbers = tuple(
                tuple(self._lines.numbers(block.line, name).tolist()) for name in self._names
            )
            gained = SeedSummary(block.solved, block.n, spent, budget=block.epochs, numbers=numbers)
        else:
            gained = self._crashed(decision, block.n)
        fingerprint = "" if block.fingerprint < 0 else self._lines.names[block.fingerprint]
        decision.gained.add(fingerprint, block.first, gained)

    def _crashed(self, decision: Decision, seeds: int) -> SeedSummary:
        """The results of a block that finally produced no outcome."""
        self._tally.failed.add(decision.proposal)
        epochs = decision.state.point.get("epochs")
        return SeedSummary(
            n=seeds,
            crashed=seeds,
            budget=epochs if isinstance(epochs, int) else 0,
            numbers=((math.nan,) * seeds,) * len(self._names),
        )

    def _complete(self, number: int) -> None:
        """Note that a decision has all its results; `_learn` uses them in its turn."""
        decision = self._decisions[number]
        self._tally.count(decision, fresh=False)
        if self._arrived is not None:
            self._arrived.append(number)
        if self._limit is None:  # no decision uses it; keep a snapshot for another proposal
            state = self._decisions.pop(number).state
            state.in_flight -= 1
            if not state.in_flight:
                key = state.point.key
                numbers = self._order.needs_numbers
                self._snapshots[key_as_int(key)] = self._configs.pop(key).snapshot(numbers=numbers)

    def _learn(self) -> bool:
        """Learn from the next decision in order; False if there is none, or it lacks some."""
        number = self._learned if self._arrived is None else self._next_arrived()
        decision = self._decisions.get(number)
        if self._limit is None or decision is None or decision.missing:
            return False
        del self._decisions[number]
        self._in_flight -= decision.seeds
        self._learned += 1
        if self._arrived is not None:
            self._arrived.remove(number)
        state = self._settle(decision)
        self._proposer.see(state.point, state.seen.counted)
        if decision.new:
            # A new trial may get more seeds at once, before it is compared with others.
            count, rungs = state.seen.counted, self._space.seeds.ladder
            more = self._race is not None and not self._weighs and count.n < rungs[-1]
            more = more and seeds_at_first(rungs, count.k, count.n) is not None
            if more and not self._stopped:
                self._to_continue.append((decision.proposal, state.point.key))
            else:
                self._held_back = self._held_back or more
                self._pending.append((decision.proposal, state))
        if not self._weighs or self._stopped or self._all_proposed:
            self._tell_sampler()
        return True

    def _next_arrived(self) -> int:
        """The next decision in the order in which results came; -1 if there is none.

        Decisions about one config keep their own order. Otherwise failures, which often come first,
        would be counted before the config's other seeds.
        """
        assert self._arrived is not None
        under_way = {d.state.point.key: n for n, d in reversed(self._decisions.items())}
        first = (n for n in self._arrived if under_way[self._decisions[n].state.point.key] == n)
        return next(first, -1)

    def _tell_sampler(self) -> None:
        """Tell the sampler of new trials.

        If the race weighs seeds, a trial that is being promoted is told once its promotion has
        finished: its first seed says little.
        """
        pending, self._pending = self._pending, []
        for proposal, state in pending:
            if self._weighs and state.in_flight:
                self._held.setdefault(state.point.key, []).append((proposal, state))
            else:
                self._proposer.learn(proposal, state.point, state.seen.counted)

    def _settle(self, decision: Decision) -> ConfigState:
        """Add a decision's results to its config's, and show them to the race."""
        state = decision.state
        key = state.point.key
        version_changed = state.seen.join(decision.gained)
        state.in_flight -= 1
        if self._race is not None:
            self._busy[key] -= decision.seeds
        if not state.in_flight:
            self._busy.pop(key, None)
            self._pending += self._held.pop(key, ())
        if self._race is None:
            return state
        if version_changed:  # the race has seen results of the version that counted before
            self._race.forget(key)
            self._given_up.discard(key)
        if key in self._given_up:
            return state
        seen, objectives = state.seen.counted, self._space.objectives
        per_seed = None
        if (sole := only_statistic(objectives)) is not None and sole.number is not None:
            per_seed = seed_costs(sole, seen.numbers[self._names.index(sole.number)])
        self._race.see(
            key,
            seen.k,
            seen.n,
            speed=tie_break(objectives, seen),
            costs=() if only_rate(objectives) else costs(objectives, state.point, seen),
            seed_costs=per_seed,
        )
        for other, room in self._rooms.oldest():
            self._rooms.set(other, room if self._may_climb(other) else 0)
        if self._ends:
            promoted = {d.state.point.key for d in self._decisions.values() if not d.new}
            is_stopped = self._race.is_stopped
            self._given_up |= {other for other in promoted - self._given_up if is_stopped(other)}
        rate = self._space.stop.proven_rate
        if rate is not None and self._race.proven >= rate:
            self._proven = True
            self.stop()
        return state

    def _may_climb(self, key: str) -> bool:
        """Whether the race may give a config more seeds, as far as is known.

        One with seeds in flight may, and so may one that is not yet proven worse. With several
        objectives proofs are left out: their costs may change, and a look would make them final.
        """
        state, objectives = self._configs[key], self._space.objectives
        if state.in_flight or self._race is None:
            return True
        by_number = only_statistic(objectives) is not None
        if not (state.seen.counted.k or by_number or self._weighs):
            return False
        return not (by_number or only_rate(objectives)) or not self._race.is_stopped(key)
