"""Figures of parameters, over the configs visited: importance, slices, contour, parallel axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, refuse_unknown
from xortune.core.formats import count, interval, measured, number, percent, plain, span
from xortune.core.success import has_rule
from xortune.racing.objectives import numbers_in, statistic_value
from xortune.reports.analysis import report_of
from xortune.reports.document import cached_per_run
from xortune.reports.drawing.model import (
    Axis,
    Cells,
    Guide,
    Layer,
    Lines,
    Mark,
    Panel,
    Plot,
    Series,
    shortened,
)
from xortune.reports.figures.common import (
    HUGE,
    LOG_FROM_RATIO,
    described,
    has_enough,
    plot_of,
    sampled,
    with_interval,
)
from xortune.reports.parameters import (
    MAX_LEVELS,
    MIN_CONFIGS,
    Level,
    ParameterColumn,
    ParameterEffect,
    columns_of,
    level_of,
    parameter_effects,
    quantile_bins,
    weights_of,
)
from xortune.reports.scripts import space_of
from xortune.runs.run import Run
from xortune.spaces.model import Range

Floats = NDArray[np.float64]
Places = NDArray[np.intp]

MOST_LEVELS = 12  # levels of a parameter that are shown, the most frequent ones

LONGEST_NAME, LONGEST_LEVEL = 32, 20

# -------------------------------------------------------------------------------------------------
# The parameters that differ between a run's configs.


@dataclass(frozen=True, eq=False)
class Parameter:
    """One parameter over C configs, in the order of `Run.results`.

    Attributes:
        numbers: float64, shape (C,): NaN if a config has no number that an axis can show.
        is_number: whether it is shown on an axis of numbers, or else as levels.
    """

    name: str
    label: str
    column: ParameterColumn
    numbers: Floats
    is_number: bool
    is_log: bool
    importance: float | None
    by_chance: bool

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest number."""
        return float(np.nanmin(self.numbers)), float(np.nanmax(self.numbers))

    def scaled(self) -> Floats:
        """Shape (C,): positions of the numbers on their axis, from 0 to 1; NaN for none."""
        places = np.log(self.numbers) if self.is_log else self.numbers
        low, high = np.nanmin(places), np.nanmax(places)
        scaled: Floats = (places - low) / ((high - low) or 1.0)
        return scaled

    def levels(self, rates: Floats) -> tuple[tuple[str, ...], Places]:
        """Labels of the `MOST_LEVELS` most frequent levels, and the index of each config's level.

        Numbers come first, in ascending order; the other values follow by descending mean rate.
        The indices have shape (C,); -1 is a level that is not shown.
        """
        codes, reals = self.column.codes, self.column.reals
        counts = np.bincount(codes)
        means = np.bincount(codes, weights=rates) / counts
        frequent = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
        order = frequent[np.lexsort((frequent, -means[frequent], reals[frequent]))]  # NaN last
        level_of_code = np.full(len(counts), -1)
        level_of_code[order] = np.arange(len(order))
        labels = self.column.labels(order.tolist())
        return tuple(shortened(label, LONGEST_LEVEL) for label in labels), level_of_code[codes]


@cached_per_run
def parameters_of(run: Run) -> tuple[Parameter, ...]:
    """The parameters that vary, in the order of `analysis.parameter_effects`."""
    space = space_of(run)
    asked = {parameter.name: parameter for parameter in space.parameters} if space else {}
    parameters = []
    for effect in report_of(run).importance.effects:
        column = columns_of(run)[effect.name]
        numbers = np.where(np.abs(column.numbers) < HUGE, column.numbers, np.nan)
        finite = numbers[np.isfinite(numbers)]
        is_log = bool(finite.size) and finite.min() > 1 / HUGE
        if is_log:
            wide = finite.max() >= LOG_FROM_RATIO * finite.min()
            form = asked.get(effect.name)
            is_log = form.log if isinstance(form, Range) else bool(wide)
        parameters.append(
            Parameter(
                name=effect.name,
                label=shortened(effect.name, LONGEST_NAME),
                column=column,
                numbers=numbers,
                is_number=_is_dense(np.unique(finite).size, finite.size),
                is_log=is_log,
                importance=effect.importance,
                by_chance=effect.by_chance,
            )
        )
    return tuple(parameters)


def _is_dense(distinct: int, configs: int) -> bool:
    """Whether there are too many numbers for levels; on a grid each has enough configs."""
    if configs < 2 * distinct:
        return distinct > 1
    return distinct > (MOST_LEVELS if configs >= distinct * MIN_CONFIGS else MAX_LEVELS)


# -------------------------------------------------------------------------------------------------
# The importance of each parameter, which the search computed.

MOST_SHARES = 15


def param_importances(run: Run) -> Plot | None:
    """Each parameter's share of the importance, with its 95 % bootstrap interval over configs.

    The measure is Optuna's PED-ANOVA: how much the distribution of a parameter among the better
    tenth of the configs, and those as good as its last, differs from that among all of them
    (Watanabe, Bansal, Hutter (2023), IJCAI 2023, eq. 16). `deciding.importance` computes it at the
    end of a search. None if the manifest has none.
    """
    about = run.manifest.get("importance_resampled") or {}
    intervals = about.get("intervals", {})
    marks: list[Mark] = []
    names: list[str] = []
    for parameter in parameters_of(run)[:MOST_SHARES]:
        if (share := parameter.importance) is not None:
            ends = tuple(intervals[parameter.name]) if parameter.name in intervals else None
            amount = percent(share) if ends is None else with_interval(share, ends)
            text = f"{parameter.label} {amount}"
            text += " (chance gives as much)" if parameter.by_chance else ""
            marks.append(Mark(share, float(len(names)), ends, text=text))
            names.append(parameter.label)
    if not marks:
        return None
    first, *others = [mark.x_ends for mark in marks]
    above = sum(ends is not None and ends[1] < first[0] for ends in others) if first else 0
    most = max(mark.x_ends[1] if mark.x_ends else mark.x for mark in marks)
    return plot_of(
        "importance",
        Panel(
            Axis("share of the importance", "rate", (0.0, min(1.0, math.ceil(10 * most) / 10))),
            Axis("parameter", "category", categories=tuple(names)),
            (Series("share, with its 95 % interval" if intervals else "share", tuple(marks)),),
        ),
        shares=[mark.text for mark in marks],
        above=above if first and first[0] else None,
        about=about if intervals else None,
        # The better tenth, and all that are as good as its last: of few configs they are many.
        best=f"best {about['better']:,}" if intervals else "better configurations",
    )


# -------------------------------------------------------------------------------------------------
# The success rate over each parameter: levels with intervals, numbers with a mean and a band.

MOST_PANELS, MOST_DOTS = 6, 500

ROOM = (-0.06, 1.06)
"""Limits of an axis of rates that keep dots at 0 % and 100 % off the axis and its lines."""

GRID, BANDWIDTH, STEPS = 61, 0.07, 1000
"""Points of the mean along an axis; the kernel's standard deviation as a share of the axis; the
steps to which positions on the axis are rounded."""

Drawn = tuple[Axis, Floats, list[Layer], str]
"""An axis, the position of each config on it (NaN: none), the layers, and a sentence about them."""


def slices(run: Run) -> Plot | None:
    """The success rate of configs against each parameter that varies, the most important first.

    Configs have the weights of `weights_of`. None if no parameter varies.
    """
    parameters, rates = parameters_of(run), run.results.counts.rate
    shown = parameters[:MOST_PANELS]
    if not shown:
        return None
    dots = sampled(len(rates), MOST_DOTS)
    weights, many = weights_of(run), has_enough(run.results.counts.n)
    panels, findings = [], []
    for parameter in shown:
        draw = _along if parameter.is_number else _by_level
        drawn = draw(parameter, rates, weights)
        axis, places, layers, finding = drawn
        findings.append(finding)
        marks: dict[bool, list[Mark]] = {False: [], True: []}
        for at in dots[np.isfinite(places[dots])]:
            result = run.results[at]
            text = result.outcome.count.text
            mark = Mark(float(places[at]), float(rates[at]), text=text, key=result.key)
            marks[bool(many[at])].append(mark)
        few = Series(
            "a configuration with few seeds", tuple(marks[False]), marker="ring", role="neutral"
        )
        full = Series("a configuration", tuple(marks[True]), role="neutral")
        raw = [series for series in (few, full) if series.marks]
        share = parameter.importance
        title = parameter.label
        if share is not None:
            chance = ", by chance" if parameter.by_chance else ""
            title = f"{parameter.label} (importance {percent(share)}{chance})"
        panels.append(Panel(axis, Axis("success rate", "rate", ROOM), (*raw, *layers), title))
    return plot_of(
        "slices",
        *panels,
        columns=_columns(shown),
        configs=len(rates),
        findings=findings,
        shown=shown,
        lines=any(
            isinstance(layer, Series) and layer.kind == "line"
            for panel in panels
            for layer in panel.layers
        ),
        few=int((~many).sum()),
        alike=bool(np.ptp(weights) == 0),
        dots=len(dots),
        more=len(parameters) - MOST_PANELS,
        bandwidth=BANDWIDTH,
    )


def smooth(places: Floats, rates: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """The mean success rate along an axis with its pointwise 95 % band, shape (GRID,) each.

    It is NaN where fewer than 5 configs are near, and on stretches shorter than the kernel's width.

    Args:
        places: positions from 0 to 1, shape (C,); they are rounded to thousandths.
        rates: shape (C,).
        weights: of the configs, shape (C,).

    Source: Nadaraya (1964), Theory of Probability and its Applications 9(1), with a Gaussian
    kernel of fixed width. The number of configs near is (sum w)^2 / sum w^2, Kish (1965), Survey
    Sampling, section 8.2. The band is the mean ± 1.96 sqrt(sum w^2 (rate - mean)^2) / sum w, which
    holds for unequal variances: White (1980), Econometrica 48(4).
    """
    x, steps = np.linspace(0, 1, GRID), np.rint(places * STEPS).astype(np.intp)
    kernel = np.exp(-0.5 * ((np.arange(STEPS + 1)[:, None] / STEPS - x) / BANDWIDTH) ** 2)
    # Sum the configs at each thousandth first: a kernel for each config would take long.
    total, sums = (
        np.bincount(steps, weights=weights * rates**power, minlength=STEPS + 1) @ kernel
        for power in (0, 1)
    )
    mean = sums / total
    ones, linear, squares = (
        np.bincount(steps, weights=weights**2 * rates**power, minlength=STEPS + 1) @ kernel**2
        for power in (0, 1, 2)
    )
    residuals = squares - 2 * mean * linear + mean**2 * ones
    half = 1.96 * np.sqrt(np.maximum(residuals, 0)) / total
    far = total**2 < MIN_CONFIGS * ones
    known = np.zeros(GRID, np.bool_)
    for part in np.ma.clump_unmasked(np.ma.array(far, mask=far)):  # type: ignore[no-untyped-call]
        known[part] = part.stop - part.start >= 2 * BANDWIDTH * GRID
    # Rounded, because the last digits of a matrix product depend on the machine.
    mean, low, high = (
        np.where(known, np.clip(line, 0, 1).round(6), np.nan)
        for line in (mean, mean - half, mean + half)
    )
    return mean, low, high


def _along(parameter: Parameter, rates: Floats, weights: Floats) -> Drawn:
    rows = np.flatnonzero(np.isfinite(parameter.numbers))
    mean, low, high = smooth(parameter.scaled()[rows], rates[rows], weights[rows])
    space = np.geomspace if parameter.is_log else np.linspace
    x = space(*parameter.ends, GRID)
    layers: list[Layer] = []
    for part in np.ma.clump_unmasked(np.ma.masked_invalid(mean)):  # type: ignore[no-untyped-call]
        table = np.stack([x, mean, low, high], axis=1)[part].tolist()
        marks = tuple(Mark(at, m, y_ends=(a, b)) for at, m, a, b in table)
        layers.append(Series("mean, with its pointwise 95 % band", marks, "line"))
    some = "" if rows.size == len(rates) else f", {rows.size:,} of {len(rates):,} have one"
    finite = parameter.numbers[rows]
    whole = bool((finite == np.floor(finite)).all())
    axis = Axis(f"{parameter.label}{some}", "log" if parameter.is_log else "number", whole=whole)
    finding = f"{parameter.label}: too few configurations for a smooth."
    if layers:

        def near(at: int) -> str:
            rate = with_interval(float(mean[at]), (float(low[at]), float(high[at])))
            return f"{number(round(x[at]) if whole else x[at])} ({rate})"

        finding = (
            f"{parameter.label}: the mean is highest near {near(int(np.nanargmax(mean)))} and "
            f"lowest near {near(int(np.nanargmin(mean)))}."
        )
    return axis, parameter.numbers, layers, finding


def _by_level(parameter: Parameter, rates: Floats, weights: Floats) -> Drawn:
    labels, which = parameter.levels(rates)
    levels = [
        level_of(label, rates[which == at], weights[which == at]) for at, label in enumerate(labels)
    ]
    # Jitter: steps of the golden ratio fill a width evenly.
    jitter = 0.5 * ((np.arange(len(rates)) * 0.618034) % 1 - 0.5)
    places = np.where(which < 0, np.nan, which + jitter)
    means = _means(levels, map(_level_text, levels))
    left_out = len(parameter.column.values) - len(levels)
    # "Other", not "rarer": a value that is omitted may be as frequent as one that is shown.
    some = f"(configurations), {count(left_out, 'other value')} not shown"
    axis = Axis(
        f"{parameter.label} {some if left_out else '(in brackets: configurations)'}",
        "category",
        categories=tuple(f"{level.label} ({level.configs:,})" for level in levels),
    )
    top, bottom = max(levels, key=lambda lv: lv.rate), min(levels, key=lambda lv: lv.rate)
    finding = f"{parameter.label}: highest {_level_text(top)}; lowest {_level_text(bottom)}."
    return axis, places, [means], finding


def _means(levels: Sequence[Level], texts: Iterable[str]) -> Series:
    """The mean of each level, with its interval."""
    marks = (
        Mark(float(at), level.rate, y_ends=level.interval, text=text)
        for at, (level, text) in enumerate(zip(levels, texts, strict=True))
    )
    return Series("mean, with its 95 % interval", tuple(marks), marker="diamond")


def _columns(panels: Sequence[Any]) -> int:
    """How many of these panels are side by side."""
    return min(2 if len(panels) in (2, 4) else 3, len(panels))


def _level_text(level: Level) -> str:
    configs = count(level.configs, "configuration")
    if level.interval is None:
        return f"{level.label}, mean {percent(level.rate)} of {configs}"
    mean = measured(level.rate, *level.interval)
    return f"{level.label}, mean {mean} of {configs}, 95 % interval {interval(*level.interval)}"


# -------------------------------------------------------------------------------------------------
# The number that is looked for over each parameter, where success rates say nothing.
MOST_CONFIGS = 2_000  # the best; the number of each is computed from all its seeds


@cached_per_run
def number_effects(run: Run) -> tuple[str, tuple[ParameterEffect, ...]]:
    """The name of the number, and the effect of each parameter on its mean over configs.

    The number is the objective of a run without a rule, or the median of the judged number where no
    seed is solved. Without either the name is empty.
    """
    report, results = report_of(run), run.results[:MOST_CONFIGS]
    objective, score = report.looked_for, report.score
    if objective is not None and not has_rule(run.manifest.get("success")):
        name = objective.name
        amounts = [
            statistic_value(objective, numbers_in(one.outcome, objective.number or ""))
            for one in results
        ]
    elif score is not None and not report.totals.solved:
        name = f"{score.name}_median"
        amounts = [score.of(one.outcome)[0] for one in results]
    else:
        return "", ()
    values = np.array(amounts, np.float64)
    known = np.flatnonzero(np.abs(values) < HUGE)  # NaN is not
    if known.size < 2 or not np.ptp(values[known]):
        return "", ()
    columns = {
        parameter: ParameterColumn(column.values, column.codes[: len(results)][known])
        for parameter, column in columns_of(run).items()
    }
    varying = {one: c for one, c in columns.items() if np.unique(c.codes).size > 1}
    return name, parameter_effects(varying, values[known], {})


def number_slices(run: Run) -> Plot | None:
    """The mean of the number over configs at each level of each parameter; None without one."""
    name, effects = number_effects(run)
    shown = effects[:MOST_PANELS]
    if not shown:
        return None
    levels = [level for effect in shown for level in effect.levels]
    ends = [end for level in levels for end in (level.interval or (level.rate,))]
    room = 0.05 * (max(ends) - min(ends))
    axis = Axis(plain(name), limits=(min(ends) - room, max(ends) + room))  # the same in all panels
    panels = []
    for effect in shown:
        texts = [
            f"mean {number(level.rate)} of {count(level.configs, 'configuration')}"
            + (f", 95 % interval {span(*level.interval)}" if level.interval else "")
            for level in effect.levels
        ]
        labels = tuple(shortened(level.label, LONGEST_NAME) for level in effect.levels)
        title = shortened(effect.name, LONGEST_NAME)
        x = Axis(title, "category", categories=labels)
        panels.append(Panel(x, axis, (_means(effect.levels, texts),), title))
    return plot_of(
        "number-slices",
        *panels,
        columns=_columns(shown),
        name=plain(name),
        configs=sum(level.configs for level in shown[0].levels) + shown[0].left_out,
        first=shown[0],
        more=len(effects) - len(shown),
    )


# -------------------------------------------------------------------------------------------------
# Success over two parameters at once: a heat map of mean rates.

FEWEST_BINS, MOST_BINS, IN_A_CELL = 3, 8, 10
"""Limits of the number of bins of a parameter; the mean number of configs in a cell to aim at."""


def contour(run: Run, parameters: Sequence[str] | None = None) -> Plot | None:
    """The mean success rate of the configs at each pair of values of two parameters.

    Each cell shows the mean, weighted by `weights_of`, and the number of its configs. The
    default is the first two parameters by importance, or by the spread of their levels if the run
    has no importance. None if fewer than two parameters vary.
    """
    most = parameters_of(run)[:2]
    pair = most if parameters is None else _chosen(run, parameters)
    if len(pair) < 2:
        return None
    rates = run.results.counts.rate
    (columns, across), (rows, up) = (_binned(parameter, rates) for parameter in pair)
    if np.isfinite(pair[1].numbers).any():  # the highest number at the top
        rows, up = rows[::-1], np.where(up < 0, -1, len(rows) - 1 - up)
    both = (across >= 0) & (up >= 0)
    shape = len(rows), len(columns)
    cell = (up * shape[1] + across)[both]
    configs = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    weights = weights_of(run)[both]
    sums, total_weights = (
        np.bincount(cell, weights=weights * of, minlength=configs.size).reshape(shape)
        for of in (rates[both], 1.0)
    )
    means = np.divide(sums, total_weights, out=np.full(shape, np.nan), where=configs > 0)
    names = tuple(parameter.label for parameter in pair)

    def mean_text(row: int, column: int) -> str:
        mean, n = float(means[row, column]), int(configs[row, column])
        return f"mean {percent(mean)} of {count(n, 'configuration')}" if n else "no configuration"

    def extreme(place: np.intp) -> dict[str, Any]:
        row, column = divmod(int(place), shape[1])
        mean = mean_text(row, column)
        where = f"{names[0]} {columns[column]} and {names[1]} {rows[row]} ({mean})"
        return {"mean": float(means[row, column]), "where": where}

    cells = Cells(
        x=tuple(map(float, range(shape[1]))),
        y=tuple(map(float, range(shape[0]))),
        # `math.nan` is the same object everywhere, so equal figures compare equal.
        values=tuple(
            tuple(math.nan if math.isnan(m) else m for m in row) for row in means.tolist()
        ),
        value_label="mean success rate",
        texts=tuple(
            tuple(f"{100 * mean:.0f} % ({n:,})" if n else "" for mean, n in zip(*row, strict=True))
            for row in zip(means.tolist(), configs.tolist(), strict=True)
        ),
        notes=tuple(
            tuple(
                f"{names[1]} {row}, {names[0]} {column}: {mean_text(i, j)}"
                for j, column in enumerate(columns)
            )
            for i, row in enumerate(rows)
        ),
    )
    least = MIN_CONFIGS if (configs >= MIN_CONFIGS).any() else 1
    enough = np.where(configs >= least, means, np.nan)
    x, y = (
        Axis(name, "category", categories=labels)
        for name, labels in zip(names, (columns, rows), strict=True)
    )
    return plot_of(
        "contour",
        Panel(x, y, (cells,)),
        names=names,
        pair=pair,
        asked=pair != most,
        least=least,
        fewest=MIN_CONFIGS,
        high=extreme(np.nanargmax(enough)),
        low=extreme(np.nanargmin(enough)),
        cells=configs.size,
        without=int((configs == 0).sum()),
        total=int(both.sum()),
        configs=len(rates),
    )


def _chosen(run: Run, names: Sequence[str]) -> tuple[Parameter, ...]:
    if isinstance(names, str) or len(set(names)) != 2 or len(names) != 2:
        allowed = "the names of two parameters"
        raise InputError(f"{names!r}", field="parameters", allowed=allowed)
    known = {parameter.name: parameter for parameter in parameters_of(run)}
    for name in names:
        same = name in run.parameters
        problem = "is the same in all configurations" if same else f"no parameter {name!r}"
        refuse_unknown(name, known, problem, field=str(name) if same else "parameters")
    return tuple(known[name] for name in names)


def _binned(parameter: Parameter, rates: Floats) -> tuple[tuple[str, ...], Places]:
    """Labels of levels or bins, and the index of each config's, shape (C,); -1 for none."""
    if not parameter.is_number:
        return parameter.levels(rates)
    numeric = np.isfinite(parameter.numbers)
    most = min(MOST_BINS, max(FEWEST_BINS, int((len(rates) / IN_A_CELL) ** 0.5)))
    labels, bins = quantile_bins(parameter.numbers[numeric], most)
    which = np.full(len(rates), len(labels))  # inactive, or not a number
    which[numeric] = bins
    return labels if numeric.all() else (*labels, "(no number)"), which


# -------------------------------------------------------------------------------------------------
# Parallel coordinates: a line for each config, over one axis for each parameter.

MOST_AXES, MOST_LINES = 10, 20
"""Axes; and lines that stand out: of more, none can be followed."""

NOWHERE = -0.12  # position on an axis of a config that has no value there


def parallel_coordinate(run: Run, top: int = 200) -> Plot | None:
    """The parameters of many configs at once, each a line coloured by its success rate.

    It shows the best `top` configs, and a sample of at most as many others, evenly spaced in the
    ranking. None if no parameter varies.
    """
    parameters, rates = parameters_of(run), run.results.counts.rate
    axes = parameters[:MOST_AXES]
    if not axes:
        return None
    total, best = len(rates), min(top, len(rates))
    others = top + sampled(total - top, top) if total > top else np.arange(0)
    shown = np.concatenate([np.arange(best), others])[::-1]  # the best is drawn on top
    sides = [_side(parameter, rates) for parameter in axes]
    sides.append(("success rate", [(0.0, "0 %"), (1.0, "all")], rates))
    heights = np.stack([heights for *_, heights in sides], axis=1)[shown]
    absent = bool(np.isnan(heights).any())
    results = [run.results[place] for place in shown]
    rows = list(map(tuple, np.nan_to_num(heights, nan=NOWHERE).round(6).tolist()))
    words = [f"{described(run, r)}: {r.outcome.count.words}" for r in results]
    standing_out = min(MOST_LINES, best)  # the last rows are those of the best

    def lines(part: slice, *, faint: bool) -> Lines:
        return Lines(
            ys=tuple(rows[part]),
            values=tuple(rates[shown][part].tolist()),
            value_label="success rate",
            texts=tuple(words[part]),
            keys=tuple(result.key for result in results[part]),
            faint=faint,
        )

    layers = [lines(slice(len(rows) - standing_out, None), faint=False)]
    if standing_out < len(rows):
        layers.insert(0, lines(slice(0, len(rows) - standing_out), faint=True))
    # The values at positions on each axis.
    marks = (
        Mark(float(at), height, text=text)
        for at, (_, ends, _) in enumerate(sides)
        for height, text in ends
    )
    written = Series("", tuple(marks), role="neutral", marker="ring", written=True)
    rules = [Guide("x", float(place)) for place in range(len(sides))]
    rules += [Guide("y", NOWHERE, "no value here")] if absent else []
    tenth = min(total, max(3, total // 10))
    return plot_of(
        "parallel-coordinate",
        Panel(
            Axis("parameter", "category", categories=tuple(name for name, *_ in sides)),
            Axis("lowest to highest value", limits=(NOWHERE - 0.05 if absent else -0.05, 1.05)),
            (*rules, *layers, written),
        ),
        total=total,
        best=best,
        standing_out=standing_out,
        shown=len(shown),
        more=len(parameters) - MOST_AXES,
        tenth=tenth,
        worst=float(rates[:tenth].min()),
        values=[text for one in axes[:4] if (text := _values_of(one, rates, tenth))],
    )


def _side(parameter: Parameter, rates: Floats) -> tuple[str, list[tuple[float, str]], Floats]:
    """The name of an axis, the values at positions from 0 to 1, and the position of each config."""
    if parameter.is_number:
        name = f"{parameter.label} (log)" if parameter.is_log else parameter.label
        ends = list(zip((0.0, 1.0), map(number, parameter.ends), strict=True))
        return name, ends, parameter.scaled()
    labels, which = parameter.levels(rates)
    heights = np.linspace(0, 1, len(labels)) if len(labels) > 1 else np.array([0.5])
    if not np.isfinite(parameter.numbers).any():  # the highest mean rate is at the top
        heights = heights[::-1]
    placed = np.where(which < 0, np.nan, heights[which])
    return parameter.label, list(zip(heights.tolist(), labels, strict=True)), placed


def _values_of(parameter: Parameter, rates: Floats, best: int) -> str:
    """The range of the numbers of the best configs, or the value that most of them have."""
    if parameter.is_number:
        numbers = parameter.numbers[:best]
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            return ""
        low, high = number(float(numbers.min())), number(float(numbers.max()))
        return f"{parameter.label} {low} to {high}"
    labels, which = parameter.levels(rates)
    counts = np.bincount(which[:best] + 1, minlength=len(labels) + 1)[1:]
    most = int(np.argmax(counts))
    return f"{parameter.label} {labels[most]} in {counts[most]:,} of {best:,}"
