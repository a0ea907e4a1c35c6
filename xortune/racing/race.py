"""The race: which configurations are stopped, and why; `racing.grants`: who gets more seeds.

Every configuration has a success rate that nobody knows. It is trained under a few seeds, then
looked at, then under more; one whose upper bound lies under the lower bound of another is stopped.
Nothing here waits for anything: a look at one configuration needs no other to have come as far.

**The promise.** With probability at least 1 - alpha, *every* stopped configuration really has a
lower success rate than the one it was stopped for. So no configuration whose rate is at least that
of every other is ever stopped: not the best one, nor one of several equally good ones. This holds
simultaneously over all configurations, however many join the race, and over all looks, after every
seed if one likes, and what is proven of a rate (`Race.proven`) holds in the same 1 - alpha.

*Proof.* Configuration number i = 1, 2, ... has two one-sided confidence sequences, each with error
alpha w_i / 2, and the w_i sum to 1. Each holds at all n with probability 1 - alpha w_i / 2 (Ville's
inequality; see `stats.anytime`). By the union bound all bounds of all configurations at all
n hold together with probability 1 - alpha. Where they do, i is stopped for j only if rate_i <
upper_i < lower_j <= rate_j. Nothing is assumed of how the outcomes of different configurations
depend on each other: they share their seeds. What is assumed is that the number of a configuration
says nothing of its seeds to come: each seed succeeds with the configuration's rate, whatever is
known when it is entered. A grid or a random search fulfils that; a sampler that learns does but for
what it can learn of the seeds themselves, which all configurations share: docs/racing.md says so.
A configuration enters, and so has its number, before its results are looked at; one whose results
another version makes, or whose trial is run again, enters anew.

**How alpha is spent.** w_i = ln c (1/ln(c + i - 1) - 1/ln(c + i)) with c = 20: the sum telescopes
to 1, and w_i falls as 1/(i ln² i), about as slowly as a sum of infinitely many allows. A bound
costs ln(1/w_i) in its exponent: 4.1 for the first, 4.7 for the tenth, 7.7 for the 200th, 9.7 for
the 1000th (6/(pi² i²): 0.5, 5.1, 11.1, 14.3).

**Why not the paired test.** All configurations are trained under the same seeds, so that wins and
losses on them could be compared. But whoever has led so far was chosen by looking at these seeds:
the test must hold for all pairs, which costs ln(1/w) twice, and it can use no more seeds than the
weaker one has had, where the bounds use all that the leader has. benchmarks/README.md has figures.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from numbers import Real
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincc

from xortune.core.errors import InputError, check_share
from xortune.stats.anytime import (
    anytime_evidence_above,
    anytime_evidence_below,
    anytime_lower,
    anytime_upper,
)

FINALISTS = 5
"""As many as a search certifies by itself."""

EVEN = 20
"""Up to about this number configurations have about equal shares of alpha."""


@dataclass(frozen=True)
class RaceRule:
    """How a race goes.

    Attributes:
        rungs: total seeds at which a configuration is looked at, strictly ascending; the last is
            the full count.
        alpha: the probability, at most, that any configuration is stopped wrongly.
        finalists: while so many others are shown to do as well and as soon, a search gives a
            configuration no further seeds, though it is not proven worse; None is never.

    Raises:
        InputError: an alpha outside (0, 1).
    """

    rungs: tuple[int, ...]
    alpha: float = 0.05
    finalists: int | None = FINALISTS

    def __post_init__(self) -> None:
        check_share("alpha", self.alpha)


LookResult: TypeAlias = Literal["climbs", "full", "stopped"]
"""What a look at a configuration came to: it may get more seeds, it has had them all, or it is
proven worse than another."""


class _Bar(NamedTuple):
    """The highest lower bound so far and who has it."""

    lower: float
    name: Hashable


_FLOOR = _Bar(0.0, None)


def race_share(number: ArrayLike) -> NDArray[np.float64]:
    """w_i: the share of alpha of configuration number i = 1, 2, ...; all shares sum to 1."""
    i = np.asarray(number, np.float64)
    before, after = np.log(EVEN + i - 1), np.log(EVEN + i)
    # The difference of the inverses, without cancellation.
    share = np.log(EVEN) * np.log1p(1 / (EVEN + i - 1)) / (before * after)
    return np.asarray(share, np.float64)


def race_lower(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """What is proven of a configuration's rate from below, by the race's promise.

    Args:
        successes: counts, any shape; the other two are broadcast with it.
        n: seeds trained.
        number: of the configuration, from 1.
        alpha: of the whole race.

    Returns:
        Lower bounds, of the broadcast shape; they hold for all configurations at all n together.
    """
    return anytime_lower(successes, n, alpha=alpha * race_share(number) / 2)


def race_upper(
    successes: ArrayLike, n: ArrayLike, number: ArrayLike, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """What is proven of a configuration's rate from above; as `race_lower`."""
    return anytime_upper(successes, n, alpha=alpha * race_share(number) / 2)


def is_worse(successes: int, n: int, number: int, lower: float, *, alpha: float = 0.05) -> bool:
    """Whether `race_upper` is below the lower bound of another; quicker than to compute it."""
    if successes >= n or lower <= successes / n:
        return False
    return _evidence_below(successes, n, lower) > -_log_level(number, alpha)


def best_lower(successes: int, n: int, number: int, least: float, *, alpha: float = 0.05) -> float:
    """`race_lower` if it is above `least`, else `least`; hardly ever is it computed."""
    if successes / n <= least:
        return least
    if least > 0 and _evidence_above(successes, n, least) <= -_log_level(number, alpha):
        return least
    return max(least, float(race_lower(successes, n, number, alpha=alpha)))


class Race:
    """A race under way: every look at a configuration is one call, at the cost of a few logarithms.

    Who joins, and which looks come in which order, is the caller's business; the promise holds for
    any.
    """

    def __init__(self, rule: RaceRule) -> None:
        self.rule = rule
        self._numbers: dict[Hashable, int] = {}
        self._names: list[Hashable] = []  # by number, from 1; one that was forgotten has two
        self._bar, self._next = _FLOOR, _FLOOR  # of two different configurations

    @property
    def proven(self) -> float:
        """A rate that one configuration at least has, by the promise; 0 before the first look."""
        return self._bar.lower

    @property
    def leader(self) -> Hashable:
        """The configuration of which the highest rate is proven; None before the first look."""
        return self._bar.name

    def enter(self, name: Hashable) -> int:
        """The number of a configuration, from 1: its place in the order in which they entered.

        Enter a configuration before its results are known. Entering it again changes nothing.
        """
        number = self._numbers.get(name)
        if number is None:
            self._names.append(name)
            number = self._numbers[name] = len(self._names)
        return number

    def enter_anew(self, name: Hashable) -> int:
        """Give a configuration another number, and with it a share of alpha of its own.

        For one that is run again from its first seed: its new results need not be the former ones.
        What was proven by the former ones stays so, by their own share.
        """
        self._numbers.pop(name, None)
        return self.enter(name)

    def name_of(self, number: int) -> Hashable:
        """Which configuration has, or had, that number."""
        return self._names[number - 1]

    def look(self, name: Hashable, successes: int, n: int) -> LookResult:
        """Take in a configuration's results so far, and decide whether it goes on."""
        self.see(name, successes, n)
        if self.is_stopped(name, successes, n):
            return "stopped"
        return "climbs" if n < self.rule.rungs[-1] else "full"

    def see(self, name: Hashable, successes: int, n: int) -> None:
        """Take in a configuration's results so far."""
        # The bounds of all looks hold together: the highest of them counts.
        number, first = self.enter(name), self._bar.name == name
        least = self._bar.lower if first else self._next.lower
        lower = best_lower(successes, n, number, least, alpha=self.rule.alpha)
        if lower <= least:
            return
        found = _Bar(lower, name)
        if first:
            self._bar = found
        elif lower > self._bar.lower:
            self._bar, self._next = found, self._bar
        else:
            self._next = found

    def forget(self, name: Hashable, others: Iterable[tuple[Hashable, int, int]]) -> None:
        """Take back all that was seen of a configuration, which enters anew: something else now."""
        self.enter_anew(name)
        if name in (self._bar.name, self._next.name):
            self._bar, self._next = _FLOOR, _FLOOR
            for other, successes, n in others:
                self.see(other, successes, n)

    def is_stopped(self, name: Hashable, successes: int, n: int) -> bool:
        """Whether it is proven worse than another."""
        other = self._next if self._bar.name == name else self._bar
        return is_worse(successes, n, self.enter(name), other.lower, alpha=self.rule.alpha)


def checked_counts(
    successes: object, n: object, before: tuple[int, int], *, place: str
) -> tuple[int, int]:
    """Cumulative counts that somebody's program reports, as whole numbers; others are refused."""
    found = []
    for field, value in (("successes", successes), ("n", n)):
        whole = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
        if not whole or int(value) != value or value < 0:  # type: ignore[call-overload,operator]
            raise InputError(
                f"{value!r} is not a count",
                field=field,
                place=f"{place}: {field}",
                allowed="whole numbers, 0 or more",
            )
        found.append(int(value))  # type: ignore[call-overload]
    k, seeds = found
    if k > seeds:
        raise InputError(
            f"{k} successes of {seeds} seeds",
            field="successes",
            place=place,
            allowed="at most as many successes as seeds",
            fix="swap the two numbers if their order is wrong",
        )
    more, added = k - before[0], seeds - before[1]
    if not 0 <= more <= added:
        raise InputError(
            f"{k} of {seeds} seeds after {before[0]} of {before[1]}",
            field="n",
            place=place,
            allowed="cumulative counts: all seeds so far, those reported before included",
            fix="add each step's counts to those before",
        )
    return k, seeds


@cache
def _log_level(number: int, alpha: float) -> float:
    return math.log(alpha * float(race_share(number)) / 2)


@lru_cache(maxsize=4096)
def _evidence_above(successes: int, n: int, rate: float) -> float:
    return float(anytime_evidence_above(successes, n, rate))


@lru_cache(maxsize=4096)
def _evidence_below(successes: int, n: int, rate: float) -> float:
    return float(anytime_evidence_below(successes, n, rate))


# -------------------------------------------------------------------------------------------------
# Futility: whether more seeds of a configuration are hardly worth their cost, without a proof. For
# the plug-ins of Optuna and Ray Tune, whose trials cannot wait; a search has `racing.grants`.

FUTILITY = 0.0005
"""The largest threshold that cost less than a quarter of a percentage point of the answer's rate in
each kind of simulated study: see benchmarks/README.md, Futility."""

NODES = 400
"""Of the quadrature: an expected gain is right to 1e-4 up to some 10,000 seeds."""


def checked_futility(futility: float | None) -> float | None:
    """The setting, as it is; outside of (0, 1) it is refused."""
    if futility is not None and not 0 < futility < 1:
        allowed = "a difference of rates in (0, 1), or None: stop only what is proven worse"
        raise InputError(f"{futility!r}", field="futility", allowed=allowed)
    return futility


def is_futile(
    successes: int, n: int, others: Iterable[tuple[int, int]], least: float | None
) -> bool:
    """Whether a configuration is expected to gain less than `least` over the best of the others.

    A configuration that leads is never futile, or two equal ones would stop each other.
    """
    if least is None:
        return False
    found = best_counts(others)
    if not found or _mean(successes, n) >= _mean(*found[0]):
        return False
    return expected_gain(successes, n, *found[0]) < least


def best_counts(counts: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The counts from which the highest rate is expected; of those the most seeds; () of none."""
    best = max(counts, key=lambda one: (_mean(*one), one[1]), default=None)
    return () if best is None else (best,)


def _mean(successes: int, n: int) -> float:
    return (successes + 1) / (n + 2)


@lru_cache(maxsize=4096)
def expected_gain(successes: int, n: int, best_successes: int, best_n: int) -> float:
    """E[max(P - Q, 0)], where P and Q are a configuration's rate and that of the best.

    Both are independent, and beta distributed as after uniform priors. As an integral it is that of
    Pr(Q < x) Pr(P > x) over x from 0 to 1.
    """
    nodes, weights = _quadrature()
    below = betainc(best_successes + 1, best_n - best_successes + 1, nodes)
    above = betaincc(successes + 1, n - successes + 1, nodes)
    return float(weights @ (below * above))


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2
