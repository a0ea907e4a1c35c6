"""A synthetic surface: configurations whose true success rates are a table.

A seed succeeds when its luck lies below what the rate asks for. The luck is a hash of seed and
configuration, half of its variance shared by all configurations (some seeds are hard for all, as
they are for networks), and exactly standard normal: the true rate is the table's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, ndtri

KINDS = ("a", "b", "c", "d")
SIZE_X, SIZE_Y, SIZE_Z = 41, 41, 11
SHARED = 0.5
"""Of the variance of luck."""

# Kind, place (x, y, z), width, height in logits. The first peak reaches 0.999 and is narrow, the
# second 0.97 and is broad; the others are where one gets lost.
PEAKS = (
    ("b", (29, 11, 7), (6.0, 6.0, 4.0), 11.0),
    ("c", (10, 28, 4), (12.0, 12.0, 5.0), 7.6),
    ("a", (20, 20, 5), (15.0, 15.0, 8.0), 5.2),
    ("d", (35, 35, 9), (8.0, 8.0, 4.0), 4.4),
)
FLOOR = -4.2


@cache
def table() -> NDArray[np.float64]:
    """The true rates; shape (kinds, x, y, z)."""
    x, y, z = np.ogrid[:SIZE_X, :SIZE_Y, :SIZE_Z]
    logits = np.full((len(KINDS), SIZE_X, SIZE_Y, SIZE_Z), FLOOR)
    for kind, place, width, height in PEAKS:
        squares = (
            ((axis - at) / wide) ** 2
            for axis, at, wide in zip((x, y, z), place, width, strict=True)
        )
        logits[KINDS.index(kind)] += height * np.exp(-sum(squares) / 2)
    return np.asarray(expit(logits), np.float64)


def true_rate(point: Mapping[str, object]) -> float:
    """Of a point with `kind`, `x`, `y` and `z`."""
    return float(table().flat[_cell(point)])


def solved(point: Mapping[str, object], seeds: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each seed succeeds; shape (S,). The same answer whenever it is asked."""
    return lucky(_cell(point), true_rate(point), seeds)


def lucky(
    cell: int, rate: float, seeds: Sequence[int], *, shared: float = SHARED
) -> NDArray[np.bool_]:
    """The same for a cell of any table; `shared` of the variance all cells have in common."""
    return np.asarray(luck(cell, seeds, shared=shared) < ndtri(rate), np.bool_)


def luck(cell: int, seeds: Sequence[int], *, shared: float) -> NDArray[np.float64]:
    """The luck of each seed in a cell, standard normal; shape (S,)."""
    number = np.asarray(seeds, np.uint64)
    own = _normal(_mixed(number) ^ np.uint64(0x9E3779B97F4A7C15 * (cell + 1) % 2**64))
    return np.asarray(np.sqrt(shared) * _normal(number) + np.sqrt(1 - shared) * own, np.float64)


def _cell(point: Mapping[str, object]) -> int:
    place = KINDS.index(str(point["kind"])), *(int(str(point[name])) for name in "xyz")
    return int(np.ravel_multi_index(place, table().shape))


def _normal(number: NDArray[np.uint64]) -> NDArray[np.float64]:
    uniform = (_mixed(number) >> np.uint64(11)).astype(np.float64) * 2.0**-53 + 2.0**-54
    return np.asarray(ndtri(uniform), np.float64)


def _mixed(number: ArrayLike) -> NDArray[np.uint64]:
    """SplitMix64: Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators."""
    with np.errstate(over="ignore"):
        z = np.asarray(number, np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), np.uint64)
