"""What a search space is: parameters, their conditions, and the settings of the search.

pydantic reads each part of a space file right into the class that stands for it: the types of its
fields say what is allowed, and become the JSON Schema (see `spaces.file`).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema

from xortune.core.errors import InputError
from xortune.core.point import Point, Value
from xortune.core.seeds import SEARCH
from xortune.core.success import Success
from xortune.core.task import Task
from xortune.spaces.command import Command
from xortune.spaces.text import Location, placed, shown, word

MAX_SEEDS = SEARCH.stop
"""The search draws its seeds below this."""

MAX_RUNG = 2**26
"""Seeds of a rung: one line of the journal holds no more."""

SUCCESS_RATE, EPOCHS_TO_SOLVE = "success_rate", "epochs_to_solve"

MEASURED = {SUCCESS_RATE: True, EPOCHS_TO_SOLVE: False}
"""What the built-in network is measured by, and whether more of it is better."""

FIRST = 8
"""A newcomer to a race gets so many seeds at once while none has failed (or the first rung)."""

# -------------------------------------------------------------------------------------------------
# Values of a file.

_DURATION = re.compile(
    r"(?=.)(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s?)?", re.ASCII
)


def parse_duration(text: str | float) -> float:
    """Seconds: ``90`` or ``"90s"``, ``"10m"``, ``"2h"``, ``"1h30m"``.

    Raises:
        InputError: anything else, zero, and what is not finite.
    """
    seconds = 0.0
    if isinstance(text, str):
        if match := _DURATION.fullmatch(text.strip()):
            hours, minutes, rest = (float(part or 0) for part in match.groups())
            seconds = hours * 3600 + minutes * 60 + rest
    elif isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    if not 0 < seconds < math.inf:
        raise InputError(
            f"{shown(text)} is no duration",
            field="time_budget",
            allowed="seconds above 0, or hours, minutes, seconds as in 2h, 10m, 90s, 1h30m",
            fix='write for instance "10m"',
        )
    return seconds


def contains(values: Sequence[Value], value: Value) -> bool:
    """Whether `value` is among `values`: 1 and 1.0 are the same, true and 1 are not."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in values
    )


def is_number(value: object) -> bool:
    """A finite number, and not true or false."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def _distinct(values: Sequence[Value]) -> Sequence[Value]:
    known = set()
    for value in values:
        if (same := (isinstance(value, bool), value)) in known:
            raise InputError(
                f"{shown(value)} is given twice",
                allowed="each value once (1 and 1.0 are the same value)",
                fix="remove one of them",
            )
        known.add(same)
    return values


def _ascending(counts: Sequence[int]) -> Sequence[int]:
    if all(a < b for a, b in itertools.pairwise(counts)):
        return counts
    raise InputError(
        f"{shown(list(counts))} does not ascend",
        allowed="counts of seeds, each larger than the one before",
        fix=f"write {sorted(set(counts))}",
    )


def about(text: str) -> Any:
    """What the schema, and a message about a missing key, says of a key."""
    return Field(description=text)


def _written_as(form: object) -> GetPydanticSchema:
    """A field whose value has another form in a file than here."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(form))


_SCALAR = {"type": ["number", "string", "boolean", "null"]}
Scalar: TypeAlias = Annotated[
    StrictBool | StrictInt | StrictFloat | StrictStr | None, WithJsonSchema(_SCALAR)
]
Scalars: TypeAlias = Annotated[tuple[Scalar, ...], Field(min_length=1), AfterValidator(_distinct)]
Number: TypeAlias = Annotated[StrictInt | StrictFloat, WithJsonSchema({"type": "number"})]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]
Count: TypeAlias = Annotated[StrictInt, Field(ge=1, le=MAX_SEEDS)]
Rung: TypeAlias = Annotated[StrictInt, Field(ge=1, le=MAX_RUNG)]
InnerShare: TypeAlias = Annotated[StrictFloat, Field(gt=0, lt=1)]
Duration: TypeAlias = Annotated[
    float,
    PlainValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]}
    ),
]

# -------------------------------------------------------------------------------------------------
# Parameters.

When: TypeAlias = tuple[tuple[str, tuple[Value, ...]], ...]
"""Active only where each named parameter has one of the values beside it; empty is always."""

_OneOrMore: TypeAlias = Annotated[
    Scalars,
    BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}]}),
]
_Condition: TypeAlias = Annotated[
    When,
    _written_as(
        Annotated[dict[str, _OneOrMore], AfterValidator(lambda given: tuple(given.items()))]
    ),
    about("Only where other parameters have these values."),
]
_Name: TypeAlias = Annotated[SkipJsonSchema[str], Field(alias="")]
"""In a file it stands before the parameter, not within; `spaces.file` puts it in under no name."""


@dataclass(frozen=True)
class Fixed:
    """One value, always the same."""

    name: _Name
    value: Scalar
    when: _Condition = field(default_factory=tuple)

    def __str__(self) -> str:
        return f"{word(self.value)} (fixed)"


@dataclass(frozen=True)
class Choice:
    """One of a list of values."""

    name: _Name
    values: Annotated[Scalars, Field(alias="choice")]
    when: _Condition = field(default_factory=tuple)

    def __str__(self) -> str:
        return ", ".join(map(word, self.values))


@dataclass(frozen=True)
class Range:
    """A number from a range, both ends included; whole if low, high and step are written whole."""

    name: _Name
    low: Number
    high: Number
    log: Annotated[StrictBool, about("Spread evenly over orders of magnitude.")] = False
    step: Annotated[Number | None, about("Only low, low + step, ... up to high.")] = None
    when: _Condition = field(default_factory=tuple)
    integer: bool = field(init=False)

    def __post_init__(self) -> None:
        """Low, high and step are ints where only whole numbers are meant, else floats."""
        numbers = {"low": self.low, "high": self.high, "step": self.step}
        given = {name: number for name, number in numbers.items() if number is not None}
        integer = all(isinstance(number, int) for number in given.values())
        for name, number in given.items():
            object.__setattr__(self, name, number if integer else float(number))
        object.__setattr__(self, "integer", integer)

    def __str__(self) -> str:
        step = f" in steps of {self.step}" if self.step is not None else ""
        kind = "whole numbers from " if self.integer else ""
        return f"{kind}{self.low} to {self.high}{step}"


Parameter: TypeAlias = Fixed | Choice | Range


def checked_range(given: Range) -> Range:
    """The range of a file.

    Raises:
        InputError: ends or a step that do not fit each other; its field is the key.
    """
    low, high, step = given.low, given.high, given.step

    def refusal(key: str, problem: str, allowed: str, fix: str) -> InputError:
        return InputError(problem, field=key, allowed=allowed, fix=fix)

    if low > high:
        fix = f"swap them: low: {high}, high: {low}"
        raise refusal("low", f"low {low} is above high {high}", "low at most high", fix)
    if given.log and low <= 0:
        fix = "raise low, for instance to 1.0e-4, or drop log"
        raise refusal("low", f"{low} has no logarithm", "low above 0 with log: true", fix)
    if step is None:
        return given
    if given.log:
        raise refusal("step", "a step with log: true", "one of step and log", "drop one of them")
    if step <= 0:
        raise refusal("step", f"{step} is no step", "a number above 0", "write a larger step")
    span, size = Decimal(repr(high)) - Decimal(repr(low)), Decimal(repr(step))
    if span / size > 2**53 or low + step == low or high - step == high:
        raise refusal("step", f"{step} is lost in rounding", "a larger step", "enlarge step")
    if span % size:
        last = type(low)(Decimal(repr(low)) + span // size * size)
        problem = f"steps of {step} from {low} do not reach {high}"
        fix = f"set high to {last}, or change step"
        raise refusal("step", problem, "a step that divides high - low", fix)
    return given


class Steps(Sequence[float]):
    """The values of a range that has finitely many, made when asked for.

    Counted in decimals, so that steps of 0.1 from 0 reach 0.3 and not 0.30000000000000004.
    """

    def __init__(self, parameter: Range) -> None:
        step = 1 if parameter.integer and parameter.step is None else parameter.step
        assert step is not None, f"{parameter.name} has no step"
        self._low, self._step = Decimal(repr(parameter.low)), Decimal(repr(step))
        self._count = int((Decimal(repr(parameter.high)) - self._low) / self._step) + 1
        self._number = int if parameter.integer else float

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> float:  # type: ignore[override]  # no slices
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._number(self._low + index * self._step)


def finite_values(parameter: Parameter) -> Sequence[Value] | None:
    """All values of a parameter in order; None for a range of floats without a step."""
    if isinstance(parameter, Fixed):
        return (parameter.value,)
    if isinstance(parameter, Choice):
        return parameter.values
    return Steps(parameter) if parameter.integer or parameter.step is not None else None


def extremes(parameter: Parameter) -> Sequence[Value]:
    """All values of a parameter; of a range its ends."""
    if isinstance(parameter, Range):
        return tuple(dict.fromkeys((parameter.low, parameter.high)))
    return finite_values(parameter) or ()


def equal_values(parameter: Parameter, value: Value) -> Sequence[Value]:
    """The value of the parameter that equals it, as the space writes it; empty if there is none."""
    if not isinstance(parameter, Range):
        return [item for item in extremes(parameter) if contains((item,), value)]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ()
    if not parameter.low <= value <= parameter.high:
        return ()
    if finite_values(parameter) is None:
        return (float(value),)
    steps = Steps(parameter)
    near = round((value - parameter.low) / (parameter.step or 1))
    return (steps[near],) if near < len(steps) and steps[near] == value else ()


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


# -------------------------------------------------------------------------------------------------
# Settings of the search.


@dataclass(frozen=True)
class SearchSettings:
    """How configurations are proposed, and how many."""

    sampler: Annotated[
        Literal["tpe", "gp", "nsgaii", "random", "grid", "cmaes"],
        about("Who proposes configurations."),
    ] = "tpe"
    trials: Annotated[Count | None, about("Proposals; none with sampler grid.")] = None
    seed: Annotated[
        StrictInt,
        Field(ge=0, le=2**32 - 1, description="Of the sampler, so that a search can be repeated."),
    ] = 0
    time_budget: Annotated[Duration | None, about('Seconds, or "10m", "2h".')] = None


@dataclass(frozen=True)
class RaceSettings:
    """A race with a rung at 2, 4, 8, ... seeds."""

    alpha: Annotated[InnerShare, about("How probable any wrong stop is, at most.")] = 0.05
    max: Annotated[Rung, about("Seeds at the last rung.")] = 512


@dataclass(frozen=True)
class SeedSettings:
    """How many seeds a configuration is trained under."""

    ladder: Annotated[
        tuple[Rung, ...],
        Field(min_length=1, description="Total seeds at each rung; promising ones climb."),
        AfterValidator(_ascending),
    ] = (8, 32, 128)
    race: Annotated[RaceSettings | None, about("Instead of a ladder.")] = None
    finalists: Annotated[
        Count | None, about("While so many do as well and as soon, others climb no further.")
    ] = 5
    certify: Annotated[Count | None, about("Fresh seeds for the finalists.")] = None

    @property
    def alpha(self) -> float:
        """The probability, at most, that the race stops any configuration wrongly."""
        return (self.race or RaceSettings()).alpha


def raced(given: SeedSettings) -> SeedSettings:
    """The settings with the rungs of a race as their ladder, if there is a race."""
    return given if given.race is None else replace(given, ladder=rungs_up_to(given.race.max))


def rungs_up_to(most: int) -> tuple[int, ...]:
    """2, 4, 8, ... and at last `most`: a look at a configuration each time its seeds double."""
    rungs = []
    seeds = 2
    while seeds < most:
        rungs.append(seeds)
        seeds *= 2
    return (*rungs, most)


@dataclass(frozen=True)
class StopSettings:
    """What ends a search before all its trials."""

    proven_rate: Annotated[
        InnerShare | None, about("A success rate that one configuration is proven to have.")
    ] = None


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


# -------------------------------------------------------------------------------------------------
# The space.


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
        text: the YAML.
        place: the file's name, for messages.
        lines: the line of each key, for messages.
        stop: what ends the search early.
        objectives: what is looked for, at least one; each name once.
        trainer: the user's own function, as `module:function` or `path.py:function`, or command;
            None for the built-in network, or where the function is given from Python.
        success: the rule for what it returns; None if it says so itself.
        command: how such a command is run and judged; None where none trains.
        timeout: seconds for a seed of such a function, looked at when it reports; None for any.
        folder: what relative paths start at.
    """

    name: str
    task: Task | None = field(compare=False)
    parameters: tuple[Parameter, ...]
    search: SearchSettings
    seeds: SeedSettings
    start: tuple[Point, ...]
    text: str = field(repr=False)
    place: str = field(compare=False)
    lines: Mapping[Location, int] = field(compare=False, repr=False)
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
        return placed(self.place, location, self.lines)

    def refusal(
        self, location: Location, problem: str, allowed: str, fix: str | None
    ) -> InputError:
        """The error for what is at a location of the file."""
        return InputError(problem, place=self.at(*location), allowed=allowed, fix=fix)
