"""A command and a function of the user's on Ray: searched, certified, compared and reported.

Ray's workers listen on the loopback device and change nothing else.
"""

import ipaddress
import json
import logging
import math
import re
import shutil
import subprocess
from unittest.mock import Mock

import psutil
import pytest
import ray
from commands import xortune
from listening import counts
from test_serial import LOGGERS, changed

import xortune as xt
from xortune.core.outcome import Status
from xortune.driver import session as session_module
from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL

pytestmark = pytest.mark.usefixtures("one_ray")

SCRIPT = r"""#!/bin/sh
layers=${1#--layers=} name=$2 seed=${3#--seed=}
draw=$(((seed * 7919 + layers * 104729) % 100))
echo "seed $seed of $layers layers, $name"
case $draw in [0-9]) echo "bad luck: $draw" >&2; exit 3 ;; esac
test $draw -lt 20 && { echo '{"accuracy": nan, "steps": 1}'; exit 0; }
test "$layers,$seed" = 2,5 && exec sleep 617
echo "{\"accuracy\": 0.$draw, \"steps\": $seed}"
"""

ALONE = ("--cpus-per-trial", 2)
"""One worker, as the start of each takes seconds."""

NAME = "it's $(touch /tmp/x) {and} *"

SPACE = """
name: shell
trainer:
  command: ./train.sh --layers={n_layers} {name} --seed={seed}
  success: accuracy >= 0.5
  timeout: 1s
parameters: {n_layers: {low: 1, high: 4}, name: NAME}
search: {sampler: grid}
seeds: {ladder: [20]}
""".replace("NAME", json.dumps(NAME))


def program_in(place):
    """A program and a space file beside it; the working directory is another."""
    place.mkdir()
    (place / "space.yaml").write_text(SPACE)
    (place / "train.sh").write_text(SCRIPT)
    (place / "train.sh").chmod(0o755)
    return place


def plain_loop(folder, layers, seeds):
    """Statuses by a loop that knows nothing of xortune."""
    found = []
    for seed in seeds:
        words = ["./train.sh", f"--layers={layers}", NAME, f"--seed={seed}"]
        try:
            done = subprocess.run(words, cwd=folder, capture_output=True, timeout=1, check=True)
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
            found.append(Status.CRASHED)
            continue
        last = json.loads(done.stdout.decode().splitlines()[-1].replace("nan", "NaN"))["accuracy"]
        judged = Status.SOLVED if last >= 0.5 else Status.WRONG_PATTERN
        found.append(Status.DIVERGED if math.isnan(last) else judged)
    return found


@pytest.fixture(scope="module")
def searched(one_ray, tmp_path_factory):
    """The folder, and what the command said; the run lies beside the folder."""
    folder = program_in(tmp_path_factory.mktemp("searched") / "it")
    run = folder.parent / "run"
    return folder, run, xortune("search", folder / "space.yaml", "--output", run, *ALONE, code=0)


def test_a_search_from_the_command_line_to_the_gate(searched, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder, run, result = searched
    shown = xortune("space", folder / "space.yaml").stdout
    assert re.search(r"run as +\S*./train.sh --layers=1 'it'", shown), shown
    assert "note: check of seed 0 with n_layers=" in result.stderr
    _, first = result.stderr.split("the first failure")  # it is told of once
    _, command, printed, *_ = first.splitlines()
    assert command.startswith(f"{folder}$ ./train.sh --layers=")
    assert printed.startswith("seed ")
    loaded = xt.load_run(run)
    statuses = {r.point["n_layers"]: r.outcome.status.tolist() for r in loaded.results}
    wanted = {layers: plain_loop(folder, layers, range(20)) for layers in range(1, 5)}
    assert statuses == wanted
    assert set().union(*wanted.values()) == {0, 1, 4, 5}
    assert wanted[2][5] == Status.CRASHED
    reasons = loaded.seeds.set_index(["key", "seed"]).reason
    slow = next(r for r in loaded.results if r.point["n_layers"] == 2)
    assert reasons[slow.key, 5] == f"took longer than 1 s: seed 5 of 2 layers, {NAME}"
    assert {"exit code 3: bad luck: 1", "accuracy is nan"} <= set(reasons)
    printed = (run / "failures.txt").read_text()
    assert f"=== seed 5 of {slow.key}: n_layers 2, name {NAME}\n=== took longer" in printed
    failed = sum(s in (Status.CRASHED, Status.DIVERGED) for f in wanted.values() for s in f)
    assert printed.count("=== seed ") == failed
    assert "failures.txt" in (run / "report.md").read_text()
    assert "accuracy_mean" in loaded.table
    xortune("certify", run, "--seeds", 12, "--top", 1, *ALONE, code=0)
    best = xt.load_run(run).certificate.best
    fresh = plain_loop(folder, best.point["n_layers"], range(best.first, best.first + 12))
    assert best.k == fresh.count(Status.SOLVED)
    assert "(on fresh seeds)" not in printed
    xortune("report", run)
    assert "(on fresh seeds)" in (run / "failures.txt").read_text()
    xortune("compare", run, f"{run}#{slow.key}", "--seeds", 4, code=0)


def test_reading_a_run_or_a_space_never_runs_the_command(searched):
    folder, run, _ = searched
    space = folder / "space.yaml"
    xt.certify(run, top=1, seeds=10, workers=0)
    (folder / "train.sh").write_text(f"#!/bin/sh\ntouch {folder}/ran\n")
    xt.load_space(space)
    xt.write_report(xt.load_run(run))
    for words in (("space", space), ("report", run), ("status", run)):
        xortune(*words, code=0)
    assert xortune("gate", run, "--min-rate", 0.001).exit_code in (0, 1)
    result = xortune("export", run, code=0)
    assert "\n# With seed 0: ./train.sh --layers=" in result.stdout
    with pytest.raises(xt.InputError, match=r"source: \w+ -> \w+"):
        xt.search(space, output=run, resume=True)
    with pytest.raises(xt.InputError, match=r"source: \w{16} -> "):
        xt.certify(run, top=1, seeds=20)
    assert not (folder / "ran").exists()


def test_a_check_shows_what_the_command_printed(tmp_path):
    folder, run = program_in(tmp_path / "it"), tmp_path / "run"
    space = folder / "space.yaml"
    (folder / "train.sh").write_text("#!/bin/sh\necho no module >&2\nexit 1\n")
    result = xortune("search", space, "--output", run, code=2)
    assert "check: exit code 1: no module; allowed: a command that trains" in result.stderr
    assert "$ ./train.sh --layers=" in result.stderr
    assert not run.exists()
    (folder / "train.sh").write_text("#!/bin/sh\necho '{\"acc\": 1}'\n")
    with pytest.raises(xt.InputError, match=r"returned no 'accuracy'.*allowed: acc"):
        xt.search(space, output=run, workers=0)  # who trains it says nothing else


def test_nothing_runs_after_all_this():
    """No sleep of these tests is left, whoever started it."""
    found = psutil.process_iter(["cmdline", "username"])
    this = psutil.Process().username()
    assert not [p for p in found if p.info == {"cmdline": ["sleep", "617"], "username": this}]


# A function, and what Ray's workers do to the machine.

FUNCTION_SPACE = """
name: places
trainer: ./code/train.py:run
success: "value >= 0.5"
parameters: {x: {low: 0, high: 2}}
search: {sampler: grid}
seeds: {ladder: [4], certify: 5}
"""

TRAIN = """
import os
import tempfile
from pathlib import Path

BESIDE = float(Path(__file__).with_name("beside.txt").read_text())

def run(config, seed):
    here = float(Path("data.txt").read_text())
    away = tempfile.mkdtemp()
    os.chdir(away)  # as some tools do, and never back
    os.rmdir(away)
    os.chdir(Path(__file__).parent.parent)
    return here * BESIDE * ((seed + config["x"]) % 3)
"""


@pytest.fixture(scope="module")
def place(one_ray, tmp_path_factory):
    """A folder with a function and a finished run, and what was noted meanwhile."""
    folder, told = tmp_path_factory.mktemp("places"), Mock()
    starts = Mock(side_effect=session_module.executor_for)
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text(TRAIN)
    (folder / "code" / "beside.txt").write_text("0.5")
    (folder / "data.txt").write_text("1.0")
    (folder / "space.yaml").write_text(FUNCTION_SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(session_module, "executor_for", starts)
        apart = "xortune.driver.certify.certify_run"
        patch.setattr(apart, lambda *_, **__: pytest.fail("nothing is left to be certified apart"))
        for name in LOGGERS:
            patch.setattr(logging.getLogger(name), "level", logging.WARNING)
        more = {"workers": xt.Workers(cpus=2), "listener": counts(told)}
        other = changed(lambda: xt.search("space.yaml", output="run", **more))
    return folder, starts, told, other


def test_relative_files_of_a_function_are_those_of_a_plain_loop(place):
    run = load_run(place[0] / "run")
    found = [(result.point, result.outcome) for result in run.results]
    found += [(check.block.point, check.outcome) for check in run.checks]
    assert len(found) == 6
    for point, outcome in found:
        values = [0.5 * ((seed + point["x"]) % 3) for seed in outcome.seeds.tolist()]
        assert outcome.details.values["value"].tolist() == values
        assert outcome.solved.tolist() == [value >= 0.5 for value in values]


def test_a_search_certifies_on_its_own_workers(place, monkeypatch):
    folder, starts, told, _ = place
    run = load_run(folder / "run")
    assert starts.call_count == 1
    total = 5 * len(run.certificate.finalists)
    counts = [call.args for call in told.call_args_list]
    assert (counts[0], counts[-1]) == ((0, total), (total, total))
    assert {line.worker for line in run.checks} <= {line.worker for line in run.evaluations}
    assert run.manifest["complete"] is True
    assert "The winners on seeds" in (run.path / "report.md").read_text()
    # The command in this process says the same.
    monkeypatch.chdir(folder)
    copy = shutil.copytree(run.path, folder / "apart" / "copy")  # another project
    lines = (copy / JOURNAL).read_text().splitlines(keepends=True)
    (copy / JOURNAL).write_text("".join(line for line in lines if '"purpose"' not in line))
    xt.certify(copy, seeds=5)
    first, second = ((path / "certificate.json").read_text() for path in (run.path, copy))
    assert first == second


HANGS_ON_THE_WAY = """
import time

def one(config, seed):
    while seed == 1:
        time.sleep(1)
    return True

def together(config, seeds):
    while 1 in seeds:
        time.sleep(1)
    return seeds >= 0
"""


@pytest.mark.usefixtures("one_ray")
@pytest.mark.parametrize("function", ["one", "together"])
def test_a_seed_over_its_time_limit_costs_that_seed_alone(tmp_path, monkeypatch, function):
    """Its worker is killed; those that train in one call with it train again, each alone."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hangs.py").write_text(HANGS_ON_THE_WAY)
    space = {"parameters": {"x": 1.0}, "search": {"sampler": "grid"}, "seeds": {"ladder": [4]}}
    space["trainer"] = {"function": f"./hangs.py:{function}", "timeout": "0.7s"}
    run = xt.search({"name": "hangs", **space}, output="run", verbose=0)
    [result] = run.results
    assert result.outcome.details.failed == {1: "took longer than 0.7 s"}
    assert (result.outcome.successes, result.outcome.n) == (3, 4)


STACKED = """
import os, time
import torch
from torch import nn
import xortune as xt

X = torch.linspace(-1, 1, 24).reshape(8, 3)

class Late(xt.TorchTraining):
    \"\"\"From seed 32 on each seed has a loss of its own, which a stack does not compute.\"\"\"

    epochs = 4

    def model(self):
        seed = torch.initial_seed()
        with open("log", "a") as log:
            log.write(f"{time.time()} {os.getpid()} {seed}\\n")
        self.factor = 1 + (seed >= 32) * (seed % 7)
        return nn.Linear(3, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=self.config["lr"])

    def batches(self):
        for rows in torch.randperm(8).split(2):
            yield (X[rows],)

    def loss(self, model, x):
        return self.factor * (model(x) - x[:, :1]).square().mean()

    def score(self, model):
        return {"error": (model(X) - X[:, :1]).square().mean()}
"""


@pytest.mark.usefixtures("one_ray")
def test_idle_workers_train_audited_seeds_alone_and_a_wrong_stack_gives_the_loops_counts(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xortune.driver.search.write_report", lambda *_, **__: None)
    (tmp_path / "late.py").write_text(STACKED)
    space = {
        "parameters": {"lr": 0.05},
        "search": {"sampler": "grid"},
        "seeds": {"ladder": [32, 64]},
    }
    space |= {"trainer": {"function": "./late.py:Late"}, "success": "error <= 0.001"}
    run = xt.search({"name": "late", **space}, output="run", verbose=0)
    lines = [json.loads(line) for line in (run.path / JOURNAL).read_text().splitlines()]
    agreed = next(line for line in lines if line["audit"]["audited"])
    assert agreed["audit"]["audited"] >= 29
    of_stack = int(agreed["worker"].rpartition(":")[2])
    log = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    others = [seed for at, pid, seed in log if float(at) < agreed["at"] and int(pid) != of_stack]
    assert len(set(others)) > 10
    [result] = run.results
    training = load_late(tmp_path)
    alone = [training({"lr": 0.05}).run(seed)["error"] for seed in range(64)]
    assert result.outcome.details.values["error"].tolist() == pytest.approx(alone, rel=1e-6)
    assert result.outcome.solved.tolist() == [error <= 0.001 for error in alone]
    assert 0 < result.outcome.successes < 64
    # By an audit in another worker, or by that of the stack's own.
    assert re.match(r"(of )?seed \d+ ", run.audit.fault)
    assert run.audit.stacked == 0


def load_late(folder):
    found = {}
    exec((folder / "late.py").read_text(), found)  # as Python loads a module
    return found["Late"]


def test_a_search_on_a_ray_that_is_there_leaves_the_process_as_it_was(place):
    assert place[-1] == {}
    assert ray.is_initialized()


def test_every_socket_is_on_the_loopback_device():
    ray.get(ray.remote(lambda: 1).remote())  # a worker has sockets of its own
    this = psutil.Process()
    names = {process.pid: process.name() for process in (this, *this.children(recursive=True))}
    found = [
        (names[one.pid], ipaddress.ip_address(one.laddr.ip.removeprefix("::ffff:")))
        for one in psutil.net_connections("tcp")
        if one.pid in names and one.status == psutil.CONN_LISTEN
    ]
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}, "else the test tells nothing"
    assert len(found) >= 5
    assert [entry for entry in found if not entry[1].is_loopback] == []
