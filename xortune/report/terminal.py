"""What the terminal shows of a run: the best ten at 80 columns, and where the rest lies."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xortune.imported import imported_from
from xortune.report.bars import interval_bar, shows_blocks
from xortune.report.certified import certified_lines, certified_rows, header, left_out
from xortune.report.config_table import epochs_text
from xortune.report.format import config_text, count, interval, plain, value
from xortune.report.front import FrontTable, front_table
from xortune.report.numbers import worth
from xortune.report.tables import Report, report_of
from xortune.run import ConfigResult, Run
from xortune.run_certificate_file import CERTIFICATE, read_certificate

__all__ = ["render_best", "render_certificate"]

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
