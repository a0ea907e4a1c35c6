"""The queue of blocks: whatever the workers' speed, the search is the same."""

import pytest
from fakes import Plain, Queue, Scripted, anywhere, dead, points, run, space_of, trained
from hypothesis import given
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.driver.decisions import WIDENS, in_flight_at
from xortune.driver.propose import proposer_for
from xortune.runs.journal import Journal
from xortune.spaces.space import parse_space


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "evaluations.jsonl"


def dies_at(*tries):
    """The listed (proposal, attempt) produce nothing."""
    return lambda job: (
        dead(job.block) if (job.proposal, job.attempt) in tries else trained(job.block)
    )


def test_a_point_proposed_again_gets_its_next_seeds_and_its_pooled_rate_is_told(journal):
    proposer = Scripted(points(7, 3))
    session = run(journal, space_of(trials=7), proposer, window=1)
    spans = {number: (b.first, b.count) for number, b in session.proposed.items()}
    assert spans == {
        **dict.fromkeys((0, 1, 2), (0, 10)),
        **dict.fromkeys((3, 4, 5), (10, 10)),
        6: (20, 10),
    }
    k = [trained(session.proposed[number]).successes for number in range(7)]
    assert len(set(k)) > 3, "the test tells nothing if all counts are equal"
    pooled = [k[0] / 10, k[1] / 10, k[2] / 10, *((k[i] + k[i + 3]) / 20 for i in range(3))]
    pooled.append((k[0] + k[3] + k[6]) / 30)
    told = [event[1:] for event in proposer.events if event[0] == "learn"]
    assert told == [(number, pytest.approx(rate)) for number, rate in enumerate(pooled)]


def test_a_block_without_outcome_three_times_counts_as_failures(journal):
    proposer = Scripted(points(4, 2))
    train = dies_at((0, 1), (0, 2), (0, 3))
    session = run(journal, space_of(trials=4), proposer, train=train, window=1, workers=1)
    tries = [(e.proposal, e.final) for e in session.evaluations]
    assert tries == [(0, False), (0, False), (0, True), (1, True), (2, True), (3, True)]
    assert [progress.failed for progress in session.progress] == [1, 1, 1, 1]
    assert [progress.done for progress in session.progress] == [1, 2, 3, 4]
    told = {event[1]: event[2] for event in proposer.events if event[0] == "learn"}
    assert told[0] == 0.0
    # The same point again: its ten crashed seeds are in the rate, and are not used again.
    again = session.proposed[2]
    assert (again.first, again.count) == (10, 10)
    assert told[2] == trained(again).successes / 20


def test_a_refused_proposal_is_the_users_to_see(journal):
    class Strict(Plain):
        def check(self, point):
            raise InputError(f"no such thing as {dict(point)}", field="x")

    with Journal.open(journal) as open_journal:
        queue = Queue(space_of(), Strict(), Scripted(points(12)), open_journal, window=None)
        with pytest.raises(InputError, match="no such thing"):
            queue.next_job()


def test_equal_trainings_share_their_seeds(journal):
    class Rounds(Plain):
        def check(self, point):
            return Point({"y": round(point["y"], 1)})

    proposed = [Point({"y": 0.11}), Point({"y": 0.12}), Point({"y": 0.2})]
    with Journal.open(journal) as open_journal:
        queue = Queue(space_of(trials=3), Rounds(), Scripted(proposed), open_journal, window=None)
        jobs = [queue.next_job() for _ in range(3)]
    assert [job.block.first for job in jobs] == [0, 10, 0]


@pytest.mark.parametrize("sampler", ["nsgaii", "cmaes"])
def test_a_sampler_that_takes_notes_finds_them_again(sampler):
    def train(job):
        return trained(job.block)

    space = parse_space(
        "name: fake\nparameters: {a: {low: 0.0, high: 1.0}, b: {low: -3.0, high: 2.0}}\n"
        f"search: {{sampler: {sampler}, trials: 60}}\nseeds: {{ladder: [4]}}\n"
    )
    before = anywhere(space=space, proposer=proposer_for(space), window=3, train=train)
    known = [e for e in before.evaluations if e.proposal < 35 and e.proposal != 20]
    after = anywhere(space=space, proposer=proposer_for(space), window=3, known=known, train=train)
    assert after.proposed == {n: b for n, b in before.proposed.items() if n == 20 or n >= 35}


# -------------------------------------------------------------------------------------------------
# What a search keeps of its configs, and how it draws them quickly.


@given(least=st.integers(1, 40), more=st.integers(0, 60), steps=st.integers(1, 400))
def test_a_window_widens_and_nothing_that_was_known_is_forgotten(least, more, steps):
    most = least + more
    widths = [in_flight_at(step, most, least) for step in range(steps)]
    assert widths == sorted(widths)
    assert all(least <= width <= most for width in widths)
    known = [step - width for step, width in enumerate(widths)]
    assert known == sorted(known)
    assert in_flight_at(0, most, least) == least
    assert in_flight_at(WIDENS * most, most, least) == most
    assert in_flight_at(0, most, None) == most
