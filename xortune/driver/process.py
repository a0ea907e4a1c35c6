"""What a search needs of the process it runs in, and how it leaves it: signals, environment."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from xortune.core.errors import InputError

# -------------------------------------------------------------------------------------------------
# What a search needs of the process that it runs in: to be alone there, and Ray that works.

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


# -------------------------------------------------------------------------------------------------
# What Ray, Tune and Optuna change in a process, put back when a call that uses them is over.

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # no stack of Ray's own C++ when somebody ends it
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # which write files for each trial
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer reporter prints even when silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a function may read files where it was
    "TUNE_WARN_THRESHOLD_S": "60",  # no word about settings that are ours
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # resuming is the journal's work
}
"""What Ray and Tune read from the environment."""


@contextmanager
def environment_kept() -> Iterator[None]:
    """Afterwards `os.environ` is as it was: Ray and Tune leave a dozen variables in it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def ray_settings() -> Iterator[None]:
    """Ray and Tune as a search wants them, but for what the user has set."""
    with environment_kept():
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        yield


@contextmanager
def as_before() -> Iterator[None]:
    """Afterwards the process is the caller's, as it was.

    That is `os.environ`, the levels of loggers, signal handlers and `sys.excepthook`. Else Tune
    would keep the caller's own runs from logging, Ray's handler would end the process at a SIGTERM
    without a word, and failures of Ray would go unheard.
    """
    hook = sys.excepthook
    with environment_kept():
        import optuna  # noqa: F401  # so that their loggers are there

        with ray_settings():
            import ray.tune  # noqa: F401

        levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
        handlers = _handlers()
        try:
            yield
        finally:
            sys.excepthook = hook
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
            for number, handler in handlers.items():
                if signal.getsignal(number) is not handler:
                    signal.signal(number, handler)


def _handlers() -> dict[signal.Signals, Any]:
    """What Ray and Tune put their own in the place of, as far as this thread may put it back."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    names = ("SIGINT", "SIGTERM", "SIGUSR1")  # Windows has not all of them
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    found = {number: signal.getsignal(number) for number in numbers}
    # One that is None was not made by Python, and cannot be put back by it.
    return {number: handler for number, handler in found.items() if handler is not None}
