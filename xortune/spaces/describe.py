"""What a space holds and what searching it may cost, as text for the terminal and for JSON."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from xortune.spaces.command import EXIT_CODE
from xortune.spaces.grid import grid_size, probes
from xortune.spaces.model import (
    FIRST,
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


def described(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Label and text of each line that `xortune space` prints of what `describe` says."""
    yield "name", what["name"]
    if what["task"] is not None:
        yield "task", f"{what['task']}: {what['rows']} rows, {what['inputs']} inputs"
    called, run_as = what["called"], what["run_as"]
    if what["trainer"] is not None:
        yield (
            "trainer",
            what["trainer"] + (f", called with ({called})" if called and not run_as else ""),
        )
        if run_as is not None:
            yield "run as", run_as
            yield "files", called or "not looked at"
        yield "success", what["success"] or "what the function says: true, or success: true"
    if what["metric"] is not None:
        yield "metric", what["metric"]
    if what["timeout"] is not None:
        yield "time limit", f"{what['timeout']:g} s for each seed"
    for p in what["parameters"]:
        notes = "".join(f", {note}" for note in (p["scale"], p["when"]) if note)
        yield p["name"], f"{p['kind']}: {p['values']}{notes}"
    yield "sampler", f"{what['sampler']}, seed {what['seed']}"
    yield "trials", f"{what['trials']:,}"
    if what["time_budget"] is not None:
        yield "time budget", f"{what['time_budget']:g} s"
    if len(what["objectives"]) > 1 or what["objectives"][0]["failed"]:
        yield "objectives", ", ".join(map(_objective_text, what["objectives"]))
    yield from _seeds(what)
    if what["proven_rate"] is not None:
        yield "stop", f"as soon as a success rate of {what['proven_rate']:g} is proven"
    if what["certify"] is not None:
        yield "certify", f"{what['certify']:,} fresh seeds for each of the five best"
    if what["grid_points"] is not None:
        yield "grid points", f"{what['grid_points']:,}"
    yield "cost", _cost(what)


def at_most(what: Mapping[str, Any]) -> str:
    """What a search costs if nothing is ruled out, without a certificate."""
    if what["seed_epochs"] is not None:
        return f"{what['seed_epochs']:,} epochs of one seed"
    return f"{what['trials'] * what['ladder'][-1]:,} trainings"


def _objective_text(objective: Mapping[str, str]) -> str:
    failed = objective["failed"] and f", a failed seed counts as {objective['failed']}"
    return f"{objective['name']} ({objective['direction']}{failed})"


def _seeds(what: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Who gets how many; see `racing.grants`."""
    first, *others = what["ladder"]
    begin = f"{first:,} for each configuration"
    if not others:
        yield "seeds", begin
    else:
        at_once = [rung for rung in others if rung <= FIRST]
        if what["weighs"]:
            yield "seeds", f"{begin}; more where they are worth most, up to {others[-1]:,}"
        else:
            begin += f", {_listed(at_once)} as long as none has failed" if at_once else ""
            yield "seeds", f"{begin}; half of all seeds go to promotions, up to {others[-1]:,}"
        yield "rungs", _listed(what["ladder"])
        if len(what["objectives"]) == 1 and what["objectives"][0]["failed"]:
            yield "promoted", "the best 1 in r of each rung, if the next one has r times the seeds"
            return
        most = what["finalists"]
        yield (
            "finalists",
            "no limit: only what is proven worse than another is stopped"
            if most is None
            else f"{most:,}: a configuration is paused while so many others match it",
        )
    if what["alpha"] is not None:
        proof = "stop" if others else "proof"
        yield "alpha", f"{what['alpha']:g}: the risk that any {proof} is wrong, at most"


def _cost(what: Mapping[str, Any]) -> str:
    """From what it comes to if all are ruled out at once, to what it comes to if none is."""
    first, last = what["ladder"][0], what["ladder"][-1]
    seeds = f"{first:,}" if first == last else f"{first:,} to {last:,}"
    least, most = what["least_seed_epochs"], what["seed_epochs"]
    how = f"epochs of one seed (trials x {seeds} seeds x epochs)"
    if most is None:  # a trainer of the user's own, which counts no epochs
        least, most = what["trials"] * first, what["trials"] * last
        how = f"trainings (trials x {seeds} seeds)"
    if what["certify"] is not None:
        how += ", and the certificate"
    early = what["time_budget"] is not None or what["proven_rate"] is not None
    if least == most:
        return f"{'at most ' if early else ''}{most:,} {how}"
    if early:
        return f"at most {most:,} {how}; less if it ends early"
    return f"from {least:,} to {most:,} {how}"


def _listed(counts: Iterable[int]) -> str:
    return ", ".join(f"{count:,}" for count in counts)
