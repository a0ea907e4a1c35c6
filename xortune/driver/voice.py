"""Who hears what a verb has to say: the caller's functions, the terminal, the logger `xortune`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xortune.core.errors import InputError
from xortune.core.formats import in_notebook, plain

if TYPE_CHECKING:
    from xortune.core.outcome import Failure
    from xortune.reports.progress import Display
    from xortune.runs.status import Progress


def is_watched() -> bool:
    """Whether somebody sees what is drawn: on a terminal, or in a notebook."""
    try:
        return in_notebook() or sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


LOGGER = logging.getLogger("xortune")

QUIET, USUAL, ALL = 0, 1, 2
"""Levels of `verbose`: nothing; progress, what is to be known, the first failure; each news."""


def show_failure(failure: Failure) -> None:
    """Print a failure, with its traceback."""
    with suppress(OSError, ValueError):  # nobody reads it; or stderr lacks a sign
        print(*map(plain, str(failure).split("\n")), sep="\n", file=sys.stderr)


@dataclass(frozen=True)
class Voice:
    """How a verb speaks.

    Whoever has set up Python's logging finds sentences in the logger `xortune`. Otherwise they are
    printed on stderr: warnings always, what is only good to know where somebody watches.

    Attributes:
        verbose: see `QUIET`, `USUAL`, `ALL`.
        told: the caller's own function for sentences; then none is printed.

    Raises:
        InputError: a level that there is not.
    """

    verbose: int = USUAL
    told: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.verbose not in (QUIET, USUAL, ALL):
            raise InputError(
                f"{self.verbose!r}",
                field="verbose",
                allowed="0 (nothing), 1 (progress and notes) or 2 (each news)",
            )

    def warn(self, sentence: str) -> None:
        """Say what the user should read."""
        self._say(logging.WARNING, sentence)

    def inform(self, sentence: str) -> None:
        """Say what is good to know."""
        self._say(logging.INFO, sentence)

    def fail(self, failure: Failure) -> None:
        """Show the first failure, with its traceback."""
        if LOGGER.hasHandlers():
            LOGGER.warning("seed %d failed: %s", failure.seed, failure.reason)
        if self.verbose:
            show_failure(failure)

    def _say(self, level: int, sentence: str) -> None:
        if self.told is not None:
            self.told(sentence)
        elif LOGGER.hasHandlers():
            LOGGER.log(level, "%s", sentence)
        elif self.verbose == ALL or (self.verbose and (level > logging.INFO or is_watched())):
            with suppress(OSError, ValueError):
                print(f"note: {plain(sentence)}", file=sys.stderr)

    @contextmanager
    def searching(
        self,
        on_progress: Callable[[Progress], None] | None,
        on_certify: Callable[[int, int], None] | None,
        *,
        raced: bool,
    ) -> Iterator[tuple[Callable[[Progress], None] | None, Callable[[int, int], None] | None]]:
        """What to call with the news of a search, and of its certificate."""
        with self._display(on_progress, on_certify) as shown:
            if shown is None:
                yield on_progress, on_certify
            else:
                yield shown.search(raced=raced), shown.seeds()

    @contextmanager
    def certifying(
        self, on_progress: Callable[[int, int], None] | None, what: str = "certifying"
    ) -> Iterator[Callable[[int, int], None] | None]:
        """What to call with the seeds done and all seeds."""
        with self._display(on_progress) as shown:
            yield on_progress if shown is None else shown.seeds(what)

    @contextmanager
    def counting(
        self, on_seeds: Callable[[int, int], None] | None, most: int, what: str
    ) -> Iterator[Callable[[int, int], None] | None]:
        """What to call with (k, n) of `most` seeds."""
        with self._display(on_seeds) as shown:
            yield on_seeds if shown is None else shown.counts(most, what)

    @contextmanager
    def _display(self, *given: object) -> Iterator[Display | None]:
        """Where progress is drawn; None if the caller hears of it, or nobody would see it."""
        if any(given) or not self._shows:
            yield None
            return
        from xortune.reports.progress import display  # takes long where nobody watches

        with display(line=self._line, each=self.verbose == ALL) as shown:
            yield shown

    @property
    def _shows(self) -> bool:
        """Whether anybody would see the progress."""
        seen = self.verbose == ALL or (self.verbose > QUIET and is_watched())
        return seen or (LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers())

    def _line(self, text: str) -> None:
        """A line of progress where nothing can be drawn."""
        if LOGGER.hasHandlers():
            LOGGER.info("%s", text)
        elif self.verbose == ALL:
            with suppress(OSError, ValueError):
                print(text, file=sys.stderr)
