"""The files of a run directory that follow from its journal."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from xortune.errors import InputError
from xortune.files import is_full
from xortune.report.csv_text import csv_text
from xortune.report.markdown import markdown
from xortune.run import Run, replace_file
from xortune.run_certificate import certificate_of
from xortune.run_certificate_file import CERTIFICATE, write_certificate

if TYPE_CHECKING:
    import pandas as pd

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
    files: dict[str, Callable[[], bytes]] = {
        "table.csv": lambda: csv_text(run.table).encode(),
        "table.parquet": lambda: _parquet(_arrow(run.table)),
        "seeds.parquet": lambda: _parquet(run.seed_table),
        "report.md": lambda: markdown(run).encode(),
    }
    certificate = certificate_of(run.checks)
    if certificate is not None and not (run.path / CERTIFICATE).exists():
        write_certificate(run.path, certificate, run.manifest)
    for name, content in files.items():
        if name.rpartition(".")[2] not in formats:
            continue
        try:
            replace_file(run.path / name, content())
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})",
                place=str(run.path / name),
                fix=f"free space there, then: xortune report {run.path}"
                if is_full(error)
                else None,
            ) from None


def _arrow(table: pd.DataFrame) -> object:
    import pyarrow as pa

    return pa.Table.from_pandas(table, preserve_index=False)


def _parquet(table: object) -> bytes:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()
