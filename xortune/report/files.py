"""The files of a run directory that follow from its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, BinaryIO

from xortune.errors import InputError
from xortune.files import is_full
from xortune.report.csv_text import write_csv
from xortune.report.document import Document, Figure
from xortune.report.markdown_document import markdown_text
from xortune.report.printed import PRINTED, printed_text
from xortune.report.run_document import SECTION_OF, run_document
from xortune.report.run_latex import table_tex
from xortune.run import Run, replace_file
from xortune.run_certificate import certificate_of
from xortune.run_certificate_file import CERTIFICATE, write_certificate
from xortune.run_files import remove_file

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from xortune.report.plot import Plot
    from xortune.run_files import Content

__all__ = ["FIGURES", "FORMATS", "PICTURES", "write_derived"]


FORMATS = ("html", "md", "csv", "tex", "parquet")
"""What is written unless something else is asked for; `md` has its figures beside it, as SVG."""

PICTURES = ("png", "pdf")
"""What the same figures are written as besides, if that is asked for: for slides and papers."""

FIGURES = "figures"
"""The folder of the figures of report.md."""


def write_derived(run: Run, formats: Sequence[str] = FORMATS) -> None:
    """Write a run's reports and tables into its directory.

    They are report.html, report.md with its figures, table.csv, table.tex, table.parquet and
    seeds.parquet; beside report.md also failures.txt, if failed seeds printed anything. Each is
    written beside its place and renamed; the same journal and manifest give the same bytes. Figures
    that an earlier report.md had and this one has not are removed; nothing else in their folder is.
    If certificate.json is missing and the journal has what it follows from, it is written too.

    Args:
        run: what to write.
        formats: which of `FORMATS` and `PICTURES`.

    Raises:
        InputError: an unknown format, a directory that cannot be written, or blocks of the run
            that contradict each other.
    """
    for wanted in formats:
        if wanted not in (*FORMATS, *PICTURES):
            raise InputError(
                f"unknown format {wanted!r}",
                field="format",
                allowed=", ".join((*FORMATS, *PICTURES)),
            )
    certificate = certificate_of(run.checks)
    if certificate is not None and not (run.path / CERTIFICATE).exists():
        write_certificate(run.path, certificate, run.manifest)
    written = set()
    for name, content in _files(run, formats):
        path = run.path / name
        with _told(run, path):
            if path.parent != run.path:
                _folder(path.parent)
            replace_file(path, content)
        written.add(name)
    figures = run.path / FIGURES
    if not (figures.is_symlink() or figures.is_file()):
        for name in _drawn_names(SECTION_OF, formats):
            if name not in written:
                with _told(run, figures):
                    remove_file(run.path / name)
    if "md" in formats and PRINTED not in written:
        with _told(run, run.path / PRINTED):
            remove_file(run.path / PRINTED)


@contextmanager
def _told(run: Run, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror})",
            place=str(path),
            fix=f"free space there, then: xortune report {run.path}" if is_full(error) else None,
        ) from None


def _folder(path: Path) -> None:
    """Make a folder of a run; a run that was got from somebody must not lead out of itself."""
    if path.is_symlink():
        raise InputError("is a symbolic link", place=str(path), fix="remove it")
    path.mkdir(exist_ok=True)


def _files(run: Run, formats: Sequence[str]) -> Iterator[tuple[str, Content]]:
    """Each file with what writes it, one after the other; figures before the text with them."""

    @cache
    def document() -> Document:
        return run_document(run)

    if "csv" in formats:
        yield "table.csv", partial(write_csv, run.table)
    if "parquet" in formats:
        yield "table.parquet", partial(_parquet, _table(run))
        yield "seeds.parquet", partial(_parquet, _seeds(run))
    if "tex" in formats:
        yield "table.tex", table_tex(run).encode()
    if "html" in formats:
        from xortune.report.html.page import page

        yield "report.html", page(document()).encode()
    if {"md", *PICTURES} & set(formats):
        yield from _figures(document(), formats)
    if "md" in formats:
        yield "report.md", markdown_text(document(), figures=f"{FIGURES}/").encode()
        if (printed := printed_text(run)) is not None:
            yield PRINTED, printed.encode()


def _drawn_names(names: Iterable[str], formats: Sequence[str]) -> Iterator[str]:
    """The files of these figures: as SVG beside report.md, and as each picture asked for."""
    ends = ["svg"] * ("md" in formats) + [kind for kind in PICTURES if kind in formats]
    return (f"{FIGURES}/{name}.{end}" for name in names for end in ends)


def _figures(document: Document, formats: Sequence[str]) -> Iterator[tuple[str, Content]]:
    plots = [b.plot for part in document.sections for b in part.blocks if isinstance(b, Figure)]
    for plot in plots:
        for name in _drawn_names([plot.name], formats):
            yield name, _drawn(plot, name)


def _drawn(plot: Plot, name: str) -> bytes:
    from xortune.report.drawn.matplotlib_axes import pdf, png, svg

    if name.endswith(".png"):
        return png(plot)
    return pdf(plot) if name.endswith(".pdf") else svg(plot).encode()


def _table(run: Run) -> Iterator[pa.Table]:
    import pyarrow as pa

    yield pa.Table.from_pandas(run.table, preserve_index=False)


def _seeds(run: Run) -> Iterator[pa.Table]:
    """All seeds, part by part: a million configs have more of them than memory."""
    from xortune.frames import seed_tables

    return seed_tables(run.results)


def _parquet(parts: Iterable[pa.Table], file: BinaryIO) -> None:
    from pyarrow import parquet

    writer = None
    for part in parts:
        if writer is None:
            writer = parquet.ParquetWriter(file, part.schema)
        writer.write_table(part)
    assert writer is not None
    writer.close()
