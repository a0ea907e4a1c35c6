"""What is believed of success rates: beliefs on a grid, from counts and a prior.

    groups = [Group(63, 64, members=1), Group(1, 4, members=9)]
    learned(groups).means       # of a configuration of each group

There are two priors. The *learned* one is learned from the counts of all configurations by
expectation maximisation (Robbins 1956; Laird 1978, JASA 73, 805-811). It knows how common good
configurations are, where there are many of them; of a few it knows what it assumed. The *flat* one
takes all rates for equally likely, whatever the others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, rel_entr

Floats = NDArray[np.float64]

POINTS = 192
"""Points of the grid of rates. They are equally far apart in arcsin(sqrt(rate)), where the standard
error of n seeds is 1 / (2 sqrt(n)): a third of it after 1,000 seeds."""

PRIOR_SHAPE = 2.0, 0.5
"""Of the beta distribution with which the learned prior begins: rates near 1 are likelier than near
0, so that a search ends soon where everything fails; see benchmarks/README.md."""

PRIOR_WEIGHT = 16.0
"""The weight of that distribution in the learned prior, in configurations."""

FLAT = 1.0, 1.0
"""The shape of the flat prior."""

LEARNING_STEPS = 30
"""Steps of expectation maximisation. With 12 a search in which everything fails takes twice the
seeds; with 60 little changes."""


class Group(NamedTuple):
    """Configurations with equal counts, between which no rule chooses.

    Attributes:
        successes: of each configuration.
        n: seeds of each.
        members: how many configurations.
        step: seeds up to the next rung; 0 after the last one.
        free: whether one of them may get seeds now: it is not in training, not proven worse.
        price: of a seed.
    """

    successes: int
    n: int
    members: int
    step: int = 0
    free: bool = True
    price: float = 1.0


class Posterior(NamedTuple):
    """Of G groups: the prior, shape (points,), the beliefs, (G, points), and their means, (G,)."""

    prior: Floats
    beliefs: Floats
    means: Floats


@cache
def rates() -> Floats:
    """The grid of rates; shape (points,)."""
    return np.sin((np.arange(POINTS) + 0.5) / POINTS * np.pi / 2) ** 2


@cache
def prior_of(shape: tuple[float, float]) -> Floats:
    """The probabilities of the points of the grid under a beta distribution; shape (points,)."""
    edges = np.sin(np.arange(POINTS + 1) / POINTS * np.pi / 2) ** 2
    return np.asarray(np.diff(betainc(*shape, edges)), np.float64)


@lru_cache(maxsize=16384)
def _likelihood(successes: int, n: int) -> Floats:
    log = successes * np.log(rates()) + (n - successes) * np.log1p(-rates())
    # Products with subnormal numbers take 20 times as long.
    return np.where(log > log.max() - 140, np.exp(log - log.max()), 0.0)


def learned(
    groups: Sequence[Group],
    shape: tuple[float, float] = PRIOR_SHAPE,
    weight: float = PRIOR_WEIGHT,
) -> Posterior:
    """The posterior with a prior that is learned from the counts.

    Args:
        groups: all configurations.
        shape: of the beta distribution with which the prior begins.
        weight: of that distribution in the prior, in configurations.
    """
    likelihood = np.array([_likelihood(group.successes, group.n) for group in groups])
    members = np.array([float(group.members) for group in groups])
    first, total = weight * prior_of(shape), weight + members.sum()
    prior = prior_of(shape)
    for _ in range(LEARNING_STEPS):
        prior = (first + prior * ((members / (likelihood @ prior)) @ likelihood)) / total
    return _believed(prior, likelihood)


def flat(groups: Sequence[Group]) -> Posterior:
    """The posterior with the flat prior."""
    likelihood = np.array([_likelihood(group.successes, group.n) for group in groups])
    return _believed(prior_of(FLAT), likelihood)


def _believed(prior: Floats, likelihood: Floats) -> Posterior:
    beliefs = likelihood * prior
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    return Posterior(prior, beliefs, beliefs @ rates())


@cache
def beyond(epsilon: float) -> NDArray[np.intp]:
    """For each rate, the first point of the grid that is larger by more than epsilon."""
    return np.searchsorted(rates(), rates() + epsilon, side="right")


def up_to(posterior: Posterior, epsilon: float) -> Floats:
    """P(a configuration's rate <= x + epsilon) at each rate x of the grid; shape (G, points)."""
    sums = np.zeros((len(posterior.beliefs), POINTS + 1))
    np.cumsum(posterior.beliefs, axis=1, out=sums[:, 1:])
    return sums[:, beyond(epsilon)]


def beats(posterior: Posterior, other: int, epsilon: float) -> Floats:
    """P(a configuration's rate > that of one of another group + epsilon); shape (G,)."""
    better = 1 - up_to(posterior, epsilon) @ posterior.beliefs[other]
    return np.asarray(np.maximum(better, 0.0), np.float64)


def divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """kl(p, q): what a seed of rate p says against a rate of q, on average."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return np.asarray(rel_entr(p, q) + rel_entr(1 - p, 1 - q), np.float64)
