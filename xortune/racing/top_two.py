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
- Once there are no new configurations, it ends on a *statement*: see `racing.statement`.

All use the posterior of each configuration's rate, with the learned prior of `racing.posterior`.
It costs seeds where it is wrong and proves nothing: only `racing.race` stops a configuration.
docs/racing.md explains the rule, benchmarks/arms.py compares it with others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xortune.racing.posterior import (
    POINTS,
    Floats,
    Group,
    Posterior,
    beats,
    beyond,
    divergence,
    learned,
    rates,
)
from xortune.racing.statement import Aim, says_enough

LOOKS = tuple(2**i for i in range(9))
"""Numbers of further seeds whose value is computed."""

LITTLE_GAIN = 1e-6
"""A gain for each seed that is little: 0.0003 for 256 seeds."""

NEGLIGIBLE_GAIN = 1e-7
"""A gain that is not worth a seed: a new configuration, which may be quicker, begins instead."""

NEW: Final = -1
"""The step that begins a new configuration."""


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


def next_step(known: Known, aim: Aim) -> int | None:
    """Who gets seeds next: the index of a group, or `NEW`; None if nobody does.

    Nobody does if the statement holds, no seeds are left, or no configuration may get more now. Of
    a single configuration the statement says nothing: it gets all seeds if its first ones did not
    all fail.
    """
    if not known.groups:
        return NEW if known.new else None
    posterior = learned(known.groups)
    if not known.new and (known.left <= 0 or says_enough(known.groups, posterior, aim)):
        return None
    leader = _leader(known.groups, posterior, aim)
    better = beats(posterior, leader, aim.epsilon).tolist()
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


def _leader(groups: Sequence[Group], posterior: Posterior, aim: Aim) -> int:
    """The group with the highest mean; where prices differ, the cheapest that comes near it."""
    best = int(posterior.means.argmax())
    if all(group.price == groups[best].price for group in groups):
        return best
    near = np.flatnonzero(posterior.means >= posterior.means[best] - aim.epsilon).tolist()
    return min(near, key=lambda at: (groups[at].price, -posterior.means[at], at))


def _leader_says_more(
    known: Known, posterior: Posterior, leader: int, rival: int, aim: Aim
) -> bool:
    """Whether the leader's seeds say more for their price; at equal prices, it has fewer."""
    first, other = known.groups[leader], known.groups[rival]
    if first.price == other.price:
        return first.n <= other.n
    means = posterior.means[[leader, rival]]
    of_first, of_other = divergence(means, _means_if_better(posterior, leader, rival, aim))
    return bool(of_first / first.price >= of_other / other.price)


# -------------------------------------------------------------------------------------------------
# What seeds of the leader and of the challenger say.


def _means_if_better(posterior: Posterior, leader: int, rival: int, aim: Aim) -> Floats:
    """The mean rates of leader and rival if the rival's is larger by more than epsilon; shape (2,).

    Their mean rates as they are, if the posterior says that this is impossible.
    """
    further, belief = beyond(aim.epsilon), posterior.beliefs[rival]
    # Of the rival from each rate on: the probability, and that times the mean rate.
    tails = np.zeros((2, POINTS + 1))
    tails[:, :-1] = np.cumsum((belief * [np.ones(POINTS), rates()])[:, ::-1], axis=1)[:, ::-1]
    chance, mean = tails[:, further]
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


def _or_more_valuable(known: Known, posterior: Posterior, leader: int, chosen: int) -> int:
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
    known: Known, posterior: Posterior, leader: int, steps: Sequence[int]
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
