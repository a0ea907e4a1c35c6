"""Success against epochs: the share of seeds that are solved for good by each epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.formats import count, interval
from xortune.reports.figures.labels import (
    CHOSEN,
    KEY,
    MOST,
    SeedsOf,
    finished,
    sampled,
    seeds_of,
    sizes,
)
from xortune.reports.plot import RATES, Axis, Plot, Series
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
    shown = seeds_of(run, _chosen(results, keys or ()))
    budget = max(outcome.epochs for one in shown for outcome in one.outcomes)
    if not budget:
        raise InputError("the trainer of this run counts no epochs", place=str(run.path))
    solved_at = np.concatenate([_solved_at(one) for one in shown])
    # Where most seeds are solved early, all that happens is at the left of a linear axis.
    log = budget >= 50 and (not solved_at.size or float(np.median(solved_at)) <= budget / 5)
    return Plot.single(
        name="success-by-epoch",
        title=_title(shown[0]),
        alt=" ".join(_finding(one, len(results)) for one in shown),
        note=(
            f"n = {sizes(shown)} seeds; a seed counts from the epoch on from which it stays solved "
            "to the end of its training. Bands: 95 %, Dvoretzky-Kiefer-Wolfowitz with Massart's "
            "constant; each holds for all epochs of its line at once, if the number of seeds was "
            "fixed beforehand. The best was chosen by the seeds of the search, so its line there "
            "is optimistic (the winner's curse)."
        ),
        x=Axis("epoch", "log" if log else "number", (1, max(budget, 2)), whole=True),
        y=Axis("share of seeds solved for good", "rate", RATES),
        layers=[*map(_line, reversed(shown))],  # the best on top
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


def _solved_at(one: SeedsOf) -> NDArray[np.int64]:
    """Shape (k,), ascending: the epochs from which on solved seeds stay solved."""
    parts = [outcome.solved_epoch[outcome.solved] for outcome in one.outcomes]
    return np.sort(np.concatenate(parts).astype(np.int64))


def _half(one: SeedsOf) -> int | None:
    """The first epoch by which half of the seeds are solved; None if that never is."""
    solved_at, needed = _solved_at(one), math.ceil(one.n / 2)
    return int(solved_at[needed - 1]) if 0 < needed <= solved_at.size else None


def _line(one: SeedsOf) -> Series:
    # From the first epoch to the last, with a step wherever a seed is solved.
    solved_at, last = _solved_at(one), max(outcome.epochs for outcome in one.outcomes)
    steps = np.unique(np.concatenate([[1], solved_at, [max(last, 1)]]))
    steps = steps[sampled(len(steps))]
    solved = np.searchsorted(solved_at, steps, side="right")
    texts = (
        f"{one.text}: {k:,} of {one.n:,} seeds solved by epoch {epoch:,}"
        for epoch, k in zip(steps.tolist(), solved.tolist(), strict=True)
    )
    return one.share_line(steps, solved / one.n, texts)


def _title(best: SeedsOf) -> str:
    solved_at = _solved_at(best)
    k = solved_at.size
    if not k:
        return f"No seed is solved within {count(best.outcomes[0].epochs, 'epoch')}"
    half, last = _half(best), f"by epoch {int(solved_at[-1]):,}"
    which = "all" if k == best.n else f"{k:,} of {best.n:,}"
    if half is None:
        return f"The best solves {which} of its seeds, the last {last}"
    if half == solved_at[-1]:
        return f"The best has solved {which} of its seeds {last}"
    return f"The best has solved half of its seeds by epoch {half:,}, {which} {last}"


def _finding(one: SeedsOf, configs: int) -> str:
    name = f"The {one.what} of {configs:,}" if one.what else one.key[:KEY]
    if one.fresh:
        name = f"The best on {count(one.n, 'fresh seed')}"
    text = f"{name}: " if one.fresh else f"{name} ({one.text}): "  # the best has been named
    k, half = _solved_at(one).size, _half(one)
    if half is not None:
        text += f"half of its seeds solved for good by epoch {half:,}, "
    band = interval(*map(float, dkw_band(k / one.n, one.n)))
    last = max(outcome.epochs for outcome in one.outcomes)
    return text + f"{k:,} of {one.n:,} by epoch {last:,} (band {band})."
