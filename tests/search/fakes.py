"""A search without Ray: scripted proposers, a made-up success rate, workers of any speed."""

import tempfile
import time
import zlib
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hand_made import solved

from xortune.core.errors import TrainingError
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.driver.batches import Batches, Done, WorkerFailure
from xortune.driver.decisions import SearchDecisions
from xortune.driver.loop import Record
from xortune.runs.journal import Journal, read
from xortune.spaces.space import parse_space

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

    def cost(self, block):  # noqa: ARG002
        return 1e-9


@dataclass
class Priced(Plain):
    """Estimates a block: what its config costs, or `seconds`, or `each` of its seeds."""

    seconds: float = 0.01
    each: float | None = None
    costs: dict = field(default_factory=dict)
    users_code: bool = False

    def cost(self, block):
        seconds = self.seconds if self.each is None else self.each * block.count
        return self.costs.get(block.point.key, seconds)


def batches_of(
    journal, trainer, proposed, *, ladder=(10,), decisions_in_flight=None, slots=2, **more
):
    """What a search's loop takes batches from, and gives results to."""
    space = space_of(trials=len(proposed), ladder=ladder)
    decisions = SearchDecisions(
        space, trainer, Scripted(proposed), max_in_flight=decisions_in_flight
    )
    return Batches(decisions, trainer, Record(journal, decisions), slots=slots, **more)


def received(batches, jobs, results, *, seconds, worker="here:1"):
    batches.receive(Done(tuple(jobs), results, seconds, worker))


def failed(batches, jobs, reason="it died", *, kind="batch", seconds=0.0):
    batches.receive(Done(tuple(jobs), WorkerFailure(kind, reason), seconds))


class Queue:
    """A search that a test drives by hand, one block after the other."""

    def __init__(
        self, space, trainer, proposer, journal, *, window, least=None, on_progress=None, **more
    ):
        self.decisions = SearchDecisions(
            space, trainer, proposer, max_in_flight=window, min_in_flight=least, **more
        )
        began = time.monotonic()
        self.record = Record(
            journal,
            self.decisions,
            on_progress and (lambda p: on_progress(replace(p, seconds=time.monotonic() - began))),
        )
        self.flushed = False
        budget = space.search.time_budget
        self.batches = Batches(
            self.decisions,
            trainer,
            self.record,
            most=1,
            deadline=None if budget is None else time.monotonic() + budget,
        )

    def __getattr__(self, name):
        return getattr(self.decisions, name)

    @property
    def finished(self):
        finished = self.batches.finished
        if finished and not self.flushed:  # the journal may be closed when it is asked again
            self.record.flush()
            self.flushed = True
        return finished

    @property
    def left_undone(self):
        return self.batches.over and self.decisions.unfinished

    def next_job(self):
        jobs = self.batches.next()
        self.record.announce()
        return jobs[0] if jobs else None

    def receive(self, job, result, *, seconds, worker):
        received(self.batches, [job], [result], seconds=seconds, worker=worker)


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

    def learn(self, number, seen):
        self.events.append(("learn", number, seen.successes / seen.n))
        self.told.append((number, seen))


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
    queue: Queue
    evaluations: list
    progress: list

    @property
    def proposed(self):
        return {e.proposal: e.block for e in self.evaluations if e.final}


def run(
    path,
    space,
    proposer,
    *,
    pick=None,
    workers=3,
    window=2,
    least=None,
    known=(),
    fingerprint="",
    train=None,
    on_turn=None,
    on_queue=None,
):
    """Run a search to its end. `pick` says which of n blocks under way is finished next."""
    progress, under_way = [], []
    with Journal.open(path, fingerprint=fingerprint or None) as journal:
        queue = Queue(
            space,
            Plain(),
            proposer,
            journal,
            window=window,
            least=least,
            known=known,
            fingerprint=fingerprint,
            on_progress=progress.append,
        )
        if on_queue:
            on_queue(queue)
        while True:
            while len(under_way) < workers and (job := queue.next_job()) is not None:
                under_way.append(job)
            if on_turn:
                on_turn(queue, under_way)
            if not under_way:
                break
            job = under_way.pop(pick(len(under_way)) if pick else 0)
            result = (train or (lambda job: trained(job.block)))(job)
            assert isinstance(result, Outcome | TrainingError)
            queue.receive(job, result, seconds=0.1, worker="here:1")
        assert queue.finished  # which brings the last news to the disk
        assert queue.next_job() is None
    return Session(queue, read(path) if path.exists() else [], progress)


LADDER = (8, 24, 80)


def by_rate(block):
    """Successes at the rate that the point names as y, spread evenly."""
    rate = block.point["y"]
    k = sum(int((s + 1) * rate) > int(s * rate) for s in block.seeds)
    return solved(block.first, k, block.count)


def at(*rates):
    """Points that solve at these rates."""
    return [Point({"x": "c", "y": rate, "v": i / 1000}) for i, rate in enumerate(rates)]


def anywhere(**arguments):
    """`run`, with its journal in a folder of its own and points that name their rate."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"train": lambda job: by_rate(job.block), **arguments}
        return run(Path(folder) / "evaluations.jsonl", **given)


def race_of(rates, *, ladder=LADDER, **arguments):
    """A race of points with these rates, to its end."""
    proposer = Scripted(at(*rates))
    space = space_of(trials=len(rates), ladder=ladder)
    return anywhere(space=space, proposer=proposer, **arguments), proposer


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


@contextmanager
def queue_in(folder, space, proposer, **more):
    """A queue that is driven by hand."""
    with Journal.open(folder / "evaluations.jsonl") as journal:
        yield Queue(space, Plain(), proposer, journal, **more)
