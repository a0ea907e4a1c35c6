"""A search without Ray: scripted proposers, a made-up success rate, workers of any speed."""

import logging
import math
import os
import tempfile
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from hand_made import solved

from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.core.trainer import Block, Trainer, Traits
from xortune.deciding.decisions import SearchDecisions
from xortune.runs.evaluation import encode_outcome
from xortune.runs.journal import Journal, read
from xortune.runs.store import JOURNAL
from xortune.spaces.space import parse_space
from xortune.training.batches import Batches
from xortune.training.jobs import Done, WorkerFailure
from xortune.training.loop import Record
from xortune.training.timing import MeasuredSeconds

SPACE = """
name: fake
parameters:
  x: {{choice: [a, b, c]}}
  y: {{low: 0.0, high: 1.0}}
  z: {{low: 1, high: 9, when: {{x: [a, b]}}}}
  v: {{low: 0.0, high: 1.0, step: 0.1}}
search: {{sampler: {sampler}, trials: {trials}, seed: 3}}
seeds: {{ladder: {ladder}}}
"""


def space_of(sampler="random", trials=12, ladder=(10,)):
    return parse_space(SPACE.format(sampler=sampler, trials=trials, ladder=list(ladder)))


class Plain(Trainer):
    """A trainer that takes any point as it is."""

    def train(self, blocks):
        return [solved(block.first, 0, block.count) for block in blocks]

    def describe(self):
        return {"trainer": "plain"}

    def cost(self, block):  # noqa: ARG002
        return 1e-9


PLAIN = Plain()


@dataclass
class Priced(Plain):
    """Estimates a block: what its config costs, or `seconds`, or `each` of its seeds."""

    seconds: float = 0.01
    each: float | None = None
    costs: dict = field(default_factory=dict)
    users_code: bool = False
    takes_many_seeds: bool = False

    @property
    def traits(self):
        return Traits(users_code=self.users_code, takes_many_seeds=self.takes_many_seeds)

    def cost(self, block):
        seconds = self.seconds if self.each is None else self.each * block.count
        return self.costs.get(block.point.key, seconds)


@dataclass(frozen=True)
class Dying(Plain):
    """In a Ray worker. It solves as many seeds as x says, dies at `deadly` and raises at `broken`.

    Every block that is trained adds a line to `log`, and is said to take `seconds`.
    """

    log: str
    deadly: int = -1
    broken: int = -1
    seconds: float = 1.0

    def cost(self, block):  # noqa: ARG002
        return self.seconds

    def train(self, blocks):
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        logging.getLogger("xortune.trainers").warning("trains on GPU %s", gpu)
        results = []
        for block in blocks:
            x = block.point["x"]
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{x}\n")
            if x == self.deadly:
                os._exit(1)
            if x == self.broken:
                raise ZeroDivisionError("nothing to\ndivide by")
            results.append(solved(block.first, x, block.count))
        return results

    def describe(self):
        return {"trainer": "dying"}


class Lines(list):
    """A journal in memory; `settled` lines are on its disk."""

    appended = property(len)

    def __init__(self, settled=math.inf):
        self.settled = settled

    def sync(self):
        self.settled = len(self)


def batches_of(trainer, proposed, *, ladder=(10,), in_flight=None, slots=2, **more):
    """What a search's loop takes batches from, and gives results to; and the lines of these."""
    space, lines = space_of(trials=len(proposed), ladder=ladder), Lines()
    decisions = SearchDecisions(space, trainer, Scripted(proposed), max_in_flight=in_flight)
    return Batches(decisions, trainer, Record(lines), slots=slots, **more), lines


def received(batches, jobs, *, seconds, results=None, stacking=None):
    """What a worker sends."""
    results = results or [encode_outcome(job.block, by_rate(job.block)) for job in jobs]
    batches.receive(Done(tuple(jobs), results, seconds, "here:1", stacking))


def failed(batches, jobs, reason="it died", *, kind="batch", seconds=0.0):
    batches.receive(Done(tuple(jobs), WorkerFailure(kind, reason), seconds))


class Queue:
    """A search that a test drives by hand, one block after the other."""

    def __init__(self, space, proposer, journal=None, *, trainer=PLAIN, window, tell=None, **more):
        self.lines = Lines() if journal is None else journal
        self.decisions = SearchDecisions(space, trainer, proposer, max_in_flight=window, **more)
        self.record, self.tell = Record(self.lines), tell
        self._next = ()  # a batch that `finished` has asked for
        budget = space.search.time_budget
        known_pace = MeasuredSeconds(trainer)  # so that each block is whole from the start
        known_pace.note(Block(Point({}), 0, 1), 1e-9)
        self.batches = Batches(
            self.decisions, trainer, self.record, most=1, budget=budget, expected=known_pace
        )

    def __getattr__(self, name):
        return getattr(self.decisions, name)

    @property
    def finished(self):
        if not self.batches.under_way:
            self._next = self.batches.next()
        if self.batches.under_way:
            return False
        self.lines.sync()
        self.announce()
        return True

    def announce(self):
        self.record.announce(self.decisions.news, self.tell)

    @property
    def left_undone(self):
        return self.batches.stop_if_over() and self.decisions.use_all_and_ask_unfinished()

    def next_job(self):
        jobs, self._next = self._next or self.batches.next(), ()
        self.announce()
        return jobs[0] if jobs else None

    def receive(self, job, result=None):
        """What a worker sends: without a result, that the block is trained."""
        received(self.batches, [job], seconds=0.1, results=result and [result])


@dataclass
class Scripted:
    """Proposes a list of points and notes everything that it is asked and told."""

    points: list[Point]
    events: list[tuple] = field(default_factory=list)
    told: list[tuple] = field(default_factory=list)

    def propose(self, number):
        if number >= len(self.points):
            return None
        self.events.append(("propose", number))
        return self.points[number]

    def replay(self, number, point):
        assert point == self.points[number]
        self.events.append(("propose", number))

    def learn(self, number, point, seen):
        self.events.append(("learn", number, seen.k / seen.n))
        self.told.append((number, point, seen))

    def see(self, point, seen):
        """Nothing is proposed that depends on it."""


LADDER = (8, 24, 80)


def by_rate(block):
    """Successes at the rate that the point names as y, spread evenly."""
    rate = block.point.get("y", 0.5)
    k = sum(int((s + 1) * rate) > int(s * rate) for s in block.seeds)
    return solved(block.first, k, block.count)


def at(*rates):
    """Points that solve at these rates."""
    return [Point({"x": "c", "y": rate, "v": i / 1000}) for i, rate in enumerate(rates)]


def points(count):
    return at(*[0.5] * count)


DEAD = TrainingError("the worker died")


@dataclass
class Session:
    queue: Queue
    evaluations: list
    progress: list

    @property
    def proposed(self):
        return {e.proposal: e.block for e in self.evaluations if e.final}

    def assert_in_order(self, known=()):
        """The seeds of each config are trained from 0 on, and none twice."""
        for blocks in ranges([*known, *self.evaluations]).values():
            ends = [0, *(first + count for _, first, count in blocks)]
            assert [first for _, first, _ in blocks] == ends[:-1]


def run(
    space,
    proposer,
    *,
    pick=lambda _: 0,
    workers=3,
    window=2,
    fingerprint="",
    train=lambda job: by_rate(job.block),
    on_turn=lambda *_: None,
    on_queue=lambda _: None,
    **more,
):
    """Run a search to its end. `pick` says which of n blocks under way is finished next."""
    progress, under_way = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / JOURNAL
        with Journal(path, fingerprint=fingerprint or None) as journal:
            more |= {"fingerprint": fingerprint, "tell": progress.append}
            on_queue(queue := Queue(space, proposer, journal, window=window, **more))
            while True:
                while len(under_way) < workers and (job := queue.next_job()) is not None:
                    under_way.append(job)
                on_turn(queue, under_way)
                if not under_way:
                    break
                job = under_way.pop(pick(len(under_way)))
                queue.receive(job, train(job))
            assert queue.finished  # which brings the last news to the disk
            assert queue.next_job() is None
        return Session(queue, read(path) if path.exists() else [], progress)


def ranges(evaluations):
    """Proposal, first seed and count of all blocks of each config, the first seeds first."""
    found = defaultdict(list)
    for e in evaluations:
        if e.final:
            found[e.block.point.key].append((e.proposal, e.block.first, e.block.count))
    return {key: sorted(found[key], key=lambda block: block[1]) for key in sorted(found)}


def spent(evaluations):
    """Seeds of each config, by key."""
    return Counter({key: sum(b[2] for b in blocks) for key, blocks in ranges(evaluations).items()})
