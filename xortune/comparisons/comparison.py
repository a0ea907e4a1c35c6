"""Contestants compared two by two: which solves more seeds, or has better numbers, and how sure.

All seeds are compared at once, or seed after seed until one is proven better than the others. Then
what is proven worse than another is dropped at once: it gets no more seeds. Each pair has an equal
share of alpha, and its proof holds at whatever seed it ends, so that with probability 1 - alpha no
proof is wrong. Then whoever is left is better than all that were dropped, also than those that
another one beat.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xortune.comparisons.contestants import Contestant, in_order
from xortune.comparisons.measures import (
    EPOCHS,
    SIGN,
    SUCCESS,
    Better,
    Floats,
    Measure,
    NextLook,
)
from xortune.core.errors import InputError
from xortune.core.formats import (
    as_html,
    capitalized,
    count,
    date,
    decimals,
    estimated,
    interval,
    measured,
    number,
    percent,
    plain,
    rounded_down,
    rounded_up,
    span,
)
from xortune.core.numbers import CONFIDENCE, Estimate, finite
from xortune.core.outcome import SeedCount
from xortune.core.seeds import COMPARE
from xortune.runs.results import free_name, measured_names
from xortune.stats.numbers import probability_of_larger
from xortune.stats.planning import MOST_COMPARED, rough_independent_seeds, shared_seeds
from xortune.stats.proportions import holm
from xortune.stats.sequential import PairedAnswer

POWER = 0.8  # the probability of telling a pair apart with `more_seeds` further seeds
MOST_SHOWN = 5  # contestants in a repr


@dataclass(frozen=True)
class Reused:
    """The seeds of a comparison that it did not train itself, but found (`reuse` of `compare`).

    Attributes:
        count: how many, of all configurations together.
        of: seeds that were trained for the comparison, now or before.
        oldest, newest: when the first and the last of them was trained, in seconds since 1970; None
            if there are none, or it is not known.
    """

    count: int
    of: int
    oldest: float | None
    newest: float | None

    def __str__(self) -> str:
        if not self.count:
            return f"none of the {self.of:,} seeds is old: all were trained now"
        when = ""
        if self.oldest is not None and self.newest is not None:
            oldest, newest = date(self.oldest), date(self.newest)
            when = (
                f", trained {f'from {oldest} to {newest}' if oldest < newest else f'on {oldest}'}"
            )
        return (
            f"{self.count:,} of the {self.of:,} seeds are old{when}; the first of each was tried "
            "again and gave the same, but what the training depends on, such as a file or a "
            "service, may have changed since"
        )


@dataclass(frozen=True)
class Pair:
    """Two contestants, A and B, compared.

    Attributes:
        a, b: their places among the contestants, a < b.
        shared: whether both have the same seeds, which are then compared one by one.
        n_a, n_b: seeds that are compared, failed ones among them; seed after seed those that both
            have: until one of the two was dropped.
        value_a, value_b: the success rate of both, or the statistic of a number, which is not
            finite if failed seeds decide it, or the share of seeds under which each is better.
        wins, losses: shared seeds under which A is better, and B; None if seeds are not shared.
        difference: of A minus B.
        low, high: its interval, with the `confidence` of the comparison. 0 is in it if and only if
            neither is ahead.
        ahead: the place of the better one; None if they are indistinguishable.
        p: two-sided, by the measure's `Method`; NaN seed after seed.
        p_holm: adjusted for all pairs.
        p_margin: one-sided, of "A is worse than B by more than the margin", adjusted for all
            pairs; None without a margin.
        more_seeds: estimated further seeds for each that would tell their success rates apart with
            probability `POWER` if they are as seen; None if they are told apart, equal, too close.
        probability: of a number, that it is better for a seed of A than for one of B; a tie counts
            half.
        least: of a number, the smallest p that so many seeds can give.
        decided_at: the seed that proved who is better, counted from 1; None if none did.
    """

    a: int
    b: int
    shared: bool
    n_a: int
    n_b: int
    value_a: float
    value_b: float
    wins: int | None
    losses: int | None
    difference: float
    low: float
    high: float
    ahead: int | None
    p: float = math.nan
    p_holm: float = math.nan
    p_margin: float | None = None
    more_seeds: int | None = None
    probability: Estimate | None = None
    least: float = 0.0
    decided_at: int | None = None

    @property
    def differs(self) -> bool:
        """Whether one is ahead: p_holm < alpha, or it is proven."""
        return self.ahead is not None

    @property
    def k_a(self) -> int:
        """Of success rates: the seeds that A solves."""
        return round(self.value_a * self.n_a)

    @property
    def k_b(self) -> int:
        """Of success rates: the seeds that B solves."""
        return round(self.value_b * self.n_b)

    @property
    def turned(self) -> Pair:
        """B and A, compared."""
        odds = self.probability
        if odds is not None:
            odds = Estimate(1 - odds.value, 1 - odds.high, 1 - odds.low)
        return replace(
            self,
            a=self.b,
            b=self.a,
            n_a=self.n_b,
            n_b=self.n_a,
            value_a=self.value_b,
            value_b=self.value_a,
            wins=self.losses,
            losses=self.wins,
            difference=-self.difference,
            low=-self.high,
            high=-self.low,
            probability=odds,
        )


@dataclass(frozen=True, eq=False)
class ComparedNumbers:
    """One number of several contestants, beside their success rates.

    Whose numbers are better follows from the rule for success that judges it: for `accuracy >= 0.9`
    larger is better, and a seed without the number, which crashed or diverged, is worse than any
    with it, so that a failed seed stays data. For other numbers the direction is unknown: the
    comparison shows whose are larger, among seeds with a number. It shows what rliable does
    (Agarwal et al., 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice",
    NeurIPS 34), whose bootstrapped intervals are too narrow for few seeds: `stats.numbers` and
    `core.numbers` have others.

    Attributes:
        name: name of the number.
        better: which direction is better.
        values: the numbers of each contestant's seeds that count; None if it has no such number.
        of: their interquartile mean; not finite if a seed of the middle half has no number.
        wins: for each pair the probability that the number of a seed of A is better than that of a
            seed of B (larger, if the direction is unknown); None if one of them has no number.
    """

    name: str
    better: Better
    values: tuple[Floats | None, ...]
    of: tuple[Estimate | None, ...]
    wins: tuple[Estimate | None, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several contestants, compared two by two.

    Attributes:
        contestants: in the given order, with the seeds that count.
        measure: what is compared.
        pairs: all pairs, in the same order.
        alpha: level of all tests together (Holm), or of all proofs.
        margin: by how much a contestant may be worse and it counts as not worse; None: not asked.
        confidence: of the interval of each difference. Of success rates 1 minus the level at which
            Holm's tests end, alpha divided by the number of pairs that are indistinguishable; of
            numbers 1 - alpha. Seed after seed all intervals hold together with 1 - alpha.
        max_seeds: of a comparison seed after seed the most seeds of each; None of others.
        reused: how many seeds are old; None if none were asked for.
    """

    contestants: tuple[Contestant, ...]
    measure: Measure
    pairs: tuple[Pair, ...]
    alpha: float
    margin: float | None = None
    confidence: float = 0.95
    max_seeds: int | None = None
    reused: Reused | None = None

    # Who is ahead.

    def pair(self, a: int, b: int) -> Pair:
        """Return A and B, compared."""
        found = next(pair for pair in self.pairs if {pair.a, pair.b} == {a, b})
        return found if found.a == a else found.turned

    def beaten_by(self, place: int) -> tuple[int, ...]:
        """Return the places of those that are better than the contestant at this place."""
        ahead = (pair.ahead for pair in self.pairs if place in (pair.a, pair.b))
        return tuple(sorted(one for one in ahead if one is not None and one != place))

    @property
    def dropped(self) -> frozenset[int]:
        """The places of those that are worse than another."""
        places = range(len(self.contestants))
        return frozenset(place for place in places if self.beaten_by(place))

    @property
    def best(self) -> int | None:
        """The place of the one that is better than each of the others; None if there is none.

        Seed after seed: of the one that is left, where each other one is proven worse.
        """
        left = set(range(len(self.contestants))) - self.dropped
        if len(left) != 1:
            return None
        [place] = left
        beats_all = sum(pair.ahead == place for pair in self.pairs) == len(self.contestants) - 1
        return place if beats_all or self.max_seeds is not None else None

    @property
    def first_is_worse(self) -> bool:
        """Whether another is better than the first one; with a margin, whether it may be worse.

        With a margin the first one must be shown not to be worse by more than that than any other.
        """
        if self.margin is None:
            return bool(self.beaten_by(0))
        return any(not self.not_worse(pair) for pair in self.pairs if pair.a == 0)

    def not_worse(self, pair: Pair) -> bool:
        """Whether A is shown not to be worse than B by more than the margin."""
        return pair.p_margin is not None and pair.p_margin < self.alpha

    @property
    def first_seed(self) -> int:
        """The first of the seeds that comparisons train; the others follow."""
        return COMPARE.start

    @property
    def n(self) -> int:
        """Seeds of the contestant that has most: of a proof, up to the deciding one."""
        return max(one.outcome.n for one in self.contestants)

    def estimate(self, place: int) -> Estimate:
        """The statistic of a contestant, with its 95 % interval, by all its seeds."""
        return self.measure.estimate(self.measure.of(self.contestants[place].outcome))

    def estimates(self, pair: Pair) -> list[Estimate]:
        """The statistics of A and B, with their 95 % intervals, by the seeds that are compared."""
        both = self.contestants[pair.a], self.contestants[pair.b]
        return [self.measure.estimate(one) for one in _samples(*both, self.measure)[:2]]

    def unused(self, pair: Pair) -> tuple[int, int]:
        """Seeds of A and of B that are left out."""
        n_a, n_b = (self.contestants[place].outcome.n for place in (pair.a, pair.b))
        return n_a - pair.n_a, n_b - pair.n_b

    # Epochs to solve, and numbers that trainers report, beside success rates.

    @cached_property
    def epochs(self) -> ComparedNumbers:
        """The epochs to solve; without contestants whose trainers count none."""
        outcomes = [one.outcome for one in self.contestants]
        return self._compare(EPOCHS, [EPOCHS.known(o) if o.epochs else None for o in outcomes])

    @cached_property
    def number_names(self) -> tuple[str, ...]:
        """The names of numbers: first those that a rule judges.

        Others are left out if they are the same for all seeds, or count the progress of a seed.
        """
        judged = [name for one in self.contestants if one.rule for name in one.rule.names]
        outcomes = [one.outcome for one in self.contestants]
        others = [
            name
            for name in measured_names(outcomes)
            if np.unique(finite(np.concatenate(self._known(name)))).size > 1
        ]
        return tuple(dict.fromkeys([*judged, *others]))

    @cached_property
    def numbers(self) -> tuple[ComparedNumbers, ...]:
        """Each of `number_names` that two contestants or more have."""
        compared = []
        for name in self.number_names:
            known = self._known(name)
            rules = [one.rule for one in self.contestants if one.rule and name in one.rule.names]
            # A contestant that is judged by the number counts even if all of its seeds failed.
            counted = [
                values if np.isfinite(values).any() or one.rule in rules else None
                for one, values in zip(self.contestants, known, strict=True)
            ]
            every = np.concatenate(known)
            if sum(values is not None for values in counted) > 1 and finite(every).size:
                said = {rule.ordering(name, every) for rule in rules}
                better: Better = "larger" if said == {True} else ""
                better = "smaller" if said == {False} else better
                compared.append(self._compare(Measure(name, "iqm", better), counted))
        return tuple(compared)

    def _known(self, name: str) -> list[Floats]:
        return [Measure(name, "iqm", "").known(one.outcome) for one in self.contestants]

    def _compare(self, measure: Measure, numbers: Sequence[Floats | None]) -> ComparedNumbers:
        """Compare numbers, shape (S,) of each contestant, not finite where a seed has none."""

        def won(pair: Pair) -> Estimate | None:
            first, second = numbers[pair.a], numbers[pair.b]
            if first is None or second is None:
                return None
            mine, theirs, same = compared_seeds(self.contestants[pair.a], self.contestants[pair.b])
            first, second = first[mine], second[theirs]
            if same and not measure.better:  # both must have a number of the seed
                both = np.isfinite(first) & np.isfinite(second)
                first, second = first[both], second[both]
            return _odds(measure.counting(first), measure.counting(second), measure, shared=same)

        values = tuple(None if one is None else measure.counting(one) for one in numbers)
        return ComparedNumbers(
            *(measure.name, measure.better, values),
            of=tuple(None if one is None else measure.estimate(one) for one in values),
            wins=tuple(map(won, self.pairs)),
        )

    # The result in sentences; each number with the data that it rests on.

    def __repr__(self) -> str:
        shown = [
            f"{one.label} {one.outcome.count.text if self.measure.is_rate else one.outcome.n}"
            for one in self.contestants
        ]
        if len(shown) > MOST_SHOWN:
            shown = [*shown[:MOST_SHOWN], f"{len(shown) - MOST_SHOWN:,} more"]
        differ = f"{sum(pair.differs for pair in self.pairs):,} of {len(self.pairs):,} pairs differ"
        old = [str(self.reused)] if self.reused else []
        return f"Comparison({', '.join(shown)}; {'; '.join([differ, *old])})"

    def __str__(self) -> str:
        lines = self.lines if self.max_seeds is not None else self.lines[:1]
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        """Show the answer and the pairs in a notebook."""
        counts = ("a", "k_a", "n_a", "b", "k_b", "n_b")
        sizes = counts if self.measure.is_rate else ("a", "n_a", "value_a", "b", "n_b", "value_b")
        shown = [*sizes, "difference", "low", "high", "p_holm", "differs"]
        ends = {"low": "difference_low", "high": "difference_high"}
        # `table` would resample epochs, which is slow.
        return as_html(str(self).replace("\n", " "), self._rows()[shown].rename(columns=ends))

    @property
    def lines(self) -> list[str]:
        """The sentence about two contestants; of more, a headline and one for each pair.

        Seed after seed there is no headline.
        """
        if len(self.pairs) == 1 or self.max_seeds is not None:
            return [self.sentence(pair) for pair in self.pairs]
        bases = {self._basis(pair) for pair in self.pairs}
        alike = len(bases) == 1
        first = f"{self.headline} ({bases.pop()}.)" if alike else self.headline
        return [first, *(self.sentence(pair, basis=not alike) for pair in self.pairs)]

    @property
    def headline(self) -> str:
        """A sentence about who is best."""
        names = [plain(one.label) for one in self.contestants]
        what = f"a better {self.measure.text}"
        if self.best is not None:
            does = "solves more seeds" if self.measure.is_rate else f"has {what}"
            return f"{names[self.best]} {does} than each of the others."
        if not self.dropped:
            return f"{_listed(names)} are indistinguishable from each other."
        left, beaten = (
            [name for place, name in enumerate(names) if (place in self.dropped) is out]
            for out in (False, True)
        )
        verb = "is" if len(beaten) == 1 else "are each"
        worse = "to solve fewer seeds" if self.measure.is_rate else f"to have {what[2:]}"
        return (
            f"The best subset is {_listed(left)}: {_listed(beaten)} {verb} shown {worse} than "
            "another."
        )

    def sentence(self, pair: Pair, *, basis: bool = True) -> str:
        """Return a sentence about two contestants, the one that is ahead first.

        `basis` adds the seeds and the test.
        """
        if self.max_seeds is not None:
            return f"{self._proven(pair)}: {self._counted(pair)}."
        of_rates = self.measure.is_rate
        shown = pair.turned if pair.ahead == pair.b else pair
        first, second = self._names(shown)
        told = f"{first} is indistinguishable from {second}"
        if pair.differs:
            told = f"{first} {self._beats} {second}"
        elif not of_rates:
            told = f"{first} and {second} are indistinguishable in {self.measure.text}"
        values = [str(one) for one in self.estimates(shown)]
        if of_rates:
            counts = SeedCount(shown.k_a, shown.n_a), SeedCount(shown.k_b, shown.n_b)
            values = [one.rate_text for one in counts]
        told += f": {' against '.join(values)}"
        if math.isfinite(pair.difference):
            told += self._apart(shown)
        told += f", {p_text(pair.p_holm)}"
        if basis:
            told += f" ({self._basis(pair)})"
        if shown.probability is not None:
            odds = shown.probability
            told += (
                f"; a seed of {first} is better than one of {second} in {measured(*odds)} of pairs "
                f"({interval(*odds[1:])})"
            )
        return f"{'; '.join([told, *self._remarks(pair)])}."

    def apart(self, pair: Pair) -> tuple[str, str]:
        """The difference and its interval: in percentage points, or in units of the number."""
        ends = pair.low, pair.high
        if self.measure.in_points:
            return points(pair.difference, *ends), points_interval(*ends)
        if not math.isfinite(pair.difference):
            return "unknown", span(*ends)
        known = ends if math.isfinite(pair.high - pair.low) else (None, None)
        return estimated(pair.difference, *known), span(*ends)

    def _apart(self, pair: Pair) -> str:
        difference, ends = self.apart(pair)
        shown = (
            f"{difference} points {ends}" if self.measure.in_points else f"{difference} [{ends}]"
        )
        return f", difference {shown}"

    def tested_by(self, pair: Pair) -> str:
        """Return the pair's seeds and test: `1,000 shared seeds, exact McNemar test`."""
        test = self.measure.method.text(self.measure, pair.shared)
        if pair.shared:
            return f"{count(pair.n_a, 'shared seed')}, {test}"
        determined = not any(self.contestants[place].twice for place in (pair.a, pair.b))
        relation = "none shared" if determined else "not paired"
        return f"{pair.n_a:,} and {count(pair.n_b, 'seed')}, {relation}, {test}"

    @property
    def notes(self) -> list[str]:
        """How many seeds are old, if they were asked for, and the notes on contestants."""
        old = [f"{capitalized(str(self.reused))}."] if self.reused else []
        return [*old, *self.contestant_notes]

    @property
    def contestant_notes(self) -> list[str]:
        """The notes on contestants, each once with the names of all that it concerns."""
        whose: dict[str, list[str]] = {}
        unpaired = "so its seeds are not paired with others"
        if self.max_seeds is not None:
            unpaired = "so the same comparison may end otherwise"
        for one in self.contestants:
            for note in (*[f"{one.twice}, {unpaired}"] * bool(one.twice), *one.notes):
                whose.setdefault(note, []).append(plain(one.label))
        return [f"{', '.join(names)}: {note}." for note, names in whose.items()]

    def _names(self, pair: Pair) -> list[str]:
        return [plain(self.contestants[place].label) for place in (pair.a, pair.b)]

    @property
    def _beats(self) -> str:
        return (
            "solves more seeds than"
            if self.measure.is_rate
            else (f"has a better {self.measure.text} than")
        )

    def _basis(self, pair: Pair) -> str:
        parts = self.tested_by(pair)
        if len(self.pairs) > 1:
            parts += f", Holm over {len(self.pairs)} pairs"
        return parts if self.measure.is_rate else f"{parts}; {self.measure.better} is better"

    def _remarks(self, pair: Pair) -> list[str]:
        """What else belongs to the answer about a pair."""
        told, first, second = [], *self._names(pair)
        measure = self.measure
        if self.margin is not None:
            shown = "is not worse" if self.not_worse(pair) else "is not shown to be no worse"
            by, test = number(self.margin), ""
            if measure.is_rate:
                by = f"{number(100 * self.margin)} points"
                test = (
                    ", Tango's score test"
                    if pair.shared
                    else (", Miettinen and Nurminen's score test")
                )
            told.append(
                f"{first} {shown} than {second} by more than {by} (one-sided "
                f"{p_text(pair.p_margin or 0.0)}{test})"
            )
        if measure.is_rate:
            return told if pair.differs else [*told, _more(pair)]
        if not (math.isfinite(pair.value_a) and math.isfinite(pair.value_b)):
            told.append("failed seeds decide it, and nobody knows how bad they are")
        elif pair.least >= self.alpha / len(self.pairs) and not pair.differs:
            told.append("so few seeds could prove no difference, however large")
        elif pair.p <= pair.least:
            told.append("no difference of so few seeds has a smaller p, however large")
        if pair.differs and measure.statistic == "mean" and not measure.is_bounded:
            told.append(_what_means_need(min(pair.n_a, pair.n_b)))
        return told

    def _proven(self, pair: Pair) -> str:
        """The verdict about a pair, seed after seed."""
        a, b = self._names(pair)
        if pair.ahead is not None:
            better, worse = (a, b) if pair.ahead == pair.a else (b, a)
            under = " under more seeds" if self.measure.statistic == SIGN else ""
            return f"{better} {self._beats} {worse}{under}, proven by seed {pair.decided_at}"
        after = count(pair.n_a, "seed")
        if pair.n_a < self.n:
            first = self.contestants[pair.a].outcome.n <= self.contestants[pair.b].outcome.n
            early, other = (a, b) if first else (b, a)
            return f"{early} was dropped after {after}, before it was told apart from {other}"
        what = "" if self.measure.is_rate else f" in {self.measure.text}"
        end = "" if pair.n_a < (self.max_seeds or 0) else ", all that were allowed"
        return f"{a} is indistinguishable from {b}{what} after {after} of each{end}"

    def _counted(self, pair: Pair) -> str:
        """What the verdict about a pair rests on, seed after seed."""
        a, b = self._names(pair)
        counts = f"{a} {number(pair.value_a)}, {b} {number(pair.value_b)}"
        if self.measure.is_rate:
            counts = f"{a} {pair.k_a}/{pair.n_a}, {b} {pair.k_b}/{pair.n_b}"
        elif self.measure.statistic == SIGN:
            counts = f"{a} is better under {pair.wins}, {b} under {pair.losses} of {pair.n_a}"
        return f"{counts}{self._apart(pair)}"

    # comparison.csv: one row for each pair.

    @property
    def table(self) -> pd.DataFrame:
        """One row for each pair; rates and differences are fractions.

        The columns are `STEP_COLUMNS` seed after seed, `NUMBER_COLUMNS`, or of success rates
        `PAIR_COLUMNS`. These are followed by the columns `NUMBER_ENDINGS` of each of `numbers`. A
        number whose columns would have the names of others is called `value_NAME`.
        """
        table, of_rates = self._rows(), self.measure.is_rate
        if self.max_seeds is not None:
            values = {"value_a": "k_a", "value_b": "k_b"} if of_rates else {}
            return table[[values.get(name, name) for name in STEP_COLUMNS]]
        if not of_rates:
            return table[list(NUMBER_COLUMNS)]
        table = table.join(self._cells(self.epochs, "epochs"))
        table = table.rename(columns=lambda name: name.replace("epochs_wins", "sooner"))
        table = table[list(PAIR_COLUMNS)]
        endings = [f"_{ending}" for ending in NUMBER_ENDINGS]
        for numbers in self.numbers:
            name = free_name(numbers.name, table.columns, endings=endings)
            table = table.join(self._cells(numbers, name))
        return table

    def _rows(self) -> pd.DataFrame:
        labels = [one.label for one in self.contestants]
        rows = []
        for pair in self.pairs:
            first, second = self.contestants[pair.a], self.contestants[pair.b]
            row: dict[str, object] = {
                **vars(pair),
                "a": first.label,
                "b": second.label,
                "key_a": first.key,
                "key_b": second.key,
                "by": self.measure.text,
                "seeds": "shared" if pair.shared else "unshared",
                "n": pair.n_a,
                "only_a": pair.wins,
                "only_b": pair.losses,
                "ahead": None if pair.ahead is None else labels[pair.ahead],
                "differs": pair.differs,
                "not_worse": None if self.margin is None else self.not_worse(pair),
            }
            if self.measure.is_rate:
                row |= {"k_a": pair.k_a, "rate_a": pair.value_a}
                row |= {"k_b": pair.k_b, "rate_b": pair.value_b}
            if self.max_seeds is None:
                (_, low_a, high_a), (_, low_b, high_b) = self.estimates(pair)
                row |= {"low_a": low_a, "high_a": high_a, "low_b": low_b, "high_b": high_b}
            if pair.probability is not None:
                row |= dict(zip(ODDS, pair.probability, strict=True))
            rows.append(row)
        whole = dict.fromkeys(("only_a", "only_b", "more_seeds", "decided_at"), "Int64")
        return pd.DataFrame(rows).astype(whole)

    def _cells(self, numbers: ComparedNumbers, name: str) -> pd.DataFrame:
        """Return the columns `NUMBER_ENDINGS`; NaN where there is no such number."""
        summaries = [
            (None,) * 4 if one is None or values is None else (finite(values).size, *one)
            for one, values in zip(numbers.of, numbers.values, strict=True)
        ]
        rows = [
            (*summaries[pair.a], *summaries[pair.b], *(win or (None,) * 3))
            for pair, win in zip(self.pairs, numbers.wins, strict=True)
        ]
        cells = pd.DataFrame(rows, columns=list(NUMBER_ENDINGS), dtype=np.float64)
        cells = cells.replace([math.inf, -math.inf], math.nan)
        return cells.astype({"n_a": "Int64", "n_b": "Int64"}).add_prefix(f"{name}_")


PAIR_COLUMNS = (
    *("a", "b", "key_a", "key_b", "seeds"),
    *("k_a", "n_a", "rate_a", "low_a", "high_a", "k_b", "n_b", "rate_b", "low_b", "high_b"),
    *("only_a", "only_b", "difference", "low", "high", "p", "p_holm", "differs", "more_seeds"),
    *("p_margin", "not_worse"),
    *("sooner", "sooner_low", "sooner_high"),
    *(f"epochs_{ending}_{side}" for side in "ab" for ending in ("iqm", "iqm_low", "iqm_high")),
)
"""The columns of comparison.csv of success rates. `iqm` is the interquartile mean."""

NUMBER_ENDINGS = (
    *(f"{ending}_{side}" for side in "ab" for ending in ("n", "iqm", "iqm_low", "iqm_high")),
    *("wins", "wins_low", "wins_high"),
)
"""Columns of each number NAME that trainers reported: NAME_n_a (seeds of A with the number),
NAME_iqm_a and so on; NAME_wins, the probability that it is better for A than for B (larger, if no
rule gives a direction)."""

ODDS = ("probability", "probability_low", "probability_high")
NUMBER_COLUMNS = (
    *("by", "a", "b", "shared", "n_a", "value_a", "low_a", "high_a"),
    *("n_b", "value_b", "low_b", "high_b", "difference", "low", "high", "p", "p_holm", "differs"),
    *(*ODDS, "p_margin", "not_worse"),
)
"""The columns of comparison.csv of a comparison by a number."""

STEP_COLUMNS = (
    *("a", "b", "n", "wins", "losses", "value_a", "value_b"),
    *("difference", "low", "high", "ahead", "decided_at"),
)
"""Its columns seed after seed; of success rates `k_a` and `k_b` in place of values."""


# -------------------------------------------------------------------------------------------------
# All seeds at once.


def compare_all(
    contestants: Sequence[Contestant],
    measure: Measure = SUCCESS,
    *,
    alpha: float = 0.05,
    margin: float | None = None,
) -> Comparison:
    """Compare every two contestants, whose labels differ."""
    test, p_margin = measure.method.test, measure.method.p_margin
    assert test is not None  # `parse_measure` refuses the others
    assert p_margin is not None
    places = list(combinations(range(len(contestants)), 2))
    samples = [_samples(contestants[a], contestants[b], measure) for a, b in places]
    tested = [test(one, other, measure, shared, alpha) for one, other, shared in samples]
    adjusted = holm([one.p for one in tested])
    apart = adjusted < alpha
    level = alpha / max(1, int((~apart).sum())) if measure.is_rate else alpha
    worse: Sequence[float | None] = [None] * len(places)
    if margin is not None:
        sign = -1.0 if measure.better == "smaller" else 1.0
        worse = holm(
            [p_margin(sign * one, sign * two, measure, same, margin) for one, two, same in samples]
        ).tolist()
    pairs = []
    for (a, b), (one, other, shared), found, p, differs, p_worse in zip(
        places, samples, tested, adjusted.tolist(), apart.tolist(), worse, strict=True
    ):
        low, high = found.interval(level, differs)
        a_is_ahead = (found.difference > 0) == (measure.better == "larger")
        pair = Pair(
            *(a, b, shared, one.size, other.size),
            value_a=measure.of_numbers.estimate(one),
            value_b=measure.of_numbers.estimate(other),
            wins=int(measure.wins(one, other).sum()) if shared else None,
            losses=int(measure.wins(other, one).sum()) if shared else None,
            difference=found.difference,
            low=low,
            high=high,
            ahead=(a if a_is_ahead else b) if differs else None,
            p=found.p,
            p_holm=p,
            p_margin=p_worse,
        )
        if not measure.is_rate:
            odds = _odds(one, other, measure, shared=shared)
            pair = replace(pair, probability=odds, least=_least(pair, measure))
        elif not differs:
            # The strictest level of Holm: seeds that are enough at it are enough whatever other
            # pairs give.
            pair = replace(pair, more_seeds=_more_seeds(pair, alpha / len(places)))
        pairs.append(pair)
    return Comparison(tuple(contestants), measure, tuple(pairs), alpha, margin, 1 - level)


def _samples(
    first: Contestant, second: Contestant, measure: Measure
) -> tuple[Floats, Floats, bool]:
    """The numbers of the seeds of both that are compared, and whether the seeds are the same."""
    mine, theirs, shared = compared_seeds(first, second)
    one, other = measure.of(first.outcome)[mine], measure.of(second.outcome)[theirs]
    if measure.method.pairs:
        fewer = min(one.size, other.size)
        one, other = one[:fewer], other[:fewer]
    return one, other, shared


def compared_seeds(
    first: Contestant, second: Contestant
) -> tuple[NDArray[np.intp], NDArray[np.intp], bool]:
    """Return the positions of the compared seeds of both, and whether they are the same seeds.

    A seed that both have never counts as two independent ones, unless it does not determine the
    result: then all seeds are independent trainings. If they share only some seeds,
    either these are compared one by one or the others as independent samples, whichever say more.
    The choice depends on the numbers of seeds only, not on their outcomes.
    """
    one, other = first.outcome, second.outcome
    if first.twice or second.twice:
        return np.arange(one.n), np.arange(other.n), False
    common, mine, theirs = np.intersect1d(one.seeds, other.seeds, return_indices=True)
    own = np.setdiff1d(np.arange(one.n), mine)
    their_own = np.setdiff1d(np.arange(other.n), theirs)
    unshared = 0.0
    if own.size and their_own.size:  # two samples say as much as two of this size (harmonic mean)
        unshared = 2 * own.size * their_own.size / (own.size + their_own.size)
    if common.size >= unshared:
        return mine, theirs, True
    return own, their_own, False


def _odds(one: Floats, other: Floats, measure: Measure, *, shared: bool) -> Estimate | None:
    """How probable it is that a seed of A is better than one of B; None without seeds."""
    if not (one.size and other.size):
        return None
    both = (-one, -other) if measure.better == "smaller" else (one, other)
    return Estimate(*probability_of_larger(*both, shared=shared))


def _least(pair: Pair, measure: Measure) -> float:
    """The smallest p that so many seeds can give: all of A far better than all of B."""
    # Scattered otherwise in A than in B, so that differences of shared seeds scatter too.
    one = np.arange(pair.n_a, dtype=np.float64) + 1e9
    other = 2 * np.arange(pair.n_b, dtype=np.float64)
    if measure.is_bounded:
        low, high = measure.limits or (0.0, 1.0)
        one, other = np.full(pair.n_a, high), np.full(pair.n_b, low)
    test = measure.method.test
    return math.nan if test is None else test(one, other, measure, pair.shared, 0.05).p


def _more_seeds(pair: Pair, level: float) -> int | None:
    p1, p2 = pair.value_a, pair.value_b
    if p1 == p2:
        return None
    have = min(pair.n_a, pair.n_b)
    try:
        if pair.wins is None or pair.losses is None:
            needed = rough_independent_seeds(p1, p2, alpha=level, power=POWER)
        else:
            discordance = (pair.wins + pair.losses) / pair.n_a
            needed = shared_seeds(p1, p2, alpha=level, power=POWER, discordance=discordance)
    except InputError:  # too close to be planned for
        return None
    return max(needed - have, 1)


# -------------------------------------------------------------------------------------------------
# Seed after seed.


def compare_in_step(
    contestants: Sequence[Contestant],
    measure: Measure = SUCCESS,
    *,
    max_seeds: int,
    alpha: float,
    looked: MutableMapping[tuple[int, int], PairedAnswer] | None = None,
) -> tuple[Comparison, bool]:
    """Compare contestants by their seeds so far.

    Each pair has an equal share of alpha (Bonferroni), and each side of a pair half of that.

    Args:
        contestants: with the same seeds in the same order, fewer of what was dropped.
        measure: what is compared, by the `proof` and `bounds` of its method.
        max_seeds: the most seeds of each, fixed beforehand.
        alpha: of all pairs together.
        looked: by the places of a pair, what an earlier call with fewer of these seeds answered,
            so that each look at quantiles is computed once; this call's answers are put there.

    Returns:
        The comparison, with the seeds that count, and whether it has ended.
    """
    method = measure.method
    assert method.proof is not None  # `measure_of` refuses the others
    assert method.bounds is not None
    seeds = [measure.of(one.outcome) for one in contestants]
    share = alpha / math.comb(len(seeds), 2)
    answers = {} if looked is None else looked
    for a, b in combinations(range(len(seeds)), 2):
        n = min(seeds[a].size, seeds[b].size)
        look = NextLook(max_seeds, share, answers.get((a, b), PairedAnswer(0, 0)))
        answers[a, b] = method.proof(seeds[a][:n], seeds[b][:n], measure, look)
    ends, over = _ends(answers, [one.size for one in seeds], max_seeds)
    pairs = []
    for (a, b), answer in answers.items():
        n = min(ends[a], ends[b])
        one, other = seeds[a][:n], seeds[b][:n]
        wins, losses = (int(measure.wins(*both).sum()) for both in ((one, other), (other, one)))
        values = wins / n, losses / n
        if measure.statistic != SIGN:
            values = measure.of_numbers.estimate(one), measure.of_numbers.estimate(other)
        ahead = answer.ahead if answer.n <= n else 0
        low, high = method.bounds(one, other, measure, ahead, share)
        pair = Pair(
            *(a, b, True, n, n, *values, wins, losses),
            difference=values[0] - values[1],
            low=low,
            high=high,
            ahead=None if ahead == 0 else (a, b)[ahead < 0],
            decided_at=answer.n if ahead else None,
        )
        pairs.append(pair)
    counted = tuple(
        replace(one, outcome=in_order(one.outcome, one.outcome.seeds[:end]))
        for one, end in zip(contestants, ends, strict=True)
    )
    return Comparison(counted, measure, tuple(pairs), alpha, max_seeds=max_seeds), over


def _ends(
    answers: Mapping[tuple[int, int], PairedAnswer], trained: Sequence[int], max_seeds: int
) -> tuple[list[int], bool]:
    """How many seeds of each count, and whether the comparison is over.

    The order of seeds alone decides, not how many were trained at a time: a proof at seed n counts
    if neither of its two was dropped before n.
    """
    dropped: dict[int, int] = {}
    proofs = sorted((found.n, pair) for pair, found in answers.items() if found.ahead)
    for n, (a, b) in proofs:
        loser = b if answers[a, b].ahead > 0 else a
        if all(dropped.get(place, n) >= n for place in (a, b)):
            dropped.setdefault(loser, n)
    left = [place for place in range(len(trained)) if place not in dropped]
    # Two that beat each other's beaters at the same seed may both be out: then nobody is left.
    end = max(trained[place] for place in left) if len(left) > 1 else max(dropped.values())
    ends = [min(dropped.get(place, end), end) for place in range(len(trained))]
    return ends, len(left) < 2 or end == max_seeds


# -------------------------------------------------------------------------------------------------
# Words.


def points(difference: float, low: float, high: float) -> str:
    """Format a difference in percentage points: `12.8`, with as many decimals as its interval."""
    digits = decimals(low, high)
    return f"{round(100 * difference, digits) + 0.0:.{digits}f}"  # no -0.0


def points_interval(low: float, high: float) -> str:
    """Format an interval of a difference in percentage points: `[9.9, 15.8]`, rounded outwards."""
    digits = decimals(low, high)
    down, up = rounded_down(100 * low, digits) + 0.0, rounded_up(100 * high, digits) + 0.0
    return f"[{down:.{digits}f}, {up:.{digits}f}]"


def p_text(p: float) -> str:
    """Format p: `p < 0.001` or `p = 0.0314`."""
    return "p < 0.001" if p < 0.001 else f"p = {number(p)}"


def wanted_seeds(seeds: int) -> str:
    """Format an estimated number of seeds: two digits, rounded up."""
    size = 10 ** max(0, len(str(seeds)) - 2)
    return f"{math.ceil(seeds / size) * size:,}"


def _more(pair: Pair) -> str:
    if pair.difference == 0:
        return "as their rates are equal, no number of further seeds can be computed"
    if pair.more_seeds is None:
        return f"at rates this close more than {MOST_COMPARED:,} seeds would be needed"
    seeds = wanted_seeds(pair.more_seeds)
    each = f"{'seed' if seeds == '1' else 'seeds'}{'' if pair.shared else ' for each'}"
    return (
        f"about {seeds} more {each} would tell them apart, four times in five, if the rates are "
        "as seen (a second look is a second chance to be wrong; --sequential counts its looks)"
    )


def _what_means_need(n: int) -> str:
    """What a comparison of means without limits cannot see, in words.

    With n seeds nothing shows, with a probability of 5 %, of what happens under a share
    1 - 0.05^(1/n) of all seeds.
    """
    unseen = percent(1 - (1 - CONFIDENCE) ** (1 / n))
    return (
        f"this assumes that no rare seeds are far off: what happens under {unseen} of seeds is "
        f"missed by {n:,} seeds in one case of 20"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
