"""The cache of compiled kernels, in the user's cache directory.

Numba reads and writes the files. The directory's name holds a digest of the kernels' sources, so
that code of another version is never loaded. A cache that cannot be read or written costs time
only. If several processes need a kernel at once, one compiles it and the others wait for its file.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gc
import hashlib
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numba import config, typeof
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.runtime import rtsys
from numba.misc.appdirs import AppDirs

from xortune.core.private import load_compiled, use_files

WAIT_SECONDS = 90
"""How long a process waits for another process that compiles."""


@functools.cache
def _digest() -> str:
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def directory() -> Path:
    """Return the cache directory, below NUMBA_CACHE_DIR if that is set."""
    base = config.CACHE_DIR or AppDirs(appname="xortune", appauthor=False).user_cache_dir
    return Path(base) / f"kernels-{_digest()}"


class _Locator:
    """Numba's interface for the place of a function's cache files."""

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator | None:  # noqa: ARG003
        locator = cls()
        try:
            locator.ensure_cache_path()
        except OSError:
            return None
        return locator

    def ensure_cache_path(self) -> None:
        """Make the directory; raise an OSError if it is not writable."""
        directory().mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=directory()).close()

    def get_cache_path(self) -> str:
        return str(directory())

    def get_source_stamp(self) -> str:
        return _digest()

    def get_disambiguator(self) -> str:
        return "1"


class _Implementation(CompileResultCacheImpl):  # type: ignore[misc]  # numba ships no types
    _locator_classes = (_Locator,)


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Numba's own method first imports everything that compiling needs, in 0.3 s; compiled code
        # needs only the runtime.
        rtsys.initialize(target_context)
        try:
            return load_compiled(self, sig, target_context)
        except Exception:  # unpickling a damaged or foreign file can raise anything
            with contextlib.suppress(OSError):
                self.flush()  # a damaged index could not be extended
            return None  # Numba compiles it again

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(OSError, pickle.PickleError):
            super().save_overload(sig, data)


def is_kept() -> bool:
    """Return whether the training kernel of these sources is in the cache."""
    return any(directory().glob("training.train-*.nbc"))


def compiled(dispatcher: Any) -> Callable[..., Any]:
    """Return the function, which at its first call is loaded from the cache or compiled into it."""
    if dispatcher.overloads:
        return dispatcher  # type: ignore[no-any-return]
    return functools.partial(_first_call, dispatcher)


def _first_call(dispatcher: Any, *args: Any) -> Any:
    with _lock():
        if not dispatcher.overloads:
            with contextlib.suppress(RuntimeError):  # no locator has a writable place
                use_files(dispatcher, _Cache(dispatcher.py_func))
            was_enabled = gc.isenabled()
            gc.disable()  # saves a seventh of the time: the compiler makes millions of objects
            try:
                dispatcher.compile(tuple(typeof(arg) for arg in args))
            finally:
                if was_enabled:
                    gc.enable()
    return dispatcher(*args)


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    """Hold the directory's lock; go on without it if it cannot be had."""
    try:
        directory().mkdir(parents=True, exist_ok=True)
        fd = os.open(directory() / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield
        return
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:
                break
        yield
    finally:
        os.close(fd)
