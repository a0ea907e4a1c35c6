"""Packs: sized by what was measured, halved when they kill their worker."""

import heapq
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes import Scripted, at, batches_of, by_rate, failed, points, received, space_of, trained
from hypothesis import given
from hypothesis import strategies as st

from xortune.driver.batches import (
    ATTEMPTS,
    MAX_BATCH_SECONDS,
    MAX_MACHINE_LOSSES,
    MIN_BATCH_SECONDS,
    most_in_flight,
)
from xortune.driver.decisions import SearchDecisions
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.journal import Journal, read


@dataclass
class Timed:
    """A trainer that says what a block costs; in truth it takes `factor` times as long."""

    seconds: float = 0.001
    factor: float = 3.0
    costs: dict = field(default_factory=dict)

    def check(self, point):
        return point

    def cost(self, block):
        return self.costs.get(block.point.key, self.seconds)


@pytest.fixture
def journal(tmp_path):
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        yield journal


def packs_of(journal, trainer, count, *, slots=2, most=None):
    proposer = Scripted(points(count))
    decisions = SearchDecisions(space_of(trials=count), trainer, proposer, max_in_flight=None)
    return batches_of(decisions, trainer, journal, slots=slots, most=most)


def trained_seconds(packs, trainer, workers=2):
    """Let `workers` train all packs, one after another; seconds of work in each."""
    seconds, under_way = [], []
    while True:
        while len(under_way) < workers and (jobs := packs.next()):
            under_way.append(jobs)
        if not under_way:
            return seconds
        jobs = under_way.pop(0)
        took = trainer.factor * sum(trainer.cost(job.block) for job in jobs)
        seconds.append(took)
        results = [pack(job.block, trained(job.block)) for job in jobs]
        received(packs, jobs, results, seconds=took)


def test_packs_are_small_then_large_then_small(journal):
    trainer = Timed(seconds=0.002)
    seconds = trained_seconds(packs_of(journal, trainer, 5_000), trainer)
    assert sum(seconds) == pytest.approx(30)
    assert seconds[0] == pytest.approx(trainer.factor * MIN_BATCH_SECONDS, rel=0.05), (
        "a measurement"
    )
    assert max(seconds) == pytest.approx(MAX_BATCH_SECONDS, rel=0.05)
    assert seconds[-1] < 1.1 * MIN_BATCH_SECONDS, "no slot waits long for another at the end"
    middle = seconds[2:-1]
    assert middle == sorted(middle, reverse=True)
    assert min(middle) > 0.95 * MIN_BATCH_SECONDS, (
        "what Ray takes for a trial stays small beside it"
    )


def test_one_block_that_waited_for_a_core_asks_for_no_workers(journal):
    packs = packs_of(journal, Timed(), 10_000)
    for seconds in (0.3, 0.2):
        assert not packs.measured or packs.saved_by(2) == 0
        jobs = packs.next(brief=True)
        received(
            packs, jobs, [pack(job.block, trained(job.block)) for job in jobs], seconds=seconds
        )
    assert packs.saved_by(2) > 2


def test_seconds_are_shared_out_by_cost(journal, tmp_path):
    proposed = points(2)
    trainer = Timed(costs={proposed[0].key: 0.03, proposed[1].key: 0.01})
    packs = packs_of(journal, trainer, 2)
    jobs = packs.next()
    received(packs, jobs, [trained(job.block) for job in jobs], seconds=8.0)
    journal.close()
    evaluations = read(tmp_path / "evaluations.jsonl")
    assert [e.seconds for e in evaluations] == pytest.approx([6.0, 2.0])


@given(deadly=st.sets(st.integers(0, 19), max_size=4))
def test_a_pack_that_dies_is_halved_until_the_deadly_block_is_alone(deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    trainer = Timed()
    with Journal.open(path) as journal:
        packs = packs_of(journal, trainer, 20)
        while jobs := packs.next():
            if deadly & {job.proposal for job in jobs}:
                failed(packs, jobs)
            else:
                received(packs, jobs, [trained(j.block) for j in jobs], seconds=1.0)
        assert packs.finished
    evaluations = read(path)
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(20))
    assert {e.proposal for e in evaluations if e.outcome is None} == deadly
    tries = [e.proposal for e in evaluations]
    assert all(tries.count(n) == (3 if n in deadly else 1) for n in range(20))


# -------------------------------------------------------------------------------------------------
# Packs on a cluster: what is late, lost or never begun.

GONE = "the node has left"


def numbers(jobs):
    return [job.proposal for job in jobs]


@given(
    fates=st.lists(st.sampled_from(["done", "node", "stopped", "batch", "late"]), max_size=60),
    workers=st.integers(1, 4),
)
def test_whatever_becomes_of_packs_each_block_is_journaled_once(fates, workers, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    fate = iter(fates)
    with Journal.open(path) as journal:
        packs = packs_of(journal, Timed(seconds=0.01), 12)
        under_way = []
        while True:
            while len(under_way) < workers and (jobs := packs.next()):
                under_way.append(jobs)
            if not under_way:
                break
            jobs = under_way.pop(0)
            match next(fate, "done"):
                case "done":
                    received(packs, jobs, [trained(j.block) for j in jobs], seconds=1.0)
                case kind:
                    failed(packs, jobs, kind=kind, seconds=1.0)
        assert packs.finished
    evaluations = read(path)
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(12))
    for proposal, tries in Counter(e.proposal for e in evaluations).items():
        assert tries <= ATTEMPTS, proposal


def test_a_lost_machine_is_not_held_against_its_blocks_until_it_repeats(journal, tmp_path):
    packs = packs_of(journal, Timed(seconds=0.01), 3)
    for _ in range(MAX_MACHINE_LOSSES):
        jobs = packs.next()
        assert numbers(jobs) == [0, 1, 2], "the same pack again, whole"
        failed(packs, jobs, GONE, kind="node")
    failed(packs, packs.next(), GONE, kind="node")
    assert numbers(packs.next()) == [0], "halved, as if it had died by itself"
    assert numbers(packs.next()) == [1, 2]
    assert not read(tmp_path / "evaluations.jsonl"), "nothing of it is an attempt"


def test_a_block_that_brings_every_machine_down_is_given_up(journal, tmp_path):
    packs = packs_of(journal, Timed(), 1)
    tries = 0
    while jobs := packs.next():
        failed(packs, jobs, GONE, kind="node")
        tries += 1
    assert tries == MAX_MACHINE_LOSSES + ATTEMPTS
    assert packs.finished
    journal.close()
    evaluations = read(tmp_path / "evaluations.jsonl")
    assert [(e.final, e.error) for e in evaluations][-1] == (True, "the node has left")
    assert len(evaluations) == ATTEMPTS


def test_a_pack_that_is_late_is_halved_and_those_to_come_are_smaller(journal):
    packs = packs_of(journal, Timed(seconds=0.01), 200)
    jobs = packs.next()
    assert len(jobs) == 40
    failed(packs, jobs, "took longer than 10 s", kind="late", seconds=10.0)
    assert [numbers(packs.next()), numbers(packs.next())] == [
        numbers(jobs[:20]),
        numbers(jobs[20:]),
    ]
    # 0.01 seconds by the estimate take at least 0.25.
    assert len(packs.next()) == pytest.approx(4.0 / 0.25, abs=1)


# -------------------------------------------------------------------------------------------------
# Packs of a race: its climbs are shared out, and slots are kept busy.


class Seeds(Timed):
    """A seed takes a second."""

    def cost(self, block):
        return float(block.count)


def race_packs_of(space, trainer, rates, journal, *, most, **more):
    decisions = SearchDecisions(space, trainer, Scripted(at(*rates)), max_in_flight=most)
    return batches_of(decisions, trainer, journal, **more)


def test_a_long_climb_is_shared_out_over_the_slots(tmp_path):
    # One finalist.
    space = space_of(trials=1, ladder=(4, 12, 100))
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        packs = race_packs_of(space, Seeds(), [1.0], journal, slots=4, most=12)
        sizes = []
        while jobs := packs.next():
            under_way = [jobs]
            while more := packs.next():
                under_way.append(more)
            sizes.append([job.block.count for jobs in under_way for job in jobs])
            for jobs in reversed(under_way):
                results = [pack(job.block, by_rate(job.block)) for job in jobs]
                received(packs, jobs, results, seconds=float(results[0].n))
        assert packs.finished
    # The second climb in parts of about twice the mean block.
    assert sizes[:2] == [[4], [2, 2, 2, 2]]
    assert sorted(sizes[2]) == [6] * 10 + [7] * 4
    assert len(sizes) == 3
    lines = read(tmp_path / "evaluations.jsonl")
    seeds = sorted(seed for line in lines for seed in line.block.seeds)
    assert seeds == list(range(100))


def test_slots_are_busy_though_blocks_differ_a_hundredfold():
    slots = 16
    rates = [(1.0, 0.2, 0.5, 0.9)[i % 4] for i in range(300)]
    space = space_of(trials=300, ladder=(2, 4, 8, 16, 32, 64, 128, 256))
    window = most_in_flight(2.0, slots=slots, proposals=300)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        packs = race_packs_of(
            space, Seeds(), rates, journal, slots=slots, most=window, max_in_flight=window
        )
        now, work, handed, under_way = 0.0, 0.0, 0, []
        while True:
            while len(under_way) < slots and (jobs := packs.next()):
                seconds = float(sum(job.block.count for job in jobs))
                handed += 1
                heapq.heappush(under_way, (now + seconds, handed, jobs, seconds))
                work += seconds
            if not under_way:
                break
            now, _, jobs, seconds = heapq.heappop(under_way)
            results = [pack(job.block, by_rate(job.block)) for job in jobs]
            received(packs, jobs, results, seconds=seconds)
        assert packs.finished
    assert work > 0.93 * slots * now
    assert handed < 8 * 300, "Tune keeps every trial: there should not be too many"
