"""The figures of the thread's report, as values."""

from __future__ import annotations

from xortune.report.figure import Curves, Dots, Line, Mark, Series
from xortune.report.format import number, percent, plain
from xortune.stats import wilson
from xortune.thread.claims import AS_POSTED, Curve
from xortune.thread.settle import Drawn, Settled

__all__ = ["figures"]


def figures(settled: Settled) -> tuple[Curves | Dots, ...]:
    """All figures that there is something for."""
    found: list[Curves | Dots] = []
    if any(row.row.quoted.counted for row in settled.rows):
        found.append(_claims(settled))
    found += [_curve(curve, lines) for curve, lines, _ in settled.curves]
    if settled.sweep is not None and settled.sweep.effects:
        found.append(_effects(settled))
    return tuple(found)


def _claims(settled: Settled) -> Dots:
    rows = [r for r in settled.rows if r.row.quoted.counted and r.variant.name == AS_POSTED]
    counts = [r.row.quoted.counted or (0, 0) for r in rows]
    low, high = wilson([k for k, _ in counts], [n for _, n in counts])
    places = tuple(range(len(rows)))
    outside = [r.row.id for r in rows if r.verdict != "consistent"]
    told = f"All but {', '.join(outside)} agree." if outside else "All agree."
    n = rows[0].n
    return Dots(
        name="thread_claims",
        title=f"What was quoted of 100 seeds, beside {n:,} seeds of the same script",
        alt=f"Quoted and measured success rates of {len(rows)} posted scripts. {told}",
        x_label="seeds solved (95 % interval)",
        rows=tuple(r.row.id for r in rows),
        series=(
            Series(
                "quoted",
                "ring",
                places,
                tuple(k / m for k, m in counts),
                _floats(low),
                _floats(high),
            ),
            Series(
                "measured",
                "dot",
                places,
                tuple(r.rate for r in rows),
                tuple(r.low for r in rows),
                tuple(r.high for r in rows),
            ),
        ),
    )


def _curve(curve: Curve, lines: tuple[Drawn, ...]) -> Curves:
    best = [max(range(len(one.k)), key=one.k.__getitem__) for one in lines]
    told = "; ".join(
        f"{one.line.name}: {percent(one.k[0] / one.n)} at {number(curve.points[0])}, most "
        f"{percent(one.k[at] / one.n)} at {number(curve.points[at])}, "
        f"{percent(one.k[-1] / one.n)} at {number(curve.points[-1])}"
        for one, at in zip(lines, best, strict=True)
    )
    rates = [k / one.n for one in lines for k in one.k]
    marks = () if curve.beside is None else (Mark(curve.beside, f"{number(curve.beside)}"),)
    return Curves(
        name=f"thread_{curve.name}",
        title=(
            f"{curve.place}: from {percent(min(rates))} to {percent(max(rates))} of the seeds, by "
            f"{plain(curve.parameter)} alone"
        ),
        alt=f"Success rate over {curve.parameter}. {told}.",
        x_label=curve.parameter + (" (logarithmic)" if curve.values.log_from else ""),
        x_log=curve.values.log_from is not None,
        y_label="seeds solved (95 % band for the whole curve)",
        lines=tuple(
            Line(
                one.line.name,
                tuple(map(float, curve.points)),
                tuple(k / one.n for k in one.k),
                one.low,
                one.high,
            )
            for one in lines
        ),
        marks=marks,
    )


def _effects(settled: Settled) -> Dots:
    assert settled.sweep is not None
    labels: list[str] = []
    gaps: list[int] = []
    middle: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for effect in settled.sweep.effects:
        if labels:
            gaps.append(len(labels))
        for level in sorted(effect.levels, key=lambda level: (-level.rate, level.label)):
            labels.append(level.label)
            middle.append(level.rate)
            ends = level.interval or (level.rate, level.rate)
            low.append(ends[0])
            high.append(ends[1])
    best = ", ".join(
        max(effect.levels, key=lambda level: level.rate).label for effect in settled.sweep.effects
    )
    cells = len(settled.sweep.cells)
    return Dots(
        name="thread_sweep",
        title=f"T12: the mean success rate of {cells:,} cells, by choice",
        alt=f"Mean success rate per activation, loss and optimizer. The best of each: {best}.",
        x_label="mean success rate of cells (95 % bootstrap interval over cells)",
        rows=tuple(labels),
        series=(
            Series(
                "cells", "dot", tuple(range(len(labels))), tuple(middle), tuple(low), tuple(high)
            ),
        ),
        gaps=tuple(gaps),
    )


def _floats(values: object) -> tuple[float, ...]:
    return tuple(float(value) for value in values)  # type: ignore[attr-defined]
