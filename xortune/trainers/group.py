"""Ends a command with all that it has started; also when the process that started it is killed.

A worker may be killed at any moment (a time limit of the search, an interrupted driver), and what
it has started would live on. So each process that runs commands has a keeper: a process of its own,
which ends all that has its mark when its pipe is closed because nobody is left to write to it.

The keeper runs this file by itself, without xortune: it imports what Python has, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "XORTUNE_COMMAND"
"""A variable in the environment of each command, and so of all that it starts: its keeper's."""

ROUNDS = 20
"""So often members, of a session or with a mark, are looked for again: they may start others."""


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


def marked(mark: str) -> set[int]:
    """Sessions of processes with this mark in their environment; none where there is no /proc."""
    found = set()
    for process in _processes():
        # An error: it has just ended, or is somebody else's.
        with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
            if f"{MARK}={mark}".encode() in file.read().split(b"\0"):
                found.add(os.getsid(process))
    return found


class Keeper:
    """Starts what ends when this process does; its keeper is started with the first command.

    The pipe is closed when this process is no more. Up to its exec a child holds it open with its
    parent, and from then on it has the mark.
    """

    def __init__(self) -> None:
        self._pipe, self._owner, self._mark = -1, 0, ""
        self._living: set[int] = set()
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
        process = subprocess.Popen(  # noqa: S603  # what the user asked for
            argv,
            env={**env, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
        with self._lock:
            self._living.add(process.pid)
        return process

    @property
    def living(self) -> frozenset[int]:
        """Leaders of what runs."""
        with self._lock:
            return frozenset(self._living) if self._owner == os.getpid() else frozenset()

    def ends(self, leader: int) -> None:
        """It has come to an end; to be said before the leader is waited for."""
        with self._lock:
            self._living.discard(leader)

    def _start(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        self._living.clear()
        self._mark = os.urandom(16).hex()
        read, self._pipe = os.pipe()
        try:
            # Isolated, without site: it starts in some milliseconds. It forks and goes.
            subprocess.run(  # noqa: S603
                [sys.executable, "-I", "-S", __file__, self._mark],
                # Not the mark of a command in which this process runs: it outlives that.
                env={name: value for name, value in os.environ.items() if name != MARK},
                stdin=read,
                stdout=subprocess.DEVNULL,
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


def _keep(mark: str) -> None:
    """Wait until stdin is closed; then end what has the mark."""
    if os.fork():
        os._exit(0)  # so that it is no child of the worker's: Ray kills those with it
    while os.read(0, 1):
        pass
    for _ in range(ROUNDS):
        if not (found := marked(mark)):
            break
        for leader in found:
            end(leader, session=True)


if __name__ == "__main__":
    _keep(sys.argv[1])
