"""The number of seeds for a lower bound of a rate, and for a test that distinguishes two rates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, bdtri, ndtri

from xortune.core.errors import InputError, check_count, check_number, check_share
from xortune.stats.proportions import TIE, binomial_mass, fisher_region

MAX_PLANNED_SEEDS = 2**30
"""Seeds of one purpose; a plan that needs more is refused."""

MOST_COMPARED = 20_000
"""Maximum number of seeds for each of two rates, whose power is computed exactly."""

NEGLIGIBLE_PROBABILITY = 1e-15
"""Counts that are less probable are left out of the power: all of them have less than 2e-11."""


def seeds_for_lower_bound(rate: float, *, confidence: float = 0.95, failures: int = 0) -> int:
    """The fewest seeds that give a Clopper-Pearson lower bound of at least `rate`.

    Args:
        rate: the success rate to show, in (0, 1).
        confidence: of the one-sided bound, in (0, 1).
        failures: f, the number of seeds that may fail.

    Returns:
        The smallest n with P(at most f of n fail | rate) <= 1 - confidence: then n - f successes of
        n have a lower bound of `rate` or more.

    Raises:
        InputError: an argument is out of range, or more than 2**30 seeds are needed.
    """
    check_share("rate", rate)
    check_share("confidence", confidence)
    check_count("failures", failures, 0, MAX_PLANNED_SEEDS)

    def enough(n: int) -> bool:
        return bool(bdtr(failures, n, 1 - rate) <= (1 - confidence) * TIE)

    return fewest_seeds(enough, failures, rate)


def fewest_seeds(enough: Callable[[int], bool], failures: int, rate: float) -> int:
    """The smallest number of seeds that is enough to show a rate, by bisection.

    Args:
        enough: false below that number, and true from there on.
        failures: a number of seeds that is not enough, since all of them may fail.
        rate: for the message.

    Raises:
        InputError: more than 2**30 seeds are needed.
    """
    low, high = failures, failures + 1
    while not enough(high):
        low, high = high, 2 * high
        if low >= MAX_PLANNED_SEEDS:
            raise InputError(
                f"a lower bound of {rate} takes more seeds than there are",
                field="rate",
                allowed="a rate that 2**30 seeds can show",
                fix="ask for a lower rate or fewer failures",
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def rate_that_passes(n: int, failures: int, *, chance: float = 0.9) -> float:
    """The least true rate at which at most so many of n seeds fail with at least this chance.

    A plan may be valid and hopeless: 299 seeds without a failure show 0.99, but a configuration
    must solve 0.99965 of all seeds to pass nine times in ten.
    """
    return 1 - float(bdtri(failures, n, chance))


def independent_power(n: int, p1: float, p2: float, *, alpha: float = 0.05) -> float:
    """The power of Fisher's exact test to distinguish two rates, with n different seeds for each.

    Exact, by enumeration. The test is two-sided, with alpha / 2 on each side. Boschloo's test
    rejects whenever this one does, so its power is at least as large.
    """
    power = 0.0
    for fewer, more in ((p1, p2), (p2, p1)):
        mass = binomial_mass(np.arange(n + 1), n, fewer)
        k = np.flatnonzero(mass > NEGLIGIBLE_PROBABILITY)
        least = fisher_region(n, n, alpha / 2, k)
        power += float((mass[k] * bdtrc(least - 1, n, more)).sum())
    return power


def shared_power(
    n: int, p1: float, p2: float, *, alpha: float = 0.05, discordance: float | None = None
) -> float:
    """The power of the exact McNemar test to distinguish two rates, on the same n seeds.

    Exact, by enumeration over the number of discordant seeds, which only one of the two solves.

    Args:
        n: shared seeds.
        p1: the rate of one configuration.
        p2: the rate of the other.
        alpha: level of the two-sided test.
        discordance: the share of discordant seeds, from |p1 - p2| upwards, where the better one
            solves all seeds that the worse one solves. By default p1 (1 - p2) + p2 (1 - p1), as if
            the two failed independently of each other.
    """
    share = _discordance(p1, p2, discordance)
    mass = binomial_mass(np.arange(n + 1), n, share)
    discordant = np.flatnonzero(mass > NEGLIGIBLE_PROBABILITY)
    most = fair_losses(discordant, alpha / 2)  # losses up to which the test rejects
    win = min(1.0, (share + abs(p1 - p2)) / (2 * share)) if share else 0.5  # min(): rounding
    power = bdtr(most, discordant, 1 - win) + bdtr(most, discordant, win)
    return float((mass[discordant] * np.where(most < 0, 0.0, power)).sum())


def independent_seeds(p1: float, p2: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """The fewest seeds for each of two configurations, all different, that distinguish their rates.

    The smallest n at which `independent_power` reaches `power`; counts are discrete, so a few of
    the next larger n fall short of it by a little.

    Raises:
        InputError: rates are equal, out of range, or too close to be distinguished with 20,000.
    """
    _check(p1, p2, alpha, power)
    spread = p1 * (1 - p1) + p2 * (1 - p2)
    return _fewest(
        lambda n: independent_power(n, p1, p2, alpha=alpha),
        power,
        _rough(p1, p2, spread, alpha, power),
    )


def rough_independent_seeds(
    p1: float, p2: float, *, alpha: float = 0.05, power: float = 0.8
) -> int:
    """`independent_seeds` by a formula: fast, also for rates that are very close.

    Raises:
        InputError: rates are equal or out of range.

    Source:
        Casagrande, Pike and Smith (1978), Biometrics 34, 483-486, who correct the normal
        approximation for Fisher's test. A test compares it with the enumeration.
    """
    _check(p1, p2, alpha, power)
    distance, mean = abs(p1 - p2), (p1 + p2) / 2
    spread = np.sqrt(2 * mean * (1 - mean)), np.sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    plain = ((ndtri(1 - alpha / 2) * spread[0] + ndtri(power) * spread[1]) / distance) ** 2
    return int(np.ceil(plain / 4 * (1 + np.sqrt(1 + 4 / (plain * distance))) ** 2))


def shared_seeds(
    p1: float,
    p2: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    discordance: float | None = None,
) -> int:
    """The fewest seeds, the same for both configurations, that distinguish their rates.

    As `independent_seeds`, with `shared_power`.
    """
    _check(p1, p2, alpha, power)
    share = _discordance(p1, p2, discordance)
    return _fewest(
        lambda n: shared_power(n, p1, p2, alpha=alpha, discordance=share),
        power,
        _rough(p1, p2, share - (p1 - p2) ** 2, alpha, power),
    )


def fair_losses(trials: NDArray[np.int64], level: float) -> NDArray[np.int64]:
    """For each number of fair tosses the most heads k with P(at most k) <= level, or -1."""
    guess = np.floor(trials / 2 + float(ndtri(level)) * np.sqrt(trials) / 2).astype(np.int64) + 2
    most = np.minimum(guess, trials)
    while True:  # the normal approximation is off by a few at most
        over = (most >= 0) & (bdtr(np.maximum(most, 0), trials, 0.5) > level * TIE)
        if not over.any():
            return most
        most = np.where(over, most - 1, most)


def _fewest(power_at: Callable[[int], float], power: float, rough: int) -> int:
    """The smallest n whose power suffices; `rough` is near it."""
    high = max(2, rough)
    while power_at(high) < power:
        if high >= MOST_COMPARED:
            raise InputError(
                "the two rates are too close",
                field="between",
                allowed=f"rates that {MOST_COMPARED:,} seeds tell apart",
                fix="choose rates that differ more, or a lower power",
            )
        high = min(MOST_COMPARED, high + max(1, high // 8))
    # Power grows with n except for dips, shorter than a tenth of n plus twenty: the last so many n
    # are tried one after the other. 1,950 random plans agree with trying all n.
    low = 1
    while high - low > 20 + high // 10:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return next(n for n in range(low, high + 1) if power_at(n) >= power)


def _rough(p1: float, p2: float, variance: float, alpha: float, power: float) -> int:
    """The number of seeds by the normal approximation, at most `MOST_COMPARED`."""
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return int(min(MOST_COMPARED, z**2 * variance / (p1 - p2) ** 2))


def _discordance(p1: float, p2: float, given: float | None) -> float:
    if given is None:
        return p1 * (1 - p2) + p2 * (1 - p1)
    least, most = abs(p1 - p2), min(p1 + p2, 2 - p1 - p2)
    if not least - 1e-12 <= given <= most + 1e-12:
        raise InputError(
            f"{given} is impossible with rates of {p1} and {p2}",
            field="discordance",
            allowed=f"{least:.6g} to {most:.6g}",
        )
    return given


def _check(p1: float, p2: float, alpha: float, power: float) -> None:
    for rate in (p1, p2):
        check_number("between", rate, lambda one: 0 <= one <= 1, "rates from 0 to 1")
    check_share("alpha", alpha)
    check_share("power", power)
    if p1 == p2:
        raise InputError(
            f"{p1} twice", field="between", allowed="two different rates", fix="change one"
        )
