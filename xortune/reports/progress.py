"""The progress of a search: a live display while it runs, and the output of `xortune status`."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich import progress as rich_progress
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from xortune.core.formats import (
    config_text,
    count,
    date,
    duration,
    in_notebook,
    interval,
    number,
    plain,
)
from xortune.core.trainer import Reported
from xortune.reports.document import blocks_of
from xortune.runs.status import Progress, RunStatus, SeedsDone, Span, TimeLeft

# -------------------------------------------------------------------------------------------------
# While it runs: a line and a bar on a terminal, a few plain lines elsewhere.

PLAIN_SECONDS = 30.0  # between lines off a terminal; each quarter of the work has a line, too

LEFT_SECONDS, LEFT_NEWS = 3.0, 4
"""Time since the first update, and number of updates, from which the time left is shown."""

SHOWN_SECONDS = 0.1
"""Minimum time between updates that are shown: a sweep has a thousand a second."""

BURST_SECONDS = 0.5  # updates so soon after the first belong to the start: first batches

COLUMNS = 80

SHOWN_NUMBERS = 2
"""Maximum number of a training's numbers in a line of progress."""


@contextmanager
def display(
    *, quiet: bool = False, line: Callable[[str], None] | None = None, each: bool = False
) -> Iterator[Display]:
    """Show work on stderr: as a progress bar on a terminal, in a notebook's cell, or as lines.

    Args:
        quiet: show nothing.
        line: called with a line now and then if there is no terminal or cell; default: print it.
        each: show a line for each update instead.
    """
    console = Console(stderr=True, highlight=False, force_jupyter=False)
    cell = None
    if in_notebook() and not each and not quiet:
        from IPython.display import HTML, display

        cell = display(HTML(""), display_id=True)

    has_bar = console.is_terminal and not (quiet or each or cell is not None)

    def print_line(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    with rich_progress.Progress(
        _Line("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        rich_progress.BarColumn(bar_width=None),
        # Before 14.3, rich prints an empty line after a bar that is disabled.
        console=console if has_bar else Console(quiet=True),
        transient=True,
        expand=True,
        disable=not has_bar,
        get_time=time.monotonic,
        refresh_per_second=4,
        speed_estimate_period=1e9,  # all updates: those of slow trainings are minutes apart
    ) as bar:
        try:
            yield Display(bar, line or print_line, quiet, each, cell)
        finally:
            if cell is not None:
                cell.update(HTML(""))


@dataclass(frozen=True)
class Display:
    """Where work is shown. Each method returns a function that is told events; it shows progress.

    Attributes:
        bar: the progress bar, disabled off a terminal.
        line: called with a line if there is neither a bar nor a cell.
        each: whether each update is a line.
        cell: of a notebook.
    """

    bar: rich_progress.Progress
    line: Callable[[str], None]
    quiet: bool
    each: bool
    cell: Any = None

    def search(self) -> Callable[[object], None]:
        """For a search, and the certificate at its end."""
        work = ShownWork(self, "" if self.quiet else "waiting for the first seed ...")
        seeds = self.seeds()

        def show(now: object) -> None:
            if self.quiet or not isinstance(now, Progress):
                seeds(now)
                return

            def line(left: Span | None) -> str:
                return progress_line(now, seconds_left=left)

            expected = max(now.seeds_expected[1], 1)
            is_result = now.reported is None
            work.show(
                now.seeds_done, expected, now.pace.seeds, line, now.seconds_left, counts=is_result
            )

        return show

    def seeds(self, what: str = "certifying") -> Callable[[object], None]:
        """For seeds that are trained beside a search."""
        work = ShownWork(self)

        def show(now: object) -> None:
            if self.quiet or not isinstance(now, SeedsDone):
                return
            text, rest = f"{what}: {now.done:,}/{now.total:,} fresh seeds", None
            if now.solved is not None:
                text = f"{what}: {now.solved:,}/{now.done:,} seeds solved"
            elif now.done == now.total:
                rest = "  now the report"
            work.show(now.done, now.total, now.done, lambda left: text + (rest or _left(left)))

        return show


def _left(seconds: Span | None) -> str:
    return "" if seconds is None else f"  {span(seconds)} left"


class _Line(rich_progress.TextColumn):
    """The text of a task, made again at each refresh: its time left falls while no update comes."""

    def render(self, task: rich_progress.Task) -> Text:
        again = task.fields.get("again")
        return super().render(task) if again is None else Text(again())


def _again(line: Callable[[Span | None], str], left: TimeLeft) -> str:
    return line(left.now(time.monotonic()))


class ShownWork:
    """A piece of work that a display shows."""

    def __init__(self, display: Display, first: str = "") -> None:
        self._display, self._bar = display, display.bar
        self._task = self._bar.add_task(first, total=None, visible=bool(first))
        self._began: float | None = None
        self._news = 0
        self._printed, self._quarter = time.monotonic(), 0
        self._shown = -SHOWN_SECONDS
        self._shown_left: TimeLeft | None = None

    def show(
        self,
        done: int,
        total: int,
        fresh: int,
        line: Callable[[Span | None], str],
        left: Span | None = None,
        *,
        counts: bool = True,
    ) -> None:
        """Show how far the work is.

        Args:
            done: the part that is done, by earlier sessions too.
            total: all of it.
            fresh: the part that this session did.
            line: makes the text, given the seconds left, None if they are not known.
            left: the seconds left; None: by the speed of the updates.
            counts: whether the update is a result, from which more is known of the time left.
        """
        now, quarter = time.monotonic(), 4 * done // total
        soon = now - self._shown < SHOWN_SECONDS
        if soon and quarter <= self._quarter and not self._display.each:
            return
        self._shown = now
        if fresh and self._began is None:
            self._began = now
        text = line(None)
        if self._began is None or now - self._began < BURST_SECONDS:
            # The time before was spent on a start: of Ray, of its workers, of a compiler.
            self._bar.reset(self._task, total=total, completed=done, description=text)
        else:
            self._news += counts
            self._bar.update(self._task, total=total, completed=done)
            text = line(self._left(now, left, counts=counts))
        display, further = self._display, quarter > self._quarter
        self._quarter = max(self._quarter, quarter)
        if display.cell is not None:
            from IPython.display import HTML

            share = f'<progress value="{done / total:.4f}" max="1"></progress>'
            display.cell.update(HTML(f"{share} {html.escape(text)}"))
        elif not self._bar.disable:
            for task in self._bar.tasks:
                self._bar.update(task.id, visible=task.id == self._task)
            shown = self._shown_left
            again = None if shown is None else partial(_again, line, shown)
            self._bar.update(self._task, description=text, again=again)
        elif display.each or further or now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            display.line(text)

    def _left(self, now: float, left: Span | None, *, counts: bool) -> Span | None:
        """The seconds left, never more than before; None if it is too early to tell."""
        # With many workers, the first batch of one would give many times the time left.
        if self._began is None or now - self._began < LEFT_SECONDS or self._news < LEFT_NEWS:
            return None
        if left is None:
            [task] = (task for task in self._bar.tasks if task.id == self._task)
            if not task.time_remaining:
                return None
            left = task.time_remaining, task.time_remaining
        if (before := self._shown_left) is None:
            self._shown_left = TimeLeft(left, left, now)
        else:  # a bar has shown since that time passes
            self._shown_left = before.then(left, now, news=counts and self._bar.disable)
        return self._shown_left.shown


def progress_line(progress: Progress, *, seconds_left: Span | None) -> str:
    """Seeds done, speed, time left, the best so far, failures: usually within 80 columns.

    When all proposals have their first seeds, it says what follows: the race, or the report.
    """
    leader, (least, most) = progress.best, progress.seeds_expected
    rate, done = progress.pace.rate, progress.seeds_done
    best = f"best {leader.k:,}/{leader.n:,} ({interval(*leader.interval())})"
    if progress.number is not None:
        name, value = progress.number
        best = f"best {plain(name)} {number(value)} ({count(leader.n, 'seed')})"
    speed = _speed(rate, "/s", "/h") if rate else ""
    left = "" if seconds_left is None else f"{span(seconds_left)} left"
    parts = [seeds_of(done, (least, most)), speed, left, best]
    if progress.ended:
        parts = [count(done, "seed"), speed, best, "now the report"]
    elif progress.done >= progress.total and least < most:
        parts = [f"the race goes on: {done:,} seeds of {least:,} to {most:,}", left, best]
    failed = f"{progress.failed} without outcome" if progress.failed else ""
    news = "" if progress.reported is None else _reported(progress.reported)
    return "  ".join(filter(None, [*parts, failed, news]))


def _reported(last: Reported) -> str:
    """What a training reported last: `report 12 of seeds 0 to 31 of 1a2b3c: accuracy 0.713`."""
    seeds = last.block.seeds
    of = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]:,} to {seeds[-1]:,}"
    numbers = [f"{plain(name)} {value:.4g}" for name, value in last.numbers.items()]
    shown = ", ".join(numbers[:SHOWN_NUMBERS])
    return f"report {last.count:,} of {of} of {last.block.point.key}: {shown}".removesuffix(": ")


def seeds_of(done: int, expected: tuple[int, int]) -> str:
    """Seeds done of those expected, a range while a race is open: `32 of 80 to 512 seeds`."""
    least, most = expected
    return f"{done:,} of {least:,}{'' if least == most else f' to {most:,}'} seeds"


WIDE = 20
"""A range whose ends differ by more than this factor says no more than its greater end."""


def span(seconds: Span) -> str:
    """A time span or, while a race is open, its range: `40 s`, or `40 s to 3:07 min`.

    Of a wide range only the greater end says something: `at most 58:48 min`.
    """
    least, most = map(clock, seconds)
    if seconds[1] > WIDE * seconds[0]:
        return f"at most {most}"
    return most if least == most else f"{least} to {most}"


def clock(seconds: float) -> str:
    """A time span as `42 s`, `3:07 min` or `26:30 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


# -------------------------------------------------------------------------------------------------
# The status of a run: a few lines for a person, one line for a log, or JSON.

BAR = 24  # columns of the bar

COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow"}


def status_rows(status: RunStatus, *, bar: bool = False) -> list[tuple[str, str]]:
    """The status of a run as labels and texts; the first is the run's name and its state."""
    low, high = shares = status.shares or (1.0, 1.0)
    full, part = int(low * BAR), int(high * BAR) - int(low * BAR)
    blocks = blocks_of(
        "status.txt.jinja",
        status=status,
        shares=shares,
        bar=f"{'█' * full}{'▒' * part}{'░' * (BAR - full - part)}  " if bar else "",
        searches=_searches(status),
        speed=_speed,
        clock=clock,
        span=span,
        seeds_of=seeds_of,
        duration=duration,
        config_text=config_text,
        date=date,
    )
    state = blocks.pop("state")
    rows = [(label.replace("_", " "), text) for label, text in blocks.items() if text]
    return [(plain(status.name), state), *rows]


def render_status(status: RunStatus) -> Table:
    """`status_rows` for a terminal."""
    name = plain(status.name)
    failed = status.crashed_seeds or status.diverged_seeds
    styles = {name: COLOURS[status.state], "failures": "red" if failed else ""}
    return facts_table(status_rows(status, bar=True), styles)


def facts_table(rows: Iterable[tuple[str, str]], styles: Mapping[str, str] | None = None) -> Table:
    """A table of labels and texts for a terminal; `styles` are those of texts by their label."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(Text(label), Text(text, (styles or {}).get(label, "")))
    return table


def status_line(status: RunStatus) -> str:
    """The same as one line of at most 80 columns, for a log."""
    best, speed = status.best, status.rate or status.overall_rate
    fresh = status.certificate
    expected = status.seeds_expected
    done = count(status.seeds_done, "seed")
    parts = [
        done if expected is None else seeds_of(status.seeds_done, expected),
        _speed(speed, "/s", "/h") if speed and _searches(status) else "",
        f"{fresh.done:,}/{fresh.planned:,} fresh seeds" if fresh.state == "begun" else "",
        f"{span(left)} left" if (left := status.seconds_left) and left[1] else "",
        f"best {best.k:,}/{best.n:,}" if best else "",
        f"{status.pruned_seeds:,} pruned" if status.pruned_seeds else "",
        f"{count(status.crashed_seeds, 'seed')} crashed" if status.crashed_seeds else "",
        status.shown_state,
    ]
    while len(line := "  ".join(part for part in parts if part)) > COLUMNS and len(parts) > 2:
        del parts[1]
    return line


def status_json(status: RunStatus) -> dict[str, Any]:
    """The same as JSON values; times are UTC."""
    values = asdict(status)
    best, driver, certificate = status.best, values["driver"], values["certificate"]
    for times, names in (
        (values, ("started", "written", "now")),
        (driver, ("since", "heartbeat")),
    ):
        for name in names:
            if (at := times[name]) is not None:
                times[name] = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    if best is not None:
        counts = {"k": best.k, "n": best.n, "rate": best.rate}
        ends = dict(zip(("low", "high"), best.interval(), strict=True))
        scores = {n: None if math.isnan(one) else one for n, one in best.scores.items()}
        values["best"] = {"config": best.point.as_dict(), "key": best.key} | counts | ends | scores
    finalist, confidence = certificate.pop("best") or {}, certificate.pop("confidence")
    if (shown := status.certificate.best) is not None and shown.number is not None:
        certificate |= {"key": shown.key, "n": shown.n, "failed": shown.failed}
        certificate[shown.number.asked.name] = shown.number.as_dict()
    else:
        certificate |= {name: finalist.get(name) for name in ("key", "k", "n", "lower_bound")}
    certificate["confidence"] = confidence
    if (said := status.statement) is not None:
        values["statement"] = asdict(said) | {"holds": said.holds, "text": str(said)}
    values["path"] = str(status.path)
    keys = {"path": "run", "rate": "rate_per_second", "overall_rate": "overall_rate_per_second"}
    return {keys.get(name, name): value for name, value in values.items()}


def _searches(status: RunStatus) -> bool:
    """Whether the run still searches: a certificate may follow when all seeds are done."""
    return status.state == "running" and status.shares != (1.0, 1.0)


def _speed(rate: float, second: str = " a second", hour: str = " an hour") -> str:
    return f"{rate:,.1f}{second}" if rate >= 0.1 else f"{rate * 3600:.3g}{hour}"
