"""The report's files: thread.md, three tables, the figures."""

from __future__ import annotations

from pathlib import Path

from xortune.errors import InputError
from xortune.report.draw import svg
from xortune.run import replace_file
from xortune.thread.figures import figures
from xortune.thread.page import page
from xortune.thread.settle import Settled
from xortune.thread.tables import claims_csv, comparisons_csv, curves_csv

__all__ = ["write"]


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
        try:
            directory.mkdir(parents=True, exist_ok=True)
            replace_file(directory / name, text.encode())
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"cannot be written ({reason})",
                place=str(directory / name),
                fix="give another directory with --output",
            ) from None
    return tuple(directory / name for name in texts)
