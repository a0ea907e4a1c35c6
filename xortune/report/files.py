"""The files of a run directory that follow from its journal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from xortune.errors import InputError
from xortune.files import is_full
from xortune.report.csv_text import write_csv
from xortune.report.markdown_document import markdown_text
from xortune.report.run_document import run_document
from xortune.run import Run, replace_file
from xortune.run_certificate import certificate_of
from xortune.run_certificate_file import CERTIFICATE, write_certificate

if TYPE_CHECKING:
    import pyarrow as pa

    from xortune.run_files import Content

__all__ = ["write_derived"]


FORMATS = ("md", "csv", "parquet")
"""Endings of the files that can be written."""


def write_derived(run: Run, formats: Sequence[str] = FORMATS) -> None:
    """Write table.csv, table.parquet, seeds.parquet and report.md into the run's directory.

    Each is written beside its place and renamed; the same journal and manifest give the same bytes.
    If certificate.json is missing and the journal has what it follows from, it is written too.

    Args:
        run: what to write.
        formats: which of `FORMATS`.

    Raises:
        InputError: an unknown format, a directory that cannot be written, or blocks of the run
            that contradict each other.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise InputError(
                f"unknown format {wanted!r}", field="format", allowed=", ".join(FORMATS)
            )
    files: dict[str, Content] = {
        "table.csv": lambda file: write_csv(run.table, file),
        "table.parquet": partial(_parquet, _table(run)),
        "seeds.parquet": partial(_parquet, _seeds(run)),
        "report.md": lambda file: file.write(markdown_text(run_document(run)).encode()),
    }
    certificate = certificate_of(run.checks)
    if certificate is not None and not (run.path / CERTIFICATE).exists():
        write_certificate(run.path, certificate, run.manifest)
    for name, content in files.items():
        if name.rpartition(".")[2] not in formats:
            continue
        try:
            replace_file(run.path / name, content)
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})",
                place=str(run.path / name),
                fix=f"free space there, then: xortune report {run.path}"
                if is_full(error)
                else None,
            ) from None


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
