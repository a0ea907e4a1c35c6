"""The files of a comparison: the same document as text and page, its tables for papers, and CSV."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from xortune.comparison import Comparison
from xortune.comparison_runs import RunComparison
from xortune.errors import InputError, nearest
from xortune.report.comparison_document import comparison_document, tables_of
from xortune.report.csv_text import csv_text
from xortune.report.document import Document, Figure
from xortune.report.latex import latex_table
from xortune.report.markdown_document import markdown_text
from xortune.run_files import remove_file, told_where_unwritable, write_texts
from xortune.run_stored import driven

__all__ = ["FORMATS", "checked_formats", "comparison_csv", "comparison_tex", "write_comparison"]

FORMATS = ("md", "html", "csv", "tex")

FIGURES = "comparison-figures"
"""The folder of the figures of comparison.md: a run's directory may have others."""

NAMES = ("differences", "wins", "profile", "numbers", "agreement", "cell-differences")
"""Of all figures; one that an earlier comparison had and this one has not is removed."""


def write_comparison(
    comparison: Comparison | RunComparison,
    output: str | os.PathLike[str] | None,
    formats: Sequence[str],
) -> tuple[Path, ...]:
    """Write comparison.md, comparison.html, comparison.csv and comparison.tex, as far as wanted.

    Args:
        comparison: what is written.
        output: the directory; None: that of the run which is compared with a table.
        formats: which of `FORMATS`.

    Returns:
        The paths of the files, those of figures left out.

    Raises:
        InputError: an unknown format, or the directory cannot be made or written.
    """
    wanted = checked_formats(formats)
    if output is None:
        assert isinstance(comparison, Comparison)
        directory = comparison.run
    else:
        directory = driven(output)
    document = comparison_document(comparison)
    texts = {}
    if "md" in wanted:
        figures = dict(_figures(document))
        if (directory / FIGURES).is_symlink():  # a run that was got from somebody stays in itself
            place = str(directory / FIGURES)
            raise InputError("is a symbolic link", place=place, fix="remove it")
        write_texts(directory / FIGURES, figures)
        for name in {f"{name}.svg" for name in NAMES} - set(figures):
            with told_where_unwritable(directory / FIGURES):
                remove_file(directory / FIGURES / name)
        texts["comparison.md"] = markdown_text(document, figures=f"{FIGURES}/")
    if "html" in wanted:
        from xortune.report.html.page import page

        texts["comparison.html"] = page(document)
    if "csv" in wanted:
        texts["comparison.csv"] = comparison_csv(comparison)
    if "tex" in wanted:
        texts["comparison.tex"] = comparison_tex(comparison)
    return write_texts(directory, texts)


def checked_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, after a check.

    Raises:
        InputError: none, or an unknown one.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise InputError(
                f"unknown format {wanted!r}",
                field="format",
                allowed=", ".join(FORMATS),
                fix=nearest(wanted, FORMATS),
            )
    if not formats:
        raise InputError("no format", field="format", allowed=", ".join(FORMATS))
    return tuple(formats)


def comparison_csv(comparison: Comparison | RunComparison) -> str:
    """One row for each cell, smallest p first; of runs one for each pair."""
    table = comparison.cells if isinstance(comparison, Comparison) else comparison.table
    return csv_text(table)


def comparison_tex(comparison: Comparison | RunComparison) -> str:
    """The tables for a paper."""
    return "\n".join(
        latex_table(table, caption=f"{about}.", label=f"tab:comparison-{number}")
        for number, (about, table) in enumerate(tables_of(comparison).items(), 1)
    )


def _figures(document: Document) -> Iterator[tuple[str, str]]:
    from xortune.report.drawn.matplotlib_axes import svg

    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                yield f"{block.plot.name}.svg", svg(block.plot)
