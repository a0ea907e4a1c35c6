"""Figures of how the seeds were spent over the configs, and of how the unsolved ones ended."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, duration, percent
from xortune.core.outcome import Status
from xortune.core.trainer import PROVEN_WORSE
from xortune.racing.feasible import PROVEN, REFUTED
from xortune.racing.objectives import constrained, only_rate, only_statistic
from xortune.reports.analysis import Failures, busy_sentence, failures_of, report_of
from xortune.reports.drawing.model import Axis, Mark, Panel, Plot, Role, Series, shortened
from xortune.reports.figures.common import (
    described,
    finished,
    has_enough,
    listed,
    plot_of,
    same_in_all,
)
from xortune.runs.manifest import rungs_of
from xortune.runs.run import Run
from xortune.runs.status import busy_share
from xortune.spaces.model import rungs_up_to

Stops: TypeAlias = NDArray[np.object_]

# -------------------------------------------------------------------------------------------------
# Why each config of a run got no more seeds.


class Stop(enum.Enum):
    """Why a config got no more seeds, and the role of that bar; bars are stacked in this order."""

    FULL = "had all seeds", "other"
    QUICKER = "paused, without a failure", "solved"
    AHEAD = "paused, with failures", "stopped"
    DOMINATED = (
        "paused, others that cost no more do as well",
        "stopped",
    )  # of a front: no QUICKER, no AHEAD
    REACHES = "proven to reach the rate, before all seeds", "proven"
    DEARER = "paused, one that costs no more reaches the rate", "stopped"
    SHORT = "proven not to reach the rate", "refuted"  # of a required rate: no AHEAD, no WORSE
    WORSE = "proven worse than another", "refuted"
    UNSOLVED = "none of its first seeds solved", "failed"
    ENDED = "the search ended first", "neutral"
    EARLY = "stopped early", "neutral"

    def __init__(self, words: str, role: Role) -> None:
        self.words, self.role = words, role


def stops_of(run: Run) -> Stops:
    """The `Stop` of each of `Run.results`: an array of objects, shape (C,).

    The journal records which configs were proven worse. If the race went to its end, the others
    that solved a seed were paused: more seeds promised little (see `racing.grants`). With seeds of
    several versions in the run, or a race for a number, the reason is only `EARLY`.
    """
    results, full = run.results, run.full_seeds
    k, n = results.counts.k, results.counts.n
    manifest, ladder = run.manifest, rungs_of(run.manifest)
    required = constrained(run.objectives)
    stops: Stops = np.full(n.shape, Stop.AHEAD, np.object_)
    stops[k == n] = Stop.QUICKER
    if not only_rate(run.objectives):
        stops[:] = Stop.DOMINATED if required is None else Stop.DEARER
    if len(ladder) == 1 or not manifest.get("complete") or bool(manifest.get("proven")):
        stops[:] = Stop.ENDED
    if worse := set(run.evaluations.with_error(PROVEN_WORSE).keys):
        stops[[key in worse for key in results.keys]] = Stop.WORSE
    if len(ladder) > 1:
        stops[k == 0] = Stop.UNSOLVED
    if required is not None and required.required is not None:
        states = results.rate_states(required.required)
        stops[states == REFUTED] = Stop.SHORT
        stops[states == PROVEN] = Stop.REACHES
    if run.set_aside or not ladder or only_statistic(run.objectives):
        stops[:] = Stop.EARLY
    stops[n >= full] = Stop.FULL
    return stops


MOST_ROWS, MOST_GROUPS = 20, 20
"""Maximum number of bars: one for each config, or, of more configs, one for each group."""


def seeds_spent(run: Run) -> Plot:
    """How many seeds each config got, and why no more; see `stops_of`.

    Up to 20 configs have a bar each, best first. More are grouped by the rung that they reached,
    with the share of all seeds that went to them. Where seeds have a price, seconds are shown too.
    """
    results, stops = finished(run), stops_of(run)
    few, n = len(results) <= MOST_ROWS, results.counts.n
    priced = report_of(run).end.is_priced
    panels = _bar_of_each(run, stops) if few else _bars_of_groups(run, stops)
    panels = panels if priced else panels[:-1]  # the last one has seconds
    return plot_of(
        "seeds-spent",
        *panels,
        columns=len(panels),
        n=n.tolist(),
        full=n[stops == Stop.FULL].tolist(),
        total=int(n.sum()),
        priced=priced,
        by_stop=[(stop, n[stops == stop].tolist()) for stop in Stop if (stops == stop).any()],
        workers="" if (share := busy_share(run)) is None else busy_sentence(*share),
        same=same_in_all(results, run.parameters) if few else "",
    )


def _bar_of_each(run: Run, stops: Stops) -> list[Panel]:
    """The seeds and the seconds of each config."""
    results = run.results
    k, y = results.counts.k, Axis("configuration", "category", categories=listed(run, results))

    def panel(x: Axis, spent: NDArray[Any], written: Callable[[float, int], str]) -> Panel:
        def text(stop: str, amount: float, row: int) -> str:
            return f"{described(run, results[row])}: {written(amount, row)}; {stop}"

        parts = [(stop.words, stop.role, spent * (stops == stop)) for stop in Stop]
        return Panel(x, y, _stacked(parts, [1] * len(results), text, results.keys))

    return [
        panel(
            Axis("seeds", whole=True),
            results.counts.n,
            lambda seeds, row: f"{count(int(seeds), 'seed')}, {k[row]:,} solved",
        ),
        panel(Axis("seconds"), results.seconds, lambda seconds, _: duration(seconds)),
    ]


def _bars_of_groups(run: Run, stops: Stops) -> list[Panel]:
    """Configs, and their shares of all seeds and seconds, by the seeds that a config reached."""
    n, seconds = run.results.counts.n, run.results.seconds
    axis, places = _reached(n)
    size = len(axis.categories)

    def panel(
        y: Axis, title: str, spent: NDArray[Any], total: float, written: Callable[[float], str]
    ) -> Panel:
        parts = [
            (stop.words, stop.role, np.bincount(places[at], spent[at], size))
            for stop in Stop
            for at in [stops == stop]
        ]
        bars = _stacked(parts, [total] * size, lambda stop, n, _: f"{stop}: {written(n)}")
        return Panel(axis, y, bars, title)

    def shares(unit: str, title: str, spent: NDArray[Any], of: Callable[[float], str]) -> Panel:
        total, y = float(spent.sum()) or 1.0, Axis(f"share of all {unit}", "rate")
        return panel(y, title, spent, total, lambda n: f"{of(n)}, {percent(n / total)}")

    def seeds(n: float) -> str:
        return count(int(n), "seed")

    return [
        panel(
            Axis("configurations", whole=True),
            "how many configurations got so far",
            np.ones(len(n)),
            1,
            lambda n: count(int(n), "configuration"),
        ),
        shares("seeds", "what share of all seeds they got", n, seeds),
        shares("seconds", "what share of all seconds they took", seconds, duration),
    ]


def _reached(n: NDArray[np.int64]) -> tuple[Axis, NDArray[np.intp]]:
    """An axis of groups by seeds reached, and the group of each config, shape (C,)."""
    sizes, limit = np.unique(n).tolist(), ""
    if len(sizes) > MOST_GROUPS:
        sizes, limit = list(rungs_up_to(max(sizes[-1], 2))), "≤ "
    labels = tuple(f"{limit}{size:,}" for size in sizes)
    return Axis("seeds reached", "category", categories=labels), np.searchsorted(sizes, n)


def _stacked(
    parts: Iterable[tuple[str, Role, NDArray[Any]]],
    totals: Sequence[float],
    text_of: Callable[[str, float, int], str],
    keys: Sequence[str] | None = None,
) -> tuple[Series, ...]:
    """Stacked bars, one for each of G groups.

    Args:
        parts: a label, a role, and the amount in each group, shape (G,).
        totals: of each group; amounts are shown as shares of it.
        text_of: the text of a mark, given the part's label, the amount and the group's index.
        keys: of the config that each group is; with keys the bars are horizontal.
    """
    series, tops = [], np.zeros(len(totals))
    for label, role, amounts in parts:
        starts, tops, marks = tops, tops + amounts, []
        for group in np.flatnonzero(amounts).tolist():
            start, end, share = (
                float(one[group] / totals[group]) for one in (starts, tops, amounts)
            )
            at, ends = float(group), (start, end)
            text = text_of(label, float(amounts[group]), group)
            if keys is None:
                marks.append(Mark(at, share, y_ends=ends, text=text))
            else:
                marks.append(Mark(share, at, x_ends=ends, text=text, key=keys[group]))
        if marks:
            series.append(Series(label, tuple(marks), "bars", role))
    return tuple(series)


def seeds_so_far(run: Run) -> Plot:
    """How many seeds each group of configs of a running search has, without the reasons."""
    counts = finished(run).counts
    axis, places = _reached(counts.n)
    size, total, most = len(axis.categories), int(counts.n.sum()), int(counts.n.max())
    configs = np.bincount(places, minlength=size).tolist()
    parts: list[tuple[str, Role, Any]] = [
        ("solved", "solved", np.bincount(places, counts.k, size)),
        ("not solved", "failed", np.bincount(places, counts.n - counts.k, size)),
    ]

    def text(label: str, n: float, group: int) -> str:
        alike = count(configs[group], "configuration")
        return f"{alike} with {axis.categories[group]} seeds each: {count(int(n), 'seed')} {label}"

    series = _stacked(parts, [total] * size, text)
    return plot_of(
        "seeds-so-far",
        Panel(axis, Axis("share of all seeds", "rate"), series),
        total=total,
        most=most,
        configs=len(counts.n),
        front=int((counts.n == most).sum()),
    )


# -------------------------------------------------------------------------------------------------
# How the unsolved seeds ended: in each config, and in all together.

PATTERNS: tuple[Role, ...] = ("failed", "pattern")
"""Roles of the most frequent wrong patterns; all others are one part."""

OTHERS: dict[Status, tuple[str, Role]] = {
    status: (status.bar(), cast("Role", status.label))
    for status in Status
    if status not in (Status.SOLVED, Status.WRONG_PATTERN)
}

Kind = str | Status  # a wrong pattern, or a status; `WRONG_PATTERN` stands for all other patterns

Kinds = Mapping[Kind, tuple[str, Role]]
"""The name and the role of each kind, in the order in which bars are stacked."""


@dataclass(frozen=True)
class _Row:
    """One bar: how the unsolved ones of n seeds ended, of a config or, without a key, of all."""

    label: str
    text: str
    key: str
    n: int
    ends: Counter[Kind]

    @property
    def category(self) -> str:
        """The count and the label."""
        return f"{self.ends.total():,} of {self.n:,} · {self.label}"


def failures(run: Run, top: int = 10) -> Plot:
    """How the unsolved seeds ended: of all configs, and of the first `top` that have any.

    Configs with few seeds have no bar of their own: a single seed is all or nothing.
    """
    results, found = finished(run), report_of(run).failures
    kinds, counts, failed = _kinds(found), results.counts, results.counts.k < results.counts.n
    of_all = f"all {count(len(results), 'configuration')}"
    together = _Row("all", of_all, "", int(counts.n.sum()), _ends(found, kinds))
    panels = [_panel([together], kinds, "unsolved", of_all)]
    with_bar = np.flatnonzero(failed & has_enough(counts.n))[:top].tolist()
    shown = [results[place] for place in with_bar]
    rows = [
        _Row(label, described(run, r), r.key, r.outcome.n, _ends(own, kinds))
        for place, label, r in zip(with_bar, listed(run, shown), shown, strict=True)
        for own in [failures_of(results.chosen(np.array([place])), None)]
    ]
    # Where all seeds of each failed in one way, the bar of all says so.
    if any(row.ends.total() < row.n or len(row.ends) > 1 for row in rows):
        title = "configurations with many seeds, the best first"
        panels.append(_panel(rows, kinds, "configuration", title))
    ended = {status: n for status, n in found.counts.items() if status != Status.SOLVED}
    return plot_of(
        "failures",
        *panels,
        seeds=together.n,
        unsolved=together.ends.total(),
        most=max(ended.items(), key=lambda entry: entry[1]),
        kinds=[(kinds[kind][0], n) for kind, n in together.ends.most_common() if n],
        failed=int(failed.sum()),
        configs=len(results),
        patterns=bool(found.patterns),
    )


def _panel(rows: Sequence[_Row], kinds: Kinds, label: str, title: str) -> Panel:
    """The stacked bars of configs, as shares of their seeds, or of all, of the unsolved ones."""
    each = bool(rows[0].key)

    def text(name: str, amount: float, place: int) -> str:
        row = rows[place]
        return f"{row.text}: {amount:,.0f} of {count(row.ends.total(), 'unsolved seed')}: {name}"

    parts = [(*named, np.array([row.ends[kind] for row in rows])) for kind, named in kinds.items()]
    totals = [row.n if each else max(row.ends.total(), 1) for row in rows]
    most = max(row.ends.total() / total for row, total in zip(rows, totals, strict=True))
    share = "share of its seeds" if each else "share of the unsolved seeds"
    return Panel(
        Axis(share, "rate", (0, math.ceil(10 * most) / 10 if each else 1)),
        Axis(label, "category", categories=tuple(row.category for row in rows)),
        _stacked(parts, totals, text, [row.key for row in rows]),
        title,
    )


def ends_known(run: Run) -> bool:
    """Whether the figure has more than one part: the failures of the run have different kinds."""
    failures = report_of(run).failures
    ends = {status for status, n in failures.counts.items() if n}
    return bool(failures.patterns or ends - {Status.SOLVED, Status.WRONG_PATTERN})


def _kinds(failures: Failures) -> Kinds:
    kinds: dict[Kind, tuple[str, Role]] = {
        pattern: (f"wrong pattern {shortened(pattern, 16)}", role)
        for (pattern, _), role in zip(failures.patterns, PATTERNS, strict=False)
    }
    # If the trainer reports no patterns, a seed that was trained to its end had no success.
    other = Status.WRONG_PATTERN.bar(patterns=bool(kinds))
    return kinds | {Status.WRONG_PATTERN: (other, "neutral" if kinds else "failed")} | OTHERS


def _ends(failures: Failures, kinds: Kinds) -> Counter[Kind]:
    ends: Counter[Kind] = Counter({kind: failures.counts[kind] for kind in OTHERS})
    ends.update({pattern: n for pattern, n in failures.patterns if pattern in kinds})
    rest = sum(n for status, n in failures.counts.items() if status != Status.SOLVED) - ends.total()
    return ends + Counter({Status.WRONG_PATTERN: rest})


# -------------------------------------------------------------------------------------------------
# Whether the same seeds fail in several configs.

SHOWN_SEEDS = 40  # columns: more cannot be told apart


def same_seeds(run: Run, top: int = 10) -> Plot | None:
    """Seeds by configs: which seeds fail in which of the best configs with many seeds.

    None if fewer than two of them have an unsolved seed, or none share seeds, or no seed is solved.
    """
    results = finished(run)
    chosen = np.flatnonzero((results.counts.k < results.counts.n) & has_enough(results.counts.n))
    shown = [results[place] for place in chosen[:top].tolist()]
    if len(shown) < 2:
        return None
    every = np.unique(np.concatenate([r.outcome.seeds for r in shown]))
    # Configs by seeds: whether it was trained, and whether it failed.
    trained = np.array([np.isin(every, r.outcome.seeds) for r in shown])
    failed = np.array([np.isin(every, r.outcome.seeds[~r.outcome.solved]) for r in shown])
    one, other = np.triu_indices(len(shown), 1)
    common, of_other, of_one, both = (
        (mine[one] & theirs[other]).sum(axis=1)
        for mine in (trained, failed)
        for theirs in (trained, failed)
    )
    pairs = common > 0
    if not pairs.any() or (failed == trained).all():  # where no seed is solved, all fail
        return None
    often = failed.sum(axis=0)
    columns = np.lexsort((every, -often))[: min(SHOWN_SEEDS, np.count_nonzero(often))]
    marks: dict[bool, list[Mark]] = {True: [], False: []}
    for row, column in np.argwhere(trained[:, columns]).tolist():
        r, seed, failing = shown[row], every[columns[column]], bool(failed[row, columns[column]])
        text = f"{described(run, r)}: seed {seed} {'fails' if failing else 'is solved'}"
        marks[failing].append(Mark(float(column), float(row), text=text, key=r.key))
    drawn = (
        Series("solved", tuple(marks[False]), role="solved", marker="ring"),
        Series("failed", tuple(marks[True]), role="failed"),
    )
    sums = zip(failed.sum(axis=1), trained.sum(axis=1), strict=True)
    heads = [f"{k:,} of {n:,}" for k, n in sums]
    return plot_of(
        "same-seeds",
        Panel(
            Axis("seed", "category", categories=tuple(map(str, every[columns].tolist()))),
            Axis("configuration", "category", categories=listed(run, shown, heads)),
            tuple(one for one in drawn if one.marks),
        ),
        both=float(both[pairs].mean()),
        chance=float((of_one[pairs] * of_other[pairs] / common[pairs]).mean()),
        pairs=int(pairs.sum()),
        total=int(np.count_nonzero(often)),
        shown=len(columns),
        configs=len(shown),
        seed=int(every[columns[0]]),
        often=int(often[columns[0]]),
        having=int(trained[:, columns[0]].sum()),
    )
