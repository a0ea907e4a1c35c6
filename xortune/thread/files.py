"""The report's files: thread.md, three tables, the figures."""

from __future__ import annotations

import tempfile
from pathlib import Path

from xortune.report.drawn.matplotlib_axes import svg
from xortune.run_files import told_where_unwritable, write_texts
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
    return write_texts(directory, texts)


def prepare(directory: Path) -> None:
    """Try to write there, before anything is measured that could not be kept; leaves nothing.

    Raises:
        InputError: the directory cannot be made or written.
    """
    with told_where_unwritable(directory):
        missing = [part for part in (directory, *directory.parents) if not part.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
        for part in missing:
            part.rmdir()
