"""Standard output and standard error that never fail a command.

A command's results are its files and its exit code. A terminal that knows few characters, a reader
that goes away and a disk that is full take away what is shown, and nothing else.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
import unicodedata
from typing import Any, TextIO

ASCII = str.maketrans("–—−×", "---x")
"""What stands for a sign that the encoding lacks; for others, their letters without accents."""


class _Guarded(io.FileIO):
    """A descriptor whose writes always succeed; what comes after the first error is dropped."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        while self.error is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.error = error
                break
            if written is not None:
                return written
            select.select((), (self,), ())  # a terminal or pipe that was set not to block
        return memoryview(data).nbytes


def guard_streams() -> None:
    """Put streams that never fail in place of sys.stdout and sys.stderr.

    A descriptor that is closed is opened on the null device first: a file of the run would get its
    number otherwise, and what is printed would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # the lowest free number, which is this one
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    codecs.register_error("xortune.shown", _shown)
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def lost_output() -> str | None:
    """Why what was printed on stdout did not arrive; None if it did, or nobody reads it."""
    error = _stdout_error()
    return None if error is None or nobody_reads() else error.strerror or str(error)


def nobody_reads() -> bool:
    """Whether the reader of stdout has gone away."""
    error = _stdout_error()
    return error is not None and error.errno == errno.EPIPE


def _stdout_error() -> OSError | None:
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _Guarded) else None


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(number, "wb", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="xortune.shown",
        line_buffering=number == 2 or os.isatty(number),
    )


def _shown(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs`: signs that the encoding lacks as ASCII, or as `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(ASCII)
    known = (unicodedata.normalize("NFKD", sign).encode("ascii", "ignore") for sign in text)
    return "".join(sign.decode() or "?" for sign in known), error.end
