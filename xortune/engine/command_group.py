"""Ends a command with all that it has started; also when the process that started it is killed.

A worker may be killed at any moment (a time limit of the search, an interrupted driver), and what
it has started would live on. So each process that runs commands has a keeper: a process of its own,
which is told what runs, and ends it when its pipe is closed because nobody is left to write to it.

The keeper runs this file by itself, without xortune: it imports what Python has, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

__all__ = ["Keeper", "end", "members"]

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
    try:
        processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []
    for process in processes:
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                # After the name, which may hold anything: state, parent, group, session.
                state, _, _, its, *_ = file.read().rpartition(b")")[2].split()
        except (OSError, ValueError):
            continue  # it has just ended
        if int(its) == session and state not in (b"Z", b"X"):
            found.append(process)
    return found


class Keeper:
    """Tells the keeper of this process what runs; it is started with the first command."""

    def __init__(self) -> None:
        self._pipe, self._owner = -1, 0
        self._lock = threading.Lock()

    def begins(self, leader: int) -> None:
        """A group has been started by this process."""
        with self._lock:
            if self._owner != os.getpid():  # the first time, or after a fork
                self._start()
            try:
                os.write(self._pipe, b"+%d\n" % leader)
            except BrokenPipeError:  # somebody has killed it
                self._start()
                os.write(self._pipe, b"+%d\n" % leader)

    def ends(self, leader: int) -> None:
        """It has come to an end; to be said before the leader is waited for."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, b"-%d\n" % leader)

    def _start(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
        read, write = os.pipe()
        try:
            # Isolated, without site: it starts in some milliseconds. It forks and goes.
            subprocess.run(  # noqa: S603
                [sys.executable, "-I", "-S", __file__],
                stdin=read,
                stdout=subprocess.DEVNULL,  # somebody may wait for the end of ours
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # what is sent to our terminal's group is not for it
                check=True,
            )
        finally:
            os.close(read)
        self._pipe, self._owner = write, os.getpid()


def _keep() -> None:
    """Read what begins and ends from stdin; when that is closed, end what is left."""
    if os.fork():
        os._exit(0)  # so that it is no child of the worker's: Ray kills those with it
    living: set[int] = set()
    rest = b""
    while chunk := os.read(0, 65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            leader = int(line[1:])
            if line[:1] == b"+":
                living.add(leader)
            else:
                living.discard(leader)
    for leader in living:
        end(leader, session=True)


if __name__ == "__main__":
    _keep()
