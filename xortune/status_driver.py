"""Whether the process that holds a run is alive, as far as another one can tell.

On its own machine the kernel says so. From elsewhere only its heartbeat is seen: one that moves
between two looks is alive, one that stands still for a whole lease is gone, and at the first look
it is believed if it is young, which supposes clocks that agree within a lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias

from xortune.run_lock import LEASE_SECONDS, holder

__all__ = ["LATEST", "Driver", "DriverWatch", "Life", "driver_of", "moment"]

Life: TypeAlias = Literal["alive", "gone"]

LATEST = 2.5e11
"""The year 9892, as seconds since 1970: what a calendar can show."""


@dataclass(frozen=True)
class Driver:
    """The process that searches or certifies, or did.

    Attributes:
        life: whether it is alive.
        pid: its process id; None if it has left the run as it should.
        host: where it runs.
        since: when it began; seconds since 1970.
        heartbeat: when it last said that it lives, by its own clock; seconds since 1970.
        elsewhere: whether it runs on another machine (or in another container) than this process.
    """

    life: Life
    pid: int | None = None
    host: str | None = None
    since: float | None = None
    heartbeat: float | None = None
    elsewhere: bool = False


class DriverWatch:
    """What earlier looks saw of the heartbeat of a driver elsewhere."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None
        self._moved: float | None = None
        self._still_since = 0.0

    def alive(self, owner: str, beats: int, heartbeat: float, now: float) -> bool:
        """Whether it lives.

        Args:
            owner: who holds the lock.
            beats: of its heart.
            heartbeat: the last one, by its clock.
            now: by ours.
        """
        if self._seen != (owner, beats):
            self._moved = now if self._seen is not None else None
            self._seen, self._still_since = (owner, beats), now
        if now - self._still_since >= LEASE_SECONDS:
            return False
        return self._moved is not None or abs(now - heartbeat) < LEASE_SECONDS


def driver_of(path: Path, now: float, watch: DriverWatch | None = None) -> Driver:
    """The driver of a run, alive or not. Nothing is written.

    Args:
        path: the run's directory.
        now: seconds since 1970.
        watch: of earlier looks.

    Raises:
        InputError: the run's lock cannot be read, or is none.
    """
    found = holder(path)
    if found is None:
        return Driver("gone")
    owner, seen = found
    elsewhere = seen == "elsewhere"
    alive = seen == "alive"
    if elsewhere:
        alive = (watch or DriverWatch()).alive(owner.owner, owner.beats, owner.heartbeat, now)
    return Driver(
        life="alive" if alive else "gone",
        pid=owner.pid,
        host=owner.host,
        since=moment(owner.since),
        heartbeat=owner.heartbeat if 0 < owner.heartbeat < LATEST else None,
        elsewhere=elsewhere,
    )


def moment(text: object) -> float | None:
    """A time in ISO 8601 as seconds since 1970; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return found if 0 < found < LATEST else None
