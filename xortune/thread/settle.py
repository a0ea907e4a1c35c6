"""Measures all claims, side by side on the cores there are, and judges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from xortune.engine.network import usable_cores
from xortune.outcome import Outcome
from xortune.seed_ranges import THREAD
from xortune.stats import wilson
from xortune.thread.claims import Claims, Curve, Line, Place, Variant
from xortune.thread.measure import Measured, measure, measure_config
from xortune.thread.sweep import BEST, Certified, Sweep, certified, train_best
from xortune.thread.verdict import (
    Compared,
    CurveTest,
    Explanation,
    Judged,
    compare,
    explain,
    judge,
    judge_curve,
)

__all__ = ["FRESH", "Drawn", "Settled", "settle"]

FRESH = THREAD.start
"""The first of the seeds that the best cells are trained under once more."""

PART = 2560
"""Seeds trained in one go: no core waits long for another at the end, nor the user after Ctrl-C."""

Name = tuple[str | float, ...]

BAND = 0.95
"""Confidence that a whole curve is within its band (Bonferroni over its points)."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """One line of a curve, measured at P points.

    Attributes:
        line: what was varied.
        k: solved seeds at each point, of n.
        n: seeds.
        low, high: float64, shape (P,): a band that holds for all points together.
    """

    line: Line
    k: tuple[int, ...]
    n: int
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Settled:
    """All that is known about the thread.

    Attributes:
        claims: what was said.
        seeds: of every row.
        rows: each claim in each way of measuring it.
        comparisons: claims that one system is better.
        explanations: which of two learning rates the quoted counts come from.
        curves: each with its lines, and the test of what was said of it, if anything was.
        sweep: its cells; None if no row asked for it.
        best: its best cells under fresh seeds.
    """

    claims: Claims
    seeds: range
    rows: tuple[Judged, ...]
    comparisons: tuple[Compared, ...]
    explanations: tuple[Explanation, ...]
    curves: tuple[tuple[Curve, tuple[Drawn, ...], CurveTest | None], ...]
    sweep: Sweep | None
    best: tuple[Certified, ...]


def settle(
    claims: Claims,
    seeds: range,
    sweep: Sweep | None = None,
    *,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Settled:
    """Train everything that the claims speak of, and judge them.

    Args:
        claims: what to measure.
        seeds: of every row and curve, the same for all: comparisons are paired.
        sweep: for rows that count its cells; then every variant with `sweep` needs it.
        on_progress: called with (done, total, what was done) after each system.
    """
    places = [(row.id, variant) for row, variant in claims.measured]
    points = [
        (curve, line, value)
        for curve in claims.curves
        for line in curve.lines
        for value in curve.points
    ]
    best = [c for c in sweep.cells if c.outcome.successes][:BEST] if sweep else []
    work: dict[Name, Work] = {}
    for row, variant in places:
        if variant.sweep is None:
            numpy = variant.numpy is not None
            torch = variant.stop_loss is not None or variant.same_weights_as is not None
            call = partial(measure, variant)
            work[row, variant.name] = Work(call, seeds, numpy or torch, 20.0 if numpy else 5.0)
    for curve, line, value in points:
        config = {**line.config, curve.parameter: value}
        work[curve.name, line.name, value] = Work(partial(measure_config, config), seeds)
    fresh = range(FRESH, FRESH + len(seeds))
    for cell in best:
        work["cell", cell.key] = Work(partial(train_best, cell), fresh)
    found = _done(work, on_progress)

    def of(row: str, variant: Variant) -> Measured:
        if variant.sweep is None:
            result: Measured = found[row, variant.name]
            return result
        assert sweep is not None
        return sweep.measured(variant.sweep)

    measured: dict[Place, Measured] = {(row, v.name): of(row, v) for row, v in places}
    compared = compare(claims, measured)
    outcomes: list[Outcome] = [found["cell", cell.key] for cell in best]
    return Settled(
        claims,
        seeds,
        judge(claims, measured, compared),
        compared,
        explain(claims, measured),
        tuple(_curve(curve, found) for curve in claims.curves),
        sweep,
        certified(best, outcomes),
    )


@dataclass(frozen=True, eq=False)
class Work:
    """Something to train under seeds, which may be split.

    Attributes:
        call: takes contiguous seeds.
        seeds: all of them.
        interpreted: whether Python calls torch or NumPy in each epoch.
        weight: roughly how long it takes beside others.
    """

    call: Callable[[range], Any]
    seeds: range
    interpreted: bool = False
    weight: float = 1.0

    @property
    def parts(self) -> list[range]:
        """The seeds, so many at a time."""
        return [self.seeds[first : first + PART] for first in range(0, len(self.seeds), PART)]


def _done(
    work: dict[Name, Work], on_progress: Callable[[int, int, str], None] | None
) -> dict[Name, Any]:
    """What became of each piece of work; the long ones are begun first."""
    order = sorted(work, key=lambda name: -work[name].weight)
    parts: dict[Name, list[Any]] = {name: [None] * len(work[name].parts) for name in work}
    done = 0
    # Two that are interpreted would only wait for each other; compiled code lets others run.
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(max(1, usable_cores() - 1)) as several:
        futures: dict[Future[Any], tuple[Name, int]] = {
            (one if work[name].interpreted else several).submit(work[name].call, part): (
                name,
                index,
            )
            for name in order
            for index, part in enumerate(work[name].parts)
        }
        try:
            for future in as_completed(futures):
                name, index = futures[future]
                parts[name][index] = future.result()
                done += 1
                if on_progress is not None:
                    on_progress(done, len(futures), " ".join(map(str, name)))
        except BaseException:  # Ctrl-C too: what has not begun shall not
            for pool in (one, several):
                pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: reduce(type(found[0]).merge, found) for name, found in parts.items()}


def _curve(
    curve: Curve, found: dict[Name, Any]
) -> tuple[Curve, tuple[Drawn, ...], CurveTest | None]:
    level = 1 - (1 - BAND) / len(curve.points)
    lines = []
    for line in curve.lines:
        results: Sequence[Measured] = [found[curve.name, line.name, v] for v in curve.points]
        k, n = [result.k for result in results], results[0].n
        low, high = wilson(k, n, confidence=level)
        lines.append(Drawn(line, tuple(k), n, tuple(low.tolist()), tuple(high.tolist())))
    test = None
    if curve.claim and curve.beside is not None:
        solved = [found[curve.name, curve.lines[0].name, v].solved for v in curve.points]
        test = judge_curve(curve.points, [np.asarray(s) for s in solved], curve.beside)
    return curve, tuple(lines), test
