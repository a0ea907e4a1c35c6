"""Certificates on Ray Tune with two slots."""

import json
import os
import shutil
import signal

import pytest
from certified import Chancy, certify, searched_run
from listening import counts

from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL
from xortune.training.jobs import ATTEMPTS
from xortune.training.resources import Cluster

pytestmark = pytest.mark.usefixtures("one_ray")
ON_RAY = Cluster("auto")  # which is the one that is there already


@pytest.fixture
def two(tmp_path):
    """The same run twice."""
    run = searched_run(tmp_path / "one", seconds=0.5)
    shutil.copytree(run.path, tmp_path / "two")
    return run, load_run(tmp_path / "two")


def values(run):
    return json.loads((run.path / "certificate.json").read_text())


def workers(run):
    """The processes that trained it."""
    lines = load_run(run.path).checks
    return {int(line.worker.partition(":")[2]) for line in lines if line.worker}


def test_the_same_certificate_here_and_on_two_slots(two):
    call, told = {"top": 2, "seeds": 60, "neighbourhood": 0.2}, []
    here = certify(two[0], Chancy(), **call)
    call |= {"cluster": ON_RAY, "listener": counts(lambda *counts: told.append(counts))}
    assert certify(two[1], Chancy(seconds=0.002), **call) == here
    assert values(two[1]) == values(two[0])
    assert 0 < here.best.k < 60, "the test tells nothing if all seeds are solved"
    assert (told[0], told[-1]) == ((0, 600), (600, 600))
    assert told == sorted(told)
    assert workers(two[0]) == {os.getpid()}
    assert os.getpid() not in workers(two[1])


@pytest.mark.long
def test_a_worker_that_dies_costs_its_block(two):
    whole = certify(two[0], Chancy(), top=2)
    deadly = whole.best.first + 30
    found = certify(two[1], Chancy(seconds=0.01, deadly=deadly), top=2, cluster=ON_RAY)
    assert found.latest is not None, "it is complete"
    lines = load_run(two[1].path).checks
    lost = [line for line in lines if line.outcome is None]
    assert all(deadly in line.block.seeds for line in lost)
    tries = [line.final for line in lost if line.block.point == lost[0].block.point]
    assert tries == [False] * (ATTEMPTS - 1) + [True]
    assert all(line.error and "\n" not in line.error for line in lost)
    assert len(lost) == 2 * ATTEMPTS
    for finalist in whole.finalists:
        other = found.finalist(finalist.key)
        own = [line for line in lines if line.final and line.block.point == finalist.point]
        gone = sum(line.block.count for line in own if line.outcome is None)
        assert other.n == 100
        assert finalist.k - gone <= other.k < finalist.k
        assert other.k == sum(line.outcome.successes for line in own if line.outcome is not None)


@pytest.fixture
def after_tune():
    """Runs of Ray Tune in this thread have left their handlers, each of which swallows a Ctrl-C."""
    from ray.tune.tune import _setup_signal_catching

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGUSR1)}
    for _ in range(8):
        _setup_signal_catching()
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.long
@pytest.mark.usefixtures("after_tune")
def test_ctrl_c_and_the_same_call_again(two):
    whole = certify(two[0], Chancy())
    stops = Chancy(seconds=0.02, stops=whole.best.first + 90, driver=os.getpid())
    with pytest.raises(KeyboardInterrupt):
        certify(two[1], stops, cluster=ON_RAY)
    assert values(two[1])["attempts"][0]["complete"] is False
    journal = two[1].path / JOURNAL
    before = journal.read_text()
    assert '"purpose"' in before
    assert certify(two[1], Chancy(), cluster=ON_RAY) == whole
    assert journal.read_text().startswith(before)
    assert values(two[1]) == values(two[0])
