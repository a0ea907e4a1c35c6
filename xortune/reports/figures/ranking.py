"""The ranking: the first configs with their intervals, and what fresh seeds say of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from xortune.core.formats import count, number
from xortune.reports.figures.labels import (
    LONGEST_BESIDE,
    counted,
    described,
    finished,
    listed,
    same_in_all,
    shown_n,
)
from xortune.reports.plot import Axis, Layer, Panel, Plot, Points, Span
from xortune.reports.tables import BestSubset, best_subset, lower, rate_of, varying
from xortune.runs.certificate import CertifiedResult
from xortune.runs.results import ConfigResult, full_seeds
from xortune.runs.run import Run

APART = 0.17
"""Of a row: so far from its middle lie the two rates that are side by side."""


def ranking(run: Run, top: int = 20) -> Plot:
    """The success rates of the first configs, those that cannot be told from the best shaded.

    Args:
        run: with one finished config at least.
        top: how many configs.

    Raises:
        InputError: no config is finished, or the run's certificate is damaged.
    """
    results = finished(run)
    shown, names = results[: max(top, 1)], varying(run)
    certificate = run.certificate
    fresh = {found.key: found for found in certificate.finalists} if certificate else {}
    tied = best_subset(results, full_seeds(results, run.manifest))
    members = {member.key for member in tied.members} if results[0].outcome.successes else set()
    layers: list[Layer] = [*_shaded(shown, members), _searched(shown, names, fresh)]
    confidence = certificate.confidence if certificate else 0.0
    solved = [f"{result.outcome.successes}/{result.outcome.n}" for result in shown]
    axis, labels = listed(run, shown, LONGEST_BESIDE - 3 - max(map(len, solved)))
    certified = _certified(shown, names, fresh, confidence)
    if certified is not None:
        layers.append(certified)
    return Plot(
        name="ranking",
        title=_title(results, shown, tied),
        alt=_alt(results, names, tied, fresh),
        note=_note(shown, len(members), confidence if certified else None, run),
        panels=(
            Panel(
                Axis("success rate", "rate", _limits(layers)),
                # Counts and keys are what stays of a label that is shortened in its middle.
                Axis(
                    f"solved · {axis}",
                    "category",
                    categories=tuple(
                        f"{k_n} · {label}" for k_n, label in zip(solved, labels, strict=True)
                    ),
                ),
                tuple(layers),
            ),
        ),
    )


def _shaded(shown: Sequence[ConfigResult], members: set[str]) -> list[Span]:
    """The rows of the tied set, which need not follow each other: its members had all seeds."""
    spans: list[Span] = []
    if len(members) > 1:
        rows = groupby(enumerate(shown), key=lambda row: row[1].key in members)
        for tied, group in rows:
            places = [place for place, _ in group]
            if tied:
                label = "" if spans else "cannot be told from the best"
                spans.append(Span("y", places[0] - 0.5, places[-1] + 0.5, label))
    return spans


def _searched(
    shown: Sequence[ConfigResult], names: Sequence[str], fresh: dict[str, CertifiedResult]
) -> Points:
    intervals = [result.outcome.interval() for result in shown]
    pairs = zip(shown, intervals, strict=True)
    return Points(
        "in the search, with its 95 % interval",
        x=tuple(result.outcome.rate for result in shown),
        y=tuple(row - APART * (result.key in fresh) for row, result in enumerate(shown)),
        x_low=tuple(low for low, _ in intervals),
        x_high=tuple(high for _, high in intervals),
        texts=tuple(
            f"{described(r, names)}: {counted(r.outcome.successes, r.outcome.n, *found)}"
            for r, found in pairs
        ),
        keys=tuple(result.key for result in shown),
    )


def _certified(
    shown: Sequence[ConfigResult],
    names: Sequence[str],
    fresh: dict[str, CertifiedResult],
    confidence: float,
) -> Points | None:
    """The finalists' rates on fresh seeds; the bar leads down to what is certified."""
    rows = [(row, r, fresh[r.key]) for row, r in enumerate(shown) if r.key in fresh]
    if not rows:
        return None
    return Points(
        "on fresh seeds, down to the certified bound",
        x=tuple(found.rate for *_, found in rows),
        y=tuple(row + APART for row, *_ in rows),
        x_low=tuple(_bound(found) for *_, found in rows),
        x_high=tuple(found.rate for *_, found in rows),
        role="b",
        marker="diamond",
        texts=tuple(
            f"{described(r, names)}: {found.k:,} of {found.n:,} fresh seeds solved: "
            f"{rate_of(found.k, found.n)}, at least {lower(found)} with confidence {confidence:g}"
            for _, r, found in rows
        ),
        keys=tuple(r.key for _, r, _ in rows),
    )


def _bound(found: CertifiedResult) -> float:
    return found.rate if found.lower_bound is None else found.lower_bound


def _limits(layers: Sequence[Layer]) -> tuple[float, float]:
    """All of 0 to 1, or where all intervals lie above one half, from a round number on."""
    least = min(min(layer.x_low) for layer in layers if isinstance(layer, Points))
    start = next((low for low in (0.9, 0.8, 0.7, 0.6, 0.5) if least >= low), 0.0)
    margin = 0.02 * (1 - start)
    return start - margin, 1 + margin


def _title(results: Sequence[ConfigResult], shown: Sequence[ConfigResult], tied: BestSubset) -> str:
    what = (
        f"The first {len(shown):,} of {count(len(results), 'configuration')}"
        if len(shown) < len(results)
        else "The only configuration"
        if len(results) == 1
        else f"All {len(results):,} configurations"
    )
    others = len(tied.members) - 1
    if not results[0].outcome.successes:
        return f"{what}: no seed was solved"
    if tied.compared < 2:
        return f"{what} by success rate"
    if not others:
        return f"{what}: the best is told from all that had as many seeds"
    return f"{what}: {count(others, 'other')} cannot be told from the best"


def _alt(
    results: Sequence[ConfigResult],
    names: Sequence[str],
    tied: BestSubset,
    fresh: dict[str, CertifiedResult],
) -> str:
    best = results[0]
    outcome = best.outcome
    name = described(best, names)
    parts = [f"Best: {name}; {counted(outcome.successes, outcome.n, *outcome.interval())}."]
    if not outcome.successes:
        return f"No configuration solved a seed; the first, {name}, has 0 of {outcome.n:,}."
    if (found := fresh.get(best.key)) is not None:
        parts.append(
            f"On fresh seeds it solved {found.k:,} of {found.n:,}, {rate_of(found.k, found.n)}: at "
            f"least {lower(found)}."
        )
    if tied.compared > 1:
        others = len(tied.members) - 1
        told = f"{count(others, 'other')} cannot be told from it."
        parts.append(
            f"Of {count(tied.compared, 'configuration')} with all {count(tied.full, 'seed')}, "
            f"{told if others else 'all others can be told from it.'}"
        )
    return " ".join(parts)


def _note(shown: Sequence[ConfigResult], members: int, confidence: float | None, run: Run) -> str:
    curse = (
        "The first is first partly by luck, so its rate in the search is optimistic"
        " (the winner's curse)"
    )
    parts = [f"n = {shown_n(shown)} seeds each; bars are 95 % Wilson intervals, each for itself."]
    if members > 1:
        parts.append(
            "Shaded: by one-sided exact McNemar tests on shared seeds, with 5 % over all "
            "comparisons, the best does not beat them."
        )
    if shown[0].outcome.successes:  # else nobody has won
        fresh = (
            "fresh seeds would show by how much."
            if confidence is None
            else "what fresh seeds show is not, and their lower bounds hold together with "
            f"confidence {number(confidence)}."
        )
        parts.append(f"{curse}; {fresh}")
    return " ".join(parts) + same_in_all(shown, run.parameters)
