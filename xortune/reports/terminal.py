"""What the terminal shows of a run and of a comparison: the best ten at 80 columns."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import table as rich_table
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import RunComparison
from xortune.core.errors import InputError
from xortune.core.formats import config_text, count, plain
from xortune.reports.comparison import (
    MOST_SENTENCES,
    compared,
    contestants_table,
    pairs_table,
    published_answer,
)
from xortune.reports.document import FIRST, Column, Table, lines_of, numbers, table_of, texts
from xortune.reports.run import config_table, front_table
from xortune.reports.tables import Report, certified_lines, certified_table, left_out, report_of
from xortune.reports.words import answer as runs_answer
from xortune.reports.words import notes
from xortune.runs.certificate import CERTIFICATE, read_certificate
from xortune.runs.manifest import imported_from
from xortune.runs.run import Run


def _print(console: Console, text: str, *, whole: bool = False) -> None:
    """Print a text as it is; a command or a path stays on one line, so that it can be copied."""
    console.print(Text(plain(text)), soft_wrap=whole)


def _drawn(given: Table, *, breaks: bool = False) -> rich_table.Table:
    """A table with its numbers at the right; where it `breaks`, only counts stay on one line."""
    table = rich_table.Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in given.columns:
        # What is aligned right loses the blanks at its end, which a bar needs.
        table.add_column(
            Text(plain(column.name)),
            justify="right" if column.numeric and column is not BAR else "left",
            overflow="fold",
            no_wrap=column.numeric and not (breaks and column.name != "solved"),
        )
    for row in given.rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


# -------------------------------------------------------------------------------------------------
# An interval of a rate as a bar of text.

WIDTH = 10
"""Signs of a bar."""


def interval_bar(low: float, high: float, *, blocks: bool = True) -> str:
    """A bar from 0 to 100 %: full up to the lower end of an interval, shaded up to the upper.

    The full part is never longer than the lower end, by less than an eighth of a sign shorter, and
    the shade never shorter than the upper end. Without Unicode's `blocks` it is of `#` and `-`.
    """
    # What rounding adds to 0.3 * 10 is no sign of its own.
    shaded = math.ceil(round(high * WIDTH, 9))
    full, part = divmod(math.floor(round(low * WIDTH * 8, 9)), 8)
    if not blocks:
        return ("#" * full).ljust(shaded, "-").ljust(WIDTH)
    bar = "█" * full + " ▏▎▍▌▋▊▉"[part] * (part > 0)
    return bar.ljust(shaded, "░").ljust(WIDTH)


# -------------------------------------------------------------------------------------------------
# A run.

BAR = Column("", numeric=True)

BAR_FROM = 70
"""Columns of a terminal that has room for bars."""

FILES = (
    *("report.html", "report.md", "table.csv", "table.tex", "seeds.parquet", "failures.txt"),
    CERTIFICATE,
)


def render_best(run: Run, console: Console) -> None:
    """Print the best ten configs; colours follow the console, which honours NO_COLOR.

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
    if report.stopped is not None:
        done = count(report.proposals, "proposal")
        _print(
            console, f"Ended before its end, after {done}: {report.stopped}; --resume continues it."
        )
    if run.certificate is not None:
        render_certificate(run, console)
    elif report.solved:
        here = str(report.again).replace(" RUN ", f" {shlex.quote(plain(str(run.path)))} ")
        _print(console, f"  {here}", whole=True)
    if (left := left_out(run.manifest)) is not None:
        sentence, command = left
        _print(console, sentence)
        _print(console, f"  {command}", whole=True)
    for name in FILES:
        if (run.path / name).exists():
            _print(console, str(run.path / name), whole=True)


def _print_configs(run: Run, report: Report, console: Console) -> None:
    given = config_table(run, report, FIRST)
    measure = given.measure if run.is_network or report.looked_for else None
    bars = console.width >= BAR_FROM
    blocks = console.encoding.startswith("utf")
    heads = [
        *numbers("", "solved"),
        *([BAR] if bars else []),
        *numbers("95 % interval"),
        *([] if measure is None else numbers(measure.removesuffix(" to solve"))),
    ]
    fronts = [
        (
            str(place),
            row.solved,
            *([interval_bar(row.low, row.high, blocks=blocks)] if bars else []),
            row.interval,
            *([] if measure is None else [row.measure]),
        )
        for place, row in enumerate(given.rows, 1)
    ]
    columns = texts(*given.parameters)
    rows = [(*front, *row.values) for front, row in zip(fronts, given.rows, strict=True)]
    cells = zip([plain(column.name) for column in (*heads, *columns)], *rows, strict=True)
    width = sum(max(map(cell_len, column)) + 2 for column in cells)
    if width > console.width + 2:  # the last one needs no padding
        columns = texts("configuration")
        named = (config_text(result.point, report.varied) for result in report.top)
        rows = [(*front, name) for front, name in zip(fronts, named, strict=True)]
    console.print(_drawn(table_of([*heads, *columns], rows)))
    assert report.best is not None
    if same := config_text(report.best.point, report.fixed):
        _print(console, f"The same in all: {same}")
    if (front := front_table(run, report.varied)) is not None:
        _print(console, f"The Pareto front. {front.about}")
        if front.table.rows:  # without the keys, the config last
            places = [*range(2, len(front.table.columns)), 0]
            console.print(_drawn(_part(front.table, places), breaks=True))
        if front.more:
            _print(console, f"... and {front.more:,} more: the column front of table.csv.")
    remarks = lines_of("remarks.txt.jinja", report=report, bars=bars, epochs=measure)
    for line in remarks:
        _print(console, line)


def _part(given: Table, places: Sequence[int]) -> Table:
    """Some of the columns of a table, in this order."""
    return Table(
        tuple(given.columns[at] for at in places),
        tuple(tuple(row[at] for at in places) for row in given.rows),
    )


def render_certificate(run: Run, console: Console) -> None:
    """Print the finalists of the last complete attempt on fresh seeds, and the other attempts.

    Raises:
        InputError: the run has no certificate, or a damaged one.
    """
    certificate = read_certificate(run.path / CERTIFICATE)
    if certificate.finalists:
        table = certified_table(certificate, report_of(run).varied)
        console.print(_drawn(_part(table, [*range(1, len(table.columns)), 0])))
    for line in certified_lines(certificate):
        _print(console, line)
    if certificate.finalists:
        _print(console, "gap: how far the search's rate lay above that of fresh seeds.")


# -------------------------------------------------------------------------------------------------
# What the command line takes and shows of a comparison.


def pairs(option: str, given: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE, as often as the option was given; None if it was not.

    Raises:
        InputError: a text without `=` or without a name, a name given twice.
    """
    if not given:
        return None
    found: dict[str, str] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise InputError(f"{text!r} is no pair", place=option, allowed="NAME=VALUE")
        if name in found:
            raise InputError(f"{name} is given twice", place=option, fix="give it once")
        found[name] = value
    return found


def render_comparison(
    comparison: Comparison | RunComparison, files: Sequence[Path], console: Console
) -> None:
    """Print what was compared with what, the answer, and where the files are."""
    if isinstance(comparison, RunComparison):
        first, *others = runs_answer(comparison)
        _print(console, first)
        console.print(_drawn(contestants_table(comparison)))
        if len(others) > MOST_SENTENCES:  # their table instead, as much as there is room for
            table = pairs_table(comparison)
            shown = ("A", "B", "difference", "95 % interval", "p (Holm)", "ahead")
            places = [at for at, column in enumerate(table.columns) if column.name in shown]
            console.print(_drawn(_part(table, places)))
            others = []
        for line in (*others, *notes(comparison)):
            _print(console, line)
    else:
        facts = rich_table.Table(box=None, show_header=False, pad_edge=False)
        facts.add_column(style="bold", no_wrap=True)
        facts.add_column(overflow="fold")
        for label, text in compared(comparison):
            facts.add_row(Text(label), Text(text))
        console.print(facts)
        for line in published_answer(comparison):
            _print(console, line)
    for path in files:
        _print(console, str(path), whole=True)


def comparison_json(
    comparison: Comparison | RunComparison, files: Sequence[Path]
) -> dict[str, Any]:
    """The answer and what it rests on, with the names of comparison.csv."""
    written = [str(path) for path in files]
    if isinstance(comparison, Comparison):
        reference, summary = comparison.reference, asdict(comparison.summary)
        return {
            "run": str(comparison.run),
            "reference": str(reference.path),
            "columns": dict(reference.columns),
            "assumed": list(reference.assumptions),
            "not_used": list(reference.unused),
            "where": dict(comparison.where),
            "not_in_reference": dict(comparison.fixed),
            "only_reference": len(comparison.only_reference),
            "only_run": len(comparison.only_run),
            **summary,
            "share": comparison.summary.share,
            "differing": _records(comparison.differing),
            "groups": _records(comparison.groups),
            "files": written,
        }
    contestants = zip(comparison.contestants, comparison.middles, strict=True)
    return {
        "answer": runs_answer(comparison),
        "alpha": comparison.alpha,
        "first_is_worse": comparison.first_is_worse,
        "contestants": [
            {
                "label": one.label,
                "key": one.key,
                "config": None if one.point is None else one.point.as_dict(),
                "k": one.outcome.successes,
                "n": one.outcome.n,
                "rate": one.outcome.rate,
                **dict(zip(("low", "high"), one.outcome.interval(), strict=True)),
                "seeds_from": one.origin,
                "first_seed": int(one.outcome.seeds[0]),
                "middle_epochs": middle.epochs,
                "facts": dict(one.facts),
                "notes": list(one.notes),
            }
            for one, middle in contestants
        ],
        "pairs": _records(comparison.table),
        "files": written,
    }


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows
