"""What a comparison of runs comes to, in sentences; each number with what it rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xortune.comparisons.runs import Pair, RunComparison
from xortune.core.formats import count, decimals, number, plain, rounded_down, rounded_up
from xortune.reports.tables import rate_of

MOST = 20_000
"""Seeds beyond which no plan is made; see `planning.shared_seeds`."""


def answer(comparison: RunComparison) -> list[str]:
    """The answer: a sentence of two contestants; of more one of all, and then one of each pair."""
    if len(comparison.pairs) == 1:
        return [sentence(comparison, comparison.pairs[0])]
    bases = {_basis(comparison, pair) for pair in comparison.pairs}
    alike = len(bases) == 1
    first = f"{headline(comparison)} ({bases.pop()}.)" if alike else headline(comparison)
    return [first, *(sentence(comparison, pair, basis=not alike) for pair in comparison.pairs)]


def headline(comparison: RunComparison) -> str:
    """Who solves the most seeds, as far as that is shown."""
    names = [plain(one.label) for one in comparison.contestants]
    losers = {place: comparison.beaten_by(place) for place in range(len(names))}
    unbeaten = [place for place, by in losers.items() if not by]
    for place in unbeaten:
        if sum(place in by for by in losers.values()) == len(names) - 1:
            return f"{names[place]} solves more seeds than each of the others."
    if len(unbeaten) == len(names):
        return f"{_listed(names)} are indistinguishable from each other."
    beaten = [name for place, name in enumerate(names) if place not in unbeaten]
    verb = "is" if len(beaten) == 1 else "are each"
    return (
        f"The best subset is {_listed([names[place] for place in unbeaten])}: {_listed(beaten)} "
        f"{verb} shown to solve fewer seeds than another."
    )


def sentence(comparison: RunComparison, pair: Pair, *, basis: bool = True) -> str:
    """What the data say of two contestants, the one that is ahead first.

    With its `basis`, the seeds and the test, if these are not said elsewhere.
    """
    first, second = (plain(comparison.contestants[place].label) for place in (pair.a, pair.b))
    rates = [rate_of(pair.k_a, pair.n_a), rate_of(pair.k_b, pair.n_b)]
    low, high, difference = pair.low, pair.high, pair.difference
    if pair.ahead == pair.b:
        low, high, difference = -high, -low, -difference
        first, second, rates = second, first, rates[::-1]
    found = (
        f"{rates[0]} against {rates[1]}, difference {points(difference, low, high)} points "
        f"{points_interval(low, high)}, {p_text(pair.p_holm)}"
    )
    if basis:
        found += f" ({_basis(comparison, pair)})"
    if pair.differs:
        return f"{first} solves more seeds than {second}: {found}."
    return f"{first} is indistinguishable from {second}: {found}; {_more(pair)}."


def points(difference: float, low: float, high: float) -> str:
    """A difference in percentage points, without the unit: `12.8`, in the interval's decimals."""
    digits = decimals(low, high)
    return f"{round(100 * difference, digits) + 0.0:.{digits}f}"  # no -0.0


def points_interval(low: float, high: float) -> str:
    """An interval of a difference in percentage points: `[9.9, 15.8]`, rounded outwards."""
    digits = decimals(low, high)
    down, up = rounded_down(100 * low, digits) + 0.0, rounded_up(100 * high, digits) + 0.0
    return f"[{down:.{digits}f}, {up:.{digits}f}]"


def p_text(p: float) -> str:
    """`p < 0.001` or `p = 0.0314`."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def tested_by(pair: Pair) -> str:
    """The test that the pair's p is of, after its seeds: `1,000 shared seeds`."""
    if pair.shared:
        return f"{count(pair.n_a, 'shared seed')}, exact McNemar test"
    return f"{pair.n_a:,} and {count(pair.n_b, 'seed')}, none shared, Boschloo's exact test"


def wanted_seeds(seeds: int) -> str:
    """A number of seeds, two digits of it, rounded up: it is an estimate."""
    size = 10 ** max(0, len(str(seeds)) - 2)
    return f"{math.ceil(seeds / size) * size:,}"


def notes(comparison: RunComparison) -> list[str]:
    """What must be said of contestants, once for those of whom the same is to be said."""
    whose: dict[str, list[str]] = {}
    for one in comparison.contestants:
        for note in one.notes:
            whose.setdefault(note, []).append(plain(one.label))
    return [f"{', '.join(names)}: {note}." for note, names in whose.items()]


def _basis(comparison: RunComparison, pair: Pair) -> str:
    pairs = len(comparison.pairs)
    return tested_by(pair) + (f", Holm over {pairs} pairs" if pairs > 1 else "")


def _more(pair: Pair) -> str:
    if pair.difference == 0:
        return "they came out equal, so no number of further seeds can be named"
    if pair.more_seeds is None:
        return f"at rates this close more than {MOST:,} seeds would be needed"
    seeds = wanted_seeds(pair.more_seeds)
    each = f"{'seed' if seeds == '1' else 'seeds'}{'' if pair.shared else ' for each'}"
    return (
        f"about {seeds} more {each} would tell them apart, four times in five, if the rates are "
        "as seen"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
