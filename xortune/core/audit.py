"""Audit: seeds that were trained in a stack and alone, and what that showed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of seeds that trained as one model.

    Attributes:
        stacked: seeds whose results are those of a stack alone.
        audited: seeds that were trained in a stack and alone, and agreed. Their results are those
            of the loop.
        largest: the largest difference between both, as a fraction of the number's scale.
        fault: which number of which seed differed, where and by how much; empty if none did. Then
            no seed of the outcome has a result of a stack.
    """

    stacked: int = 0
    audited: int = 0
    largest: float = 0.0
    fault: str = ""

    def __add__(self, other: Audit) -> Audit:
        """What is known of the seeds of both."""
        return Audit(
            self.stacked + other.stacked,
            self.audited + other.audited,
            max(self.largest, other.largest),
            self.fault or other.fault,
        )
