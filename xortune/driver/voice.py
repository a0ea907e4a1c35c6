"""Output of the verbs: callbacks, terminal, the logger `xortune`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xortune.core.errors import InputError
from xortune.core.formats import in_notebook, plain

if TYPE_CHECKING:
    from xortune.core.outcome import Failure
    from xortune.reports.progress import Display
    from xortune.runs.status import Progress


def is_watched() -> bool:
    """Whether progress can be drawn: on a terminal, or in a notebook."""
    try:
        return in_notebook() or sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is no stderr, or it is closed
        return False


LOGGER = logging.getLogger("xortune")

QUIET, USUAL, ALL = 0, 1, 2
"""Levels of `verbose`: nothing; progress, notes and the first failure; each step in a line."""


def show_failure(failure: Failure) -> None:
    """Print a failure, with its traceback."""
    with suppress(OSError, ValueError):  # stderr is closed, or cannot encode a character
        print(*map(plain, str(failure).split("\n")), sep="\n", file=sys.stderr)


@dataclass(frozen=True)
class Listener:
    """Callbacks of a search.

    Attributes:
        progress: called after each result, once it is on the disk.
        certify: called with the fresh seeds done and all of them.
        message: called with a sentence that the user should read.
        failure: called with the first seed that fails, or block that produces no outcome.
    """

    progress: Callable[[Progress], None] | None = None
    certify: Callable[[int, int], None] | None = None
    message: Callable[[str], None] = lambda _: None
    failure: Callable[[Failure], None] | None = None


NOBODY = Listener()


@dataclass(frozen=True)
class Voice:
    """Output of a verb.

    If the program has set up logging, sentences go to the logger `xortune`. Otherwise they are
    printed on stderr: warnings always, notes only where somebody watches.

    Attributes:
        verbose: see `QUIET`, `USUAL`, `ALL`.
        on_message: the caller's function for sentences; then none is printed.

    Raises:
        InputError: an unknown level.
    """

    verbose: int = USUAL
    on_message: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        if self.verbose not in (QUIET, USUAL, ALL):
            raise InputError(
                f"{self.verbose!r}",
                field="verbose",
                allowed="0 (nothing), 1 (progress and notes) or 2 (each news)",
            )

    def warn(self, sentence: str) -> None:
        """Show a sentence that the user should read."""
        self._show(logging.WARNING, sentence)

    def inform(self, sentence: str) -> None:
        """Show a sentence that is good to know."""
        self._show(logging.INFO, sentence)

    def fail(self, failure: Failure) -> None:
        """Show the first failure, with its traceback."""
        if LOGGER.hasHandlers():
            LOGGER.warning("seed %d failed: %s", failure.seed, failure.reason)
        if self.verbose:
            show_failure(failure)

    def _show(self, level: int, sentence: str) -> None:
        if self.on_message is not None:
            self.on_message(sentence)
        elif LOGGER.hasHandlers():
            LOGGER.log(level, "%s", sentence)
        elif self.verbose == ALL or (self.verbose and (level > logging.INFO or is_watched())):
            with suppress(OSError, ValueError):
                print(f"note: {plain(sentence)}", file=sys.stderr)

    @contextmanager
    def searching(self, listener: Listener) -> Iterator[Listener]:
        """Show a search, unless the caller's listener does; yield the listener that shows it."""
        with self._display(listener.progress, listener.certify) as display:
            if display is None:
                yield listener
            else:
                progress, certify = display.search(), display.seeds()
                yield replace(listener, progress=progress, certify=certify)

    @contextmanager
    def certifying(
        self, on_progress: Callable[[int, int], None] | None, what: str = "certifying"
    ) -> Iterator[Callable[[int, int], None] | None]:
        """Show seeds that are trained; yield the callback for the seeds done and all seeds."""
        with self._display(on_progress) as display:
            yield on_progress if display is None else display.seeds(what)

    @contextmanager
    def counting(
        self, on_seeds: Callable[[int, int], None] | None, most: int, what: str
    ) -> Iterator[Callable[[int, int], None] | None]:
        """Show a count; yield the callback for (k, n) of at most `most` seeds."""
        with self._display(on_seeds) as display:
            yield on_seeds if display is None else display.counts(most, what)

    @contextmanager
    def _display(self, *callbacks: object) -> Iterator[Display | None]:
        """Draw or log progress; None if the caller has a callback, or nobody would see it."""
        is_shown = self.verbose == ALL or (self.verbose > QUIET and is_watched())
        is_logged = LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers()
        if any(callbacks) or not (is_shown or is_logged):
            yield None
            return
        from xortune.reports.progress import display  # slow to import

        with display(line=self._print_line, each=self.verbose == ALL) as shown:
            yield shown

    def _print_line(self, text: str) -> None:
        """Print or log a line of progress where nothing can be drawn."""
        if LOGGER.hasHandlers():
            LOGGER.info("%s", text)
        elif self.verbose == ALL:
            with suppress(OSError, ValueError):
                print(text, file=sys.stderr)
