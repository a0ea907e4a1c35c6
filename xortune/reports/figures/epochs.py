"""Success against epochs: the share of seeds that are solved for good by each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.reports.figures.labels import (
    CHOSEN,
    MOST,
    SeedsOf,
    finished,
    plot_of,
    sampled,
    seeds_of,
    sizes,
)
from xortune.reports.plot import RATES, Axis, Panel, Plot, Series
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band


def success_by_epoch(run: Run, keys: Sequence[str] | None = None) -> Plot:
    """The share of seeds solved by epoch e, with a band that holds for all epochs at once.

    Shown are the best config, the one in the middle of the ranking, those chosen, and where it is
    certified, the best on its fresh seeds.

    Args:
        run: with one finished config at least.
        keys: of further configs, at most 6; the beginning of a key that only one has is enough.

    Raises:
        InputError: no config is finished, an unknown key, too many, or a run without epochs.
    """
    results = finished(run)
    shown = [_solved(one) for one in seeds_of(run, _chosen(results, keys or ()))]
    budget = max(found.last for found in shown)
    if not budget:
        raise InputError("the trainer of this run counts no epochs", place=str(run.path))
    solved_at = np.concatenate([found.at for found in shown])
    # Where most seeds are solved early, all that happens is at the left of a linear axis.
    log = budget >= 50 and (not solved_at.size or float(np.median(solved_at)) <= budget / 5)
    x = Axis("epoch", "log" if log else "number", (1, max(budget, 2)), whole=True)
    y = Axis("share of seeds solved for good", "rate", RATES)
    lines = tuple(found.line() for found in reversed(shown))  # the best on top
    return plot_of(
        "success-by-epoch",
        Panel(x, y, lines),
        told=shown,
        configs=len(results),
        sizes=sizes(found.one for found in shown),
    )


def _chosen(results: Sequence[ConfigResult], keys: Sequence[str]) -> list[ConfigResult]:
    if len(keys) > len(CHOSEN):
        raise InputError(
            f"{len(keys)} configurations",
            field="keys",
            allowed=f"at most {len(CHOSEN)}, because more lines cannot be distinguished",
        )
    chosen = []
    for key in keys:
        fitting = [result for result in results if key and result.key.startswith(key)]
        if len(fitting) != 1:
            known = [result.key for result in (fitting or results)[:MOST]]
            close = nearest(key, known)
            raise InputError(
                f"{len(fitting):,} keys begin with {key!r}"
                if fitting
                else f"no configuration has the key {key!r}",
                field="keys",
                allowed="a key of the run's table, or a beginning that no other key has",
                fix=close if len(close) < 200 else f"{known[0]!r} is one of them",
            )
        chosen.append(fitting[0])
    return chosen


@dataclass(frozen=True)
class _Solved:
    """When the seeds of a line were solved.

    Attributes:
        at: shape (k,), ascending: the epochs from which on solved seeds stay solved.
        last: the last epoch of its trainings.
        half: the first epoch by which half of the seeds are solved; None if that never is.
    """

    one: SeedsOf
    at: NDArray[np.int64]
    last: int
    half: int | None

    @property
    def k(self) -> int:
        return self.at.size

    @property
    def end(self) -> int:
        return int(self.at[-1])

    @property
    def band(self) -> list[float]:
        return [float(end) for end in dkw_band(self.k / self.one.n, self.one.n)]

    def line(self) -> Series:
        """From the first epoch to the last, with a step wherever a seed is solved."""
        steps = np.unique(np.concatenate([[1], self.at, [max(self.last, 1)]]))
        steps = steps[sampled(len(steps))]
        solved, n = np.searchsorted(self.at, steps, side="right"), self.one.n
        texts = (
            f"{self.one.text}: {k:,} of {n:,} seeds solved by epoch {epoch:,}"
            for epoch, k in zip(steps.tolist(), solved.tolist(), strict=True)
        )
        return self.one.share_line(steps, solved / n, texts)


def _solved(one: SeedsOf) -> _Solved:
    parts = [outcome.solved_epoch[outcome.solved] for outcome in one.outcomes]
    at, needed = np.sort(np.concatenate(parts).astype(np.int64)), math.ceil(one.n / 2)
    half = int(at[needed - 1]) if 0 < needed <= at.size else None
    return _Solved(one, at, max(outcome.epochs for outcome in one.outcomes), half)
