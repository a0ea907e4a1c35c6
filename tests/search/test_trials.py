"""`trials` counts proposals that have results: at the end all that the sampler was told."""

import pytest
from fakes import Scripted, anywhere, space_of
from hand_made import CONFIG, RIGHT, WRONG, done, failed, outcome, solved, write_run
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core.point import Point
from xortune.spaces.model import rungs_up_to

RUNGS = rungs_up_to(32)


def failing_at(first):
    """A point whose seeds all solve but the one that it names."""
    return Point({"x": "c", "y": first / 100})


def train(job):
    bad = round(100 * job.block.point["y"])
    rows = [WRONG if seed == bad else RIGHT for seed in job.block.seeds]
    return outcome(job.block.first, rows)


def trials(evaluations):
    return len({e.proposal for e in evaluations if e.final})


@pytest.mark.parametrize("ladder", [RUNGS, (4, 8, 16), (3, 20), (8,), (2, 3)])
@given(
    fails=st.lists(st.integers(0, 40), min_size=1, max_size=10),
    window=st.integers(1, 4),
    workers=st.integers(1, 4),
)
@example(fails=[40, 1, 40, 3, 5, 40], window=1, workers=1)
@settings(max_examples=25)
def test_what_progress_tells_is_what_the_journal_has(ladder, fails, window, workers):
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
    assert session.progress[-1].done == trials(session.evaluations) == len(chosen)
    assert sum(event[0] == "learn" for event in proposer.events) == len(chosen)
    for turn, told in enumerate(moments):  # a block a turn
        assert told <= trials(session.evaluations[:turn])


def line(first, k, n, proposal=0):
    return done(proposal, CONFIG, solved(first, k, n))


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([line(0, 2, 2)], 1),  # though none has failed, and it would go on to 4
        ([line(0, 2, 2), line(2, 2, 2)], 1),
        ([line(0, 2, 2), line(2, 1, 2, proposal=1)], 2),
        ([line(0, 8, 8), line(8, 8, 8, proposal=4)], 2),
        ([failed(0, CONFIG, 0, 2)], 1),
    ],
)
@pytest.mark.parametrize("ladder", [list(RUNGS), [2], None])
def test_a_proposal_with_results_is_a_trial(tmp_path, lines, count, ladder):
    noted = {} if ladder is None else {"ladder": ladder}
    run = write_run(tmp_path / "run", lines, **noted)
    assert [result.trials for result in run.results] == [count]
    assert run.table["trials"].tolist() == [count]
