"""Distributions over the seeds of a few configs: epochs to solve, and a trainer's own number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from xortune.comparisons.contestants import certified_outcome, place_of
from xortune.core.errors import InputError
from xortune.core.formats import count
from xortune.core.outcome import Curves, Outcome, Status
from xortune.core.success import Limit
from xortune.racing.objectives import numbers_in
from xortune.reports.analysis import score_in
from xortune.reports.drawing.model import RATES, Axis, Ends, Guide, Mark, Panel, Plot, Role, Series
from xortune.reports.figures.common import (
    CHOSEN,
    HUGE,
    KEY,
    described,
    finished,
    has_enough,
    listed,
    plot_of,
    sampled,
    share_line,
)
from xortune.runs.results import STEPS, ConfigResult, Score
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# The configs whose distribution over seeds is shown.


@dataclass(frozen=True)
class SeedsOf:
    """Seeds of a config that are a line of a figure.

    Attributes:
        what: `best`, `median`, `best on fresh seeds`; empty for a config that the user chose.
        text: the whole config.
    """

    what: str
    key: str
    text: str
    outcome: Outcome
    role: Role

    @property
    def n(self) -> int:
        """The number of all its seeds."""
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
        """Its label in the legend."""
        who = (self.what,) if self.fresh else filter(None, (self.what, self.short))
        return f"{': '.join(who)}, n = {self.n:,}"

    @cached_property
    def solved_at(self) -> NDArray[np.int32]:
        """Shape (k,), ascending: the epoch from which each solved seed stays solved."""
        return np.sort(self.outcome.solved_epoch[self.outcome.solved])

    @property
    def half(self) -> int | None:
        """The first epoch by which half of the seeds are solved; None if there is none."""
        needed = math.ceil(self.n / 2)
        return int(self.solved_at[needed - 1]) if needed <= self.solved_at.size else None

    def steps(
        self, values: NDArray[Any], ends: Ends, *, larger: bool = False, by: str = ""
    ) -> Series:
        """The `share_line` of these values of its seeds."""
        return share_line(
            *(self.label, values, self.n, ends),
            larger=larger,
            role=self.role,
            text=self.text,
            by=by,
            dashed=self.fresh,
        )


def seeds_of(run: Run, chosen: Sequence[ConfigResult] = ()) -> list[SeedsOf]:
    """The best config, its fresh seeds if it is certified, the median config and those chosen.

    The median is that of the configs with enough seeds.
    """
    results = finished(run)
    alike = comparable(run)
    best, median = results[0], results[int(alike[(len(alike) - 1) // 2])]
    by_key: dict[str, tuple[str, ConfigResult, Role]] = {best.key: ("best", best, "best")}
    by_key.setdefault(median.key, ("median", median, "neutral"))
    for result, role in zip(chosen, CHOSEN, strict=False):
        by_key.setdefault(result.key, ("", result, role))
    shown = [
        SeedsOf(what, r.key, described(run, r), r.outcome, role)
        for what, r, role in by_key.values()
    ]
    if certified := certified_outcome(run, run.certificate, best.key):
        fresh = replace(shown[0], what="best on fresh seeds", outcome=certified[1], role="proven")
        shown.insert(1, fresh)
    return shown


def comparable(run: Run) -> NDArray[np.intp]:
    """The places of the configs with enough seeds for a distribution; one of few is no median."""
    return np.flatnonzero(has_enough(run.results.counts.n))


def sizes(shown: Iterable[SeedsOf]) -> str:
    """The distinct numbers of seeds, as text."""
    return " and ".join(f"{n:,}" for n in sorted({seeds.n for seeds in shown}))


# -------------------------------------------------------------------------------------------------
# The share of seeds that are solved for good by each epoch.


def success_by_epoch(run: Run, keys: Sequence[str] | None = None) -> Plot:
    """The share of seeds solved by epoch e, with a band that holds for all epochs at once.

    It shows the best config, the median one in the ranking, up to 6 with these (beginnings of)
    keys, and the best on its fresh seeds if it is certified.
    """
    finished(run)
    shown = seeds_of(run, _chosen(run, keys or ()))
    budget = max(seeds.outcome.epochs for seeds in shown)
    if not budget:
        raise InputError("the trainer of this run counts no epochs", place=str(run.path))
    solved_at = np.concatenate([seeds.solved_at for seeds in shown])
    # If most seeds are solved early, a linear axis would show only its left end.
    log = budget >= 50 and (not solved_at.size or float(np.median(solved_at)) <= budget / 5)
    x = Axis("epoch", "log" if log else "number", (1, max(budget, 2)), whole=True)
    y = Axis("share of seeds solved for good", "rate", RATES)
    lines = (
        seeds.steps(
            seeds.solved_at, (1, max(seeds.outcome.epochs, 1)), by=" solved by epoch {:,.0f}"
        )
        for seeds in reversed(shown)  # the best is drawn on top
    )
    return plot_of(
        "success-by-epoch",
        Panel(x, y, tuple(lines)),
        shown=shown,
        configs=len(comparable(run)),
        several=len(run.results) > 1,
        sizes=sizes(shown),
        band=dkw_band,
    )


def _chosen(run: Run, keys: Sequence[str]) -> list[ConfigResult]:
    keys = [keys] if isinstance(keys, str) else keys
    if len(keys) > len(CHOSEN):
        raise InputError(
            f"{len(keys)} configurations",
            field="keys",
            allowed=f"at most {len(CHOSEN)}, because more lines cannot be distinguished",
        )
    return [run.results[place_of(run, key, at="keys")] for key in keys]


# -------------------------------------------------------------------------------------------------
# A trainer's own number over the seeds: its final distribution, and its learning curves.

MOST_STEPS = 200  # points of a curve that are drawn


def limits_of(run: Run, score: Score) -> tuple[Limit, ...]:
    """The limits of the rule for this number; none if no rule judges it."""
    limits = run.rule.limits(score.name) if run.rule else ()
    return tuple(limit for limit in limits if abs(limit.at) < HUGE)


def _guides(run: Run, score: Score, axis: Literal["x", "y"]) -> list[Guide]:
    return [Guide(axis, *limit) for limit in limits_of(run, score)]


def scores(run: Run) -> Plot | None:
    """The share of seeds whose number is at least as good as x, with the rule's limit.

    At the limit the share is k / n. A failed seed is worse than any number. None if seeds have no
    numbers, or all the same one.
    """
    shown, score = seeds_of(run), score_in(run)
    if score is None:
        return None
    known = []
    for seeds in shown:
        numbers = numbers_in(seeds.outcome, score.name)
        known.append((seeds, np.sort(numbers[np.isfinite(numbers)])))
    drawn = np.concatenate([numbers for _, numbers in known])
    drawn = drawn[np.abs(drawn) < HUGE]
    if not drawn.size or np.ptp(drawn) == 0:
        return None
    better = "at least" if score.maximize else "at most"
    limits = _guides(run, score, "x")
    places = [*drawn.tolist(), *(limit.at for limit in limits)]
    low, high = min(places), max(places)
    ends = low - 0.02 * (high - low), high + 0.02 * (high - low)
    lines = [
        seeds.steps(numbers, ends, larger=score.maximize) for seeds, numbers in reversed(known)
    ]
    return plot_of(
        "scores",
        Panel(
            Axis(score.name, "number", ends),
            Axis(f"share of seeds with {better} this value", "rate", RATES),
            (*lines, *limits),
        ),
        known=known,
        score=score,
        better=better,
        alone=len(limits) == 1 and run.rule is not None and len(run.rule.names) == 1,
        several=len(run.results) > 1,
        sizes=sizes(shown),
        quantile=lambda numbers, q: float(np.quantile(numbers, q)),
    )


MOST_STRIPS, DOTS, SPREAD = 8, 150, 0.25
"""Configs, dots of each, and how far its dots lie above and below the middle of its row."""


def strips(run: Run) -> Plot | None:
    """The judged number of each seed, side by side for the best configs with many seeds.

    None if seeds have no numbers, or all the same one, or if only one config has many seeds.
    """
    score = score_in(run)
    if score is None:
        return None
    chosen = [run.results[at] for at in comparable(run)[:MOST_STRIPS].tolist()]
    known = [(r, numbers_in(r.outcome, score.name)) for r in chosen]
    known = [(r, values[np.abs(values) < HUGE]) for r, values in known]  # NaN is not below
    known = [(r, values) for r, values in known if values.size]
    if len(known) < 2 or np.ptp(np.concatenate([values for _, values in known])) == 0:
        return None
    dots, boxes, rows = [], [], []
    for row, (r, values) in enumerate(known):
        for at in sampled(len(values), DOTS).tolist():
            # Steps of the golden ratio fill the width evenly.
            jitter = SPREAD * (2 * ((at * 0.618034) % 1) - 1)
            dots.append(Mark(float(values[at]), row + jitter, text=described(run, r), key=r.key))
        low, middle, high = map(float, np.quantile(values, [0.25, 0.5, 0.75]))
        text = f"{described(run, r)}: median of {count(len(values), 'seed')}"
        boxes.append(Mark(middle, float(row), x_ends=(low, high), text=text, key=r.key))
        rows.append((r.key[:KEY], low, middle, high))
    solved = [r.outcome.count.text for r, _ in known]
    return plot_of(
        "strips",
        Panel(
            Axis(score.name),
            Axis(
                "configuration", "category", categories=listed(run, [r for r, _ in known], solved)
            ),
            (
                Series("a seed", tuple(dots), role="neutral"),
                Series("median and middle half", tuple(boxes), marker="diamond"),
                *_guides(run, score, "x"),
            ),
        ),
        score=score,
        rows=rows,
        sizes=[len(values) for _, values in known],
        most=DOTS,
    )


def learning_curves(run: Run, keys: Sequence[str] | None = None) -> Plot | None:
    """The number during training: the median, and the middle 80 % of the seeds as a band.

    It shows the best config, the median one in the ranking, and up to 6 with these (beginnings of)
    keys, over each other. None if no seed reported it at two steps or more.
    """
    shown, score = seeds_of(run, _chosen(run, keys or ())), score_in(run)
    if score is None:
        return None
    series: list[Series] = []
    medians, pruned = [], 0
    for seeds in shown:
        parts = [part.points() for part in seeds.outcome.details.curves]
        curves = _curves(parts, score.name)
        if curves is None:
            continue
        label, steps, values = curves
        known = np.isfinite(values).sum(axis=0)
        low, middle, high = np.nanquantile(values, [0.1, 0.5, 0.9], axis=0)
        table = np.stack([steps, middle, low, high], axis=1).tolist()
        marks = tuple(
            Mark(
                *(x, y),
                y_ends=None if seeds.fresh else (a, b),  # over that of the same config it is a blur
                text=f"{seeds.text}: median of {count(n, 'seed')}",
            )
            for (x, y, a, b), n in zip(table, known.tolist(), strict=True)
        )
        series.append(Series(seeds.label, marks, "line", seeds.role, dashed=seeds.fresh))
        if seeds is shown[0]:
            worst = np.nanmin(values, axis=0) if score.maximize else np.nanmax(values, axis=0)
            # An outlier too far away would flatten all other curves.
            room = 3 * (high.max() - low.min())
            if low.min() - room <= worst.min() and worst.max() <= high.max() + room:
                line = tuple(
                    Mark(x, y, text=f"{seeds.text}: the worst seed")
                    for x, y in zip(steps.tolist(), worst.tolist(), strict=True)
                )
                series.append(Series("best: its worst seed", line, "line", seeds.role, dashed=True))
        medians.append((seeds, label, marks[0], marks[-1], int(known[-1])))
        pruned += seeds.outcome.counts[Status.PRUNED]
    if not series:
        return None
    x = Axis(" or ".join(sorted({label for _, label, *_ in medians})))
    return plot_of(
        "learning-curves",
        Panel(x, Axis(score.name), (*reversed(series), *_guides(run, score, "y"))),
        medians=medians,
        score=score,
        sizes=sizes(shown),
        pruned=pruned,
    )


def _curves(parts: Iterable[Curves], name: str) -> tuple[str, Floats, Floats] | None:
    """The curves of all S seeds that reported the number at two steps or more.

    Returns:
        The label of the x axis; T steps; and the number at each, shape (S, T), NaN before a seed's
        first report and after its last. None without a curve, or if parts count steps differently.
    """
    curves: list[tuple[Floats, Floats]] = []
    labels = set()
    for part in parts:
        if name not in part.names:
            continue
        label = next((one for one in STEPS if one in part.names and one != name), "report")
        at = part.report if label == "report" else part.values[:, part.names.index(label)]
        labels.add(label)
        values = part.values[:, part.names.index(name)].astype(np.float64)
        for seed in np.unique(part.seed):
            own = (part.seed == seed) & np.isfinite(at) & (np.abs(values) < HUGE)
            steps, first = np.unique(at[own].astype(np.float64), return_index=True)
            if steps.size > 1:
                curves.append((steps, values[own][first]))
    if not curves or len(labels) > 1:
        return None
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    steps = steps[sampled(len(steps), MOST_STEPS)]
    values = np.array([np.interp(steps, *curve, left=np.nan, right=np.nan) for curve in curves])
    is_known = np.isfinite(values).any(axis=0)
    return labels.pop(), steps[is_known], values[:, is_known]
