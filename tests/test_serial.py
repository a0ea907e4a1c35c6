"""A user's function without Ray: in a process of its own, or with `workers=0` in the user's.

Searches from threads, forks and spawned processes; what a search leaves of the caller's process.
"""

import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

import forked
import numpy as np
import pytest
import ray
from listening import sentences

import xortune as xt
from xortune.core.errors import InputError
from xortune.deciding.propose import SampledProposer

SPACE = {
    "name": "serial",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 2},
    "seeds": {"ladder": [4]},
}
SCORED = SPACE | {"success": "accuracy >= 0.5", "seeds": {"ladder": [4, 8]}}
PROCESSES: set[int] = set()


def slow(config, seed):
    PROCESSES.add(os.getpid())
    return {"accuracy": (seed * 7 % 11) / 11 * config["x"] + 0.3}


def third(config, seed):
    if seed == 2:
        raise ValueError("third")
    return slow(config, seed)


@pytest.mark.usefixtures("no_ray")
def test_the_time_budget_of_a_resumed_search_begins_after_its_journal_is_read(
    tmp_path, monkeypatch
):
    given = {"train": slow, "output": tmp_path / "run", "workers": 0}
    space = SPACE | {"success": "accuracy >= 0.5"}
    xt.search(space, trials=20, **given)
    clock, replay, passed = time.monotonic, SampledProposer.replay, []

    def slowly(*trial):
        passed.append(10.0)
        return replay(*trial)

    monkeypatch.setattr(SampledProposer, "replay", slowly)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(passed))
    run = xt.search(space, trials=30, time_budget="1m", resume=True, **given)
    assert (len(passed), len(run.evaluations), run.manifest["complete"]) == (20, 30, True)


@pytest.mark.usefixtures("no_ray")
def test_search_certify_and_compare_call_the_function_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PROCESSES.clear()
    run = xt.search(SCORED, train=slow, output="run", workers=0)
    assert {os.getpid()} == PROCESSES
    for row in run.table.itertuples():
        found = [slow({"x": row.x}, seed)["accuracy"] >= 0.5 for seed in range(row.n)]
        assert row.k == sum(found)
    assert run.best.x == run.best_params["x"] == run.table.x[0]
    assert run.best_rate == run.table.rate[0]
    certificate = xt.certify(run, top=1, seeds=20, train=slow, workers=0)
    assert f"{certificate.best.k} of 20 fresh seeds" in str(certificate)
    assert "with confidence 0.95" in certificate._repr_html_()
    found = xt.compare(
        ["run", f"run#{run.results[1].key}"], train=slow, seeds=20, workers=0, labels=["a", "b"]
    )
    assert str(found).startswith(("a ", "b "))
    assert {os.getpid()} == PROCESSES


@pytest.mark.usefixtures("no_ray")
def test_what_a_seed_raises_keeps_its_traceback(tmp_path, capsys):
    with pytest.raises(xt.TrainingError, match="third") as caught:
        xt.search(SCORED, train=third, output=tmp_path / "run", workers=0, fail_fast=True)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "third"
    assert "the first failure: seed 2" in capsys.readouterr().err
    run = xt.search(SCORED, train=third, output=tmp_path / "all", workers=0, verbose=0)
    assert run.table.crashed.tolist() == [1, 1]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_ray")
def test_who_interrupts_a_seed_interrupts_the_search(tmp_path):
    def stopped(config, seed):
        if seed == 2 and (tmp_path / "run").exists():
            raise KeyboardInterrupt
        return slow(config, seed)

    with pytest.raises(KeyboardInterrupt):
        xt.search(SCORED, train=stopped, output=tmp_path / "run", workers=0)
    run = xt.search(
        SCORED, train=slow, output=tmp_path / "run", workers=0, resume=True, accept_versions=True
    )
    assert run.manifest["complete"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": -1}, "workers: -1"),
        ({"workers": 0, "address": "auto"}, "address: 'auto'; allowed: only where others train"),
        ({"workers": 0, "ray": xt.Ray("auto")}, "address: 'auto'; allowed: only where others"),
        (
            {"workers": 0, "ray": xt.Ray(timeout=3)},
            "ray: True; allowed: only where others train",
        ),
        (
            {"workers": 2, "address": "auto"},
            "workers: 2, but Ray is already running; allowed: any number where",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        xt.search(SCORED, train=slow, output=tmp_path / "run", **options)


def test_a_ray_that_does_not_start_is_told_to_those_who_ask_for_it(tmp_path, monkeypatch):
    def longer(config, seed):
        return True

    def none(*_, **__):
        raise RuntimeError("there is none\nMore of it")

    monkeypatch.setattr("ray.init", none)
    with pytest.raises(InputError, match=r"Ray did not start .*\(there is none\)"):
        xt.search(SPACE, train=longer, output=tmp_path / "run", ray=True)
    assert not (tmp_path / "run").exists(), "nothing was trained meanwhile"
    full = SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr("xortune.training.cluster.shutil", full)
    with pytest.raises(InputError, match="the folder of its files is full; fix: free space there"):
        xt.search(SPACE, train=longer, output=tmp_path / "other", ray=True)


# -------------------------------------------------------------------------------------------------
# From threads, forks and spawned processes.


def even(config, seed):
    return seed % 2 == 0


def test_a_second_search_in_a_thread_is_refused_and_the_first_goes_on(tmp_path):
    refused = []

    def second():
        with pytest.raises(InputError) as raised:
            xt.search(SPACE, train=even, output=tmp_path / "second")
        refused.append(str(raised.value))

    def ended(word):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        raise KeyboardInterrupt  # no need to train

    for _ in range(2):  # the first has ended by then, and is in nobody's way
        with pytest.raises(KeyboardInterrupt):
            xt.search(SPACE, train=even, output=tmp_path / "first", listener=sentences(ended))
    assert len(refused) == 2
    assert re.search("another thread.*fix: wait until it has ended", refused[0])
    assert not (tmp_path / "second").exists()


SCRIPT = """
import multiprocessing, os, sys
import xortune as xt
from xortune.core.errors import InputError

def even(seed):
    return seed % 2 == 0

def train(config, seed):
    return even(seed)

def search(folder):
    try:
        run = xt.search(SPACE, train=train, output=folder, workers=xt.Workers(timeout=60))  # by Ray
        print(run.manifest["trainer"], run.results[0].outcome.successes, flush=True)
    except InputError as error:
        print(error, flush=True)

if __name__ == "__main__":
    if sys.argv[1] == "fork":
        search("before")
    process = multiprocessing.get_context(sys.argv[1]).Process(target=search, args=("run",))
    process.start()
    process.join(120)
    print("ended with", process.exitcode, flush=True)
    process.kill()
"""


def script(folder, *words):
    (folder / "script.py").write_text(f"SPACE = {SPACE!r}\n{SCRIPT}")
    ran = subprocess.run(
        [sys.executable, "script.py", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return ran.stdout.splitlines(), ran.stderr


@pytest.mark.long
def test_a_spawned_process_sends_functions_of_the_main_module_and_a_fork_is_refused(tmp_path):
    ran, ended = "__main__:train 2", "ended with 0"
    lines, stderr = script(tmp_path, "spawn")
    assert lines == [ran, ended], stderr
    (tmp_path / "run").rename(tmp_path / "spawned")
    lines, stderr = script(tmp_path, "fork")
    assert (lines[0], lines[2]) == (ran, ended), stderr
    assert "forked from one that had used Ray" in lines[1]
    assert not (tmp_path / "run").exists()


def test_a_function_that_cannot_be_sent_is_refused_before_anything_is_there(tmp_path):
    lock = threading.Lock()

    def locked(config, seed):
        with lock:
            return True

    for check in (True, False):
        with pytest.raises(InputError, match=r"train: .*cannot be sent.*lock.*fix: create locks"):
            xt.search(SPACE, train=locked, output=tmp_path / "run", check=check)
        assert not (tmp_path / "run").exists()


def threads(config, seed):
    import torch

    return float(torch.get_num_threads())


@pytest.mark.parametrize(("asked", "wanted"), [(None, 2), ("1", 1)])
def test_a_check_has_the_threads_of_a_trial(tmp_path, monkeypatch, asked, wanted):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if asked is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
    space, told = SPACE | {"success": "value >= 2"}, []

    def ended(word):
        told.append(word)
        raise KeyboardInterrupt  # no need to train

    two = {"workers": xt.Workers(cpus=2), "listener": sentences(ended)}
    with pytest.raises(KeyboardInterrupt):
        xt.search(space, train=threads, output=tmp_path / "run", **two)
    assert f"value {wanted}" in told[0]


def uses_ray(config, seed):
    return ray.get(ray.remote(lambda: True).remote())


def starts_ray(config, seed):
    ray.init()
    return True


@pytest.mark.parametrize("train", [uses_ray, starts_ray])
def test_the_check_finds_a_function_that_uses_ray(tmp_path, train):
    with pytest.raises(InputError, match="the function uses Ray itself"):
        xt.search(SPACE, train=train, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------------------
# What a search leaves of the caller's process: everything as it was.

LOGGERS = ("ray", "ray.tune", "optuna")


def state():
    return {
        "environment": dict(os.environ),
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "loggers": {name: logging.getLogger(name).level for name in (None, *LOGGERS)},
        "threads": {thread.name for thread in threading.enumerate()},
        "hook": sys.excepthook,
        "folder": Path.cwd(),
        "collector": (gc.get_threshold(), gc.get_freeze_count() > 0),
    }


def changed(search):
    """What is another after a search: nothing."""
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "7"
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    before = state()
    try:
        search()
        after = state()
    finally:
        del os.environ["TUNE_MAX_PENDING_TRIALS_PG"]
        signal.signal(signal.SIGTERM, handler)
    return {what: (before[what], after[what]) for what in before if before[what] != after[what]}


SEARCH = """
import ray
from test_serial import SPACE, changed
import xortune as xt

def train(config, seed):
    return seed % 2 == 1

space = SPACE | {"search": {"sampler": "tpe", "trials": 2}}
print(changed(lambda: xt.search(space, train=train, output="run")), ray.is_initialized())
"""


def test_a_search_without_ray_leaves_the_process_as_it_was(tmp_path):
    """That on a Ray that is there: see test_custom_ray.py."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    ran = forked.run(["-c", SEARCH], cwd=tmp_path, env=environment)
    assert ran.stdout.splitlines()[-1] == "{} False"


@pytest.mark.parametrize(
    ("rates", "delta", "said"),
    [
        ([0.0, 0.2, 1.0, 0.1], 0.1, "at least 90 %, no configuration of this search is better"),
        (
            [0.9, 0.9, 0.9, 0.9],
            0.01,
            "whether one is better by more than 0.01. 3 configurations could be; the likeliest is",
        ),
    ],
)
def test_a_search_ends_on_what_it_can_say(tmp_path, rates, delta, said):
    def train(config, seeds):
        draws = np.random.default_rng(config["arm"]).random(999)
        return draws[np.asarray(seeds)] < rates[config["arm"]]

    space = {
        "name": "arms",
        "parameters": {"arm": {"low": 0, "high": len(rates) - 1}},
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": 32, "delta": delta}},
    }
    run = xt.search(space, train=train, output=tmp_path / "run", workers=0, verbose=0)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert said in report
    assert str(run.statement) in report
    assert str(run.statement) in str(xt.status(run).statement)
    assert str(run.winner) in report
    assert "ended at its limit" not in report
    most = len(rates) * 32
    assert run.table.n.sum() < most if delta == 0.1 else run.table.n.sum() == most
    if delta == 0.1:
        return
    space["seeds"]["finalists"] = 2
    run = xt.search(space, train=train, output=tmp_path / "short", workers=0, verbose=0)
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert "ended at its limit of 64 seeds after the last proposal: a larger `finalists`" in report
    assert run.table.n.sum() < most
