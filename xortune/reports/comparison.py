"""The reports of a comparison: of runs with each other, and of a run with a published table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd

from xortune.comparisons.contestants import IMPORTED, OWN, RULE, SEARCHED, known_facts
from xortune.comparisons.reference import Comparison
from xortune.comparisons.runs import (
    ComparedNumbers,
    Contestant,
    RunComparison,
    Summed,
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
from xortune.reports.document import Document, Mono, Table, lines_of, numbers, table_of, texts
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
# Runs beside each other.

ORIGINS = {"certificate": "certificate", "trained": "trained for this", "given": "as given"}
"""Where a contestant's seeds are from, in words."""

MOST_SENTENCES = 6  # pairs that have a sentence each; more have only the table
SHOWN_NAMES = 10  # numbers of trainers that have tables


def comparison_document(comparison: AnyComparison) -> Document:
    """All that a comparison says: of runs with each other, or of a run with a published table."""
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
    apart, same_facts = known_facts(entries)
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
        "facts": apart,
        "same_facts": same_facts,
        "kinds": {_kind(one) for one in entries},
        "searched": any(one.facts.get("sampler") for one in entries),
    }
    return Document("comparison.md.jinja", values, tuple(figures.values()))


def tables_of(comparison: AnyComparison) -> dict[str, Table]:
    """The tables that a paper would have, by what they show."""
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


def contestants_table(comparison: RunComparison) -> Table:
    """Each contestant with its counts on fresh seeds, and those of its search, if it had one."""
    chosen = any(SEARCHED in one.facts for one in comparison.contestants)
    score = _score(comparison)
    columns = () if score is None else score.columns
    heads = numbers("solved", "rate", "95 % interval", *columns, *["search"] * chosen)
    rows = [
        (
            *(one.label, f"{one.outcome.successes:,}/{one.outcome.n:,}"),
            *(
                measured(one.outcome.rate, *one.outcome.interval()),
                interval(*one.outcome.interval()),
            ),
            *([] if score is None else map(_told, score.of(one.outcome))),
            *[one.facts.get(SEARCHED, "")] * chosen,
            ORIGINS[one.origin],
        )
        for one in comparison.contestants
    ]
    return table_of([*texts("contestant"), *heads, *texts("fresh seeds")], rows)


def _score(comparison: RunComparison) -> Score | None:
    """The number that the rules judge, or that the first contestant tells, where one has it."""
    outcomes = [one.outcome for one in comparison.contestants]
    names = number_names(outcomes)
    rules = [one.rule for one in comparison.contestants if one.rule and one.rule.name in names]
    if rules:
        return Score(rules[0].name, rules[0].sign in (">", ">=", "=="))
    return score_of((), names)


def _told(given: float) -> str:
    return "–" if math.isnan(given) else number(given)


def pairs_table(comparison: RunComparison) -> Table:
    """Every two contestants: difference, interval, test, and what would tell them apart."""
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
    """What is compared, by the parameters that differ, and what is the same in all."""
    entries = [(one, one.point) for one in comparison.contestants if one.point is not None]
    if not entries:
        return Table((), ()), ""
    names = list(dict.fromkeys(name for _, point in entries for name in point))

    def cell(point: Mapping[str, Any], name: str) -> str:
        return value(point[name]) if name in point else ""

    apart = [name for name in names if len({cell(point, name) for _, point in entries}) > 1]
    rows = [
        (one.label, Mono(one.key), *(cell(point, name) for name in apart)) for one, point in entries
    ]
    same = config_text(entries[0][1], [name for name in names if name not in apart])
    return table_of(texts("contestant", "key", *apart), rows), same


def _speed_tables(comparison: RunComparison) -> dict[str, Table]:
    """Who solves seeds sooner, and the epochs in the middle; nothing where nobody counts them."""
    found = comparison.epochs
    if not any(found.of):
        return {}
    rows = [
        (one.label, *_middle(summed, "unsolved"))
        for one, summed in zip(comparison.contestants, found.of, strict=True)
        if summed is not None
    ]
    heads = [*texts("contestant"), *numbers("epochs", "95 % interval")]
    return {
        "How probable it is that A solves a seed sooner than B": _wins_table(comparison, found),
        "Epochs to solve, interquartile mean": table_of(heads, rows),
    }


def _numbers_tables(comparison: RunComparison) -> dict[str, Table]:
    """Of each number whose is better, and the interquartile means, by what they show."""
    tables = {}
    for found in comparison.numbers[:SHOWN_NAMES]:
        name, better = plain(found.name), found.better
        heading = (
            f"How probable it is that {name} is {better or 'larger'} for a seed of A than of B"
        )
        tables[heading] = _wins_table(comparison, found)
        rows = [
            (one.label, "tells none", "", "")
            if summed is None
            else (one.label, f"{summed.known:,} of {one.outcome.n:,}", *_middle(summed, "without"))
            for one, summed in zip(comparison.contestants, found.of, strict=True)
        ]
        heads = [*texts("contestant"), *numbers("seeds with it", "mean", "95 % interval")]
        direction = f" ({better} is better)" if better else ""
        tables[f"{name}, interquartile mean{direction}"] = table_of(heads, rows)
    return tables


def _middle(found: Summed, lacking: str) -> tuple[str, str]:
    """An interquartile mean and its interval, or why there is none."""
    if found.middle is None:
        return f"more than a quarter {lacking}", ""
    return estimated(found.middle, found.low, found.high), span(found.low, found.high)


def _wins_table(comparison: RunComparison, found: ComparedNumbers) -> Table:
    """How probable it is of each pair, where that is known, that A does better than B."""
    names = [one.label for one in comparison.contestants]
    rows = [
        (
            *(names[pair.a], names[pair.b]),
            measured(win.probability, win.low, win.high),
            interval(win.low, win.high),
        )
        for pair, win in zip(comparison.pairs, found.wins, strict=True)
        if win is not None
    ]
    return table_of([*texts("A", "B"), *numbers("probability", "95 % interval")], rows)


def _kind(one: Contestant) -> str:
    """Who says what a solved seed is, for words.md.jinja."""
    if IMPORTED in one.facts:
        return "imported"
    return "rule" if {OWN, RULE} & {*one.facts} or one.rule is not None else "network"


# -------------------------------------------------------------------------------------------------
# A run beside a published table.

SHOWN_DIFFERING, SHOWN_OTHERS, SHOWN_VALUES, SHOWN_LINES = 100, 20, 40, 10


def _reference_document(comparison: Comparison) -> Document:
    found, cells = comparison.differing, comparison.cells
    others = cells[~cells["differs"]]
    figures = {"agreement": agreement(comparison), "cells": cell_differences(comparison)}
    values = {
        "comparison": comparison,
        "figures": figures,
        "title": f"{comparison.run.resolve().name} beside {comparison.reference.path.name}",
        "answer": published_answer(comparison),
        "compared": table_of(texts("what", "value"), compared(comparison)),
        "differing": _cells_table(comparison, found.head(SHOWN_DIFFERING)),
        "more_differing": len(found) - SHOWN_DIFFERING,
        "others": _cells_table(comparison, others.head(SHOWN_OTHERS)),
        "more_others": len(others) - SHOWN_OTHERS,
        "groups": {
            str(name): [*found.itertuples()]
            for name, found in comparison.groups.groupby("parameter", sort=False)
        },
        "shown": SHOWN_VALUES,
        "shown_value": shown_value,
    }
    return Document("reference.md.jinja", values, tuple(figures.values()))


def published_answer(comparison: Comparison) -> list[str]:
    """How many cells differ, how many would by chance, and what those that differ share."""
    found = comparison.differing
    shared = [name for name in varied(comparison) if found[name].nunique(dropna=False) < 2]
    return lines_of(
        "reference.txt.jinja",
        s=comparison.summary,
        shared=[(name, shown_value(found[name].iloc[0])) for name in shared if len(found) > 1],
    )


def compared(comparison: Comparison) -> list[tuple[str, str]]:
    """What was compared with what, and what was not, as (label, text) rows."""
    reference = comparison.reference
    lines, keys = comparison.only_reference, comparison.only_run
    names = {"k": "k (solved)", "n": "n (seeds)", "percent": "percent solved", "rate": "rate"}
    columns = (f"{names.get(name, name)} = {column}" for name, column in reference.columns.items())
    fixed = f"{_settings(comparison.fixed)} (in every config compared)"
    named = ", ".join(map(str, lines[:SHOWN_LINES])) + ", ..." * (len(lines) > SHOWN_LINES)
    label = "line" if len(lines) == 1 else "lines"
    rows = [
        # Names and no paths: the report says the same wherever it was made.
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
    return ", ".join(f"{name} {shown_value(found)}" for name, found in values.items())


def _cells_table(comparison: Comparison, cells: pd.DataFrame) -> Table:
    """Some of the cells, each with both counts, their intervals and the test."""
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
