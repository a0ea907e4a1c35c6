"""A search with Ray itself, as a user may have started it: no search may shut it down."""

import errno
import importlib
import json
import logging
import random
import re
import shutil
import time

import pandas as pd
import pytest
from fakes import Dying
from listening import progress as heard

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.outcome import Status
from xortune.core.trainer import NOT_FINISHED
from xortune.driver import session as session_module
from xortune.driver.voice import Voice
from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL
from xortune.spaces.space import parse_space
from xortune.training import ray_executor as ray_tune
from xortune.training.batches import Batches
from xortune.training.resources import Cluster, Resources

SPACE = """
name: tiny
epochs: 50
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: BCELoss
  optimizer: {choice: [SGD, Adam]}
  lr: {low: 0.05, high: 1.0, log: true}
  momentum: {choice: [0.0, 0.9], when: {optimizer: SGD}}
  hidden_dim: {low: 3, high: 4}
search: {sampler: tpe, trials: 6, seed: 7}
seeds: {ladder: [8]}
"""
pytestmark = pytest.mark.usefixtures("one_ray")

DEADLY = """
name: deadly
parameters: {x: {low: 0, high: 2}}
search: {sampler: grid}
seeds: {ladder: [5]}
"""


@pytest.fixture(scope="module")
def space_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.fixture(scope="module")
def finished(space_file, one_ray):
    """One search, and what it said of its progress."""
    progress = []
    run = xt.search(space_file, output=space_file.parent / "run", listener=heard(progress.append))
    return run, progress


def numbers(evaluations):
    return sorted(e.proposal for e in evaluations if e.final)


def test_the_run_is_complete(finished):
    run, progress = finished
    manifest = run.manifest
    assert numbers(run.evaluations) == list(range(6))
    assert (manifest["complete"], manifest["trials"]) == (True, 6)
    assert manifest["started"] <= manifest["finished"]
    assert manifest["window"] >= 2, "no worker may wait for the sampler"
    assert [(moment.done, moment.total) for moment in progress] == [(n, 6) for n in range(1, 7)]
    assert {path.name for path in run.path.iterdir()} >= {
        *("space.yaml", "manifest.json", JOURNAL, "ray"),
        *("table.csv", "table.parquet", "seeds.parquet", "report.md"),
    }
    assert (run.path / "space.yaml").read_text() == SPACE


def test_the_table_has_the_columns_of_the_contract(finished):
    run, _ = finished
    table = pd.read_csv(run.path / "table.csv", dtype={"key": str})
    assert tuple(table.columns[:16]) == (
        *("activation", "loss", "optimizer", "lr", "momentum"),
        *("hidden_dim", "epochs", "zero_grad"),
        *("key", "k", "n", "rate", "low", "high", "epochs_to_solve", "trials"),
    )
    assert table["trials"].sum() == 6
    assert table["key"].is_unique
    assert (table["epochs"] == 50).all()
    assert (table["n"] == 8 * table["trials"]).all()
    assert table["momentum"].isna().equals(table["optimizer"] == "Adam")
    assert table["k"].max() > 0, "the test tells nothing if nothing is solved"
    seeds = pd.read_parquet(run.path / "seeds.parquet")
    assert not seeds.duplicated(["key", "seed"]).any()
    counted = seeds.groupby("key", observed=True)["solved"].sum()
    assert counted.to_dict() == dict(zip(table["key"], table["k"], strict=True))


def test_counts_are_those_of_evaluate(finished):
    for result in finished[0].results:
        again = xt.evaluate(xt.Config(**result.point), seeds=range(result.outcome.n))
        assert again.solved.tolist() == result.outcome.solved.tolist()
        assert again.status.tolist() == result.outcome.status.tolist()


def test_the_same_seed_proposes_the_same_and_resuming_trains_nothing_twice(
    finished, space_file, tmp_path
):
    """What Ray's workers counted is counted in this process too."""
    whole, part = finished[0], tmp_path / "part"
    journal = shutil.copytree(whole.path, part) / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    before = b"".join(line for line in lines if json.loads(line)["proposal"] < 4)
    journal.write_bytes(before)
    rest = xt.search(space_file, output=part, trials=6, resume=True, workers=0)
    after = journal.read_bytes()
    assert after.startswith(before)
    assert after[len(before) :].count(b"\n") == 2
    assert numbers(rest.evaluations) == list(range(6))
    pd.testing.assert_frame_equal(rest.table, whole.table)
    assert rest.manifest["complete"] is True


def test_resuming_a_finished_run_does_nothing(finished, space_file, monkeypatch):
    files = [finished[0].path / name for name in (JOURNAL, "table.csv")]
    before = [file.read_bytes() for file in files]
    refuse = lambda *_, **__: pytest.fail("Ray is not needed")  # noqa: E731
    monkeypatch.setattr(session_module, "executor_for", refuse)
    for trials in (None, 3):
        again = xt.search(space_file, output=files[0].parent, resume=True, trials=trials)
        assert len(again.evaluations) == 6
    assert [file.read_bytes() for file in files] == before


def test_resuming_where_only_a_torn_line_was_written_simply_starts(space_file, tmp_path):
    given = {"output": tmp_path / "torn", "trials": 1, "sampler": "random", "workers": 0}
    (xt.search(space_file, **given).path / JOURNAL).write_text('{"proposal": 0, "key": "abc')
    assert numbers(xt.search(space_file, resume=True, **given).evaluations) == [0]


PRUNING = """
name: pruning
success: "accuracy >= 0.9"
parameters: {rate: {choice: [0.2, 0.4, 0.5, 0.7]}}
search: {sampler: grid, seed: 3, pruner: median}
seeds: {ladder: [16, 64]}
"""


def test_the_same_seeds_are_pruned_as_without_ray(tmp_path):
    def train(config, seed):
        draw = random.Random(f"{config['rate']} {seed}")
        is_good = draw.random() < config["rate"]
        for epoch in range(1, 9):
            yield {"accuracy": draw.random() / 20 + (1 - 0.5**epoch if is_good else 0)}

    path = tmp_path / "space.yaml"
    path.write_text(PRUNING)
    ray = xt.Ray(cpus=2)  # one worker, as the start of each takes seconds
    on_ray = xt.search(str(path), train=train, output=tmp_path / "ray", ray=ray)
    # All but its first line is trained again in this process, with as many seeds in flight.
    here = shutil.copytree(on_ray.path, tmp_path / "here")
    first, *_ = (here / JOURNAL).read_text().splitlines(keepends=True)
    (here / JOURNAL).write_text(first)
    manifest = json.loads((here / "manifest.json").read_text())
    (here / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    again = xt.search(str(path), train=train, output=here, workers=0, resume=True)
    told = [{(r.key, s) for r in run.results for s in ended(r.outcome)} for run in (on_ray, again)]
    assert len(told[0]) > 10
    assert told[0] == told[1]


def ended(outcome):
    """The seeds that were pruned."""
    return outcome.seeds[outcome.status == Status.PRUNED].tolist()


def test_more_than_the_cluster_has_is_refused(space_file, tmp_path):
    for name, most in (("cpus", 64), ("gpus", 999)):
        with pytest.raises(InputError, match=rf"{name}: {most} for each trial.*has [12]"):
            xt.search(space_file, output=tmp_path / name, ray=xt.Ray(**{name: most}))
        assert not (tmp_path / name / JOURNAL).exists()


def test_a_block_that_kills_its_worker_or_raises_costs_no_other_block(
    tmp_path, caplog, monkeypatch
):
    """And what a worker logs is told here: it has the GPU that Ray assigned, by its number.

    What Tune thinks of the dead worker is not.
    """
    monkeypatch.setitem(Batches.__init__.__kwdefaults__, "attempts", 1)
    monkeypatch.setattr(logging.getLogger("ray"), "handlers", [caplog.handler])
    trainer = Dying(str(tmp_path / "log"), deadly=0, broken=2, seconds=0.001)
    progress = []
    given = {
        "voice": Voice(0, heard(progress.append)),
        "cluster": Cluster(ray=True, each=Resources(gpus=0.5)),
    }
    assert session_module.search_session(parse_space(DEADLY), trainer, tmp_path / "run", **given)
    logged = [record.getMessage() for record in caplog.records]
    assert any(re.fullmatch(r"\S+:\d+: trains on GPU 0", message) for message in logged)
    log = (tmp_path / "log").read_text().split()
    assert sorted(log) == ["0", "1", "2"], "nothing that was trained is trained again"
    run = load_run(tmp_path / "run")
    assert numbers(run.evaluations) == list(range(3))
    by_x = {result.point["x"]: result.outcome for result in run.results}
    assert {x: o.counts[Status.CRASHED] for x, o in by_x.items()} == {0: 5, 1: 0, 2: 5}
    tries = {e.block.point["x"]: e for e in run.evaluations}
    assert len(tries) == len(run.evaluations) == 3
    for x, error in ((0, ""), (2, "ZeroDivisionError")):
        assert (tries[x].outcome, tries[x].final) == (None, True)
        assert "\n" not in tries[x].error
        assert error in tries[x].error
        assert len(tries[x].error) < 300
    assert progress[-1].failed == 2
    assert not [record for record in caplog.records if record.name.startswith("ray.tune")]


def test_a_worker_lives_as_long_as_the_search_and_a_seed_is_a_unit(tmp_path):
    """A worker that has nothing to do for a moment is not ended, and started again for seconds."""

    def slow(config, seed):
        time.sleep(0.6)
        return seed % 2 == 0

    space = {"name": "slow", "parameters": {"x": {"choice": [1, 2]}}}
    space |= {"search": {"sampler": "grid"}, "seeds": {"ladder": [1, 2, 4]}}
    run = xt.search(space, train=slow, output=tmp_path / "run")
    assert [line.block.count for line in run.evaluations] == [1] * len(run.evaluations)
    assert len(run.evaluations) >= 6
    assert len({line.worker for line in run.evaluations if line.worker}) <= 2


def test_a_config_that_is_proven_worse_meanwhile_ends_at_its_next_report(tmp_path, monkeypatch):
    """What had finished counts, what had not is in no count: neither a success nor a failure.

    And a function may use a module of a folder that the program added.
    """
    (tmp_path / "beside_the_program.py").write_text("def good(x):\n    return x == 'good'\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("beside_the_program")

    def late(config, seed, report):
        if seed < 8 or config["x"] == "good":
            time.sleep(0.05)  # so long that several decisions are in flight
        else:  # it is still in training when the last good one ends
            for step in range(200):
                time.sleep(0.02)
                report(step)
        return {"success": module.good(config["x"]) or seed % 8 == 0, "cost": 1.0}

    # A race for a front promotes both; one for the best rate would not promote the bad one.
    space = {"name": "late", "parameters": {"x": {"choice": ["good", "bad"]}}}
    space |= {"search": {"sampler": "grid"}, "seeds": {"ladder": [8, 80]}}
    space |= {
        "objectives": [
            "success_rate",
            {"name": "cost_mean", "direction": "minimize", "failed": 9.0},
        ]
    }
    run = xt.search(space, train=late, output=tmp_path / "run")
    good, bad = sorted(run.results, key=lambda found: found.point["x"] == "bad")
    assert good.outcome.successes == good.outcome.n == 80
    assert 8 <= bad.outcome.n < 12
    assert (bad.outcome.solved == (bad.outcome.seeds % 8 == 0)).all()
    ended = [e for e in run.evaluations if e.error == NOT_FINISHED]
    assert {e.block.first for e in ended if e.worker} >= {8}, "it was in training"
    assert sum(e.block.count for e in ended) == 80 - bad.outcome.n
    report = (run.path / "report.md").read_text(encoding="utf-8")
    assert f"{80 - bad.outcome.n} seeds of 1 configurations, proven worse meanwhile" in report
    assert "retried" not in report.split("Evaluations without")[-1]
    lines = (run.path / JOURNAL).read_bytes()
    xt.search(space, train=late, output=run.path, resume=True)
    assert (run.path / JOURNAL).read_bytes() == lines


def test_a_disk_that_is_full_under_tunes_own_files(tmp_path, monkeypatch):
    begun = []

    def fit(_):
        begun.append(1)
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("the experiment's state was not saved") from error

    monkeypatch.setattr(ray_tune.tune.Tuner, "fit", fit)
    asked = parse_space(DEADLY), Dying(str(tmp_path / "log")), tmp_path / "run"
    with pytest.raises(InputError, match=r"full.*free space there, then continue with resume=True"):
        session_module.search_session(*asked)
    assert begun == [1], "nothing is tried again on a full disk"
    monkeypatch.undo()
    assert session_module.search_session(*asked, cluster=Cluster(workers=0))
    assert numbers(load_run(tmp_path / "run").evaluations) == list(range(3))


def test_the_rate_that_ended_a_search_is_noted(tmp_path):
    text = SPACE.replace("ladder: [8]", "race: {max: 256}").replace("trials: 6", "trials: 200")
    space = parse_space(text + "stop: {proven_rate: 0.8}\n")
    run = xt.search(space, output=tmp_path / "run", workers=0)
    assert run.table["trials"].sum() < 100
    proven = run.manifest["proven"]
    assert run.table.set_index("key")["rate"][proven["key"]] >= proven["rate"] >= 0.8
