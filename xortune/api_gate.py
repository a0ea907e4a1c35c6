"""The verbs about how sure one can be: plan, gate. They check what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from xortune.config import Config
from xortune.errors import InputError
from xortune.task import Task, TaskSpec

if TYPE_CHECKING:
    from xortune.plan import ComparisonPlan, RatePlan

__all__ = ["plan"]


def plan(
    rate: float | None = None,
    *,
    between: Sequence[float] | None = None,
    confidence: float = 0.95,
    failures: int | None = None,
    power: float = 0.8,
    config: Config | None = None,
    task: TaskSpec = "xor",
    measure: bool = True,
) -> RatePlan | ComparisonPlan:
    """How many seeds it takes to show a success rate, or to tell two apart; and how long here.

    Args:
        rate: the success rate to show.
        between: instead of it, two rates to tell apart.
        confidence: of the lower bound; with `between` 1 minus the level of the test.
        failures: how many seeds may fail; several numbers if not given.
        power: the chance that a difference as between the two rates is found.
        config: what the time is measured with; a standard config if not given.
        task: what that config learns.
        measure: False trains nothing and says nothing of time.

    Raises:
        InputError: neither a rate nor two, both, or an argument out of range.
    """
    from xortune.plan import STANDARD, measured_speed, plan_comparison, plan_rate

    if (rate is None) == (between is None):
        raise InputError(
            "neither a rate nor two to tell apart" if rate is None else "a rate and two others",
            field="rate",
            allowed="one of rate and between",
            fix="give --rate 0.99, or --between 0.9 0.95",
        )
    if config is not None and not isinstance(config, Config):
        raise InputError(f"a {type(config).__name__}", field="config", allowed="a xortune.Config")
    learned = task if isinstance(task, Task) else Task.named(task)
    # What is refused is refused before anything is trained: the time comes last.
    planned: RatePlan | ComparisonPlan
    if between is None:
        assert rate is not None
        planned = plan_rate(rate, confidence=confidence, failures=failures)
    else:
        if len(between) != 2:
            raise InputError(f"{len(between)} rates", field="between", allowed="two rates")
        if failures is not None:
            raise InputError(
                f"{failures} with two rates",
                field="failures",
                allowed="a number of failures only with a rate to show",
            )
        pair = (between[0], between[1])
        planned = plan_comparison(pair, alpha=1 - confidence, power=power)
    if not measure:
        return planned
    return replace(planned, speed=measured_speed(config or STANDARD, learned))
