"""What figures share: labels and sentences about configs, and which of very many are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError
from xortune.core.formats import config_text, count, interval, measured, value
from xortune.core.outcome import Outcome, rate_of
from xortune.reports.document import blocks_of
from xortune.reports.plot import Ends, Mark, Panel, Plot, Role, Series, shortened
from xortune.reports.tables import differing, lower
from xortune.runs.results import ConfigResult, ConfigResults
from xortune.runs.run import Run
from xortune.stats.numbers import dkw_band

LONGEST, LONGEST_NAME, LONGEST_PART = 56, 40, 16
"""Characters of a label beside a figure, of a name or two there, and of one value in a label."""

KEY = 6  # digits of a key that tell configs apart to the eye; whoever can point sees all of it
MOST = 1000  # more points or steps than these are not told apart: only so many are drawn
HUGE = 1e300  # numbers beyond it are no place on an axis: a difference of two would not be finite
WIDE = 100.0  # positive numbers whose largest is so many times the smallest are shown on a log axis


def plot_of(name: str, /, *panels: Panel, columns: int = 1, **values: Any) -> Plot:
    """The figure whose title, alt and note its template makes of these values."""
    told = {"between": between, "counted": counted, "lower": lower, "rate_of": rate_of}
    words = blocks_of(f"figures/{name}.txt.jinja", **told, with_interval=with_interval, **values)
    return Plot(name, words["title"], words["alt"], words["note"], panels, columns)


def finished(run: Run) -> ConfigResults:
    """The results of a run that has some, best first.

    Raises:
        InputError: no config is finished yet.
    """
    if not run.results:
        raise InputError(
            "no configuration is finished yet",
            place=str(run.path),
            fix="let the search run for longer, or continue it with --resume",
        )
    return run.results


def sampled(total: int, most: int = MOST) -> NDArray[np.intp]:
    """At most so many places of an order, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.intp))


def listed(
    run: Run, results: Sequence[ConfigResult], most: int = LONGEST
) -> tuple[str, tuple[str, ...]]:
    """What stands beside an axis of configs: its label, and one of so many signs for each of them.

    A config's label has the values of parameters in which these configs differ, a dash where it has
    none, and the key's beginning; the axis says which parameters they are. Of those that find no
    room the least important ones are left out, as far as the run's manifest knows, or the last.
    """
    differ = differing(results, run.parameters)
    importance = run.manifest.get("importance") or {}
    points = [result.point for result in results]
    values = {
        name: [shortened(value(p[name]), LONGEST_PART) if name in p else "–" for p in points]
        for name in differ
    }
    kept: list[str] = []
    texts = [""] * len(results)
    for name in sorted(differ, key=lambda name: -importance.get(name, 0.0)):
        wanted = [one for one in differ if one in {*kept, name}]
        found = [", ".join(row) for row in zip(*(values[one] for one in wanted), strict=True)]
        if max(map(len, found)) <= most - KEY - 3:
            kept, texts = wanted, found
    axis = ", ".join(shortened(name, LONGEST_PART) for name in kept)
    keys = (result.key[:KEY] for result in results)
    labels = (" · ".join(filter(None, pair)) for pair in zip(texts, keys, strict=True))
    return " · ".join(filter(None, (axis, "key"))), tuple(labels)


def same_in_all(results: Sequence[ConfigResult], names: Sequence[str]) -> str:
    """A sentence with what these configs have in common; or nothing."""
    if len(results) < 2:
        return ""
    differ = differing(results, names)
    text = config_text(results[0].point, [name for name in names if name not in differ])
    return f"The same in all shown: {shortened(text, 160)}." if text else ""


def described(result: ConfigResult, names: Sequence[str]) -> str:
    """A config with all of these parameters and its key."""
    text = shortened(config_text(result.point, names), 300)
    return f"{text} ({result.key})" if text else result.key


def with_interval(rate: float, ends: Ends) -> str:
    """A rate as it is told: `98.4 %, 95 % interval 91.7–99.8 %`."""
    return f"{measured(rate, *ends)}, 95 % interval {interval(*ends)}"


def counted(outcome: Outcome) -> str:
    """`63 of 64 seeds solved: 98.4 %, 95 % interval 91.7–99.8 %`."""
    rate = with_interval(outcome.rate, outcome.interval())
    return f"{outcome.successes:,} of {outcome.n:,} seeds solved: {rate}"


def between(sizes: Iterable[int]) -> str:
    """How many seeds configs have: `512`, or `8 to 512`."""
    known = sorted(set(sizes))
    return " to ".join(f"{n:,}" for n in dict.fromkeys((known[0], known[-1])))


CHOSEN: tuple[Role, ...] = ("a", "b", "c", "d", "e", "f")
"""Of lines beside each other, of which no more can be told apart."""


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
    """The share of n seeds that have at most x, as steps, with a band that holds for all x at once.

    The values are ascending, of the seeds that have one; if `larger`, it is the share that has more
    than x. With `text`, whose seeds they are, each step says how many it has, `by` which x.
    """
    at = np.unique(np.clip(np.concatenate([ends, values]), *ends))
    at = at[sampled(at.size)]
    below = np.searchsorted(values, at, side="right")
    have = values.size - below if larger else below
    table = np.stack([at, have / n, *dkw_band(have / n, n), have], axis=1).tolist()
    marks = (
        Mark(
            *(x, share),
            y_ends=(low, high),
            text=text and f"{text}: {k:,.0f} of {count(n, 'seed')}{by.format(x)}",
        )
        for x, share, low, high, k in table
    )
    return Series(label, tuple(marks), "steps", role, dashed=dashed)
