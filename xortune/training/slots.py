"""How many train at once: the slots of this machine, or of a Ray."""

from __future__ import annotations

import math
from collections.abc import Mapping

from xortune.core.errors import InputError
from xortune.core.system import cores
from xortune.training.process import is_connected
from xortune.training.resources import Cluster, Resources, settings


def cores_of(cluster: Cluster) -> int:
    """The CPUs of this machine for all workers together."""
    if cluster.workers is not None:
        return math.ceil(cluster.workers * cluster.each.cpus)
    return cores()


def slots_to_come(cluster: Cluster) -> int:
    """The number of slots on this machine, by its CPUs, before they are there.

    It is 0 if Ray runs already or elsewhere: only Ray knows its size.
    """
    if is_connected() or cluster.place != "local":
        return 0
    return _fitting_here(cluster)


def _fitting_here(cluster: Cluster) -> int:
    return int(cores_of(cluster) / cluster.each.cpus)


def slots_here(cluster: Cluster) -> int:
    """The number of processes of a pool on this machine.

    Raises:
        InputError: it is 0.
    """
    count = _fitting_here(cluster)
    if not count:
        raise InputError(
            f"{cluster.each.cpus:g} for each trial, but this machine has {cores_of(cluster)}",
            field="cpus",
            allowed="at most what this machine has",
        )
    return count


def slots(cluster: Cluster) -> int:
    """The number of slots of the connected Ray.

    Raises:
        InputError: it is 0.
    """
    nodes, amounts = _nodes(), cluster.each.amounts
    fields = {setting.resource: name for name, setting in settings(Resources).items()}
    for kind, amount in amounts.items():
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if amount > largest:
            where = "the cluster has" if len(nodes) < 2 else "the cluster's largest node has"
            raise InputError(
                f"{amount:g} for each trial, but {where} {largest:g}",
                field=fields[kind],
                allowed="at most what one node of the cluster has",
                fix="leave it out" if largest == 0 else f"ask for {largest:g} or less",
            )
    if not (count := fitting(cluster)):
        raise InputError(
            f"{_told(amounts)} for each trial, but no node of the cluster has all of it",
            field="cpus",
            allowed="at most what one node of the cluster has",
            fix="ask for fewer",
        )
    return count


def _nodes() -> list[dict[str, float]]:
    """The resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def fitting(cluster: Cluster) -> int:
    """The number of slots of the connected Ray; 0 if no trial fits.

    A trial runs on one node: it cannot use a CPU of one and a GPU of another.
    """
    amounts = cluster.each.amounts.items()
    return sum(
        min(int(node.get(kind, 0.0) / amount) for kind, amount in amounts) for node in _nodes()
    )


def missing_room(cluster: Cluster) -> str:
    """A sentence about the resources that a trial waits for."""
    import ray

    has, free, needs = ray.cluster_resources(), ray.available_resources(), cluster.each.amounts
    of = ", ".join(f"{free.get(kind, 0):g} of {has.get(kind, 0):g} {kind}" for kind in needs)
    return (
        f"a trial waits for {_told(needs)} of Ray (free: {of}); workers that are starting hold the "
        "rest, or something else that runs there"
    )


def _told(amounts: Mapping[str, float]) -> str:
    return " and ".join(f"{amount:g} {kind}" for kind, amount in amounts.items())
