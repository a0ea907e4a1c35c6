"""Calls a function in another process, while this one goes on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, TypeVar

T = TypeVar("T")

_CHILD = """
import os, pickle, sys, threading, time
parent, sys.path[:] = pickle.load(sys.stdin.buffer)

def watch():
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)

threading.Thread(target=watch, daemon=True).start()
call, given = pickle.load(sys.stdin.buffer)
pickle.dump(call(*given), sys.stdout.buffer)
"""


@contextmanager
def beside(call: Callable[..., T], *given: object) -> Iterator[Callable[[], T | None]]:
    """Call a function of a module in another process, which ends with this context or process.

    Yields:
        Waits for what the function returns; None if anything fails there, or nothing is gained by
        another process: whoever needs the result calls the function here, and hears why.
    """
    answer: IO[bytes] | None = None
    alone = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2
    with ExitStack() as stack:
        if not alone and not getattr(sys, "frozen", False):  # else the executable is no Python
            with suppress(OSError):
                asked = stack.enter_context(tempfile.TemporaryFile())
                pickle.dump((os.getpid(), sys.path), asked)
                pickle.dump((call, given), asked)
                asked.seek(0)
                process = subprocess.Popen(  # noqa: S603
                    # Isolated: it imports from where this process does, and from no other folder.
                    [sys.executable, "-I", "-c", _CHILD],
                    stdin=asked,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is heard by this process alone
                )
                stack.enter_context(process)
                stack.callback(process.kill)
                answer = process.stdout

        def result() -> T | None:
            if answer is not None:
                with suppress(Exception):
                    found: T = pickle.load(answer)  # noqa: S301  # of our own process
                    return found
            return None

        yield result
