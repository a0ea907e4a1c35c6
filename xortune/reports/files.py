"""Writes the files of reports: those that follow from a run's journal, and of a comparison."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from xortune.comparisons.comparison import Comparison
from xortune.core.errors import InputError, check_type, refuse_unknown
from xortune.core.files import ANOTHER_OUTPUT, writing
from xortune.core.formats import plain
from xortune.reports.comparison import comparison_document, tables_of
from xortune.reports.document import Document, latex_table, markdown_text
from xortune.reports.drawing.matplotlib import pdf, png, svg
from xortune.reports.figures import known_figures
from xortune.reports.page import page
from xortune.reports.run import PRINTED, failure_log, run_document, table_tex
from xortune.runs.certificate import CERTIFICATE, write_certificate
from xortune.runs.results import seed_tables
from xortune.runs.run import RUNS, Run
from xortune.runs.store import StoredPath, driver_directory, remove_file, replace_file

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from xortune.runs.store import Content

# -------------------------------------------------------------------------------------------------
# A table as CSV that is safe to open in a spreadsheet or a terminal, whatever its names are.

ROWS = 20_000  # rows of a table whose text is in memory at once


def write_csv(table: pd.DataFrame, file: BinaryIO) -> None:
    """Write the `csv_text` of a table, in UTF-8, in parts of `ROWS` rows."""
    for start in range(0, max(len(table), 1), ROWS):
        part = table.iloc[start : start + ROWS]
        file.write(csv_text(part, header=start == 0).encode())


def csv_text(table: pd.DataFrame, *, header: bool = True) -> str:
    r"""The table as CSV, with ``\n`` as line ends.

    In texts and column names, invisible characters are escaped (``\x1b``), and an apostrophe is put
    before what a spreadsheet would compute: ``=``, ``+``, ``-`` or ``@`` before something that is
    not a number. Parquet files have the texts unchanged.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    if header:
        writer.writerow([_cell(str(name)) for name in table.columns])
    cell = cache(_cell)
    columns = []
    for at in range(table.shape[1]):
        values = table.iloc[:, at].to_numpy(object, na_value="").tolist()
        if str in set(map(type, values)):
            values = [v if type(v) is not str or v.isalnum() else cell(v) for v in values]
        columns.append(values)
    writer.writerows(zip(*columns, strict=True))
    return file.getvalue()


def _cell(text: str) -> str:
    text = plain(text)
    if not text.startswith(("=", "+", "-", "@")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


# -------------------------------------------------------------------------------------------------
# The files of a run directory that follow from its journal.

FORMATS = ("html", "md", "csv", "tex", "parquet")
"""The default formats; `md` includes its figures as SVG files."""

PICTURES = ("png", "pdf")
"""Further formats of the figures, for slides and papers."""

FOLDER = "figures"  # the folder of the figures of report.md


def write_report(run: Run, *, formats: Sequence[str] | None = None) -> None:
    """Write the run's reports and tables from its journal.

    They are report.html, report.md with its figures, table.csv, table.tex, table.parquet and
    seeds.parquet; with report.md also failures.txt, if failed seeds printed anything. Each file is
    replaced atomically; the same journal and manifest give the same bytes. Figures of an earlier
    report.md that this one does not have are removed; other files in their folder stay. If
    certificate.json is missing and the journal has a certificate, it is written, too.

    Args:
        run: what to report.
        formats: which of `html`, `md`, `csv`, `tex` and `parquet`; by default all. With `png` or
            `pdf` the figures are written as such, into the same folder.

    Raises:
        InputError: another format, a directory that cannot be written, or blocks of the run that
            contradict each other.
    """
    check_type("run", run, Run, "a run, such as xt.load_run(DIRECTORY)")
    formats = FORMATS if formats is None else formats
    _refuse_unknown(formats, (*FORMATS, *PICTURES))
    if run.certificate is not None and not (run.path / CERTIFICATE).exists():
        write_certificate(run.path, run.certificate, run.manifest)
    old = [f"{FOLDER}/{one.name}.{end}" for one in known_figures() for end in _pictures(formats)]
    old += [PRINTED] if "md" in formats else []
    _write(run.path, _files(run, formats), old, f"xortune report {run.path}")


def _refuse_unknown(formats: Iterable[str], known: Sequence[str]) -> None:
    for name in formats:
        refuse_unknown(name, known, f"unknown format {name!r}", field="format")


def _write(
    directory: Path,
    files: Iterable[tuple[str, Content]],
    old: Iterable[str],
    again: str | None = None,
) -> None:
    """Write files below a directory, and remove the old ones that are not among them.

    A symbolic link in place of a folder is refused: a run from someone else must not write outside
    of its directory. `again` is the command to repeat after an error such as a full disk. The
    first error is raised when all other files have been tried.
    """
    full = {"full": f"free space there, then: {again}"}
    fixes = {"fix": ANOTHER_OUTPUT} if again is None else full
    written: list[Path] = []
    refused: list[tuple[Path, InputError]] = []
    for name, content in files:
        path = directory / name
        if path.parent != directory and path.parent.is_symlink():
            raise InputError("is a symbolic link", place=str(path.parent), fix="remove it")
        try:
            with writing(path, **fixes):
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, content)
        except InputError as error:
            if isinstance(path, StoredPath):  # a store that fails would fail for each file
                raise
            refused.append((path, error))
        written.append(path)
    for name in sorted(old):
        path = directory / name
        is_outside = path.parent != directory and (
            path.parent.is_symlink() or path.parent.is_file()
        )
        if path not in written and not is_outside:
            with writing(path, **fixes):
                remove_file(path)
    if refused:
        _, first = refused[0]
        others = ", ".join(path.relative_to(directory).as_posix() for path, _ in refused[1:])
        problem = f"{first.problem}, nor can {others}" if others else first.problem
        raise InputError(problem, place=first.place, allowed=first.allowed, fix=first.fix)


def _files(run: Run, formats: Sequence[str]) -> Iterator[tuple[str, Content]]:
    """The name of each file, and its content or what writes it."""
    if "csv" in formats:
        yield "table.csv", partial(write_csv, run.table)
    if "parquet" in formats:
        yield "table.parquet", lambda file: run.table.to_parquet(file, index=False)
        # In parts: the seeds of a million configs do not fit into memory.
        yield "seeds.parquet", partial(_parquet, seed_tables(run.results))
    if "tex" in formats:
        yield "table.tex", table_tex(run).encode()
    yield from _shown("report", cache(lambda: run_document(run)), formats, FOLDER)
    if "md" in formats and (printed := failure_log(run)) is not None:
        yield PRINTED, printed.encode()


def _shown(
    name: str, document: Callable[[], Document], formats: Sequence[str], folder: str
) -> Iterator[tuple[str, Content]]:
    """A document as a page and as Markdown; its figures come before the Markdown."""
    if "html" in formats:
        yield f"{name}.html", page(document()).encode()
    if endings := _pictures(formats):
        draw = {"svg": lambda plot: svg(plot).encode(), "png": png, "pdf": pdf}
        for plot in document().plots:
            for end in endings:
                yield f"{folder}/{plot.name}.{end}", draw[end](plot)
    if "md" in formats:
        yield f"{name}.md", markdown_text(document(), figures=f"{folder}/").encode()


def _pictures(formats: Sequence[str]) -> list[str]:
    """The file endings of figures: `svg` with Markdown, and the requested pictures."""
    return ["svg"] * ("md" in formats) + [kind for kind in PICTURES if kind in formats]


def _parquet(parts: Iterator[pa.Table], file: BinaryIO) -> None:
    from pyarrow import parquet
    from pyarrow.types import is_floating

    first = next(parts)
    # Losses are nearly all distinct, so a dictionary would only cost time and space.
    encoded = [field.name for field in first.schema if not is_floating(field.type)]
    with parquet.ParquetWriter(file, first.schema, use_dictionary=encoded) as writer:
        for part in chain([first], parts):
            writer.write_table(part)


# -------------------------------------------------------------------------------------------------
# The files of a comparison: the document as Markdown and page, its tables for papers, and CSV.

COMPARISON_FORMATS = ("md", "html", "csv", "tex")

MAX_NAME = 100  # characters of the name of a comparison's directory

COMPARISON_FIGURES = "comparison-figures"
"""The folder of the figures of comparison.md; `figures` may hold those of a run."""

NAMES = (
    *("differences", "wins", "profile", "numbers"),
    *("number-strips", "intervals", "improvement", "number-profile"),
)
"""The names of all figures: those of an earlier comparison that this one lacks are removed."""


def write_comparison(
    comparison: Comparison,
    output: str | os.PathLike[str] | None = None,
    *,
    formats: Sequence[str] = ("md", "html", "csv"),
) -> tuple[Path, ...]:
    """Write comparison.md with its figures, comparison.html, comparison.csv, comparison.tex.

    Args:
        comparison: what `compare` returns.
        output: the directory; by default runs/compare-A-B.
        formats: the endings of the files: `md`, `html`, `csv`, `tex`.

    Returns:
        The paths of the files except the figures.

    Raises:
        InputError: another format, or the directory cannot be written.
    """
    formats = checked_formats(formats)
    if output is not None:
        directory = driver_directory(output)
    else:
        directory = comparison_directory([one.label for one in comparison.contestants])
    old = [f"{COMPARISON_FIGURES}/{name}.svg" for name in NAMES] if "md" in formats else []
    _write(directory, _comparison_files(comparison, formats), old)
    return tuple(directory / f"comparison.{ending}" for ending in formats)


def _comparison_files(
    comparison: Comparison, formats: Sequence[str]
) -> Iterator[tuple[str, Content]]:
    document = cache(lambda: comparison_document(comparison))
    yield from _shown("comparison", document, formats, COMPARISON_FIGURES)
    if "csv" in formats:
        yield "comparison.csv", csv_text(comparison.table).encode()
    if "tex" in formats:
        yield "comparison.tex", comparison_tex(comparison).encode()


def comparison_tex(comparison: Comparison) -> str:
    """The tables of a comparison for a paper."""
    return "\n".join(
        latex_table(replace(table, caption=f"{table.caption}."), label=f"tab:comparison-{number}")
        for number, table in enumerate(tables_of(comparison), 1)
    )


def comparison_directory(labels: Sequence[str]) -> Path:
    """The default directory of a comparison: runs/compare-A-B below the working directory."""
    names = [re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.") for label in labels]
    return Path(RUNS) / "-".join(["compare", *filter(None, names)])[:MAX_NAME]


def checked_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, unchanged.

    Raises:
        InputError: there is none, or an unknown one.
    """
    _refuse_unknown(formats, COMPARISON_FORMATS)
    if not formats:
        raise InputError("no format", field="format", allowed=", ".join(COMPARISON_FORMATS))
    return tuple(formats)
