"""Output of the verbs: the caller's listener, the terminal, the logger `xortune`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from xortune.core.errors import InputError, check_type
from xortune.core.formats import in_notebook, plain

if TYPE_CHECKING:
    from xortune.core.outcome import Failure
    from xortune.runs.status import Progress, SeedsDone


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
class Message:
    """A sentence for the user.

    Attributes:
        text: the sentence.
        level: `info` if it is good to know, `warning` if the user should read it, `error` if
            something that the user asked for was not done.
    """

    text: str
    level: Literal["info", "warning", "error"] = "warning"


Event: TypeAlias = "Progress | SeedsDone | Message | Failure"
"""What a listener is told."""

Listen: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True)
class Voice:
    """Output of a verb: to the caller's listener, and on stderr or by logging.

    If the program has set up logging, sentences go to the logger `xortune`. Otherwise they are
    printed on stderr: warnings always, other sentences only where somebody watches.

    Attributes:
        verbose: see `QUIET`, `USUAL`, `ALL`.
        listener: the caller's, which is told every event.
        draw: draws progress while it is shown.

    Raises:
        InputError: an unknown level, or a listener that cannot be called.
    """

    verbose: int = USUAL
    listener: Listen | None = None
    draw: Listen | None = None

    def __post_init__(self) -> None:
        if self.verbose not in (QUIET, USUAL, ALL):
            raise InputError(
                f"{self.verbose!r}",
                field="verbose",
                allowed="0 (nothing), 1 (progress and notes) or 2 (each news)",
            )
        if self.listener is not None:
            allowed = "a function of one event, such as print"
            check_type("listener", self.listener, Callable, allowed)  # type: ignore[arg-type]

    def tell(self, event: Event) -> None:
        """Tell the listener an event, and draw it if it is progress."""
        for told in (self.listener, self.draw):
            if told is not None:
                told(event)

    def warn(self, sentence: str) -> None:
        """Show a sentence that the user should read."""
        self._say(Message(sentence))

    def inform(self, sentence: str) -> None:
        """Show a sentence that is good to know."""
        self._say(Message(sentence, "info"))

    def complain(self, sentence: str) -> None:
        """Show that something that the user asked for was not done."""
        self._say(Message(sentence, "error"))

    def fail(self, failure: Failure) -> None:
        """Show the first failure, with its traceback."""
        self.tell(failure)
        if LOGGER.hasHandlers():
            LOGGER.warning("seed %d failed: %s", failure.seed, failure.reason)
        if self.verbose:
            show_failure(failure)

    def seeds(self, counts: tuple[int, int]) -> None:
        """Tell how many of the seeds of a certificate or a comparison are done, and of how many."""
        from xortune.runs.status import SeedsDone  # slow to import

        self.tell(SeedsDone(*counts))

    def _say(self, message: Message) -> None:
        self.tell(message)
        is_info = message.level == "info"
        if LOGGER.hasHandlers():
            LOGGER.log(getattr(logging, message.level.upper()), "%s", message.text)
        elif self.verbose == ALL or (self.verbose and (not is_info or is_watched())):
            with suppress(OSError, ValueError):
                print(f"note: {plain(message.text)}", file=sys.stderr)

    @contextmanager
    def drawing(self, what: str | None = None) -> Iterator[Voice]:
        """Draw or log progress while the body runs, if somebody would see it.

        Args:
            what: is done with seeds; None for a search.

        Yields:
            The voice that does so.
        """
        is_shown = self.verbose == ALL or (self.verbose > QUIET and is_watched())
        is_logged = LOGGER.isEnabledFor(logging.INFO) and LOGGER.hasHandlers()
        if not (is_shown or is_logged):
            yield self
            return
        from xortune.reports.progress import display  # slow to import

        with display(line=self._print_line, each=self.verbose == ALL) as shown:
            yield replace(self, draw=shown.search() if what is None else shown.seeds(what))

    def _print_line(self, text: str) -> None:
        """Print or log a line of progress where nothing can be drawn."""
        if LOGGER.hasHandlers():
            LOGGER.info("%s", text)
        elif self.verbose == ALL:
            with suppress(OSError, ValueError):
                print(text, file=sys.stderr)


SILENT = Voice(QUIET)
