"""Who decides where all seeds are known from the start: those of a certificate, say.

`loop.run` asks it for the next seeds in place of `decisions.SearchDecisions`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Any

from xortune.core.trainer import PLACE_SECONDS, VOID, Block, Reported, is_void
from xortune.runs.evaluation import Evaluation, SeedsToTrain
from xortune.runs.journal import Journal
from xortune.training.jobs import Job
from xortune.training.loop import NoJournal


class FreshSeeds:
    """Decides which fresh seeds train next: a part of each config's in turn.

    All configs begin before the first is known to be good or bad, so nobody can choose among them
    by interrupting an attempt. Parts of one config may train at once, and results come in any
    order.

    Args:
        tasks: the seeds of each config.
        further: called with all lines so far; returns further tasks, none once all is decided, and
            tasks without seeds where it is not and no others are left.
        passed_over: other seeds that wait for their next try.

    Attributes:
        configs: number of configs with seeds to train.
        news: pairs (seeds done, all seeds) for the user's callback.
        lines: the evaluations recorded so far.
    """

    def __init__(
        self,
        tasks: Sequence[SeedsToTrain],
        *,
        further: Callable[[Sequence[Evaluation]], Sequence[SeedsToTrain]] | None = None,
        passed_over: int = 0,
    ) -> None:
        self._further = further
        self._waiting = deque(_jobs_of(tasks))
        self._begun = set[str]()  # keys of configs
        self._passed_over, self._decided = passed_over, False
        self.configs = len({job.block.point.key for job in self._waiting})
        self._total, self._done = _seeds_of(self._waiting) + passed_over, 0
        self._end = max((job.block.seeds.stop for job in self._waiting), default=0)
        self.news: deque[object] = deque([(0, self._total)])
        self.lines: list[Evaluation] = []

    @property
    def blocks(self) -> list[Block]:
        """The seeds that nobody has begun to train."""
        return [job.block for job in self._waiting]

    @property
    def void(self) -> dict[tuple[str, int], str]:
        """By config key and seed, why those that have no result could not be tried."""
        found: dict[tuple[str, int], str] = {}
        for line in self.lines:
            seeds = [(line.block.point.key, seed) for seed in line.block.seeds]
            if is_void(line.error):
                found |= dict.fromkeys(seeds, str(line.error).removeprefix(VOID))
            elif line.final:
                found = {seed: why for seed, why in found.items() if seed not in seeds}
        return found

    def stop(self, *, now: bool = False) -> None:  # noqa: ARG002
        """Begin no further seed; those in flight may finish."""
        self._waiting.clear()
        self._further = None

    def next(self, seconds: Callable[[Block], float | None] = lambda _: None) -> Job | None:
        """The next seeds to train; None if there are none now.

        Once each config has begun, the one that takes longest for the rest is next: so no worker is
        left alone with it at the end.
        """
        if not self._waiting:
            return None
        job = self._waiting[0]
        if self._begun.issuperset(one.block.point.key for one in self._waiting):
            job = max(self._waiting, key=lambda one: seconds(one.block) or 0.0)
        self._waiting.remove(job)
        self._begun.add(job.block.point.key)
        return job

    def put_back(self, job: Job) -> None:
        """Take back the rest of a config's seeds: the other configs are next."""
        self._waiting.append(job)

    def wants(self, job: Job) -> bool:
        """Whether a block's result is wanted: always, but no seed is tried again for an answer."""
        return not (self._decided and job.tries)

    def rests(self) -> bool:
        """Whether all that is left are seeds that were passed over."""
        return self._done + self._passed_over == self._total

    def pass_over(self) -> None:
        """Ask for another seed in the place of one that waits for its next try."""
        self._passed_over += 1
        self._ask_further()

    def take_up(self) -> int:
        """A seed that was passed over begins again: return the first seed that has not begun."""
        self._passed_over -= 1
        return min((job.block.first for job in self._waiting), default=self._end)

    def tell(self, job: Job, result: Evaluation) -> None:
        """Record the result of a block."""
        self.lines.append(result)
        if not result.final and not is_void(result.error):
            return
        self._done += job.block.count
        self._ask_further()
        self.news.append((self._done, self._total))

    def _ask_further(self) -> None:
        if self._further is None:
            return
        tasks = self._further(self.lines)
        more, self._decided = _jobs_of(tasks), not tasks
        if self.rests():
            self._waiting.extend(more)
            self._total += _seeds_of(more)
            self._end = max((job.block.seeds.stop for job in more), default=self._end)
        elif self._decided:
            self._total -= _seeds_of(self._waiting)
            self._waiting.clear()

    def hear(self, reported: Reported) -> None:
        """Do nothing: the news of fresh seeds are counts."""


def passing_over(
    fresh: FreshSeeds, journal: Journal | NoJournal, noted: dict[tuple[str, int], str]
) -> dict[str, Any]:
    """How `Batches` goes on without seeds that wait for long to be tried again.

    Each is void in the journal from then on: so its place, which is behind all others, follows from
    there.

    Args:
        fresh: decides who is next.
        journal: takes their lines.
        noted: why those that the journal has as void could not be tried, by config key and seed;
            it gets the others.
    """

    def wait(job: Job, why: str) -> None:
        if job.waited > PLACE_SECONDS:
            if (name := (job.block.point.key, job.block.first)) not in noted:
                noted[name] = why
                void = (job.proposal, job.block, None, f"{VOID}{why}", False, 0.0, "")
                line = Evaluation(*void, purpose=job.purpose)
                journal.append(line)
                fresh.lines.append(line)
            fresh.pass_over()

    def again(job: Job) -> None:
        if job.waited > PLACE_SECONDS:
            fresh.take_up()

    return {"on_wait": wait, "on_again": again}


def _jobs_of(tasks: Iterable[SeedsToTrain]) -> list[Job]:
    """A job for each contiguous part of each task's seeds: first one of each task, then more."""
    rows = [
        [
            Job(task.proposal, Block(task.point, part.start, len(part)), purpose=task.purpose)
            for part in task.seeds
        ]
        for task in tasks
    ]
    return [job for jobs in zip_longest(*rows) for job in jobs if job is not None]


def _seeds_of(jobs: Iterable[Job]) -> int:
    return sum(job.block.count for job in jobs)
