"""`xortune submit`: what is shipped and run; a job server itself, where there is `ray[default]`."""

import functools
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import ray.job_submission
from commands import refused, xortune
from ray._private.runtime_env.packaging import _get_excludes

from xortune.core.errors import InputError
from xortune.driver import cluster
from xortune.driver.cluster import send_job, submission, wait_for_job

SPACE = """
name: shipped
task: {csv: rows.csv, target: y}
epochs: 10
parameters:
  {activation: Tanh, loss: MSELoss, optimizer: Adam, lr: 0.1, hidden_dim: {low: 2, high: 3}}
search: {sampler: random, trials: 2}
seeds: {ladder: [4]}
"""
SERVER = "http://head:8265"


@pytest.fixture
def space(tmp_path):
    folder = tmp_path / "my spaces"
    (folder / "runs" / "old").mkdir(parents=True)
    (folder / "runs" / "old" / "table.csv").touch()
    (folder / "rows.csv").write_text("a,b,y\n0,0,0\n0,1,1\n1,0,1\n1,1,0\n")
    (folder / "it.yaml").write_text(SPACE)
    return folder / "it.yaml"


ran = functools.partial(xortune, "submit")


def test_ray_sends_the_whole_package_and_no_run(space):
    environment = submission(space, "/shared/a").runtime_env
    [package] = map(Path, environment["py_modules"])
    sent = []
    for folder in (space.parent, package):
        is_excluded = _get_excludes(folder, environment["excludes"])  # of both, says Ray
        names = [path.relative_to(folder) for path in folder.rglob("*.*")]
        kept = [n for n in names if not any(is_excluded(folder / p) for p in (n, *n.parents[:-1]))]
        sent.append(set(map(str, kept)))
    assert sent[0] == {"it.yaml", "rows.csv"}
    assert {str(path.relative_to(package)) for path in package.rglob("*.py")} <= sent[1]


@pytest.fixture
def server(monkeypatch):
    """Stands in for Ray's job server, whose client cannot be had without `ray[default]`."""
    client = Mock()
    client.submit_job.return_value = "raysubmit_1"
    client.get_job_logs.side_effect = ["a line\n" * count for count in (1, 2, 3)]
    connect = client.connect = Mock(return_value=client)
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", connect)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.0)
    return client


def test_the_line_for_ray_job_submit_says_the_same(space):
    labels = ["--note", "a b", "--tag", "x", "--tag", "y"]
    what = submission(space, "s3://bucket/run", ["--trials", "5", *labels])
    where = "--address", SERVER, "--output", "s3://bucket/run"
    done = ran(space, *where, "--trials", 5, *labels, "--dry-run", code=0)
    words = shlex.split(done.output)
    assert words[:5] == ["ray", "job", "submit", "--address", SERVER]
    assert words[words.index("--working-dir") + 1] == str(space.parent)
    given = json.loads(words[words.index("--runtime-env-json") + 1])
    assert {**given, "working_dir": str(space.parent)} == dict(what.runtime_env)
    assert words[words.index("--") + 1 :] == shlex.split(what.entrypoint)
    assert "--output s3://bucket/run --trials 5" in what.entrypoint


SENT_AS_GIVEN = (
    *("--trial-timeout 10m", "--tensorboard --resume", "--tensorboard /shared/logs"),
    *("--mlflow http://ml:5000 --wandb", "--mlflow sqlite:////shared/ml.db", "--wandb team/xor"),
    *("--tensorboard s3://bucket/logs", "--from /shared/old", "--from s3://bucket/old"),
)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ("--seed 3 --sampler random --resume", "--sampler random --seed 3 --resume"),
        *((sent, sent) for sent in SENT_AS_GIVEN),
    ],
)
def test_a_search_is_sent_with_its_options(space, server, options, sent):
    done = ran(space, "--address", SERVER, "--output", "/shared/run", *options.split(), code=0)
    server.connect.assert_called_once_with(SERVER)
    expected = submission(space, "/shared/run", sent.split())
    what = {"entrypoint": expected.entrypoint, "runtime_env": expected.runtime_env}
    server.submit_job.assert_called_once_with(**what)
    assert expected.entrypoint.endswith(f"--output /shared/run {sent}")
    assert f"ray job logs raysubmit_1 --address {SERVER}" in done.output


@pytest.mark.parametrize(
    ("end", "expected"),
    [(("SUCCEEDED", 0), 0), (("FAILED", 4), 4), (("FAILED", None), 1), (("STOPPED", None), 1)],
)
def test_waiting_passes_on_what_is_printed_and_the_exit_code(space, server, end, expected):
    status, code = end
    statuses = map(ray.job_submission.JobStatus, ["PENDING", "RUNNING", status])
    infos = (SimpleNamespace(status=status, driver_exit_code=code) for status in statuses)
    server.get_job_info.side_effect, said = infos, []
    job = send_job(submission(space, "/shared/run"), SERVER)
    assert wait_for_job(job, SERVER, said.append) == expected
    assert said == ["a line\n"] * 3
    server.get_job_info.assert_called_with("raysubmit_1")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--output", "runs/a"], "job's own folder"),
        (["--output", "/a", "--trial-timeout", "soon"], "not a duration"),
        (["--output", "/a", "--trials", "0"], "trials"),
        (["--output", "/a", "--address", "head:6379"], "job server"),
        (["--output", "/a", "--tensorboard", "logs"], "--tensorboard: 'logs' would lie in the job"),
        (["--output", "s3://b/run", "--tensorboard"], "in an object store"),
        (["--output", "/a", "--mlflow", "sqlite:///ml.db"], "'ml.db' would lie in the job's own"),
        (["--output", "/a", "--mlflow", "file:ml"], "'ml' would lie in the job's own folder"),
        (["--output", "/a", "--mlflow", "http://u:p@ml"], "password"),
        (["--output", "/a", "--mlflow", "somewhere"], "not a tracking URI"),
        (["--output", "/a", "--from", "runs/old"], "--from: 'runs/old' would lie in the job's own"),
    ],
)
def test_what_is_wrong_is_told_here(space, options, named):
    refused(ran(space, "--address", SERVER, *options), named)


def test_a_grid_that_needs_no_other_run_is_told_here(space):
    space.write_text(SPACE.replace("sampler: random, trials: 2", "sampler: grid"))
    asked = ran(space, "--address", SERVER, "--output", "/a", "--from", "/b")
    refused(asked, "--from: sampler grid tries every configuration")


@pytest.mark.parametrize(
    ("trainer", "is_refused"),
    [("../train.py:run", True), ("./code/../train.py:run", False), ("code/train.py:run", False)],
)
def test_a_trainer_that_would_not_be_sent_is_told_here(tmp_path, server, trainer, is_refused):
    (tmp_path / "spaces").mkdir()
    path = tmp_path / "spaces" / "own.yaml"
    rest = "parameters: {x: {low: 0, high: 3}}\nsearch: {sampler: grid}\n"
    path.write_text(f"name: own\ntrainer: {trainer}\n{rest}")
    done = ran(path, "--address", SERVER, "--output", "/shared/run")
    assert done.exit_code == (2 if is_refused else 0), done.output
    assert ("own.yaml:2: trainer: '../train.py' is not in the folder" in done.output) == is_refused
    assert server.submit_job.called == (not is_refused)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("... the ray[default] installation"), r"install 'ray\[default\]'.*--dry-run"),
        (ConnectionError("Failed to connect"), r"no job server .*Failed to connect"),
    ],
)
def test_without_a_job_client_or_server_the_fix_is_told(space, monkeypatch, error, words):
    client = Mock(side_effect=error)
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", client)
    with pytest.raises(InputError, match=words):
        send_job(submission(space, "/run"), SERVER)


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("aiohttp_cors") is None,
    reason="there is no job server here: pip install '.[cluster]', as .ci/run --long does",
)
def test_a_real_job_server_both_ways():
    script = Path(__file__).parents[1] / "cluster" / "check_submit.sh"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    how = {"capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(["bash", script], env=os.environ | {"PATH": path}, check=False, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("both ways, the same table\n")
