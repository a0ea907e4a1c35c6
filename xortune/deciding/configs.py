"""A configuration in a search: the seeds it was given, and its results by version."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from xortune.core.point import Point
from xortune.racing.objectives import SeedSummary
from xortune.runs.results import counting_version


@dataclass(slots=True)
class ResultsByVersion:
    """Results of a configuration by the version of the software that trained them.

    Only one version counts; `runs.results.counting_version` says which.

    Attributes:
        fingerprint: of the version that counts; None without any seed.
        parts: the lowest seed and the results of each version, by fingerprint.
    """

    fingerprint: str | None = None
    parts: dict[str, tuple[int, SeedSummary]] = field(default_factory=dict)

    def add(self, fingerprint: str, first: int, more: SeedSummary) -> None:
        """Add results of one version, of which `first` is the lowest seed."""
        if fingerprint in self.parts:
            lowest, known = self.parts[fingerprint]
            first, more = min(lowest, first), known + more
        self.parts[fingerprint] = first, more
        self.fingerprint = fingerprint
        if len(self.parts) > 1:
            self.fingerprint = counting_version(
                (version, seen.n, lowest) for version, (lowest, seen) in self.parts.items()
            )

    def join(self, more: ResultsByVersion) -> bool:
        """Add all results of another; return whether this changes the version that counts."""
        before = self.fingerprint
        for fingerprint, (first, count) in more.parts.items():
            self.add(fingerprint, first, count)
        return before not in (None, self.fingerprint)

    @property
    def counted(self) -> SeedSummary:
        """Results of the version that counts."""
        return SeedSummary() if self.fingerprint is None else self.parts[self.fingerprint][1]

    @property
    def superseded(self) -> int:
        """Seeds of versions that do not count."""
        if len(self.parts) < 2:
            return 0
        return sum(count.n for _, count in self.parts.values()) - self.counted.n


@dataclass(slots=True)
class ConfigState:
    """A configuration in the search.

    Attributes:
        point: in its trainer's normal form.
        proposal: number of its latest proposal.
        granted: it has been given the seeds from 0 up to this one.
        seen: the results that decisions use.
        shown: all results that have finished, for the user.
        in_flight: decisions about it whose results are not used yet.
        number: its place among the configurations in the order in which they are first proposed.
    """

    point: Point
    proposal: int = 0
    granted: int = 0
    seen: ResultsByVersion = field(default_factory=ResultsByVersion)
    shown: ResultsByVersion = field(default_factory=ResultsByVersion)
    in_flight: int = 0
    number: int = 1

    def next_rung(self, rungs: Sequence[int]) -> int:
        """Total seeds to grant so that those that count reach the next rung.

        Beyond the last rung, grant as many more as the first rung has.
        """
        counting = self.granted - self.seen.superseded
        place = bisect_right(rungs, counting)
        return self.granted + (rungs[place] - counting if place < len(rungs) else rungs[0])
