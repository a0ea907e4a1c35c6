"""Numbers that trainers told of their seeds, compared: whose are better, and their middles.

The judged number of a rule for success has a direction: of `accuracy >= 0.9` more is better. There
a seed without the number, which crashed or diverged, is worse than any that has one, so that a
failed seed stays data. Of a number without a rule nobody knows what is better: whose is larger is
shown, of the seeds that have one.

Both summaries are those of Agarwal et al. (2021), "Deep Reinforcement Learning at the Edge of the
Statistical Precipice", NeurIPS 34 (rliable). Their bootstrap is stratified by task; here is one
task, and its seeds are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.comparison_speed import Improvement, improvement, middle_half
from xortune.outcome import Outcome
from xortune.success import Success

__all__ = ["Better", "Numbers", "Summed", "Told", "compared_numbers", "values_of"]

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
class Numbers:
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
) -> tuple[Numbers, ...]:
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
) -> Numbers:
    better = _better(told, name)
    raw = [_raw(one.outcome, name) if _tells(one, name) else None for one in told]

    def won(a: int, b: int) -> Improvement | None:
        first, second = raw[a], raw[b]
        if first is None or second is None:
            return None
        mine, theirs, same = shared(a, b)
        return _win(first[mine], second[theirs], better, shared=same, seed=seed)

    return Numbers(
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
