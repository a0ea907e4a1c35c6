"""MLflow and W&B, each read back by what it brings itself; TensorBoard's and MLflow's servers."""

import time

import pytest
from commands import xortune
from hand_made import CONFIG, append, done, failed, solved, write_run
from logged_runs import OTHER, STARTED
from tracked import FOR_ALL, history, runs_of, wandb_runs

import xortune as xt
from xortune.core.errors import InputError
from xortune.integrations.following import RunFollower as Reader
from xortune.integrations.following import logging
from xortune.integrations.trackers import MLflow, mlflow_names

AWAY = "http://127.0.0.1:9"
BLOCKS = (
    done(0, CONFIG, solved(0, 1, 2)),
    done(1, OTHER, solved(0, 2, 2, epoch=100)),
    failed(0, CONFIG, 2, 2),
)


@pytest.fixture(scope="module", autouse=True)
def _at_home():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FOR_ALL.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        patch.setenv("WANDB_MODE", "offline")
        patch.delenv("WANDB_DIR", raising=False)
        yield


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", BLOCKS, **STARTED)


# MLflow


def holds(uri, run):
    """That MLflow has of a run what it should."""
    client, runs = runs_of(uri)
    parent = runs.pop(None)
    assert parent.info.run_name == Reader(run.path).run().title
    assert set(runs) == {result.key for result in run.results}
    for result in run.results:
        one = runs[result.key]
        assert one.info.run_name == result.key
        assert one.data.tags["mlflow.parentRunId"] == parent.info.run_id
        given = {k: str(v) for k, v in result.point.items() if v is not None}
        assert one.data.params == given
        assert one.data.metrics["rate"] == result.outcome.rate
        assert one.data.metrics["low"] == result.outcome.interval()[0]
        assert history(client, one, "n")[-1] == (result.outcome.n, result.outcome.n)
    return client, parent, runs


def test_mlflow_has_a_run_for_each_config_and_a_second_call_adds_nothing(tmp_path, run):
    uri = (tmp_path / "mlruns").as_uri()
    assert xt.log(run, mlflow=uri) == 2
    client, parent, runs = holds(uri, run)
    first = {key: one.info.run_id for key, one in runs.items()}
    key = run.results[-1].key
    assert history(client, runs[key], "k") == [(2, 1), (4, 1)]
    assert history(client, runs[key], "crashed") == [(2, 0), (4, 2)]
    assert {one.info.status for one in (parent, *runs.values())} == {"KILLED"}  # it was stopped
    append(run.path, done(1, OTHER, solved(2, 2, 2, epoch=300)))
    for _ in range(2):
        xt.log(run, mlflow=uri)
    client, _, runs = holds(uri, xt.load_run(run.path))
    assert {key: one.info.run_id for key, one in runs.items()} == first
    assert history(client, runs[key], "k") == [(2, 1), (4, 1)]
    other = next(one for found, one in runs.items() if found != key)
    assert history(client, other, "epochs_to_solve") == [(2, 100), (4, 200)]


def test_names_that_mlflow_refuses_are_others_and_stay_apart():
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    given = ["lr", "a/b", "a:b", "..", "/x", "größe%", "a?b", "x" * 300, " "]
    names = mlflow_names(given)
    assert names["lr"] == "lr"
    assert len(set(names.values())) == len(given)
    for name in names.values():
        _validate_metric_name(name)
        _validate_param_name(name)


def test_a_server_that_is_away_is_told_at_once(run, capsys):
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"{AWAY}: MLflow fails \(nobody answers at {AWAY}"):
        xt.log(run, mlflow=AWAY)
    assert time.monotonic() - began < 60  # MLflow alone tries for minutes
    with logging(run.path, [MLflow(AWAY)]):
        pass
    [said] = capsys.readouterr().err.splitlines()
    assert "the search loses nothing by it" in said


# W&B


def test_wandb_offline_holds_each_config_once(run):
    assert xt.log(run, wandb="robust") == 2
    for _ in range(2):
        runs = wandb_runs(run.path)
        assert set(runs) == {result.key for result in run.results}
        for result in run.results:
            config, steps, _, group, project, code = runs[result.key]
            assert {name: config[name] for name in result.point} == dict(result.point)
            assert steps[result.outcome.n]["rate"] == result.outcome.rate
            assert group == Reader(run.path).run().title
            assert (project, code) == ("robust", 0)
        assert list(runs[run.results[-1].key][1]) == [2, 4]
        before = sorted(run.path.glob("wandb/offline-run-*"))
        xt.log(run.path, wandb="robust")
        assert sorted(run.path.glob("wandb/offline-run-*")) == before
    append(run.path, done(1, OTHER, solved(2, 2, 2, epoch=300)))
    result = xortune("log", run.path, "--wandb", "robust")
    assert result.exit_code == 0, result.output
    runs = wandb_runs(run.path)
    assert [list(steps) for _, steps, *_ in runs.values()] == [[2, 4], [2, 4]]


def test_nobody_logged_in_to_wandb_is_told_before_anything_starts(run, monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    result = xortune("log", run.path, "--wandb")
    assert result.exit_code == 2
    assert "nobody is logged in to W&B" in result.stderr
    assert "WANDB_MODE=offline" in result.stderr


# Servers
