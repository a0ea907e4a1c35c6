"""manifest.json: a run's settings, its sessions, and the origin of imported results."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # as pydantic needs it before Python 3.12

from xortune.core.errors import InputError, check_type, kind_of
from xortune.core.files import json_of, writing
from xortune.core.numbers import named_statistic
from xortune.core.seeds import SEARCH
from xortune.runs.evaluation import Evaluations
from xortune.runs.store import as_path, replace_file
from xortune.spaces.model import SUCCESS_RATE, Objective, Requirement

MANIFEST, SPACE = "manifest.json", "space.yaml"

FORMAT = 1
"""The version of manifest and journal; each change that older programs would misread adds one."""


class _NotCertified(TypedDict):
    """Why a search left out the certificate, and the command that makes it."""

    why: str
    command: str
    seconds: NotRequired[FiniteFloat]


_Share = Annotated[float, Field(ge=0, le=1)]


class _Resampled(TypedDict):
    """The uncertainty of the importances; see `deciding.importance`."""

    intervals: dict[str, Annotated[list[_Share], Field(min_length=2, max_length=2)]]
    configs: int
    better: int
    needed: int
    resamples: int
    chance: NotRequired[list[str]]
    tied: NotRequired[int]


class _NotedSession(TypedDict):
    """A session that searched or certified."""

    made: str
    versions: NotRequired[dict[str, str]]
    space: NotRequired[str]
    what: NotRequired[str]
    attempt: NotRequired[int]
    workers: NotRequired[Annotated[int, Field(ge=1)]]
    busy_seconds: NotRequired[Annotated[FiniteFloat, Field(ge=0)]]
    worker_seconds: NotRequired[Annotated[FiniteFloat, Field(ge=0)]]
    time_budget: NotRequired[Annotated[FiniteFloat, Field(gt=0)]]


class _NotedKnowledge(TypedDict):
    """What the search took over from another run; see `deciding.knowledge`."""

    source: str
    points: list[dict[str, Any]]
    first_seed: Annotated[int, Field(ge=0, lt=SEARCH.stop)]
    configs: Annotated[int, Field(ge=0)]
    outside: Annotated[int, Field(ge=0)]
    lacking: Annotated[int, Field(ge=0)]
    unlike: Annotated[int, Field(ge=0)]


class _NotedRequirement(TypedDict):
    """See `spaces.model.Requirement`."""

    rate: Annotated[float, Field(gt=0, lt=1)]
    alpha: Annotated[float, Field(gt=0, lt=1)]


class _NotedObjective(TypedDict):
    """See `spaces.model.Objective`."""

    name: str
    direction: Literal["maximize", "minimize"]
    number: NotRequired[str]
    failed: NotRequired[FiniteFloat]
    ties: NotRequired[_NotedObjective]
    required: NotRequired[_NotedRequirement]


@dataclass(frozen=True)
class Origin:
    """The origin of imported results.

    Attributes:
        source: the name of the file, `a DataFrame`, or the study.
        sha256: of the file, or of the values.
        rows: number of results; each is one seed of one configuration.
        success: the column that defines a success, or the rule for a number.
        at: when it was imported, ISO 8601.
    """

    source: str
    sha256: str
    rows: int
    success: str
    at: str

    @property
    def sentence(self) -> str:
        """The sentence that a report shows."""
        return (
            f"These results were imported from {self.source} ({self.rows:,} rows, SHA-256 "
            f"{self.sha256[:12]}) on {self.at[:10]}; xortune did not train them. A success is what "
            f'{self.success!r} says, and "search" here means whatever made them.'
        )


UNKNOWN: Literal["unknown"] = "unknown"
"""The entry `deterministic` of a run in which no seed was trained twice."""


class _Manifest(TypedDict, total=False):
    """The entries that computations use; they are checked, as anybody may have written the file."""

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
    taken_over: _NotedKnowledge | None
    seeds_at_once: str | None
    seeds_ahead: str | None
    seed_limit: Annotated[int, Field(ge=1)] | None
    note: str | None
    tags: list[str] | None
    deterministic: bool | Literal["unknown"]
    twice: str | None


_MANIFEST, _ORIGIN = TypeAdapter(_Manifest), TypeAdapter(Origin)


def manifest_of(path: Path) -> dict[str, Any]:
    """A run's manifest; empty without a file.

    Raises:
        InputError: it cannot be read, is not a JSON object, has another format, or is damaged.
    """
    place = path / MANIFEST
    if not place.exists():
        return {}
    manifest = json_of(place)
    if not isinstance(manifest, dict):
        raise InputError(f"is {kind_of(manifest)}", place=str(place), allowed="an object")
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
    """Why a search ended early; None if it did not, or the manifest does not say."""
    return manifest.get("stopped") if manifest.get("complete") is False else None


def two_results(manifest: Mapping[str, Any]) -> str:
    """How a seed's second result differed from its first, in a sentence; empty if not known."""
    twice = manifest.get("twice") or "its seeds do not determine its results"
    return twice if manifest.get("deterministic") is False else ""


def rungs_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The ladder of the search; empty if the manifest has none."""
    return tuple(manifest.get("ladder") or ())


def noted_objectives(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Objectives in the form of a manifest."""
    return [
        {"name": o.name, "direction": "maximize" if o.maximize else "minimize"}
        | {n: v for n in ("number", "statistic", "failed") if (v := getattr(o, n)) is not None}
        | ({} if o.ties is None else {"ties": noted_objectives([o.ties])[0]})
        | ({} if o.required is None else {"required": asdict(o.required)})
        for o in objectives
    ]


def objectives_of(manifest: Mapping[str, Any]) -> tuple[Objective, ...]:
    """The objectives of a run; by default the success rate.

    Raises:
        InputError: the statistic of one is of a package that is not installed.
    """

    def read(noted: Mapping[str, Any]) -> Objective:
        name, maximize = noted["name"], noted["direction"] == "maximize"
        summed = named_statistic(name) if "number" in noted else (None, None)
        if summed is None:
            raise InputError(
                f"the run orders by {name}, a statistic that is not installed",
                field="objectives",
                fix="install the package that adds it",
            )
        number, statistic = summed
        ties = read(noted["ties"]) if "ties" in noted else None
        required = Requirement(**noted["required"]) if "required" in noted else None
        return Objective(name, maximize, number, statistic, noted.get("failed"), ties, required)

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
"""Maximum number of characters of a note, and of a tag."""


def checked_labels(note: str | None, tags: Iterable[str] | None) -> dict[str, Any]:
    """Check a user's note and tags, and return them as entries of the manifest.

    Raises:
        InputError: one is no text, empty or too long; a tag has a comma.
    """
    if note is not None and not (isinstance(note, str) and 0 < len(note) <= MOST_NOTE):
        allowed = f"text of 1 to {MOST_NOTE:,} letters"
        raise InputError(f"{note!r:.60}", field="note", allowed=allowed)
    tags = () if tags is None else tags
    check_type("tags", tags, Iterable, "a tag, or a list of tags")
    given = (tags,) if isinstance(tags, str) else tuple(tags)
    for tag in given:
        if not isinstance(tag, str) or not 0 < len(tag) <= MOST_TAG or "," in tag:
            allowed = f"text of 1 to {MOST_TAG} letters without a comma, each a tag"
            raise InputError(f"{tag!r:.60}", field="tags", allowed=allowed)
    return ({} if note is None else {"note": note}) | ({"tags": list(given)} if given else {})


def label_run(path: Path, labels: Mapping[str, Any] | None) -> None:
    """Write note and tags into a run's manifest: the note replaces an earlier one, tags are added.

    Raises:
        InputError: the manifest is damaged or cannot be written.
    """
    if labels:
        known = manifest_of(path).get("tags") or []
        tags = list(dict.fromkeys([*known, *labels.get("tags", ())]))
        update_manifest(path, **{**labels, **({"tags": tags} if tags else {})})


def as_json(manifest: Mapping[str, Any]) -> bytes:
    """The content of the file."""
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


IMPORTED = "imported"
"""The trainer of an imported run, and the entry with its origin."""


def is_imported(manifest: Mapping[str, Any]) -> bool:
    """Whether a run's results were imported."""
    return manifest.get("trainer") == IMPORTED and IMPORTED in manifest


def imported_from(manifest: Mapping[str, Any]) -> Origin | None:
    """The origin of imported results; None for a run that xortune made."""
    return _ORIGIN.validate_python(manifest[IMPORTED]) if is_imported(manifest) else None


# -------------------------------------------------------------------------------------------------
# What trained which block.
#
# The identity of a block is all that its outcome depends on beside configuration and seeds: the
# engine, its version and those of torch and Numba, the device, the task, a user's own trainer. The
# manifest has each identity under its fingerprint, a short digest, which each line of the journal
# has. Blocks of two identities are no sample of one rate: see `runs.results`.

PACKAGES = ("torch", "numba")
"""Entries of an identity that are versions of packages."""

CERTIFIED = "certify"
"""The `what` of a session that certified; one that searched has none."""


def identity_of(described: Mapping[str, str]) -> dict[str, str]:
    """The part of a trainer's description that outcomes depend on.

    Without the task's name, and without the build of a version (`+cpu`), which may differ within a
    cluster.
    """
    identity = {name: str(described[name]) for name in sorted(described) if name != "task"}
    return {n: v.partition("+")[0] if n in PACKAGES else v for n, v in identity.items()}


def fingerprint_of(identity: Mapping[str, str]) -> str:
    """A short digest of an identity: 8 hexadecimal digits of its SHA-256."""
    text = json.dumps(dict(identity), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


NOBODY = fingerprint_of({})
"""The fingerprint for a run whose manifest has no sessions."""


def sessions_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sessions in their order."""
    sessions: list[dict[str, Any]] = manifest.get("sessions", [{"number": 1, "made": NOBODY}])
    return sessions


def identities_of(manifest: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The identities of the run by their fingerprints."""
    identities: dict[str, dict[str, str]] = manifest.get("made", {NOBODY: {}})
    return identities


def searches_of(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sessions that searched, in their order; all if none did."""
    sessions = sessions_of(manifest)
    return [s for s in sessions if s.get("what") != CERTIFIED] or sessions


def last_search(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The last session that searched; later ones may have certified."""
    return searches_of(manifest)[-1]


def last_identity(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The identity of the last session that searched; empty if unknown."""
    return identities_of(manifest).get(last_search(manifest)["made"], {})


def provenance(
    manifest: Mapping[str, Any], fingerprints: Sequence[str], attempt: int
) -> dict[str, Any]:
    """The identity, package versions and git commit that made an attempt's blocks.

    The identity is that of the blocks. Versions and commit are those of the sessions that may have
    trained them; an entry that differs between these is left out.
    """
    fingerprints = sorted(set(fingerprints)) or [NOBODY]
    known = identities_of(manifest)
    identity = _common([known[one] for one in fingerprints if one in known])
    sessions = [s for s in sessions_of(manifest) if s["made"] in fingerprints]
    own = [s for s in sessions if s.get("what") == CERTIFIED and s.get("attempt") == attempt]
    # A session that searched may have certified too; its entry does not say so.
    sessions = own or [s for s in sessions if s.get("what") != CERTIFIED]
    versions = _common([s["versions"] for s in sessions if "versions" in s])
    commit = _common([{"git_commit": s.get("git_commit")} for s in sessions])
    return {
        **identity,
        **({"versions": versions} if versions else {}),
        **({} if commit.get("git_commit") is None else commit),
    }


def _common(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The items that all entries share."""
    first = entries[0] if entries else {}
    return {n: v for n, v in first.items() if all(n in e and e[n] == v for e in entries)}


OTHER_RUN = "remove the line, if it is of another run"


def refuse_others(
    evaluations: Evaluations, manifest: Mapping[str, Any], journal: Path, *more: Mapping[str, Any]
) -> None:
    """Raise if a line of the journal belongs to another run.

    Args:
        evaluations: all lines.
        manifest: of the run.
        journal: the file.
        more: the manifest as read at another time: a session may have begun meanwhile.
    """
    search, _ = evaluations.split()
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
    manifests = (manifest, *more)
    if not all("made" in entries for entries in manifests):
        return
    known = {fingerprint for entries in manifests for fingerprint in entries["made"]}
    names, column = evaluations.lines.names, evaluations.column("fingerprint")
    for name in set(column.tolist()) - {-1}:
        if names[name] not in known:
            raise InputError(
                f"made by {names[name]}, which is not a session of this run",
                place=f"{journal}:{int(np.argmax(column == name)) + 1}: made",
                allowed=", ".join(sorted(known)),
                fix=OTHER_RUN,
            )
