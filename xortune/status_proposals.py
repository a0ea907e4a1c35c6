"""How many proposals of a run are done, and how many lately, told from its journal's lines."""

from __future__ import annotations

from collections import deque

__all__ = ["RECENT_SECONDS", "Proposals"]

RECENT_SECONDS = 300.0
"""The rate of the last minutes is that of these."""

RECENT_LINES = 10_000
"""Where there are more in these minutes, it is that of the time that so many have taken."""


class Proposals:
    """Proposals of a run, of which more and more lines are read.

    One is done when it has results: what it gets more in a race comes on top. So they are counted
    by the table's column `trials` too.
    """

    def __init__(self) -> None:
        self._first_missing = 0
        self._later: set[int] = set()  # done, beyond the first that is missing
        self._recent: deque[float] = deque(maxlen=RECENT_LINES)  # when they were

    def add(self, proposal: int, at: int | None) -> None:
        """Take in a final line.

        Args:
            proposal: whose it is.
            at: when it was written, seconds since 1970; None in a journal from before this was
                noted.
        """
        if proposal < self._first_missing or proposal in self._later:
            return
        if at is not None:
            self._recent.append(at)
        self._later.add(proposal)
        while self._first_missing in self._later:
            self._later.remove(self._first_missing)
            self._first_missing += 1

    @property
    def done(self) -> int:
        """How many are done."""
        return self._first_missing + len(self._later)

    def rate(self, now: float, since: float | None) -> float | None:
        """Proposals a second in the last minutes; None if there were none.

        Args:
            now: seconds since 1970.
            since: when the search went on, if that is known: before it there was nothing.
        """
        then = now - RECENT_SECONDS if since is None else max(now - RECENT_SECONDS, since)
        while self._recent and self._recent[0] <= then:
            self._recent.popleft()
        if len(self._recent) == RECENT_LINES:
            then = self._recent[0]
        count = sum(at > then for at in self._recent)
        return count / (now - then) if count and now > then else None
