"""How fast the engines are, on one core: nanoseconds for one epoch of one seed, and ratios.

    python benchmarks/engines.py [--quick] [--seeds 128 10000] [--readme]

A lower number is faster; the ratio is to the fused engine with as many seeds.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import machine
import numpy as np
import peers

import xortune as xt
from xortune.core.config import Config
from xortune.core.task import Task
from xortune.trainers.kernels import draws

EPOCHS = 1000
COMBINATIONS = (
    ("ELU", "MSELoss", "SGD", 0.9),
    ("Tanh", "BCELoss", "Adam", 0.0),
    ("ReLU", "L1Loss", "Rprop", 0.0),
    ("Softplus", "MultiLabelSoftMarginLoss", "Adadelta", 0.0),
    ("LogSoftmax", "PoissonNLLLoss", "RMSprop", 0.0),
)
SIZES = (("xor", 5), ("xor", 2), ("parity-3", 20))

LIMIT = 60.0
"""Seconds for a peer that has to compile."""


@dataclass(frozen=True)
class Figure:
    """One measurement: who, with how many seeds, what, and the nanoseconds.

    `combination` and `size` number those above.
    """

    engine: str
    seeds: int
    combination: int
    size: int
    ns: float


def config_of(combination: int, size: int, epochs: int = EPOCHS) -> tuple[Config, Task]:
    activation, loss, optimizer, momentum = COMBINATIONS[combination]
    task, hidden = SIZES[size]
    config = Config(
        activation=activation,
        loss=loss,
        optimizer=optimizer,
        momentum=momentum,
        lr=0.1,
        hidden_dim=hidden,
        epochs=epochs,
    )
    return config, Task.named(task)


def seconds_of(
    config: Config, task: Task, seeds: int, engine: str, *, least: int, budget: float
) -> float:
    return machine.best_seconds(
        lambda: xt.evaluate(config, range(seeds), task=task, engine=engine),
        least=least,
        budget=budget,
    )


def of_fused(seeds: int, combination: int, size: int, *, quick: bool) -> Figure:
    config, task = config_of(combination, size)
    seconds = seconds_of(config, task, seeds, "fused", least=2, budget=0.0 if quick else 0.6)
    return Figure("fused", seeds, combination, size, seconds / seeds / EPOCHS * 1e9)


def of_stacked(seeds: int, size: int, *, quick: bool) -> Iterator[Figure]:
    """Stacked torch: what more epochs take, without the drawing of the initial weights."""
    epochs = max(10, min(200, 300_000 // seeds)) // (10 if quick else 1) + 1
    least, budget = (1, 0.0) if quick or seeds > 1000 else (3, 0.2)
    config, task = config_of(0, size, epochs=1)
    drawing = seconds_of(config, task, seeds, "reference", least=least, budget=budget)
    for combination in range(len(COMBINATIONS)):
        config, task = config_of(combination, size, epochs)
        seconds = seconds_of(config, task, seeds, "reference", least=least, budget=budget) - drawing
        yield Figure(
            "stacked torch", seeds, combination, size, seconds / seeds / (epochs - 1) * 1e9
        )


def of_jax(seeds: list[int]) -> Iterator[Figure]:
    """JAX, for what is written out in `peers`; 2-5-1 only."""
    for count, layout, combination in product(seeds, ("seeds last", "vmap"), (0, 1)):
        config, task = config_of(combination, 0, EPOCHS if count <= 1000 else 100)
        start = draws.initial_weights(task.dim, config.hidden_dim, np.arange(count))
        found = machine.in_process(peers.jax_scan, config, task, start, layout, limit=LIMIT)
        if isinstance(found, str):
            print(f"JAX, {layout}, {count:,} seeds: {found}")
            continue
        solved = xt.evaluate(config, range(count), task=task).successes
        agree(f"JAX, {layout}", found.solved, solved, count)
        yield Figure(f"JAX, {layout}", count, combination, 0, found.ns)


def agree(engine: str, solved: int, wanted: int, seeds: int) -> None:
    """Fail if an engine trains something else: its seeds must be solved as often as ours."""
    if abs(solved - wanted) > max(1, seeds // 50):
        raise SystemExit(f"{engine} solved {solved} of {seeds} seeds, fused {wanted}: not the same")


def check_engines(loops: int) -> None:
    config, task = config_of(0, 0)
    solved = xt.evaluate(config, range(128), engine="reference").successes
    agree("stacked torch", solved, xt.evaluate(config, range(128)).successes, 128)
    solved = peers.plain_loop(config, task, range(loops)).solved
    agree("the thread's loop", solved, xt.evaluate(config, range(loops)).successes, loops)


def tables(figures: list[Figure]) -> str:
    """One table for each size: engines by combinations, each with its ratio to fused."""
    base = {(f.seeds, f.combination, f.size): f.ns for f in figures if f.engine == "fused"}
    few = min(f.seeds for f in figures if f.engine == "fused")
    parts = []
    for size, (task, hidden) in enumerate(SIZES):
        rows: dict[tuple[str, int], list[str]] = {}
        for f in (f for f in figures if f.size == size):
            row = rows.setdefault((f.engine, f.seeds), [""] * len(COMBINATIONS))
            fused = base.get((f.seeds, f.combination, size)) or base[few, f.combination, size]
            row[f.combination] = _cell(f.ns, f.ns / fused)
        columns = [
            f"{activation}, {loss.removesuffix('Loss')}, {optimizer}"
            for activation, loss, optimizer, _ in COMBINATIONS
        ]
        parts.append(
            machine.table(
                (f"{Task.named(task).dim}-{hidden}-1, {task}", "seeds", *columns),
                [(engine, f"{seeds:,}", *cells) for (engine, seeds), cells in rows.items()],
            )
        )
    return "\n\n".join(parts)


def _cell(ns: float, ratio: float) -> str:
    return f"{ns:,.{1 if ns < 1000 else 0}f} ({ratio:,.{1 if ratio < 100 else 0}f}x)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes; rough; no JAX")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[128, 10_000], help="how many train at once"
    )
    parser.add_argument("--readme", action="store_true", help="put them into benchmarks/README.md")
    args = parser.parse_args()
    began, place = time.perf_counter(), machine.description()
    machine.stay_on(machine.cores()[-1])
    seeds = sorted(args.seeds)[: 1 if args.quick else None]
    print(place, end="\n\n", flush=True)
    check_engines(2 if args.quick else 8)
    figures = []
    for size in range(len(SIZES)):
        for combination in range(len(COMBINATIONS)):
            loop = peers.plain_loop(
                *config_of(combination, size),
                range(1 if args.quick else 3),
                epochs=20 if args.quick else 200,
            )
            figures.append(Figure("the thread's loop", 1, combination, size, loop.ns))
        for count in seeds:
            figures += of_stacked(count, size, quick=args.quick)
    if not args.quick and importlib.util.find_spec("jax"):
        figures += of_jax(seeds)
    figures += [
        of_fused(n, combination, size, quick=args.quick)
        for size, n, combination in product(range(len(SIZES)), seeds, range(len(COMBINATIONS)))
    ]
    text = tables(figures)
    print(text, f"\n{time.perf_counter() - began:.0f} s", sep="\n")
    if args.readme:
        machine.write_figures("engines", f"{place}\n\n{text}")


if __name__ == "__main__":
    main()
