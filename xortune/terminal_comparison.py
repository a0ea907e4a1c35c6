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
from xortune.comparison_runs import RunComparison
from xortune.errors import InputError
from xortune.report.comparison_document import MOST_SENTENCES, contestants_table, pairs_table
from xortune.report.comparison_published import answer, compared
from xortune.report.comparison_words import answer as runs_answer
from xortune.report.comparison_words import notes
from xortune.report.document import Table as DocumentTable
from xortune.report.format import plain

__all__ = ["comparison_json", "pairs", "render_comparison"]


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str] | None:
    """NAME=VALUE, as often as the option was given; None if it was not.

    Raises:
        InputError: a text without `=` or without a name, a name given twice.
    """
    if not texts:
        return None
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise InputError(f"{text!r} is no pair", place=option, allowed="NAME=VALUE")
        if name in found:
            raise InputError(f"{name} is given twice", place=option, fix="give it once")
        found[name] = value
    return found


def render_comparison(
    comparison: Comparison | RunComparison, files: Sequence[Path], console: Console
) -> None:
    """Print what was compared with what, the answer, and where the files are."""
    if isinstance(comparison, RunComparison):
        _render_runs(comparison, console)
    else:
        _render_published(comparison, console)
    for path in files:  # soft_wrap: a path that is broken over lines cannot be copied
        console.print(Text(plain(str(path))), soft_wrap=True)


def _render_runs(comparison: RunComparison, console: Console) -> None:
    """The sentence first, then the counts; of many pairs the table instead of their sentences."""
    first, *others = runs_answer(comparison)
    console.print(Text(first))
    console.print(_drawn(contestants_table(comparison)))
    if len(others) > MOST_SENTENCES:
        console.print(_drawn(_narrow(pairs_table(comparison))))
    else:
        for sentence in others:
            console.print(Text(sentence))
    for note in notes(comparison):
        console.print(Text(note))


def _narrow(given: DocumentTable) -> DocumentTable:
    """What finds room on a terminal; the files have all columns."""
    shown = ("A", "B", "difference", "95 % interval", "p (Holm)", "ahead")
    places = [i for i, column in enumerate(given.columns) if column.name in shown]
    return DocumentTable(
        tuple(given.columns[i] for i in places),
        tuple(tuple(row[i] for i in places) for row in given.rows),
    )


def _drawn(given: DocumentTable) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in given.columns:
        table.add_column(column.name, justify="right" if column.numeric else "left")
    for row in given.rows:
        cells = ("".join(part if isinstance(part, str) else part.text for part in c) for c in row)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    return table


def _render_published(comparison: Comparison, console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in compared(comparison):
        table.add_row(Text(label), Text(text))
    console.print(table)
    for line in answer(comparison):
        console.print(Text(line))


def comparison_json(
    comparison: Comparison | RunComparison, files: Sequence[Path]
) -> dict[str, Any]:
    """The answer and what it rests on, with the names of comparison.csv."""
    if isinstance(comparison, RunComparison):
        return _runs_json(comparison, files)
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
        "trainings": summary.trainings,
        "differ": summary.differ,
        "smallest_p": summary.smallest_p,
        "differing": _records(comparison.differing),
        "groups": _records(comparison.groups),
        "files": [str(path) for path in files],
    }


def _runs_json(comparison: RunComparison, files: Sequence[Path]) -> dict[str, Any]:
    contestants = []
    for one, middle in zip(comparison.contestants, comparison.middles, strict=True):
        low, high = one.outcome.interval()
        contestants.append(
            {
                "label": one.label,
                "key": one.key,
                "config": None if one.point is None else one.point.as_dict(),
                "k": one.outcome.successes,
                "n": one.outcome.n,
                "rate": one.outcome.rate,
                "low": low,
                "high": high,
                "seeds_from": one.origin,
                "first_seed": int(one.outcome.seeds[0]),
                "middle_epochs": middle.epochs,
                "facts": dict(one.facts),
                "notes": list(one.notes),
            }
        )
    return {
        "answer": runs_answer(comparison),
        "alpha": comparison.alpha,
        "first_is_worse": comparison.first_is_worse,
        "contestants": contestants,
        "pairs": _records(comparison.table),
        "files": [str(path) for path in files],
    }


def _records(frame: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", double_precision=15))
    return rows
