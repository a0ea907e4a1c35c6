"""Where the seeds went: how many each config got, and why it got no more."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, percent
from xortune.core.trainer import PROVEN_WORSE
from xortune.racing.objectives import only_rate, summed_only
from xortune.reports.figures.labels import between, described, finished, listed, same_in_all
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
    few = len(results) <= MOST_ROWS
    panels = _each(run, stops) if few else _groups(run, stops)
    return Plot(
        name="seeds-spent",
        title=_title(run, stops),
        alt=_alt(run, stops),
        note=_note(run, stops) + (same_in_all(results, run.parameters) if few else ""),
        panels=panels,
        columns=len(panels),
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
    reached, places = _reached(n)
    total, size = int(n.sum()), len(reached.categories)
    mine = {stop: stops == stop for stop in ROLES}
    configs = {stop: np.bincount(places[own], minlength=size) for stop, own in mine.items()}
    seeds = {stop: np.bincount(places[own], n[own], size) for stop, own in mine.items()}
    return (
        Panel(
            reached,
            Axis("configurations", whole=True),
            _stacked(configs, lambda amount: count(amount, "configuration")),
            "how many configurations got so far",
        ),
        Panel(
            reached,
            Axis("share of all seeds", "rate"),
            _stacked(seeds, lambda n: f"{count(n, 'seed')}, {percent(n / total)}", total),
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


def seeds_so_far(run: Run) -> Plot:
    """Where the seeds of a search that still runs have gone: nothing is said of why."""
    counts = finished(run).counts
    axis, places = _reached(counts.n)
    configs = np.bincount(places, minlength=len(axis.categories))
    total, most = int(counts.n.sum()), int(counts.n.max())
    starts, series = np.zeros(len(configs)), []
    for label, role, amounts in (
        ("solved", "a", counts.k),
        ("not solved", "b", counts.n - counts.k),
    ):
        seeds = np.bincount(places, amounts, len(configs))
        ends = starts + seeds / total
        marks = tuple(
            Mark(
                float(at),
                float(ends[at]),
                y_ends=(float(starts[at]), float(ends[at])),
                text=f"{count(int(configs[at]), 'configuration')} with {axis.categories[at]} seeds "
                f"each: {count(int(seeds[at]), 'seed')} {label}",
            )
            for at in np.flatnonzero(seeds).tolist()
        )
        series.append(Series(label, marks, "bars", cast("Role", role)))
        starts = ends
    front = counts.n == most
    share = percent(float(counts.n[front].sum() / total))
    return Plot.single(
        name="seeds-so-far",
        title="Where the seeds have gone so far",
        alt=(
            f"Of {count(total, 'seed')} {share} went to the {int(front.sum()):,} of "
            f"{count(len(counts.n), 'configuration')} that have the most, {most:,} each."
        ),
        note=(
            f"n = {count(total, 'seed')}. Configurations by the seeds that they have by now: "
            "counts, nothing is estimated."
        ),
        x=axis,
        y=Axis("share of all seeds", "rate"),
        layers=[one for one in series if one.marks],
    )


def _stacked(
    amounts: Mapping[Stop, NDArray[Any]], said: Callable[[int], str], total: int = 0
) -> tuple[Series, ...]:
    """One bar on the other in each group, as amounts, or as shares of a total."""
    tops: Counter[int] = Counter()
    series = []
    for stop, role in ROLES.items():
        marks = []
        for place in np.flatnonzero(amounts[stop]).tolist():
            amount, start = int(amounts[stop][place]), tops[place]
            tops[place] += amount
            ends = (start / (total or 1), tops[place] / (total or 1))
            text = f"{stop.value}: {said(amount)}"
            marks.append(Mark(float(place), amount / (total or 1), y_ends=ends, text=text))
        if marks:
            # It is named in the other panel.
            series.append(Series("" if total else stop.value, tuple(marks), "bars", role))
    return tuple(series)


def _title(run: Run, stops: Stops) -> str:
    n = run.results.counts.n
    whole = n[stops == Stop.FULL]
    configs = count(len(n), "configuration")
    if len(whole) == len(n):
        which = f"All {configs}" if len(n) > 1 else "The only configuration"
        return f"{which} got all seeds"
    if not len(whole):
        return f"None of {configs} got all seeds"
    share = percent(float(whole.sum() / n.sum()))
    went = f"{share} of all seeds went to the {len(whole):,} of {configs}"
    return f"{went} that reached {between(whole.tolist())}"


def _alt(run: Run, stops: Stops) -> str:
    n = run.results.counts.n
    total = int(n.sum())
    own = {stop: n[stops == stop] for stop in ROLES}
    parts = [
        f"{stop.value}: {count(len(sizes), 'configuration')} with "
        f"{count(int(sizes.sum()), 'seed')} ({percent(int(sizes.sum()) / total)})"
        for stop, sizes in own.items()
        if len(sizes)
    ]
    return f"{count(total, 'seed')} in all. {'; '.join(parts)}."


def _note(run: Run, stops: Stops) -> str:
    """What was counted, and what each reason that occurs rests on."""
    seeds = count(int(run.results.counts.n.sum()), "seed")
    configs = count(len(run.results), "configuration")
    parts = [f"n = {seeds} of {configs}: counts, nothing is estimated."]
    if any((stops == stop).any() for stop in set(Stop) - {Stop.FULL, Stop.ENDED, Stop.EARLY}):
        parts.append("Why a configuration got no more is what the search recorded when it ended.")
    if (stops == Stop.WORSE).any():
        parts.append(
            "All that is proven holds together with the race's confidence; of the others none is "
            "shown to be worse."
        )
    if (stops == Stop.EARLY).any():
        parts.append("Why some were stopped early is not in the run's files.")
    return " ".join(parts)
