"""How the report puts counts, probabilities and figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from xortune.report.format import number
from xortune.thread.claims import AS_POSTED, Place, Row
from xortune.thread.settle import Settled
from xortune.thread.sweep import Certified
from xortune.thread.verdict import Judged

__all__ = ["at_least", "figure", "named", "of_seeds", "probability", "share", "times", "variants"]


def variants(settled: Settled, row: Row) -> dict[str, Judged]:
    """What became of a row's variants, by name."""
    return {one.variant.name: one for one in settled.rows if one.row.id == row.id}


def figure(shown: Mapping[str, str], name: str) -> Iterable[str]:
    """The image of that name, if there is one."""
    return [shown[name]] if name in shown else []


def share(row: Judged) -> str:
    """`7,730/10,000`."""
    return f"{row.k:,}/{row.n:,}"


def of_seeds(cell: Certified) -> str:
    """`9,999 of 10,000`."""
    return f"{cell.outcome.successes:,} of {cell.outcome.n:,}"


def at_least(cell: Certified) -> str:
    """`99.94 %`: the lower bound, rounded down."""
    return f"{math.floor(1e4 * cell.lower) / 100:.2f} %"


def named(place: Place) -> str:
    """`T8d (lr 0.001)`; what was posted is just `T8d`."""
    row, variant = place
    return row if variant == AS_POSTED else f"{row} ({variant.replace('_', ' ')})"


def probability(p: float | None) -> str:
    """Three digits; empty if there is none."""
    if p is None:
        return ""
    return "< 0.0001" if p < 1e-4 else number(p)


def times(ratio: float) -> str:
    """A likelihood ratio."""
    return f"{ratio:.1e}" if ratio >= 1e4 or ratio < 1e-2 else number(ratio)
