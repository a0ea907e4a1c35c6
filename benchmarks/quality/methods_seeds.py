"""Methods for which seeds are the fidelity, or the instances, of a noisy success."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata, t

from quality.trace import Tracer
from xortune.core.point import Point, Value
from xortune.spaces.model import Choice

ETA, LARGEST = 3, 81
"""Of successive halving and Hyperband (Li et al. 2018): 1, 3, 9, 27 and 81 seeds."""

MOST_IDLE = 5_000

FIRST_TEST, ALPHA = 5, 0.05
"""Of irace (Lopez-Ibanez et al. 2016): seeds before the first test, its level."""


class _Counts:
    """Seeds of each config so far; the answer is the best of those that have had most."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self.solved: dict[Point, list[bool]] = {}
        self._idle = 0  # since something was trained

    def ended(self) -> bool:
        """Whether the budget is spent, or nothing was trained for long: a small space is done."""
        self._idle += 1
        return self._tracer.over or self._idle > MOST_IDLE

    def train(self, point: Point, seeds: int) -> int:
        """Train it up to so many seeds; its successes."""
        known = self.solved.setdefault(point, [])
        self._idle += 1
        if len(known) < seeds:
            self._idle = 0
            known += self._tracer.train(point, range(len(known), seeds)).solved.tolist()
            best = max(self.solved, key=lambda one: (len(self.solved[one]), sum(self.solved[one])))
            self._tracer.answer(best, sum(self.solved[best]), len(self.solved[best]))
        return sum(known)


def _bracket(tracer: Tracer, counts: _Counts, rng: np.random.Generator, steps: int) -> None:
    """One bracket: `steps` times the best third goes on with three times the seeds."""
    rounds = round(math.log(LARGEST, ETA))
    count = math.ceil((rounds + 1) / (steps + 1) * ETA**steps)
    points = [Point(tracer.bench.draw(rng)) for _ in range(count)]
    for step in range(rounds - steps, rounds + 1):
        successes = {}
        for point in points:
            if tracer.over:
                return
            successes[point] = counts.train(point, ETA**step)
        points = sorted(successes, key=successes.__getitem__, reverse=True)
        points = points[: max(1, len(points) // ETA)]


def halving(tracer: Tracer) -> None:
    """Successive halving of random configs, again and again."""
    counts, rng = _Counts(tracer), np.random.default_rng(tracer.repetition)
    while not counts.ended():
        _bracket(tracer, counts, rng, round(math.log(LARGEST, ETA)))


def hyperband(tracer: Tracer) -> None:
    """Hyperband: brackets that begin with 1, 3, 9, 27 and 81 seeds, in turn."""
    counts, rng = _Counts(tracer), np.random.default_rng(tracer.repetition)
    while not counts.ended():
        for steps in reversed(range(round(math.log(LARGEST, ETA)) + 1)):
            _bracket(tracer, counts, rng, steps)


def dehb(tracer: Tracer) -> None:
    """DEHB (Awad et al. 2021) with its defaults, from 1 to 81 seeds, for spaces of choices."""
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace
    from dehb import DEHB

    choices = {p.name: p.values for p in tracer.bench.space.parameters if isinstance(p, Choice)}
    space = ConfigurationSpace(seed=tracer.repetition)
    for name, values in choices.items():
        space.add(CategoricalHyperparameter(name, list(map(str, range(len(values))))))
    counts, fixed = _Counts(tracer), tracer.bench.draw(np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        search = DEHB(
            cs=space,
            min_fidelity=1,
            max_fidelity=LARGEST,
            n_workers=1,
            seed=tracer.repetition,
            save_freq="end",
            output_path=folder,
            log_level="ERROR",
        )
        while not counts.ended():
            job = search.ask()
            drawn = {name: choices[name][int(at)] for name, at in dict(job["config"]).items()}
            seeds = max(1, round(job["fidelity"]))
            solved = counts.train(Point({**fixed, **drawn}), seeds)
            seeds = max(seeds, len(counts.solved[Point({**fixed, **drawn})]))
            search.tell(job, {"fitness": 1 - solved / seeds, "cost": seeds})


def irace(tracer: Tracer) -> None:
    """Iterated racing with Friedman's test, by the defaults of irace, for spaces of choices."""
    counts, rng = _Counts(tracer), np.random.default_rng(tracer.repetition)
    choices = {p.name: p.values for p in tracer.bench.space.parameters if isinstance(p, Choice)}
    iterations = least = 2 + int(math.log2(len(choices)))
    elites: list[Point] = []
    chances: dict[Point, dict[str, NDArray[np.float64]]] = {}
    iteration = 0
    while not counts.ended():
        iteration += 1
        left = (tracer.budget - tracer.spent) // tracer.bench.epochs
        share = left // max(1, iterations - iteration + 1)
        count = max(least + 1, share // (FIRST_TEST + min(5, iteration)))
        narrow = min(iteration - 1, iterations - 1) / iterations
        points = list(elites)
        while len(points) < count:
            parent = elites[_by_rank(len(elites), rng)] if elites else None
            drawn, chance = _near(choices, parent, chances, narrow, rng)
            point = Point({**tracer.bench.draw(rng), **drawn})
            chances.setdefault(point, chance)
            points.append(point)
        elites = _race(tracer, counts, list(dict.fromkeys(points)), least, share)


def _by_rank(count: int, rng: np.random.Generator) -> int:
    weights = np.arange(count, 0, -1, dtype=float)
    return int(rng.choice(count, p=weights / weights.sum()))


def _near(
    choices: Mapping[str, tuple[Value, ...]],
    parent: Point | None,
    chances: Mapping[Point, dict[str, NDArray[np.float64]]],
    narrow: float,
    rng: np.random.Generator,
) -> tuple[dict[str, Value], dict[str, NDArray[np.float64]]]:
    """Values by the parent's chances, which are moved towards its own values; and these chances."""
    drawn, moved = {}, {}
    for name, values in choices.items():
        chance = np.full(len(values), 1 / len(values))
        if parent is not None:
            own = np.array([value == parent[name] for value in values], float)
            chance = (1 - narrow) * chances[parent][name] + narrow * own
        moved[name] = chance
        drawn[name] = values[rng.choice(len(values), p=chance)]
    return drawn, moved


def _race(
    tracer: Tracer, counts: _Counts, points: list[Point], least: int, share: int
) -> list[Point]:
    """Those that are left when few are, or the iteration's share of the budget is spent."""
    start, seeds = tracer.spent, 0
    while len(points) > least and (tracer.spent - start) // tracer.bench.epochs < share:
        seeds += 1
        for point in points:
            if tracer.over:
                return _ranked(counts, points)
            counts.train(point, seeds)
        if seeds >= FIRST_TEST:
            points = _kept(np.array([counts.solved[one][:seeds] for one in points]), points)
    return _ranked(counts, points)[:least]


def _ranked(counts: _Counts, points: list[Point]) -> list[Point]:
    def mean(point: Point) -> float:
        known = counts.solved.get(point) or [False]
        return sum(known) / len(known)

    return sorted(points, key=mean, reverse=True)


def _kept(solved: NDArray[np.bool_], points: list[Point]) -> list[Point]:
    """Friedman's test, and Conover's comparison with the best where it rejects."""
    k, n = solved.shape
    ranks = np.array([rankdata(~row) for row in solved.T])
    sums, squares = ranks.sum(axis=0), (ranks**2).sum()
    spread = squares - n * k * (k + 1) ** 2 / 4
    if spread <= 0:
        return points
    between = ((sums - n * (k + 1) / 2) ** 2).sum()
    if (k - 1) * between / spread <= chi2.ppf(1 - ALPHA, k - 1):
        return points
    degrees = (n - 1) * (k - 1)
    width = math.sqrt(max(0.0, 2 * (n * squares - (sums**2).sum()) / degrees))
    allowed = t.ppf(1 - ALPHA / 2, degrees) * width
    return [one for one, total in zip(points, sums, strict=True) if total - sums.min() <= allowed]
