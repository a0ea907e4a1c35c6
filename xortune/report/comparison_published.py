"""A run beside a published table as a document: it shows a `Comparison`, and computes none."""

from __future__ import annotations

from typing import Any

import pandas as pd

from xortune.comparison import Comparison, Summary
from xortune.report.comparison_words import points, points_interval
from xortune.report.document import (
    Block,
    Column,
    Document,
    Figure,
    Section,
    Subheading,
    Table,
    said,
    table_of,
)
from xortune.report.figures.published import agreement, cell_differences, shown_value, varied
from xortune.report.format import count, interval, number, percent, plain
from xortune.report.words import Word, words

__all__ = [
    "answer",
    "cells_caption",
    "cells_table",
    "compared",
    "first_cells",
    "published_document",
]

SHOWN_DIFFERING, SHOWN_OTHERS, SHOWN_VALUES, SHOWN_LINES = 100, 20, 40, 10


def published_document(comparison: Comparison) -> Document:
    """The comparison of a run with a published table: the answer first."""
    run, table = comparison.run.resolve().name, comparison.reference.path.name
    return Document(
        f"xortune: {run} beside {table}",
        "",
        (
            Section(
                "answer",
                "The answer",
                (*map(said, answer(comparison)), Figure(agreement(comparison))),
            ),
            Section("compared", "What was compared", (_compared(comparison),)),
            Section("differing", "Cells that differ beyond chance", _differing(comparison)),
            Section("others", "The others", _others(comparison)),
            Section("groups", "Which values the differences go with", _groups(comparison)),
            words(_meaning(comparison)),
        ),
    )


def _over(s: Summary) -> str:
    """How the range takes cells that are not independent."""
    if s.trainings == s.cells:
        return ""
    return f" over {count(s.trainings, 'training')}, whose cells at several epochs hang together"


def answer(comparison: Comparison) -> list[str]:
    """How many cells differ, how many would by chance, and what those that differ share."""
    s = comparison.summary
    level = f"{number(100 * s.alpha)} %"
    cells = count(s.cells, "cell")
    verb = "differs" if s.differ == 1 else "differ"
    lines = [f"{s.differ:,} of {cells} {verb} beyond chance (Holm {level})."]
    if s.below_alpha > s.expected_high:
        verdict = "That is more than chance gives."
    elif s.below_alpha < s.expected_low:
        verdict = "That is less than chance gives."
    else:
        verdict = "That is what chance gives."
    alpha = number(s.alpha)
    lines.append(
        f"{s.below_alpha:,} ({percent(s.share)}) have p < {alpha}; chance alone gives about "
        f"{number(round(s.expected, 1))} ({percent(s.expected / s.cells)}), 95 % range "
        f"{s.expected_low:,} to {s.expected_high:,}{_over(s)}. {verdict} "
        f"The smallest p is {number(s.smallest_p)}."
    )
    shared = [
        name for name in varied(comparison) if comparison.differing[name].nunique(dropna=False) < 2
    ]
    if s.differ > 1 and shared:
        named = ", ".join(
            f"{plain(name)} {shown_value(comparison.differing[name].iloc[0])}" for name in shared
        )
        lines.append(f"All that differ have {named}.")
    return lines


def compared(comparison: Comparison) -> list[tuple[str, str]]:
    """What was compared with what, and what was not, as (label, text) rows."""
    reference = comparison.reference
    names = {"k": "k (solved)", "n": "n (seeds)", "percent": "percent solved", "rate": "rate"}
    columns = ", ".join(
        f"{names.get(name, name)} = {column}" for name, column in reference.columns.items()
    )
    # Names and no paths: the report says the same wherever it was made.
    rows = [
        ("run", comparison.run.resolve().name),
        ("table", reference.path.name),
        ("columns", columns),
    ]
    rows += [("assumed", text) for text in reference.assumptions]
    if reference.unused:
        rows.append(("not used", ", ".join(reference.unused)))
    if comparison.where:
        rows.append(("only", _pairs(comparison.where)))
    if comparison.fixed:
        rows.append(("not in the table", f"{_pairs(comparison.fixed)} (in every config compared)"))
    rows.append(("cells compared", f"{comparison.summary.cells:,}"))
    lines, keys = comparison.only_reference, comparison.only_run
    if lines:
        named = ", ".join(str(line) for line in lines[:SHOWN_LINES])
        more = ", ..." if len(lines) > SHOWN_LINES else ""
        label = "line" if len(lines) == 1 else "lines"
        rows.append(("only in the table", f"{count(len(lines), 'row')} ({label} {named}{more})"))
    if keys:
        rows.append(("only in the run", count(len(keys), "configuration")))
    return [(label, plain(text)) for label, text in rows]


def _pairs(values: Any) -> str:
    return ", ".join(f"{name} {shown_value(found)}" for name, found in values.items())


def _compared(comparison: Comparison) -> Table:
    return table_of((Column("what"), Column("value")), compared(comparison))


def _differing(comparison: Comparison) -> tuple[Block, ...]:
    found = comparison.differing
    if found.empty:
        return (said("None."),)
    blocks: tuple[Block, ...] = (
        Figure(cell_differences(comparison)),
        cells_table(comparison, found.head(SHOWN_DIFFERING)),
    )
    if len(found) > SHOWN_DIFFERING:
        more = len(found) - SHOWN_DIFFERING
        blocks += (said(f"... and {more:,} more, in comparison.csv."),)
    return blocks


def _others(comparison: Comparison) -> tuple[Block, ...]:
    found = comparison.cells[~comparison.cells["differs"]]
    if found.empty:
        return (said("There are none."),)
    figure = (Figure(cell_differences(comparison)),) if comparison.differing.empty else ()
    blocks: tuple[Block, ...] = (
        *figure,
        said("Not distinguishable, smallest p first:"),
        cells_table(comparison, found.head(SHOWN_OTHERS)),
    )
    if len(found) > SHOWN_OTHERS:
        blocks += (said(f"... and {len(found) - SHOWN_OTHERS:,} more, in comparison.csv."),)
    return blocks


def cells_table(comparison: Comparison, cells: pd.DataFrame) -> Table:
    """Some of the cells, each with both counts, their intervals and the test."""
    names = varied(comparison)
    columns = [
        *map(Column, names),
        *(
            Column(name, numeric=True)
            for name in ("run", "95 % interval", "table", "95 % interval")
        ),
        Column("difference", numeric=True, about="percentage points, run minus table; Newcombe's"),
        *(Column(name, numeric=True) for name in ("p", "p (Holm)")),
    ]
    rows = [
        [
            *(shown_value(row[name]) for name in names),
            f"{row['k']}/{row['n']}",
            interval(row["low"], row["high"]),
            f"{row['reference_k']}/{row['reference_n']}",
            interval(row["reference_low"], row["reference_high"]),
            _difference(row),
            number(row["p"]),
            number(row["p_holm"]),
        ]
        for row in cells.to_dict("records")
    ]
    return table_of(columns, rows)


def first_cells(comparison: Comparison) -> pd.DataFrame:
    """The cells for a paper: those that differ, and some of the others, as many as the report has.

    They are in the order of all, the smallest p first.
    """
    differing = min(comparison.summary.differ, SHOWN_DIFFERING)
    others = SHOWN_OTHERS if differing == comparison.summary.differ else 0
    return comparison.cells.head(differing + others)


def cells_caption(comparison: Comparison) -> str:
    """What the table of `first_cells` shows, without a full stop."""
    shown, cells = len(first_cells(comparison)), comparison.summary.cells
    if shown == cells:
        return "Cells compared"
    return f"The {shown:,} of {cells:,} cells compared whose p is smallest"


def _groups(comparison: Comparison) -> tuple[Block, ...]:
    if comparison.groups.empty:
        return (said("No parameter of the table has more than one value."),)
    alpha = number(comparison.summary.alpha)
    header = ("cells", f"p < {alpha}", "by chance", "differ", "mean difference")
    columns = [Column("value"), *(Column(name, numeric=True) for name in header)]
    blocks: list[Block] = []
    for name, found in comparison.groups.groupby("parameter", sort=False):
        rows = [
            [
                shown_value(row["value"]),
                f"{row['cells']:,}",
                f"{row['below_alpha']:,}",
                f"{row['expected']:.1f}",
                f"{row['differ']:,}",
                _points(row["mean_difference"]),
            ]
            for row in found.head(SHOWN_VALUES).to_dict("records")
        ]
        blocks += [Subheading(str(name)), table_of(columns, rows)]
        if len(found) > SHOWN_VALUES:
            blocks.append(said(f"... and {len(found) - SHOWN_VALUES:,} more values."))
    return tuple(blocks)


def _meaning(comparison: Comparison) -> list[Word]:
    level = f"{number(100 * comparison.summary.alpha)} %"
    return [
        Word(
            "p",
            " is Fisher's exact test (two-sided) of the counts of one cell: how probable a "
            "difference at least as odd is if run and table have the same success rate.",
        ),
        Word(
            "p (Holm)",
            " counts all cells as one family: if none differed, a single p (Holm) below "
            f"{level} would come up with a probability of at most {level}.",
        ),
        Word(
            "By chance",
            f" is the number of p < {number(comparison.summary.alpha)} to expect if no cell "
            "differed. It is the sum of each cell's exact probability, given its seeds and its "
            "solved seeds in both together, and less than the level says: counts are whole, and "
            "a cell in which nearly all or nearly no seeds succeed cannot differ. Its 95 % range "
            "takes cells as independent (Poisson-binomial). Cells that share seeds, or are one "
            "training after different epochs, are not, and the true range is wider.",
        ),
        Word(
            "Difference",
            " is the run's rate minus the table's, in percentage points, with Newcombe's 95 % "
            "interval; the intervals of rates are Wilson's. Each holds for itself: of many cells "
            "one in 20 lies outside.",
        ),
        Word(
            "Not distinguishable is not equal.",
            " With 100 seeds on both sides, 50 % and 60 % are told apart in one of four cases, "
            "and hardly ever after Holm over many cells. The mean differences by value above "
            "show small ones that all cells have in common.",
        ),
    ]


def _difference(row: dict[Any, Any]) -> str:
    low, high = row["difference_low"], row["difference_high"]
    return f"{points(row['difference'], low, high)} {points_interval(low, high)}"


def _points(difference: float) -> str:
    return f"{round(100 * difference, 1) + 0.0:+.1f}"  # no -0.0
