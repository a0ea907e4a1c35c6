"""Which of very many points are drawn: few enough to be seen, and never without the extremes."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MOST", "RULE", "thinned"]

MOST = 1000
"""More points than these are not told apart."""

RULE = "the highest, the lowest and two in between of each of {parts:,} equal parts of the order"
"""What `thinned` keeps, for the note of a figure."""


def thinned(values: ArrayLike, always: Collection[int] = (), most: int = MOST) -> NDArray[np.intp]:
    """The places of those points that are drawn, ascending; all of them if there are few.

    Args:
        values: shape (m,), in the order in which they are drawn.
        always: places that are kept in any case.
        most: how many are all right, `always` aside; four at least.

    Returns:
        Of each of most / 4 equal parts of the order the first highest, the first lowest, the first
        point and the middle one, where these are different points.
    """
    given = np.asarray(values, np.float64)
    if given.size <= most:
        return np.arange(given.size)
    kept = set(always)
    for part in np.array_split(np.arange(given.size), most // 4):
        seen = given[part]
        kept |= {int(part[i]) for i in (seen.argmax(), seen.argmin(), 0, len(part) // 2)}
    return np.array(sorted(kept), np.intp)
