"""What a space holds and what searching it may cost, as text for the terminal and for JSON."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xortune.spaces.command import EXIT_CODE
from xortune.spaces.grid import grid_size, probes
from xortune.spaces.model import (
    FIRST,
    Objective,
    Parameter,
    Range,
    SearchSpace,
    extremes,
    finite_values,
)
from xortune.spaces.text import word


@dataclass(frozen=True)
class Description:
    """What `xortune space` says of a space; iterated, the lines of the terminal."""

    name: str
    task: str | None  # as rows and inputs: None with a trainer of the user's own
    rows: int | None
    inputs: int | None
    trainer: str | None  # None for the built-in network
    called: str | None  # what a function is called with, or a command's files; None if not looked
    run_as: str | None  # a command for one config and seed, with the quotes of a shell
    metric: str | None
    timeout: float | None
    success: str | None
    parameters: tuple[dict[str, str], ...]
    sampler: str
    trials: int  # of a grid its points
    seed: int
    time_budget: float | None
    objectives: tuple[dict[str, str], ...]
    ladder: tuple[int, ...]
    alpha: float | None  # None where nothing is proven
    finalists: int | None
    certify: int | None
    grid_points: int | None  # None where a parameter has infinitely many values
    least_seed_epochs: int | None  # if all end at the first rung; None without epochs
    seed_epochs: int | None  # if all get the full ladder and the most epochs
    proven_rate: float | None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Label and text of each line."""
        yield "name", self.name
        if self.task is not None:
            yield "task", f"{self.task}: {self.rows} rows, {self.inputs} inputs"
        if self.trainer is not None:
            called = f", called with ({self.called})" if self.called and not self.run_as else ""
            yield "trainer", self.trainer + called
            if self.run_as is not None:
                yield "run as", self.run_as
                yield "files", self.called or "not looked at"
            yield "success", self.success or "what the function says: true, or success: true"
        if self.metric is not None:
            yield "metric", self.metric
        if self.timeout is not None:
            yield "time limit", f"{self.timeout:g} s for each seed"
        for p in self.parameters:
            notes = "".join(f", {note}" for note in (p["scale"], p["when"]) if note)
            yield p["name"], f"{p['kind']}: {p['values']}{notes}"
        yield "sampler", f"{self.sampler}, seed {self.seed}"
        yield "trials", f"{self.trials:,}"
        if self.time_budget is not None:
            yield "time budget", f"{self.time_budget:g} s"
        if len(self.objectives) > 1 or self.objectives[0]["failed"]:
            yield "objectives", ", ".join(map(_objective_text, self.objectives))
        yield from self._seeds()
        if self.proven_rate is not None:
            yield "stop", f"as soon as a success rate of {self.proven_rate:g} is proven"
        if self.certify is not None:
            yield "certify", f"{self.certify:,} fresh seeds for each of the five best"
        if self.grid_points is not None:
            yield "grid points", f"{self.grid_points:,}"
        yield "cost", self._cost()

    @property
    def at_most(self) -> str:
        """What a search costs if nothing is ruled out, without a certificate."""
        if self.seed_epochs is not None:
            return f"{self.seed_epochs:,} epochs of one seed"
        return f"{self.trials * self.ladder[-1]:,} trainings"

    def _seeds(self) -> Iterator[tuple[str, str]]:
        """Who gets how many; see `racing.grants`."""
        first, *others = self.ladder
        begin = f"{first:,} for each configuration"
        if not others:
            yield "seeds", begin
        else:
            if at_once := [rung for rung in others if rung <= FIRST]:
                begin += f", {_listed(at_once)} as long as none has failed"
            yield "seeds", f"{begin}; half of all seeds go to climbs, up to {others[-1]:,}"
            yield "rungs", _listed(self.ladder)
            if len(self.objectives) == 1 and self.objectives[0]["failed"]:
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

    def _cost(self) -> str:
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
            return f"{'at most ' if early else ''}{most:,} {how}"
        if early:
            return f"at most {most:,} {how}; less if it ends early"
        return f"from {least:,} to {most:,} {how}"


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
    counts = [extremes(parameter) for parameter in space.parameters if parameter.name == "epochs"]
    epochs = [int(v) for v in itertools.chain(*counts) if isinstance(v, int | float)]
    ladder, race = space.seeds.ladder, len(space.seeds.ladder) > 1
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
        objectives=tuple(map(_objective, space.objectives)),
        ladder=ladder,
        alpha=space.seeds.alpha if race or space.stop.proven_rate is not None else None,
        finalists=space.seeds.finalists if race else None,
        certify=space.seeds.certify,
        grid_points=points,
        proven_rate=space.stop.proven_rate,
        least_seed_epochs=trials * ladder[0] * min(epochs) if epochs else None,
        seed_epochs=trials * ladder[-1] * max(epochs) if epochs else None,
    )


def _objective(objective: Objective) -> dict[str, str]:
    direction = "maximize" if objective.maximize else "minimize"
    failed = "worse than any number" if objective.failed is None else word(objective.failed)
    if objective.number is None:
        failed = ""
    return {"name": objective.name, "direction": direction, "failed": failed}


def _objective_text(objective: dict[str, str]) -> str:
    failed = objective["failed"] and f", a failed seed counts as {objective['failed']}"
    return f"{objective['name']} ({objective['direction']}{failed})"


def _described(parameter: Parameter) -> dict[str, str]:
    when = " and ".join(
        f"{other} is {' or '.join(map(word, values))}" for other, values in parameter.when
    )
    kind, scale = type(parameter).__name__.lower(), ""
    if isinstance(parameter, Range):
        kind, scale = "int" if parameter.integer else "float", "log" if parameter.log else "linear"
    values = str(parameter).removeprefix("whole numbers from ").removesuffix(" (fixed)")
    said = {"name": parameter.name, "kind": kind, "values": values}
    return {**said, "scale": scale, "when": when and f"when {when}"}
