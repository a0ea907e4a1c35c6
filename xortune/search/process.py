"""What a search needs of the process that it runs in: to be alone there, and Ray that works."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xortune.errors import InputError

__all__ = ["alone", "refuse_fork", "uses_ray"]

_only = threading.RLock()
_ray = False
_fork_of_ray = False


@contextmanager
def alone(*, ray: bool = False) -> Iterator[None]:
    """No other thread of this process searches or certifies meanwhile.

    Ray, Tune, the working folder and stdout are those of the whole process.

    Args:
        ray: whether it will need Ray.

    Raises:
        InputError: another thread does, or there can be no Ray here.
    """
    if ray:
        refuse_fork()
    if not _only.acquire(blocking=False):
        raise InputError(
            "another search or certificate is under way in another thread of this process",
            allowed="one at a time in a process",
            fix="wait until it has ended, or begin this one in a process of its own",
        )
    try:
        _send_spawned_main()
        yield
    finally:
        _only.release()


def uses_ray() -> None:
    """Note that this process has been connected to a Ray."""
    global _ray  # noqa: PLW0603
    _ray = True


def refuse_fork() -> None:
    """Return if Ray can be used in this process.

    Raises:
        InputError: it is a fork of one that had used Ray, whose threads it lacks.
    """
    if _fork_of_ray:
        raise InputError(
            "this process was forked from one that had used Ray, and Ray does not work in a fork",
            fix='begin it by `multiprocessing.get_context("spawn")`, or as a command of its own',
        )


def _send_spawned_main() -> None:
    """Functions of the main module reach workers, in a process that was spawned too.

    There that module has a name by which no worker can import it. As of any main module, they
    have to be sent as they are.
    """
    spawned = sys.modules.get("__mp_main__")
    if spawned is not None:
        from ray import cloudpickle

        cloudpickle.register_pickle_by_value(spawned)


def _forked() -> None:
    global _only, _fork_of_ray  # noqa: PLW0603
    _only = threading.RLock()  # a thread that is not here may have held it
    ray = sys.modules.get("ray")
    _fork_of_ray = _fork_of_ray or _ray or (ray is not None and ray.is_initialized())


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)
