"""Which configs cannot be told from the best one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.frames import PART, array_of
from xortune.outcome import Outcome, Status
from xortune.run import ConfigResult
from xortune.stats import mcnemar_greater

__all__ = ["TiedSet", "tied_set"]


@dataclass(frozen=True)
class TiedSet:
    """What the comparison with the best came to.

    Attributes:
        full: the seeds that a config must have had to be compared.
        compared: how many configs had them, the best included.
        stopped: how many configs got fewer; they were stopped early and are not compared.
        members: those not distinguishable from the best, best first; the best is the first.
    """

    full: int
    compared: int
    stopped: int
    members: tuple[ConfigResult, ...]


def tied_set(results: Sequence[ConfigResult], full: int, *, alpha: float = 0.05) -> TiedSet:
    """The configs that the observed best does not beat, among those with the full seeds.

    With m configs compared, a config leaves the set when the observed best beats it in a one-sided
    exact McNemar test, on the seeds that both had, at level alpha / (m - 1). The truly best config
    leaves only if *some* other config beats it at that level; each of the m - 1 others does so with
    probability at most alpha / (m - 1), so by the union bound the set holds the truly best of the
    compared configs with probability at least 1 - alpha, whichever of them looks best. The choice
    of the best is thereby accounted for. Which configs got the full seeds was decided on the
    first of the same seeds; a truly best one that was stopped there is not among the compared.

    Args:
        results: best first, as in `Run.results`.
        full: the full seeds; see `run_front.full_seeds`.
        alpha: the probability, at most, that the truly best is missing.

    Source:
        Subset selection: Gupta (1965), Technometrics 7, 225-245; simultaneous comparison with the
        best: Hsu (1981), Annals of Statistics 9, 1026-1034.
    """
    compared = [result for result in results if result.outcome.n >= full]
    stopped = len(results) - len(compared)
    if len(compared) < 2:
        return TiedSet(full, len(compared), stopped, tuple(compared))
    best, others = compared[0], compared[1:]
    pairs = _all_discordant(best.outcome, [other.outcome for other in others])
    beaten = mcnemar_greater(pairs[:, 0], pairs[:, 1]) <= alpha / len(others)
    kept = [other for other, lost in zip(others, beaten, strict=True) if not lost]
    return TiedSet(full, len(compared), stopped, (best, *kept))


def _all_discordant(best: Outcome, others: Sequence[Outcome]) -> NDArray[np.int64]:
    """Of the seeds that both had, those that only the best solved and those that only another did.

    One row for each of the others: int64, shape (C, 2).
    """
    pairs = np.empty((len(others), 2), dtype=np.int64)
    alike: dict[bytes, list[int]] = {}  # who had the same seeds
    for row, other in enumerate(others):
        alike.setdefault(other.seeds.tobytes(), []).append(row)
    for rows in alike.values():
        _, mine, theirs = np.intersect1d(
            best.seeds, others[rows[0]].seeds, assume_unique=True, return_indices=True
        )
        a = best.solved[mine]
        for start in range(0, len(rows), PART):
            part = rows[start : start + PART]
            b = np.stack([_solved(others[row]) for row in part])[:, theirs]
            pairs[part, 0] = np.count_nonzero(a & ~b, axis=1)
            pairs[part, 1] = np.count_nonzero(~a & b, axis=1)
    return pairs


def _solved(outcome: Outcome) -> NDArray[np.bool_]:
    solved: NDArray[np.bool_] = np.equal(array_of(outcome, "status"), Status.SOLVED)
    return solved
