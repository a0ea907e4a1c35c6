"""What the full plan of 88,200 cells takes here: a sample of it on one core, and on two.

    python benchmarks/sweep.py [--quick] [--full] [--readme]

A cell is a setting with its number of epochs; those that differ in epochs only are one training.
The sample is the same every time, with as many trainings for each optimizer and hidden size.
`--full` also runs the search itself, as a user would, in a temporary directory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine

from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.core.trainer import Block
from xortune.spaces.grid import grid
from xortune.spaces.space import load_space
from xortune.trainers.network import NetworkTrainer

SPACE = Path(__file__).parents[1] / "search_spaces" / "published_sweep.yaml"

LIMIT = 120
"""Seconds that one process waits for another."""

Training = tuple[Point, ...]
"""Points that differ in epochs only."""


def trainings() -> list[Training]:
    points = list(grid(load_space(SPACE)))
    looks = len({point["epochs"] for point in points})
    return [tuple(points[i : i + looks]) for i in range(0, len(points), looks)]


def sample(everything: list[Training], each: int) -> list[Training]:
    """So many trainings for each optimizer and hidden size, in random order."""
    strata = defaultdict(list)
    for training in everything:
        strata[training[0]["optimizer"], training[0]["hidden_dim"]].append(training)
    chance = random.Random(0)
    chosen = [training for one in strata.values() for training in chance.sample(one, each)]
    chance.shuffle(chosen)
    return chosen


def seconds_of(
    plan: list[int], cores: list[int], chosen: list[Training], seeds: int
) -> list[float]:
    """Seconds to train them all, for each number in the plan on so many of the cores."""
    context = multiprocessing.get_context("spawn")
    gate, following = context.Barrier(len(cores) + 1), context.Value("i", 0)
    processes = [
        context.Process(
            target=_train,
            args=([rank < count for count in plan], core, chosen, seeds),
            kwargs={"gate": gate, "following": following},
            daemon=True,
        )
        for rank, core in enumerate(cores)
    ]
    for process in processes:
        process.start()
    taken = []
    for _ in plan:
        following.value = 0
        gate.wait(LIMIT)  # at first they may have to compile
        start = time.perf_counter()
        gate.wait(LIMIT)
        taken.append(time.perf_counter() - start)
    for process in processes:
        process.join()
    return taken


def _train(
    takes_part: list[bool],
    core: int,
    chosen: list[Training],
    seeds: int,
    *,
    gate: Any,
    following: Any,
) -> None:
    machine.stay_on(core)
    trainer = NetworkTrainer(load_space(SPACE).task)
    trainer.train([Block(chosen[0][0], 0, seeds)])  # loads the compiled kernels
    for trains in takes_part:
        gate.wait(LIMIT)
        while trains:
            with following.get_lock():
                index = following.value
                following.value += 1
            if index >= len(chosen):
                break
            for outcome in trainer.train([Block(point, 0, seeds) for point in chosen[index]]):
                if isinstance(outcome, TrainingError):
                    raise outcome
        gate.wait(LIMIT)


def measure(*, quick: bool) -> str:
    everything, seeds = trainings(), load_space(SPACE).seeds.ladder[-1]
    chosen = sample(everything, 2 if quick else 22)
    cells = sum(map(len, everything))
    cores = machine.cores()[-2:]
    plan = [1, 2][: len(cores)] * (1 if quick else 3)  # in turn, to meet the same neighbours
    best: dict[int, float] = {}
    for count, seconds in zip(plan, seconds_of(plan, cores, chosen, seeds), strict=True):
        best[count] = min(best.get(count, seconds), seconds)
    epochs = sum(max(point["epochs"] for point in training) for training in chosen)
    rows = []
    for count, seconds in best.items():
        rate = sum(map(len, chosen)) / seconds
        rows.append(
            (
                f"{count}",
                f"{rate:,.0f}",
                f"{epochs * seeds / seconds:.2e}",
                f"{best[1] / seconds:.2f}x",
                f"{cells / rate:,.0f} s",
            )
        )
    head = ("cores", "cells/s", "seed-epochs/s", "ratio", f"pure training of {cells:,} cells")
    sampled = (
        f"A sample of {len(chosen)} of {len(everything):,} trainings ({seeds} seeds, 7 numbers of"
        " epochs up to 5,000 looked at in one training); best of several runs."
    )
    return f"{sampled}\n\n{machine.table(head, rows)}"


def full() -> str:
    """The search itself: wall time until the report is written, and memory at its peak."""
    code = "import sys; from xortune.cli import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "sweep"
        command = [sys.executable, "-c", code, "search", str(SPACE), "--output", str(output)]
        start, peak = time.time(), 0.0
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                peak = max(peak, _megabytes(process.pid))
                time.sleep(0.5)
        if process.returncode:
            raise SystemExit(f"xortune search ended with {process.returncode}")
        written = max(file.stat().st_mtime for file in output.glob("report.*")) - start
    return (
        f"The search itself, `xortune search search_spaces/{SPACE.name}`: {written:.0f} s from the"
        f" command to the written report; at most {peak:,.0f} MB for the driver and the processes"
        " that train (PSS)."
    )


def _megabytes(driver: int) -> float:
    """Of the driver and all its descendants: memory that they share is counted once."""
    size = 0.0
    for pid in _descendants(driver):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:  # it has ended, or this is no Linux
            continue
        size += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000
    return size


def _descendants(driver: int) -> Iterator[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            after = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(entry.name)] = int(after[1])
    for pid in parents:
        ancestor = pid
        while ancestor in parents and ancestor != driver:
            ancestor = parents[ancestor]
        if ancestor == driver:
            yield pid


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a small sample; rough")
    parser.add_argument("--full", action="store_true", help="run the search itself, too")
    parser.add_argument("--readme", action="store_true", help="put them into benchmarks/README.md")
    args = parser.parse_args()
    place = machine.description()
    print(place, end="\n\n", flush=True)
    text = measure(quick=args.quick)
    print(text, flush=True)
    if args.full:
        more = full()
        print("", more, sep="\n")
        if args.readme:
            machine.write_figures("search", f"{place}\n\n{more}")
    if args.readme:
        machine.write_figures("sweep", f"{place}\n\n{text}")


if __name__ == "__main__":
    main()
