"""Whether the Ray that a search uses still lives.

Where its raylet or its GCS has died, calls of Ray hang, and after a while Ray ends the process that
called it, with exit code 1 and no word that a user understands. So a thread looks, and says so
before that. If nobody gets round to hearing it, the thread itself ends the process: Ray would.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import xortune.search.ray_settings  # noqa: F401  # before Ray itself
from xortune.errors import Halted

# isort: split
import ray
from ray._private import auto_init_hook

__all__ = ["check_ray", "lifeline"]

LOOK_SECONDS = 0.5

REFUSED_SECONDS = 5.0
"""A Ray of somebody else's is gone when it has refused connections for so long."""

PATIENCE = 20.0
"""Seconds from the loss to the end of the process, for one that hangs in a call of Ray's."""

CHILDREN_SECONDS = 3.0
"""How often it is looked which processes Ray has started."""

ROLES = {"raylet": "raylet", "gcs_server": "GCS"}

_lost: str | None = None


def check_ray() -> None:
    """Return if Ray lives; let go of it if it does not.

    Tune cleans up what was under way by calls that would hang, or start another Ray. After this
    they fail at once.

    Raises:
        Halted: it does not live.
    """
    if _lost is not None:
        auto_init_hook.enable_auto_connect = False
        ray.shutdown()
        raise Halted(_lost)


@contextmanager
def lifeline() -> Iterator[None]:
    """Watch the Ray that this process is connected to; `check_ray` tells of its end.

    What a Ray that was started by this process has started does not outlive its end.
    """
    global _lost  # noqa: PLW0603
    over, connects = threading.Event(), auto_init_hook.enable_auto_connect
    started = _Started()
    watch = threading.Thread(target=_watch, args=(over, started), name="watches Ray", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        if _lost is not None:
            started.end()
            auto_init_hook.enable_auto_connect = connects
        _lost = None


def _watch(over: threading.Event, started: _Started) -> None:
    global _lost  # noqa: PLW0603
    dead = _look()
    while not over.wait(LOOK_SECONDS):
        with suppress(Exception):  # whatever it is, the search goes on
            started.look()
            if (found := dead()) is not None:
                _lost = f"Ray's {found} has ended, and with it whatever was under way"
                break
    if _lost is None or over.wait(PATIENCE):
        return
    print(
        f"interrupted: {_lost}; what had finished is kept; --resume, or the same certify, goes on",
        file=sys.stderr,
        flush=True,
    )
    started.end()
    os._exit(3)


class _Started:
    """What the raylet of this process has started: its agents, its workers, and what they have.

    Once it is dead, nothing tells whose they were; and its GCS may be dead, which would end them.
    """

    def __init__(self) -> None:
        import psutil  # type: ignore[import-untyped]  # which Ray brings along

        node = ray._private.worker._global_node
        of_ray = [] if node is None else node.all_processes.get("raylet", [])
        self._raylets = [psutil.Process(info.process.pid) for info in of_ray]
        self._found: set[Any] = set()
        self._next = 0.0
        self._gone = psutil.NoSuchProcess

    def look(self) -> None:
        """See what there is, if it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHILDREN_SECONDS
        for raylet in self._raylets:
            with suppress(self._gone):
                found = raylet.children(recursive=True)
                if raylet.is_running():  # else these may be another's
                    self._found = set(found)

    def end(self) -> None:
        """End all of it."""
        self._next = 0.0
        self.look()
        for process in (*self._raylets, *self._found):
            with suppress(self._gone, OSError):
                process.kill()  # which looks that its number is still its own


def _look() -> Callable[[], str | None]:
    """What tells which part of the Ray that is connected now is dead."""
    node = ray._private.worker._global_node
    if node is None:  # a client of a Ray elsewhere, which knows neither
        return lambda: None
    if node.all_processes:
        return lambda: next((ROLES[r] for r, _ in node.dead_processes() if r in ROLES), None)
    addresses = {"GCS": node.gcs_address}
    if node.node_manager_port:
        addresses["raylet"] = f"{node.node_ip_address}:{node.node_manager_port}"
    since: dict[str, float] = {}

    def refusing() -> str | None:
        now = time.monotonic()
        for role, address in addresses.items():
            if not _refuses(address):
                since.pop(role, None)
            elif now - since.setdefault(role, now) >= REFUSED_SECONDS:
                return role
        return None

    return refusing


def _refuses(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False
