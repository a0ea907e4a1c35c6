"""A comparison as a document: of runs, or of a run and a published table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from xortune.comparisons.contestants import IMPORTED, OWN, RULE, SEARCHED, known_facts
from xortune.comparisons.numbers import Better, ComparedNumbers, Improvement
from xortune.comparisons.reference import Comparison, Summary
from xortune.comparisons.runs import Contestant, RunComparison
from xortune.core.counts import wilson
from xortune.core.formats import (
    config_text,
    count,
    estimated,
    interval,
    measured,
    number,
    percent,
    plain,
    span,
    value,
)
from xortune.core.point import Point
from xortune.reports.document import (
    Block,
    Bullets,
    Column,
    Document,
    Figure,
    Inline,
    Mono,
    Section,
    Subheading,
    Table,
    said,
    table_of,
)
from xortune.reports.figures.compared import differences, numbers_profile, profile, wins
from xortune.reports.figures.published import agreement, cell_differences, shown_value, varied
from xortune.reports.words import (
    GIVEN,
    SOLVED,
    SUCCESS,
    Meaning,
    answer,
    notes,
    origin_text,
    p_text,
    points,
    points_interval,
    rate,
    seeds_text,
    tested_by,
    wanted_seeds,
    words,
)

# -------------------------------------------------------------------------------------------------
# The numbers that trainers told of their seeds, in the report of a comparison.

SHOWN_NAMES = 10

NUMBERS = Meaning(
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


def _middles(comparison: RunComparison, numbers: ComparedNumbers) -> Table:
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


# -------------------------------------------------------------------------------------------------
# A run beside a published table as a document: it shows a `Comparison`, and computes none.

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
                (*map(said, published_answer(comparison)), Figure(agreement(comparison))),
            ),
            Section("compared", "What was compared", (_what_of_table(comparison),)),
            Section("differing", "Cells that differ beyond chance", _differing(comparison)),
            Section("others", "The others", _others(comparison)),
            Section("groups", "Which values the differences go with", _groups(comparison)),
            words(_published_meaning(comparison)),
        ),
    )


def _over(s: Summary) -> str:
    """How the range takes cells that are not independent."""
    if s.trainings == s.cells:
        return ""
    return f" over {count(s.trainings, 'training')}, whose cells at several epochs hang together"


def published_answer(comparison: Comparison) -> list[str]:
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
        rows.append(("only", _settings_text(comparison.where)))
    if comparison.fixed:
        rows.append(
            ("not in the table", f"{_settings_text(comparison.fixed)} (in every config compared)")
        )
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


def _settings_text(values: Any) -> str:
    return ", ".join(f"{name} {shown_value(found)}" for name, found in values.items())


def _what_of_table(comparison: Comparison) -> Table:
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


def _published_meaning(comparison: Comparison) -> list[Meaning]:
    level = f"{number(100 * comparison.summary.alpha)} %"
    return [
        Meaning(
            "p",
            " is Fisher's exact test (two-sided) of the counts of one cell: how probable a "
            "difference at least as odd is if run and table have the same success rate.",
        ),
        Meaning(
            "p (Holm)",
            " counts all cells as one family: if none differed, a single p (Holm) below "
            f"{level} would come up with a probability of at most {level}.",
        ),
        Meaning(
            "By chance",
            f" is the number of p < {number(comparison.summary.alpha)} to expect if no cell "
            "differed. It is the sum of each cell's exact probability, given its seeds and its "
            "solved seeds in both together, and less than the level says: counts are whole, and "
            "a cell in which nearly all or nearly no seeds succeed cannot differ. Its 95 % range "
            "takes cells as independent (Poisson-binomial). Cells that share seeds, or are one "
            "training after different epochs, are not, and the true range is wider.",
        ),
        Meaning(
            "Difference",
            " is the run's rate minus the table's, in percentage points, with Newcombe's 95 % "
            "interval; the intervals of rates are Wilson's. Each holds for itself: of many cells "
            "one in 20 lies outside.",
        ),
        Meaning(
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


# -------------------------------------------------------------------------------------------------
# A comparison as a document: the answer in a sentence, what it rests on, the words last.

MOST_SENTENCES = 6
"""Pairs that are told one by one; of more the table says it."""


def comparison_document(comparison: Comparison | RunComparison) -> Document:
    """All that a comparison says: of runs with each other, or of a run with a published table."""
    if isinstance(comparison, Comparison):
        return published_document(comparison)
    names = ", ".join(one.label for one in comparison.contestants)
    return Document(
        "xortune: a comparison",
        names,
        (
            Section("answer", "The answer", _answer(comparison)),
            Section("compared", "What was compared", _compared(comparison)),
            Section("pairs", "Two by two", _pairs(comparison)),
            Section("speed", "How soon seeds are solved", _speed(comparison)),
            *_numbers(comparison),
            Section("apart", "What differs besides", _apart(comparison)),
            words(_meaning(comparison)),
        ),
    )


def tables_of(comparison: Comparison | RunComparison) -> dict[str, Table]:
    """The tables that a paper would have, by what they show."""
    if isinstance(comparison, Comparison):
        return {cells_caption(comparison): cells_table(comparison, first_cells(comparison))}
    return {
        "Success rates on fresh seeds": contestants_table(comparison),
        "Differences of success rates": pairs_table(comparison),
        **_speed_tables(comparison),
        **numbers_tables(comparison),
    }


def contestants_table(comparison: RunComparison) -> Table:
    """Each contestant with its counts on fresh seeds, and those of its search, if it had one."""
    chosen = any(SEARCHED in one.facts for one in comparison.contestants)
    about = "k/n that it was chosen by: optimistic"
    columns = [
        Column("contestant"),
        Column("solved", numeric=True, about="k/n on fresh seeds"),
        Column("rate", numeric=True),
        Column("95 % interval", numeric=True, about="Wilson's"),
        *([Column("search", numeric=True, about=about)] if chosen else []),
        Column("fresh seeds"),
    ]
    rows = []
    for one in comparison.contestants:
        k, n = one.outcome.successes, one.outcome.n
        low, high = wilson(k, n)
        rows.append(
            [
                one.label,
                f"{k:,}/{n:,}",
                rate(k, n),
                interval(float(low), float(high)),
                *([one.facts.get(SEARCHED, "")] if chosen else []),
                origin_text(one),
            ]
        )
    return table_of(columns, rows)


def pairs_table(comparison: RunComparison) -> Table:
    """Every two contestants: difference, interval, test, and what would tell them apart."""
    columns = [
        Column("A"),
        Column("B"),
        Column("A solved", numeric=True),
        Column("B solved", numeric=True),
        Column("only A", numeric=True, about="shared seeds that only A solves"),
        Column("only B", numeric=True, about="shared seeds that only B solves"),
        Column("difference", numeric=True, about="percentage points, A minus B"),
        Column("95 % interval", numeric=True, about="Newcombe's, in percentage points"),
        Column("p", numeric=True),
        Column("p (Holm)", numeric=True),
        Column("ahead"),
        Column("more seeds", numeric=True, about="that would tell them apart, about"),
    ]
    rows = []
    for pair in comparison.pairs:
        ahead = pair.ahead
        rows.append(
            [
                comparison.contestants[pair.a].label,
                comparison.contestants[pair.b].label,
                f"{pair.k_a:,}/{pair.n_a:,}",
                f"{pair.k_b:,}/{pair.n_b:,}",
                "" if pair.wins is None else f"{pair.wins:,}",
                "" if pair.losses is None else f"{pair.losses:,}",
                points(pair.difference, pair.low, pair.high),
                points_interval(pair.low, pair.high),
                _p(pair.p),
                _p(pair.p_holm),
                "cannot tell" if ahead is None else comparison.contestants[ahead].label,
                "" if pair.more_seeds is None else wanted_seeds(pair.more_seeds),
            ]
        )
    return table_of(columns, rows)


def _answer(comparison: RunComparison) -> tuple[Block, ...]:
    first, *others = answer(comparison)
    blocks: list[Block] = [said(first)]
    if 0 < len(others) <= MOST_SENTENCES:
        blocks.append(Bullets(tuple((sentence,) for sentence in others)))
    blocks.append(contestants_table(comparison))
    return tuple(blocks)


def _compared(comparison: RunComparison) -> tuple[Block, ...]:
    names, fixed = _parameters(comparison.contestants)
    columns = [Column("contestant"), Column("key"), *map(Column, names)]
    rows: list[list[Inline]] = [
        [one.label, Mono(one.key), *(_value(one.point, name) for name in names)]
        for one in comparison.contestants
        if one.point is not None
    ]
    blocks: list[Block] = []
    if rows:
        blocks.append(table_of(columns, rows))
    if fixed:
        blocks.append(said(f"The same in all: {fixed}."))
    if told := notes(comparison):
        blocks.append(Bullets(tuple((note,) for note in told)))
    if not blocks:
        blocks.append(said("Outcomes as they were handed in; what made them is not known."))
    return tuple(blocks)


def _pairs(comparison: RunComparison) -> tuple[Block, ...]:
    blocks: list[Block] = [Figure(differences(comparison)), pairs_table(comparison)]
    tests = sorted({f"{seeds_text(pair)}: {tested_by(pair)}" for pair in comparison.pairs})
    blocks.append(said(f"{'; '.join(tests)}; all two-sided."))
    if left := [pair for pair in comparison.pairs if any(pair.unused)]:
        pair = left[0]
        a, b = (comparison.contestants[place].label for place in (pair.a, pair.b))
        blocks.append(
            said(
                f"{a} and {b} share only some of their seeds: {pair.unused[0]:,} and "
                f"{pair.unused[1]:,} were left out, so that no seed is counted as two."
            )
        )
    if len(comparison.contestants) > 2:
        blocks.append(Figure(wins(comparison)))
    return tuple(blocks)


def _speed(comparison: RunComparison) -> tuple[Block, ...]:
    tables = _speed_tables(comparison)
    if not tables:
        return (said("What trained these counts no epochs, so that none is sooner than another."),)
    blocks: list[Block] = [Figure(profile(comparison))]
    for heading, table in tables.items():
        blocks += [Subheading(heading), table]
    return tuple(blocks)


def _speed_tables(comparison: RunComparison) -> dict[str, Table]:
    """Who solves seeds sooner, and the epochs in the middle; nothing where nobody counts them."""
    if not any(one.outcome.epochs for one in comparison.contestants):
        return {}
    middles = [
        [
            one.label,
            estimated(middle.epochs, middle.low, middle.high),
            span(middle.low, middle.high),
        ]
        if middle.epochs is not None
        else [one.label, "more than a quarter unsolved", ""]
        for one, middle in zip(comparison.contestants, comparison.middles, strict=True)
        if one.outcome.epochs
    ]
    ends = Column("95 % interval", numeric=True, about="bootstrapped over seeds")
    return {
        "How probable it is that A solves a seed sooner than B": improvements_table(
            comparison, comparison.sooner
        ),
        "Epochs to solve, interquartile mean": table_of(
            [Column("contestant"), Column("epochs", numeric=True), ends], middles
        ),
    }


def _numbers(comparison: RunComparison) -> tuple[Section, ...]:
    blocks = numbers_blocks(comparison)
    return (Section("numbers", "Numbers of the seeds", blocks),) if blocks else ()


def _apart(comparison: RunComparison) -> tuple[Block, ...]:
    apart, same = known_facts(comparison.contestants)
    blocks: list[Block] = []
    if apart:
        columns = [Column("what"), *(Column(one.label) for one in comparison.contestants)]
        blocks += [
            said(
                "A difference of success rates may come from any of these, or from several "
                "together: the comparison cannot tell which."
            ),
            table_of(columns, [[name, *values] for name, values in apart.items()]),
        ]
    if same:
        told = "; ".join(f"{name}: {fact}" for name, fact in same.items())
        blocks.append(said(f"The same for all: {told}."))
    return tuple(blocks) or (said("Nothing is known of how they were made."),)


def _meaning(comparison: RunComparison) -> Iterable[Meaning]:
    level = f"{number(100 * comparison.alpha)} %"
    kinds = [_success(one) for one in comparison.contestants]
    yield from (word for word in (SOLVED, SUCCESS, GIVEN) if word in kinds)
    yield Meaning(
        "Fresh seeds",
        " had no part in choosing what is compared. The counts of a search are those of the "
        "luckiest of many (the winner's curse) and are shown beside them, not tested. Of a "
        "certified run its search's first is compared, with the seeds of its certificate; where a "
        "certificate is lacking, all are trained on the same seeds, which only comparisons use.",
    )
    if any(one.facts.get("sampler") for one in comparison.contestants):
        yield Meaning(
            "One run is one run.",
            " The seeds tell two configurations apart, not the samplers or spaces that found them: "
            "a search with another seed finds another winner. To compare samplers, let each search "
            "several times and see which of them wins how often.",
        )
    yield Meaning(
        "95 % interval",
        " of a rate: Wilson's; of a difference: Newcombe's, which knows whether seeds are shared. "
        "Each holds for itself. It is computed otherwise than the test, and at the border one may "
        "exclude 0 where the other does not: the test decides.",
    )
    yield Meaning(
        "p",
        " is how probable a difference at least as large is if both solve equally many. Seeds "
        "that both share are compared one by one (exact McNemar test), for the same seed makes "
        "the same start easy or hard for both; others as independent samples (Boschloo's exact "
        "test).",
    )
    yield Meaning(
        "p (Holm)",
        f" counts all pairs as one family: if none differed, one below {level} would come up with "
        f"a probability of at most {level}. It does not know of other comparisons that were made, "
        "or of looks in between: whoever adds seeds until p is small will get there by chance.",
    )
    yield Meaning(
        "Cannot tell",
        " does not mean equal. More seeds would tell them apart with a chance of 80 %, if the "
        "rates are just as seen, which they are not.",
    )
    if any(one.outcome.epochs for one in comparison.contestants):
        yield Meaning(
            "Sooner",
            " is the probability that a seed of A takes fewer epochs than another of B (a tie "
            "counts half); the interquartile mean is of the middle half of the seeds. Their "
            "intervals are bootstrapped over seeds and are no tests.",
        )
    if comparison.numbers:
        yield NUMBERS


def _success(one: Contestant) -> Meaning:
    """What a solved seed of it is."""
    if IMPORTED in one.facts:
        return GIVEN
    return SUCCESS if {OWN, RULE} & {*one.facts} or one.rule is not None else SOLVED


def _parameters(contestants: Iterable[Contestant]) -> tuple[list[str], str]:
    """The parameters that differ, and what is the same in all, in words."""
    found = [one.point for one in contestants if one.point is not None]
    names = list(dict.fromkeys(name for point in found for name in point))
    apart = [name for name in names if len({_value(point, name) for point in found}) > 1]
    same = [name for name in names if name not in apart]
    return apart, config_text(found[0], same) if found else ""


def _value(point: Point | None, name: str) -> str:
    return value(point[name]) if point is not None and name in point else ""


def _p(p: float) -> str:
    return p_text(p).removeprefix("p ").removeprefix("= ")
