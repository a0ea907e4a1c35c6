"""A search as a job of a Ray cluster: what is shipped, what is run there, and sending it."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path, PurePosixPath
from typing import Any

import xortune
from xortune.core.errors import InputError
from xortune.integrations.trackers import check_uri
from xortune.spaces.model import SearchSpace

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


def send(what: Submission, address: str) -> str:
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


def wait(job: str, address: str, say: Callable[[str], None]) -> int:
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
