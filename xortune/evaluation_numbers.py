"""The numbers of seeds that a search looks for, in an outcome as the search receives it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from xortune.evaluation import Packed
from xortune.objective_numbers import counted
from xortune.outcome import Outcome

__all__ = ["numbers_of"]


def numbers_of(
    outcome: Outcome | Packed | None, names: Sequence[str], count: int
) -> tuple[tuple[float, ...], ...]:
    """For each name the numbers of the seeds; NaN where a seed failed, or has none.

    Args:
        outcome: None if there is none.
        names: of the numbers.
        count: how many seeds there are.
    """
    if outcome is None:
        return ((float("nan"),) * count,) * len(names)
    if isinstance(outcome, Outcome):
        status = outcome.status
    else:
        status = np.frombuffer(zlib.decompress(base64.b64decode(outcome.data)), "u1", count, 4)
    values = outcome.details.values
    return tuple(tuple(counted(values.get(name), status).tolist()) for name in names)
