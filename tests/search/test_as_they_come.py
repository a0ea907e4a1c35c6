"""Results taken as they come: nobody waits, and the seeds of a config stay in their order."""

from dataclasses import replace

import pytest
from fakes import Scripted, anywhere, at, by_rate, queue_in, ranges, space_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.spaces.model import rungs_up_to

RUNGS = rungs_up_to(64, 1)


def hasty(trials, **more):
    space = space_of(trials=trials, ladder=RUNGS, **more)
    return replace(space, search=replace(space.search, as_they_come=True))


@pytest.mark.parametrize("as_they_come", [True, False])
def test_nobody_waits_for_a_straggler(tmp_path, as_they_come):
    space = hasty(30)
    space = replace(space, search=replace(space.search, as_they_come=as_they_come))
    with queue_in(tmp_path, space, Scripted(at(*[0.1] * 30)), window=2) as queue:
        queue.next_job()  # never comes back
        trained = 0
        while trained < 20 and (job := queue.next_job()) is not None:
            queue.receive(job, by_rate(job.block), seconds=0.1, worker="")
            trained += 1
        assert trained == (20 if as_they_come else 1)


@given(
    data=st.data(),
    rates=st.lists(st.sampled_from([0.0, 0.3, 0.8, 1.0]), min_size=1, max_size=8),
    window=st.integers(1, 6),
)
@settings(max_examples=10, deadline=None)
def test_all_is_trained_in_order_and_a_resumed_search_goes_on(data, rates, window):
    points = at(*rates) * 2  # each is proposed again, perhaps while it is under way
    given = {"space": hasty(len(points)), "proposer": Scripted(points), "window": window}
    session = anywhere(workers=4, pick=lambda n: data.draw(st.integers(0, n - 1)), **given)
    for blocks in ranges(session.evaluations).values():
        ends = [0, *(first + count for _, first, count in blocks)]
        assert [first for _, first, _ in blocks] == ends[:-1]
    assert session.progress[-1].done == len(points)
    cut = data.draw(st.integers(0, len(session.evaluations)))
    given["proposer"] = Scripted(points)
    rest = anywhere(workers=1, known=session.evaluations[:cut], **given)
    both = spent([*session.evaluations[:cut], *rest.evaluations])
    for blocks in ranges([*session.evaluations[:cut], *rest.evaluations]).values():
        seeds = [seed for _, first, count in blocks for seed in range(first, first + count)]
        assert len(seeds) == len(set(seeds)), "nothing is trained twice"
    assert set(both) == {point.key for point in points}


def test_a_search_says_that_its_seed_does_not_repeat_it_and_a_finished_one_is_done(tmp_path):
    asked = {
        "name": "hasty",
        "task": "xor",
        "epochs": 20,
        "parameters": {
            "activation": "Tanh",
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": {"low": 0.01, "high": 0.5, "log": True},
            "hidden_dim": 4,
        },
        "search": {"sampler": "random", "trials": 6, "as_they_come": True},
        "seeds": {"race": {"max": 8}},
    }
    words: list[str] = []
    run = xt.search(asked, output=tmp_path / "run", on_word=words.append)
    assert any("as they come" in word and "seed" in word for word in words)
    assert run.manifest["as_they_come"] is True
    assert run.manifest["window_least"] == 1, "trainings of milliseconds leave nothing unseen"
    lines = len(run.evaluations)
    again = xt.search(asked, output=tmp_path / "run", resume=True)
    assert len(again.evaluations) == lines
