"""The state of this process that verbs use and restore: signals, environment, loggers, Ray."""

from __future__ import annotations

import gc
import logging
import os
import signal as signals
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from signal import SIG_IGN, SIGINT, SIGTERM, getsignal, raise_signal, signal
from typing import Any

import cloudpickle

from xortune.core.errors import InputError
from xortune.core.forks import ending_forks

# -------------------------------------------------------------------------------------------------
# One search at a time in a process, and none on Ray in a fork of a process that has used Ray.

_search_lock = threading.RLock()
_has_used_ray = False
_is_fork_of_ray = False


@contextmanager
def exclusive(*, ray: bool = False) -> Iterator[None]:
    """Let no other thread of this process search or certify.

    Threads share Ray, Tune, the working folder and stdout. A fork that comes out of this context
    ends: the command goes on in the process that began it.

    Args:
        ray: whether the caller will need Ray.

    Raises:
        InputError: another thread searches or certifies, or Ray cannot work here.
    """
    if ray:
        refuse_fork()
    if not _search_lock.acquire(blocking=False):
        raise InputError(
            "another search or certificate is under way in another thread of this process",
            allowed="one at a time in a process",
            fix="wait until it has ended, or start this one in another process",
        )
    try:
        # In a spawned process the main module has a name that workers cannot import. By value its
        # functions reach them.
        spawned = sys.modules.get("__mp_main__")
        if spawned is not None and spawned.__name__ == "__mp_main__":
            cloudpickle.register_pickle_by_value(spawned)
        # A finished run of Ray Tune leaves a handler that swallows the next Ctrl-C.
        is_rays = str(getattr(getsignal(SIGINT), "__module__", "")).startswith("ray.")
        handled = _handling_ctrl_c(signals.default_int_handler) if is_rays else nullcontext()
        with handled, ending_forks():
            yield
    finally:
        _search_lock.release()


@contextmanager
def _handling_ctrl_c(handler: Any) -> Iterator[None]:
    """Replace the handler of Ctrl-C, if this thread and Python can restore it."""
    before = getsignal(SIGINT)
    if not _in_main_thread() or not callable(before):
        yield
        return
    signal(SIGINT, handler)
    try:
        yield
    finally:
        signal(SIGINT, before)


def note_ray() -> None:
    """Note that this process has been connected to a Ray."""
    global _has_used_ray  # noqa: PLW0603
    _has_used_ray = True


def is_connected() -> bool:
    """Whether this process is connected to a Ray. Does not import Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def refuse_fork() -> None:
    """Raise an InputError in a fork of a process that had used Ray: it lacks Ray's threads."""
    if _is_fork_of_ray:
        raise InputError(
            "this process was forked from one that had used Ray, and Ray does not work in a fork",
            fix='start it with `multiprocessing.get_context("spawn")`, or as a separate command',
        )


def _after_fork() -> None:
    global _search_lock, _is_fork_of_ray  # noqa: PLW0603
    _search_lock = threading.RLock()  # a thread that the fork lacks may have held it
    _is_fork_of_ray = _is_fork_of_ray or _has_used_ray or is_connected()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


# -------------------------------------------------------------------------------------------------
# Ray, Tune and Optuna change the process; these contexts restore it.

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # no C++ stack trace when somebody ends the process
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # xortune shows failures, and the journal has them
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # they write files for each trial
    "RAY_AIR_NEW_OUTPUT": "0",  # the newer reporter prints even when silent
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a function may read files of the working folder
    "TUNE_WARN_THRESHOLD_S": "60",  # no warnings about our settings
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # a search resumes from its journal
}
"""Environment variables of Ray and Tune."""


@contextmanager
def environment_kept() -> Iterator[None]:
    """Restore `os.environ` on exit: Ray and Tune leave a dozen variables in it.

    Whether Ray's processes ask each other for a token stays: it stays in this process too, and a
    cluster that this process starts later is to agree.
    """
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys() - {"RAY_AUTH_MODE"}:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def ray_settings() -> Iterator[None]:
    """Set `SETTINGS`, except those that the user has set, until exit.

    Ray and Tune read some when they are imported: import them first inside this context.
    """
    with environment_kept():
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        yield


@contextmanager
def levels_kept() -> Iterator[None]:
    """Restore the levels of loggers on exit: with Tune's levels other runs would not log."""
    levels = {name: logging.getLogger(name).level for name in logging.root.manager.loggerDict}
    try:
        yield
    finally:
        for name, level in levels.items():
            if (logger := logging.getLogger(name)).level != level:  # `setLevel` is slow
                logger.setLevel(level)


@contextmanager
def process_restored() -> Iterator[None]:
    """Restore `os.environ`, the levels of loggers, signal handlers and `sys.excepthook` on exit.

    Otherwise Ray's handler would end the process silently at a SIGTERM, and its hook would hide
    errors. Inside, the garbage collector runs less often.
    """
    hook = sys.excepthook
    with environment_kept(), _rare_collections():
        import optuna  # noqa: F401  # creates its logger

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
"""Minimum number of new objects between two garbage collections; Python's default is 700."""


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Collect garbage less often, and only among objects created inside.

    A search keeps its objects: scanning them took a quarter of a driver's time.
    """
    before, freezes = gc.get_threshold(), gc.get_freeze_count() == 0
    if freezes:
        gc.freeze()
    gc.set_threshold(max(before[0], COLLECT_AFTER), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if freezes:
            gc.unfreeze()


def _handlers() -> dict[signals.Signals, Any]:
    """The signal handlers that Ray and Tune replace, if this thread can restore them."""
    if not _in_main_thread():
        return {}
    names = ("SIGINT", "SIGTERM", "SIGUSR1")
    known = signals.Signals.__members__  # Windows lacks some
    handlers = {known[name]: getsignal(known[name]) for name in names if name in known}
    # None is a handler that C code has set: Python cannot restore it.
    return {number: handler for number, handler in handlers.items() if handler is not None}


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


# -------------------------------------------------------------------------------------------------
# Ctrl-C, SIGTERM and SIGHUP. The first ends a command in order: finished results are kept, tables
# are written, Ray is shut down, exit code 3. The second only prints a message, as it would break
# that off. The third ends the process at once. Once a command says how it ended, none changes that.

FORCED = 130
"""The exit code of a command that a third signal ends, as that of a shell after Ctrl-C."""

PATIENCE = 1.0
"""Seconds after which a further signal ends a command that has settled: nobody reads its output."""

_interrupts = 0
"""How many signals have arrived: a signal handler has no other memory."""

_terminated_by = ""
"""The name of the first of them, if it was no Ctrl-C."""

_settled = False
"""Whether the command has begun to say how it ended."""

_late: float | None = None
"""`time.monotonic` of the first signal after that."""


def handle_signals() -> None:
    """Set the signal handlers of a command."""
    global _interrupts, _settled, _late, _terminated_by
    _interrupts, _settled, _late, _terminated_by = 0, False, None, ""
    signal(SIGINT, _interrupt)
    for name in ("SIGTERM", "SIGHUP"):  # Windows lacks SIGHUP
        number = getattr(signals, name, None)
        if number is not None and getsignal(number) is not SIG_IGN:  # `nohup` ignores SIGHUP
            signal(number, _terminate)


def ending(by: str = "") -> str:
    """What a signal did, in words: `interrupted` and by whom, or `terminated (SIGTERM)`."""
    return f"terminated ({_terminated_by})" if _terminated_by else f"interrupted{by}"


def settle() -> None:
    """The command has ended, and says how: no signal changes its exit code from here on."""
    global _settled  # noqa: PLW0603
    _settled = True


def end_with(code: int) -> None:
    """All is said: a signal from here on ends the process at once, with its own exit code.

    While Python takes the process apart, signals are ignored.
    """
    _handle_all(lambda *_: os._exit(code))


def ignore_signals() -> None:
    """Ignore the signals that end a command: for the last exit function of a process.

    Python restores their default, which would end the process by the signal.
    """
    _handle_all(SIG_IGN)


def _handle_all(handler: Any) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if (number := signals.Signals.__members__.get(name)) is not None:
            signal(number, handler)


def is_interrupted() -> bool:
    """Whether a signal has arrived since the command began."""
    return _interrupts > 0 and getsignal(SIGINT) is _interrupt


def raise_lost_interrupt() -> None:
    """Raise the first signal again, if it has been lost and the command goes on.

    Some packages catch every exception while they are imported. Who waits for trainings calls this.

    Raises:
        KeyboardInterrupt: a signal has arrived.
    """
    if is_interrupted():
        raise KeyboardInterrupt


def _terminate(number: int, _: object) -> None:
    """End the command as Ctrl-C does, and remember that the user did not interrupt it."""
    _note_terminated(number)
    raise_signal(SIGINT)


def _note_terminated(number: int) -> None:
    global _terminated_by  # noqa: PLW0603
    if not (_interrupts or _terminated_by):
        _terminated_by = signals.Signals(number).name


def _interrupt(*_: object) -> None:
    global _interrupts, _late  # noqa: PLW0603
    if _settled:
        _late = _late or time.monotonic()
        if time.monotonic() > _late + PATIENCE:
            os._exit(FORCED)
        return
    _interrupts += 1
    if _interrupts == 1:
        raise KeyboardInterrupt
    text = "ending, after finished results are written; interrupt again to end at once"
    if _interrupts > 2:
        text = "ended at once; what is in the journal is kept"
    with suppress(OSError):  # not `print`: the signal may have interrupted one
        os.write(2, f"{ending()}: {text}\n".encode())
    if _interrupts > 2:
        os._exit(FORCED)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C to the end of this, so that arrived results go to the journal whole."""
    delayed: list[int] = []
    with _handling_ctrl_c(lambda number, _: delayed.append(number)):
        yield
    _raise_all(delayed)


def _raise_all(delayed: Sequence[int]) -> None:
    """Raise signals, of which the first may raise an exception: the others are heard too."""
    if delayed:
        try:
            raise_signal(delayed[0])
        finally:
            _raise_all(delayed[1:])


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM on exit, if Python code had set one.

    Ray sets its own when it starts, which raises SystemExit. A SIGTERM that arrives meanwhile
    raises KeyboardInterrupt here, as our handler would.

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
        if before is _terminate:
            _note_terminated(SIGTERM)
        raise KeyboardInterrupt from None
    finally:
        signal(SIGTERM, before)
