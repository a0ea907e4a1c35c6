"""What a search waits for, said when it has waited for a while."""

from __future__ import annotations

import time
from collections.abc import Callable

import xortune.search.ray_settings  # noqa: F401  # before Ray itself
from xortune.search.cluster import Cluster

# isort: split
import ray

__all__ = ["Waits"]

SECONDS = 10.0
"""So long nothing is trained before a word is said."""


class Waits:
    """Says once, each time nothing can be trained for a while, what is waited for.

    Args:
        cluster: what each trial takes.
        say: called with the sentence.
    """

    def __init__(self, cluster: Cluster, say: Callable[[str], None]) -> None:
        self._wanted = {"CPU": cluster.cpus_per_trial, "GPU": cluster.gpus_per_trial}
        self._say = say
        self._since: float | None = None
        self._told = False

    def look(self, *, waiting: bool) -> None:
        """Note whether there is something to train, and nobody trains."""
        now = time.monotonic()
        if not waiting:
            self._since, self._told = None, False
        elif self._since is None:
            self._since = now
        elif not self._told and now - self._since >= SECONDS:
            self._told = True
            self._say(self._sentence())

    def _sentence(self) -> str:
        has, free = ray.cluster_resources(), ray.available_resources()
        wanted = {kind: amount for kind, amount in self._wanted.items() if amount}
        each = " and ".join(f"{amount:g} {kind}" for kind, amount in wanted.items())
        of = ", ".join(
            f"{free.get(kind, 0):g} of its {has.get(kind, 0):g} {kind}s are free" for kind in wanted
        )
        return (
            f"for {SECONDS:.0f} s nothing is trained: a trial waits for {each} of Ray ({of}); the "
            "rest is held by what else runs there, or by workers that are starting"
        )
