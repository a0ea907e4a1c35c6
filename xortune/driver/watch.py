"""Failures of seeds as they arrive: the first is shown at once, and may end the search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.trainer import Unfinished
from xortune.driver.jobs import ATTEMPTS, BlockSource, Job
from xortune.runs.evaluation import EncodedOutcome


@dataclass(frozen=True)
class Failure:
    """A seed that failed, or a block that produced nothing.

    Attributes:
        config: of the block.
        seed: which failed; of a block that produced nothing the first.
        reason: on one line.
        traceback: where it was raised, in the words of what failed; None if nothing was.
        raised: the seed that the traceback is of, if that is another, as where the first told no
            number and a later one raised.
    """

    config: dict[str, object]
    seed: int
    reason: str
    traceback: str | None
    raised: int | None = None

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self.config.items())
        where = f"the first failure: seed {self.seed} of {values}"
        if self.raised is None or self.raised == self.seed:
            return f"{where}\n{self.traceback or self.reason}"
        return f"{where}\n{self.reason}\nand of seed {self.raised}\n{self.traceback}"


class Watched:
    """A source whose results are looked at as they pass: see `Source`.

    Args:
        source: where the blocks come from.
        on_failure: called once, with the first failure.
        fail_fast: whether it ends the source: nothing new is begun then.
    """

    def __init__(
        self, source: BlockSource, on_failure: Callable[[Failure], None] | None, *, fail_fast: bool
    ) -> None:
        self._source, self._on_failure, self._fail_fast = source, on_failure, fail_fast
        self.failure: Failure | None = None

    @property
    def finished(self) -> bool:
        """As of the source."""
        return self._source.finished

    @property
    def ready(self) -> int:
        """As of the source."""
        return self._source.ready

    @property
    def left(self) -> int:
        """As of the source."""
        return self._source.left

    @property
    def open(self) -> bool:
        """As of the source."""
        return self._source.open

    @property
    def over(self) -> bool:
        """As of the source."""
        return self._source.over

    @property
    def left_time(self) -> float | None:
        """As of the source."""
        return self._source.left_time

    def next_job(self) -> Job | None:
        """As of the source."""
        return self._source.next_job()

    def stop(self) -> None:
        """As of the source."""
        self._source.stop()

    def receive(
        self,
        job: Job,
        result: Outcome | EncodedOutcome | TrainingError,
        *,
        seconds: float,
        worker: str,
    ) -> None:
        """Hand a result on, and look whether it is the first failure."""
        self._source.receive(job, result, seconds=seconds, worker=worker)
        if self.failure is None and (failure := _failure(job, result)) is not None:
            self.failure = failure
            if self._on_failure is not None:
                self._on_failure(failure)
            if self._fail_fast:
                self._source.stop()


def _failure(job: Job, result: Outcome | EncodedOutcome | TrainingError) -> Failure | None:
    config: dict[str, object] = dict(job.block.point)
    if isinstance(result, Unfinished):
        return None
    if isinstance(result, TrainingError):
        if job.attempt < ATTEMPTS:
            return None  # it is tried again
        return Failure(config, job.block.first, str(result), None)
    if not result.details.failed:
        return None
    seed, reason = min(result.details.failed.items())
    return Failure(config, seed, reason, result.details.traceback, result.details.raised)
