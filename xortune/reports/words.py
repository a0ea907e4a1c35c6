"""What each number of a report means and how it misleads; a comparison in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from xortune.comparisons.runs import Contestant, Origin, Pair, RunComparison
from xortune.core.counts import wilson
from xortune.core.formats import count, decimals, measured, number, plain, rounded_down, rounded_up
from xortune.reports.document import Bullets, Section, Strong

# -------------------------------------------------------------------------------------------------
# What each number of a report means, and how it could mislead: said once, for all reports.

HEADING = "What the numbers mean, and how they mislead"


@dataclass(frozen=True)
class Meaning:
    """One entry.

    Attributes:
        term: as it stands beside the number.
        meaning: the rest of the sentence, and how it could mislead.
    """

    term: str
    meaning: str


SOLVED = Meaning(
    "solved",
    " k/n: of n seeds, k ended with every judged row on the right side of 0.5. A seed that "
    "diverged or crashed counts as not solved; nothing is averaged away.",
)
SUCCESS = Meaning(
    "solved seeds",
    " (k of n) were a success by the rule of the space file, or as the trainer itself said. A seed "
    "that diverged (its number is none) or crashed (it raised, or returned what it may not) counts "
    "as no success; nothing is averaged away.",
)
GIVEN = Meaning(
    "solved seeds",
    " (k of n) were a success by what was imported: its column, or the rule for its numbers. "
    "Nobody here has trained them again. A seed that diverged (its number is none) or crashed (a "
    "reason is given, or nothing that says how it went) counts as no success; nothing is averaged "
    "away.",
)
INTERVAL = Meaning(
    "95 % interval",
    " (Wilson): where the true success rate lies, for a configuration chosen before looking. In 5 "
    "of 100 such intervals it does not. 8 of 8 seeds is 67.5 % or more, not 100 %. Rates are "
    "rounded to what their interval supports; k/n is exact.",
)
WINNER = Meaning(
    "The winner's count is optimistic.",
    " It won partly by luck: with 200 configurations that are all truly 90 %, the best count of "
    "100 seeds shows about 97 %. Believe only seeds that the search never saw.",
)
LOOKS = Meaning(
    "Several looks.",
    " The race counted the seeds of a configuration again and again, and decided each time. Its "
    "decisions use bounds that hold however often one looks; the 95 % interval beside a count "
    "does not know of the looks, and a configuration may have been stopped on an unlucky streak.",
)
SHARED_SEEDS = Meaning(
    "Seeds are shared.",
    " All configurations were trained under the same seeds, so their counts rise and fall "
    "together: two intervals that overlap may still be told apart, seed by seed, and two "
    "configurations that fail under the same seeds are not independent evidence.",
)
EPOCHS = Meaning(
    "epochs to solve",
    " is what one success costs: the epochs spent by all seeds, failures at the full budget, over "
    "the successes. It never outweighs a seed.",
)
TRIALS = Meaning("trials", " counts the proposals of the configuration.")
TIED = Meaning(
    "Not distinguishable",
    " does not mean equal: with more seeds the list gets shorter. It holds the truly best of those "
    "compared with a probability of at least 95 %, whichever looks best.",
)
BAND = Meaning(
    "The band of a curve",
    " over epochs holds for all epochs at once with 95 % confidence (Dvoretzky, Kiefer, "
    "Wolfowitz), for one curve that was chosen before looking; the best one was not.",
)
FRONT = Meaning(
    "The Pareto front",
    " is one of counts and means as they were measured; it has no interval, and chance may have "
    "put a configuration on it or kept one off.",
)
PARAMETERS = Meaning(
    "Which parameters matter",
    " describes the configurations visited, not the space. A search visits good regions more "
    "often, and a level may look good for what it was tried with. The 95 % intervals are "
    "bootstrapped over configurations, each by itself: one in 20 misses, and more where "
    "configurations are few.",
)
IMPORTANCE = Meaning(
    "importance",
    " says how far the best of the configurations visited lie elsewhere than all of them, along "
    "one parameter at a time, as shares of one (PED-ANOVA). It has no direction. A parameter that "
    "the search hardly varied, or that matters only together with another, seems to matter little, "
    "and with few configurations it is mostly chance.",
)
FAILURES = Meaning(
    "How seeds failed",
    " counts the seeds of all configurations, good and bad: a search that tries bad ones longer "
    "has more failures, whatever the best one does.",
)


def certified(confidence: float) -> Meaning:
    """The entry for a certificate whose bounds hold together with such a confidence."""
    return Meaning(
        "rate at least",
        " is a lower bound from seeds that had no part in the choice. All bounds of all attempts "
        f"hold together with {number(100 * confidence)} % confidence, so the best may be chosen by "
        "them. It is about seeds only: another task, another version or another number of epochs "
        "is another question.",
    )


def words(entries: Iterable[Meaning]) -> Section:
    """The last section of a report, with the entries that it uses."""
    items = tuple((Strong(entry.term), entry.meaning) for entry in entries)
    return Section("words", HEADING, (Bullets(items),))


# -------------------------------------------------------------------------------------------------
# What a comparison of runs comes to, in sentences; each number with what it rests on.

MOST = 20_000
"""Seeds beyond which no plan is made; see `planning.shared_seeds`."""

ORIGINS: dict[Origin, str] = {
    "certificate": "certificate",
    "trained": "trained for this",
    "given": "as given",
}


def answer(comparison: RunComparison) -> list[str]:
    """The answer: a sentence of two contestants; of more one of all, and then one of each pair."""
    if len(comparison.pairs) == 1:
        return [sentence(comparison, comparison.pairs[0])]
    bases = {_basis(comparison, pair) for pair in comparison.pairs}
    if len(bases) > 1:
        return [headline(comparison), *(sentence(comparison, pair) for pair in comparison.pairs)]
    told = [sentence(comparison, pair, basis=False) for pair in comparison.pairs]
    return [f"{headline(comparison)} ({bases.pop()}.)", *told]


def headline(comparison: RunComparison) -> str:
    """Who solves the most seeds, as far as that is shown."""
    names = [plain(one.label) for one in comparison.contestants]
    unbeaten = [i for i in range(len(names)) if not comparison.beaten_by(i)]
    losers = {i: comparison.beaten_by(i) for i in range(len(names))}
    for place in unbeaten:
        if sum(place in by for by in losers.values()) == len(names) - 1:
            return f"{names[place]} solves more seeds than each of the others."
    if len(unbeaten) == len(names):
        return f"The data cannot tell any two of {_listed(names)} apart."
    best = _listed([names[place] for place in unbeaten])
    beaten = [name for place, name in enumerate(names) if place not in unbeaten]
    verb = "is" if len(beaten) == 1 else "are each"
    return (
        f"The best is {'among ' if len(unbeaten) > 1 else ''}{best}, as far as the data tell: "
        f"{_listed(beaten)} {verb} shown to solve fewer seeds than another."
    )


def sentence(comparison: RunComparison, pair: Pair, *, basis: bool = True) -> str:
    """What the data say of two contestants; the one that is ahead first.

    Args:
        comparison: of all.
        pair: the two.
        basis: whether seeds and test are said too.
    """
    turned = pair.ahead == pair.b
    a, b = (pair.b, pair.a) if turned else (pair.a, pair.b)
    first, second = (plain(comparison.contestants[place].label) for place in (a, b))
    rates = [rate(pair.k_a, pair.n_a), rate(pair.k_b, pair.n_b)]
    low, high, difference = pair.low, pair.high, pair.difference
    if turned:
        low, high, difference = -high, -low, -difference
        rates.reverse()
    found = (
        f"{rates[0]} against {rates[1]}, difference {points(difference, low, high)} points "
        f"{points_interval(low, high)}, {p_text(pair.p_holm)}"
    )
    if basis:
        found += f" ({_basis(comparison, pair)})"
    if pair.differs:
        return f"{first} solves more seeds than {second}: {found}."
    return f"The data cannot tell {first} from {second}: {found}; {_more(pair)}."


def rate(k: int, n: int) -> str:
    """A success rate, rounded to what its interval supports."""
    low, high = wilson(k, n)
    return measured(k / n, float(low), float(high))


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
    """The test that the pair's p is of."""
    return "exact McNemar test" if pair.shared else "Boschloo's exact test"


def seeds_text(pair: Pair) -> str:
    """`1,000 shared seeds`, or how many each has of its own."""
    if pair.shared:
        return count(pair.n_a, "shared seed")
    return f"{pair.n_a:,} and {count(pair.n_b, 'seed')}, none shared"


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


def origin_text(one: Contestant) -> str:
    """Where a contestant's seeds are from."""
    return ORIGINS[one.origin]


def _basis(comparison: RunComparison, pair: Pair) -> str:
    pairs = len(comparison.pairs)
    family = f", Holm over {pairs} pairs" if pairs > 1 else ""
    return f"{seeds_text(pair)}, {tested_by(pair)}{family}"


def _more(pair: Pair) -> str:
    if pair.difference == 0:
        return "they came out equal, so no number of further seeds can be named"
    if pair.more_seeds is None:
        return f"at rates this close more than {MOST:,} seeds would be needed"
    each = "" if pair.shared else " for each"
    seeds = wanted_seeds(pair.more_seeds)
    plural = "seed" if seeds == "1" else "seeds"
    return f"about {seeds} more {plural}{each} would, four times in five, if the rates are as seen"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
