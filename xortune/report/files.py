"""The files of a run directory that follow from its journal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from xortune.errors import InputError
from xortune.report.markdown import markdown
from xortune.run import Run, replace_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_derived"]


def write_derived(run: Run) -> None:
    """Write table.csv, table.parquet, seeds.parquet and report.md into the run's directory.

    Each is written beside its place and renamed; the same journal and manifest give the same bytes.

    Raises:
        InputError: the directory cannot be written, or the run's blocks contradict each other.
    """
    files = {
        "table.csv": run.table.to_csv(index=False, lineterminator="\n").encode(),
        "table.parquet": _parquet(_arrow(run.table)),
        "seeds.parquet": _parquet(run.seed_table),
        "report.md": markdown(run).encode(),
    }
    for name, content in files.items():
        try:
            replace_file(run.path / name, content)
        except OSError as error:
            raise InputError(
                f"cannot be written ({error.strerror})", place=str(run.path / name)
            ) from None


def _arrow(table: pd.DataFrame) -> object:
    import pyarrow as pa

    return pa.Table.from_pandas(table, preserve_index=False)


def _parquet(table: object) -> bytes:
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()
