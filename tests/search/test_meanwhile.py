"""What a search trains in its own process while Ray starts: the same as the workers would."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from drivers import OneByOne
from fakes import Scripted, batches_of, points, space_of, trained

import xortune as xt
import xortune.driver.session as session_module
from xortune.core.errors import InputError
from xortune.driver import executors, loop, subprocesses
from xortune.driver.batches import Done
from xortune.driver.cluster import THIS_MACHINE
from xortune.driver.decisions import SearchDecisions
from xortune.runs.journal import Journal, read
from xortune.runs.run import JOURNAL
from xortune.spaces.space import parse_space

SPACE = """
name: meanwhile
task: xor
parameters:
  activation: {choice: [ELU, Tanh]}
  loss: MSELoss
  optimizer: SGD
  lr: {low: 0.001, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.9}
  hidden_dim: {low: 2, high: 8}
epochs: 100
search: {sampler: tpe, trials: 20}
seeds: {ladder: [8, 32]}
"""


@dataclass
class Quick:
    """A trainer that says what a block costs, and trains in no time; by key it may fail."""

    seconds: float = 0.01
    costs: dict = field(default_factory=dict)
    began: threading.Event = field(default_factory=threading.Event)
    pause: float = 0.0

    def check(self, point):
        return point

    def cost(self, block):
        return self.costs.get(block.point.key, self.seconds)

    def train(self, blocks):
        self.began.set()
        time.sleep(self.pause)
        return [trained(block) for block in blocks]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evaluations.jsonl"


@pytest.fixture
def journal(path):
    with Journal.open(path) as journal:
        yield journal


def packs_of(journal, trainer, proposed):
    proposer = Scripted(proposed)
    space = space_of(trials=len(proposed))
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=None)
    return batches_of(decisions, trainer, journal, slots=2)


@contextmanager
def meanwhile(packs, trainer):
    def train(executor):
        loop.run(packs, executor, packs._record)

    with executors.training_while_workers_start(train, trainer, 2) as wants_workers:
        yield lambda: wants_workers() and not packs.finished


def training():
    return any(thread.name == "trains while Ray starts" for thread in threading.enumerate())


def wait_until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_what_is_soon_done_needs_no_workers(journal, path):
    trainer = Quick()
    packs = packs_of(journal, trainer, points(30))
    with meanwhile(packs, trainer) as wants_workers:
        assert wants_workers() is False
    assert packs.finished
    assert len(read(path)) == 30
    assert packs.next() == ()


def test_what_takes_long_is_left_to_the_workers(journal, path):
    proposed = points(6)
    trainer = Quick(costs={proposed[3].key: 1e9})
    packs = packs_of(journal, trainer, proposed)
    with meanwhile(packs, trainer) as wants_workers:
        assert wants_workers() is True
        wait_until(lambda: not training())
    first = packs.next()
    assert proposed[3] in [job.block.point for job in first]
    done = {e.block.point.key for e in read(path)}
    left = {job.block.point.key for job in first}
    while jobs := packs.next():
        left |= {job.block.point.key for job in jobs}
    assert done | left == {point.key for point in proposed}
    assert not done & left
    assert done


def test_an_error_of_the_thread_is_raised_after_the_body(journal):
    class Refusing(Quick):
        def check(self, _):
            raise InputError("no", field="x")

    trainer, seen = Refusing(), []
    packs = packs_of(journal, trainer, points(3))

    def search():
        with meanwhile(packs, trainer) as wants_workers:
            assert wants_workers() is False
            seen.append("the body went on")

    with pytest.raises(InputError, match="no"):
        search()
    assert seen == ["the body went on"]


def test_an_interrupted_body_leaves_no_thread(journal):
    trainer = Quick(seconds=0.5)
    packs = packs_of(journal, trainer, points(100_000))

    def search():
        with meanwhile(packs, trainer):
            trainer.began.wait(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search()
    assert not training()


def searched(monkeypatch, folder, starts, **more):
    """A search whose Ray takes as long to start as `starts` says, and then trains here too."""

    @contextmanager
    def connected(_):
        starts(folder)
        yield

    class Worker(OneByOne):
        def takes(self, _):
            return not self.jobs

        def wait(self, _):
            outcomes = self.trainer.train([job.block for job in self.jobs])
            self.done.append(Done(self.jobs, outcomes, 0.001, "worker:1"))
            self.jobs = ()

    monkeypatch.setattr(session_module, "processes_here", lambda *_: 0)
    monkeypatch.setattr(session_module, "connected", connected)
    monkeypatch.setattr(session_module, "on_ray", Worker)
    return xt.search(parse_space(SPACE), output=folder, **more)


def slow(lines):
    """A Ray that starts when the journal has so many lines."""

    def starts(folder):
        wait_until(lambda: len(read(folder / JOURNAL)) >= lines, 30)

    return starts


def slowly(monkeypatch):
    """Each batch takes long enough for the other thread to see that workers are there."""

    train = executors.train_blocks

    def after_a_while(*args, **how):
        time.sleep(0.05)
        return train(*args, **how)

    monkeypatch.setattr(executors, "train_blocks", after_a_while)


def never(folder):
    raise AssertionError("Ray is not needed")


def facts(run):
    return sorted(
        (e.proposal, e.block.point.key, e.block.first, e.block.count, e.outcome.successes)
        for e in run.evaluations
    )


def test_the_same_search_whoever_trains(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    monkeypatch.setattr(executors, "RAY_SECONDS", -1)
    monkeypatch.setattr(executors, "WORKER_SECONDS", -1)
    slowly(monkeypatch)
    both = searched(monkeypatch, tmp_path / "both", slow(12))
    room = session_module.slots_to_come(THIS_MACHINE)
    assert room == len(os.sched_getaffinity(0))
    monkeypatch.setattr(session_module, "slots_to_come", lambda *_: 0)
    monkeypatch.setattr(session_module, "slots", lambda *_: room)
    workers = searched(monkeypatch, tmp_path / "workers", lambda _: None)
    assert [sum(e.worker == "worker:1" for e in run.evaluations) for run in (here, workers)] == [
        0,
        len(workers.evaluations),
    ]
    assert 12 <= sum(e.worker != "worker:1" for e in both.evaluations) < len(both.evaluations)
    assert facts(here) == facts(both) == facts(workers)


def test_processes_of_this_machine_train_what_is_left_as_this_one_does(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    monkeypatch.undo()
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray is started"))
    first = lambda self, batches: not self._under_way and not batches.measured  # noqa: E731
    monkeypatch.setattr(executors._StartingExecutor, "takes", first)
    asked, train = [], subprocesses.TrainingProcess.train

    def noted(self, trainer, blocks, **how):
        asked.extend(blocks)
        return train(self, trainer, blocks, **how)

    monkeypatch.setattr(subprocesses.TrainingProcess, "train", noted)
    apart = xt.search(parse_space(SPACE), output=tmp_path / "apart")
    assert 0 < len(asked) < len(apart.evaluations)
    assert here.table.equals(apart.table)  # in other parts


def deaf(lines):
    """A Ray that does not start, which shows when the journal has so many lines."""

    def starts(folder):
        slow(lines)(folder)
        raise InputError("Ray did not start")

    return starts


def test_a_ray_that_does_not_start_is_missed_by_those_alone_who_need_it(monkeypatch, tmp_path):
    here = searched(monkeypatch, tmp_path / "here", never)
    monkeypatch.setattr(executors, "RAY_SECONDS", -1)
    done = searched(monkeypatch, tmp_path / "done", deaf(len(here.evaluations)))
    assert facts(done) == facts(here)
    assert done.manifest["complete"]
    monkeypatch.setattr(executors, "WORKER_SECONDS", -1)
    slowly(monkeypatch)
    with pytest.raises(InputError, match="Ray did not start"):
        searched(monkeypatch, tmp_path / "missed", deaf(12))
    assert 12 <= len(read(tmp_path / "missed" / JOURNAL)) < len(here.evaluations)
    assert not training()
