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
from xortune.comparisons.measures import Better
from xortune.comparisons.samples import (
    Numbered,
    SampleEfficiency,
    Samples,
    curves_of,
    samples_of,
    told_on_the_way,
)
from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import count
from xortune.core.numbers import finite, statistic_named
from xortune.core.outcome import Outcome, Status
from xortune.core.success import Limit, larger_is_better
from xortune.racing.objectives import numbers_in, only_statistic
from xortune.reports.analysis import score_in
from xortune.reports.drawing.model import RATES, Axis, Ends, Guide, Mark, Panel, Plot, Role, Series
from xortune.reports.figures.common import (
    CHOSEN,
    HUGE,
    KEY,
    described,
    drawable,
    finished,
    has_enough,
    listed,
    plot_of,
    sampled,
    share_line,
)
from xortune.runs.results import ConfigResult, Score, number_names, reported
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

Floats = NDArray[np.float64]

# -------------------------------------------------------------------------------------------------
# The configs whose distribution over seeds is shown.


@dataclass(frozen=True)
class SeedsOf:
    """Seeds of a config that are a line of a figure.

    Attributes:
        what: `best`, `median`, `best on fresh seeds`; empty for a config that the user chose;
            the label of an outcome, which has no key.
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
    def name(self) -> str:
        """What distinguishes it from the others."""
        return ": ".join((self.what,) if self.fresh else filter(None, (self.what, self.short)))

    @property
    def label(self) -> str:
        """Its label in the legend."""
        return ", ".join(filter(None, (self.name, f"n = {self.n:,}")))

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
    drawn = drawable(drawn)
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
    known = [(r, drawable(values)) for r, values in known]
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


def told_by(
    what: Numbered | Run, number: str | None = None, keys: Sequence[str] = ()
) -> tuple[list[SeedsOf], Samples, str] | None:
    """The configs whose seeds told a number on their way, that number, and a statistic for it.

    Of a run the best config, its fresh seeds, the median one in the ranking, and up to 6 with these
    (beginnings of) keys. By default the number that is judged or compared, and the statistic that
    is searched for or compared, else the IQM. None if a run has no number.
    """
    if not isinstance(what, Run):
        samples = samples_of(what, number)
        told = told_on_the_way(samples.outcomes)
        if number is None and samples.name not in told:
            known = number_names(samples.outcomes)
            samples = samples_of(what, next((one for one in told if one in known), None))
        pairs = zip(samples.labels, samples.outcomes, CHOSEN, strict=False)
        shown = [SeedsOf(label, "", label or samples.name, one, role) for label, one, role in pairs]
        compared = samples.comparison
        return shown, samples, compared.measure.statistic if compared else "iqm"
    shown, score = seeds_of(what, _chosen(what, keys)), score_in(what)
    if score is None:
        return None
    outcomes = tuple(one.outcome for one in shown)
    if number is not None:
        refuse_unknown(
            *(number, number_names(outcomes), f"there is no number {number!r}"), field="number"
        )
        better = larger_is_better(number, [what.rule], reported(outcomes, number))
        score = Score(number, better)
    objective = only_statistic(what.objectives)
    is_sought = objective is not None and objective.number == score.name
    better: Better = "larger" if score.maximize else "smaller"
    labels = tuple(one.name for one in shown)
    samples = Samples(score.name, better, labels, outcomes)
    return shown, samples, objective.statistic if is_sought and objective else "iqm"


def learning_curves(
    what: Numbered | Run,
    number: str | None = None,
    *,
    statistic: str | None = None,
    over: str | None = None,
    keys: Sequence[str] | None = None,
) -> Plot | None:
    """A number during training: a statistic of the seeds, with its pointwise 95 % band.

    It shows what `told_by` names. None if no seed reported the number at two steps or more.
    """
    if (told := told_by(what, number, keys or ())) is None:
        return None
    shown, samples, own = told
    statistic = statistic or own
    heading = statistic_named(statistic).heading
    curves = curves_of([one.outcome for one in shown], samples.name, samples.better, over)
    lines = []
    for seeds, one in zip(shown, curves, strict=True):
        found = zip(one.steps.tolist(), one.estimates(statistic), strict=True)
        if known := [(step, e) for step, e in found if abs(e.value) < HUGE]:
            lines.append((seeds, one, known))
    if all(one.steps.size < 2 for _, one, _ in lines):
        return None
    guides = limits_of(what, samples.name) if isinstance(what, Run) else ()
    best, first, _ = lines[0]
    worst = (np.min if samples.better == "larger" else np.max)(first.values, axis=0)
    ends = drawable(np.array([e for *_, known in lines for _, found in known for e in found]))
    # An outlier too far away would flatten all other curves.
    has_worst = isinstance(what, Run) and best is shown[0] and bool(np.isfinite(worst).all())
    has_worst = has_worst and bool(np.ptp([*worst, *ends]) <= 4 * np.ptp(ends))
    ends = np.array([*ends, *(worst if has_worst else ()), *(limit.at for limit in guides)])
    room = 0.04 * float(np.ptp(ends) or abs(ends[0]) or 1.0)
    low, high = float(ends.min()) - room, float(ends.max()) + room
    series = []
    for seeds, one, known in lines:
        text = f"{seeds.text}: {heading} of {count(len(one.values), 'seed')}"
        marks = []
        for step, (value, *reach) in known:
            is_bare = seeds.fresh or np.isinf(reach).all()  # that of the same config is a blur
            band = None if is_bare else (max(reach[0], low), min(reach[1], high))
            marks.append(Mark(step, value, y_ends=band, text=text))
        series.append(Series(seeds.label, tuple(marks), "line", seeds.role, dashed=seeds.fresh))
    if has_worst:
        places = zip(first.steps.tolist(), worst.tolist(), strict=True)
        marks = [Mark(*place, text=f"{best.text}: the worst seed") for place in places]
        series.append(Series("best: its worst seed", tuple(marks), "line", "best", dashed=True))
    label = f"{heading} of {samples.name}; band: its 95 % confidence at each step"
    return plot_of(
        "learning-curves",
        Panel(
            Axis(first.over),
            Axis(label, limits=(low, high)),
            (*reversed(series), *(Guide("y", *limit) for limit in guides)),
        ),
        lines=lines,
        samples=samples,
        heading=heading,
        sizes=sizes(seeds for seeds, *_ in lines),
        has_worst=has_worst,
        has_fresh=any(seeds.fresh for seeds, *_ in lines),
        pruned=sum(seeds.outcome.counts[Status.PRUNED] for seeds, *_ in lines),
        undrawn=len(samples.labels) - len(lines),
    )


def steps_to_level(shown: Sequence[SeedsOf], found: SampleEfficiency) -> Plot:
    """The share of seeds whose number has reached a level by each step."""
    lines = []
    for seeds in shown:
        steps = np.sort(finite(found.steps[seeds.name]))
        by = f" reached {found.goal} by {found.over} {{:,.0f}}"
        lines.append(seeds.steps(steps, (0.0, found.longest), by=by))
    share = Axis(f"share of seeds that reached {found.goal}", "rate", RATES)
    return plot_of(
        "sample-efficiency",
        Panel(Axis(found.over), share, tuple(reversed(lines))),
        found=found,
        sizes=sizes(shown),
        undrawn=len(found.steps) - len(shown),
    )
