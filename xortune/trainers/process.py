"""One run of a command: its exit, the end of what it printed, and nothing of it left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from xortune.trainers.group import Keeper, end
from xortune.trainers.limits import THREADS

KEPT = 4_000
"""Bytes that are kept of what a command printed, on stdout and stderr together: the last ones."""

LINE = 65_536
"""Bytes that are kept of stdout, for its last line."""

CHUNK, FULL = 65_536, 16
"""Bytes that are read at once; a pipe holds one such piece, and this many at most."""

LOOK = 0.02
"""Seconds between two looks whether it has ended, where the system cannot tell."""

_KEEPER = Keeper()


@dataclass(frozen=True)
class Ran:
    """What came of a command.

    Attributes:
        code: its exit code; negative: the signal that ended it; None if it never began, or was
            stopped at its time limit.
        problem: why it never began, or was stopped.
        stdout: the end of it, at most `LINE` bytes.
        stderr: likewise.
        output: the end of both, in the order in which they came, at most `KEPT` bytes.
        whole: whether `stdout` is all of it.
    """

    code: int | None
    problem: str | None = None
    stdout: bytes = b""
    stderr: bytes = b""
    output: bytes = b""
    whole: bool = True


class _Tail:
    """The last bytes of what comes in pieces."""

    def __init__(self, most: int) -> None:
        self._most, self.whole = most, True
        self._kept = bytearray()

    def take(self, chunk: bytes) -> None:
        self._kept += chunk
        if len(self._kept) > self._most:
            del self._kept[: -self._most]
            self.whole = False

    @property
    def kept(self) -> bytes:
        return bytes(self._kept)


def ran(argv: Sequence[str], folder: Path, limit: float | None, threads: int = 1) -> Ran:
    """Run a command to its end, or to its time limit; then whatever it started is killed.

    It has no input, this process's environment with two variables more, and a session of its own: a
    Ctrl-C is not for it.

    Args:
        argv: its words.
        folder: its working directory.
        limit: seconds; None for any time.
        threads: that it may use, as OMP_NUM_THREADS.
    """
    mark = _KEEPER.coming()
    process = None
    try:
        process = subprocess.Popen(  # noqa: S603  # what the user's space file says
            argv,
            cwd=folder,
            env={**os.environ, THREADS: str(threads), **mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in a word
        reason = getattr(error, "strerror", None) or str(error)
        return Ran(None, f"cannot be started: {argv[0]!r}: {reason}")
    finally:
        _KEEPER.came(None if process is None else process.pid)
    with process:
        reader = _Reader(process)
        ended = False
        try:
            ended = reader.read(limit)
        finally:
            # Its number stays its own until it is waited for, so nobody else is killed.
            end(process.pid, session=not ended)
            reader.drain()
            if ended and not reader.closed:  # somebody outside its group holds its pipes still
                end(process.pid, session=True)
                reader.drain()
            _KEEPER.ends(process.pid)
            reader.close()
    # On leaving `with` it has been waited for.
    problem = None if ended else f"took longer than {limit:g} s"
    return Ran(
        process.returncode if ended else None,
        problem,
        reader.out.kept,
        reader.err.kept,
        reader.both.kept,
        reader.out.whole,
    )


class _Reader:
    """Reads both pipes of a process as something comes, and sees it end."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.out, self.err, self.both = _Tail(LINE), _Tail(LINE), _Tail(KEPT)
        self._selector = selectors.DefaultSelector()
        assert process.stdout is not None
        assert process.stderr is not None
        self._open: dict[IO[bytes], _Tail] = {process.stdout: self.out, process.stderr: self.err}
        for pipe in self._open:
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, pipe)
        self._handle = _handle_of(process.pid)
        if self._handle is not None:
            self._selector.register(self._handle, selectors.EVENT_READ)

    @property
    def closed(self) -> bool:
        """Whether nobody holds the other end of either pipe any more."""
        return not self._open

    def read(self, limit: float | None) -> bool:
        """Read until the process has ended; False if it has not within so many seconds."""
        over = None if limit is None else time.monotonic() + limit
        while True:
            left = None if over is None else over - time.monotonic()
            if left is not None and left <= 0:
                return False
            for key, _ in self._selector.select(self._patience(left)):
                if key.data is None:  # the process itself
                    return True
                self._take(key.data)
            if self._handle is None and self._has_ended():
                return True

    def drain(self) -> None:
        """Take what is in the pipes, and no more: somebody may write without an end."""
        for pipe in list(self._open):
            for _ in range(FULL):
                if pipe not in self._open or not self._take(pipe):
                    break

    def close(self) -> None:
        """Let go of everything but the pipes, which are the process's."""
        self._selector.close()
        if self._handle is not None:
            os.close(self._handle)

    def _patience(self, left: float | None) -> float | None:
        if self._handle is not None:
            return left
        return LOOK if left is None else min(left, LOOK)

    def _has_ended(self) -> bool:
        """Whether it has, without waiting for it: its number stays its own."""
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def _take(self, pipe: IO[bytes]) -> bool:
        """Take a piece; whether there was one."""
        try:
            chunk = os.read(pipe.fileno(), CHUNK)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(pipe)
            del self._open[pipe]
            return False
        self._open[pipe].take(chunk)
        self.both.take(chunk)
        return True


def _handle_of(process: int) -> int | None:
    """A file that can be read when a process has ended; None where there is no such thing."""
    try:
        return os.pidfd_open(process)
    except (AttributeError, OSError):
        return None


def signal_of(code: int) -> str:
    """The name of the signal that ended a process, by its negative exit code."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
