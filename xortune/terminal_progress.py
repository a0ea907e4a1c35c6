"""Drawing progress: a live line on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

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
    "shown_search",
]

PLAIN_SECONDS = 30.0
"""Off a terminal a line is printed this often, and at each quarter of the work."""

LEFT_SECONDS, LEFT_NEWS = 3.0, 4
"""No time left is told sooner than this after the first news, and by fewer news."""

BURST_SECONDS = 0.5
"""What comes so soon after the first news came with it: the first pack of each worker."""

COLUMNS = 80


@contextmanager
def shown_search(
    *, quiet: bool, raced: bool = False
) -> Iterator[tuple[Callable[[Progress], None] | None, Callable[[int, int], None] | None]]:
    """What to call with each `Progress` of a search, and then with its certificate's seeds.

    Both are drawn in the same place on stderr; the second as by `shown_certifying`.

    Args:
        quiet: whether to draw nothing.
        raced: whether the best get more seeds when all proposals have had their first.
    """
    console = Console(stderr=True, highlight=False)
    if quiet:
        yield None, None
    elif console.is_terminal:
        with _live(console, "starting Ray, then the first seeds ...") as show:
            search, fresh = _search_line(raced=raced), _seeds_line()
            yield (
                lambda progress: show(search(progress)()),
                lambda done, total: show(fresh(done, total)),
            )
    else:
        yield _plain(console, raced=raced), _plain_seeds(console)


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


def _plain(console: Console, *, raced: bool) -> Callable[[Progress], None]:
    show, line = _now_and_then(console), _search_line(raced=raced)
    return lambda progress: show(progress.done, progress.total, line(progress))


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


class _Left:
    """How long it will take yet, by what has come since the first news.

    What came before those was a start: of Ray, of its workers, of a compiler. By a single pack, of
    one worker of many, it would be off by a factor; so nothing is said before there are a few.
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None
        self._news = 0

    def seconds(self, fresh: int, left: int) -> float | None:
        """By the work done in this session and what is left of it; None before one can say."""
        now = time.monotonic()
        if not fresh:
            return None
        began, before = self._began or (now, 0)
        if now - began < BURST_SECONDS:
            self._began = began, fresh
            return None
        self._news += 1
        if now - began < LEFT_SECONDS or self._news < LEFT_NEWS or fresh == before or not left:
            return None
        return (now - began) / (fresh - before) * left


def _search_line(*, raced: bool) -> Callable[[Progress], Callable[[], str]]:
    """What takes each `Progress` and makes its line, if it is asked for."""
    left = _Left()

    def take(progress: Progress) -> Callable[[], str]:
        seconds = left.seconds(progress.fresh, progress.total - progress.done)
        return partial(progress_line, progress, seconds_left=seconds, raced=raced)

    return take


def _seeds_line(what: str = "certifying") -> Callable[[int, int], str]:
    """What makes a line of the fresh seeds done and all."""
    left = _Left()

    def line(done: int, total: int) -> str:
        seconds = left.seconds(done, total - done)
        rest = "" if seconds is None else f"  {clock(seconds)} left"
        if done == total:
            rest = "  now the report"
        return f"{what}: {done:,}/{total:,} fresh seeds{rest}"

    return line


def progress_line(progress: Progress, *, seconds_left: float | None, raced: bool) -> str:
    """One line of at most 80 columns: done, speed, time left, the best so far, failures.

    Where all proposals have their first seeds, and so nothing seems to be left, it says what is:
    more seeds for the best, if it is `raced`, and the report.
    """
    k, n = progress.best
    low, high = (float(end) for end in wilson(k, n))
    over = progress.done >= progress.total
    speed = f"{progress.rate:.1f}/s" if progress.fresh else ""
    rest = "" if seconds_left is None else f"{clock(seconds_left)} left"
    if over:
        speed = f"{progress.seeds:,} seeds" if raced else speed
        rest = "more for the best, report" if raced else "now the report"
    best = f"best {k}/{n}"
    failed = f"{progress.failed} without outcome" if progress.failed else ""
    # What can be spared first, where numbers are so large that a line does not hold them all.
    for spared in range(4):
        shown = best if spared >= 2 else f"{best} ({interval(low, high)})"
        rest = rest if spared < 3 else ""
        parts = [
            f"{progress.done}/{progress.total}",
            speed if spared < 1 else "",
            *((shown, rest) if over else (rest, shown)),
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
