"""Where blocks come from and results go, for those who only hand them on."""

from __future__ import annotations

from typing import Protocol

from xortune.errors import TrainingError
from xortune.evaluation import Packed
from xortune.outcome import Outcome
from xortune.search.blocks import Job

__all__ = ["Source"]


class Source(Protocol):
    """Where blocks come from and results go: of a search, or of a certificate."""

    @property
    def finished(self) -> bool:
        """Nothing is left to do, and nothing is under way."""
        ...

    @property
    def ready(self) -> int:
        """How many blocks wait to be handed out, those aside that are only made when asked for."""
        ...

    @property
    def left(self) -> int:
        """How many blocks are still to be made, at most."""
        ...

    @property
    def open(self) -> bool:
        """Whether another block can be made now."""
        ...

    @property
    def over(self) -> bool:
        """Whether its time is over: nothing begins any more, what was handed out comes back."""
        ...

    @property
    def left_time(self) -> float | None:
        """Seconds until its time is over, 0 or more; None for any time."""
        ...

    def next_job(self) -> Job | None:
        """The next block to train; None if there is none now."""
        ...

    def receive(
        self, job: Job, result: Outcome | Packed | TrainingError, *, seconds: float, worker: str
    ) -> None:
        """Journal a result; a block without an outcome is handed out again, or given up."""
        ...

    def stop(self) -> None:
        """Begin nothing new; what is under way may finish."""
        ...
