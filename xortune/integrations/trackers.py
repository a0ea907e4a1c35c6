"""Trackers: TensorBoard, MLflow and Weights & Biases, and what each is told of a run.

A tracker is a value that says where to log. It is told configurations, each with its counts after
every block of seeds, and writes what it lacks of them: it asks the place itself what is there. So
a tracker that was away, or a run that goes on, loses nothing, and nothing is logged twice.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from xortune.core.errors import InputError, check_type
from xortune.core.files import json_of, writing
from xortune.core.plugins import find
from xortune.core.point import Value
from xortune.runs.status import State
from xortune.runs.store import StoredPath, replace_file, url_of

# -------------------------------------------------------------------------------------------------
# What a tracker is told.


@dataclass(frozen=True)
class TrackedStep:
    """A configuration after a block of seeds.

    Attributes:
        n: seeds so far, crashed ones included; more than in the step before.
        at: when the block finished, in seconds since 1970. If the journal does not say it: when the
            search began, or 0.
        metrics: the numbers among the columns of table.csv: `k`, `n`, `rate`, `low`, `high`,
            `epochs_to_solve`, the seeds that failed in each way, and the numbers that a user's
            trainer returned.
    """

    n: int
    at: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class ConfigLog:
    """One configuration, with all that is known of it.

    Attributes:
        steps: one for each block of seeds, in the order of the journal; at least one.
        certified: the result on fresh seeds, as `certified_k` and so on; empty without a complete
            certificate.
    """

    key: str
    parameters: Mapping[str, Value]
    steps: tuple[TrackedStep, ...]
    certified: Mapping[str, float] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The parameters as trackers take them: none that is None; lists and mappings as JSON."""
        return {
            name: json.dumps(value) if isinstance(value, list | dict) else value
            for name, value in self.parameters.items()
            if value is not None
        }

    def steps_after(self, n: int, certified: Mapping[str, float]) -> tuple[TrackedStep, ...]:
        """What somebody lacks who has the steps up to `n` seeds, and what of fresh seeds."""
        last = self.steps[-1]
        more = [TrackedStep(last.n, last.at, self.certified)] if certified != self.certified else []
        return (*(step for step in self.steps if step.n > n), *more)


@dataclass(frozen=True)
class TrackedRun:
    """The run that configurations belong to.

    Attributes:
        identity: 8 hexadecimal digits that stay when the directory is moved.
        state: if `finished`, trackers close its configurations.
        earlier: the identity under which trackers have results that were replaced, because seeds
            that trained as one model were wrong; empty if there are none.
        gone: keys of the configurations that have had no other results.
    """

    path: Path
    name: str
    identity: str
    state: State
    earlier: str = ""
    gone: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """Name and identity, because two runs of one space have the same name."""
        return f"{self.name}-{self.identity}"

    @property
    def earlier_title(self) -> str:
        """The title with `earlier`."""
        return f"{self.name}-{self.earlier}"


@dataclass(frozen=True)
class Tracker(ABC):
    """Where runs are logged. Its one field says where; the option of the command line takes it.

    Attributes:
        name: as its makers write it.
        package: what has to be installed; also the option of the command line, unless `options`
            says otherwise.
    """

    name: ClassVar[str]
    package: ClassVar[str]

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `xortune log` that log there."""
        [(where, default)] = [(getattr(self, one.name), one.default) for one in fields(self)]
        return (f"--{self.package}", *([] if where == default else [str(where)]))

    @property
    def live(self) -> bool:
        """Whether to log while a search runs; otherwise only when it has ended."""
        return True

    def place(self, run: Path) -> str:  # noqa: ARG002  # some log into the run's directory
        """Where the run in this directory is logged, for messages."""
        return self.options[-1]

    @abstractmethod
    def check(self, output: str | os.PathLike[str] | None) -> None:
        """Raise an InputError if a run in `output` cannot be logged there, from here."""

    @abstractmethod
    def write(self, run: TrackedRun, configs: Iterable[ConfigLog]) -> None:
        """Write what the place lacks of these configurations, and the state of the run.

        It removes what it has of `TrackedRun.earlier`. It raises whatever its package raises.
        """


def checked_trackers(
    trackers: Sequence[Tracker], output: str | os.PathLike[str] | None
) -> tuple[Tracker, ...]:
    """The trackers, for a run in `output`.

    Raises:
        InputError: one is no tracker, its package is not installed, or it cannot be written.
    """
    allowed = "a list of xt.TensorBoard(), xt.MLflow(URI), xt.WandB()"
    check_type("trackers", trackers, Sequence, allowed)
    for tracker in trackers:
        check_type("trackers", tracker, Tracker, allowed)
        if importlib.util.find_spec(tracker.package) is None:
            problem = f"the package {tracker.package} is not installed"
            fix = f"pip install {tracker.package}"
            raise InputError(problem, field=tracker.package, fix=fix)
        tracker.check(output)
    return tuple(trackers)


# -------------------------------------------------------------------------------------------------
# TensorBoard: one run for each configuration, which its HParams page shows as a row.
#
# The journal determines a configuration's event file byte by byte. So a second call finds it
# complete, a torn record is completed, and the steps of new seeds are appended, which TensorBoard
# reads on.

EVENT_FILE = "events.out.tfevents.0000000000.xortune"
"""TensorBoard recognizes event files by the middle of their name."""


@dataclass(frozen=True)
class TensorBoard(Tracker):
    """Event files for TensorBoard.

    Attributes:
        folder: below which they are; None for `tensorboard` in the run's directory.
    """

    folder: str | os.PathLike[str] | None = None

    name, package = "TensorBoard", "tensorboard"

    def place(self, run: Path) -> str:
        """See `Tracker`."""
        return str(run / "tensorboard") if self.folder is None else os.fspath(self.folder)

    def check(self, output: str | os.PathLike[str] | None) -> None:
        """See `Tracker`."""
        check_type(self.package, self.folder, str | os.PathLike | None, "a directory")
        if self.folder is None and output is not None and url_of(output) is not None:
            fix = "name a directory for the event files"
            raise InputError("the run is in an object store", field=self.package, fix=fix)
        if self.folder is not None:
            with writing(Path(self.folder), "give another directory"):
                Path(self.folder).mkdir(parents=True, exist_ok=True)

    def write(self, run: TrackedRun, configs: Iterable[ConfigLog]) -> None:
        """Bring the configurations' event files up to date."""
        folder = Path(self.place(run.path))
        below = folder if self.folder is None else folder / run.title
        old = [below / key for key in run.gone] if self.folder is None else []
        if run.earlier and self.folder is not None:
            old = [folder / run.earlier_title]
        for place in old:
            for file in place.rglob(EVENT_FILE):
                file.unlink()
        for config in configs:
            file = below / config.key / EVENT_FILE
            content = events_of(config, closed=run.state == "finished")
            held = file.read_bytes() if file.exists() else b""
            # Somebody else's run may hold a symbolic link to a file outside it: never append there.
            if content.startswith(held) and not file.is_symlink():
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("ab") as end:
                    end.write(content[len(held) :])
            else:  # it was closed and the search went on, or it is certified anew
                replace_file(file, content)


def events_of(config: ConfigLog, *, closed: bool) -> bytes:
    """A configuration's event file.

    Args:
        config: with all its steps, also those logged before.
        closed: whether nothing follows. Then the file ends with the result on fresh seeds and the
            status "success": the configuration was evaluated, whatever its seeds did.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.record_writer import RecordWriter

    memory = io.BytesIO()
    writer = RecordWriter(memory)

    def write(at: int, **what: Any) -> None:
        writer.write(Event(wall_time=float(at), **what).SerializeToString(deterministic=True))

    def scalars(at: int, step: int, numbers: Mapping[str, float]) -> None:
        values = [Summary.Value(tag=name, simple_value=v) for name, v in numbers.items()]
        write(at, step=step, summary=Summary(value=values))

    first, last = config.steps[0], config.steps[-1]
    write(first.at, file_version="brain.Event:2")
    begin = hparams_pb(config.settings, trial_id=config.key, start_time_secs=float(first.at))
    write(first.at, summary=_in_order(begin))
    for step in config.steps:
        scalars(step.at, step.n, step.metrics)
    if closed:
        if config.certified:
            scalars(last.at, last.n, config.certified)
        write(last.at, summary=_session_end(last.at))
    return memory.getvalue()


def _in_order(summary: Any) -> Any:
    """The same summary with its parameters in an order that is the same in every process."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    plugin = summary.value[0].metadata.plugin_data
    data = HParamsPluginData.FromString(plugin.content)
    plugin.content = data.SerializeToString(deterministic=True)
    return summary


def _session_end(at: int) -> Any:
    """The end of a session; TensorBoard's own function for it imports TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    info = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=float(at))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(HParamsPluginData(session_end_info=info)),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


# -------------------------------------------------------------------------------------------------
# MLflow: one run for each configuration, below one for the search.
#
# The server is asked what it has, by the tags of its runs. MLflow's global state is not touched: a
# user's program may have an active run of its own.

RUN_TAG, KEY_TAG = "xortune.run", "xortune.key"
"""The run of the search itself has no key."""

PARENT_TAG = "mlflow.parentRunId"

STATUS: dict[State, str] = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED"}

MAX_RUNS, MAX_METRICS, MAX_PARAMETERS = 50_000, 1000, 100
"""Limits of MLflow, of one request."""

ANSWER_SECONDS = 5.0

TRACKING_URIS = (
    "http://HOST:PORT, https://..., sqlite:///FILE, another database, databricks, file:FOLDER"
)


@dataclass(frozen=True)
class MLflow(Tracker):
    """A tracking server, a database, or another store that MLflow takes.

    Attributes:
        uri: where it is. The experiment is MLFLOW_EXPERIMENT_NAME, or has the name of the space.
    """

    uri: str

    name, package = "MLflow", "mlflow"

    def check(self, output: str | os.PathLike[str] | None) -> None:  # noqa: ARG002
        """Refuse what is no tracking URI, or has a password, which the manifest would show."""
        check_type(self.package, self.uri, str, "the URI of a tracking server")
        parts = urlsplit(self.uri)
        if parts.password is not None:
            raise InputError(
                "has a password in it",
                field=self.package,
                place=f"{parts.scheme}://{parts.hostname}",
                fix="give it in the environment: MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
            )
        no_host = parts.scheme in ("http", "https") and not parts.hostname
        if no_host or not re.match(r"(\w[\w+.-]*://|file:|databricks)", self.uri):
            problem = f"{self.uri!r} is not a tracking URI"
            raise InputError(problem, field=self.package, allowed=TRACKING_URIS)

    def write(self, run: TrackedRun, configs: Iterable[ConfigLog]) -> None:
        """Log what the server lacks."""
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        _check_server_answers(self.uri)
        client = MlflowClient(tracking_uri=self.uri)
        named = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name
        found = client.get_experiment_by_name(named)
        experiment = found.experiment_id if found else client.create_experiment(named)
        filtered = f"tags.`{RUN_TAG}` = '{run.identity}'"
        there = client.search_runs([experiment], filtered, max_results=MAX_RUNS)
        runs = {one.data.tags.get(KEY_TAG, ""): one for one in there}
        tags, status = {RUN_TAG: run.identity}, STATUS[run.state]
        if "" not in runs:
            path = {"xortune.path": str(run.path)}
            runs[""] = client.create_run(experiment, tags=tags | path, run_name=run.title)
        parent = runs[""].info
        if run.earlier:
            replaced = f"tags.`{RUN_TAG}` = '{run.earlier}'"
            for one in client.search_runs([experiment], replaced, max_results=MAX_RUNS):
                client.delete_run(one.info.run_id)
        for config in configs:
            if config.key not in runs:
                own = tags | {KEY_TAG: config.key, PARENT_TAG: parent.run_id}
                began = config.steps[0].at * 1000 or None
                runs[config.key] = client.create_run(experiment, began, own, run_name=config.key)
            info, data = runs[config.key].info, runs[config.key].data
            params = [Param(n, str(v)) for n, v in mlflow_names(config.settings).items()]
            for at in range(0, 0 if data.params else len(params), MAX_PARAMETERS):
                client.log_batch(info.run_id, params=params[at : at + MAX_PARAMETERS])
            certified = {n: v for n, v in data.metrics.items() if n.startswith("certified_")}
            metrics = [
                Metric(name, value, step.at * 1000, step.n)
                for step in config.steps_after(int(data.metrics.get("n", 0)), certified)
                for name, value in mlflow_names(step.metrics).items()
            ]
            for at in range(0, len(metrics), MAX_METRICS):
                client.log_batch(info.run_id, metrics=metrics[at : at + MAX_METRICS])
            if info.status != status:
                client.update_run(info.run_id, status)
        if parent.status != status:
            client.update_run(parent.run_id, status)


def mlflow_names(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each by a name that MLflow accepts; no two names are the same."""
    named: dict[str, Any] = {}
    for name, value in given.items():
        allowed = re.sub(r"[^\w.\- ]", "_", name)[:200]
        if not allowed.strip(". "):
            allowed = f"_{allowed}"
        while allowed in named:
            allowed += "_"
        named[allowed] = value
    return named


def _check_server_answers(uri: str) -> None:
    """Raise OSError at once if nothing answers: MLflow itself retries for minutes."""
    import requests

    if urlsplit(uri).scheme not in ("http", "https"):
        return
    try:
        with suppress(requests.exceptions.SSLError):  # MLflow has its own settings for certificates
            requests.get(uri, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True).close()
    except requests.RequestException as error:
        raise OSError(f"nobody answers at {uri}: {type(error).__name__}") from None


# -------------------------------------------------------------------------------------------------
# Weights & Biases: one of its runs for each configuration, all of a search in one group.
#
# W&B keeps each of its runs in a directory of its own. A note in it says what was logged of the
# configuration. Offline a directory is replaced when seeds were added, so that `wandb sync` takes
# it as it is; therefore nothing is written offline while a search runs.

NOTE = "xortune.json"

SILENT_RUN: dict[str, Any] = {
    "console": "off",
    "silent": True,
    **dict.fromkeys(("disable_git", "disable_code", "x_disable_meta", "x_disable_stats"), True),
    "x_disable_machine_info": True,
    "x_save_requirements": False,
}
"""Settings of W&B: record nothing of the program that logs."""


@dataclass(frozen=True)
class WandB(Tracker):
    """A project of Weights & Biases, online or (WANDB_MODE=offline) in files.

    The files go to WANDB_DIR or into the run's directory; for a run in an object store into the
    working directory.

    Attributes:
        project: its name, or ENTITY/NAME.
    """

    project: str = "xortune"

    name, package = "Weights & Biases", "wandb"

    @property
    def live(self) -> bool:
        """See `Tracker`."""
        return bool(self._mode != "offline")

    @property
    def _mode(self) -> Any:
        import wandb

        return os.environ.get("WANDB_MODE") or wandb.setup().settings.mode

    def _folder(self, run: Path) -> Path:
        default = Path.cwd() if isinstance(run, StoredPath) else run
        return Path(os.environ.get("WANDB_DIR") or default)

    def place(self, run: Path) -> str:
        """See `Tracker`."""
        return self.project if self.live else str(self._folder(run) / "wandb")

    def check(self, output: str | os.PathLike[str] | None) -> None:  # noqa: ARG002
        """Check that somebody is logged in, too; on a terminal W&B may ask for the key."""
        import wandb

        allowed = "NAME or ENTITY/NAME"
        check_type(self.package, self.project, str, allowed)
        entity, _, name = self.project.rpartition("/")
        if not name.strip() or "/" in entity:
            raise InputError(f"{self.project!r} is not a project", field="wandb", allowed=allowed)
        if self._mode == "disabled":
            fix = "unset WANDB_MODE, or set it to offline"
            raise InputError("W&B is disabled here", field=self.package, fix=fix)
        try:
            why = "" if not self.live or wandb.login(verify=False) else "no API key"
        except wandb.Error as error:
            why = str(error)
        if why:
            fix = "`wandb login`, or WANDB_MODE=offline to write files only"
            raise InputError(f"nobody is logged in to W&B ({why})", field=self.package, fix=fix)

    def write(self, run: TrackedRun, configs: Iterable[ConfigLog]) -> None:
        """Log the new steps of each configuration, as a run of W&B that is then closed."""
        folder, about = self._folder(run.path), {"project": self.project, "mode": self._mode}
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"wandb/offline-run-*-{run.earlier}-*") if run.earlier else ():
            if not list(old.glob("*.synced")):
                shutil.rmtree(old)
        earlier: dict[str, dict[Path, Any]] = {}
        for place in sorted(folder.glob(f"wandb/*run-*-{run.identity}-*/{NOTE}")):
            known = json_of(place)
            if about.items() <= known.items():
                earlier.setdefault(known["key"], {})[place.parent] = known
        for config in configs:
            note = {**about, "key": config.key, "n": config.steps[-1].n}
            note["certified"] = dict(config.certified)
            there = earlier.get(config.key, {})
            if note in there.values():
                continue
            written = self._write(config, run, folder)
            (written / NOTE).write_text(json.dumps(note), encoding="utf-8")
            for old in () if self.live else there:  # remove what is replaced and not yet synced
                if old != written and not list(old.glob("*.synced")):
                    shutil.rmtree(old)

    def _write(self, config: ConfigLog, run: TrackedRun, folder: Path) -> Path:
        """Log a configuration, and return the directory that W&B has made for it."""
        import wandb

        entity, _, project = self.project.rpartition("/")
        wandb_run = wandb.init(
            entity=entity or None,
            project=project,
            dir=str(folder),
            id=f"{run.identity}-{config.key}",
            name=config.key,
            group=run.title,
            job_type="configuration",
            config={**config.parameters, "key": config.key},
            mode=self._mode,
            reinit="create_new",
            resume="allow" if self.live else None,
            settings=wandb.Settings(**SILENT_RUN),
        )
        try:
            for step in config.steps:
                if step.n >= wandb_run.step:  # a resumed run has the earlier ones
                    wandb_run.log(dict(step.metrics), step=step.n)
            wandb_run.summary.update(config.certified)
        finally:
            wandb_run.finish()
        return Path(wandb_run.dir).parent


# -------------------------------------------------------------------------------------------------
# What the command line makes.


@dataclass(frozen=True)
class TrackerKind:
    """A tracker of the command line: `--tracker NAME=WHERE`.

    A package adds one as an entry point of `xortune.trackers`.

    Attributes:
        name: what users write.
        about: what it logs to, in a few words.
        make: makes the tracker of WHERE, a text that is empty if there is none.
    """

    name: str
    about: str
    make: Callable[[str], Tracker]


TRACKERS = (
    TrackerKind("tensorboard", "event files", lambda folder: TensorBoard(folder or None)),
    TrackerKind("mlflow", "a tracking server", MLflow),
    TrackerKind("wandb", "a project of W&B", lambda name: WandB(name) if name else WandB()),
)
"""xortune's own trackers."""


def tracker_at(name: str, where: str) -> Tracker:
    """The tracker of a name, for what its option says.

    Raises:
        InputError: there is none, or that of an installed package cannot be used.
    """
    return find(name, "xortune.trackers", TrackerKind, TRACKERS, field="tracker").make(where)
