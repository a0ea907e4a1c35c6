"""A number of the seeds of several contestants: as it ended, and as they reported it on their way.

A failed seed is worse than any number: at its end, and from its last report on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.comparison import Comparison
from xortune.comparisons.measures import Better, Measure
from xortune.core.errors import InputError, check_number, kind_of, refuse_unknown
from xortune.core.formats import as_html, count, number, plain
from xortune.core.numbers import Estimate, statistic_named, summed
from xortune.core.outcome import Curves, Outcome, have_numbers
from xortune.core.success import Rule, larger_is_better
from xortune.runs.results import STEPS, measured_names, number_names, reported
from xortune.stats.numbers import probability_of_larger

if TYPE_CHECKING:
    import pandas as pd

Floats: TypeAlias = NDArray[np.float64]

Numbered: TypeAlias = Comparison | Outcome | Mapping[str, Outcome] | Sequence[Outcome]
"""What has numbers of seeds: a comparison, an outcome, several of them, by their names or not."""


# -------------------------------------------------------------------------------------------------
# As it ended.


@dataclass(frozen=True)
class Samples:
    """A number of the seeds of several contestants.

    Attributes:
        name: of the number.
        better: which direction is better.
        labels: of the contestants.
        outcomes: theirs.
        comparison: by this number, if there is one.
    """

    name: str
    better: Better
    labels: tuple[str, ...]
    outcomes: tuple[Outcome, ...]
    comparison: Comparison | None = None

    def values(self, place: int) -> Floats:
        """float64, shape (S,): a failed seed is the worst infinity."""
        return Measure(self.name, "iqm", self.better).of(self.outcomes[place])

    def estimate(self, place: int, statistic: str) -> Estimate:
        """A statistic of the seeds that have a number."""
        return summed(self.name, self.values(place))[statistic]

    @property
    def sizes(self) -> str:
        """The numbers of seeds, as text."""
        return " and ".join(f"{n:,}" for n in sorted({one.n for one in self.outcomes}))

    @property
    def failed(self) -> int:
        """Seeds without a number."""
        return sum(int(np.isinf(self.values(i)).sum()) for i in range(len(self.outcomes)))

    def chance(self, a: int, b: int) -> Estimate:
        """How probable it is that a seed of one is better than one of another."""
        if self.comparison is not None:
            found = self.comparison.pair(a, b).probability
            assert found is not None  # of a comparison by a number
            return found
        sign = 1.0 if self.better == "larger" else -1.0
        one, other = self.outcomes[a], self.outcomes[b]
        shared = np.array_equal(one.seeds, other.seeds)
        numbers = (sign * self.values(a), sign * self.values(b))
        return Estimate(*probability_of_larger(*numbers, shared=shared))


def samples_of(what: Numbered, number: str | None = None) -> Samples:
    """The number of what is to be drawn: by default the one that is compared, or the first.

    Raises:
        InputError: it is nothing of that kind, or has no such number.
    """
    comparison = None
    rules: list[Rule | None] = []
    if isinstance(what, Comparison):
        by_label = {one.label: one.outcome for one in what.contestants}
        rules = [one.rule for one in what.contestants]
        if not what.measure.is_rate:
            comparison, number = what, number or what.measure.name
        else:
            number = number or next(iter(what.number_names), None)
    elif isinstance(what, Outcome):
        by_label = {"": what}
    elif isinstance(what, Mapping):
        by_label = dict(what)
    elif isinstance(what, Sequence):
        by_label = {f"outcome {place}": one for place, one in enumerate(what, 1)}
    else:
        by_label = {"": what}
    if not by_label or not all(isinstance(one, Outcome) for one in by_label.values()):
        wrong = next((o for o in by_label.values() if not isinstance(o, Outcome)), what)
        raise InputError(
            kind_of(wrong),
            field="outcomes",
            allowed="what xortune.compare returns, an Outcome, or several by their names: "
            '{"PPO": first, "SAC": second}',
        )
    names = number_names(list(by_label.values()))
    if not names:
        raise InputError("no seed has a number", field="outcomes")
    number = (*measured_names([*by_label.values()]), *names)[0] if number is None else number
    refuse_unknown(number, names, f"there is no number {number!r}", field="number")
    if comparison is not None and number != comparison.measure.name:
        comparison = None
    every = reported([*by_label.values()], number)
    better: Better = "larger" if larger_is_better(number, rules, every) else "smaller"
    if comparison is not None:
        better = comparison.measure.better
    return Samples(number, better, tuple(by_label), tuple(by_label.values()), comparison)


# -------------------------------------------------------------------------------------------------
# On its way.

REPORT = "report"
"""What counts the steps where seeds report no number that does."""

MOST_STEPS = 100
"""Steps at which a statistic over the seeds is taken."""


@dataclass(frozen=True, eq=False)
class SeedCurves:
    """A number that the S seeds of an outcome reported on their way.

    The journal keeps some 30 reports of each seed; between them stand straight lines.

    Attributes:
        name: of the number.
        over: what counts the steps: a number that seeds report too, or `REPORT`.
        better: which direction is better.
        points: of each seed its steps, ascending, and the number at each; both may be empty.
        failed: bool, shape (S,): whether the seed failed, or was pruned.
    """

    name: str
    over: str
    better: Better
    points: tuple[tuple[Floats, Floats], ...]
    failed: NDArray[np.bool_]

    @cached_property
    def silent(self) -> NDArray[np.bool_]:
        """bool, shape (S,): which seeds reported nothing and did not fail: no curve has them."""
        return ~self.failed & [not steps.size for steps, _ in self.points]

    @cached_property
    def ended(self) -> NDArray[np.bool_]:
        """bool, shape (S,): which seeds ended before the last step without a failure."""
        last = [steps[-1] if steps.size else np.inf for steps, _ in self.points]
        return ~self.failed & (np.array(last) < self.steps[-1:].max(initial=-np.inf))

    @cached_property
    def steps(self) -> Floats:
        """float64, shape (T,), ascending: at most `MOST_STEPS`, from where all have reported."""
        told = [steps for steps, _ in self.points if steps.size]
        if not told:
            return np.empty(0)
        every = np.unique(np.concatenate(told))
        every = every[every >= max(steps[0] for steps in told)]
        kept = np.linspace(0, every.size - 1, min(every.size, MOST_STEPS)).round()
        return np.asarray(every[np.unique(kept.astype(np.intp))], np.float64)

    @cached_property
    def values(self) -> Floats:
        """float64, shape (seeds that are not silent, T): the number of each seed at each step.

        After its last report a seed that failed has the worst infinity. One that ended keeps its
        last number.
        """
        worst = -math.inf if self.better == "larger" else math.inf
        rows = [
            np.interp(self.steps, *points, right=worst if failed else None)
            if points[0].size
            else np.full(self.steps.size, worst)
            for points, failed, silent in zip(self.points, self.failed, self.silent, strict=True)
            if not silent
        ]
        return np.array(rows).reshape(len(rows), self.steps.size)

    def estimates(self, statistic: str) -> list[Estimate]:
        """The statistic of the seeds at each of T steps, with its 95 % interval, pointwise.

        Its value is infinite where failed seeds decide it.
        """
        found = statistic_named(statistic)
        return [
            Estimate(found.estimate(one), *(found.interval(one) or (-math.inf, math.inf)))
            for one in self.values.T
        ]

    def steps_to(self, level: float) -> Floats:
        """float64, shape (S,): the first kept report with a number as good as the level.

        Infinite where a seed has none.
        """
        reach = np.greater_equal if self.better == "larger" else np.less_equal
        return np.array([s[reach(v, level)].min(initial=math.inf) for s, v in self.points])


def told_on_the_way(outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """The names of the numbers that seeds reported on their way, in the order of first use."""
    parts = (part.points() for one in outcomes for part in one.details.curves)
    return tuple({name: None for part in parts for name in part.names})


def curves_of(
    outcomes: Sequence[Outcome], name: str, better: Better, over: str | None = None
) -> list[SeedCurves]:
    """What the seeds of each outcome reported of a number, over one count of steps.

    Args:
        outcomes: of which some may have reported nothing.
        name: of the number.
        better: which direction is better.
        over: the count; if not given, the first of `STEPS` that all report with it, else `REPORT`.

    Raises:
        InputError: no seed reported `over`.
    """
    told = [[part.points() for part in one.details.curves] for one in outcomes]
    told = [[part for part in parts if name in part.names] for parts in told]
    every = [part.names for parts in told for part in parts]
    common = (one for one in STEPS if one != name and all(one in names for names in every))
    chosen = over or next(common, REPORT)
    if chosen != REPORT and not any(chosen in names for names in every):
        known = dict.fromkeys((REPORT, *(one for names in every for one in names if one != name)))
        refuse_unknown(chosen, known, f"no seed reports {chosen!r} with {name}", field="over")
    return [
        SeedCurves(
            name, chosen, better, _points(one, parts, name, chosen), ~have_numbers(one.status)
        )
        for one, parts in zip(outcomes, told, strict=True)
    ]


def _points(
    outcome: Outcome, parts: Iterable[Curves], name: str, over: str
) -> tuple[tuple[Floats, Floats], ...]:
    """Steps and numbers of each seed of an outcome; of one step the first."""
    found: dict[int, tuple[Floats, Floats]] = {}
    for part in parts:
        if over not in (REPORT, *part.names):
            continue
        at = part.report if over == REPORT else part.values[:, part.names.index(over)]
        values = part.values[:, part.names.index(name)].astype(np.float64)
        known = np.flatnonzero(np.isfinite(at) & np.isfinite(values))
        order = known[np.lexsort((at[known], part.seed[known]))]
        seeds, starts = np.unique(part.seed[order], return_index=True)
        for seed, own in zip(seeds.tolist(), np.split(order, starts[1:]), strict=False):
            steps, first = np.unique(at[own].astype(np.float64), return_index=True)
            found[seed] = steps, values[own][first]
    nothing = np.empty(0), np.empty(0)
    return tuple(found.get(seed, nothing) for seed in outcome.seeds.tolist())


@dataclass(frozen=True, eq=False)
class SampleEfficiency:
    """How many steps seeds take until a number that they report reaches a level.

    A seed that never reached it is censored: it takes more steps than any other, so a statistic is
    known unless such seeds decide it. The step is that of the first kept report (some 30 of each
    seed) with a number at least as good as the level.

    Attributes:
        name: of the number.
        over: what counts the steps.
        level: which it has to reach.
        better: which direction is better.
        statistic: of the steps, such as `median`.
        seeds: of each configuration by its label, int64, shape (S,).
        steps: of each configuration, float64, shape (S,): infinite where a seed is censored.
        longest: the last step that any seed reported.
    """

    name: str
    over: str
    level: float
    better: Better
    statistic: str
    seeds: Mapping[str, NDArray[np.int64]]
    steps: Mapping[str, Floats]
    longest: float

    def reached(self, label: str) -> int:
        """The number of seeds that reached the level."""
        return int(np.isfinite(self.steps[label]).sum())

    def estimate(self, label: str) -> Estimate:
        """The statistic of the steps of all seeds, with its 95 % interval.

        Infinite where censored seeds decide it.
        """
        found, steps = statistic_named(self.statistic), self.steps[label]
        return Estimate(found.estimate(steps), *(found.interval(steps) or (-math.inf, math.inf)))

    @property
    def goal(self) -> str:
        """`return >= 200`."""
        return (
            f"{plain(self.name)} {'>=' if self.better == 'larger' else '<='} {number(self.level)}"
        )

    @property
    def table(self) -> pd.DataFrame:
        """A row for each configuration: seeds, those that reached it, those censored, the steps."""
        import pandas as pd  # slow to import

        rows = []
        for label, steps in self.steps.items():
            known = self.reached(label)
            rows.append((label, steps.size, known, steps.size - known, *self.estimate(label)))
        heads = ("configuration", "n", "reached", "censored", self.statistic, "low", "high")
        return pd.DataFrame(rows, columns=list(heads))

    @property
    def per_seed(self) -> pd.DataFrame:
        """A row for each configuration and seed: the steps, infinite where it is censored."""
        import pandas as pd  # slow to import

        parts = [
            pd.DataFrame({"configuration": label, "seed": self.seeds[label], self.over: steps})
            for label, steps in self.steps.items()
        ]
        return pd.concat(parts, ignore_index=True)

    def sentence(self, label: str) -> str:
        """`median 6,144 step (4,096 to 8,192); 15 of 16 seeds reach it`."""
        n, found = self.steps[label].size, self.estimate(label)
        of_seeds = f"{self.reached(label):,} of {count(n, 'seed')} reach it"
        if not math.isfinite(found.value):
            return f"{of_seeds}: too few to know the {self.statistic}"
        return f"{statistic_named(self.statistic).heading} {found}; {of_seeds}"

    def __str__(self) -> str:
        heading = f"{plain(self.over)} until {self.goal}"
        lines = [f"{plain(label)}: " * bool(label) + self.sentence(label) for label in self.steps]
        return "\n".join([heading, *lines])

    def _repr_html_(self) -> str:
        return as_html(str(self).replace("\n", "; "), self.table)


def steps_until(
    samples: Samples, level: float, *, over: str | None = None, statistic: str = "median"
) -> SampleEfficiency:
    """The steps of all seeds of these samples until their number reaches a level.

    Raises:
        InputError: the level is not finite; no seed reported the number, or `over`.
    """
    check_number("level", level, math.isfinite, "a finite number")
    statistic_named(statistic)
    curves = curves_of(samples.outcomes, samples.name, samples.better, over)
    told = [steps[-1] for one in curves for steps, _ in one.points if steps.size]
    if not told:
        raise InputError(f"no seed reported {samples.name} on its way", field="outcomes")
    labels = samples.labels
    return SampleEfficiency(
        *(samples.name, curves[0].over, float(level), samples.better, statistic),
        seeds={label: one.seeds for label, one in zip(labels, samples.outcomes, strict=True)},
        steps={label: one.steps_to(level) for label, one in zip(labels, curves, strict=True)},
        longest=float(max(told)),
    )
