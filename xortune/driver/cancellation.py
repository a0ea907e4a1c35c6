"""How a worker hears that what it trains is of no interest any more.

The driver knows who is proven worse; the trainings are elsewhere, and busy. So there is a board, an
actor of its own, on which the driver writes which blocks are given up. A training that reports
looks there now and then. What it does not hear in time is trained to its end, as without a board.
"""

from __future__ import annotations

import xortune.driver.ray_settings  # noqa: F401  # before Ray itself

# isort: split
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import ray

from xortune.core.trainer import Block
from xortune.driver.jobs import Job

SECONDS = 1.0
"""A worker looks at the board at most so often."""

PATIENCE = 5.0
"""Seconds that it waits for an answer."""

Given = frozenset[tuple[str, int]]
"""Blocks that are given up, by the key of their config and their first seed."""


class _Notices:
    """What is on the board."""

    def __init__(self) -> None:
        self._given: set[tuple[str, int]] = set()

    def add(self, names: Iterable[tuple[str, int]]) -> None:
        self._given.update(names)

    def read(self) -> Given:
        return frozenset(self._given)


class CancellationBoard:
    """The driver's side.

    Args:
        wants: whether a block's results are still of interest.
    """

    def __init__(self, wants: Callable[[Job], bool]) -> None:
        self._wants, self._told = wants, set[tuple[str, int]]()
        self.actor: Any = ray.remote(num_cpus=0)(_Notices).remote()

    def look(self, packs: Iterable[Iterable[Job]]) -> None:
        """Write down which of the blocks under way are given up."""
        found = {
            name
            for jobs in packs
            for job in jobs
            if (name := (job.block.point.key, job.block.first)) not in self._told
            and not self._wants(job)
        }
        if found:
            self._told |= found
            self.actor.add.remote(found)


@contextmanager
def cancellation_board(wants: Callable[[Job], bool] | None) -> Iterator[CancellationBoard | None]:
    """A board for as long as trials run; None where nothing is ever given up."""
    if wants is None:
        yield None
        return
    board = CancellationBoard(wants)
    try:
        yield board
    finally:
        ray.kill(board.actor)


class CancellationReader:
    """A worker's side.

    Args:
        actor: of the board.
        now: the time.
    """

    def __init__(self, actor: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._actor, self._now, self._looked = actor, now, -SECONDS
        self._given: Given = frozenset()

    def given_up(self, block: Block) -> bool:
        """Whether a block is of no interest, as far as is known here."""
        if self._now() - self._looked >= SECONDS:
            # Where the driver is going, or slow, it is trained.
            with suppress(ray.exceptions.RayError):
                self._given = ray.get(self._actor.read.remote(), timeout=PATIENCE)
            self._looked = self._now()
        return (block.point.key, block.first) in self._given
