"""What Ctrl-C, SIGTERM and SIGHUP do, while Ray and Tune have ideas of their own.

A command has one way out. The first of them ends it in order: what had finished is kept, tables are
written, Ray is shut down, exit code 3. A second one, which would tear that apart, is only answered;
a third ends the process at once.
"""

from __future__ import annotations

import os
import signal as signals
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal, raise_signal, signal

FORCED = 130
"""The exit code of a command that is ended at once, as that of a shell after Ctrl-C."""

_heard = 0


def heed_signals() -> None:
    """From now on this process ends as a command does."""
    global _heard  # noqa: PLW0603  # a signal has no other way to what came before it
    _heard = 0
    signal(SIGINT, _heed)
    for name in ("SIGTERM", "SIGHUP"):  # Windows has not both
        number = getattr(signals, name, None)
        if number is not None and getsignal(number) is not SIG_IGN:  # as `nohup` has it
            signal(number, lambda *_: raise_signal(SIGINT))


def told_to_end() -> None:
    """Take it that the first signal has been heard, or that the command is at its end anyway."""
    global _heard  # noqa: PLW0603
    _heard = max(_heard, 1)


def _heed(*_: object) -> None:
    global _heard  # noqa: PLW0603
    _heard += 1
    if _heard == 1:
        raise KeyboardInterrupt
    text = "interrupted: it is ending, and writes what had finished; once more ends it at once\n"
    if _heard > 2:
        text = "interrupted: ended at once; what is in the journal is kept\n"
    with suppress(OSError):  # not by `print`, which may be what was interrupted
        os.write(2, text.encode())
    if _heard > 2:
        os._exit(FORCED)


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
