"""The numbers that trainers told of their seeds, in the report of a comparison."""

from __future__ import annotations

from collections.abc import Sequence

from xortune.comparison_numbers import Better, Numbers
from xortune.comparison_runs import RunComparison
from xortune.comparison_speed import Improvement
from xortune.report.document import Block, Column, Figure, Inline, Subheading, Table, said, table_of
from xortune.report.figures.compared_profile import numbers_profile
from xortune.report.format import estimated, interval, measured, plain, span
from xortune.report.words import Word

__all__ = ["NUMBERS", "improvements_table", "numbers_blocks", "numbers_tables"]

SHOWN_NAMES = 10

NUMBERS = Word(
    "Numbers of the seeds",
    " are what the trainer told of each. Better is what the rule for success says: there a seed "
    "that crashed or diverged counts as worse than any other, in the mean too, and is not left "
    "out. Of other numbers nothing says what is better, and only seeds that have them count. The "
    "probability is of a seed of A against another of B (a tie counts half); the interquartile "
    "mean is of the middle half. Their intervals are bootstrapped over seeds, each for itself, and "
    "are no tests; success is.",
)


def numbers_blocks(comparison: RunComparison) -> tuple[Block, ...]:
    """A figure of the first number, and of each two tables; nothing where there are none."""
    if not comparison.numbers:
        return ()
    blocks: list[Block] = [Figure(numbers_profile(comparison))]
    for heading, table in numbers_tables(comparison).items():
        blocks += [Subheading(heading), table]
    if (left := len(comparison.numbers) - SHOWN_NAMES) > 0:
        blocks.append(said(f"... and {left} more numbers, in comparison.csv."))
    return tuple(blocks)


def numbers_tables(comparison: RunComparison) -> dict[str, Table]:
    """Of each number whose is better, and the interquartile means, by what they show."""
    tables = {}
    for numbers in comparison.numbers[:SHOWN_NAMES]:
        name = plain(numbers.name)
        better = numbers.better or "larger"
        heading = f"How probable it is that {name} is {better} for a seed of A than of B"
        tables[heading] = improvements_table(comparison, numbers.wins)
        tables[f"{name}, interquartile mean{_direction(numbers.better)}"] = _middles(
            comparison, numbers
        )
    return tables


def _direction(better: Better) -> str:
    return f" ({better} is better)" if better else ""


def improvements_table(comparison: RunComparison, found: Sequence[Improvement | None]) -> Table:
    """How probable it is of each pair that A does better under a seed than B.

    Args:
        comparison: with the pairs.
        found: for each of them; None where it is not known, and not shown.
    """
    columns = [
        Column("A"),
        Column("B"),
        Column("probability", numeric=True),
        Column("95 % interval", numeric=True, about="bootstrapped over seeds"),
    ]
    rows = [
        [
            comparison.contestants[pair.a].label,
            comparison.contestants[pair.b].label,
            measured(better.probability, better.low, better.high),
            interval(better.low, better.high),
        ]
        for pair, better in zip(comparison.pairs, found, strict=True)
        if better is not None
    ]
    return table_of(columns, rows)


def _middles(comparison: RunComparison, numbers: Numbers) -> Table:
    columns = [
        Column("contestant"),
        Column("seeds with it", numeric=True, about="of all seeds"),
        Column("mean", numeric=True),
        Column("95 % interval", numeric=True, about="bootstrapped over seeds"),
    ]
    rows: list[list[Inline]] = []
    for one, found in zip(comparison.contestants, numbers.of, strict=True):
        if found is None:
            rows.append([one.label, "tells none", "", ""])
            continue
        seeds = f"{found.known:,} of {one.outcome.n:,}"
        if found.middle is None:
            rows.append([one.label, seeds, "more than a quarter without", ""])
        else:
            mean = estimated(found.middle, found.low, found.high)
            rows.append([one.label, seeds, mean, span(found.low, found.high)])
    return table_of(columns, rows)
