"""Where the seeds went: how many each config got, and why it got no more."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from xortune.core.errors import InputError
from xortune.core.formats import count, percent
from xortune.core.point import Point
from xortune.racing.front import FrontGrants
from xortune.racing.grants import Grants
from xortune.racing.objectives import (
    Seen,
    costs,
    liking,
    only_rate,
    seen_of,
    speed,
    summed_only,
    ties_of,
)
from xortune.racing.race import Race, RaceRule, race_share
from xortune.reports.figures.labels import between, described, finished, listed, same_in_all
from xortune.reports.plot import Axis, Mark, Panel, Plot, Role, Series
from xortune.reports.tables import varying
from xortune.runs.results import ConfigResult, ConfigResults, full_seeds
from xortune.runs.run import Run
from xortune.spaces.model import SearchSpace, rungs_up_to
from xortune.stats.anytime import anytime_evidence_below

# -------------------------------------------------------------------------------------------------
# Why each config of a run got no more seeds, as far as what is stored can tell.

MOST_IN_FRONT = 1000
"""Looks, each about a millisecond: a race for a front that had more is not held again."""

MOST_OPEN = 1000
"""Of a search that was cut off no more are told apart from those that the race held back."""


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


def stops_of(run: Run) -> tuple[Stop, ...]:
    """For each of `Run.results` why it got no more seeds.

    The race is held once more on what the journal has: configs enter in the order in which they
    were proposed, and are looked at in the order in which results came. Who was proven worse is
    thereby what the race's promise says it is; who else it holds back in the end has enough others
    ahead (see `racing.grants`); who may still go on did not because the search ended. Where the
    rule is not known (no readable space, another ladder than the manifest's, seeds of several
    versions) nothing is said but `EARLY`.
    """
    results, full = run.results, full_seeds(run.results, run.manifest)
    places = np.flatnonzero(results.counts.n < full).tolist()
    short = [results[place] for place in places]
    space = _space(run)
    if not short or space is None or summed_only(space.objectives):
        found = dict.fromkeys((result.key for result in short), Stop.EARLY)
    elif len(space.seeds.ladder) == 1:
        found = dict.fromkeys((result.key for result in short), Stop.ENDED)
    elif only_rate(space.objectives):
        found = _rate_stops(run, short, space)
    else:
        found = _front_stops(run, short, space)
    return tuple(found.get(key, Stop.FULL) for key in results.keys)


def _space(run: Run) -> SearchSpace | None:
    """The space, if it says by which rule all seeds of this run were given."""
    if run.set_aside:
        return None
    try:
        space = run.asked
    except InputError:
        return None
    return space if run.manifest.get("ladder") == list(space.seeds.ladder) else None


def _rule(space: SearchSpace) -> RaceRule:
    seeds = space.seeds
    return RaceRule(seeds.ladder, alpha=seeds.alpha, finalists=seeds.finalists)


def _rate_stops(run: Run, short: Sequence[ConfigResult], space: SearchSpace) -> dict[str, Stop]:
    race, grants = Race(_rule(space)), Grants(_rule(space))
    numbers = _enter(run, race, grants)
    for key, k, n in _looks(run):
        race.see(key, k, n)
    counts, paces = run.results.counts, _likings(run.results, space)
    each = zip(run.results.keys, counts.k.tolist(), counts.n.tolist(), paces, strict=True)
    for key, k, n, pace in each:
        # Their bars are lower than the race's at times; who is proven worse is asked of the race.
        grants.see(key, k, n, speed=pace)
    worse, going = _worse(race, short, numbers), _open(grants)
    pairs = zip(short, worse, strict=True)
    return {result.key: _of_rate(result, lost, going) for result, lost in pairs}


def _likings(results: ConfigResults, space: SearchSpace) -> list[float]:
    """`racing.objectives.liking` of each, from the epochs of all at once."""
    goals = space.objectives
    if ties_of(goals) is not None:
        return [liking(goals, seen_of(r.point, r.outcome, goals)) for r in results]
    counts, nowhere = results.counts, Point({})
    each = zip(counts.k.tolist(), counts.n.tolist(), counts.spent.tolist(), strict=True)
    return [speed(Seen(nowhere, k, n, spent)) for k, n, spent in each]


def _worse(race: Race, short: Sequence[ConfigResult], numbers: Mapping[str, int]) -> list[bool]:
    """Whether each is proven worse than another: `Race.is_stopped`, of all at once."""
    k = np.array([result.outcome.successes for result in short])
    n = np.array([result.outcome.n for result in short])
    shares = race_share([numbers[result.key] for result in short])
    below = (k < n) & (race.proven > k / n)
    found = np.zeros(len(short), np.bool_)
    if below.any():
        evidence = anytime_evidence_below(k[below], n[below], race.proven)
        found[below] = evidence > -np.log(race.rule.alpha * shares[below] / 2)
    return [
        race.is_stopped(result.key, result.outcome.successes, result.outcome.n)
        if result.key == race.leader  # whose own bound is the highest
        else bool(lost)
        for result, lost in zip(short, found, strict=True)
    ]


def _of_rate(result: ConfigResult, lost: bool, going: set[Hashable] | None) -> Stop:
    if not result.outcome.successes:
        return Stop.UNSOLVED
    if lost:
        return Stop.WORSE
    if going is None:
        return Stop.EARLY
    if result.key in going:
        return Stop.ENDED
    return Stop.QUICKER if result.outcome.successes == result.outcome.n else Stop.AHEAD


def _front_stops(run: Run, short: Sequence[ConfigResult], space: SearchSpace) -> dict[str, Stop]:
    looks, going = _looks(run), None
    if len(looks) <= MOST_IN_FRONT:
        grants = FrontGrants(_rule(space))
        _enter(run, grants)
        goals = space.objectives
        paid = {r.key: costs(goals, seen_of(r.point, r.outcome, goals)) for r in run.results}
        for key, k, n in looks:
            grants.see(key, k, n, costs=paid[key])
        going = _open(grants)
    return {result.key: _of_front(result, going) for result in short}


def _of_front(result: ConfigResult, going: set[Hashable] | None) -> Stop:
    if not result.outcome.successes:
        return Stop.UNSOLVED
    if going is None:
        return Stop.EARLY
    return Stop.ENDED if result.key in going else Stop.DOMINATED


def _enter(run: Run, *races: Race | Grants | FrontGrants) -> dict[str, int]:
    """Give each config its number: by the proposal that brought it."""
    first: dict[str, int] = {}
    lines = run.evaluations
    for key, proposal in zip(lines.key_of_each, lines.column("proposal").tolist(), strict=True):
        first[key] = min(proposal, first.get(key, proposal))
    numbers = {}
    for key in sorted(first, key=first.__getitem__):
        for race in races:
            numbers[key] = race.enter(key)
    return numbers


def _looks(run: Run) -> list[tuple[str, int, int]]:
    """Key, successes and seeds of a config after each block, as results came.

    One is left out if the next one of its config has no failure either: it proves less than that.
    """
    solved: Counter[str] = Counter()
    seeds: Counter[str] = Counter()
    looks = []
    final = run.evaluations.where(run.evaluations.column("final") > 0)
    counts = final.solved.tolist(), final.column("count").tolist()
    for key, k, n in zip(final.key_of_each, *counts, strict=True):
        solved[key] += k
        seeds[key] += n
        looks.append((key, solved[key], seeds[key]))
    outdone: set[str] = set()
    kept = []
    for key, k, n in reversed(looks):
        if key not in outdone:
            kept.append((key, k, n))
        if k == n:
            outdone.add(key)
    return kept[::-1]


def _open(grants: Grants | FrontGrants) -> set[Hashable] | None:
    """Who may still climb; None if these are too many to ask for."""
    going: set[Hashable] = set()
    while (name := grants.next(going)) is not None:
        going.add(name)
        if len(going) > MOST_OPEN:
            return None
    return going


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

    Args:
        run: with one finished config at least.

    Raises:
        InputError: no config is finished.
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


def _each(run: Run, stops: Sequence[Stop]) -> tuple[Panel, ...]:
    names = varying(run)
    axis, labels = listed(run, run.results)
    marks: dict[Stop, list[Mark]] = {stop: [] for stop in ROLES if stop in stops}
    for row, (r, stop) in enumerate(zip(run.results, stops, strict=True)):
        seeds = f"{count(r.outcome.n, 'seed')}, {r.outcome.successes:,} solved; {stop.value}"
        text = f"{described(r, names)}: {seeds}"
        n = float(r.outcome.n)
        marks[stop].append(Mark(n, float(row), x_ends=(0.0, n), text=text, key=r.key))
    bars = [Series(stop.value, tuple(own), "bars", ROLES[stop]) for stop, own in marks.items()]
    y = Axis(axis, "category", categories=labels)
    return (Panel(Axis("seeds", whole=True), y, tuple(bars)),)


def _groups(run: Run, stops: Sequence[Stop]) -> tuple[Panel, ...]:
    """Configs, and the share of all seeds that they got, by the seeds that they reached."""
    n = run.results.counts.n
    sizes, limit = sorted(set(n.tolist())), ""
    if len(sizes) > MOST_GROUPS:
        sizes, limit = list(rungs_up_to(max(sizes[-1], 2))), "≤ "
    group = np.searchsorted(sizes, n)
    total = int(n.sum())
    configs = Counter(zip(group.tolist(), stops, strict=True))
    seeds: Counter[tuple[int, Stop]] = Counter()
    for place, stop, size in zip(group.tolist(), stops, n.tolist(), strict=True):
        seeds[place, stop] += size
    reached = Axis("seeds reached", "category", categories=tuple(f"{limit}{s:,}" for s in sizes))
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


def _stacked(
    amounts: Mapping[tuple[int, Stop], int], said: Callable[[int], str], total: int = 0
) -> tuple[Series, ...]:
    """One bar on the other in each group, as amounts, or as shares of a total."""
    tops: Counter[int] = Counter()
    series = []
    for stop, role in ROLES.items():
        marks = []
        for place in sorted(place for place, found in amounts if found == stop):
            amount, start = amounts[place, stop], tops[place]
            tops[place] += amount
            ends = (start / (total or 1), tops[place] / (total or 1))
            text = f"{stop.value}: {said(amount)}"
            marks.append(Mark(float(place), amount / (total or 1), y_ends=ends, text=text))
        if marks:
            # It is named in the other panel.
            series.append(Series("" if total else stop.value, tuple(marks), "bars", role))
    return tuple(series)


def _title(run: Run, stops: Sequence[Stop]) -> str:
    n = run.results.counts.n
    whole = n[[stop == Stop.FULL for stop in stops]]
    configs = count(len(n), "configuration")
    if len(whole) == len(n):
        which = f"All {configs}" if len(n) > 1 else "The only configuration"
        return f"{which} got all seeds"
    if not len(whole):
        return f"None of {configs} got all seeds"
    share = percent(float(whole.sum() / n.sum()))
    went = f"{share} of all seeds went to the {len(whole):,} of {configs}"
    return f"{went} that reached {between(whole.tolist())}"


def _alt(run: Run, stops: Sequence[Stop]) -> str:
    n = run.results.counts.n
    configs, total = Counter(stops), int(n.sum())
    seeds: Counter[Stop] = Counter()
    for stop, size in zip(stops, n.tolist(), strict=True):
        seeds[stop] += size
    parts = [
        f"{stop.value}: {count(configs[stop], 'configuration')} with {count(seeds[stop], 'seed')} "
        f"({percent(seeds[stop] / total)})"
        for stop in ROLES
        if configs[stop]
    ]
    return f"{count(total, 'seed')} in all. {'; '.join(parts)}."


def _note(run: Run, stops: Sequence[Stop]) -> str:
    """What was counted, and what each reason that occurs rests on."""
    seeds = count(int(run.results.counts.n.sum()), "seed")
    configs = count(len(run.results), "configuration")
    parts = [f"n = {seeds} of {configs}: counts, nothing is estimated."]
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
