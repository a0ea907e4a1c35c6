"""Nodes that join while a search runs are used, nodes that leave lose only what they were at."""

import functools
import os
import time
from collections import Counter
from pathlib import Path

import pytest
import ray
from cluster_trainers import Logging, begun
from ray.cluster_utils import Cluster

from xortune.driver.session import Listener, search_session
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space

TESTS = str(Path(__file__).parent)
WORKERS = os.pathsep.join([TESTS, str(Path(TESTS).parent)])
SPACE = """
name: nodes
parameters: {x: {low: 0, high: 59}}
search: {sampler: grid}
seeds: {ladder: [4]}
"""
COUNT = 60
SOON = 30.0
"""Seconds, on a busy machine; a worker alone takes one to five to start."""


def assert_complete(folder, joined):
    """Each point once, none given up, and trained twice only what a node took with it."""
    run = load_run(folder / "run")
    assert run.manifest["complete"] is True
    assert sorted(e.block.point["x"] for e in run.evaluations) == list(range(COUNT))
    assert all(e.final and e.outcome is not None for e in run.evaluations)
    for evaluation in run.evaluations:
        x = evaluation.block.point["x"]
        assert (evaluation.outcome.successes, evaluation.outcome.n) == (x % 5, 4)
    log = begun(folder / "log")
    for x, times in Counter(x for x, _ in log).items():
        nodes = [node for y, node in log if x == y]
        assert times == 1 or nodes[0] in joined, "only what ran on a node that left came again"
    assert len(log) > COUNT, "the test tells nothing if the node was idle when it left"


class Visits:
    """Called with each progress: adds a node, and removes it once it is at work, so many times."""

    def __init__(self, folder, add, remove, *, times):
        self.folder, self.add, self.remove, self.times = folder, add, remove, times
        self.joined, self.took = [], []
        self.known, self.here, self.since = set(), None, 0.0

    def __call__(self, progress):
        nodes = {node for _, node in begun(self.folder / "log")}
        if self.here is not None and nodes - self.known:
            self.took.append(time.monotonic() - self.since)
            self.joined += nodes - self.known
            self.remove(self.here)
            self.here = None
            if len(self.joined) == self.times:
                (self.folder / "hurry").touch()
        elif self.here is None and len(self.joined) < self.times and progress.done >= 2:
            self.known = nodes
            self.here, self.since = self.add(), time.monotonic()


def searched(folder, visits):
    trainer = Logging(str(folder / "log"), naps=0.5)
    complete = search_session(
        parse_space(SPACE), trainer, folder / "run", listener=Listener(visits)
    )
    assert complete
    assert len(visits.joined) == visits.times
    assert max(visits.took) < SOON
    assert_complete(folder, visits.joined)
    print("used after", [round(t, 1) for t in visits.took])


@pytest.fixture
def connect(monkeypatch):
    """Connect to a cluster whose workers find our trainer; disconnected afterwards."""

    def to(address):
        environment = {"env_vars": {"PYTHONPATH": WORKERS}}
        ray.init(address=address, log_to_driver=False, runtime_env=environment)

    yield to
    ray.shutdown()


@pytest.mark.long
def test_nodes_of_a_cluster_that_grows_and_shrinks(tmp_path, connect):
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        connect(cluster.address)
        add = functools.partial(cluster.add_node, num_cpus=1)
        searched(tmp_path, Visits(tmp_path, add, cluster.remove_node, times=1))
    finally:
        ray.shutdown()
        cluster.shutdown()
