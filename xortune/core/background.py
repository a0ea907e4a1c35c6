"""Runs one call in a second process, in the background."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from xortune.core.system import cores

T = TypeVar("T")

# The thread ends the child when its standard input closes, that is, when the parent dies.
_CHILD = """
import importlib, os, pickle, sys, threading
requests = sys.stdin.buffer
sys.path[:] = pickle.load(requests)
call, imports = pickle.load(requests)
for name in imports:
    importlib.import_module(name)
arguments = pickle.load(requests)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
pickle.dump(call(*arguments), sys.stdout.buffer)
"""


@contextmanager
def background_process(
    call: Callable[..., T], *imports: str
) -> Iterator[Callable[..., Callable[[], T | None]]]:
    """A second process that calls a function once; it ends with this context or this process.

    Args:
        call: a function of a module, so that it can be pickled.
        imports: modules that the second process imports at once, while it waits for arguments.

    Yields:
        A function that starts the call with its arguments, and returns a function that waits for
        the result. The result is None if anything failed there, or if this process has one core
        only and started no other: then call the function here, which raises what went wrong.
    """
    process: subprocess.Popen[bytes] | None = None

    def send(*parts: object) -> None:
        if process is not None and process.stdin is not None:
            with suppress(OSError):
                process.stdin.write(b"".join(map(pickle.dumps, parts)))
                process.stdin.flush()

    def start(*arguments: object) -> Callable[[], T | None]:
        send(arguments)
        return result

    def result() -> T | None:
        if process is not None and process.stdout is not None:
            with suppress(Exception):
                value: T = pickle.load(process.stdout)  # noqa: S301  # of our own process
                return value
        return None

    if cores() > 1 and not getattr(sys, "frozen", False):  # frozen: the executable is no Python
        with suppress(OSError):
            process = subprocess.Popen(  # noqa: S603
                # -I: modules come from this process's sys.path alone, which is sent first.
                [sys.executable, "-I", "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches this process alone
            )
    try:
        send(sys.path, (call, imports))
        yield start
    finally:
        if process is not None:
            process.kill()
            process.communicate()  # closes the pipes
