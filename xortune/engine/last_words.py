"""What is still said when a user's code ends the whole process: `os._exit`, a crash in C.

Nothing within the process can say it then. So another one waits for the end of a pipe.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["last_words"]

_WAITS = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
if sys.stdin.buffer.read(5) != b"lives":
    sys.stderr.buffer.write(bytes.fromhex(sys.argv[1]))
"""


@contextmanager
def last_words(text: str) -> Iterator[None]:
    """Say this on stderr if the process ends meanwhile, but not if it is left in any other way."""
    line = (text + "\n").encode("utf-8", "backslashreplace").hex()
    words = [sys.executable, "-I", "-S", "-c", _WAITS, line]
    waits = subprocess.Popen(words, stdin=subprocess.PIPE)  # noqa: S603  # our own
    assert waits.stdin is not None
    try:
        yield
    finally:
        # What the code has forked may hold the pipe open: its end is not what is waited for.
        with suppress(OSError):
            waits.stdin.write(b"lives")
        with suppress(OSError):
            waits.stdin.close()
        waits.wait()
