"""Audit: seeds that were trained in a stack and alone, and what that showed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

AT_FIRST = 29
"""Number of seeds that are trained alone, too, before a result of a stack is used: a fault in 15 %
of the seeds escapes them with probability 0.85**29, which is 0.009. Then it is one seed in 64."""

TOLERANCE = 1e-4
"""The largest difference of a number, as a fraction of its scale, that rounding explains."""

LEAST_AUDITED = 44
"""Minimum number of audited seeds before an answer leaves, if so many were stacked: a fault in a
tenth of the seeds escapes with a probability below 0.9**44, which is 0.01."""

LEAST_SCALE = 1e-3
"""Minimum scale of a number: smaller numbers agree within 1e-7."""

OF_NEW = 2
"""Number of seeds, the last ones, that are trained alone of the first stack of a new structure."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What is known of seeds that trained as one model.

    Attributes:
        stacked: seeds whose results are those of a stack alone.
        audited: seeds that were trained in a stack and alone, and agreed.
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

    def sentence(self, n: int) -> str:
        """How many of n seeds trained so, and what that showed; empty if no seed was stacked."""
        if self.fault:
            return f"each seed trained alone: as one model they trained otherwise ({self.fault})"
        if not self.stacked and not self.audited:
            return ""
        alone = f"{self.audited:,} {'was' if self.audited == 1 else 'were'} trained alone too"
        if self.audited and self.largest:
            largest = f"{self.largest:.1g}".replace("e-0", "e-")
            alone += f": the largest difference is {largest} of the number's scale"
        elif self.audited:
            alone += ", with the same numbers"
        return f"{self.stacked:,} of {n:,} seeds trained as one model with others; {alone}"


def drawn(seeds: Sequence[tuple[str, int]], agreed: int, last: int = 0) -> list[int]:
    """The places of the seeds that are trained alone as well.

    Args:
        seeds: of a stack: a text of the configuration of each, and its number.
        agreed: how many seeds are known to agree.
        last: how many of the last ones are drawn in any case: where a stack has several
            configurations, the first seeds may all be of the first one.
    """
    chosen: list[int] = []
    for place, (config, seed) in enumerate(seeds):
        every = 1 if agreed + len(chosen) < AT_FIRST else 64
        digest = blake2b(f"{config} {seed}".encode(), digest_size=8).digest()
        if int.from_bytes(digest, "big") % every == 0:
            chosen.append(place)
    return sorted({*chosen, *range(max(0, len(seeds) - last), len(seeds))})
