"""Success against epochs: the share of seeds that are solved for good by each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, nearest
from xortune.core.formats import count, interval
from xortune.core.outcome import Outcome
from xortune.reports.figures.labels import KEY, MOST, described, finished, sampled
from xortune.reports.plot import RATES, Axis, Mark, Panel, Plot, Role, Series
from xortune.reports.tables import fresh_checks, varying
from xortune.runs.results import ConfigResult
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

CHOSEN: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")


@dataclass(frozen=True)
class _Curve:
    """One line.

    Attributes:
        label: in the legend.
        name: in a sentence.
        text: the whole config.
        solved_at: int64, shape (k,), ascending: the epochs from which on solved seeds stay solved.
        n: seeds, unsolved ones included.
        epochs: the budget.
        fresh: whether it is the best on fresh seeds.
    """

    label: str
    name: str
    text: str
    solved_at: NDArray[np.int64]
    n: int
    epochs: int
    role: Role
    fresh: bool = False

    def first(self, share: float) -> int | None:
        """The first epoch by which such a share of seeds is solved; None if that never is."""
        needed = int(np.ceil(share * self.n - 1e-9))
        return int(self.solved_at[needed - 1]) if 0 < needed <= self.solved_at.size else None


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
    curves = _curves(run, results, _chosen(results, keys or ()))
    budget = max(curve.epochs for curve in curves)
    if not budget:
        raise InputError("the trainer of this run counts no epochs", place=str(run.path))
    solved_at = np.concatenate([curve.solved_at for curve in curves])
    # Where most seeds are solved early, all that happens is at the left of a linear axis.
    log = budget >= 50 and (not solved_at.size or float(np.median(solved_at)) <= budget / 5)
    sizes = ", ".join(f"{n:,}" for n in sorted({curve.n for curve in curves}))
    return Plot(
        name="success-by-epoch",
        title=_title(curves[0]),
        alt=" ".join(map(_finding, curves)),
        note=(
            f"n = {sizes} seeds; a seed counts from the epoch on from which it stays solved to the "
            "end of its training. Bands: 95 %, Dvoretzky-Kiefer-Wolfowitz with Massart's constant; "
            "each holds for all epochs of its line at once, if the number of seeds was fixed "
            "beforehand. The best was chosen by the seeds of the search, so its line there is "
            "optimistic (the winner's curse)."
        ),
        panels=(
            Panel(
                Axis("epoch", "log" if log else "number", (1, max(budget, 2)), whole=True),
                Axis("share of seeds solved for good", "rate", RATES),
                tuple(map(_line, reversed(curves))),  # the best on top
            ),
        ),
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


def _curves(
    run: Run, results: Sequence[ConfigResult], chosen: Sequence[ConfigResult]
) -> list[_Curve]:
    """The best first, then its fresh seeds, the median and those chosen, each config once."""
    best, median = results[0], results[(len(results) - 1) // 2]
    picked: dict[str, tuple[str, ConfigResult, Role]] = {best.key: ("best", best, "best")}
    picked.setdefault(median.key, ("median", median, "muted"))
    for result, role in zip(chosen, CHOSEN, strict=False):
        picked.setdefault(result.key, ("", result, role))
    names = varying(run)
    curves = []
    for what, result, role in picked.values():
        outcome, key = result.outcome, result.key[:KEY]
        curves.append(
            _Curve(
                label=f"{f'{what}: ' if what else ''}{key}, n = {outcome.n:,}",
                name=f"the {what} of {len(results):,}" if what else key,
                text=described(result, names),
                solved_at=_solved_at([outcome]),
                n=outcome.n,
                epochs=outcome.epochs,
                role=role,
            )
        )
    curves[1:1] = _fresh(run, best.key, curves[0].text)
    return curves


def _fresh(run: Run, key: str, text: str) -> list[_Curve]:
    """The best on those."""
    checks = fresh_checks(run, key)
    outcomes = [check.outcome for check in checks if isinstance(check.outcome, Outcome)]
    if not outcomes:
        return []
    n = sum(check.block.count for check in checks)  # seeds without an outcome are not solved
    return [
        _Curve(
            label=f"best on fresh seeds, n = {n:,}",
            name=f"the best on {count(n, 'fresh seed')}",
            text=text,
            solved_at=_solved_at(outcomes),
            n=n,
            epochs=max(outcome.epochs for outcome in outcomes),
            role="best",
            fresh=True,
        )
    ]


def _solved_at(outcomes: Sequence[Outcome]) -> NDArray[np.int64]:
    parts = [outcome.solved_epoch[outcome.solved] for outcome in outcomes]
    return np.sort(np.concatenate(parts).astype(np.int64))


def _line(curve: _Curve) -> Series:
    # From the first epoch to the last, with a step wherever a seed is solved.
    steps = np.unique(np.concatenate([[1], curve.solved_at, [max(curve.epochs, 1)]]))
    steps = steps[sampled(len(steps))]
    solved = np.searchsorted(curve.solved_at, steps, side="right")
    shares = solved / curve.n
    rows = zip(steps, solved, shares, zip(*dkw_band(shares, curve.n), strict=True), strict=True)
    marks = (
        Mark(
            float(epoch),
            float(share),
            y_ends=(float(band[0]), float(band[1])),
            text=f"{curve.text}: {k:,} of {curve.n:,} seeds solved by epoch {epoch:,}",
        )
        for epoch, k, share, band in rows
    )
    return Series(curve.label, tuple(marks), "steps", curve.role, dashed=curve.fresh)


def _title(best: _Curve) -> str:
    k = best.solved_at.size
    if not k:
        return f"No seed is solved within {count(best.epochs, 'epoch')}"
    half, last = best.first(0.5), f"by epoch {int(best.solved_at[-1]):,}"
    which = "all" if k == best.n else f"{k:,} of {best.n:,}"
    if half is None:
        return f"The best solves {which} of its seeds, the last {last}"
    if half == best.solved_at[-1]:
        return f"The best has solved {which} of its seeds {last}"
    return f"The best has solved half of its seeds by epoch {half:,}, {which} {last}"


def _finding(curve: _Curve) -> str:
    k, half = curve.solved_at.size, curve.first(0.5)
    which = "" if curve.fresh else f" ({curve.text})"  # the best has been named
    text = f"{curve.name[0].upper()}{curve.name[1:]}{which}: "
    if half is not None:
        text += f"half of its seeds solved for good by epoch {half:,}, "
    band = interval(*map(float, dkw_band(k / curve.n, curve.n)))
    return text + f"{k:,} of {curve.n:,} by epoch {curve.epochs:,} (band {band})."
