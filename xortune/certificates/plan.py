"""Plans: how many seeds a claim needs, and how long they take to train on this machine."""

from __future__ import annotations

import time
from collections.abc import Sequence, Sized
from dataclasses import asdict, dataclass, replace

import numpy as np

from xortune.core.config import Config
from xortune.core.errors import InputError, check_share, check_type, refuse_given
from xortune.core.formats import as_html, count
from xortune.core.seeds import HAND
from xortune.core.task import Task, TaskSpec
from xortune.stats.anytime import anytime_evidence_above
from xortune.stats.planning import (
    fewest_seeds,
    independent_seeds,
    rate_that_passes,
    seeds_for_lower_bound,
    shared_seeds,
)
from xortune.stats.sequential import MAX_SEEDS_OF_BOUNDARY, boundary
from xortune.trainers.network import engine_of, evaluate_config, usable_cores

STANDARD = Config(
    activation="Tanh", loss="MSELoss", optimizer="Adam", lr=0.03, hidden_dim=5, epochs=1000
)
"""The config whose time is measured by default."""

FAILURES = (0, 1, 2, 3, 5, 10)
"""The numbers of failures that a plan shows by default."""

ENOUGH_SECONDS = 0.2
"""Minimum duration of a measurement."""


@dataclass(frozen=True)
class Speed:
    """The measured speed of training on this machine.

    Attributes:
        seeds: seeds measured, after a first block that warms up.
    """

    config: Config
    task: str
    engine: str
    cores: int
    seeds: int
    seconds: float

    @property
    def seconds_for_each(self) -> float:
        """Seconds for one seed when all cores share the work."""
        return self.seconds / self.seeds


@dataclass(frozen=True)
class Claim:
    """The seeds that show a rate if up to `failures` of them may fail.

    Attributes:
        failures: f.
        seeds: n: at most f failures among n planned seeds show the rate (Clopper-Pearson).
        passes_from: the lowest true rate at which at most f of n fail with a probability of 90 %.
        gate_seeds: the fewest seeds after which a gate, which looks after each seed, can prove the
            rate with f failures; for a gate whose `max_seeds` is twice `seeds`.
    """

    failures: int
    seeds: int
    passes_from: float
    gate_seeds: int


@dataclass(frozen=True)
class RatePlan:
    """The seeds that show that a success rate is at least `rate`.

    Attributes:
        rate: the rate to show.
        confidence: of the lower bound.
        claims: one for each number of failures.
        speed: measured speed; None if nothing was measured.
    """

    rate: float
    confidence: float
    claims: tuple[Claim, ...]
    speed: Speed | None = None

    def __str__(self) -> str:
        first = self.claims[0]
        fail = f"at most {first.failures:,} may fail" if first.failures else "none may fail"
        return (
            f"To show a success rate of at least {self.rate:g} with confidence "
            f"{self.confidence:g}: {count(first.seeds, 'seed')}, of which {fail}."
        )

    def _repr_html_(self) -> str:
        """Show the first claim in a sentence, and all claims, in a notebook."""
        return as_html(str(self), [asdict(claim) for claim in self.claims])


@dataclass(frozen=True)
class ComparisonPlan:
    """The seeds that tell two success rates apart.

    Attributes:
        rates: the two rates.
        alpha: level of the two-sided test.
        power: probability of finding the difference.
        independent: different seeds for each of the two (Fisher's exact test; Boschloo's is at
            least as powerful).
        shared: seeds that both share (exact McNemar test), if their failures are independent.
        nested: seeds that both share if the better config solves every seed that the worse one
            solves: the smallest possible number.
        speed: measured speed; None if nothing was measured.
    """

    rates: tuple[float, float]
    alpha: float
    power: float
    independent: int
    shared: int
    nested: int
    speed: Speed | None = None

    def __str__(self) -> str:
        first, second = self.rates
        return (
            f"To tell {first:g} from {second:g} with a chance of {self.power:g} at level "
            f"{round(self.alpha, 10):g}: {self.independent:,} seeds for each, or about "
            f"{self.shared:,} that both share."
        )

    def _repr_html_(self) -> str:
        """Show the sentence and the numbers of seeds in a notebook."""
        names = ("independent", "shared", "nested")
        return as_html(str(self), [{name: getattr(self, name) for name in names}])


def plan(
    rate: float | None = None,
    *,
    between: Sequence[float] | None = None,
    confidence: float = 0.95,
    failures: int | None = None,
    power: float = 0.8,
    config: Config | None = None,
    task: TaskSpec = "xor",
    measure: bool = True,
) -> RatePlan | ComparisonPlan:
    """Compute the seeds that show a success rate or tell two rates apart, and measure the speed.

    Args:
        rate: the success rate to show.
        between: instead of `rate`, two rates to tell apart.
        confidence: of the lower bound; with `between` 1 minus the level of the test.
        failures: how many seeds may fail; by default several numbers.
        power: probability of finding a difference as large as between the two rates.
        config: the config whose speed is measured; by default a standard config.
        task: the task of that config.
        measure: False trains nothing and leaves `speed` None.

    Raises:
        InputError: not exactly one of `rate` and `between`, rates that are equal or too close, more
            seeds needed than there are, or an argument out of range.
    """
    if (rate is None) == (between is None):
        raise InputError(
            "neither a rate nor two rates to tell apart"
            if rate is None
            else "both a rate and two rates to tell apart",
            field="rate",
            allowed="one of --rate and --between",
            fix="give --rate 0.99, or --between 0.9 0.95",
        )
    if config is not None:
        check_type("config", config, Config, "a xortune.Config")
    check_share("confidence", confidence)
    learned = Task.named(task)
    planned: RatePlan | ComparisonPlan
    if between is None:
        assert rate is not None
        claims = []
        for allowed in FAILURES if failures is None else (failures,):
            n = seeds_for_lower_bound(rate, confidence=confidence, failures=allowed)
            gate = gate_seeds(rate, 2 * n, alpha=1 - confidence, failures=allowed)
            claims.append(Claim(allowed, n, rate_that_passes(n, allowed), gate))
        planned = RatePlan(rate, confidence, tuple(claims))
    else:
        check_type("between", between, Sized, "two rates")
        if len(between) != 2:
            raise InputError(f"{len(between)} rates", field="between", allowed="two rates")
        refuse_given("a number of failures only with a rate to show", failures=failures)
        a, b = between
        level = {"alpha": 1 - confidence, "power": power}
        planned = ComparisonPlan(
            rates=(a, b),
            alpha=level["alpha"],
            power=power,
            independent=independent_seeds(a, b, **level),
            shared=shared_seeds(a, b, **level),
            nested=shared_seeds(a, b, **level, discordance=abs(a - b)),
        )
    # Measure last: invalid arguments must be refused before anything is trained.
    speed = measured_speed(config or STANDARD, learned) if measure else None
    return replace(planned, speed=speed)


def gate_seeds(
    rate: float, max_seeds: int | None = None, *, alpha: float = 0.05, failures: int = 0
) -> int:
    """Return the fewest seeds after which a gate can prove `rate` with so many failures.

    Args:
        rate: the rate to prove.
        max_seeds: of the gate. If it is too small, the result is a larger number. None, or more
            than 20,000, means the bounds that hold at any number of seeds.
        alpha: greatest probability of a wrong answer.
        failures: number of failures among the seeds.
    """
    if max_seeds is not None and max_seeds <= MAX_SEEDS_OF_BOUNDARY:
        planned = seeds_for_lower_bound(rate, confidence=1 - alpha, failures=failures)
        if planned <= MAX_SEEDS_OF_BOUNDARY:
            return boundary(rate, max_seeds, alpha).first(failures) or max(planned, max_seeds + 1)
    needed = -np.log(alpha)

    def enough(n: int) -> bool:
        return bool(anytime_evidence_above(n - failures, n, rate) >= needed)

    return fewest_seeds(enough, failures, rate)


def measured_speed(config: Config, task: Task) -> Speed:
    """Measure the training of a config on all usable cores, for at least `ENOUGH_SECONDS`.

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
