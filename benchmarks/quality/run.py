"""Runs one repetition of one method, by itself in a process."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import machine

Job = tuple[str, str, int]
"""A space, a method, and the number of the repetition."""

METHODS = {
    "xortune": "xortune, its own search with its race",
    "flat": "Optuna's TPE, 100 seeds for each config",
    "racing": "xortune with random proposals",
    "parzen": "xortune with TPE's proposals",
    "wilcoxon": "Optuna's TPE and WilcoxonPruner, up to 100 seeds",
    "smac": "SMAC3 and its intensifier, up to 100 seeds",
    "tpe2": "Optuna's TPE, 2 seeds for each config",
    "tpe4": "Optuna's TPE, 4 seeds for each config",
    "tpe8": "Optuna's TPE, 8 seeds for each config",
    "gp8": "Optuna's GP sampler for a noisy objective, 8 seeds for each config",
    "halving": "successive halving of random configs, 1 to 81 seeds",
    "hyperband": "Hyperband, 1 to 81 seeds",
    "dehb": "DEHB, 1 to 81 seeds; of spaces of choices",
    "irace": "iterated racing with Friedman's test, as irace; of spaces of choices",
    "repeater": "Ray's Repeater and OptunaSearch, 10 seeds for each config",
}
"""Names on the command line, and what they are."""

FEW = {"tpe2": ("tpe", 2), "tpe4": ("tpe", 4), "tpe8": ("tpe", 8), "gp8": ("gp", 8)}
"""Samplers with so many seeds for each config."""

RAY = frozenset({"xortune", "racing", "parzen", "repeater"})
"""Those that run in Ray Tune, or without it."""


def repetition(  # noqa: PLR0917  # a process is started with them
    job: Job, budget: float, limit: float, cores: list[int], output: str, direct: bool
) -> str:
    """Run a repetition, measure the truth of its answers, append the record; a word about it.

    Args:
        job: which one.
        budget: in hundreds of seeds.
        limit: seconds after which it is cut off, or inf.
        cores: that it and all it starts may use.
        output: the JSONL file.
        direct: without Ray, where a method needs it for nothing but its time.
    """
    space, method, number = job
    machine.stay_on(cores[0])  # torch and the fused engine: one thread
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(cores))
    import numpy as np

    from quality.record import Record, append
    from quality.spaces import SPACES
    from quality.trace import Tracer
    from quality.truth import true_rates

    bench = SPACES[space]
    direct = direct or bench.table  # `methods_ray` has the built-in network, which has no rule
    search = _function(method, direct=direct)
    bench.train(bench.draw(np.random.default_rng(0)), [0])  # loads the compiled engine
    tracer = Tracer(bench, number, round(budget * 100 * bench.epochs), limit)
    search(tracer)
    seconds = tracer.seconds
    path = Path(output)
    rates = true_rates(bench, tracer.points, path.with_suffix(".truth.jsonl"))
    record = Record(
        space=space,
        method=method,
        repetition=number,
        epochs=bench.epochs,
        asked=tracer.budget,
        budget=min(tracer.budget, tracer.spent) if tracer.late else tracer.budget,
        spent=tracer.spent,
        seconds=seconds,
        steps=tuple(tracer.steps),
        rates=tuple(rates),
        configs=tuple(point.as_dict() for point in tracer.points),
        about=_about(len(cores)),
        direct=direct and method in RAY,
    )
    append(path, record)
    claim, truth = record.final
    return f"{seconds:.1f} s, {tracer.spent // bench.epochs:,} seeds, {claim:.3f}, true {truth:.4f}"


def _function(method: str, *, direct: bool) -> Callable[[object], None]:
    if method == "smac":
        from quality import methods_smac as module
    elif method in RAY and direct:
        from quality import methods_direct as module
    elif method in RAY:
        from quality import methods_ray as module
    elif method in FEW:
        from quality import methods_seeds

        base, seeds = FEW[method]
        return partial(getattr(methods_seeds, base), seeds=seeds)
    elif method in {"halving", "hyperband", "dehb", "irace"}:
        from quality import methods_seeds as module
    else:
        from quality import methods as module
    return getattr(module, method)


def _about(cores: int) -> str:
    found = []
    for name in ("xortune", "optuna", "ray", "smac", "scipy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M}; {cores} cores, load {load}; {', '.join(found)}"
