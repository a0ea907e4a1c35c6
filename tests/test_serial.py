"""A user's function without Ray: in a process of its own, or with `workers=0` in the user's."""

import os
import random
import time
import traceback

import pytest

import xortune as xt
from xortune.runs.run import load_run

SPACE = {
    "name": "serial",
    "success": "accuracy >= 0.5",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 3},
    "seeds": {"ladder": [4, 8]},
}
PROCESSES: set[int] = set()


def slow(config, seed):
    PROCESSES.add(os.getpid())
    return {"accuracy": (seed * 7 % 11) / 11 * config["x"] + 0.3}


def third(config, seed):
    if seed == 2:
        raise ValueError("third")
    return slow(config, seed)


@pytest.mark.usefixtures("no_ray")
def test_search_certify_and_compare_call_the_function_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PROCESSES.clear()
    run = xt.search(SPACE, train=slow, output="run", workers=0)
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
        xt.search(SPACE, train=third, output=tmp_path / "run", workers=0, fail_fast=True)
    cause = caught.value.__cause__
    assert isinstance(cause, ValueError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "third"
    assert "the first failure: seed 2" in capsys.readouterr().err
    run = xt.search(SPACE, train=third, output=tmp_path / "all", workers=0, verbose=0)
    assert run.table.crashed.tolist() == [1, 1, 1]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("no_ray")
def test_who_interrupts_a_seed_interrupts_the_search(tmp_path):
    def stopped(config, seed):
        if seed == 2 and (tmp_path / "run").exists():
            raise KeyboardInterrupt
        return slow(config, seed)

    with pytest.raises(KeyboardInterrupt):
        xt.search(SPACE, train=stopped, output=tmp_path / "run", workers=0)
    run = xt.search(
        SPACE, train=slow, output=tmp_path / "run", workers=0, resume=True, accept_versions=True
    )
    assert run.manifest["complete"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": -1}, "workers: -1"),
        ({"workers": 0, "address": "auto"}, "address: 'auto'; allowed: only where Ray trains"),
        ({"workers": 0, "trial_timeout": 3}, "trial_timeout: 3.0; allowed: only where Ray trains"),
        ({"workers": 2, "address": "auto"}, "workers: 2, but Ray is already running"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, options, words):
    with pytest.raises(xt.InputError, match=words):
        xt.search(SPACE, train=slow, output=tmp_path / "run", **options)


SHORT = {
    "name": "short",
    "parameters": SPACE["parameters"],
    "search": {"sampler": "random", "trials": 6},
    "seeds": {"race": {"max": 32}},
}


def short(config, seed):
    return random.Random(f"{config['x']} {seed}").random() < config["x"]


@pytest.mark.usefixtures("no_ray")
def test_it_needs_no_ray_and_its_counts_are_those_of_a_loop(tmp_path):
    run = xt.search(SHORT, train=short, output=tmp_path / "run")
    assert run.table.trials.sum() == 6
    for row in run.table.itertuples():
        assert row.k == sum(short({"x": row.x}, seed) for seed in range(row.n))


def test_a_longer_one_waits_for_ray(tmp_path, monkeypatch):
    def longer(config, seed):
        time.sleep(0.2)
        return True

    def none(*_, **__):
        raise RuntimeError("there is none\nMore of it")

    monkeypatch.setattr("ray.init", none)
    space = SHORT | {"seeds": {"ladder": [2]}, "search": {"sampler": "random", "trials": 2}}
    with pytest.raises(xt.InputError, match=r"Ray did not start .*\(there is none\)"):
        xt.search(space, train=longer, output=tmp_path / "run")
    assert not load_run(tmp_path / "run").evaluations, "nothing was trained meanwhile"
