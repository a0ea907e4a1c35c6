"""What the command line takes and shows of a comparison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from xortune.comparison import Comparison
from xortune.errors import InputError
from xortune.report.comparison import answer, compared
from xortune.report.format import plain

__all__ = ["comparison_json", "pairs", "render_comparison"]


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """NAME=VALUE, as often as the option was given.

    Raises:
        InputError: a text without `=` or without a name, a name given twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise InputError(f"{text!r} is no pair", place=option, allowed="NAME=VALUE")
        if name in found:
            raise InputError(f"{name} is given twice", place=option, fix="give it once")
        found[name] = value
    return found


def render_comparison(comparison: Comparison, files: Sequence[Path], console: Console) -> None:
    """Print what was compared with what, the answer, and where the files are."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in compared(comparison):
        table.add_row(Text(label), Text(text))
    console.print(table)
    for line in answer(comparison):
        console.print(Text(line))
    for path in files:  # soft_wrap: a path that is broken over lines cannot be copied
        console.print(Text(plain(str(path))), soft_wrap=True)


def comparison_json(comparison: Comparison, files: Sequence[Path]) -> dict[str, Any]:
    """The answer, the cells that differ and the groups, with the names of comparison.csv."""
    summary = comparison.summary
    return {
        "run": str(comparison.run),
        "reference": str(comparison.reference.path),
        "columns": dict(comparison.reference.columns),
        "assumed": list(comparison.reference.assumptions),
        "not_used": list(comparison.reference.unused),
        "where": dict(comparison.where),
        "not_in_reference": dict(comparison.fixed),
        "cells": summary.cells,
        "only_reference": len(comparison.only_reference),
        "only_run": len(comparison.only_run),
        "alpha": summary.alpha,
        "below_alpha": summary.below_alpha,
        "share": summary.share,
        "expected": summary.expected,
        "expected_low": summary.expected_low,
        "expected_high": summary.expected_high,
        "differ": summary.differ,
        "smallest_p": summary.smallest_p,
        "differing": _records(comparison.differing),
        "groups": _records(comparison.groups),
        "files": [str(path) for path in files],
    }


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows
