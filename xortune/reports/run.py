"""The report of a run as a document: the answer first, then what it rests on, the words last."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isfinite

import numpy as np

from xortune.core.counts import wilson
from xortune.core.formats import (
    config_text,
    count,
    estimated,
    interval,
    measured,
    number,
    percent,
    plain,
    span,
    value,
)
from xortune.core.outcome import Details, Status
from xortune.core.point import Point
from xortune.racing.objectives import numbers_in, summed, summed_interval, ties_of
from xortune.reports.certified import certified_lines, certified_rows, header, left_out, lower
from xortune.reports.document import (
    Block,
    Code,
    Column,
    ConfigRow,
    ConfigTable,
    Document,
    Figure,
    Inline,
    Mono,
    Section,
    Strong,
    Subheading,
    Table,
    said,
    table_of,
)
from xortune.reports.figures.all import figures_of
from xortune.reports.tables import ParameterEffect, Report, report_of, task_argument
from xortune.reports.words import (
    BAND,
    EPOCHS,
    FAILURES,
    FRONT,
    GIVEN,
    IMPORTANCE,
    INTERVAL,
    LOOKS,
    PARAMETERS,
    SHARED_SEEDS,
    SOLVED,
    SUCCESS,
    TIED,
    TRIALS,
    WINNER,
    Meaning,
    certified,
    words,
)
from xortune.runs.certificate import Certificate
from xortune.runs.manifest import imported_from, is_imported
from xortune.runs.results import ConfigResult, epochs_to_solve, full_seeds, more_of
from xortune.runs.run import Run
from xortune.spaces.model import EPOCHS_TO_SOLVE, SUCCESS_RATE, Objective
from xortune.stats.numbers import LEAST, STATISTICS, finite, interval_of_all, summary

# -------------------------------------------------------------------------------------------------
# What failed seeds printed, as a text to read and to search in: of commands, others keep none.

PRINTED = "failures.txt"
"""The file of a run directory."""

MOST = 1_000
"""So many seeds are shown; the journal has all."""


def failure_log(run: Run) -> str | None:
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


# -------------------------------------------------------------------------------------------------
# The numbers that a trainer of the user's own told of its seeds, in the report of a run.

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


# -------------------------------------------------------------------------------------------------
# The Pareto front as a report shows it: rows of text, drawn by `markdown` and `terminal`.

SHOWN = 30


@dataclass(frozen=True)
class FrontTable:
    """What is shown of a front.

    Attributes:
        about: what was looked for, and who was compared.
        header: of the columns, the config's last; all of them text that is not escaped.
        rows: one for each config, the first objective's best first, among equal ones the second's,
            ...; at most `SHOWN`.
        more: how many further ones there are.
    """

    about: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int


def front_table(run: Run, varied: Sequence[str]) -> FrontTable | None:
    """The front of a run; None where there is one objective.

    Args:
        run: whose.
        varied: the parameters that differ between its configs.

    Raises:
        InputError: the manifest's objectives are damaged.
    """
    front = run.front
    if front is None:
        return None
    objectives = run.objectives
    found = [r for r, on_it in zip(run.results, front, strict=True) if on_it]
    found.sort(key=lambda result: (*(_sorting(o, result) for o in objectives), result.key))
    names = [name for name in varied if name not in {o.name for o in objectives}]
    rows = [
        (*(cell for o in objectives for cell in _cells(o, r)), config_text(r.point, names), r.key)
        for r in found[:SHOWN]
    ]
    wanted = ", ".join(f"{plain(o.name)} ({'more' if o.maximize else 'less'})" for o in objectives)
    full = full_seeds(run.results, run.manifest)
    compared = sum(result.outcome.n >= full for result in run.results)
    about = (
        f"Looked for: {wanted}. Of {count(compared, 'configuration')} with the full "
        f"{count(full, 'seed')}, {len(found) or 'none'} {'is' if len(found) == 1 else 'are'} on "
        "the front: no other of them is as good in everything and better in something, by what "
        "was measured. Two that lie close together may have changed places by chance. Those with "
        "fewer seeds are not compared."
    )
    header = (*(name for o in objectives for name in _names(o)), "configuration", "key")
    return FrontTable(about, header, tuple(rows), len(found) - len(rows))


def _sorting(objective: Objective, result: ConfigResult) -> float:
    if objective.number is not None:
        worth = summed(objective, numbers_in(result.outcome, objective.number))
        return -worth if objective.maximize else worth
    if objective.name == SUCCESS_RATE:
        return -result.outcome.rate
    if objective.name == EPOCHS_TO_SOLVE:
        epochs = result.outcome.epochs_to_solve
        return float("inf") if epochs is None else epochs
    given = result.point[objective.name]
    assert isinstance(given, int | float)
    return -given if objective.maximize else given


def _names(objective: Objective) -> tuple[str, ...]:
    if objective.name == SUCCESS_RATE:
        return "solved", "95 % interval"
    return ("epochs to solve",) if objective.name == EPOCHS_TO_SOLVE else (plain(objective.name),)


def _cells(objective: Objective, result: ConfigResult) -> tuple[str, ...]:
    outcome = result.outcome
    if objective.name == SUCCESS_RATE:
        return f"{outcome.successes}/{outcome.n}", interval(*outcome.interval())
    if objective.name == EPOCHS_TO_SOLVE:
        epochs = outcome.epochs_to_solve
        # Not rounded to whole ones: one that is on the front by half an epoch would seem not to be.
        return ("–" if epochs is None else number(epochs),)
    if objective.number is not None:
        return (number(summed(objective, numbers_in(outcome, objective.number))),)
    return (value(result.point[objective.name]),)


# -------------------------------------------------------------------------------------------------
# The configs of a run in its report: the table of all, the Pareto front, and who is tied.

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


# -------------------------------------------------------------------------------------------------
# The answer of a run in its report: which config, how sure, and what fresh seeds say of it.


def answer(run: Run, report: Report) -> list[Block]:
    """The best config with its counts, what is certified, and who cannot be told from it."""
    origin = imported_from(run.manifest)
    told = [] if origin is None else [said(plain(origin.sentence))]
    return [*told, *_found(run, report), *_unfinished(report), *_left_out(run)]


def certificate(given: Certificate, report: Report) -> list[Block]:
    """The finalists on seeds that the search never saw."""
    names = header(given)
    columns = [Column(names[0]), *(Column(name, numeric=True) for name in names[1:])]
    rows = certified_rows(given, report.varied)
    return [
        said(
            "The search's own counts are those of winners, and so are partly luck. The gap is how "
            "far they lay above the rate on fresh seeds, in percentage points."
        ),
        *([table_of(columns, rows)] if rows else []),
        *(said(line) for line in certified_lines(given)),
        said("Everything needed to check this is in ", Mono("certificate.json"), "."),
    ]


def _found(run: Run, report: Report) -> list[Block]:
    best = report.best
    if best is None:
        return [said("No configuration has finished yet, so there is no answer.")]
    visited = count(report.configs, "configuration")
    if not report.solved:
        return [
            said(
                f"Nothing solved the task: {visited} trained, {count(report.seeds, 'seed')} in "
                "all, and not one of the seeds was solved. How they failed is below; a larger or "
                f"another search space{', or more epochs,' if run.is_network else ''} is the next "
                "thing to try."
            ),
            *looked_for(report),
        ]
    name: list[Inline] = [Strong(named(best.point, report.varied)), " (", Mono(best.key), ")"]
    told = (
        said(f"The best of {visited} is ", *name, f": it solved {_solved(best)}.")
        if report.configs > 1
        else said("The only configuration, ", *name, f", solved {_solved(best)}.")
    )
    blocks: list[Block] = [told, *looked_for(report)]
    blocks += _fresh(run.certificate, best, report)
    others = len(report.tied.members) - 1
    if others > 0 and report.looked_for is None:
        verb = "cannot be told from the best of those that"
        blocks.append(
            said(
                f"{count(others, 'other configuration')} {verb} got the full "
                f"{count(report.tied.full, 'seed')}."
            )
        )
    return blocks


def _fresh(given: Certificate | None, best: ConfigResult, report: Report) -> list[Block]:
    """What the last complete attempt says: of the best, and of whoever leads on fresh seeds."""
    finalists = () if given is None else given.finalists
    if given is None or not finalists:
        luck = "That is a winner's count, and so partly luck: " if report.configs > 1 else ""
        what = "it has not been tried on seeds that the search never saw."
        return [said(luck + what if luck else what.capitalize())]
    level = f"{number(100 * given.confidence)} % confidence"
    blocks: list[Block] = []
    for found in finalists:
        if found.key == best.key:
            blocks += [
                said(
                    f"On {count(found.n, 'seed')} that the search never saw it solved {found.k:,}: "
                    f"with {level}, it solves ",
                    Strong(f"at least {lower(found)}"),
                    " of all seeds.",
                )
            ]
    first = finalists[0]
    if first.key != best.key:
        blocks.append(
            said(
                f"Of {count(len(finalists), 'finalist')} on fresh seeds, the first is ",
                Strong(named(first.point, report.varied)),
                " (",
                Mono(first.key),
                f"): {first.k:,} of {count(first.n, 'seed')}, ",
                f"with {level} at least {lower(first)}.",
            )
        )
    return blocks


def _solved(result: ConfigResult) -> str:
    outcome = result.outcome
    low, high = outcome.interval()
    return (
        f"{outcome.successes:,} of {count(outcome.n, 'seed')}, {measured(outcome.rate, low, high)} "
        f"(95 % interval {interval(low, high)})"
    )


def _unfinished(report: Report) -> list[Block]:
    if report.complete:
        return []
    return [
        said(
            "The search ended before its end"
            + (f" ({plain(report.stopped)}); " if report.stopped else ": it was interrupted; "),
            Mono("--resume"),
            " continues it.",
        )
    ]


def _left_out(run: Run) -> list[Block]:
    left = left_out(run.manifest)
    if left is None:
        return []
    sentence, command = left
    return [said(Strong(sentence)), Code(command, "sh")]


# -------------------------------------------------------------------------------------------------
# The other sections of a run's report: parameters, failures, what was asked, doing it again.

SHOWN_REASONS = 20

WHAT = (Column("what"), Column("value"))


def asked(report: Report) -> list[Block]:
    """What was asked and done, and the space file."""
    done = (
        f"{count(report.proposals, 'proposal')}, {count(report.configs, 'configuration')}, "
        f"{count(report.seeds, 'seed')}"
    )
    blocks: list[Block] = [table_of(WHAT, [*report.asked, ("done", done)])]
    if report.space is not None:
        blocks += [said("The search space:"), Code(report.space, "yaml")]
    return blocks


def parameters(report: Report) -> list[Block]:
    """Mean rates per level of each parameter that differs."""
    if not report.effects:
        return [
            said("No parameter differs between the configurations, so there is nothing to compare.")
        ]
    blocks: list[Block] = [
        said(
            "Mean success rate at each level, ",
            Strong("among the configs visited"),
            ": every configuration counts once, and the interval (95 %, bootstrap over "
            "configurations) says how far chance among them reaches. A search visits good regions "
            "more often, so this is no fair survey of the space. Below 5 configurations, and where "
            "all have the same rate, there is no interval.",
        )
    ]
    if report.too_few_for_importance is not None:
        configs, better, needed = report.too_few_for_importance
        blocks.append(
            said(
                "How important each parameter is cannot be said: that compares the better tenth of "
                f"the configurations with all of them, and takes {2 * needed} with {needed} in the "
                f"better tenth. Here are {configs:,} with {better:,}."
            )
        )
    for effect in report.effects:
        share = "" if effect.importance is None else f" (importance {percent(effect.importance)})"
        blocks += [Subheading(f"{effect.name}{share}"), _levels(effect)]
        if effect.left_out:
            blocks.append(
                said(
                    f"... and {count(effect.left_out, 'other value')}, each in as few "
                    "configurations as the rarest of these or in fewer."
                )
            )
    return blocks


CONSTANT = (Status.ALL_ZERO, Status.ALL_ONE)
"""Patterns of their own: where nothing has a pattern, nobody asks for them."""


def failures(report: Report) -> list[Block]:
    """How the seeds of all configs ended."""
    total = sum(report.failures.counts.values())
    if not total:
        return [said("No seed has been trained yet.")]
    columns = [
        Column("ended as"),
        Column("seeds", numeric=True),
        Column("share", numeric=True),
    ]
    rows = [
        (_ended(status, report), f"{found:,}", percent(found / total))
        for status, found in report.failures.counts.items()
        if found or status not in CONSTANT or report.failures.patterns
    ]
    blocks: list[Block] = [
        said(f"Over all {count(total, 'seed')} of all configurations:"),
        table_of(columns, rows),
    ]
    if report.failures.counts[Status.SOLVED] != total and report.failures.patterns:
        columns = [Column("pattern"), Column("seeds", numeric=True)]
        shown: list[tuple[Inline, ...]] = [
            (Mono(_short(pattern)), f"{found:,}") for pattern, found in report.failures.patterns
        ]
        blocks += [
            said(
                "The most frequent wrong patterns (one digit for each judged row, in their order):"
            ),
            table_of(columns, shown),
        ]
    return [*blocks, *_reasons(report)]


def _ended(status: Status, report: Report) -> str:
    """A status in words; where nothing has a pattern, none can be wrong."""
    other = status == Status.WRONG_PATTERN and not report.failures.patterns
    return "no success" if other else status.label.replace("_", " ")


def _reasons(report: Report) -> list[Block]:
    """Why seeds failed, in the words of what trained them."""
    found = report.failures.reasons
    if not found:
        return []
    columns = [
        Column("reason"),
        Column("seeds", numeric=True),
        Column("for example"),
        Column("seed", numeric=True),
    ]
    rows: list[tuple[Inline, ...]] = [
        (plain(reason), f"{often:,}", Mono(key), str(seed))
        for reason, often, key, seed in found[:SHOWN_REASONS]
    ]
    blocks: list[Block] = [said("Why they crashed or diverged:"), table_of(columns, rows)]
    if len(found) > SHOWN_REASONS:
        blocks.append(said(f"... and {len(found) - SHOWN_REASONS:,} other reasons."))
    if report.failures.printed:
        blocks.append(said("The end of what they printed is in ", Mono(PRINTED), "."))
    return blocks


def no_outcome(report: Report) -> list[Block]:
    """Evaluations that came to nothing, by their reason."""
    if not report.no_outcome:
        return [said("Every block of seeds that was tried has an outcome.")]
    columns = [
        Column("reason"),
        Column("given up", numeric=True),
        Column("tried again", numeric=True),
        Column("for example"),
        Column("seeds"),
    ]
    rows: list[tuple[Inline, ...]] = [
        (
            row.reason if len(row.reason) <= 300 else row.reason[:297] + "...",
            str(row.given_up),
            str(row.retried),
            Mono(row.example.block.point.key),
            f"{count(row.example.block.count, 'seed')} from {row.example.block.first}",
        )
        for row in report.no_outcome[:SHOWN_REASONS]
    ]
    blocks: list[Block] = [
        said("The seeds of a block that was given up count as crashed, and so as not solved."),
        table_of(columns, rows),
    ]
    if len(report.no_outcome) > SHOWN_REASONS:
        blocks.append(said(f"... and {len(report.no_outcome) - SHOWN_REASONS:,} other reasons."))
    return blocks


def reproduce(report: Report) -> list[Block]:
    """The command, the versions, the best config as a script and on fresh seeds."""
    blocks: list[Block] = []
    if report.reproduce:
        blocks.append(table_of(WHAT, report.reproduce))
    if report.again and report.solved:
        blocks += [said("The best configuration on fresh seeds:"), Code(report.again, "sh")]
    if report.script is not None:
        blocks += [
            said(
                "One seed of the best configuration in plain PyTorch; it prints the prediction for "
                "each row:"
            ),
            Code(report.script, "python"),
        ]
    elif report.run_as is not None:
        blocks += [said("One seed of the best configuration:"), Code(report.run_as, "sh")]
    elif report.best is not None:
        blocks.append(
            said(
                "There is no plain PyTorch script here: one is written for the built-in network on "
                "a task that its name defines and that has at most 32 rows."
            )
        )
    return blocks or [said("The manifest of this run does not say how it was started.")]


def _levels(effect: ParameterEffect) -> Table:
    columns = [
        Column("level"),
        *(Column(name, numeric=True) for name in ("configs", "mean rate", "95 % interval")),
    ]
    rows = [
        (
            level.label,
            f"{level.configs:,}",
            measured(level.rate, *(level.interval or (0.0, 1.0))),
            "–" if level.interval is None else interval(*level.interval),
        )
        for level in effect.levels
    ]
    return table_of(columns, rows)


def _short(pattern: str) -> str:
    return pattern if len(pattern) <= 32 else f"{pattern[:29]}..."


SECTION_OF = {
    "ranking": "configs",
    "front": "front",
    "importance": "parameters",
    "slices": "parameters",
    "contour": "parameters",
    "parallel-coordinate": "parameters",
    "success-by-epoch": "epochs",
    "failures": "failures",
    "decision-surface": "learned",
    "seeds-spent": "seeds",
    "history": "history",
}
"""Where each figure stands, above what its section says."""


def run_document(run: Run) -> Document:
    """All that the report of a run says, the same for the same run directory.

    Raises:
        InputError: the run's blocks contradict each other, or its certificate or objectives are
            damaged.
    """
    report, fresh = report_of(run), run.certificate
    on_front = front_table(run, report.varied)
    given: list[tuple[str, str, Sequence[Block]]] = [
        ("answer", "The answer", answer(run, report)),
        (
            "certificate",
            "The winners on seeds that the search never saw",
            [] if fresh is None else certificate(fresh, report),
        ),
        ("configs", "The configurations, best first", configs(run, report)),
        ("front", "The Pareto front", [] if on_front is None else front(on_front)),
        ("tied", "Not distinguishable from the best", tied(report)),
        ("parameters", "Which parameters matter", parameters(report)),
        ("numbers", "Numbers of the seeds", numbers(report)),
        ("epochs", "How soon seeds are solved", []),
        ("failures", "How seeds failed", failures(report)),
        ("learned", "What was learned", []),
        ("seeds", "Where the seeds went", []),
        ("history", "How the search went", []),
        ("more", "More figures", []),
        ("asked", "What was asked", asked(report)),
        ("no-outcome", "Evaluations without an outcome", no_outcome(report)),
        ("reproduce", "Do it again", reproduce(report)),
    ]
    figures: dict[str, list[Figure]] = {}
    for plot in figures_of(run):
        figures.setdefault(SECTION_OF.get(plot.name, "more"), []).append(Figure(plot))
    sections = [
        Section(name, heading, (*figures.get(name, ()), *blocks))
        for name, heading, blocks in given
        if blocks or name in figures
    ]
    sections.append(words(_used(run, report, figures)))
    return Document(f"xortune: {report.title}", _subtitle(run, report), tuple(sections))


def _subtitle(run: Run, report: Report) -> str:
    """How much this is the report of."""
    configs, seeds = count(report.configs, "configuration"), count(report.seeds, "seed")
    asked = dict(report.asked)
    named = [f"{name} {asked[name]}" for name in ("task", "sampler") if name in asked]
    origin = imported_from(run.manifest)
    told = [] if origin is None else [f"imported from {plain(origin.source)}"]
    return ", ".join([f"{configs}, {seeds} in all", *told, *named])


def _share_seeds(run: Run) -> bool:
    """A search's configs all have the first ones; what was imported may have any."""
    same = len({result.outcome.seeds.tobytes() for result in run.results}) < 2
    return same or not is_imported(run.manifest)


def _used(run: Run, report: Report, figures: Container[str]) -> list[Meaning]:
    """The entries for what this report shows."""
    solved = SOLVED if run.manifest.get("trainer", "network") == "network" else SUCCESS
    if is_imported(run.manifest):
        solved = GIVEN
    if report.best is None:
        return [solved]
    used = [solved, INTERVAL]
    if report.solved and report.configs > 1:
        used.append(WINNER)
    if run.certificate is not None:
        used.append(certified(run.certificate.confidence))
    if report.tied.stopped and report.looked_for is None:
        used.append(LOOKS)
    if report.configs > 1 and _share_seeds(run):
        used.append(SHARED_SEEDS)
    used += [EPOCHS, TRIALS] if report.best.outcome.epochs else [TRIALS]
    if "epochs" in figures:
        used.append(BAND)
    if report.solved and report.tied.compared > 1 and report.looked_for is None:
        used.append(TIED)
    if run.front is not None:
        used.append(FRONT)
    if report.effects:
        used.append(PARAMETERS)
    if any(effect.importance is not None for effect in report.effects):
        used.append(IMPORTANCE)
    return [*used, FAILURES]
