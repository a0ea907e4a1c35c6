"""The ladder of seeds that a run's configurations climb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["rungs_of"]


def rungs_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The ladder that a run's manifest notes; none if it does not."""
    ladder = manifest.get("ladder")
    if not isinstance(ladder, Sequence):
        return ()
    return tuple(rung for rung in ladder if isinstance(rung, int))
