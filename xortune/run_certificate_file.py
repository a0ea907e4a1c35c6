"""certificate.json: a certificate as a file, with all that is needed to check it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from xortune.errors import InputError
from xortune.files import FREE_SPACE, is_full, json_of
from xortune.point import Point
from xortune.run_certificate import Attempt, Certificate, CertifiedResult, Neighbour
from xortune.run_files import replace_file
from xortune.run_manifest import MANIFEST
from xortune.run_sessions import made_with

__all__ = ["CERTIFICATE", "certificate_json", "read_certificate", "write_certificate"]

CERTIFICATE = "certificate.json"

REPEATED = ("name", "task")
"""Entries of the run's manifest that a certificate repeats as they are."""

FIX = "remove the file: `xortune report RUN` writes it again from the journal"

T = TypeVar("T")


def certificate_json(certificate: Certificate, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The certificate as JSON values.

    `finalists` are those of the last complete attempt, the highest bound of those that order them
    (`by`) first, each with its own `earlier_attempts`; `attempts` are all of them, the incomplete
    ones too. `run` says what made the blocks of the attempt that `finalists` are of: the search may
    have had other versions.

    Raises:
        InputError: the manifest's entries of what made the run are damaged.
    """
    latest = certificate.latest
    told = latest or certificate.attempts[-1]
    return {
        "confidence": certificate.confidence,
        "promise": (
            f"With a probability of at least {certificate.confidence:g} all lower bounds of all "
            "attempts of this run hold together. Attempt a may be wrong with probability "
            "alpha / 2**a, alpha = 1 - confidence, and spends it equally on its finalists; the "
            "confidence beside a bound is that of this bound by itself."
        ),
        "covers": (
            "The attempts that this run's journal has, and no other: whoever searches anew, or "
            "deletes a run and begins again, has the same probability to be wrong once more. Their "
            "seeds are drawn from the run (space, search's seed, trainer) and from what is asked "
            "(finalists, number of seeds, attempt): another run or question has other seeds, the "
            "same one the same answer."
        ),
        "attempt": latest.number if latest else None,
        "bound": latest.bound if latest else None,
        "by": latest.by if latest else None,
        "finalists": [
            _finalist_json(found)
            | {"earlier_attempts": _earlier(certificate, found.key, latest.number)}
            for found in certificate.finalists
            if latest
        ],
        "attempts": [
            {
                "attempt": attempt.number,
                "seeds": attempt.seeds,
                "bound": attempt.bound,
                "confidence": attempt.confidence,
                "complete": attempt.complete,
                "by": attempt.by,
                "made": list(attempt.made),
                "finalists": [_finalist_json(found) for found in attempt.finalists],
            }
            for attempt in certificate.attempts
        ],
        "run": {
            **{name: manifest[name] for name in REPEATED if name in manifest},
            **made_with(manifest, told.made, told.number, MANIFEST),
        },
    }


def write_certificate(
    directory: Path, certificate: Certificate, manifest: Mapping[str, Any]
) -> None:
    """Write certificate.json into a run's directory.

    Raises:
        InputError: the directory cannot be written.
    """
    text = json.dumps(certificate_json(certificate, manifest), indent=2, allow_nan=False)
    try:
        replace_file(directory / CERTIFICATE, (text + "\n").encode())
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})",
            place=str(directory / CERTIFICATE),
            fix=FREE_SPACE if is_full(error) else None,
        ) from None


def read_certificate(path: Path) -> Certificate:
    """The certificate that a file holds.

    Raises:
        InputError: the file is missing, or is no certificate.
    """
    place = str(path)
    if not path.exists():
        raise InputError(
            "there is no certificate",
            place=place,
            fix="make one: `xortune certify RUN --top 5 --seeds 1000`",
        )
    values = json_of(path, FIX)
    try:
        if not isinstance(values, dict):
            raise InputError(f"is a {type(values).__name__}", allowed="an object")
        attempts = tuple(_attempt(part) for part in _list(values, "attempts"))
        if not attempts:
            raise InputError("is empty", field="attempts", allowed="at least one attempt")
        return Certificate(_share(values, "confidence"), attempts)
    except InputError as error:
        where = f"{place}: {error.field}" if error.field else place
        raise InputError(
            f"is no certificate ({error.problem})", place=where, allowed=error.allowed, fix=FIX
        ) from None


def _finalist_json(found: CertifiedResult) -> dict[str, Any]:
    worst = found.worst_neighbour
    return {
        "key": found.key,
        "config": found.point.as_dict(),
        "seeds": {"first": found.first, "count": found.n},
        "k": found.k,
        "n": found.n,
        "rate": found.rate,
        "lower_bound": found.lower_bound,
        "confidence": found.confidence,
        "search_rank": found.rank,
        "search_k": found.search_k,
        "search_n": found.search_n,
        "search_rate": found.search_rate,
        "gap": found.gap,
        "worst_neighbour_rate": None if worst is None else worst.rate,
        "neighbourhood_lower_bound": found.neighbourhood_bound,
        "neighbourhood": [
            {
                "parameter": one.parameter,
                "value": one.value,
                "key": one.key,
                "seeds": {"first": one.first, "count": one.n},
                "k": one.k,
                "n": one.n,
                "rate": one.rate,
            }
            for one in found.neighbours
        ],
    }


def _earlier(certificate: Certificate, key: str, before: int) -> list[dict[str, Any]]:
    return [
        {
            "attempt": attempt.number,
            "seeds": {"first": found.first, "count": found.n},
            "k": found.k,
            "n": found.n,
            "lower_bound": found.lower_bound,
            "confidence": found.confidence,
        }
        for attempt in certificate.attempts
        if attempt.number < before
        for found in attempt.finalists
        if found.key == key
    ]


def _attempt(values: object) -> Attempt:
    fields = _object(values, "attempts")
    bound: str = _take(fields, "bound", str)
    if bound not in ("clopper-pearson", "anytime"):
        raise InputError(f"{bound!r}", field="bound", allowed="clopper-pearson or anytime")
    finalists = tuple(_finalist(part) for part in _list(fields, "finalists"))
    complete = _take(fields, "complete", bool)
    if complete and (not finalists or any(f.lower_bound is None for f in finalists)):
        raise InputError("without a lower bound of every finalist", field="complete")
    by: str = _take({"by": "own"} | fields, "by", str)  # files from before there was a choice
    if by not in ("own", "neighbourhood"):
        raise InputError(f"{by!r}", field="by", allowed="own or neighbourhood")
    if complete and by != "own" and any(f.neighbourhood_bound is None for f in finalists):
        raise InputError("without the bound of every neighbourhood", field="complete")
    return Attempt(
        number=_count(fields, "attempt"),
        seeds=_count(fields, "seeds"),
        bound="anytime" if bound == "anytime" else "clopper-pearson",
        confidence=_share(fields, "confidence"),
        complete=complete,
        finalists=finalists,
        by="neighbourhood" if by == "neighbourhood" else "own",
        made=tuple(_digest(digest) for digest in _list({"made": []} | fields, "made")),
    )


def _digest(value: object) -> str:
    if isinstance(value, str):
        return value
    raise InputError(f"is a {type(value).__name__}", field="made", allowed="digests")


def _finalist(values: object) -> CertifiedResult:
    fields = _object(values, "finalists")
    config = Point(_object(fields.get("config"), "config"))
    if config.key != fields.get("key"):
        raise InputError(f"{fields.get('key')!r} is not the config's key", field="key")
    n, search_n = _count(fields, "n"), _count(fields, "search_n")
    return CertifiedResult(
        key=config.key,
        point=config,
        rank=_count(fields, "search_rank"),
        search_k=_count(fields, "search_k", 0, search_n),
        search_n=search_n,
        first=_count(_object(fields.get("seeds"), "seeds"), "first", 0),
        k=_count(fields, "k", 0, n),
        n=n,
        lower_bound=_bound(fields, "lower_bound"),
        confidence=_share(fields, "confidence"),
        neighbours=tuple(_neighbour(part) for part in _list(fields, "neighbourhood")),
        neighbourhood_bound=_bound(
            {"neighbourhood_lower_bound": None} | fields, "neighbourhood_lower_bound"
        ),
    )


def _neighbour(values: object) -> Neighbour:
    fields = _object(values, "neighbourhood")
    value, n = fields.get("value"), _count(fields, "n")
    if not (value is None or isinstance(value, bool | int | float | str)):
        raise InputError(f"is a {type(value).__name__}", field="value")
    return Neighbour(
        parameter=_take(fields, "parameter", str),
        value=value,
        key=_take(fields, "key", str),
        first=_count(_object(fields.get("seeds"), "seeds"), "first", 0),
        k=_count(fields, "k", 0, n),
        n=n,
    )


def _count(fields: Mapping[str, Any], name: str, low: int = 1, high: int = 2**32) -> int:
    value = _take(fields, name, int)
    if not low <= value <= high:
        allowed = f"{low} or more" if high == 2**32 else f"{low} to {high}"
        raise InputError("out of range", field=name, allowed=allowed)
    return value


def _share(fields: Mapping[str, Any], name: str) -> float:
    value = _take(fields, name, float)
    if not 0 <= value <= 1:
        raise InputError(f"{value}", field=name, allowed="0 to 1")
    return value


def _bound(fields: Mapping[str, Any], name: str) -> float | None:
    return None if name in fields and fields[name] is None else _share(fields, name)


def _object(values: object, name: str) -> dict[str, Any]:
    if isinstance(values, dict):
        return values
    raise InputError(f"is a {type(values).__name__}", field=name, allowed="an object")


def _list(fields: Mapping[str, Any], name: str) -> list[Any]:
    values = fields.get(name)
    if isinstance(values, list):
        return values
    raise InputError(f"is a {type(values).__name__}", field=name, allowed="a list")


def _take(fields: Mapping[str, Any], name: str, kind: type[T]) -> T:
    value = fields.get(name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) <= 1 else value  # 1.0 is written as 1 by other programs
    if type(value) is not kind:
        raise InputError(f"is a {type(value).__name__}", field=name, allowed=kind.__name__)
    return value
