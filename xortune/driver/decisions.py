"""Who decides: which configuration a search trains next, and with which seeds. No clock, no files.

A decision is a new trial, or more seeds for a configuration that has some.

- What is known: `recorded.Recorded` is what the journal has, `configs.ConfigState` a configuration
  with its results, `in_flight.InFlight` the decisions whose results are not used yet.
- Which step is next: `next_decision`, a function of a `Situation`. Whom a promotion names, the race
  says (`racing.grants`); what a new trial is, the proposer (`driver.propose`).
- What was told: `SearchDecisions.tell` takes a line of the journal. Its results are shown to the
  user at once (`tally.Tally`), and used by decisions in their turn (`SearchDecisions._learn`).

Words:

- proposal, or trial: a point that the proposer gave, by its number; the same point may come twice.
- decision: which configuration gets its next seeds, and how many: a new trial or a promotion.
- job: what is handed out to be trained: one block, for a decision, which may need several.
- block: one configuration with contiguous seeds; the journal has a line for each result of one.
- rung: a total number of seeds, at which the race looks at a configuration.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from xortune.core.errors import InputError
from xortune.core.outcome import Outcome, valid_numbers
from xortune.core.trainer import (
    NOT_FINISHED,
    PROVEN_WORSE,
    Block,
    Reported,
    Trainer,
    is_void,
    missing_seeds,
)
from xortune.driver.batches import FORESEEN, Job, Prospect
from xortune.driver.configs import ConfigState, FinishedConfigs
from xortune.driver.in_flight import Decision, InFlight, Untold, in_flight_at
from xortune.driver.propose import Proposer
from xortune.driver.recorded import Recorded
from xortune.driver.tally import Rooms, Tally
from xortune.racing.grants import PROMOTION_SHARE, race_of, seeds_at_first
from xortune.racing.hopeless import HopelessSeeds
from xortune.racing.objectives import (
    SeedSummary,
    constrained,
    facts_for_race,
    numbers_named,
    only_rate,
    only_statistic,
)
from xortune.runs.evaluation import EncodedOutcome, Evaluation
from xortune.runs.status import Progress
from xortune.spaces.grid import budget
from xortune.spaces.model import SECONDS, SearchSpace

MAX_AHEAD = 6
"""Maximum number of decisions in flight about one configuration."""

# -------------------------------------------------------------------------------------------------
# Which step is next.


class Step(Enum):
    """What a search does next."""

    CONTINUE = auto()
    """Give the next seeds to a new trial at once, because its first ones did not fail."""
    REPEAT = auto()
    """Make the decision that the journal has at this place."""
    PROMOTE = auto()
    """Give more seeds to the configuration that the race names."""
    PROPOSE = auto()
    """Begin a new trial."""
    PROMOTE_AHEAD = auto()
    """Give a configuration the seeds after those that it trains now."""
    WAIT = auto()
    """Decide nothing before more results are used."""


class Situation(NamedTuple):
    """What the kind of the next step depends on.

    Attributes:
        stopped: whether no further decision is wanted.
        continues: whether a new trial is to get its next seeds at once.
        repeats: whether the journal has this decision, and it can be made again.
        may_propose: whether proposals are left.
        may_promote: whether the race may name a configuration: there is a race, and it has not just
            named nobody.
        may_promote_ahead: whether fewer seeds are in flight than the workers need, in a race that
            does not see to that itself, and it has not just named nobody.
        weighs: whether the race compares a promotion with a new trial, see `BestGrants`; else
            `PROMOTION_SHARE` says which comes first.
        new_seeds, more_seeds: seeds granted to new trials, and to promoted configurations.
    """

    stopped: bool = False
    continues: bool = False
    repeats: bool = False
    may_propose: bool = False
    may_promote: bool = False
    may_promote_ahead: bool = False
    weighs: bool = False
    new_seeds: int = 0
    more_seeds: int = 0


def next_decision(now: Situation) -> Step:
    """Which step is next. Where the race then names nobody, ask again without that possibility."""
    if now.stopped:
        return Step.WAIT
    if now.continues:
        return Step.CONTINUE
    if now.repeats:
        return Step.REPEAT
    share = PROMOTION_SHARE * (now.new_seeds + now.more_seeds)
    promotions_first = now.weighs or now.more_seeds < share
    if now.may_promote and (promotions_first or not now.may_propose):
        return Step.PROMOTE
    if now.may_propose:
        return Step.PROPOSE
    return Step.PROMOTE_AHEAD if now.may_promote_ahead else Step.WAIT


class Halt(Enum):
    """Why a search makes no further decision."""

    ASKED = auto()
    PROVEN = auto()


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
        first_seed: of the search. Here seeds are numbered from it, in jobs and lines from 0.

    Attributes:
        race: says who is promoted; None if all configurations get the same seeds.
        configs: by key; of a search that learns nothing only those with seeds in training.
        news: progress to show.

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
        first_seed: int = 0,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._limit, self._min_limit = max_in_flight, min_in_flight
        self._fingerprint, self._ends = fingerprint, ends
        self._first_seed = first_seed
        self.race = race_of(space)
        assert max_in_flight is not None or self.race is None  # without one nothing is learned
        self._weighs = self.race is not None and self.race.weighs
        self._hopeless: HopelessSeeds | None = None
        if (settings := space.seeds.stop_hopeless) is not None:
            self._hopeless = HopelessSeeds(settings, space.success, space.search.seed)
        sole, price = constrained(space.objectives), space.seeds.price
        self._timed = SECONDS in (price, sole and sole.name)
        more = () if price in (None, SECONDS) else (price,)
        self._names = tuple(dict.fromkeys((*numbers_named(space.objectives), *more)))
        self._recorded = Recorded(known, self._names, first_seed=first_seed, timed=self._timed)
        # What is searched.
        self.configs: dict[str, ConfigState] = {}
        by_numbers = only_statistic(space.objectives) is not None or bool(sole and self._names)
        self._finished = FinishedConfigs(numbers=by_numbers)
        self._learns = max_in_flight is not None
        self._flight = InFlight(as_they_come=self._learns and space.search.as_they_come)
        self._proposed, self._trials = 0, budget(space)
        self._entered = 0  # configurations
        self._most_seeds = math.inf  # that may be granted in all; see `_end_proposals`
        self._halt: Halt | None = None
        # What is to be done.
        self._ready: deque[Job] = deque()
        self._continuing: deque[tuple[int, str]] = deque()  # new trials that get more at once
        self._untold = Untold(proposer, waits=self._weighs)
        # What is said.
        self.news: deque[object] = deque()
        self._tally, self._rooms = Tally(space), Rooms()
        self._given_up = set[str]()  # keys of configs
        self._verdicts = set(self._recorded.verdicts)

    # What others ask.

    @property
    def unfinished(self) -> bool:
        """Whether a stop left something unfinished, other than by a proof."""
        while self._learn():
            pass
        if self._halt is Halt.PROVEN:
            return False
        if self._may_propose or self._continuing:
            return True
        if any(decision.missing for decision in self._flight):
            return True
        return self._named(self._flight.by_config, last=True) is not None

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self.race is None or self._halt is not Halt.PROVEN:
            return None
        return str(self.race.leader), self.race.proven

    def verdicts(self) -> Iterator[Evaluation]:
        """Lines for the journal: the configs that get no more seeds, proven worse than another."""
        if self.race is None:
            return
        for key, state in self.configs.items():
            count = state.seen.counted
            may_climb = count.k > 0 or only_statistic(self._space.objectives) is not None
            unfinished = may_climb and count.n < self._space.seeds.ladder[-1]
            if unfinished and key not in self._verdicts and self.race.is_stopped(key):
                self._verdicts.add(key)
                block = Block(state.point, self._first_seed + state.granted, 1)
                yield Evaluation(state.proposal, block, None, PROVEN_WORSE, False, 0.0, "")

    def stop(self, *, now: bool = False) -> None:
        """Make no further decision; with `now` also drop the blocks that are not handed out yet."""
        self._halt = self._halt or Halt.ASKED
        if now:
            self._ready.clear()

    def replay_known(self) -> bool:
        """Use the known lines; return whether nothing is left to train.

        What is missing waits in `ready`.
        """
        while (not self._ready or self._has_trials_to_repeat) and self._decide():
            self.news.clear()
        if self._ready or self._flight:
            return False
        return self._halt is Halt.PROVEN or not self.unfinished

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
        decision = self._flight.get(job.decision)
        return decision is None or decision.new or job.block.point.key not in self._given_up

    def tell(self, job: Job, result: Evaluation) -> None:
        """Use a line of the journal: a final result, or seeds that were given up."""
        decision = self._flight.get(job.decision)
        assert decision is not None
        block = replace(result.block, first=result.block.first - self._first_seed)
        if result.final:
            gained = None if result.outcome is None else self._summary(result.outcome)
            if gained is not None and self._timed:  # as the journal has them
                each = max(0.0, float(result.seconds)) / block.count
                gained = replace(gained, timed_blocks=((each, block.count),))
            gained = self._gain(decision, block, gained, self._fingerprint)
            self._watch(decision, block, result.outcome)
            self._tally.grow(decision.state, self._fingerprint, block.first, gained)
            self._count(decision, fresh=True)
        elif result.error == NOT_FINISHED or is_void(result.error):
            self._tally.dropped += block.count
        else:
            return  # another attempt follows
        decision.missing -= block.count
        if not decision.missing:
            self._complete(job.decision, decision)
        self.news.append(self.progress)

    def hear(self, reported: Reported) -> None:
        """Add what a training reported on its way to the news."""
        self.news.append(replace(self.progress, reported=reported))

    @property
    def progress(self) -> Progress:
        """The progress now, in the same time however many configurations there are."""
        expected, ladder = self._tally.expected, self._space.seeds.ladder
        coming = 0 if self._halt else self._trials - self._proposed
        least = most = expected + coming * ladder[0]
        if self.race is not None:
            most = expected + (0 if self._halt else coming * ladder[-1] + self._rooms.total)
        if self._space.stop.proven_rate is not None:
            least = expected  # any seed may be the last one that the proof lacks
        return self._tally.progress(least, most)

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may get their next seeds, for `batches.Ahead`."""
        if self._halt:
            return
        ladder = self._space.seeds.ladder
        for number in range(self._proposed, min(self._trials, self._proposed + FORESEEN)):
            if self._recorded.has_trial(number):  # an earlier session has trained it
                continue
            if (values := self._proposer.foresee(number)) is None:
                continue
            with suppress(InputError):  # raised when the search proposes it
                point = self._trainer.check(values)
                if point.key not in self.configs:
                    yield Prospect(point, ladder, first_seed=self._first_seed)
        if self.race is None:
            return
        for state in self.configs.values():
            count, start = state.seen.counted, state.granted
            rungs = tuple(rung for rung in ladder if rung > start)
            if rungs and state.point.key not in self._given_up:
                yield Prospect(state.point, rungs, start, count, self._first_seed)

    # Making decisions.

    def _decide(self) -> bool:
        """Make the next decision; False if it must wait for results, or there is none."""
        if self._limit is not None:
            most = in_flight_at(self._flight.made, self._limit, self._min_limit)
            while self._flight.seeds_beside_oldest >= most:
                if not self._learn():
                    return False
        while self._flight.has_arrived and self._learn():
            pass
        while not self._take_step():
            if not self._learn():
                return False
        return True

    def _take_step(self) -> bool:
        """Take the next step; False if it is to wait."""
        now = self._situation
        while True:
            match next_decision(now):
                case Step.WAIT:
                    return False
                case Step.CONTINUE:
                    proposal, key = self._continuing.popleft()
                    self._tally.new_seeds += self._grant(proposal, key, new=True, counted=True)
                    return True
                case Step.REPEAT:
                    proposal, key = self._recorded.decisions[self._flight.made]
                    if proposal != self._proposed:  # a promotion, not a new trial
                        return self._give_more(key)
                    if self._propose():
                        return True
                    now = self._situation
                case Step.PROMOTE:
                    if (name := self._named(self._flight.by_config)) is not None:
                        return self._give_more(name)
                    now = now._replace(may_promote=False)
                case Step.PROPOSE:
                    if self._propose():
                        return True
                    now = self._situation  # the proposer has no more points
                case Step.PROMOTE_AHEAD:
                    if (name := self._named_ahead()) is not None:
                        return self._give_more(name)
                    now = now._replace(may_promote_ahead=False)

    @property
    def _situation(self) -> Situation:
        idle = self._min_limit is not None and self._flight.seeds < self._min_limit
        return Situation(
            stopped=self._halt is not None,
            continues=bool(self._continuing),
            repeats=self._repeats_here,
            may_propose=self._may_propose,
            may_promote=self.race is not None,
            may_promote_ahead=idle and self.race is not None and not self._weighs,
            weighs=self._weighs,
            new_seeds=self._tally.new_seeds,
            more_seeds=self._tally.more_seeds,
        )

    @property
    def _may_propose(self) -> bool:
        return self._proposed < self._trials

    @property
    def _has_trials_to_repeat(self) -> bool:
        """Whether trials in the journal are still to be proposed again.

        After the last one the journal's decisions may be of a search with fewer trials.
        """
        left = self._recorded.last_trial >= self._proposed
        return left and self._may_propose and self._halt is None

    @property
    def _repeats_here(self) -> bool:
        """Whether the journal has the next decision, and not of lines that were removed."""
        if self.race is None or not self._has_trials_to_repeat:
            return False
        proposal, key = self._recorded.decisions.get(self._flight.made, (-1, ""))
        return proposal == self._proposed or key in self.configs

    # Who gets seeds.

    def _named(self, busy: Mapping[Hashable, int], *, last: bool | None = None) -> str | None:
        """The config that the race promotes, of those that are not busy; None if there is none."""
        if self.race is None:
            return None
        last = not self._may_propose if last is None else last
        key = self.race.next(busy, last=last, left=self._most_seeds - self._tally.granted)
        return None if key is None else str(key)

    def _named_ahead(self) -> str | None:
        """A config that gets the seeds after its next, while its next seeds are in flight.

        A race has few candidates near its end, fewer than workers. Rather than that some are idle,
        those in flight get the seeds that they would get next, the one with the fewest decisions in
        flight first. A race for the best rate sees to that itself, see `BestGrants.next`.
        """
        top, busy = self._space.seeds.ladder[-1], self._flight.by_config
        states = [self.configs[str(key)] for key in busy]
        granted = [one for one in states if one.granted >= top]
        full = {one.point.key for one in granted if one.granted - one.seen.superseded >= top}
        # With as many decisions as the fewest have, all would be left out.
        fewest = min((one.in_flight for one in states if one.point.key not in full), default=0)
        for depth in range(fewest + 1, MAX_AHEAD + 1):
            deeper = {one.point.key for one in states if one.in_flight >= depth}
            if (name := self._named({key: busy[key] for key in full | deeper})) is not None:
                return name
        return None

    def _give_more(self, key: str) -> bool:
        proposal = self.configs[key].proposal
        self._tally.more_seeds += self._grant(proposal, key, new=False, counted=True)
        return True

    def _propose(self) -> bool:
        """Begin a new trial; False if the proposer has no more points."""
        self._untold.tell()
        number = self._proposed
        if (point := self._recorded.point(number)) is not None:
            self._proposer.replay(number, point)
        else:
            values = self._proposer.propose(number)
            if values is None:
                self._end_proposals()
                return False
            point = self._trainer.check(values)
        self._proposed += 1
        key = point.key
        if (state := self.configs.get(key)) is None:
            state = self.configs[key] = self._finished.of(point)
            self._entered += 1
            state.number = self._entered
        state.proposal = number
        if self.race is not None:
            self.race.enter(key)
        self._tally.new_seeds += self._grant(number, key, new=True, counted=False)
        if not self._may_propose:
            self._end_proposals()
        return True

    def _end_proposals(self) -> None:
        """Note that there are no new configurations any more: the race's seeds are limited now."""
        self._trials, seeds = self._proposed, self._space.seeds
        if seeds.finalists is not None:
            self._most_seeds = self._tally.granted + seeds.finalists * seeds.ladder[-1]

    def _grant(self, proposal: int, key: str, *, new: bool, counted: bool) -> int:
        """Give a config its next seeds, and return how many; known ones are not trained again."""
        state = self.configs[key]
        start, end = state.granted, state.next_rung(self._space.seeds.ladder)
        decision = Decision(proposal, state, new, counted=counted)
        known = self._recorded.blocks(state.point, start, end)
        for one in known:
            if not one.final:  # it was given up: do not count it, do not train it again
                self._tally.dropped += one.block.count
            else:
                self._gain(decision, one.block, one.seen, one.fingerprint)
                if self._hopeless is not None:
                    self._watch(decision, one.block, self._recorded.outcome(one.line))
                end = max(end, one.block.seeds.stop)  # the ladder was another one
        for version, (first, gained) in decision.gained.parts.items():
            self._tally.grow(state, version, first, gained)
        missing = [range(start, end)]
        if known:
            missing = list(missing_seeds(range(start, end), [one.block for one in known]))
        state.granted, decision.seeds = end, end - start
        decision.missing = sum(map(len, missing))
        if decision.missing < end - start:
            self._count(decision, fresh=False)
        number = self._flight.add(decision)
        noted = number if self.race is not None and self._may_propose else None
        if self.race is not None:
            top = self._space.seeds.ladder[-1]
            self._rooms.set(key, max(0, top - (end - state.seen.superseded)))
        band = None if self._hopeless is None else self._hopeless.band(key)
        self._ready.extend(
            Job(
                proposal,
                Block(state.point, self._first_seed + part.start, len(part), band),
                promoted=start > 0,
                decision=number,
                noted=noted,
            )
            for part in missing
        )
        if not missing:
            self._complete(number, decision)
            self.news.clear()  # of known results only the last progress is shown
            self.news.append(self.progress)
        return end - start

    # Taking results in.

    def _summary(self, outcome: Outcome | EncodedOutcome) -> SeedSummary:
        """The results of a block that has just been trained."""
        numbers = tuple(
            tuple(valid_numbers(outcome.details.values.get(name), outcome.status).tolist())
            for name in self._names
        )
        # Without a limit nothing is learned from epochs, and summing them takes a while.
        spent = outcome.epochs_spent if self._learns else 0
        epochs = int(outcome.epochs)
        return SeedSummary(outcome.successes, outcome.n, spent, budget=epochs, numbers=numbers)

    def _gain(
        self, decision: Decision, block: Block, seen: SeedSummary | None, fingerprint: str
    ) -> SeedSummary:
        """Add a block's results, trained by one version, to a decision's, and return them.

        Without an outcome all seeds of the block crashed.
        """
        if seen is None:
            self._tally.failed.add(decision.proposal)
            epochs = block.point.get("epochs")
            seen = SeedSummary(
                n=block.count,
                crashed=block.count,
                budget=epochs if isinstance(epochs, int) else 0,
                numbers=((math.nan,) * block.count,) * len(self._names),
            )
        decision.gained.add(fingerprint, block.first, seen)
        return seen

    def _watch(
        self, decision: Decision, block: Block, outcome: Outcome | EncodedOutcome | None
    ) -> None:
        """Keep a block's curves until the decision's results are used."""
        if self._hopeless is not None and outcome is not None:
            first = self._first_seed + block.first
            seeds = range(first, first + block.count)
            curves = self._hopeless.curves_of(
                block.point.key, seeds, outcome.status, outcome.details
            )
            decision.curves[block.first] = curves

    def _count(self, decision: Decision, *, fresh: bool) -> None:
        """Count a trial as done, once it has results."""
        if not decision.counted:
            decision.counted = True
            self._tally.done += 1
            self._tally.fresh += fresh

    def _complete(self, number: int, decision: Decision) -> None:
        """Note that a decision has all its results; `_learn` uses them in its turn."""
        self._count(decision, fresh=False)
        if self._learns:
            self._flight.complete(number)
            return
        self._flight.remove(number)  # no decision uses them
        if not decision.state.in_flight:
            self._finished.keep(self.configs.pop(decision.state.point.key))

    def _learn(self) -> bool:
        """Use the results of the next decision in order; False if there is none, or some lack."""
        number = self._flight.next_complete() if self._learns else None
        if number is None:
            return False
        decision = self._flight.remove(number)
        state = decision.state
        version_changed = state.seen.join(decision.gained)
        if self._hopeless is not None:  # in the order of seeds, whoever was quicker
            for _, curves in sorted(decision.curves.items()):
                self._hopeless.see(curves)
        if not state.in_flight:
            self._untold.release(state.point.key)
        if state.seen.counted.n:  # else all its seeds are void, and there is nothing to learn
            self._show_race(state, version_changed=version_changed)
            self._proposer.see(state.point, state.seen.counted)
        if decision.new and state.seen.counted.n:
            continues = self._continues(state.seen.counted)
            if continues:
                self._continuing.append((decision.proposal, state.point.key))
            if not continues or self._halt:
                self._untold.add(decision.proposal, state)
        if not self._weighs or self._halt or not self._may_propose:
            self._untold.tell()
        return True

    def _continues(self, count: SeedSummary) -> bool:
        """Whether a new trial gets more seeds at once, before it is compared with others."""
        rungs = self._space.seeds.ladder
        if self.race is None or self._weighs or count.n >= rungs[-1]:
            return False
        return seeds_at_first(rungs, count.k, count.n) is not None

    def _show_race(self, state: ConfigState, *, version_changed: bool) -> None:
        """Show the race a config's results, and use what is proven then."""
        if self.race is None:
            return
        key = state.point.key
        if version_changed:  # the race has seen results of the version that counted before
            self.race.forget(key)
            self._given_up.discard(key)
        if key in self._given_up:
            return
        seen, space = state.seen.counted, self._space
        facts = facts_for_race(space.objectives, self._names, space.seeds.price, state.point, seen)
        self.race.see(
            key,
            seen.k,
            seen.n,
            speed=facts.speed,
            costs=facts.costs,
            least=facts.least,
            seed_costs=facts.seed_costs,
            price=facts.price,
        )
        self._look_at_rooms()
        self._give_up_worse()
        self._halt_if_proven()

    def _look_at_rooms(self) -> None:
        """Look at some configs again: those that get no more seeds have no room for any."""
        for other, room in self._rooms.oldest():
            self._rooms.set(other, room if self._may_climb(other) else 0)

    def _give_up_worse(self) -> None:
        """Give up the configs whose promotions are under way though they are proven worse."""
        if self.race is None or not self._ends:
            return
        promoted = {one.state.point.key for one in self._flight if not one.new}
        is_stopped = self.race.is_stopped
        self._given_up |= {other for other in promoted - self._given_up if is_stopped(other)}

    def _halt_if_proven(self) -> None:
        """Make no further decision once the rate is proven that the search is to prove."""
        rate = self._space.stop.proven_rate
        if rate is not None and self.race is not None and self.race.proven >= rate:
            self._halt = Halt.PROVEN

    def _may_climb(self, key: str) -> bool:
        """Whether the race may give a config more seeds, as far as is known.

        One with seeds in flight may, and so may one that is not yet proven worse. With several
        objectives proofs are left out: their costs may change, and a look would make them final.
        """
        state, objectives = self.configs[key], self._space.objectives
        if state.in_flight or self.race is None:
            return True
        by_number = only_statistic(objectives) is not None
        by_rate = only_rate(objectives) or constrained(objectives) is not None
        if not (state.seen.counted.k or by_number or self._weighs):
            return False
        return not (by_number or by_rate) or not self.race.is_stopped(key)
