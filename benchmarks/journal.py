"""The journal: what it costs that what is announced is on the disk, and how long resuming takes.

python benchmarks/journal.py              # half a minute
python benchmarks/journal.py --readme     # and put the figures into benchmarks/README.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import machine
import numpy as np

from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.propose import proposer_for
from xortune.runs import journal as journal_module
from xortune.runs.evaluation import Evaluation
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.journal import Journal, read
from xortune.runs.run import create, load_run
from xortune.runs.store import JOURNAL
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import parse_space

LINES, SWEEP_SECONDS = 8_820, 80.0
"""Of the search behind "The sweep" in docs/thread.md, and how long it takes."""

EVALUATIONS, MOST_SECONDS = 100_000, 10.0

SPACE = """
name: journal
parameters:
  activation: {{choice: [Tanh, ReLU, ELU, Sigmoid]}}
  loss: {{choice: [MSELoss, BCELoss]}}
  optimizer: {{choice: [SGD, Adam]}}
  lr: {{low: 0.001, high: {high}, step: 0.001}}
  hidden_dim: {{low: 2, high: 20}}
search: {{sampler: {sampler}, seed: 1{trials}}}
seeds: {{ladder: [100]}}
"""


class Plain(Trainer):
    """A trainer that takes any point as it is."""

    train = describe = None  # nobody asks


def outcomes(count: int) -> list[Outcome]:
    """Outcomes of 100 seeds that compress as those of XOR do."""
    random, right = np.random.default_rng(0), np.array([0, 1, 1, 0], dtype=bool)
    found = []
    for _ in range(count):
        solved = random.random(100) < random.random()
        found.append(
            Outcome.judge(
                Task.xor(),
                seeds=np.arange(100),
                epochs=1000,
                predictions=np.where(solved[:, None], right, random.random((100, 4)) < 0.5),
                finite=np.ones(100, dtype=bool),
                solved_epoch=random.integers(1, 1000, 100).astype(np.int32),
                final_loss=random.random(100).astype(np.float32),
            )
        )
    return found


def evaluations(count: int) -> list[Evaluation]:
    """Lines as they come from workers: packed."""
    space = space_of("grid", count)
    some = outcomes(200)
    packed = [pack(Block(Point({}), 0, 100), outcome) for outcome in some]
    queue = proposer_for(space)
    points = (queue.propose(number) for number in range(count))
    return [
        Evaluation(number, Block(point, 0, 100), packed[number % 200], None, True, 0.01, "host:1")
        for number, point in enumerate(points)
        if point is not None
    ]


def space_of(sampler: str, trials: int) -> SearchSpace:
    """A grid of somewhat more than so many points."""
    steps = trials // (4 * 2 * 2 * 19) + 2
    given = "" if sampler == "grid" else f", trials: {trials}"
    return parse_space(SPACE.format(sampler=sampler, trials=given, high=f"{steps / 1000:.3f}"))


def durability(lines: list[Evaluation], repeats: int) -> str:
    """Appending them all as fast as possible, and some at the pace of the sweep."""
    real = os.fsync
    ways: dict[str, Callable[[int], None]] = {
        "no fsync at all": lambda _: None,
        "fsync of what has come, every 0.2 s (as it is)": real,
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    # Not where temporary files go: that may be memory.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".journal-") as folder:
        for repeat in range(repeats):
            for way, fsync in ways.items():
                journal_module.os.fsync = fsync
                try:
                    start = time.perf_counter()
                    with Journal(Path(folder) / f"{way[:2]}{repeat}") as opened:
                        for line in lines:
                            opened.append(line)
                    seconds[way].append(time.perf_counter() - start)
                finally:
                    journal_module.os.fsync = real
        start = time.perf_counter()
        with Journal(Path(folder) / "each") as opened:
            for line in lines[:200]:
                opened.append(line)
                opened.sync()
        each = (time.perf_counter() - start) / 200 * len(lines)
        spent, waits = _paced(Path(folder) / "paced", lines[: len(lines) // 8])
    without, grouped = (statistics.median(found) for found in seconds.values())
    share = (grouped - without) / SWEEP_SECONDS
    rows = [
        (way, f"{statistics.median(found):.2f}", f"{min(found):.2f} to {max(found):.2f}")
        for way, found in seconds.items()
    ]
    rows.append(("fsync of each line", f"{each:.1f}", "from 200 lines"))
    head = (f"{len(lines):,} lines of 100 seeds, as fast as possible", "s, median", "of all runs")
    return (
        f"{machine.table(head, rows)}\n\n"
        f"The difference, {grouped - without:+.2f} s, is {share:+.1%} of the {SWEEP_SECONDS:.0f} s"
        f" that the search behind the sweep takes. At its pace ({LINES / SWEEP_SECONDS:.0f}"
        f" lines a second) appending takes {spent:.1%} of the time, and a line is settled after"
        f" {statistics.median(waits) * 1e3:.0f} ms (median; {max(waits) * 1e3:.0f} ms at most)."
    )


def _paced(path: Path, lines: list[Evaluation]) -> tuple[float, list[float]]:
    """The share of the time that appending takes, and how long each line waits to be settled."""
    spent, came, waits = 0.0, [], []
    start = time.perf_counter()
    with Journal(path) as opened:
        for number, line in enumerate(lines):
            at = start + number * SWEEP_SECONDS / LINES
            while (now := time.perf_counter()) < at:
                waits += [now - moment for moment in came[len(waits) : opened.settled]]
                time.sleep(0.001)
            opened.append(line)
            came.append(time.perf_counter())
            spent += came[-1] - now
        over = time.perf_counter() - start
    return spent / over, waits


def resume(count: int, samplers: Sequence[str]) -> str:
    """Seconds until the next block can be handed out, from a journal of so many evaluations."""
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".journal-") as name:
        folder = Path(name)
        create(folder, space_text="name: journal", manifest={})
        with Journal(folder / JOURNAL) as opened:
            for line in evaluations(count):
                opened.append(line)
        size = (folder / JOURNAL).stat().st_size
        began = time.process_time()
        read(folder / JOURNAL)
        read_seconds = time.process_time() - began
        for sampler in samplers:
            start, cpu = time.perf_counter(), time.process_time()
            run = load_run(folder)
            loaded = time.process_time() - cpu
            space = space_of(sampler, count + 100)
            with Journal(folder / JOURNAL):
                queue = SearchDecisions(
                    space,
                    Plain(),
                    proposer_for(space),
                    max_in_flight=None,
                    known=run.evaluations,
                )
                queue.replay_known()
                job = queue.next()
            whole = time.perf_counter() - start
            assert job is not None
            assert job.proposal == count, job.proposal
            cpu = time.process_time() - cpu
            rows.append((sampler, *(f"{s:.1f}" for s in (loaded, cpu - loaded, cpu, whole))))
            del run, queue
    head = ("sampler", "reading, s of CPU", "recalling", "until the next block", "by the clock, s")
    return (
        f"Resuming a run of {count:,} evaluations of 100 seeds ({size / 1e6:.0f} MB;"
        f" `journal.read` alone {read_seconds:.1f} s of CPU):\n\n{machine.table(head, rows)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer lines; rough")
    parser.add_argument("--evaluations", type=int, help="of the run that is resumed")
    parser.add_argument("--samplers", nargs="+", default=["grid"], help="of the run: grid, random")
    parser.add_argument("--readme", action="store_true", help="put them into benchmarks/README.md")
    args = parser.parse_args()
    place = machine.description()
    print(place, end="\n\n", flush=True)
    count = args.evaluations or (2_000 if args.quick else EVALUATIONS)
    lines = list(islice(evaluations(LINES), 400 if args.quick else LINES))
    cost = durability(lines, repeats=2 if args.quick else 5)
    print(cost, end="\n\n", flush=True)
    again = resume(count, args.samplers)
    print(again, flush=True)
    if args.readme:
        machine.write_figures("journal", f"{place}\n\n{cost}\n\n{again}")


if __name__ == "__main__":
    main()
