"""What a training says of each seed beside its status: numbers by name, and why it failed."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DETAILS", "Details", "joined"]


@dataclass(frozen=True, eq=False)
class Details:
    """What is known of the seeds of an outcome beside their status.

    Attributes:
        values: by name, float64 of shape (S,): NaN where a seed has no such number.
        failed: why a seed failed, by its number; a seed that was trained to the end and only was
            no success is not among them.
        traceback: of the first failure that raised, in the words of what failed; not kept in a run.
        output: the end of what some of the failed seeds printed, by their number.
        raised: the seed that the traceback is of; None: the first of `failed`.
    """

    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    traceback: str | None = None
    output: Mapping[int, str] = field(default_factory=dict)
    raised: int | None = None


NO_DETAILS = Details()


def joined(one: Details, n: int, other: Details, m: int) -> Details:
    """Those of n seeds and then those of m others."""
    if one is NO_DETAILS and other is NO_DETAILS:
        return NO_DETAILS
    none = {size: np.full(size, np.nan) for size in (n, m)}
    values = {
        name: np.concatenate([one.values.get(name, none[n]), other.values.get(name, none[m])])
        for name in {**one.values, **other.values}
    }
    # Not a dict of both: what was read from a journal is unpacked when it is asked for.
    output: Mapping[int, str] = {}
    if one.output or other.output:
        output = ChainMap(other.output, one.output)  # type: ignore[arg-type]  # nobody writes to it
    return Details(values, {**one.failed, **other.failed}, output=output)
