"""What a report says of a certificate: the search's rate, the fresh one, and the gap between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xortune.core.counts import wilson
from xortune.core.formats import config_text, decimals, duration, measured, plain
from xortune.core.point import Point
from xortune.runs.certificate import Attempt, Certificate, CertifiedResult
from xortune.stats.differences import unpaired_difference


def header(certificate: Certificate) -> list[str]:
    """The columns of `certified_rows`."""
    names = ["configuration", "search", "fresh seeds", "gap", "rate at least"]
    return [*names, "worst neighbour"] if _measured(certificate) else names


def certified_rows(certificate: Certificate, varied: Sequence[str]) -> list[list[str]]:
    """One row for each finalist of the last complete attempt, in its order."""
    rows = []
    for found in certificate.finalists:
        row = [
            config_text(found.point, varied),
            f"{found.search_k}/{found.search_n} {rate_of(found.search_k, found.search_n)}",
            f"{found.k}/{found.n} {rate_of(found.k, found.n)}",
            _gap(found),
            lower(found),
        ]
        rows.append([*row, _worst(found)] if _measured(certificate) else row)
    return rows


def certified_lines(certificate: Certificate) -> list[str]:
    """What must be said beside the rows: what holds, and what other attempts there were."""
    latest = certificate.latest
    lines = []
    if latest is not None:
        bound = (
            f"Clopper-Pearson for the {latest.seeds:,} seeds planned"
            if latest.bound == "clopper-pearson"
            else "anytime bound, seeds may be added"
        )
        others = len(certificate.attempts) - 1
        lines.append(
            f"All bounds{' of all attempts' if others else ''} hold together with confidence "
            f"{certificate.confidence:g} ({bound}; attempt {latest.number}, "
            f"{_split(latest)})."
        )
        if any(found.neighbourhood_bound is not None for found in latest.finalists):
            order = " They order the finalists." if latest.by == "neighbourhood" else ""
            lines.append(
                "all at least: what a configuration and each of its neighbours reach; these bounds "
                f"hold together with the same confidence, by themselves.{order}"
            )
    lines += [
        f"Attempt {attempt.number}: "
        + "; ".join(
            f"{found.key} {found.k}/{found.n}"
            + (f", at least {lower(found)}" if found.lower_bound is not None else ", unfinished")
            for found in attempt.finalists
        )
        + "."
        for attempt in certificate.attempts
        if attempt is not latest
    ]
    return lines


def left_out(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a search left out the certificate that was asked for, and the command that makes it.

    Both are plain text that is not escaped. None where nothing was left out, or the manifest's
    entry is damaged.
    """
    noted = manifest.get("not_certified")
    if not isinstance(noted, Mapping):
        return None
    why, command, seconds = (noted.get(name) for name in ("why", "command", "seconds"))
    if not (isinstance(why, str) and isinstance(command, str)):
        return None
    takes = ""
    if isinstance(seconds, int | float):
        takes = f" This takes about {duration(min(max(seconds, 0.0), 1e12))}:"
    return f"Not certified: {plain(why)}.{takes or ' This does it:'}", plain(command)


def rate_of(k: int, n: int) -> str:
    """K / n in percent, in the decimals that its 95 % Wilson interval supports."""
    low, high = wilson(k, n)
    return measured(k / n, float(low), float(high))


def lower(found: CertifiedResult) -> str:
    """The lower bound, rounded down."""
    return "–" if found.lower_bound is None else _down(found.lower_bound)


def _down(bound: float) -> str:
    return f"{int(bound * 1e4 + 1e-6) / 100:.2f} %"


def _gap(found: CertifiedResult) -> str:
    """In the decimals that the interval of this difference supports."""
    low, high = unpaired_difference(found.search_k, found.search_n, found.k, found.n)
    digits = decimals(float(low), float(high))
    shown = round(100 * found.gap, digits)
    return f"{shown:+.{digits}f}" if shown else "0"


def _split(attempt: Attempt) -> str:
    finalists = len(attempt.finalists)
    share = f"its share of the risk is 1/{2**attempt.number}"
    return f"{share}, split over {finalists} finalists" if finalists > 1 else share


def _measured(certificate: Certificate) -> bool:
    return any(found.neighbours for found in certificate.finalists)


def _worst(found: CertifiedResult) -> str:
    worst = found.worst_neighbour
    if worst is None:
        return "–"
    moved = config_text(Point({worst.parameter: worst.value}), [worst.parameter])
    text = f"{rate_of(worst.k, worst.n)} ({moved})"
    bound = found.neighbourhood_bound
    return text if bound is None else f"{text}; all at least {_down(bound)}"
