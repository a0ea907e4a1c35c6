"""A comparison as a document: the answer in a sentence, what it rests on, the words last."""

from __future__ import annotations

from collections.abc import Iterable

from xortune.comparison import Comparison
from xortune.comparison_contestants import OWN, RULE, SEARCHED, known_facts
from xortune.comparison_imported import IMPORTED
from xortune.comparison_runs import Contestant, RunComparison
from xortune.point import Point
from xortune.report.comparison_numbers import (
    NUMBERS,
    improvements_table,
    numbers_blocks,
    numbers_tables,
)
from xortune.report.comparison_published import (
    cells_caption,
    cells_table,
    first_cells,
    published_document,
)
from xortune.report.comparison_words import (
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
)
from xortune.report.document import (
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
from xortune.report.figures.compared import differences, wins
from xortune.report.figures.compared_profile import profile
from xortune.report.format import config_text, estimated, interval, number, span, value
from xortune.report.words import GIVEN, SOLVED, SUCCESS, Word, words
from xortune.stats import wilson

__all__ = ["comparison_document", "contestants_table", "pairs_table", "tables_of"]

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


def _meaning(comparison: RunComparison) -> Iterable[Word]:
    level = f"{number(100 * comparison.alpha)} %"
    kinds = [_success(one) for one in comparison.contestants]
    yield from (word for word in (SOLVED, SUCCESS, GIVEN) if word in kinds)
    yield Word(
        "Fresh seeds",
        " had no part in choosing what is compared. The counts of a search are those of the "
        "luckiest of many (the winner's curse) and are shown beside them, not tested. Of a "
        "certified run its search's first is compared, with the seeds of its certificate; where a "
        "certificate is lacking, all are trained on the same seeds, which only comparisons use.",
    )
    if any(one.facts.get("sampler") for one in comparison.contestants):
        yield Word(
            "One run is one run.",
            " The seeds tell two configurations apart, not the samplers or spaces that found them: "
            "a search with another seed finds another winner. To compare samplers, let each search "
            "several times and see which of them wins how often.",
        )
    yield Word(
        "95 % interval",
        " of a rate: Wilson's; of a difference: Newcombe's, which knows whether seeds are shared. "
        "Each holds for itself. It is computed otherwise than the test, and at the border one may "
        "exclude 0 where the other does not: the test decides.",
    )
    yield Word(
        "p",
        " is how probable a difference at least as large is if both solve equally many. Seeds "
        "that both share are compared one by one (exact McNemar test), for the same seed makes "
        "the same start easy or hard for both; others as independent samples (Boschloo's exact "
        "test).",
    )
    yield Word(
        "p (Holm)",
        f" counts all pairs as one family: if none differed, one below {level} would come up with "
        f"a probability of at most {level}. It does not know of other comparisons that were made, "
        "or of looks in between: whoever adds seeds until p is small will get there by chance.",
    )
    yield Word(
        "Cannot tell",
        " does not mean equal. More seeds would tell them apart with a chance of 80 %, if the "
        "rates are just as seen, which they are not.",
    )
    if any(one.outcome.epochs for one in comparison.contestants):
        yield Word(
            "Sooner",
            " is the probability that a seed of A takes fewer epochs than another of B (a tie "
            "counts half); the interquartile mean is of the middle half of the seeds. Their "
            "intervals are bootstrapped over seeds and are no tests.",
        )
    if comparison.numbers:
        yield NUMBERS


def _success(one: Contestant) -> Word:
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
