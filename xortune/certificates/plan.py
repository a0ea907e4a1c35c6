"""Plans: how many seeds a claim needs before one trains them, and how long that takes here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from xortune.core.config import Config
from xortune.core.seeds import HAND
from xortune.core.task import Task
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.planning import (
    fewest_seeds,
    independent_seeds,
    rate_that_passes,
    seeds_for_lower_bound,
    shared_seeds,
)
from xortune.trainers.network import engine_of, evaluate_config, usable_cores

STANDARD = Config(
    activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.03, hidden_dim=5, epochs=1000
)
"""What the time is measured with if no config is given."""

FAILURES = (0, 1, 2, 3, 5, 10)
"""Numbers of failures that a plan shows if none is asked for."""

ENOUGH_SECONDS = 0.2
"""A measurement that took this long is long enough."""


@dataclass(frozen=True)
class Speed:
    """How fast seeds are trained here, by a short measurement.

    Attributes:
        config: what was trained.
        task: the name of the task.
        engine: fused or reference.
        cores: that shared the work.
        seeds: measured, after a first block that only warms up.
        seconds: that they took together.
    """

    config: Config
    task: str
    engine: str
    cores: int
    seeds: int
    seconds: float

    @property
    def seconds_for_each(self) -> float:
        """Seconds for one seed, all cores sharing."""
        return self.seconds / self.seeds


@dataclass(frozen=True)
class Claim:
    """What it takes to show a rate if so many seeds may fail.

    Attributes:
        failures: f, at most so many may fail.
        seeds: n planned beforehand: at most f failures among them show the rate
            (Clopper-Pearson).
        passes_from: the true rate from which on at most f of n fail with a chance of 90 %.
        gate_seeds: the fewest after which a gate, which looks after each seed, can have proven the
            rate with f failures.
    """

    failures: int
    seeds: int
    passes_from: float
    gate_seeds: int


@dataclass(frozen=True)
class RatePlan:
    """What it takes to show that a success rate is at least `rate`.

    Attributes:
        rate: to show.
        confidence: of the lower bound.
        claims: one for each number of failures.
        speed: what the times are from; None if nothing was measured.
    """

    rate: float
    confidence: float
    claims: tuple[Claim, ...]
    speed: Speed | None = None


@dataclass(frozen=True)
class ComparisonPlan:
    """What it takes to tell two success rates apart.

    Attributes:
        rates: the two.
        alpha: level of the two-sided test.
        power: the chance to find the difference.
        independent: seeds for each of the two, all different (Fisher's exact test; Boschloo's finds
            it at least as often).
        shared: seeds, the same for both (exact McNemar test), if a seed that the one fails says
            nothing of the other.
        nested: the same if the better one solves all that the worse one does: the fewest there can
            be.
        speed: what the times are from; None if nothing was measured.
    """

    rates: tuple[float, float]
    alpha: float
    power: float
    independent: int
    shared: int
    nested: int
    speed: Speed | None = None


def plan_rate(rate: float, *, confidence: float = 0.95, failures: int | None = None) -> RatePlan:
    """How many seeds show a success rate, for several numbers of failures or for one.

    Raises:
        InputError: an argument out of range, or more seeds needed than there are.
    """
    claims = []
    for allowed in FAILURES if failures is None else (failures,):
        n = seeds_for_lower_bound(rate, confidence=confidence, failures=allowed)
        gate = gate_seeds(rate, alpha=1 - confidence, failures=allowed)
        claims.append(Claim(allowed, n, rate_that_passes(n, allowed), gate))
    return RatePlan(rate, confidence, tuple(claims))


def plan_comparison(
    rates: tuple[float, float],
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> ComparisonPlan:
    """How many seeds tell two success rates apart.

    Raises:
        InputError: rates that are equal, out of range or too close, or another argument out of
            range.
    """
    first, second = rates
    return ComparisonPlan(
        rates=rates,
        alpha=alpha,
        power=power,
        independent=independent_seeds(first, second, alpha=alpha, power=power),
        shared=shared_seeds(first, second, alpha=alpha, power=power),
        nested=shared_seeds(
            first, second, alpha=alpha, power=power, discordance=abs(first - second)
        ),
    )


def gate_seeds(rate: float, *, alpha: float = 0.05, failures: int = 0) -> int:
    """The fewest seeds after which a gate can have proven `rate` with so many failures among them.

    Raises:
        InputError: more than there are seeds.
    """
    wanted = -np.log(alpha)

    def enough(n: int) -> bool:
        return bool(anytime_evidence_above(n - failures, n, rate) >= wanted)

    return fewest_seeds(enough, failures, rate)


def measured_speed(config: Config, task: Task) -> Speed:
    """Train some seeds of a config on all usable cores, for a fraction of a second or a few seeds.

    Raises:
        InputError: the config cannot be trained on the task.
    """
    cores = usable_cores()
    seeds, first = 8, HAND.start
    evaluate_config(config, task, range(first, first + seeds), threads=cores)  # compiles
    while True:
        start = time.perf_counter()
        evaluate_config(config, task, range(first, first + seeds), threads=cores)
        seconds = time.perf_counter() - start
        if seconds >= ENOUGH_SECONDS:
            return Speed(config, task.name, engine_of(config, task), cores, seeds, seconds)
        seeds *= 4
