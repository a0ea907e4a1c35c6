"""Drawing a search's progress: a live line on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from xortune.progress import Progress
from xortune.report.format import interval
from xortune.stats import wilson

__all__ = ["progress_line", "shown_progress", "shown_steps"]

PLAIN_SECONDS = 30.0
"""Off a terminal a line is printed this often, and at each quarter of the work."""

COLUMNS = 80


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """What to call with each `Progress`; it is drawn on stderr."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif console.is_terminal:
        with Live(
            Text("starting Ray ..."), console=console, transient=True, refresh_per_second=4
        ) as live:
            yield lambda progress: live.update(Text(progress_line(progress), overflow="ellipsis"))
    else:
        yield _plain(console)


@contextmanager
def shown_steps(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """What to call with (done, total, what was done) after each step; it is drawn on stderr."""
    console = Console(stderr=True, highlight=False)
    started, quarter = time.monotonic(), 0

    def line(done: int, total: int, what: str) -> str:
        left = (time.monotonic() - started) / done * (total - done)
        return f"{done}/{total} measured  {_clock(left)} left  {what}"

    def show(done: int, total: int, what: str) -> None:
        nonlocal quarter
        if 4 * done // total > quarter:
            quarter = 4 * done // total
            console.print(Text(line(done, total, what)), soft_wrap=True)

    if quiet:
        yield None
    elif console.is_terminal:
        with Live(Text(""), console=console, transient=True, refresh_per_second=4) as live:
            yield lambda *step: live.update(Text(line(*step), overflow="ellipsis"))
    else:
        yield show


def _plain(console: Console) -> Callable[[Progress], None]:
    last, quarter = time.monotonic(), 0

    def show(progress: Progress) -> None:
        nonlocal last, quarter
        now, reached = time.monotonic(), 4 * progress.done // progress.total
        if reached > quarter or now - last >= PLAIN_SECONDS:
            last, quarter = now, max(reached, quarter)
            console.print(Text(progress_line(progress)), soft_wrap=True)

    return show


def progress_line(progress: Progress) -> str:
    """One line of at most 80 columns: done, speed, time left, the best so far, failures."""
    k, n = progress.best
    low, high = (float(end) for end in wilson(k, n))
    left = progress.seconds_left
    speed = f"{progress.rate:.1f}/s" if progress.fresh else ""
    rest = f"{_clock(left)} left" if left is not None and progress.done < progress.total else ""
    best = f"best {k}/{n}"
    failed = f"{progress.failed} without outcome" if progress.failed else ""
    # What can be spared first, where numbers are so large that a line does not hold them all.
    for spared in range(4):
        parts = [
            f"{progress.done}/{progress.total}",
            speed if spared < 1 else "",
            rest if spared < 3 else "",
            best if spared >= 2 else f"{best} ({interval(low, high)})",
            failed,
        ]
        line = "  ".join(part for part in parts if part)
        if len(line) <= COLUMNS:
            break
    return line


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"
