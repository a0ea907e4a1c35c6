"""What Ray, Tune and Optuna change in a process, put back when a call that uses them is over."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["as_before", "environment_kept", "ray_settings"]


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
