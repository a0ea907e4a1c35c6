"""Whether a space's configs race for seeds, and by which rule."""

from __future__ import annotations

from xortune.objective import only_rate
from xortune.objective_numbers import summed_only
from xortune.race import RaceRule
from xortune.race_front import FrontGrants
from xortune.race_next import Grants, SeedRace
from xortune.race_numbers import NumberGrants
from xortune.space import SearchSpace

__all__ = ["race_of", "raced"]


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
