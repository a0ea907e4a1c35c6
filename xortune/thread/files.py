"""The report's files: thread.md, three tables, the figures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xortune.errors import InputError
from xortune.report.draw import svg
from xortune.run import replace_file
from xortune.thread.figures import figures
from xortune.thread.page import page
from xortune.thread.settle import Settled
from xortune.thread.tables import claims_csv, comparisons_csv, curves_csv

__all__ = ["prepare", "write"]


def write(settled: Settled, directory: Path) -> tuple[Path, ...]:
    """Write all of them.

    Returns:
        Their paths, thread.md first.

    Raises:
        InputError: the directory cannot be made or written.
    """
    drawn = figures(settled)
    texts = {"thread.md": page(settled, drawn), "thread.csv": claims_csv(settled)}
    if settled.comparisons:
        texts["thread_comparisons.csv"] = comparisons_csv(settled)
    if settled.curves:
        texts["thread_curves.csv"] = curves_csv(settled)
    texts |= {f"{figure.name}.svg": svg(figure) for figure in drawn}
    for name, text in texts.items():
        with _told(directory / name):
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / name, text.encode())
    return tuple(directory / name for name in texts)


def prepare(directory: Path) -> None:
    """Try to write there, before anything is measured that could not be kept; leaves nothing.

    Raises:
        InputError: the directory cannot be made or written.
    """
    with _told(directory):
        missing = [part for part in (directory, *directory.parents) if not part.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        for part in missing:
            part.rmdir()


@contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot be written ({reason})",
            place=str(place),
            fix="give another directory with --output",
        ) from None
