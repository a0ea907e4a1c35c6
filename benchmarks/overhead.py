"""What a search costs besides its trainings: beside a plain loop, Optuna and Ray Tune.

    python benchmarks/overhead.py [--quick] [--only WORD] [--readme]

The training is a function of a stated time that succeeds with a known rate. Every row is a process
of its own, so that imports, starting and ending are in its time; memory is that of all processes
of the row at their highest. The others train as many seeds: the loop and Optuna one after the
other, Ray Tune on two cores, one trial for each configuration.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine

LIMIT = 900
"""Seconds that a row may take."""


@dataclass(frozen=True)
class Work:
    """A search.

    Attributes:
        trials: configurations proposed.
        seeds: of each; None races for up to 128.
        milliseconds: that a seed takes.
        sampler: of xortune and of Optuna.
        batched: whether xortune calls f(config, seeds).
    """

    trials: int
    seeds: int | None
    milliseconds: float
    sampler: str = "random"
    batched: bool = False

    def __str__(self) -> str:
        seeds = f"{self.seeds} seeds" if self.seeds else "a race"
        form = ", f(config, seeds)" if self.batched else ""
        return f"{self.trials:,} {self.sampler}, {seeds}, {self.milliseconds:g} ms{form}"


@dataclass(frozen=True)
class Cost:
    """What a row took.

    Attributes:
        seconds: of wall time, imports included.
        seeds: trained in all.
        megabytes: of the largest process, and of its largest child.
    """

    seconds: float
    seeds: int
    megabytes: float


def train(config: dict[str, float], seed: int, milliseconds: float) -> bool:
    """A training: true with a probability of 1 - |x - 0.5|, always the same for a seed."""
    if milliseconds:
        end = time.perf_counter() + milliseconds / 1000
        while time.perf_counter() < end:
            pass
    return random.Random(f"{config['x']} {seed}").random() < 1 - abs(config["x"] - 0.5)


def xortune(work: Work, _seeds: int = 0) -> int:
    """A search; the number of its seeds."""
    import xortune as xt

    space: dict[str, Any] = {
        "name": "overhead",
        "parameters": {"x": {"low": 0.0, "high": 1.0}},
        "search": {"sampler": work.sampler, "trials": work.trials},
        "seeds": {"ladder": [work.seeds]} if work.seeds else {"race": {"max": 128}},
    }

    def one(config: dict[str, float], seed: int) -> bool:
        return train(config, seed, work.milliseconds)

    def batch(config: dict[str, float], seeds: list[int]) -> list[bool]:
        return [train(config, seed, work.milliseconds) for seed in seeds]

    with tempfile.TemporaryDirectory() as folder:
        run = xt.search(space, train=batch if work.batched else one, output=Path(folder) / "run")
        return int(run.table["n"].sum())


def loop(work: Work, seeds: int) -> int:
    """Plain Python."""
    chance = random.Random(0)
    for _ in range(work.trials):
        config = {"x": chance.random()}
        for seed in range(seeds // work.trials):
            train(config, seed, work.milliseconds)
    return seeds // work.trials * work.trials


def optuna(work: Work, seeds: int) -> int:
    """`study.optimize`; a trial is the mean over its seeds."""
    import optuna as library

    library.logging.set_verbosity(library.logging.ERROR)
    each = seeds // work.trials

    def objective(trial: Any) -> float:
        config = {"x": trial.suggest_float("x", 0.0, 1.0)}
        return sum(train(config, seed, work.milliseconds) for seed in range(each)) / each

    samplers = {"random": library.samplers.RandomSampler, "tpe": library.samplers.TPESampler}
    study = library.create_study(direction="maximize", sampler=samplers[work.sampler](seed=0))
    study.optimize(objective, n_trials=work.trials)
    return each * work.trials


def ray_tune(work: Work, seeds: int) -> int:
    """A Tuner with one trial for each configuration, on two cores."""
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    import ray
    from ray import tune

    each = seeds // work.trials

    def trainable(config: dict[str, float]) -> dict[str, float]:
        solved = sum(train(config, seed, work.milliseconds) for seed in range(each))
        return {"rate": solved / each}

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(num_samples=work.trials),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        tuner.fit()
    ray.shutdown()
    return each * work.trials


def measured(method: Callable[[Work, int], int], work: Work, seeds: int) -> Cost:
    """Run it in this process, which is a new one."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    start = time.perf_counter()
    trained = method(work, seeds)
    seconds = time.perf_counter() - start
    most = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, -1)]
    return Cost(seconds, trained, sum(most) / 1024)


def works(*, quick: bool) -> Iterator[tuple[Work, tuple[Callable[[Work, int], int], ...]]]:
    """Each search, and what else does as much."""
    everyone = (loop, optuna, ray_tune)
    few = 20 if quick else 200
    yield Work(few, None, 0), everyone
    yield Work(few, None, 1), everyone
    yield Work(few, None, 1, batched=True), (loop,)
    if not quick:
        yield Work(few, None, 10), everyone
        yield Work(few // 4, None, 100), everyone
    yield Work(200 if quick else 20_000, 10, 0), (loop, optuna)
    yield Work(50 if quick else 2_000, 10, 0, "tpe"), (loop, optuna)


def rows(*, quick: bool, only: str) -> Iterator[list[str]]:
    """The cells of the table, measured one after the other."""
    for work, others in works(quick=quick):
        if only not in str(work):
            continue
        ours = machine.in_process(measured, xortune, work, 0, limit=LIMIT)
        if isinstance(ours, str):
            yield [str(work), "xortune", ours, "", "", ""]
            continue
        found = [("xortune", ours)] + [
            (
                other.__name__.replace("_", " "),
                machine.in_process(measured, other, work, ours.seeds, limit=LIMIT),
            )
            for other in others
        ]
        for name, cost in found:
            if isinstance(cost, str):
                yield [str(work), name, cost, "", "", ""]
            else:
                trainings = cost.seeds * work.milliseconds / 1000
                extra = 1000 * (cost.seconds - trainings) / cost.seeds
                yield [
                    str(work),
                    name,
                    f"{cost.seeds:,}",
                    f"{cost.seconds:.1f}",
                    f"{extra:.2f}",
                    f"{cost.megabytes:,.0f}",
                ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few trials")
    parser.add_argument("--only", default="", metavar="WORD", help="the searches with this in them")
    parser.add_argument("--readme", action="store_true", help="write the figures to the README")
    asked = parser.parse_args()
    head = ["search", "by", "seeds", "s", "ms a seed besides training", "MB"]
    found = list(rows(quick=asked.quick, only=asked.only))
    machine.show(machine.description(), head, found, name="overhead", readme=asked.readme)


if __name__ == "__main__":
    main()
