"""Two configs compared by how soon seeds are solved and by the numbers that a trainer returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import Outcome
from xortune.core.success import Success

# -------------------------------------------------------------------------------------------------
# How soon seeds are solved: by which of two configs sooner, and by one of them in the middle.
#
# A seed that is never solved takes longer than any that is; nothing is averaged over seeds that
# are not there. Both summaries, and the resampling, are those of Agarwal et al. (2021), "Deep
# Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 34 (rliable).

RESAMPLES, PART = 1000, 50
"""Of each bootstrap, and how many at once: with another seed of the resampling, the ends of an
interval move by a few hundredths of its length."""

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Improvement:
    """How probable it is that A solves a seed sooner than B another one; a tie counts half.

    Attributes:
        probability: in [0, 1]; one half says nothing of either.
        low, high: its 95 % interval, bootstrapped over seeds.
    """

    probability: float
    low: float
    high: float


@dataclass(frozen=True)
class Middle:
    """The mean epochs to solve of the middle half of the seeds.

    Attributes:
        epochs: None if some of these are not solved, a quarter of all at least, or where nobody
            counts epochs.
        low: lower end of the 95 % interval, bootstrapped over seeds; None as `epochs`.
        high: upper end; None where some of a resample's middle half are not solved.
    """

    epochs: float | None
    low: float | None
    high: float | None


def epochs_needed(outcome: Outcome) -> NDArray[np.float64]:
    """float64, shape (S,): the epoch from which each seed stays solved; inf if it is not."""
    return np.where(outcome.solved, outcome.solved_epoch, np.inf)


def improvement(
    first: NDArray[np.float64], second: NDArray[np.float64], *, shared: bool, seed: int
) -> Improvement:
    """How probable it is that A solves a seed in fewer epochs than B does another seed.

    Args:
        first: the `epochs_needed` of A, shape (S,); or other costs, of which less is better.
        second: those of B, shape (T,).
        shared: whether both are of the same seeds, in the same order: then a resample draws both
            together.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    levels, ranks = np.unique(np.concatenate([first, second]), return_inverse=True)
    mine, theirs = ranks[: first.size], ranks[first.size :]

    def sooner(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
        """Mann and Whitney's statistic, as a share of all pairs."""
        counts = np.bincount(other, minlength=levels.size)
        not_later = np.cumsum(counts)
        return float((other.size - not_later + counts / 2)[one].mean() / other.size)

    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(first.size, size=first.size)
        also = drawn if shared else rng.integers(second.size, size=second.size)
        found.append(sooner(mine[drawn], theirs[also]))
    low, high = np.quantile(found, _tails())
    return Improvement(sooner(mine, theirs), float(low), float(high))


def middle(outcome: Outcome, *, seed: int) -> Middle:
    """The interquartile mean of an outcome's epochs to solve.

    Args:
        outcome: the seeds.
        seed: of the resampling.
    """
    if not outcome.epochs:  # nobody counts them
        return Middle(None, None, None)
    return Middle(*middle_half(epochs_needed(outcome), seed=seed))


def middle_half(
    costs: NDArray[np.float64], *, seed: int
) -> tuple[float | None, float | None, float | None]:
    """The mean of the middle half of costs, and the ends of its bootstrapped 95 % interval.

    Args:
        costs: the less the better, shape (S,); inf for a seed that has none.
        seed: of the resampling.

    Returns:
        (mean, low, high): None where some of the middle half are infinite: the high end first.
    """
    from scipy.stats import trim_mean  # half a second to import

    rng = np.random.default_rng(seed)
    found: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the largest ones
        whole = float(trim_mean(costs, 0.25))
        if not np.isfinite(whole):
            return None, None, None
        for _ in range(RESAMPLES // PART):  # all at once would fill the memory
            drawn = costs[rng.integers(costs.size, size=(PART, costs.size))]
            found += trim_mean(drawn, 0.25, axis=1).tolist()
    # Between a number and infinity there is nothing to interpolate.
    low, high = np.quantile(found, _tails(), method="inverted_cdf")
    return whole, _finite(low), _finite(high)


def _finite(end: float) -> float | None:
    return float(end) if np.isfinite(end) else None


def _tails() -> list[float]:
    return [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]


# -------------------------------------------------------------------------------------------------
# Numbers that trainers told of their seeds, compared: whose are better, and their middles.
#
# The judged number of a rule for success has a direction: of `accuracy >= 0.9` more is better.
# There a seed without the number, which crashed or diverged, is worse than any that has one, so
# that a failed seed stays data. Of a number without a rule nobody knows what is better: whose is
# larger is shown, of the seeds that have one.
#
# Both summaries are those of Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of
# the Statistical Precipice", NeurIPS 34 (rliable). Their bootstrap is stratified by task; here is
# one task, and its seeds are drawn.

Better: TypeAlias = Literal["larger", "smaller", ""]
"""What is better; empty where no rule says."""

Floats = NDArray[np.float64]

_SIGNS: dict[str, Better] = {">": "larger", ">=": "larger", "<": "smaller", "<=": "smaller"}


@dataclass(frozen=True, eq=False)
class Told:
    """What one contestant's trainer told.

    Attributes:
        outcome: of its seeds.
        rule: for success; None if there is none, or none is known.
    """

    outcome: Outcome
    rule: Success | None = None


@dataclass(frozen=True)
class Summed:
    """The numbers of one contestant in few.

    Attributes:
        known: seeds with a finite number.
        n: seeds that count: all where it is known what is better, else those of `known`.
        middle: interquartile mean; None if some of the middle half have no number.
        low, high: its 95 % interval, bootstrapped over seeds; None for an end where some of a
            resample's middle half have none.
    """

    known: int
    n: int
    middle: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ComparedNumbers:
    """One number of several contestants.

    Attributes:
        name: of the number.
        better: what is.
        of: for each contestant its numbers in few; None of one that tells no such number.
        wins: for each pair how probable it is that the number of a seed of A is better than that of
            another of B (larger, if nothing says what is better; a tie counts half); None where one
            of the two has none.
    """

    name: str
    better: Better
    of: tuple[Summed | None, ...]
    wins: tuple[Improvement | None, ...]


Shared: TypeAlias = Callable[[int, int], tuple[NDArray[np.intp], NDArray[np.intp], bool]]
"""Of two contestants the places of the seeds that are compared, and whether these are the same."""


def compared_numbers(
    told: Sequence[Told], pairs: Sequence[tuple[int, int]], shared: Shared, *, seed: int
) -> tuple[ComparedNumbers, ...]:
    """Each number that two contestants have or more, those that are judged first.

    Args:
        told: by the contestants.
        pairs: their places, A and B.
        shared: which of their seeds are compared.
        seed: of the resampling.
    """
    return tuple(
        _numbers(name, told, pairs, shared, seed)
        for name in _names(told)
        if sum(_tells(one, name) for one in told) > 1
    )


def values_of(outcome: Outcome, name: str, better: Better) -> Floats:
    """Float64, shape (S,) or of the seeds that have the number if nothing says what is better.

    What is missing is infinite, on the side of what is worse.
    """
    values = _raw(outcome, name)
    if not better:
        return values[np.isfinite(values)]
    return np.where(np.isfinite(values), values, -np.inf if better == "larger" else np.inf)


def _names(told: Sequence[Told]) -> list[str]:
    judged = [one.rule.name for one in told if one.rule is not None]
    others = [name for one in told for name in one.outcome.details.values]
    known = {name for name in others if any(np.isfinite(_raw(o.outcome, name)).any() for o in told)}
    return [name for name in dict.fromkeys([*judged, *others]) if name in known]


def _tells(one: Told, name: str) -> bool:
    """Whether it has such a number, or would have had one if its seeds had not failed."""
    judged = one.rule is not None and one.rule.name == name
    return judged or bool(np.isfinite(_raw(one.outcome, name)).any())


def _raw(outcome: Outcome, name: str) -> Floats:
    return outcome.details.values.get(name, np.full(outcome.n, np.nan))


def _better(told: Sequence[Told], name: str) -> Better:
    """What the rules agree on."""
    rules = [one.rule for one in told if one.rule is not None and one.rule.name == name]
    found = {_SIGNS.get(rule.sign, "") for rule in rules}
    return found.pop() if len(found) == 1 else ""


def _numbers(
    name: str,
    told: Sequence[Told],
    pairs: Sequence[tuple[int, int]],
    shared: Shared,
    seed: int,
) -> ComparedNumbers:
    better = _better(told, name)
    raw = [_raw(one.outcome, name) if _tells(one, name) else None for one in told]

    def won(a: int, b: int) -> Improvement | None:
        first, second = raw[a], raw[b]
        if first is None or second is None:
            return None
        mine, theirs, same = shared(a, b)
        return _win(first[mine], second[theirs], better, shared=same, seed=seed)

    return ComparedNumbers(
        name,
        better,
        tuple(
            None if values is None else _summed(one.outcome, name, better, seed)
            for one, values in zip(told, raw, strict=True)
        ),
        tuple(won(a, b) for a, b in pairs),
    )


def _costs(values: Floats, better: Better) -> Floats:
    """Less is better; of numbers of which nothing is known, more."""
    return values if better == "smaller" else -values


def _summed(outcome: Outcome, name: str, better: Better, seed: int) -> Summed:
    values = values_of(outcome, name, better)
    known = int(np.isfinite(values).sum())
    middle, low, high = middle_half(_costs(values, better), seed=seed)
    if better != "smaller":
        middle, low, high = (None if end is None else 0.0 - end for end in (middle, high, low))
    return Summed(known, values.size, middle, low, high)


def _win(
    first: Floats, second: Floats, better: Better, *, shared: bool, seed: int
) -> Improvement | None:
    if better:
        worst = -np.inf if better == "larger" else np.inf
        first, second = (np.where(np.isfinite(v), v, worst) for v in (first, second))
    elif shared:  # a seed of which one has no number is no pair
        both = np.isfinite(first) & np.isfinite(second)
        first, second = first[both], second[both]
    else:
        first, second = (v[np.isfinite(v)] for v in (first, second))
    if not (first.size and second.size):
        return None
    return improvement(_costs(first, better), _costs(second, better), shared=shared, seed=seed)
