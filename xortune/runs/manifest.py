"""manifest.json: what a run says of itself, its sessions, and where imported results are from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # as pydantic needs it before Python 3.12

from xortune.core.errors import InputError
from xortune.core.files import json_of, writing
from xortune.runs.evaluation import Evaluations
from xortune.runs.store import as_path, replace_file
from xortune.spaces.model import SUCCESS_RATE, Objective
from xortune.stats.numbers import named_statistic

# -------------------------------------------------------------------------------------------------
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


class _NotedSession(TypedDict):
    """Of one that searched or certified."""

    made: str
    versions: NotRequired[dict[str, str]]
    space: NotRequired[str]
    what: NotRequired[str]
    attempt: NotRequired[int]


class _NotedObjective(TypedDict):
    """See `spaces.model.Objective`."""

    name: str
    direction: Literal["maximize", "minimize"]
    number: NotRequired[str]
    failed: NotRequired[FiniteFloat]
    ties: NotRequired[_NotedObjective]


@dataclass(frozen=True)
class Origin:
    """Where the results of a run come from that xortune did not make.

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

    @property
    def sentence(self) -> str:
        """For those who read about the run."""
        return (
            f"These results were imported from {self.source} ({self.rows:,} rows, SHA-256 "
            f"{self.sha256[:12]}) on {self.at[:10]}; xortune did not train them. A success is what "
            f'{self.success!r} says, and "search" here means whatever made them.'
        )


class _Manifest(TypedDict, total=False):
    """The entries that anything is computed of: a manifest may come from anybody."""

    sessions: Annotated[list[_NotedSession], Field(min_length=1)]
    made: dict[str, dict[str, str]]
    objectives: Annotated[list[_NotedObjective], Field(min_length=1)] | None
    ladder: list[int] | None
    trials: Annotated[int, Field(ge=0, le=2**53)] | None
    stopped: str | None
    not_certified: _NotCertified | None
    importance: dict[str, _Share] | None
    importance_resampled: _Resampled | None
    command: str | list[str] | None
    seeds_at_once: str | None
    seeds_ahead: str | None
    note: str | None
    tags: list[str] | None


_MANIFEST, _ORIGIN = TypeAdapter(_Manifest), TypeAdapter(Origin)


def manifest_of(path: Path) -> dict[str, Any]:
    """What a run's manifest says; nothing if it is not there.

    Raises:
        InputError: it cannot be read, is not a JSON object, of a newer format, or damaged.
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
        _MANIFEST.validate_python(manifest, strict=True)
        imported_from(manifest)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            f"is damaged ({first['msg']})", place=f"{place}: {'.'.join(map(str, first['loc']))}"
        ) from None
    for session in manifest.get("sessions", ()):
        if "made" in manifest and session["made"] not in manifest["made"]:
            problem = f"is damaged (it lacks {session['made']}, which a session names)"
            raise InputError(problem, place=f"{place}: made")
    return manifest


def stopped_because(manifest: Mapping[str, Any]) -> str | None:
    """Why a search ended before its end, as it noted it; None if it did not."""
    return manifest.get("stopped") if manifest.get("complete") is False else None


def rungs_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The ladder of the search; none if nothing is noted."""
    return tuple(manifest.get("ladder") or ())


def noted_objectives(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Objectives as a manifest notes them."""
    return [
        {"name": o.name, "direction": "maximize" if o.maximize else "minimize"}
        | {n: v for n in ("number", "statistic", "failed") if (v := getattr(o, n)) is not None}
        | ({} if o.ties is None else {"ties": noted_objectives([o.ties])[0]})
        for o in objectives
    ]


def objectives_of(manifest: Mapping[str, Any]) -> tuple[Objective, ...]:
    """What a run looked for; the success rate where nothing is noted."""

    def read(noted: Mapping[str, Any]) -> Objective:
        name, maximize = noted["name"], noted["direction"] == "maximize"
        number, statistic = (named_statistic(name) if "number" in noted else None) or (None, None)
        ties = read(noted["ties"]) if "ties" in noted else None
        return Objective(name, maximize, number, statistic, noted.get("failed"), ties)

    noted = manifest.get("objectives")
    return tuple(map(read, noted)) if noted else (Objective(SUCCESS_RATE, maximize=True),)


def update_manifest(path: str | os.PathLike[str], **changes: Any) -> None:
    """Set some entries of a run's manifest and keep the others.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    directory = as_path(path)
    manifest = manifest_of(directory) | changes
    with writing(directory):
        replace_file(directory / MANIFEST, as_json(manifest))


MOST_NOTE, MOST_TAG = 1000, 100
"""Letters of a note, and of a tag."""


def checked_labels(note: str | None, tags: Iterable[str] | None) -> dict[str, Any]:
    """What a user calls a run, as entries of its manifest: a sentence about it, and tags.

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
    return ({} if note is None else {"note": note}) | ({"tags": list(given)} if given else {})


def label_run(path: Path, labels: Mapping[str, Any] | None) -> None:
    """Write labels into a run's manifest: a note replaces an earlier one, tags are added.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    if labels:
        known = manifest_of(path).get("tags") or []
        tags = list(dict.fromkeys([*known, *labels.get("tags", ())]))
        update_manifest(path, **{**labels, **({"tags": tags} if tags else {})})


def as_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as it is written."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


IMPORTED = "imported"
"""The trainer of a run that xortune did not make, and the entry that says where it is from."""


def is_imported(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's results come from somewhere else."""
    return manifest.get("trainer") == IMPORTED and IMPORTED in manifest


def imported_from(manifest: Mapping[str, Any]) -> Origin | None:
    """Where a run's results come from; None for xortune's own."""
    return _ORIGIN.validate_python(manifest[IMPORTED]) if is_imported(manifest) else None


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


def sessions_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each session, the first one first."""
    found: list[dict[str, Any]] = manifest.get("sessions", [{"number": 1, "made": NOBODY}])
    return found


def identities_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What made the run, by its digest."""
    found: dict[str, dict[str, str]] = manifest.get("made", {NOBODY: {}})
    return found


def last_search(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The last session that searched; others may have certified since."""
    sessions = sessions_of(manifest)
    return ([s for s in sessions if s.get("what") != CERTIFIED] or sessions)[-1]


def last_identity(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What made the last search session's blocks, as far as the manifest knows."""
    return identities_of(manifest).get(last_search(manifest)["made"], {})


def made_with(manifest: Mapping[str, Any], digests: Sequence[str], attempt: int) -> dict[str, Any]:
    """What made the blocks of an attempt to certify: identity, versions, git commit.

    The identity is known of each block. Versions and commit are those of the sessions that can have
    made them; where these differ, the entry is left out.
    """
    wanted = set(digests) or {NOBODY}
    known = identities_of(manifest)
    made = _agreed([known[digest] for digest in sorted(wanted) if digest in known])
    sessions = [s for s in sessions_of(manifest) if s["made"] in wanted]
    own = [s for s in sessions if s.get("what") == CERTIFIED and s.get("attempt") == attempt]
    # A search certifies too, and does not note the attempt.
    sessions = own or [s for s in sessions if s.get("what") != CERTIFIED]
    versions = _agreed([s["versions"] for s in sessions if "versions" in s])
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
    if not all("made" in one for one in (manifest, *more)):
        return
    known = {digest for one in (manifest, *more) for digest in one["made"]}
    names, made = list(evaluations.lines.names), evaluations.column("made")
    for name in set(made.tolist()) - {-1}:
        if names[name] not in known:
            raise InputError(
                f"made by {names[name]}, which is not a session of this run",
                place=f"{journal}:{int(np.argmax(made == name)) + 1}: made",
                allowed=", ".join(sorted(known)),
                fix=OTHER_RUN,
            )
