"""Why each config of a run got no more seeds, as far as what is stored can tell."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from xortune.errors import InputError
from xortune.frames import epochs_to_solve
from xortune.objective import Seen, costs, liking, only_rate, seen_of, speed
from xortune.objective_numbers import summed_only, ties_of
from xortune.race import Race, RaceRule, race_share
from xortune.race_front import FrontGrants
from xortune.race_next import Grants
from xortune.run import ConfigResult, Run
from xortune.run_front import full_seeds
from xortune.space import SearchSpace
from xortune.stats_anytime import anytime_evidence_below

__all__ = ["Stop", "stops_of"]

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
    ahead (see `xortune.race_next`); who may still go on did not because the search ended. Where the
    rule is not known (no readable space, another ladder than the manifest's, seeds of several
    versions) nothing is said but `EARLY`.
    """
    results, full = run.results, full_seeds(run.results, run.manifest)
    short = [result for result in results if result.outcome.n < full]
    space = _space(run)
    if not short or space is None or summed_only(space.objectives):
        found = dict.fromkeys((result.key for result in short), Stop.EARLY)
    elif len(space.seeds.ladder) == 1:
        found = dict.fromkeys((result.key for result in short), Stop.ENDED)
    elif only_rate(space.objectives):
        found = _rate_stops(run, short, space)
    else:
        found = _front_stops(run, short, space)
    return tuple(found.get(result.key, Stop.FULL) for result in results)


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
    for result, pace in zip(run.results, _likings(run.results, space), strict=True):
        # Their bars are lower than the race's at times; who is proven worse is asked of the race.
        grants.see(result.key, result.outcome.successes, result.outcome.n, speed=pace)
    worse, going = _worse(race, short, numbers), _open(grants)
    pairs = zip(short, worse, strict=True)
    return {result.key: _of_rate(result, lost, going) for result, lost in pairs}


def _likings(results: Sequence[ConfigResult], space: SearchSpace) -> list[float]:
    """`xortune.objective.liking` of each, from the epochs of all at once."""
    goals = space.objectives
    if ties_of(goals) is not None:
        return [liking(goals, seen_of(r.point, r.outcome, goals)) for r in results]
    outcomes = [result.outcome for result in results]
    spent = [
        round(ert * o.successes) if o.successes and o.epochs else o.epochs * o.n
        for o, ert in zip(outcomes, epochs_to_solve(outcomes).tolist(), strict=True)
    ]
    return [
        speed(Seen(result.point, result.outcome.successes, result.outcome.n, epochs))
        for result, epochs in zip(results, spent, strict=True)
    ]


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
    for evaluation in run.evaluations:
        key = evaluation.block.point.key
        first[key] = min(evaluation.proposal, first.get(key, evaluation.proposal))
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
    for evaluation in run.evaluations:
        if evaluation.final:
            key, outcome = evaluation.block.point.key, evaluation.outcome
            solved[key] += 0 if outcome is None else outcome.successes
            seeds[key] += evaluation.block.count
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
