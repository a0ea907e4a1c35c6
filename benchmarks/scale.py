"""One driver at scale, simulated: the search's own queue, packs, proposer and journal; no training.

python benchmarks/scale.py                          # 10,000 and 100,000 evaluations, minutes
python benchmarks/scale.py --evaluations 1000000    # a million; an hour

An event loop stands for Ray and 10,000 workers: it gives each a pack and takes in what comes of it
after a made-up time, on a clock of its own. Everything else is what a search runs. The run that it
leaves is then loaded, and its tables and report are written, in processes of their own.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import heapq
import json
import os
import pstats
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import machine
import numpy as np

from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block
from xortune.driver.batches import Batches, Done, Job, most_in_flight
from xortune.driver.decisions import SearchDecisions
from xortune.driver.loop import Record
from xortune.driver.propose import LEARNING, proposer_for
from xortune.racing.grants import raced
from xortune.runs.evaluation import EncodedOutcome as Packed
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.journal import Journal, read
from xortune.runs.lock import held
from xortune.runs.run import create, load_run
from xortune.runs.status import Progress
from xortune.runs.store import JOURNAL
from xortune.spaces.grid import budget
from xortune.spaces.model import SearchSpace
from xortune.spaces.space import parse_space

WORKERS, EVALUATIONS, SAMPLES = 10_000, (10_000, 100_000), 10

SPACE = """
name: scale
parameters:
  activation: {{choice: [Tanh, ReLU, ELU, Sigmoid]}}
  loss: {{choice: [MSELoss, BCELoss]}}
  optimizer: {{choice: [SGD, Adam]}}
  lr: {{low: 0.000001, high: {high}, step: 0.000001}}
  hidden_dim: {{low: 2, high: 20}}
search: {{sampler: {sampler}, seed: 1{trials}}}
seeds: {{ladder: {ladder}}}
"""

LEVELS = 64
"""So many different success rates there are."""


class Simulated:
    """A trainer that takes any point as it is, and trains nothing.

    Args:
        seconds: what a seed takes, on average.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def check(self, point: Point) -> Point:
        return point

    def cost(self, block: Block) -> float:
        return self._seconds * block.count


@dataclass(frozen=True)
class Asked:
    """A search to simulate; `seconds` is what a seed takes."""

    sampler: str
    trials: int
    ladder: Sequence[int]
    workers: int
    seconds: float


@dataclass(frozen=True)
class Figures:
    """Of one simulated search.

    Attributes:
        evaluations: lines in the journal.
        configs: distinct ones.
        packs: handed out.
        seconds: of the whole loop, by the clock; cpu: of this process.
        memory: bytes of the process after each tenth of the evaluations, what was there before the
            search aside.
        size: bytes of the journal.
        simulated: seconds that the search would have taken.
    """

    evaluations: int
    configs: int
    packs: int
    seconds: float
    cpu: float
    memory: tuple[int, ...]
    size: int
    simulated: float

    @property
    def per_config(self) -> float:
        """Bytes that each config adds, while all workers are busy."""
        first, *_, last, _ = self.memory
        return (last - first) / (self.configs * (len(self.memory) - 2) / len(self.memory))


@cache
def outcomes(count: int) -> tuple[Packed, ...]:
    """One for each level of success, as workers send them."""
    random_, right = np.random.default_rng(0), np.array([0, 1, 1, 0], dtype=bool)
    found = []
    for level in range(LEVELS):
        solved = random_.random(count) < level / (LEVELS - 1)
        outcome = Outcome.judge(
            Task.xor(),
            seeds=np.arange(count),
            epochs=1000,
            predictions=np.where(solved[:, None], right, random_.random((count, 4)) < 0.5),
            finite=np.ones(count, dtype=bool),
            solved_epoch=random_.integers(1, 1000, count).astype(np.int32),
            final_loss=random_.random(count).astype(np.float32),
        )
        found.append(pack(Block(Point({}), 0, count), outcome))
    return tuple(found)


def result_of(job: Job) -> Packed:
    """Most configs seldom succeed; some nearly always do."""
    share = int(job.block.point.key[:6], 16) / 2**24
    return outcomes(job.block.count)[int(share**3 * LEVELS)]


def space_of(sampler: str, trials: int, ladder: Sequence[int]) -> SearchSpace:
    """A space of about so many points: the next multiple of 304."""
    steps = trials // (4 * 2 * 2 * 19) + 1
    given = "" if sampler == "grid" else f", trials: {trials}"  # a grid has as many as it has
    text = SPACE.format(
        sampler=sampler, trials=given, ladder=list(ladder), high=f"{steps / 1e6:.6f}"
    )
    return parse_space(text)


def resident(field: str = "VmRSS") -> int:
    """Bytes of memory of this process: now, or the most (VmHWM); Linux only."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no {field}")


def simulate(folder: Path, asked: Asked) -> Figures:
    """Run a search into a directory."""
    sampler, ladder, workers, seconds = asked.sampler, asked.ladder, asked.workers, asked.seconds
    space, trainer = space_of(sampler, asked.trials, ladder), Simulated(seconds)
    trials = budget(space)
    window = None
    if sampler in LEARNING or raced(space):
        window = most_in_flight(seconds * ladder[0], slots=workers, proposals=trials)
    manifest = {"name": "scale", "sampler": sampler, "ladder": list(ladder), "window": window}
    create(folder, space_text=space.text, manifest=manifest)
    for rung in ladder:
        outcomes(rung)
    news: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        news[:] = [progress]

    gc.collect()
    before, memory, packs_out = resident(), list[int](), 0
    draw = random.Random(0)
    begun, cpu = time.perf_counter(), time.process_time()
    with (
        held(folder) as lock,
        Journal(folder / JOURNAL, fingerprint="00000000", lock=lock) as journal,
    ):
        decisions = SearchDecisions(space, trainer, proposer_for(space), max_in_flight=window)
        record = Record(journal)
        packs = Batches(decisions, trainer, record, slots=workers, max_in_flight=window)
        running: list[tuple[float, int, int, float, tuple[Job, ...]]] = []
        free, now = list(range(workers)), 0.0
        while True:
            while free:
                jobs = packs.next()
                if not jobs:
                    break
                took = sum(trainer.cost(job.block) * draw.lognormvariate(0, 0.5) for job in jobs)
                packs_out += 1
                heapq.heappush(running, (now + took, packs_out, free.pop(), took, jobs))
            if not running:
                break
            now, _, worker, took, jobs = heapq.heappop(running)
            results = [result_of(job) for job in jobs]
            packs.receive(Done(jobs, results, took, f"host-{worker // 64}:{worker % 64}"))
            record.announce(packs.news, on_progress)
            free.append(worker)
            if news and news[-1].done * SAMPLES >= trials * (len(memory) + 1):
                memory.append(resident() - before)
        assert packs.finished
        journal.sync()
        record.announce(packs.news, on_progress)
    spent = time.perf_counter() - begun, time.process_time() - cpu
    assert news[-1].done == trials, news[-1]
    while len(memory) < SAMPLES:
        memory.append(resident() - before)
    return Figures(
        evaluations=journal.appended,
        configs=trials,
        packs=packs_out,
        seconds=spent[0],
        cpu=spent[1],
        memory=tuple(memory),
        size=(folder / JOURNAL).stat().st_size,
        simulated=now,
    )


def loaded(folder: str) -> dict[str, float]:
    """Seconds and bytes of reading a run and of all that is written of it, one after the other."""
    import pandas as pd  # noqa: F401  # its import is no part of the figures
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401

    from xortune.reports.files import write_report

    base = resident()
    figures: dict[str, float] = {}

    def timed(name: str, start: float) -> None:
        figures[f"{name}_seconds"] = time.perf_counter() - start
        figures[f"{name}_bytes"] = resident() - base
        figures[f"{name}_peak"] = resident("VmHWM") - base

    start = time.perf_counter()
    run = load_run(folder)
    timed("load", start)
    start = time.perf_counter()
    rows = len(run.table)
    timed("table", start)
    for name in ("csv", "parquet", "md"):
        start = time.perf_counter()
        write_report(run, formats=[name])
        timed(name, start)
    figures["rows"] = rows
    names = ("table.csv", "table.parquet", "seeds.parquet", "report.md")
    for name in names:
        figures[name] = (Path(folder) / name).stat().st_size
    return figures


def read_seconds(folder: str) -> float:
    """What reading the journal alone takes."""
    start = time.perf_counter()
    read(Path(folder) / JOURNAL)
    return time.perf_counter() - start


def profiled(folder: Path, asked: Asked) -> None:
    """Where the time goes."""
    profile = cProfile.Profile()
    profile.enable()
    simulate(folder, asked)
    profile.disable()
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def in_words(figures: Figures) -> list[str]:
    """The cells of a row."""
    per_second = figures.evaluations / figures.cpu
    memory = [figures.memory[i] / 1e6 for i in (0, len(figures.memory) // 2 - 1, -1)]
    return [
        f"{figures.evaluations:,}",
        f"{figures.packs:,}",
        f"{figures.cpu:,.1f}",
        f"{per_second:,.0f}",
        f"{figures.size / figures.cpu / 1e6:.1f}",
        f"{memory[0]:,.0f}, {memory[1]:,.0f}, {memory[2]:,.0f}",
        f"{figures.per_config:,.0f}",
    ]


HEAD = (
    *("search", "evaluations", "packs", "s of CPU", "evaluations a second", "journal, MB/s"),
    *("MB after 1/10, 1/2, all", "bytes a config"),
)

OPENED = ("run", "step", "s", "MB afterwards", "MB at most so far", "bytes a config at most")


def opened_rows(name: str, figures: dict[str, float]) -> Iterator[list[str]]:
    words = {
        "load": "`load_run`",
        "table": "`Run.table`",
        "csv": "table.csv",
        "parquet": "table.parquet and seeds.parquet",
        "md": "report.md",
    }
    for step, word in words.items():
        peak = figures[f"{step}_peak"]
        yield [
            name,
            word,
            f"{figures[f'{step}_seconds']:.1f}",
            f"{figures[f'{step}_bytes'] / 1e6:,.0f}",
            f"{peak / 1e6:,.0f}",
            f"{peak / figures['rows']:,.0f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="far fewer; rough")
    parser.add_argument("--evaluations", type=int, nargs="+", help="10,000 and 100,000 by default")
    parser.add_argument("--samplers", nargs="+", default=["random", "grid"])
    parser.add_argument("--ladder", type=int, nargs="+", default=[10], help="several: a race")
    parser.add_argument("--workers", type=int, help="10,000 by default")
    parser.add_argument("--seconds", type=float, default=0.1, help="that a seed takes")
    parser.add_argument("--profile", action="store_true", help="where the time goes; no table")
    parser.add_argument("--no-report", action="store_true", help="do not load what was made")
    parser.add_argument("--limit", type=float, default=3600, help="seconds for loading a run")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    args = parser.parse_args()
    args.evaluations = args.evaluations or ([1_000] if args.quick else EVALUATIONS)
    args.workers = args.workers or (50 if args.quick else WORKERS)
    place = machine.description()
    print(place, end="\n\n", flush=True)
    rows, opened, numbers = [], list[list[str]](), dict[str, object]()
    for sampler in args.samplers:
        for count in args.evaluations:
            asked = Asked(sampler, count, args.ladder, args.workers, args.seconds)
            with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".scale-") as folder:
                if args.profile:
                    profiled(Path(folder), asked)
                    return
                found = machine.in_process(simulate, Path(folder), asked, limit=args.limit)
                name = f"{sampler}, {count:,}"
                if isinstance(found, str):
                    print(f"{name}: {found}", flush=True)
                    continue
                rows.append([sampler, *in_words(found)])
                print(machine.table(HEAD, rows[-1:]), flush=True)
                numbers[name] = {**vars(found), "per_config": found.per_config}
                if args.no_report or sampler != args.samplers[0]:
                    continue
                seconds = machine.in_process(read_seconds, folder, limit=args.limit)
                figures = machine.in_process(loaded, folder, limit=args.limit)
                if isinstance(figures, str):
                    print(f"{name}: {figures}", flush=True)
                    continue
                opened += opened_rows(f"{count:,}", figures)
                numbers[f"{name}, opened"] = {**figures, "read_seconds": seconds}
                print(machine.table(OPENED, opened), flush=True)
    text = (
        f"{args.workers:,} simulated workers, seeds of {args.seconds:g} s each, "
        f"{' to '.join(map(str, sorted({args.ladder[0], args.ladder[-1]})))} of them to a config:"
        f"\n\n{machine.table(HEAD, rows)}"
    )
    if opened:
        text += f"\n\nWhat the first of them leaves, opened:\n\n{machine.table(OPENED, opened)}"
    print(f"\n{text}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"machine": place, **numbers}, indent=1) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
