"""Trackers: TensorBoard, MLflow and Weights & Biases, and what each is given of a run.

A tracker gets the configurations of a run, each with its counts after every block of seeds. Logging
again adds only what is new, so a tracker that was away or a run that goes on loses nothing.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from xortune.core.errors import InputError, check_type
from xortune.core.files import json_of, writing
from xortune.core.point import Value
from xortune.runs.status import State
from xortune.runs.store import StoredPath, replace_file, url_of


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
    """One configuration, as it is logged.

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
        """The parameters that are not None: trackers take no None."""
        return {name: value for name, value in self.parameters.items() if value is not None}


@dataclass(frozen=True)
class TrackedRun:
    """The run that configurations belong to.

    Attributes:
        identity: 8 hexadecimal digits that stay when the directory is moved.
        state: if `finished`, trackers close its configurations.
    """

    path: Path
    name: str
    identity: str
    state: State

    @property
    def title(self) -> str:
        """Name and identity, because two runs of one space have the same name."""
        return f"{self.name}-{self.identity}"


@dataclass
class Logged:
    """What a tracker already has of a configuration.

    Attributes:
        place: the tracker's own id of it (MLflow), or its directory (W&B).
        n: seeds of its last step.
    """

    place: str
    n: int = 0
    certified: Mapping[str, float] = field(default_factory=dict)

    def is_current(self, config: ConfigLog) -> bool:
        """Whether nothing is new."""
        return (self.n, self.certified) == (config.steps[-1].n, config.certified)


class Tracker(ABC):
    """Where runs are logged. It does not log again what it already has.

    Methods raise whatever their packages raise; callers catch it. `trackers_for` makes the
    trackers.

    Attributes:
        name: as its makers write it.
        package: what has to be installed.
        live: whether to log while a search runs; otherwise only when it has ended.
        place: where it logs to, for messages.

    Raises:
        InputError: the package is not installed.
    """

    name, package = "", ""
    live = True
    place = ""

    def __init__(self) -> None:
        if importlib.util.find_spec(self.package) is None:
            raise InputError(
                f"the package {self.package} is not installed",
                field=self.package,
                fix=f"pip install {self.package}",
            )

    def begin(self, run: TrackedRun) -> None:  # noqa: B027  # some need none
        """Called before configurations are logged; more than once for a run."""

    @abstractmethod
    def log(self, config: ConfigLog, run: TrackedRun) -> None:
        """Log a configuration, whose steps include those logged before."""

    def end(self, run: TrackedRun) -> None:  # noqa: B027  # some need none
        """Called when all configurations that the run has so far are logged."""


DEFAULT_PROJECT = "xortune"  # of W&B

Folder: TypeAlias = str | os.PathLike[str] | bool | None


def trackers_for(
    output: str | os.PathLike[str] | None,
    *,
    tensorboard: Folder = None,
    mlflow: str | None = None,
    wandb: str | bool | None = None,
) -> tuple[Tracker, ...]:
    """The requested trackers, with the arguments of `log`. None is contacted yet.

    Raises:
        InputError: a package is not installed, or an argument is not usable.
    """
    found: list[Tracker] = []
    if tensorboard is not None and tensorboard is not False:
        check_type("tensorboard", tensorboard, str | os.PathLike | bool, "a directory, or True")
        if tensorboard is True and output is not None and url_of(output) is not None:
            raise InputError(
                "the run is in an object store",
                field="tensorboard",
                fix="name a directory for the event files",
            )
        found.append(TensorBoard(None if tensorboard is True else Path(tensorboard)))
    if mlflow is not None:
        check_type("mlflow", mlflow, str, "the URI of a tracking server, or of a directory")
        found.append(MLflow(mlflow))
    if wandb is not None and wandb is not False:
        check_type("wandb", wandb, str | bool, "the name of a project, or True")
        found.append(Wandb(DEFAULT_PROJECT if wandb is True else wandb))
    return tuple(found)


# -------------------------------------------------------------------------------------------------
# TensorBoard: one run for each configuration, which its HParams page shows as a row.
#
# The journal determines a configuration's event file byte by byte. So a second call finds it
# complete, a torn record is completed, and the steps of new seeds are appended, which TensorBoard
# reads on.

EVENT_FILE = "events.out.tfevents.0000000000.xortune"
"""TensorBoard recognizes event files by the middle of their name."""


class TensorBoard(Tracker):
    """Event files below a directory.

    Args:
        folder: the directory; None for `tensorboard` in the run's own.

    Raises:
        InputError: the package is not installed, or the directory cannot be written.
    """

    name = "TensorBoard"
    package = "tensorboard"

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self._folder = folder
        self.place = str(folder or "tensorboard")
        if folder is not None:
            with writing(folder, "give another directory"):
                folder.mkdir(parents=True, exist_ok=True)

    def begin(self, run: TrackedRun) -> None:
        """Set the directory in the run, if no other was given."""
        if self._folder is None:
            self.place = str(run.path / "tensorboard")

    def log(self, config: ConfigLog, run: TrackedRun) -> None:
        """Bring a configuration's event file up to date."""
        below = Path(self.place) if self._folder is None else self._folder / run.title
        file = below / config.key / EVENT_FILE
        content = events_of(config, closed=run.state == "finished")
        held = file.read_bytes() if file.exists() else b""
        if held == content:
            return
        # Somebody else's run may hold a symbolic link to a file outside it: never append to that.
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
# The server is asked once what it has, by the tags of its runs, so a second call logs nothing
# twice. MLflow's global state is not touched: a user's program may have an active run of its own.

RUN_TAG, KEY_TAG = "xortune.run", "xortune.key"
"""The run of the search itself has no key."""

PARENT_TAG = "mlflow.parentRunId"

STATUS: dict[State, str] = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED"}

RUNS_PER_PAGE, METRICS_PER_REQUEST, PARAMETERS_PER_REQUEST = 1000, 1000, 100
"""Limits of MLflow."""

ANSWER_SECONDS = 5.0

NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"

TRACKING_URIS = (
    "http://HOST:PORT, https://..., sqlite:///FILE, another database, databricks, file:FOLDER"
)


@dataclass
class MLflowRun(Logged):
    """What a server has of a configuration, or of the search, and its status."""

    status: str = STATUS["running"]


def check_uri(uri: str) -> None:
    """Check that a text is a tracking URI without a password.

    Raises:
        InputError: it is no such URI, or has a password, which the manifest would show.
    """
    parts = urlsplit(uri)
    if parts.password is not None:
        raise InputError(
            "has a password in it",
            field="mlflow",
            place=f"{parts.scheme}://{parts.hostname}",
            fix="give it in the environment: MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    no_host = parts.scheme in ("http", "https") and not parts.hostname
    if no_host or not re.match(r"(\w[\w+.-]*://|file:|databricks)", uri):
        raise InputError(f"{uri!r} is not a tracking URI", field="mlflow", allowed=TRACKING_URIS)


class MLflow(Tracker):
    """A tracking server, a database, or another store that MLflow takes.

    Args:
        uri: where it is. The experiment is MLFLOW_EXPERIMENT_NAME, or has the name of the space.

    Raises:
        InputError: the package is not installed, or that is no such URI.
    """

    name = "MLflow"
    package = "mlflow"

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.place = uri
        self._client: Any = None
        self._experiment = self._parent = ""
        self._is_synced = False  # whether `_logged` is what the server has
        self._logged: dict[str, MLflowRun] = {}
        check_uri(uri)
        if urlsplit(uri).scheme == "file":
            self._open()

    def begin(self, run: TrackedRun) -> None:
        """Ask the server what it has of the run; create the run of the search if it has none."""
        if self._is_synced:
            return
        if urlsplit(self.place).scheme in ("http", "https"):
            _check_server_answers(self.place)
        client = self._open()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.name
        found = client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else client.create_experiment(name)
        self._logged = self._runs_of(run)
        parent = self._logged.pop("", None)
        if parent is None:
            tags = {RUN_TAG: run.identity, "xortune.path": str(run.path)}
            created = client.create_run(self._experiment, tags=tags, run_name=run.title)
            parent = MLflowRun(created.info.run_id)
        elif parent.status != STATUS[run.state]:
            client.update_run(parent.place, status=STATUS[run.state])
        self._parent, self._is_synced = parent.place, True

    def log(self, config: ConfigLog, run: TrackedRun) -> None:
        """Log what the server lacks of a configuration."""
        from mlflow.entities import Param

        client, key = self._client, config.key
        self._is_synced = False  # until all requests have succeeded
        logged = self._logged.get(key)
        if logged is None:
            tags = {RUN_TAG: run.identity, KEY_TAG: key, PARENT_TAG: self._parent}
            began = config.steps[0].at * 1000 or None
            created = client.create_run(self._experiment, began, tags, run_name=key)
            logged = self._logged[key] = MLflowRun(created.info.run_id)
        if not logged.n:
            names = mlflow_names(config.settings)
            params = [Param(names[name], str(value)) for name, value in config.settings.items()]
            for at in range(0, len(params), PARAMETERS_PER_REQUEST):
                batch = params[at : at + PARAMETERS_PER_REQUEST]
                client.log_batch(logged.place, params=batch)
        metrics = [metric for s in config.steps if s.n > logged.n for metric in _mlflow_metrics(s)]
        last = config.steps[-1]
        if dict(config.certified) != dict(logged.certified):
            metrics += _mlflow_metrics(TrackedStep(last.n, last.at, config.certified))
        for at in range(0, len(metrics), METRICS_PER_REQUEST):
            client.log_batch(logged.place, metrics=metrics[at : at + METRICS_PER_REQUEST])
        logged.n, logged.certified = last.n, config.certified
        if logged.status != STATUS[run.state]:
            self._set_status(logged, run.state, last.at)
        self._is_synced = True

    def end(self, run: TrackedRun) -> None:
        """Give the run of the search its status."""
        self._set_status(MLflowRun(self._parent), run.state, 0)
        self._is_synced = False  # others may log there before the next call

    def _open(self) -> Any:
        if self._client is None:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient

            try:
                self._client = MlflowClient(tracking_uri=self.place)
            except MlflowException as error:
                raise InputError(str(error), field="mlflow", place=self.place) from None
        return self._client

    def _runs_of(self, run: TrackedRun) -> dict[str, MLflowRun]:
        """What the server has of each configuration, by key; by "" of the search."""
        found: dict[str, MLflowRun] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{RUN_TAG}` = '{run.identity}'",
                max_results=RUNS_PER_PAGE,
                page_token=token,
            )
            for one in page:
                numbers = one.data.metrics
                certified = {k: v for k, v in numbers.items() if k.startswith("certified_")}
                found[one.data.tags.get(KEY_TAG, "")] = MLflowRun(
                    one.info.run_id, int(numbers.get("n", 0)), certified, one.info.status
                )
            token = page.token
            if not token:
                return found

    def _set_status(self, logged: MLflowRun, state: State, at: int) -> None:
        if state == "running":
            self._client.update_run(logged.place, status=STATUS[state])
        else:
            with _no_links():
                self._client.set_terminated(logged.place, STATUS[state], at * 1000 or None)
        logged.status = STATUS[state]


@contextmanager
def _no_links() -> Iterator[None]:
    """Keep MLflow from printing two lines on stdout for each run that ends."""
    before = os.environ.get(NO_LINKS)
    os.environ[NO_LINKS] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[NO_LINKS]
        else:
            os.environ[NO_LINKS] = before


def _mlflow_metrics(step: TrackedStep) -> list[Any]:
    from mlflow.entities import Metric

    names = mlflow_names(step.metrics)
    return [Metric(names[name], v, step.at * 1000, step.n) for name, v in step.metrics.items()]


def mlflow_names(given: Iterable[str]) -> dict[str, str]:
    """For each name one that MLflow accepts; no two are the same."""
    names: dict[str, str] = {}
    for name in given:
        allowed = re.sub(r"[^\w.\- ]", "_", name)[:200]
        if not allowed.strip(". "):
            allowed = f"_{allowed}"
        while allowed in names.values():
            allowed += "_"
        names[name] = allowed
    return names


def _check_server_answers(uri: str) -> None:
    """Raise OSError at once if nothing answers: MLflow itself retries for minutes."""
    import requests

    try:
        requests.get(uri, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True).close()
    except requests.exceptions.SSLError:
        return  # a server answers; MLflow has its own settings for certificates
    except requests.RequestException as error:
        reason = type(error).__name__
        raise OSError(f"nobody answers at {uri}: {reason}") from None


# -------------------------------------------------------------------------------------------------
# Weights & Biases: one of its runs for each configuration, all of a search in one group.
#
# W&B keeps each of its runs in a directory of its own. A note in it says what was logged of the
# configuration, so a second call logs nothing twice. Offline a directory is replaced when seeds
# were added, so that `wandb sync` takes it as it is; therefore nothing is written offline while a
# search runs.

NOTE = "xortune.json"


class Wandb(Tracker):
    """A project of W&B, online or (WANDB_MODE=offline) in files.

    The files go to WANDB_DIR or into the run's directory; for a run in an object store into the
    working directory.

    Args:
        project: its name, or ENTITY/NAME.

    Raises:
        InputError: the package is not installed, W&B is disabled, or nobody is logged in.
    """

    name = "Weights & Biases"
    package = "wandb"

    def __init__(self, project: str) -> None:
        super().__init__()
        import wandb

        entity, _, name = project.rpartition("/")
        if not name.strip() or "/" in entity:
            raise InputError(
                f"{project!r} is not a project", field="wandb", allowed="NAME or ENTITY/NAME"
            )
        self._entity, self._project = entity or None, name
        self._mode: Any = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if self._mode == "disabled":
            raise InputError(
                "W&B is disabled here", field="wandb", fix="unset WANDB_MODE, or set it to offline"
            )
        self.live = self._mode != "offline"
        if self.live:
            _log_in()
        self.place = project
        self._folder = Path()
        self._logged: dict[str, list[Logged]] = {}

    def begin(self, run: TrackedRun) -> None:
        """Read the notes about what was logged of the run."""
        default = Path.cwd() if isinstance(run.path, StoredPath) else run.path
        self._folder = Path(os.environ.get("WANDB_DIR") or default)
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self.live:
            self.place = str(self._folder / "wandb")
        self._logged = {}
        for place in sorted(self._folder.glob(f"wandb/*run-*-{run.identity}-*/{NOTE}")):
            note = json_of(place)
            if note["project"] == self._project and note["mode"] == self._mode:
                logged = Logged(str(place.parent), note["n"], note["certified"])
                self._logged.setdefault(note["key"], []).append(logged)

    def log(self, config: ConfigLog, run: TrackedRun) -> None:
        """Log the new steps of a configuration, as a run of W&B that is then closed."""
        import wandb

        earlier = self._logged.get(config.key, [])
        if any(logged.is_current(config) for logged in earlier):
            return
        wandb_run = wandb.init(
            entity=self._entity,
            project=self._project,
            dir=str(self._folder),
            id=f"{run.identity}-{config.key}",
            name=config.key,
            group=run.title,
            job_type="configuration",
            config={**config.parameters, "key": config.key},
            mode=self._mode,
            reinit="create_new",
            resume="allow" if self.live else None,
            settings=wandb.Settings(  # record nothing of the program that logs
                console="off",
                silent=True,
                disable_git=True,
                disable_code=True,
                x_disable_meta=True,
                x_disable_stats=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        try:
            for step in config.steps:
                if step.n >= wandb_run.step:  # a resumed run has the earlier ones
                    wandb_run.log(dict(step.metrics), step=step.n)
            wandb_run.summary.update(config.certified)
        finally:
            wandb_run.finish()
        folder = Path(wandb_run.dir).parent
        logged = Logged(str(folder), config.steps[-1].n, dict(config.certified))
        note = {"key": config.key, "project": self._project, "mode": self._mode}
        note |= {"n": logged.n, "certified": logged.certified}
        (folder / NOTE).write_text(json.dumps(note), encoding="utf-8")
        for old in () if self.live else earlier:  # remove what is replaced and not yet synced
            if old.place != logged.place and not list(Path(old.place).glob("*.synced")):
                shutil.rmtree(old.place)
        self._logged[config.key] = [logged]


def _log_in() -> None:
    """Check that somebody is logged in to W&B; on a terminal W&B may ask for the key."""
    import wandb

    try:
        why = "" if wandb.login(verify=False) else "no API key"
    except wandb.Error as error:
        why = str(error)
    if why:
        raise InputError(
            f"nobody is logged in to W&B ({why})",
            field="wandb",
            fix="`wandb login`, or WANDB_MODE=offline to write files only",
        )
