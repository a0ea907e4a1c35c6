"""Why a block was trained if not for the search: what a certificate's line of the journal adds.

Search lines do not have it. With it the certificate can be made from the journal alone, and nothing
of it is ever counted among the search's results.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_type_hints

from xortune.errors import InputError

__all__ = ["Criterion", "Kind", "Purpose"]

Kind: TypeAlias = Literal["certify", "neighbourhood"]

Criterion: TypeAlias = Literal["own", "neighbourhood"]
"""Whose lower bound orders finalists: that of each itself, or of the worst around it."""


@dataclass(frozen=True)
class Purpose:
    """A block that an attempt to certify finalists has trained.

    Attributes:
        kind: `certify` for a finalist itself, `neighbourhood` for one with a setting moved.
        attempt: number of the attempt, from 1.
        finalist: key of the finalist.
        rank: its place in the search's order, from 1.
        finalists: how many the attempt has.
        seeds: how many it plans for each of its configs.
        confidence: with which all bounds of all attempts hold together.
        extendable: whether it was begun as one whose seeds may be added to.
        search_k: seeds of the finalist solved in the search.
        search_n: its seeds in the search.
        moved: the parameter that is moved; None for the finalist itself.
        by: what orders the finalists.
        neighbours: how many all finalists of the attempt have together; 0 if none are measured.
        first: where the attempt's seeds begin; of a neighbour, where those of all neighbours do.
            None in journals from before each attempt had seeds of its own.
    """

    kind: Kind
    attempt: int
    finalist: str
    rank: int
    finalists: int
    seeds: int
    confidence: float
    extendable: bool
    search_k: int
    search_n: int
    moved: str | None = None
    by: Criterion = "own"
    neighbours: int = 0
    first: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, fields: object) -> Purpose:
        """What `as_dict` gave.

        Raises:
            InputError: anything else.
        """
        # Older journals lack the last, and those before them the two before it as well.
        known = (_NAMES, _NAMES[:-1], _NAMES[:-3])
        if not isinstance(fields, dict) or list(fields) not in known:
            raise InputError(
                "is no purpose", field="purpose", allowed="an object of " + ", ".join(_HINTS)
            )
        for name, value in fields.items():
            if not _fits(name, value):
                raise InputError(f"{value!r} is out of range", field=f"purpose.{name}")
        return cls(**fields)


MAX_ATTEMPTS, MAX_COUNT = 1000, 2**32
"""Attempt a spends alpha / 2**a: long before the thousandth nothing is left."""

_HINTS = get_type_hints(Purpose)
_NAMES = list(_HINTS)


def _fits(name: str, value: object) -> bool:
    if name == "kind":
        return value in ("certify", "neighbourhood")
    if name == "moved":
        return value is None or isinstance(value, str)
    if name == "first":
        return value is None or (type(value) is int and 0 <= value < MAX_COUNT)
    if name == "by":
        return value in ("own", "neighbourhood")
    if name in ("attempt", "rank", "finalists", "seeds", "search_k", "search_n", "neighbours"):
        least = 0 if name in ("search_k", "neighbours") else 1
        most = MAX_ATTEMPTS if name == "attempt" else MAX_COUNT
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if name == "confidence":
        return isinstance(value, float) and 0 < value < 1 and math.isfinite(value)
    return type(value) is _HINTS[name]
