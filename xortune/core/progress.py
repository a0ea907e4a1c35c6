"""Progress: what a search says of itself while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """A moment of a search.

    Attributes:
        done: finished proposals, those of an earlier session that was resumed included.
        total: proposals that were asked for.
        fresh: proposals finished in this session.
        seconds: since this session began.
        best: (k, n) of the config whose Wilson lower bound is highest so far.
        failed: proposals that produced no outcome, even when repeated.
        seeds: given to all configs so far; those of an earlier session and under way included.
    """

    done: int
    total: int
    fresh: int
    seconds: float
    best: tuple[int, int]
    failed: int
    seeds: int = 0

    @property
    def rate(self) -> float:
        """Finished proposals per second of this session."""
        return self.fresh / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None before anything finished."""
        return (self.total - self.done) / self.rate if self.rate else None
