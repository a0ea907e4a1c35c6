"""Where the seeds went, and how they ended: why a config got no more, what unsolved seeds did."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, percent
from xortune.core.outcome import Status
from xortune.core.trainer import PROVEN_WORSE
from xortune.racing.objectives import only_rate, summed_only
from xortune.reports.figures.labels import (
    LONGEST,
    described,
    finished,
    listed,
    plot_of,
    same_in_all,
)
from xortune.reports.plot import Axis, Mark, Panel, Plot, Role, Series, shortened
from xortune.reports.tables import Failures, failures_of, report_of, varying
from xortune.runs.manifest import rungs_of
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
    results, full = run.results, run.full_seeds
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

    return (
        Panel(
            axis,
            Axis("configurations", whole=True),
            _stacked(
                configs,
                [1] * size,
                lambda stop, amount, _: f"{stop}: {count(amount, 'configuration')}",
            ),
            "how many configurations got so far",
        ),
        Panel(
            axis,
            Axis("share of all seeds", "rate"),
            _unnamed(
                _stacked(
                    seeds,
                    [total] * size,
                    lambda stop, n, _: f"{stop}: {count(n, 'seed')}, {percent(n / total)}",
                )
            ),
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
    parts: Iterable[tuple[str, Role, Iterable[float]]],
    of: Sequence[int],
    told: Callable[[str, int, int], str],
    keys: Sequence[str] = (),
) -> tuple[Series, ...]:
    """One bar on the other in each group, as a share of its `of`; they lie where there are keys.

    Each part has its label, its role, and its amount in each group; `told` is given the label, the
    amount and the group's place; keys are those of the config that each group is.
    """
    tops, series = [0] * len(of), []
    for label, role, amounts in parts:
        marks = []
        for place, amount in enumerate(map(int, amounts)):
            if amount:
                start, tops[place] = tops[place], tops[place] + amount
                at, share, text = float(place), amount / of[place], told(label, amount, place)
                ends = (start / of[place], tops[place] / of[place])
                lying = Mark(share, at, ends, text=text, key=keys[place]) if keys else None
                marks.append(lying or Mark(at, share, y_ends=ends, text=text))
        if marks:
            series.append(Series(label, tuple(marks), "bars", role))
    return tuple(series)


def _unnamed(series: Iterable[Series]) -> tuple[Series, ...]:
    """The same, out of the legend: another panel names them."""
    return tuple(replace(one, label="") for one in series)


def seeds_so_far(run: Run) -> Plot:
    """Where the seeds of a search that still runs have gone: nothing is said of why."""
    counts = finished(run).counts
    axis, places = _reached(counts.n)
    size, total, most = len(axis.categories), int(counts.n.sum()), int(counts.n.max())
    configs = np.bincount(places, minlength=size).tolist()
    parts: list[tuple[str, Role, Any]] = [
        ("solved", "a", np.bincount(places, counts.k, size)),
        ("not solved", "b", np.bincount(places, counts.n - counts.k, size)),
    ]

    def told(label: str, seeds: int, at: int) -> str:
        configs_here = (
            f"{count(configs[at], 'configuration')} with {axis.categories[at]} seeds each"
        )
        return f"{configs_here}: {count(seeds, 'seed')} {label}"

    series = _stacked(parts, [total] * size, told)
    return plot_of(
        "seeds-so-far",
        Panel(axis, Axis("share of all seeds", "rate"), series),
        total=total,
        most=most,
        configs=len(counts.n),
        front=int((counts.n == most).sum()),
    )


# -------------------------------------------------------------------------------------------------
# What the unsolved seeds ended as, of single configs and of all together.

PATTERNS: tuple[Role, ...] = ("a", "c", "d")
"""So many of the most frequent wrong patterns are told apart."""

OTHERS: dict[Status, tuple[str, Role]] = {
    Status.ALL_ZERO: ("all 0", "e"),
    Status.ALL_ONE: ("all 1", "f"),
    Status.DIVERGED: ("diverged", "b"),
    Status.CRASHED: ("crashed", "best"),  # what is left to be told apart
}

Kind = str | Status  # a wrong pattern, or a status; `WRONG_PATTERN` stands for all other patterns

Kinds = Mapping[Kind, tuple[str, Role]]
"""The name and the role of each, in the order in which they lie in a bar."""


@dataclass(frozen=True)
class _Row:
    """One bar: how many of n seeds ended as what, of one config or, without a key, of all."""

    label: str
    text: str
    key: str
    n: int
    found: Counter[Kind]

    @property
    def beside(self) -> str:
        """The label and the count."""
        return f"{self.label} · {self.found.total():,} of {self.n:,}"


def failures(run: Run, top: int = 20) -> Plot:
    """What the unsolved seeds ended as: of all configs, and of the first ones that have any."""
    results, whole = finished(run), report_of(run).failures
    kinds, counts = _kinds(whole), results.counts
    unsolved = np.flatnonzero(counts.k < counts.n).tolist()
    of_all = f"all {count(len(results), 'configuration')}"
    together = _Row("all", of_all, "", int(counts.n.sum()), _ended(whole, kinds))
    found = together.found
    panels = [
        Panel(
            Axis("share of the unsolved seeds", "rate", (0, 1)),
            Axis("unsolved", "category", categories=(together.beside,)),
            _bars([together], kinds, of=found.total()),
            of_all,
        )
    ]
    if shown := [results[place] for place in unsolved[:top]]:
        each = [failures_of(results.chosen(np.array([place])), None) for place in unsolved[:top]]
        names = varying(run)
        counted = [f"{r.outcome.n - r.outcome.successes:,} of {r.outcome.n:,}" for r in shown]
        axis, labels = listed(run, shown, LONGEST - 3 - max(map(len, counted)))
        rows = [
            _Row(label, described(r, names), r.key, r.outcome.n, _ended(own, kinds))
            for label, r, own in zip(labels, shown, each, strict=True)
        ]
        panels.append(
            Panel(
                Axis("share of its seeds", "rate"),
                Axis(f"{axis} · unsolved", "category", categories=tuple(r.beside for r in rows)),
                _unnamed(_bars(rows, kinds)),
                f"the first {count(len(shown), 'configuration')} with an unsolved seed",
            )
        )
    ends = {status: often for status, often in whole.counts.items() if status != Status.SOLVED}
    return plot_of(
        "failures",
        *panels,
        seeds=together.n,
        unsolved=found.total(),
        most=max(ends.items(), key=lambda end: end[1]),
        kinds=[(kinds[kind][0], often) for kind, often in found.most_common() if often],
        failed=len(unsolved),
        configs=len(results),
        patterns=bool(whole.patterns),
    )


def ends_known(run: Run) -> bool:
    """Whether it is known how a seed failed: else there would be a bar of one colour."""
    found = report_of(run).failures
    ended = {status for status, n in found.counts.items() if n}
    return bool(found.patterns or ended - {Status.SOLVED, Status.WRONG_PATTERN})


def _kinds(whole: Failures) -> Kinds:
    patterns = [pattern for pattern, _ in whole.patterns[: len(PATTERNS)]]
    named = [f"wrong pattern {shortened(pattern, 16)}" for pattern in patterns]
    kinds: dict[Kind, tuple[str, Role]] = {
        pattern: (name, role)
        for pattern, name, role in zip(patterns, named, PATTERNS, strict=False)
    }
    # Where nobody knows of patterns, a seed that was trained to its end had no success.
    other = "another wrong pattern" if patterns else "no success"
    return kinds | {Status.WRONG_PATTERN: (other, "muted")} | OTHERS


def _ended(whole: Failures, kinds: Kinds) -> Counter[Kind]:
    found: Counter[Kind] = Counter({kind: whole.counts[kind] for kind in OTHERS})
    found.update({pattern: often for pattern, often in whole.patterns if pattern in kinds})
    rest = sum(n for status, n in whole.counts.items() if status != Status.SOLVED) - found.total()
    return found + Counter({Status.WRONG_PATTERN: rest})


def _bars(rows: Sequence[_Row], kinds: Kinds, of: int = 0) -> tuple[Series, ...]:
    """The parts of all bars, as shares of the seeds of each, or of so many."""

    def told(name: str, amount: int, place: int) -> str:
        row = rows[place]
        return f"{row.text}: {amount:,} of {count(row.found.total(), 'unsolved seed')}: {name}"

    parts = [(*named, [row.found[kind] for row in rows]) for kind, named in kinds.items()]
    return _stacked(parts, [of or row.n for row in rows], told, [row.key for row in rows])
