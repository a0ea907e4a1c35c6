"""Ends a command with all that it has started; also when the process that started it is killed.

A worker may be killed at any moment (a time limit of the search, an interrupted driver), and what
it has started would live on. So each process that runs commands has a keeper: a process of its own,
which knows what runs, and ends it when its pipe is closed because nobody is left to write to it.

The keeper runs this file by itself, without xortune: it imports what Python has, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "XORTUNE_COMMAND"
"""A variable in the environment of each command, by which its keeper knows it."""

ROUNDS = 20
"""So often the members of a session are looked for again: they may start others meanwhile."""


def end(leader: int, *, session: bool) -> None:
    """Kill a process group, which must be there or have a leader that nobody has waited for.

    Args:
        leader: its number, which is that of the process that began it and its session.
        session: whether also to look for those who have made process groups of their own in it, as
            `timeout` and shells do.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for _ in range(ROUNDS if session else 0):
        found = members(leader)
        if not found:
            break
        for process in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)


def members(session: int) -> list[int]:
    """Processes of a session that live; none where there is no /proc to look at."""
    found = []
    for process in _processes():
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                # After the name, which may hold anything: state, parent, group, session.
                state, _, _, its, *_ = file.read().rpartition(b")")[2].split()
        except (OSError, ValueError):
            continue  # it has just ended
        if int(its) == session and state not in (b"Z", b"X"):
            found.append(process)
    return found


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def marked(mark: bytes) -> list[int]:
    """Leaders of sessions with this mark in their environment; none where there is no /proc."""
    found = []
    for process in _processes():
        with contextlib.suppress(OSError):  # it has just ended, or is somebody else's
            with open(f"/proc/{process}/environ", "rb") as file:
                has_it = f"{MARK}=".encode() + mark in file.read().split(b"\0")
            if has_it and os.getsid(process) == process:
                found.append(process)
    return found


class Keeper:
    """Tells the keeper of this process what runs; it is started with the first command.

    What runs is written into a file that both have open, which wakes nobody. The pipe is for one
    thing only: it is closed when this process is no more.

    Between the start of a command and the line that names it this process may be killed, too. So
    the file also says that one is coming, and what is coming has a mark in its environment. It has
    that before the pipe is closed: up to its exec a child holds the pipe open with its parent.
    """

    def __init__(self) -> None:
        self._pipe = self._file = -1
        self._owner = 0
        self._living: set[int] = set()
        self._coming = 0
        self._mark = ""
        self._lock = threading.Lock()

    def popen(
        self, argv: Sequence[str], env: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a process as the leader of a session, which ends when this process does.

        Args:
            argv: its words.
            env: its environment.
            options: of `subprocess.Popen`.

        Raises:
            OSError: it cannot be started.
            ValueError: a NUL in a word.
        """
        with self._lock:
            if self._owner != os.getpid():  # the first time, or after a fork
                self._start()
            self._coming += 1
            self._note()
        leader: set[int] = set()
        try:
            process = subprocess.Popen(  # noqa: S603  # what the user asked for
                argv,
                env={**env, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **options,
            )
            leader.add(process.pid)
            return process
        finally:
            with self._lock:
                self._coming -= 1
                self._living |= leader
                self._note()

    @property
    def living(self) -> frozenset[int]:
        """Leaders of what runs."""
        with self._lock:
            return frozenset(self._living) if self._owner == os.getpid() else frozenset()

    def ends(self, leader: int) -> None:
        """It has come to an end; to be said before the leader is waited for."""
        with self._lock:
            self._living.discard(leader)
            self._note()

    def _note(self) -> None:
        line = " ".join([self._mark] * bool(self._coming) + [str(one) for one in self._living])
        os.pwrite(self._file, f"{line}\n".encode(), 0)

    def _start(self) -> None:
        for old in (self._pipe, self._file):
            if old >= 0:
                os.close(old)
        self._living.clear()
        self._coming, self._mark = 0, f"mark-{os.urandom(16).hex()}"
        read, self._pipe = os.pipe()
        with tempfile.TemporaryFile() as file:
            self._file = os.dup(file.fileno())
        try:
            # Isolated, without site: it starts in some milliseconds. It forks and goes.
            subprocess.run(  # noqa: S603
                [sys.executable, "-I", "-S", __file__],
                stdin=read,
                stdout=self._file,
                stderr=subprocess.DEVNULL,  # somebody may wait for the end of ours
                cwd="/",
                start_new_session=True,  # what is sent to our terminal's group is not for it
                check=True,
            )
        finally:
            os.close(read)
        self._owner = os.getpid()


KEEPER = Keeper()
"""Of this process."""


def _keep() -> None:
    """Wait until stdin is closed; then end what the file that is stdout says is left."""
    if os.fork():
        os._exit(0)  # so that it is no child of the worker's: Ray kills those with it
    while os.read(0, 1):
        pass
    line, _, _ = os.pread(1, 65536, 0).partition(b"\n")
    for word in line.split():
        for leader in [int(word)] if word.isdigit() else marked(word):
            end(leader, session=True)


if __name__ == "__main__":
    _keep()
