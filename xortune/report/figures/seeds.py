"""Where the seeds went: how many each config got, and why it got no more."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from xortune.report.figures.labels import described, finished, listed, same_in_all, shown_n
from xortune.report.format import count, percent
from xortune.report.levels import varying
from xortune.report.plot import Axis, Bars, Panel, Plot, Role
from xortune.report.stops import Stop, stops_of
from xortune.run import ConfigResult, Run
from xortune.run_front import full_seeds
from xortune.space_model import rungs_up_to

__all__ = ["seeds_spent"]

MOST_ROWS = 60
"""Of more configs not each has a bar: they are put together by the seeds that they reached."""

MOST_GROUPS = 20

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
    """How many seeds each config got, and why no more; see `xortune.report.stops`.

    Up to 60 configs have a bar each, best first. More are counted by the rung that they reached,
    with the share of all seeds that went to them.

    Args:
        run: with one finished config at least.

    Raises:
        InputError: no config is finished.
    """
    results = finished(run)
    stops = stops_of(run)
    total = sum(result.outcome.n for result in results)
    panels = _each(run, results, stops) if len(results) <= MOST_ROWS else _groups(run, stops)
    return Plot(
        name="seeds-spent",
        title=_title(results, stops, total),
        alt=_alt(results, stops, total),
        note=_note(results, stops, total)
        + (same_in_all(results, run.parameters) if len(results) <= MOST_ROWS else ""),
        panels=panels,
        columns=len(panels),
    )


def _each(run: Run, results: Sequence[ConfigResult], stops: Sequence[Stop]) -> tuple[Panel, ...]:
    names = varying(run)
    axis, labels = listed(run, results)
    bars = []
    for stop in (stop for stop in ROLES if stop in stops):
        rows = [row for row, found in enumerate(stops) if found == stop]
        own = [results[row] for row in rows]
        bars.append(
            Bars(
                stop.value,
                at=tuple(map(float, rows)),
                length=tuple(float(r.outcome.n) for r in own),
                role=ROLES[stop],
                across=True,
                texts=tuple(
                    f"{described(r, names)}: {count(r.outcome.n, 'seed')}, {r.outcome.successes:,} "
                    f"solved; {stop.value}"
                    for r in own
                ),
                keys=tuple(r.key for r in own),
            )
        )
    seeds = Axis("seeds", whole=True)
    return (Panel(seeds, Axis(axis, "category", categories=labels), tuple(bars)),)


def _groups(run: Run, stops: Sequence[Stop]) -> tuple[Panel, ...]:
    """Configs, and the share of all seeds that they got, by the seeds that they reached."""
    results = run.results
    bounds, labels = _bounds(run)
    group = [bisect_left(bounds, result.outcome.n) for result in results]
    total = sum(result.outcome.n for result in results)
    configs = Counter(zip(group, stops, strict=True))
    seeds: Counter[tuple[int, Stop]] = Counter()
    for place, stop, result in zip(group, stops, results, strict=True):
        seeds[place, stop] += result.outcome.n
    reached = Axis("seeds reached", "category", categories=labels)
    return (
        Panel(
            reached,
            Axis("configurations", whole=True),
            _stacked(configs, lambda n: count(n, "configuration")),
            "how many configurations got so far",
        ),
        Panel(
            reached,
            Axis("share of all seeds", "rate"),
            _stacked(seeds, lambda n: f"{count(n, 'seed')}, {percent(n / total)}", total),
            "what share of all seeds they got",
        ),
    )


def _stacked(
    amounts: Mapping[tuple[int, Stop], int], said: Callable[[int], str], total: int | None = None
) -> tuple[Bars, ...]:
    """One bar on the other in each group, as amounts, or as shares of a total."""
    tops: Counter[int] = Counter()
    bars = []
    for stop, role in ROLES.items():
        places = sorted(place for place, found in amounts if found == stop)
        if places:
            own = [amounts[place, stop] for place in places]
            bars.append(
                Bars(
                    "" if total else stop.value,  # named in the other panel
                    at=tuple(map(float, places)),
                    length=tuple(n / (total or 1) for n in own),
                    base=tuple(tops[place] / (total or 1) for place in places),
                    role=role,
                    texts=tuple(f"{stop.value}: {said(n)}" for n in own),
                )
            )
            tops.update(dict(zip(places, own, strict=True)))
    return tuple(bars)


def _bounds(run: Run) -> tuple[list[int], tuple[str, ...]]:
    """The most seeds of each group, and its label: one for each count, or by rungs."""
    sizes = sorted({result.outcome.n for result in run.results})
    if len(sizes) <= MOST_GROUPS:
        return sizes, tuple(f"{n:,}" for n in sizes)
    rungs = list(rungs_up_to(max(full_seeds(run.results, run.manifest), 2)))
    while rungs[-1] < sizes[-1]:
        rungs.append(min(2 * rungs[-1], sizes[-1]))
    return rungs, tuple(f"≤ {n:,}" for n in rungs)


def _title(results: Sequence[ConfigResult], stops: Sequence[Stop], total: int) -> str:
    whole = [r for r, stop in zip(results, stops, strict=True) if stop == Stop.FULL]
    if len(whole) == len(results):
        which = f"All {len(whole):,} configurations" if len(whole) > 1 else "The only configuration"
        return f"{which} got all seeds"
    if not whole:
        return f"None of {count(len(results), 'configuration')} got all seeds"
    return (
        f"{percent(sum(r.outcome.n for r in whole) / total)} of all seeds went to the "
        f"{len(whole):,} of "
        f"{count(len(results), 'configuration')} that reached {shown_n(whole)}"
    )


def _alt(results: Sequence[ConfigResult], stops: Sequence[Stop], total: int) -> str:
    configs = Counter(stops)
    seeds: Counter[Stop] = Counter()
    for result, stop in zip(results, stops, strict=True):
        seeds[stop] += result.outcome.n
    parts = [
        f"{stop.value}: {count(configs[stop], 'configuration')} with {count(seeds[stop], 'seed')} "
        f"({percent(seeds[stop] / total)})"
        for stop in ROLES
        if configs[stop]
    ]
    return f"{count(total, 'seed')} in all. {'; '.join(parts)}."


def _note(results: Sequence[ConfigResult], stops: Sequence[Stop], total: int) -> str:
    """What was counted, and what each reason that occurs rests on."""
    parts = [
        f"n = {count(total, 'seed')} of {count(len(results), 'configuration')}: counts, nothing is "
        "estimated."
    ]
    if set(stops) - {Stop.FULL, Stop.ENDED, Stop.EARLY}:
        parts.append(
            "Why a configuration got no more is what the race's rule says of the counts in the end."
        )
    if Stop.WORSE in stops:
        parts.append(
            "All that is proven holds together with the race's confidence; of the others none is "
            "shown to be worse."
        )
    if Stop.EARLY in stops:
        parts.append("Why some were stopped early is not in the run's files.")
    return " ".join(parts)
