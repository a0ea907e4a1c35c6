"""Seeds of one config that may be counted together: those that one version made.

What makes a block (engine, versions, trainer; see `xortune.run_sessions`) may change within a run.
Seeds that two versions made are no sample of one rate, so each version's are counted by themselves,
and one version's are the config's: those of the version with the most seeds, and of equal ones of
the one with the lowest seed. That depends on no order in which blocks came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from xortune.evaluation import Evaluation

__all__ = ["Apart", "Count", "aside_rows", "kept_apart"]


@dataclass(slots=True)
class Count:
    """Results of a config, or of a part of its seeds.

    Attributes:
        successes: seeds solved.
        n: seeds; crashed ones are failures.
        timed: epochs spent by all seeds with an outcome.
        crashed: seeds without one.
        budget: epochs that a seed may take; 0 as long as there is no outcome.
        numbers: of each seed those that are looked for, NaN where it failed: one tuple for each.
    """

    successes: int = 0
    n: int = 0
    timed: int = 0
    crashed: int = 0
    budget: int = 0
    numbers: tuple[tuple[float, ...], ...] = ()

    def add(self, more: Count) -> None:
        """Take in more seeds."""
        self.successes += more.successes
        self.n += more.n
        self.timed += more.timed
        self.crashed += more.crashed
        self.budget = max(self.budget, more.budget)
        if more.numbers:
            pairs = zip(self.numbers, more.numbers, strict=True)
            self.numbers = tuple(a + b for a, b in pairs) if self.numbers else more.numbers

    @property
    def spent(self) -> int:
        """Epochs of all seeds, those not solved at the full budget."""
        return self.timed + self.crashed * self.budget


@dataclass(slots=True)
class Apart:
    """Counts of a config, those of each version by themselves.

    Attributes:
        made: digest of the version that counts.
        first: its lowest seed.
        counted: what counts.
        others: lowest seed and count of each other version; None as long as there is none.
    """

    made: str = ""
    first: int = 0
    counted: Count = field(default_factory=Count)
    others: dict[str, tuple[int, Count]] | None = None

    def add(self, made: str, first: int, more: Count) -> None:
        """Take in seeds, of which `first` is the lowest, that one version made."""
        if not self.counted.n:
            self.made, self.first = made, first
        if made == self.made:
            self.first = min(self.first, first)
            self.counted.add(more)
            return
        others = self.others = self.others or {}
        lowest, count = others.get(made, (first, Count()))
        lowest = min(lowest, first)
        count.add(more)
        if (count.n, -lowest) <= (self.counted.n, -self.first):
            others[made] = lowest, count
            return
        others.pop(made, None)
        others[self.made] = self.first, self.counted
        self.made, self.first, self.counted = made, lowest, count

    def join(self, more: Apart) -> bool:
        """Take in all of another; whether another version counts from here on."""
        before = self.made if self.counted.n else None
        for made, first, count in more.parts():
            self.add(made, first, count)
        return before is not None and before != self.made

    def parts(self) -> Iterator[tuple[str, int, Count]]:
        """Version, lowest seed and count of each, the one that counts first."""
        if self.counted.n:
            yield self.made, self.first, self.counted
        for made, (first, count) in (self.others or {}).items():
            yield made, first, count

    @property
    def aside(self) -> int:
        """Seeds that do not count."""
        return sum(count.n for _, count in (self.others or {}).values())


def kept_apart(
    evaluations: Sequence[Evaluation], first: str
) -> tuple[dict[str, list[Evaluation]], tuple[Evaluation, ...]]:
    """For each config's key its final blocks that count, and the final blocks that do not.

    Args:
        evaluations: of the search.
        first: what lines without a digest stand for; see `xortune.run_sessions.first_made`.
    """
    blocks: dict[str, list[Evaluation]] = {}
    made: set[str | None] = set()
    for evaluation in evaluations:
        if evaluation.final:
            blocks.setdefault(evaluation.block.point.key, []).append(evaluation)
            made.add(evaluation.made)
    if len(made) < 2:
        return blocks, ()
    aside: list[Evaluation] = []
    for key, found in blocks.items():
        apart = Apart()
        for e in found:
            apart.add(e.made or first, e.block.first, Count(n=e.block.count))
        aside += [e for e in found if (e.made or first) != apart.made]
        blocks[key] = [e for e in found if (e.made or first) == apart.made]
    return blocks, tuple(aside)


def aside_rows(aside: Iterable[Evaluation], first: str) -> Iterator[dict[str, Any]]:
    """For the manifest: of each config what is not counted, by what made it."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for evaluation in aside:
        key, made = evaluation.block.point.key, evaluation.made or first
        row = rows.setdefault((key, made), {"key": key, "made": made, "k": 0, "n": 0})
        row["n"] += evaluation.block.count
        row["k"] += 0 if evaluation.outcome is None else evaluation.outcome.successes
    return iter(rows.values())
