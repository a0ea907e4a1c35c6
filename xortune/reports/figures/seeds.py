"""Where the seeds went: how many each config got, and why it got no more."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, percent
from xortune.core.trainer import PROVEN_WORSE
from xortune.racing.objectives import only_rate, summed_only
from xortune.reports.figures.labels import described, finished, listed, plot_of, same_in_all
from xortune.reports.plot import Axis, Mark, Panel, Plot, Role, Series
from xortune.reports.tables import varying
from xortune.runs.results import full_seeds, rungs_of
from xortune.runs.run import Run
from xortune.spaces.model import rungs_up_to

Stops: TypeAlias = NDArray[np.object_]

# -------------------------------------------------------------------------------------------------
# Why each config of a run got no more seeds, as far as what is stored can tell.


class Stop(enum.Enum):
    """What a config that has some seeds got no more for, in words."""

    FULL = "had all seeds"
    QUICKER = "no failure, but enough others sooner"
    AHEAD = "failed, and enough others do better"
    DOMINATED = "others that cost no more do as well"
    WORSE = "proven worse than another"
    UNSOLVED = "none of its first seeds solved"
    ENDED = "the search ended first"
    EARLY = "stopped early"


def stops_of(run: Run) -> Stops:
    """For each of `Run.results` why it got no more seeds: `Stop` as objects, shape (C,).

    Who was proven worse is recorded in the journal, when the search ends. Of the others that solved
    a seed, a race that went to its end holds those back that have enough others ahead (see
    `racing.grants`). Where seeds of several versions are in the run, or a number was raced for,
    nothing is said but `EARLY`.
    """
    results, full = run.results, full_seeds(run.results, run.manifest)
    k, n = results.counts.k, results.counts.n
    manifest, ladder = run.manifest, rungs_of(run.manifest)
    stops: Stops = np.full(n.shape, Stop.AHEAD, np.object_)
    stops[k == n] = Stop.QUICKER
    if not only_rate(run.objectives):
        stops[:] = Stop.DOMINATED
    if len(ladder) == 1 or not manifest.get("complete") or bool(manifest.get("proven")):
        stops[:] = Stop.ENDED
    if worse := set(run.evaluations.ended(PROVEN_WORSE).keys):
        stops[[key in worse for key in results.keys]] = Stop.WORSE
    if len(ladder) > 1:
        stops[k == 0] = Stop.UNSOLVED
    if run.set_aside or not ladder or summed_only(run.objectives):
        stops[:] = Stop.EARLY
    stops[n >= full] = Stop.FULL
    return stops


MOST_ROWS, MOST_GROUPS = 60, 20
"""Of more configs not each has a bar: they are put together by the seeds that they reached, in at
most so many groups."""

ROLES: dict[Stop, Role] = {
    Stop.FULL: "a",
    Stop.QUICKER: "c",
    Stop.AHEAD: "e",
    Stop.DOMINATED: "c",  # in a race for a front, which has none of the two before
    Stop.WORSE: "b",
    Stop.UNSOLVED: "d",
    Stop.ENDED: "f",
    Stop.EARLY: "muted",
}
"""In the order in which they lie on each other."""


def seeds_spent(run: Run) -> Plot:
    """How many seeds each config got, and why no more; see `stops_of`.

    Up to 60 configs have a bar each, best first. More are counted by the rung that they reached,
    with the share of all seeds that went to them.
    """
    results, stops = finished(run), stops_of(run)
    few, n = len(results) <= MOST_ROWS, results.counts.n
    own = [(stop, n[stops == stop].tolist()) for stop in ROLES if (stops == stop).any()]
    panels = _each(run, stops) if few else _groups(run, stops)
    return plot_of(
        "seeds-spent",
        *panels,
        columns=len(panels),
        n=n.tolist(),
        full=n[stops == Stop.FULL].tolist(),
        total=int(n.sum()),
        own=own,
        same=same_in_all(results, run.parameters) if few else "",
    )


def _each(run: Run, stops: Stops) -> tuple[Panel, ...]:
    names = varying(run)
    axis, labels = listed(run, run.results)
    marks: dict[Stop, list[Mark]] = {stop: [] for stop in ROLES if (stops == stop).any()}
    for row, (r, stop) in enumerate(zip(run.results, stops, strict=True)):
        seeds = f"{count(r.outcome.n, 'seed')}, {r.outcome.successes:,} solved; {stop.value}"
        text = f"{described(r, names)}: {seeds}"
        n = float(r.outcome.n)
        marks[stop].append(Mark(n, float(row), x_ends=(0.0, n), text=text, key=r.key))
    bars = [Series(stop.value, tuple(own), "bars", ROLES[stop]) for stop, own in marks.items()]
    y = Axis(axis, "category", categories=labels)
    return (Panel(Axis("seeds", whole=True), y, tuple(bars)),)


def _groups(run: Run, stops: Stops) -> tuple[Panel, ...]:
    """Configs, and the share of all seeds that they got, by the seeds that they reached."""
    n = run.results.counts.n
    axis, places = _reached(n)
    total, size = int(n.sum()), len(axis.categories)
    own = [(stop, role, stops == stop) for stop, role in ROLES.items()]
    configs = [(s.value, role, np.bincount(places[at], minlength=size)) for s, role, at in own]
    seeds = [(s.value, role, np.bincount(places[at], n[at], size)) for s, role, at in own]
    told = _stacked(configs, lambda stop, amount, _: f"{stop}: {count(amount, 'configuration')}")
    shares = _stacked(
        seeds,
        lambda stop, amount, _: f"{stop}: {count(amount, 'seed')}, {percent(amount / total)}",
        total,
    )
    y, title = Axis("configurations", whole=True), "how many configurations got so far"
    return (
        Panel(axis, y, told, title),
        Panel(
            axis,
            Axis("share of all seeds", "rate"),
            tuple(replace(one, label="") for one in shares),  # they are named in the other panel
            "what share of all seeds they got",
        ),
    )


def _reached(n: NDArray[np.int64]) -> tuple[Axis, NDArray[np.intp]]:
    """An axis of the numbers of seeds that configs reached, and of these n the places on it."""
    sizes, limit = np.unique(n).tolist(), ""
    if len(sizes) > MOST_GROUPS:
        sizes, limit = list(rungs_up_to(max(sizes[-1], 2))), "≤ "
    labels = tuple(f"{limit}{size:,}" for size in sizes)
    return Axis("seeds reached", "category", categories=labels), np.searchsorted(sizes, n)


def _stacked(
    parts: Iterable[tuple[str, Role, NDArray[Any]]],
    told: Callable[[str, int, int], str],
    total: int = 1,
) -> tuple[Series, ...]:
    """The amounts of each group, one bar on the other, as shares of a total.

    `told` says what a bar is, given its part's name, its amount and its group.
    """
    tops: Counter[int] = Counter()
    series = []
    for label, role, amounts in parts:
        marks = []
        for place in np.flatnonzero(amounts).tolist():
            amount, start = int(amounts[place]), tops[place]
            tops[place] += amount
            ends, text = (start / total, tops[place] / total), told(label, amount, place)
            marks.append(Mark(float(place), amount / total, y_ends=ends, text=text))
        if marks:
            series.append(Series(label, tuple(marks), "bars", role))
    return tuple(series)


def seeds_so_far(run: Run) -> Plot:
    """Where the seeds of a search that still runs have gone: nothing is said of why."""
    counts = finished(run).counts
    axis, places = _reached(counts.n)
    size, total, most = len(axis.categories), int(counts.n.sum()), int(counts.n.max())
    configs = np.bincount(places, minlength=size).tolist()
    series = _stacked(
        [
            ("solved", "a", np.bincount(places, counts.k, size)),
            ("not solved", "b", np.bincount(places, counts.n - counts.k, size)),
        ],
        lambda label, seeds, at: (
            f"{count(configs[at], 'configuration')} with {axis.categories[at]} seeds each: "
            f"{count(seeds, 'seed')} {label}"
        ),
        total,
    )
    return plot_of(
        "seeds-so-far",
        Panel(axis, Axis("share of all seeds", "rate"), series),
        total=total,
        most=most,
        configs=len(counts.n),
        front=int((counts.n == most).sum()),
    )
