"""What of an imported run may be compared as it is: seeds that did not choose what they count."""

from __future__ import annotations

from xortune.comparison_contestants import RULE, Candidate, rule_of
from xortune.comparison_runs import Contestant
from xortune.imported import imported_from
from xortune.run import Run

__all__ = ["IMPORTED", "imported_contestant"]

IMPORTED = "imported from"
"""The fact that such a contestant has."""


def imported_contestant(run: Run, key: str | None, candidate: Candidate) -> Contestant | None:
    """The only config of an imported run, or the one that was named, by its imported seeds.

    None for any other run, one that is certified, and the best of several: its count won, and so is
    partly luck.

    Args:
        run: of the candidate.
        key: that named it, if one did.
        candidate: what is to be compared.
    """
    origin = imported_from(run.manifest)
    several = len(run.results) > 1
    if origin is None or candidate.certified is not None or (several and key is None):
        return None
    result = next(one for one in run.results if one.key == candidate.point.key)
    notes: tuple[str, ...] = ()
    if several:
        notes = (
            f"its seeds are those that were imported with {len(run.results)} configurations: if "
            "it was picked by their counts, they flatter it",
        )
    outcome = result.outcome
    first, last = int(outcome.seeds[0]), int(outcome.seeds[-1])
    facts = {
        **candidate.facts,
        RULE: origin.success,
        IMPORTED: origin.source,
        "imported seeds": f"{outcome.n:,}, {first} to {last}",
    }
    return Contestant(
        label=candidate.label,
        key=result.key,
        point=result.point,
        outcome=outcome,
        origin="given",
        facts=facts,
        notes=notes,
        rule=rule_of(facts),
    )
