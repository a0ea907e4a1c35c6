"""What a space holds and what searching it may cost."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from typing import Any

from xortune.spaces.command import EXIT_CODE
from xortune.spaces.grid import grid_size, probes
from xortune.spaces.model import (
    Objective,
    Parameter,
    Range,
    SearchSpace,
    condition_text,
    extremes,
    finite_values,
    weighs_seeds,
)
from xortune.spaces.text import word


def describe(space: SearchSpace, called: str | None = None) -> dict[str, Any]:
    """What `xortune space --json` prints; None where something does not apply."""
    finite = all(finite_values(parameter) is not None for parameter in space.parameters)
    points = grid_size(space) if finite else None
    trials = space.search.trials or points or 0
    # An `epochs` of a trainer of the user's own is a parameter like any other.
    counts = [extremes(one) for one in space.parameters if space.task and one.name == "epochs"]
    epochs = [int(v) for v in itertools.chain(*counts) if isinstance(v, int | float)]
    ladder, race = space.seeds.ladder, len(space.seeds.ladder) > 1
    task, command = space.task, space.command
    rule = None if space.success is None else str(space.success)
    first = next(probes(space)).as_dict()
    return {
        "name": space.name,
        "task": task and task.name,
        "rows": task and int(task.inputs.shape[0]),
        "inputs": task and task.dim,
        "trainer": space.trainer,
        "called": called,
        "run_as": command and shlex.join(command.template.argv(first, 0)),
        "metric": str(command.metric) if command and command.metric else None,
        "timeout": command.timeout if command else space.timeout,
        "success": EXIT_CODE if command is not None and command.by_exit else rule,
        "parameters": tuple(map(_parameter, space.parameters)),
        "sampler": space.search.sampler,
        "trials": trials,
        "seed": space.search.seed,
        "time_budget": space.search.time_budget,
        "objectives": tuple(map(_objective, space.objectives)),
        "ladder": ladder,
        "weighs": race and weighs_seeds(space.objectives, space.stop),
        "alpha": space.seeds.alpha if race or space.stop.proven_rate is not None else None,
        "finalists": space.seeds.finalists if race else None,
        "certify": space.seeds.certify,
        "grid_points": points,
        # If all end at the first rung, and if all get the full ladder and the most epochs.
        "least_seed_epochs": trials * ladder[0] * min(epochs) if epochs else None,
        "seed_epochs": trials * ladder[-1] * max(epochs) if epochs else None,
        "proven_rate": space.stop.proven_rate,
    }


def _parameter(parameter: Parameter) -> dict[str, str]:
    kind, scale = type(parameter).__name__.lower(), ""
    if isinstance(parameter, Range):
        kind, scale = "int" if parameter.integer else "float", "log" if parameter.log else "linear"
    values = str(parameter).removeprefix("whole numbers from ").removesuffix(" (fixed)")
    when = f"when {condition_text(parameter)}" if parameter.when else ""
    return {"name": parameter.name, "kind": kind, "values": values, "scale": scale, "when": when}


def _objective(objective: Objective) -> dict[str, str]:
    direction = "maximize" if objective.maximize else "minimize"
    failed = "worse than any number" if objective.failed is None else word(objective.failed)
    if objective.number is None:
        failed = ""
    return {"name": objective.name, "direction": direction, "failed": failed}


def at_most(what: Mapping[str, Any]) -> str:
    """What a search costs if nothing is ruled out, without a certificate."""
    if what["seed_epochs"] is not None:
        return f"{what['seed_epochs']:,} epochs of one seed"
    return f"{what['trials'] * what['ladder'][-1]:,} trainings"
