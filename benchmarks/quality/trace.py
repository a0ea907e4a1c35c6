"""What a method has spent, and what it would answer if it were stopped now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quality.spaces import BenchSpace, shifted
from xortune.core.outcome import Outcome, wilson
from xortune.core.point import Point, Value


@dataclass(frozen=True)
class Step:
    """From here on a method would answer this.

    Attributes:
        spent: seed-epochs so far.
        config: index of its answer among the trace's configs.
        k: successes that it has seen of it, ...
        n: ... of so many seeds.
    """

    spent: int
    config: int
    k: int
    n: int


class Tracer:
    """Trains for a method, counts, and takes down its answers.

    Methods that train elsewhere count with `spend`.
    """

    def __init__(self, bench: BenchSpace, repetition: int, budget: int) -> None:
        """`budget` is in seed-epochs."""
        self.bench, self.repetition, self.budget, self.spent = bench, repetition, budget, 0
        self.steps: list[Step] = []
        self.points: list[Point] = []
        self._index: dict[str, int] = {}

    @property
    def over(self) -> bool:
        """The budget is used up."""
        return self.spent >= self.budget

    def spend(self, seeds: int) -> None:
        """Count seeds trained."""
        self.spent += seeds * self.bench.epochs

    def train(self, point: Mapping[str, Value], seeds: Sequence[int]) -> Outcome:
        """Train and count; the seeds are this repetition's."""
        self.spend(len(seeds))
        return self.bench.train(point, shifted(seeds, self.repetition))

    def answer(self, point: Mapping[str, Value], k: int, n: int) -> None:
        """The method's answer from now on, and k of n seeds that it has seen of it."""
        point = point if isinstance(point, Point) else Point(point)
        index = self._index.setdefault(point.key, len(self.points))
        if index == len(self.points):
            self.points.append(point)
        if self.steps and self.steps[-1].config == index and self.steps[-1].n == n:
            return
        self.steps.append(Step(self.spent, index, k, n))


class Standing:
    """Configs in xortune's order: Wilson's lower bound, then epochs to solve, then key."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[Point, int, int, int]] = {}
        self._rank: dict[str, tuple[float, float, str]] = {}

    def add(self, point: Point, outcome: Outcome) -> None:
        """Take in more seeds of a config."""
        _, k, n, epochs = self._counts.get(point.key, (point, 0, 0, 0))
        k, n, epochs = k + outcome.successes, n + outcome.n, epochs + outcome.epochs_spent
        self._counts[point.key] = point, k, n, epochs
        low = float(wilson(k, n)[0])
        self._rank[point.key] = -low, epochs / k if k else float("inf"), point.key

    @property
    def best(self) -> tuple[Point, int, int]:
        """The first one, its k and n."""
        point, k, n, _ = self._counts[min(self._rank, key=self._rank.__getitem__)]
        return point, k, n
