"""One driver and up to 10,000 workers, simulated by a clock of its own; nothing is trained.

python benchmarks/scale.py            # half an hour on one core
python benchmarks/scale.py --quick    # seconds; rough

Decider, batches, proposer and lines of the journal are those of a search. Workers are those of Ray
Tune: two trials wait for each. The driver is one server: its work takes as long by the simulated
clock as it took this process, in CPU time, and `TUNE_SECONDS` more for each trial.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Sequence
from functools import cache

import machine
import numpy as np

from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.task import Task
from xortune.core.trainer import Block, Trainer, Traits
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import least_in_flight, most_in_flight
from xortune.deciding.propose import proposer_for
from xortune.racing.grants import raced
from xortune.runs.evaluation import EncodedOutcome, Evaluation, encode, encode_outcome
from xortune.spaces.grid import budget
from xortune.spaces.samplers import sampler_named
from xortune.spaces.space import parse_space
from xortune.training.batches import Batches
from xortune.training.jobs import Done, Job, WorkerFailure
from xortune.training.loop import NoJournal, Record
from xortune.training.timing import MeasuredSeconds

SPACE = """
name: scale
parameters:
  lr: {{low: 0.0001, high: 1.0, log: true}}
  momentum: {{low: 0.0, high: 0.99}}
  width: {{low: 2, high: 200}}
search: {{sampler: {0}, seed: 1, trials: {2}}}
seeds: {1}
"""

SEARCHES = {  # the sampler and the seeds
    "random": ("random", "{ladder: [4]}"),
    "tpe": ("tpe", "{ladder: [4]}"),
    "race": ("random", "{race: {max: 64}}"),
    "tpe race": ("tpe", "{race: {max: 64}}"),
}
TRIALS = 8  # configurations for each worker
TUNE_SECONDS = 0.01  # CPU time that a trial of Ray Tune costs the driver; see docs/cluster.md
WAITING = 2  # trials that wait for each worker; see `RayExecutor.room`
GUESS = 0.01  # seconds of a seed that a trainer of a user's code estimates
SPREAD = 0.5  # standard deviation of the logarithm of what a seed takes
NODE, LIFE, AWAY = 8, 50.0, 5.0  # workers of a node; the mean seeds that it lives, and is away


class Simulated(Trainer):
    """A trainer of a user's code that takes any point as it is, and trains nothing."""

    traits = Traits(users_code=True)
    train = describe = None  # nobody asks

    def cost(self, block: Block) -> float:
        return GUESS * block.count


class InMemory(NoJournal):
    """Encodes each line as the journal does."""

    def append(self, line: Evaluation) -> None:
        encode(line, ("00000000", 0))


@cache
def outcome(count: int, solved: int) -> EncodedOutcome:
    """So many seeds of which so many are solved."""
    right, is_solved = np.array([0, 1, 1, 0], dtype=bool), np.arange(count) < solved
    judged = Outcome.judge(
        Task.xor(),
        seeds=np.arange(count),
        epochs=1000,
        predictions=is_solved[:, None] == right,
        finite=np.ones(count, dtype=bool),
        solved_epoch=np.full(count, 500, np.int32),
        final_loss=np.full(count, 0.1, np.float32),
    )
    return encode_outcome(Block(Point({}), 0, count), judged)


def result_of(block: Block) -> EncodedOutcome:
    """Depends on the configuration and the seeds alone: a few configs nearly always succeed."""
    rate = (int(block.point.key[:6], 16) / 2**24) ** 3
    draws = (random.Random(f"{block.point.key} {seed}").random() for seed in block.seeds)
    return outcome(block.count, sum(draw < rate for draw in draws))


class Workers:
    """Workers that train what is submitted, the oldest first, by the simulated clock.

    Attributes:
        done: results that the driver has not seen yet, with the time of each.
        spans, away: beginning and end of each training, and of each absence of a worker.
        lost: trainings that a node took with it.
        last_new: when the last new configuration began.
    """

    def __init__(self, count: int, seconds: float, *, loses: bool) -> None:
        self.count, self.seconds, self.draw = count, seconds, random.Random(0)
        self.lost, self.last_new, self.number = 0, 0.0, 0
        self.done: deque[tuple[float, Done]] = deque()
        self.spans, self.away = list[tuple[float, float]](), list[tuple[float, float]]()
        self.queue: deque[tuple[float, tuple[Job, ...]]] = deque()  # with the time of submission
        self.idle: deque[int] = deque(range(self.count))
        self.running: dict[int, tuple[float, tuple[Job, ...], int]] = {}
        self.absent = set[int]()
        self.events: list[tuple[float, int, str, int]] = []
        for node in range(-(-count // NODE) if loses else 0):
            self._live(0.0, node)

    @property
    def slots(self) -> int:
        return max(1, self.count - len(self.absent))

    def submit(self, now: float, jobs: tuple[Job, ...]) -> None:
        self.queue.append((now, jobs))
        while self.queue and self.idle:
            self._begin(self.idle.popleft(), now)

    def advance(self, now: float) -> None:
        """Let happen all that happens until now."""
        while self.events and self.events[0][0] <= now:
            at, number, what, which = heapq.heappop(self.events)
            if what == "end":
                if which not in self.running or self.running[which][2] != number:
                    continue  # its node was lost before
                began, jobs, _ = self.running.pop(which)
                self.spans.append((began, at))
                results = [result_of(job.block) for job in jobs]
                self.done.append((at, Done(jobs, results, at - began, f"host:{which}")))
                self._free(which, at)
                continue
            members = range(which * NODE, min((which + 1) * NODE, self.count))
            if what == "back":
                self.absent.difference_update(members)
                for worker in members:
                    self._free(worker, at)
                self._live(at, which)
                continue
            back = at + AWAY * self.seconds
            self._later(back, "back", which)
            self.absent.update(members)
            self.idle = deque(worker for worker in self.idle if worker not in members)
            for worker in members:
                self.away.append((at, back))
                if worker in self.running:
                    began, jobs, _ = self.running.pop(worker)
                    self.spans.append((began, at))
                    self.lost += len(jobs)
                    self.done.append((at, Done(jobs, WorkerFailure("node", "its node has left"))))

    def _free(self, worker: int, at: float) -> None:
        self.idle.append(worker)
        if self.queue:
            self._begin(self.idle.popleft(), at)

    def _begin(self, worker: int, at: float) -> None:
        submitted, jobs = self.queue.popleft()
        began, mean = max(at, submitted), np.log(self.seconds) - SPREAD**2 / 2
        seeds = sum(job.block.count for job in jobs)
        took = sum(self.draw.lognormvariate(mean, SPREAD) for _ in range(seeds))
        if not jobs[0].promoted:
            self.last_new = began
        self.running[worker] = began, jobs, self._later(began + took, "end", worker)

    def _live(self, at: float, node: int) -> None:
        self._later(at + self.draw.expovariate(1 / (LIFE * self.seconds)), "lost", node)

    def _later(self, at: float, what: str, which: int) -> int:
        self.number += 1
        heapq.heappush(self.events, (at, self.number, what, which))
        return self.number


def simulate(search: str, slots: int, seconds: float, *, loses: bool, limit: float) -> list[str]:
    """The row of a search, with the limits in flight that a session sets."""
    gc.set_threshold(100_000, 50, 50)  # as the command line does
    space, trainer = parse_space(SPACE.format(*SEARCHES[search], TRIALS * slots)), Simulated()
    first, most, least = space.seeds.ladder[0], None, None
    if raced(space) or sampler_named(space.search.sampler).learns:
        block, proposals = first * GUESS, budget(space)
        most = first * most_in_flight(block, slots=slots, proposals=proposals)
        least = least_in_flight(slots) if raced(space) else None
    proposer, record = proposer_for(space), Record(InMemory())
    decisions = SearchDecisions(space, trainer, proposer, max_in_flight=most, min_in_flight=least)
    known = MeasuredSeconds(trainer, seconds)
    batches = Batches(decisions, trainer, record, slots=slots, max_in_flight=most, expected=known)
    workers, now, cpu, seeds, is_done = Workers(slots, seconds, loses=loses), 0.0, 0.0, 0, False
    delays, ended = list[float](), dict[int, float]()  # the latter by decision
    began = time.process_time()
    while not is_done and time.process_time() - began < limit:
        workers.advance(now)
        while workers.done:
            at, done = workers.done.popleft()
            start = time.process_time()
            batches.receive(done)
            record.announce(batches.news, None)
            spent = time.process_time() - start
            now, cpu = now + spent, cpu + spent
            if not isinstance(done.results, WorkerFailure):
                seeds += sum(job.block.count for job in done.jobs)
                delays.append(now - at)
                ended.update((job.decision, now) for job in done.jobs)
        batches.resize(workers.slots)
        most_held = (1 + WAITING) * workers.slots
        while len(workers.queue) + len(workers.running) < most_held and not workers.done:
            start = time.process_time()
            jobs = batches.next()
            spent = time.process_time() - start
            now, cpu = now + spent, cpu + spent
            if not jobs:
                break
            now += TUNE_SECONDS
            workers.submit(now, jobs)
            workers.advance(now)
        is_done = not batches.under_way
        if not workers.done and workers.events:
            now = max(now, workers.events[0][0])
    times = np.array([ended[number] for number in sorted(ended)])
    each = cpu / seeds
    return [
        search,
        f"{slots:,}",
        {1.0: "1 s", 60.0: "1 min", 3600.0: "1 h"}.get(seconds, f"{seconds:g} s"),
        f"{workers.lost:,} seeds" if loses else "none",
        f"{seeds:,}" + ("" if is_done else ", not done"),
        ", ".join(f"{share:.1%}" for share in busy_shares(workers)),
        f"{each * 1e3:.2f}",
        quantiles(delays),
        quantiles(np.maximum.accumulate(times) - times) if most is not None else "",
        f"{seconds / (each + TUNE_SECONDS):,.0f}",
    ]


def busy_shares(workers: Workers) -> tuple[float, float]:
    """Of the time of all workers that are there, in which they train.

    From the first start until the last new configuration begins, and until the last start.
    """
    running = [(began, np.inf) for began, _, _ in workers.running.values()]
    spans, away = np.array(workers.spans + running), np.array(workers.away)
    first, last = spans[:, 0].min(), spans[:, 0].max()

    def within(of: np.ndarray, end: float) -> float:
        return float(np.diff(np.clip(of, first, end)).sum()) if len(of) else 0.0

    def until(end: float) -> float:
        return within(spans, end) / (workers.count * (end - first) - within(away, end))

    return until(workers.last_new), until(last)


def quantiles(seconds: Sequence[float]) -> str:  # the median and the 99 % quantile
    return ", ".join(f"{each:.1g}" for each in np.quantile(seconds, [0.5, 0.99]))


HEAD = (
    *("search", "workers", "a seed takes", "lost with nodes", "seeds", "busy: new ones, all"),
    *("driver, ms a result", "recorded after, s", "used after, s", "limit, workers"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="10 workers; rough")
    parser.add_argument("--searches", nargs="+", default=list(SEARCHES), choices=SEARCHES)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 60.0, 3600.0])
    parser.add_argument("--limit", type=float, default=60.0, help="seconds of CPU for a row")
    parser.add_argument("--lose", action="store_true", help="nodes leave, and come back")
    args = parser.parse_args()
    print(machine.description(), end="\n\n", flush=True)
    rows = []
    sizes = [10] if args.quick else args.workers
    for search, workers, seconds in itertools.product(args.searches, sizes, args.seconds):
        rows.append(simulate(search, workers, seconds, loses=args.lose, limit=args.limit))
        print(*rows[-1], sep=" | ", flush=True)
    print(f"\n{machine.table(HEAD, rows)}")


if __name__ == "__main__":
    main()
