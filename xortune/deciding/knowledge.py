"""What a search takes over from another run: its best configurations are proposed first.

They are proposals, and nothing else: their old counts are in no result and no proof. The new search
even trains under other seeds than the old one did, since a configuration that was chosen by its
seeds does well under them again.

An old run may mislead, since its task, its rule or its space was another. So only its best two
configurations are proposed, in turn with the sampler's own, the second one not where the first
failed all of its seeds; and the sampler is not told of them: it would look around them, though the
best is elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from xortune.core.errors import InputError
from xortune.core.formats import count
from xortune.core.point import Point, Value
from xortune.core.seeds import SEARCH
from xortune.runs.run import Run, load_run
from xortune.spaces.model import (
    Choice,
    Fixed,
    Range,
    SearchSpace,
    Steps,
    equal_values,
    finite_values,
    is_active,
    is_number,
)
from xortune.spaces.samplers import sampler_named

TAKEN = 2
"""Maximum number of old configurations that are proposed. More gain nothing, and where the old run
misleads to what is nearly good, each takes seeds: see benchmarks/README.md."""

EVERY = 2
"""An old configuration is every second proposal, so that one which misleads costs one at most."""

PREFIXES = ("params.", "params_")
"""What MLflow's tables and Optuna's data frames write before the name of a parameter."""


@dataclass(frozen=True)
class TakenOver:
    """What a search takes over; the manifest has it, so that a resumed search does the same.

    Attributes:
        source: the old run's directory.
        points: what both spaces have of its configurations, the best first: values of parameters
            of this space. The proposer draws the others.
        first_seed: of the search: the old run has trained none of these.
        configs: of the old run that solved a seed.
        outside: those of them with a value that this space lacks.
        lacking: those of them without a parameter of this space.
        unlike: those of them that have no value in common with this space.
    """

    source: str
    points: tuple[Point, ...]
    first_seed: int
    configs: int
    outside: int
    lacking: int
    unlike: int

    @property
    def entry(self) -> dict[str, Any]:
        """The entry of the manifest."""
        return {
            "source": self.source,
            "points": [point.as_dict() for point in self.points],
            "first_seed": self.first_seed,
            "configs": self.configs,
            "outside": self.outside,
            "lacking": self.lacking,
            "unlike": self.unlike,
        }

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> TakenOver | None:
        """What a run's manifest says; None if it took over nothing."""
        if (entry := manifest.get("taken_over")) is None:
            return None
        return cls(**{**entry, "points": tuple(map(Point, entry["points"]))})

    def is_of(self, source: str) -> bool:
        """Whether this is the run that was named then, however its path is written."""
        return source == self.source or Path(source).resolve() == Path(self.source).resolve()

    def __str__(self) -> str:
        left = [
            f"{n:,} {why}"
            for n, why in (
                (self.outside, "have values that this space lacks: the nearest is taken, or drawn"),
                (self.lacking, "lack a parameter of this space: it is drawn"),
                (self.unlike, "have no value in common with this space"),
            )
            if n
        ]
        usable = self.configs - self.unlike
        first = "none can be proposed"
        if not self.configs:
            first += ", since none solved a seed"
        if self.points:
            first = "the best is proposed first"
        if len(self.points) > 1:
            first += ", the second best after a new one unless the best solves no seed"
        return (
            f"took over {count(usable, 'configuration')} of {self.source}: {first}"
            f"{''.join('; ' + one for one in left)}; its seeds count in no result, and new ones "
            f"begin at {self.first_seed:,}"
        )


def refuse_grid(space: SearchSpace) -> None:
    """Raise an InputError if the sampler tries every configuration anyway."""
    sampler = sampler_named(space.search.sampler)
    if sampler.walks:
        raise InputError(
            f"sampler {sampler.name} tries every configuration, whatever another run says",
            field="from_",
            fix="use another sampler, or leave it out",
        )


def take_over(space: SearchSpace, old: Run | str | os.PathLike[str]) -> TakenOver:
    """What a search of a space takes over from a run, or from an imported table.

    Raises:
        InputError: there is no run, or as `refuse_grid`.
    """
    refuse_grid(space)
    run = old if isinstance(old, Run) else load_run(old)
    points: dict[str, Point] = {}
    solved = [result for result in run.results if result.outcome.successes]
    outside = lacking = unlike = 0
    for result in solved:
        common = _common(space, _without_prefixes(result.point))
        if not common.values:
            unlike += 1
            continue
        outside, lacking = outside + common.outside, lacking + common.lacking
        point = Point(common.values)
        points.setdefault(point.key, point)
    return TakenOver(
        str(run.path if isinstance(old, Run) else old),
        tuple(points.values())[:TAKEN],
        _first_unseen(run),
        len(solved),
        outside,
        lacking,
        unlike,
    )


class _Common(NamedTuple):
    """What an old configuration has in common with a space; see `TakenOver`."""

    values: dict[str, Value]
    outside: bool
    lacking: bool


def _without_prefixes(old: Point) -> dict[str, Value]:
    """An old configuration, with the names of parameters that its table wrote with a prefix."""
    named = {n.removeprefix(p): v for p in PREFIXES for n, v in old.items() if n.startswith(p)}
    return {**named, **old}


def _common(space: SearchSpace, old: Mapping[str, Value]) -> _Common:
    """The values that an old configuration has for the searched parameters of this space.

    What this space fixes is fixed, whatever it was.
    """
    values: dict[str, Value] = {}
    active: dict[str, Value] = {}
    outside = lacking = False
    for parameter in space.parameters:
        if not is_active(parameter, active):
            continue
        name = parameter.name
        if isinstance(parameter, Fixed):
            active[name] = parameter.value
            continue
        if name not in old:
            lacking = True
            continue
        value = _read(parameter, old[name])
        if found := equal_values(parameter, value) or _nearest(parameter, value):
            outside = outside or found[0] != value
            values[name] = active[name] = found[0]
        else:
            outside = True
    return _Common(values, outside, lacking)


def _read(parameter: Choice | Range, value: Value) -> Value:
    """The number of a text, which MLflow's `search_runs` has for each parameter."""
    if not isinstance(value, str) or equal_values(parameter, value):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _nearest(parameter: Choice | Range, value: Value) -> Sequence[Value]:
    """The value of a range that is next to an old number; empty where there is none."""
    if isinstance(parameter, Choice) or not is_number(value):
        return ()
    inside = min(max(value, parameter.low), parameter.high)
    if finite_values(parameter) is None:
        return (float(inside),)
    return (Steps(parameter)[round((inside - parameter.low) / (parameter.step or 1))],)


def _first_unseen(run: Run) -> int:
    """The first of the search's seeds after all that a run has trained."""
    first, size = (run.evaluations.column(name) for name in ("first", "count"))
    ends = (first + size)[first < SEARCH.stop // 2]
    return int(ends.max(initial=0))


class OldProposals:
    """The old configurations, as proposals of a search.

    Args:
        points: the old configurations, the best first.
        normal: returns a point in its trainer's normal form, as results have it.
        start: how many proposals come before, those of the space's `start`.
    """

    def __init__(
        self, points: Sequence[Point], normal: Callable[[Point], Point], start: int
    ) -> None:
        self._points = tuple(points)
        self._numbers = range(start, start + EVERY * len(points), EVERY)
        self._made: list[int] = []  # numbers of those that were proposed
        self._keys = frozenset(one.key for point in points for one in (point, normal(point)))
        self._misleads = False

    def __contains__(self, point: Point) -> bool:
        return point.key in self._keys

    def at(self, number: int) -> Point | None:
        """The old configuration that is proposal number `number`; None if it is another one."""
        if self._misleads or number not in self._numbers:
            return None
        return self._points[self._numbers.index(number)]

    @property
    def are_left(self) -> bool:
        """Whether later proposals may be old ones."""
        return len(self._made) < len(self._points) and not self._misleads

    def enter(self, number: int, point: Point) -> bool:
        """Note a proposal; whether it is an old one."""
        is_old = self.at(number) is not None and point in self
        if is_old:
            self._made.append(number)
        return is_old

    def own(self, number: int) -> int:
        """The number of a proposal among the search's own, which are those of a search alone."""
        return number - sum(made < number for made in self._made)

    def see(self, point: Point, successes: int, n: int) -> None:
        """Learn the results of a configuration: an old one that failed ends the old proposals."""
        if point in self and n:
            self._misleads = not successes
