"""A search that was killed goes on as if it had not been; no seed is trained twice."""

from dataclasses import replace
from functools import cache

import pytest
from fakes import Scripted, anywhere, at, by_rate, ranges, space_of, spent
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.trainer import Block
from xortune.driver.propose import proposer_for
from xortune.runs.evaluation import Evaluation
from xortune.spaces.model import rungs_up_to
from xortune.spaces.space import parse_space

GRID = """
name: fake
parameters: {x: {choice: [a, b]}, y: {low: 0.0, high: 1.0, step: 0.25}, v: 0.0}
search: {sampler: grid}
seeds: {ladder: %s}
start: [{x: b, y: 0.5}]
"""

CMAES = """
name: fake
parameters: {y: {low: 0.0, high: 1.0}, v: {low: -3.0, high: 2.0}}
search: %s
seeds: {ladder: %s}
"""

LADDERS = {"one": (8,), "ladder": (8, 24, 80), "race": rungs_up_to(64)}


def asked(sampler, kind, trials=16):
    if sampler == "grid":
        return parse_space(GRID % list(LADDERS[kind]))
    if sampler == "cmaes":  # it takes no choices and no conditions
        given = f"{{sampler: cmaes, trials: {trials}}}"
        return parse_space(CMAES % (given, list(LADDERS[kind])))
    return space_of(sampler, trials=trials, ladder=LADDERS[kind])


@cache
def whole(sampler, kind, window):
    space = asked(sampler, kind)
    # Several are under way and come back in another order, so that a cut leaves holes.
    return anywhere(
        space=space,
        proposer=proposer_for(space),
        window=window,
        workers=4,
        pick=lambda n: n - 1 if n % 2 else 0,
    )


def assert_once(evaluations):
    for blocks in ranges(evaluations).values():
        end = 0
        for _, first, count in blocks:
            assert first >= end, "trained twice"
            end = first + count


@pytest.mark.parametrize("window", [1, 7])
@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("sampler", ["random", "grid", "tpe", "nsgaii", "cmaes"])
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_a_killed_search_goes_on_as_if_it_had_not_been(sampler, kind, window, data):
    before = whole(sampler, kind, window)
    lines = before.evaluations
    known = lines[: data.draw(st.integers(0, len(lines)), label="lines")]
    if data.draw(st.booleans(), label="holes"):
        torn = data.draw(st.sets(st.integers(0, max(0, len(known) - 1)), max_size=5))
        known = [e for i, e in enumerate(known) if i not in torn]
    space = asked(sampler, kind)
    after = anywhere(
        space=space,
        proposer=proposer_for(space),
        window=window,
        known=known,
        workers=data.draw(st.integers(1, 5)),
        pick=lambda n: data.draw(st.integers(0, n - 1)),
    )
    assert ranges([*known, *after.evaluations]) == ranges(lines)
    assert len(known) + len(after.evaluations) == len(lines)
    if after.progress:
        last = after.progress[-1]
        assert last.done == last.total == before.progress[-1].done
        assert last.best == before.progress[-1].best
        assert last.fresh <= last.done


@pytest.mark.parametrize("kind", LADDERS)
@pytest.mark.parametrize("sampler", ["tpe"])
def test_more_trials_go_on_from_what_is_there(sampler, kind):
    short, long = asked(sampler, kind, 9), asked(sampler, kind, 16)
    first = anywhere(space=short, proposer=proposer_for(short), window=3)
    rest = anywhere(space=long, proposer=proposer_for(long), window=3, known=first.evaluations)
    both = [*first.evaluations, *rest.evaluations]
    assert_once(both)
    assert {e.proposal for e in both} >= set(range(16))
    assert {e.proposal for e in rest.evaluations if e.block.first == 0} == set(range(9, 16))
    assert rest.progress[-1].done == 16
    assert rest.progress[-1].fresh == 7


def test_parts_of_a_block_are_taken_in_and_only_the_rest_is_trained():
    # A climb that was shared out over workers, of which one had not finished.
    [point] = at(1.0)

    def line(first, count):
        return Evaluation(
            0, Block(point, first, count), by_rate(Block(point, first, count)), None, True, 0.1, "w"
        )

    known = [line(0, 8), line(13, 4), line(20, 4), line(50, 30)]
    space = space_of(trials=1, ladder=(8, 24, 80))
    rest = anywhere(space=space, proposer=Scripted([point]), known=known, window=3)
    assert [(e.block.first, e.block.count) for e in rest.evaluations] == [
        (8, 5),
        (17, 3),
        (24, 26),
    ]


def test_crashed_seeds_are_remembered():
    [point] = at(1.0)
    crashed = Evaluation(0, Block(point, 0, 2), None, "died", True, 0.1, "w")
    space = space_of(trials=1, ladder=rungs_up_to(64))
    rest = anywhere(space=space, proposer=Scripted([point]), known=[crashed], window=1)
    assert not rest.evaluations
    again = replace(crashed, final=False)
    rest = anywhere(space=space, proposer=Scripted([point]), known=[again], window=1)
    assert spent(rest.evaluations)[point.key] == 64
