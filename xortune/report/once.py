"""What is computed once for each run, however many figures and tables ask for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from xortune.run import Run

__all__ = ["once_for_each_run"]

T = TypeVar("T")


def once_for_each_run(function: Callable[[Run], T]) -> Callable[[Run], T]:
    """The function, which keeps what it came to for as long as somebody has the run.

    A `Run` is frozen: what follows from it stays the same.
    """
    known: WeakKeyDictionary[Run, T] = WeakKeyDictionary()

    @wraps(function)
    def kept(run: Run) -> T:
        if run not in known:
            known[run] = function(run)
        return known[run]

    return kept
