"""Distributions over the seeds of a few configs: when they were solved, and their own numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.contestants import certified_outcome, place_of
from xortune.core.errors import InputError
from xortune.core.formats import count
from xortune.core.outcome import Curves, Outcome
from xortune.core.success import Success, parse_success
from xortune.racing.objectives import numbers_in
from xortune.reports.figures.labels import (
    CHOSEN,
    HUGE,
    KEY,
    described,
    finished,
    plot_of,
    sampled,
    share_line,
)
from xortune.reports.plot import RATES, Axis, Ends, Mark, Panel, Plot, Role, Rule, Series
from xortune.reports.tables import varying
from xortune.runs.results import ConfigResult, Score, number_names, score_of
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# The configs of which a figure shows a distribution over seeds.


@dataclass(frozen=True)
class SeedsOf:
    """Seeds of a config that are a line of a figure.

    Attributes:
        what: `best`, `median`, `best on fresh seeds`; empty for one that the user chose.
        text: the whole config.
    """

    what: str
    key: str
    text: str
    outcome: Outcome
    role: Role

    @property
    def n(self) -> int:
        """All of the seeds."""
        return self.outcome.n

    @property
    def fresh(self) -> bool:
        """Whether the search never saw them."""
        return self.what == "best on fresh seeds"

    @property
    def short(self) -> str:
        """The beginning of its key."""
        return self.key[:KEY]

    @property
    def label(self) -> str:
        """In the legend."""
        who = (self.what,) if self.fresh else filter(None, (self.what, self.short))
        return f"{': '.join(who)}, n = {self.n:,}"

    @property
    def last(self) -> int:
        """The last epoch of the trainings."""
        return self.outcome.epochs

    @cached_property
    def solved_at(self) -> NDArray[np.int32]:
        """Shape (k,), ascending: the epochs from which on the solved seeds stay solved."""
        return np.sort(self.outcome.solved_epoch[self.outcome.solved])

    @property
    def half(self) -> int | None:
        """The first epoch by which half of the seeds are solved; None if that never is."""
        needed = math.ceil(self.n / 2)
        return int(self.solved_at[needed - 1]) if needed <= self.solved_at.size else None

    def steps(
        self, values: NDArray[Any], ends: Ends, *, larger: bool = False, by: str = ""
    ) -> Series:
        """Shares of the seeds, as `share_line` draws them."""
        return share_line(
            *(self.label, values, self.n, ends),
            larger=larger,
            role=self.role,
            text=self.text,
            by=by,
            dashed=self.fresh,
        )


def seeds_of(run: Run, chosen: Sequence[ConfigResult] = ()) -> list[SeedsOf]:
    """The best config, its certified seeds, the median and those chosen, each config once."""
    results, names = finished(run), varying(run)
    best, median = results[0], results[(len(results) - 1) // 2]
    picked: dict[str, tuple[str, ConfigResult, Role]] = {best.key: ("best", best, "best")}
    picked.setdefault(median.key, ("median", median, "muted"))
    for result, role in zip(chosen, CHOSEN, strict=False):
        picked.setdefault(result.key, ("", result, role))
    found = [
        SeedsOf(what, r.key, described(r, names), r.outcome, role)
        for what, r, role in picked.values()
    ]
    if certified := certified_outcome(run, run.certificate, best.key):
        found.insert(1, replace(found[0], what="best on fresh seeds", outcome=certified[1]))
    return found


def sizes(shown: Iterable[SeedsOf]) -> str:
    """The numbers of their seeds."""
    return ", ".join(f"{n:,}" for n in sorted({one.n for one in shown}))


# -------------------------------------------------------------------------------------------------
# The share of seeds that are solved for good by each epoch.


def success_by_epoch(run: Run, keys: Sequence[str] | None = None) -> Plot:
    """The share of seeds solved by epoch e, with a band that holds for all epochs at once.

    Shown are the best config, the one in the middle of the ranking, those with the (beginnings of)
    keys, at most 6, and where it is certified, the best on its fresh seeds.
    """
    results = finished(run)
    shown = seeds_of(run, _chosen(run, keys or ()))
    budget = max(one.last for one in shown)
    if not budget:
        raise InputError("the trainer of this run counts no epochs", place=str(run.path))
    solved_at = np.concatenate([one.solved_at for one in shown])
    # Where most seeds are solved early, all that happens is at the left of a linear axis.
    log = budget >= 50 and (not solved_at.size or float(np.median(solved_at)) <= budget / 5)
    x = Axis("epoch", "log" if log else "number", (1, max(budget, 2)), whole=True)
    y = Axis("share of seeds solved for good", "rate", RATES)
    lines = (  # the best on top
        one.steps(one.solved_at, (1, max(one.last, 1)), by=" solved by epoch {:,.0f}")
        for one in reversed(shown)
    )
    return plot_of(
        "success-by-epoch",
        Panel(x, y, tuple(lines)),
        told=shown,
        configs=len(results),
        sizes=sizes(shown),
        band=dkw_band,
    )


def _chosen(run: Run, keys: Sequence[str]) -> list[ConfigResult]:
    if len(keys) > len(CHOSEN):
        raise InputError(
            f"{len(keys)} configurations",
            field="keys",
            allowed=f"at most {len(CHOSEN)}, because more lines cannot be distinguished",
        )
    return [run.results[place_of(run, key, at="keys")] for key in keys]


# -------------------------------------------------------------------------------------------------
# A trainer's own number over the seeds: its distribution with the rule's limit, and on the way.

STEPS = ("step", "epoch", "iteration", "timesteps", "total_timesteps", "episode")
"""Numbers that say how far a seed is; without one it is the number of the report."""

MOST_STEPS = 200  # places of a curve that are drawn


def score_in(run: Run) -> Score | None:
    """The number that the figures are about; None where seeds have none."""
    names = number_names(result.outcome for result in run.results[:10])
    score = score_of(run.objectives, names)
    return score if score is not None and score.name in names else None


def _finite(one: SeedsOf, name: str) -> Floats:
    """A number of the seeds that have it, ascending: of those that failed it is not finite."""
    given = numbers_in(one.outcome, name)
    return np.sort(given[np.isfinite(given)])


def _rule(run: Run, score: Score) -> Success | None:
    """The rule that judges the number, if one does."""
    try:
        found = parse_success(str(run.manifest.get("success", "")))
    except InputError:
        return None
    return found if found.name == score.name and abs(found.limit) < HUGE else None


# -------------------------------------------------------------------------------------------------
# The distribution over seeds.


def scores(run: Run) -> Plot | None:
    """The share of seeds whose number is at least as good as x, with the rule's limit.

    Where the limit is, the share is k / n. A failed seed is as good as nothing. None where seeds
    have no numbers, or all of them the same one.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    told = [(one, _finite(one, score.name)) for one in shown]
    known = np.concatenate([numbers for _, numbers in told])
    known = known[np.abs(known) < HUGE]
    if not known.size or np.ptp(known) == 0:
        return None
    better = "at least" if score.maximize else "at most"
    rule = _rule(run, score)
    low, high = float(known.min()), float(known.max())
    if rule is not None:
        low, high = min(low, rule.limit), max(high, rule.limit)
    ends = low - 0.02 * (high - low), high + 0.02 * (high - low)
    lines = [one.steps(numbers, ends, larger=score.maximize) for one, numbers in reversed(told)]
    limit = [] if rule is None else [Rule("x", rule.limit, str(rule))]
    return plot_of(
        "scores",
        Panel(
            Axis(score.name, "number", ends),
            Axis(f"share of seeds with {better} this value", "rate", RATES),
            (*lines, *limit),
        ),
        known=told,
        score=score,
        better=better,
        rule=rule,
        sizes=sizes(shown),
        quantile=lambda numbers, q: float(np.quantile(numbers, q)),
    )


# -------------------------------------------------------------------------------------------------
# Learning curves.


def learning_curves(run: Run) -> Plot | None:
    """The number on the way of the seeds: the median, and the middle 80 % of the seeds as a band.

    None where no seed has told anything on its way.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    series: list[Series] = []
    told = []
    for one in shown:
        curves = [part.points() for part in one.outcome.details.curves]
        found = _ways(curves, score.name)
        if found is None:
            continue
        label, steps, ways = found
        known = np.isfinite(ways).sum(axis=0)
        low, middle, high = np.nanquantile(ways, [0.1, 0.5, 0.9], axis=0)
        table = np.stack([steps, middle, low, high], axis=1).tolist()
        marks = tuple(
            Mark(x, y, y_ends=(a, b), text=f"{one.text}: median of {count(seeds, 'seed')}")
            for (x, y, a, b), seeds in zip(table, known.tolist(), strict=True)
        )
        series.append(Series(one.label, marks, "line", one.role, dashed=one.fresh))
        if one is shown[0]:
            # The way of the worst seed, unless it is so far off that all else is a line.
            worst = np.nanmin(ways, axis=0) if score.maximize else np.nanmax(ways, axis=0)
            room = 3 * (high.max() - low.min())
            if low.min() - room <= worst.min() and worst.max() <= high.max() + room:
                marks_of_it = tuple(
                    Mark(x, y, text=f"{one.text}: the worst seed")
                    for x, y in zip(steps.tolist(), worst.tolist(), strict=True)
                )
                label_of_it = "best: its worst seed"
                series.append(Series(label_of_it, marks_of_it, "line", one.role, dashed=True))
        told.append((one, label, marks[0], marks[-1], int(known[-1])))
    if not series:
        return None
    rule = _rule(run, score)
    limit = [] if rule is None else [Rule("y", rule.limit, str(rule))]
    x = Axis(" or ".join(sorted({label for _, label, *_ in told})))
    return plot_of(
        "learning-curves",
        Panel(x, Axis(score.name), (*reversed(series), *limit)),
        told=told,
        score=score,
        sizes=sizes(shown),
    )


def _ways(parts: Iterable[Curves], name: str) -> tuple[str, Floats, Floats] | None:
    """The ways of all S seeds that told the number at two steps or more.

    Returns:
        What the x axis is, T steps, and the number at each: shape (S, T), NaN before a seed's first
        and after its last.
    """
    ways: list[tuple[Floats, Floats]] = []
    labels = set()
    for part in parts:
        if name not in part.names:
            continue
        label = next((one for one in STEPS if one in part.names and one != name), "report")
        at = part.report if label == "report" else part.values[:, part.names.index(label)]
        labels.add(label)
        values = part.values[:, part.names.index(name)].astype(np.float64)
        for seed in np.unique(part.seed):
            mine = (part.seed == seed) & np.isfinite(at) & (np.abs(values) < HUGE)
            steps, first = np.unique(at[mine].astype(np.float64), return_index=True)
            if steps.size > 1:
                ways.append((steps, values[mine][first]))
    if not ways or len(labels) > 1:
        return None
    every = np.unique(np.concatenate([steps for steps, _ in ways]))
    every = every[sampled(len(every), MOST_STEPS)]
    reached = np.array([np.interp(every, *way, left=np.nan, right=np.nan) for way in ways])
    some = np.isfinite(reached).any(axis=0)
    return labels.pop(), every[some], reached[:, some]
