"""What a space holds and what searching it may cost, as text for the terminal and for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xortune.spaces.check import allowed_values
from xortune.spaces.command import EXIT_CODE
from xortune.spaces.grid import finite_values, grid_size, probes
from xortune.spaces.model import FIRST, Parameter, Range, SearchSpace
from xortune.spaces.text import word


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
class ObjectiveDescription:
    """One objective.

    Attributes:
        name: of it.
        direction: maximize or minimize.
        failed: of a number of a user's own trainer: what a failed seed counts as; empty of others.
    """

    name: str
    direction: str
    failed: str = ""


@dataclass(frozen=True)
class Description:
    """What `xortune space` says of a space.

    Attributes:
        name: of the space.
        task: of the task; None, as rows and inputs, with a trainer of the user's own.
        rows: training rows of the task.
        inputs: inputs per row.
        trainer: the user's own function; None for the built-in network.
        called: `config, seed`, or `config, seeds` where it takes all seeds of a block at once; None
            where nobody looked.
        run_as: how a command is run for one config and seed, with the quotes of a shell; None
            where none trains.
        metric: where its numbers are, or None.
        timeout: seconds that it may take for a seed, or None.
        success: the rule for its numbers, or None.
        parameters: in the space's order.
        sampler: who proposes.
        trials: proposals; for a grid its points.
        seed: of the sampler.
        time_budget: seconds, or None.
        objectives: what is looked for.
        ladder: total seeds at each rung; one rung is no race.
        alpha: the probability, at most, that the race proves anything wrong; None where there is
            neither a race nor a rate to prove.
        finalists: how many that do as well let another one wait; None where none waits, or there
            is no race.
        certify: fresh seeds for each finalist, or None.
        grid_points: points if every parameter has finitely many values, else None.
        least_seed_epochs: epochs summed over seeds and trials if no trial gets beyond the first
            rung, each with the fewest epochs; None where no parameter is called epochs. A search
            that ends early, by its time or by a proof, takes less.
        seed_epochs: the same if every trial gets the full ladder and the most epochs.
        proven_rate: the success rate whose proof ends the search, or None.
    """

    name: str
    task: str | None
    rows: int | None
    inputs: int | None
    trainer: str | None
    called: str | None
    run_as: str | None
    metric: str | None
    timeout: float | None
    success: str | None
    parameters: tuple[ParameterDescription, ...]
    sampler: str
    trials: int
    seed: int
    time_budget: float | None
    objectives: tuple[ObjectiveDescription, ...]
    ladder: tuple[int, ...]
    alpha: float | None
    finalists: int | None
    certify: int | None
    grid_points: int | None
    least_seed_epochs: int | None
    seed_epochs: int | None
    proven_rate: float | None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Label and text, line by line, as the terminal shows it."""
        yield "name", self.name
        if self.task is not None:
            yield "task", f"{self.task}: {self.rows} rows, {self.inputs} inputs"
        if self.trainer is not None:
            yield from self._trainer(self.trainer)
        for p in self.parameters:
            notes = "".join(f", {note}" for note in (p.scale, p.when) if note)
            yield p.name, f"{p.kind}: {p.values}{notes}"
        yield "sampler", f"{self.sampler}, seed {self.seed}"
        yield "trials", f"{self.trials:,}"
        if self.time_budget is not None:
            yield "time budget", f"{self.time_budget:g} s"
        if len(self.objectives) > 1 or self.objectives[0].failed:
            yield (
                "objectives",
                ", ".join(
                    f"{o.name} ({o.direction}"
                    + (f", a failed seed counts as {o.failed})" if o.failed else ")")
                    for o in self.objectives
                ),
            )
        yield from self._seeds()
        if self.proven_rate is not None:
            yield "stop", f"as soon as a success rate of {self.proven_rate:g} is proven"
        if self.certify is not None:
            yield "certify", f"{self.certify:,} fresh seeds for each of the five best"
        if self.grid_points is not None:
            yield "grid points", f"{self.grid_points:,}"
        yield from self._cost()

    @property
    def at_most(self) -> str:
        """What a search costs if nothing is ruled out, without a certificate."""
        if self.seed_epochs is not None:
            return f"{self.seed_epochs:,} epochs of one seed"
        return f"{self.trials * self.ladder[-1]:,} trainings"

    def _trainer(self, trainer: str) -> Iterator[tuple[str, str]]:
        """A function, or a command, and what it says."""
        called = f", called with ({self.called})" if self.called and not self.run_as else ""
        yield "trainer", trainer + called
        if self.run_as is not None:
            yield "run as", self.run_as
            yield "files", self.called or "not looked at"
        yield "success", self.success or "what the function says: true, or success: true"
        if self.metric is not None:
            yield "metric", self.metric
        if self.timeout is not None:
            yield "time limit", f"{self.timeout:g} s for each seed"

    def _seeds(self) -> Iterator[tuple[str, str]]:
        """Who gets how many; see `racing.grants`."""
        first, *others = self.ladder
        if not others:
            yield "seeds", f"{first:,} for each configuration"
        else:
            at_once = [rung for rung in others if rung <= FIRST]
            begin = f"{first:,} for each configuration"
            if at_once:
                begin += f", {_listed(at_once)} as long as none has failed"
            yield "seeds", f"{begin}; half of all seeds go to climbs, up to {others[-1]:,}"
            yield "rungs", _listed(self.ladder)
            if len(self.objectives) == 1 and self.objectives[0].failed:
                yield (
                    "climbs",
                    "the best of each rung, one in so many as the next has times the seeds",
                )
                return
            yield (
                "finalists",
                "no limit: all climb that are not proven worse than another"
                if self.finalists is None
                else f"{self.finalists:,}: while so many others do as well and as soon, one waits",
            )
        if self.alpha is not None:
            what = "stop" if others else "proof"
            yield "alpha", f"{self.alpha:g}: how probable any wrong {what} is, at most"

    def _cost(self) -> Iterator[tuple[str, str]]:
        """From what it comes to if all are ruled out at once, to what it comes to if none is."""
        first, last = self.ladder[0], self.ladder[-1]
        seeds = f"{first:,}" if first == last else f"{first:,} to {last:,}"
        least, most = self.least_seed_epochs, self.seed_epochs
        how = f"epochs of one seed (trials x {seeds} seeds x epochs)"
        if least is None or most is None:  # a trainer of the user's own, which counts no epochs
            least, most = self.trials * first, self.trials * last
            how = f"trainings (trials x {seeds} seeds)"
        if self.certify is not None:
            how += ", and the certificate"
        early = self.time_budget is not None or self.proven_rate is not None
        if least == most:
            yield "cost", f"{'at most ' if early else ''}{most:,} {how}"
        elif early:
            yield "cost", f"at most {most:,} {how}; less if it ends early"
        else:
            yield "cost", f"from {least:,} to {most:,} {how}"


def _listed(counts: Iterable[int]) -> str:
    return ", ".join(f"{count:,}" for count in counts)


def describe(space: SearchSpace, called: str | None = None) -> Description:
    """What a space holds and what searching it may cost at most.

    Args:
        space: what to describe.
        called: with what the user's own function is called, or the files that go with a command,
            if that is known.
    """
    finite = all(finite_values(parameter) is not None for parameter in space.parameters)
    points = grid_size(space) if finite else None
    trials = space.search.trials or points or 0
    epochs = next((_numbers(p) for p in space.parameters if p.name == "epochs"), [])
    race = len(space.seeds.ladder) > 1
    task, command = space.task, space.command
    rule = None if space.success is None else str(space.success)
    first = next(probes(space)).as_dict()
    return Description(
        name=space.name,
        task=None if task is None else task.name,
        rows=None if task is None else int(task.inputs.shape[0]),
        inputs=None if task is None else task.dim,
        trainer=space.trainer,
        called=called,
        run_as=None if command is None else shlex.join(command.template.argv(first, 0)),
        metric=None if command is None else command.metric,
        timeout=space.timeout if command is None else command.timeout,
        success=EXIT_CODE if command is not None and command.by_exit else rule,
        parameters=tuple(map(_described, space.parameters)),
        sampler=space.search.sampler,
        trials=trials,
        seed=space.search.seed,
        time_budget=space.search.time_budget,
        objectives=tuple(
            ObjectiveDescription(
                o.name,
                "maximize" if o.maximize else "minimize",
                ""
                if o.number is None
                else "worse than any number"
                if o.failed is None
                else word(o.failed),
            )
            for o in space.objectives
        ),
        ladder=space.seeds.ladder,
        alpha=space.seeds.alpha if race or space.stop.proven_rate is not None else None,
        finalists=space.seeds.finalists if race else None,
        certify=space.seeds.certify,
        grid_points=points,
        proven_rate=space.stop.proven_rate,
        least_seed_epochs=trials * space.seeds.ladder[0] * min(epochs) if epochs else None,
        seed_epochs=trials * space.seeds.ladder[-1] * max(epochs) if epochs else None,
    )


def _numbers(parameter: Parameter) -> list[int]:
    """Its values that are numbers, of a range the ends."""
    values = (
        [parameter.low, parameter.high]
        if isinstance(parameter, Range)
        else list(finite_values(parameter) or ())
    )
    return [int(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]


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
