"""What processes of this machine train, as many batches at once as there are slots."""

import time
from pathlib import Path

import pytest

from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.driver import subprocesses
from xortune.driver.batches import Job, WorkerFailure
from xortune.driver.cluster import Cluster
from xortune.driver.executors import ProcessExecutor
from xortune.driver.session import processes_here
from xortune.driver.subprocesses import ending_process, process_for
from xortune.spaces.space import parse_space
from xortune.trainers.function import CallForm, CustomTrainer, custom_trainer
from xortune.trainers.reaper import REAPER
from xortune.trainers.source import named_source

TRAIN = """
import os, time
from pathlib import Path

def run(config, seed):
    if config["until"] == "exit":
        os._exit(config["x"])
    Path(f"{config['x']}").touch()
    while not Path(config["until"]).exists():
        time.sleep(0.01)
    return {"success": True, "pid": os.getpid()}
"""

pytestmark = pytest.mark.usefixtures("forks")


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    return custom_trainer(named_source("./train.py:run", tmp_path), None, form=CallForm())


def job(x, until):
    return (Job(x, Block(Point({"x": x, "until": until}), 0, 2)),)


def seen(*names):
    over = time.monotonic() + 60
    while not all(Path(name).exists() for name in names) and time.monotonic() < over:
        time.sleep(0.01)


def pids(done):
    return {int(pid) for one in done.results for pid in one.details.values["pid"]}


def test_batches_are_trained_side_by_side_in_the_process_of_the_check_and_in_spares(trainer):
    ours = REAPER.living
    with ending_process():
        tried = process_for(trainer.source)
        subprocesses.start_spares(trainer, Block(Point({"x": 0, "until": "."}), 0, 1), 1)
        both = {tried.pid, subprocesses._spares[0].pid}
        with ProcessExecutor(trainer, 2) as executor:
            for x in (1, 2):
                assert executor.takes(None)
                executor.submit(job(x, "both"), None)
            assert not executor.takes(None)
            seen("1", "2")  # at once
            Path("both").touch()
            found = []
            while len(found) < 2:
                executor.wait(None)
                found += [pids(executor.done.popleft()) for _ in range(len(executor.done))]
            assert set.union(*found) == both
        assert REAPER.living == ours


def test_what_is_stopped_ends_and_what_has_finished_is_there(trainer):
    ours = REAPER.living
    with ending_process(), ProcessExecutor(trainer, 2) as executor:
        executor.submit(job(1, "."), None)
        executor.submit(job(2, "never"), None)
        seen("2")
        while not any(one.done() for one in executor._under_way):
            time.sleep(0.01)
        executor.stop()
        assert [done.jobs[0].proposal for done in executor.done] == [1]
    assert REAPER.living == ours


def test_a_batch_that_ends_its_process_is_told_and_another_one_goes_on(trainer):
    with ending_process(), ProcessExecutor(trainer, 1) as executor:
        for x in (3, 4):
            executor.submit(job(x, "exit"), None)
            executor.wait(None)
            failure = executor.done.popleft().results
            assert failure == WorkerFailure("batch", f"ended its process (exit code {x})")


@pytest.mark.parametrize(
    ("form", "gpus", "limit", "workers", "seeds", "processes"),
    [
        ({"stacked": True}, 0.0, None, 3, "", 3),
        ({"stacked": True, "reports": True}, 0.0, None, 3, "seeds: {ladder: [8]}", 3),
        ({"stacked": True, "reports": True}, 0.0, None, 3, "", 0),
        ({"stacked": True}, 0.0, None, 0, "", 0),
        ({"stacked": True}, 1.0, None, 3, "", 0),
        ({"stacked": True}, 0.0, 60.0, 3, "", 0),
        ({}, 0.0, None, 3, "", 0),
    ],
)
def test_a_torch_training_of_one_machine_needs_no_ray(
    form, gpus, limit, workers, seeds, processes, trainer
):
    text = (
        "name: a\ntrainer: a.py:run\nparameters: {x: {choice: [1, 2]}}\nsearch: {sampler: grid}\n"
    )
    made = CustomTrainer(trainer.source, form=CallForm(**form))
    cluster = Cluster.of(None, 1.0, gpus, limit, workers)
    assert processes_here(parse_space(text + seeds), made, cluster) == processes
