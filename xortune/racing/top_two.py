"""Which configuration gets the next seeds where the best success rate is looked for, and the end.

A pure function of what is known. It is a top-two rule (Russo 2020, Simple Bayesian algorithms for
best-arm identification, Operations Research 68, 1625-1647) of the form EB-TCI (Jourdan, Degenne,
Baudry, de Heide and Kaufmann 2022, Top two algorithms revisited, NeurIPS):

- The *leader* is the configuration with the highest mean rate.
- The *challenger* is the one with the largest P(its rate > the leader's + epsilon) for each seed of
  its next rung. EB-TCI minimizes a transportation cost + ln n. This cost is the form that -ln P
  takes after many seeds (Shang et al. 2020, Fixed-confidence guarantees for Bayesian best-arm
  identification, AISTATS). After few seeds P itself says more, since it knows the prior.
- Of the two, the one with fewer seeds gets more.
- Where seeds have a *price*, all of this is for each unit of it: the challenger's chance, the worth
  of a new configuration. Of the two, the one whose seeds say more for their price gets more: a
  seed says KL(mean, mean if the challenger is better), the derivative of the transportation cost
  (You, Qin, Wang and Yang 2023, Information-directed selection for top-two algorithms, COLT). The
  leader is the cheapest of those within epsilon of the highest mean: each may be the answer.
- A *new configuration* begins if its first seeds are worth more: the knowledge gradient KG(*) of
  Frazier and Powell (2010), Paradoxes in learning and the marginal value of information, Decision
  Analysis 7, 378-403. Where both are worth little, seeds go where KG(*) is largest of all.
- Once there are no new configurations, it ends on a *statement*: the answer is within epsilon of
  the best configuration with probability 1 - delta (Russo's optimal-action probability).

All use the posterior of each configuration's rate. Their prior is learned from the counts of all of
them by expectation maximisation (Robbins 1956; Laird 1978, JASA 73, 805-811). It costs seeds where
it is wrong and proves nothing: only `racing.race` stops a configuration. docs/racing.md explains
the rule, benchmarks/arms.py compares it with others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, rel_entr

from xortune.core.outcome import wilson

Floats = NDArray[np.float64]

POINTS = 192
"""Points of the grid of rates. They are equally far apart in arcsin(sqrt(rate)), where the standard
error of n seeds is 1 / (2 sqrt(n)): a third of it after 1,000 seeds."""

PRIOR_SHAPE = 2.0, 0.5
"""Of the beta distribution with which the prior begins: rates near 1 are likelier than near 0, so
that a search ends soon where everything fails; see benchmarks/README.md."""

PRIOR_WEIGHT = 16.0
"""The weight of that distribution in the learned prior, in configurations."""

LEARNING_STEPS = 30
"""Steps of expectation maximisation. With 12 a search in which everything fails takes twice the
seeds; with 60 little changes."""

POSTERIOR_SHARE = 0.5
"""The share of delta that the posterior may spend. The rest is for the prior, which is learned from
the same counts: with all of it searches were right less often than 1 - delta."""

LOOKS = tuple(2**i for i in range(9))
"""Numbers of further seeds whose value is computed."""

LITTLE_GAIN = 1e-6
"""A gain for each seed that is little: 0.0003 for 256 seeds."""

NEGLIGIBLE_GAIN = 1e-7
"""A gain that is not worth a seed: a new configuration, which may be quicker, begins instead."""

LEAST_RATE = 1e-6
"""Rates from which another is told are at least as far from 0 and 1: no rate is beyond them."""

NEW: Final = -1
"""The step that begins a new configuration."""


class Group(NamedTuple):
    """Configurations with equal counts, between which the rule does not choose.

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
    step: int
    free: bool = True
    price: float = 1.0


@dataclass(frozen=True)
class Known:
    """What a decision knows.

    Attributes:
        groups: all configurations with results.
        new: the first seeds of a new configuration; 0 if there are no more.
        left: how many seeds may still be granted.
        price: of a seed of a new configuration, as far as is known.
    """

    groups: tuple[Group, ...]
    new: int = 0
    left: float = math.inf
    price: float = 1.0


@dataclass(frozen=True)
class Aim:
    """What a search wants to say: its answer is within epsilon of the best, by 1 - delta."""

    epsilon: float = 0.01
    delta: float = 0.1


def next_step(known: Known, aim: Aim) -> int | None:
    """Who gets seeds next: the index of a group, or `NEW`; None if nobody does.

    Nobody does if the statement holds, no seeds are left, or no configuration may get more now. Of
    a single configuration the statement says nothing: it gets all seeds if its first ones did not
    all fail.
    """
    if not known.groups:
        return NEW if known.new else None
    posterior = _posterior(known.groups)
    if not known.new and (known.left <= 0 or _says_enough(known.groups, posterior, aim)):
        return None
    leader = _leader(known.groups, posterior, aim)
    better = _beats(posterior, leader, aim.epsilon).tolist()
    rivals = [
        (p / (group.step * group.price), group.free, -i)
        for i, (p, group) in enumerate(zip(better, known.groups, strict=True))
        if group.step and (i != leader or group.members > 1)
    ]
    first = known.groups[leader]
    # Compared with a challenger that is in training, too: else the leader would run ahead of it.
    leads = not rivals or _leader_says_more(known, posterior, leader, -max(rivals)[2], aim)
    free = [rival for rival in rivals if rival[1]]
    if first.step and first.free and (leads or not free):
        chosen = leader
    elif free:
        chosen = -max(free)[2]
    else:
        return NEW if known.new else None
    return _or_more_valuable(known, posterior, leader, chosen) if known.new else chosen


def _leader(groups: Sequence[Group], posterior: _Posterior, aim: Aim) -> int:
    """The group with the highest mean; where prices differ, the cheapest that comes near it."""
    best = int(posterior.means.argmax())
    if all(group.price == groups[best].price for group in groups):
        return best
    near = np.flatnonzero(posterior.means >= posterior.means[best] - aim.epsilon).tolist()
    return min(near, key=lambda at: (groups[at].price, -posterior.means[at], at))


def _leader_says_more(
    known: Known, posterior: _Posterior, leader: int, rival: int, aim: Aim
) -> bool:
    """Whether the leader's seeds say more for their price; at equal prices, it has fewer."""
    first, other = known.groups[leader], known.groups[rival]
    if first.price == other.price:
        return first.n <= other.n
    means = posterior.means[[leader, rival]]
    of_first, of_other = _divergence(means, _means_if_better(posterior, leader, rival, aim))
    return bool(of_first / first.price >= of_other / other.price)


# -------------------------------------------------------------------------------------------------
# The posterior.


class _Posterior(NamedTuple):
    """Of G groups: the prior, shape (points,), the beliefs, (G, points), and their means, (G,)."""

    prior: Floats
    beliefs: Floats
    means: Floats


@cache
def rates() -> Floats:
    """The grid of rates; shape (points,)."""
    return np.sin((np.arange(POINTS) + 0.5) / POINTS * np.pi / 2) ** 2


@cache
def _first_prior() -> Floats:
    edges = np.sin(np.arange(POINTS + 1) / POINTS * np.pi / 2) ** 2
    return np.asarray(np.diff(betainc(*PRIOR_SHAPE, edges)), np.float64)


@lru_cache(maxsize=16384)
def _likelihood(successes: int, n: int) -> Floats:
    log = successes * np.log(rates()) + (n - successes) * np.log1p(-rates())
    # Products with subnormal numbers take 20 times as long.
    return np.where(log > log.max() - 140, np.exp(log - log.max()), 0.0)


def _posterior(groups: Sequence[Group]) -> _Posterior:
    likelihood = np.array([_likelihood(group.successes, group.n) for group in groups])
    members = np.array([float(group.members) for group in groups])
    first, total = PRIOR_WEIGHT * _first_prior(), PRIOR_WEIGHT + members.sum()
    prior = _first_prior()
    for _ in range(LEARNING_STEPS):
        prior = (first + prior * ((members / (likelihood @ prior)) @ likelihood)) / total
    beliefs = likelihood * prior
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    return _Posterior(prior, beliefs, beliefs @ rates())


@cache
def _beyond(epsilon: float) -> NDArray[np.intp]:
    """For each rate, the first point of the grid that is larger by more than epsilon."""
    return np.searchsorted(rates(), rates() + epsilon, side="right")


def _up_to(posterior: _Posterior, epsilon: float) -> Floats:
    """P(a configuration's rate <= x + epsilon) at each rate x of the grid; shape (G, points)."""
    sums = np.zeros((len(posterior.beliefs), POINTS + 1))
    np.cumsum(posterior.beliefs, axis=1, out=sums[:, 1:])
    return sums[:, _beyond(epsilon)]


def _beats(posterior: _Posterior, other: int, epsilon: float) -> Floats:
    """P(a configuration's rate > that of one of another group + epsilon); shape (G,)."""
    better = 1 - _up_to(posterior, epsilon) @ posterior.beliefs[other]
    return np.asarray(np.maximum(better, 0.0), np.float64)


def _means_if_better(posterior: _Posterior, leader: int, rival: int, aim: Aim) -> Floats:
    """The mean rates of leader and rival if the rival's is larger by more than epsilon; shape (2,).

    Their mean rates as they are, if the posterior says that this is impossible.
    """
    beyond, belief = _beyond(aim.epsilon), posterior.beliefs[rival]
    # Of the rival from each rate on: the probability, and that times the mean rate.
    tails = np.zeros((2, POINTS + 1))
    tails[:, :-1] = np.cumsum((belief * [np.ones(POINTS), rates()])[:, ::-1], axis=1)[:, ::-1]
    chance, mean = tails[:, beyond]
    joint = posterior.beliefs[leader] * chance
    if (total := joint.sum()) == 0:
        return np.asarray(posterior.means[[leader, rival]], np.float64)
    means = np.array([joint @ rates(), posterior.beliefs[leader] @ mean], np.float64)
    return np.asarray(means / total)


# -------------------------------------------------------------------------------------------------
# The value of the first seeds of a new configuration.


@cache
def _outcome_chances() -> tuple[Floats, NDArray[np.intp]]:
    """P(j of m seeds succeed) at each rate, and the first row of each m.

    Shapes (sum of m + 1, points), with a row for each m and j, and (looks,).
    """
    from scipy.stats import binom  # half a second to import

    rows = np.vstack([binom.pmf(np.arange(m + 1)[:, None], m, rates()) for m in LOOKS])
    return np.where(rows < 1e-60, 0.0, rows), np.cumsum([0, *(m + 1 for m in LOOKS[:-1])])


def gains(advantages: Floats) -> Floats:
    """The value of further seeds: the mean gain of the final answer, for each seed.

    Args:
        advantages: shape (C, points): for each configuration the belief in each rate, times the
            gain of the answer if that is the rate.

    Returns:
        The gain of m more seeds divided by m, for each m of `LOOKS`; shape (looks, C).
    """
    chances, starts = _outcome_chances()
    gain = np.add.reduceat(np.maximum(chances @ advantages.T, 0.0), starts)
    return np.asarray(gain / np.array(LOOKS)[:, None], np.float64)


def _or_more_valuable(known: Known, posterior: _Posterior, leader: int, chosen: int) -> int:
    """The chosen group, or `NEW` if that is worth more; if both are worth little, the best of all.

    The challenger is the likeliest to be better. Where that is unlikely, more may be gained by one
    of which less is known, or by doubting the leader. If nothing is worth a seed, or the leader has
    got all of its seeds, so that it is not doubted any more: `NEW`.
    """
    worths, prices = _worths(known, posterior, leader, [NEW, chosen])
    if worths.max() >= LITTLE_GAIN:
        new, more = worths / prices
        return NEW if new >= more else chosen
    if not known.groups[leader].step:
        return NEW
    free = [i for i, group in enumerate(known.groups) if group.step and group.free]
    steps = [NEW, *free]
    worths, prices = _worths(known, posterior, leader, steps)
    best = int((worths / prices).argmax())
    return steps[best] if worths[best] >= NEGLIGIBLE_GAIN else NEW


def _worths(
    known: Known, posterior: _Posterior, leader: int, steps: Sequence[int]
) -> tuple[Floats, Floats]:
    """Of each step: the value of a seed, which is the mean gain of the final answer; its price."""
    means, groups = posterior.means, known.groups
    alone = groups[leader].members == 1
    second = (np.delete(means, leader) if alone else means).max(initial=0.0)
    beliefs = np.array([posterior.prior if i == NEW else posterior.beliefs[i] for i in steps])
    # The leader's seeds matter if they drop it below the second.
    over = np.array([second - rates() if i == leader else rates() - means[leader] for i in steps])
    seeds = [known.new if i == NEW else groups[i].step for i in steps]
    prices = np.array([known.price if i == NEW else groups[i].price for i in steps])
    enough = np.array(LOOKS)[:, None] >= np.minimum(seeds, LOOKS[-1])
    return np.where(enough, gains(beliefs * over), 0.0).max(axis=0), prices


# -------------------------------------------------------------------------------------------------
# The statement.


@dataclass(frozen=True)
class Ending:
    """What a search can say at its end.

    Attributes:
        aim: what it wants to say.
        chance: the posterior probability that the answer is within epsilon of the best.
        rivals: how many configurations have to be told from the answer before it can say so.
        gain: by how much the likeliest of them is expected to be better: E[max(p - q, 0)].
        seeds: about how many more seeds that would take.
    """

    aim: Aim
    chance: float
    rivals: int
    gain: float
    seeds: int

    @property
    def holds(self) -> bool:
        """Whether the answer is within epsilon of the best with probability 1 - delta."""
        return self.chance >= _enough(self.aim)


def ending(groups: Sequence[Group], aim: Aim) -> Ending:
    """What can be said of the configuration with the highest lower end of Wilson's interval."""
    posterior, answer = _posterior(groups), _answer(groups)
    chance = _chance(groups, posterior, aim)
    allowed = 1 - _enough(aim)
    if chance >= 1 - allowed:
        return Ending(aim, chance, 0, 0.0, 0)
    # The rivals: the likeliest to be better, so many that all others together are negligible.
    better = _beats(posterior, answer, aim.epsilon)
    order = np.argsort(-better, kind="stable")
    members = np.array([group.members - (i == answer) for i, group in enumerate(groups)])
    remaining = better @ members
    each = allowed / members.sum()
    rivals, seeds, hardest = 0, 0.0, 0.0
    for i in order.tolist():
        if not members[i]:
            continue
        if remaining <= allowed / 2:
            break
        count = min(int(members[i]), math.ceil((remaining - allowed / 2) / better[i]))
        rivals, remaining = rivals + count, remaining - count * better[i]
        rival, own = min(posterior.means[[i, answer]]), posterior.means[answer]
        need = _seeds_to_tell(rival, own + aim.epsilon, each)
        seeds += count * max(need - groups[i].n, 0.0)
        hardest = max(hardest, _seeds_to_tell(own, rival - aim.epsilon, each))
    seeds += max(hardest - groups[answer].n, 0.0)
    first = next(i for i in order.tolist() if members[i])
    beyond = np.maximum(rates()[:, None] - rates(), 0.0)
    gain = float(posterior.beliefs[first] @ beyond @ posterior.beliefs[answer])
    return Ending(aim, chance, max(rivals, 1), gain, max(math.ceil(seeds), 1))


def _says_enough(groups: Sequence[Group], posterior: _Posterior, aim: Aim) -> bool:
    if sum(group.members for group in groups) == 1:
        return groups[0].successes == 0
    return _chance(groups, posterior, aim) >= _enough(aim)


def _enough(aim: Aim) -> float:
    return 1 - POSTERIOR_SHARE * aim.delta


def _answer(groups: Sequence[Group]) -> int:
    counts = np.array([(group.successes, group.n) for group in groups])
    return int(wilson(counts[:, 0], counts[:, 1])[0].argmax())


def _chance(groups: Sequence[Group], posterior: _Posterior, aim: Aim) -> float:
    """P(no other configuration's rate is more than epsilon above the answer's)."""
    answer = _answer(groups)
    others = np.array([group.members - (i == answer) for i, group in enumerate(groups)], np.float64)
    within = np.maximum(_up_to(posterior, aim.epsilon), 1e-300)
    return float(posterior.beliefs[answer] @ np.exp(others @ np.log(within)))


def _seeds_to_tell(rate: float, other: float, risk: float) -> float:
    """ln(1/risk) / kl(rate, other), Chernoff's bound: how many tell a rate from another one."""
    other = min(max(other, LEAST_RATE), 1 - LEAST_RATE)
    return math.log(1 / risk) / max(float(_divergence(rate, other)), 1e-9)


def _divergence(p: ArrayLike, q: ArrayLike) -> Floats:
    """kl(p, q): what a seed of rate p says against a rate of q, on average."""
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    return np.asarray(rel_entr(p, q) + rel_entr(1 - p, 1 - q), np.float64)
