"""Connect to a Ray cluster, or start Ray on this machine."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from xortune.core.errors import InputError, require
from xortune.core.files import is_full
from xortune.core.private import on_loopback, print_raylet_messages
from xortune.training.process import (
    environment_kept,
    is_connected,
    levels_kept,
    note_ray,
    ray_settings,
    refuse_fork,
    sigterm_kept,
)
from xortune.training.resources import Cluster
from xortune.training.slots import cores_of
from xortune.training.watchdog import ray_watchdog

WORKERS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ROTATION_MAX_BYTES": "8000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
"""The environment of workers, unless the user has set it. Ray writes the output of workers and
their child processes to files; rotation keeps the last part."""


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Use the Ray of this process, connect to a cluster or start Ray. Undo the latter on exit.

    Raises:
        InputError: no cluster answers at the address, Ray does not start here, or this process is a
            fork of one that had used Ray.
    """
    require("training on Ray", "ray")
    refuse_fork()
    note_ray()
    with ray_settings():
        import ray.tune  # noqa: F401  # with the loggers of both

        with levels_kept(), ray_watchdog() if is_connected() else _begun(cluster):
            yield


@contextmanager
def _begun(cluster: Cluster) -> Iterator[None]:
    """A Ray that is started or connected to here; it ends on exit, also where only a part began."""
    import ray

    with ExitStack() as ends:
        ends.callback(ray.shutdown)
        with sigterm_kept():
            if cluster.place == "local":
                _start(cores_of(cluster))
            else:
                _reach(cluster.place)
        print_raylet_messages(on=False)
        ends.callback(print_raylet_messages, on=True)
        ends.enter_context(ray_watchdog())
        ends.callback(ray.shutdown)  # which may hang, too
        yield


QUIET = {"log_to_driver": False, "logging_level": logging.ERROR}

RAY_FILES = 50 * 2**20
"""Bytes that Ray's logs and sockets need at its start, with some to spare."""


def _start(cores: int) -> None:
    import ray

    try:
        # Workers inherit the environment; by a `runtime_env` each starts later.
        with on_loopback(), environment_kept():
            os.environ.update(_for_workers())
            here = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            ray.init("local", num_cpus=cores, **here, **QUIET)
    except Exception as error:  # Ray raises a plain Exception if a node does not start in time
        folder = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
        if is_full(error) or shutil.disk_usage(folder).free < RAY_FILES:
            raise InputError(
                "Ray did not start on this machine: the folder of its files is full",
                place=folder,
                fix="free space there, or name another folder with TMPDIR",
            ) from None
        raise InputError(
            f"Ray did not start on this machine ({_first_line(error)})",
            fix="try again when less else runs here, with --resume if the search has begun: what "
            "it trained is kept. What Ray's processes said is in /tmp/ray/session_latest/logs",
        ) from None


def _reach(address: str) -> None:
    import ray

    if address.startswith(("http://", "https://")):
        raise InputError(
            f"{address!r} is the address of a job server",
            field="address",
            allowed="auto, or HOST:PORT of the cluster's head, from a machine of the cluster",
            fix="send the search there: `ray job submit --address ADDRESS -- xortune search ...`",
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():  # Ray would retry for minutes, and print each attempt
            socket.create_connection((host, int(port)), timeout=5).close()
        ray.init(address, runtime_env={"env_vars": _for_workers()}, **QUIET)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{address!r} cannot be reached ({_first_line(error)})",
            field="address",
            fix="check that the cluster runs (`ray status`), start one with `ray start --head`, or "
            "leave the address out; for one that asks for a token, set RAY_AUTH_MODE=token",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _for_workers() -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in WORKERS.items()}
