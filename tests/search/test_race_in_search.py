"""The race in xortune's own search: who gets which block, whatever the workers' speed."""

from __future__ import annotations

import heapq
import tempfile
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from fakes import Plain, Scripted, dead, run, space_of
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st
from test_packs import Timed

from xortune.evaluation import pack
from xortune.journal import Journal, read
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.race import Race, RaceRule
from xortune.run import Run
from xortune.search.blocks import BlockQueue
from xortune.search.packs import LEAST_SECONDS, Packs, lag_of, window_of
from xortune.search.propose import LEARNING, proposer_for
from xortune.search.turns import gaps
from xortune.space import parse_space
from xortune.trainer import Block

LADDER = (8, 24, 80)


def by_rate(block):
    """Successes at the rate that the point names as y, spread evenly; quicker where z is small."""
    rate = block.point["y"]
    k = sum(int((s + 1) * rate) > int(s * rate) for s in block.seeds)
    return solved(block.first, k, block.count)


def train(job):
    return by_rate(job.block)


def at(*rates):
    return [Point({"x": "c", "y": rate, "v": i / 1000}) for i, rate in enumerate(rates)]


def blocks_of(evaluations):
    found = defaultdict(list)
    for e in evaluations:
        if e.final:
            found[e.proposal].append((e.block.first, e.block.count))
    return {number: sorted(found[number]) for number in sorted(found)}


def anywhere(**arguments):
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder) / "evaluations.jsonl", **{"train": train, **arguments})


def race_of(rates, **arguments):
    proposer = Scripted(at(*rates))
    space = space_of(trials=len(rates), ladder=LADDER)
    return anywhere(space=space, proposer=proposer, **arguments), proposer


def test_who_is_worse_is_stopped_and_the_others_climb():
    session, proposer = race_of([1.0, 0.0, 1.0, 0.5, 0.1], window=1, workers=1)
    whole, first = [(0, 8), (8, 16), (24, 56)], [(0, 8)]
    assert blocks_of(session.evaluations) == {
        0: whole,
        1: first,
        2: whole,
        3: [(0, 8), (8, 16)],
        4: first,
    }
    told = [event[1:] for event in proposer.events if event[0] == "learn"]
    assert told == [(0, 1.0), (1, 0.0), (2, 1.0), (3, 0.5)][: len(told)]
    assert [p.done for p in session.progress] == [1, 2, 3, 4, 5]
    assert {p.total for p in session.progress} == {5}
    assert session.progress[-1].best == (80, 80)


def test_a_table_row_pools_the_blocks_and_rungs_are_no_trials(tmp_path):
    session, _ = race_of([1.0, 0.0, 0.5], window=1, workers=1)
    table = Run(tmp_path, {}, tuple(session.evaluations)).table.set_index("y")
    assert table["n"].to_dict() == {1.0: 80, 0.0: 8, 0.5: 24}
    assert table["k"].to_dict() == {1.0: 80, 0.0: 0, 0.5: 12}
    assert table["trials"].tolist() == [1, 1, 1]


def test_seeds_are_spent_on_the_promising():
    rates = [i / 40 for i in range(41)]
    session, _ = race_of(rates[::-1], window=4, lag=1)
    spent = {e.block.point["y"]: 0 for e in session.evaluations}
    for e in session.evaluations:
        spent[e.block.point["y"]] += e.block.count
    assert spent[1.0] == 80
    assert all(spent[rate] == 8 for rate in rates[:5])
    assert sum(spent.values()) < 0.5 * 41 * 80


def test_equally_good_ones_beyond_the_finalists_get_no_further_seeds():
    session, _ = race_of([1.0] * 30, window=1, workers=1)
    ends = [found[-1] for found in blocks_of(session.evaluations).values()]
    assert ends.count((24, 56)) == RaceRule(LADDER).finalists
    assert ends[-1] == (0, 8)


def test_without_finalists_all_that_are_not_worse_climb():
    space = space_of(trials=12, ladder=LADDER)
    space = replace(space, seeds=replace(space.seeds, finalists=None))
    session = anywhere(space=space, proposer=Scripted(at(*[1.0] * 12)), window=2)
    assert {sum(c for _, c in found) for found in blocks_of(session.evaluations).values()} == {80}


def test_an_equally_good_one_that_is_quicker_climbs_all_the_same():
    epochs = [300] * 10 + [299, 301, 299]

    def timed(job):
        return solved(job.block.first, job.block.count, job.block.count, epoch=epochs[job.proposal])

    session, _ = race_of([1.0] * len(epochs), window=1, workers=1, train=timed)
    seeds = [sum(count for _, count in found) for found in blocks_of(session.evaluations).values()]
    assert seeds == [*[80] * 8, *[8] * 2, 80, 8, 80]


RATES = st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 0.95, 1.0]), min_size=1, max_size=14)


@given(
    data=st.data(),
    rates=RATES,
    window=st.integers(1, 9) | st.none(),
    workers=st.integers(1, 8),
    crashes=st.sets(st.tuples(st.integers(0, 8), st.integers(1, 2)), max_size=6),
)
@settings(max_examples=80)
def test_the_order_of_results_changes_nothing(data, rates, window, workers, crashes):
    lag = lag_of(window, slots=1, proposals=len(rates), rungs=3)
    chosen = [point for point in at(*rates) for _ in range(2)][: len(rates)]  # each twice
    space = space_of(trials=len(rates), ladder=LADDER)

    def fails(job):
        return dead(job.block) if (job.proposal, job.attempt) in crashes else train(job)

    def race(proposer, **how):
        return anywhere(space=space, proposer=proposer, window=window, lag=lag, train=fails, **how)

    patient, hasty = Scripted(chosen), Scripted(chosen)
    one = race(patient, workers=1)
    pick = lambda n: data.draw(st.integers(0, n - 1))  # noqa: E731
    other = race(hasty, workers=workers, pick=pick)
    assert hasty.events == patient.events
    assert blocks_of(other.evaluations) == blocks_of(one.evaluations)
    assert [(p.done, p.best, p.failed) for p in other.progress] == [
        (p.done, p.best, p.failed) for p in one.progress
    ]
    assert one.progress[-1].done == len(rates)


@given(rates=RATES, workers=st.integers(1, 5), window=st.integers(1, 9))
@settings(max_examples=40)
def test_decisions_are_those_of_the_race_looked_at_in_order(rates, workers, window):
    lag = lag_of(window, slots=1, proposals=len(rates), rungs=3)
    session, _ = race_of(rates, workers=workers, window=window, lag=lag)
    race = Race(RaceRule(LADDER))
    for number in range(len(rates)):
        race.enter(number)
    on, found = {}, {}
    for time in range(len(rates) + 2 * lag + 1):
        for number in range(len(rates)):
            while number + on.get(number, 0) * lag == time and number not in found:
                rung = on.get(number, 0)
                n = LADDER[rung]
                k = by_rate(Block(at(*rates)[number], 0, n)).successes
                # All epochs to solve are the same here but for what `solved` makes of them.
                effort = by_rate(Block(at(*rates)[number], 0, n)).epochs_to_solve if k == n else 0
                if race.look(number, k, n, effort=effort).verdict == "climbs":
                    on[number] = rung + 1
                else:
                    found[number] = n
    ends = {n: sum(c for _, c in b) for n, b in blocks_of(session.evaluations).items()}
    assert ends == found


def test_nobody_waits_for_a_straggler():
    # Proposal 0's first block never comes back; others go on until the window is full.
    space = space_of(trials=30, ladder=LADDER)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        queue = BlockQueue(space, Plain(), Scripted(at(*[1.0] * 30)), journal, window=12, lag=3)
        slow = queue.next_job()
        handed = 0
        while (job := queue.next_job()) is not None:
            queue.receive(job, train(job), seconds=0.1, worker="")
            handed += 1
        assert handed == 11
        queue.receive(slow, train(slow), seconds=9.0, worker="")
        climbing = [queue.next_job() for _ in range(3)]
        assert [job.proposal for job in climbing] == [0, 1, 2]
        assert all(job.climbs and job.block.first == 8 for job in climbing)


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_no_window_and_lag_wait_for_each_other(sampler):
    for slots in (1, 2, 7):
        for trials in (1, 2, 30, 90):
            for rungs in (2, 3, 7):
                window = (
                    window_of(0.01, slots=slots, proposals=trials, rungs=rungs)
                    if sampler in LEARNING
                    else None
                )
                lag = lag_of(window, slots=slots, proposals=trials, rungs=rungs)
                assert lag >= 1
                if window is not None:
                    assert (rungs - 1) * lag <= window


@cache
def whole(sampler):
    space = space_of(sampler, trials=16, ladder=LADDER)
    window = 7 if sampler in LEARNING else None
    lag = lag_of(window, slots=1, proposals=16, rungs=3)
    return anywhere(space=space, proposer=proposer_for(space), window=window, lag=lag)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@given(data=st.data())
@settings(max_examples=12)
def test_a_resumed_race_is_the_uninterrupted_one(sampler, data):
    before = whole(sampler)
    assert any(len(blocks) == 2 for blocks in blocks_of(before.evaluations).values())
    kept = data.draw(st.sets(st.integers(0, len(before.evaluations) - 1)), label="lines kept")
    known = data.draw(st.permutations([before.evaluations[i] for i in sorted(kept)]))
    space = space_of(sampler, trials=16, ladder=LADDER)
    window = 7 if sampler in LEARNING else None
    after = anywhere(
        space=space,
        proposer=proposer_for(space),
        window=window,
        lag=lag_of(window, slots=1, proposals=16, rungs=3),
        known=known,
        pick=lambda n: data.draw(st.integers(0, n - 1)),
    )
    assert blocks_of([*known, *after.evaluations]) == blocks_of(before.evaluations)
    points = {e.proposal: e.block.point for e in before.evaluations}
    assert all(e.block.point == points[e.proposal] for e in after.evaluations)


def test_a_finished_race_is_recalled_without_training(tmp_path):
    before = whole("tpe")
    space = space_of("tpe", trials=16, ladder=LADDER)
    with Journal.open(tmp_path / "j") as journal:
        arguments = {"window": 7, "lag": lag_of(7, slots=1, proposals=16, rungs=3)}
        for known, done in ((before.evaluations, True), (before.evaluations[:-1], False)):
            queue = BlockQueue(
                space, Plain(), proposer_for(space), journal, known=known, **arguments
            )
            assert queue.recall() == done
            assert (queue.next_job() is None) == done


def test_blocks_from_before_there_were_rungs_are_whole_turns(tmp_path):
    old = anywhere(space=space_of(trials=5, ladder=LADDER[-1:]), proposer=Scripted(at(*[1.0] * 5)))
    space = space_of(trials=5, ladder=LADDER)
    with Journal.open(tmp_path / "j") as journal:
        queue = BlockQueue(
            space,
            Plain(),
            Scripted(at(*[1.0] * 5)),
            journal,
            window=2,
            known=old.evaluations,
        )
        assert queue.recall()


def test_a_point_proposed_again_has_a_turn_on_seeds_of_its_own():
    proposer = Scripted([*at(1.0), *at(1.0), *at(1.0)])
    space = space_of(trials=3, ladder=LADDER)
    session = anywhere(space=space, proposer=proposer, window=1)
    assert blocks_of(session.evaluations) == {
        turn: [(base, 8), (base + 8, 16), (base + 24, 56)] for turn, base in enumerate((0, 80, 160))
    }


def test_a_search_ends_when_a_rate_is_proven():
    space = parse_space(
        "name: p\nparameters: {y: {low: 0.0, high: 1.0}}\nsearch: {sampler: random, trials: 50}\n"
        "seeds: {race: {max: 256}}\nstop: {proven_rate: 0.9}\n"
    )
    rates = [0.5, 0.3, 1.0, *[0.2] * 47]
    session = anywhere(space=space, proposer=Scripted(at(*rates)), window=3, lag=0)
    blocks = blocks_of(session.evaluations)
    assert len(blocks) < 10
    key, rate = session.queue.proven
    assert key == at(*rates)[2].key
    assert rate >= 0.9
    seeds = sum(count for _, count in blocks[2])
    assert seeds == 128, "the first rung with which it is proven"
    # And what is recalled has ended too.
    again = anywhere(
        space=space, proposer=Scripted(at(*rates)), window=3, known=session.evaluations
    )
    assert again.evaluations == []
    assert again.queue.proven == session.queue.proven


def test_a_proof_ends_a_search_without_rungs_too():
    space = parse_space(
        "name: p\nparameters: {y: {low: 0.0, high: 1.0}}\nsearch: {sampler: random, trials: 50}\n"
        "seeds: {ladder: [200]}\nstop: {proven_rate: 0.9}\n"
    )
    session = anywhere(space=space, proposer=Scripted(at(*[0.5, 1.0, *[0.2] * 48])), window=2)
    assert session.queue.proven is not None
    assert len(blocks_of(session.evaluations)) <= 4


def test_a_long_climb_is_shared_out_over_the_slots(tmp_path):
    # One finalist; a seed takes a second.
    class Slow(Timed):
        def cost(self, block):
            return float(block.count)

    space = space_of(trials=1, ladder=(4, 12, 100))
    with Journal.open(tmp_path / "evaluations.jsonl") as journal:
        queue = BlockQueue(space, Slow(), Scripted(at(1.0)), journal, window=None)
        packs = Packs(queue, Slow(), slots=4, most=None)
        sizes = []
        while jobs := packs.next():
            under_way = [jobs]
            while more := packs.next():
                under_way.append(more)
            sizes.append([job.block.count for jobs in under_way for job in jobs])
            for jobs in reversed(under_way):
                results = [pack(job.block, train(job)) for job in jobs]
                packs.receive(jobs, results, seconds=float(results[0].n), worker="w")
        assert packs.finished
    assert sizes == [[4], [2, 2, 2, 2], [7, 7, 8] * 4]
    lines = read(tmp_path / "evaluations.jsonl")[0]
    seeds = sorted(seed for line in lines for seed in line.block.seeds)
    assert seeds == list(range(100))


@pytest.mark.parametrize(("slots", "window"), [(4, None), (16, None), (16, 112)])
def test_slots_are_busy_though_blocks_differ_twelvefold(slots, window):
    class Seeds(Timed):
        def cost(self, block):
            return float(block.count)

    rates = [(1.0, 0.2, 0.5, 0.9)[i % 4] for i in range(120)]
    space = space_of(trials=120, ladder=(8, 32, 128))
    lag = lag_of(window, slots=slots, proposals=120, rungs=3)
    with tempfile.TemporaryDirectory() as folder, Journal.open(Path(folder) / "j") as journal:
        queue = BlockQueue(space, Seeds(), Scripted(at(*rates)), journal, window=window, lag=lag)
        packs = Packs(queue, Seeds(), slots, 1 if window else None)
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
            results = [pack(job.block, train(job)) for job in jobs]
            packs.receive(jobs, results, seconds=seconds, worker="w")
        assert packs.finished
    assert work > 0.85 * slots * now
    assert handed < 8 * 120, "Tune keeps every trial: there should not be too many"


def test_short_climbs_and_first_blocks_stay_whole(tmp_path):
    space = space_of(trials=4, ladder=(4, 12))
    trainer = Timed(seconds=LEAST_SECONDS, factor=1.0)
    with Journal.open(tmp_path / "j") as journal:
        packs = Packs(
            BlockQueue(space, trainer, Scripted(at(*[1.0] * 4)), journal, window=None),
            trainer,
            slots=4,
            most=None,
        )
        counts = []
        while jobs := packs.next():
            counts += [job.block.count for job in jobs]
            results = [pack(job.block, train(job)) for job in jobs]
            packs.receive(jobs, results, seconds=LEAST_SECONDS * len(jobs), worker="w")
    assert sorted(counts) == [4] * 4 + [8] * 4


@given(st.sets(st.integers(0, 29)), st.integers(1, 6))
def test_gaps_are_what_no_block_covers(firsts, size):
    point = Point({"y": 1.0})
    blocks, covered = [], set()
    for first in sorted(firsts):
        if not covered & set(range(first, first + size)):
            blocks.append(Block(point, first, size))
            covered |= set(range(first, first + size))
    blocks = [block for block in blocks if block.first < 25]
    found = [seed for start, n in gaps(5, 25, blocks) for seed in range(start, start + n)]
    assert found == [seed for seed in range(5, 25) if seed not in covered]


def test_packed_outcomes_say_what_they_took():
    from xortune.evaluation import epochs_spent

    outcome = by_rate(Block(Point({"y": 0.7}), 3, 20))
    assert isinstance(outcome, Outcome)
    packed = pack(Block(Point({"y": 0.7}), 3, 20), outcome)
    assert epochs_spent(packed) == epochs_spent(outcome) == outcome.epochs_spent
