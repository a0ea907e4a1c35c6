"""A Ray cluster of two nodes on this machine, and this process in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.cluster_utils import Cluster


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
