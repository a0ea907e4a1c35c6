"""How many proposals of a run are done, and how many lately, told from its journal's lines."""

from __future__ import annotations

from collections import deque

from xortune.run_proposals import Part, completed

__all__ = ["RECENT_SECONDS", "Proposals"]

RECENT_SECONDS = 300.0
"""The rate of the last minutes is that of these."""

RECENT_LINES = 10_000
"""Where there are more in these minutes, it is that of the time that so many have taken."""


class Proposals:
    """Proposals of a run, of which more and more lines are read.

    Done are those that are complete, as `xortune.run_proposals` says and the table's column
    `trials`: where configs race, a first rung may not be all that a newcomer gets at once.

    Args:
        rungs: of the run's ladder.
    """

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self.rungs = rungs
        self._races = len(rungs) > 1
        self._first_missing = 0
        self._later: set[int] = set()  # begun, beyond the first that is missing
        self._parts: dict[str, list[Part]] = {}
        self._touched: set[str] = set()
        self._complete: dict[str, int] = {}
        self._done = 0
        self._recent: deque[tuple[float, str, Part]] = deque(maxlen=RECENT_LINES)

    def add(self, key: str, part: Part, at: int | None) -> None:
        """Take in a final line of a config.

        Args:
            key: of the config.
            part: the line; `made` is empty where it has none.
            at: when it was written, seconds since 1970; None in a journal from before this was
                noted.
        """
        if at is not None:
            self._recent.append((at, key, part))
        if self._races:
            self._parts.setdefault(key, []).append(part)
            self._touched.add(key)
            return
        if part.proposal >= self._first_missing:
            self._later.add(part.proposal)
        while self._first_missing in self._later:
            self._later.remove(self._first_missing)
            self._first_missing += 1

    def done(self, first_made: str) -> int:
        """How many are complete.

        Args:
            first_made: what lines without a digest stand for.
        """
        if not self._races:
            return self._first_missing + len(self._later)
        for key in self._touched:
            now = self._completed(self._parts[key], first_made)
            self._done += now - self._complete.get(key, 0)
            self._complete[key] = now
        self._touched.clear()
        return self._done

    def rate(self, now: float, since: float | None, first_made: str) -> float | None:
        """Proposals a second in the last minutes; None if there were none.

        Args:
            now: seconds since 1970.
            since: when the search went on, if that is known: before it there was nothing.
            first_made: what lines without a digest stand for.
        """
        then = now - RECENT_SECONDS if since is None else max(now - RECENT_SECONDS, since)
        while self._recent and self._recent[0][0] <= then:
            self._recent.popleft()
        if len(self._recent) == RECENT_LINES:
            then = self._recent[0][0]
        new: dict[str, set[Part]] = {}
        for at, key, part in self._recent:
            if at > then:
                new.setdefault(key, set()).add(part)
        if self._races:
            self.done(first_made)
            count = sum(
                self._complete[key]
                - self._completed([p for p in self._parts[key] if p not in parts], first_made)
                for key, parts in new.items()
            )
        else:
            count = len({part.proposal for parts in new.values() for part in parts})
        return count / (now - then) if count and now > then else None

    def _completed(self, parts: list[Part], first_made: str) -> int:
        known = (p if p.made else p._replace(made=first_made) for p in parts)
        return completed(known, self.rungs)
