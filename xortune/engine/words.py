"""What engines have to say on a worker, brought to whoever started the search.

They log it, as any library does; on a worker of Ray the log is a file that nobody reads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["heard", "tell"]

logger = logging.getLogger("xortune.engine")


class _Listener(logging.Handler):
    def __init__(self, words: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._words:
            self._words.append(message)


@contextmanager
def heard() -> Iterator[list[str]]:
    """The warnings that engines log meanwhile, each once."""
    words: list[str] = []
    listener = _Listener(words)
    logger.addHandler(listener)
    try:
        yield words
    finally:
        logger.removeHandler(listener)


def tell(words: Sequence[str], worker: str) -> None:
    """Log here what was heard on a worker."""
    for word in words:
        logger.warning("%s: %s", worker, word)
