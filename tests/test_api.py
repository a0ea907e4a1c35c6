"""The verbs: what they accept and refuse, and what they hand on; no training but tiny ones."""

import inspect
import json
import socket
from pathlib import Path

import pytest
from hand_made import CONFIG, TINY_SPACE, done, solved, write_run

import xortune as xt
from xortune.core.errors import InputError
from xortune.driver import session as session_module
from xortune.driver.cluster import Cluster, connected
from xortune.runs.sessions import first_manifest
from xortune.spaces.space import parse_space


@pytest.fixture
def space_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY_SPACE)
    return path


@pytest.fixture
def sessions(monkeypatch):
    """Instead of a search with Ray: one evaluation is written, and the arguments are kept."""
    calls = []

    def session(space, trainer, directory, *, resume, **more):
        manifest = first_manifest(space, trainer, resume.command)
        calls.append({"space": space, "trainer": trainer, "manifest": manifest, **more})
        point = trainer.check(xt.Config(**{**CONFIG, "epochs": 30}).point)
        lines = [done(0, point, solved(0, 3, 4, epochs=30))]
        write_run(directory, lines, space_text=space.text, **manifest)
        return True

    monkeypatch.setattr(session_module, "search_session", session)
    session.calls = calls
    return session


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"seeds": [1, 1]}, "1 is given twice"),
        ({"checkpoints": [21]}, "21 is not an epoch.*1 to 20"),
        ({"checkpoints": [True]}, "True is not an epoch"),
        ({"engine": "warp"}, "unknown engine 'warp'"),
        ({"task": "parity"}, "parity"),
        ({"config": {"lr": 1}}, "config: activation is missing; allowed: a config of the built-in"),
    ],
)
def test_evaluate_refuses(make_config, more, words):
    with pytest.raises(InputError, match=words):
        xt.evaluate(**{"config": make_config(epochs=20), "seeds": range(2)} | more)


def test_a_used_directory_is_never_taken_twice(space_file, sessions):
    runs = [xt.search(space_file) for _ in range(3)]
    assert [run.path for run in runs] == [Path("runs") / f"tiny{end}" for end in ("", "-2", "-3")]
    assert all((run.path / "report.md").exists() for run in runs)
    with pytest.raises(InputError, match="already holds a run"):
        xt.search(space_file, output="runs/tiny")
    assert len(sessions.calls) == 3


def test_resume_simply_starts_where_there_is_no_run(space_file, sessions):
    run = xt.search(str(space_file), output="new/run", resume=True)
    assert run.path == Path("new/run")
    Path("empty").mkdir()
    assert xt.search(space_file, output=Path("empty"), resume=True).path == Path("empty")
    assert xt.search(space_file, resume=True).path == Path("runs/tiny")


def test_what_is_given_replaces_what_the_file_says(space_file, sessions):
    def heard(progress):
        raise AssertionError(progress)

    where = {"address": "auto", "cpus_per_trial": 0.5, "gpus_per_trial": 0.25}
    how = {"trials": 7, "seed": 5, "sampler": "tpe", "time_budget": "2m", "on_progress": heard}
    run = xt.search(space_file, **how, **where)
    (call,) = sessions.calls
    settings = call["space"].search
    found = (settings.trials, settings.seed, settings.sampler, settings.time_budget)
    assert found == (7, 5, "tpe", 120)
    assert call["cluster"] == Cluster("auto", cpus_per_trial=0.5, gpus_per_trial=0.25)
    assert call["listener"].progress is heard
    assert (call["trainer"].engine, call["trainer"].gpus) == ("auto", 0.25)
    assert run.asked == call["space"], "space.yaml says what was run"


def test_the_manifest_says_how_the_run_was_made(space_file, sessions):
    run = xt.search(space_file, command=["xortune", "search", "tiny.yaml"])
    manifest = json.loads((run.path / "manifest.json").read_text())
    assert manifest["name"] == "tiny"
    assert manifest["command"] == ["xortune", "search", "tiny.yaml"]
    assert (manifest["seed"], manifest["sampler"], manifest["trials"]) == (0, "random", 3)
    assert (manifest["ladder"], manifest["first_seed"]) == ([4], 0)
    assert manifest["task_fingerprint"] == xt.Task.xor().fingerprint
    assert manifest["space_file"] == str(space_file)
    assert set(manifest["versions"]) == {"python", "xortune", "torch", "ray", "optuna", "numpy"}
    assert manifest["git_commit"] is None, "the working directory is in no checkout"
    assert manifest["started"] <= manifest["finished"]
    for name in ("host", "platform", "torch", "engine", "device"):
        assert manifest[name]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        *(({"trials": 0}, "trials: 0"), ({"trials": 2.5}, "trials: 2.5")),
        *(({"seed": -1}, "seed: -1"), ({"sampler": "tpee"}, "did you mean 'tpe'")),
        *(({"sampler": "grid"}, "grid"), ({"time_budget": "soon"}, "soon")),
        ({"cpus_per_trial": 0}, "cpus_per_trial: 0 is out of range; allowed: above 0"),
        ({"cpus_per_trial": float("nan")}, "cpus_per_trial: nan"),
        ({"gpus_per_trial": -0.5}, "gpus_per_trial: -0.5 is out of range; allowed: 0 or more"),
        ({"output": "tiny.yaml"}, "tiny.yaml"),
    ],
)
def test_search_refuses_before_anything_is_written(space_file, sessions, more, words):
    with pytest.raises(InputError, match=words):
        xt.search(space_file, **more)
    assert not Path("runs").exists()
    assert space_file.read_text() == TINY_SPACE


def test_searchs_arguments_keep_their_names_and_come_by_name():
    """Scripts that were written for an earlier version go on."""
    first, *others = inspect.signature(xt.search).parameters.values()
    assert (first.name, first.default) == ("space", first.empty)
    assert {one.kind for one in others} == {inspect.Parameter.KEYWORD_ONLY}
    assert {one.name: one.default for one in others} == {
        **dict.fromkeys(("output", "trials", "seed", "sampler", "time_budget", "address")),
        **dict.fromkeys(("trial_timeout", "study_storage", "study_name", "tensorboard", "mlflow")),
        **dict.fromkeys(("wandb", "on_progress", "on_certify", "on_word", "on_failure")),
        **dict.fromkeys(("command", "train", "n_trials", "note", "tags", "workers")),
        **dict.fromkeys(("resume", "extend", "accept_versions", "fail_fast"), False),
        "cpus_per_trial": 1.0,
        "gpus_per_trial": 0.0,
        "engine": "auto",
        "dry_run": True,
        "verbose": 1,
    }


def test_a_cluster_that_does_not_answer_is_told_at_once_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(InputError, match=rf"{address}.* cannot be reached.*ray status"):
            xt.search(parse_space(TINY_SPACE), address=address)
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_job_server_is_no_cluster_to_connect_to():
    with pytest.raises(InputError, match="xortune submit"), connected(Cluster("http://head:8265")):
        pass
