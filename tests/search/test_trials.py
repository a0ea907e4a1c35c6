"""`trials` counts complete proposals: at every moment those that the sampler was told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import Scripted, anywhere, space_of
from hand_made import CONFIG, RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.point import Point
from xortune.run_proposals import completed, part_of
from xortune.space import rungs_up_to

RUNGS = rungs_up_to(32)


def failing_at(first):
    """A point whose seeds all solve but the one that it names."""
    return Point({"x": "c", "y": first / 100})


def train(job):
    bad = round(100 * job.block.point["y"])
    rows = [WRONG if seed == bad else RIGHT for seed in job.block.seeds]
    return outcome(job.block.first, rows)


def trials(evaluations, ladder):
    found = {}
    for evaluation in evaluations:
        if evaluation.final:
            found.setdefault(evaluation.block.point.key, []).append(evaluation)
    return sum(
        completed([part_of(block, "") for block in blocks], ladder) for blocks in found.values()
    )


@pytest.mark.parametrize("ladder", [RUNGS, (4, 8, 16), (3, 20), (8,), (2, 3)])
@given(
    fails=st.lists(st.integers(0, 40), min_size=1, max_size=10),
    window=st.integers(1, 4),
    workers=st.integers(1, 4),
)
@example(fails=[40, 1, 40, 3, 5, 40], window=1, workers=1)
@settings(max_examples=25)
def test_complete_are_those_that_the_sampler_was_told(ladder, fails, window, workers):
    chosen = [failing_at(first) for first in fails]  # equal ones are one config, proposed again
    proposer = Scripted(chosen)
    moments = []

    def note(queue, under_way):
        told = sum(event[0] == "learn" for event in proposer.events)
        moments.append(told)

    session = anywhere(
        space=space_of(trials=len(chosen), ladder=ladder),
        proposer=proposer,
        window=window,
        workers=workers,
        train=train,
        on_turn=note,
    )
    assert trials(session.evaluations, ladder) == len(chosen)
    assert sum(event[0] == "learn" for event in proposer.events) == len(chosen)
    for turn, told in enumerate(moments):  # a block a turn
        counted = trials(session.evaluations[:turn], ladder)
        assert told <= counted
        if window == workers == 1:  # with more some results wait for their turn to be taken in
            assert told == counted
        assert counted <= len({e.proposal for e in session.evaluations[:turn]})


def line(first, k, n, proposal=0):
    return done(proposal, CONFIG, solved(first, k, n))


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([line(0, 2, 2)], 0),  # none has failed: it goes on to 4
        ([line(0, 1, 2)], 1),  # ruled out
        ([line(0, 2, 2), line(2, 2, 2)], 0),
        ([line(0, 2, 2), line(2, 1, 2)], 1),
        ([line(0, 2, 2), line(2, 2, 2), line(4, 4, 4)], 1),
        ([line(4, 4, 4), line(0, 2, 2), line(2, 2, 2)], 1),  # in any order of the journal
        ([line(0, 2, 2), line(2, 1, 2, proposal=1)], 1),  # the first still has seeds to come
        ([line(0, 8, 8), line(8, 8, 8, proposal=4)], 2),
        ([failed(0, CONFIG, 0, 2)], 1),  # crashed seeds are failures
    ],
)
def test_half_of_the_first_seeds_is_no_trial(tmp_path, lines, count):
    run = write_run(tmp_path / "run", lines, ladder=list(RUNGS))
    assert [result.trials for result in run.results] == [count]
    assert run.table["trials"].tolist() == [count]


def test_without_a_race_a_block_is_a_trial(tmp_path):
    lines = [line(0, 2, 2), line(2, 2, 2, proposal=3)]
    assert write_run(tmp_path / "one", lines, ladder=[2]).results[0].trials == 2
    assert write_run(tmp_path / "none", lines).results[0].trials == 2


@pytest.mark.parametrize(
    ("blocks", "count"),
    [
        # Of the first version 4, of the second 4: the first ones count, and none has failed.
        ([(0, 2, 2, "A"), (2, 2, 2, "A"), (4, 4, 4, "B")], 0),
        ([(0, 2, 2, "A"), (2, 2, 2, "A"), (4, 4, 4, "B"), (8, 4, 4, "B")], 1),
        ([(8, 4, 4, "B"), (4, 4, 4, "B"), (2, 2, 2, "A"), (0, 2, 2, "A")], 1),
        # Ruled out by the second one's, which are more.
        ([(0, 2, 2, "A"), (2, 1, 2, "B")], 0),
        ([(0, 2, 2, "A"), (2, 1, 4, "B")], 1),
    ],
)
def test_a_proposal_is_judged_by_seeds_of_one_version(tmp_path, blocks, count):
    made = {"A": "11111111", "B": "22222222"}
    lines = [replace(line(first, k, n), made=made[by]) for first, k, n, by in blocks]
    session = {"number": 1, "made": made["A"]}
    run = write_run(tmp_path / "run", lines, ladder=list(RUNGS), sessions=[session])
    [result] = run.results
    assert result.trials == count
    assert result.outcome.n + sum(e.block.count for e in run.set_aside) == sum(b[2] for b in blocks)
