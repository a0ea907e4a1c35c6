"""What a race tells while it runs, and how it is ended."""

import pytest
from fakes import Plain, Queue, Scripted, at, by_rate, dead, queue_in, space_of
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.trainer import OutOfTime
from xortune.runs.journal import read
from xortune.spaces.model import rungs_up_to
from xortune.spaces.space import parse_space

DOUBLING = rungs_up_to(64)


class Lagging:
    """A journal whose lines reach the disk when the test says so."""

    def __init__(self):
        self.appended = self.settled = 0

    def append(self, _):
        self.appended += 1
        return self.appended

    def sync(self):
        self.settled = self.appended


@given(
    data=st.data(),
    rates=st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]), min_size=1, max_size=8),
    window=st.integers(1, 6),
    ladder=st.sampled_from([DOUBLING, (8, 24), (4,)]),
)
@settings(max_examples=15)
def test_only_what_is_on_the_disk_is_told(data, rates, window, ladder):
    journal, told, lines = Lagging(), [], {}
    space = space_of(trials=len(rates), ladder=ladder)

    def hear(progress):
        told.append(progress)
        # So many proposals are done by lines on the disk: each has one at least.
        begun = {job.proposal for job, line in lines.items() if line <= journal.settled}
        assert progress.done <= len(begun)

    chosen = [point for point in at(*rates) for _ in range(2)][: len(rates)]
    queue = Queue(space, Plain(), Scripted(chosen), journal, window=window, on_progress=hear)
    under_way = []
    while True:
        while len(under_way) < 3 and (job := queue.next_job()) is not None:
            under_way.append(job)
        if not under_way:
            break
        job = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
        lines[job] = journal.appended + 1
        queue.receive(job, by_rate(job.block), seconds=0.1, worker="w")
        journal.settled = data.draw(st.integers(journal.settled, journal.appended))
    assert queue.finished
    assert journal.settled == journal.appended, "the last news is worth waiting for"
    assert (told[-1].done, told[-1].total) == (len(rates), len(rates))
    assert all(0 <= p.fresh <= p.done <= p.total for p in told)


def drained(queue, under_way, train=by_rate):
    """What is still handed out until the queue is done; the keys and seeds of it."""
    found = []
    for job in under_way:
        queue.receive(job, train(job.block), seconds=0.1, worker="w")
    while (job := queue.next_job()) is not None:
        found.append((job.proposal, job.block.first, job.attempt))
        queue.receive(job, by_rate(job.block), seconds=0.1, worker="w")
    assert queue.finished
    return found


@pytest.mark.parametrize("after", [0, 10])
def test_stop_begins_nothing_new(after, tmp_path):
    space = space_of(trials=30, ladder=DOUBLING)
    with queue_in(tmp_path, space, Scripted(at(*[1.0] * 30)), window=6) as queue:
        for _ in range(after):
            job = queue.next_job()
            queue.receive(job, by_rate(job.block), seconds=0.1, worker="w")
        under_way = [queue.next_job() for _ in range(3)]
        queue.stop()
        assert not queue.finished
        assert (queue.left, queue.open) == (0, False)
        assert queue.next_job() is None
        assert drained(queue, under_way) == []


def test_what_was_begun_is_tried_once_more_after_a_stop(tmp_path):
    space = space_of(trials=30, ladder=DOUBLING)
    with queue_in(tmp_path, space, Scripted(at(*[1.0] * 30)), window=6) as queue:
        job = queue.next_job()
        queue.stop()
        assert drained(queue, [job], train=dead) == [(0, 0, 2)]


def budgeted(trials, ladder):
    return parse_space(
        "name: fake\nparameters: {y: {low: 0.0, high: 1.0}}\n"
        f"search: {{sampler: random, trials: {trials}, time_budget: 5}}\n"
        f"seeds: {{ladder: {ladder}}}\n"
    )


def test_after_the_time_budget_nothing_is_tried_again_and_what_is_left_is_known(
    tmp_path, monkeypatch
):
    clock = [0.0]
    monkeypatch.setattr("xortune.driver.batches.time.monotonic", lambda: clock[0])
    space = budgeted(4, [4])
    with queue_in(tmp_path, space, Scripted(at(*[1.0] * 4)), window=4) as queue:
        one, two, three, four = (queue.next_job() for _ in range(4))
        queue.receive(one, dead(one.block), seconds=0.1, worker="w")  # waits to be tried again
        clock[0] = 5.0
        queue.receive(two, dead(two.block), seconds=0.1, worker="w")
        part = OutOfTime(solved(0, 3, 3))
        queue.receive(three, part, seconds=0.1, worker="w")
        assert queue.next_job() is None
        assert not queue.finished
        queue.receive(four, OutOfTime(), seconds=0.0, worker="")
        assert queue.next_job() is None
        assert queue.finished
        assert queue.left_undone
    [*tries, last] = read(tmp_path / "evaluations.jsonl")
    assert [line.final for line in tries] == [False, False]
    assert (last.proposal, last.block.first, last.block.count) == (2, 0, 3)


@pytest.mark.parametrize(
    ("ladder", "solved_first", "left"), [([4], 4, False), ([2, 4], 0, False), ([2, 4], 2, True)]
)
def test_a_budget_that_is_over_leaves_nothing_where_all_is_done(
    tmp_path, monkeypatch, ladder, solved_first, left
):
    clock = [0.0]
    monkeypatch.setattr("xortune.driver.batches.time.monotonic", lambda: clock[0])
    space = budgeted(1, ladder)
    with queue_in(tmp_path, space, Scripted(at(1.0)), window=4) as queue:
        job = queue.next_job()
        clock[0] = 5.0
        result = solved(0, solved_first, job.block.count)
        queue.receive(job, result, seconds=0.1, worker="w")
        assert queue.finished
        assert queue.left_undone == left


def test_what_a_worker_with_a_fast_clock_did_not_begin_waits_again(tmp_path):
    space = budgeted(1, [4])
    with queue_in(tmp_path, space, Scripted(at(1.0)), window=4) as queue:
        job = queue.next_job()
        queue.receive(job, OutOfTime(solved(0, 1, 1)), seconds=0.1, worker="w")
        assert not queue.finished
        again = queue.next_job()
        assert (again.block.first, again.block.count, again.attempt) == (1, 3, 1)
        queue.receive(again, by_rate(again.block), seconds=0.1, worker="w")
        assert queue.next_job() is None
        assert queue.finished
        assert not queue.left_undone
