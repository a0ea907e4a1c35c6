"""How many of a config's proposals are complete: they have all of their first seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xortune.evaluation import Evaluation

__all__ = ["completed"]


def completed(found: Iterable[Evaluation], manifest: Mapping[str, Any]) -> int:
    """How many proposals of a config have had all that a newcomer is given at once.

    In a race that is the first rung, and the next ones for as long as none has failed
    (`xortune.race_next.seeds_at_first`). A search that is interrupted in between goes on with these
    seeds when it is resumed; until then the proposal is not complete. A step of a config is taken
    in after those with lower seeds: so what it is judged by is all seeds up to its own.

    Args:
        found: all final blocks of the config, whatever made them.
        manifest: of the run, with its ladder.
    """
    blocks = sorted(found, key=lambda evaluation: evaluation.block.first)
    ladder = manifest.get("ladder")
    if not (isinstance(ladder, Sequence) and len(ladder) > 1):
        return len({evaluation.proposal for evaluation in blocks})
    from xortune.race_next import seeds_at_first

    rungs = tuple(rung for rung in ladder if isinstance(rung, int))
    successes = n = 0
    complete = set()
    for evaluation in blocks:
        n += evaluation.block.count
        successes += 0 if evaluation.outcome is None else evaluation.outcome.successes
        if seeds_at_first(rungs, successes, n) is None:
            complete.add(evaluation.proposal)
    return len(complete)
