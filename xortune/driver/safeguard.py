"""The safeguard of sampler auto: counts say whether learned proposals beat random ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import expit, logit

RATES = expit(np.linspace(logit(0.003), logit(0.9995), 32))
"""The rates of a prior."""

PRIOR_WEIGHT = 4.0
"""The weight of a uniform distribution over `RATES` in a prior, in configurations."""

EXPECTATION_STEPS = 20
"""Steps of expectation maximisation."""


def first_seed_values(kinds: Sequence[Mapping[tuple[int, int], int]]) -> list[float]:
    """What a new configuration of each kind may gain over the best one known.

    Each kind has a prior of rates, fitted to its counts by expectation maximisation (Laird 1978,
    JASA 73, 805-811). The value is the mean of what a rate exceeds the best mean rate by.

    Args:
        kinds: for each kind the number of configurations by successes and seeds.
    """
    priors, best = [], 0.0
    for counts in kinds:
        prior = np.full(len(RATES), 1 / len(RATES))
        if counts:
            at, sizes = np.array(list(counts), np.float64), np.array(list(counts.values()))
            logs = at[:, :1] * np.log(RATES) + (at[:, 1:] - at[:, :1]) * np.log1p(-RATES)
            chances = np.exp(logs - logs.max(axis=1, keepdims=True))
            for _ in range(EXPECTATION_STEPS):
                beliefs = prior * chances
                shares = (sizes / beliefs.sum(axis=1)) @ beliefs
                prior = (PRIOR_WEIGHT / len(RATES) + shares) / (PRIOR_WEIGHT + sizes.sum())
            beliefs = prior * chances
            best = max(best, float((beliefs @ RATES / beliefs.sum(axis=1)).max()))
        priors.append(prior)
    return [float(prior @ np.maximum(RATES - best, 0.0)) for prior in priors]


class ProposalKinds:
    """Which configurations were drawn at random and which were learned, and their counts."""

    def __init__(self) -> None:
        self._learned: dict[str, bool] = {}  # by key
        self._counts: dict[str, tuple[int, int]] = {}  # by key
        self._groups: tuple[Counter[tuple[int, int]], ...] = (Counter(), Counter())

    def enter(self, key: str, *, learned: bool) -> None:
        """Enter a proposal; the first one of a configuration says what it is."""
        self._learned.setdefault(key, learned)

    def see(self, key: str, successes: int, n: int) -> None:
        """Replace the count of a configuration, if it was entered."""
        if (learned := self._learned.get(key)) is None:
            return
        group = self._groups[learned]
        if (before := self._counts.get(key)) is not None:
            group[before] -= 1
            if not group[before]:
                del group[before]
        self._counts[key] = successes, n
        group[successes, n] += 1

    @property
    def learned_are_worth_more(self) -> bool:
        """Whether a learned proposal's first seed is worth at least that of a random one."""
        random, learned = first_seed_values(self._groups)
        return learned >= random
