"""The numbers that a trainer of the user's own told of its seeds, in the report of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xortune.frames_values import more_of
from xortune.objective_numbers import numbers_in, summed, summed_interval
from xortune.report.document import Block, Column, Inline, Mono, Subheading, said, table_of
from xortune.report.format import count, estimated, number, plain, span
from xortune.report.tables import Report
from xortune.run import ConfigResult
from xortune.space_model import Objective
from xortune.stats_values import LEAST, STATISTICS, finite, interval_of_all, summary

__all__ = ["looked_for", "numbers", "shown_end", "worth"]

SHOWN_NAMES, SHOWN_CONFIGS = 10, 5

_COVERED = (
    "Those of quantiles hold whatever the distribution is (order statistics), and an end is open "
    "where the seeds are too few for one. Those of means are approximate (Student's, of the "
    f"interquartile mean Tukey and McLaughlin's): none below {LEAST} seeds, and with few seeds of "
    "which one is far off they miss more often than in 5 %."
)

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
            f"crashed has none. In brackets 95 % intervals, each for itself. {_COVERED}"
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


def looked_for(report: Report) -> list[Block]:
    """Of the best config the number that the search looked for; nothing if it looked for none."""
    objective, best = report.looked_for, report.best
    if objective is None or best is None:
        return []
    failed = int(np.isnan(numbers_in(best.outcome, objective.number or "")).sum())
    counts_as = (
        "worse than any number" if objective.failed is None else f"{number(objective.failed)}"
    )
    return [
        said(
            f"What was looked for, {plain(objective.name)} "
            f"({'more' if objective.maximize else 'less'} is better), is "
            f"{worth(objective, best)} over all {count(best.outcome.n, 'seed')}: "
            f"{count(failed, 'seed')} failed or told no finite number, and such a seed counts as "
            f"{counts_as}. In brackets a 95 % interval over the seeds, "
            f"{_how(objective)}, of a configuration chosen before looking; this one won by "
            "these seeds, and so partly by luck."
        )
    ]


def worth(objective: Objective, result: ConfigResult) -> str:
    """What a config is worth in the number that was looked for, with its interval."""
    told = numbers_in(result.outcome, objective.number or "")
    ends = summed_interval(objective, told)
    mean = summed(objective, told)
    if ends is None or np.isinf(ends).all():
        return shown_end(mean)
    if np.isfinite([mean, *ends]).all():
        return f"{estimated(mean, *ends)} [{span(*ends)}]"
    failed = objective.failed is None and bool(np.isnan(np.asarray(told, np.float64)).any())
    worse = -np.inf if objective.maximize else np.inf
    shown = ["failed" if end == worse and failed else _end(end) for end in ends]
    return f"{shown_end(mean)} [{shown[0]} to {shown[1]}]"


def _how(objective: Objective) -> str:
    if objective.statistic in ("mean", "iqm"):
        return "which is approximate"
    return "open where these are too few for an end"


def _end(end: float) -> str:
    return number(end) if np.isfinite(end) else "open"


def shown_end(amount: float) -> str:
    """A number, or that failed seeds decide it."""
    return number(amount) if np.isfinite(amount) else "failed"


def _row(name: str, result: ConfigResult) -> Sequence[Inline]:
    outcome = result.outcome
    told = outcome.details.values.get(name, np.empty(0))
    found = summary(told)
    cells: list[Inline] = [Mono(result.key), f"{finite(told).size:,} of {outcome.n:,}"]
    for ending in STATISTICS:
        if not np.isfinite(found[ending]):
            cells.append("–")
            continue
        ends = interval_of_all(finite(told), ending)
        within = "" if ends is None or np.isinf(ends).all() else f" [{span(*ends)}]"
        cells.append(f"{estimated(found[ending], *(ends or (None, None)))}{within}")
    return cells
