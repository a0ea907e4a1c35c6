"""What configs are called in figures: short beside an axis, in full where one points at them."""

from __future__ import annotations

from collections.abc import Sequence

from xortune.errors import InputError
from xortune.report.format import config_text, interval, measured, plain, value
from xortune.report.levels import differing
from xortune.report.tables import noted_importance
from xortune.run import ConfigResult, Run

__all__ = [
    "LONGEST",
    "LONGEST_BESIDE",
    "clipped",
    "counted",
    "described",
    "finished",
    "listed",
    "same_in_all",
    "short_key",
    "shown_n",
]

LONGEST, LONGEST_PART = 34, 16
"""Characters of a label, as many as find room beside a figure, and of one value in it."""

LONGEST_BESIDE = 40
"""Characters of a label in which counts stand too; the most that are drawn up a side."""

LONGEST_TEXT = 300
"""Characters of a config in a sentence, or where one points at it."""

KEY = 6
"""Digits of a key that tell configs apart to the eye; whoever can point sees all of it."""


def finished(run: Run) -> tuple[ConfigResult, ...]:
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


def clipped(text: str, most: int) -> str:
    """The text, or its beginning where it is longer."""
    return text if len(text) <= most else text[: most - 1] + "…"


def short_key(key: str) -> str:
    """The beginning of a key."""
    return key[:KEY]


def listed(
    run: Run, results: Sequence[ConfigResult], most: int = LONGEST
) -> tuple[str, tuple[str, ...]]:
    """What stands beside an axis of configs: its label, and a label for each of them.

    A config's label has the values of parameters in which these configs differ, a dash where it has
    none, and the key's beginning; the axis says which parameters they are. Of those that find no
    room the least important ones are left out, as far as the run's manifest knows, or the last.

    Args:
        run: whose configs they are.
        results: these.
        most: characters of a label.
    """
    differ = differing(results, run.parameters)
    importance = noted_importance(run.manifest) or {}
    rows = [_values(result, differ) for result in results]
    kept: list[int] = []
    for column in sorted(range(len(differ)), key=lambda at: -importance.get(differ[at], 0.0)):
        wanted = sorted([*kept, column])
        if all(len(_joined(row, wanted)) <= most - KEY - 3 for row in rows):
            kept = wanted
    named = [clipped(plain(differ[column]), LONGEST_PART) for column in kept]
    axis = " · ".join([*([", ".join(named)] if named else []), "key"])
    labels = [
        " · ".join(part for part in (_joined(row, kept), short_key(result.key)) if part)
        for row, result in zip(rows, results, strict=True)
    ]
    return axis, tuple(labels)


def _values(result: ConfigResult, names: Sequence[str]) -> list[str]:
    point = result.point
    return [clipped(value(point[n]), LONGEST_PART) if n in point else "–" for n in names]


def _joined(values: Sequence[str], columns: Sequence[int]) -> str:
    return ", ".join(values[column] for column in columns)


def same_in_all(results: Sequence[ConfigResult], names: Sequence[str]) -> str:
    """A sentence with what these configs have in common, and a blank before it; or nothing."""
    if len(results) < 2:
        return ""
    differ = differing(results, names)
    text = config_text(results[0].point, [name for name in names if name not in differ])
    return f" The same in all shown: {clipped(text, 160)}." if text else ""


def described(result: ConfigResult, names: Sequence[str]) -> str:
    """A config with all of these parameters and its key."""
    text = clipped(config_text(result.point, names), LONGEST_TEXT)
    return f"{text} ({result.key})" if text else result.key


def counted(k: int, n: int, low: float, high: float) -> str:
    """A rate as it is told: `63 of 64 seeds solved: 98.4 %, 95 % interval 91.7–99.8 %`."""
    shown = f"{measured(k / n, low, high)}, 95 % interval {interval(low, high)}"
    return f"{k:,} of {n:,} seeds solved: {shown}"


def shown_n(results: Sequence[ConfigResult]) -> str:
    """How many seeds these configs have: `512`, or `8 to 512`."""
    sizes = [result.outcome.n for result in results]
    low, high = f"{min(sizes):,}", f"{max(sizes):,}"
    return low if low == high else f"{low} to {high}"
