"""Ray clusters: start or connect to one, watch it, count its slots, submit a search as a job."""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from xortune.core.errors import (
    Halted,
    InputError,
    check_count,
    check_number,
    check_type,
    refuse_given,
    require,
)
from xortune.core.files import is_full
from xortune.core.private import (
    auto_connects,
    on_loopback,
    print_raylet_messages,
    ray_node,
    set_auto_connect,
)
from xortune.core.system import cores
from xortune.core.trainer import Outages, Waits
from xortune.spaces.model import parse_duration
from xortune.training.process import (
    environment_kept,
    is_connected,
    levels_kept,
    note_ray,
    ray_settings,
    refuse_fork,
    sigterm_kept,
)

# -------------------------------------------------------------------------------------------------
# The Ray that trains batches, and the resources of a trial.


@dataclass(frozen=True)
class Ray:
    """Train by Ray Tune: `ray=xt.Ray(address="auto", gpus=0.25)`.

    Attributes:
        address: of a Ray cluster, such as "auto"; None starts Ray on this machine, and stops it at
            the end.
        cpus: logical CPUs for each trial, fractions allowed.
        gpus: logical GPUs for each trial; with fractions trials share one. Above 0, the engine
            `auto` is `cuda` if torch sees a GPU here.
        timeout: seconds, or "10m", for a batch of trainings. A worker that takes longer is killed,
            and a training that takes longer alone counts as crashed.

    Raises:
        InputError: a value is out of range.
    """

    address: str | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    timeout: float | str | None = None

    def __post_init__(self) -> None:
        if self.address is not None:
            check_type("address", self.address, str, "text, such as auto or HOST:PORT")
        check_number("cpus", self.cpus, lambda share: share > 0, "above 0")
        check_number("gpus", self.gpus, lambda share: share >= 0, "0 or more")
        _seconds(self.timeout)


@dataclass(frozen=True)
class Workers:
    """Train in processes of this machine: `workers=xt.Workers(4, cpus=2)`.

    Attributes:
        count: how many train at once; None for as many as the CPUs allow, 0 for this process.
        cpus: CPUs for each, and so its threads.
        timeout: as of `Ray`.

    Raises:
        InputError: a value is out of range.
    """

    count: int | None = None
    cpus: float = 1.0
    timeout: float | str | None = None

    def __post_init__(self) -> None:
        if self.count is not None:
            check_count("workers", self.count, 0)
        check_number("cpus", self.cpus, lambda share: share > 0, "above 0")
        if _seconds(self.timeout) is not None and self.count == 0:
            allowed = "only where others train, not with --workers 0"
            refuse_given(allowed, timeout=self.timeout)


def refuse_outages(retry_wait: Waits | None, max_void: float | None) -> None:
    """Refuse what a job would refuse later: waits and a share of void seeds that are not usable.

    Raises:
        InputError: one of them is not usable.
    """
    Outages.of((), retry_wait, max_void)


def _seconds(timeout: float | str | None) -> float | None:
    try:
        return None if timeout is None else parse_duration(timeout)
    except InputError as error:
        error.field = error.place = "timeout"
        raise


@dataclass(frozen=True)
class Cluster:
    """Who trains, and the resources of a trial.

    Attributes:
        address: of a Ray cluster; None starts Ray on this machine for as long as it is needed.
        cpus_per_trial: logical CPUs for each trial, fractions allowed.
        gpus_per_trial: logical GPUs for each trial, fractions allowed.
        trial_timeout: seconds that a batch may take before its worker is killed; None for any time.
        workers: trials that run at once on this machine; None for as many as its CPUs allow. With 0
            this process trains one block after the other.
        ray: whether Ray trains also on this machine.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    trial_timeout: float | None = None
    workers: int | None = None
    ray: bool = False

    @classmethod
    def pool(cls, workers: int | Workers | None) -> Cluster:
        """Processes of this machine, or with 0 this process.

        Raises:
            InputError: that is no number of workers.
        """
        if not isinstance(workers, Workers):
            workers = Workers(workers)
        seconds = _seconds(workers.timeout)
        return cls(None, workers.cpus, trial_timeout=seconds, workers=workers.count)

    @classmethod
    def of(
        cls,
        workers: int | Workers | None = None,
        ray: bool | Ray = False,
        address: str | None = None,
    ) -> Cluster:
        """Who trains, by a user's arguments.

        Raises:
            InputError: one is of another type, two contradict each other, or `workers` is given
                although Ray is already running.
        """
        check_type("ray", ray, bool | Ray, "True, False, or xt.Ray(address=, cpus=, gpus=)")
        asked = ray if isinstance(ray, Ray) else Ray(address) if ray or address else None
        cluster = cls.pool(workers)
        if asked is not None:
            if address not in (None, asked.address):
                if asked.address is not None:
                    fix = "leave one of the two out"
                    raise InputError(f"{address!r} and {asked}", field="address", fix=fix)
                asked = replace(asked, address=address)
            if cluster != cls(workers=cluster.workers):
                fix = "give cpus and timeout to xt.Ray"
                raise InputError(
                    f"{workers} with Ray", field="workers", allowed="a number", fix=fix
                )
            if cluster.workers == 0:
                allowed = "only where others train, not with --workers 0"
                refuse_given(allowed, address=asked.address, ray=bool(ray))
            seconds, count = _seconds(asked.timeout), cluster.workers
            cluster = cls(asked.address, asked.cpus, asked.gpus, seconds, count, ray=True)
        if cluster.workers and (cluster.place != "local" or is_connected()):
            here = "" if cluster.ray else "0 (this process), or "
            raise InputError(
                f"{cluster.workers}, but Ray is already running",
                field="workers",
                allowed=f"{here}any number where the search starts Ray itself",
                fix="leave it out; --cpus-per-trial says how many run at once there",
            )
        return cluster

    @property
    def resources(self) -> dict[str, float]:
        """The resources of a trial that are not 0, by Ray's names."""
        amounts = {"CPU": self.cpus_per_trial, "GPU": self.gpus_per_trial}
        return {kind: amount for kind, amount in amounts.items() if amount}

    @property
    def is_ray(self) -> bool:
        """Whether Ray trains: it is asked for, has been started before, or hands out GPUs."""
        return self.ray or self.place != "local" or is_connected() or self.gpus_per_trial > 0

    @property
    def place(self) -> str:
        """The address, or `local`."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"


THIS_MACHINE = Cluster()

ATTEMPTS_AT_ONCE = 16
"""How many seeds of an async function are awaited at once, where the user does not say: they wait
for others, such as a model that is served elsewhere, and not for this machine's cores."""


def awaiting(cluster: Cluster) -> Cluster:
    """The same with the number of seeds that are awaited at once as workers."""
    return cluster if cluster.workers is not None else replace(cluster, workers=ATTEMPTS_AT_ONCE)


WORKERS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ROTATION_MAX_BYTES": "8000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
"""The environment of workers, unless the user has set it. Ray writes the output of workers and
their child processes to files; rotation keeps the last part."""


# -------------------------------------------------------------------------------------------------
# Whether the Ray of a search still lives.
#
# If its raylet or its GCS has died, calls of Ray hang, and later Ray ends the calling process with
# exit code 1 and an obscure message. So a thread watches both, and `check_ray` raises before that.
# If the process hangs in Ray and does not call it, the thread ends the process.

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

        self._gone = psutil.NoSuchProcess
        self._node = node = ray_node()
        self._is_ours = node is not None and bool(node.all_processes)
        raylets = node.all_processes.get("raylet", []) if self._is_ours else []
        self._raylets = [psutil.Process(info.process.pid) for info in raylets]
        self._started: set[Any] = set()
        self._next = 0.0
        self._refusing_since: dict[str, float] = {}

    def dead(self) -> str | None:
        """The name of a part that is dead, or None."""
        node, now = self._node, time.monotonic()
        if node is None:  # a Ray client knows neither part
            return None
        if self._is_ours:
            return next((ROLES[role] for role, _ in node.dead_processes() if role in ROLES), None)
        addresses = {"GCS": node.gcs_address}
        if node.node_manager_port:
            addresses["raylet"] = f"{node.node_ip_address}:{node.node_manager_port}"
        for role, address in addresses.items():
            host, _, port = address.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
            except ConnectionRefusedError:
                if now - self._refusing_since.setdefault(role, now) >= REFUSED_SECONDS:
                    return role
            except OSError:
                self._refusing_since.pop(role, None)
            else:
                self._refusing_since.pop(role, None)
        return None

    def look(self) -> None:
        """Record the processes that our raylet has started, once in `CHILDREN_SECONDS`."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHILDREN_SECONDS
        for raylet in self._raylets:
            with suppress(self._gone):
                children = raylet.children(recursive=True)
                if raylet.is_running():  # otherwise its pid may be that of another process
                    self._started = set(children)

    def end(self) -> None:
        """Kill our raylet and all processes that it has started."""
        self._next = 0.0
        self.look()
        for process in (*self._raylets, *self._started):
            with suppress(self._gone, OSError):
                process.kill()  # psutil checks that the pid is not reused


# -------------------------------------------------------------------------------------------------
# Connect to a Ray, or start one.


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

        with levels_kept(), ray_watchdog() if is_connected() else _started(cluster):
            yield


@contextmanager
def _started(cluster: Cluster) -> Iterator[None]:
    import ray

    try:
        with sigterm_kept():
            if cluster.place == "local":
                _start(_cores(cluster))
            else:
                _reach(cluster.place)
    except KeyboardInterrupt:
        ray.shutdown()  # some processes may have started
        raise
    print_raylet_messages(on=False)
    with ray_watchdog():
        try:
            yield
        finally:
            ray.shutdown()
            print_raylet_messages(on=True)


RAY_FILES = 50 * 2**20
"""Bytes that Ray's logs and sockets need at its start, with some to spare."""


def _start(cores: int) -> None:
    import ray

    try:
        # Workers inherit the environment; by a `runtime_env` each starts later.
        with on_loopback(), environment_kept():
            os.environ.update(_for_workers())
            _init("local", include_dashboard=False, num_cpus=cores, _node_ip_address="127.0.0.1")
    except Exception as error:  # Ray raises a plain Exception if a node does not start in time
        ray.shutdown()  # some processes may have started
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
        _init(address, runtime_env={"env_vars": _for_workers()})
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{address!r} cannot be reached ({_first_line(error)})",
            field="address",
            fix="check that the cluster runs (`ray status`), start one with `ray start --head`, or "
            "leave the address out; for one that asks for a token, set RAY_AUTH_MODE=token",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _init(where: str, **more: Any) -> None:
    import ray

    ray.init(
        address=where,
        log_to_driver=False,
        logging_level=logging.ERROR,
        **more,
    )


def _for_workers() -> dict[str, str]:
    return {name: os.environ.get(name, value) for name, value in WORKERS.items()}


def _cores(cluster: Cluster) -> int:
    if cluster.workers is not None:
        return math.ceil(cluster.workers * cluster.cpus_per_trial)
    return cores()


# -------------------------------------------------------------------------------------------------
# The number of slots: trials that run at once.


def slots_to_come(cluster: Cluster) -> int:
    """The number of slots on this machine, by its CPUs, before they are there.

    It is 0 if Ray runs already or elsewhere: only Ray knows its size.
    """
    if is_connected() or cluster.place != "local":
        return 0
    return _fitting_here(cluster)


def _fitting_here(cluster: Cluster) -> int:
    return int(_cores(cluster) / cluster.cpus_per_trial)


def slots_here(cluster: Cluster) -> int:
    """The number of processes of a pool on this machine.

    Raises:
        InputError: it is 0.
    """
    count = _fitting_here(cluster)
    if not count:
        raise InputError(
            f"{cluster.cpus_per_trial:g} for each trial, but this machine has {_cores(cluster)}",
            field="cpus",
            allowed="at most what this machine has",
        )
    return count


def slots(cluster: Cluster) -> int:
    """The number of slots of the connected Ray.

    Raises:
        InputError: it is 0.
    """
    nodes = _nodes()
    for kind, amount in cluster.resources.items():
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if amount > largest:
            where = "the cluster has" if len(nodes) < 2 else "the cluster's largest node has"
            raise InputError(
                f"{amount:g} for each trial, but {where} {largest:g}",
                field=f"{kind.lower()}s",
                allowed="at most what one node of the cluster has",
                fix="leave it out" if largest == 0 else f"ask for {largest:g} or less",
            )
    if not (count := fitting(cluster)):
        raise InputError(
            f"{cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial:g} GPUs for each trial, "
            "but no node of the cluster has both",
            field="cpus",
            allowed="at most what one node of the cluster has",
            fix="ask for fewer",
        )
    return count


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fitting(cluster: Cluster) -> int:
    """The number of slots of the connected Ray; 0 if no trial fits.

    A trial runs on one node: it cannot use a CPU of one and a GPU of another.
    """
    amounts = cluster.resources.items()
    return sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in amounts) for node in _nodes()
    )


def missing_room(cluster: Cluster) -> str:
    """A sentence about the resources that a trial waits for."""
    import ray

    has, free, needs = ray.cluster_resources(), ray.available_resources(), cluster.resources
    each = " and ".join(f"{amount:g} {kind}" for kind, amount in needs.items())
    of = ", ".join(
        f"{free.get(kind, 0):g} of its {has.get(kind, 0):g} {kind}s are free" for kind in needs
    )
    return (
        f"a trial waits for {each} of Ray ({of}); workers that are starting hold the rest, or "
        "something else that runs there"
    )
