"""One parameter over many configs: its distinct values, its numbers, quantile bins of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.report.format import number, plain, value

__all__ = ["Bins", "Column", "column_of", "comparable", "quantile_bins"]


@dataclass(frozen=True, eq=False)
class Column:
    """A parameter over C configs.

    Attributes:
        values: the distinct ones: whether a config has the parameter, and its value as `comparable`
            sees it.
        codes: intp, shape (C,): places in `values`.
    """

    values: tuple[tuple[bool, tuple[str, Any]], ...]
    codes: NDArray[np.intp]

    @cached_property
    def reals(self) -> NDArray[np.float64]:
        """Shape (V,): each distinct value, NaN where it is no number."""
        return np.array([_real(given) for _, (_, given) in self.values])

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Shape (C,): the value of each config, NaN where it is no number."""
        return self.reals[self.codes]

    def labels(self, places: Sequence[int]) -> list[str]:
        """What these distinct values are called beside each other."""
        shown = [
            value(self.values[place][1][1]) if self.values[place][0] else "(not active)"
            for place in places
        ]
        labels = []
        for label, place in zip(shown, places, strict=True):
            present, (_, given) = self.values[place]
            # 0.1231 and 0.1232 look the same in three digits, and so do the text "1" and the
            # number.
            exact = present and shown.count(label) > 1
            labels.append(plain(repr(given)) if exact else label)
        return labels


@dataclass(frozen=True, eq=False)
class Bins:
    """Numbers in bins with about as many in each; ties may leave fewer bins than asked for.

    Attributes:
        labels: `[low, high]` of the first, `(low, high]` of the others, ascending; no bin is empty.
        which: intp, shape (N,): the bin of each number.
    """

    labels: tuple[str, ...]
    which: NDArray[np.intp]


def column_of(given: Sequence[Mapping[str, Any]], name: str) -> Column:
    """The named parameter over the points of C configs."""
    # Few distinct values among many configs: each is looked at once.
    places: dict[tuple[bool, type, Any], int] = {}
    raw = [(name in point, type(point.get(name)), point.get(name)) for point in given]
    codes = np.array([places.setdefault(value, len(places)) for value in raw], dtype=np.intp)
    merged: dict[tuple[bool, tuple[str, Any]], int] = {}
    found = [merged.setdefault((has, comparable(v)), len(merged)) for has, _, v in places]
    return Column(tuple(merged), np.array(found, dtype=np.intp)[codes])


def quantile_bins(numbers: NDArray[np.float64], count: int) -> Bins:
    """At most so many bins of N numbers, at least one of them."""
    cuts = np.quantile(numbers, np.linspace(0, 1, count + 1))
    if (numbers == np.floor(numbers)).all():
        cuts = np.floor(cuts)  # up to 7.67 is up to 7
    cuts = np.unique(cuts)
    bins = np.clip(np.searchsorted(cuts, numbers) - 1, 0, max(len(cuts) - 2, 0))
    kept, which = np.unique(bins, return_inverse=True)
    lows, highs = cuts[kept].tolist(), cuts[np.minimum(kept + 1, len(cuts) - 1)].tolist()
    labels = tuple(
        f"{'(' if index else '['}{number(low)}, {number(high)}]"
        for index, low, high in zip(kept.tolist(), lows, highs, strict=True)
    )
    return Bins(labels, which)


def comparable(given: Any) -> tuple[str, Any]:
    """The value, so that equal ones are one value of a parameter and no others."""
    # True == 1 in Python, and they are different values of a parameter.
    return ("number" if type(given) in (int, float) else type(given).__name__, given)


def _real(given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float):
        return float("nan")
    try:
        return float(given)
    except OverflowError:
        return float("inf") if given > 0 else float("-inf")
