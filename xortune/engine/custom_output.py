"""What a user's function prints: to stderr, and of very much only the beginning and the end.

What a worker of Ray's prints is written to a file, and kept: a function that prints a line for each
of its steps would fill the disk.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

__all__ = ["bounded_output"]

HEAD, TAIL = 20_000, 5_000
"""Characters of a pack that are printed at once, and those that are printed when it is trained."""


class _Bounded:
    """A stream that passes on the first characters, and at the end the last ones."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._left = stream, HEAD
        self._tail, self._out = "", 0

    def write(self, text: str) -> int:
        """Print it, or keep its end."""
        now, later = text[: self._left], text[self._left :]
        if now:
            self._left -= len(now)
            self._stream.write(now)
        if later:
            self._out += len(later)
            self._tail = (self._tail + later[-TAIL:])[-TAIL:]
        return len(text)

    def finish(self) -> None:
        """Print the end, after the number of characters before it that are left out."""
        if self._out:
            gap = self._out - len(self._tail)
            note = f"\n... ({gap:,} characters left out) ...\n" if gap else ""
            self._stream.write(note + self._tail)
            self._tail, self._out = "", 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def bounded_output() -> Iterator[None]:
    """What is printed meanwhile goes to stderr: stdout is for our results, which may be JSON."""
    stream = _Bounded(sys.stderr) if sys.stderr is not None else None
    with redirect_stdout(stream), redirect_stderr(stream):
        try:
            yield
        finally:
            if stream is not None:
                with suppress(OSError, ValueError):  # it is closed: nobody reads
                    stream.finish()
