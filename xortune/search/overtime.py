"""Which packs have taken too long. It knows neither Ray nor what a pack is.

A trainer may hang where no Python runs: in a loop of a C library that holds the interpreter, or
waiting for a disk that is gone. Neither a scheduler of Tune nor a thread or signal handler in the
worker gets a word in then, and a timer that ends the process from inside could not tell the driver
why. So the driver keeps the time and has Ray kill the worker, which does not ask the worker: its
node kills the process if it does not go by itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Overtime"]

STEP = 1.0
"""Seconds, at most, by which the clock moves from one look to the next."""


class Overtime:
    """Keeps the time of packs, by a clock that stands still while the driver is busy itself.

    A driver that has just spent minutes on something else has not yet seen the results that came
    meanwhile: nothing is late because nobody looked.

    Args:
        limit: seconds that a pack may take; None for any time.
        now: the time.
    """

    def __init__(self, limit: float | None, now: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._now = limit, now
        self._last, self._clock = now(), 0.0
        self._started: dict[str, float] = {}

    def start(self, name: str) -> None:
        """A pack is being trained from now on."""
        self._started[name] = self._clock

    def end(self, name: str) -> None:
        """A pack is no longer of interest."""
        self._started.pop(name, None)

    def late(self) -> list[tuple[str, float]]:
        """Packs that have just been found too slow, and their seconds; each is told once."""
        now = self._now()
        self._clock += min(now - self._last, STEP)
        self._last = now
        if self._limit is None:
            return []
        found = [
            (name, self._clock - start)
            for name, start in self._started.items()
            if self._clock - start >= self._limit
        ]
        for name, _ in found:
            self.end(name)
        return found
