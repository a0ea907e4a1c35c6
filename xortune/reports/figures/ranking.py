"""The ranking: the first configs with their intervals, and what fresh seeds say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from xortune.core.counts import rate_of
from xortune.core.formats import count, number
from xortune.reports.figures.labels import (
    LONGEST,
    between,
    counted,
    described,
    finished,
    listed,
    same_in_all,
)
from xortune.reports.plot import Axis, Mark, Plot, Rule, Series
from xortune.reports.tables import BestSubset, lower, report_of, varying
from xortune.runs.certificate import CertifiedResult
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run

APART = 0.17
"""Of a row: so far from its middle lie the two rates that are side by side."""


def ranking(run: Run, top: int = 20) -> Plot:
    """The success rates of the first configs, those indistinguishable from the best shaded."""
    results, certificate = finished(run), run.certificate
    shown, names = results[:top], varying(run)
    fresh = {found.key: found for found in certificate.finalists} if certificate else {}
    tied = report_of(run).tied
    members = set(tied.members.keys) if results[0].outcome.successes else set()
    rows = list(enumerate(shown))
    searched = [
        Mark(
            r.outcome.rate,
            row - APART * (r.key in fresh),
            x_ends=r.outcome.interval(),
            text=f"{described(r, names)}: {counted(r.outcome)}",
            key=r.key,
        )
        for row, r in rows
    ]
    layers = [*_shaded(shown, members)]
    layers.append(Series("in the search, with its 95 % interval", tuple(searched)))
    sure = number(certificate.confidence) if certificate else ""
    certified = [
        Mark(
            found.rate,
            row + APART,
            x_ends=(found.rate if found.lower_bound is None else found.lower_bound, found.rate),
            text=f"{described(r, names)}: {_fresh(found)} with confidence {sure}",
            key=r.key,
        )
        for row, r in rows
        if (found := fresh.get(r.key))
    ]
    if certified:
        label = "on fresh seeds, down to the certified bound"
        layers.append(Series(label, tuple(certified), role="b", marker="diamond"))
    solved = [f"{r.outcome.successes}/{r.outcome.n}" for r in shown]
    axis, labels = listed(run, shown, LONGEST - 3 - max(map(len, solved)))
    least = min(mark.x_ends[0] for mark in (*searched, *certified) if mark.x_ends)
    # All of 0 to 1, or where all intervals lie above one half, from a round number on.
    start = next((low for low in (0.9, 0.8, 0.7, 0.6, 0.5) if least >= low), 0.0)
    margin = 0.02 * (1 - start)
    return Plot.single(
        name="ranking",
        title=_title(results, shown, tied),
        alt=_alt(results, described(results[0], names), tied, fresh),
        note=_note(shown, len(members), sure if certified else "", run),
        x=Axis("success rate", "rate", (start - margin, 1 + margin)),
        # Counts and keys are what stays of a label that is shortened in its middle.
        y=Axis(
            f"solved · {axis}",
            "category",
            categories=tuple(map(" · ".join, zip(solved, labels, strict=True))),
        ),
        layers=layers,
    )


def _shaded(shown: Sequence[ConfigResult], members: set[str]) -> list[Rule | Series]:
    """The rows of the best subset, which need not follow each other: its members had all seeds."""
    spans: list[Rule | Series] = []
    for tied, group in groupby(enumerate(shown), key=lambda row: row[1].key in members):
        rows = [row for row, _ in group]
        if tied and len(members) > 1:
            label = "" if spans else "indistinguishable from the best"
            spans.append(Rule("y", rows[0] - 0.5, label, to=rows[-1] + 0.5))
    return spans


def _fresh(found: CertifiedResult) -> str:
    rate = rate_of(found.k, found.n)
    return f"{found.k:,} of {found.n:,} fresh seeds solved: {rate}, at least {lower(found)}"


def _title(results: Sequence[ConfigResult], shown: Sequence[ConfigResult], tied: BestSubset) -> str:
    what = f"All {len(results):,} configurations"
    if len(shown) < len(results):
        what = f"The first {len(shown):,} of {count(len(results), 'configuration')}"
    elif len(results) == 1:
        what = "The only configuration"
    others = len(tied.members) - 1
    if not results[0].outcome.successes:
        return f"{what}: no seed was solved"
    if tied.compared < 2:
        return f"{what} by success rate"
    if not others:
        return f"{what}: the best beats all that had as many seeds"
    verb = "is" if others == 1 else "are"
    return f"{what}: {count(others, 'other')} {verb} indistinguishable from the best"


def _alt(
    results: Sequence[ConfigResult],
    name: str,
    tied: BestSubset,
    fresh: Mapping[str, CertifiedResult],
) -> str:
    best = results[0]
    if not best.outcome.successes:
        return f"No configuration solved a seed; the first, {name}, has 0 of {best.outcome.n:,}."
    parts = [f"Best: {name}; {counted(best.outcome)}."]
    if found := fresh.get(best.key):
        parts.append(f"{_fresh(found)}.")
    if tied.compared > 1:
        others = len(tied.members) - 1
        told = (
            f"{count(others, 'other')} {'is' if others == 1 else 'are'} indistinguishable from it"
        )
        parts.append(
            f"Of {count(tied.compared, 'configuration')} with all {count(tied.full, 'seed')}, "
            f"{told if others else 'it beats all others'}."
        )
    return " ".join(parts)


def _note(shown: Sequence[ConfigResult], members: int, sure: str, run: Run) -> str:
    n = between(result.outcome.n for result in shown)
    parts = [f"n = {n} seeds each; bars are 95 % Wilson intervals, each for itself."]
    if members > 1:
        parts.append(
            "Shaded: by one-sided exact McNemar tests on shared seeds, with 5 % over all "
            "comparisons, the best does not beat them."
        )
    if shown[0].outcome.successes:  # else nobody has won
        fresh = (
            "what fresh seeds show is not, and their lower bounds hold together with "
            f"confidence {sure}."
        )
        parts.append(
            "The first is first partly by luck, so its rate in the search is optimistic (the "
            f"winner's curse); {fresh if sure else 'fresh seeds would show by how much.'}"
        )
    return " ".join(parts) + same_in_all(shown, run.parameters)
