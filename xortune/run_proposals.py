"""How many of a config's proposals are complete: they have all of their first seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from xortune.evaluation import Evaluation
from xortune.run_apart import Apart, Count

__all__ = ["Part", "completed", "part_of", "rungs_of"]


class Part(NamedTuple):
    """A final block, as far as it says whose proposals are complete.

    Attributes:
        proposal: its number.
        made: digest of the version that made it.
        first: its lowest seed.
        k: seeds solved.
        n: its seeds.
    """

    proposal: int
    made: str
    first: int
    k: int
    n: int


def part_of(evaluation: Evaluation, first: str) -> Part:
    """The same of a line; one without a digest has `first` for it."""
    block, outcome = evaluation.block, evaluation.outcome
    k = 0 if outcome is None else outcome.successes
    return Part(evaluation.proposal, evaluation.made or first, block.first, k, block.count)


def rungs_of(manifest: Mapping[str, Any]) -> tuple[int, ...]:
    """The ladder that a run's manifest notes; none if it does not."""
    ladder = manifest.get("ladder")
    if not isinstance(ladder, Sequence):
        return ()
    return tuple(rung for rung in ladder if isinstance(rung, int))


def completed(parts: Iterable[Part], rungs: tuple[int, ...]) -> int:
    """How many proposals of a config have had all that a newcomer is given at once.

    In a race that is the first rung, and the next ones for as long as none has failed
    (`xortune.race_next.seeds_at_first`). A search that is interrupted in between goes on with these
    seeds when it is resumed; until then the proposal is not complete. A step of a config is taken
    in after those with lower seeds: so what it is judged by is all seeds up to its own, those of
    one version (`xortune.run_apart`).

    Args:
        parts: all final blocks of the config, whatever made them, in any order.
        rungs: of the run's ladder.
    """
    if len(rungs) < 2:
        return len({part.proposal for part in parts})
    from xortune.race_next import seeds_at_first

    apart, complete = Apart(), set()
    for part in sorted(parts, key=lambda part: part.first):
        apart.add(part.made, part.first, Count(part.k, part.n))
        count = apart.counted
        if seeds_at_first(rungs, count.successes, count.n) is None:
            complete.add(part.proposal)
    return len(complete)
