"""What Ctrl-C does before and after Tune."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT, getsignal, signal

__all__ = ["same_handler"]


@contextmanager
def same_handler() -> Iterator[None]:
    """Ctrl-C does afterwards what it did before: Tune leaves its own handler behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = getsignal(SIGINT)
    try:
        yield
    finally:
        signal(SIGINT, before)
