"""A user's own number over the seeds: its distribution with the rule's limit, and on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import count, number
from xortune.core.outcome import Curves
from xortune.core.success import Success, parse_success
from xortune.racing.objectives import numbers_in
from xortune.reports.figures.labels import HUGE, SeedsOf, sampled, seeds_of, sizes
from xortune.reports.plot import RATES, Axis, Mark, Plot, Rule, Series
from xortune.runs.results import Score, number_names, score_of
from xortune.runs.run import Run

Floats = NDArray[np.float64]

STEPS = ("step", "epoch", "iteration", "timesteps", "total_timesteps", "episode")
"""Numbers that say how far a seed is; without one it is the number of the report."""

MOST_STEPS = 200
"""Places of a curve that are drawn."""


def score_in(run: Run) -> Score | None:
    """The number that the figures are about; None where seeds have none."""
    names = number_names(result.outcome for result in run.results[:10])
    score = score_of(run.objectives, names)
    return score if score is not None and score.name in names else None


def _numbers(one: SeedsOf, name: str) -> Floats:
    """Shape (S,): a number of each seed; NaN where it failed."""
    return np.concatenate([numbers_in(outcome, name) for outcome in one.outcomes])


def _rule(run: Run, score: Score) -> Success | None:
    """The rule that judges the number, if one does."""
    try:
        found = parse_success(str(run.manifest.get("success", "")))
    except InputError:
        return None
    return found if found.name == score.name and abs(found.limit) < HUGE else None


def _limit(run: Run, score: Score, axis: str) -> list[Rule]:
    rule = _rule(run, score)
    return [] if rule is None else [Rule("x" if axis == "x" else "y", rule.limit, str(rule))]


# -------------------------------------------------------------------------------------------------
# The distribution over seeds.


def scores(run: Run) -> Plot | None:
    """The share of seeds whose number is at least as good as x, with the rule's limit.

    Where the limit is, the share is k / n. A failed seed is as good as nothing. None where seeds
    have no numbers, or all of them the same one.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    known = np.concatenate([_numbers(one, score.name) for one in shown])
    known = known[np.isfinite(known) & (np.abs(known) < HUGE)]
    if not known.size or np.ptp(known) == 0:
        return None
    better = "at least" if score.maximize else "at most"
    limits, rule = (float(known.min()), float(known.max())), _rule(run, score)
    if rule is not None:
        limits = min(limits[0], rule.limit), max(limits[1], rule.limit)
    margin = 0.02 * (limits[1] - limits[0])
    ends = limits[0] - margin, limits[1] + margin
    crossed = " Where a line crosses the rule's limit, the share is k / n." if rule else ""
    return Plot.single(
        name="scores",
        title=f"{score.name} over the seeds",
        alt=" ".join(_finding(one, score) for one in shown),
        note=(
            f"n = {sizes(shown)} seeds; the share whose {score.name} is {better} so much. A seed "
            f"that failed or has no finite number is not among them.{crossed} Bands: 95 %, "
            "Dvoretzky-Kiefer-Wolfowitz; each holds for its whole line, if it was chosen before "
            "looking. The best was not: its line in the search is optimistic."
        ),
        x=Axis(score.name, "number", ends),
        y=Axis(f"share of seeds with {better} so much", "rate", RATES),
        layers=[
            *(_profile(one, score, ends) for one in reversed(shown)),
            *_limit(run, score, "x"),
        ],
    )


def _profile(one: SeedsOf, score: Score, ends: tuple[float, float]) -> Series:
    """Steps from left to right: each stays until the next x."""
    given = _numbers(one, score.name)
    told = np.sort(given[np.isfinite(given)])
    inside = np.unique(told[(told > ends[0]) & (told < ends[1])])
    places = np.concatenate([[ends[0]], inside[sampled(len(inside))], [ends[1]]])
    if score.maximize:  # right of a number its seed is no longer among them
        shares = (told.size - np.searchsorted(told, places, side="right")) / one.n
        shares[0] = (told.size - np.searchsorted(told, ends[0], side="left")) / one.n
    else:
        shares = np.searchsorted(told, places, side="right") / one.n
    texts = (f"{one.text}: {round(share * one.n):,} of {count(one.n, 'seed')}" for share in shares)
    return one.share_line(places, shares, texts)


def _finding(one: SeedsOf, score: Score) -> str:
    name = f"The {one.what}"
    given = _numbers(one, score.name)
    told = given[np.isfinite(given)]
    if not told.size:
        return f"{name}: no seed has a {score.name}."
    worst = np.quantile(told, 0.1 if score.maximize else 0.9)
    missing = "" if told.size == one.n else f"; {one.n - told.size:,} of {one.n:,} seeds have none"
    return (
        f"{name}: {score.name} from {number(float(told.min()))} to {number(float(told.max()))}, "
        f"median {number(float(np.median(told)))}, worse decile {number(float(worst))}{missing}."
    )


# -------------------------------------------------------------------------------------------------
# Learning curves.


@dataclass(frozen=True)
class _Ways:
    """A number on the way of S seeds, at T steps: NaN before a seed's first and after its last."""

    steps: Floats
    values: Floats

    def quantiles(self) -> tuple[Floats, Floats, NDArray[np.int64]]:
        """Steps that a seed has come to, the 10, 50, 90 % quantiles there, and how many have."""
        known = np.isfinite(self.values).sum(axis=0)
        some = known > 0
        found = np.nanquantile(self.values[:, some], [0.1, 0.5, 0.9], axis=0)
        return self.steps[some], found, known[some]


def learning_curves(run: Run) -> Plot | None:
    """The number on the way of the seeds: the median, and the middle 80 % of the seeds as a band.

    None where no seed has told anything on its way.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    series: list[Series] = []
    findings, labels = [], set[str]()
    for one in shown:
        curves = [part.points() for o in one.outcomes for part in o.details.curves]
        found = _ways(curves, score.name)
        if found is None:
            continue
        label, ways = found
        labels.add(label)
        steps, (low, middle, high), known = ways.quantiles()
        marks = tuple(
            Mark(
                float(step),
                float(at),
                y_ends=(float(bottom), float(top)),
                text=f"{one.text}: median of {count(int(seeds), 'seed')}",
            )
            for step, at, bottom, top, seeds in zip(steps, middle, low, high, known, strict=True)
        )
        series.append(Series(one.label, marks, "line", one.role, dashed=one.fresh))
        if one is shown[0]:
            series.extend(_worst(one, ways, score, (float(low.min()), float(high.max()))))
        findings.append(
            f"The {one.what}: median {score.name} "
            f"{number(float(middle[0]))} at {label} {number(float(steps[0]))}, "
            f"{number(float(middle[-1]))} at {number(float(steps[-1]))} "
            f"({count(int(known[-1]), 'seed')})."
        )
    if not series:
        return None
    return Plot.single(
        name="learning-curves",
        title=f"{score.name} on the way",
        alt=" ".join(findings),
        note=(
            f"n = {sizes(shown)} seeds. Lines: the median over those that have come so far. Bands: "
            "from the 10 % to the 90 % quantile of these, no interval: it says how seeds differ, "
            "not how sure the line is. Dashed: the worst seed at each step. A seed that failed is "
            "in it as far as it came. Of each seed some 30 reports are kept, evenly spaced, with "
            "straight lines between them."
        ),
        x=Axis(" or ".join(sorted(labels))),
        y=Axis(score.name),
        layers=[*reversed(series), *_limit(run, score, "y")],
    )


def _worst(one: SeedsOf, ways: _Ways, score: Score, ends: tuple[float, float]) -> list[Series]:
    """The way of the worst seed at each step, unless it is so far off that all else is a line."""
    some = np.isfinite(ways.values).any(axis=0)
    values = ways.values[:, some]
    worst = np.nanmin(values, axis=0) if score.maximize else np.nanmax(values, axis=0)
    room = 3 * (ends[1] - ends[0])
    if worst.min() < ends[0] - room or worst.max() > ends[1] + room:
        return []
    marks = tuple(
        Mark(float(step), float(at), text=f"{one.text}: the worst seed")
        for step, at in zip(ways.steps[some], worst, strict=True)
    )
    return [Series("best: its worst seed", marks, "line", one.role, dashed=True)]


def _ways(parts: Iterable[Curves], name: str) -> tuple[str, _Ways] | None:
    """What the x axis is, and the ways of all seeds that told the number at two steps or more."""
    ways: list[tuple[Floats, Floats]] = []
    labels = set()
    for part in parts:
        if name not in part.names:
            continue
        label = next((one for one in STEPS if one in part.names and one != name), "report")
        at = part.report if label == "report" else part.values[:, part.names.index(label)]
        labels.add(label)
        values = part.values[:, part.names.index(name)].astype(np.float64)
        for seed in np.unique(part.seed):
            mine = (part.seed == seed) & np.isfinite(at) & (np.abs(values) < HUGE)
            steps, first = np.unique(at[mine].astype(np.float64), return_index=True)
            if steps.size > 1:
                ways.append((steps, values[mine][first]))
    if not ways or len(labels) > 1:
        return None
    every = np.unique(np.concatenate([steps for steps, _ in ways]))
    every = every[sampled(len(every), MOST_STEPS)]
    reached = [np.interp(every, *way, left=np.nan, right=np.nan) for way in ways]
    return labels.pop(), _Ways(every, np.array(reached))
