"""A user's function of milliseconds is trained in a process of its own, and no Ray is started."""

import os
import random
import time

import pytest

import xortune as xt
from xortune.runs.run import load_run

SPACE = {
    "name": "short",
    "parameters": {"x": {"low": 0.0, "high": 1.0}},
    "search": {"sampler": "random", "trials": 6},
    "seeds": {"race": {"max": 32}},
}


def short(config, seed):
    return random.Random(f"{config['x']} {seed}").random() < config["x"]


@pytest.mark.usefixtures("no_ray")
def test_it_needs_no_ray_and_its_counts_are_those_of_a_loop(tmp_path):
    run = xt.search(SPACE, train=short, output=tmp_path / "run")
    assert run.table.trials.sum() == 6
    for row in run.table.itertuples():
        assert row.k == sum(short({"x": row.x}, seed) for seed in range(row.n))


@pytest.mark.usefixtures("no_ray")
def test_a_seed_that_ends_its_process_is_a_failed_seed(tmp_path):
    def dies(config, seed):
        if seed == 3:
            os._exit(1)
        return True

    space = SPACE | {"seeds": {"ladder": [5]}, "search": {"sampler": "random", "trials": 2}}
    run = xt.search(space, train=dies, output=tmp_path / "run")
    assert run.table.k.tolist() == [4, 4]
    assert run.table.crashed.tolist() == [1, 1]


def test_a_longer_one_waits_for_ray(tmp_path, monkeypatch):
    def longer(config, seed):
        time.sleep(0.2)
        return True

    def none(*_, **__):
        raise RuntimeError("there is none")

    monkeypatch.setattr("ray.init", none)
    space = SPACE | {"seeds": {"ladder": [2]}, "search": {"sampler": "random", "trials": 2}}
    with pytest.raises(xt.InputError, match=r"Ray did not start .*\(there is none\)"):
        xt.search(space, train=longer, output=tmp_path / "run")
    assert not load_run(tmp_path / "run").evaluations, "nothing was trained meanwhile"
