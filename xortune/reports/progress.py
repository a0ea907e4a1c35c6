"""How far a search is, drawn on a terminal: while it runs, and as `xortune status` sees it."""

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

from xortune.core.formats import config_text, count, duration, in_notebook, interval, plain
from xortune.core.outcome import wilson
from xortune.reports.document import blocks_of
from xortune.runs.status import Progress, RunStatus

# -------------------------------------------------------------------------------------------------
# While it runs: a line and a bar on a terminal, a few plain lines elsewhere.

PLAIN_SECONDS = 30.0  # off a terminal a line is printed this often, and at each quarter of the work

LEFT_SECONDS, LEFT_NEWS = 3.0, 4
"""The time left is shown from so long after the first news on, and from so many news on."""

SHOWN_SECONDS = 0.1
"""News sooner after the last that was shown are not shown: a sweep has a thousand a second."""

BURST_SECONDS = 0.5  # news so soon after the first belong to it: the first batch of each worker

COLUMNS = 80


@contextmanager
def display(
    *, quiet: bool = False, line: Callable[[str], None] | None = None, each: bool = False
) -> Iterator[Display]:
    """Shows work on stderr: in a bar of rich's on a terminal, in a cell of a notebook, in lines.

    Args:
        quiet: whether nothing is shown.
        line: called with a line now and then where nothing can be drawn; it is printed if None.
        each: whether there is a line for each news instead.
    """
    console = Console(stderr=True, highlight=False, force_jupyter=False)
    cell = None
    if in_notebook() and not each and not quiet:
        from IPython.display import HTML, display

        cell = display(HTML(""), display_id=True)

    drawn = console.is_terminal and not (quiet or each or cell is not None)

    def printed(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    with rich_progress.Progress(
        rich_progress.TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True)
        ),
        rich_progress.BarColumn(bar_width=None),
        # Before 14.3, rich ends a bar that it does not draw with an empty line.
        console=console if drawn else Console(quiet=True),
        transient=True,
        expand=True,
        disable=not drawn,
        get_time=_now,
        refresh_per_second=4,
        speed_estimate_period=1e9,  # all news: those of slow trainings are minutes apart
    ) as bar:
        try:
            yield Display(bar, line or printed, quiet, each, cell)
        finally:
            if cell is not None:
                cell.update(HTML(""))


def _now() -> float:
    return time.monotonic()


@dataclass(frozen=True)
class Display:
    """Where work is shown; each method gives what to call with its news, None if it is quiet.

    Attributes:
        bar: of rich's; it is disabled where nobody would see it.
        line: called with a line, where there is neither a bar nor a cell.
        each: whether each news is a line.
        cell: of a notebook.
    """

    bar: rich_progress.Progress
    line: Callable[[str], None]
    quiet: bool
    each: bool
    cell: Any = None

    def search(self, *, raced: bool = False) -> Callable[[Progress], None] | None:
        """Of a search; if it is raced, the best get more seeds when all have had their first."""
        work = Work(self, "" if self.quiet else "starting Ray, then the first seeds ...")

        def show(now: Progress) -> None:
            line = partial(progress_line, now, raced=raced)
            work.show(now.done, now.total, now.fresh, lambda left: line(seconds_left=left))

        return None if self.quiet else show

    def seeds(self, what: str = "certifying") -> Callable[[int, int], None] | None:
        """Of fresh seeds: those done, and all of them."""
        work = Work(self)

        def show(done: int, total: int) -> None:
            text = f"{what}: {done:,}/{total:,} fresh seeds"
            rest = "  now the report" if done == total else None
            work.show(done, total, done, lambda left: text + (rest or _left(left)))

        return None if self.quiet else show

    def counts(self, most: int, what: str) -> Callable[[int, int], None] | None:
        """Of seeds, at most so many: k that are solved, of n."""
        work = Work(self)

        def show(k: int, n: int) -> None:
            work.show(n, most, n, lambda left: f"{what}: {k:,}/{n:,} seeds solved{_left(left)}")

        return None if self.quiet else show


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"  {clock(seconds)} left"


class Work:
    """A piece of work that is shown: as a bar on a terminal, in a notebook, as lines elsewhere."""

    def __init__(self, display: Display, first: str = "") -> None:
        self._display, self._bar = display, display.bar
        self._task = self._bar.add_task(first, total=None, visible=bool(first))
        self._began: float | None = None
        self._news = 0
        self._printed, self._quarter = time.monotonic(), 0
        self._shown = -SHOWN_SECONDS
        self._least_left: float | None = None

    def show(self, done: int, total: int, fresh: int, line: Callable[[float | None], str]) -> None:
        """Show how far the work is.

        Args:
            done: of it, what an earlier session did included.
            total: all of it.
            fresh: what this session did.
            line: makes the text, given the seconds that are left if that can be said.
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
            # What came before was a start: of Ray, of its workers, of a compiler.
            self._bar.reset(self._task, total=total, completed=done, description=text)
        else:
            self._news += 1
            self._bar.update(self._task, total=total, completed=done)
            text = line(self._left(now))
        display, further = self._display, quarter > self._quarter
        self._quarter = max(self._quarter, quarter)
        if display.cell is not None:
            from IPython.display import HTML

            share = f'<progress value="{done / total:.4f}" max="1"></progress>'
            display.cell.update(HTML(f"{share} {html.escape(text)}"))
        elif not self._bar.disable:
            for task in self._bar.tasks:
                self._bar.update(task.id, visible=task.id == self._task)
            self._bar.update(self._task, description=text)
        elif display.each or further or now - self._printed >= PLAIN_SECONDS:
            self._printed = now
            display.line(text)

    def _left(self, now: float) -> float | None:
        """Seconds that are left; never more than was said before.

        By a single batch, of one worker of many, it would be off by a factor.
        """
        if self._began is None or now - self._began < LEFT_SECONDS or self._news < LEFT_NEWS:
            return None
        [task] = (task for task in self._bar.tasks if task.id == self._task)
        left = task.time_remaining
        if not left:
            return None
        self._least_left = min(left, self._least_left or left)
        return self._least_left


def progress_line(progress: Progress, *, seconds_left: float | None, raced: bool) -> str:
    """Done, speed, time left, the best so far, failures: of usual sizes 80 columns.

    Where all proposals have their first seeds, and so nothing seems to be left, it says what is:
    more seeds for the best, if it is `raced`, and the report.
    """
    k, n = progress.best
    low, high = (float(end) for end in wilson(k, n))
    speed = _speed(progress.rate, "/s", "/h") if progress.fresh else ""
    best = f"best {k}/{n} ({interval(low, high)})"
    left = "" if seconds_left is None else f"{clock(seconds_left)} left"
    parts = [speed, left, best]
    if progress.done >= progress.total:
        then = "more for the best, report" if raced else "now the report"
        parts = [f"{progress.seeds:,} seeds" if raced else speed, best, then]
    failed = f"{progress.failed} without outcome" if progress.failed else ""
    return "  ".join(filter(None, [f"{progress.done}/{progress.total}", *parts, failed]))


def clock(seconds: float) -> str:
    """A time span as `42 s`, `3:07 min` or `26:30 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


# -------------------------------------------------------------------------------------------------
# Drawing where a run stands: a few lines for a person, one line for a log, or JSON.

BAR = 24  # columns of the bar

COLOURS = {"running": "cyan", "finished": "green", "stopped": "yellow"}


def status_rows(status: RunStatus, *, bar: bool = False) -> list[tuple[str, str]]:
    """What is known of a run, a label and a text for each thing; what is not known has none.

    The first label is the run's name, and its text the state.
    """
    share = min(status.done / status.total, 1.0) if status.total else 1.0
    filled = int(share * BAR)
    words = blocks_of(
        "status.txt.jinja",
        status=status,
        share=share,
        bar=f"{'█' * filled}{'░' * (BAR - filled)}  " if bar else "",
        searches=_searches(status),
        speed=_speed,
        clock=clock,
        duration=duration,
        config_text=config_text,
        date=lambda at: datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )
    state = words.pop("state")
    rows = [(label.replace("_", " "), text) for label, text in words.items() if text]
    return [(plain(status.name), state), *rows]


def render_status(status: RunStatus) -> Table:
    """`status_rows` for a terminal."""
    name = plain(status.name)
    failed = status.crashed_seeds or status.diverged_seeds
    styles = {name: COLOURS[status.state], "failures": "red" if failed else ""}
    return facts_table(status_rows(status, bar=True), styles)


def facts_table(rows: Iterable[tuple[str, str]], styles: Mapping[str, str] | None = None) -> Table:
    """Labels and texts for a terminal; some labels have a style for their texts."""
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
    parts = [
        f"{status.done:,}" + (f"/{status.total:,}" if status.total is not None else ""),
        _speed(speed, "/s", "/h") if speed and _searches(status) else "",
        f"{fresh.done:,}/{fresh.planned:,} fresh seeds" if fresh.state == "begun" else "",
        f"{clock(status.seconds_left)} left" if status.seconds_left else "",
        f"best {best.k}/{best.n}" if best else "",
        f"{count(status.crashed_seeds, 'seed')} crashed" if status.crashed_seeds else "",
        status.state,
    ]
    while len(line := "  ".join(part for part in parts if part)) > COLUMNS and len(parts) > 2:
        del parts[1]
    return line


def status_json(status: RunStatus) -> dict[str, Any]:
    """The same as JSON values; times are UTC."""
    found = asdict(status)
    best, driver = status.best, found["driver"]
    for values, names in ((found, ("started", "written", "now")), (driver, ("since", "heartbeat"))):
        for name in names:
            if (at := values[name]) is not None:
                values[name] = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    if best is not None:
        counts = {"k": best.k, "n": best.n, "rate": best.k / best.n}
        ends = {"low": best.low, "high": best.high}
        scores = {n: None if math.isnan(one) else one for n, one in best.scores.items()}
        found["best"] = {"config": best.point.as_dict(), "key": best.key} | counts | ends | scores
    found["path"] = str(status.path)
    called = {"path": "run", "rate": "rate_per_second", "overall_rate": "overall_rate_per_second"}
    return {called.get(name, name): value for name, value in found.items()}


def _searches(status: RunStatus) -> bool:
    """Whether proposals are still to come: afterwards a certificate may be made."""
    return status.state == "running" and status.done != status.total


def _speed(rate: float, second: str = " a second", hour: str = " an hour") -> str:
    return f"{rate:,.1f}{second}" if rate >= 0.1 else f"{rate * 3600:.3g}{hour}"
