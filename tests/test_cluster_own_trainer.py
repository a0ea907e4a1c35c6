"""A function in a file beside the space file trains on each node of a cluster."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import xortune as xt


@contextmanager
def two_nodes() -> Iterator[None]:
    """One CPU each; both have the package, and nothing of what a test writes."""
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        cluster.add_node(num_cpus=1)
        paths = {"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}}
        ray.init(address=cluster.address, log_to_driver=False, runtime_env=paths)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


SPACE = """
name: nodes
trainer: ./beside/train.py:run
parameters: {x: {low: 0, high: 15}}
search: {sampler: grid}
seeds: {ladder: [4]}
"""

TRAIN = """
import time
import ray
from parts import good

def run(config, seed):
    time.sleep(0.2)
    solved = {"success": good(config["x"], seed)}
    if not ray.is_initialized():  # the check calls it in a process without Ray
        return solved
    return solved | {"node": int(ray.get_runtime_context().get_node_id()[:8], 16)}
"""

PARTS = "def good(x, seed):\n    return (x + seed) % 3 > 0\n"


@pytest.mark.long
def test_both_nodes_train_what_the_driver_sent(tmp_path):
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "train.py").write_text(TRAIN)
    (beside / "parts.py").write_text(PARTS)
    (tmp_path / "space.yaml").write_text(SPACE)

    def gone(word):
        """As on a machine without the files: what the driver read is all there is."""
        if word.startswith("check of"):
            shutil.rmtree(beside)

    with two_nodes():
        run = xt.search(tmp_path / "space.yaml", output=tmp_path / "run", on_word=gone)
    assert not beside.exists()
    assert len(run.results) == 16
    for found in run.results:
        assert found.outcome.solved.tolist() == [(found.point["x"] + s) % 3 > 0 for s in range(4)]
    assert run.seeds.node.nunique() == 2
