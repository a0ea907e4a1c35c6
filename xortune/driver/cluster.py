"""Ray clusters: start or connect to one, watch it, count its slots, submit a search as a job."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path, PurePosixPath
from typing import Any

import xortune
from xortune.core.errors import Halted, InputError, refuse_given
from xortune.driver.process import (
    is_connected,
    levels_kept,
    note_ray,
    ray_settings,
    refuse_fork,
    sigterm_kept,
)
from xortune.integrations.trackers import check_uri
from xortune.spaces.model import SearchSpace, parse_duration

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
        workers: trials that run at once on this machine; None for as many as there are CPUs for. 0:
            there is no Ray, and this process trains one block after the other.
    """

    address: str | None = None
    cpus_per_trial: float = 1.0
    gpus_per_trial: float = 0.0
    trial_timeout: float | None = None
    workers: int | None = None

    @classmethod
    def of(
        cls,
        address: str | None,
        cpus_per_trial: float,
        gpus_per_trial: float,
        trial_timeout: float | str | None = None,
        workers: int | None = None,
    ) -> Cluster:
        """The same, of what a user gives.

        Raises:
            InputError: a number of CPUs, GPUs or workers, or a timeout, is out of range; or a
                running Ray has a number of workers of its own.
        """
        for name, share, good, allowed in (
            ("cpus_per_trial", cpus_per_trial, cpus_per_trial > 0, "above 0"),
            ("gpus_per_trial", gpus_per_trial, gpus_per_trial >= 0, "0 or more"),
        ):
            if not good:
                raise InputError(f"{share} is out of range", field=name, allowed=allowed)
        try:
            limit = None if trial_timeout is None else parse_duration(trial_timeout)
        except InputError as error:
            error.field = error.place = "trial_timeout"
            raise
        found = cls(address, cpus_per_trial, gpus_per_trial, limit, workers)
        if workers is None:
            return found
        if workers < 0:
            raise InputError(f"{workers}", field="workers", allowed="0 (this process) or more")
        if workers and (found.place != "local" or is_connected()):
            raise InputError(
                f"{workers}, but Ray is already running",
                field="workers",
                allowed="0 (this process), or any number where the search starts Ray itself",
                fix="leave it out; --cpus-per-trial says how many run at once there",
            )
        if not workers:
            refuse_given(
                "only where Ray trains, not with --workers 0", address=address, trial_timeout=limit
            )
        return found

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
        import ray
        from ray._private import auto_init_hook

        auto_init_hook.enable_auto_connect = False
        ray.shutdown()
        raise Halted(_lost)


@contextmanager
def lifeline() -> Iterator[None]:
    """Watch the Ray that this process is connected to; `check_ray` tells of its end.

    What a Ray that was started by this process has started does not outlive its end.
    """
    global _lost  # noqa: PLW0603
    from ray._private import auto_init_hook

    over, connects = threading.Event(), auto_init_hook.enable_auto_connect
    parts = _Parts()
    watch = threading.Thread(target=_watch, args=(over, parts), name="watches Ray", daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        if _lost is not None:
            parts.end()
            auto_init_hook.enable_auto_connect = connects
        _lost = None


def _watch(over: threading.Event, parts: _Parts) -> None:
    global _lost  # noqa: PLW0603
    while not over.wait(LIFELINE_SECONDS):
        with suppress(Exception):  # whatever it is, the search goes on
            parts.look()
            if (found := parts.dead()) is not None:
                _lost = f"Ray's {found} has ended, and with it whatever was under way"
                break
    if _lost is None or over.wait(PATIENCE):
        return
    print(
        f"interrupted: {_lost}; what had finished is kept; --resume, or the same certify, goes on",
        file=sys.stderr,
        flush=True,
    )
    parts.end()
    os._exit(3)


class _Parts:
    """The raylet and the GCS of the Ray that is connected now, and what our raylet has started.

    Those are its agents, its workers, and what they have started. Once it is dead, nothing tells
    whose they were; and its GCS may be dead, which would end them.
    """

    def __init__(self) -> None:
        import psutil  # type: ignore[import-untyped]  # which Ray brings along
        import ray

        self._gone = psutil.NoSuchProcess
        self._node = node = ray._private.worker._global_node
        self._is_ours = node is not None and bool(node.all_processes)
        raylets = node.all_processes.get("raylet", []) if self._is_ours else []
        self._raylets = [psutil.Process(info.process.pid) for info in raylets]
        self._started: set[Any] = set()
        self._next = 0.0
        self._refusing_since: dict[str, float] = {}

    def dead(self) -> str | None:
        """Which part is dead."""
        node, now = self._node, time.monotonic()
        if node is None:  # a client of a Ray elsewhere, which knows neither
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
        """See what our raylet has started, if it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + CHILDREN_SECONDS
        for raylet in self._raylets:
            with suppress(self._gone):
                found = raylet.children(recursive=True)
                if raylet.is_running():  # else these may be another's
                    self._started = set(found)

    def end(self) -> None:
        """End all that is ours."""
        self._next = 0.0
        self.look()
        for process in (*self._raylets, *self._started):
            with suppress(self._gone, OSError):
                process.kill()  # which looks that its number is still its own


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
    note_ray()
    with ray_settings():
        import ray.tune  # noqa: F401  # Ray, where it is needed, with the loggers of both

        with levels_kept(), lifeline() if is_connected() else _started(cluster):
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


def _start(cores: int) -> None:
    import ray

    # Ray's processes listen on the loopback device alone when that is the address of their node. On
    # Linux `ray.init` replaces 127.0.0.1 by the machine's outer address, for others to join; what
    # it does on macOS and Windows, where nobody joins, is what is wanted here.
    constants = ray._private.ray_constants
    before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
    try:
        _init("local", include_dashboard=False, num_cpus=cores, _node_ip_address="127.0.0.1")
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
    if address.startswith(("http://", "https://")):
        raise InputError(
            f"{address!r} is the address of a job server",
            field="address",
            allowed="auto, or HOST:PORT of the cluster's head, from a machine of the cluster",
            fix="send the search there with `xortune submit`",
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host and port.isdecimal():  # Ray would try for many minutes, and print each try
            socket.create_connection((host, int(port)), timeout=5).close()
        _init(address)
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
        runtime_env={"env_vars": {name: os.environ.get(name, WORKERS[name]) for name in WORKERS}},
        **more,
    )


def _cores(cluster: Cluster) -> int:
    if cluster.workers is not None:
        return math.ceil(cluster.workers * cluster.cpus_per_trial)
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


# -------------------------------------------------------------------------------------------------
# How many trials run at once.


def slots_to_come(cluster: Cluster) -> int:
    """How many trials Ray will run at once if it is still to be started here, without GPUs; or 0.

    It is 0 where Ray runs already or elsewhere: how much there is then, only Ray can tell.
    """
    if is_connected() or cluster.place != "local":
        return 0
    return int(_cores(cluster) / cluster.cpus_per_trial)


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
    if not (found := fitting(cluster)):
        raise InputError(
            f"{cluster.cpus_per_trial:g} CPUs and {cluster.gpus_per_trial:g} GPUs for each trial, "
            "but no node of the cluster has both",
            field="cpus_per_trial",
            allowed="at most what one node of the cluster has",
        )
    return found


def _nodes() -> list[dict[str, float]]:
    """What each node that is alive has."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fitting(cluster: Cluster) -> int:
    """How many trials the connected Ray runs at once; 0 where none fits."""
    # By node: two halves of two nodes do not make a place.
    wanted = [(kind, amount) for kind, amount in cluster.wanted.items() if amount > 0]
    return sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in wanted) for node in _nodes()
    )


def missing_room(cluster: Cluster) -> str:
    """What a trial waits for that does not begin."""
    import ray

    has, free = ray.cluster_resources(), ray.available_resources()
    wanted = {kind: amount for kind, amount in cluster.wanted.items() if amount}
    each = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items())
    of = ", ".join(
        f"{free.get(kind, 0):g} of its {has.get(kind, 0):g} {kind}s are free" for kind in wanted
    )
    return (
        f"a trial waits for {each} of Ray ({of}); workers that are starting hold the rest, or "
        "something else that runs there"
    )


# -------------------------------------------------------------------------------------------------
# A search as a job of a cluster: what is shipped, what is run there, and sending it.

EXCLUDES = (".git", "runs", "__pycache__", ".venv", "venv", "node_modules")
"""Folders beside a space file that no search needs; Ray leaves out what .gitignore names, too."""

POLL_SECONDS = 2.0

_FILE = re.compile(r"(?:sqlite:///|file:(?://)?)(?P<path>[^?]*)")
"""A URI of MLflow's that names a file or folder."""


@dataclass(frozen=True)
class Submission:
    """What `ray job submit` is told.

    Attributes:
        entrypoint: the command, run on the cluster's head.
        runtime_env: what the job needs: the space file's folder and the xortune that is used here.
    """

    entrypoint: str
    runtime_env: Mapping[str, Any]

    def line(self, address: str) -> str:
        """The same as one command of Ray's."""
        given = {k: v for k, v in self.runtime_env.items() if k != "working_dir"}
        words = ["ray", "job", "submit", "--address", address, "--no-wait"]
        words += ["--working-dir", self.runtime_env["working_dir"]]
        words += ["--runtime-env-json", json.dumps(given)]
        return f"{shlex.join(words)} -- {self.entrypoint}"


def submission(
    space: Path, output: str, options: Sequence[str] = (), *, install: bool = False
) -> Submission:
    """What to send for the search of a space file that has been checked.

    Args:
        space: the file; its folder is shipped, for a CSV file or a trainer beside it.
        output: where the run goes, as seen from the cluster's head.
        options: further ones of `xortune search`.
        install: have Ray install what xortune needs on each node. Otherwise it must be there.

    Raises:
        InputError: an output that the job would take with it when it ends.
    """
    if "://" not in output and not PurePosixPath(output).is_absolute():
        raise InputError(
            f"{output!r} would lie in the job's own folder, which Ray deletes",
            field="output",
            allowed="an absolute path on the cluster's head, or an address such as s3://BUCKET/RUN",
        )
    folder = space.resolve().parent
    words = ["python", "-m", "xortune", "search", space.name, "--address", "auto"]
    words += ["--output", output, *options]
    environment: dict[str, Any] = {
        "working_dir": str(folder),
        "excludes": list(EXCLUDES),
        "py_modules": [str(Path(xortune.__file__).parent)],
        "env_vars": {"PYTHONUNBUFFERED": "1"},
    }
    if install:
        environment["pip"] = [r for r in requires("xortune") or () if "extra ==" not in r]
    return Submission(shlex.join(words), environment)


def refuse_outside(space: SearchSpace) -> None:
    """Refuse a trainer whose file is not sent along.

    Raises:
        InputError: its path leads out of the folder of the space file.
    """
    where = "" if space.trainer is None else space.trainer.rpartition(":")[0]
    if space.command is not None or not where.endswith(".py") or Path(where).is_absolute():
        return
    folder = space.folder.resolve()
    if not (folder / where).resolve().is_relative_to(folder):
        raise InputError(
            f"{where!r} is not in the folder of the space file, and only that folder is sent",
            field="trainer",
            place=space.at("trainer"),
            fix="put the space file above it, or name an installed module",
        )


def tracked(
    output: str, *, tensorboard: str | None, mlflow: str | None, wandb: str | None
) -> list[str]:
    """The options of `xortune search` for trackers, as words; what is wrong is told here.

    Their packages are needed where the search runs, and so are not asked for here.

    Args:
        output: of the run.
        tensorboard: a folder as the head sees it; empty for one in the run's.
        mlflow: a URI as the head sees it.
        wandb: a project; empty for the default.

    Raises:
        InputError: what is logged would be deleted with the job's own folder, or the URI is none.
    """
    if tensorboard == "" and "://" in output:
        raise InputError(
            "the run is in an object store",
            field="tensorboard",
            fix="name a directory for the event files",
        )
    if mlflow is not None:
        check_uri(mlflow)
    file = None if mlflow is None else _FILE.match(mlflow)
    for name, place in (("tensorboard", tensorboard), ("mlflow", file and file["path"])):
        if place and "://" not in place and not PurePosixPath(place).is_absolute():
            raise InputError(
                f"{place!r} would lie in the job's own folder, which Ray deletes",
                field=name,
                allowed="an absolute path on the cluster's head, or the address of a server",
            )
    words = [] if tensorboard is None else ["--tensorboard", *([tensorboard] * bool(tensorboard))]
    words += [] if mlflow is None else ["--mlflow", mlflow]
    return words + ([] if wandb is None else ["--wandb", *([wandb] * bool(wandb))])


def _client(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"{address!r} is not the address of a job server",
            field="address",
            allowed="http://HEAD:8265, where the cluster's dashboard is",
        )
    try:
        return JobSubmissionClient(address)
    except (RuntimeError, ConnectionError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        missing = "ray[default]" in first
        raise InputError(
            "the job client of Ray is not installed" if missing else f"no job server ({first})",
            field="address",
            fix="pip install 'ray[default]', here and on the cluster's head; or let --dry-run show "
            "the line for a machine that has it"
            if missing
            else "check that the dashboard runs on the cluster's head and can be reached from here",
        ) from None


def send_job(what: Submission, address: str) -> str:
    """Send a search to a cluster; the job's id.

    Raises:
        InputError: no job server at the address, or it refuses the job.
    """
    client = _client(address)
    try:
        return str(
            client.submit_job(entrypoint=what.entrypoint, runtime_env=dict(what.runtime_env))
        )
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the job is refused: {error}", field="address") from None


def wait_for_job(job: str, address: str, say: Callable[[str], None]) -> int:
    """Wait until a job has ended, passing on what it prints; its exit code.

    Raises:
        InputError: no job server at the address.
    """
    client = _client(address)
    told = 0
    while True:
        info = client.get_job_info(job)
        logs = client.get_job_logs(job)
        if len(logs) > told:
            say(logs[told:])
            told = len(logs)
        if info.status.is_terminal():
            return 0 if info.status == "SUCCEEDED" else int(info.driver_exit_code or 1)
        time.sleep(POLL_SECONDS)
