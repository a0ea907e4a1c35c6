"""The Hydra sweeper, and searches whose seeds somebody else launches."""

from pathlib import Path

import forked
import numpy as np
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

import xortune as xt
from hydra_plugins.xortune_sweeper.sweeper import form_of, written
from xortune.driver.launched import search_launched

APP = """
import random
import hydra

@hydra.main(version_base=None, config_path=None, config_name="config")
def main(cfg):
    if cfg.opt.name == "bad" and cfg.seed % 2:
        raise ValueError("no such optimizer")
    if cfg.opt.name == "stopped" and cfg.seed == 2:
        raise KeyboardInterrupt
    assert cfg.fixed == 7
    return {"accuracy": cfg.opt.lr if cfg.seed % 4 else 1.0}

if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore
    opt = {"name": "sgd", "lr": 0.1}
    ConfigStore.instance().store("config", {"seed": 0, "opt": opt, "fixed": 1})
    main()
"""


def swept(folder: Path, *arguments: str):
    (folder / "app.py").write_text(APP)
    command = ["app.py", "-m", "hydra/sweeper=xortune", "hydra.sweep.dir=out", *arguments]
    return forked.run(command, cwd=folder, check=False)


def test_a_program_of_hydra_is_searched(tmp_path):
    how = ("success='accuracy >= 0.9'", "sampler=grid", "space={seeds:{ladder:[4]}}", "n_jobs=4")
    sweeper = [f"hydra.sweeper.{word}" for word in how]
    done = swept(tmp_path, "opt.name=sgd,bad", "opt.lr=choice(0.5,0.9)", "fixed=7", *sweeper)
    assert done.returncode == 0, done.stderr
    run = xt.load_run(tmp_path / "out" / "xortune")
    found = {(r.point["opt.name"], r.point["opt.lr"]): r.outcome for r in run.results}
    counts = {key: (o.successes, o.counts[xt.Status.CRASHED], o.n) for key, o in found.items()}
    assert counts == {
        ("sgd", 0.9): (4, 0, 4),
        ("sgd", 0.5): (1, 0, 4),
        ("bad", 0.9): (2, 2, 4),
        ("bad", 0.5): (1, 2, 4),
    }
    assert (run.path / "report.html").exists()
    assert "4 of 4 seeds succeed with opt.name=sgd opt.lr=0.9 fixed=7" in done.stdout
    best = yaml.safe_load((tmp_path / "out" / "optimization_results.yaml").read_text())
    assert best["best_evaluated_params"] == {"opt.name": "sgd", "opt.lr": 0.9, "fixed": 7}
    assert best["best_evaluated_result"] == 1.0
    jobs = sorted((p for p in (tmp_path / "out").iterdir() if p.name.isdecimal()), key=str)
    assert len(jobs) == 17  # one was the check
    assert "seed=" in (jobs[1] / ".hydra" / "overrides.yaml").read_text()


def test_who_interrupts_a_sweep_is_told_how_to_continue(tmp_path):
    how = ("success='accuracy >= 0.9'", "sampler=grid", "space={seeds:{ladder:[4]}}")
    sweeper = [f"hydra.sweeper.{word}" for word in how]
    done = swept(tmp_path, "opt.name=sgd,stopped", "opt.lr=0.5", "fixed=7", *sweeper)
    assert done.returncode == 3
    [told] = [line for line in done.stderr.splitlines() if line.startswith("xortune: interrupted")]
    assert told.endswith("to continue, add hydra.sweeper.resume=true hydra.sweep.dir=out")
    assert "Traceback" not in done.stderr
    assert xt.load_run(tmp_path / "out" / "xortune").results


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("seed=1,2", "xortune: seed: the sweeper sets the seed of each job"),
        ("hydra.sweeper.seed_key=sead", "Could not override 'sead'"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_a_job_runs(tmp_path, argument, told):
    done = swept(tmp_path, argument, "fixed=7")
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_check_names_the_setting_of_the_sweeper(tmp_path):
    done = swept(tmp_path, "fixed=8", "hydra.sweeper.success='accuracy >= 0.9'")
    assert done.returncode == 1
    assert "start nevertheless with hydra.sweeper.check=false" in done.stderr


@pytest.mark.parametrize(
    ("override", "form"),
    [
        ("x=1,2", {"choice": [1, 2]}),
        ("x=choice('1',a,[b,'2'],{c:null})", {"choice": ["1", "a", ["b", "2"], {"c": None}]}),
        ("x=range(1,10,3)", {"low": 1, "high": 7, "step": 3}),
        ("x=range(0,0.35,0.1)", {"low": 0.0, "high": 0.3, "step": 0.1}),
        ("x=range(3,0,-1)", {"choice": [3, 2, 1]}),
        ("x=interval(1,2)", {"low": 1.0, "high": 2.0}),
        ("x=int(tag(log,interval(1,64)))", {"low": 1, "high": 64, "log": True}),
        ("+x='a b'", {"value": "a b"}),
    ],
)
def test_sweeps_of_hydra_are_parameters(override, form):
    [parsed] = OverridesParser.create().parse_overrides([override])
    assert form_of(parsed) == form
    xt.load_space({"name": "n", "parameters": {"x": form}, "search": {"trials": 1}})


@pytest.mark.parametrize(
    "value",
    [
        *("a", "1", "true", "", "it's", "a,b", "\\'", "x=y", "é ü", "nan", "${a}", "a/b.c-d"),
        *(True, None, 3, 1e-07, -2.5, [1, ["2", None]], {"a": [True], "b": "c d"}),
    ],
)
def test_what_is_written_is_read_back(value):
    [parsed] = OverridesParser.create().parse_overrides([f"x={written(value)}"])
    assert parsed.value() == value
    assert type(parsed.value()) is type(value)


def trained(config, seed):
    return bool(np.random.default_rng(seed).random() < config["p"])


SPACE = {"name": "n", "parameters": {"p": {"low": 0.1, "high": 0.9}}, "search": {"trials": 6}}
SPACE["seeds"] = {"ladder": [4, 16]}


def test_each_seed_is_a_job_and_a_launch_that_fails_loses_one_seed(tmp_path):
    launches = []

    def launch(jobs):
        if any(seed == 2 for _, seed in jobs):
            raise OSError("the queue is full")
        launches.append(len(jobs))
        return [trained(config, seed) for config, seed in jobs]

    more = {"label": "jobs", "at_once": 4, "check": False}
    run = search_launched(launch, SPACE, tmp_path / "run", **more)
    for result in run.results:
        crashed = result.outcome.status == xt.Status.CRASHED
        assert result.outcome.seeds[crashed].tolist() == [2]
        expected = [s != 2 and trained(result.point, s) for s in result.outcome.seeds]
        assert result.outcome.solved.tolist() == expected
    assert max(launches) >= 12  # of several configurations

    assert search_launched(launch, SPACE, tmp_path / "run", resume=True, **more).best == run.best


def test_what_cannot_be_judged_is_refused_by_the_check(tmp_path):
    with pytest.raises(xt.InputError, match="returned nothing"):
        search_launched(lambda jobs: [None] * len(jobs), SPACE, tmp_path / "run", label="jobs")
    assert not (tmp_path / "run").exists()
