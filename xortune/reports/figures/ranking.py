"""Who is first: the ranking with intervals and what fresh seeds say, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, groupby, pairwise

import numpy as np

from xortune.core.formats import measured, number, plain
from xortune.core.outcome import rate_of
from xortune.racing.objectives import estimates, seen_of
from xortune.reports.figures.labels import (
    LONGEST,
    counted,
    described,
    finished,
    listed,
    plot_of,
    same_in_all,
    sampled,
)
from xortune.reports.plot import Axis, Layer, Mark, Panel, Plot, Rule, Series
from xortune.reports.tables import lower, report_of, varying
from xortune.runs.certificate import CertifiedResult
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.spaces.model import EPOCHS_TO_SOLVE, SUCCESS_RATE, Objective

APART = 0.17  # of a row: so far from its middle lie the two rates that are side by side


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


# -------------------------------------------------------------------------------------------------
# The Pareto front: what each config is worth in two objectives, and who is not dominated.

MOST_PANELS = 6  # pairs of objectives that are shown; of more only those with the first objective

Row = tuple[ConfigResult, dict[str, float], bool]
"""A config, what it is worth by objective, and whether it is on the front."""


def pareto_front(run: Run) -> Plot | None:
    """The configs with the full seeds by two objectives, one panel for each pair of objectives.

    None where there is one objective, or no config with the full seeds to be shown.
    """
    objectives, full = run.objectives, run.full_seeds
    if run.front is None:
        return None
    rows: list[Row] = []
    for place in np.flatnonzero(run.results.counts.n >= full).tolist():
        result = run.results[place]
        found = estimates(objectives, seen_of(result.point, result.outcome, objectives))
        worth = {o.name: amount for o, amount in zip(objectives, found, strict=True)}
        rows.append((result, worth, bool(run.front[place])))
    pairs = list(combinations(objectives, 2))
    if len(pairs) > MOST_PANELS:
        pairs = [pair for pair in pairs if objectives[0] in pair]
    on_it, others = [row for row in rows if row[2]], [row for row in rows if not row[2]]
    drawn = [others[at] for at in sampled(len(others))] if others else []
    names, single = varying(run), len(pairs) == 1
    panels = [_panel([*drawn, *on_it], pair, names, single=single) for pair in pairs]
    panels = [panel for panel in panels if panel.layers]
    if not panels:  # without a success there are no epochs to solve
        return None
    ends = []
    for objective in objectives:
        sign = -1 if objective.maximize else 1
        best = min(on_it, key=lambda row: (sign * row[1][objective.name], row[0].key))
        told = [f"{_words(o)} {_said(o, best)}" for o in objectives]
        ends.append((_words(objective), best[0].key, told))
    return plot_of(
        "front",
        *panels,
        columns=min(len(panels), 3),
        words=[_words(objective) for objective in objectives],
        ends=ends,
        on_it=on_it,
        configs=len(rows),
        others=len(others),
        drawn=len(drawn),
        full=full,
        rate=any(objective.name == SUCCESS_RATE for pair in pairs for objective in pair),
        fewer=len(run.results) - len(rows),
        unsolved=sum(any(math.isinf(w) for w in worth.values()) for _, worth, _ in rows),
    )


def _panel(
    rows: Sequence[Row], pair: tuple[Objective, Objective], names: Sequence[str], *, single: bool
) -> Panel:
    x, y = pair if pair[1].name == SUCCESS_RATE else pair[::-1]
    finite = [row for row in rows if all(math.isfinite(row[1][o.name]) for o in pair)]
    front = [row for row in finite if row[2]]
    others = [row for row in finite if not row[2]]
    layers: list[Layer] = []
    if others:
        marks = tuple(_mark(row, x, y, names) for row in others)
        layers.append(Series("others with as many seeds", marks, role="muted", marker="ring"))
    if front and single:
        layers.append(_staircase(front, x, y))
    if front:
        marks = tuple(_mark(row, x, y, names) for row in front)
        layers.append(Series("on the front", marks, role="best"))
    title = "" if single else f"{_words(y)} and {_words(x)}"
    return Panel(_axis(x, finite), _axis(y, finite), tuple(layers), title)


def _mark(row: Row, x: Objective, y: Objective, names: Sequence[str]) -> Mark:
    result, worth, on_front = row
    outcome = result.outcome
    # The intervals of hundreds of others would hide everything.
    ends = outcome.interval() if on_front else None
    ert = outcome.epochs_to_solve
    epochs = "" if ert is None else f"; {round(ert):,} epochs to solve"
    return Mark(
        worth[x.name],
        worth[y.name],
        x_ends=ends if x.name == SUCCESS_RATE else None,
        y_ends=ends if y.name == SUCCESS_RATE else None,
        text=f"{described(result, names)}: {counted(outcome)}{epochs}",
        key=result.key,
    )


def _staircase(rows: Sequence[Row], x: Objective, y: Objective) -> Series:
    """What can be had: the best y of those with an x that is as good, or better."""
    places = sorted((worth[x.name], worth[y.name]) for _, worth, _ in rows)
    corners = [places[0]]
    for before, place in pairwise(places):
        corner = (before[0], place[1]) if x.maximize else (place[0], before[1])
        corners += [corner, place]
    marks = tuple(Mark(a, b) for a, b in corners)
    return Series("", marks, "line", "best", dashed=True)


def _axis(objective: Objective, rows: Sequence[Row]) -> Axis:
    values = [worth[objective.name] for _, worth, _ in rows]
    label = f"{_words(objective)} ({'more' if objective.maximize else 'less'} is better)"
    if objective.name == SUCCESS_RATE:
        return Axis(label, "rate")
    # Over two powers of ten a linear axis would show the largest ones alone.
    log = bool(values) and min(values) > 0 and max(values) / min(values) > 50
    return Axis(label, "log" if log else "number", whole=all(v.is_integer() for v in values))


def _words(objective: Objective) -> str:
    known = {SUCCESS_RATE: "success rate", EPOCHS_TO_SOLVE: "epochs to solve"}
    return known.get(objective.name) or plain(objective.name)


def _said(objective: Objective, row: Row) -> str:
    result, worth, _ = row
    if objective.name == SUCCESS_RATE:
        outcome = result.outcome
        rate = measured(outcome.rate, *outcome.interval())
        return f"{outcome.successes:,} of {outcome.n:,} ({rate})"
    known = worth[objective.name]
    return number(known) if math.isfinite(known) else "none, without a success"
