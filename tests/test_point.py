import hashlib
import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.core.trainer import Block

NAMES = st.text(min_size=1, max_size=8)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
)
POINTS = st.dictionaries(NAMES, VALUES, max_size=6)


@given(POINTS)
def test_the_key_is_that_of_the_points_json(values):
    whole = {n: int(v) if type(v) is float and v.is_integer() else v for n, v in values.items()}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    assert Point(values).key == hashlib.sha256(text.encode()).hexdigest()[:16]


@given(POINTS, st.randoms(use_true_random=False))
def test_the_order_of_names_changes_neither_key_nor_equality_and_is_kept(values, random):
    names = list(values)
    random.shuffle(names)
    shuffled = Point({name: values[name] for name in names})
    assert shuffled.key == Point(values).key
    assert shuffled == Point(values)
    assert hash(shuffled) == hash(Point(values))
    assert list(shuffled) == names


@given(POINTS, st.integers(0, 99), st.integers(1, 99))
def test_pickle_keeps_key_order_and_values(values, first, count):
    point = Point(values)
    early = pickle.loads(pickle.dumps(point))  # before the key is cached, and after
    assert early.key == point.key
    assert pickle.loads(pickle.dumps(point)) == point
    assert list(early.items()) == list(point.items())
    block = Block(point, first, count)
    assert pickle.loads(pickle.dumps(block)) == block


def test_it_is_a_frozen_mapping_of_plain_numbers():
    point = Point({"a": np.int64(3), "b": np.float64(0.5), "c": np.float32(0.25)})
    assert (dict(point), len(point)) == ({"a": 3, "b": 0.5, "c": 0.25}, 3)
    assert repr(point) == "Point({'a': 3, 'b': 0.5, 'c': 0.25})"
    assert [type(value) for value in point.values()] == [int, float, float]
    with pytest.raises(TypeError):
        point["a"] = 0.2


INFINITE = (math.nan, -math.inf, np.float32("nan"))
NO_LISTS = ([math.nan], [object()], {1: 2}, [b"x"], ["x" * 20_000])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        *((number, "(nan|inf).* is not finite; allowed: a fin") for number in INFINITE),
        *((one, f"is a {type(one).__name__}; al") for one in (1j, b"x", {1}, np.ones(1))),
        *((one, "cannot be a value; allowed: a list or a mapping") for one in NO_LISTS),
    ],
)
def test_what_no_value_can_be_is_refused(value, problem):
    with pytest.raises(InputError, match=problem) as caught:
        Point({"lr": value})
    assert caught.value.field == "lr"


@pytest.mark.parametrize("name", ["", 1, None, True, ("a",)])
def test_a_name_that_is_no_string_is_refused(name):
    with pytest.raises(InputError, match="is not a parameter name; allowed: a non-empty string"):
        Point({name: 1})


NESTED = st.recursive(
    VALUES.filter(lambda one: not isinstance(one, int) or abs(one) < 2**53),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NESTED_POINTS = st.fixed_dictionaries(
    {"a": NESTED.filter(lambda one: isinstance(one, list | dict))}
)


@settings(max_examples=60)
@given(st.tuples(POINTS, POINTS) | st.tuples(NESTED_POINTS, NESTED_POINTS))
def test_points_are_kept_as_they_are_and_equal_if_their_numbers_are(two):
    one, other = two
    point, same = Point(one), _numbers(one) == _numbers(other)
    assert point.as_dict() == pickle.loads(pickle.dumps(point)).as_dict() == one
    assert (point == Point(other)) == (point.key == Point(other).key) == same
    hash(tuple(point.values()))


def _numbers(value):
    """As JSON compares: true is not 1, 1.0 is."""
    if isinstance(value, list):
        return [_numbers(one) for one in value]
    if isinstance(value, dict):
        return {name: _numbers(one) for name, one in value.items()}
    return (isinstance(value, bool), value)


def test_a_list_is_no_text_and_nobody_can_change_it():
    point = Point({"net": [64, {"b": 1.0, "a": (2, 3)}]})
    assert point.key == Point({"net": (64.0, {"a": [2, 3], "b": 1})}).key
    assert point.key != Point({"net": str(point["net"])}).key
    point.as_dict()["net"].append(1)
    assert point.as_dict()["net"] == [64, {"a": [2, 3], "b": 1.0}]
    text = '{"net":[64,{"a":[2,3],"b":1}]}'
    assert point.key == hashlib.sha256(text.encode()).hexdigest()[:16]
