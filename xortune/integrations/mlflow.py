"""MLflow: one run for each configuration, below one for the search.

What a server has already is asked once, by the tags of its runs, so that a second call logs nothing
twice. No global state of MLflow is touched: a program may have a run of its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from xortune.core.errors import InputError
from xortune.integrations.tracker import About, ConfigLog, Logged, State, TrackedStep, Tracker

RUN, KEY = "xortune.run", "xortune.key"
"""Tags: of which run, and of which configuration; that of the search itself has no key."""

PARENT = "mlflow.parentRunId"

STATUS: dict[State, str] = {"running": "RUNNING", "finished": "FINISHED", "stopped": "KILLED"}

PAGE, METRICS, PARAMETERS = 1000, 1000, 100
"""MLflow's own limits: runs of an answer, metrics and parameters of a request."""

ANSWER_SECONDS = 5.0

SILENT = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"

ALLOWED = "http://HOST:PORT, https://..., sqlite:///FILE, another database, databricks, file:FOLDER"


@dataclass
class MLflowRun(Logged):
    """What a server has of a configuration, or of the search, and in which status."""

    status: str = STATUS["running"]


def check_uri(uri: str) -> None:
    """Refuse what MLflow does not take for a tracking server, and what must not be written down.

    Raises:
        InputError: it is no such URI, or has a password.
    """
    found = urlsplit(uri)
    if found.password is not None:  # it would be in the manifest, with the command
        raise InputError(
            "has a password in it",
            field="mlflow",
            place=f"{found.scheme}://{found.hostname}",
            fix="give it in the environment: MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    local = found.scheme in ("http", "https") and not found.hostname
    if local or not re.match(r"(\w[\w+.-]*://|file:|databricks)", uri):
        raise InputError(f"{uri!r} is not a tracking URI", field="mlflow", allowed=ALLOWED)


class MLflow(Tracker):
    """A tracking server, or what else MLflow takes for one.

    Args:
        uri: where it is. The experiment is the one in MLFLOW_EXPERIMENT_NAME, or has the name of
            the space.

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
        self._sure = False  # of what the server has
        self._logged: dict[str, MLflowRun] = {}
        check_uri(uri)
        if urlsplit(uri).scheme == "file":
            self._open()

    def begin(self, about: About) -> None:
        """Find out what the server has of the run."""
        if self._sure:
            return
        if urlsplit(self.place).scheme in ("http", "https"):
            _answers(self.place)
        client = self._open()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or about.name
        found = client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else client.create_experiment(name)
        self._logged = self._asked(about)
        parent = self._logged.pop("", None)
        if parent is None:
            tags = {RUN: about.identity, "xortune.path": str(about.path)}
            run = client.create_run(self._experiment, tags=tags, run_name=about.title)
            parent = MLflowRun(run.info.run_id)
        elif parent.status != STATUS[about.state]:
            client.update_run(parent.run, status=STATUS[about.state])
        self._parent, self._sure = parent.run, True

    def log(self, config: ConfigLog, about: About) -> None:
        """Log what the server lacks of a configuration."""
        from mlflow.entities import Param

        client, key = self._client, config.key
        self._sure = False  # until it is done
        known = self._logged.get(key)
        if known is None:
            tags = {RUN: about.identity, KEY: key, PARENT: self._parent}
            began = config.steps[0].at * 1000 or None
            run = client.create_run(self._experiment, began, tags, run_name=key)
            known = self._logged[key] = MLflowRun(run.info.run_id)
        if not known.n:
            given = {name: value for name, value in config.parameters.items() if value is not None}
            names = _names(given)
            params = [Param(names[name], str(value)) for name, value in given.items()]
            for at in range(0, len(params), PARAMETERS):
                client.log_batch(known.run, params=params[at : at + PARAMETERS])
        metrics = [metric for s in config.steps if s.n > known.n for metric in _metrics(s)]
        last = config.steps[-1]
        if dict(config.certified) != dict(known.certified):
            metrics += _metrics(TrackedStep(last.n, last.at, config.certified))
        for at in range(0, len(metrics), METRICS):
            client.log_batch(known.run, metrics=metrics[at : at + METRICS])
        known.n, known.certified = last.n, config.certified
        if known.status != STATUS[about.state]:
            self._set_status(known, about.state, last.at)
        self._sure = True

    def end(self, about: About) -> None:
        """Say of the search how it ended."""
        self._set_status(MLflowRun(self._parent), about.state, 0)
        self._sure = False  # others may log there before the next time

    def _open(self) -> Any:
        if self._client is None:
            from mlflow.exceptions import MlflowException
            from mlflow.tracking import MlflowClient

            try:
                self._client = MlflowClient(tracking_uri=self.place)
            except MlflowException as error:
                raise InputError(str(error), field="mlflow", place=self.place) from None
        return self._client

    def _asked(self, about: About) -> dict[str, MLflowRun]:
        """By key what the server has of the run's configurations; by "" what of the run."""
        found: dict[str, MLflowRun] = {}
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{RUN}` = '{about.identity}'",
                max_results=PAGE,
                page_token=token,
            )
            for run in page:
                numbers = run.data.metrics
                certified = {k: v for k, v in numbers.items() if k.startswith("certified_")}
                found[run.data.tags.get(KEY, "")] = MLflowRun(
                    run.info.run_id, int(numbers.get("n", 0)), certified, run.info.status
                )
            token = page.token
            if not token:
                return found

    def _set_status(self, logged: MLflowRun, state: State, at: int) -> None:
        if state == "running":
            self._client.update_run(logged.run, status=STATUS[state])
        else:
            with _no_links():
                self._client.set_terminated(logged.run, STATUS[state], at * 1000 or None)
        logged.status = STATUS[state]


@contextmanager
def _no_links() -> Iterator[None]:
    """MLflow prints two lines for each run that ends, where results are printed."""
    before = os.environ.get(SILENT)
    os.environ[SILENT] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SILENT]
        else:
            os.environ[SILENT] = before


def _metrics(step: TrackedStep) -> list[Any]:
    from mlflow.entities import Metric

    names = _names(step.metrics)
    return [Metric(names[name], v, step.at * 1000, step.n) for name, v in step.metrics.items()]


def _names(given: Iterable[str]) -> dict[str, str]:
    """For each name one that MLflow takes, and no two the same."""
    names: dict[str, str] = {}
    for name in given:
        allowed = re.sub(r"[^\w.\- ]", "_", name)[:200]
        if not allowed.strip(". "):
            allowed = f"_{allowed}"
        while allowed in names.values():
            allowed += "_"
        names[name] = allowed
    return names


def _answers(uri: str) -> None:
    """Return if anything answers: MLflow itself would try for minutes."""
    import requests

    try:
        requests.get(uri, timeout=ANSWER_SECONDS, allow_redirects=False, stream=True).close()
    except requests.exceptions.SSLError:
        return  # somebody does; how to trust them is MLflow's own setting
    except requests.RequestException as error:
        reason = type(error).__name__
        raise OSError(f"nobody answers at {uri}: {reason}") from None
