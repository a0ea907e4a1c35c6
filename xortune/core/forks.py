"""Forks of this process: those that the user's code makes, and our own, which work beside it.

The user's code may fork, and its child may return from it. The child ends there: otherwise two
processes would go on with the same work, and fork again at the next seed.

    with working_beside(train, 29, forks=3) as finish:
        ...                                # meanwhile, here
        results = finish()                 # {number: train(number)}, for numbers below 29
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from xortune.core.system import threads_besides

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


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
    import multiprocessing  # slow to import

    numbers, given = os.pipe()
    os.write(given, bytes(range(count)))
    os.close(given)
    context = multiprocessing.get_context("fork")
    started: list[tuple[Any, Connection]] = []

    def worked() -> Iterator[tuple[int, Any]]:
        while number := os.read(numbers, 1):  # each byte is read by one process
            yield number[0], work(number[0])

    def send(end: Connection) -> None:
        with suppress(Exception):  # what has come until then is sent
            for found in worked():
                with suppress(Exception):
                    end.send(found)

    def finish() -> dict[int, Any]:
        found = dict(worked())
        for _, end in started:
            with suppress(Exception):  # at the end of what it has sent
                while True:
                    found.update([end.recv()])
        return found

    try:
        for _ in range(min(forks, count) if threads_besides() == 0 else 0):
            end, sends = context.Pipe(duplex=False)
            with sends, suppress(OSError):  # without room for it fewer do the work
                fork = context.Process(target=send, args=(sends,))
                fork.start()
                started.append((fork, end))
        yield finish
    finally:
        os.close(numbers)
        for fork, end in started:
            end.close()
            fork.kill()
            fork.join()
