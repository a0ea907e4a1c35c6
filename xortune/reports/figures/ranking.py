"""Figures of the best configs: the ranking with intervals and fresh seeds, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, groupby, pairwise

from xortune.core.formats import lower_percent, number, plain
from xortune.core.outcome import SeedCount
from xortune.reports.analysis import FrontRow, compared_for_front, report_of
from xortune.reports.drawing.model import Axis, Ends, Guide, Layer, Mark, Panel, Plot, Series
from xortune.reports.figures.common import (
    described,
    finished,
    has_enough,
    listed,
    plot_of,
    same_in_all,
    sampled,
)
from xortune.runs.certificate import CertifiedResult
from xortune.runs.run import Run
from xortune.spaces.model import SUCCESS_RATE, Objective

STARTS = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the axis, which else starts at 0
APART = 0.17  # offset of two rates in one row from its middle, as a share of the row


def ranking(run: Run, top: int = 12) -> Plot:
    """The success rates of the finalists; shades those not told apart from the best.

    Of the first `top` configs it shows those with fresh seeds, and those with enough seeds: the
    interval of one seed says nothing, and would take all the room. The axis
    begins where their rates differ; an interval that is longer goes on beyond it.
    """
    results, certificate = finished(run), run.certificate
    fresh = {f.key: f for f in certificate.finalists} if certificate else {}
    first, best = results[:top], results[0]
    has_many = has_enough(results.counts.n)
    enough = int(results.counts.n[has_many].min())
    shown = [r for r in first if r.key in fresh or r.outcome.n >= enough or r is best]
    tied = report_of(run).tied
    members = set(tied.members.keys[:top]) if tied else set()
    layers: list[Layer] = []
    # The members need not be neighbours: configs with fewer seeds may rank between them.
    for is_member, group in groupby(enumerate(shown), key=lambda row: row[1].key in members):
        rows = [row for row, _ in group]
        if is_member and tied and len(tied.members) > 1:
            label = "not told apart from the best"
            layers.append(Guide("y", rows[0] - 0.5, label, to=rows[-1] + 0.5))
    # What must be seen: all rates, and the intervals of those with many seeds.
    ends = [r.outcome.rate for r in shown]
    ends += [r.outcome.interval()[0] for r in shown if r.outcome.n >= enough]
    ends += [fresh[r.key].lower_bound or fresh[r.key].rate for r in shown if r.key in fresh]
    start = next((low for low in STARTS if min(ends) >= low), 0.0)
    searched = [
        Mark(
            r.outcome.rate,
            row - APART * (r.key in fresh),
            x_ends=(max(r.outcome.interval()[0], start), r.outcome.interval()[1]),
            text=f"{described(run, r)}: {r.outcome.count.words}",
            key=r.key,
        )
        for row, r in enumerate(shown)
    ]
    layers.append(Series("in the search, with its 95 % interval", tuple(searched)))
    sure = f"{number(certificate.confidence)}{certificate.scope}" if certificate else ""
    certified = [
        Mark(
            finalist.rate,
            row + APART,
            x_ends=(
                finalist.rate if finalist.lower_bound is None else finalist.lower_bound,
                finalist.rate,
            ),
            text=f"{described(run, r)}: {_fresh(finalist)} with confidence {sure}",
            key=r.key,
        )
        for row, r in enumerate(shown)
        if (finalist := fresh.get(r.key))
    ]
    label = "on fresh seeds, down to the certified bound"
    layers.append(Series(label, tuple(certified), role="proven", marker="diamond"))
    margin = 0.02 * (1 - start)
    return plot_of(
        "ranking",
        Panel(
            Axis("success rate", "rate", (start - margin, 1 + margin)),
            Axis(
                "configuration",
                "category",
                categories=listed(run, shown, [r.outcome.count.text for r in shown]),
            ),
            tuple(layers),
        ),
        best=best.outcome,
        name=described(run, best),
        total=len(results),
        shown=shown,
        start=start if any(r.outcome.interval()[0] < start for r in shown) else None,
        few=int((~has_many).sum()),
        enough=enough,
        sizes=[r.outcome.n for r in shown],
        tied=tied,
        fresh=_fresh(fresh[best.key]) if best.key in fresh else "",
        sure=sure if certified else "",
        same=same_in_all(shown, run.parameters),
    )


def _fresh(finalist: CertifiedResult) -> str:
    rate, at_least = finalist.rate_text, lower_percent(finalist.lower_bound)
    return f"{finalist.k:,} of {finalist.n:,} fresh seeds solved: {rate}, at least {at_least}"


# -------------------------------------------------------------------------------------------------
# The Pareto front: configs by two objectives each.

MOST_PANELS = 6  # of more pairs of objectives, only those with the first objective are shown


def pareto_front(run: Run) -> Plot | None:
    """The configs with the full seeds by two objectives, one panel for each pair of objectives.

    None if there is one objective, or no config with the full seeds to show.
    """
    objectives, full = run.objectives, run.full_seeds
    if len(objectives) == 1:
        return None
    rows = compared_for_front(run)
    pairs = list(combinations(objectives, 2))
    if len(pairs) > MOST_PANELS:
        pairs = [pair for pair in pairs if objectives[0] in pair]
    front = [row for row in rows if row.on_front]
    others = [row for row in rows if not row.on_front]
    drawn = [others[at] for at in sampled(len(others))]
    single = len(pairs) == 1
    panels = [_panel(run, [*drawn, *front], pair, single=single) for pair in pairs]
    panels = [panel for panel in panels if panel.layers]
    if not panels:  # without a success, epochs to solve are infinite
        return None
    ends = []
    for objective in objectives:
        best = min(front, key=lambda row: (row.cost(objective), row.result.key))
        texts = [f"{_label(o)} {_estimate_text(o, best)}" for o in objectives]
        ends.append((_label(objective), best.result.key, texts))
    return plot_of(
        "front",
        *panels,
        columns=min(len(panels), 3),
        words=list(map(_label, objectives)),
        ends=ends,
        front=front,
        configs=len(rows),
        others=len(others),
        drawn=len(drawn),
        full=full,
        rate=any(objective.name == SUCCESS_RATE for pair in pairs for objective in pair),
        fewer=len(run.results) - len(rows),
        unsolved=sum(any(map(math.isinf, row.estimate.values())) for row in rows),
    )


def _panel(
    run: Run, rows: Sequence[FrontRow], pair: tuple[Objective, Objective], *, single: bool
) -> Panel:
    x, y = pair if pair[1].name == SUCCESS_RATE else pair[::-1]
    finite = [row for row in rows if all(math.isfinite(row.estimate[o.name]) for o in pair)]
    front = [row for row in finite if row.on_front]
    others = [row for row in finite if not row.on_front]
    layers: list[Layer] = []
    if others:
        marks = tuple(_mark(run, row, x, y) for row in others)
        layers.append(Series("others with as many seeds", marks, role="neutral", marker="ring"))
    if front and single:
        layers.append(_staircase(front, x, y))
    if front:
        marks = tuple(_mark(run, row, x, y) for row in front)
        layers.append(Series("on the front", marks, role="best"))
    title = "" if single else f"{_label(y)} and {_label(x)}"
    return Panel(_axis(x, finite), _axis(y, finite), tuple(layers), title)


def _mark(run: Run, row: FrontRow, x: Objective, y: Objective) -> Mark:
    outcome = row.result.outcome

    def ends(objective: Objective) -> Ends | None:
        """The intervals of hundreds of others would hide everything."""
        known = objective.measured and objective.measured.interval
        return known(row.seen) if known and row.on_front else None

    ert = outcome.epochs_to_solve
    epochs = "" if ert is None else f"; {round(ert):,} epochs to solve"
    return Mark(
        row.estimate[x.name],
        row.estimate[y.name],
        x_ends=ends(x),
        y_ends=ends(y),
        text=f"{described(run, row.result)}: {outcome.count.words}{epochs}",
        key=row.result.key,
    )


def _staircase(rows: Sequence[FrontRow], x: Objective, y: Objective) -> Series:
    """The best y that is reached with an x as good as this, or better."""
    places = sorted((row.estimate[x.name], row.estimate[y.name]) for row in rows)
    corners = [places[0]]
    for before, place in pairwise(places):
        corner = (before[0], place[1]) if x.maximize else (place[0], before[1])
        corners += [corner, place]
    return Series("", tuple(Mark(*corner) for corner in corners), "line", "best", dashed=True)


def _axis(objective: Objective, rows: Sequence[FrontRow]) -> Axis:
    values = [row.estimate[objective.name] for row in rows]
    label = f"{_label(objective)} ({'more' if objective.maximize else 'less'} is better)"
    if objective.measured and objective.measured.interval:
        return Axis(label, "rate")
    # On a linear axis over two powers of ten, only the largest values can be told apart.
    log = bool(values) and min(values) > 0 and max(values) / min(values) > 50
    return Axis(label, "log" if log else "number", whole=all(v.is_integer() for v in values))


def _label(objective: Objective) -> str:
    return objective.measured.label if objective.measured else plain(objective.name)


def _estimate_text(objective: Objective, row: FrontRow) -> str:
    estimate = row.estimate[objective.name]
    if objective.measured and objective.measured.interval:  # a share of the seeds
        return SeedCount(round(estimate * row.seen.n), row.seen.n).words
    return number(estimate) if math.isfinite(estimate) else "none, without a success"
