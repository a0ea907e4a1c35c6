"""Drawing progress: a live line on a terminal, a few plain lines elsewhere."""

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

__all__ = [
    "clock",
    "progress_line",
    "shown_certifying",
    "shown_progress",
    "shown_search",
    "shown_steps",
]

PLAIN_SECONDS = 30.0
"""Off a terminal a line is printed this often, and at each quarter of the work."""

COLUMNS = 80


@contextmanager
def shown_search(
    *, quiet: bool
) -> Iterator[tuple[Callable[[Progress], None] | None, Callable[[int, int], None] | None]]:
    """What to call with each `Progress` of a search, and then with its certificate's seeds.

    Both are drawn in the same place on stderr; the second as by `shown_certifying`.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None, None
    elif console.is_terminal:
        with _live(console, "starting Ray ...") as show:
            line = _seeds_line()
            yield (
                lambda progress: show(progress_line(progress)),
                lambda done, total: show(line(done, total)),
            )
    else:
        yield _plain(console), _plain_seeds(console)


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """What to call with each `Progress`; it is drawn on stderr."""
    with shown_search(quiet=quiet) as (on_progress, _):
        yield on_progress


@contextmanager
def shown_certifying(
    *, quiet: bool, what: str = "certifying"
) -> Iterator[Callable[[int, int], None] | None]:
    """What to call with the fresh seeds done and all of them; it is drawn on stderr."""
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None
    elif console.is_terminal:
        with _live(console, "") as show:
            line = _seeds_line(what)
            yield lambda done, total: show(line(done, total))
    else:
        yield _plain_seeds(console, what)


@contextmanager
def _live(console: Console, first: str) -> Iterator[Callable[[str], None]]:
    """A line that goes away at the end."""
    with Live(Text(first), console=console, transient=True, refresh_per_second=4) as live:
        yield lambda line: live.update(Text(line, overflow="ellipsis"))


@contextmanager
def shown_steps(*, quiet: bool) -> Iterator[Callable[[int, int, str], None] | None]:
    """What to call with (done, total, what was done) after each step; it is drawn on stderr."""
    console = Console(stderr=True, highlight=False)
    started, quarter = time.monotonic(), 0

    def line(done: int, total: int, what: str) -> str:
        left = (time.monotonic() - started) / done * (total - done)
        return f"{done}/{total} measured  {clock(left)} left  {what}"

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
    show = _now_and_then(console)
    return lambda progress: show(progress.done, progress.total, lambda: progress_line(progress))


def _plain_seeds(console: Console, what: str = "certifying") -> Callable[[int, int], None]:
    show, line = _now_and_then(console), _seeds_line(what)

    def show_seeds(done: int, total: int) -> None:
        text = line(done, total)  # always, since it keeps the time from the first call on
        show(done, total, lambda: text)

    return show_seeds


def _now_and_then(console: Console) -> Callable[[int, int, Callable[[], str]], None]:
    """What prints the line of (done, total, line) seldom enough for a log."""
    last, quarter = time.monotonic(), 0

    def show(done: int, total: int, line: Callable[[], str]) -> None:
        nonlocal last, quarter
        now, reached = time.monotonic(), 4 * done // total
        if reached > quarter or now - last >= PLAIN_SECONDS:
            last, quarter = now, max(reached, quarter)
            console.print(Text(line()), soft_wrap=True)

    return show


def _seeds_line(what: str = "certifying") -> Callable[[int, int], str]:
    """What makes a line of the fresh seeds done and all; its time left counts from the first."""
    began: tuple[float, int] | None = None

    def line(done: int, total: int) -> str:
        nonlocal began
        if began is None:
            began = time.monotonic(), done
        started, before = began
        left = ""
        if before < done < total:
            seconds = (time.monotonic() - started) / (done - before) * (total - done)
            left = f"  {clock(seconds)} left"
        return f"{what}: {done:,}/{total:,} fresh seeds{left}"

    return line


def progress_line(progress: Progress) -> str:
    """One line of at most 80 columns: done, speed, time left, the best so far, failures."""
    k, n = progress.best
    low, high = (float(end) for end in wilson(k, n))
    left = progress.seconds_left
    speed = f"{progress.rate:.1f}/s" if progress.fresh else ""
    rest = f"{clock(left)} left" if left is not None and progress.done < progress.total else ""
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


def clock(seconds: float) -> str:
    """A time span as `42 s`, `3:07 min` or `26:30 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"
