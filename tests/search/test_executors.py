"""Executors of this machine: this process, and a pool of processes beside it."""

import os
import time
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from drivers import wait_until
from fakes import PLAIN, by_rate, points
from hand_made import TINY_SPACE

import xortune as xt
from xortune.core.errors import InputError, TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.trainer import Block, Trainer
from xortune.spaces.space import parse_space
from xortune.trainers.call_form import CallForm
from xortune.trainers.function import CustomTrainer, custom_trainer
from xortune.trainers.source import given_source, named_source, packages_of
from xortune.training import processes as processes_module
from xortune.training import worker as worker_module
from xortune.training.executors import LocalExecutor, Pool
from xortune.training.jobs import Batch, Clock, Job, Limits, WorkerFailure
from xortune.training.loop import Executor
from xortune.training.processes import (
    end_processes,
    ending_processes,
    processes_for,
    train_in_process,
)
from xortune.training.resources import Cluster, Resources
from xortune.training.slots import slots_here

TRAIN = """
import os, random, time
from pathlib import Path

def run(config, seed):
    if config["until"] == f"exit {seed}":
        os._exit(config["x"])
    if config["until"] == f"fork {seed}" and not os.fork():
        return {"success": False, "pid": 0, "drawn": 0.0}
    Path(f"{config['x']}-{seed}").touch()
    while config["until"] == "never" or config["until"] == f"hang {seed}" or (
        config["until"][0] == "/" and not Path(config["until"]).exists()
    ):
        time.sleep(0.01)
    return {"success": True, "pid": os.getpid(), "drawn": random.random()}
"""


@pytest.fixture
def function(tmp_path, monkeypatch, forks):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TRAIN)
    yield custom_trainer(named_source("./train.py:run", tmp_path), None, form=CallForm())
    end_processes()


class Given:
    """Batches of one job each, with these points."""

    until = None

    def __init__(self, *configs, seeds=2):
        blocks = [Block(Point(config), 0, seeds) for config in configs]
        self.jobs = [(Job(block.point["x"], block),) for block in blocks]

    def next(self):
        return self.jobs.pop(0) if self.jobs else ()

    def unwanted(self, _):
        return set()

    def again_after(self, _):
        return ()


def received(executor, batches=1):
    """What comes of so many batches, to their ends."""
    found = []
    while batches:
        executor.wait()
        while executor.done:
            found.append(done := executor.done.popleft())
            batches -= done.ends
    return [done for done in found if done.jobs]


def pids(found):
    values = (result.details.values["pid"] for done in found for result in done.results)
    return {int(pid) for array in values for pid in array}


def seeds_of(done):
    return [seed for job in done.jobs for seed in job.block.seeds]


def test_batches_are_trained_side_by_side_by_the_worker_of_the_check_and_another(function):
    checked = processes_for(function).take()
    checked.ask("form", function.source)
    pool = Pool(function, 2)
    pool.take(batches := Given(*({"x": x, "until": f"{Path.cwd()}/both"} for x in (1, 2, 3))))
    assert len(batches.jobs) == 1, "there is no room for it"
    wait_until(lambda: Path("1-0").exists() and Path("2-0").exists())  # at once
    Path("both").touch()
    found = pids(received(pool, 2))
    assert checked.pid in found
    assert len(found) == 2
    assert os.getpid() not in found
    end_processes()
    for pid in found:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_seed_is_there_when_it_has_ended_though_its_block_goes_on(function):
    function_slow = {"x": 1, "until": "hang 1"}
    pool = Pool(function, 1)
    worker_seconds = worker_module.PIECE_SECONDS
    assert worker_seconds < 1
    pool.take(Given(function_slow, seeds=3))
    wait_until(lambda: Path("1-1").exists())
    pool.stop()
    assert [seeds_of(done) for done in pool.done if isinstance(done.results, list)] in ([], [[0]])


def test_a_long_seed_is_sent_before_the_next_begins():
    slow = custom_trainer(given_source(lambda *_: not time.sleep(0.3)), None)
    with ending_processes():
        pool = Pool(slow, 1)
        pool.take(Given({"x": 1}, seeds=3))
        found = received(pool)
    assert [seeds_of(done) for done in found] == [[0], [1], [2]]
    assert all(done.seconds >= 0.3 for done in found)


def reporting_slowly(config, seeds, report):
    for step in range(5):
        time.sleep(0.3)
        report({"loss": np.asarray(seeds) + config["x"] / (step + 1), "flag": seeds < 2})
    return seeds < 2


def test_the_last_report_of_a_long_training_comes_on_the_way():
    slow = custom_trainer(given_source(reporting_slowly), None)
    found = []
    with ending_processes():
        pool = Pool(slow, 1)
        pool.take(Given({"x": 4}, seeds=3))
        while not any(done.ends for done in found):
            pool.wait()
            found += pool.done
            pool.done.clear()
    told, result = (done for done in found if done.reported or done.jobs)
    assert (told.jobs, told.ends) == ((), False)
    assert told.reported.block == result.jobs[0].block
    assert told.reported.count == 4  # the first of those a second after the begin
    assert told.reported.numbers == {"loss": 2.0, "flag": 1.0}  # medians


def test_a_seed_that_began_early_is_taken_over_and_one_that_nobody_wants_ends(function):
    processes = processes_for(function)
    early = [processes.start() for _ in range(2)]
    wanted, other = ({"x": x, "until": f"{Path.cwd()}/go"} for x in (1, 2))
    processes.begin_early(function, [Block(Point(config), 0, 1) for config in (wanted, other)])
    wait_until(lambda: Path("1-0").exists() and Path("2-0").exists())
    pool = Pool(function, 2)
    pool.take(Given(wanted, {"x": 3, "until": "now"}, seeds=1))
    Path("go").touch()
    found = received(pool, 2)
    assert sorted(job.block.point["x"] for done in found for job in done.jobs) == [1, 3]
    assert early[0].pid in pids(found)
    assert (early[1].code, early[1].pid in pids(found)) == (-9, False)


def test_short_seeds_come_together():
    quick = custom_trainer(given_source(lambda *_: True), None)
    with ending_processes():
        pool = Pool(quick, 1)
        pool.take(Given({"x": 1}, seeds=300))
        found = received(pool)
    assert [seed for done in found for seed in seeds_of(done)] == [*range(300)]
    assert len(found) <= 2


def test_what_is_stopped_ends_and_what_has_finished_is_there(function):
    pool = Pool(function, 2)
    pool.take(Given({"x": 1, "until": "."}, {"x": 2, "until": "never"}))
    wait_until(Path("2-0").exists)
    [first] = received(pool)
    pool.stop()
    assert first.jobs[0].proposal == 1
    assert not processes_for(function).workers or all(
        worker.is_idle for worker in processes_for(function).workers.values()
    )


def test_a_seed_that_ends_its_process_costs_that_seed(function):
    """Those before it are there, those after it have not begun; another worker goes on."""
    pool = Pool(function, 1)
    pool.take(Given({"x": 3, "until": "exit 2"}, seeds=5))
    done = received(pool)
    [fault] = [one for one in done if one.ends]
    assert fault.results == WorkerFailure("batch", "ended its process (exit code 3)")
    assert 2 in seeds_of(fault)
    rest = [one for one in done if not one.ends and isinstance(one.results, WorkerFailure)]
    assert {one.results.kind for one in rest} <= {"stopped"}
    ended = [one for one in done if not isinstance(one.results, WorkerFailure)]
    assert sorted(seed for one in (*ended, *rest, fault) for seed in seeds_of(one)) == [*range(5)]
    pool.take(Given({"x": 4, "until": "."}))
    assert [seeds_of(one) for one in received(pool)] == [[0, 1]]


def test_a_seed_over_its_time_limit_is_killed_alone(function):
    limited = CustomTrainer(function.source, form=CallForm(), limit=0.5)
    pool = Pool(limited, 1)
    pool.take(Given({"x": 1, "until": "hang 1"}, seeds=3))
    done = received(pool)
    [late] = [one for one in done if one.ends]
    assert seeds_of(late) == [1]
    [outcome] = late.results
    assert outcome.details.failed == {1: "took longer than 0.5 s"}
    by_seed = {seeds_of(one)[0]: one.results for one in done}
    assert isinstance(by_seed[0][0], Outcome | worker_module.EncodedOutcome)
    assert by_seed[2].kind == "stopped"


def test_a_batch_over_its_time_limit_is_late(function):
    pool = Pool(function, 1, limit=0.3)
    pool.take(Given({"x": 1, "until": "hang 0"}, seeds=1))
    [late] = received(pool)
    assert late.results == WorkerFailure("late", "took longer than 0.3 s")
    assert late.seconds >= 0.3


class Hangs(xt.TorchTraining):
    epochs = 1

    def model(self):
        time.sleep(1000)

    def optimizer(self, parameters): ...

    def batches(self): ...

    def loss(self, model, *batch): ...

    def score(self, model): ...


def test_seeds_that_train_as_one_are_slow_where_they_exceed_their_time_limits_in_all():
    pool = Pool(custom_trainer(given_source(Hangs), None, limit=0.1), 1)
    given = Given({"x": 1}, {"x": 2}, seeds=1)
    given.jobs = [tuple(job for [job] in given.jobs)]
    with ending_processes():
        pool.take(given)
        [late] = received(pool)
    assert (late.results.kind, len(late.jobs)) == ("slow", 2)


HANGS_WITH_ONE_SEED = """
import time
import torch
import xortune as xt


class Training(xt.TorchTraining):
    epochs = 1

    def run(self, seed, report=None):
        while seed == 5:
            time.sleep(1)
        return {"accuracy": seed}

    def model(self):
        return torch.nn.Linear(1, 1)

    def optimizer(self, parameters):
        return torch.optim.SGD(parameters, lr=0.1)

    def batches(self): ...

    def loss(self, model, *batch): ...

    def score(self, model): ...


def function(config, seeds):
    while 5 in seeds:
        time.sleep(1)
    return {"accuracy": seeds}
"""


@pytest.mark.parametrize("training", ["Training", "function"])
def test_a_seed_that_hangs_costs_no_other_seed_that_trains_with_it(tmp_path, monkeypatch, training):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(HANGS_WITH_ONE_SEED)
    given = {"function": f"./train.py:{training}", "timeout": 0.3}
    found = xt.evaluate({"x": 1}, seeds=range(8), train=given, success="accuracy >= 1", workers=2)
    assert found.details.failed == {5: "took longer than 0.3 s"}
    assert found.details.values["accuracy"].tolist()[:5] == [0, 1, 2, 3, 4]
    assert (found.successes, found.n) == (6, 8)


def test_the_time_limit_of_a_seed_counts_from_where_it_begins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "import time\n\ntime.sleep(0.7)\n\n\ndef run(config, seed):\n    return True\n"
    Path("slow_to_import.py").write_text(text)
    limited = custom_trainer(named_source("./slow_to_import.py:run", tmp_path), None, limit=0.6)
    with ending_processes():
        outcome = train_in_process(limited, Block(Point({"x": 1}), 0, 1))
    assert outcome.details.failed == {}


class Unreadable:
    """It cannot be received by another process."""

    def __reduce__(self):
        return _refused, ()


def _refused():
    raise ValueError("it cannot live elsewhere")


def test_why_a_worker_cannot_receive_a_function_is_said(tmp_path):
    held = Unreadable()
    space = {"name": "held", "parameters": {"x": {"choice": [1, 2]}}, "search": {"sampler": "grid"}}
    with pytest.raises(TrainingError, match="it cannot live elsewhere"):
        xt.search(
            space,
            train=lambda *_: held is None,
            workers=2,
            output=tmp_path / "run",
            verbose=0,
        )


def test_a_child_that_returns_from_the_function_ends_there(function):
    pool = Pool(function, 1, encodes=False)
    pool.take(Given({"x": 1, "until": "fork 1"}, seeds=3))
    found = received(pool)
    assert [seed for done in found for seed in seeds_of(done)] == [0, 1, 2]
    assert all(result.solved.all() for done in found for result in done.results)
    assert len(pids(found)) == 1


def test_workers_draw_different_random_numbers(function):
    pool = Pool(function, 2)
    pool.take(Given(*({"x": x, "until": f"{Path.cwd()}/both"} for x in (1, 2))))
    wait_until(lambda: Path("1-0").exists() and Path("2-0").exists())
    Path("both").touch()
    drawn = [
        float(number)
        for done in received(pool, 2)
        for result in done.results
        for number in result.details.values["drawn"]
    ]
    assert len(set(drawn)) == len(drawn) == 4


@pytest.mark.parametrize("forks_workers", [True, False])
def test_workers_are_forks_or_new_interpreters(function, monkeypatch, forks_workers):
    patch = f"import xortune.training.worker as w\nw._may_fork = lambda: {forks_workers}\n"
    program = worker_module.PROGRAM.replace("\nmain(", f"\n{patch}main(")
    monkeypatch.setattr(processes_module, "PROGRAM", program)
    pool = Pool(function, 2)
    pool.take(Given({"x": 1, "until": "."}, {"x": 7, "until": "exit 1"}))
    done = received(pool, 2)
    reasons = {one.results.reason for one in done if isinstance(one.results, WorkerFailure)}
    assert reasons == {"ended its process (exit code 7)"}
    assert [seeds_of(one) for one in done if one.jobs[0].proposal == 1] == [[0, 1]]


def test_a_template_that_ends_is_started_again(function):
    pool = Pool(function, 1)
    pool.take(Given({"x": 1, "until": "never"}))
    wait_until(Path("1-0").exists)
    pool._processes._template.kill()
    found = received(pool)
    assert {one.results.kind for one in found} <= {"batch", "stopped"}
    pool.take(Given({"x": 2, "until": "."}))
    assert [seeds_of(one) for one in received(pool)] == [[0, 1]]


def test_the_template_imports_installed_packages_and_nothing_of_the_users(tmp_path):
    (tmp_path / "train.py").write_text(
        "import torch.nn\nimport helper, jax\nfrom numpy import array\n\ndef run(config, seed): 0\n"
    )
    (tmp_path / "helper.py").write_text("import pandas as pd\nfrom . import nothing\n")
    found = packages_of(named_source("./train.py:run", tmp_path))
    assert found == ("numpy", "pandas", "torch")
    assert "pytest" in packages_of(given_source(test_a_batch_over_its_time_limit_is_late))


def test_this_process_trains_a_batch_piece_by_piece():
    trainer = custom_trainer(given_source(lambda *_: not time.sleep(0.3)), None)
    executor = LocalExecutor(trainer)
    executor.take(Given({"x": 1}, seeds=2))
    executor.wait()
    assert [seeds_of(done) for done in executor.done] == [[0]]
    assert not executor.done[0].ends
    executor.wait()
    assert executor.done[-1].ends


def test_launched_batches_are_one_call():
    class Launches(Trainer):
        calls = 0

        def train(self, blocks):
            self.calls += 1
            return [by_rate(block) for block in blocks]

        def describe(self):
            return {}

    trainer = Launches()
    executor = LocalExecutor(trainer, 3)
    executor.take(batches := Given(*({"x": x, "y": 1.0} for x in range(5))))
    executor.wait()
    assert trainer.calls == 1
    assert sum(done.ends for done in executor.done) == 3
    assert len(batches.jobs) == 2


def test_slots_are_the_cores_or_the_number_of_workers():
    assert slots_here(Cluster()) == len(os.sched_getaffinity(0))
    assert slots_here(Cluster(workers=16)) == 16
    with pytest.raises(InputError, match="cpus: 1e"):
        slots_here(Cluster(each=Resources(cpus=1e9)))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_search_by_a_pool_and_by_this_process(tmp_path, workers, no_ray):
    """With as many slots; the network is the built-in one."""
    text = TINY_SPACE.replace("random, trials: 3", "tpe, trials: 20").replace("[4]", "[8, 32]")
    pool = xt.search(parse_space(text), output=tmp_path / "pool", workers=workers)
    again = xt.search(parse_space(text), output=tmp_path / "again", workers=workers)
    assert pool.table.equals(again.table)
    if workers == 1:
        here = xt.search(parse_space(text), output=tmp_path / "here", workers=0)
        assert pool.table.equals(here.table)
    assert len(points(1)) == 1


# -------------------------------------------------------------------------------------------------
# A batch that somebody trains.


def batch_of(*counts, ahead=(), **more):
    """Two jobs, say, of so many seeds; and what the search is told of them."""
    blocks = [Block(Point({"x": x}), 0, seeds) for x, seeds in enumerate(counts)]
    jobs = [Job(x, block, ahead=x in ahead) for x, block in enumerate(blocks)]
    return Batch(tuple(jobs), done := deque(), **more), done


def told(done):
    """Seeds by job, whether it ends the batch, and the kind of a failure."""
    kinds = [getattr(one.results, "kind", "") for one in done]
    return [
        ({job.proposal: [*job.block.seeds] for job in one.jobs}, one.ends, kind)
        for one, kind in zip(done, kinds, strict=True)
    ]


DIED = WorkerFailure("batch", "it died")


def test_of_a_lost_worker_the_part_that_trained_is_at_fault_and_the_rest_trains_elsewhere():
    batch, done = batch_of(4, 2)
    batch.begin(0, batch.blocks[0].part(0, 1))
    batch.trained([(0, batch.blocks[0].part(0, 1))], [by_rate(batch.blocks[0])], 0.1)
    batch.begin(0, batch.blocks[0].part(2, 1))  # the second one was trained and is not sent
    batch.lose(DIED)
    assert batch.has_ended
    rest = {0: [3], 1: [0, 1]}  # by job, the last part of each
    assert told(done) == [
        ({0: [0]}, False, ""),
        (rest, False, "stopped"),
        ({0: [2]}, True, "batch"),
    ]
    assert sorted([*job.block.seeds] for job in done[1].jobs) == [[0, 1], [1], [3]]


@pytest.mark.parametrize("how", ["as one", "begin all"])
def test_of_seeds_that_train_as_one_all_are_at_fault(how):
    batch, done = batch_of(4, 2, as_one=how == "as one")
    batch.begin(0, batch.blocks[0]) if how == "as one" else batch.begin_all()
    batch.lose(DIED)
    assert told(done) == [({0: [*range(4)], 1: [0, 1]}, True, "batch")]


def test_a_worker_that_ends_before_it_has_begun_is_at_no_fault():
    batch, done = batch_of(4, as_one=True)
    fault, rest = batch.lose(DIED)
    assert (fault, len(rest)) == ((), 1)
    assert told(done) == [({0: [*range(4)]}, True, "stopped")]


@pytest.mark.parametrize("as_one", [False, True])
def test_a_worker_that_ends_when_all_is_sent_costs_nothing(as_one):
    batch, done = batch_of(2, as_one=as_one)
    batch.begin(0, batch.blocks[0])
    batch.trained([(0, batch.blocks[0])], [by_rate(batch.blocks[0])], 0.1)
    batch.lose(DIED)
    assert told(done) == (
        [({0: [0, 1]}, True, "")] if as_one else [({0: [0, 1]}, False, ""), ({}, True, "")]
    )


def test_a_batch_with_decided_jobs_does_not_end_with_what_was_trained_ahead():
    batch, done = batch_of(1, 1, ahead=(1,))
    batch.begin(1, batch.blocks[1])
    batch.trained([(0, batch.blocks[0])], [by_rate(batch.blocks[0])], 0.1)
    batch.begin(1, batch.blocks[1])
    batch.lose(DIED)
    assert told(done)[1:] == [({1: [0]}, False, "batch"), ({}, True, "")]


@pytest.mark.parametrize(
    ("limits", "as_one", "kind"),
    [
        (Limits(part=3.0), False, "late"),
        (Limits(part=3.0), True, "late"),
        (Limits(seed=3.0), False, ""),  # the seed has crashed
        (Limits(seed=0.5), True, "slow"),
        (Limits(part=3.0, seed=4.0), False, "late"),
        (Limits(part=9.0, seed=3.0), False, ""),
    ],
)
def test_what_exceeds_which_limit(limits, as_one, kind):
    now = [0.0]
    batch, done = batch_of(6, limits=limits, as_one=as_one, clock=Clock(lambda: now[0]))
    batch.begin(0, batch.blocks[0] if as_one else batch.blocks[0].part(5, 1))
    assert batch.seconds_left == 3.0
    batch.exceed()
    assert batch.seconds_left == float("inf")
    batch.lose(DIED)
    assert told(done)[-1] == ({0: [*range(6)] if as_one else [5]}, True, kind)
    if not kind:
        assert done[-1].results[0].details.failed == {5: "took longer than 3 s"}


def test_time_in_which_the_driver_does_not_look_is_nobodys():
    now = [0.0]
    clock = Clock(lambda: now[0])
    now[0] = 0.5
    assert clock.now() == 0.5
    clock.look()
    now[0] = 100.0  # nobody looks for 99.5 seconds, of which one counts
    assert clock.now() == 1.5
    clock.look()
    now[0] = 100.25
    assert clock.now() == 1.75


class Refuses(Executor):
    """A transport that can send nothing."""

    def send(self, _):
        raise InputError("it cannot be sent")

    def receive(self, _):
        """Nothing comes."""

    def stop(self):
        """Nothing is under way."""


def test_a_batch_that_cannot_be_sent_has_ended():
    executor = Refuses(PLAIN, 1)
    with pytest.raises(InputError, match="cannot be sent"):
        executor.take(Given({"x": 1}))
    executor.wait()
    assert told(executor.done) == [({1: [0, 1]}, True, "batch")]
    assert executor.under_way == []
