"""Which block is trained next, and what becomes of its result; knows neither Ray nor Optuna."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

from xortune.errors import TrainingError
from xortune.evaluation import Evaluation, Packed
from xortune.journal import Journal
from xortune.objective import Seen, costs, only_rate
from xortune.outcome import Outcome
from xortune.progress import Progress
from xortune.race import Race, RaceRule
from xortune.race_front import FrontRace
from xortune.search.propose import Proposer
from xortune.search.turns import Count, Order, Turn
from xortune.space import SearchSpace, grid_size
from xortune.stats import wilson
from xortune.trainer import Block, Trainer

__all__ = ["BlockQueue", "Job", "budget"]

ATTEMPTS = 2
"""A block that produces no outcome is tried once more."""


@dataclass(frozen=True)
class Job:
    """A block on its way to a worker.

    Attributes:
        proposal: the number of the proposal it belongs to.
        block: what to train.
        attempt: 1, or 2 for the repetition of a block that produced nothing.
        climbs: whether it is a later block of its proposal, not the first.
    """

    proposal: int
    block: Block
    attempt: int = 1
    climbs: bool = False


def budget(space: SearchSpace) -> int:
    """How many proposals the search makes in all."""
    if space.search.trials is not None:
        return space.search.trials
    size = grid_size(space)
    if not space.start:
        return size
    from xortune.space import grid

    keys = {point.key for point in space.start}
    return size + len(keys - {point.key for point in grid(space)})


class BlockQueue:
    """Hands out blocks and takes results, in whatever order workers deliver them.

    Where there are several rungs, a proposal's blocks come one after the other, as `xortune.race`
    decides; see `xortune.search.turns` for when it does. A point that is proposed again has a turn
    of its own, on its next seeds.

    Results reach the sampler in the order of the proposals, each when its turn is over, and
    proposal i is made when exactly those before i - `window` + 1 have been told: what is proposed,
    and who is stopped, depends on the seed, the window and the lag, not on which worker was faster.
    With a window of None nothing is waited for.

    Args:
        space: what is searched.
        trainer: what checks proposals.
        proposer: where they come from.
        journal: where results go.
        window: how many proposals may be under way or not yet told.
        lag: how many proposals later the next rung is judged; with the R rungs and a window it must
            not be above window / (R - 1), or all would wait for each other.
        known: what a journal holds already.
        on_progress: called after each finished proposal.

    Raises:
        InputError: from `next_job`, when the trainer refuses a proposal.
    """

    def __init__(
        self,
        space: SearchSpace,
        trainer: Trainer,
        proposer: Proposer,
        journal: Journal,
        *,
        window: int | None,
        lag: int = 0,
        known: Sequence[Evaluation] = (),
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._journal, self._window, self._on_progress = journal, window, on_progress
        self._total = budget(space)
        self._rungs, self._wanted = space.seeds.ladder, space.stop.proven_rate
        rule = RaceRule(self._rungs, alpha=space.seeds.alpha, finalists=space.seeds.finalists)
        racing = len(self._rungs) > 1 or self._wanted is not None
        self._race: Race | FrontRace | None = None
        if racing:
            self._race = Race(rule) if only_rate(space.objectives) else FrontRace(rule)
        self._order, self._raced = Order(lag), dict[str, Count]()
        self._known: dict[int, list[Evaluation]] = {}
        for evaluation in known:
            if evaluation.final:
                self._known.setdefault(evaluation.proposal, []).append(evaluation)
        self._retries: deque[Job] = deque()
        self._ready: deque[Job] = deque()
        self._turns: dict[int, Turn] = {}
        self._next_seed: dict[str, int] = {}
        self._finished: dict[str, Count] = {}
        self._low: dict[str, float] = {}
        self._pooled: dict[str, Count] = {}
        self._results: dict[int, Turn] = {}  # finished, not yet told
        self._made = self._told = self._done = self._failed = 0
        self._exhausted = self._proven = False
        self._started, self._best = time.monotonic(), ""
        self._fresh = 0

    @property
    def finished(self) -> bool:
        """Every proposal has been made and has its final result."""
        return self._all_made and self._done == self._made

    @property
    def proven(self) -> tuple[str, float] | None:
        """Key and proven rate of the config that ended the search; None if none did."""
        if self._race is None or not self._proven:
            return None
        return str(self._race.leader), self._race.proven

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out, those of proposals still to be made aside."""
        return len(self._retries) + len(self._ready)

    @property
    def open(self) -> bool:
        """Whether another proposal can be made now."""
        return not self._all_made and self._may_make()

    @property
    def _all_made(self) -> bool:
        return self._exhausted or self._made >= self._total

    def stop(self) -> None:
        """Make no further proposals; those under way may finish."""
        self._exhausted = True

    def recall(self) -> bool:
        """Take in what is known of an earlier session; whether that was all there is to do."""
        while not self._all_made and self._made in self._known and self._may_make():
            self._make()
            if self._race is not None:
                self._judge_all(self._race)
        return self.finished

    def next_job(self) -> Job | None:
        """The next block to train; None if there is none now (see `finished`)."""
        over = self._space.search.time_budget
        if over is not None and time.monotonic() - self._started >= over:
            self.stop()
        while True:
            if self._retries:
                return self._retries.popleft()
            if self._race is not None:
                self._judge_all(self._race)
            if self._ready:  # whoever climbs comes before whoever begins
                return self._ready.popleft()
            if self._all_made or not self._may_make():
                return None
            self._make()

    @property
    def left(self) -> int:
        """How many proposals are still to be made, at most."""
        return 0 if self._all_made else self._total - self._made

    def receive(
        self, job: Job, result: Outcome | Packed | TrainingError, *, seconds: float, worker: str
    ) -> None:
        """Journal a result; a block without an outcome is queued again, or given up."""
        if not isinstance(result, TrainingError):
            evaluation = Evaluation(job.proposal, job.block, result, None, True, seconds, worker)
        else:
            final = job.attempt >= ATTEMPTS
            evaluation = Evaluation(
                job.proposal, job.block, None, str(result), final, seconds, worker
            )
            if not final:
                self._retries.append(replace(job, attempt=job.attempt + 1))
        self._journal.append(evaluation)
        if not evaluation.final:
            return
        turn = self._turns[job.proposal]
        turn.take(evaluation.outcome, job.block.count)
        turn.missing -= job.block.count
        turn.fresh = True
        if self._race is not None:
            self._judge_all(self._race)
        elif turn.missing == 0:
            self._finish(turn)

    def _may_make(self) -> bool:
        return self._window is None or self._tell_up_to(self._made - self._window + 1)

    def _make(self) -> None:
        """Make the next proposal and begin its turn."""
        number = self._made
        known = self._known.pop(number, [])
        if known:
            point = known[0].block.point
            self._proposer.replay(number, point)
        else:
            values = self._proposer.propose(number)
            if values is None:
                self._exhausted = True
                return
            point = self._trainer.check(values)
        self._made += 1
        key = point.key
        base = self._next_seed.get(key, 0)
        self._next_seed[key] = base + self._rungs[-1]
        timed = self._race is not None or self._window is not None
        turn = Turn(number, point, base, known, timed=timed)
        self._turns[number] = turn
        if self._race is not None:
            self._race.enter(key)
        self._climb(turn, 0)

    def _climb(self, turn: Turn, rung: int) -> None:
        for block in turn.climb(rung, self._rungs):
            self._ready.append(Job(turn.number, block, climbs=rung > 0))
        if self._race is not None:
            self._order.put(turn)
        elif not turn.missing:
            self._finish(turn)

    def _judge_all(self, race: Race | FrontRace) -> None:
        """Judge whoever is next, as long as all the results for it are there."""
        while (number := self._order.first(None if self._all_made else self._made)) is not None:
            turn = self._turns[number]
            if turn.missing:
                return
            self._order.drop()
            self._judge(turn, race)

    def _judge(self, turn: Turn, race: Race | FrontRace) -> None:
        count = self._raced.setdefault(turn.point.key, Count())
        count.add(turn.gained)
        turn.gained = Count()
        key, k, n, base = turn.point.key, count.successes, count.n, count.n - self._rungs[turn.rung]
        if isinstance(race, FrontRace):
            others = costs(self._space.objectives, Seen(turn.point, k, n, count.spent))
            decision = race.look(key, k, n, costs=others, base=base)
        else:
            decision = race.look(key, k, n, effort=count.effort, base=base)
        if self._wanted is not None and race.proven >= self._wanted:
            self._proven = True
            self.stop()
        if decision.verdict == "climbs" and not self._proven:
            self._climb(turn, turn.rung + 1)
        else:
            self._finish(turn)

    def _finish(self, turn: Turn) -> None:
        del self._turns[turn.number]
        if self._window is not None:
            self._results[turn.number] = turn
        self._done += 1
        self._failed += turn.failed
        self._fresh += turn.fresh
        key = turn.point.key
        count = self._finished.setdefault(key, Count())
        count.add(turn.count)
        self._low[key] = _lower(count.successes, count.n)
        self._note_best(key)
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    done=self._done,
                    total=self._total,
                    fresh=self._fresh,
                    seconds=time.monotonic() - self._started,
                    best=(self._finished[self._best].successes, self._finished[self._best].n),
                    failed=self._failed,
                )
            )

    def _note_best(self, key: str) -> None:
        if key == self._best:  # more seeds of the best may have lowered it
            key = max(self._low, key=self._low.__getitem__)
        elif self._best and self._low[key] <= self._low[self._best]:
            return
        self._best = key

    def _tell_up_to(self, end: int) -> bool:
        """Tell the sampler all results before proposal `end`; False if one is still missing."""
        while self._told < end:
            if self._told not in self._results:
                return False
            turn = self._results.pop(self._told)
            # Pooled over what was told before, so that this too depends on nobody's speed.
            pooled = self._pooled.setdefault(turn.point.key, Count())
            pooled.add(turn.count)
            seen = Seen(turn.point, pooled.successes, pooled.n, pooled.spent)
            self._proposer.learn(self._told, seen)
            self._told += 1
        return True


@cache
def _lower(successes: int, n: int) -> float:
    return float(wilson(successes, n)[0])
