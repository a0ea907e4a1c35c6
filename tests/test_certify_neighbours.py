"""The neighbours of finalists: where they lie."""

import pytest
from certified import Trainer
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.certificates.fresh import CertifyRequest
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.spaces.neighbours import neighbours
from xortune.spaces.space import parse_space

SPACE = """
name: near
parameters:
  kind: {choice: [a, b]}
  lr: {low: 0.001, high: 1.0, log: true}
  share: {low: 0.0, high: 2.0}
  units: {low: 2, high: 20}
  many: {low: 10, high: 1000, log: true}
  tenths: {low: 0.0, high: 1.0, step: 0.1}
  fours: {low: 4, high: 40, step: 4}
  extra: {low: 0.0, high: 1.0, when: {kind: [a]}}
  depth: {low: 1, high: 3}
  listed: {choice: [1, 2, 4]}
  fixed: 7
search: {sampler: random, trials: 1}
"""
VALUES = {"kind": "b", "lr": 0.1, "share": 1.0, "units": 10, "many": 100, "tenths": 0.2}
VALUES |= {"fours": 20, "depth": 1, "listed": 2, "fixed": 7}


def moved(fraction=0.2, **changes):
    values = {k: v for k, v in (VALUES | changes).items() if v is not None}
    found = neighbours(Point(values), parse_space(SPACE), fraction, Trainer().check)
    moves: dict[str, list] = {}
    for name, point in found:
        differing = [key for key in point if point[key] != values.get(key)]
        assert differing == [name]
        assert list(point) == list(values)
        moves.setdefault(name, []).append(point[name])
    return moves


def test_each_numeric_parameter_is_moved_as_stated():
    assert moved() == {
        "lr": [pytest.approx(0.1 / 1.2), pytest.approx(0.1 * 1.2)],
        "share": [pytest.approx(0.9), pytest.approx(1.1)],  # 5 % of 2
        "units": [9, 11],  # 5 % of 18 is 0.9: by 1
        "many": [83, 120],
        "tenths": [0.1, 0.3],  # by a step at least, and on the grid
        "fours": [16, 24],
        "depth": [2],  # 0 is outside
        "listed": [1, 4],  # the next ones of the list
    }


@pytest.mark.parametrize(
    ("fraction", "changes", "name", "moves"),
    [
        (1.0, {}, "lr", [0.05, 0.2]),
        (1.0, {}, "share", [0.5, 1.5]),
        (1.0, {}, "units", [6, 14]),  # a quarter of 18 is 4.5, rounded to even
        (1.0, {}, "tenths", [0.0, 0.4]),
        (0.2, {"many": 10}, "many", [12]),  # by 1 at least on a log scale too
        (0.001, {"many": 100}, "many", [99, 101]),
        (0.2, {"lr": 0.9}, "lr", [0.75, 1.0]),  # to the end of the range
        (0.2, {"share": 1.95}, "share", [1.85, 2.0]),
        (0.2, {"lr": 1.0}, "lr", [1 / 1.2]),
        (0.2, {"units": 2}, "units", [3]),
        (0.2, {"tenths": 1.0}, "tenths", [0.9]),
        (0.2, {}, "extra", None),  # which is not active
        (0.2, {"kind": "a", "extra": 0.5}, "extra", [0.45, 0.55]),
    ],
)
def test_how_far_a_parameter_is_moved(fraction, changes, name, moves):
    found = moved(fraction, **changes).get(name)
    assert found == (moves and pytest.approx(moves))
    assert not moves or {type(one) for one in found} == {type(one) for one in moves}


def test_points_are_brought_into_normal_form_and_equal_ones_are_one():
    class Coarse:
        def check(self, point):
            return Point({**point, "share": float(round(point["share"]))})

    found = neighbours(Point(VALUES), parse_space(SPACE), 0.2, Coarse().check)
    assert "share" not in {name for name, _ in found}
    assert len({point.key for _, point in found}) == len(found) == 13
    assert Point(VALUES).key not in {point.key for _, point in found}


def near(values, point, *, more=""):
    text = f"name: near\nparameters:\n  listed: {{choice: {values}}}\n{more}"
    space = parse_space(text + "search: {sampler: random, trials: 1}\n")
    found = neighbours(Point(point), space, 0.2, Trainer().check)
    return [(name, other.as_dict()) for name, other in found]


@pytest.mark.parametrize(
    ("values", "value", "moves"),
    [
        ("[0.3, 1.0, 0.1]", 0.3, [0.1, 1.0]),  # next in size, not in the file
        ("[0.3, 1.0, 0.1]", 0.1, [0.3]),
        ("[0.3, 1.0, 0.1]", 1.0, [0.3]),
        ("[16, 2.5, 64, 256]", 64, [16, 256]),
        ("[16, 2.5, 64, 256]", 64.0, [16, 256]),  # a normal form may turn one into the other
        ("[0.3]", 0.3, []),
        ("[true, false]", True, []),
        ("[1, 2, true]", 1, []),  # true is no number
        ("[1, 2, null]", 1, []),
        ("[1, 2, many]", 1, []),
        ('["1", "2"]', "1", []),
    ],
)
def test_a_list_of_numbers_is_moved_to_the_next_ones(values, value, moves):
    found = near(values, {"listed": value})
    assert found == [("listed", {"listed": moved}) for moved in moves]
    assert [type(point["listed"]) for _, point in found] == [type(moved) for moved in moves]


def test_a_move_that_turns_another_parameter_on_or_off_is_none():
    more = "  width: {low: 1, high: 9, when: {listed: [2, 3]}}\n"
    assert near("[1, 2, 3]", {"listed": 1}, more=more) == []
    found = near("[1, 2, 3]", {"listed": 2, "width": 4}, more=more)
    assert found == [
        ("listed", {"listed": 3, "width": 4}),
        ("width", {"listed": 2, "width": 3}),
        ("width", {"listed": 2, "width": 5}),
    ]


@settings(max_examples=30)
@given(st.floats(0.001, 1), st.integers(2, 20), st.integers(0, 10), st.floats(0.01, 3))
def test_all_neighbours_lie_in_the_space(lr, units, tenths, fraction):
    found = moved(fraction, lr=lr, units=units, tenths=tenths / 10)
    assert all(0.001 <= value <= 1 for value in found.get("lr", ()))
    assert all(2 <= value <= 20 for value in found["units"])
    assert all(value in [i / 10 for i in range(11)] for value in found["tenths"])


@pytest.mark.parametrize("fraction", [0, -0.2, float("inf"), float("nan")])
def test_a_fraction_that_moves_nothing_is_refused(fraction):
    with pytest.raises(InputError, match="neighbourhood"):
        CertifyRequest(top=1, seeds=10, neighbourhood=fraction)
