"""What a search space is: parameters, their conditions, and the settings of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

from xortune.core.point import Point, Value
from xortune.core.success import Success
from xortune.core.task import Task
from xortune.spaces.command import Command
from xortune.spaces.text import told

When: TypeAlias = tuple[tuple[str, tuple[Value, ...]], ...]
"""Active only where each named parameter has one of the values beside it; empty is always."""


@dataclass(frozen=True)
class Fixed:
    """A parameter with one value."""

    name: str
    value: Value
    when: When = ()


@dataclass(frozen=True)
class Choice:
    """A parameter with a list of values, each once."""

    name: str
    values: tuple[Value, ...]
    when: When = ()


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included.

    Attributes:
        name: of the parameter.
        low: an int if `integer`, else a float.
        high: likewise, at least `low`; a whole number of steps above it where there is a step.
        log: spread evenly over the logarithm; then low is above 0 and there is no step.
        step: only low, low + step, ... are meant; None is every number of the kind.
        integer: whether all of low, high and step are written as whole numbers.
        when: the condition.
    """

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False
    when: When = ()


Parameter: TypeAlias = Fixed | Choice | Range


@dataclass(frozen=True)
class SearchSettings:
    """How configurations are proposed.

    Attributes:
        sampler: tpe, gp, nsgaii, random, grid or cmaes.
        trials: how many proposals; None with grid, which runs every point once.
        seed: of the sampler, in [0, 2**32).
        time_budget: seconds after which nothing new is proposed, or None.
    """

    sampler: str
    trials: int | None
    seed: int = 0
    time_budget: float | None = None


@dataclass(frozen=True)
class SeedSettings:
    """How many seeds a configuration is trained under.

    Attributes:
        ladder: the total at each rung of the race, strictly ascending; the last is the full count.
        certify: fresh seeds for each finalist, or None.
        alpha: the probability, at most, that the race stops any configuration wrongly.
        finalists: while so many others do as well and as soon, one gets no further seeds; or
            None.
    """

    ladder: tuple[int, ...]
    certify: int | None = None
    alpha: float = 0.05
    finalists: int | None = 5


@dataclass(frozen=True)
class StopSettings:
    """What ends a search before all its proposals are made.

    Attributes:
        proven_rate: a success rate, in (0, 1): once a configuration is proven to have it, by a
            bound that holds for all configurations and all looks together, the search ends.
    """

    proven_rate: float | None = None


SUCCESS_RATE, EPOCHS_TO_SOLVE = "success_rate", "epochs_to_solve"


@dataclass(frozen=True)
class Objective:
    """What a search looks for.

    Attributes:
        name: success_rate, epochs_to_solve, a parameter with numbers only, or a number that a
            trainer of the user's own tells of each seed with one of `stats.numbers.ENDINGS`.
        maximize: whether more is better.
        number: that number's own name; None for all others.
        statistic: what of it: mean, iqm, median, q01 to q99; None for all others.
        failed: what a seed counts as that failed; None: as worse than any number.
        ties: of a success rate by a rule that judges a number: the median of that number, by which
            configs of the same count are told apart; else None.
    """

    name: str
    maximize: bool = False
    number: str | None = None
    statistic: str | None = None
    failed: float | None = None
    ties: Objective | None = None


@dataclass(frozen=True)
class SearchSpace:
    """A space file, read and checked. Make one with `spaces.space.load_space`.

    Attributes:
        name: of the space, and by default of its run directory.
        task: what the built-in network learns; not part of a comparison, since `text` names it.
            None with a trainer of the user's own.
        parameters: parents of conditions before their children, otherwise in the file's order.
        search: how configurations are proposed.
        seeds: how many seeds each gets.
        start: complete points that are evaluated first.
        stop: what ends the search early.
        objectives: what is looked for, at least one; each name once.
        trainer: the user's own function, as `module:function` or `path.py:function`, or command;
            None for the built-in network, or where the function is given from Python.
        success: the rule for what it returns; None if it says so itself.
        command: how such a command is run and judged; None where none trains.
        timeout: seconds for a seed of such a function, looked at when it reports; None for any.
        folder: what relative paths start at.
        text: the YAML.
        place: the file's name, for messages.
        lines: the line of each key, by its dotted path such as ``parameters.lr``.
    """

    name: str
    task: Task | None = field(compare=False)
    parameters: tuple[Parameter, ...]
    search: SearchSettings
    seeds: SeedSettings
    start: tuple[Point, ...]
    text: str = field(repr=False)
    place: str = field(compare=False)
    lines: Mapping[str, int] = field(compare=False, repr=False)
    stop: StopSettings = StopSettings()
    objectives: tuple[Objective, ...] = (Objective(SUCCESS_RATE, maximize=True),)
    trainer: str | None = None
    success: Success | None = None
    command: Command | None = None
    timeout: float | None = None
    folder: Path = field(default=Path(), compare=False)

    def __repr__(self) -> str:
        names = ", ".join(parameter.name for parameter in self.parameters[:8])
        more = ", ..." if len(self.parameters) > 8 else ""
        trials = "" if self.search.trials is None else f", {self.search.trials:,} trials"
        return f"SearchSpace({self.name!r}, {names}{more}; {self.search.sampler}{trials})"

    def at(self, *location: str | int) -> str:
        """``file:line: dotted.name`` for a message about a key of the file."""
        ways = [location[:end] for end in range(len(location) + 1)]
        lines = {way: self.lines.get(".".join(map(str, way))) for way in ways}
        return told(self.place, location, {way: line for way, line in lines.items() if line})


class Steps(Sequence[float]):
    """The values of a range that has finitely many, made when asked for.

    Counted in decimals, so that steps of 0.1 from 0 reach 0.3 and not 0.30000000000000004.
    """

    def __init__(self, parameter: Range) -> None:
        step = 1 if parameter.integer and parameter.step is None else parameter.step
        assert step is not None, f"{parameter.name} has no step"
        self._low, self._step = Decimal(repr(parameter.low)), Decimal(repr(step))
        self._count = int((Decimal(repr(parameter.high)) - self._low) / self._step) + 1
        self._integer = parameter.integer

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> float:  # type: ignore[override]  # no slices
        if not 0 <= index < self._count:
            raise IndexError(index)
        number = self._low + index * self._step
        return int(number) if self._integer else float(number)


FIRST = 8
"""A newcomer to a race gets so many seeds at once while none has failed (or the first rung)."""


def rungs_up_to(most: int) -> tuple[int, ...]:
    """2, 4, 8, ... and at last `most`: a look at a configuration each time its seeds double."""
    rungs = []
    seeds = 2
    while seeds < most:
        rungs.append(seeds)
        seeds *= 2
    return (*rungs, most)


def contains(values: Sequence[Value], value: Value) -> bool:
    """Whether `value` is among `values`: 1 and 1.0 are the same, true and 1 are not."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


def is_active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Whether a parameter's condition holds.

    Args:
        parameter: whose condition is asked.
        values: the parameters that come before it in the space and are active themselves; a name
            that is absent is inactive, and so then are its children.
    """
    return all(
        name in values and contains(allowed, values[name]) for name, allowed in parameter.when
    )
