"""Whether a journal's lines are of its run: one of another run must not be counted in silence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xortune.errors import InputError
from xortune.evaluation import Evaluation

__all__ = ["Proposals", "refuse_others", "refuse_unknown"]

FIX = "remove the line, if it is of another run"


class Proposals:
    """The configuration of each proposal, of which a run has one only."""

    def __init__(self) -> None:
        self._keys: dict[int, str] = {}

    def add(self, proposal: int, key: str) -> None:
        """Take in a line of the search.

        Raises:
            InputError: the proposal is another configuration in an earlier line.
        """
        known = self._keys.setdefault(proposal, key)
        if known != key:
            raise InputError(
                f"proposal {proposal} is config {key} here and config {known} in an earlier line",
                field="proposal",
                fix=FIX,
            )


def refuse_others(lines: list[Evaluation], manifest: Mapping[str, Any], journal: Path) -> None:
    """Return if all lines of a journal can be of the run with that manifest.

    Raises:
        InputError: one cannot.
    """
    proposals = Proposals()
    made: dict[str | None, int] = {}
    for number, line in enumerate(lines, 1):
        made.setdefault(line.made, number)
        if line.purpose is None:
            try:
                proposals.add(line.proposal, line.block.point.key)
            except InputError as error:
                raise error.at(f"{journal}:{number}: proposal") from None
    refuse_unknown(made, manifest, manifest, journal)


def refuse_unknown(
    made: Mapping[str | None, int],
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    journal: Path,
) -> None:
    """Return if a manifest names all that made a journal's lines.

    Args:
        made: the digests in the journal, each with its first line.
        before: the manifest as it was before the journal was read.
        after: as it is now, where a session may have begun meanwhile.
        journal: the file.

    Raises:
        InputError: there is a line that no session of the run has made.
    """
    known: set[str] = set()
    for manifest in (before, after):
        noted, sessions = manifest.get("made"), manifest.get("sessions")
        if not isinstance(noted, dict) or not isinstance(sessions, list):
            return  # from before this was noted
        known |= set(noted)
        whole = all(isinstance(one, dict) for one in (*noted.values(), *sessions))
        if not whole or not {str(one.get("made")) for one in sessions} <= known:
            return  # a damaged manifest, which is told as such
    for digest, number in made.items():
        if digest is not None and digest not in known:
            raise InputError(
                f"made by {digest}, which no session of this run is",
                place=f"{journal}:{number}: made",
                allowed=", ".join(sorted(known)),
                fix=FIX,
            )
