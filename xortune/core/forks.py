"""Forks of this process that the user's code makes.

The user's code may fork, and its child may return from it. The child ends there: otherwise two
processes would go on with the same work, and fork again at the next seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
