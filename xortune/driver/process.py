"""What a search needs of the process it runs in, and how it leaves it: signals, environment."""

from __future__ import annotations

import gc
import logging
import os
import signal as signals
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal, raise_signal, signal
from typing import Any

from xortune.core.errors import InputError

# -------------------------------------------------------------------------------------------------
# A search is alone in its process, and Ray works there.

_only = threading.RLock()
_ray = False
_fork_of_ray = False


@contextmanager
def exclusive(*, ray: bool = False) -> Iterator[None]:
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
            fix="wait until it has ended, or start this one in another process",
        )
    try:
        # Functions of the main module reach workers, in a process that was spawned too: there that
        # module has a name by which no worker can import it.
        spawned = sys.modules.get("__mp_main__")
        if spawned is not None and spawned.__name__ == "__mp_main__":
            cloudpickle().register_pickle_by_value(spawned)
        with _ctrl_c():
            yield
    finally:
        _only.release()


@contextmanager
def _ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts this, although a run of Ray Tune came before.

    Tune leaves the handler of a run that has ended, which swallows the next Ctrl-C.
    """
    before = getsignal(SIGINT)
    if not _in_main_thread() or not str(getattr(before, "__module__", "")).startswith("ray."):
        yield
        return
    signal(SIGINT, signals.default_int_handler)
    try:
        yield
    finally:
        signal(SIGINT, before)


def note_ray() -> None:
    """Note that this process has been connected to a Ray."""
    global _ray  # noqa: PLW0603
    _ray = True


def is_connected() -> bool:
    """Whether this process is connected to a Ray; without importing it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def refuse_fork() -> None:
    """Return if Ray can be used in this process.

    Raises:
        InputError: it is a fork of one that had used Ray, whose threads it lacks.
    """
    if _fork_of_ray:
        raise InputError(
            "this process was forked from one that had used Ray, and Ray does not work in a fork",
            fix='start it with `multiprocessing.get_context("spawn")`, or as a separate command',
        )


def _forked() -> None:
    global _only, _fork_of_ray  # noqa: PLW0603
    _only = threading.RLock()  # a thread that is not here may have held it
    _fork_of_ray = _fork_of_ray or _ray or is_connected()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forked)


# -------------------------------------------------------------------------------------------------
# What Ray, Tune and Optuna change in a process, put back when a call that uses them is over.

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # no stack of Ray's own C++ when somebody ends it
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # failures are in the journal, and shown by us
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
    """Ray and Tune as a search wants them, but for what the user has set.

    They read some of it when they are imported: whoever imports Ray does so in here first.
    """
    with environment_kept():
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        yield


def cloudpickle() -> Any:
    """Ray's module for pickling functions."""
    with ray_settings():
        from ray import cloudpickle as module
    return module


@contextmanager
def levels_kept() -> Iterator[None]:
    """Afterwards loggers have their levels again: Tune would keep other runs from logging."""
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    try:
        yield
    finally:
        for name, level in levels.items():
            if (logger := logging.getLogger(name)).level != level:  # setting it takes a while
                logger.setLevel(level)


@contextmanager
def process_restored() -> Iterator[None]:
    """Afterwards the process is the caller's, as it was.

    That is `os.environ`, the levels of loggers, signal handlers and `sys.excepthook`. Else Ray's
    handler would end the process at a SIGTERM without a word, and failures of Ray would go unheard.
    Garbage is looked for more rarely.
    """
    hook = sys.excepthook
    with environment_kept(), _rare_collections():
        import optuna  # noqa: F401  # so that its logger is there

        handlers = _handlers()
        try:
            with levels_kept():
                yield
        finally:
            sys.excepthook = hook
            for number, handler in handlers.items():
                if getsignal(number) is not handler:
                    signal(number, handler)


COLLECT_AFTER = 10_000
"""So many new objects at least between two looks for garbage; Python's own are 700."""


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Garbage is looked for among what is made from here on only, and less often.

    A search keeps what it makes: looking through it took a quarter of a driver's time.
    """
    before, own = gc.get_threshold(), gc.get_freeze_count() == 0
    if own:
        gc.freeze()
    gc.set_threshold(max(before[0], COLLECT_AFTER), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if own:
            gc.unfreeze()


def _handlers() -> dict[signals.Signals, Any]:
    """The handlers that Ray and Tune replace, as far as this thread may put them back."""
    if not _in_main_thread():
        return {}
    names = ("SIGINT", "SIGTERM", "SIGUSR1")  # Windows has not all of them
    known = signals.Signals.__members__
    found = {known[name]: getsignal(known[name]) for name in names if name in known}
    # One that is None was not made by Python, and cannot be put back by it.
    return {number: handler for number, handler in found.items() if handler is not None}


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# -------------------------------------------------------------------------------------------------
# What Ctrl-C, SIGTERM and SIGHUP do. A command has one way out: the first of them ends it in order
# (what had finished is kept, tables are written, Ray is shut down, exit code 3); a second one, that
# would tear that apart, is only answered; a third ends the process at once.

FORCED = 130
"""The exit code of a command that is ended at once, as that of a shell after Ctrl-C."""

_heard = 0


def handle_signals() -> None:
    """From now on this process ends as a command does."""
    global _heard  # noqa: PLW0603  # a signal has no other way to what came before it
    _heard = 0
    signal(SIGINT, _heed)
    for name in ("SIGTERM", "SIGHUP"):  # Windows has not both
        number = getattr(signals, name, None)
        if number is not None and getsignal(number) is not SIG_IGN:  # as `nohup` has it
            signal(number, lambda *_: raise_signal(SIGINT))


def mark_interrupted() -> None:
    """Take it that the first signal has been heard, or that the command is at its end anyway."""
    global _heard  # noqa: PLW0603
    _heard = max(_heard, 1)


def _heed(*_: object) -> None:
    global _heard  # noqa: PLW0603
    _heard += 1
    if _heard == 1:
        raise KeyboardInterrupt
    text = "interrupted: it is ending, and writes what had finished; once more ends it at once\n"
    if _heard > 2:
        text = "interrupted: ended at once; what is in the journal is kept\n"
    with suppress(OSError):  # not by `print`, which may be what was interrupted
        os.write(2, text.encode())
    if _heard > 2:
        os._exit(FORCED)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for the end of this: results that have arrived go to the journal whole."""
    before = getsignal(SIGINT)
    if not _in_main_thread() or not callable(before):
        yield
        return
    heard: list[int] = []
    signal(SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        signal(SIGINT, before)
    for number in heard:
        raise_signal(number)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """SIGTERM does afterwards what it did before, if that was anything but to end the process.

    Ray, when it is started, puts its own handler there, which exits without a word. One that gets
    a SIGTERM by then makes what ours would have made of it.

    Raises:
        KeyboardInterrupt: SIGTERM came while Ray was starting.
    """
    before = getsignal(SIGTERM)
    if not _in_main_thread() or not callable(before):
        yield
        return
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal(SIGTERM, before)
