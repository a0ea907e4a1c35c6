"""What the terminal shows of a run and of a comparison: the best ten at 80 columns."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import RunComparison
from xortune.core.errors import InputError
from xortune.core.formats import config_text, count, interval, plain, value
from xortune.reports.certified import certified_lines, certified_rows, header, left_out
from xortune.reports.comparison import (
    MOST_SENTENCES,
    compared,
    contestants_table,
    pairs_table,
    published_answer,
)
from xortune.reports.document import Table as DocumentTable
from xortune.reports.document import epochs_text
from xortune.reports.run import FrontTable, front_table, worth
from xortune.reports.tables import Report, report_of
from xortune.reports.words import answer as runs_answer
from xortune.reports.words import notes
from xortune.runs.certificate import CERTIFICATE, read_certificate
from xortune.runs.manifest import imported_from
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run

# -------------------------------------------------------------------------------------------------
# An interval of a rate as a bar of text, for where there are no pictures.

EIGHTHS = " ▏▎▍▌▋▊▉█"
SHADE = "░"
ASCII = ("#", "-")


def interval_bar(low: float, high: float, *, width: int = 10, blocks: bool = True) -> str:
    """A bar from 0 to 100 %: full up to the lower end of an interval, shaded up to the upper.

    The full part is never longer than the lower end, by less than an eighth of a sign shorter, and
    the shade never shorter than the upper end. With `blocks` false it is of `#` and `-`, in whole
    signs.

    Args:
        low: the lower end, in [0, 1].
        high: the upper end, in [0, 1].
        width: signs.
        blocks: whether Unicode's block elements can be shown; see `shows_blocks`.
    """
    # What rounding adds to 0.3 * 10 is no sign of its own.
    shaded = math.ceil(round(high * width, 9))
    if not blocks:
        full = math.floor(round(low * width, 9))
        return (ASCII[0] * full).ljust(shaded, ASCII[1]).ljust(width)
    full, part = divmod(math.floor(round(low * width * 8, 9)), 8)
    bar = EIGHTHS[8] * full + (EIGHTHS[part] if part else "")
    return bar.ljust(shaded, SHADE).ljust(width)


def shows_blocks(encoding: str) -> bool:
    """Whether text in this encoding can have the signs of such a bar."""
    try:
        (EIGHTHS + SHADE).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# -------------------------------------------------------------------------------------------------
# What the terminal shows of a run: the best ten at 80 columns, and where the rest lies.

BAR_FROM = 70
"""Signs in a line, from which on there is room for bars."""


def render_best(run: Run, console: Console) -> None:
    """Print the best ten configs; colours follow the console, which honours NO_COLOR.

    Raises:
        InputError: the run's blocks contradict each other.
    """
    report = report_of(run)
    if (origin := imported_from(run.manifest)) is not None:
        console.print(Text(plain(origin.sentence)))
    if report.best is None:
        console.print(Text("No configuration has finished yet."))
        _print_stopped(report, console)
        _print_files(run, console)
        return
    blocks = shows_blocks(console.encoding)
    console.print(_table(report, console.width, blocks=blocks, epochs=run.is_network))
    fixed = [name for name in report.parameters if name not in report.varied]
    if text := config_text(report.best.point, fixed):
        console.print(Text(f"The same in all: {text}"))
    _print_front(front_table(run, report.varied), console)
    for line in _remarks(report, bars=console.width >= BAR_FROM, epochs=run.is_network):
        console.print(Text(line))
    _print_stopped(report, console)
    if run.certificate is not None:
        render_certificate(run, console)
    elif report.solved:
        # soft_wrap: a command or a path that is broken over lines cannot be copied
        here = str(report.again).replace(" RUN ", f" {shlex.quote(plain(str(run.path)))} ")
        console.print(Text(f"  {here}"), soft_wrap=True)
    if (left := left_out(run.manifest)) is not None:
        sentence, command = left
        console.print(Text(sentence))
        console.print(Text(f"  {command}"), soft_wrap=True)
    _print_files(run, console)


def _print_stopped(report: Report, console: Console) -> None:
    if report.stopped is not None:
        done = count(report.proposals, "proposal")
        text = (
            f"Ended before its end, after {done}: {plain(report.stopped)}; --resume continues it."
        )
        console.print(Text(text))


def render_certificate(run: Run, console: Console) -> None:
    """Print the finalists of the last complete attempt on fresh seeds, and the other attempts.

    Raises:
        InputError: the run has no certificate, or a damaged one.
    """
    certificate = read_certificate(run.path / CERTIFICATE)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    first, *others = header(certificate)
    for name in others:
        table.add_column(name, overflow="fold", no_wrap=name != "worst neighbour")
    table.add_column(first, overflow="fold")
    for config, *cells in certified_rows(certificate, report_of(run).varied):
        table.add_row(*(Text(cell) for cell in [*cells, config]))
    if certificate.finalists:
        console.print(table)
    for line in certified_lines(certificate):
        console.print(Text(line))
    if certificate.finalists:
        console.print(Text("gap: how far the search's rate lay above that of fresh seeds."))


def _table(report: Report, width: int, *, blocks: bool, epochs: bool) -> Table:
    columns = [[_cell(result, name) for result in report.top] for name in report.varied]
    names = [plain(name) for name in report.varied]
    bars = width >= BAR_FROM
    looked_for = report.looked_for
    heads = ["", "solved", *([""] if bars else []), "95 % interval"]
    counts = [
        _counts(place, result, bars=bars, blocks=blocks) for place, result in enumerate(report.top)
    ]
    if looked_for is not None:
        heads.append(plain(looked_for.name))
    elif epochs:
        heads.append("epochs")
    for cells, result in zip(counts, report.top, strict=True):
        if looked_for is not None:
            cells.append(worth(looked_for, result))
        elif epochs:
            cells.append(epochs_text(result.outcome.epochs_to_solve))
    in_front = _width([[head, *cells] for head, *cells in zip(heads, *counts, strict=True)])
    own = _width([[name, *cells] for name, cells in zip(names, columns, strict=True)])
    folded = in_front + own > width + 2  # the last one needs no padding
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for at, head in enumerate(heads):
        # What is right-aligned loses the blanks at its end, which a bar needs.
        is_bar = bars and at == 2
        table.add_column(head, justify="left" if is_bar else "right", no_wrap=True)
    for name in ["configuration"] if folded else names:
        table.add_column(Text(name), overflow="fold")
    for place, result in enumerate(report.top):
        shown = (
            [config_text(result.point, report.varied)]
            if folded
            else [cells[place] for cells in columns]
        )
        table.add_row(*(Text(text) for text in [*counts[place], *shown]))
    return table


def _width(columns: Sequence[Sequence[str]]) -> int:
    """What columns take with two signs of padding each."""
    return sum(max(map(cell_len, cells)) + 2 for cells in columns)


def _print_front(front: FrontTable | None, console: Console) -> None:
    if front is None:
        return
    console.print(Text(f"The Pareto front. {front.about}"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in front.header[:-2]:
        table.add_column(Text(name), justify="right", overflow="fold", no_wrap=name == "solved")
    table.add_column(front.header[-2], overflow="fold")
    for row in front.rows:
        table.add_row(*(Text(cell) for cell in row[:-1]))
    if front.rows:
        console.print(table)
    if front.more:
        console.print(Text(f"... and {front.more:,} more: the column front of table.csv."))


def _counts(place: int, result: ConfigResult, *, bars: bool, blocks: bool) -> list[str]:
    outcome = result.outcome
    low, high = outcome.interval()
    return [
        str(place + 1),
        f"{outcome.successes}/{outcome.n}",
        *([interval_bar(low, high, blocks=blocks)] if bars else []),
        interval(low, high),
    ]


def _cell(result: ConfigResult, name: str) -> str:
    return value(result.point[name]) if name in result.point else ""


def _remarks(report: Report, *, bars: bool, epochs: bool) -> list[str]:
    lines = []
    tied = report.tied
    if not report.solved:
        lines.append("No seed was solved by any configuration.")
    elif tied.compared > 1 and report.looked_for is None:
        others = len(tied.members) - 1
        told = f"{count(others, 'other')} cannot be told from the best."
        lines.append(
            f"Of {count(tied.compared, 'configuration')} with the full {count(tied.full, 'seed')}, "
            f"{told if others else 'all others can be told from the best.'}"
        )
    given_up = sum(row.given_up for row in report.no_outcome)
    if given_up:
        lines.append(f"{count(given_up, 'evaluation')} produced no outcome; see the report.")
    if bars:
        lines.append("Bars: full up to the lower end of the interval, shaded up to the upper.")
    if report.looked_for is not None:
        about = f"{plain(report.looked_for.name)}: of all seeds, with a 95 % interval."
        lines.append(about + (" The winner's is optimistic; on fresh seeds:" * (report.solved > 0)))
    elif report.solved:
        about = "epochs: epochs to solve. " * epochs
        lines.append(f"{about}The winner's count is optimistic; on fresh seeds:")
    return lines


def _print_files(run: Run, console: Console) -> None:
    for name in (
        "report.html",
        "report.md",
        "table.csv",
        "table.tex",
        "seeds.parquet",
        "failures.txt",
        CERTIFICATE,
    ):
        path = run.path / name
        if path.exists():
            console.print(Text(plain(str(path))), soft_wrap=True)


# -------------------------------------------------------------------------------------------------
# What the command line takes and shows of a comparison.


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE, as often as the option was given; None if it was not.

    Raises:
        InputError: a text without `=` or without a name, a name given twice.
    """
    if not texts:
        return None
    found: dict[str, str] = {}
    for text in texts:
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
        _render_runs(comparison, console)
    else:
        _render_published(comparison, console)
    for path in files:  # soft_wrap: a path that is broken over lines cannot be copied
        console.print(Text(plain(str(path))), soft_wrap=True)


def _render_runs(comparison: RunComparison, console: Console) -> None:
    """The sentence first, then the counts; of many pairs the table instead of their sentences."""
    first, *others = runs_answer(comparison)
    console.print(Text(first))
    console.print(_drawn(contestants_table(comparison)))
    if len(others) > MOST_SENTENCES:
        console.print(_drawn(_narrow(pairs_table(comparison))))
    else:
        for sentence in others:
            console.print(Text(sentence))
    for note in notes(comparison):
        console.print(Text(note))


def _narrow(given: DocumentTable) -> DocumentTable:
    """What finds room on a terminal; the files have all columns."""
    shown = ("A", "B", "difference", "95 % interval", "p (Holm)", "ahead")
    places = [i for i, column in enumerate(given.columns) if column.name in shown]
    return DocumentTable(
        tuple(given.columns[i] for i in places),
        tuple(tuple(row[i] for i in places) for row in given.rows),
    )


def _drawn(given: DocumentTable) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in given.columns:
        table.add_column(column.name, justify="right" if column.numeric else "left")
    for row in given.rows:
        cells = ("".join(part if isinstance(part, str) else part.text for part in c) for c in row)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _render_published(comparison: Comparison, console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in compared(comparison):
        table.add_row(Text(label), Text(text))
    console.print(table)
    for line in published_answer(comparison):
        console.print(Text(line))


def comparison_json(
    comparison: Comparison | RunComparison, files: Sequence[Path]
) -> dict[str, Any]:
    """The answer and what it rests on, with the names of comparison.csv."""
    if isinstance(comparison, RunComparison):
        return _runs_json(comparison, files)
    summary = comparison.summary
    return {
        "run": str(comparison.run),
        "reference": str(comparison.reference.path),
        "columns": dict(comparison.reference.columns),
        "assumed": list(comparison.reference.assumptions),
        "not_used": list(comparison.reference.unused),
        "where": dict(comparison.where),
        "not_in_reference": dict(comparison.fixed),
        "cells": summary.cells,
        "only_reference": len(comparison.only_reference),
        "only_run": len(comparison.only_run),
        "alpha": summary.alpha,
        "below_alpha": summary.below_alpha,
        "share": summary.share,
        "expected": summary.expected,
        "expected_low": summary.expected_low,
        "expected_high": summary.expected_high,
        "trainings": summary.trainings,
        "differ": summary.differ,
        "smallest_p": summary.smallest_p,
        "differing": _records(comparison.differing),
        "groups": _records(comparison.groups),
        "files": [str(path) for path in files],
    }


def _runs_json(comparison: RunComparison, files: Sequence[Path]) -> dict[str, Any]:
    contestants = []
    for one, middle in zip(comparison.contestants, comparison.middles, strict=True):
        low, high = one.outcome.interval()
        contestants.append(
            {
                "label": one.label,
                "key": one.key,
                "config": None if one.point is None else one.point.as_dict(),
                "k": one.outcome.successes,
                "n": one.outcome.n,
                "rate": one.outcome.rate,
                "low": low,
                "high": high,
                "seeds_from": one.origin,
                "first_seed": int(one.outcome.seeds[0]),
                "middle_epochs": middle.epochs,
                "facts": dict(one.facts),
                "notes": list(one.notes),
            }
        )
    return {
        "answer": runs_answer(comparison),
        "alpha": comparison.alpha,
        "first_is_worse": comparison.first_is_worse,
        "contestants": contestants,
        "pairs": _records(comparison.table),
        "files": [str(path) for path in files],
    }


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows
