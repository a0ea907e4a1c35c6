"""How fast the engines are, on one core: nanoseconds for one epoch of one seed, and ratios.

    python benchmarks/engines.py [--quick] [--seeds 128 10000] [--json FILE] [--readme]

A lower number is faster; the ratio is to the fused engine with as many seeds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import machine
import numpy as np
import peers
from figures import (
    COMBINATIONS,
    EPOCHS,
    SIZES,
    Figure,
    compile_lines,
    config_of,
    roofline_lines,
    tables,
)

import xortune as xt
from xortune.core.config import MOMENTUM_OPTIMIZERS, Config
from xortune.core.task import Task
from xortune.spaces.space import load_space
from xortune.trainers import fused
from xortune.trainers.kernels import draws

SPACE = Path(__file__).parents[1] / "search_spaces" / "published_sweep.yaml"
LATE = 5000
"""Epochs of a training of the sweep: what a state has decayed to by then costs, too."""

LIMIT = 60.0
"""Seconds for a peer that has to compile."""


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


def of_compilers(seeds: list[int]) -> Iterator[Figure]:
    """torch.compile and JAX, for what is written out in `peers`; 2-5-1 only."""
    config, task = config_of(0, 0, _epochs(seeds[0]))
    for count in seeds[:1]:
        start = draws.initial_weights(task.dim, config.hidden_dim, np.arange(count))
        args = (peers.compiled_torch, config, task, start)
        yield _answered("torch.compile, 10 steps", count, 0, machine.in_process(*args, limit=LIMIT))
    if importlib.util.find_spec("jax") is None:
        print("JAX is not installed here: pip install 'xortune[bench]'\n")
        return
    for count, layout, combination in product(seeds, ("seeds last", "vmap"), (0, 1)):
        config, task = config_of(combination, 0, _epochs(count))
        start = draws.initial_weights(task.dim, config.hidden_dim, np.arange(count))
        answer = machine.in_process(peers.jax_scan, config, task, start, layout, limit=LIMIT)
        yield _answered(f"JAX, {layout}", count, combination, answer)


def _epochs(seeds: int) -> int:
    return EPOCHS if seeds <= 1000 else 100


def _answered(engine: str, seeds: int, combination: int, answer: peers.Measured | str) -> Figure:
    if isinstance(answer, str):
        return Figure(engine, seeds, combination, 0, None, answer)
    config, task = config_of(combination, 0, _epochs(seeds))
    solved = xt.evaluate(config, range(seeds), task=task).successes
    agree(engine, answer.solved, solved, seeds)
    return Figure(engine, seeds, combination, 0, answer.ns, "", answer.compile_seconds)


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


def mix(cells: int, *, quick: bool) -> str:
    """What random cells of the published sweep take on the fused engine, late epochs included."""
    values = {parameter.name: parameter.values for parameter in load_space(SPACE).parameters}
    draw, seeds, epochs = np.random.default_rng(0), np.arange(100), LATE // (10 if quick else 1)
    base, task = config_of(0, 0, epochs)
    seconds = 0.0
    for _ in range(cells):
        own = {name: of[draw.integers(len(of))] for name, of in values.items() if name != "epochs"}
        if own["optimizer"] not in MOMENTUM_OPTIMIZERS:
            own["momentum"] = 0.0
        config = replace(base, **own)
        began = time.process_time()
        fused.train(config, task, seeds, stop_early=False)
        seconds += time.process_time() - began
    ns = seconds / cells / len(seeds) / epochs * 1e9
    return (
        f"{cells} random cells of the published sweep, 100 seeds, {epochs:,} epochs: {ns:.1f} ns."
    )


def slowest(count: int, *, quick: bool) -> str:
    """The combinations of the published table that take the fused engine longest."""
    parameters = {parameter.name: parameter for parameter in load_space(SPACE).parameters}
    names = [parameters[name].values for name in ("activation", "loss", "optimizer")]
    epochs, seeds = (100 if quick else LATE), np.arange(64)
    base, task = config_of(0, 0, epochs)

    def ns(config: Config, least: int) -> float:
        seconds = machine.best_seconds(
            lambda: fused.train(config, task, seeds, stop_early=False), least=least, budget=0.0
        )
        return seconds / len(seeds) / epochs * 1e9

    plain, taken = ns(replace(base, lr=1.0), 20), {}
    for activation, loss, optimizer in list(product(*names))[:: 10 if quick else 1]:
        config = replace(
            base, activation=activation, loss=loss, optimizer=optimizer, momentum=0.0, lr=1.0
        )
        taken[config] = ns(config, 2)
    # What another process took from a short run is no property of the combination: look again.
    longest = sorted(taken, key=taken.__getitem__, reverse=True)[: 4 * count]
    again = {config: ns(config, 10) for config in longest}
    longest.sort(key=again.__getitem__, reverse=True)
    return machine.table(
        (
            f"slowest of {len(taken):,} (2-5-1, 64 seeds, lr 1, 5,000 epochs)",
            "ns",
            "ratio to ELU, MSELoss, SGD",
        ),
        [
            (
                f"{c.activation}, {c.loss}, {c.optimizer}",
                f"{again[c]:.1f}",
                f"{again[c] / plain:.1f}x",
            )
            for c in longest[:count]
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds, not minutes; rough; no peers that compile"
    )
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[128, 10_000], help="how many train at once"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
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
        figures += [
            of_fused(n, c, size, quick=args.quick)
            for n, c in product(seeds, range(len(COMBINATIONS)))
        ]
    if not args.quick:
        figures += of_compilers(seeds)
    figures.sort(key=lambda f: f.engine == "fused")  # stable: fused last
    lines = "\n".join(filter(None, (roofline_lines(figures), compile_lines(figures))))
    late = mix(8 if args.quick else 84, quick=args.quick), slowest(5, quick=args.quick)
    text = "\n\n".join((tables(figures), lines, *late))
    print(text, f"\n{time.perf_counter() - began:.0f} s", sep="\n")
    if args.readme:
        machine.write_figures("engines", f"{place}\n\n{text}")
    if args.json:
        rows = [vars(f) for f in figures]
        args.json.write_text(json.dumps({"machine": place, "figures": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
