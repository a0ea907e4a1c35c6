"""Batches: sized by measured cost, halved when they kill their worker, shared out over slots."""

import heapq
import math
import random
from collections import Counter, deque
from contextlib import nullcontext, suppress
from dataclasses import replace

import numpy as np
import pytest
from fakes import (
    DEAD,
    PLAIN,
    Lines,
    Priced,
    at,
    batches_of,
    failed,
    points,
    received,
    space_of,
)
from hand_made import solved
from hypothesis import example, given
from hypothesis import strategies as st

from xortune.core.audit import Audit
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.trainer import AUDITED, NOT_FINISHED, Block, Stacking, Traits, Unfinished
from xortune.deciding.decisions import SearchDecisions
from xortune.deciding.in_flight import most_in_flight
from xortune.deciding.propose import (
    RANDOM_EVERY_OF_COUNTS,
    proposer_for,
)
from xortune.driver.fresh_seeds import FreshSeeds
from xortune.racing.objectives import SeedSummary
from xortune.runs.evaluation import SeedsToTrain, encode_outcome
from xortune.spaces.model import rungs_up_to
from xortune.spaces.samplers import RANDOM_EVERY, SAMPLERS, STARTUP, only_ranges, sampler_named
from xortune.spaces.space import parse_space
from xortune.training.ahead import Ahead
from xortune.training.batches import BATCH_SECONDS, LEAST_AT_ONCE, Batches
from xortune.training.jobs import (
    ATTEMPTS,
    CRASHES_TO_GIVE_UP,
    MAX_MACHINE_LOSSES,
    MAX_PARTS,
    Done,
    WorkerFailure,
)
from xortune.training.loop import Record, run
from xortune.training.timing import MeasuredSeconds


def numbers(jobs):
    return [job.proposal for job in jobs]


def under_way(batches, workers):
    """Batches for so many workers, which return them one after the other."""
    found = []
    while True:
        while len(found) < workers and (jobs := batches.next()):
            found.append(jobs)
        if not found:
            assert not batches.under_way
            return
        yield found.pop(0)


def test_a_trainer_of_the_user_may_say_that_a_block_costs_nothing():
    batches, lines = batches_of(Priced(0.0), points(2))
    for jobs in under_way(batches, 1):
        received(batches, jobs, seconds=1.0)
    assert len({line.block.point.key for line in lines}) == 2


def test_how_long_workers_were_there_and_how_long_they_trained(monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr("xortune.training.timing.time.monotonic", lambda: seconds[0])
    batches, _ = batches_of(Priced(1.0), points(9), ladder=(1,), slots=2)
    one, two = batches.next(), batches.next()
    assert (batches.pace.rate, batches.pace.busy) == (None, None)
    seconds[0] = 110.0  # workers took 100 s to start
    received(batches, one, seconds=9.0)
    pace = batches.pace  # the other one has begun at 101, too
    assert (pace.seeds, pace.workers, pace.busy_seconds, pace.worker_seconds) == (1, 2, 9.0, 18.0)
    assert pace.busy is None, "what trains is not counted yet, and that is much"
    assert pace.rate == pytest.approx(2 / 9)
    seconds[0] = 111.0
    received(batches, two, seconds=11.0)
    assert (batches.pace.busy_seconds, batches.pace.worker_seconds) == (20.0, 22.0)
    for _ in range(5):
        jobs = batches.next()
        seconds[0] += 5.0
        received(batches, jobs, seconds=4.0)
    pace = batches.pace
    assert (pace.busy_seconds, pace.worker_seconds) == (40.0, 72.0)
    assert pace.busy == pytest.approx(40 / 72)
    assert pace.rate == pytest.approx(7 / 36), "seeds for each second since the first began"
    assert pace.seconds_for(7, (9, 14)) == pytest.approx((2 * 36 / 7, 36.0))
    jobs = batches.next()
    batches.resize(1)  # a node has left
    seconds[0] += 10.0
    failed(batches, jobs, kind="node")
    received(batches, batches.next(), seconds=10.0)
    assert (batches.pace.busy_seconds, batches.pace.worker_seconds) == (50.0, 82.0)


def test_what_was_never_measured_goes_out_alone_and_then_what_takes_half_a_second():
    (batches, _), seconds = batches_of(Priced(0.002), points(1_000)), []
    for jobs in under_way(batches, 2):
        seconds.append(3.0 * 0.002 * len(jobs))  # the estimate is a third
        received(batches, jobs, seconds=seconds[-1])
    assert sum(seconds) == pytest.approx(6)
    assert seconds[:2] == pytest.approx([0.006, 0.006]), "both workers measure"
    assert seconds[2:-1] == pytest.approx([BATCH_SECONDS] * len(seconds[2:-1]), rel=0.05)


def test_a_seed_of_half_a_second_or_more_is_a_unit_and_a_check_has_measured_it():
    expected = MeasuredSeconds(OWN, 0.7)
    batches, lines = batches_of(OWN, points(3), ladder=(4,), expected=expected)
    sizes = []
    for jobs in under_way(batches, 3):
        sizes.append([(job.proposal, job.block.first, job.block.count) for job in jobs])
        received(batches, jobs, seconds=0.7)
    assert sizes == [[(n, seed, 1)] for n in range(3) for seed in range(4)]
    assert [line.block.count for line in lines] == [1] * 12


def test_short_seeds_are_sent_together_as_soon_as_one_is_measured():
    batches, lines = batches_of(OWN, points(100), ladder=(4,))
    sizes = []
    for jobs in under_way(batches, 1):
        sizes.append(sum(job.block.count for job in jobs))
        received(batches, jobs, seconds=0.01 * sizes[-1])
    assert sizes[0] == 1
    assert {*sizes[1:-1]} <= {50, 51, 52, 53}, "half a second, in whole blocks"
    assert len(lines) < 110


def test_a_configuration_that_was_never_trained_may_take_as_long_as_the_slowest():
    quick, slow, new = at(0.1, 0.2, 0.3)
    expected = MeasuredSeconds(OWN)
    assert expected.of(Block(new, 0, 4)) is None
    expected.note(Block(quick, 0, 10), 0.1)
    expected.note(Block(slow, 0, 1), 5.0)
    seconds = [expected.of(Block(point, 0, 4)) for point in (quick, slow, new)]
    assert seconds == pytest.approx([0.04, 20.0, 20.0])


def test_a_call_for_many_seeds_gets_many_though_one_took_long():
    many = Priced(each=0.01, users_code=True, takes_many_seeds=True)
    batches, _ = batches_of(many, points(1), ladder=(40,), expected=MeasuredSeconds(many, 3.0))
    sizes = [jobs[0].block.count for jobs in iter(batches.next, ())]
    assert sizes == [LEAST_AT_ONCE, LEAST_AT_ONCE, 8]


def test_seconds_are_shared_out_by_cost():
    first, second = points(2)
    trainer = Priced(costs={first.key: 0.03, second.key: 0.01})
    batches, lines = batches_of(trainer, [first, second])
    jobs = batches.next() + batches.next()
    received(batches, jobs, seconds=8.0)
    assert [e.seconds for e in lines] == pytest.approx([6.0, 2.0])


# -------------------------------------------------------------------------------------------------
# Workers that die: which block, or which seed of it, is at fault.

GONE = "the node has left"


@given(deadly=st.sets(st.integers(0, 19), max_size=4))
def test_a_batch_that_dies_is_halved_until_the_deadly_block_is_alone(deadly):
    batches, lines = batches_of(Priced(0.001), points(20))
    for jobs in under_way(batches, 1):
        if deadly & set(numbers(jobs)):
            failed(batches, jobs)
        else:
            received(batches, jobs, seconds=1.0)
    assert sorted(e.proposal for e in lines if e.final) == list(range(20))
    assert {e.proposal for e in lines if e.outcome is None} == deadly
    tries = [e.proposal for e in lines]
    assert all(tries.count(n) == (ATTEMPTS if n in deadly else 1) for n in range(20))


@given(
    fates=st.lists(st.sampled_from(["done", "node", "stopped", "batch", "late"]), max_size=60),
    workers=st.integers(1, 4),
)
def test_whatever_becomes_of_batches_each_block_is_final_once(fates, workers):
    (batches, lines), fate = batches_of(Priced(), points(12)), iter(fates)
    for jobs in under_way(batches, workers):
        match next(fate, "done"):
            case "done":
                received(batches, jobs, seconds=1.0)
            case kind:
                failed(batches, jobs, kind=kind, seconds=1.0)
    assert sorted(e.proposal for e in lines if e.final) == list(range(12))
    assert max(Counter(e.proposal for e in lines).values()) <= ATTEMPTS


def test_a_lost_machine_is_not_held_against_its_blocks_until_it_repeats():
    batches, lines = batches_of(Priced(), points(4))
    received(batches, batches.next(), seconds=0.01)  # the others are one batch
    for _ in range(MAX_MACHINE_LOSSES + 1):
        jobs = batches.next()
        assert numbers(jobs) == [1, 2, 3], "the same batch again, whole"
        failed(batches, jobs, GONE, kind="node")
    assert numbers(batches.next()) == [1], "halved, as if it had died by itself"
    assert numbers(batches.next()) == [2, 3]
    assert len(lines) == 1, "nothing of it is an attempt"


def test_a_block_that_brings_every_machine_down_is_given_up():
    (batches, lines), tries = batches_of(Priced(), points(1)), 0
    for jobs in under_way(batches, 1):
        failed(batches, jobs, GONE, kind="node")
        tries += 1
    assert tries == MAX_MACHINE_LOSSES + ATTEMPTS
    assert (lines[-1].final, lines[-1].error, len(lines)) == (True, GONE, ATTEMPTS)


def test_a_batch_that_is_late_is_halved_and_those_to_come_are_smaller():
    batches, _ = batches_of(Priced(), points(200))
    received(batches, batches.next(), seconds=0.01)
    jobs = batches.next()
    assert len(jobs) == 50
    failed(batches, jobs, "took longer than 10 s", kind="late", seconds=10.0)
    halves = [numbers(batches.next()), numbers(batches.next())]
    assert halves == [numbers(jobs[:25]), numbers(jobs[25:])]
    assert len(batches.next()) == pytest.approx(BATCH_SECONDS / 0.2, abs=1)


OWN = Priced(each=0.01, users_code=True)


def train_all(batches, deadly=(), *, seconds=0.01, limit=math.inf):
    """Train all batches; those with a deadly seed die, those over the limit are late. How many."""
    deaths = 0
    for jobs in under_way(batches, 1):
        took = seconds * sum(job.block.count for job in jobs)
        dies = any(set(deadly) & set(job.block.seeds) for job in jobs)
        if took > limit or dies:
            failed(batches, jobs, kind="batch" if dies else "late", seconds=min(took, limit))
            deaths += 1
        else:
            received(batches, jobs, seconds=took)
    return deaths


def fates(lines):
    """Seeds without an outcome, and how many there are; each has exactly one final line."""
    final = [e for e in lines if e.final]
    seeds = Counter((e.block.point.key, seed) for e in final for seed in e.block.seeds)
    assert set(seeds.values()) <= {1}
    return {seed for e in final if e.outcome is None for seed in e.block.seeds}, len(seeds)


@given(count=st.integers(1, 60), deadly=st.sets(st.integers(0, 59), max_size=4))
def test_only_the_deadly_seeds_of_a_block_are_lost(count, deadly):
    deadly = {seed for seed in deadly if seed < count}
    batches, lines = batches_of(OWN, points(2), ladder=(count,))
    deaths = train_all(batches, deadly)
    assert fates(lines) == (deadly, 2 * count)
    # Both configs together, and then each alone: as a block, in parts, in parts of these.
    assert deaths <= 2 + 2 * (ATTEMPTS + 3 * len(deadly))


@given(count=st.integers(1, 40), deadly=st.sets(st.integers(0, 39), max_size=3))
def test_so_it_is_with_the_seeds_of_a_certificate(count, deadly):
    deadly = {1000 + seed for seed in deadly if seed < count}
    wanted = SeedsToTrain(Point({"x": 1}), (range(1000, 1000 + count),))
    fresh, lines = FreshSeeds([wanted]), Lines()
    train_all(Batches(fresh, OWN, Record(lines), slots=2), deadly)
    assert fates(lines) == (deadly, count)


@given(count=st.integers(1, 40), deadly=st.sets(st.integers(0, 39)))
@example(count=40, deadly=set(range(39)))
def test_with_one_attempt_a_block_is_split_at_once_and_no_config_is_given_up(count, deadly):
    deadly = {seed for seed in deadly if seed < count}
    fresh = FreshSeeds([SeedsToTrain(Point({"x": 1}), (range(count),))])
    lines = Lines()
    deaths = train_all(Batches(fresh, OWN, Record(lines), attempts=1), deadly)
    assert fates(lines) == (deadly, count)
    if deadly and count <= MAX_PARTS:
        assert deaths <= len(deadly) + 1


def test_with_one_attempt_what_a_trainer_raises_is_raised():
    cause = MemoryError("no room")
    for attempts in (1, ATTEMPTS):
        batches, lines = batches_of(OWN, points(1), attempts=attempts)
        done = Done(batches.next(), WorkerFailure("batch", "no room", cause))
        with pytest.raises(MemoryError) if attempts == 1 else nullcontext():
            batches.receive(done)
    assert [line.error for line in lines] == ["no room"]


@pytest.mark.parametrize(
    ("trainer", "count", "deadly", "deaths"),
    [
        (Priced(each=0.01), LEAST_AT_ONCE, {3}, ATTEMPTS),  # others are not split
        (OWN, 500, range(500), ATTEMPTS * CRASHES_TO_GIVE_UP),  # every seed kills
    ],
)
def test_a_config_that_always_kills_is_given_up(trainer, count, deadly, deaths):
    batches, lines = batches_of(trainer, points(1), ladder=(count,))
    assert train_all(batches, deadly) == deaths
    assert fates(lines) == (set(range(count)), count)


def test_a_config_with_results_is_not_given_up_later():
    """Its seeds are trained by themselves, though as many kill as would end another one."""
    point = Point({"x": 1})
    parts = (range(10), range(100, 110 + CRASHES_TO_GIVE_UP))
    expected, lines = MeasuredSeconds(OWN, 0.05), Lines()
    batches = Batches(
        FreshSeeds([SeedsToTrain(point, parts)]), OWN, Record(lines), expected=expected
    )
    deadly = set(range(100, 100 + CRASHES_TO_GIVE_UP))
    train_all(batches, deadly)
    assert fates(lines) == (deadly, 20 + CRASHES_TO_GIVE_UP)


def test_what_the_system_kills_trains_once_more_while_nothing_else_trains():
    batches, lines = batches_of(SECOND, points(4), ladder=(1,), slots=3)
    one, two, three = batches.next(), batches.next(), batches.next()
    failed(batches, two, kind="killed")
    for jobs in (one, three):
        assert batches.next() == ()
        received(batches, jobs, seconds=1.0)
    assert (batches.next(), batches.next()) == (two, ())
    failed(batches, two, kind="killed")
    assert [numbers(jobs) for jobs in iter(batches.next, ())] == [[1], [3]]
    assert [line.proposal for line in lines] == [0, 2, 1], "the second time is an attempt"


def test_a_search_that_takes_nothing_more_ends_though_something_would_train_alone():
    batches, _ = batches_of(SECOND, points(2), ladder=(1,))
    one, two = batches.next(), batches.next()
    failed(batches, two, kind="killed")
    assert batches.under_way
    received(batches, one, seconds=1.0)
    assert not batches.under_way


def test_a_block_is_not_lost_beside_one_whose_config_is_given_up():
    deadly, other = at(0.1, 0.2)
    parts = (range(10), range(100, 104)), (range(10), range(100, 103))
    tasks = [SeedsToTrain(p, seeds) for p, seeds in zip((deadly, other), parts, strict=True)]
    expected, lines = MeasuredSeconds(OWN, 0.05), Lines()
    batches = Batches(FreshSeeds(tasks), OWN, Record(lines), expected=expected)
    first, second, both = batches.next(), batches.next(), batches.next()
    assert [job.block.point for job in both] == [deadly, other]
    received(batches, second, seconds=0.5)
    failed(batches, first)
    while sum(line.final and line.outcome is None for line in lines) < CRASHES_TO_GIVE_UP:
        failed(batches, batches.next())
    failed(batches, both, kind="stopped")
    train_all(batches, range(10))
    assert fates(lines) == ({*range(10), *range(100, 104)}, 27)


@pytest.mark.parametrize(("ladder", "in_flight"), [((8,), None), ((8, 100), 6)])
def test_seeds_that_are_in_time_one_by_one_are_no_failures(ladder, in_flight):
    """A block of them would be late."""
    batches, lines = batches_of(OWN, at(*[1.0] * 6), ladder=ladder, in_flight=in_flight, limit=4.0)
    deaths = train_all(batches, seconds=1.0, limit=4.0)
    assert (fates(lines)[0], deaths) == (set(), 0)


# -------------------------------------------------------------------------------------------------
# Batches of a race: promotions are shared out, and slots are kept busy.

SECOND = Priced(each=1.0, users_code=True)


def test_a_long_promotion_is_shared_out_over_the_slots():
    # One finalist.
    batches, lines = batches_of(SECOND, at(1.0), ladder=(4, 12, 100), in_flight=12, slots=4)
    sizes = []
    while jobs := batches.next():
        found = [jobs, *iter(batches.next, ())]
        sizes.append([job.block.count for jobs in found for job in jobs])
        for jobs in reversed(found):
            received(batches, jobs, seconds=float(jobs[0].block.count))
    assert not batches.under_way
    assert sizes == [[1] * 4, [1] * 96], "the last rung does not wait for the one before"
    assert sorted(seed for line in lines for seed in line.block.seeds) == list(range(100))


def test_slots_are_busy_though_blocks_differ_a_hundredfold():
    slots, rates = 16, [(1.0, 0.2, 0.5, 0.9)[i % 4] for i in range(300)]
    limit = most_in_flight(2.0, slots=slots, proposals=300)
    given = {"in_flight": limit, "slots": slots, "max_in_flight": limit}
    batches, _ = batches_of(SECOND, at(*rates), ladder=rungs_up_to(256), **given)
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
        received(batches, jobs, seconds=seconds)
    assert not batches.under_way
    assert work > 0.97 * slots * now


# -------------------------------------------------------------------------------------------------
# Blocks that are trained before anybody has decided upon them: decisions do not notice.

STACKING = Stacking(frozenset({"x"}), 24)
LADDER = (1, 2, 4, 8, 16)


def outcome(block):
    """Each seed succeeds at the rate that the point names as y; those of x = b raise at times."""
    if block.point["x"] == "b" and block.first == 1:
        return Outcome.crashed(block.seeds, 0, "it raised")
    draws = [random.Random(f"{block.point.key} {seed}").random() for seed in block.seeds]
    return solved(block.first, sum(draw < block.point["y"] for draw in draws), block.count)


def trained(jobs):
    return [encode_outcome(job.block, outcome(job.block)) for job in jobs]


class Workers:
    """An executor whose batches come back in any order."""

    slots = 2

    def __init__(self, seed=0, train=trained, most=10_000):
        self.done, self.submitted, self.sizes = deque(), [], []
        self.company = []  # of each batch, whether something was trained ahead in it
        self._draw, self._train, self._left = random.Random(seed), train, most

    def take(self, batches):
        while len(self.submitted) < 3 * self.slots and (jobs := batches.next()):
            kinds, company = {job.block.point["x"] for job in jobs}, any(job.ahead for job in jobs)
            assert len(kinds) == 1 or not company
            self.submitted.append(jobs)
            self.sizes.append(sum(job.block.count for job in jobs))
            self.company.append(company)

    def wait(self):
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        jobs = self.submitted.pop(self._draw.randrange(min(self.slots, len(self.submitted))))
        self.done.append(Done(jobs, self._train(jobs), 1.0, "worker:1", STACKING))

    def stop(self):
        pass


class Search:
    """A search of 30 configurations, to its end or an interruption."""

    def __init__(self, workers, *, ahead=True, sampler="random", known=()):
        space, journal = space_of(sampler=sampler, trials=30, ladder=LADDER), Lines()
        given = {"max_in_flight": 7, "min_in_flight": 6, "known": known}
        decisions = SearchDecisions(space, PLAIN, proposer_for(space), **given)
        self.failures = []
        record = Record(journal, self.failures.append)
        self.ahead = Ahead(decisions) if ahead else None  # which learns of stacks
        batches = Batches(decisions, PLAIN, record, slots=2, max_in_flight=7, ahead=self.ahead)
        with suppress(KeyboardInterrupt):
            run(batches, workers, record)
            assert not batches.under_way
        self.lines, self.workers = [*known, *journal], workers

    @property
    def results(self):
        """What each proposal came to, k of n: into which blocks its seeds are cut is no matter."""
        k, n = Counter(), Counter()
        for line in self.lines:
            if line.final:
                k[line.proposal, line.block.point] += line.outcome.successes
                n[line.proposal, line.block.point] += line.outcome.n
        return {config: (k[config], n[config]) for config in n}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("seed", range(2))
def test_the_journal_is_the_same_in_fewer_batches(sampler, seed):
    alone = Search(Workers(), ahead=False, sampler=sampler)
    ahead = Search(Workers(seed), sampler=sampler)
    assert ahead.results == alone.results
    assert ahead.failures == alone.failures != []
    decided = sum(n for _, n in alone.results.values())
    # What nobody decided upon is in no line.
    assert ahead.ahead.trained > ahead.ahead.used > decided / 4
    assert max(ahead.workers.sizes) <= STACKING.width
    assert len(ahead.workers.sizes) < len(alone.workers.sizes) * (0.4 if sampler == "random" else 1)


def test_an_interrupted_search_goes_on_to_the_same_journal():
    whole, begun = Search(Workers()), Search(Workers(most=5))
    assert 0 < len(begun.results) < len(whole.results)
    assert Search(Workers(5), known=begun.lines).results == whole.results


@pytest.mark.parametrize("kind", ["batch", "late", "node"])
def test_company_that_kills_a_worker_is_not_trained_ahead_again(kind):
    deaths = []

    def train(jobs):
        if any(job.ahead for job in jobs) and len(deaths) < 2:
            deaths.append(len(workers.sizes))
            return WorkerFailure(kind, "it died")
        return trained(jobs)

    workers = Workers(train=train)
    found = Search(workers)
    assert found.results == Search(Workers(), ahead=False).results  # nobody is blamed
    assert all(line.final for line in found.lines)
    assert any(workers.company[deaths[0] :]) == (kind == "node")


def test_what_has_no_outcome_ahead_is_trained_when_it_is_decided():
    tries = []

    def train(jobs):
        tries.extend(j.attempt for j in jobs if j.block.first == 2 and not j.ahead)
        pairs = zip(jobs, trained(jobs), strict=True)
        return [DEAD if job.block.first == 2 else result for job, result in pairs]

    gone = [line for line in Search(Workers(train=train)).lines if line.block.first == 2]
    assert gone
    assert {line.error for line in gone} == {str(DEAD)}
    assert sum(line.final for line in gone) == tries.count(1) == tries.count(ATTEMPTS)


@pytest.mark.parametrize("sampler", [one.name for one in SAMPLERS if only_ranges not in one.needs])
def test_what_is_foreseen_is_what_is_proposed(sampler):
    trials = "" if sampler == "grid" else ", trials: 14"
    parameters = "{a: {choice: [1, 2.5, b, true, null]}, b: {low: 1, high: 3}}"
    text = f"name: finite\nparameters: {parameters}\nsearch: {{sampler: {sampler}{trials}}}\n"
    proposer = proposer_for(parse_space(text + "seeds: {ladder: [4, 8]}\n"))
    foreseen = {}
    for number in range(14):
        for later in range(number, 14):
            if (point := proposer.foresee(later)) is not None:
                assert foreseen.setdefault(later, point) == point
        point = proposer.propose(number)
        assert foreseen.get(number, point) == point
        seen = SeedSummary(number * 7 % 11, 11, 100 * number)
        proposer.learn(number, point, seen)
        proposer.see(point, seen)
    every = RANDOM_EVERY_OF_COUNTS if sampler == "auto" else RANDOM_EVERY
    drawn = {n for n in range(14) if n < STARTUP or n % every == 0}
    drawn = drawn if sampler in ("auto", "tpe") else set()
    own = sampler_named(sampler)
    assert set(foreseen) == (drawn if own.learns or own.make else set(range(14)))


def test_fresh_seeds_of_all_configs_begin_and_then_the_longest_are_first():
    quick, slow = at(0.1, 0.2)
    tasks = [SeedsToTrain(point, (range(1000, 1006),)) for point in (quick, slow)]
    expected = MeasuredSeconds(OWN)
    expected.note(Block(quick, 0, 1), 1.0)
    expected.note(Block(slow, 0, 1), 3.0)
    batches = Batches(FreshSeeds(tasks), OWN, Record(Lines()), slots=2, expected=expected)
    order = [jobs[0].block.point for jobs in iter(batches.next, ())]
    assert order[:8] == [quick, slow, slow, slow, slow, slow, quick, quick]
    assert order.count(slow) == order.count(quick) == 6


# -------------------------------------------------------------------------------------------------
# Seeds that train as one model, and audits of them.


class StackingPlain(Priced):
    traits = Traits(stacks_seeds=True)


def told_by(jobs, *audits, by=0.0):
    """The results of a batch, with what its trainer says of its stacks."""
    results = []
    for job, audit in zip(jobs, audits, strict=True):
        found = solved(job.block.first, 0, job.block.count)
        details = replace(found.details, audit=audit)
        loss = ((1 + found.seeds) * (1 + by)).astype(np.float32)
        found = replace(found, details=details, final_loss=loss)
        results.append(encode_outcome(job.block, found))
    return {"seconds": 0.1, "results": results}


def stacking(proposed=6, **more):
    expected = MeasuredSeconds(PLAIN)
    expected.note(Block(Point({}), 0, 1), 0.05)  # so that a batch has a block of ten
    return batches_of(StackingPlain(0.5), points(proposed), expected=expected, most=1, **more)


def test_workers_are_told_how_many_seeds_have_agreed():
    batches, _ = stacking()
    one, two = batches.next(), batches.next()
    assert {job.block.agreed for job in (*one, *two)} == {0}
    received(batches, one, **told_by(one, Audit(7, 3, 1e-7)))
    assert [job.block.agreed for job in batches.next()] == [3]
    received(batches, two, **told_by(two, Audit(9, 1, 1e-6)))
    assert [job.block.agreed for job in batches.next()] == [4]
    assert batches.recorded == Audit(16, 4, 1e-6)
    batches, _ = stacking(audit=Audit(100, 30))
    assert [job.block.agreed for job in batches.next()] == [30], "what the journal knows"
    batches, _ = stacking(audit=Audit(fault="one differed"))
    assert [job.block.agreed for job in batches.next()] == [None]


def shared(slots=16, proposed=9, agreed=0, **more):
    """Batches of a trainer that has just said that it stacks seeds."""
    batches, lines = stacking(proposed, slots=slots, audit=Audit(0, agreed), **more)
    told = Stacking(frozenset(), 64, 20.0)
    first = batches.next()
    received(batches, first, **told_by(first, Audit()), stacking=told)
    return batches, lines


def taken(batches):
    """All that can be sent now: the stacks, and the seeds of them that train alone."""
    sent = list(iter(batches.next, ()))
    alone = [jobs for jobs in sent if jobs[0].block.agreed is None]
    return [jobs for jobs in sent if jobs not in alone], alone


def test_audited_seeds_are_batches_that_any_worker_trains_before_another_stack():
    """Otherwise each of 16 workers would train 29 seeds alone, too."""
    batches, lines = shared()
    before = len(lines)
    stacks, alone = taken(batches)
    assert [job.block.audited for jobs in stacks for job in jobs] == [()] * 3
    assert [job.block.count for jobs in alone for job in jobs] == [1] * 30
    assert batches.next() == (), "30 seeds train alone"
    assert batches.under_way == 33
    for jobs in stacks:
        received(batches, jobs, **told_by(jobs, Audit(10)))
    for jobs in alone[1:]:
        received(batches, jobs, **told_by(jobs, Audit()))
    received(batches, alone[0], **told_by(alone[0], Audit()))
    results = [line.outcome.details.audit for line in lines[before:]]
    assert results == [Audit(0, 10, 0.0)] * 3
    assert batches.next()[0].block.agreed == 30


def off(jobs, by):
    """As `told_by`: what seeds come to whose numbers are larger by a part."""
    return told_by(jobs, Audit(), by=by)


def lost(jobs, _):
    return {"seconds": 0.1, "results": WorkerFailure("batch", "killed")}


def cancelled(jobs, _):
    return {"seconds": 0.1, "results": [Unfinished()]}


@pytest.mark.parametrize(
    ("come_to", "by", "agrees"),
    [(off, 1e-6, True), (off, 1e-2, False), (lost, 0, False), (cancelled, 0, False)],
)
@pytest.mark.parametrize("is_last", [True, False])
def test_a_stack_of_which_a_seed_does_not_agree_trains_again_and_its_worker_audits(
    come_to, by, agrees, is_last
):
    batches, lines = shared(2, 2)
    before = len(lines)
    [stack], alone = taken(batches)
    first, *others = alone
    ends = [(jobs, told_by(jobs, Audit())) for jobs in others]
    ends.insert(len(ends) if is_last else 0, (first, come_to(first, by)))
    ends.insert(3, (stack, told_by(stack, Audit(10))))
    for jobs, what in ends:
        assert len(lines) == before
        received(batches, jobs, **what)
    if agrees:
        [line] = lines[before:]
        audit = line.outcome.details.audit
        assert (audit.stacked, audit.audited) == (0, 10)
        assert audit.largest == pytest.approx(by, rel=0.1)
        return
    assert len(lines) == before
    [again] = batches.next()
    assert again.block == stack[0].block
    assert again.block.audited == tuple(again.block.seeds)
    received(batches, (again,), **told_by((again,), Audit(0, 10, 2e-4)))
    assert lines[-1].outcome.details.audit == Audit(0, 10, 2e-4)


def test_a_stack_that_nobody_wants_any_more_does_not_train_again(monkeypatch):
    batches, lines = shared(2, 2)
    [stack], alone = taken(batches)
    monkeypatch.setattr(batches._decider, "wants", lambda _: False)
    received(batches, stack, **told_by(stack, Audit(10)))
    for jobs in alone:
        received(batches, jobs, **cancelled(jobs, 0))
    assert batches.next() == ()
    assert (lines[-1].block, lines[-1].error) == (stack[0].block, NOT_FINISHED)


def test_what_is_stopped_uses_no_stack_of_which_a_seed_was_not_sent():
    for sent, used in ((3, False), (10, True)):
        batches, lines = shared(2, 2)
        before = len(lines)
        stack, *alone = (batches.next() for _ in range(1 + sent))
        batches.stop(now=True)
        for jobs in alone:
            received(batches, jobs, **told_by(jobs, Audit()))
        assert batches.under_way == 1
        received(batches, stack, **told_by(stack, Audit(10)))
        assert (batches.under_way, len(lines) > before) == (0, used)


def test_a_stack_that_was_none_waits_for_no_audit_and_one_that_failed_trains_again():
    batches, lines = shared(2, 3)
    before = len(lines)
    [stack, *_], alone = taken(batches)
    received(batches, stack, **told_by(stack, Audit()))
    assert len(lines) == before + 1
    for jobs in alone:
        received(batches, jobs, **told_by(jobs, Audit()))
    assert len(lines) == before + 1, "they are in no count"
    batches, lines = shared(2, 2)
    [stack], alone = taken(batches)
    received(batches, stack, **lost(stack, 0))
    for jobs in alone:
        received(batches, jobs, **told_by(jobs, Audit()))
    again, *_ = taken(batches)
    assert [job.block for jobs in again for job in jobs] == [stack[0].block]


def test_audits_wait_for_no_idle_worker_where_rounding_is_amplified_or_all_are_busy():
    for more in ({"slots": 1}, {"agreed": 29, "slots": 2, "largest": 1e-3}):
        largest = more.pop("largest", 0.0)
        batches, _ = shared(**more)
        batches.recorded += Audit(0, 0, largest)
        assert batches.next()[0].block.audited is None
    batches, _ = shared(2, agreed=29)
    assert [batches.next()[0].block.agreed for _ in range(3)] == [29, None, None]
    assert batches.next()[0].block.audited is None


def test_what_is_not_stacked_waits_for_no_audit():
    batches, _ = stacking(9, slots=16)
    assert len(list(iter(batches.next, ()))) == 9, "nobody has said that seeds are stacked"
    batches, _ = stacking(9, slots=16)
    first = batches.next()
    told = Stacking(frozenset(), 1)
    received(batches, first, **told_by(first, Audit()), stacking=told)
    assert len(list(iter(batches.next, ()))) == 8


def test_after_a_fault_what_is_in_flight_from_a_stack_trains_again_alone():
    batches, lines = stacking()
    one, two, three = batches.next(), batches.next(), batches.next()
    received(batches, one, **told_by(one, Audit(fault="seed 3 differed")))
    received(batches, two, **told_by(two, Audit(10)))
    received(batches, three, **told_by(three, Audit(0, 10)))
    assert not batches.begins_again, "nothing of a stack was recorded"
    marker, *others = lines
    assert (marker.error, marker.final, marker.audit) == (
        AUDITED,
        False,
        Audit(fault="seed 3 differed"),
    )
    assert [line.block for line in others] == [one[0].block, three[0].block]
    again = batches.next()
    assert [(job.block, job.block.agreed) for job in again] == [(two[0].block, None)]


def test_after_a_fault_nothing_more_is_recorded_if_results_of_stacks_were():
    batches, lines = stacking()
    one, two, three = batches.next(), batches.next(), batches.next()
    received(batches, one, **told_by(one, Audit(10)))
    received(batches, two, **told_by(two, Audit(fault="seed 3 differed")))
    assert batches.begins_again
    assert batches.next() == ()
    assert batches.under_way == 1
    received(batches, three, **told_by(three, Audit(0, 10)))
    assert not batches.under_way
    assert [line.error for line in lines] == [None, AUDITED]


def test_what_was_trained_ahead_in_stacks_is_dropped_after_a_fault():
    space, lines = space_of(trials=6), Lines()
    decisions = SearchDecisions(space, PLAIN, proposer_for(space), max_in_flight=10)
    ahead = Ahead(decisions, Stacking(frozenset(), 30))
    batches = Batches(decisions, StackingPlain(0.5), Record(lines), max_in_flight=10, ahead=ahead)
    first = batches.next()
    assert [job.ahead for job in first] == [False, False, True]
    received(batches, first, **told_by(first, *[Audit(10)] * 3))
    second = batches.next()
    assert not second[0].ahead
    received(batches, second, **told_by(second, Audit(fault="x"), *[Audit()] * (len(second) - 1)))
    assert ahead._kept == {}
    assert batches.begins_again


def test_a_fault_of_what_was_trained_ahead_counts_too():
    space, lines = space_of(trials=6), Lines()
    decisions = SearchDecisions(space, PLAIN, proposer_for(space), max_in_flight=10)
    ahead = Ahead(decisions, Stacking(frozenset(), 30))
    batches = Batches(decisions, StackingPlain(0.5), Record(lines), max_in_flight=10, ahead=ahead)
    jobs = batches.next()
    received(batches, jobs, **told_by(jobs, Audit(), Audit(), Audit(fault="x")))
    assert [line.audit for line in lines] == [Audit(fault="x"), None, None]
    assert (lines[0].proposal, lines[0].block) == (0, jobs[2].block)
    assert {job.block.agreed for job in batches.next()} == {None}
    assert not any(job.ahead for job in batches.next())


def test_a_trainer_that_stacks_what_is_to_train_alone_has_failed():
    batches, lines = stacking(proposed=1, audit=Audit(fault="one differed"))
    for jobs in under_way(batches, 1):
        received(batches, jobs, **told_by(jobs, *[Audit(10)] * len(jobs)))
    assert [(line.error, line.final) for line in lines][-1] == (
        "its trainer has stacked seeds that were to train alone",
        True,
    )
    assert all(line.outcome is None for line in lines)


def test_where_no_seed_is_to_be_stacked_a_late_fault_is_known_all_the_same():
    batches, lines = stacking(alone=True)
    one = batches.next()
    assert [job.block.agreed for job in one] == [None]
    received(batches, one, **told_by(one, Audit()))
    batches.receive(Done((replace(one[0], ahead=True),), [solved(0, 0, 10)], 1.0, "here:1"))
    late = told_by(one, Audit(fault="it was trained ahead"))["results"]
    batches.receive(Done((replace(one[0], ahead=True),), late, 1.0, "here:1"))
    assert batches.recorded.fault == "it was trained ahead"
    assert [line.error for line in lines] == [None, AUDITED]


def test_a_trainer_that_stacks_nothing_is_told_nothing():
    batches, lines = batches_of(Priced(0.5), points(2))
    jobs = batches.next()
    assert jobs[0].block.agreed == 0
    received(batches, jobs, **told_by(jobs, Audit(fault="of a trainer that says more than it may")))
    assert [line.error for line in lines] == [None]
