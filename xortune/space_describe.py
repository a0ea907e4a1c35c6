"""What a space holds and what searching it may cost, as text for the terminal and for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xortune.space_check import allowed_values
from xortune.space_model import Parameter, Range, SearchSpace
from xortune.space_points import finite_values, grid_size
from xortune.space_yaml import word

__all__ = ["Description", "ParameterDescription", "describe"]


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter as `xortune space` shows it: all text.

    Attributes:
        name: of the parameter.
        kind: int, float, choice or fixed.
        values: its range, its choices or its value.
        scale: log, linear or empty.
        when: its condition, or empty.
    """

    name: str
    kind: str
    values: str
    scale: str
    when: str


@dataclass(frozen=True)
class Description:
    """What `xortune space` says of a space.

    Attributes:
        name: of the space.
        task: of the task.
        rows: training rows of the task.
        inputs: inputs per row.
        parameters: in the space's order.
        sampler: who proposes.
        trials: proposals; for a grid its points.
        seed: of the sampler.
        time_budget: seconds, or None.
        ladder: total seeds at each rung.
        certify: fresh seeds for each finalist, or None.
        grid_points: points if every parameter has finitely many values, else None.
        seed_epochs: epochs summed over seeds and trials if every trial gets the full ladder and
            the most epochs; None where no parameter is called epochs.
        proven_rate: the success rate whose proof ends the search, or None.
    """

    name: str
    task: str
    rows: int
    inputs: int
    parameters: tuple[ParameterDescription, ...]
    sampler: str
    trials: int
    seed: int
    time_budget: float | None
    ladder: tuple[int, ...]
    certify: int | None
    grid_points: int | None
    seed_epochs: int | None
    proven_rate: float | None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Label and text, line by line, as the terminal shows it."""
        yield "name", self.name
        yield "task", f"{self.task}: {self.rows} rows, {self.inputs} inputs"
        for p in self.parameters:
            notes = "".join(f", {note}" for note in (p.scale, p.when) if note)
            yield p.name, f"{p.kind}: {p.values}{notes}"
        yield "sampler", f"{self.sampler}, seed {self.seed}"
        yield "trials", f"{self.trials:,}"
        if self.time_budget is not None:
            yield "time budget", f"{self.time_budget:g} s"
        *first, last = (f"{rung:,}" for rung in self.ladder)
        if first:
            yield "seeds", f"{', '.join(first)}, {last} in a race: fewer where it is stopped"
        else:
            yield "seeds", f"{last} for each configuration"
        if self.proven_rate is not None:
            yield "stop", f"as soon as a success rate of {self.proven_rate:g} is proven"
        if self.certify is not None:
            yield "certify", f"{self.certify:,} fresh seeds for each of the five best"
        if self.grid_points is not None:
            yield "grid points", f"{self.grid_points:,}"
        if self.seed_epochs is not None:
            yield "at most", f"{self.seed_epochs:,} epochs of one seed (trials x seeds x epochs)"


def describe(space: SearchSpace) -> Description:
    """What a space holds and what searching it may cost at most."""
    finite = all(finite_values(parameter) is not None for parameter in space.parameters)
    points = grid_size(space) if finite else None
    trials = space.search.trials or points or 0
    epochs = [_largest(p) for p in space.parameters if p.name == "epochs"]
    most = epochs[0] if epochs else None
    return Description(
        name=space.name,
        task=space.task.name,
        rows=int(space.task.inputs.shape[0]),
        inputs=space.task.dim,
        parameters=tuple(map(_described, space.parameters)),
        sampler=space.search.sampler,
        trials=trials,
        seed=space.search.seed,
        time_budget=space.search.time_budget,
        ladder=space.seeds.ladder,
        certify=space.seeds.certify,
        grid_points=points,
        proven_rate=space.stop.proven_rate,
        seed_epochs=None if most is None else trials * space.seeds.ladder[-1] * most,
    )


def _largest(parameter: Parameter) -> int | None:
    values = (
        [parameter.high] if isinstance(parameter, Range) else list(finite_values(parameter) or ())
    )
    numbers = [int(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    return max(numbers, default=None)


def _described(parameter: Parameter) -> ParameterDescription:
    when = " and ".join(
        f"{other} is {' or '.join(word(value) for value in values)}"
        for other, values in parameter.when
    )
    kind, scale = type(parameter).__name__.lower(), ""
    if isinstance(parameter, Range):
        kind, scale = "int" if parameter.integer else "float", "log" if parameter.log else "linear"
    values = allowed_values(parameter).removeprefix("whole numbers from ").removesuffix(" (fixed)")
    return ParameterDescription(parameter.name, kind, values, scale, f"when {when}" if when else "")
