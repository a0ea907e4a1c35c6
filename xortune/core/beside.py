"""Calls a function in another process, while this one goes on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

T = TypeVar("T")

_CHILD = """
import importlib, os, pickle, sys, threading
asked = sys.stdin.buffer
sys.path[:] = pickle.load(asked)
call, imports = pickle.load(asked)
for name in imports:
    importlib.import_module(name)
given = pickle.load(asked)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
pickle.dump(call(*given), sys.stdout.buffer)
"""


@contextmanager
def beside(
    call: Callable[..., T], *imports: str
) -> Iterator[Callable[..., Callable[[], T | None]]]:
    """A process that calls a function of a module once; it ends with this context or process.

    Args:
        call: the function.
        imports: modules that it imports, which that process does at once.

    Yields:
        Begins the call, with what the function is given. What it returns waits for what the
        function returns; None if anything fails there, or nothing is gained by another process:
        whoever needs the result calls the function here, and hears why.
    """
    process: subprocess.Popen[bytes] | None = None

    def send(*parts: object) -> None:
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.write(b"".join(map(pickle.dumps, parts)))
                process.stdin.flush()

    def begin(*given: object) -> Callable[[], T | None]:
        send(given)
        return result

    def result() -> T | None:
        if process is not None and process.stdout is not None:
            with suppress(Exception):
                found: T = pickle.load(process.stdout)  # noqa: S301  # of our own process
                return found
        return None

    alone = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2
    if not alone and not getattr(sys, "frozen", False):  # else the executable is no Python
        with suppress(OSError):
            process = subprocess.Popen(  # noqa: S603
                # Isolated: it imports from where this process does, and from no other folder.
                [sys.executable, "-I", "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is heard by this process alone
            )
    try:
        send(sys.path, (call, imports))
        yield begin
    finally:
        if process is not None:
            process.kill()
            process.communicate()  # closes what was open
