"""Batches: sized by measured cost, halved when they kill their worker, shared out over slots."""

import heapq
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fakes import Priced, at, batches_of, by_rate, failed, points, received, trained
from hand_made import solved
from hypothesis import given
from hypothesis import strategies as st

from xortune.certificates.fresh import SeedsToTrain
from xortune.core.point import Point
from xortune.driver.batches import (
    ATTEMPTS,
    HOPELESS,
    MAX_BATCH_SECONDS,
    MAX_MACHINE_LOSSES,
    MAX_PARTS,
    MIN_BATCH_SECONDS,
    Batches,
    most_in_flight,
)
from xortune.driver.certify import FreshSeeds
from xortune.driver.loop import Record
from xortune.runs.evaluation import encode_outcome
from xortune.runs.journal import Journal, read


@pytest.fixture
def path(tmp_path):
    return tmp_path / "evaluations.jsonl"


@pytest.fixture
def journal(path):
    with Journal.open(path) as journal:
        yield journal


def encoded(jobs, train=trained):
    return [encode_outcome(job.block, train(job.block)) for job in jobs]


def numbers(jobs):
    return [job.proposal for job in jobs]


def under_way(batches, workers):
    """Batches for so many workers, which return them one after the other."""
    found = []
    while True:
        while len(found) < workers and (jobs := batches.next()):
            found.append(jobs)
        if not found:
            assert batches.finished
            return
        yield found.pop(0)


def test_batches_are_small_then_large_then_small(journal):
    batches, seconds = batches_of(journal, Priced(0.002), points(5_000)), []
    for jobs in under_way(batches, 2):
        seconds.append(3.0 * 0.002 * len(jobs))  # the estimate is a third
        received(batches, jobs, encoded(jobs), seconds=seconds[-1])
    assert sum(seconds) == pytest.approx(30)
    assert seconds[0] == pytest.approx(3.0 * MIN_BATCH_SECONDS, rel=0.05), "a measurement"
    assert max(seconds) == pytest.approx(MAX_BATCH_SECONDS, rel=0.05)
    assert seconds[-1] < 1.1 * MIN_BATCH_SECONDS, "no slot waits long for another at the end"
    middle = seconds[2:-1]
    assert middle == sorted(middle, reverse=True)
    assert min(middle) > 0.95 * MIN_BATCH_SECONDS, "long beside the cost of a trial"


def test_one_block_that_waited_for_a_core_asks_for_no_workers(journal):
    batches = batches_of(journal, Priced(0.001), points(10_000))
    for seconds in (0.3, 0.2):
        assert not batches.measured or batches.saved_by(2) == 0
        jobs = batches.next(brief=True)
        received(batches, jobs, encoded(jobs), seconds=seconds)
    assert batches.saved_by(2) > 2


def test_seconds_are_shared_out_by_cost(journal, path):
    first, second = points(2)
    trainer = Priced(costs={first.key: 0.03, second.key: 0.01})
    batches = batches_of(journal, trainer, [first, second])
    jobs = batches.next()
    received(batches, jobs, encoded(jobs), seconds=8.0)
    journal.close()
    assert [e.seconds for e in read(path)] == pytest.approx([6.0, 2.0])


# -------------------------------------------------------------------------------------------------
# Workers that die: which block, or which seed of it, is at fault.

GONE = "the node has left"


@given(deadly=st.sets(st.integers(0, 19), max_size=4))
def test_a_batch_that_dies_is_halved_until_the_deadly_block_is_alone(deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    with Journal.open(path) as journal:
        batches = batches_of(journal, Priced(0.001), points(20))
        for jobs in under_way(batches, 1):
            if deadly & set(numbers(jobs)):
                failed(batches, jobs)
            else:
                received(batches, jobs, encoded(jobs), seconds=1.0)
    evaluations = read(path)
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(20))
    assert {e.proposal for e in evaluations if e.outcome is None} == deadly
    tries = [e.proposal for e in evaluations]
    assert all(tries.count(n) == (ATTEMPTS if n in deadly else 1) for n in range(20))


@given(
    fates=st.lists(st.sampled_from(["done", "node", "stopped", "batch", "late"]), max_size=60),
    workers=st.integers(1, 4),
)
def test_whatever_becomes_of_batches_each_block_is_final_once(fates, workers, tmp_path_factory):
    path, fate = tmp_path_factory.mktemp("run") / "evaluations.jsonl", iter(fates)
    with Journal.open(path) as journal:
        batches = batches_of(journal, Priced(), points(12))
        for jobs in under_way(batches, workers):
            match next(fate, "done"):
                case "done":
                    received(batches, jobs, encoded(jobs), seconds=1.0)
                case kind:
                    failed(batches, jobs, kind=kind, seconds=1.0)
    evaluations = read(path)
    assert sorted(e.proposal for e in evaluations if e.final) == list(range(12))
    assert max(Counter(e.proposal for e in evaluations).values()) <= ATTEMPTS


def test_a_lost_machine_is_not_held_against_its_blocks_until_it_repeats(journal, path):
    batches = batches_of(journal, Priced(), points(3))
    for _ in range(MAX_MACHINE_LOSSES + 1):
        jobs = batches.next()
        assert numbers(jobs) == [0, 1, 2], "the same batch again, whole"
        failed(batches, jobs, GONE, kind="node")
    assert numbers(batches.next()) == [0], "halved, as if it had died by itself"
    assert numbers(batches.next()) == [1, 2]
    assert not read(path), "nothing of it is an attempt"


def test_a_block_that_brings_every_machine_down_is_given_up(journal, path):
    batches, tries = batches_of(journal, Priced(), points(1)), 0
    for jobs in under_way(batches, 1):
        failed(batches, jobs, GONE, kind="node")
        tries += 1
    assert tries == MAX_MACHINE_LOSSES + ATTEMPTS
    journal.close()
    evaluations = read(path)
    assert [(e.final, e.error) for e in evaluations][-1] == (True, GONE)
    assert len(evaluations) == ATTEMPTS


def test_a_batch_that_is_late_is_halved_and_those_to_come_are_smaller(journal):
    batches = batches_of(journal, Priced(), points(200))
    jobs = batches.next()
    assert len(jobs) == 40
    failed(batches, jobs, "took longer than 10 s", kind="late", seconds=10.0)
    assert [numbers(batches.next()), numbers(batches.next())] == [
        numbers(jobs[:20]),
        numbers(jobs[20:]),
    ]
    # 0.01 seconds by the estimate take at least 0.25.
    assert len(batches.next()) == pytest.approx(4.0 / 0.25, abs=1)


OWN = Priced(each=0.01, users_code=True)


def train_all(batches, deadly=(), *, seconds=0.01, limit=None):
    """Train all batches; those with a deadly seed die, those over the limit are late. How many."""
    deaths = 0
    for jobs in under_way(batches, 1):
        took = seconds * sum(job.block.count for job in jobs)
        if limit is not None and took > limit:
            failed(batches, jobs, "took longer", kind="late", seconds=limit)
            deaths += 1
        elif any(set(deadly) & set(job.block.seeds) for job in jobs):
            failed(batches, jobs, "the worker died")
            deaths += 1
        else:
            results = [solved(j.block.first, j.block.count, j.block.count) for j in jobs]
            received(batches, jobs, results, seconds=took)
    return deaths


def fates(path):
    """Seeds without an outcome, and how many there are; each has exactly one final line."""
    final = [e for e in read(path) if e.final]
    seeds = Counter((e.block.point.key, seed) for e in final for seed in e.block.seeds)
    assert set(seeds.values()) <= {1}
    return {seed for e in final if e.outcome is None for seed in e.block.seeds}, len(seeds)


@given(count=st.integers(1, 60), deadly=st.sets(st.integers(0, 59), max_size=4))
def test_only_the_deadly_seeds_of_a_block_are_lost(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    deadly = {seed for seed in deadly if seed < count}
    with Journal.open(path) as journal:
        deaths = train_all(batches_of(journal, OWN, points(2), ladder=(count,)), deadly)
    lost = deadly if len(deadly) < count or count < HOPELESS else set(range(count))
    assert fates(path) == (lost, 2 * count)
    if deadly and count <= MAX_PARTS:
        # The batch of both, each of them twice, and then each deadly seed once.
        assert deaths == 1 + 2 * (ATTEMPTS - 1 + len(deadly))


@given(count=st.integers(1, 40), deadly=st.sets(st.integers(0, 39), max_size=3))
def test_so_it_is_with_the_seeds_of_a_certificate(count, deadly, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "evaluations.jsonl"
    deadly = {1000 + seed for seed in deadly if seed < count}
    wanted = SeedsToTrain(Point({"x": 1}), (range(1000, 1000 + count),))
    with Journal.open(path) as journal:
        fresh = FreshSeeds([wanted], OWN, slots=2)
        train_all(Batches(fresh, OWN, Record(journal, fresh), slots=2), deadly)
    assert fates(path) == (deadly, count)


@pytest.mark.parametrize(
    ("trainer", "count", "deadly", "deaths"),
    [
        (Priced(each=0.01), 20, {3}, ATTEMPTS),  # the blocks of other trainers are not split
        (OWN, 500, range(500), ATTEMPTS - 1 + HOPELESS),  # every seed kills
    ],
)
def test_a_config_that_always_kills_is_given_up(trainer, count, deadly, deaths, journal, path):
    batches = batches_of(journal, trainer, points(1), ladder=(count,))
    assert train_all(batches, deadly) == deaths
    journal.close()
    assert fates(path) == (set(range(count)), count)


@pytest.mark.parametrize(("ladder", "in_flight"), [((8,), None), ((8, 100), 6)])
def test_seeds_that_are_in_time_one_by_one_are_no_failures(journal, path, ladder, in_flight):
    """A block of them is late; the next blocks are split before they are."""
    batches = batches_of(
        journal, OWN, points(6), ladder=ladder, decisions_in_flight=in_flight, limit=4.0
    )
    deaths = train_all(batches, seconds=1.0, limit=4.0)
    journal.close()
    assert fates(path)[0] == set()
    assert 0 < deaths <= 10


# -------------------------------------------------------------------------------------------------
# Batches of a race: promotions are shared out, and slots are kept busy.

SECOND = Priced(each=1.0)


def test_a_long_promotion_is_shared_out_over_the_slots(journal, path):
    # One finalist.
    batches = batches_of(
        journal, SECOND, at(1.0), ladder=(4, 12, 100), decisions_in_flight=12, slots=4
    )
    sizes = []
    while jobs := batches.next():
        found = [jobs, *iter(batches.next, ())]
        sizes.append([job.block.count for jobs in found for job in jobs])
        for jobs in reversed(found):
            results = encoded(jobs, by_rate)
            received(batches, jobs, results, seconds=float(results[0].n))
    assert batches.finished
    # The second promotion in parts of about twice the mean block.
    assert sizes[:2] == [[4], [2, 2, 2, 2]]
    assert sorted(sizes[2]) == [6] * 10 + [7] * 4
    assert len(sizes) == 3
    journal.close()
    assert sorted(seed for line in read(path) for seed in line.block.seeds) == list(range(100))


def test_slots_are_busy_though_blocks_differ_a_hundredfold():
    slots, rates = 16, [(1.0, 0.2, 0.5, 0.9)[i % 4] for i in range(300)]
    limit = most_in_flight(2.0, slots=slots, proposals=300)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        batches = batches_of(
            journal,
            SECOND,
            at(*rates),
            ladder=(2, 4, 8, 16, 32, 64, 128, 256),
            decisions_in_flight=limit,
            slots=slots,
            max_in_flight=limit,
        )
        now, work, handed, running = 0.0, 0.0, 0, []
        while True:
            while len(running) < slots and (jobs := batches.next()):
                seconds = float(sum(job.block.count for job in jobs))
                handed += 1
                heapq.heappush(running, (now + seconds, handed, jobs, seconds))
                work += seconds
            if not running:
                break
            now, _, jobs, seconds = heapq.heappop(running)
            received(batches, jobs, encoded(jobs, by_rate), seconds=seconds)
        assert batches.finished
    assert work > 0.93 * slots * now
    assert handed < 8 * 300, "Tune keeps every trial: there should not be too many"
