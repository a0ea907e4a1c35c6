"""Who decides: which configuration a search trains next, and with which seeds. No clock, no files.

A decision is a new trial, or more seeds for a configuration that has some.

- Which step is next: `_next_decision`.
- What a new trial is, `trials.Trials` says; whom a promotion names, `contest.Contest`.
- What is granted: the journal has some of it (`_recall`), the rest is handed out (`_hand_out`).
- What was told: `tell` takes a line of the journal. Its results are shown to the user at once
  (`tally.Tally`), and used by decisions in their turn (`in_flight.InFlight`, `_learn`).

Words:

- trial: a point that the proposer gave, by its number; the same point may come twice.
- decision: which configuration gets its next seeds, and how many: a new trial or a promotion.
- job: what is handed out to be trained: one block, for a decision, which may need several.
- block: one configuration with contiguous seeds; the journal has a line for each result of one.
- rung: a total number of seeds, at which the race looks at a configuration.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto

from xortune.core.trainer import (
    NOT_FINISHED,
    PROVEN_WORSE,
    Block,
    Reported,
    Trainer,
    is_void,
    missing_seeds,
)
from xortune.deciding.configs import ConfigState
from xortune.deciding.contest import Contest
from xortune.deciding.in_flight import Decision, InFlight
from xortune.deciding.measured import Measured, SeedStudy
from xortune.deciding.propose import Proposer
from xortune.deciding.recorded import Recorded
from xortune.deciding.tally import Tally
from xortune.deciding.trials import Trials
from xortune.racing.grants import PROMOTION_SHARE
from xortune.racing.objectives import SeedSummary
from xortune.runs.evaluation import Evaluation
from xortune.runs.status import Progress
from xortune.spaces.model import SearchSpace
from xortune.training.ahead import Prospect
from xortune.training.jobs import Job


class Halt(Enum):
    """Why a search makes no further decision."""

    ASKED = auto()
    PROVEN = auto()


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
        first_seed: of each configuration.

    Attributes:
        contest: whom it gives more seeds.
        configs: by key.
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
        self._space, self._ladder, self._first_seed = space, space.seeds.ladder, first_seed
        self._fingerprint = fingerprint
        # What is known.
        self._measured = Measured.of(space)
        self._recorded = Recorded(known, self._measured)
        self.configs: dict[str, ConfigState] = {}
        self._flight = InFlight(
            max_in_flight, min_in_flight, as_they_come=space.search.as_they_come
        )
        # Who is asked.
        self.contest = Contest(space, self._measured, self.configs, self._flight, ends=ends)
        assert self._flight.learns or not self.contest.is_repeated  # a race uses results
        waits = self.contest.weighs
        self._trials = Trials(space, trainer, proposer, self._recorded, waits=waits)
        self._seeds = SeedStudy(space)
        # What is to be done.
        self._halt: Halt | None = None
        self._ready: deque[Job] = deque()
        self._continuing: deque[tuple[int, ConfigState]] = deque()  # new trials that get more
        self._new_seeds = self._more_seeds = 0  # granted to new trials, and to promoted
        # What is said.
        self.news: deque[object] = deque()
        self._tally, self._recalled = Tally(space), 0  # seeds of the journal
        self._verdicts = set(self._recorded.verdicts)

    # What others ask.

    def use_all_and_ask_unfinished(self) -> bool:
        """Use the results that are there; return whether a stop left something unfinished.

        A search that results have ended is finished.
        """
        while self._learn():
            pass
        if self._has_ended:
            return False
        if self._trials.are_left or self._continuing:
            return True
        if any(decision.missing for decision in self._flight):
            return True
        return self.contest.promoted(self._granted) is not None

    @property
    def _has_ended(self) -> bool:
        return self._halt not in (None, Halt.ASKED)

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self._halt is not Halt.PROVEN or (race := self.contest.race) is None:
            return None
        return str(race.leader), race.proven

    @property
    def seed_limit(self) -> int | None:
        """The most seeds after the last proposal, if they are what ended the search; else None."""
        return None if self._halt else self.contest.seed_limit(self._granted)

    @property
    def unused(self) -> int:
        """Seeds of earlier sessions that no decision has asked for."""
        return self._recorded.seeds - self._recalled

    def verdicts(self) -> Iterator[Evaluation]:
        """Lines for the journal: the configs that get no more seeds, proven worse than another."""
        for state in self.contest.proven_worse(self._verdicts):
            self._verdicts.add(state.point.key)
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
        return self._has_ended or not self.use_all_and_ask_unfinished()

    def next(self, _: object = None) -> Job | None:
        """The next block to train, in the order of decisions; None if there is none now."""
        while not self._ready:
            if not self._decide():
                return None
        return self._ready.popleft()

    def put_back(self, job: Job) -> None:
        """Take back a block, or the rest of one: it is the next."""
        self._ready.appendleft(job)

    def wants(self, job: Job) -> bool:
        """Whether a block's results are of interest: its config is not given up.

        The promotion of a config that is proven worse than another affects no decision any more.
        Its finished seeds count, its other seeds are in no count. A config is given up at a fixed
        place in the order of decisions, and the race ignores what its last promotion still returns:
        so no decision depends on how many of these seeds had finished.
        """
        decision = self._flight.get(job.decision)
        return decision is None or decision.new or not self.contest.gives_up(job.block.point.key)

    def hear(self, reported: Reported) -> None:
        """Add what a training reported on its way to the news."""
        self.news.append(replace(self.progress, reported=reported))

    @property
    def progress(self) -> Progress:
        """The progress now, in the same time however many configurations there are."""
        expected = self._granted - self._tally.dropped
        coming = 0 if self._halt else self._trials.total - self._trials.begun
        room = 0 if self._halt else self.contest.room
        least = expected + coming * self._ladder[0]
        most = expected + coming * self._ladder[-1] + room
        if self._space.stop.by_results:
            least = expected  # any seed may be the last one
        return self._tally.progress(least, most)

    def prospects(self) -> Iterator[Prospect]:
        """Configs that may get their next seeds, for `ahead.Ahead`."""
        if self._halt:
            return
        for point in self._trials.foreseen():
            if point.key not in self.configs:
                yield Prospect(point, self._ladder, first_seed=self._first_seed)
        for state in self.contest.open():
            rungs = tuple(rung for rung in self._ladder if rung > state.granted)
            if rungs:
                seen = state.seen.counted
                yield Prospect(state.point, rungs, state.granted, seen, self._first_seed)

    # Making decisions.

    def _decide(self) -> bool:
        """Make the next decision; False if it must wait for results, or there is none."""
        self._use_results()
        if self._flight.is_full:
            return False
        while not self._next_decision():
            if not self._learn():
                return False
        self._use_results()
        return True

    def _use_results(self) -> None:
        """Use the results that the next decision will know.

        At once, and not only when it is made: they may give up what is in training.
        """
        while (self._flight.is_full or self._flight.has_arrived) and self._learn():
            pass

    def _next_decision(self) -> bool:
        """Take the next step; False if it names no configuration: the search waits for results.

        A new trial whose first seeds did not fail gets its next ones at once. Then come decisions
        that the journal has at this place. Then the race is asked, and where it names nobody, a new
        trial begins: first the race where it compares both, see `best_race`, and else while it has
        less than `PROMOTION_SHARE`. Without new trials it may also name a configuration ahead.
        """
        if self._halt is not None:
            return False
        if self._continuing:
            number, state = self._continuing.popleft()
            self._grant(Decision(number, state, new=True, counted=True))
            return True
        if self._repeats_here:
            number, key = self._recorded.decisions[self._flight.made]
            return self._begin() if number == self._trials.begun else self._promote(key)
        if not self._trials.are_left:
            return self._promote(self.contest.promoted(self._granted)) or self._promote(
                self.contest.promoted_ahead(self._granted)
            )
        asks = self.contest.weighs or self._more_seeds < PROMOTION_SHARE * self._granted
        promoted = self.contest.promoted(self._granted) if asks else None
        return self._begin() if promoted is None else self._promote(promoted)

    @property
    def _granted(self) -> int:
        return self._new_seeds + self._more_seeds

    @property
    def _has_trials_to_repeat(self) -> bool:
        return self._trials.are_recorded and self._halt is None

    @property
    def _repeats_here(self) -> bool:
        """Whether the journal has the next decision, and what it is about is there.

        It is about a new trial, or about a configuration that this search has begun. Where lines
        were removed from the journal, it may be about one that has not come yet.
        """
        if not (self.contest.is_repeated and self._trials.are_recorded):
            return False
        number, key = self._recorded.decisions.get(self._flight.made, (-1, ""))
        return number == self._trials.begun or key in self.configs

    def _promote(self, key: str | None) -> bool:
        """Give a configuration more seeds; False if nobody was named."""
        if key is None:
            return False
        state = self.configs[key]
        self._grant(Decision(state.proposal, state, new=False, counted=True))
        return True

    def _begin(self) -> bool:
        """Begin a new trial; where the proposer has no more points, take another step."""
        number = self._trials.begun
        if (point := self._trials.begin()) is None:
            self.contest.end_trials(self._granted)
            return self._next_decision()
        if (state := self.configs.get(point.key)) is None:
            state = ConfigState(point, number=len(self.configs) + 1)
            self.configs[point.key] = state
        state.proposal = number
        self.contest.enter(point.key)
        self._grant(Decision(number, state, new=True))
        if not self._trials.are_left:
            self.contest.end_trials(self._granted)
        return True

    # Granting seeds: those that the journal has are not trained again.

    def _grant(self, decision: Decision) -> None:
        """Give a decision's config its next seeds."""
        parts = self._recall(decision)
        if decision.new:
            self._new_seeds += decision.seeds
        else:
            self._more_seeds += decision.seeds
        number = self._flight.add(decision)
        self.contest.note(decision.state)
        self._hand_out(number, decision, parts)
        if not parts:
            self._complete(number, decision)
            self.news.clear()  # of known results only the last progress is shown
            self.news.append(self.progress)

    def _recall(self, decision: Decision) -> list[range]:
        """Grant the next seeds, take in those that the journal has, and return what it lacks."""
        state = decision.state
        first = self._first_seed + state.granted
        end = self._first_seed + state.next_rung(self._ladder)
        known = self._recorded.blocks(state.point, range(first, end))
        for one in known:
            if not one.final:  # it was given up: do not count it, do not train it again
                self._tally.dropped += one.block.count
                continue
            self._recalled += one.block.count
            self._gain(decision, one.block, one.seen, one.fingerprint)
            outcome = one.outcome if self._seeds.prunes else None  # decoding it takes time
            decision.trials[one.block.first] = self._seeds.trials_of(one.block, outcome)
            end = max(end, one.block.seeds.stop)  # the ladder was another one
        for version, (lowest, gained) in decision.gained.parts.items():
            self._tally.grow(state, version, lowest, gained)
        parts = [range(first, end)]
        if known:
            parts = list(missing_seeds(range(first, end), [one.block for one in known]))
        state.granted = end - self._first_seed
        decision.seeds, decision.missing = end - first, sum(map(len, parts))
        if decision.missing < decision.seeds:
            # The trial has its first result from an earlier session. `fresh` says how fast this
            # session is, see `Progress.pace`: what was trained before would make it look faster.
            self._count(decision, fresh=False)
        return parts

    def _hand_out(self, number: int, decision: Decision, parts: Sequence[range]) -> None:
        """Make jobs of seeds that have to be trained."""
        state = decision.state
        is_noted = self.contest.is_repeated and self._trials.are_left
        self._ready.extend(
            Job(
                decision.proposal,
                Block(state.point, part.start, len(part), self._seeds.pruning()),
                promoted=state.granted > decision.seeds,
                decision=number,
                noted=number if is_noted else None,
            )
            for part in parts
        )

    # Taking results in.

    def tell(self, job: Job, result: Evaluation) -> None:
        """Use a line of the journal: a final result, or seeds that were given up."""
        decision = self._flight.get(job.decision)
        assert decision is not None
        if result.final:
            block = result.block
            seen = self._measured.summary(result, learns=self._flight.learns)
            gained = self._gain(decision, block, seen, self._fingerprint)
            decision.trials[block.first] = self._seeds.trials_of(block, result.outcome)
            self._tally.grow(decision.state, self._fingerprint, block.first, gained)
            self._count(decision, fresh=True)
        elif result.error == NOT_FINISHED or is_void(result.error):
            self._tally.dropped += result.block.count
        else:
            return  # another attempt follows
        decision.missing -= result.block.count
        if not decision.missing:
            self._complete(job.decision, decision)
        self.news.append(self.progress)

    def _gain(
        self, decision: Decision, block: Block, seen: SeedSummary | None, fingerprint: str
    ) -> SeedSummary:
        """Add a block's results, trained by one version, to a decision's, and return them.

        Without an outcome all seeds of the block crashed.
        """
        if seen is None:
            self._tally.failed.add(decision.proposal)
            seen = self._measured.crashed(block)
        decision.gained.add(fingerprint, block.first, seen)
        return seen

    def _count(self, decision: Decision, *, fresh: bool) -> None:
        """Count a trial as done, once it has results."""
        if not decision.counted:
            decision.counted = True
            self._tally.done += 1
            self._tally.fresh += fresh

    def _complete(self, number: int, decision: Decision) -> None:
        """Note that a decision has all its results; `_learn` uses them in its turn."""
        self._count(decision, fresh=False)
        if self._flight.learns:
            self._flight.complete(number)
            self._use_results()
            return
        self._flight.remove(number)  # no decision uses them

    def _learn(self) -> bool:
        """Use the results of the next decision in order; False if there is none, or some lack."""
        if (number := self._flight.next_complete()) is None:
            return False
        decision = self._flight.remove(number)
        state = decision.state
        version_changed = state.seen.join(decision.gained)
        for _, trials in sorted(decision.trials.items()):  # whichever came first
            self._seeds.learn(trials)
        if not state.in_flight:
            self._trials.release(state.point.key)
        if state.seen.counted.n:  # else all its seeds are void, and there is nothing to learn
            self._compare(decision, version_changed=version_changed)
        if not self.contest.weighs or self._halt or not self._trials.are_left:
            self._trials.tell()
        return True

    def _compare(self, decision: Decision, *, version_changed: bool) -> None:
        """Show a config's results to the race and the sampler, and use what follows."""
        state = decision.state
        self.contest.show(state, version_changed=version_changed)
        if self.contest.has_proven:
            self._halt = Halt.PROVEN
        self._trials.see(state)
        if decision.new:
            continues = self.contest.continues(state.seen.counted)
            if continues:
                self._continuing.append((decision.proposal, state))
            if not continues or self._halt:
                self._trials.add(decision.proposal, state)
