"""A block on its way to a worker."""

from __future__ import annotations

from dataclasses import dataclass

from xortune.trainer import Block

__all__ = ["ATTEMPTS", "Job"]

ATTEMPTS = 3
"""So often a block that produces no outcome is tried in all."""


@dataclass(frozen=True)
class Job:
    """A block on its way to a worker.

    Attributes:
        proposal: the number of the proposal it belongs to.
        block: what to train.
        attempt: from 1, more for the repetitions of a block that produced nothing.
        climbs: whether it is not the first of its config.
        step: the number of the decision it comes from.
    """

    proposal: int
    block: Block
    attempt: int = 1
    climbs: bool = False
    step: int = 0
