"""The report of a comparison of runs with each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from xortune.comparisons.comparison import ComparedNumbers, Comparison, p_text, wanted_seeds
from xortune.comparisons.contestants import (
    IMPORTED,
    OWN,
    RULE,
    SEARCHED,
    Contestant,
    known_facts,
)
from xortune.comparisons.measures import SIGN
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
from xortune.core.numbers import Estimate, finite
from xortune.core.success import larger_is_better
from xortune.reports.document import (
    Document,
    Heading,
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

ORIGINS = {"certificate": "certificate", "trained": "trained for this", "given": "as given"}
"""The origin of a contestant's seeds, in words."""

MOST_SENTENCES = 6  # pairs that have a sentence each; more have only the table
SHOWN_NAMES = 10  # numbers of trainers that have tables


def comparison_document(comparison: Comparison) -> Document:
    """The report of a comparison."""
    entries, of_rates = comparison.contestants, comparison.measure.is_rate
    first, *others = comparison.lines
    facts, same_facts = known_facts(entries)
    settings, same = _settings_table(comparison)
    values: dict[str, Any] = {
        "comparison": comparison,
        "names": ", ".join(one.label for one in entries),
        "first": first,
        "others": others if len(others) <= MOST_SENTENCES else [],
        "contestants": contestants_table(comparison),
        "settings": settings,
        "same": same,
        "old": [f"{capitalized(str(comparison.reused))}."] if comparison.reused else [],
        "notes": comparison.contestant_notes,
        "pairs": pairs_table(comparison),
        "facts": _facts_table(entries, facts),
        "same_facts": same_facts,
    }
    if comparison.max_seeds is not None:
        return Document("sequential.md.jinja", values)
    plots = _figures(comparison) if of_rates else number_figures(comparison)
    values["figures"] = {plot.name: plot for plot in plots}
    if not of_rates:
        return Document("numbers.md.jinja", values, plots)
    left_out = ((pair, comparison.unused(pair)) for pair in comparison.pairs)
    values |= {
        "tests": sorted({comparison.tested_by(pair) for pair in comparison.pairs}),
        "unused": next((one for one in left_out if any(one[1])), None),
        "speed": _speed_tables(comparison),
        "numbers": _numbers_tables(comparison),
        "more_numbers": len(comparison.numbers) - SHOWN_NAMES,
        "kinds": {_kind(one) for one in entries},
        "searched": any(one.facts.get("sampler") for one in entries),
    }
    return Document("comparison.md.jinja", values, plots)


def _figures(comparison: Comparison) -> tuple[Plot, ...]:
    """The figures of success rates."""
    plots = [differences(comparison)]
    if len(comparison.contestants) > 2:
        plots.append(wins(comparison))
    if any(comparison.epochs.of):
        plots.append(profile(comparison))
    if comparison.numbers:
        plots.append(numbers_profile(comparison))
    return tuple(plots)


def tables_of(comparison: Comparison) -> tuple[Table, ...]:
    """The tables for a paper."""
    tables = contestants_table(comparison), pairs_table(comparison)
    if comparison.max_seeds is not None or not comparison.measure.is_rate:
        return tables
    return (*tables, *_speed_tables(comparison), *_numbers_tables(comparison))


Columns: TypeAlias = dict[Heading, list[str]]
"""The cells of each column."""

number_column = partial(Heading, numeric=True)


def _table(columns: Columns, caption: str) -> Table:
    return table_of(columns, zip(*columns.values(), strict=True), caption)


def contestants_table(comparison: Comparison, *, narrow: bool = False) -> Table:
    """Each contestant: its seeds, what they came to, and the counts of its search if it had one.

    If success rates have a number beside them, a `narrow` table has it in one column, and no rate.
    """
    entries, measure = comparison.contestants, comparison.measure
    outcomes, at_once = [one.outcome for one in entries], comparison.max_seeds is None
    columns: Columns = {Heading("contestant"): [one.label for one in entries]}
    if measure.is_rate:
        columns[number_column("solved")] = [one.count.text for one in outcomes]
        if at_once:
            columns |= _rates(comparison, narrow=narrow)
            if any(SEARCHED in one.facts for one in entries):
                columns[number_column("search")] = [one.facts.get(SEARCHED, "") for one in entries]
            columns[Heading("fresh seeds")] = [ORIGINS[one.origin] for one in entries]
        return _table(columns, "Success rates on fresh seeds")
    columns[number_column("seeds")] = [f"{one.n:,}" for one in outcomes]
    if measure.statistic != SIGN:
        known = [finite(measure.known(one)).size for one in outcomes]
        failed = [f"{one.n - size:,}" for one, size in zip(outcomes, known, strict=True)]
        columns[number_column("failed")] = failed
        estimates = [comparison.estimate(place) for place in range(len(entries))]
        shown = [estimated(*one) if math.isfinite(one.value) else "failed" for one in estimates]
        columns[number_column(measure.text)] = shown
        if at_once:
            columns[number_column("95 % interval")] = [span(*one[1:]) for one in estimates]
    return _table(columns, measure.text)


def _rates(comparison: Comparison, *, narrow: bool) -> Columns:
    """Success rates with their intervals, and the number beside them, if there is one."""
    outcomes, score = [one.outcome for one in comparison.contestants], _score(comparison)
    ends = [one.interval() for one in outcomes]
    rates = [measured(one.rate, *both) for one, both in zip(outcomes, ends, strict=True)]
    intervals = [interval(*both) for both in ends]
    if score is None:
        return {number_column("rate"): rates, number_column("95 % interval"): intervals}
    scores = [list(map(number_or_dash, score.of(one))) for one in outcomes]
    if narrow:
        beside = number_column(f"{score.name} ({score.worst})")
        shown = [f"{median} ({worst})" for median, worst in scores]
        return {number_column("95 % CI"): intervals, beside: shown}
    heads = numbers("rate", "95 % interval", *score.columns)
    return dict(zip(heads, [rates, intervals, *map(list, zip(*scores, strict=True))], strict=True))


def pairs_table(comparison: Comparison) -> Table:
    """Every two contestants: difference, interval, test or proof, and who is ahead."""
    measure, pairs, at_once = comparison.measure, comparison.pairs, comparison.max_seeds is None
    names = [one.label for one in comparison.contestants]
    apart = [comparison.apart(pair) for pair in pairs]
    columns: Columns = {
        Heading("A"): [names[pair.a] for pair in pairs],
        Heading("B"): [names[pair.b] for pair in pairs],
    }
    if measure.is_rate and at_once:
        columns[number_column("A solved")] = [f"{pair.k_a:,}/{pair.n_a:,}" for pair in pairs]
        columns[number_column("B solved")] = [f"{pair.k_b:,}/{pair.n_b:,}" for pair in pairs]
    if measure.in_points:
        columns[number_column("only A")] = [_count(pair.wins) for pair in pairs]
        columns[number_column("only B")] = [_count(pair.losses) for pair in pairs]
    columns[number_column("difference")] = [shown for shown, _ in apart]
    level = "" if measure.in_points else f"{100 * comparison.confidence:g} % "
    columns[number_column(f"{level}interval")] = [ends for _, ends in apart]
    if at_once:
        for head, every in (
            ("p", [pair.p for pair in pairs]),
            ("p (Holm)", [pair.p_holm for pair in pairs]),
        ):
            shown = [p_text(p).removeprefix("p ").removeprefix("= ") for p in every]
            columns[number_column(head)] = shown
    if odds := [pair.probability for pair in pairs if pair.probability is not None]:
        columns[number_column("A better")] = [measured(*one) for one in odds]
        columns[number_column("95 % CI")] = [interval(*one[1:]) for one in odds]
    ahead = ["neither" if pair.ahead is None else names[pair.ahead] for pair in pairs]
    columns[Heading("ahead")] = ahead
    if not at_once:
        columns[number_column("proven by")] = [_count(pair.decided_at) for pair in pairs]
    elif measure.is_rate:
        more = [pair.more_seeds and wanted_seeds(pair.more_seeds) for pair in pairs]
        columns[number_column("more seeds")] = [one or "" for one in more]
    if comparison.margin is not None:
        shown = ["not worse" if comparison.not_worse(pair) else "not shown" for pair in pairs]
        columns[Heading(f"A, by {number(comparison.margin)}")] = shown
    what = "success rates" if measure.is_rate else measure.text
    return _table(columns, f"Differences of {what}")


def _count(seeds: int | None) -> str:
    return "" if seeds is None else f"{seeds:,}"


def _score(comparison: Comparison) -> Score | None:
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


def _facts_table(entries: Sequence[Contestant], facts: Mapping[str, Sequence[str]]) -> Table:
    """What differs between contestants besides."""
    heads = [Heading("what"), *(Heading(one.label) for one in entries)]
    return table_of(heads, [(name, *found) for name, found in facts.items()])


def _settings_table(comparison: Comparison) -> tuple[Table, str]:
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


def _speed_tables(comparison: Comparison) -> tuple[Table, ...]:
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


def _numbers_tables(comparison: Comparison) -> list[Table]:
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
            if summed is None or known is None
            else (
                one.label,
                f"{finite(known).size:,} of {one.outcome.n:,}",
                *_middle(summed, "without"),
            )
            for one, summed, known in zip(
                comparison.contestants, compared_numbers.of, compared_numbers.values, strict=True
            )
        ]
        heads = [*texts("contestant"), *numbers("seeds with it", "mean", "95 % interval")]
        direction = f" ({better} is better)" if better else ""
        tables.append(table_of(heads, rows, f"{name}, interquartile mean{direction}"))
    return tables


def _middle(summed: Estimate, lacking: str) -> tuple[str, str]:
    """An interquartile mean and its interval, or why there is none."""
    if not math.isfinite(summed.value):
        return f"more than a quarter {lacking}", ""
    low, high = (end if math.isfinite(end) else None for end in summed[1:])
    return estimated(summed.value, low, high), "" if low is high is None else span(low, high)


def _wins_table(comparison: Comparison, compared_numbers: ComparedNumbers, caption: str) -> Table:
    """For each pair, the probability that A does better than B, if it is known."""
    names = [one.label for one in comparison.contestants]
    rows = [
        (
            *(names[pair.a], names[pair.b]),
            measured(*win),
            interval(*win[1:]),
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
