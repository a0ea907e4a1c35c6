"""A search that was killed goes on as if it had not been; no seed is trained twice."""

from dataclasses import replace
from functools import cache, partial

import pytest
from fakes import Scripted, anywhere, at, by_rate, ranges, run, space_of, spent
from hand_made import solved
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.trainer import Block
from xortune.driver.propose import LEARNING, proposer_for
from xortune.racing.grants import raced
from xortune.runs.evaluation import Evaluation
from xortune.runs.sessions import differences
from xortune.spaces.grid import budget, grid
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
search: {sampler: cmaes, trials: 16}
seeds: {ladder: %s}
"""

LADDERS = {"one": (8,), "ladder": (8, 24, 80), "race": rungs_up_to(64)}


def asked(sampler, kind):
    if sampler == "grid":
        return parse_space(GRID % list(LADDERS[kind]))
    if sampler == "cmaes":  # it takes no choices and no conditions
        return parse_space(CMAES % list(LADDERS[kind]))
    return space_of(sampler, trials=16, ladder=LADDERS[kind])


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


# -------------------------------------------------------------------------------------------------
# A search that is extended: what was proposed stays, what comes next visits what is new.

BEFORE = """
name: fake
parameters:
  x: {{choice: [a, b]}}
  y: {{low: 0.1, high: 1.0, log: true}}
  z: {{low: 1, high: 5, when: {{x: [a]}}}}
  v: {{low: 0.0, high: 1.0, step: 0.1}}
  w: 7
search: {{sampler: {sampler}, trials: {trials}, seed: 3}}
seeds: {{ladder: {ladder}}}
"""
WIDER = [
    ("x: {choice: [a, b]}", "x: {choice: [a, c, b]}"),
    ("low: 0.1", "low: 0.001"),
    ("high: 5, when: {x: [a]}", "high: 9, when: {x: [a, c]}"),
    ("high: 1.0, step", "high: 1.5, step"),
    ("w: 7", "w: {choice: [7, 8]}"),
]
FOR_CMAES = [("  x: {choice: [a, b]}\n", ""), (", when: {x: [a]}", "")]


def extended(sampler, trials, changes=(), ladder=(10,)):
    text = BEFORE.format(sampler=sampler, trials=trials, ladder=list(ladder))
    changes = [*(FOR_CMAES if sampler == "cmaes" else []), *changes]
    for old, new in changes:
        if sampler != "cmaes" or old in text:
            assert old in text
            text = text.replace(old, new)
    if sampler == "cmaes":  # it takes no choices and no conditions
        text = text.replace("high: 5", "high: 9") if changes != FOR_CMAES else text
        text = text.replace("w: {choice: [7, 8]}", "w: 7")
    return parse_space(text)


def searched(folder, space, *, known=(), earlier=(), window=2, train=None, normal=None):
    """A search of its own: of a run's known evaluations, or from the beginning."""
    proposer = proposer_for(space, earlier, normal or (lambda point: point))
    window = window if space.search.sampler in LEARNING or raced(space) else None
    path = folder / f"{len(list(folder.iterdir()))}.jsonl"
    return run(path, space, proposer, known=known, window=window, workers=1, train=train)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsgaii", "cmaes"])
def test_proposals_after_an_extension_visit_what_is_new(sampler, tmp_path):
    old, new = extended(sampler, 15), extended(sampler, 45, WIDER)
    assert all(one.refusal is None for one in differences(old, new))
    first = searched(tmp_path, old)
    rest = searched(tmp_path, new, known=first.evaluations, earlier=[old])
    assert sorted(rest.proposed) == list(range(15, 45)), "nothing is trained twice"
    assert (rest.progress[-1].done, rest.progress[-1].fresh) == (45, 30)
    points = [block.point for block in rest.proposed.values()]
    assert any(point["y"] < 0.1 for point in points)
    if (
        sampler != "cmaes"
    ):  # it stays near what is good: how far it went, even the CPU's bits decide
        assert any(point["v"] > 1.0 for point in points)
        assert any(point["x"] == "c" for point in points)
        assert any(point["w"] == 8 for point in points)
        assert all(("z" in point) == (point["x"] in ("a", "c")) for point in points)
        assert any(point["z"] > 5 for point in points if "z" in point)
    assert len({point.key for point in points}) > 20


@pytest.mark.parametrize(
    ("sampler", "ladder"),
    [("random", (10,)), ("tpe", (4, 10)), ("nsgaii", (10,)), ("cmaes", (4, 10))],
)
def test_an_extended_search_that_is_killed_goes_on_as_if_it_had_not_been(sampler, ladder, tmp_path):
    old, new = extended(sampler, 8, (), ladder), extended(sampler, 24, WIDER, ladder)
    first = searched(tmp_path, old)
    rest = searched(tmp_path, new, known=first.evaluations, earlier=[old])
    for kept in (1, 5, 11):
        lines = [*first.evaluations, *rest.evaluations[:kept]]
        again = searched(tmp_path, new, known=lines, earlier=[old])
        blocks = {(e.proposal, e.block) for e in again.evaluations}
        assert blocks == {(e.proposal, e.block) for e in rest.evaluations[kept:]}


def test_what_is_told_of_the_first_space_still_counts(tmp_path):
    """TPE goes where the first space was good; had that been forgotten, it would go nowhere."""

    def good_where(name, job):
        block = job.block
        return solved(block.first, 10 if block.point["x"] == name else 0, block.count)

    def all_the_same(job):
        return solved(job.block.first, 5, job.block.count)

    old, new = extended("tpe", 30), extended("tpe", 60, WIDER)
    proposed = {}
    for name in "ab":
        (tmp_path / name).mkdir()
        first = searched(tmp_path / name, old, train=partial(good_where, name))
        rest = searched(
            tmp_path / name, new, known=first.evaluations, earlier=[old], train=all_the_same
        )
        proposed[name] = [block.point["x"] for block in rest.proposed.values()]
        assert "c" in proposed[name]
    assert proposed["a"].count("a") > proposed["b"].count("a") + 5
    assert proposed["b"].count("b") > proposed["a"].count("b") + 5


START = "start:\n  - {{x: b, y: 0.5, v: 0.3}}\n"
ADDED = (
    "  - {{x: b, y: 0.25, v: 0.4}}\n  - {{x: b, y: 0.5, v: 0.3}}\n  - {{x: b, y: 1.0, v: 0.0}}\n"
)


@pytest.mark.parametrize(("sampler", "lost"), [("random", ()), ("tpe", (2, 5))])
def test_what_is_added_to_start_comes_next_and_once(sampler, lost, tmp_path):
    def space(start, trials):
        text = BEFORE + start
        return parse_space(text.format(sampler=sampler, trials=trials, ladder=[10]))

    old, new = space(START, 8), space(START + ADDED, 14)
    first = searched(tmp_path, old)
    known = [e for e in first.evaluations if e.proposal not in lost]
    rest = searched(tmp_path, new, known=known, earlier=[old])
    numbers = [*lost, 8, 9][:2]
    # The second of those that were added was the first one already.
    assert [rest.proposed[n].point["y"] for n in numbers] == [0.25, 1.0]
    whole = [*known, *rest.evaluations]
    assert sorted(e.proposal for e in whole) == list(range(14))
    asked = [e.block.point for e in whole if e.block.point in new.start]
    assert len(asked) == 3
    for kept in (1, 2, 3):  # and so it stays
        lines = [*known, *rest.evaluations[:kept]]
        again = searched(tmp_path, new, known=lines, earlier=[old])
        assert {n: b.point for n, b in again.proposed.items()} == {
            e.proposal: e.block.point for e in rest.evaluations[kept:]
        }


SMALL_GRID = """
name: g
parameters:
  x: {choice: [a, b]}
  z: {low: 1, high: 3, when: {x: [a]}}
  v: {low: 0.5, high: 1.0, step: 0.25}
search: {sampler: grid}
seeds: {ladder: [4]}
start: [{x: b, v: 1.0}]
"""
LARGER = SMALL_GRID.replace("[a, b]", "[c, b, a]").replace("low: 1, high: 3", "low: 0, high: 4")
LARGER = LARGER.replace("low: 0.5", "low: 0.0")
LARGEST = LARGER.replace("1.0}]", "1.0}, {x: c, v: 0.0}]").replace("high: 4", "high: 6")


def test_a_grid_that_grows_keeps_its_numbers_and_misses_nothing(tmp_path):
    spaces = [parse_space(text) for text in (SMALL_GRID, LARGER, LARGEST)]
    known, before = [], []
    for index, space in enumerate(spaces):
        session = searched(tmp_path, space, known=known, earlier=spaces[:index])
        assert sorted(session.proposed) == list(range(len(before), budget(space)))
        known = [*known, *session.evaluations]
        before = sorted(known, key=lambda e: e.proposal)
        found = [e.block.point for e in before]
        assert len(set(found)) == len(found) == budget(space)
        assert set(found) == {*grid(space), *space.start}


@given(st.sets(st.integers(0, 11)), st.data())
def test_a_grid_that_grows_fills_what_a_kill_left_open(lost, data):
    old, new = parse_space(SMALL_GRID), parse_space(LARGER)
    first = proposer_for(old)
    whole = [first.propose(number) for number in range(budget(old))]
    lost = {number for number in lost if number < len(whole)}
    proposer = proposer_for(new, [old])
    found = []
    for number in range(budget(new)):
        if number < len(whole) and number not in lost:
            proposer.replay(number, whole[number])
            found.append(whole[number])
        else:
            found.append(proposer.propose(number))
    assert found[: len(whole)] == whole
    assert {p.key for p in found} == {p.key for p in grid(new)}
    assert proposer.propose(budget(new)) is None
