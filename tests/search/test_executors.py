"""Executors of this machine: in this process while workers start, and in processes beside it."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from drivers import OneByOne, wait_until
from fakes import Priced, batches_of, by_rate, points
from hand_made import TINY_SPACE

import xortune as xt
import xortune.driver.session as session_module
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.driver import executors, loop, subprocesses
from xortune.driver.batches import Done, Job, WorkerFailure
from xortune.driver.cluster import THIS_MACHINE, Cluster
from xortune.driver.executors import ProcessExecutor
from xortune.driver.session import processes_here
from xortune.driver.subprocesses import ending_process, process_for
from xortune.runs.journal import read
from xortune.runs.store import JOURNAL
from xortune.spaces.space import parse_space
from xortune.trainers.function import CallForm, CustomTrainer, custom_trainer
from xortune.trainers.limits import current_deadline
from xortune.trainers.reaper import REAPER
from xortune.trainers.source import named_source

SPACE = TINY_SPACE.replace("random, trials: 3", "tpe, trials: 20").replace("[4]", "[8, 32]")


@dataclass
class Quick(Priced):
    """Trains in no time."""

    began: threading.Event = field(default_factory=threading.Event)

    def train(self, blocks):
        self.began.set()
        return [by_rate(block) for block in blocks]


@contextmanager
def meanwhile(batches, trainer):
    def train(executor):
        loop.run(batches, executor, batches._record)

    with executors.training_while_workers_start(train, trainer, 2) as needs_workers:
        yield lambda: needs_workers() and not batches.finished


def training():
    return any(thread.name.startswith("trains") for thread in threading.enumerate())


# -------------------------------------------------------------------------------------------------
# In this process while Ray starts: the same search as the workers would make.


def test_what_takes_long_is_left_to_the_workers():
    proposed = points(6)
    batches, lines = batches_of(trainer := Quick(costs={proposed[3].key: 1e9}), proposed)
    with meanwhile(batches, trainer) as needs_workers:
        assert needs_workers() is True
        wait_until(lambda: not training())
    done = {e.block.point for e in lines}
    first, *others = iter(batches.next, ())
    assert proposed[3] in [job.block.point for job in first]
    left = {job.block.point for jobs in (first, *others) for job in jobs}
    assert done
    assert done | left == set(proposed)
    assert not done & left


def test_an_error_of_the_thread_is_raised_after_the_body():
    class Refusing(Quick):
        def check(self, _):
            raise InputError("no", field="x")

    batches, _ = batches_of(trainer := Refusing(), points(3))
    body = []
    with pytest.raises(InputError, match="no"), meanwhile(batches, trainer) as needs_workers:
        body.append(needs_workers())
    assert body == [False], "the body went on"


def test_an_interrupted_body_leaves_no_thread():
    batches, _ = batches_of(trainer := Quick(seconds=0.5), points(100_000))
    with pytest.raises(KeyboardInterrupt), meanwhile(batches, trainer):
        raise KeyboardInterrupt(trainer.began.wait(5))
    assert not training()


def searched(monkeypatch, folder, starts):
    """A search whose Ray takes as long to start as `starts` says, and then trains here too."""

    @contextmanager
    def connected(_):
        starts(folder)
        yield

    class Worker(OneByOne):
        def take(self, batches):
            self.jobs = self.jobs or batches.next()

        def wait(self):
            outcomes = self.trainer.train([job.block for job in self.jobs])
            self.done.append(Done(self.jobs, outcomes, 0.001, "worker:1"))
            self.jobs = ()

    monkeypatch.setattr(executors, "PATIENCE", 60.0)  # however busy this machine is
    monkeypatch.setattr(session_module, "processes_here", lambda *_: 0)
    monkeypatch.setattr(session_module, "connected", connected)
    monkeypatch.setattr(session_module, "on_ray", Worker)
    return xt.search(parse_space(SPACE), output=folder)


def never(folder):
    raise AssertionError("Ray is not needed")


def slow(lines, error=None):
    """A Ray that starts when the journal has so many lines, or says then that it does not."""

    def starts(folder):
        wait_until(lambda: len(read(folder / JOURNAL)) >= lines)
        if error:
            raise InputError(error)

    return starts


def needing_workers(monkeypatch):
    """A search too long for this process, whose batches let the other thread see workers come."""
    train = executors.train_blocks

    def after_a_while(*args, **how):
        time.sleep(0.05)
        return train(*args, **how)

    monkeypatch.setattr(executors, "RAY_SECONDS", -1)
    monkeypatch.setattr(executors, "WORKER_SECONDS", -1)
    monkeypatch.setattr(executors, "train_blocks", after_a_while)


def facts(run):
    blocks = ((e.proposal, e.block.point.key, e.block.first, e.outcome) for e in run.evaluations)
    return sorted((*block, outcome.n, outcome.successes) for *block, outcome in blocks)


def by_workers(run):
    return sum(e.worker == "worker:1" for e in run.evaluations)


def test_the_same_search_whoever_trains(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    needing_workers(monkeypatch)
    both = searched(monkeypatch, tmp_path / "both", slow(12))
    slots = session_module.slots_to_come(THIS_MACHINE)
    assert slots == len(os.sched_getaffinity(0))
    monkeypatch.setattr(session_module, "slots_to_come", lambda *_: 0)
    monkeypatch.setattr(session_module, "slots", lambda *_: slots)
    workers = searched(monkeypatch, tmp_path / "workers", lambda _: None)
    every = len(workers.evaluations)
    assert (by_workers(here), by_workers(workers)) == (0, every)
    assert 0 < by_workers(both) <= every - 12
    assert facts(here) == facts(both) == facts(workers)


def test_a_ray_that_does_not_start_is_missed_by_those_alone_who_need_it(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    monkeypatch.setattr(executors, "RAY_SECONDS", -1)
    done = searched(monkeypatch, tmp_path / "done", slow(len(here.evaluations), "no Ray"))
    assert facts(done) == facts(here)
    assert done.manifest["complete"]
    needing_workers(monkeypatch)
    with pytest.raises(InputError, match="no Ray"):
        searched(monkeypatch, tmp_path / "missed", slow(12, "no Ray"))
    assert 12 <= len(read(tmp_path / "missed" / JOURNAL)) < len(here.evaluations)
    assert not training()


def test_processes_of_this_machine_train_what_is_left_as_this_one_does(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    monkeypatch.undo()
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray is started"))
    first = lambda self, batches: not self._under_way and not batches.measured  # noqa: E731
    monkeypatch.setattr(executors._StartingExecutor, "_has_room", first)
    asked, train = [], subprocesses.TrainingProcess.train

    def noted(self, trainer, blocks, **how):
        asked.extend(blocks)
        return train(self, trainer, blocks, **how)

    monkeypatch.setattr(subprocesses.TrainingProcess, "train", noted)
    beside = xt.search(parse_space(SPACE), output=tmp_path / "beside")
    assert 0 < len(asked) < len(beside.evaluations)
    assert here.table.equals(beside.table)  # in other parts


# -------------------------------------------------------------------------------------------------
# In processes beside this one, as many batches at once as there are slots.

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


@pytest.fixture
def function(tmp_path, monkeypatch, forks):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    return custom_trainer(named_source("./train.py:run", tmp_path), None, form=CallForm())


class Given:
    """Batches of one job each, with these points."""

    until = None

    def __init__(self, *points):
        self.jobs = [(Job(point["x"], Block(Point(point), 0, 2)),) for point in points]

    def next(self, *, short):  # noqa: ARG002
        return self.jobs.pop(0) if self.jobs else ()


def pids(done):
    return {int(pid) for result in done.results for pid in result.details.values["pid"]}


def test_batches_are_trained_side_by_side_in_the_process_of_the_check_and_in_spares(function):
    ours = REAPER.living
    with ending_process():
        checked = process_for(function)
        subprocesses.start_spares(function, Block(Point({"x": 0, "until": "."}), 0, 1), 1)
        both = {checked.pid, subprocesses._spares[0].pid}
        with ProcessExecutor(function, 2) as executor:
            executor.take(batches := Given(*({"x": x, "until": "both"} for x in (1, 2, 3))))
            assert len(batches.jobs) == 1, "there is no room for it"
            wait_until(lambda: Path("1").exists() and Path("2").exists())  # at once
            Path("both").touch()
            found = []
            while len(found) < 2:
                executor.wait()
                found += [pids(executor.done.popleft()) for _ in range(len(executor.done))]
            assert set.union(*found) == both
        assert REAPER.living == ours


def test_what_is_stopped_ends_and_what_has_finished_is_there(function):
    ours = REAPER.living
    with ending_process(), ProcessExecutor(function, 2) as executor:
        executor.take(Given({"x": 1, "until": "."}, {"x": 2, "until": "never"}))
        wait_until(Path("2").exists)
        wait_until(lambda: any(batch.done() for batch in executor._under_way))
        executor.stop()
        assert [done.jobs[0].proposal for done in executor.done] == [1]
    assert REAPER.living == ours


def test_a_batch_that_ends_its_process_is_told_and_another_one_goes_on(function):
    with ending_process(), ProcessExecutor(function, 1) as executor:
        for x in (3, 4):
            executor.take(Given({"x": x, "until": "exit"}))
            executor.wait()
            failure = executor.done.popleft().results
            assert failure == WorkerFailure("batch", f"ended its process (exit code {x})")


def test_threads_that_train_at_once_have_deadlines_of_their_own(function):
    with ending_process(), ProcessExecutor(function, 2) as executor:
        given = Given({"x": 1, "until": "1"}, {"x": 2, "until": "3"})
        given.until = time.time() + 600
        executor.take(given)
        wait_until(lambda: Path("1").exists() and Path("2").exists())
        executor.wait()
        Path("3").touch()
        executor.wait()
    assert current_deadline() is None, "it would end what this process trains next"


def test_an_interrupt_while_workers_start_is_held_against_no_seed(function, monkeypatch):
    """Though the process of a seed that has a time limit is killed."""
    monkeypatch.setattr(executors, "RAY_SECONDS", 600.0)
    limited = replace(function, limit=600.0)
    batches, lines = batches_of(limited, [Point({"x": 1, "until": "never"})])
    with pytest.raises(KeyboardInterrupt), ending_process(), meanwhile(batches, limited):
        raise KeyboardInterrupt(wait_until(Path("1").exists))
    assert not lines


STACKED, REPORTS = {"stacked": True}, {"stacked": True, "reports": True}


@pytest.mark.parametrize(
    ("form", "gpus", "limit", "workers", "seeds", "processes"),
    [
        (STACKED, 0.0, None, 3, "", 3),
        (REPORTS, 0.0, None, 3, "seeds: {ladder: [8]}", 3),
        (REPORTS, 0.0, None, 3, "", 0),
        (STACKED, 0.0, None, 0, "", 0),
        (STACKED, 1.0, None, 3, "", 0),
        (STACKED, 0.0, 60.0, 3, "", 0),
        ({}, 0.0, None, 3, "", 0),
    ],
)
def test_a_torch_training_of_one_machine_needs_no_ray(
    form, gpus, limit, workers, seeds, processes, function
):
    text = "name: a\ntrainer: a.py:run\nparameters: {x: {choice: [1]}}\nsearch: {sampler: grid}\n"
    trainer = CustomTrainer(function.source, form=CallForm(**form))
    cluster = Cluster.of(None, 1.0, gpus, limit, workers)
    assert processes_here(parse_space(text + seeds), trainer, cluster) == processes
