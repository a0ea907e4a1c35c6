"""The contents of a space file, the search space that it becomes, errors of its keys and values.

pydantic reads each part of a file into a class. The types of the fields define what is allowed, and
the JSON Schema. The messages about wrong keys and values follow from that schema. Relations between
values (conditions, grids, start entries) are checked in `spaces.space`.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias, TypeGuard, Union, get_type_hints

import pydantic
from pydantic import (
    AfterValidator,
    Field,
    GetPydanticSchema,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import ErrorDetails

from xortune.core.errors import InputError, closest, nearest, of_percent
from xortune.core.formats import duration, number, percent
from xortune.core.point import Nested, Point, Value, as_float
from xortune.core.seeds import SEARCH
from xortune.core.success import VALUE, Finite, Rule, parse_success, rule_for
from xortune.core.task import Task
from xortune.spaces.command import (
    EXIT_CODE,
    JSON,
    METRICS,
    NUMBER,
    RegexMetric,
    Template,
    parse_template,
    section,
)
from xortune.spaces.pruners import PRUNERS, SCHEMA, ChosenPruner, chosen_pruner
from xortune.spaces.yaml_reader import Location, YamlDocument, placed, quoted, unquoted
from xortune.stats.proportions import expected_rate

FIRST_SEED_BEYOND = SEARCH.stop
"""The search draws its seeds below this."""

MAX_RUNG = 2**26
"""Maximum seeds of a rung, and of a line of the journal."""

MAX_PARAMETERS = 256  # more than any sampler can use
PARAMETER_FORMS = "a fixed value, {choice: [..]} or {low: .., high: ..}"

FLAWLESS_SEEDS = 8
"""A race gives a new configuration up to this many seeds at once, while none of them fails."""

# -------------------------------------------------------------------------------------------------
# Values of a file.

_DURATION = re.compile(
    r"(?=.)(?:(\d+(?:\.\d*)?)h)?(?:(\d+(?:\.\d*)?)m)?(?:(\d+(?:\.\d*)?)s?)?", re.ASCII
)


def parse_duration(text: str | float) -> float:
    """Seconds: ``90`` or ``"90s"``, ``"10m"``, ``"2h"``, ``"1h30m"``.

    Raises:
        InputError: it is anything else, zero, or not finite.
    """
    seconds = 0.0
    if isinstance(text, str):
        if match := _DURATION.fullmatch(text.strip()):
            hours, minutes, rest = (float(part or 0) for part in match.groups())
            seconds = hours * 3600 + minutes * 60 + rest
    elif is_number(text):
        seconds = float(text)
    if not 0 < seconds < math.inf:
        raise InputError(
            f"{quoted(text)} is not a duration",
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


def is_number(value: object) -> TypeGuard[int | float]:
    """A finite number, and not true or false."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and math.isfinite(as_float(value))


def _distinct(values: Sequence[Value]) -> Sequence[Value]:
    known = set()
    for value in values:
        if (same := (isinstance(value, bool), value)) in known:
            allowed = "each value once (1 and 1.0 are the same value)"
            problem = f"{quoted(value)} is given twice"
            raise InputError(problem, allowed=allowed, fix="remove one of them")
        known.add(same)
    return values


def _ascending(counts: Sequence[int]) -> Sequence[int]:
    if all(a < b for a, b in itertools.pairwise(counts)):
        return counts
    raise InputError(
        f"{quoted(list(counts))} does not ascend",
        allowed="counts of seeds, each larger than the one before",
        fix=f"write {sorted(set(counts))}",
    )


def _parameter_name(name: str) -> str:
    if not re.fullmatch(r"[^\W\d][\w.-]*", name):  # letters of any language
        allowed = "letters, digits, _, - and dots, with a letter or _ first"
        raise InputError(f"{quoted(name)} is not a parameter name", allowed=allowed)
    return name


def _about(text: str) -> Any:
    """A description of a key, for the schema and for messages about a missing key."""
    return Field(description=text)


def _written_as(form: object) -> GetPydanticSchema:
    """A field whose value has another type in a file than in the class."""
    return GetPydanticSchema(lambda _, handler: handler.generate_schema(form))


def _one_of(value: Any, otherwise: type, /, **keyed: type) -> Any:
    """The type of a value or a mapping, which becomes the first class whose key it has."""

    def tag(given: object) -> str:
        if not isinstance(given, dict):
            return "value"
        return next((form for key, form in keyed.items() if key in given), otherwise).__name__

    forms = [Annotated[form, Tag(form.__name__)] for form in (*keyed.values(), otherwise)]
    every: Any = Union[(Annotated[value, Tag("value")], *forms)]
    return Annotated[every, pydantic.Discriminator(tag)]


_SCALAR = {"type": ["number", "string", "boolean", "null"]}
Scalar: TypeAlias = Annotated[
    StrictBool | StrictInt | StrictFloat | StrictStr | None, WithJsonSchema(_SCALAR)
]
_NESTED = {"type": [*_SCALAR["type"], "array", "object"]}
_Nestable: TypeAlias = Annotated[
    StrictBool
    | StrictInt
    | StrictFloat
    | StrictStr
    | Annotated[list[Any] | dict[str, Any], AfterValidator(Nested.of)]
    | None,
    WithJsonSchema(_NESTED),
]
Nestable: TypeAlias = Annotated[Value, _written_as(_Nestable)]
Scalars: TypeAlias = Annotated[tuple[Nestable, ...], Field(min_length=1), AfterValidator(_distinct)]
Number: TypeAlias = Annotated[StrictInt | StrictFloat, WithJsonSchema({"type": "number"})]
Text: TypeAlias = Annotated[StrictStr, Field(min_length=1)]
Count: TypeAlias = Annotated[StrictInt, Field(ge=1, le=FIRST_SEED_BEYOND)]
Rung: TypeAlias = Annotated[StrictInt, Field(ge=1, le=MAX_RUNG)]
InnerShare: TypeAlias = Annotated[StrictFloat, Field(gt=0, lt=1)]
Duration: TypeAlias = Annotated[
    float,
    pydantic.PlainValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "minLength": 1}]}
    ),
]

# -------------------------------------------------------------------------------------------------
# Parameters.

When: TypeAlias = tuple[tuple[str, tuple[Value, ...]], ...]
"""A condition: active where each named parameter has one of its values; () is always active."""

_OneOrMore: TypeAlias = Annotated[
    Scalars,
    pydantic.BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _NESTED, "minItems": 1}]}),
]
_Condition: TypeAlias = Annotated[
    When,
    _written_as(Annotated[dict[str, _OneOrMore], AfterValidator(lambda when: (*when.items(),))]),
    _about("Only where other parameters have these values."),
]
_Name: TypeAlias = Annotated[SkipJsonSchema[str], Field(alias="")]
"""A parameter's name, the key before it in a file. `read_file` adds it under the alias ""."""


@section
class Fixed:
    """One value, always the same."""

    name: _Name
    value: Nestable
    when: _Condition = field(default_factory=tuple)

    def __str__(self) -> str:
        return f"{unquoted(self.value)} (fixed)"


@section
class Choice:
    """One of a list of values."""

    name: _Name
    values: Annotated[Scalars, Field(alias="choice")]
    when: _Condition = field(default_factory=tuple)

    def __str__(self) -> str:
        return ", ".join(map(unquoted, self.values))


@section
class Range:
    """A number from a range, both ends included; whole if low, high and step are written whole."""

    name: _Name
    low: Number
    high: Number
    log: Annotated[StrictBool, _about("Spread evenly over orders of magnitude.")] = False
    step: Annotated[Number | None, _about("Only low, low + step, ... up to high.")] = None
    when: _Condition = field(default_factory=tuple)
    integer: bool = field(init=False)

    def __post_init__(self) -> None:
        """Make low, high and step ints if all of them are ints, else floats.

        Raises:
            InputError: they do not fit each other; its field is the key.
        """
        low, high, step = self.low, self.high, self.step

        def refusal(key: str, problem: str, allowed: str, fix: str) -> InputError:
            return InputError(problem, field=key, allowed=allowed, fix=fix)

        if low > high:
            fix = f"swap them: low: {high}, high: {low}"
            raise refusal("low", f"low {low} is above high {high}", "low at most high", fix)
        if self.log and low <= 0:
            fix = "raise low, for instance to 1.0e-4, or drop log"
            raise refusal("low", f"{low} has no logarithm", "low above 0 with log: true", fix)
        given = {"low": low, "high": high} | ({} if step is None else {"step": step})
        number = int if all(isinstance(value, int) for value in given.values()) else float
        object.__setattr__(self, "integer", number is int)
        for name, value in given.items():
            object.__setattr__(self, name, number(value))
        if not math.isfinite(self.high - self.low + (step or 0)):  # which samplers compute
            problem = f"{low} to {high} is too wide"
            raise refusal("high", problem, "high - low below 1.7e+308", "narrow the range")
        if step is None:
            return
        if self.log:
            fix = "drop one of them"
            raise refusal("step", "a step with log: true", "one of step and log", fix)
        if step <= 0:
            fix = "write a larger step"
            raise refusal("step", f"{step} is not a step", "a number above 0", fix)
        span, size = Decimal(repr(high)) - Decimal(repr(low)), Decimal(repr(step))
        if span / size > 2**53 or low + step == low or high - step == high:
            raise refusal("step", f"{step} is lost in rounding", "a larger step", "enlarge step")
        if span % size:
            last = number(Decimal(repr(low)) + span // size * size)
            problem = f"steps of {step} from {low} do not reach {high}"
            fix = f"set high to {last}, or change step"
            raise refusal("step", problem, "a step that divides high - low", fix)

    def __str__(self) -> str:
        step = f" in steps of {self.step}" if self.step is not None else ""
        kind = "whole numbers from " if self.integer else ""
        return f"{kind}{self.low} to {self.high}{step}"


Parameter: TypeAlias = Fixed | Choice | Range


class Steps(Sequence[float]):
    """The values of a range with finitely many, computed on demand.

    Computed in decimals, so that steps of 0.1 from 0 reach 0.3 and not 0.30000000000000004.
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
    """All values of a parameter; the ends of a range."""
    if isinstance(parameter, Range):
        return tuple(dict.fromkeys((parameter.low, parameter.high)))
    return finite_values(parameter) or ()


def equal_values(parameter: Parameter, value: Value) -> Sequence[Value]:
    """The parameter's value that equals `value`, as the space writes it; empty if there is none."""
    if not isinstance(parameter, Range):
        return [item for item in extremes(parameter) if contains((item,), value)]
    if not is_number(value) or not parameter.low <= value <= parameter.high:
        return ()
    if finite_values(parameter) is None:
        return (float(value),)
    steps = Steps(parameter)
    near = round((value - parameter.low) / (parameter.step or 1))
    return (steps[near],) if near < len(steps) and steps[near] == value else ()


def condition_text(parameter: Parameter) -> str:
    """A parameter's condition for messages: `optimizer is SGD or RMSprop and nesterov is true`."""
    return " and ".join(f"{name} is {' or '.join(map(unquoted, v))}" for name, v in parameter.when)


def is_active(parameter: Parameter, values: Mapping[str, Value]) -> bool:
    """Whether a parameter's condition holds.

    Args:
        parameter: with the condition.
        values: of the active parameters before it in the space. A missing parameter is inactive,
            and so are its children.
    """
    return all(
        name in values and contains(allowed, values[name]) for name, allowed in parameter.when
    )


# -------------------------------------------------------------------------------------------------
# What is trained, how configurations are proposed, how many seeds they get.


@section
class CsvSettings:
    """A task from a CSV file with a header."""

    csv: Annotated[Text, _about("Path, relative to the space file.")]
    target: Annotated[Text | None, _about("The 0/1 column to learn.")] = None
    held_out: Annotated[Text | None, _about("A 0/1 column: rows to judge on.")] = None
    accuracy: Annotated[
        StrictFloat, Field(gt=0, le=1, description="Share of held-out rows that must be right.")
    ] = 1.0


@section
class FunctionSettings:
    """A function or a class of your own; see docs/own-trainer.md."""

    function: Annotated[
        Text, _about("module:function, or ./file.py:function relative to the space file.")
    ]
    timeout: Annotated[
        Duration | None,
        _about(
            'For one seed, looked at whenever the function reports or yields: seconds, or "10m".'
        ),
    ] = None


@section
class CommandSettings:
    """A command that trains under one seed; see docs/command.md."""

    command: Annotated[
        Text,
        _about(
            "A program and its arguments, with {seed} and each parameter in braces; no shell reads "
            "it."
        ),
    ]
    success: Annotated[
        Text | None, _about('"exit code 0", or a rule for its numbers: "accuracy >= 0.9".')
    ] = None
    metric: Annotated[
        str | RegexMetric | None,
        _written_as(_one_of(Text | None, RegexMetric)),
        _about('Its numbers: "last line json", "last line number", or a mapping with a regex.'),
    ] = None
    timeout: Annotated[
        Duration | None, _about('Limit for one seed, which then fails: seconds, or "10m".')
    ] = None
    files: Annotated[
        tuple[Text, ...] | None,
        _about(
            "Files and folders that it needs, relative to the space file; if not given, the words "
            "of the command that are files."
        ),
    ] = None
    template: Template = field(init=False)
    by_exit: bool = field(init=False)  # whether its exit code decides about success
    rule: Rule | None = field(init=False)  # for its numbers

    def __post_init__(self) -> None:
        """Parse the command and the rule, and say where its numbers are, if it has any.

        Raises:
            InputError: one of them is not usable, or they do not fit; its field is the key.
        """
        template, rule = parse_template(self.command), None
        by_exit = self.success is not None and _plain(self.success) == EXIT_CODE
        if self.success is not None and not by_exit:
            try:
                rule = parse_success(self.success)
            except InputError as error:
                error.allowed = f"{EXIT_CODE!r}, or {error.allowed}"
                raise
        metric = self._checked_metric(rule)
        by_exit = by_exit or (self.success is None and metric is None)
        derived = {"template": template, "by_exit": by_exit, "rule": rule, "metric": metric}
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def _checked_metric(self, rule: Rule | None) -> str | RegexMetric | None:
        """Where the numbers are in its output, one of `METRICS` or a regex; None without any."""
        if self.metric is None:
            return None if rule is None else JSON
        if isinstance(found := self.metric, RegexMetric):
            for name in set(rule.names if rule else ()) - {found.name}:
                raise self._unfitting(
                    f"the rule {str(rule)!r} judges {name!r}, and the regex finds {found.name!r}"
                )
            return found
        metric = _plain(found)
        if metric not in METRICS:
            allowed, fix = ", ".join(map(repr, METRICS)), nearest(found, METRICS, listed=True)
            problem = f"{quoted(found)} is not a metric"
            raise InputError(problem, field="metric", allowed=allowed, fix=fix)
        for name in set(rule.names if rule and metric == NUMBER else ()) - {VALUE}:
            raise self._unfitting(
                f"a number without a name, and the rule {str(rule)!r} judges {name!r}"
            )
        return metric

    def check_judged(self) -> None:
        """Refuse a number that no rule judges, where a success is asked for.

        Raises:
            InputError: the metric is one number, and there is no rule.
        """
        if self.success is not None:
            return
        if isinstance(self.metric, RegexMetric):
            name = self.metric.name
            raise self._unfitting(f"a number, {name!r}, but no rule says what a success is")
        if self.metric == NUMBER:
            raise self._unfitting("a number, but no rule says what a success is")

    def _unfitting(self, problem: str) -> InputError:
        """The error of a metric that does not go with the rule."""
        if isinstance(self.metric, RegexMetric):
            name = self.metric.name
            allowed = f"a rule for {name!r}, or {EXIT_CODE!r}"
            fix = f'write success: "{rule_for(name)}" within `trainer`, with your own limit'
        else:
            allowed = f"with {NUMBER!r} a rule for {VALUE!r}, or {EXIT_CODE!r}"
            fix = f'write success: "{VALUE} >= 0.9" with your own limit, or metric: {JSON!r}'
        return InputError(problem, field="metric", allowed=allowed, fix=fix)


def _plain(text: str) -> str:
    return " ".join(text.split()).lower()


@dataclass(frozen=True)
class Resumed:
    """What a resume does with another value of a key of `search`, `seeds` or `stop`.

    Attributes:
        refusal: why a run cannot go on with it, or with less if the key may grow; empty if the
            value changes no result.
        grows: whether a run may go on with more of it.
        free: whether that needs no extension.
    """

    refusal: str = "the counts so far were made otherwise"
    grows: bool = False
    free: bool = False


STARTED = Resumed("this search would not repeat the proposals so far")
MORE = Resumed("fewer than the run asks for", grows=True)
IGNORED = Resumed("")


def resumed_keys(space: SearchSpace) -> dict[str, tuple[Any, Resumed]]:
    """Of each key of `search`, `seeds` and `stop` its value, and what a resume does with another.

    A key that does not say so cannot be changed.
    """
    race = space.seeds.race or RaceSettings()
    sections = {"search": space.search, "seeds": space.seeds, "seeds.race": race}
    found = {}
    for place, settings in {**sections, "stop": space.stop}.items():
        for name, hint in get_type_hints(type(settings), include_extras=True).items():
            said = [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Resumed)]
            value = getattr(settings, name)
            value = value.written if isinstance(value, ChosenPruner) else value
            found[f"{place}.{name}"] = value, (*said, Resumed())[0]
    return found


@section
class SearchSettings:
    """How configurations are proposed, and how many."""

    sampler: Annotated[StrictStr, _about("What proposes configurations."), STARTED] = "auto"
    trials: Annotated[
        Count | None, _about("Number of proposals; not with grid."), replace(MORE, free=True)
    ] = None
    seed: Annotated[
        StrictInt,
        Field(ge=0, le=2**32 - 1, description="Seed of the sampler, to repeat a search."),
        STARTED,
    ] = 0
    time_budget: Annotated[Duration | None, _about('Limit: seconds, "10m", "2h".'), IGNORED] = None
    pruner: Annotated[
        ChosenPruner | None,
        _written_as(Annotated[Any, AfterValidator(chosen_pruner), WithJsonSchema(SCHEMA)]),
        _about(
            "Ends seeds by what they report, as a pruner of Optuna says, whose arguments a mapping "
            "gives: {name: percentile, percentile: 25}. When it ends a seed: "
            + "; ".join(f"{one.name}, if {one.about}" for one in PRUNERS)
            + ". See docs/pruning.md."
        ),
    ] = None
    as_they_come: Annotated[
        StrictBool,
        _about("Decide by results as they come: the same seed need not give the same search."),
        STARTED,
    ] = False


@section
class RaceSettings:
    """A race: rungs of 1, 2, 3, 4, 6, 8, ... seeds; 2, 4, 8, ... if there are other objectives."""

    alpha: Annotated[InnerShare, _about("Risk that any stop is wrong, at most.")] = 0.05
    max: Annotated[Rung, _about("Seeds at the last rung.")] = 512
    epsilon: Annotated[InnerShare, _about("The answer is this close to the best, ...")] = 0.01
    delta: Annotated[InnerShare, _about("... or not, with this probability.")] = 0.1


@section
class SeedSettings:
    """How many seeds a configuration is trained under."""

    ladder: Annotated[
        tuple[Rung, ...],
        Field(min_length=1, description="Total seeds at each rung; promising ones go on."),
        AfterValidator(_ascending),
    ] = (8, 32, 128)
    race: Annotated[RaceSettings | None, _about("Instead of a ladder."), IGNORED] = None
    finalists: Annotated[
        Count | None,
        _about("After the last proposal a race trains at most `max` times this number of seeds."),
    ] = 5
    certify: Annotated[Count | None, _about("Fresh seeds to certify finalists."), MORE] = None
    price: Annotated[
        Text | None,
        _about("What a seed costs: seconds, or a number of your own trainer. All cost the same."),
    ] = None

    @property
    def alpha(self) -> float:
        """The greatest probability that the race stops any configuration wrongly."""
        return (self.race or RaceSettings()).alpha


def race_rungs(most: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 11, 16, ... and finally `most`: two looks each time the seeds double.

    With one look a configuration gets up to twice the seeds that it takes to see that it fails.
    """
    rungs = dict.fromkeys(round(2 ** (i / 2)) for i in range(2 * most.bit_length()))
    return (*itertools.takewhile(lambda seeds: seeds < most, rungs), most)


def rungs_up_to(most: int, first: int = 2) -> tuple[int, ...]:
    """`first`, twice that, ... and finally `most`: a look each time the seeds double."""
    doubled = (first * 2**i for i in itertools.count())
    return (*itertools.takewhile(lambda seeds: seeds < most, doubled), most)


def weighs_seeds(objectives: Sequence[Objective], stop: StopSettings) -> bool:
    """Whether a race gives seeds where they are worth most; see `racing.grants`.

    That finds the best success rate. To prove a rate instead, the leader needs seeds even if no
    other configuration comes near it.
    """
    names = [objective.name for objective in objectives]
    return names == [SUCCESS_RATE] and stop.proven_rate is None


def number_to_learn(space: SearchSpace) -> Objective | None:
    """The number that sampler auto learns: the objective, or what the rule judges. None: it is TPE.

    It is TPE with several objectives, with a required rate, with conditional parameters, and where
    seeds are only solved or not, or several numbers decide about it.
    """
    if len(space.objectives) > 1 or any(parameter.when for parameter in space.parameters):
        return None
    [objective] = space.objectives
    if objective.required is not None:
        return None
    if objective.number is not None:
        return objective
    several = space.success is not None and len(space.success.names) > 1
    return None if several else objective.ties


@section
class StopSettings:
    """What ends a search before all its trials."""

    proven_rate: Annotated[
        InnerShare | None, _about("End when one configuration is proven this good.")
    ] = None

    @property
    def by_results(self) -> bool:
        """Whether a result may end the search."""
        return self != StopSettings()


# -------------------------------------------------------------------------------------------------
# What xortune itself measures of seeds, and a search can optimize: each is one value.

TimedBlock: TypeAlias = tuple[float, int]
"""Seconds of each seed of a block, and its seeds."""


class Seen(Protocol):
    """Results of a configuration's seeds, of which objectives are made.

    Attributes:
        k, n: solved seeds, and all.
        rate: k / n.
        spent: epochs of all seeds.
        timed_blocks: seconds of a seed, and how many seeds, of each block; empty if nobody asks.
    """

    @property
    def k(self) -> int: ...  # noqa: D102
    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def rate(self) -> float: ...  # noqa: D102
    @property
    def spent(self) -> int: ...  # noqa: D102
    @property
    def timed_blocks(self) -> tuple[TimedBlock, ...]: ...  # noqa: D102
    def interval(self) -> tuple[float, float]: ...  # noqa: D102


@dataclass(frozen=True)
class MeasuredObjective:
    """An objective that xortune measures; spaces, tables, samplers and reports ask it.

    To add one, write a value into `MEASURED`.

    Attributes:
        name: in a space file.
        label: where people read.
        heading: of its column in the table of a front.
        maximize: whether more is better.
        estimate: its value; infinite without one.
        write: a finite value as text.
        told: the value for a sampler, finite whatever the results are.
        told_as: the name of that value.
        interval: its 95 % interval, where it is a share of seeds; None for others.
        needs_epochs: whether only the built-in network has it.
        needs_rate: whether a rate has to be required beside it, since what never solves may be the
            best of it.
    """

    name: str
    label: str
    heading: str
    maximize: bool
    estimate: Callable[[Seen], float]
    write: Callable[[float], str]
    told: Callable[[Seen], float]
    told_as: str
    interval: Callable[[Seen], tuple[float, float]] | None = None
    needs_epochs: bool = False
    needs_rate: bool = False


def seconds_of_seed(blocks: Iterable[TimedBlock]) -> float:
    """The median seconds of a seed; a block counts by its seeds. inf without any block.

    The first block of a worker also took the time of imports and compilation, which would decide
    about a mean.
    """
    ordered = sorted(blocks)
    half, seen = sum(n for _, n in ordered) / 2, 0
    for seconds, n in ordered:
        if (seen := seen + n) >= half:
            return seconds
    return math.inf


def log_epochs_to_solve(seen: Seen) -> float:
    """The logarithm of the epochs to solve (ERT), with one more success than there was.

    The additional success took as many epochs as the mean of the seeds: ln(spent (n + 1) / n /
    (k + 1)). Without a success the value is finite, the cost of n + 1 seeds of full length, and
    larger than with a success. An enormous value would hide all others from a sampler that looks at
    volumes (TPE's hypervolume, NSGA-II's crowding) or fits a surface (GP). In the logarithm a tenth
    fewer epochs count the same everywhere.
    """
    spent = max(seen.spent, 1) / seen.n * (seen.n + 1)
    return math.log(spent / (seen.k + 1))


RATE = MeasuredObjective(
    name="success_rate",
    label="success rate",
    heading="solved",
    maximize=True,
    estimate=lambda seen: seen.rate,
    write=percent,
    told=lambda seen: expected_rate(seen.k, seen.n),
    told_as="expected success rate",
    interval=lambda seen: seen.interval(),
)
EPOCHS = MeasuredObjective(
    name="epochs_to_solve",
    label="epochs to solve",
    heading="epochs to solve",
    maximize=False,
    estimate=lambda seen: seen.spent / seen.k if seen.k else math.inf,
    write=number,  # not rounded: half an epoch may decide who is on the front
    told=log_epochs_to_solve,
    told_as="ln of epochs to solve",
    needs_epochs=True,
)
TIME = MeasuredObjective(
    name="seconds",
    label="seed time",
    heading="seconds",
    maximize=False,
    estimate=lambda seen: seconds_of_seed(seen.timed_blocks),
    write=duration,
    told=lambda seen: seconds_of_seed(seen.timed_blocks),
    told_as="seconds",
    needs_rate=True,
)

MEASURED = (RATE, EPOCHS, TIME)

SUCCESS_RATE, EPOCHS_TO_SOLVE, SECONDS = (one.name for one in MEASURED)


def measured_objective(name: str) -> MeasuredObjective | None:
    """The measured objective of this name; None for a parameter or a statistic."""
    return next((one for one in MEASURED if one.name == name), None)


# -------------------------------------------------------------------------------------------------
# What a search optimizes.


@section
class RequireSettings:
    """What a configuration has to reach before its objective counts."""

    rate: Annotated[InnerShare, _about("Success rate to prove.")]


@dataclass(frozen=True)
class Requirement:
    """The success rate that a configuration has to reach before its objective counts.

    Attributes:
        rate: at least.
        alpha: the greatest probability that the search calls any configuration wrongly one that
            reaches it, or one that does not.
    """

    rate: float
    alpha: float


@section
class ObjectiveSettings:
    """What to optimize, and in which direction: {minimize: NAME}, or name and direction."""

    name: Annotated[
        Text | None, _about("success_rate, epochs_to_solve, seconds, a parameter or a number.")
    ] = None
    direction: Annotated[
        Literal["maximize", "minimize"] | None,
        _about("For a parameter (minimize if not given) or a number."),
    ] = None
    failed: Annotated[Number | None, _about("For a number: value of a failed seed.")] = None
    minimize: Annotated[Text | None, _about("In place of name and direction.")] = None
    maximize: Annotated[Text | None, _about("In place of name and direction.")] = None

    def __post_init__(self) -> None:
        """Take name and direction from `minimize` or `maximize`.

        Raises:
            InputError: there is no name, or more than one; its field is the key.
        """
        given = {one: name for one in ("minimize", "maximize") if (name := getattr(self, one))}
        if (self.name is not None) + len(given) != 1 or (given and self.direction is not None):
            raise InputError(
                "is no objective with one name",
                field="name" if self.name is not None else None,
                allowed="{minimize: NAME}, {maximize: NAME}, or name: NAME with a direction",
                fix="write one of them",
            )
        for direction, name in given.items():
            object.__setattr__(self, "name", name)
            object.__setattr__(self, "direction", direction)


@dataclass(frozen=True)
class Objective:
    """An objective of a search.

    Attributes:
        name: success_rate, epochs_to_solve, a numeric parameter, or the name of a number that a
            user's own trainer returns for each seed with one of `core.numbers.endings`.
        maximize: whether more is better.
        number: the name of that number; None for the others.
        statistic: of that number: mean, iqm, median, q01 to q99; None for the others.
        failed: the number of a failed seed; None: worse than any number.
        ties: for a success rate by a rule that judges a number, the median of that number, which
            decides between equal counts; else None.
        required: the rate that a configuration has to reach first; None if none is required. Then
            it is the only objective.
    """

    name: str
    maximize: bool = False
    number: str | None = None
    statistic: str | None = None
    failed: float | None = None
    ties: Objective | None = None
    required: Requirement | None = None

    @property
    def measured(self) -> MeasuredObjective | None:
        """What xortune itself measures; None for a parameter, and for a trainer's number."""
        return None if self.number is not None else measured_objective(self.name)

    @property
    def is_parameter(self) -> bool:
        """Whether it is the value of a parameter."""
        return self.number is None and self.measured is None


# -------------------------------------------------------------------------------------------------
# A file, and the space that it becomes.


@section
class SpaceFile:
    """A search space of xortune: what to train, what to vary, how to search."""

    _: KW_ONLY
    name: Annotated[
        StrictStr,
        Field(
            pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$",
            max_length=100,
            description="Names the run directory.",
        ),
    ]
    task: Annotated[
        str | CsvSettings,
        _written_as(_one_of(Text, CsvSettings)),
        _about("xor, parity-N, a CSV file or a mapping with csv."),
    ] = "xor"
    trainer: Annotated[
        str | FunctionSettings | CommandSettings | None,
        _written_as(_one_of(Text | None, CommandSettings, function=FunctionSettings)),
        _about(
            "A function of your own instead of task and epochs: module:function, or "
            "./file.py:function relative to the space file; or a mapping with a function or a "
            "command."
        ),
    ] = None
    success: Annotated[
        Text | None, _about('With numbers of a trainer of your own: "accuracy >= 0.9".')
    ] = None
    epochs: Annotated[Count | None, _about("A fixed parameter named epochs.")] = None
    parameters: Annotated[
        dict[
            Annotated[StrictStr, AfterValidator(_parameter_name)],
            Annotated[
                Parameter | Value, _written_as(_one_of(Scalar, Range, value=Fixed, choice=Choice))
            ],
        ],
        Field(max_length=MAX_PARAMETERS, description=f"Each {PARAMETER_FORMS}."),
    ]
    search: SearchSettings = SearchSettings()  # frozen
    seeds: SeedSettings = SeedSettings()
    stop: StopSettings = StopSettings()
    objectives: Annotated[
        tuple[
            Annotated[str | ObjectiveSettings, _written_as(_one_of(Text, ObjectiveSettings))], ...
        ],
        Field(
            min_length=1,
            description="success_rate, epochs_to_solve, numeric parameters: several are a front. "
            "With a trainer of your own its numbers too: accuracy_q10, accuracy_mean.",
        ),
    ] = (SUCCESS_RATE,)
    require: Annotated[
        RequireSettings | None,
        _about("The objective counts only where this is proven: the smallest, the quickest that."),
    ] = None
    start: Annotated[
        tuple[dict[str, Nestable], ...], _about("Complete configurations to evaluate first.")
    ] = ()
    bounds: Annotated[
        tuple[Number, Number] | None,
        _about(
            "With a number as the objective: the least and the greatest that a seed can have, "
            "[0, 1]. Then a mean has bounds that hold at every look."
        ),
    ] = None


@dataclass(frozen=True)
class SearchSpace:
    """A space file, read and checked. `spaces.space.load_space` makes one.

    Attributes:
        name: of the space, and by default of its run directory.
        task: that the built-in network learns; None with a user's own trainer. Comparisons ignore
            it, since `text` names it.
        parameters: parents of conditions before their children, otherwise in the file's order.
        search: how configurations are proposed.
        seeds: how many seeds each gets.
        start: complete points that are evaluated first.
        text: the YAML.
        place: the file's name, for messages.
        lines: the line of each key, for messages.
        stop: what ends the search early.
        objectives: at least one, each name once.
        trainer: a user's function, as `module:function` or `path.py:function`, or command; None for
            the built-in network, or if the function is given from Python.
        success: the rule for the trainer's results; None if they are successes or not themselves.
        command: how a command is run and judged; None without one.
        timeout: seconds for a seed of a function, checked when it reports; None for any time.
        folder: the folder of relative paths.
        bounds: the least and the greatest number that a seed can have; None: unknown.
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
    stop: StopSettings = field(default=StopSettings())
    objectives: tuple[Objective, ...] = (Objective(SUCCESS_RATE, maximize=True),)
    trainer: str | None = None
    success: Rule | None = None
    command: CommandSettings | None = None
    timeout: float | None = None
    folder: Path = field(default=Path(), compare=False)
    bounds: tuple[float, float] | None = None

    def __repr__(self) -> str:
        names = ", ".join(parameter.name for parameter in self.parameters[:8])
        more = ", ..." if len(self.parameters) > 8 else ""
        trials = "" if self.search.trials is None else f", {self.search.trials:,} trials"
        return f"SearchSpace({self.name!r}, {names}{more}; {self.search.sampler}{trials})"

    @property
    def rule(self) -> Rule | None:
        """What makes a seed a success: the rule, or, where only numbers are sought, that they are.

        None if results are successes or not themselves.
        """
        names = [one.number for one in self.objectives if one.number is not None]
        asks = any(one.measured or one.required for one in self.objectives)
        by_exit = self.command is not None and self.command.by_exit
        if self.success is not None or asks or by_exit or self.stop.proven_rate is not None:
            return self.success
        return Finite(tuple(dict.fromkeys(names)))

    @property
    def pruned_by(self) -> str | None:
        """The number that a pruner compares: the rule's first that has a direction.

        None: no seed is pruned.
        """
        rule = self.success
        if self.search.pruner is None or rule is None:
            return None
        return next((name for name in rule.names if rule.direction(name) is not None), None)

    def at(self, *location: str | int) -> str:
        """``file:line: dotted.name`` for a message about a key of the file."""
        return placed(self.place, location, self.lines)

    def refusal(
        self, location: Location, problem: str, allowed: str, fix: str | None
    ) -> InputError:
        """An error about a location of the file."""
        return InputError(problem, place=self.at(*location), allowed=allowed, fix=fix)


_FILE = pydantic.TypeAdapter(SpaceFile)


@functools.cache
def file_schema() -> dict[str, Any]:
    """The JSON Schema of space files, where any text is a sampler."""
    return _FILE.json_schema()


def read_file(document: YamlDocument) -> SpaceFile:
    """The contents of a document.

    Raises:
        InputError: a value is not allowed, or a key is missing or unknown.
    """
    values = dict(document.values)
    if isinstance(given := values.get("parameters"), dict):
        values["parameters"] = {
            name: {"": name, **form} if isinstance(form, dict) else form
            for name, form in given.items()
        }
    if isinstance(search := values.get("search"), dict) and "trials" not in search:
        # Optuna's name is accepted too.
        values["search"] = {"trials" if k == "n_trials" else k: v for k, v in search.items()}
    command = values.get("trainer")
    if isinstance(command, dict) and "command" in command and "success" not in command:
        # The rule of a command may stand beside it, as that of a function does.
        values["trainer"] = command | {k: values.pop(k) for k in ("success",) if k in values}
    try:
        return _FILE.validate_python(values)
    except pydantic.ValidationError as error:
        # Unknown keys first: if a key is misspelt, the right one is also missing.
        details = error.errors(include_url=False)
        first = min(details, key=lambda detail: detail["type"] != _UNKNOWN)
        raise _translated(first, document) from None


# -------------------------------------------------------------------------------------------------
# Errors of pydantic in our words. The schema says what is allowed.

_UNKNOWN, _MISSING = "unexpected_keyword_argument", "missing"
_KINDS: dict[type, str] = {
    bool: "true or false",
    list: "a list",
    dict: "a mapping",
    str: "a string",
}


def _translated(detail: ErrorDetails, document: YamlDocument) -> InputError:
    key, node = detail["loc"][-1], _node(detail["loc"])
    location = _location(detail["loc"], document)
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        found = cause
        if cause.field is not None and cause.field in node.get("properties", ()):
            location = (*location, cause.field)
            if location == ("trainer", "success") and location not in document.lines:
                location = ("success",)  # beside a command
    elif detail["type"] == _UNKNOWN:
        known = list(node["properties"])
        around = _node(detail["loc"][:-2])
        forms = _inner_keys(around) if "oneOf" in around else set()  # another one may be meant
        fix = _belongs(str(key), known) or closest(str(key), known) or closest(str(key), forms)
        fix = fix or "use one of these"
        found = InputError("unknown key", allowed=", ".join(known), fix=fix)
    elif detail["type"] == _MISSING and isinstance(key, int):  # of a list of so many
        found = _refusal(detail["input"], str(location[-1]), _node(detail["loc"][:-1]))
    elif detail["type"] == _MISSING:
        location = (*location, key)
        about = node.get("description", PARAMETER_FORMS).removesuffix(".")
        about = about[:1].lower() + about[1:]
        found = InputError(f"is missing ({about})", fix=f"add a line `{key}: ...`")
    else:
        found = _refusal(detail["input"], str(location[-1]), node)
    place, name = document.at(location), str(location[-1])
    return InputError(found.problem, field=name, place=place, allowed=found.allowed, fix=found.fix)


SYNONYMS = {
    **dict.fromkeys(("min", "minimum", "lower", "from"), "low"),
    **dict.fromkeys(("max", "maximum", "upper", "to"), "high"),
    **dict.fromkeys(("choices", "values", "options", "categories"), "choice"),
}
"""Keys of a parameter in other programs, and their names here."""


def _belongs(key: str, known: Sequence[str]) -> str | None:
    """Where an unknown key belongs, or what it is called here; None if nothing is known."""
    if "low" in known:
        return f"write {SYNONYMS[key]} in place of {key}" if key in SYNONYMS else None
    if key == "true" and "on" in known:  # YAML 1.1, as PyYAML reads it
        return 'write "on" in quotes, which PyYAML reads as true without them'
    key = "trials" if key == "n_trials" else key
    top = file_schema()["properties"]
    if key in known:
        return None
    if key in top:
        return f"write `{key}` at the top of the file"
    sections = (name for name, section in top.items() if key in _inner_keys(section))
    return next((f"write `{key}` below `{name}`" for name in sections), None)


def _inner_keys(node: Mapping[str, Any]) -> set[str]:
    """The keys of a mapping, and of each form that it may have."""
    options = [_resolved(option) for option in node.get("oneOf", [node])]
    return {key for option in options for key in option.get("properties", ())}


def _location(loc: Location, document: YamlDocument) -> Location:
    """The location in the document: pydantic's, without the classes that it tried."""
    location: Location = ()
    value: Any = document.values
    for part in loc:
        known = range(len(value)) if isinstance(value, list) else value
        if isinstance(known, dict | range) and part in known:
            location, value = (*location, part), value[part]
    return location


def _node(loc: Location) -> dict[str, Any]:
    """The schema of a location; for an unknown key that of the mapping."""
    node = file_schema()
    for part in loc:
        if "oneOf" in node:
            options = (o for o in node["oneOf"] if o.get("$ref", "value").endswith(str(part)))
            inner = next(options, None)
        else:
            inner = node.get("properties", {}).get(part)
            inner = inner or node.get("items" if isinstance(part, int) else "additionalProperties")
            inner = inner or next(iter(node.get("prefixItems", ())), None)  # they are alike
        if not inner:
            break
        node = _resolved(inner)
    return node


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A node of the schema with its reference followed, and without the alternative of null."""
    if "$ref" in node:
        node = file_schema()["$defs"][node["$ref"].rpartition("/")[2]]
    options = [option for option in node.get("anyOf", ()) if option != {"type": "null"}]
    return _resolved(options[-1]) if options else node


def _as_form(values: list[Any]) -> str:
    """What a list as a parameter may have meant: alternatives, or the ends of a range."""
    alternatives = f"write alternatives as {{choice: {quoted(values)}}}"
    if len(values) == 2 and all(map(is_number, values)) and values[0] < values[1]:
        low, high = values
        return f"write a range as {{low: {low}, high: {high}}}, or {alternatives[6:]}"
    return alternatives


def _refusal(value: Any, key: str, node: dict[str, Any]) -> InputError:
    """The error about a value, by the schema of its key."""
    kind = f", {_KINDS[type(value)]}," if type(value) in _KINDS else ""
    problem, allowed, fix = f"{quoted(value)}{kind} is not allowed", "", None
    least, most = node.get("minimum", 0), node.get("maximum", 0)
    match node["type"]:
        case "array" if not isinstance(value, list):
            problem, allowed = f"{quoted(value)} is not a list", "a list"
            fix = "write it as [a, b], or as indented lines below"
        case "array":
            count = len(node.get("prefixItems", ()))
            empty = "is empty", "at least one", "list at least one"
            problem, allowed, fix = (quoted(value), f"a list of {count}", None) if count else empty
        case "object" if not isinstance(value, dict):
            problem, allowed = f"{quoted(value)} is not a mapping", "a mapping"
            fix = "write it as {key: value}, or as indented lines below"
        case "object":
            problem = f"{len(value)} {key}"
            allowed = f"up to {node['maxProperties']} {key}"
            fix = "leave some out, or nest them as values of one parameter"
        case list():
            allowed = "one value: a number, a string, true, false or null"
            fix = _as_form(value) if isinstance(value, list) else None
        case "integer":
            allowed = f"a whole number from {least:,} to {most:,}"
            above = isinstance(value, int | float) and value > most
            fix = f"write {most} or less" if above else f"write {least} or more"
        case "number" if "exclusiveMinimum" in node:
            allowed = f"a number above 0, {f'at most {most}' if most else 'below 1'}"
            fix = None if most else of_percent(value)
        case "number":
            allowed, fix = "a number", "write a number without quotes"
        case "boolean":
            allowed, fix = "true or false", "write true or false without quotes"
        case _ if "enum" in node:
            problem, allowed = f"unknown {key} {quoted(value)}", ", ".join(node["enum"])
            named = isinstance(value, str)
            fix = nearest(value, node["enum"], listed=True) if named else f"name a {key}"
        case _ if "pattern" in node:
            allowed = "letters, digits, dots, - and _, starting with a letter or digit"
            numeric = isinstance(value, int | float)
            fix = "put it in quotes" if numeric else "choose a shorter, plainer name"
        case _:
            allowed, fix = "a string that is not empty", "put it in quotes"
    return InputError(problem, allowed=allowed, fix=fix)
