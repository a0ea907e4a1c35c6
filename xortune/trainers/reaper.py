"""Kills a command and all that it started, also when the worker that started it is killed.

A worker may be killed at any moment (by a time limit of the search, or with an interrupted driver),
and its commands would live on. So each process that runs commands has a reaper: a separate process
that knows which commands run, and kills them when its pipe is closed because the worker is gone.

Why not `os.killpg` or a subreaper alone: a worker that is killed with SIGKILL can call nothing, and
a process group leaves out the other groups of its session, as `timeout` and shells make. Ray's
subreaper, which is off by default, is the raylet: commands that run without Ray (`--workers 0`,
`evaluate`) would live on.

The reaper runs `core.system` alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from xortune.core import system


class Reaper:
    """Starts commands, and tells the reaper process of this worker which ones run.

    The first command starts the reaper process. Both have a file open that lists the leaders of the
    running commands; writing it does not wake the reaper. The pipe only tells that this process has
    ended: then the system closes it.

    This process may also be killed between the start of a command and the line that lists it. So
    the file says when a command is starting, and commands have a mark in their environment. The
    mark is there before the pipe closes, because a child holds the pipe open until its exec.
    """

    def __init__(self) -> None:
        self._pipe = self._file = -1
        self._owner = 0  # the process that started the reaper: not this one after a fork
        self._living: set[int] = set()
        self._starting = 0
        self._mark = ""
        self._lock = threading.Lock()

    def popen(
        self, argv: Sequence[str], env: Mapping[str, str], **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start a command as the leader of a session, which ends when this process does.

        Args:
            argv: its words.
            env: its environment.
            options: of `subprocess.Popen`.

        Raises:
            OSError: it cannot be started.
            ValueError: a NUL in a word.
        """
        with self._lock:
            if self._owner != os.getpid():
                self._start()
            self._starting += 1
            self._write()
        leader: set[int] = set()
        try:
            process = subprocess.Popen(  # noqa: S603  # the user's command
                argv,
                env={**env, system.MARK_VARIABLE: self._mark},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                **options,
            )
            leader.add(process.pid)
            return process
        finally:
            with self._lock:
                self._starting -= 1
                self._living |= leader
                self._write()

    @property
    def living(self) -> frozenset[int]:
        """The leaders of the running commands."""
        with self._lock:
            return frozenset(self._living) if self._owner == os.getpid() else frozenset()

    def forget(self, leader: int) -> None:
        """A command has ended. Call this before waiting for its leader."""
        with self._lock:
            self._living.discard(leader)
            self._write()

    def _write(self) -> None:
        words = [self._mark] * bool(self._starting) + [str(leader) for leader in self._living]
        os.pwrite(self._file, f"{' '.join(words)}\n".encode(), 0)

    def _start(self) -> None:
        for old in (self._pipe, self._file):
            if old >= 0:
                os.close(old)
        self._living.clear()
        self._starting, self._mark = 0, f"mark-{os.urandom(16).hex()}"
        read, self._pipe = os.pipe()
        with tempfile.TemporaryFile() as file:
            self._file = os.dup(file.fileno())
        # What a seed leaves behind is killed by its mark: this process stays.
        env = {k: v for k, v in os.environ.items() if k != system.WORKER_VARIABLE}
        try:
            # Isolated and without site it starts in some milliseconds. It forks and returns.
            subprocess.run(  # noqa: S603
                [sys.executable, "-I", "-S", system.__file__],
                env=env,
                stdin=read,
                stdout=self._file,
                stderr=subprocess.DEVNULL,  # a reader of our stderr must not wait for the reaper
                cwd="/",
                start_new_session=True,  # a Ctrl-C in our terminal must not reach it
                check=True,
            )
        finally:
            os.close(read)
        self._owner = os.getpid()


REAPER = Reaper()
"""The one of this process."""
