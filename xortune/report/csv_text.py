"""A table as CSV text that a spreadsheet or a terminal may open, wherever its names came from."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from xortune.report.format import plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_text", "write_csv"]

ROWS = 20_000
"""Of a table, that are text in memory at once."""


def write_csv(table: pd.DataFrame, file: BinaryIO) -> None:
    """Write `csv_text` of a table of any length, in UTF-8."""
    for start in range(0, max(len(table), 1), ROWS):
        part = table.iloc[start : start + ROWS]
        file.write(csv_text(part, header=start == 0).encode())


def csv_text(table: pd.DataFrame, *, header: bool = True) -> str:
    r"""The table as CSV, with ``\n`` as line ends.

    In texts and in column names, signs that are none to see are written as escapes (``\x1b``), and
    what a spreadsheet would compute (``=``, ``+``, ``-`` or ``@`` before what is no number) has an
    apostrophe in front. Parquet files have the texts as they are.
    """
    from pandas.api.types import is_object_dtype, is_string_dtype

    shown = table.rename(columns={name: _cell(str(name)) for name in table.columns})
    for at in range(table.shape[1]):
        column = table.iloc[:, at]
        if is_object_dtype(column.dtype) or is_string_dtype(column.dtype):
            cell = cache(_cell)
            texts = [cell(value) if isinstance(value, str) else value for value in column]
            shown.isetitem(at, texts)
    text: str = shown.to_csv(index=False, header=header, lineterminator="\n")
    return text


def _cell(text: str) -> str:
    text = plain(text)
    return f"'{text}" if text[:1] in "=+-@" and text and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
