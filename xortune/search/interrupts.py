"""What Ctrl-C and SIGTERM do, while Ray and Tune have ideas of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGINT, SIGTERM, getsignal, signal

__all__ = ["same_end", "same_handler"]


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


@contextmanager
def same_end() -> Iterator[None]:
    """SIGTERM does afterwards what it did before, if that was anything but to end the process.

    Ray, when it is started, puts its own handler there, which exits without a word. One that gets
    a SIGTERM by then makes what ours would have made of it.

    Raises:
        KeyboardInterrupt: SIGTERM came while Ray was starting.
    """
    before = getsignal(SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal(SIGTERM, before)
