"""The figures of the thread's report, as values."""

from __future__ import annotations

from collections.abc import Iterable

from xortune.report.format import count, measured, number, percent, plain
from xortune.report.levels import Level
from xortune.report.plot import Axis, Layer, Line, Panel, Plot, Points, Role, Rule
from xortune.stats import wilson
from xortune.thread.claims import AS_POSTED, Curve
from xortune.thread.settle import BAND, Drawn, Settled

__all__ = ["figures"]

ROLES: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")
BESIDE = 0.15
"""How far quoted and measured are above and below the middle of their row."""


def figures(settled: Settled) -> tuple[Plot, ...]:
    """All figures that there is something for."""
    found: list[Plot] = []
    if any(row.row.quoted.counted for row in settled.rows):
        found.append(_claims(settled))
    found += [_curve(curve, lines) for curve, lines, _ in settled.curves]
    if settled.sweep is not None and settled.sweep.effects:
        found.append(_effects(settled))
    return tuple(found)


def _claims(settled: Settled) -> Plot:
    rows = [r for r in settled.rows if r.row.quoted.counted and r.variant.name == AS_POSTED]
    counts = [r.row.quoted.counted or (0, 0) for r in rows]
    low, high = wilson([k for k, _ in counts], [n for _, n in counts])
    outside = [r.row.id for r in rows if r.verdict != "consistent"]
    told = f"All but {', '.join(outside)} agree." if outside else "All agree."
    quoted = Points(
        "quoted",
        tuple(k / m for k, m in counts),
        tuple(row - BESIDE for row in range(len(rows))),
        x_low=_floats(low),
        x_high=_floats(high),
        role="a",
        marker="ring",
        texts=tuple(f"quoted: {k} of {m}" for k, m in counts),
    )
    found = Points(
        "measured",
        tuple(r.rate for r in rows),
        tuple(row + BESIDE for row in range(len(rows))),
        x_low=tuple(r.low for r in rows),
        x_high=tuple(r.high for r in rows),
        role="b",
        texts=tuple(f"measured: {r.k:,} of {r.n:,}" for r in rows),
    )
    n = rows[0].n
    return Plot(
        name="thread_claims",
        title=f"What was quoted of 100 seeds, beside {n:,} seeds of the same script",
        alt=f"Quoted and measured success rates of {len(rows)} posted scripts. {told}",
        note=(
            f"Measured: {count(n, 'seed')} for each row, the same for all. Bars are 95 % Wilson "
            "intervals, each for one rate alone; whether a row differs is tested, with Holm's "
            "correction, in the table."
        ),
        panels=(
            Panel(
                Axis("seeds solved (95 % interval)", "rate", (0.0, 1.0)),
                Axis("", "category", categories=tuple(r.row.id for r in rows)),
                (quoted, found),
            ),
        ),
    )


def _curve(curve: Curve, lines: tuple[Drawn, ...]) -> Plot:
    best = [max(range(len(one.k)), key=one.k.__getitem__) for one in lines]
    told = "; ".join(
        f"{one.line.name}: {_rate(one, 0)} at {number(curve.points[0])}, most {_rate(one, at)} at "
        f"{number(curve.points[at])}, {_rate(one, -1)} at {number(curve.points[-1])}"
        for one, at in zip(lines, best, strict=True)
    )
    rates = [(k / one.n, _rate(one, at)) for one in lines for at, k in enumerate(one.k)]
    log = curve.values.log_from is not None
    layers: list[Layer] = []
    for one, role in zip(lines, ROLES, strict=False):
        layers += _line(curve, one, role, one.line.name if len(lines) > 1 else "")
    if curve.beside is not None:
        layers.append(Rule("x", curve.beside, number(curve.beside)))
    return Plot(
        name=f"thread_{curve.name}",
        title=(
            f"{curve.place}: from {min(rates)[1]} to {max(rates)[1]} of the seeds, by "
            f"{plain(curve.parameter)} alone"
        ),
        alt=f"Success rate over {curve.parameter}. {told}.",
        note=(
            f"{count(lines[0].n, 'seed')} at each point, the same at all of them. Each band holds "
            f"for its whole line with {number(100 * BAND)} % confidence: Wilson's intervals, with "
            "Bonferroni's correction over its points."
        ),
        panels=(
            Panel(
                Axis(
                    curve.parameter + (" (logarithmic)" if log else ""),
                    "log" if log else "number",
                    whole=all(float(point).is_integer() for point in curve.points),
                ),
                Axis("seeds solved (95 % band for the whole curve)", "rate", (0.0, 1.0)),
                tuple(layers),
            ),
        ),
    )


def _line(curve: Curve, one: Drawn, role: Role, label: str) -> tuple[Layer, Layer]:
    x, y = tuple(map(float, curve.points)), tuple(k / one.n for k in one.k)
    texts = tuple(
        f"{one.line.name}, {curve.parameter} {number(at)}: {k:,} of {one.n:,}"
        for at, k in zip(curve.points, one.k, strict=True)
    )
    # The points are what was measured; the line only leads the eye.
    return (
        Line(label, x, y, one.low, one.high, role=role),
        Points("", x, y, role=role, texts=texts),
    )


def _rate(one: Drawn, at: int) -> str:
    return measured(one.k[at] / one.n, one.low[at], one.high[at])


def _effects(settled: Settled) -> Plot:
    assert settled.sweep is not None
    labels: list[str] = []
    gaps: list[Layer] = []
    middle: list[float] = []
    low: list[float] = []
    high: list[float] = []
    texts: list[str] = []
    for effect in settled.sweep.effects:
        if labels:
            gaps.append(Rule("y", len(labels) - 0.5))
        for level in sorted(effect.levels, key=lambda level: (-level.rate, level.label)):
            labels.append(level.label)
            middle.append(level.rate)
            ends = level.interval or (level.rate, level.rate)
            low.append(ends[0])
            high.append(ends[1])
            texts.append(_mean(level))
    highest = [max(effect.levels, key=lambda level: level.rate) for effect in settled.sweep.effects]
    best = ", ".join(f"{level.label} {_mean(level)}" for level in highest)
    cells = len(settled.sweep.cells)
    points = Points(
        "",
        tuple(middle),
        tuple(map(float, range(len(labels)))),
        x_low=tuple(low),
        x_high=tuple(high),
        texts=tuple(texts),
    )
    return Plot(
        name="thread_sweep",
        title=f"T12: the mean success rate of {cells:,} cells, by choice",
        alt=f"Mean success rate per activation, loss and optimizer. The best of each: {best}.",
        note=(
            f"n = {count(cells, 'cell')}. Cells are the unit, each counted once: an interval says "
            "how the mean would vary with other cells (95 %, bootstrapped over the cells of a "
            "choice), nothing about seeds."
        ),
        panels=(
            Panel(
                Axis(
                    "mean success rate of cells (95 % bootstrap interval over cells)",
                    "rate",
                    (0.0, 1.0),
                ),
                Axis("", "category", categories=tuple(labels)),
                (*gaps, points),
            ),
        ),
    )


def _mean(level: Level) -> str:
    mean = measured(level.rate, *level.interval) if level.interval else percent(level.rate)
    return f"{mean} over {count(level.configs, 'cell')}"


def _floats(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
