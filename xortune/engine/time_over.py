"""When a search's time is over, for trainers that train one seed after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ending_at", "time_is_over"]

_until: float | None = None


@contextmanager
def ending_at(until: float | None) -> Iterator[None]:
    """Time is over in this process at that moment, by `time.time`; None: never."""
    global _until  # noqa: PLW0603  # a trainer, which knows nothing of searches, stands between
    before, _until = _until, until
    try:
        yield
    finally:
        _until = before


def time_is_over() -> bool:
    """Whether no further seed may begin."""
    return _until is not None and time.time() >= _until
