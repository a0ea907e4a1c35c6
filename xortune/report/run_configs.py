"""The configs of a run in its report: the table of all, the Pareto front, and who is tied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from math import isfinite

from xortune.frames import epochs_to_solve
from xortune.objective_numbers import numbers_in, summed, ties_of
from xortune.point import Point
from xortune.report.document import (
    Block,
    Column,
    ConfigRow,
    ConfigTable,
    Inline,
    Mono,
    said,
    table_of,
)
from xortune.report.format import config_text, count, plain, value
from xortune.report.front import FrontTable
from xortune.report.numbers import shown_end, worth
from xortune.report.tables import Report, task_argument
from xortune.run import ConfigResult, Run
from xortune.space_model import Objective
from xortune.stats import wilson

__all__ = ["config_table", "configs", "counts_epochs", "front", "named", "tied"]

SHOWN_MEMBERS = 20


def configs(run: Run, report: Report) -> list[Block]:
    """The table of all configs, what they have in common, and how they are ordered."""
    if report.best is None:
        return [said("Nothing to show yet.")]
    blocks: list[Block] = [config_table(run, report)]
    if text := config_text(report.best.point, _fixed(report)):
        blocks.append(said(f"The same in all: {text}."))
    speed = "then the epochs to solve, " if counts_epochs(run) else ""
    if (ties := ties_of(run.objectives)) is not None:
        speed = (
            f"then {plain(ties.name)} ({'more' if ties.maximize else 'less'} is better), {speed}"
        )
    order = f"the lower end of the interval, {speed}then the key. "
    if report.looked_for is not None:
        order = f"how many rungs it climbed, then {plain(report.looked_for.name)}, then {order}"
    blocks.append(
        said(
            f"The order is {order}All configurations are in ",
            Mono("table.csv"),
            ", all seeds in ",
            Mono("seeds.parquet"),
            ".",
        )
    )
    return blocks


def config_table(run: Run, report: Report) -> ConfigTable:
    """All configs of a run that has some, best first."""
    outcomes = [result.outcome for result in run.results]
    low, high = wilson([o.successes for o in outcomes], [o.n for o in outcomes])
    epochs = epochs_to_solve(outcomes)
    notes, looked_for = _notes(run, report), report.looked_for
    text = lru_cache(maxsize=None, typed=True)(value)  # typed: True is not 1
    rows = []
    for place, result in enumerate(run.results):
        point = result.point
        has = [name in point for name in report.varied]
        given = [
            point[name] if there else None for name, there in zip(report.varied, has, strict=True)
        ]
        successes = result.outcome.successes
        rows.append(
            ConfigRow(
                key=result.key,
                values=tuple(text(v) if there else "" for v, there in zip(given, has, strict=True)),
                sort=tuple(given),
                k=successes,
                n=result.outcome.n,
                low=float(low[place]),
                high=float(high[place]),
                epochs_to_solve=float(epochs[place]) if isfinite(epochs[place]) else None,
                trials=result.trials,
                note=notes[place],
                worth=None if looked_for is None else _worth(looked_for, result, place),
            )
        )
    assert report.best is not None
    best = report.best.point
    fixed = tuple((name, best[name]) for name in _fixed(report) if name in best)
    table = ConfigTable(report.varied, tuple(rows), fixed, task=task_argument(run))
    if looked_for is not None:
        return replace(table, measure=plain(looked_for.name))
    return table if counts_epochs(run) else replace(table, measure=None)


def counts_epochs(run: Run) -> bool:
    """Whether it is known when a seed was solved: mostly not, where the code of users trained."""
    return run.is_network or any(r.outcome.epochs_to_solve is not None for r in run.results)


def _worth(objective: Objective, result: ConfigResult, place: int) -> tuple[float | None, str]:
    """The number that was looked for; the first have its interval too."""
    found = summed(objective, numbers_in(result.outcome, objective.number or ""))
    text = worth(objective, result) if place < ConfigTable.first else shown_end(found)
    return found if isfinite(found) else None, text


def named(point: Point, names: Sequence[str]) -> str:
    """What a config is called in a sentence."""
    return config_text(point, names) or "the only setting"


def front(found: FrontTable) -> list[Block]:
    """The Pareto front."""
    blocks: list[Block] = [said(found.about)]
    if found.rows:
        *names, config, key = found.header
        columns = [Column(config), Column(key), *(Column(name, numeric=True) for name in names)]
        rows: list[list[Inline]] = [[text, Mono(key), *cells] for *cells, text, key in found.rows]
        blocks.append(table_of(columns, rows))
    if found.more:
        blocks.append(
            said(
                f"... and {found.more:,} more: the column ",
                Mono("front"),
                " of ",
                Mono("table.csv"),
                ".",
            )
        )
    return blocks


def tied(report: Report) -> list[Block]:
    """Who cannot be told from the best, and by which test."""
    found = report.tied
    if report.looked_for is not None:
        return []  # by another measure than that of the order, it would be about something else
    if report.best is not None and not report.solved:
        return [said("No seed was solved, so nothing can be told apart.")]
    full = count(found.full, "seed")
    if found.compared == 0:
        text = (
            f"No configuration got the full {full}, so none is compared with the best."
            if report.configs
            else "Nothing to compare yet."
        )
        return [said(text)]
    stopped = f" {_stopped(report)}" if found.stopped else ""
    if found.compared == 1:
        return [
            said(
                f"Only one configuration got the full {full}; there is nothing to compare it with."
                f"{stopped}"
            )
        ]
    verdict = (
        "The best of them beats each of the others"
        if len(found.members) == 1
        else "The best of them, listed first, does not beat the others listed"
    )
    columns = [Column("configuration"), Column("key"), Column("solved", numeric=True)]
    rows: list[list[Inline]] = [
        [named(one.point, report.varied), Mono(one.key), f"{one.outcome.successes}/{one.outcome.n}"]
        for one in found.members[:SHOWN_MEMBERS]
    ]
    blocks: list[Block] = [
        said(
            f"{found.compared:,} configurations got the full {full}.{stopped} {verdict} (one-sided "
            "exact McNemar test on shared seeds, 5 % spent over all comparisons). With a "
            "probability of at least 95 %, the list holds the truly best of them:"
        ),
        table_of(columns, rows),
    ]
    if len(found.members) > SHOWN_MEMBERS:
        blocks.append(said(f"... and {len(found.members) - SHOWN_MEMBERS:,} more."))
    return blocks


def _stopped(report: Report) -> str:
    """Of those with fewer seeds, why that is no tie."""
    fewer = count(report.tied.stopped, "configuration")
    if not report.complete:
        return f"{fewer} got fewer before the search was interrupted; that is not tied."
    return (
        f"{fewer} got fewer: stopped early, since another was shown to be better or enough others "
        "were as good; that is not tied."
    )


def _fixed(report: Report) -> list[str]:
    return [name for name in report.parameters if name not in report.varied]


def _notes(run: Run, report: Report) -> list[str]:
    """What is to be said of each config: whether it is tied with the best, or was stopped."""
    if not report.solved:
        return [""] * len(run.results)
    found = report.tied
    several = len(found.members) > 1 and report.looked_for is None
    members = {member.key for member in found.members} if several else set()
    fewer = "stopped early" if report.complete else "fewer seeds"
    return [
        "tied" if result.key in members else fewer if result.outcome.n < found.full else ""
        for result in run.results
    ]
