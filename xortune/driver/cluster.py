"""Ray for the time of a search: connected or started, watched, and what each trial may use."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from xortune.core.errors import Halted, InputError
from xortune.driver.process import ray_settings, refuse_fork, same_end, uses_ray
from xortune.spaces.model import parse_duration

with ray_settings():
    import ray
    from ray._private import auto_init_hook

# -------------------------------------------------------------------------------------------------
# Where batches are trained, and what each may use there.


@dataclass(frozen=True)
class Cluster:
    """A Ray that trains batches, and what a trial may use of it.

    Attributes:
        address: of a Ray cluster; None starts Ray on this machine for as long as it is needed.
        cpus_per_trial: logical CPUs for each trial, fractions allowed.
        gpus_per_trial: logical GPUs for each trial, fractions allowed.
        trial_timeout: seconds that a batch may take before its worker is killed; None for any time.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    trial_timeout: float | None = None

    @classmethod
    def of(
        cls,
        address: str | None,
        cpus_per_trial: float,
        gpus_per_trial: float,
        trial_timeout: float | str | None = None,
    ) -> Cluster:
        """The same, of what a user gives.

        Raises:
            InputError: no share of a CPU, less than none of a GPU, a timeout that is no duration.
        """
        if not cpus_per_trial > 0:
            raise InputError(
                f"{cpus_per_trial} is out of range", field="cpus_per_trial", allowed="above 0"
            )
        if not gpus_per_trial >= 0:
            raise InputError(
                f"{gpus_per_trial} is out of range", field="gpus_per_trial", allowed="0 or more"
            )
        try:
            limit = None if trial_timeout is None else parse_duration(trial_timeout)
        except InputError as error:
            raise InputError(
                error.problem, field="trial_timeout", allowed=error.allowed, fix=error.fix
            ) from None
        return cls(address, cpus_per_trial, gpus_per_trial, limit)

    @property
    def wanted(self) -> dict[str, float]:
        """What a trial takes, by Ray's names."""
        return {"CPU": self.cpus_per_trial, "GPU": self.gpus_per_trial}

    @property
    def place(self) -> str:
        """The address, or `local`."""
        return self.address or os.environ.get("RAY_ADDRESS") or "local"


THIS_MACHINE = Cluster()

WORKERS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ROTATION_MAX_BYTES": "8000000",
    "RAY_ROTATION_BACKUP_COUNT": "1",
}
"""The environment of workers, but for what the user has set. Ray keeps in files what a worker
prints, C code and child processes included; rotation keeps the last part of it."""


# -------------------------------------------------------------------------------------------------
# Whether the Ray that a search uses still lives.
#
# Where its raylet or its GCS has died, calls of Ray hang, and after a while Ray ends the process
# that called it, with exit code 1 and no word that a user understands. So a thread looks, and says
# so before that. If nobody gets round to hearing it, the thread itself ends the process: Ray
# would.

LIFELINE_SECONDS = 0.5

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
    while not over.wait(LIFELINE_SECONDS):
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


# -------------------------------------------------------------------------------------------------
# Connected or started.


@contextmanager
def connected(cluster: Cluster) -> Iterator[None]:
    """Ray for the time of a search: shut down afterwards if and only if it was started here.

    Raises:
        InputError: no cluster answers at the address, Ray does not start here, or this process is a
            fork of one that had used Ray.
    """
    refuse_fork()
    uses_ray()
    with ray_settings(), lifeline() if ray.is_initialized() else _started(cluster.place):
        yield


@contextmanager
def _started(place: str) -> Iterator[None]:
    _refuse_unreachable(place)
    try:
        with same_end():
            if place == "local":
                _start()
            else:
                _reach(place)
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
    # Ray's processes listen on the loopback device alone when that is the address of their node. On
    # Linux `ray.init` replaces 127.0.0.1 by the machine's outer address, for others to join; what
    # it does on macOS and Windows, where nobody joins, is what is wanted here.
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        _init("local", include_dashboard=False, num_cpus=_cores(), _node_ip_address="127.0.0.1")
    except Exception as error:  # a node that does not come up in time is a plain Exception
        ray.shutdown()  # what has been started of it
        raise InputError(
            f"Ray did not start on this machine ({_first_line(error)})",
            fix="try again when less else runs here, with --resume if the search has begun: what "
            "it trained is kept. What Ray's processes said is in /tmp/ray/session_latest/logs",
        ) from None
    finally:
        constants.ENABLE_RAY_CLUSTER = before


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
        runtime_env={"env_vars": {name: os.environ.get(name, WORKERS[name]) for name in WORKERS}},
        **more,
    )


def _refuse_unreachable(address: str) -> None:
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


# -------------------------------------------------------------------------------------------------
# How many trials run at once.

ROOM_SECONDS = 1.0
"""How often the size of the cluster is looked at while a search runs."""


def slots_to_come(cluster: Cluster) -> int:
    """How many trials Ray will run at once if it is still to be started here, without GPUs; or 0.

    It is 0 where Ray runs already or elsewhere: how much there is then, only Ray can tell.
    """
    if ray.is_initialized() or cluster.place != "local":
        return 0
    return int(_cores() / cluster.cpus_per_trial)


def slots(cluster: Cluster) -> int:
    """How many trials the connected Ray runs at once.

    Raises:
        InputError: not even one.
    """
    nodes = _nodes()
    for kind, amount in cluster.wanted.items():
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if amount > largest:
            where = "the cluster has" if len(nodes) < 2 else "the cluster's largest node has"
            raise InputError(
                f"{amount:g} for each trial, but {where} {largest:g}",
                field=f"{kind.lower()}s_per_trial",
                allowed="at most what one node of the cluster has",
            )
    found = _fitting(nodes, cluster)
    if not found:
        raise InputError(
            f"{cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial:g} GPUs for each trial, "
            "but no node of the cluster has both",
            field="cpus_per_trial",
            allowed="at most what one node of the cluster has",
        )
    return found


def _nodes() -> list[dict[str, float]]:
    """What each node that is alive has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fitting(nodes: list[dict[str, float]], cluster: Cluster) -> int:
    # By node: two halves of two nodes do not make a place.
    wanted = [(kind, amount) for kind, amount in cluster.wanted.items() if amount > 0]
    return sum(min(int(node.get(kind, 0.0) / amount) for kind, amount in wanted) for node in nodes)


class Room:
    """How many trials the cluster runs at once, as its nodes come and go."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._next = time.monotonic() + ROOM_SECONDS
        self.count = slots(cluster)

    def changed(self) -> bool:
        """Look at the cluster, if it is time; whether there is more or less room than before.

        The count stays at least 1: where all nodes have left, what waits goes to the next to come.
        """
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + ROOM_SECONDS
        before = self.count
        self.count = max(1, _fitting(_nodes(), self._cluster))
        return self.count != before


WAIT_SECONDS = 10.0
"""So long nothing is trained before the user is told why."""


class Waits:
    """Says once, each time nothing can be trained for a while, what is waited for.

    Args:
        cluster: what each trial takes.
        on_message: called with the sentence.
    """

    def __init__(self, cluster: Cluster, on_message: Callable[[str], None]) -> None:
        self._cluster, self._on_message = cluster, on_message
        self._since: float | None = None
        self._told = False

    def look(self, *, waiting: bool) -> None:
        """Note whether there is something to train, and nobody trains."""
        now = time.monotonic()
        if not waiting:
            self._since, self._told = None, False
        elif self._since is None:
            self._since = now
        elif not self._told and now - self._since >= WAIT_SECONDS:
            self._told = True
            self._on_message(self._sentence())

    def _sentence(self) -> str:
        has, free = ray.cluster_resources(), ray.available_resources()
        wanted = {kind: amount for kind, amount in self._cluster.wanted.items() if amount}
        each = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items())
        of = ", ".join(
            f"{free.get(kind, 0):g} of its {has.get(kind, 0):g} {kind}s are free" for kind in wanted
        )
        return (
            f"for {WAIT_SECONDS:.0f} s nothing is trained: a trial waits for {each} of Ray ({of}); "
            "the rest is held by what else runs there, or by workers that are starting"
        )
