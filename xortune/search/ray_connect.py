"""Ray for the time of a search: connected or started, and how much of it there is right now."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import xortune.search.ray_settings  # noqa: F401  # before Ray itself
from xortune.errors import InputError
from xortune.search.as_before import ray_settings
from xortune.search.interrupts import same_end
from xortune.search.lifeline import lifeline
from xortune.search.process import refuse_fork, uses_ray

# isort: split
import ray

__all__ = ["Room", "connected", "slots", "slots_to_come"]

LOOK_SECONDS = 1.0
"""How often the size of the cluster is looked at while a search runs."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Ray for the time of a search: shut down afterwards if and only if it was started here.

    Raises:
        InputError: no cluster answers at the address, Ray does not start here, or this process is a
            fork of one that had used Ray.
    """
    refuse_fork()
    uses_ray()
    with ray_settings(), lifeline() if ray.is_initialized() else _started(address):
        yield


@contextmanager
def _started(address: str | None) -> Iterator[None]:
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    _refuse_deaf(where)
    try:
        with same_end():
            if where == "local":
                _start()
            else:
                _reach(where)
    except KeyboardInterrupt:
        ray.shutdown()  # what has been started of it
        raise
    # Even with log_to_driver=False the raylet's word on a dead worker goes to our stdout, into the
    # JSON. Ray's own switch for its debugger silences it; where there is none, nothing is lost.
    ray._private.worker._worker_logs_enabled = False
    with lifeline():
        try:
            yield
        finally:
            ray.shutdown()
            ray._private.worker._worker_logs_enabled = True


def _start() -> None:
    try:
        with _on_loopback() as loopback:
            _init("local", include_dashboard=False, num_cpus=_cores(), **loopback)
    except Exception as error:  # a node that does not come up in time is a plain Exception
        ray.shutdown()  # what has been started of it
        raise InputError(
            f"Ray did not start on this machine ({_first_line(error)})",
            fix="try again when less else runs here, with --resume if the search has begun: what "
            "it trained is kept. What Ray's processes said is in /tmp/ray/session_latest/logs",
        ) from None


def _reach(address: str) -> None:
    try:
        _init(address)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise InputError(
            f"{address!r} cannot be reached ({_first_line(error)})",
            field="address",
            fix="start a cluster with `ray start --head`, or leave the address out; for a cluster "
            "that asks for a token, set RAY_AUTH_MODE=token",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _init(where: str, **more: Any) -> None:
    ray.init(
        address=where,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}},
        **more,
    )


@contextmanager
def _on_loopback() -> Iterator[dict[str, str]]:
    """What makes every process of a Ray that is started here listen on 127.0.0.1 only.

    Ray's processes listen on the loopback device alone when that is the address of their node. On
    Linux `ray.init` replaces 127.0.0.1 by the machine's outer address, for others to join; what it
    does on macOS and Windows, where nobody joins, is what is wanted here.
    """
    constants = ray._private.ray_constants
    before = constants.ENABLE_RAY_CLUSTER
    constants.ENABLE_RAY_CLUSTER = False
    try:
        yield {"_node_ip_address": "127.0.0.1"}
    finally:
        constants.ENABLE_RAY_CLUSTER = before


def _refuse_deaf(address: str) -> None:
    if address.startswith(("http://", "https://")):
        raise InputError(
            f"{address!r} is the address of a job server",
            field="address",
            allowed="auto, or HOST:PORT of the cluster's head, from a machine of the cluster",
            fix="send the search there with `xortune submit`",
        )
    # Ray would try for many minutes, and print each try.
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{address!r} cannot be reached ({error})",
            field="address",
            fix="check that the cluster runs (`ray status`), or leave the address out",
        ) from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def slots_to_come(address: str | None, cpus_per_trial: float) -> int:
    """How many trials Ray will run at once if it is still to be started here, without GPUs; or 0.

    It is 0 where Ray runs already or elsewhere: how much there is then, only Ray can tell.
    """
    if ray.is_initialized() or (address or os.environ.get("RAY_ADDRESS") or "local") != "local":
        return 0
    return int(_cores() / cpus_per_trial)


def slots(cpus_per_trial: float, gpus_per_trial: float) -> int:
    """How many trials the cluster runs at once.

    Raises:
        InputError: not even one.
    """
    wanted = {"CPU": cpus_per_trial, "GPU": gpus_per_trial}
    nodes = _nodes()
    for kind, amount in wanted.items():
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if amount > largest:
            where = "the cluster has" if len(nodes) < 2 else "the cluster's largest node has"
            raise InputError(
                f"{amount:g} for each trial, but {where} {largest:g}",
                field=f"{kind.lower()}s_per_trial",
                allowed="at most what one node of the cluster has",
            )
    found = _fitting(nodes, wanted)
    if not found:
        raise InputError(
            f"{cpus_per_trial:g} CPUs and {gpus_per_trial:g} GPUs for each trial, but no node of "
            "the cluster has both",
            field="cpus_per_trial",
            allowed="at most what one node of the cluster has",
        )
    return found


def _nodes() -> list[dict[str, float]]:
    """What each node that is alive has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fitting(nodes: list[dict[str, float]], wanted: dict[str, float]) -> int:
    # By node: two halves of two nodes do not make a place.
    return sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in wanted.items() if amount > 0)
        for node in nodes
    )


class Room:
    """How many trials the cluster runs at once, as its nodes come and go."""

    def __init__(self, cpus_per_trial: float, gpus_per_trial: float) -> None:
        self._wanted = {"CPU": cpus_per_trial, "GPU": gpus_per_trial}
        self._next = time.monotonic() + LOOK_SECONDS
        self.count = slots(cpus_per_trial, gpus_per_trial)

    def changed(self) -> bool:
        """Look at the cluster, if it is time; whether there is more or less room than before.

        The count stays at least 1: where all nodes have left, what waits goes to the next to come.
        """
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + LOOK_SECONDS
        before = self.count
        self.count = max(1, _fitting(_nodes(), self._wanted))
        return self.count != before
