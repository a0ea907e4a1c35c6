"""How many seeds a claim needs: for a lower bound of a rate, and to tell two rates apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, bdtri, gammaln, ndtri, xlog1py, xlogy

from xortune.core.errors import InputError, check_share
from xortune.stats.proportions import TIE, fisher_region

MOST_SEEDS = 2**30
"""As many seeds as there are for one purpose; a plan that needs more is refused."""

MOST_COMPARED = 20_000
"""Seeds for each of two rates up to which the power is computed exactly."""


def seeds_for_lower_bound(rate: float, *, confidence: float = 0.95, failures: int = 0) -> int:
    """The fewest seeds that give a Clopper-Pearson lower bound of at least `rate`.

    Args:
        rate: the success rate to show, in (0, 1).
        confidence: of the one-sided bound, in (0, 1).
        failures: f, seeds that may fail.

    Returns:
        The smallest n with P(at most f of n fail | rate) <= 1 - confidence, which is when n - f
        successes of n have a lower bound of `rate` or more.

    Raises:
        InputError: an argument out of range, or more than 2**30 seeds needed.
    """
    check_share("rate", rate)
    check_share("confidence", confidence)
    if failures < 0:
        raise InputError(f"{failures} is out of range", field="failures", allowed="0 or more")

    def enough(n: int) -> bool:
        return bool(bdtr(failures, n, 1 - rate) <= (1 - confidence) * TIE)

    return fewest_seeds(enough, failures, rate)


def fewest_seeds(enough: Callable[[int], bool], failures: int, rate: float) -> int:
    """The smallest number of seeds that is enough to show a rate, by doubling and halving.

    Args:
        enough: false up to that number, and true from there on.
        failures: so many seeds have no success, and are never enough.
        rate: for the message.

    Raises:
        InputError: there are not so many seeds.
    """
    low, high = failures, failures + 1
    while not enough(high):
        low, high = high, 2 * high
        if low >= MOST_SEEDS:
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
    """The true rate from which on at most so many of n seeds fail with at least this chance.

    A plan may be sound and hopeless: 299 seeds without a failure show 0.99, but a config must truly
    solve 0.99965 of all seeds to get through nine times in ten.
    """
    return 1 - float(bdtri(failures, n, chance))


def independent_power(n: int, p1: float, p2: float, *, alpha: float = 0.05) -> float:
    """The chance that Fisher's exact test tells two rates apart, with n other seeds for each.

    Exact, by enumeration. The test is two-sided, with alpha / 2 on each side. Boschloo's test
    rejects whenever this one does, so its chance is at least as large.
    """
    power = 0.0
    for fewer, more in ((p1, p2), (p2, p1)):
        mass = _binomial(np.arange(n + 1), n, fewer)
        k = np.flatnonzero(mass > 1e-15)
        least = fisher_region(n, n, alpha / 2, k)
        power += float((mass[k] * bdtrc(least - 1, n, more)).sum())
    return power


def shared_power(
    n: int, p1: float, p2: float, *, alpha: float = 0.05, discordance: float | None = None
) -> float:
    """The chance that the exact McNemar test tells two rates apart, on the same n seeds.

    Exact, by enumeration over the number of seeds that tell the two apart.

    Args:
        n: shared seeds.
        p1: the rate of the one config.
        p2: the rate of the other.
        alpha: level of the two-sided test.
        discordance: the share of seeds that only one of the two solves, from |p1 - p2| (all that
            the worse one solves, the better one solves too) upwards. If not given, that of two
            configs that fail on seeds independently of each other, p1 (1 - p2) + p2 (1 - p1).
    """
    share = _discordance(p1, p2, discordance)
    apart = np.arange(n + 1)  # seeds that tell them apart
    most = fair_losses(apart, alpha / 2)  # losses up to which either is the winner
    win = min(1.0, (share + abs(p1 - p2)) / (2 * share)) if share else 0.5  # rounding
    found = bdtr(most, apart, 1 - win) + bdtr(most, apart, win)
    return float((_binomial(apart, n, share) * np.where(most < 0, 0.0, found)).sum())


def independent_seeds(p1: float, p2: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """The fewest seeds for each of two configs, all different, that tell their rates apart.

    The smallest n at which `independent_power` reaches `power`; counts are discrete, so a few of
    the next larger n fall short of it by a little.

    Raises:
        InputError: rates that are equal or out of range, or too close to be told apart with 20,000.
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
    """`independent_seeds` by a formula: at once, also of rates that are very close.

    Raises:
        InputError: rates that are equal or out of range.

    Source:
        Casagrande, Pike and Smith (1978), Biometrics 34, 483-486, who correct the normal
        approximation for Fisher's test. A test holds it against the enumeration.
    """
    _check(p1, p2, alpha, power)
    apart, mean = abs(p1 - p2), (p1 + p2) / 2
    spread = np.sqrt(2 * mean * (1 - mean)), np.sqrt(p1 * (1 - p1) + p2 * (1 - p2))
    plain = ((ndtri(1 - alpha / 2) * spread[0] + ndtri(power) * spread[1]) / apart) ** 2
    return int(np.ceil(plain / 4 * (1 + np.sqrt(1 + 4 / (plain * apart))) ** 2))


def shared_seeds(
    p1: float,
    p2: float,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
    discordance: float | None = None,
) -> int:
    """The fewest seeds, the same for both configs, that tell their rates apart.

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
    """For each number of fair coins the most heads with P(at most so many) <= level, or -1."""
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
    # Power grows with n but for a saw's teeth, which are short beside a tenth of n and twenty: so
    # much is left for trying one n after the other. 1,950 random plans agree with trying all n.
    low = 1
    while high - low > 20 + high // 10:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return next(n for n in range(low, high + 1) if power_at(n) >= power)


def _rough(p1: float, p2: float, variance: float, alpha: float, power: float) -> int:
    """What the normal approximation says, bounded."""
    z = float(ndtri(1 - alpha / 2) + ndtri(power))
    return int(min(MOST_COMPARED, z**2 * variance / (p1 - p2) ** 2))


def _binomial(k: NDArray[np.int64], n: int, p: float) -> NDArray[np.float64]:
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p)
    return np.asarray(np.exp(log))


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
    for name, rate in (("p1", p1), ("p2", p2)):
        if not 0 <= rate <= 1:
            raise InputError(f"{rate} is out of range", field=name, allowed="0 to 1")
    check_share("alpha", alpha)
    check_share("power", power)
    if p1 == p2:
        raise InputError(
            f"{p1} twice", field="between", allowed="two different rates", fix="change one"
        )
