"""Watches the Ray of a search: whether it still lives.

If its raylet or its GCS has died, calls of Ray hang, and later Ray ends the calling process with
exit code 1 and an obscure message. So a thread watches both, and `check_ray` raises before that.
If the process hangs in Ray and does not call it, the thread ends the process.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from xortune.core.errors import Halted
from xortune.core.private import auto_connects, set_auto_connect

WATCH_SECONDS = 0.5

REFUSED_SECONDS = 5.0
"""A Ray that another process started counts as dead when it refuses connections for so long."""

HANGING_SECONDS = 20.0
"""Seconds from the loss of Ray to the end of a process that hangs in a call of Ray."""

CHILDREN_SECONDS = 3.0
"""Time between two looks at the processes that Ray has started."""

ROLES = {"raylet": "raylet", "gcs_server": "GCS"}

_lost: str | None = None


def is_lost() -> bool:
    """Whether the connected Ray has ended."""
    return _lost is not None


def check_ray() -> None:
    """Return if Ray lives; disconnect from it otherwise.

    Tune's cleanup calls Ray, which would hang or start another Ray. Disconnected, it fails at once.
    But Ray ends the process, with exit code 0, if another thread is in a call of it meanwhile.

    Raises:
        Halted: Ray has ended.
    """
    if _lost is not None:
        import ray

        set_auto_connect(on=False)
        ray.shutdown()
        raise Halted(_lost)


@contextmanager
def ray_watchdog() -> Iterator[None]:
    """Watch the connected Ray for `check_ray`.

    If a Ray of this process has died, the processes that it has started are killed on exit.
    """
    global _lost  # noqa: PLW0603
    stop, auto_connect = threading.Event(), auto_connects()
    processes = _RayProcesses()
    watch = threading.Thread(target=_watch, args=(stop, processes), name="watches Ray", daemon=True)
    watch.start()
    try:
        yield
    finally:
        stop.set()
        watch.join()
        if _lost is not None:
            processes.end()
            set_auto_connect(on=auto_connect)
        _lost = None


def _watch(stop: threading.Event, processes: _RayProcesses) -> None:
    global _lost  # noqa: PLW0603
    while not stop.wait(WATCH_SECONDS):
        with suppress(Exception):  # a failed look does not end the search
            processes.look()
            if (dead := processes.dead()) is not None:
                _lost = f"Ray's {dead} has ended; unfinished batches are lost"
                break
    if _lost is None or stop.wait(HANGING_SECONDS):
        return
    print(
        f"interrupted: {_lost}; finished results are kept; --resume or the same certify continues",
        file=sys.stderr,
        flush=True,
    )
    processes.end()
    os._exit(3)


class _RayProcesses:
    """The raylet and the GCS of the connected Ray, and all processes that our raylet has started.

    These are its agents, its workers and their children. They are recorded while the raylet lives:
    after its death nothing says whose they were, and a dead GCS does not end them.
    """

    def __init__(self) -> None:
        import psutil  # type: ignore[import-untyped]  # which Ray brings along
        import ray
        from ray.util.client import ray as client

        self._psutil = psutil
        self._ours: dict[str, Any] = {}  # the processes that this one has started, by their roles
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() in ROLES and process.status() != psutil.STATUS_ZOMBIE:
                    self._ours[ROLES[process.name()]] = process
        self._addresses: dict[str, str] = {}  # of both where others have started them
        if not (self._ours or client.is_connected()):  # a client reaches neither
            context = ray.get_runtime_context()
            mine = context.get_node_id()
            node = next(node for node in ray.nodes() if node["NodeID"] == mine)
            raylet = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            self._addresses = {"GCS": context.gcs_address, "raylet": raylet}
        self._started: set[Any] = set()
        self._next = 0.0
        self._refusing_since: dict[str, float] = {}

    def dead(self) -> str | None:
        """The name of a part that is dead, or None."""
        for role, process in self._ours.items():
            try:
                if process.status() == self._psutil.STATUS_ZOMBIE:
                    return role
            except self._psutil.NoSuchProcess:
                return role
        for role, address in self._addresses.items():
            host, _, port = address.rpartition(":")
            now = time.monotonic()
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
            except ConnectionRefusedError:
                if now - self._refusing_since.setdefault(role, now) >= REFUSED_SECONDS:
                    return role
                continue
            except OSError:  # it may be slow
                pass
            self._refusing_since.pop(role, None)
        return None

    def look(self) -> None:
        """Record the processes that our raylet has started, once in `CHILDREN_SECONDS`."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHILDREN_SECONDS
        if (raylet := self._ours.get("raylet")) is not None:
            with suppress(self._psutil.NoSuchProcess):
                children = raylet.children(recursive=True)
                if raylet.is_running():  # otherwise its pid may be that of another process
                    self._started = set(children)

    def end(self) -> None:
        """Kill our raylet, our GCS and all processes that the raylet has started."""
        self._next = 0.0
        self.look()
        for process in (*self._ours.values(), *self._started):
            with suppress(self._psutil.NoSuchProcess, OSError):
                process.kill()  # psutil checks that the pid is not reused
