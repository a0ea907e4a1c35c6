"""The reports of a comparison: of runs with each other, and of a run with a published table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd

from xortune.comparisons.contestants import IMPORTED, OWN, RULE, SEARCHED, known_facts
from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import (
    ComparedNumbers,
    Contestant,
    NumberSummary,
    RunComparison,
    answer,
    notes,
    p_text,
    points,
    points_interval,
    tested_by,
    wanted_seeds,
)
from xortune.comparisons.sequential import SequentialComparison
from xortune.core.formats import (
    config_text,
    count,
    estimated,
    interval,
    measured,
    number,
    plain,
    span,
    value,
)
from xortune.reports.document import (
    Document,
    Mono,
    Table,
    lines_of,
    number_or_dash,
    numbers,
    table_of,
    texts,
)
from xortune.reports.drawing.model import Plot
from xortune.reports.figures.comparisons import (
    agreement,
    cell_differences,
    differences,
    numbers_profile,
    profile,
    shown_value,
    varied,
    wins,
)
from xortune.runs.results import Score, number_names, score_of

AnyComparison: TypeAlias = Comparison | RunComparison | SequentialComparison

# -------------------------------------------------------------------------------------------------
# Runs with each other.

ORIGINS = {"certificate": "certificate", "trained": "trained for this", "given": "as given"}
"""The origin of a contestant's seeds, in words."""

MOST_SENTENCES = 6  # pairs that have a sentence each; more have only the table
SHOWN_NAMES = 10  # numbers of trainers that have tables


def comparison_document(comparison: AnyComparison) -> Document:
    """The report of a comparison: of runs with each other, or of a run with a published table."""
    if isinstance(comparison, Comparison):
        return _reference_document(comparison)
    if isinstance(comparison, SequentialComparison):
        values = {"comparison": comparison, **_sequential_tables(comparison)}
        return Document("sequential.md.jinja", values)
    entries = comparison.contestants
    figures: dict[str, Plot] = {"differences": differences(comparison)}
    if len(entries) > 2:
        figures["wins"] = wins(comparison)
    if any(comparison.epochs.of):
        figures["profile"] = profile(comparison)
    if comparison.numbers:
        figures["numbers"] = numbers_profile(comparison)
    first, *others = answer(comparison)
    facts, same_facts = known_facts(entries)
    settings, same = _settings_table(comparison)
    values = {
        "comparison": comparison,
        "figures": figures,
        "names": ", ".join(one.label for one in entries),
        "first": first,
        "others": others if len(others) <= MOST_SENTENCES else [],
        "contestants": contestants_table(comparison),
        "settings": settings,
        "same": same,
        "notes": notes(comparison),
        "pairs": pairs_table(comparison),
        "tests": sorted({tested_by(pair) for pair in comparison.pairs}),
        "unused": next((pair for pair in comparison.pairs if any(pair.unused)), None),
        "speed": _speed_tables(comparison),
        "numbers": _numbers_tables(comparison),
        "more_numbers": len(comparison.numbers) - SHOWN_NAMES,
        "facts": facts,
        "same_facts": same_facts,
        "kinds": {_kind(one) for one in entries},
        "searched": any(one.facts.get("sampler") for one in entries),
    }
    return Document("comparison.md.jinja", values, tuple(figures.values()))


def tables_of(comparison: AnyComparison) -> dict[str, Table]:
    """The tables for a paper, by their captions."""
    if isinstance(comparison, Comparison):
        cells, differ = comparison.summary.cells, comparison.summary.differ
        shown = min(cells, SHOWN_DIFFERING if differ > SHOWN_DIFFERING else differ + SHOWN_OTHERS)
        about = f"The {shown:,} of {cells:,} cells compared whose p is smallest"
        table = _cells_table(comparison, comparison.cells.head(shown))
        return {"Cells compared" if shown == cells else about: table}
    if isinstance(comparison, SequentialComparison):
        tables = _sequential_tables(comparison)
        return {"Success rates": tables["contestants"], "Differences": tables["pairs"]}
    return {
        "Success rates on fresh seeds": contestants_table(comparison),
        "Differences of success rates": pairs_table(comparison),
        **_speed_tables(comparison),
        **_numbers_tables(comparison),
    }


def contestants_table(comparison: RunComparison, *, narrow: bool = False) -> Table:
    """Each contestant with its counts on fresh seeds, and those of its search if there was one.

    If they have a number of their own, a `narrow` table has it in one column, and no rate.
    """
    searched = any(SEARCHED in one.facts for one in comparison.contestants)
    score = _score(comparison)
    heads = ["rate", "95 % interval", *(score.columns if score else ())]
    if score and narrow:
        heads = ["95 % CI", f"{score.name} ({score.worst})"]
    rows = []
    for one in comparison.contestants:
        ends = one.outcome.interval()
        cells = [measured(one.outcome.rate, *ends), interval(*ends)]
        if score:
            scores = [*map(number_or_dash, score.of(one.outcome))]
            cells = [cells[1], "{} ({})".format(*scores)] if narrow else [*cells, *scores]
        counted = f"{one.outcome.successes:,}/{one.outcome.n:,}"
        search = [one.facts.get(SEARCHED, "")] * searched
        rows.append((one.label, counted, *cells, *search, ORIGINS[one.origin]))
    columns = numbers("solved", *heads, *["search"] * searched)
    return table_of([*texts("contestant"), *columns, *texts("fresh seeds")], rows)


def _score(comparison: RunComparison) -> Score | None:
    """The number that a rule judges, or else the first one; None if the seeds have none."""
    names = comparison.number_names
    known = number_names([one.outcome for one in comparison.contestants])
    rules = [one.rule for one in comparison.contestants if one.rule and one.rule.name in known]
    if rules:
        return Score(rules[0].name, rules[0].sign in (">", ">=", "=="))
    return score_of((), names)


def pairs_table(comparison: RunComparison) -> Table:
    """Every two contestants: difference, interval, test, and the seeds to distinguish them."""
    columns = [
        *texts("A", "B"),
        *numbers("A solved", "B solved", "only A", "only B", "difference", "95 % interval"),
        *numbers("p", "p (Holm)"),
        *texts("ahead"),
        *numbers("more seeds"),
    ]
    names = [one.label for one in comparison.contestants]
    rows = [
        (
            *(names[pair.a], names[pair.b]),
            *(f"{pair.k_a:,}/{pair.n_a:,}", f"{pair.k_b:,}/{pair.n_b:,}"),
            *("" if seeds is None else f"{seeds:,}" for seeds in (pair.wins, pair.losses)),
            points(pair.difference, pair.low, pair.high),
            points_interval(pair.low, pair.high),
            *(p_text(p).removeprefix("p ").removeprefix("= ") for p in (pair.p, pair.p_holm)),
            "neither" if pair.ahead is None else names[pair.ahead],
            "" if pair.more_seeds is None else wanted_seeds(pair.more_seeds),
        )
        for pair in comparison.pairs
    ]
    return table_of(columns, rows)


def _sequential_tables(comparison: SequentialComparison) -> dict[str, Table]:
    names, n = comparison.labels, comparison.n
    parameters = list(dict.fromkeys(name for point in comparison.points for name in point))
    contestants = [
        (
            label,
            f"{k:,}/{n:,}",
            *(value(point[name]) if name in point else "" for name in parameters),
        )
        for label, k, point in zip(names, comparison.k, comparison.points, strict=True)
    ]
    pairs = [
        (
            *(names[pair.a], names[pair.b], f"{pair.wins:,}", f"{pair.losses:,}"),
            points(pair.difference, pair.low, pair.high),
            points_interval(pair.low, pair.high),
            "neither" if pair.ahead is None else names[pair.ahead],
            "" if pair.decided_at is None else f"{pair.decided_at:,}",
        )
        for pair in comparison.pairs
    ]
    heads = [*texts("A", "B"), *numbers("only A", "only B", "difference", "interval")]
    return {
        "contestants": table_of(
            [*texts("contestant"), *numbers("solved"), *texts(*parameters)], contestants
        ),
        "pairs": table_of([*heads, *texts("better"), *numbers("proven by")], pairs),
    }


def _settings_table(comparison: RunComparison) -> tuple[Table, str]:
    """The parameters that differ between contestants, and as text those that are the same."""
    entries = [(one, one.point) for one in comparison.contestants if one.point is not None]
    if not entries:
        return Table((), ()), ""
    names = list(dict.fromkeys(name for _, point in entries for name in point))

    def cell(point: Mapping[str, Any], name: str) -> str:
        return value(point[name]) if name in point else ""

    differ = [name for name in names if len({cell(point, name) for _, point in entries}) > 1]
    rows = [
        (one.label, Mono(one.key), *(cell(point, name) for name in differ))
        for one, point in entries
    ]
    same = config_text(entries[0][1], [name for name in names if name not in differ])
    return table_of(texts("contestant", "key", *differ), rows), same


def _speed_tables(comparison: RunComparison) -> dict[str, Table]:
    """The tables of epochs to solve, by their headings; none if no trainer counts epochs."""
    epochs = comparison.epochs
    if not any(epochs.of):
        return {}
    rows = [
        (one.label, *_middle(summed, "unsolved"))
        for one, summed in zip(comparison.contestants, epochs.of, strict=True)
        if summed is not None
    ]
    heads = [*texts("contestant"), *numbers("epochs", "95 % interval")]
    return {
        "How probable it is that A solves a seed sooner than B": _wins_table(comparison, epochs),
        "Epochs to solve, interquartile mean": table_of(heads, rows),
    }


def _numbers_tables(comparison: RunComparison) -> dict[str, Table]:
    """The tables of numbers of the seeds, by their headings: who has better ones, and means."""
    tables = {}
    for compared_numbers in comparison.numbers[:SHOWN_NAMES]:
        name, better = plain(compared_numbers.name), compared_numbers.better
        heading = (
            f"How probable it is that {name} is {better or 'larger'} for a seed of A than of B"
        )
        tables[heading] = _wins_table(comparison, compared_numbers)
        rows = [
            (one.label, "tells none", "", "")
            if summed is None
            else (one.label, f"{summed.known:,} of {one.outcome.n:,}", *_middle(summed, "without"))
            for one, summed in zip(comparison.contestants, compared_numbers.of, strict=True)
        ]
        heads = [*texts("contestant"), *numbers("seeds with it", "mean", "95 % interval")]
        direction = f" ({better} is better)" if better else ""
        tables[f"{name}, interquartile mean{direction}"] = table_of(heads, rows)
    return tables


def _middle(summed: NumberSummary, lacking: str) -> tuple[str, str]:
    """An interquartile mean and its interval, or why there is none."""
    if summed.middle is None:
        return f"more than a quarter {lacking}", ""
    ends = summed.low, summed.high
    return estimated(summed.middle, *ends), "" if ends == (None, None) else span(*ends)


def _wins_table(comparison: RunComparison, compared_numbers: ComparedNumbers) -> Table:
    """For each pair, the probability that A does better than B, if it is known."""
    names = [one.label for one in comparison.contestants]
    rows = [
        (
            *(names[pair.a], names[pair.b]),
            measured(win.probability, win.low, win.high),
            interval(win.low, win.high),
        )
        for pair, win in zip(comparison.pairs, compared_numbers.wins, strict=True)
        if win is not None
    ]
    return table_of([*texts("A", "B"), *numbers("probability", "95 % interval")], rows)


def _kind(one: Contestant) -> str:
    """What decides whether a seed is solved, for words.md.jinja."""
    if IMPORTED in one.facts:
        return "imported"
    return "rule" if {OWN, RULE} & {*one.facts} or one.rule is not None else "network"


# -------------------------------------------------------------------------------------------------
# A run beside a published table.

SHOWN_DIFFERING, SHOWN_OTHERS, SHOWN_VALUES, SHOWN_LINES = 100, 20, 40, 10


def _reference_document(comparison: Comparison) -> Document:
    differing, cells = comparison.differing, comparison.cells
    others = cells[~cells["differs"]]
    figures = {"agreement": agreement(comparison), "cells": cell_differences(comparison)}
    values = {
        "comparison": comparison,
        "figures": figures,
        "title": f"{comparison.run.resolve().name} beside {comparison.reference.path.name}",
        "answer": published_answer(comparison),
        "compared": table_of(texts("what", "value"), compared(comparison)),
        "differing": _cells_table(comparison, differing.head(SHOWN_DIFFERING)),
        "more_differing": len(differing) - SHOWN_DIFFERING,
        "others": _cells_table(comparison, others.head(SHOWN_OTHERS)),
        "more_others": len(others) - SHOWN_OTHERS,
        "groups": {
            str(name): [*group.itertuples()]
            for name, group in comparison.groups.groupby("parameter", sort=False)
        },
        "shown": SHOWN_VALUES,
        "shown_value": shown_value,
    }
    return Document("reference.md.jinja", values, tuple(figures.values()))


def published_answer(comparison: Comparison) -> list[str]:
    """How many cells differ, how many would differ by chance, and what the differing ones share."""
    cells = comparison.differing
    shared = [name for name in varied(comparison) if cells[name].nunique(dropna=False) < 2]
    return lines_of(
        "reference.txt.jinja",
        s=comparison.summary,
        shared=[(name, shown_value(cells[name].iloc[0])) for name in shared if len(cells) > 1],
    )


def compared(comparison: Comparison) -> list[tuple[str, str]]:
    """What was compared, and what was left out, as rows of a label and a text."""
    reference = comparison.reference
    lines, keys = comparison.only_reference, comparison.only_run
    names = {"k": "k (solved)", "n": "n (seeds)", "percent": "percent solved", "rate": "rate"}
    columns = (f"{names.get(name, name)} = {column}" for name, column in reference.columns.items())
    fixed = f"{_settings(comparison.fixed)} (in every config compared)"
    named = ", ".join(map(str, lines[:SHOWN_LINES])) + ", ..." * (len(lines) > SHOWN_LINES)
    label = "line" if len(lines) == 1 else "lines"
    rows = [
        # Names, not paths: the report must not depend on where it is made.
        ("run", comparison.run.resolve().name),
        ("table", reference.path.name),
        ("columns", ", ".join(columns)),
        *(("assumed", text) for text in reference.assumptions),
        ("not used", ", ".join(reference.unused)),
        ("only", _settings(comparison.where)),
        ("not in the table", fixed if comparison.fixed else ""),
        ("cells compared", f"{comparison.summary.cells:,}"),
        ("only in the table", f"{count(len(lines), 'row')} ({label} {named})" if lines else ""),
        ("only in the run", count(len(keys), "configuration") if keys else ""),
    ]
    return [(label, plain(text)) for label, text in rows if text]


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {shown_value(one)}" for name, one in values.items())


def _cells_table(comparison: Comparison, cells: pd.DataFrame) -> Table:
    """These cells, each with both counts, their intervals and the test."""
    names = varied(comparison)
    columns = [
        *texts(*names),
        *numbers("run", "95 % interval", "table", "95 % interval", "difference", "p", "p (Holm)"),
    ]

    def difference(row: dict[Any, Any]) -> str:
        ends = row["difference_low"], row["difference_high"]
        return f"{points(row['difference'], *ends)} {points_interval(*ends)}"

    rows = [
        (
            *(shown_value(row[name]) for name in names),
            *(f"{row['k']}/{row['n']}", interval(row["low"], row["high"])),
            f"{row['reference_k']}/{row['reference_n']}",
            interval(row["reference_low"], row["reference_high"]),
            difference(row),
            *(number(row["p"]), number(row["p_holm"])),
        )
        for row in cells.to_dict("records")
    ]
    return table_of(columns, rows)
