"""manifest.json: what a run says of itself, its sessions, and where imported results are from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # as pydantic needs it before Python 3.12

from xortune.core.errors import InputError
from xortune.core.files import json_of, unwritable
from xortune.runs.files import replace_file
from xortune.runs.lines import Evaluations
from xortune.runs.store import as_path

# -------------------------------------------------------------------------------------------------
# manifest.json: what a run says of itself beside its journal.

MANIFEST = "manifest.json"

FORMAT = 1
"""Of a run's manifest and journal: a change that older programs misread makes it one more."""


class _NotCertified(TypedDict):
    """Why a search left out the certificate that was asked for, and what makes it."""

    why: str
    command: str
    seconds: NotRequired[FiniteFloat]


_Share = Annotated[float, Field(ge=0, le=1)]


class _Resampled(TypedDict):
    """How sure the importances are; see `driver.importance`."""

    intervals: dict[str, Annotated[list[_Share], Field(min_length=2, max_length=2)]]
    configs: int
    better: int
    needed: int
    resamples: int


class _Read(TypedDict, total=False):
    """The entries that reports compute with: a manifest may come from anybody."""

    not_certified: _NotCertified | None
    importance: dict[str, _Share] | None
    importance_resampled: _Resampled | None
    command: str | list[str] | None
    seeds_at_once: str | None
    seeds_ahead: str | None
    note: str | None
    tags: list[str] | None


_READ = TypeAdapter(_Read)


def manifest_of(path: Path) -> dict[str, Any]:
    """What a run's manifest says; nothing if it is not there.

    Raises:
        InputError: it cannot be read, is not a JSON object, or is of a newer format.
    """
    place = path / MANIFEST
    if not place.exists():
        return {}
    manifest = json_of(place)
    if not isinstance(manifest, dict):
        raise InputError(f"is a {type(manifest).__name__}", place=str(place), allowed="an object")
    if (found := manifest.get("format", FORMAT)) != FORMAT:
        raise InputError(
            f"has the format {found!r}, which this version of xortune does not read",
            place=f"{place}: format",
            allowed=str(FORMAT),
            fix="use the version that wrote it, or a newer one",
        )
    try:
        _READ.validate_python(manifest, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            f"is damaged ({first['msg']})", place=f"{place}: {'.'.join(map(str, first['loc']))}"
        ) from None
    return manifest


def stopped_because(manifest: Mapping[str, Any]) -> str | None:
    """Why a search ended before its end, as it noted it; None if it did not."""
    reason = manifest.get("stopped")
    return reason if isinstance(reason, str) and manifest.get("complete") is False else None


def update_manifest(path: str | os.PathLike[str], **changes: Any) -> None:
    """Set some entries of a run's manifest and keep the others.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    directory = as_path(path)
    manifest = manifest_of(directory) | changes
    try:
        replace_file(directory / MANIFEST, as_json(manifest))
    except OSError as error:
        raise unwritable(directory, error) from None


MOST_NOTE, MOST_TAG = 1000, 100
"""Letters of a note, and of a tag."""


@dataclass(frozen=True)
class Labels:
    """What a user calls a run: a sentence about it, and tags."""

    note: str | None = None
    tags: tuple[str, ...] = ()


NO_LABELS = Labels()


def checked_labels(note: str | None, tags: Iterable[str] | None) -> Labels:
    """The labels of a user.

    Raises:
        InputError: no text, an empty one or one that is too long; a tag with a comma.
    """
    if note is not None and not (isinstance(note, str) and 0 < len(note) <= MOST_NOTE):
        allowed = f"text of 1 to {MOST_NOTE:,} letters"
        raise InputError(f"{note!r:.60}", field="note", allowed=allowed)
    given = (tags,) if isinstance(tags, str) else tuple(tags or ())
    for tag in given:
        if not isinstance(tag, str) or not 0 < len(tag) <= MOST_TAG or "," in tag:
            allowed = f"text of 1 to {MOST_TAG} letters without a comma, each a tag"
            raise InputError(f"{tag!r:.60}", field="tags", allowed=allowed)
    return Labels(note, tuple(dict.fromkeys(given)))


def label_run(path: str | os.PathLike[str], labels: Labels) -> None:
    """Write labels into a run's manifest: a note replaces an earlier one, tags are added.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    changes: dict[str, Any] = {} if labels.note is None else {"note": labels.note}
    if labels.tags:
        known = manifest_of(as_path(path)).get("tags") or []
        changes["tags"] = list(dict.fromkeys([*known, *labels.tags]))
    if changes:
        update_manifest(path, **changes)


def as_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


# -------------------------------------------------------------------------------------------------
# A run that xortune did not make: what its manifest says of where its results come from.

IMPORTED = "imported"
"""What a manifest calls the trainer of such a run, and the entry that says where it is from."""


@dataclass(frozen=True)
class Origin:
    """Where the results of a run come from.

    Attributes:
        source: the file as it was named, `a DataFrame`, or the study.
        sha256: of the file, or of the values.
        rows: how many results were read; each is one seed of one config.
        success: the column that says what a success is, or the rule for a number.
        at: when it was imported, ISO 8601.
    """

    source: str
    sha256: str
    rows: int
    success: str
    at: str

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For those who read about the run."""
        return (
            f"These results were imported from {self.source} ({self.rows:,} rows, SHA-256 "
            f"{self.sha256[:12]}) on {self.at[:10]}; xortune did not train them. A success is what "
            f'{self.success!r} says, and "search" here means whatever made them.'
        )


def is_imported(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's results come from somewhere else."""
    return manifest.get("trainer") == IMPORTED and IMPORTED in manifest


def imported_from(manifest: Mapping[str, Any]) -> Origin | None:
    """Where a run's results come from; None for xortune's own, or where the entry is damaged."""
    entry = manifest.get(IMPORTED)
    if not is_imported(manifest) or not isinstance(entry, Mapping):
        return None
    texts = [entry.get(name) for name in ("source", "sha256", "success", "at")]
    rows = entry.get("rows")
    if not all(isinstance(text, str) for text in texts) or not isinstance(rows, int):
        return None
    source, sha256, success, at = map(str, texts)
    return Origin(source, sha256, rows, success, at)


# -------------------------------------------------------------------------------------------------
# What made which block.
#
# What a block's outcome depends on beside its config and seeds (the engine, its version and that
# of torch and Numba, the device, the task, a user's own trainer) is its identity. The manifest has
# each identity in whole, under a short digest (`made`); each line of the journal has the digest.
# Blocks of one config with two identities are no sample of one rate: see `runs.results`.

PACKAGES = ("torch", "numba")
"""Entries of an identity that are versions of packages."""

CERTIFIED = "certify"
"""What a session did, if it did not search."""


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


def identities_in(manifest: Mapping[str, Any], place: str) -> dict[str, dict[str, str]]:
    """What made the run, by its digest.

    Raises:
        InputError: the entry is damaged.
    """
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
    known = identities_in(manifest, place)
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
    known = identities_in(manifest, place)
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
            digests.append(known := identities_in(one, ""))
            damaged = not {session["made"] for session in sessions_in(one, "")} <= known.keys()
        except InputError:
            damaged = True
        if damaged or "made" not in one:  # who needs it tells that the manifest is damaged
            return
    names, made = list(evaluations.lines.names), evaluations.column("made")
    for name in set(made.tolist()) - {-1}:
        if not any(names[name] in known for known in digests):
            raise InputError(
                f"made by {names[name]}, which is not a session of this run",
                place=f"{journal}:{int(np.argmax(made == name)) + 1}: made",
                allowed=", ".join(sorted(digests[-1])),
                fix=OTHER_RUN,
            )
