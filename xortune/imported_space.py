"""The space file of a run that was imported: what was seen of each parameter, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from xortune.imported_results import Results
from xortune.imported_table import Typed
from xortune.point import Value

__all__ = ["MOST_VALUES", "space_text"]

MOST_VALUES = 20
"""Of numbers with more of them a range is written, from the least to the largest."""


def space_text(
    name: str,
    results: Results,
    *,
    source: str,
    configs: int,
    seeds: int,
    success: str | None,
    trainer: str | None,
) -> str:
    """YAML that `xortune.space.parse_space` reads.

    Args:
        name: of the space.
        results: what was imported.
        source: where from.
        configs: how many there are.
        seeds: that each of them has at least.
        success: the rule for a number; None if a column said it.
        trainer: a function that trains such configs, as a space file names it.
    """
    lines = [
        f"# Made by `xortune import` of {json.dumps(source)}: what was seen there, in",
        f"# {configs} configurations. What they were chosen from is not known.",
        f"name: {json.dumps(name)}",
    ]
    if trainer is not None:
        lines.append(f"trainer: {json.dumps(trainer)}")
    if success is not None:
        lines.append(f"success: {json.dumps(success)}")
    lines.append("parameters:")
    lines += [f"  {json.dumps(n)}: {_form(one)}" for n, one in results.parameters.items()]
    lines.append(f"search: {{sampler: random, trials: {configs}}}")
    lines.append(f"seeds: {{ladder: [{seeds}]}}")
    return "\n".join(lines) + "\n"


def _form(one: Typed) -> str:
    seen = _distinct(one.values)
    if len(seen) == 1:
        return json.dumps({"value": seen[0]})
    numbers = [v for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(seen) or len(seen) <= MOST_VALUES:
        return json.dumps({"choice": sorted(numbers) if len(numbers) == len(seen) else seen})
    low, high = min(numbers), max(numbers)
    if any(isinstance(number, float) for number in numbers):
        low, high = float(low), float(high)
    return json.dumps({"low": low, "high": high})


def _distinct(values: Sequence[Value]) -> list[Value]:
    """In the order in which they are met; 1 and 1.0 are one value, true and 1 are two."""
    seen: Mapping[tuple[bool, Value], Value] = {
        (isinstance(value, bool), value): value for value in values if value is not None
    }
    return list(seen.values())
