"""The report of a run: the values and tables of run.md.jinja; table.tex; failures.txt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.contestants import certified_outcome
from xortune.core.errors import InputError
from xortune.core.formats import (
    config_text,
    count,
    decimals,
    duration,
    estimated,
    interval,
    lower_percent,
    measured,
    number,
    percent,
    plain,
    span,
    value,
)
from xortune.core.numbers import FEWEST_FOR_MEANS, finite, known_statistics
from xortune.core.outcome import SeedCount
from xortune.core.point import Point
from xortune.core.success import Rule, has_rule
from xortune.racing.gaussian_process import (
    KNOWN_CONFIGS,
    NumberSums,
    Observed,
    axes_of,
    coordinates_of,
    distances,
    learned_number,
    success_rates,
)
from xortune.racing.objectives import numbers_in, summary_of, ties_of
from xortune.reports.analysis import FrontRow, Report, compared_for_front, ignored_seed, report_of
from xortune.reports.document import (
    PRINTED_CONFIGS,
    ConfigTable,
    Document,
    Mono,
    Table,
    latex_table,
    lines_of,
    numbers,
    percent_above,
    table_of,
    texts,
)
from xortune.reports.drawing.model import Plot, shortened
from xortune.reports.figures import figures_of, known_figures
from xortune.reports.figures.distributions import limits_of
from xortune.reports.figures.frontier import required_rate
from xortune.reports.figures.parameters import number_effects
from xortune.reports.figures.seeds import Stop, stops_of
from xortune.reports.parameters import MIN_CONFIGS, Level, ParameterEffect, differing
from xortune.reports.scripts import fresh_seeds, task_argument
from xortune.runs.certificate import LEDGER, Certificate, CertifiedResult
from xortune.runs.columns import (
    NOTE,
    READERS,
    Column,
    ConfigRow,
    Form,
    Part,
    Rows,
    columns_of,
    worth,
)
from xortune.runs.manifest import imported_from, is_imported, two_results
from xortune.runs.results import ConfigResult, Score, measured_names
from xortune.runs.run import Run
from xortune.spaces.model import EPOCHS_TO_SOLVE, Objective
from xortune.spaces.neighbours import neighbours
from xortune.stats.proportions import unpaired_difference

SHOWN_ROWS = 20  # rows in the tables of reasons and of the best subset
SHOWN_NUMBERS = 10  # numbers of a user's trainer that have a table
MOST_ROWS = 10_000  # configs in a page; table.csv has all


def run_document(run: Run) -> Document:
    """The report of a run, the same for the same run directory."""
    report, plots, certificate = report_of(run), figures_of(run), run.certificate
    section_of = {figure.name: figure.section for figure in known_figures()}
    figures: dict[str, list[Plot]] = {}
    for plot in plots:
        figures.setdefault(section_of[plot.name], []).append(plot)
    best, objective = report.best, report.looked_for
    imported, trainer = is_imported(run.manifest), run.manifest.get("trainer", "network")
    ruled = has_rule(run.manifest.get("success"))
    kind = "rule" if ruled else "numbers"
    numbered = number_effects(run)
    values: dict[str, Any] = {
        "run": run,
        "report": report,
        "figures": figures,
        "origin": imported_from(run.manifest),
        "left_out": left_out(run.manifest),
        "twice": two_results(run.manifest),
        "ignored": ignored_seed(run),
        "fault": "" if run.audit is None else run.audit.fault,
        "finalists": () if certificate is None else certificate.finalists,
        "front": front_table(run),
        "required": required_rate(run),
        "neighbours": neighbour_table(run),
        "mattered": _mattered(report.importance.effects),
        "mattered_number": (numbered[0], _mattered(numbered[1])),
        "nearest": _nearest(run),
        "fewer": _fewer(run),
        # What decides whether a seed is solved, for words.md.jinja.
        "kind": "imported" if imported else "network" if trainer == "network" else kind,
        # All configs of a search have its first seeds; imported ones may have any.
        "seeds_shared": not imported or len({r.outcome.seeds.tobytes() for r in run.results}) < 2,
        "counts_epochs": counts_epochs(run),
        "ties": ties_of(run.objectives),
        "shown": SHOWN_ROWS,
        "shown_numbers": SHOWN_NUMBERS,
        "number_tables": _number_tables(report),
        "tables": _tables(report, worded=kind != "numbers"),
        "least": FEWEST_FOR_MEANS,
        "worth": lambda objective, result: worth(objective, result.outcome),
        "direction": lambda one: "more" if one.maximize else "less",
        "named": lambda point: named(point, report.varied),
    }
    if certificate is not None:
        values["certified"] = certified_table(certificate, run)
        values["certified_lines"] = certified_lines(certificate)
        values["certified_head"] = certificate.heads[0]
        values["certified_asked"] = certificate.asked
    if best is not None:
        values["same"] = config_text(best.point, report.fixed)
        if objective is not None:
            values["failed_seeds"] = int(
                np.isnan(numbers_in(best.outcome, objective.number or "")).sum()
            )
    configs = None if best is None else config_table(run)
    values["repeated"] = configs is not None and any(row["trials"] != 1 for row in configs.rows)
    return Document("run.md.jinja", values, plots, configs, ruled)


def _fewer(run: Run) -> dict[str, int]:
    """How many configs got fewer than the full seeds, for each reason that the report tells."""
    told = {Stop.WORSE: "worse", Stop.ENDED: "ended", Stop.EARLY: "early"}
    found = Counter(told.get(stop, "paused") for stop in stops_of(run) if stop is not Stop.FULL)
    return {reason: found[reason] for reason in (*told.values(), "paused")}


def _tables(report: Report, *, worded: bool) -> dict[str, Table]:
    """The tables whose rows the report has; `worded`: whether a rule says what a success is."""
    failures, totals, settings = report.failures, report.totals, report.settings
    levels = [(at, one) for at in report.importance.effects for one in at.levels]
    known = any(one.interval for _, one in levels)
    patterns = bool(failures.patterns)
    counted = (
        *(count(totals.proposals, "proposal"), count(totals.configs, "configuration")),
        count(totals.seeds, "seed"),
    )
    return {
        "subset": table_of(
            [
                *texts("configuration", "key"),
                *numbers(report.looked_for.name if report.looked_for else "solved"),
            ],
            [
                (
                    *(named(one.point, report.varied), Mono(one.key)),
                    worth(report.looked_for, one.outcome)
                    if report.looked_for
                    else one.outcome.count.text,
                )
                for one in (report.tied.members[:SHOWN_ROWS] if report.tied else ())
            ],
        ),
        "levels": table_of(
            [
                *texts("parameter", "level"),
                *numbers("configs", "mean rate", *["95 % interval"] * known),
            ],
            [
                (
                    *(effect.name if one is effect.levels[0] else "", one.label),
                    *(f"{one.configs:,}", measured(one.rate, *(one.interval or (0, 1)))),
                    *[interval(*one.interval) if one.interval else "–"] * known,
                )
                for effect, one in levels
            ],
        ),
        "reasons": table_of(
            [*texts("reason"), *numbers("seeds"), *texts("for example"), *numbers("seed")],
            [
                (reason, f"{often:,}", Mono(key), str(seed))
                for reason, often, key, seed in failures.reasons[:SHOWN_ROWS]
            ],
        ),
        # Where nothing has a pattern, none can be wrong, and nobody asks for the constant ones.
        "ends": table_of(
            [*texts("ended as"), *numbers("seeds", "share")],
            [
                (status.words(patterns=patterns), f"{n:,}", percent(n / max(totals.seeds, 1)))
                for status, n in failures.counts.items()
                if (worded or not status.ending.unread) and status.is_told(n, patterns=patterns)
            ],
        ),
        "patterns": table_of(
            [*texts("pattern"), *numbers("seeds")],
            [(Mono(shortened(text, 32)), f"{n:,}") for text, n in failures.patterns],
        ),
        "no_outcome": table_of(
            [
                *texts("reason"),
                *numbers("given up", "tried again"),
                *texts("for example", "seeds"),
            ],
            [
                (
                    *(shortened(row.reason, 300), str(row.given_up), str(row.retried)),
                    *(Mono(block.point.key), f"{count(block.count, 'seed')} from {block.first}"),
                )
                for row in report.no_outcome[:SHOWN_ROWS]
                for block in [row.example.block]
            ],
        ),
        "reproduce": table_of(texts("what", "value"), settings.reproduce),
        "asked": table_of(texts("what", "value"), [*settings.asked, ("done", ", ".join(counted))]),
    }


MATTERED = 2  # parameters that the answer names

Known = tuple[Level, tuple[float, float]]
"""A level with its interval."""


@dataclass(frozen=True)
class Nearest:
    """The config that comes nearest to a rule that no seed satisfies."""

    statistic: str
    amount: float
    result: ConfigResult
    rule: Rule


def _nearest(run: Run) -> Nearest | None:
    """None where a seed is solved, or no rule judges a number of the seeds."""
    report, score = report_of(run), report_of(run).score
    rule = run.rule
    if score is None or rule is None or report.totals.solved or not limits_of(run, score):
        return None
    medians = [(score.of(result.outcome)[0], result) for result in run.results[:MOST_ROWS]]
    known = [(median, result) for median, result in medians if np.isfinite(median)]
    if not known:
        return None
    amount, result = min(known, key=lambda pair: rule.distance(score.name, pair[0]))
    return Nearest(f"median of {score.name}", amount, result, rule)


def _mattered(effects: Sequence[ParameterEffect]) -> list[tuple[ParameterEffect, Known, Known]]:
    """The parameters that matter most, each with its best and its worst level.

    Only levels of enough configurations count, each with its interval, and of these only two whose
    intervals do not overlap. Where that is not known of a parameter, none after it is named.
    """
    found = []
    for effect in effects[:MATTERED]:
        levels = [
            (one, one.interval or (one.rate, one.rate))  # all have the same rate
            for one in effect.levels
            if one.configs >= MIN_CONFIGS
        ]
        if len(levels) < 2 or effect.by_chance:
            break
        high, low = (pick(levels, key=lambda pair: pair[0].rate) for pick in (max, min))
        if low[1][1] >= high[1][0]:
            break
        found.append((effect, high, low))
    return found


def named(point: Point, names: Sequence[str]) -> str:
    """A config in a sentence."""
    return config_text(point, names) or "the only setting"


def counts_epochs(run: Run) -> bool:
    """Whether the run has the epochs at which seeds were solved: a user's trainer may not."""
    return run.is_network or bool(np.isfinite(run.results.counts.epochs_to_solve).any())


# -------------------------------------------------------------------------------------------------
# The table of all configs.


def config_table(run: Run, most: int = MOST_ROWS, more: Sequence[Column] = ()) -> ConfigTable:
    """The best `most` configs of a run that has any; `more` are further columns."""
    report, best = report_of(run), run.results[0].point
    results = run.results.chosen(np.arange(min(most, len(run.results))))
    columns, rows = (*_columns(run), *more), Rows.of(results)
    values = {column.name: column.of(rows) for column in columns}
    return ConfigTable(
        columns=columns,
        rows=tuple(
            ConfigRow(dict(zip(values, row, strict=True)), results, place)
            for place, row in enumerate(zip(*values.values(), strict=True))
        ),
        total=len(run.results),
        fixed=tuple((name, best[name]) for name in report.fixed if name in best),
        task=task_argument(run),
        seeds=fresh_seeds(run).seeds if run.is_network else 0,
    )


def _columns(run: Run) -> tuple[Column, ...]:
    """The columns of tables of text, and those by which the page filters."""
    report = report_of(run)
    columns = columns_of(
        run.parameters,
        run.objectives,
        () if report.score is None else (report.score.name,),
        score=report.score,
        front=run.front,
        ruled=has_rule(run.manifest.get("success")),
    )
    note = Column(
        NOTE, "note", lambda rows: _notes(report, rows), lambda row: str(row[NOTE]),
        where=frozenset({Form.REPORT, Form.PAGE, Form.LIVE}), part=Part.REMARKS,
    )  # fmt: skip
    return (
        note,
        *(
            column
            for column in columns
            if column.where & (READERS | {Form.FILTERS})
            and not (column.part is Part.PARAMETERS and column.heading in report.fixed)
        ),
    )


def _notes(report: Report, rows: Rows) -> list[str]:
    """Of each config `best subset`, `fewer seeds`, or empty."""
    subset = set(report.tied.members.keys) if report.tied else set()
    most = rows.configs.counts.n.max(initial=0)

    def note(key: str, n: int) -> str:
        if not report.totals.solved:
            return ""
        if len(subset) > 1 and key in subset:
            return "best subset"
        # Where all had fewer, it says nothing.
        return "fewer seeds" if n < report.full <= most else ""

    return [*map(note, rows.configs.keys, rows.counts.n.tolist())]


# -------------------------------------------------------------------------------------------------
# The numbers that a user's trainer returns for its seeds.


def _number_tables(report: Report) -> list[Table]:
    """A table of the best configs for each number; the first is the one shown in other tables.

    Numbers that are the same for all seeds or count their progress have no table.
    """
    results = report.top[:5]
    heads = numbers("n", "mean", "interquartile mean", "10 % quantile", "median", "90 % quantile")
    shown, tables = [report.score.name] if report.score else [], list[Table]()
    for name in dict.fromkeys([*shown, *measured_names([result.outcome for result in results])]):
        values = [r.outcome.details.values.get(name, np.empty(0)) for r in results]
        if name not in shown and np.unique(finite(np.concatenate(values))).size < 2:
            continue
        rows = [
            (Mono(result.key), *_number_cells(of_seeds, result.outcome.n))
            for result, of_seeds in zip(results, values, strict=True)
            if finite(of_seeds).size
        ]
        if rows:
            tables.append(table_of([*texts("key"), *heads], rows, name))
    return tables


def _number_cells(values: NDArray[np.float64], n: int) -> list[str]:
    """How many of n seeds have the number, and its mean and quantiles with their intervals."""
    known = finite(values)
    cells = [f"{known.size:,} of {n:,}"]
    for statistic in known_statistics():
        estimate = statistic.estimate(known) if known.size else np.nan
        if not np.isfinite(estimate):
            cells.append("–")
            continue
        ends = statistic.interval(known)
        within = "" if ends is None or np.isinf(ends).all() else f" [{span(*ends)}]"
        cells.append(f"{estimated(estimate, *(ends or (None, None)))}{within}")
    return cells


# -------------------------------------------------------------------------------------------------
# The finalists of a certificate: fresh seeds beside the counts of the search.

WORST = "worst neighbour"  # the last column of a certificate with neighbours


def certified_table(certificate: Certificate, run: Run) -> Table:
    """The finalists, each with its largest bound; the attempt that has it, if they differ."""
    report = report_of(run)
    differ = differing(certificate.finalists, report.varied) or report.varied
    asked = certificate.asked
    score = report.score if asked is None else None
    several = len({one.attempt for one in certificate.finalists}) > 1
    has_neighbours = any(one.neighbours for one in certificate.finalists)
    heads = ["attempt"] if several else []
    heads += [f"{score.name} ({score.worst})"] if score else []
    heads += [WORST] if has_neighbours else []
    rows = [
        (
            *(named(one.point, differ), *one.cells),
            *([_gap(one)] if asked is None else []),
            *([str(one.attempt)] if several else []),
            *([_fresh_score(run, score, one)] if score else []),
            *([_worst_neighbour(one)] if has_neighbours else []),
        )
        for one in certificate.finalists
    ]
    # The bounds are second: a telephone has room for two columns.
    columns = numbers(*certificate.heads, *(["gap"] if asked is None else []), *heads)
    return table_of([*texts("configuration"), *columns], rows)


def _fresh_score(run: Run, score: Score, one: CertifiedResult) -> str:
    """The median of the trainer's own number on fresh seeds, and its worse decile."""
    certified = certified_outcome(run, run.certificate, one.key, one.attempt)
    if certified is None:
        return "–"
    median, worst = score.of(certified[1])
    return "–" if math.isnan(median) else f"{number(median)} ({number(worst)})"


def certified_lines(certificate: Certificate) -> list[str]:
    """What the bounds guarantee together, and the other attempts."""
    return lines_of("certificate.txt.jinja", certificate=certificate, ledger=LEDGER)


def left_out(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why the search did not make the certificate it was to make, and the command that does."""
    entry = manifest.get("not_certified")
    if entry is None:
        return None
    seconds = entry.get("seconds")
    takes = "does it" if seconds is None else f"takes about {duration(seconds)}"
    return f"Not certified: {plain(entry['why'])}. This {takes}:", plain(entry["command"])


def _gap(result: CertifiedResult) -> str:
    """The gap in percentage points, with the decimals that its interval supports."""
    search = result.search
    ends = unpaired_difference(search.k, search.n, result.k, result.n, alpha=0.05)
    digits = decimals(*ends)
    gap = round(100 * result.gap, digits)
    return f"{gap:+.{digits}f}" if gap else "0"


def _worst_neighbour(result: CertifiedResult) -> str:
    worst = result.worst_neighbour
    if worst is None:
        return "–"
    moved = config_text(Point({worst.parameter: worst.value}), [worst.parameter])
    bound, known = result.neighbourhood_bound, result.number
    if known is not None and worst.number is not None:
        text = f"{worst.number.text} ({moved})"
        least = bound is not None and math.isfinite(bound)
        return f"{text}; all {known.asked.side} {number(bound or 0.0)}" if least else text
    text = f"{worst.rate_text} ({moved})"
    return text if bound is None else f"{text}; all at least {lower_percent(bound)}"


# -------------------------------------------------------------------------------------------------
# The neighbours of the best, where a model of the judged number says what they may solve.

MOVED = 0.2
"""How far a setting is moved, as with `xortune certify --neighbourhood 0.2`, which measures it."""

SHOWN_NEIGHBOURS = 5
"""Configs whose neighbours are told."""

FEWEST_CONFIGS = 12
"""A model of fewer configurations knows little of any neighbour."""


def neighbour_table(run: Run) -> Table | None:
    """The best configs with the expected success rate of the worst of their neighbours.

    None where no rule judges a number, or where there are too few configs to learn from, or
    without the space.
    """
    try:
        space = run.asked
    except InputError:  # the report is of what the journal has, with or without the space file
        return None
    learned, results = learned_number(space), run.results[:KNOWN_CONFIGS]
    if learned is None or learned.limit is None:
        return None
    axes = axes_of(space.parameters)
    inside = [one for one in results if all(axis.has(one.point) for axis in axes)]
    if len(inside) < FEWEST_CONFIGS:
        return None
    sums = [learned.summary(summary_of(one.outcome, space.objectives)) for one in inside]
    at = np.array([coordinates_of(axes, one.point) for one in inside])
    numbers_of = NumberSums(*np.array(sums).T)
    known = Observed(at, *distances(numbers_of, learned.bar))
    shown = [(one, neighbours(one.point, space, MOVED)) for one in inside[:SHOWN_NEIGHBOURS]]
    moved = [(one, name, point) for one, near in shown for name, point in near]
    if not moved:
        return None
    rates = success_rates(axes, known, np.array([coordinates_of(axes, p) for *_, p in moved]))
    worst: dict[str, tuple[float, ConfigResult, str, Point]] = {}
    for rate, (one, name, point) in zip(rates.tolist(), moved, strict=True):
        if one.key not in worst or rate < worst[one.key][0]:
            worst[one.key] = rate, one, name, point
    names = report_of(run).varied
    rows = [
        (
            named(one.point, names),
            Mono(one.key),
            one.outcome.count.text,
            percent(rate),
            config_text(Point({name: point[name]}), [name]),
        )
        for rate, one, name, point in worst.values()
    ]
    heads = [*texts("configuration", "key"), *numbers("solved", "worst neighbour")]
    return table_of([*heads, *texts("its setting")], rows)


# -------------------------------------------------------------------------------------------------
# The Pareto front.

SHOWN_FRONT = 30


@dataclass(frozen=True)
class FrontTable:
    """The rows of a front with their configs, and how many more there are."""

    about: str
    table: Table
    more: int
    results: tuple[ConfigResult, ...]
    names: tuple[str, ...]


def front_table(run: Run) -> FrontTable | None:
    """The front of a run with the parameters that vary; None with one objective."""
    objectives = run.objectives
    if len(objectives) == 1:
        return None
    compared = compared_for_front(run)
    front = [row for row in compared if row.on_front]
    front.sort(key=lambda row: (*map(row.cost, objectives), row.result.key))
    names = [name for name in report_of(run).varied if name not in {o.name for o in objectives}]
    rows = [
        (
            *(config_text(row.result.point, names), Mono(row.result.key)),
            *(cell for o in objectives for cell in _cells(o, row)),
        )
        for row in front[:SHOWN_FRONT]
    ]
    [about] = lines_of(
        "front.txt.jinja",
        objectives=objectives,
        compared=len(compared),
        full=run.full_seeds,
        found=len(front),
    )
    columns = [name for objective in objectives for name in _heads(objective)]
    table = table_of([*texts("configuration", "key"), *numbers(*columns)], rows)
    shown = tuple(row.result for row in front[:SHOWN_FRONT])
    return FrontTable(about, table, len(front) - len(rows), shown, tuple(names))


def _heads(objective: Objective) -> tuple[str, ...]:
    if (measured := objective.measured) is None:
        return (plain(objective.name),)
    return (measured.heading, "95 % interval") if measured.interval else (measured.heading,)


def _cells(objective: Objective, row: FrontRow) -> tuple[str, ...]:
    amount, seen = row.estimate[objective.name], row.seen
    if (measured := objective.measured) is None:
        at = row.result.point
        return (value(at[objective.name]) if objective.is_parameter else number(amount),)
    if measured.interval:  # a share of the seeds
        return SeedCount(round(amount * seen.n), seen.n).text, interval(*measured.interval(seen))
    return (measured.write(amount) if np.isfinite(amount) else "–",)


# -------------------------------------------------------------------------------------------------
# failures.txt: the output of failed seeds. Only a command has output.

PRINTED = "failures.txt"  # in the run directory
MOST_PRINTED = 1_000  # seeds in it; the journal has all


def failure_log(run: Run) -> str | None:
    """The output of failed seeds of the search, then of the certificate; None if there is none."""
    entries: list[str] = []
    more = 0
    detailed = [
        *((r.point, r.outcome.details, "") for r in (run.results if run.results.detailed else ())),
        *(
            (check.block.point, check.outcome.details, " (on fresh seeds)")
            for check in run.checks
            if check.outcome is not None
        ),
    ]
    for point, details, where in detailed:
        for seed in details.output:
            if len(entries) == MOST_PRINTED:
                more += 1
                continue
            head = f"=== seed {seed} of {point.key}{where}: {config_text(point, tuple(point))}"
            lines = details.output[seed].rstrip().splitlines()
            body = "\n".join(plain(line.replace("\t", "    ")) for line in lines)
            entries.append(f"{head}\n=== {plain(details.failed[seed])}\n{body}\n")
    if more:
        entries.append(f"... and {more:,} other seeds, which the journal has.\n")
    return "\n".join(entries) or None


# -------------------------------------------------------------------------------------------------
# table.tex: the best configs as a table for a paper.


def table_tex(run: Run) -> str:
    """The best configs: counts, rates, intervals, and the bounds of the certificate."""
    report, certificate = report_of(run), run.certificate
    if report.best is None:
        nothing = "No configuration has finished yet."
        return latex_table(table_of(texts("configuration"), (), nothing))
    fresh = {} if certificate is None else {f.key: f for f in certificate.finalists}
    side = None if certificate is None or not certificate.asked else certificate.asked.side
    configs = config_table(run, PRINTED_CONFIGS, _of_finalists(fresh, side or "at least"))
    shown = {column.name for column in configs.shown(Form.LATEX, configs.rows)}
    [caption] = lines_of(
        "caption.txt.jinja",
        report=report,
        given=configs,
        epochs=EPOCHS_TO_SOLVE in shown,
        same=config_text(report.best.point, report.fixed),
        certificate=certificate if FRESH in shown else None,
    )
    return latex_table(
        percent_above(configs.table(Form.LATEX, caption)),
        label=f"tab:{report.title}",
        comments=[
            "The keys of the configurations, by row:",
            *(f"{place}: {row['key']}" for place, row in enumerate(configs.rows, 1)),
        ],
    )


FRESH, AT_LEAST = "(fresh)", "(at least)"


def _of_finalists(fresh: Mapping[str, CertifiedResult], side: str) -> tuple[Column, Column]:
    """The counts, or the statistic, and the bounds of finalists on fresh seeds."""

    def found(rows: Rows) -> list[CertifiedResult | None]:
        return [fresh.get(key) for key in rows.configs.keys]

    def seeds(row: ConfigRow) -> str:
        one = fresh.get(row["key"])
        return "" if one is None else one.text if one.number is None else one.cells[2]

    def bound(row: ConfigRow) -> str:
        return "" if (one := fresh.get(row["key"])) is None else one.cells[0]

    column = partial(Column, where=frozenset({Form.LATEX}), part=Part.REMARKS)
    return (
        column(FRESH, "fresh seeds", lambda rows: [one and one.k for one in found(rows)], seeds),
        column(
            AT_LEAST,
            side,
            lambda rows: [one and one.n for one in found(rows)],
            bound,
        ),
    )
