"""The report of a run: its tables and what its template says; what failed seeds printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from xortune.core.formats import (
    config_text,
    count,
    estimated,
    interval,
    lower_percent,
    number,
    plain,
    span,
    value,
)
from xortune.core.outcome import rate_of, wilson
from xortune.core.point import Point
from xortune.racing.objectives import (
    estimates,
    numbers_in,
    seen_of,
    summed,
    summed_interval,
    ties_of,
)
from xortune.reports.analysis import (
    MISSING,
    Report,
    certified_lines,
    certified_table,
    columns_of,
    left_out,
    report_of,
    task_argument,
)
from xortune.reports.document import (
    EPOCHS,
    FIRST,
    ConfigRow,
    ConfigTable,
    Document,
    Mono,
    Table,
    latex_table,
    lines_of,
    numbers,
    table_of,
    texts,
)
from xortune.reports.drawing.model import Plot
from xortune.reports.figures import figures_of
from xortune.runs.manifest import imported_from, is_imported
from xortune.runs.results import ConfigResult, number_names
from xortune.runs.run import Run
from xortune.spaces.model import EPOCHS_TO_SOLVE, SUCCESS_RATE, Objective
from xortune.stats.numbers import LEAST, STATISTICS, finite, interval_of_all, summary

SECTION_OF = {
    "ranking": "configs",
    "front": "front",
    "importance": "parameters",
    "slices": "parameters",
    "contour": "parameters",
    "parallel-coordinate": "parameters",
    "success-by-epoch": "epochs",
    "scores": "numbers",
    "learning-curves": "curves",
    "failures": "failures",
    "decision-surface": "learned",
    "seeds-spent": "seeds",
    "history": "history",
}
"""The section in run.md.jinja that each figure begins; of others it is `more`."""

SHOWN_ROWS = 20  # reasons, and members of the best subset, in a table
SHOWN_NUMBERS = 10  # numbers of a user's trainer that have a table
MOST_ROWS = 10_000  # configs in a page at most; table.csv has all


def run_document(run: Run) -> Document:
    """All that the report of a run says, the same for the same run directory."""
    report, plots, certificate = report_of(run), figures_of(run), run.certificate
    figures: dict[str, list[Plot]] = {}
    for plot in plots:
        figures.setdefault(SECTION_OF.get(plot.name, "more"), []).append(plot)
    best, objective = report.best, report.looked_for
    imported, trainer = is_imported(run.manifest), run.manifest.get("trainer", "network")
    values: dict[str, Any] = {
        "run": run,
        "report": report,
        "figures": figures,
        "origin": imported_from(run.manifest),
        "left_out": left_out(run.manifest),
        "finalists": () if certificate is None else certificate.finalists,
        "front": front_table(run, report.varied),
        # Who says what a solved seed is, for words.md.jinja.
        "kind": "imported" if imported else "network" if trainer == "network" else "rule",
        # A search's configs all have the first ones; what was imported may have any.
        "seeds_shared": not imported or len({r.outcome.seeds.tobytes() for r in run.results}) < 2,
        "counts_epochs": counts_epochs(run),
        "ties": ties_of(run.objectives),
        "shown": SHOWN_ROWS,
        "shown_numbers": SHOWN_NUMBERS,
        "numbers_told": _number_tables(report),
        "short": lambda text, most: text if len(text) <= most else f"{text[: most - 3]}...",
        "least": LEAST,
        "worth": worth,
        "direction": lambda one: "more" if one.maximize else "less",
        "named": lambda point: named(point, report.varied),
    }
    if certificate is not None:
        values["certified"] = certified_table(certificate, run)
        values["certified_lines"] = certified_lines(certificate)
    if best is not None:
        values["same"] = config_text(best.point, report.fixed)
        values["solved"] = (
            f"{best.outcome.successes:,} of {count(best.outcome.n, 'seed')}, "
            f"{rate_of(best.outcome.successes, best.outcome.n)} "
            f"(95 % interval {interval(*best.outcome.interval())})"
        )
        if objective is not None:
            told = numbers_in(best.outcome, objective.number or "")
            values["failed_seeds"] = int(np.isnan(told).sum())
    configs = None if best is None else config_table(run, report)
    values["repeated"] = configs is not None and configs.repeated
    return Document("run.md.jinja", values, plots, configs)


def named(point: Point, names: Sequence[str]) -> str:
    """What a config is called in a sentence."""
    return config_text(point, names) or "the only setting"


def counts_epochs(run: Run) -> bool:
    """Whether it is known when a seed was solved: mostly not, where the code of users trained."""
    return run.is_network or bool(np.isfinite(run.results.counts.epochs_to_solve).any())


# -------------------------------------------------------------------------------------------------
# The table of all configs.


def config_table(run: Run, report: Report, most: int = MOST_ROWS) -> ConfigTable:
    """The best configs of a run that has some, at most so many."""
    results, objective = run.results, report.looked_for
    some = slice(min(most, len(results)))
    k, n, epochs = (
        column[some]
        for column in (results.counts.k, results.counts.n, results.counts.epochs_to_solve)
    )
    low, high = (ends.tolist() for ends in wilson(k, n))
    if objective is None:
        amounts = [float(one) if np.isfinite(one) else None for one in epochs]
        measures = ["–" if one is None else number(round(one)) for one in amounts]
    else:
        given = [numbers_in(result.outcome, objective.number or "") for result in results[some]]
        sums = [summed(objective, one) for one in given]
        amounts = [one if np.isfinite(one) else None for one in sums]
        measures = [worth(objective, result) for result in results[:FIRST]]
        measures += map(_shown_end, sums[FIRST:])
    subset = set(report.tied.members.keys[:most]) if objective is None else set()

    def note(key: str, n: int) -> str:
        if not report.solved:
            return ""
        if len(subset) > 1 and key in subset:
            return "best subset"
        if n >= report.tied.full:
            return ""
        return "stopped early" if report.complete else "fewer seeds"

    score = report.score
    scores: list[tuple[float, ...]] = [()] * len(low)
    if score is not None:
        scores = [score.of(result.outcome) for result in results[some]]
    columns = [columns_of(run)[name] for name in report.varied]
    values = [[one.values[code] for code in one.codes[some].tolist()] for one in columns]
    text = lru_cache(maxsize=None, typed=True)(value)  # typed: True is not 1
    shown = [["" if one is MISSING else text(one) for one in column] for column in values]
    sort = [[None if one is MISSING else one for one in column] for column in values]
    keys, nothing = results.keys[some], [()] * len(low)
    rows = zip(
        keys,
        zip(*shown, strict=True) if columns else nothing,
        zip(*sort, strict=True) if columns else nothing,
        *(k.tolist(), n.tolist(), low, high, amounts, measures, results.trials[some].tolist()),
        map(note, keys, n.tolist()),
        scores,
        strict=True,
    )
    measure = EPOCHS if counts_epochs(run) else None
    best = results[0].point
    return ConfigTable(
        parameters=report.varied,
        rows=tuple(ConfigRow(*row) for row in rows),
        total=len(results),
        fixed=tuple((name, best[name]) for name in report.fixed if name in best),
        task=task_argument(run),
        measure=measure if objective is None else plain(objective.name),
        scores=() if score is None else tuple(map(plain, score.columns)),
    )


# -------------------------------------------------------------------------------------------------
# The numbers that a trainer of the user's own tells of its seeds.


def _number_tables(report: Report) -> dict[str, Table]:
    """A table for each number, of the configs that have it, first of the one that tables show.

    What is the same for all seeds, as a count of reports mostly is, has none.
    """
    results = report.top[:5]
    heads = numbers("n", "mean", "interquartile mean", "10 % quantile", "median", "90 % quantile")
    shown, found = [report.score.name] if report.score else [], {}
    for name in dict.fromkeys([*shown, *number_names(result.outcome for result in results)]):
        told = [r.outcome.details.values.get(name, np.empty(0)) for r in results]
        if name not in shown and np.unique(finite(np.concatenate(told))).size < 2:
            continue
        rows = [
            (Mono(result.key), *_number_cells(name, result))
            for result in results
            if finite(result.outcome.details.values.get(name, np.empty(0))).size
        ]
        if rows:
            found[name] = table_of([*texts("key"), *heads], rows)
    return found


def _number_cells(name: str, result: ConfigResult) -> list[str]:
    """How many seeds have the number, and its mean and quantiles with their intervals."""
    outcome = result.outcome
    told = outcome.details.values.get(name, np.empty(0))
    found = summary(told)
    cells = [f"{finite(told).size:,} of {outcome.n:,}"]
    for ending in STATISTICS:
        if not np.isfinite(found[ending]):
            cells.append("–")
            continue
        ends = interval_of_all(finite(told), ending)
        within = "" if ends is None or np.isinf(ends).all() else f" [{span(*ends)}]"
        cells.append(f"{estimated(found[ending], *(ends or (None, None)))}{within}")
    return cells


def worth(objective: Objective, result: ConfigResult) -> str:
    """What a config is worth in the number that the search optimized, with its interval."""
    told = numbers_in(result.outcome, objective.number or "")
    ends = summed_interval(objective, told)
    mean = summed(objective, told)
    if ends is None or np.isinf(ends).all():
        return _shown_end(mean)
    if np.isfinite([mean, *ends]).all():
        return f"{estimated(mean, *ends)} [{span(*ends)}]"
    failed = objective.failed is None and bool(np.isnan(np.asarray(told, np.float64)).any())
    worse = -np.inf if objective.maximize else np.inf
    shown = [
        "failed" if end == worse and failed else number(end) if np.isfinite(end) else "open"
        for end in ends
    ]
    return f"{_shown_end(mean)} [{shown[0]} to {shown[1]}]"


def _shown_end(amount: float) -> str:
    """A number, or that failed seeds decide it."""
    return number(amount) if np.isfinite(amount) else "failed"


# -------------------------------------------------------------------------------------------------
# The Pareto front.

SHOWN_FRONT = 30


@dataclass(frozen=True)
class FrontTable:
    """What is shown of a front: the configs of its rows, and how many more there are."""

    about: str
    table: Table
    more: int
    results: tuple[ConfigResult, ...]
    names: tuple[str, ...]


def front_table(run: Run, varied: Sequence[str]) -> FrontTable | None:
    """The front of a run by its parameters that vary; None where there is one objective."""
    front = run.front
    if front is None:
        return None
    objectives = run.objectives
    ranked = []
    for place in np.flatnonzero(front).tolist():
        result = run.results[place]
        worth = estimates(objectives, seen_of(result.point, result.outcome, objectives))
        turned = [-w if o.maximize else w for o, w in zip(objectives, worth, strict=True)]
        ranked.append(((*turned, result.key), worth, result))
    ranked.sort(key=lambda one: one[0])
    names = [name for name in varied if name not in {o.name for o in objectives}]
    rows = [
        (
            *(config_text(r.point, names), Mono(r.key)),
            *(c for o, w in zip(objectives, worth, strict=True) for c in _cells(o, r, w)),
        )
        for _, worth, r in ranked[:SHOWN_FRONT]
    ]
    full = run.full_seeds
    [about] = lines_of(
        "front.txt.jinja",
        objectives=objectives,
        compared=int((run.results.counts.n >= full).sum()),
        full=full,
        found=len(ranked),
    )
    heads = {SUCCESS_RATE: ("solved", "95 % interval"), EPOCHS_TO_SOLVE: (EPOCHS,)}
    columns = [name for o in objectives for name in heads.get(o.name, (plain(o.name),))]
    table = table_of([*texts("configuration", "key"), *numbers(*columns)], rows)
    shown = tuple(result for *_, result in ranked[:SHOWN_FRONT])
    return FrontTable(about, table, len(ranked) - len(rows), shown, tuple(names))


def _cells(objective: Objective, result: ConfigResult, worth: float) -> tuple[str, ...]:
    outcome = result.outcome
    if objective.name == SUCCESS_RATE:
        return f"{outcome.successes}/{outcome.n}", interval(*outcome.interval())
    if objective.name == EPOCHS_TO_SOLVE:
        # Not rounded to whole ones: one that is on the front by half an epoch would seem not to be.
        return (number(worth) if np.isfinite(worth) else "–",)
    return (value(result.point[objective.name]) if objective.number is None else number(worth),)


# -------------------------------------------------------------------------------------------------
# What failed seeds printed, as a text to read and to search in: of commands, others keep none.

PRINTED = "failures.txt"  # the file of a run directory
MOST_PRINTED = 1_000  # seeds in it; the journal has all


def failure_log(run: Run) -> str | None:
    """The text, configs in the run's order, then its certificate's; None if there is nothing."""
    found: list[str] = []
    more = 0
    searched = run.results if run.results.detailed else ()
    checked = [(check.block.point, check.outcome) for check in run.checks]
    told = [
        *((result.point, result.outcome.details, "") for result in searched),
        *((point, one.details, " (on fresh seeds)") for point, one in checked if one is not None),
    ]
    for point, details, where in told:
        for seed in details.output:
            if len(found) == MOST_PRINTED:
                more += 1
                continue
            head = f"=== seed {seed} of {point.key}{where}: {config_text(point, tuple(point))}"
            lines = details.output[seed].rstrip().splitlines()
            body = "\n".join(plain(line.replace("\t", "    ")) for line in lines)
            found.append(f"{head}\n=== {plain(details.failed[seed])}\n{body}\n")
    if more:
        found.append(f"... and {more:,} other seeds, which the journal has.\n")
    return "\n".join(found) or None


# -------------------------------------------------------------------------------------------------
# table.tex: the best configs as a table for a paper.


def table_tex(run: Run) -> str:
    """The best configs: counts, rates, intervals, and what is certified of them."""
    report, certificate = report_of(run), run.certificate
    if report.best is None:
        empty = Table(tuple(texts("configuration")), ())
        return latex_table(empty, caption="No configuration has finished yet.")
    given = config_table(run, report, FIRST)
    fresh = {} if certificate is None else {found.key: found for found in certificate.finalists}
    measure = "epochs" if given.measure == EPOCHS else given.measure
    columns = [
        *numbers(""),
        *given.columns(given.rows),
        *numbers("solved", "rate, %", "interval, %"),
        *numbers(*([] if measure is None else [measure]), *given.scores),
        *(numbers("fresh seeds", "at least, %") if fresh else []),
    ]

    def certified(key: str) -> list[str]:
        found = fresh.get(key)
        return (
            ["", ""]
            if found is None
            else [f"{found.k}/{found.n}", lower_percent(found.lower_bound)]
        )

    rows = [
        [
            str(place),
            *one.values,
            one.solved,
            *(text.removesuffix(" %") for text in (one.rate, one.interval)),
            *([] if measure is None else [one.measure]),
            *one.score_texts,
            *(text.removesuffix(" %") for text in (certified(one.key) if fresh else ())),
        ]
        for place, one in enumerate(given.rows, 1)
    ]
    [caption] = lines_of(
        "caption.txt.jinja",
        report=report,
        given=given,
        same=config_text(report.best.point, report.fixed),
        certificate=certificate if fresh else None,
    )
    return latex_table(
        table_of(columns, rows),
        caption=caption,
        label=f"tab:{report.title}",
        comments=[
            "The keys of the configurations, by row:",
            *(f"{place}: {one.key}" for place, one in enumerate(given.rows, 1)),
        ],
    )
