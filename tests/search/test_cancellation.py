"""Promotions of a config that is proven worse are cancelled; how far they got decides nothing."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from fakes import DEAD, Lines, Plain, Queue, Scripted, at, by_rate, ranges, run, space_of
from hand_made import solved, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.errors import Halted
from xortune.core.outcome import Outcome
from xortune.core.point import Point
from xortune.core.success import parse_success
from xortune.core.trainer import NOT_FINISHED, PROVEN_WORSE, Block, OutOfTime, Unfinished
from xortune.driver.search import search_with
from xortune.driver.session import search_session
from xortune.racing.front import front_race
from xortune.racing.grants import proof_race
from xortune.racing.halving import number_race
from xortune.racing.race import RaceRule
from xortune.runs.evaluation import encode_outcome as pack
from xortune.runs.run import load_run
from xortune.runs.status import status as status_of
from xortune.spaces.model import Objective, RaceSettings, rungs_up_to
from xortune.trainers.function import custom_trainer
from xortune.trainers.reports import cancelling_if
from xortune.trainers.source import given_source
from xortune.training.executors import LocalExecutor
from xortune.training.worker import pieces

GOOD, BAD = at(1.0, 0.25)


def part_of(job, finished):
    """What a worker sends of a block that it ended after so many seeds."""
    block = Block(job.block.point, job.block.first, finished)
    return Unfinished(pack(block, by_rate(block)) if finished else None)


def climbing(queue):
    """Both have had 8 seeds; the good one climbs first, then the bad one."""
    for _ in range(2):
        queue.receive(queue.next_job())
    good, bad = queue.next_job(), queue.next_job()
    assert (good.block.point, bad.block.point) == (GOOD, BAD)
    assert queue.next_job() is None
    return good, bad


def two(window=4, **more):
    space = space_of(trials=2, ladder=(8, 80))
    # It goes on though one is clearly better.
    space = replace(space, seeds=replace(space.seeds, race=RaceSettings(delta=1e-12)))
    return Queue(space, Scripted([GOOD, BAD]), window=window, **more)


@pytest.mark.parametrize("finished", [0, 10, 72])
def test_what_is_not_finished_is_in_no_count(tmp_path, finished):
    good, bad = climbing(queue := two(ends=True))
    assert queue.wants(good)
    assert queue.wants(bad)
    queue.receive(good)
    assert queue.next_job() is None
    assert not queue.wants(bad)
    queue.receive(bad, part_of(bad, finished) if finished < 72 else None)
    assert queue.finished
    ended = [line for line in queue.lines if line.error == NOT_FINISHED]
    rest = [] if finished == 72 else [(8 + finished, 72 - finished)]
    assert [(e.block.first, e.block.count) for e in ended] == rest
    run = write_run(tmp_path / "run", queue.lines)
    found = {r.point: r.outcome for r in run.results}
    assert found[GOOD].successes == found[GOOD].n == 80
    expected = by_rate(Block(BAD, 0, 8 + finished))
    assert (found[BAD].successes, found[BAD].n) == (expected.successes, 8 + finished)
    # Who looks at the journal while the search runs sees no retry either.
    status = status_of(run.path)
    assert (status.retried, status.last_error) == (0, None)
    # A session that takes the run up again knows it, and has nothing to train.
    again = two(known=run.evaluations, ends=True)
    assert again.replay_known()
    assert again.decisions.configs[BAD.key].shown.counted.n == 8 + finished


def test_what_is_proven_worse_is_not_wanted_before_anyone_asks_for_a_job():
    """All workers may train what is to be given up, and nobody asks for long."""
    good, bad = climbing(queue := two(ends=True))
    queue.receive(good)
    assert not queue.wants(bad)


def test_a_promotion_that_known_results_prove_worse_is_not_trained():
    """The good one's 80 had come before the bad one's first 8, which decide on its promotion."""
    queue = two(ends=True)
    first, other = queue.next_job(), queue.next_job()
    queue.receive(first)
    climb = queue.next_job()
    assert (climb.block.point, climb.block.count) == (GOOD, 72)
    queue.receive(climb)
    queue.receive(other)
    assert queue.next_job() is None
    assert queue.finished
    [bad] = [line.block for line in queue.lines if line.error == NOT_FINISHED]
    assert (bad.point, bad.first, bad.count) == (BAD, 8, 72)


def test_a_block_that_died_is_not_tried_again_for_nothing():
    good, bad = climbing(queue := two(ends=True))
    queue.receive(good)
    queue.receive(bad, DEAD)
    assert queue.finished


def searched(rates, seed):
    """All jobs, and what the sampler was asked and told. Unwanted jobs have finished in part."""
    draw, jobs, queues = random.Random(seed), set(), []

    def train(job):
        count = int(draw.random() * job.block.count)
        return by_rate(job.block) if queues[0].wants(job) else part_of(job, count)

    run(
        space_of(trials=len(rates), ladder=(8, 128)),
        proposer := Scripted(at(*rates)),
        window=6,
        ends=True,
        train=train,
        pick=draw.randrange,
        on_queue=queues.append,
        on_turn=lambda _, under_way: jobs.update(under_way),
    )
    found = [(job.proposal, job.block.first, job.block.count, job.promoted) for job in jobs]
    return Counter(found), proposer.events


@settings(max_examples=15)
@given(
    st.lists(st.sampled_from([0.2, 0.3, 0.5, 1.0]), min_size=4, max_size=14),
    st.lists(st.integers(0, 1000), min_size=2, max_size=2),
)
def test_no_decision_depends_on_how_far_they_got(others, seeds):
    (one, events), (other, same) = (searched([1.0, *others], seed) for seed in seeds)
    assert events == same
    # A climb may be dropped before it is handed out: of the others both have the same.
    assert all(climbs for *_, climbs in (one - other) + (other - one))


def test_races_give_up_what_is_proven_worse_and_for_good():
    rule = RaceRule((8, 80))
    for race, paid in ((proof_race(rule), ()), (front_race(rule, 1), (1.0,))):
        race.see("bad", 2, 8, speed=0.5, costs=paid)
        race.see("good", 80, 80, speed=0.5, costs=paid)
        assert race.is_stopped("bad")
        assert not race.is_stopped("good")
        assert not race.is_stopped("new")
        race.see("bad", 60, 62, speed=0.5, costs=paid)  # it seemed better in the end
        assert race.is_stopped("bad")
        assert race.next({}, last=True) is None
    dear = front_race(rule, 1)
    dear.see("small", 2, 8, costs=(1.0,))
    dear.see("large", 80, 80, costs=(9.0,))
    assert not dear.is_stopped("small")
    numbers = number_race(rule)
    numbers.see("bad", 0, 8, costs=(9.0,))
    assert not numbers.is_stopped("bad")


def reporting(config, seed, report):
    report({"loss": 1.0})
    return seed % 2 == 0


def test_a_report_ends_what_is_given_up_with_what_has_finished():
    trainer = custom_trainer(given_source(reporting), None)
    calls = []

    def after(count):
        def asked(block):
            calls.append(block)
            return len(calls) > count

        calls.clear()
        return asked

    block = Block(Point({"x": 1}), 4, 5)
    with cancelling_if(after(3)):
        blocks = [block, Block(Point({"x": 2}), 0, 1)]
        *ended, other = pieces(trainer, blocks)
    assert [part.first for piece in ended for _, part in piece.parts] == [4, 5]
    first, rest = (piece.results[0] for piece in ended)
    assert isinstance(rest, Unfinished)
    assert str(rest) == NOT_FINISHED
    outcome = Outcome.merge(first, rest.outcome)
    assert (outcome.n, outcome.successes) == (3, 2)
    assert outcome.details.values["loss"].tolist() == [1.0] * 3
    assert isinstance(other.results[0], Unfinished)
    assert other.results[0].outcome is None
    [whole] = pieces(trainer, [block])
    assert isinstance(whole.results[0], Outcome)
    not_begun = [*pieces(trainer, [block], begin=lambda *_: False)]
    assert [piece.results[0].outcome for piece in not_begun] == [None]
    with cancelling_if(after(0)):
        many = custom_trainer(given_source(all_at_once), None)
        assert isinstance(many.train([block])[0], Unfinished)
    assert isinstance(trainer.train([block])[0], Outcome)


def all_at_once(config, seeds, report):
    report({"loss": seeds / 2})
    return seeds > 5


def test_the_verdict_is_recorded_once_and_decides_nothing():
    lines = []
    for _ in range(2):
        queue = two(window=0, known=lines)
        while (job := queue.next_job()) is not None:
            queue.receive(job)
        lines += [*queue.lines, *queue.verdicts()]
    verdicts = [line for line in lines if line.error == PROVEN_WORSE]
    assert [(line.block.point, line.final) for line in verdicts] == [(BAD, False)]


def test_the_verdicts_of_a_race_that_is_interrupted_are_recorded(tmp_path):
    class Stops(Plain):
        trained = 0

        def describe(self):
            return {"trainer": "stops"}

        def train(self, blocks):
            self.trained += 1
            if self.trained > 9:  # after the first seeds of all
                raise KeyboardInterrupt
            return [by_rate(block) for block in blocks]

    space = replace(space_of(trials=9, ladder=(64, 256)), start=tuple(at(1.0, 0.1, 0.98)))
    executor = LocalExecutor(Stops())
    assert not search_session(space, Stops(), tmp_path / "run", executor=executor)
    worse = load_run(tmp_path / "run").evaluations.with_error(PROVEN_WORSE)
    assert worse[0].block.point["y"] == 0.1


def test_a_quantile_of_a_number_is_proven_worse_by_the_numbers_of_seeds():
    median = Objective("acc_median", maximize=True, number="acc", statistic="median")
    space = replace(space_of(trials=4, ladder=(16, 64)), objectives=(median,))
    source = given_source(lambda config, seed: {"acc": config["y"] + seed % 7 / 20})
    trainer = custom_trainer(source, parse_success("acc >= 0"))
    good, *others = proposed = at(0.9, 0.0, 0.2, 0.1)
    train = lambda job: trainer.train([job.block])[0]  # noqa: E731
    session = run(space, Scripted(proposed), window=1, workers=1, train=train)
    assert ranges(session.evaluations)[good.key] == [(0, 0, 16), (0, 16, 48)]
    assert {line.block.point for line in session.queue.verdicts()} == {*others}


# -------------------------------------------------------------------------------------------------
# What a race tells while it runs, and how it is ended.

DOUBLING = rungs_up_to(64)


@given(
    data=st.data(),
    rates=st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1, max_size=8),
    window=st.integers(1, 6),
    ladder=st.sampled_from([DOUBLING, (8, 24), (4,)]),
)
@settings(max_examples=15)
def test_only_what_is_on_the_disk_is_told(data, rates, window, ladder):
    journal, told, lines = Lines(settled=0), [], {}
    space = space_of(trials=len(rates), ladder=ladder)

    def hear(progress):
        told.append(progress)
        # So many proposals are done by lines on the disk: each has one at least.
        begun = {job.proposal for job, line in lines.items() if line <= journal.settled}
        assert progress.done <= len(begun)

    chosen = [point for point in at(*rates) for _ in range(2)][: len(rates)]
    queue = Queue(space, Scripted(chosen), journal, window=window, tell=hear)
    under_way = []
    while True:
        while len(under_way) < 3 and (job := queue.next_job()) is not None:
            under_way.append(job)
        if not under_way:
            break
        job = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        lines[job] = journal.appended + 1
        queue.receive(job)
        journal.settled = data.draw(st.integers(journal.settled, journal.appended))
    assert queue.finished
    assert journal.settled == journal.appended, "the last news is worth waiting for"
    assert (told[-1].done, told[-1].total) == (len(rates), len(rates))
    assert all(0 <= p.fresh <= p.done <= p.total for p in told)


@pytest.fixture
def thirty():
    space = space_of(trials=30, ladder=DOUBLING)
    return Queue(space, Scripted(at(*[1.0] * 30)), window=6)


@pytest.mark.parametrize("after", [0, 10])
def test_stop_begins_nothing_new(after, thirty):
    for _ in range(after):
        thirty.receive(thirty.next_job())
    under_way = [thirty.next_job() for _ in range(3)]
    thirty.stop()
    assert not thirty.finished
    assert thirty.next_job() is None
    for job in under_way:
        thirty.receive(job)
    assert thirty.next_job() is None
    assert thirty.finished


def test_what_was_begun_is_tried_once_more_after_a_stop(thirty):
    job = thirty.next_job()
    thirty.stop()
    thirty.receive(job, DEAD)
    again = thirty.next_job()
    assert (again.proposal, again.block.first, again.attempt) == (0, 0, 2)
    thirty.receive(again)
    assert thirty.next_job() is None
    assert thirty.finished


@pytest.fixture
def clock(monkeypatch):
    """Its seconds."""
    seconds = [0.0]
    monkeypatch.setattr("xortune.training.timing.time.monotonic", lambda: seconds[0])
    return seconds


def budgeted(trials, ladder):
    """A queue with a budget of 5 seconds."""
    space = space_of(trials=trials, ladder=ladder)
    space = replace(space, search=replace(space.search, time_budget=5))
    return Queue(space, Scripted(at(*[1.0] * trials)), window=16)


def test_after_the_time_budget_nothing_is_tried_again_and_what_is_left_is_known(clock):
    queue = budgeted(4, [4])
    one, two, three, four = (queue.next_job() for _ in range(4))
    queue.receive(one, DEAD)  # waits to be tried again
    clock[0] = 5.0
    queue.receive(two, DEAD)
    queue.receive(three, OutOfTime(solved(0, 3, 3)))
    assert queue.next_job() is None
    assert not queue.finished
    queue.receive(four, OutOfTime())
    assert queue.next_job() is None
    assert queue.finished
    assert queue.left_undone
    [*tries, last] = queue.lines
    assert [line.final for line in tries] == [False, False]
    assert (last.proposal, last.block.first, last.block.count) == (2, 0, 3)


@pytest.mark.parametrize(
    ("ladder", "solved_first", "left"), [([4], 4, False), ([2, 4], 0, False), ([2, 4], 2, True)]
)
def test_a_budget_that_is_over_leaves_nothing_where_all_is_done(clock, ladder, solved_first, left):
    queue = budgeted(1, ladder)
    job = queue.next_job()
    clock[0] = 5.0
    queue.receive(job, solved(0, solved_first, job.block.count))
    assert queue.finished
    assert queue.left_undone == left


def test_what_a_worker_with_a_fast_clock_did_not_begin_waits_again(clock):
    queue = budgeted(1, [4])
    queue.receive(queue.next_job(), OutOfTime(solved(0, 1, 1)))
    assert not queue.finished
    again = queue.next_job()
    assert (again.block.first, again.block.count, again.attempt) == (1, 3, 1)
    queue.receive(again)
    assert queue.next_job() is None
    assert queue.finished
    assert not queue.left_undone


def test_what_ended_a_search_keeps_its_cause(tmp_path):
    class Named(Plain):
        def describe(self):
            return {"trainer": "named"}

    class Ends(LocalExecutor):
        def take(self, _):
            raise Halted("the process that hands out batches ended") from OSError("it is gone")

    as_new = {"resume": False, "check": False, "command": None}
    with pytest.raises(Halted, match="hands out batches") as caught:
        search_with(Ends(Named()), Named(), space_of(), tmp_path / "run", **as_new)
    assert isinstance(caught.value.__cause__, OSError)
