"""The numbers that a trainer of the user's own told of its seeds, in the report of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xortune.frames_values import more_of
from xortune.report.document import Block, Column, Inline, Mono, Subheading, said, table_of
from xortune.report.format import number, plain
from xortune.report.tables import Report
from xortune.run import ConfigResult
from xortune.stats_values import LEAST, RESAMPLES, STATISTICS, bootstrapped, finite, summary

__all__ = ["numbers"]

SHOWN_NAMES, SHOWN_CONFIGS = 10, 5

HEADINGS = {
    "mean": "mean",
    "iqm": "interquartile mean",
    "q10": "10 % quantile",
    "median": "median",
    "q90": "90 % quantile",
}


def numbers(report: Report) -> list[Block]:
    """Each number of the best configs in few, with intervals; nothing if there are none."""
    best = report.top[:SHOWN_CONFIGS]
    names = more_of([result.outcome for result in best]).names
    if not names:
        return []
    blocks: list[Block] = [
        said(
            f"The best {len(best)} configurations, by the seeds of the search. Only seeds with a "
            "finite number are summed up, and n says how many these are of all: a seed that "
            "crashed has none. In brackets 95 % intervals, each for itself, by percentile "
            f"bootstrap over these seeds ({RESAMPLES:,} resamples); none below {LEAST} of them."
        )
    ]
    for name in names[:SHOWN_NAMES]:
        columns = [Column("key"), Column("n", numeric=True)]
        columns += [Column(HEADINGS[ending], numeric=True) for ending in STATISTICS]
        blocks += [
            Subheading(plain(name)),
            table_of(columns, [_row(name, result) for result in best]),
        ]
    if len(names) > SHOWN_NAMES:
        blocks.append(
            said(f"... and {len(names) - SHOWN_NAMES} more numbers, in ", Mono("table.csv"))
        )
    return blocks


def _row(name: str, result: ConfigResult) -> Sequence[Inline]:
    outcome = result.outcome
    told = outcome.details.values.get(name, np.empty(0))
    found = summary(told)
    cells: list[Inline] = [Mono(result.key), f"{finite(told).size:,} of {outcome.n:,}"]
    for ending in STATISTICS:
        if not np.isfinite(found[ending]):
            cells.append("–")
            continue
        ends = bootstrapped(told, ending)
        span = "" if ends is None else f" [{number(ends[0])}, {number(ends[1])}]"
        cells.append(f"{number(found[ending])}{span}")
    return cells
