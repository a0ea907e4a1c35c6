"""The Pareto front of a run: what its manifest says was looked for, and who is not dominated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xortune.errors import InputError
from xortune.objective import estimates, front, seen_of
from xortune.space_model import SUCCESS_RATE, Objective
from xortune.space_objectives import MEASURED, is_number
from xortune.stats_values import named_statistic

if TYPE_CHECKING:
    from xortune.run import ConfigResult

__all__ = ["front_of", "full_seeds", "noted_objectives", "objectives_in"]

DIRECTIONS = {"maximize": True, "minimize": False}


def noted_objectives(objectives: Sequence[Objective]) -> list[dict[str, Any]]:
    """Objectives as a manifest notes them."""
    words = {more: word for word, more in DIRECTIONS.items()}
    more = ("number", "statistic", "failed")
    return [
        {"name": o.name, "direction": words[o.maximize]}
        | {name: told for name in more if (told := getattr(o, name)) is not None}
        | ({} if o.ties is None else {"ties": noted_objectives([o.ties])[0]})
        for o in objectives
    ]


def objectives_in(manifest: Mapping[str, Any], place: str) -> tuple[Objective, ...]:
    """What a run looked for; the success rate where the manifest says nothing.

    Raises:
        InputError: an entry `objectives` that is damaged.
    """
    noted = manifest.get("objectives")
    if noted is None:
        return (Objective(SUCCESS_RATE, maximize=True),)
    try:
        return tuple(_noted(one) for one in noted)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise InputError(
            f"{noted!r} is not what a search notes",
            field="objectives",
            place=place,
            allowed="a list of {name: .., direction: maximize or minimize}, of numbers with more",
        ) from None


def _noted(one: Mapping[str, Any]) -> Objective:
    name, maximize, failed = str(one["name"]), DIRECTIONS[one["direction"]], one.get("failed")
    if "number" not in one:
        ties = one.get("ties")
        return Objective(name, maximize, ties=None if ties is None else _noted(ties))
    told = named_statistic(name)
    if told != (one["number"], one["statistic"]) or not (failed is None or is_number(failed)):
        raise ValueError(name)
    return Objective(name, maximize, *told, failed=failed)


def full_seeds(results: Sequence[ConfigResult], manifest: Mapping[str, Any]) -> int:
    """The last rung of the ladder; the largest n there is, if the manifest does not say."""
    ladder = manifest.get("ladder")
    if isinstance(ladder, Sequence) and ladder and isinstance(ladder[-1], int):
        return ladder[-1]
    return max((result.outcome.n for result in results), default=0)


def front_of(
    results: Sequence[ConfigResult], objectives: Sequence[Objective], full: int
) -> NDArray[np.bool_]:
    """Who is on the front: not dominated in point estimates, among those with the full seeds.

    The estimates are k / n, ERT and the parameters' values. Intervals decide nothing here: nearly
    all of them overlap, and nobody would be dominated. Who got fewer seeds is not compared: it was
    stopped, and its few seeds may have been lucky.

    Args:
        results: C of them.
        objectives: what was looked for.
        full: seeds that a config must have had.

    Returns:
        bool, shape (C,).

    Raises:
        InputError: an objective that is no number in some config.
    """
    for objective in objectives:
        if objective.name not in MEASURED and objective.number is None:
            other = next((r for r in results if not is_number(r.point.get(objective.name))), None)
            if other is not None:
                raise InputError(
                    f"config {other.key} has no number of that name", field=objective.name
                )
    compared = [i for i, result in enumerate(results) if result.outcome.n >= full]
    values = [_estimates(results[i], objectives) for i in compared]
    found = np.zeros(len(results), np.bool_)
    if compared:
        found[compared] = front(values, objectives)
    return found


def _estimates(result: ConfigResult, objectives: Sequence[Objective]) -> tuple[float, ...]:
    return estimates(objectives, seen_of(result.point, result.outcome, objectives))
