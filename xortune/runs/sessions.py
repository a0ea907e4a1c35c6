"""The sessions of a run: when, where and with which versions each went on; who made which block."""

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

import numpy as np

from xortune.core.errors import InputError
from xortune.core.files import text_of
from xortune.runs.evaluation import MAX_TIME, Evaluation, Evaluations
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

SPACE = "space.yaml"

_KEPT = re.compile(r"space-[1-9][0-9]*\.yaml")
"""What a space that was replaced is called; nothing that leads out of the directory."""

PACKAGES = ("torch", "numba")
"""Entries of an identity that are versions of packages."""

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


NOBODY = made_id({})
"""The digest of a run whose manifest says nothing of its sessions."""


def sessions_in(manifest: Mapping[str, Any], place: str) -> list[dict[str, Any]]:
    """What the manifest says of each session, the first one first.

    Raises:
        InputError: the entry is damaged.
    """
    sessions = manifest.get("sessions", [{"number": 1, "made": NOBODY}])
    if not isinstance(sessions, list) or not sessions:
        raise _damaged("sessions", "a list of sessions", place)
    for session in sessions:
        if not isinstance(session, dict) or not isinstance(session.get("made"), str):
            raise _damaged("sessions", "objects that say what `made` them", place)
        if not isinstance(session.get("versions", {}), dict):
            raise _damaged("sessions", "versions by the name of their package", place)
    return sessions


def _identities(manifest: Mapping[str, Any], place: str) -> dict[str, dict[str, str]]:
    made = manifest.get("made", {NOBODY: {}})
    if not isinstance(made, dict) or not all(isinstance(one, dict) for one in made.values()):
        raise _damaged("made", "what made the run, by its digest", place)
    return made


def _damaged(name: str, allowed: str, place: str) -> InputError:
    return InputError("is damaged", field=name, place=f"{place}: {name}", allowed=allowed)


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
        digests: of what made the blocks.
        attempt: its number.
        place: for messages.

    Raises:
        InputError: the manifest's entries are damaged.
    """
    wanted = set(digests) or {NOBODY}
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


def ended(manifest: Mapping[str, Any], place: str, **how: Any) -> dict[str, Any]:
    """For the manifest: the last session with these entries.

    Raises:
        InputError: the manifest's entry is damaged.
    """
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


OTHER_RUN = "remove the line, if it is of another run"


def refuse_others(
    evaluations: Evaluations, manifest: Mapping[str, Any], journal: Path, *more: Mapping[str, Any]
) -> None:
    """Return if all lines of a journal can be of the run with that manifest.

    Args:
        evaluations: all lines.
        manifest: of the run.
        journal: the file.
        more: the manifest as it was at other times, while a session may have begun.

    Raises:
        InputError: a proposal has two configs, or no session of the run has made a line.
    """
    search, _ = evaluations.apart()
    proposal, config = search.column("proposal"), search.column("config")
    order = np.argsort(proposal, kind="stable")
    before, after = order[:-1], order[1:]
    other = after[(proposal[before] == proposal[after]) & (config[before] != config[after])]
    if other.size:
        at = int(other.min())
        before_it = int(np.argmax(proposal == proposal[at]))
        key, earlier = (search.lines.keys[config[place]] for place in (at, before_it))
        raise InputError(
            f"proposal {proposal[at]} is config {key} here and config {earlier} in an earlier line",
            place=f"{journal}:{search.places[at] + 1}: proposal",
            fix=OTHER_RUN,
        )
    digests: list[Mapping[str, Any]] = []
    for one in (manifest, *more):
        try:
            digests.append(known := _identities(one, ""))
            damaged = not {session["made"] for session in sessions_in(one, "")} <= known.keys()
        except InputError:
            damaged = True
        if damaged or "made" not in one:  # who needs it tells that the manifest is damaged
            return
    names, made = list(evaluations.lines.names), evaluations.column("made")
    for name in set(made.tolist()) - {-1}:
        if not any(names[name] in known for known in digests):
            raise InputError(
                f"made by {names[name]}, which no session of this run is",
                place=f"{journal}:{int(np.argmax(made == name)) + 1}: made",
                allowed=", ".join(sorted(digests[-1])),
                fix=OTHER_RUN,
            )
