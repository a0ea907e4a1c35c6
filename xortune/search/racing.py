"""Whether a space's configs race for seeds, and by which rule."""

from __future__ import annotations

from math import floor

from xortune.errors import InputError
from xortune.objective import only_rate
from xortune.objective_numbers import summed_only
from xortune.race import RaceRule, race_lower
from xortune.race_front import FrontGrants
from xortune.race_next import Grants, SeedRace
from xortune.race_numbers import NumberGrants
from xortune.space import SearchSpace, grid_size

__all__ = ["race_of", "raced", "refuse_unprovable"]

MOST = 2**40
"""Seeds, above which it is not said how many a proof takes."""


def raced(space: SearchSpace) -> bool:
    """Whether configs compete for seeds, or one that is proven good ends the search."""
    return len(space.seeds.ladder) > 1 or space.stop.proven_rate is not None


def race_of(space: SearchSpace) -> SeedRace | None:
    """Who says which config gets more seeds; None if all get the same."""
    if not raced(space):
        return None
    rule = RaceRule(space.seeds.ladder, alpha=space.seeds.alpha, finalists=space.seeds.finalists)
    if summed_only(space.objectives):
        return NumberGrants(rule)
    return Grants(rule) if only_rate(space.objectives) else FrontGrants(rule)


def refuse_unprovable(space: SearchSpace) -> None:
    """Return if `stop: {proven_rate: ...}` can end the search of a space.

    Raises:
        InputError: not even a first configuration that solves all its seeds proves such a rate.
    """
    rate, most, alpha = space.stop.proven_rate, space.seeds.ladder[-1], space.seeds.alpha
    if rate is None or (best := float(race_lower(most, most, 1, alpha=alpha))) >= rate:
        return
    # Beyond the first, a configuration needs more: see how alpha is spent in `xortune.race`.
    seeds = _seeds_to_prove(rate, space.search.trials or grid_size(space), alpha)
    enough = f"`race: {{max: {seeds}}}`, or such a last rung, is enough for each configuration"
    proves = f"{floor(best * 1e4) / 1e4:g}"
    raise InputError(
        f"{rate:g} can never be proven: {most:,} of {most:,} seeds prove {proves}",
        field="stop.proven_rate",
        place=space.at("stop", "proven_rate"),
        allowed=f"at most {proves} with {most:,} seeds",
        fix=enough if seeds < MOST else "ask for less",
    )


def _seeds_to_prove(rate: float, number: int, alpha: float) -> int:
    """How many seeds, all solved, prove a rate of that configuration; at most `MOST`."""
    few, many = 0, 1
    while many < MOST and race_lower(many, many, number, alpha=alpha) < rate:
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        if race_lower(middle, middle, number, alpha=alpha) < rate:
            few = middle
        else:
            many = middle
    return many
