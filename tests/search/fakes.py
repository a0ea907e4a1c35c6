"""A search without Ray: scripted proposers, a made-up success rate, workers of any speed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from hand_made import solved

from xortune.errors import TrainingError
from xortune.journal import Journal, read
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.search.blocks import BlockQueue
from xortune.space import parse_space

SPACE = """
name: fake
parameters:
  x: {{choice: [a, b, c]}}
  y: {{low: 0.0, high: 1.0}}
  z: {{low: 1, high: 9, when: {{x: [a, b]}}}}
  v: {{low: 0.0, high: 1.0, step: 0.1}}
search: {{sampler: {sampler}, trials: {trials}, seed: {seed}}}
seeds: {{ladder: {ladder}}}
"""


def space_of(sampler="random", trials=12, seed=3, ladder=(10,)):
    given = {"sampler": sampler, "trials": trials, "seed": seed, "ladder": list(ladder)}
    return parse_space(SPACE.format(**given))


class Plain:
    """A trainer that takes any point as it is."""

    def check(self, point):
        return point


@dataclass
class Scripted:
    """Proposes a list of points and notes everything that it is asked and told."""

    points: list[Point]
    events: list[tuple] = field(default_factory=list)

    def propose(self, number):
        if number >= len(self.points):
            return None
        self.events.append(("propose", number))
        return self.points[number]

    def replay(self, number, point):
        assert point == self.points[number]
        self.events.append(("propose", number))

    def learn(self, number, seen):
        self.events.append(("learn", number, seen.successes / seen.n))


def points(count, distinct=None):
    """`count` points of the space above, `distinct` of them different."""
    return [Point({"x": "c", "y": (i % (distinct or count)) / 1000}) for i in range(count)]


def trained(block):
    """An outcome that depends on the point and the seeds alone."""
    chance = zlib.crc32(f"{block.point.key} {block.first}".encode())
    return solved(block.first, chance % (block.count + 1), block.count)


def dead(block):
    return TrainingError("the worker died")


@dataclass
class Session:
    queue: BlockQueue
    evaluations: list
    progress: list

    @property
    def proposed(self):
        return {e.proposal: e.block for e in self.evaluations if e.final}


def run(path, space, proposer, *, pick=None, workers=3, window=2, lag=0, known=(), train=None):
    """Run a search to its end. `pick` says which of n blocks under way is finished next."""
    progress, under_way = [], []
    with Journal.open(path) as journal:
        queue = BlockQueue(
            space,
            Plain(),
            proposer,
            journal,
            window=window,
            lag=lag,
            known=known,
            on_progress=progress.append,
        )
        while True:
            while len(under_way) < workers and (job := queue.next_job()) is not None:
                under_way.append(job)
            if not under_way:
                break
            job = under_way.pop(pick(len(under_way)) if pick else 0)
            result = (train or (lambda job: trained(job.block)))(job)
            assert isinstance(result, Outcome | TrainingError)
            queue.receive(job, result, seconds=0.1, worker="here:1")
    assert queue.finished
    assert queue.next_job() is None
    return Session(queue, read(path)[0] if path.exists() else [], progress)
