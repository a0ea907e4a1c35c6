"""The ranking: the first configs with their intervals, and what fresh seeds say of them."""

from __future__ import annotations

from itertools import groupby

from xortune.core.counts import rate_of
from xortune.core.formats import number
from xortune.reports.figures.labels import (
    LONGEST,
    counted,
    described,
    finished,
    listed,
    plot_of,
    same_in_all,
)
from xortune.reports.plot import Axis, Layer, Mark, Panel, Plot, Rule, Series
from xortune.reports.tables import lower, report_of, varying
from xortune.runs.certificate import CertifiedResult
from xortune.runs.run import Run

APART = 0.17
"""Of a row: so far from its middle lie the two rates that are side by side."""


def ranking(run: Run, top: int = 20) -> Plot:
    """The success rates of the first configs, those indistinguishable from the best shaded."""
    results, certificate = finished(run), run.certificate
    shown, names, best = results[:top], varying(run), results[0]
    fresh = {found.key: found for found in certificate.finalists} if certificate else {}
    tied = report_of(run).tied
    members = set(tied.members.keys[:top]) if best.outcome.successes else set()
    layers: list[Layer] = []
    # Members of the best subset need not follow each other: they had all seeds.
    for inside, group in groupby(enumerate(shown), key=lambda row: row[1].key in members):
        rows = [row for row, _ in group]
        if inside and len(tied.members) > 1:
            label = "" if layers else "indistinguishable from the best"
            layers.append(Rule("y", rows[0] - 0.5, label, to=rows[-1] + 0.5))
    searched = [
        Mark(
            r.outcome.rate,
            row - APART * (r.key in fresh),
            x_ends=r.outcome.interval(),
            text=f"{described(r, names)}: {counted(r.outcome)}",
            key=r.key,
        )
        for row, r in enumerate(shown)
    ]
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
        for row, r in enumerate(shown)
        if (found := fresh.get(r.key))
    ]
    if certified:
        label = "on fresh seeds, down to the certified bound"
        layers.append(Series(label, tuple(certified), role="b", marker="diamond"))
    solved = [f"{r.outcome.successes}/{r.outcome.n}" for r in shown]
    axis, labels = listed(run, shown, LONGEST - 3 - max(map(len, solved)))
    # Counts and keys are what stays of a label that is shortened in its middle.
    categories = tuple(map(" · ".join, zip(solved, labels, strict=True)))
    least = min(mark.x_ends[0] for mark in (*searched, *certified) if mark.x_ends)
    # All of 0 to 1, or where all intervals lie above one half, from a round number on.
    start = next((low for low in (0.9, 0.8, 0.7, 0.6, 0.5) if least >= low), 0.0)
    margin = 0.02 * (1 - start)
    return plot_of(
        "ranking",
        Panel(
            Axis("success rate", "rate", (start - margin, 1 + margin)),
            Axis(f"solved · {axis}", "category", categories=categories),
            tuple(layers),
        ),
        best=best.outcome,
        name=described(best, names),
        total=len(results),
        shown=shown,
        sizes=[r.outcome.n for r in shown],
        tied=tied,
        fresh=_fresh(fresh[best.key]) if best.key in fresh else "",
        sure=sure if certified else "",
        same=same_in_all(shown, run.parameters),
    )


def _fresh(found: CertifiedResult) -> str:
    rate = rate_of(found.k, found.n)
    return f"{found.k:,} of {found.n:,} fresh seeds solved: {rate}, at least {lower(found)}"
