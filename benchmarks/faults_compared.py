"""How a search that was disturbed differs from one that was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xortune.runs.evaluation import Evaluation
from xortune.runs.run import Run, load_run

__all__ = ["differences", "twice"]


def outcomes(run: Run) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What became of each config and seed: all that a table knows, but no times."""
    rows = run.seed_table.to_pylist()
    return {(row["key"], row["seed"]): tuple(row.values()) for row in rows}


def twice(evaluations: Sequence[Evaluation]) -> int:
    """How many seeds of configs are in more than one final line."""
    seen = Counter(
        (e.block.point.key, seed) for e in evaluations if e.final for seed in e.block.seeds
    )
    return sum(times > 1 for times in seen.values())


def differences(folder: Path, reference: Path, *, exact: bool) -> list[str]:
    """What is not as in the undisturbed run."""
    run, whole = load_run(folder), load_run(reference)
    found = []
    if again := twice(run.evaluations):
        found.append(f"{again} seeds were evaluated twice")
    if crashed := sum(e.final and e.outcome is None for e in run.evaluations):
        found.append(f"{crashed} blocks were given up")
    proposals = {e.proposal for e in run.evaluations if e.final}
    if proposals != (planned := {e.proposal for e in whole.evaluations if e.final}):
        found.append(f"{len(proposals)} proposals of {len(planned)}")
    if sum(result.trials for result in run.results) != len(planned):
        found.append("the table's trials are not the budget")
    rungs = {result.outcome.n for result in whole.results}
    found += [
        f"config {result.key} has {result.outcome.n} seeds, which is no rung"
        for result in run.results
        if result.outcome.n not in rungs
        or result.outcome.seeds.tolist() != list(range(result.outcome.n))
    ]
    if run.manifest.get("complete") is not True:
        found.append("the manifest does not say that it is complete")
    if not exact:
        return found
    mine, theirs = outcomes(run), outcomes(whole)
    if mine != theirs:
        lost, more = theirs.keys() - mine.keys(), mine.keys() - theirs.keys()
        other = sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())
        found.append(f"{len(lost)} evaluations lost, {len(more)} unplanned, {other} otherwise")
    if (folder / "table.csv").read_bytes() != (reference / "table.csv").read_bytes():
        found.append("table.csv differs")
    return found
