"""A user's own number over the seeds: its distribution with the rule's limit, and on the way."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import count
from xortune.core.outcome import Curves
from xortune.core.success import Success, parse_success
from xortune.racing.objectives import numbers_in
from xortune.reports.figures.labels import HUGE, SeedsOf, plot_of, sampled, seeds_of, sizes
from xortune.reports.plot import RATES, Axis, Mark, Panel, Plot, Rule, Series
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


def _finite(one: SeedsOf, name: str) -> Floats:
    """A number of the seeds that have it, ascending: of those that failed it is not finite."""
    given = np.concatenate([numbers_in(outcome, name) for outcome in one.outcomes])
    return np.sort(given[np.isfinite(given)])


def _rule(run: Run, score: Score) -> Success | None:
    """The rule that judges the number, if one does."""
    try:
        found = parse_success(str(run.manifest.get("success", "")))
    except InputError:
        return None
    return found if found.name == score.name and abs(found.limit) < HUGE else None


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
    told = [(one, _finite(one, score.name)) for one in shown]
    known = np.concatenate([numbers for _, numbers in told])
    known = known[np.abs(known) < HUGE]
    if not known.size or np.ptp(known) == 0:
        return None
    better = "at least" if score.maximize else "at most"
    rule = _rule(run, score)
    low, high = float(known.min()), float(known.max())
    if rule is not None:
        low, high = min(low, rule.limit), max(high, rule.limit)
    ends = low - 0.02 * (high - low), high + 0.02 * (high - low)
    lines = [_profile(one, numbers, score, ends) for one, numbers in reversed(told)]
    limit = [] if rule is None else [Rule("x", rule.limit, str(rule))]
    return plot_of(
        "scores",
        Panel(
            Axis(score.name, "number", ends),
            Axis(f"share of seeds with {better} so much", "rate", RATES),
            (*lines, *limit),
        ),
        known=told,
        score=score,
        better=better,
        rule=rule,
        sizes=sizes(shown),
        quantile=lambda numbers, q: float(np.quantile(numbers, q)),
    )


def _profile(one: SeedsOf, told: Floats, score: Score, ends: tuple[float, float]) -> Series:
    """Steps from left to right: each stays until the next x."""
    inside = np.unique(told[(told > ends[0]) & (told < ends[1])])
    places = np.concatenate([[ends[0]], inside[sampled(len(inside))], [ends[1]]])
    if score.maximize:  # right of a number its seed is no longer among them
        shares = (told.size - np.searchsorted(told, places, side="right")) / one.n
        shares[0] = (told.size - np.searchsorted(told, ends[0], side="left")) / one.n
    else:
        shares = np.searchsorted(told, places, side="right") / one.n
    texts = (f"{one.text}: {round(share * one.n):,} of {count(one.n, 'seed')}" for share in shares)
    return one.share_line(places, shares, texts)


# -------------------------------------------------------------------------------------------------
# Learning curves.


def learning_curves(run: Run) -> Plot | None:
    """The number on the way of the seeds: the median, and the middle 80 % of the seeds as a band.

    None where no seed has told anything on its way.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    series: list[Series] = []
    told = []
    for one in shown:
        curves = [part.points() for o in one.outcomes for part in o.details.curves]
        found = _ways(curves, score.name)
        if found is None:
            continue
        label, steps, ways = found
        known = np.isfinite(ways).sum(axis=0)
        low, middle, high = np.nanquantile(ways, [0.1, 0.5, 0.9], axis=0)
        table = np.stack([steps, middle, low, high], axis=1).tolist()
        marks = tuple(
            Mark(x, y, y_ends=(a, b), text=f"{one.text}: median of {count(seeds, 'seed')}")
            for (x, y, a, b), seeds in zip(table, known.tolist(), strict=True)
        )
        series.append(Series(one.label, marks, "line", one.role, dashed=one.fresh))
        if one is shown[0]:
            # The way of the worst seed, unless it is so far off that all else is a line.
            worst = np.nanmin(ways, axis=0) if score.maximize else np.nanmax(ways, axis=0)
            room = 3 * (high.max() - low.min())
            if low.min() - room <= worst.min() and worst.max() <= high.max() + room:
                marks_of_it = tuple(
                    Mark(x, y, text=f"{one.text}: the worst seed")
                    for x, y in zip(steps.tolist(), worst.tolist(), strict=True)
                )
                label_of_it = "best: its worst seed"
                series.append(Series(label_of_it, marks_of_it, "line", one.role, dashed=True))
        told.append((one, label, marks[0], marks[-1], int(known[-1])))
    if not series:
        return None
    rule = _rule(run, score)
    limit = [] if rule is None else [Rule("y", rule.limit, str(rule))]
    x = Axis(" or ".join(sorted({label for _, label, *_ in told})))
    return plot_of(
        "learning-curves",
        Panel(x, Axis(score.name), (*reversed(series), *limit)),
        told=told,
        score=score,
        sizes=sizes(shown),
    )


def _ways(parts: Iterable[Curves], name: str) -> tuple[str, Floats, Floats] | None:
    """The ways of all S seeds that told the number at two steps or more.

    Returns:
        What the x axis is, T steps, and the number at each: shape (S, T), NaN before a seed's first
        and after its last.
    """
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
    reached = np.array([np.interp(every, *way, left=np.nan, right=np.nan) for way in ways])
    some = np.isfinite(reached).any(axis=0)
    return labels.pop(), every[some], reached[:, some]
