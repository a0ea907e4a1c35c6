"""How a user's function is called, by its parameters: with a seed or many, with `report`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from xortune.core.errors import InputError

MANY, REPORT, RUN = "seeds", "report", "run"
"""A second parameter `seeds` takes all seeds of a block, a parameter `report` reports, and a
class's method `run` trains."""

STACKED = "run_all"
"""The method by which a `TorchTraining` is recognized without importing torch."""


@dataclass(frozen=True)
class CallForm:
    """How a user's function is called.

    Attributes:
        many: with all seeds of a block at once.
        reports: with a function `report`, which it calls with intermediate results.
        state: it is a class; an object is made for each config, and its `run` trains.
        yields: it is a generator function that yields intermediate results.
        stacked: it is a `TorchTraining`, which trains many seeds as one model.
        awaits: it is an async function.
    """

    many: bool = False
    reports: bool = False
    state: bool = False
    yields: bool = False
    stacked: bool = False
    awaits: bool = False

    @property
    def description(self) -> str:
        """What it is called with, for users."""
        if self.stacked:
            return "config: a TorchTraining, which trains many seeds as one where it can"
        seeds = MANY if self.many else "seed"
        taken = f"{seeds}, {REPORT}" if self.reports else seeds
        notes = ["all of a block at once"] * self.many + ["a generator"] * self.yields
        notes += ["awaited"] * self.awaits
        if self.state:
            about = f"; {', '.join(notes)}" if notes else ""
            return f"config: a class, whose {RUN} is called with {taken}{about}"
        return f"config, {taken}" + (f": {', '.join(notes)}" if notes else "")


PLAIN = CallForm()


def form_of(function: Callable[..., Any], label: str) -> CallForm:
    """How a function is called, by the names of its parameters.

    Raises:
        InputError: it cannot be called with a config and a seed.
    """
    state = inspect.isclass(function)
    stacked = state and hasattr(function, STACKED)
    called = getattr(function, RUN, None) if state else function
    if not callable(called):
        raise InputError(
            f"{label} is a class without a method {RUN}",
            field="trainer",
            allowed=f"a class that is made with a config, and whose {RUN} trains a seed",
            fix=f"add `def {RUN}(self, seed)`, or name a function",
        )
    if stacked and (missing := sorted(getattr(function, "__abstractmethods__", ()))):
        raise InputError(
            f"{label} is a TorchTraining without {', '.join(missing)}",
            field="trainer",
            allowed="a class with the methods model, optimizer, batches, loss and score",
            fix="add what is missing",
        )
    before: tuple[Any, ...] = ({},)  # the arguments before the seed: a config
    try:
        if state:
            inspect.signature(function).bind({})
            is_method = inspect.isfunction(inspect.getattr_static(function, RUN))
            before = (None,) if is_method else ()  # self, which a static method lacks
        signature = inspect.signature(called)
        reports = REPORT in signature.parameters
        signature.bind(*before, 0, **({REPORT: None} if reports else {}))
    except (TypeError, ValueError) as error:
        forms = f"f(config, seed), or f(config, {MANY}) for all seeds of a block at once"
        if state:
            forms = f"__init__(self, config), and {RUN}(self, seed) or {RUN}(self, {MANY})"
        if stacked:
            forms = "__init__(self, config), and call super().__init__(config) there"
        raise InputError(
            f"{label} cannot be called with a config and a seed ({error})",
            field="trainer",
            fix=f"write it as {forms}",
        ) from None
    if stacked:
        reports = getattr(function, "report_every", None) is not None
        return CallForm(reports=reports, state=True, stacked=True)
    names = [p.name for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY]
    many = names[len(before) : len(before) + 1] == [MANY]
    # An object that is called has a method that may be async.
    either = called, getattr(called, "__call__", None)  # noqa: B004
    awaits = any(map(inspect.iscoroutinefunction, either))
    if (yields := any(map(inspect.isasyncgenfunction, either))) or (awaits and (many or state)):
        raise InputError(
            f"{label} is async, and {'yields' if yields else 'no function of a config and a seed'}",
            field="trainer",
            allowed="async def f(config, seed), which may take `report` too",
            fix="return the result of one seed",
        )
    return CallForm(many, reports, state, inspect.isgeneratorfunction(called), awaits=awaits)
