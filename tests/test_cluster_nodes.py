"""Clusters of two nodes: one that joins and leaves, and one that lacks the trainer's files."""

import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import ray
from cluster_trainers import Logging, begun
from listening import progress, sentences
from ray.cluster_utils import Cluster

import xortune as xt
from xortune.driver.session import search_session
from xortune.driver.voice import Voice
from xortune.runs.run import load_run
from xortune.spaces.space import parse_space

pytestmark = pytest.mark.long

TESTS = Path(__file__).parent
SPACE = """
name: nodes
parameters: {x: {low: 0, high: 59}}
search: {sampler: grid}
seeds: {ladder: [4]}
"""
COUNT = 60
SOON = 30.0
"""Seconds, on a busy machine; a worker alone takes one to five to start."""


@pytest.fixture
def connected():
    """`connected(*folders)`: a cluster of one CPU, whose workers import from these folders."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)

    def connect(*folders):
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(map(str, folders))}}
        ray.init(address=cluster.address, log_to_driver=False, runtime_env=paths)
        return cluster

    yield connect
    ray.shutdown()
    cluster.shutdown()


class Visit:
    """Called with each progress: adds a node, and removes it once it is at work."""

    def __init__(self, folder, cluster):
        self.folder, self.cluster = folder, cluster
        self.joined, self.took = set(), None
        self.known, self.here, self.since = set(), None, 0.0

    def __call__(self, progress):
        nodes = {node for _, node in begun(self.folder / "log")}
        if self.here is None and self.took is None and progress.done >= 2:
            self.known = nodes
            self.here, self.since = self.cluster.add_node(num_cpus=1), time.monotonic()
        elif self.here is not None and nodes - self.known:
            self.took, self.joined = time.monotonic() - self.since, nodes - self.known
            # In a thread: meanwhile the driver hands out batches, and the node is at work.
            threading.Thread(target=self.remove, args=(self.here,)).start()
            self.here = None

    def remove(self, node):
        self.cluster.remove_node(node)
        (self.folder / "hurry").touch()


def test_a_node_that_joins_is_used_and_one_that_leaves_loses_only_what_it_was_at(
    tmp_path, connected
):
    visit = Visit(tmp_path, connected(TESTS, TESTS.parent))
    trainer = Logging(str(tmp_path / "log"), naps=0.5)
    assert search_session(
        parse_space(SPACE), trainer, tmp_path / "run", voice=Voice(0, progress(visit))
    )
    assert visit.took < SOON
    run = load_run(tmp_path / "run")
    assert run.manifest["complete"] is True
    found = ((e.block.point["x"], e.final, e.outcome) for e in run.evaluations)
    counts = [(x, final, outcome.successes, outcome.n) for x, final, outcome in found]
    assert sorted(counts) == [(x, True, x % 5, 4) for x in range(COUNT)]
    log = begun(tmp_path / "log")
    for x, times in Counter(x for x, _ in log).items():
        nodes = [node for y, node in log if x == y]
        assert times == 1 or nodes[0] in visit.joined, "only what the lost node had came again"
    assert len(log) > COUNT, "the test tells nothing if the node was idle when it left"


BESIDE = SPACE.replace("59", "15") + "trainer: ./beside/train.py:run\n"

TRAIN = """
import time
import ray
from parts import good

def run(config, seed):
    time.sleep(0.2)
    node = 0  # of the check, in a process that may not use Ray
    if ray.is_initialized():
        node = int(ray.get_runtime_context().get_node_id()[:8], 16)
    return {"success": good(config["x"], seed), "node": node}
"""

PARTS = "def good(x, seed):\n    return (x + seed) % 3 > 0\n"


def test_both_nodes_train_what_the_driver_sent(tmp_path, connected):
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "train.py").write_text(TRAIN)
    (beside / "parts.py").write_text(PARTS)
    (tmp_path / "space.yaml").write_text(BESIDE)

    def gone(word):
        """As on a machine without the files: what the driver read is all there is."""
        if word.startswith("check of"):
            shutil.rmtree(beside)

    connected(TESTS.parent).add_node(num_cpus=1)
    run = xt.search(tmp_path / "space.yaml", output=tmp_path / "run", listener=sentences(gone))
    assert not beside.exists()
    assert len(run.results) == 16
    for found in run.results:
        assert found.outcome.solved.tolist() == [(found.point["x"] + s) % 3 > 0 for s in range(4)]
    assert run.seeds.node[run.seeds.node > 0].nunique() == 2
