"""Why a pack came to nothing: whose fault it was, in the words that are written down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["Death", "death_of", "too_long"]

NODE = ("its node has died", "is unavailable: ", "The actor never ran")
SETUP = "raised in its creation task"
OURS = "killed by `ray.kill`"

_DETAIL = re.compile(r"Worker exit type: (\w+) Worker exit detail: ([^.]*\.[^.]*)")


@dataclass(frozen=True)
class Death:
    """Why a worker delivered nothing.

    Attributes:
        kind: `pack`, something that it trained killed it; `late`, it was stopped for it took too
            long; `node`, its machine has left or cannot be reached; `setup`, it never got as far
            as the pack; `stopped`, it had been stopped already when it was given the pack.
        reason: for the journal, or for the user.
        seconds: that it took, if it was late.
    """

    kind: Literal["pack", "late", "node", "setup", "stopped"]
    reason: str
    seconds: float = 0.0


def death_of(text: str | None) -> Death:
    """What Ray's account of a dead worker comes to.

    Ray tells the kinds apart in its words alone, where its exception has gone through Tune.
    """
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    last = lines[-1] if lines else "the worker died, no reason given"
    if any(phrase in (text or "") for phrase in NODE):
        return Death("node", last)
    if SETUP in (text or ""):
        return Death("setup", last)
    if OURS in (text or ""):
        return Death("stopped", last)
    detail = _DETAIL.search(text or "")
    if detail:  # without the half page on what may cause it
        return Death("pack", f"the worker died: {detail[1]}, {' '.join(detail[2].split())}")
    return Death("pack", last)


def too_long(limit: float, seconds: float) -> Death:
    """A pack that was stopped at its limit (in seconds)."""
    return Death("late", f"took longer than {spoken(limit)}", seconds)


def spoken(seconds: float) -> str:
    """`90 s`, `10 m`, `2 h`: in the largest unit of which it is a whole number."""
    for size, unit in ((3600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
