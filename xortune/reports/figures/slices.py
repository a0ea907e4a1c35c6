"""Success per parameter, among the configs visited: levels with intervals, numbers with a band."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import count, interval, measured, number, percent
from xortune.reports.figures.labels import (
    Parameter,
    even_sample,
    levels_shown,
    parameters_of,
    rates_of,
)
from xortune.reports.plot import Axis, Layer, Line, Panel, Plot, Points
from xortune.reports.tables import MIN_CONFIGS, Level, level_of
from xortune.runs.run import Run

MOST_PANELS, MOST_DOTS = 8, 500

GRID = 61
"""Places at which a smooth is computed."""

BANDWIDTH = 0.07
"""Standard deviation of the kernel, of the length of the axis."""

STEPS, DIGITS, TINY = 1000, 6, 1e-300

FEWEST_DRAWN, MOST_DRAWN, DRAWS = 100, 1000, 2_000_000
"""Resamples for a band: so many configs are drawn in all of them together, within the two."""


@dataclass(frozen=True, eq=False)
class Smooth:
    """The mean success rate along an axis, shape (G,) each.

    Attributes:
        x: places from 0 to 1.
        mean: NaN where fewer than 5 configs are near, or only so for a moment.
        low, high: its pointwise 95 % bootstrap interval over configs.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def slices(run: Run) -> Plot | None:
    """The success rate of configs against each parameter that varies, the most important first.

    Each config counts once, however many seeds it had. The figure says what was seen where the
    search went: it went to good regions more often, and moved several parameters at once.

    Returns:
        None if no parameter differs between configs.
    """
    parameters = parameters_of(run)
    shown = parameters[:MOST_PANELS]
    if not shown:
        return None
    rates = rates_of(run)
    dots = even_sample(len(rates), MOST_DOTS)
    dense = any(parameter.is_number for parameter in shown)
    again = resamples(len(rates) if dense else 0)
    drawn = [_panel(run, parameter, rates, dots, again) for parameter in shown]
    total = count(len(rates), "configuration")
    return Plot(
        name="slices",
        title=f"Success by parameter, among the {total} visited",
        alt=" ".join([*(finding for _, finding in drawn[:3]), *_others(parameters)]),
        note=_note(shown, len(rates), len(dots)),
        panels=tuple(panel for panel, _ in drawn),
        columns=2 if len(shown) > 1 else 1,
    )


def resamples(configs: int) -> NDArray[np.float64]:
    """How often each config is drawn in each bootstrap resample, shape (C, B)."""
    count = min(MOST_DRAWN, max(FEWEST_DRAWN, DRAWS // max(configs, 1)))
    draw = np.random.default_rng(0)
    times = np.empty((configs, count))
    for resample in range(count):
        rows = draw.integers(0, configs, configs)
        times[:, resample] = np.bincount(rows, minlength=configs)
    return times


def smooth(
    places: NDArray[np.float64], rates: NDArray[np.float64], drawn: NDArray[np.float64]
) -> Smooth:
    """The kernel mean of success rates along an axis, with a band.

    Args:
        places: shape (C,), each from 0 to 1; thousandths are told apart.
        rates: shape (C,).
        drawn: shape (C, B), from `resamples`.

    Source: Nadaraya (1964), Theory of Probability and its Applications 9(1), with a Gaussian
    kernel of fixed width; the number of configs near is (sum w)^2 / sum w^2, Kish (1965), Survey
    Sampling, section 8.2.
    """
    from scipy.sparse import csr_array

    x, steps = np.linspace(0, 1, GRID), np.rint(places * STEPS).astype(np.intp)
    kernel = np.exp(-0.5 * ((np.arange(STEPS + 1)[:, None] / STEPS - x) / BANDWIDTH) ** 2)
    counts = np.bincount(steps, minlength=STEPS + 1)
    total = counts @ kernel
    far = _without_scraps(total**2 < MIN_CONFIGS * (counts @ kernel**2))
    mean = np.bincount(steps, weights=rates, minlength=STEPS + 1) @ kernel / total
    mean[far] = np.nan
    # Summed at each thousandth first: of many configs the kernel at each would take seconds.
    where, shape = (steps, np.arange(len(steps))), (STEPS + 1, len(steps))
    near = (csr_array((np.ones(len(steps)), where), shape) @ drawn).T @ kernel
    sums = (csr_array((rates, where), shape) @ drawn).T @ kernel
    low, high = np.quantile(sums / np.maximum(near, TINY), [0.025, 0.975], axis=0)
    # A percentile interval need not hold the estimate itself, and a band does.
    low, high = np.minimum(low, mean), np.maximum(high, mean)
    # The last digits of a matrix product are not the same on every machine.
    return Smooth(x, *(np.clip(end, 0, 1).round(DIGITS) for end in (mean, low, high)))


def _panel(
    run: Run,
    parameter: Parameter,
    rates: NDArray[np.float64],
    dots: NDArray[np.intp],
    again: NDArray[np.float64],
) -> tuple[Panel, str]:
    """The panel of a parameter, and its finding."""
    drawn = _along(parameter, rates, again) if parameter.is_number else _levels(parameter, rates)
    axis, places, layers, finding = drawn
    seen = dots[np.isfinite(places[dots])]
    results = run.results
    raw = Points(
        "a configuration",
        x=tuple(places[seen].tolist()),
        y=tuple(rates[seen].tolist()),
        role="muted",
        texts=tuple(f"{results[i].outcome.successes}/{results[i].outcome.n}" for i in seen),
        keys=tuple(results[i].key for i in seen),
    )
    share = parameter.importance
    title = parameter.label if share is None else f"{parameter.label} ({percent(share)})"
    panel = Panel(axis, Axis("success rate", "rate", (0.0, 1.0)), (raw, *layers), title)
    return panel, finding


Drawn = tuple[Axis, NDArray[np.float64], list[Layer], str]
"""An axis, where on it each config is (NaN: nowhere), what is drawn, and what it says."""


def _along(parameter: Parameter, rates: NDArray[np.float64], again: NDArray[np.float64]) -> Drawn:
    rows = np.flatnonzero(np.isfinite(parameter.numbers))
    mine = again if rows.size == len(rates) else again[rows]
    found = smooth(parameter.scaled()[rows], rates[rows], mine)
    low, high = np.min(parameter.numbers[rows]), np.max(parameter.numbers[rows])
    if parameter.is_log:
        x = np.exp(np.log(low) + found.x * (np.log(high) - np.log(low)))
    else:
        x = low + found.x * (high - low)
    layers: list[Layer] = []
    for part in _stretches(np.isfinite(found.mean)):
        first = not layers
        layers.append(
            Line(
                "mean, with its pointwise 95 % band" if first else "",
                x=tuple(x[part].tolist()),
                y=tuple(found.mean[part].tolist()),
                low=tuple(found.low[part].tolist()),
                high=tuple(found.high[part].tolist()),
            )
        )
    some = "" if rows.size == len(rates) else f", {rows.size:,} of {len(rates):,} have one"
    axis = Axis(
        f"{parameter.label}{some}",
        "log" if parameter.is_log else "number",
        whole=parameter.is_whole,
    )
    finding = f"{parameter.label}: too few configurations for a smooth."
    if layers:
        top, bottom = int(np.nanargmax(found.mean)), int(np.nanargmin(found.mean))
        finding = (
            f"{parameter.label}: the mean is highest near {_near(parameter, x[top])} "
            f"({_rate(found, top)}) and lowest near {_near(parameter, x[bottom])} "
            f"({_rate(found, bottom)})."
        )
    return axis, parameter.numbers, layers, finding


def _stretches(known: NDArray[np.bool_]) -> Iterator[slice]:
    """Where it is true without a gap."""
    padded = np.concatenate([[False], known, [False]])
    ends = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return (slice(start, end) for start, end in zip(ends[::2], ends[1::2], strict=True))


def _without_scraps(far: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Far, also where what is near is narrower than the kernel: no course is seen there."""
    found = far.copy()
    for part in _stretches(~far):
        if part.stop - part.start < 2 * BANDWIDTH * GRID:
            found[part] = True
    return found


def _near(parameter: Parameter, x: float) -> str:
    return number(round(x) if parameter.is_whole else x)


def _rate(found: Smooth, place: int) -> str:
    low, high = float(found.low[place]), float(found.high[place])
    mean = measured(float(found.mean[place]), low, high)
    return f"{mean}, 95 % interval {interval(low, high)}"


def _levels(parameter: Parameter, rates: NDArray[np.float64]) -> Drawn:
    labels, rows, left_out = levels_shown(parameter, rates)
    levels = [level_of(label, rates[of]) for label, of in zip(labels, rows, strict=True)]
    places = np.full(len(rates), np.nan)
    for place, of in enumerate(rows):
        # Side by side, so that they can be told apart: golden steps fill a width evenly.
        places[of] = place + 0.5 * ((np.arange(len(of)) * 0.618034) % 1 - 0.5)
    ends = [level.interval or (level.rate, level.rate) for level in levels]
    means = Points(
        "mean, with its 95 % interval",
        x=tuple(float(place) for place in range(len(levels))),
        y=tuple(level.rate for level in levels),
        y_low=tuple(low for low, _ in ends),
        y_high=tuple(high for _, high in ends),
        marker="diamond",
        texts=tuple(_told(level) for level in levels),
    )
    # Of values that are equally frequent some may be left out: they are others, not rarer ones.
    some = f"(configurations), {count(left_out, 'other value')} not shown"
    axis = Axis(
        f"{parameter.label} {some if left_out else '(in brackets: configurations)'}",
        "category",
        categories=tuple(f"{level.label} ({level.configs:,})" for level in levels),
    )
    top, bottom = max(levels, key=lambda lv: lv.rate), min(levels, key=lambda lv: lv.rate)
    finding = f"{parameter.label}: highest {_told(top)}; lowest {_told(bottom)}."
    return axis, places, [means], finding


def _told(level: Level) -> str:
    configs = count(level.configs, "configuration")
    if level.interval is None:
        return f"{level.label}, mean {percent(level.rate)} of {configs}"
    mean = measured(level.rate, *level.interval)
    return f"{level.label}, mean {mean} of {configs}, 95 % interval {interval(*level.interval)}"


def _others(parameters: tuple[Parameter, ...]) -> list[str]:
    more = len(parameters) - MOST_PANELS
    return [f"{count(more, 'less important parameter')} not shown."] if more > 0 else []


def _note(shown: tuple[Parameter, ...], configs: int, dots: int) -> str:
    told = any(parameter.importance is not None for parameter in shown)
    kinds = []
    if any(not parameter.is_number for parameter in shown):
        kinds.append("Bars: 95 % bootstrap intervals over configurations, none below 5.")
    if any(parameter.is_number for parameter in shown):
        kinds.append(
            f"Lines: kernel means (Gaussian, {100 * BANDWIDTH:.0f} % of the axis) with pointwise "
            "95 % bootstrap bands over configurations, where at least 5 are near."
        )
    which = "all of them" if dots == configs else f"{dots:,} of them, evenly spaced in the order"
    return " ".join(
        [
            f"n = {count(configs, 'configuration')}, each counted once however many seeds it had; "
            f"dots: {which}{'; in brackets above: importance' if told else ''}.",
            *kinds,
            "A search visits good regions more often and changes several parameters at once: this "
            "is what was seen among the configurations visited, and a difference need not be one "
            "parameter's doing.",
        ]
    )
