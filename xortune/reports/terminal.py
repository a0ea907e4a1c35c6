"""Output in the terminal: a run, its certificate, a comparison, a plan, a space."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count as count_from
from pathlib import Path
from typing import Any

from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from xortune.certificates.plan import ComparisonPlan, RatePlan, Speed
from xortune.comparisons.comparison import Comparison, Reused
from xortune.comparisons.measures import SIGN
from xortune.core.formats import config_text, count, duration, estimated, plain, span, value
from xortune.core.numbers import Summary, statistic_named
from xortune.core.outcome import MOST_NUMBERS, Outcome
from xortune.core.point import Point
from xortune.reports.analysis import Report, report_of
from xortune.reports.comparison import MOST_SENTENCES, contestants_table, pairs_table
from xortune.reports.document import (
    PRINTED_CONFIGS,
    Heading,
    Table,
    lines_of,
    numbers,
    paragraphs_of,
    table_of,
    texts,
    without_rule,
)
from xortune.reports.drawing.model import shortened
from xortune.reports.figures.common import KEY
from xortune.reports.figures.frontier import required_rate
from xortune.reports.files import FOLDER, PICTURES
from xortune.reports.parameters import differing
from xortune.reports.progress import facts_table
from xortune.reports.run import (
    WORST,
    certified_lines,
    certified_table,
    config_table,
    front_table,
    left_out,
)
from xortune.runs.certificate import CERTIFICATE
from xortune.runs.columns import NOTE, Form, Part
from xortune.runs.manifest import imported_from
from xortune.runs.run import Run
from xortune.spaces.model import EPOCHS_TO_SOLVE
from xortune.spaces.model import FLAWLESS_SEEDS as FIRST_SEEDS


def _print(console: Console, *texts: str, whole: bool = False) -> None:
    """Print texts without markup; with `whole`, each on one line, so that it can be copied."""
    for text in texts:
        console.print(Text(plain(text)), soft_wrap=whole)


def rich_table_of(table: Table) -> rich_table.Table:
    """A table for rich with numbers aligned right; texts may break."""
    return _rich(_columns(table))


def _columns(table: Table) -> list[_Shown]:
    cells = [*zip(*table.rows, strict=True)] if table.rows else [()] * len(table.headings)
    return [_Shown(*one) for one in zip(table.headings, cells, strict=True)]


def _numeric(table: Table) -> list[_Shown]:
    """The columns of numbers: the terminal shows parameters and keys in columns of their own."""
    return [one for one in _columns(table) if one.heading.numeric]


# -------------------------------------------------------------------------------------------------
# A table with one line for each config at any width: it shortens and omits parameters.

LONGEST_HEAD = 24  # characters of another heading
LONGEST_CELL = 16  # characters of a parameter's name or value if not all fit in full


@dataclass(frozen=True)
class _Shown:
    """A column in the terminal: a cell for each row, and a style for all or for each.

    `bar` is a column before it where the terminal has room.
    """

    heading: Heading
    cells: Sequence[str]
    style: str | Sequence[str] = ""
    bar: _Shown | None = None

    @property
    def width(self) -> int:
        return 2 + max(cell_len(plain(text)) for text in (*self.head, *self.cells))

    @property
    def head(self) -> list[str]:
        """The lines of its heading."""
        return self.heading.text.split("\n")

    def shortened(self) -> _Shown:
        """The column with short cells; its name may break after underscores."""
        cells = [shortened(cell, LONGEST_CELL) for cell in self.cells]
        room, lines = max(map(len, cells), default=0), [""]
        for part in re.findall(r"[^_]*_+|[^_]+", shortened(self.heading.text, LONGEST_CELL)):
            if lines[-1] and len(lines[-1] + part) > room:
                lines.append("")
            lines[-1] += part
        return replace(self, heading=replace(self.heading, text="\n".join(lines)), cells=cells)


def _key_digits(keys: Sequence[str]) -> int:
    """The digits that distinguish these keys, at least as many as in figures."""
    return next(n for n in count_from(KEY) if len({key[:n] for key in keys}) == len(set(keys)))


def _keys(keys: Sequence[str], digits: int) -> _Shown:
    return _Shown(Heading("key"), [key[:digits] for key in keys], "cyan")


def _parameters(points: Sequence[Point], names: Sequence[str]) -> list[_Shown]:
    """A column for each parameter; its cell is empty if the parameter is inactive."""
    return [
        _Shown(Heading(name), [value(p[name]) if name in p else "" for p in points])
        for name in names
    ]


def _print_rows(
    console: Console,
    front: Sequence[_Shown],
    parameters: Sequence[_Shown],
    key: _Shown,
    *,
    order: Sequence[str] = (),
) -> bool:
    """Print a row for each config, and the names of parameters that did not fit.

    The columns in `front` and the key are always printed, and the bar of one if it fits beside the
    parameters. The first parameter in `order` gets room first.

    Returns:
        Whether the bar was printed.
    """
    room = console.width + 2 - sum(one.width for one in (*front, key))  # the last has no padding
    kept = {one.heading.text: one for one in parameters}
    omitted: list[str] = []
    if sum(one.width for one in parameters) > room:
        short = {name: one.shortened() for name, one in kept.items()}
        kept = {}
        for name in dict.fromkeys([*(n for n in order if n in short), *short]):
            if short[name].width <= room - sum(one.width for one in kept.values()):
                kept[name] = short[name]
        omitted = [name for name in short if name not in kept]
        kept = {name: one for name, one in short.items() if name in kept}
    room -= sum(one.width for one in kept.values())
    columns, has_bar = list[_Shown](), False
    for column in (*front, *kept.values(), key):
        if (bar := column.bar) is not None and console.width >= BAR_FROM and bar.width <= room:
            columns.append(bar)
            has_bar = True
        columns.append(column)
    console.print(_rich(columns, whole=True))
    if omitted:
        _print(console, f"No room here for {', '.join(omitted)}: table.csv has all.")
    return has_bar


def _rich(columns: Sequence[_Shown], *, whole: bool = False) -> rich_table.Table:
    """A table for rich with numbers aligned right; with `whole`, only headings break."""
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for one in columns:
        table.add_column(
            Text("\n".join(map(plain, one.head))),
            justify="right" if one.heading.numeric else "left",
            vertical="bottom" if whole else "top",
            overflow="fold",
            no_wrap=whole or one.heading.numeric,
        )
    for row in range(len(columns[0].cells)):
        styles = [one.style if isinstance(one.style, str) else one.style[row] for one in columns]
        table.add_row(*(Text(plain(c.cells[row]), s) for c, s in zip(columns, styles, strict=True)))
    return table


# -------------------------------------------------------------------------------------------------
# An interval of a rate as a bar of text.

BAR_WIDTH = 10  # characters of a bar


def interval_bar(low: float, high: float, *, blocks: bool = True) -> str:
    """A bar from 0 to 100 %: full up to the lower end of an interval, shaded up to the upper.

    The full part is rounded down, to an eighth of a character, and the shade up to whole ones.
    Without Unicode `blocks` the bar consists of `#` and `-`.
    """
    # The inner round() undoes binary dust such as 3.0000000000000004.
    shaded = math.ceil(round(high * BAR_WIDTH, 9))
    full, part = divmod(math.floor(round(low * BAR_WIDTH * 8, 9)), 8)
    if not blocks:
        return ("#" * full).ljust(shaded, "-").ljust(BAR_WIDTH)
    bar = "█" * full + " ▏▎▍▌▋▊▉"[part] * (part > 0)
    return bar.ljust(shaded, "░").ljust(BAR_WIDTH)


# -------------------------------------------------------------------------------------------------
# A run.

BAR_FROM = 70  # columns of the narrowest terminal with bars

FILES = {
    "report.html": "html",
    "report.md": "md",
    "table.csv": "csv",
    "table.tex": "tex",
    "seeds.parquet": "parquet",
    "failures.txt": "md",
    CERTIFICATE: None,
}
"""The files of a run, and the format of each."""


def render_best(run: Run, console: Console, formats: Sequence[str] | None = None) -> None:
    """Print the best ten configs; colours follow the console, which honours NO_COLOR.

    Args:
        run: what to print.
        console: where to.
        formats: of the files that were written; None for all.

    Raises:
        InputError: the run's blocks contradict each other.
    """
    report = report_of(run)
    if (origin := imported_from(run.manifest)) is not None:
        _print(console, origin.sentence)
    if report.best is None:
        _print(console, "No configuration has finished yet.")
    else:
        _print_configs(run, report, console)
    if run.certificate is not None:
        render_certificate(run, console)
    elif report.totals.solved and report.commands.again is not None:
        here = report.commands.again.replace(" RUN ", f" {shlex.quote(plain(str(run.path)))} ")
        _print(console, f"  {here}", whole=True)
    if report.end.stopped is not None:
        done = count(report.totals.proposals, "proposal")
        _print(
            console, f"Stopped early, after {done}: {report.end.stopped}; --resume continues it."
        )
    if (left := left_out(run.manifest)) is not None:
        sentence, command = left
        _print(console, sentence)
        _print(console, f"  {command}", whole=True)
    files = [run.path / name for name, one in FILES.items() if formats is None or one in formats]
    if formats is not None and not set(PICTURES).isdisjoint(formats):
        files.append(run.path / FOLDER)
    _print(console, *(str(file) for file in files if file.exists()), whole=True)


def _print_configs(run: Run, report: Report, console: Console) -> None:
    table = config_table(run, PRINTED_CONFIGS)
    assert report.best is not None
    points = [result.point for result in report.top]
    varied = differing(report.top, report.varied)
    if same := config_text(report.best.point, report.fixed):
        _print(console, f"The same in all: {same}")
    if alike := config_text(points[0], [n for n in report.varied if n not in varied]):
        same = f"The same in these {len(points)}" if len(points) > 1 else "The configuration"
        _print(console, f"{same}: {alike}")
    columns = table.shown(Form.TERMINAL, table.rows)
    blocks = console.encoding.startswith("utf")
    styles = [NOTED.get(row[NOTE], "") for row in table.rows]
    digits = _key_digits(run.results.keys)
    counts: list[_Shown] = []
    for column, shown in zip(columns, _columns(table.table(Form.TERMINAL)), strict=True):
        if column.part in (Part.KEY, Part.PARAMETERS):
            continue
        head = replace(shown.heading, text=shortened(shown.heading.text, LONGEST_HEAD))
        bar = None
        if column.has_bar:
            bars = [interval_bar(row["low"], row["high"], blocks=blocks) for row in table.rows]
            bar = _Shown(Heading(""), bars, styles)
        style = styles if column.name == "k" else ""
        counts.append(replace(shown, heading=head, style=style, bar=bar))
    has_bars = _print_rows(
        console,
        counts,
        _parameters(points, varied),
        _keys([row["key"] for row in table.rows], digits),
        order=[effect.name for effect in report.importance.effects],
    )
    if (required := required_rate(run)) is not None:
        _print(console, *required.sentences[:1])  # those of fresh seeds are the certificate's
    if (front := front_table(run)) is not None:
        _print(console, f"The Pareto front. {front.about}")
        if front.results:
            _print_rows(
                console,
                _numeric(front.table),
                _parameters([r.point for r in front.results], front.names),
                _keys([r.key for r in front.results], digits),
            )
        if front.more:
            _print(console, f"... and {front.more:,} more: the column front of table.csv.")
    has_epochs = EPOCHS_TO_SOLVE in {column.name for column in columns}
    values = {"run": run, "report": report, "bars": has_bars, "epochs": has_epochs}
    worded = str if any(one.bar for one in counts) else without_rule
    _print(console, *map(worded, lines_of("remarks.txt.jinja", **values)))


NOTED = {"best subset": "green", "fewer seeds": "dim"}
"""Colours of counts, by the notes of configurations."""


def render_certificate(run: Run, console: Console) -> None:
    """Print the finalists on fresh seeds, each with its largest bound, and the other attempts."""
    certificate = run.certificate
    assert certificate is not None
    if finalists := certificate.finalists:
        columns = _numeric(certified_table(certificate, run))
        worst = [cell for one in columns if one.heading.text == WORST for cell in one.cells]
        points = [finalist.point for finalist in finalists]
        _print_rows(
            console,
            [one for one in columns if one.heading.text != WORST],
            _parameters(points, differing(finalists, report_of(run).varied)),
            _keys([one.key for one in finalists], digits := _key_digits(run.results.keys)),
        )
        for finalist, text in zip(finalists, worst, strict=False):
            _print(console, f"{finalist.key[:digits]}, {WORST}: {text}")
        _print(console, certificate.sentence)
    _print(console, *certified_lines(certificate))
    if (required := required_rate(run)) is not None:
        _print(console, *required.sentences[1:])  # of fresh seeds; the first is of the search
    if certificate.finalists:
        gap = "gap: how far the search's rate lay above that of fresh seeds."
        better = "optimism: how much better the search's value was than that of fresh seeds."
        _print(console, gap if certificate.asked is None else better)


# -------------------------------------------------------------------------------------------------
# A comparison, and its values for `--json`.

LEFT_OUT = {"A solved", "B solved", "only A", "only B", "p", "more seeds"}
"""The columns of a table of pairs that a terminal lacks if it is too narrow for all."""


def render_comparison(comparison: Comparison, files: Sequence[Path], console: Console) -> None:
    """Print what was compared with what, the answer, and where the files are."""
    lines = comparison.lines
    if comparison.max_seeds is not None:
        basis = (
            f"{comparison.n:,} seeds of each from {comparison.first_seed}, at most "
            f"{comparison.max_seeds:,}; looked at after each, wrong with probability "
            f"{comparison.alpha:g} at most."
        )
        lines = [*lines, basis]
    else:
        _print(console, lines.pop(0))
        console.print(rich_table_of(contestants_table(comparison, narrow=True)))
        if len(lines) > MOST_SENTENCES:
            shown = _columns(pairs_table(comparison))
            if sum(one.width for one in shown) > console.width + 2:
                shown = [one for one in shown if one.heading.text not in LEFT_OUT]
            console.print(_rich(shown))
            lines = []
    _print(console, *lines, *comparison.notes)
    _print(console, *map(str, files), whole=True)


def comparison_json(comparison: Comparison, files: Sequence[Path]) -> dict[str, Any]:
    """The answer and its basis, with the names of comparison.csv.

    In a sequential comparison, `best` is the label of the contestant that is proven better.
    """
    measure, best = comparison.measure, comparison.best
    sequential = comparison.max_seeds is not None
    values: dict[str, Any] = {
        "answer": comparison.lines,
        "alpha": comparison.alpha,
        "confidence": comparison.confidence,
        "margin": comparison.margin,
        "best": None if best is None else comparison.contestants[best].label,
        "first_is_worse": comparison.first_is_worse,
        "contestants": [],
        "pairs": _records(comparison.table),
        "notes": comparison.notes,
    }
    if not measure.is_rate:
        values |= {"by": measure.text, "better": measure.better, "bounds": measure.limits}
    if sequential:
        looked = {name: getattr(comparison, name) for name in ("n", "max_seeds", "first_seed")}
        values |= {"sequential": True, **looked}
    for place, one in enumerate(comparison.contestants):
        found: dict[str, Any] = {
            "label": one.label,
            "key": one.key,
            "config": None if one.point is None else one.point.as_dict(),
            "n": one.outcome.n,
            "seeds_from": one.origin,
            "first_seed": int(one.outcome.seeds[0]),
            "facts": dict(one.facts),
            "notes": list(one.notes),
        }
        if measure.is_rate:
            found["k"] = one.outcome.successes
        if measure.statistic != SIGN:
            estimate, *ends = map(_known, comparison.estimate(place))
            found["rate" if measure.is_rate else "value"] = estimate
            if not sequential:
                found |= dict(zip(("low", "high"), ends, strict=True))
        if measure.is_rate and not sequential:
            epochs = comparison.epochs.of[place]
            found["middle_epochs"] = epochs and _known(epochs.value)
        values["contestants"].append(found)
    reused = None if comparison.reused is None else _reused_json(comparison.reused)
    return values | {"reused": reused, "files": [str(path) for path in files]}


def _reused_json(reused: Reused) -> dict[str, Any]:
    """How many seeds are old; times are UTC."""
    times = {
        name: None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
        for name, at in (("oldest", reused.oldest), ("newest", reused.newest))
    }
    return asdict(reused) | times


def _known(amount: float) -> float | None:
    return amount if math.isfinite(amount) else None


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows


# -------------------------------------------------------------------------------------------------
# The seeds of one configuration, a plan, a space.


def render_outcome(outcome: Outcome, console: Console) -> None:
    """Print how many seeds are solved, how the others ended, and their numbers without a rule."""
    _print(console, *lines_of("outcome.txt.jinja", outcome=outcome))
    if not outcome.details.ruled:
        for name in outcome.number_names[:MOST_NUMBERS]:
            console.print(rich_table_of(_summary_table(outcome.summary(name))))


def _summary_table(summary: Summary) -> Table:
    """A number of the seeds: each statistic with its interval."""
    rows = [
        (
            statistic_named(name).heading,
            estimated(*estimate),
            span(*estimate[1:]),
        )
        for name, estimate in summary.estimates.items()
    ]
    return table_of([*texts(plain(summary.name)), *numbers("value", "95 % interval")], rows)


def render_plan(planned: RatePlan | ComparisonPlan, speed: Speed, console: Console) -> None:
    """Print how many seeds a claim needs, and how long they take at the measured speed."""
    each, point = speed.seconds_for_each, speed.config.point
    rows: list[tuple[str, ...]]
    if isinstance(planned, RatePlan):
        columns = numbers("failures", "seeds", "time here", "likely from", "gate, at best")
        rows = [
            (
                str(claim.failures),
                f"{claim.seeds:,}",
                duration(claim.seeds * each),
                f"{100 * claim.passes_from:.3f} %",
                f"{claim.gate_seeds:,}",
            )
            for claim in planned.claims
        ]
    else:
        columns = [*numbers("seeds for each", "time here"), *texts("which")]
        ways = (
            (planned.independent, "different seeds, Fisher's test (Boschloo's: at least as often)"),
            (planned.shared, "the same seeds, exact McNemar test; failures independent"),
            (planned.nested, "the same, if the better one solves all that the worse one does"),
        )
        rows = [(f"{seeds:,}", duration(2 * seeds * each), way) for seeds, way in ways]
    values = {"speed": speed, "each": duration(each), "config": config_text(point, point)}
    first, *others = lines_of("plan.txt.jinja", planned=planned, **values)
    _print(console, first)
    console.print(rich_table_of(table_of(columns, rows)))
    _print(console, *others)


def space_facts(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The label and the text of each line about a space, from `spaces.space.describe`."""
    at_once = [rung for rung in description["ladder"][1:] if rung <= FIRST_SEEDS]
    lines = paragraphs_of("space.txt.jinja", **description, at_once=at_once)
    return [(label, text) for label, _, text in (line.partition(": ") for line in lines)]


def render_space(description: Mapping[str, Any], console: Console) -> None:
    """Print what a space contains, and what searching it may cost."""
    console.print(facts_table(space_facts(description)))
