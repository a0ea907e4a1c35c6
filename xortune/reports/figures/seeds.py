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
    by_stop = [(stop, n[stops == stop].tolist()) for stop in Stop if (stops == stop).any()]
    priced = report_of(run).end.is_priced
    panels = (_bar_of_each if few else _bars_of_groups)(run, stops, priced=priced)
    return plot_of(
        "seeds-spent",
        *panels,
        columns=len(panels),
        n=n.tolist(),
        full=n[stops == Stop.FULL].tolist(),
        total=int(n.sum()),
        priced=priced,
        by_stop=by_stop,
        workers="" if (share := busy_share(run)) is None else busy_sentence(*share),
        same=same_in_all(results, run.parameters) if few else "",
    )


MILLI = 1000
"""Bars are whole numbers: of seeds, and of milliseconds."""


def _bar_of_each(run: Run, stops: Stops, *, priced: bool) -> tuple[Panel, ...]:
    results = run.results
    labels = listed(run, results)

    def text(stop: str, seeds: int, row: int) -> str:
        r = results[row]
        spent = f"{count(seeds, 'seed')}, {r.outcome.successes:,} solved; {stop}"
        return f"{described(run, r)}: {spent}"

    parts = [(stop.words, stop.role, results.counts.n * (stops == stop)) for stop in Stop]
    bars = _stacked(parts, [1] * len(results), text, results.keys)
    y = Axis("configuration", "category", categories=labels)
    seeds = Panel(Axis("seeds", whole=True), y, bars)
    if not priced:
        return (seeds,)
    spent = np.round(results.seconds * MILLI)
    times = [(stop.words, stop.role, spent * (stops == stop)) for stop in Stop]

    def seconds(stop: str, amount: int, row: int) -> str:
        return f"{described(run, results[row])}: {duration(amount / MILLI)}; {stop}"

    time_bars = _stacked(times, [MILLI] * len(results), seconds, results.keys)
    return seeds, Panel(Axis("seconds"), y, time_bars)


def _bars_of_groups(run: Run, stops: Stops, *, priced: bool) -> tuple[Panel, ...]:
    """Configs and the share of all seeds that they got, by the seeds that a config reached."""
    n = run.results.counts.n
    axis, places = _reached(n)
    total, size = int(n.sum()), len(axis.categories)
    own = [(stop.words, stop.role, stops == stop) for stop in Stop]
    configs = [(name, role, np.bincount(places[at], minlength=size)) for name, role, at in own]
    seeds = [(name, role, np.bincount(places[at], n[at], size)) for name, role, at in own]
    config_bars = _stacked(
        configs, [1] * size, lambda stop, amount, _: f"{stop}: {count(amount, 'configuration')}"
    )
    seed_bars = _stacked(
        seeds,
        [total] * size,
        lambda stop, n, _: f"{stop}: {count(n, 'seed')}, {percent(n / total)}",
    )
    heading = "how many configurations got so far"
    share = Axis("share of all seeds", "rate")
    panels = (
        Panel(axis, Axis("configurations", whole=True), config_bars, heading),
        Panel(axis, share, seed_bars, "what share of all seeds they got"),
    )
    if not priced:
        return panels
    spent = np.round(run.results.seconds * MILLI)
    all_time = max(1, int(spent.sum()))
    times = [(name, role, np.bincount(places[at], spent[at], size)) for name, role, at in own]
    time_bars = _stacked(
        times,
        [all_time] * size,
        lambda stop, n, _: f"{stop}: {duration(n / MILLI)}, {percent(n / all_time)}",
    )
    time_share = Axis("share of all seconds", "rate")
    return (*panels, Panel(axis, time_share, time_bars, "what share of all seconds they took"))


def _reached(n: NDArray[np.int64]) -> tuple[Axis, NDArray[np.intp]]:
    """An axis of groups by seeds reached, and the group of each config, shape (C,)."""
    sizes, limit = np.unique(n).tolist(), ""
    if len(sizes) > MOST_GROUPS:
        sizes, limit = list(rungs_up_to(max(sizes[-1], 2))), "≤ "
    labels = tuple(f"{limit}{size:,}" for size in sizes)
    return Axis("seeds reached", "category", categories=labels), np.searchsorted(sizes, n)


def _stacked(
    parts: Iterable[tuple[str, Role, Iterable[float]]],
    totals: Sequence[int],
    text_of: Callable[[str, int, int], str],
    keys: Sequence[str] = (),
) -> tuple[Series, ...]:
    """Stacked bars, one for each group.

    Args:
        parts: a label, a role, and the amount in each group.
        totals: of each group; amounts are shown as shares of it.
        text_of: the text of a mark, given the part's label, the amount and the group's index.
        keys: of the config that each group is; with keys the bars are horizontal.
    """
    tops, series = [0] * len(totals), []
    for label, role, amounts in parts:
        marks = []
        for group, amount in enumerate(map(int, amounts)):
            if amount:
                start, tops[group] = tops[group], tops[group] + amount
                total, at, text = totals[group], float(group), text_of(label, amount, group)
                ends = (start / total, tops[group] / total)
                if keys:
                    marks.append(Mark(amount / total, at, x_ends=ends, text=text, key=keys[group]))
                else:
                    marks.append(Mark(at, amount / total, y_ends=ends, text=text))
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

    def text(label: str, seeds: int, group: int) -> str:
        alike = count(configs[group], "configuration")
        return f"{alike} with {axis.categories[group]} seeds each: {count(seeds, 'seed')} {label}"

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
    results, all_failures = finished(run), report_of(run).failures
    kinds, counts = _kinds(all_failures), results.counts
    unsolved = np.flatnonzero(counts.k < counts.n).tolist()
    with_bar = np.flatnonzero((counts.k < counts.n) & has_enough(counts.n))[:top].tolist()
    of_all = f"all {count(len(results), 'configuration')}"
    together = _Row("all", of_all, "", int(counts.n.sum()), _ends(all_failures, kinds))
    panels = [
        Panel(
            Axis("share of the unsolved seeds", "rate", (0, 1)),
            Axis("unsolved", "category", categories=(together.category,)),
            _bars([together], kinds, total=together.ends.total()),
            of_all,
        )
    ]
    rows: list[_Row] = []
    if shown := [results[place] for place in with_bar]:
        for place, label, r in zip(with_bar, listed(run, shown), shown, strict=True):
            own = failures_of(results.chosen(np.array([place])), None)
            ends = _ends(own, kinds)
            rows.append(_Row(label, described(run, r), r.key, r.outcome.n, ends))
        if all(row.ends.total() == row.n and len(row.ends) == 1 for row in rows):
            rows = []  # all seeds of each failed in one way: the bar of all says so
    if rows:
        # Up to a round share that no bar goes beyond.
        most = math.ceil(10 * max(row.ends.total() / row.n for row in rows)) / 10
        panels.append(
            Panel(
                Axis("share of its seeds", "rate", (0, most)),
                Axis("configuration", "category", categories=tuple(r.category for r in rows)),
                _bars(rows, kinds),
                "configurations with many seeds, the best first",
            )
        )
    failed = {status: n for status, n in all_failures.counts.items() if status != Status.SOLVED}
    return plot_of(
        "failures",
        *panels,
        seeds=together.n,
        unsolved=together.ends.total(),
        most=max(failed.items(), key=lambda entry: entry[1]),
        kinds=[(kinds[kind][0], n) for kind, n in together.ends.most_common() if n],
        failed=len(unsolved),
        configs=len(results),
        patterns=bool(all_failures.patterns),
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


def _bars(rows: Sequence[_Row], kinds: Kinds, total: int = 0) -> tuple[Series, ...]:
    """The stacked bars of these rows, as shares of the seeds of each, or of a common total."""

    def text(name: str, amount: int, place: int) -> str:
        row = rows[place]
        return f"{row.text}: {amount:,} of {count(row.ends.total(), 'unsolved seed')}: {name}"

    parts = [(*named, [row.ends[kind] for row in rows]) for kind, named in kinds.items()]
    return _stacked(parts, [total or row.n for row in rows], text, [row.key for row in rows])


# -------------------------------------------------------------------------------------------------
# Whether the same seeds fail in several configs.

SHOWN_SEEDS = 40  # columns: more cannot be told apart


def same_seeds(run: Run, top: int = 10) -> Plot | None:
    """Seeds by configs: which seeds fail in which of the best configs with many seeds.

    None if fewer than two of them have an unsolved seed, or none share seeds, or no seed is solved.
    """
    results = finished(run)
    counts = results.counts
    chosen = np.flatnonzero((counts.k < counts.n) & has_enough(counts.n))[:top]
    shown = [results[place] for place in chosen.tolist()]
    failed = [set(r.outcome.seeds[~r.outcome.solved].tolist()) for r in shown]
    trained = [set(r.outcome.seeds.tolist()) for r in shown]
    both, chance, pairs = 0, 0.0, 0
    for i in range(len(shown)):
        for j in range(i):
            if common := trained[i] & trained[j]:
                one, other = failed[i] & common, failed[j] & common
                both += len(one & other)
                chance += len(one) * len(other) / len(common)
                pairs += 1
    if not pairs or failed == trained:  # where no seed is solved, all fail
        return None
    often = Counter(seed for seeds in failed for seed in seeds)
    seeds = sorted(often, key=lambda seed: (-often[seed], seed))[:SHOWN_SEEDS]
    marks: dict[bool, list[Mark]] = {True: [], False: []}
    for row, r in enumerate(shown):
        for column, seed in enumerate(seeds):
            if seed in trained[row]:
                failing = seed in failed[row]
                text = f"{described(run, r)}: seed {seed} {'fails' if failing else 'is solved'}"
                marks[failing].append(Mark(float(column), float(row), text=text, key=r.key))
    drawn = (
        Series("solved", tuple(marks[False]), role="solved", marker="ring"),
        Series("failed", tuple(marks[True]), role="failed"),
    )
    heads = [f"{len(f):,} of {len(t):,}" for f, t in zip(failed, trained, strict=True)]
    return plot_of(
        "same-seeds",
        Panel(
            Axis("seed", "category", categories=tuple(map(str, seeds))),
            Axis("configuration", "category", categories=listed(run, shown, heads)),
            tuple(one for one in drawn if one.marks),
        ),
        both=both / pairs,
        chance=chance / pairs,
        pairs=pairs,
        total=len(often),
        shown=len(seeds),
        configs=len(shown),
        seed=seeds[0],
        often=often[seeds[0]],
        having=sum(seeds[0] in t for t in trained),
    )
