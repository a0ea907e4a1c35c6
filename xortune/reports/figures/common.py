"""What figures share: labels and sentences about configs, and samples of too many points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.formats import config_text, count, interval, measured, value
from xortune.reports.document import blocks_of
from xortune.reports.drawing.model import Ends, Mark, Panel, Plot, Role, Series, shortened
from xortune.reports.parameters import differing, varying
from xortune.runs.results import ConfigResult, ConfigResults
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

LONGEST_LABEL, LONGEST_NAME, LONGEST_PART = 84, 40, 16
"""Most characters of a category's label, two lines also on a telephone; of one or two names in it;
and of one value in it."""

ENOUGH_SEEDS, FEW_SEEDS = 8, 8
"""A config has enough seeds to be drawn by itself with these, and one in so many of the most."""

KEY = 6  # digits of a key in a label; the text of a mark has all of them
DRAWN_POINTS = 1000  # points or steps that are drawn: more cannot be distinguished
HUGE = 1e300  # beyond it the difference of two numbers may overflow: no place on an axis
LOG_FROM_RATIO = 100.0  # of the largest to the smallest positive number: such an axis is log


def plot_of(name: str, /, *panels: Panel, columns: int = 1, **values: Any) -> Plot:
    """The figure; its template makes the title, the alt text and the note of the values.

    A series without marks is left out.
    """
    panels = tuple(
        replace(one, layers=tuple(x for x in one.layers if not isinstance(x, Series) or x.marks))
        for one in panels
    )
    helpers = {"between": between, "with_interval": with_interval}
    blocks = blocks_of(f"figures/{name}.txt.jinja", **helpers, **values)
    return Plot(name, **blocks, panels=panels, columns=columns)


def finished(run: Run) -> ConfigResults:
    """The results of a run, best first.

    Raises:
        InputError: no config is finished yet.
    """
    assert run.best_rate is not None  # refuses a run in which nothing has finished
    return run.results


def has_enough(n: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of these numbers of seeds, shape (C,), say something beside the others.

    A config with one seed has solved all or nothing: beside one with many it says nothing of how
    seeds are distributed.
    """
    most = int(n.max(initial=0))
    return n >= max(min(ENOUGH_SEEDS, most), most / FEW_SEEDS)


def drawable(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The numbers that have a place on an axis."""
    return values[np.abs(values) < HUGE]  # NaN is not below


def sampled(total: int, most: int = DRAWN_POINTS) -> NDArray[np.intp]:
    """At most `most` evenly spaced indices of `total` items, with the first and the last."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def listed(run: Run, results: Sequence[ConfigResult], heads: Sequence[str] = ()) -> tuple[str, ...]:
    """A label for each config: its `heads` entry, the values in which these differ, its key.

    A number has the name of its parameter before it; an inactive parameter is left out. If not all
    values fit, the least important parameters are left out, or the last ones if the manifest has
    no importance.
    """
    differ = differing(results, run.parameters)
    importance = run.manifest.get("importance") or {}
    most = LONGEST_LABEL - KEY - 6 - max(map(len, heads), default=0)
    values = {name: [_labelled(name, result) for result in results] for name in differ}
    kept: list[str] = []
    texts = [""] * len(results)
    for name in sorted(differ, key=lambda name: -importance.get(name, 0.0)):
        names = [other for other in differ if other in {*kept, name}]
        rows = zip(*(values[one] for one in names), strict=True)
        longer = [", ".join(filter(None, row)) for row in rows]
        if max(map(len, longer)) <= most:
            kept, texts = names, longer
    keys = [result.key[:KEY] for result in results]
    parts = zip(heads or [""] * len(results), texts, keys, strict=True)
    return tuple(" · ".join(filter(None, part)) for part in parts)


def _labelled(name: str, result: ConfigResult) -> str:
    if name not in result.point:
        return ""
    given = result.point[name]
    text = shortened(value(given), LONGEST_PART)
    return text if isinstance(given, str) else f"{shortened(name, LONGEST_PART)} {text}"


def same_in_all(results: Sequence[ConfigResult], names: Sequence[str]) -> str:
    """A sentence with the values that these configs share; empty if there are none."""
    if len(results) < 2:
        return ""
    differ = differing(results, names)
    text = config_text(results[0].point, [name for name in names if name not in differ])
    return f"The same in all shown: {shortened(text, 160)}." if text else ""


def described(run: Run, result: ConfigResult) -> str:
    """A config as text: the parameters that vary in its run, and its key."""
    text = shortened(config_text(result.point, varying(run)), 300)
    return f"{text} ({result.key})" if text else result.key


def with_interval(rate: float, ends: Ends) -> str:
    """`98.4 %, 95 % interval 91.7–99.8 %`."""
    return f"{measured(rate, *ends)}, 95 % interval {interval(*ends)}"


def between(sizes: Iterable[int]) -> str:
    """The range of numbers of seeds: `512`, or `8 to 512`."""
    known = sorted(set(sizes))
    return " to ".join(f"{n:,}" for n in dict.fromkeys((known[0], known[-1])))


CHOSEN: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")
"""Roles of the lines in one panel; more could not be distinguished."""


def share_line(
    label: str,
    values: NDArray[Any],
    n: int,
    ends: Ends,
    *,
    larger: bool,
    role: Role,
    text: str = "",
    by: str = "",
    dashed: bool = False,
) -> Series:
    """The share of n seeds with a value of at most x, as steps, with a simultaneous band.

    `values` are those of the seeds that have one, ascending; if `larger`, it is the share above x.
    `text` says whose seeds they are: with it each step has a text, which ends with `by` of x.
    """
    x = np.unique(np.clip(np.concatenate([ends, values]), *ends))
    x = x[sampled(x.size)]
    at_most = np.searchsorted(values, x, side="right")
    k = values.size - at_most if larger else at_most
    table = np.stack([x, k / n, *dkw_band(k / n, n), k], axis=1).tolist()
    marks = (
        Mark(
            *(x, share),
            y_ends=(low, high),
            text=text and f"{text}: {k:,.0f} of {count(n, 'seed')}{by.format(x)}",
        )
        for x, share, low, high, k in table
    )
    return Series(label, tuple(marks), "steps", role, dashed=dashed)
