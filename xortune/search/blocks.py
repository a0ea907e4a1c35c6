"""Which block is trained next, and what becomes of its result; knows neither Ray nor Optuna."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from xortune.errors import TrainingError
from xortune.evaluation import Evaluation, Packed
from xortune.journal import Journal
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.progress import Progress
from xortune.search.propose import Proposer
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
    """

    proposal: int
    block: Block
    attempt: int = 1


@dataclass
class _Count:
    successes: int = 0
    n: int = 0
    low: float = 0.0

    def add(self, successes: int, n: int) -> None:
        self.successes += successes
        self.n += n


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

    Results reach the sampler in the order of the proposals, and proposal i is made when exactly
    those before i - `window` + 1 have been told: what is proposed depends on the seed and the
    window, not on which worker was faster. With a window of None nothing is waited for.

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
        known: Sequence[Evaluation] = (),
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._space, self._trainer, self._proposer = space, trainer, proposer
        self._journal, self._window, self._on_progress = journal, window, on_progress
        self._total = budget(space)
        self._known = {e.proposal: e for e in known if e.final}
        self._retries: deque[Job] = deque()
        self._next_seed: dict[str, int] = {}
        self._finished: dict[str, _Count] = {}
        self._pooled: dict[str, _Count] = {}
        self._results: dict[int, tuple[Block, int]] = {}  # finished, not yet told: block and k
        self._made = self._told = self._done = self._failed = 0
        self._exhausted = False
        self._started, self._best = time.monotonic(), ""
        self._fresh = 0

    @property
    def finished(self) -> bool:
        """Every proposal has been made and has its final result."""
        return self._all_made and self._done == self._made

    @property
    def _all_made(self) -> bool:
        return self._exhausted or self._made >= self._total

    def stop(self) -> None:
        """Make no further proposals; those under way may finish."""
        self._exhausted = True

    def next_job(self) -> Job | None:
        """The next block to train; None if there is none now (see `finished`)."""
        over = self._space.search.time_budget
        if over is not None and time.monotonic() - self._started >= over:
            self.stop()
        if self._retries:
            return self._retries.popleft()
        while not self._all_made:
            if self._window is not None and not self._tell_up_to(self._made - self._window + 1):
                return None
            number = self._made
            if number in self._known:
                self._recall(self._known.pop(number))
                continue
            values = self._proposer.propose(number)
            if values is None:
                self._exhausted = True
                break
            self._made += 1
            return Job(number, self._next_block(self._trainer.check(values)))
        return None

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
                self._retries.append(Job(job.proposal, job.block, job.attempt + 1))
        self._journal.append(evaluation)
        if evaluation.final:
            self._fresh += 1
            self._finish(evaluation)

    def _next_block(self, point: Point) -> Block:
        # Until there is a race every proposal gets the full count: the ladder's last rung. A point
        # that is proposed again gets its next unused seeds.
        block = Block(point, self._next_seed.get(point.key, 0), self._space.seeds.ladder[-1])
        self._next_seed[point.key] = block.first + block.count
        return block

    def _recall(self, evaluation: Evaluation) -> None:
        block = evaluation.block
        self._proposer.replay(self._made, block.point)
        end = block.first + block.count
        self._next_seed[block.point.key] = max(end, self._next_seed.get(block.point.key, 0))
        self._made += 1
        self._finish(evaluation)

    def _finish(self, evaluation: Evaluation) -> None:
        outcome = evaluation.outcome
        successes = outcome.successes if outcome is not None else 0  # crashed seeds are failures
        if self._window is not None:
            self._results[evaluation.proposal] = (evaluation.block, successes)
        self._done += 1
        self._failed += outcome is None
        count = self._finished.setdefault(evaluation.block.point.key, _Count())
        count.add(successes, evaluation.block.count)
        count.low = _lower(count.successes, count.n)
        self._note_best(evaluation.block.point.key)
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
            key = max(self._finished, key=lambda k: self._finished[k].low)
        elif self._best and self._finished[key].low <= self._finished[self._best].low:
            return
        self._best = key

    def _tell_up_to(self, end: int) -> bool:
        """Tell the sampler all results before proposal `end`; False if one is still missing."""
        while self._told < end:
            if self._told not in self._results:
                return False
            block, successes = self._results.pop(self._told)
            # Pooled over what was told before, so that this too depends on nobody's speed.
            pooled = self._pooled.setdefault(block.point.key, _Count())
            pooled.add(successes, block.count)
            self._proposer.learn(self._told, pooled.successes / pooled.n)
            self._told += 1
        return True


@cache
def _lower(successes: int, n: int) -> float:
    return float(wilson(successes, n)[0])
