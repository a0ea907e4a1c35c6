"""The report of a comparison of runs with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from xortune.comparisons.contestants import IMPORTED, OWN, RULE, SEARCHED, known_facts
from xortune.comparisons.numbers import NumberComparison
from xortune.comparisons.runs import (
    ComparedNumbers,
    Contestant,
    NumberSummary,
    RunComparison,
    answer,
    contestant_notes,
    old_seeds,
    p_text,
    points,
    points_interval,
    tested_by,
    wanted_seeds,
)
from xortune.comparisons.sequential import SequentialComparison
from xortune.core.formats import (
    capitalized,
    config_text,
    estimated,
    interval,
    measured,
    number,
    plain,
    span,
    value,
)
from xortune.core.success import larger_is_better
from xortune.reports.document import (
    Document,
    Mono,
    Table,
    number_or_dash,
    numbers,
    table_of,
    texts,
)
from xortune.reports.drawing.model import Plot
from xortune.reports.figures.comparisons import (
    differences,
    number_figures,
    numbers_profile,
    profile,
    wins,
)
from xortune.runs.results import Score, number_names, reported

AnyComparison: TypeAlias = RunComparison | SequentialComparison | NumberComparison

ORIGINS = {"certificate": "certificate", "trained": "trained for this", "given": "as given"}
"""The origin of a contestant's seeds, in words."""

MOST_SENTENCES = 6  # pairs that have a sentence each; more have only the table
SHOWN_NAMES = 10  # numbers of trainers that have tables


def comparison_document(comparison: AnyComparison) -> Document:
    """The report of a comparison."""
    if isinstance(comparison, SequentialComparison):
        values = {"comparison": comparison, **_sequential_tables(comparison)}
        return Document("sequential.md.jinja", values)
    if isinstance(comparison, NumberComparison):
        return _number_document(comparison)
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
        "old": [capitalized(sentence) for sentence in old_seeds(comparison)],
        "notes": contestant_notes(comparison),
        "pairs": pairs_table(comparison),
        "tests": sorted({tested_by(pair) for pair in comparison.pairs}),
        "unused": next((pair for pair in comparison.pairs if any(pair.unused)), None),
        "speed": _speed_tables(comparison),
        "numbers": _numbers_tables(comparison),
        "more_numbers": len(comparison.numbers) - SHOWN_NAMES,
        "facts": _facts_table(comparison, facts),
        "same_facts": same_facts,
        "kinds": {_kind(one) for one in entries},
        "searched": any(one.facts.get("sampler") for one in entries),
    }
    return Document("comparison.md.jinja", values, tuple(figures.values()))


def tables_of(comparison: AnyComparison) -> tuple[Table, ...]:
    """The tables for a paper."""
    if isinstance(comparison, SequentialComparison):
        return tuple(_sequential_tables(comparison).values())
    if isinstance(comparison, NumberComparison):
        return number_contestants_table(comparison), number_pairs_table(comparison)
    return (
        contestants_table(comparison),
        pairs_table(comparison),
        *_speed_tables(comparison),
        *_numbers_tables(comparison),
    )


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
        search = [one.facts.get(SEARCHED, "")] * searched
        rows.append((one.label, one.outcome.count.text, *cells, *search, ORIGINS[one.origin]))
    columns = numbers("solved", *heads, *["search"] * searched)
    headings = [*texts("contestant"), *columns, *texts("fresh seeds")]
    return table_of(headings, rows, "Success rates on fresh seeds")


def _score(comparison: RunComparison) -> Score | None:
    """The number that a rule judges, or else the first one; None if the seeds have none."""
    names = comparison.number_names
    outcomes = [one.outcome for one in comparison.contestants]
    known = number_names(outcomes)
    rules = [one.rule for one in comparison.contestants]
    judged = [name for rule in rules if rule for name in rule.names if name in known]
    if judged:
        name = judged[0]
        return Score(name, larger_is_better(name, rules, reported(outcomes, name)))
    return Score(names[0], larger_is_better(names[0], ())) if names else None


def pairs_table(comparison: RunComparison) -> Table:
    """Every two contestants: difference, interval, test, and the seeds to distinguish them."""
    columns = [
        *texts("A", "B"),
        *numbers("A solved", "B solved", "only A", "only B", "difference", "interval"),
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
    return table_of(columns, rows, "Differences of success rates")


def _sequential_tables(comparison: SequentialComparison) -> dict[str, Table]:
    """Each contestant, and every two: who is better under more seeds, or by which statistic."""
    names, tosses = comparison.labels, comparison.of_tosses
    parameters = list(dict.fromkeys(name for point in comparison.points for name in point))
    contestants = [
        (
            *(label, *shown.values()),
            *(value(point[name]) if name in point else "" for name in parameters),
        )
        for label, shown, point in zip(names, comparison.shown, comparison.points, strict=True)
    ]
    pairs = [
        (
            *(names[pair.a], names[pair.b]),
            *([f"{pair.wins:,}", f"{pair.losses:,}"] if tosses else []),
            (points if tosses else estimated)(pair.difference, pair.low, pair.high),
            (points_interval if tosses else span)(pair.low, pair.high),
            "neither" if pair.ahead is None else names[pair.ahead],
            "" if pair.decided_at is None else f"{pair.decided_at:,}",
        )
        for pair in comparison.pairs
    ]
    heads = numbers(*comparison.shown[0])
    apart = numbers(*["only A", "only B"] * tosses, "difference", "interval")
    columns = [*texts("A", "B"), *apart, *texts("better"), *numbers("proven by")]
    measure = comparison.measure
    what = "Success rates" if measure is None else measure.text
    each = [*texts("contestant"), *heads, *texts(*parameters)]
    return {
        "contestants": table_of(each, contestants, what),
        "pairs": table_of(columns, pairs, "Differences"),
    }


# -------------------------------------------------------------------------------------------------
# A comparison by a number of the seeds.


def _number_document(comparison: NumberComparison) -> Document:
    plots = number_figures(comparison)
    settings, same = _settings_table(comparison)
    facts, same_facts = known_facts(comparison.contestants)
    first, *others = comparison.lines
    values = {
        "comparison": comparison,
        "measure": comparison.measure,
        "figures": {plot.name: plot for plot in plots},
        "names": ", ".join(one.label for one in comparison.contestants),
        "first": first,
        "others": others if len(others) <= MOST_SENTENCES else [],
        "contestants": number_contestants_table(comparison),
        "pairs": number_pairs_table(comparison),
        "settings": settings,
        "same": same,
        "old": [capitalized(sentence) for sentence in old_seeds(comparison)],
        "notes": contestant_notes(comparison),
        "facts": _facts_table(comparison, facts),
        "same_facts": same_facts,
    }
    return Document("numbers.md.jinja", values, plots)


def number_contestants_table(comparison: NumberComparison) -> Table:
    """Each contestant: its seeds, failed ones, and the statistic with its interval."""
    rows = []
    for place, one in enumerate(comparison.contestants):
        estimate = comparison.estimate(place)
        found = one.outcome.details.values.get(comparison.measure.name, np.empty(0))
        failed = one.outcome.n - int(np.isfinite(found).sum())
        value = estimated(*estimate) if math.isfinite(estimate.value) else "failed"
        rows.append((one.label, f"{one.outcome.n:,}", f"{failed:,}", value, span(*estimate[1:])))
    what = comparison.measure.text
    heads = numbers("seeds", "failed", what, "95 % interval")
    return table_of([*texts("contestant"), *heads], rows, what)


def number_pairs_table(comparison: NumberComparison) -> Table:
    """Every two contestants: the difference, its interval, the test, who is more often better."""
    names = [one.label for one in comparison.contestants]
    rows = []
    for pair in comparison.pairs:
        ahead, chance = comparison.ahead(pair), pair.probability
        margin = []
        if comparison.margin is not None:
            margin = ["not worse" if comparison.not_worse(pair) else "not shown"]
        known = math.isfinite(pair.difference)
        rows.append(
            (
                *(names[pair.a], names[pair.b]),
                estimated(pair.difference, pair.low, pair.high) if known else "unknown",
                span(pair.low, pair.high),
                *(p_text(p).removeprefix("p ").removeprefix("= ") for p in (pair.p, pair.p_holm)),
                measured(chance.probability, chance.low, chance.high),
                interval(chance.low, chance.high),
                "neither" if ahead is None else names[ahead],
                *margin,
            )
        )
    within = [] if comparison.margin is None else texts(f"A, by {number(comparison.margin)}")
    columns = [
        *texts("A", "B"),
        *numbers("difference", f"{100 * (1 - comparison.alpha):g} % interval"),
        *numbers("p", "p (Holm)", "A better", "95 % CI"),
        *texts("ahead"),
        *within,
    ]
    return table_of(columns, rows, f"Differences of {comparison.measure.text}")


def _facts_table(
    comparison: RunComparison | NumberComparison, facts: Mapping[str, Sequence[str]]
) -> Table:
    """What differs between contestants besides."""
    heads = texts("what", *(one.label for one in comparison.contestants))
    return table_of(heads, [(name, *found) for name, found in facts.items()])


def _settings_table(comparison: RunComparison | NumberComparison) -> tuple[Table, str]:
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


def _speed_tables(comparison: RunComparison) -> tuple[Table, ...]:
    """The tables of epochs to solve; none if no trainer counts epochs."""
    epochs = comparison.epochs
    if not any(epochs.of):
        return ()
    rows = [
        (one.label, *_middle(summed, "unsolved"))
        for one, summed in zip(comparison.contestants, epochs.of, strict=True)
        if summed is not None
    ]
    heads = [*texts("contestant"), *numbers("epochs", "95 % interval")]
    sooner = "How probable it is that A solves a seed sooner than B"
    return (
        _wins_table(comparison, epochs, sooner),
        table_of(heads, rows, "Epochs to solve, interquartile mean"),
    )


def _numbers_tables(comparison: RunComparison) -> list[Table]:
    """The tables of numbers of the seeds: who has better ones, and means."""
    tables = []
    for compared_numbers in comparison.numbers[:SHOWN_NAMES]:
        name, better = plain(compared_numbers.name), compared_numbers.better
        caption = (
            f"How probable it is that {name} is {better or 'larger'} for a seed of A than of B"
        )
        tables.append(_wins_table(comparison, compared_numbers, caption))
        rows = [
            (one.label, "tells none", "", "")
            if summed is None
            else (one.label, f"{summed.known:,} of {one.outcome.n:,}", *_middle(summed, "without"))
            for one, summed in zip(comparison.contestants, compared_numbers.of, strict=True)
        ]
        heads = [*texts("contestant"), *numbers("seeds with it", "mean", "95 % interval")]
        direction = f" ({better} is better)" if better else ""
        tables.append(table_of(heads, rows, f"{name}, interquartile mean{direction}"))
    return tables


def _middle(summed: NumberSummary, lacking: str) -> tuple[str, str]:
    """An interquartile mean and its interval, or why there is none."""
    if summed.middle is None:
        return f"more than a quarter {lacking}", ""
    ends = summed.low, summed.high
    return estimated(summed.middle, *ends), "" if ends == (None, None) else span(*ends)


def _wins_table(
    comparison: RunComparison, compared_numbers: ComparedNumbers, caption: str
) -> Table:
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
    headings = [*texts("A", "B"), *numbers("probability", "95 % interval")]
    return table_of(headings, rows, caption)


def _kind(one: Contestant) -> str:
    """What decides whether a seed is solved, for words.md.jinja."""
    if IMPORTED in one.facts:
        return "imported"
    return "rule" if {OWN, RULE} & {*one.facts} or one.rule is not None else "network"
