"""What failed seeds printed, as a text to read and to search in: of commands, others keep none."""

from __future__ import annotations

from collections.abc import Iterator

from xortune.outcome_details import Details
from xortune.point import Point
from xortune.report.format import config_text, plain
from xortune.run import Run

__all__ = ["PRINTED", "printed_text"]

PRINTED = "failures.txt"
"""The file of a run directory."""

MOST = 1_000
"""So many seeds are shown; the journal has all."""


def printed_text(run: Run) -> str | None:
    """The text, configs in the run's order, then its certificate's; None if there is nothing."""
    found: list[str] = []
    more = 0
    for point, details, where in _details(run):
        for seed in details.output:
            if len(found) == MOST:
                more += 1
                continue
            config = config_text(point, tuple(point))
            head = f"=== seed {seed} of {point.key}{where}: {config}"
            lines = details.output[seed].rstrip().splitlines()
            body = "\n".join(plain(line.replace("\t", "    ")) for line in lines)
            found.append(f"{head}\n=== {plain(details.failed[seed])}\n{body}\n")
    if not found:
        return None
    if more:
        found.append(f"... and {more:,} other seeds, which the journal has.\n")
    return "\n".join(found)


def _details(run: Run) -> Iterator[tuple[Point, Details, str]]:
    for result in run.results:
        yield result.point, result.outcome.details, ""
    for check in run.checks:
        if check.outcome is not None:
            yield check.block.point, check.outcome.details, " (on fresh seeds)"
