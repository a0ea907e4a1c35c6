"""Forks of this process: those that the user's code makes, and our own, which work beside it.

The user's code may fork, and its child may return from it. The child ends there: otherwise two
processes would go on with the same work, and fork again at the next seed.

    with working_beside(train, 29, forks=3) as finish:
        ...                                # meanwhile, here
        results = finish()                 # {number: train(number)}, for numbers below 29
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from xortune.core.system import threads_besides


def end_fork_of(process: int) -> None:
    """End this process if it is a fork of `process`, without any exit handler."""
    if os.getpid() != process:
        os._exit(0)


@contextmanager
def ending_forks() -> Iterator[None]:
    """Call the user's code within this context: a fork that comes out of it ends."""
    process = os.getpid()
    try:
        yield
    finally:
        end_fork_of(process)


@contextmanager
def working_beside(
    work: Callable[[int], Any], count: int, forks: int
) -> Iterator[Callable[[], dict[int, Any]]]:
    """Forks of this process call `work` with each of the numbers below `count`, beside it.

    What `work` changes in a fork is not changed here. On exit the forks have ended.

    Args:
        work: called once with each number, here or in a fork.
        count: at most 256.
        forks: how many, at most; none if threads run beside this one, for which a fork could wait.

    Yields:
        A function that calls `work` here with the numbers that no fork has begun, and waits for the
        others. It returns the results, by the number; none of a fork that has failed, or whose
        result cannot be pickled.
    """
    numbers, given = os.pipe()
    os.write(given, bytes(range(count)))
    os.close(given)
    results: dict[int, int] = {}  # the ends of pipes, by the process id

    def worked() -> Iterator[tuple[int, Any]]:
        while number := os.read(numbers, 1):  # each byte is read by one process
            yield number[0], work(number[0])

    def finish() -> dict[int, Any]:
        found = dict(worked())
        for end in results.values():
            with open(end, "rb", closefd=False) as stream, suppress(Exception):
                while True:
                    found.update([pickle.load(stream)])  # noqa: S301  # from our own fork
        return found

    try:
        for _ in range(min(forks, count) if threads_besides() == 0 else 0):
            _flush()
            end, sends = os.pipe()
            try:
                process = os.fork()
            except OSError:  # the system has no room for it: fewer do the work
                process = -1
            if process == 0:
                _send(worked(), sends)
            os.close(sends)
            if process < 0:
                os.close(end)
                break
            results[process] = end
        yield finish
    finally:
        os.close(numbers)
        for process, end in results.items():
            os.close(end)
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def _send(results: Iterator[tuple[int, Any]], sends: int) -> None:
    """Send the results of a fork, and end it."""
    try:
        with open(sends, "wb") as stream:
            for result in results:
                with suppress(Exception):
                    stream.write(pickle.dumps(result))
                    stream.flush()  # what comes next may end the fork
            _flush()  # before the stream is closed: then the fork may be killed
    finally:
        os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # there is none, or nobody reads it
            stream.flush()
