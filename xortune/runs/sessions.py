"""Whether a journal's lines are of its run: one of another run must not be counted in silence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from xortune.core.errors import InputError
from xortune.core.files import text_of
from xortune.runs.evaluation import MAX_TIME, Evaluation
from xortune.runs.files import replace_file
from xortune.runs.journal import Journal
from xortune.runs.lock import RunLock, held
from xortune.runs.manifest import MANIFEST, manifest_of, unwritable, update_manifest
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import parse_space
from xortune.spaces.text import read_yaml

# -------------------------------------------------------------------------------------------------
# The sessions of a run: when, where and with which versions each went on; who made which block.
#
# What a block's outcome depends on beside its config and seeds (the engine, its version and that
# of torch and Numba, the device, the task, a user's own trainer) is its identity. The manifest has
# each identity in whole, under a short digest (`made`); each line of the journal has the digest.
# Blocks of one config with two identities are no sample of one rate: see `runs.results`.
#
# A journal from before there were sessions has lines without a digest: they are the first
# session's.

SPACE = "space.yaml"

_KEPT = re.compile(r"space-[1-9][0-9]*\.yaml")
"""What a space that was replaced is called; nothing that leads out of the directory."""

_BEFORE_SESSIONS = (
    "trainer",
    "engine",
    "engine_fallback",
    "device",
    "torch",
    "numba",
    "task_fingerprint",
)
"""Entries of a manifest without sessions that say what made the run."""

PACKAGES = ("torch", "numba")
"""Entries of an identity that are versions of packages."""

_OF_A_SESSION = ("started", "finished", "command", "host", "platform", "git_commit", "versions")


CERTIFIED = "certify"
"""What a session did, if it did not search."""


@dataclass(frozen=True)
class Continuation:
    """What a session brings to the run that it continues.

    Attributes:
        entry: what the manifest says of it, but for its number and what made it.
        space: the space that replaces the run's; None if it stays.
    """

    entry: Mapping[str, Any]
    space: SearchSpace | None = None


class SignedJournal(Journal):
    """A journal whose lines say what made them, and when.

    Attributes:
        made: the digest, see `made_id`.
    """

    made: str | None = None

    @classmethod
    def signing(
        cls,
        path: str | os.PathLike[str],
        made: str,
        *,
        lock: RunLock | None = None,
        say: Callable[[str], None] | None = None,
    ) -> Self:
        """Open for appending, as `Journal.open` does.

        Raises:
            InputError: as there.
        """
        journal = cls.open(path, lock=lock, say=say)
        journal.made = made
        return journal

    def append(self, evaluation: Evaluation) -> int:
        """Write one line, with the digest and the time in it; as `Journal.append`."""
        now = min(max(int(time.time()), 0), MAX_TIME)  # a clock may be anywhere
        return super().append(replace(evaluation, made=self.made, at=now))


@contextmanager
def held_journal(
    path: Path, made: str, *, say: Callable[[str], None] | None = None
) -> Iterator[SignedJournal]:
    """A run's journal, open for appending, while nobody else writes to the run.

    Args:
        path: the journal.
        made: what its lines are signed with.
        say: called with a sentence for the user.

    Raises:
        InputError: somebody else writes to the run, or it cannot be written.
    """
    with (
        held(path.parent, say=say) as lock,
        SignedJournal.signing(path, made, lock=lock, say=say) as journal,
    ):
        yield journal


def identity_of(described: Mapping[str, str]) -> dict[str, str]:
    """What outcomes depend on, of what a trainer says of itself.

    Not the task's mere name, and no version's build (`+cpu`), which may differ within a cluster.
    """
    identity = {name: str(described[name]) for name in sorted(described) if name != "task"}
    return {n: v.partition("+")[0] if n in PACKAGES else v for n, v in identity.items()}


def made_id(identity: Mapping[str, str]) -> str:
    """A short digest of an identity: 8 hexadecimal digits of its SHA-256."""
    text = json.dumps(dict(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def sessions_in(manifest: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """What the manifest says of each session, the first one first.

    Raises:
        InputError: the entry is damaged.
    """
    if "sessions" not in manifest:
        known = identity_of({n: manifest[n] for n in _BEFORE_SESSIONS if n in manifest})
        first = {name: manifest[name] for name in _OF_A_SESSION if name in manifest}
        return [{"number": 1, **first, "made": made_id(known), "space": SPACE, "changes": []}]
    sessions = manifest["sessions"]
    if not isinstance(sessions, list) or not sessions:
        raise _damaged("sessions", "a list of sessions", place)
    for session in sessions:
        if not isinstance(session, dict) or not isinstance(session.get("made"), str):
            raise _damaged("sessions", "objects that say what `made` them", place)
        if not isinstance(session.get("versions", {}), dict):
            raise _damaged("sessions", "versions by the name of their package", place)
    return sessions


def _identities(manifest: Mapping[str, Any], place: str) -> dict[str, dict[str, str]]:
    if "sessions" not in manifest:
        known = identity_of({n: manifest[n] for n in _BEFORE_SESSIONS if n in manifest})
        return {made_id(known): known}
    made = manifest.get("made")
    if not isinstance(made, dict) or not all(isinstance(one, dict) for one in made.values()):
        raise _damaged("made", "what made the run, by its digest", place)
    return made


def _damaged(name: str, allowed: str, place: str) -> InputError:
    return InputError("is damaged", field=name, place=f"{place}: {name}", allowed=allowed)


def first_made(manifest: Mapping[str, Any], place: str) -> str:
    """The digest that lines without one stand for.

    Raises:
        InputError: the manifest's entry is damaged.
    """
    made: str = sessions_in(manifest, place)[0]["made"]
    return made


def last_search(manifest: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The last session that searched; others may have certified since.

    Raises:
        InputError: the manifest's entry is damaged.
    """
    sessions = sessions_in(manifest, place)
    searches = [session for session in sessions if session.get("what") != CERTIFIED]
    return searches[-1] if searches else sessions[-1]


def last_identity(manifest: Mapping[str, Any], place: str) -> dict[str, str]:
    """What made the last search session's blocks, as far as the manifest knows.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    made = last_search(manifest, place)["made"]
    known = _identities(manifest, place)
    if made not in known:
        raise _damaged("made", f"an entry {made}, which a session names", place)
    return known[made]


def made_with(
    manifest: Mapping[str, Any], digests: Sequence[str], attempt: int, place: str
) -> dict[str, Any]:
    """What made the blocks of an attempt to certify: identity, versions, git commit.

    The identity is known of each block. Versions and commit are those of the sessions that can have
    made them; where these differ, the entry is left out.

    Args:
        manifest: of the run.
        digests: of what made the blocks; none stands for the first session.
        attempt: its number.
        place: for messages.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    wanted = set(digests) or {first_made(manifest, place)}
    known = _identities(manifest, place)
    made = _agreed([known[digest] for digest in sorted(wanted) if digest in known])
    sessions = [s for s in sessions_in(manifest, place) if s["made"] in wanted]
    own = [s for s in sessions if s.get("what") == CERTIFIED and s.get("attempt") == attempt]
    # A search certifies too, and does not note the attempt.
    sessions = own or [s for s in sessions if s.get("what") != CERTIFIED]
    versions = _agreed([v for s in sessions if isinstance(v := s.get("versions"), dict)])
    commit = _agreed([{"git_commit": s.get("git_commit")} for s in sessions])
    return {
        **made,
        **({"versions": versions} if versions else {}),
        **({} if commit.get("git_commit") is None else commit),
    }


def _agreed(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all of them say alike."""
    first = entries[0] if entries else {}
    return {n: v for n, v in first.items() if all(n in e and e[n] == v for e in entries)}


def begin_session(path: Path, continued: Continuation, identity: Mapping[str, str]) -> None:
    """Write a session that continues a run into its manifest, and its space if that is another.

    The space that it replaces is kept beside it as space-1.yaml, space-2.yaml, ... At whatever
    instant this is killed, the same call does it again.

    Raises:
        InputError: the manifest is damaged, or the directory cannot be written.
    """
    manifest, place = manifest_of(path), str(path / MANIFEST)
    made = made_id(identity)
    sessions, known = sessions_in(manifest, place), _identities(manifest, place)
    if "sessions" not in manifest and _agrees(known[sessions[0]["made"]], identity):
        known, sessions = {}, [{**sessions[0], "made": made}]  # what was not noted then is so
    entry = {"number": len(sessions) + 1, **continued.entry, "made": made, "space": SPACE}
    changes: dict[str, Any] = {}
    if continued.space is not None:
        kept = _keep(path)
        sessions = [{**s, "space": kept} if s.get("space") == SPACE else s for s in sessions]
        trials, file = continued.space.search.trials, Path(continued.space.place).resolve()
        changes = {"trials": trials, "space_file": str(file), "complete": False}
    known = {**known, made: dict(identity)}
    update_manifest(path, **changes, made=known, sessions=[*sessions, entry])
    if continued.space is not None:
        _write(path, SPACE, continued.space.text)


def digests_of(
    manifest: Mapping[str, Any], identity: Mapping[str, str], place: str
) -> frozenset[str]:
    """The digests, in a journal, of blocks that this identity made.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    made = made_id(identity)
    if "sessions" not in manifest:
        first = first_made(manifest, place)
        if _agrees(_identities(manifest, place)[first], identity):
            return frozenset({made, first})
    return frozenset({made})


def _agrees(known: Mapping[str, str], identity: Mapping[str, str]) -> bool:
    """Whether nothing that a manifest from before there were sessions knows is otherwise."""
    return all(identity[name] == known[name] for name in known if name in identity)


def ended(manifest: Mapping[str, Any], place: str, **how: Any) -> dict[str, Any]:
    """For the manifest: the last session with these entries; nothing where there are none.

    Raises:
        InputError: the manifest's entry is damaged.
    """
    if "sessions" not in manifest:
        return {}
    *others, last = sessions_in(manifest, place)
    return {"sessions": [*others, {**last, **how}]}


def _keep(path: Path) -> str:
    """Copy space.yaml to the first space-N.yaml that is free, or the last if that is the same."""
    text = text_of(path / SPACE)
    number = 1
    while (path / f"space-{number}.yaml").exists():
        number += 1
    last = path / f"space-{number - 1}.yaml"
    if number > 1 and text_of(last) == text:
        return last.name
    _write(path, f"space-{number}.yaml", text)
    return f"space-{number}.yaml"


def _write(path: Path, name: str, text: str) -> None:
    try:
        replace_file(path / name, text.encode())
    except OSError as error:
        raise unwritable(path, error) from None


def earlier_spaces(path: Path, manifest: Mapping[str, Any]) -> tuple[SearchSpace, ...]:
    """The spaces that a run was made with before it was extended, in their order; no tasks.

    Raises:
        InputError: the manifest is damaged, a space cannot be read, or is no search space.
    """
    found: dict[str, SearchSpace] = {}
    for session in sessions_in(manifest, str(path / MANIFEST)):
        name = session.get("space")
        if not isinstance(name, str) or name in found or not _KEPT.fullmatch(name):
            continue
        place = path / name
        values = read_yaml(text_of(place), str(place)).values
        # JSON is YAML too. Without the task, whose file may be elsewhere by now.
        text = json.dumps({key: part for key, part in values.items() if key != "task"})
        found[name] = parse_space(text, str(place), path)
    return tuple(found.values())


FIX = "remove the line, if it is of another run"


class ProposedPoints:
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
    proposals = ProposedPoints()
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
