"""A space as a dict, as in a notebook: what its file would say, and it is kept as such."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.spaces.space import load_space, parse_space

SPACE = {
    "name": "notebook",
    "parameters": {
        "lr": {"low": 1e-05, "high": 1.0, "log": True},
        "größe": {"choice": ["on", "1", 'a "b"', None, True, 2.5]},
        "x": {"low": 0, "high": 3},
    },
    "search": {"sampler": "random", "trials": 2},
    "seeds": {"ladder": (4,)},
}


def test_it_is_searched_as_its_file_would_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = load_space(SPACE)
    assert space.parameters[0].low == 1e-05
    assert space.parameters[1].values == ("on", "1", 'a "b"', None, True, 2.5)
    assert parse_space(space.text).parameters == space.parameters
    assert load_space(SPACE | {"trainer": "./t.py:run"}).trainer == "./t.py:run"


@pytest.mark.parametrize(
    "value", [np.float32(0.5), float("nan"), float("inf"), {1, 2}, object(), lambda: 1]
)
def test_what_no_file_could_hold_is_refused(value):
    with pytest.raises(xt.InputError, match=r"cannot be written as a file.*NumPy scalar"):
        xt.search(SPACE | {"parameters": {"x": value}})


@pytest.mark.parametrize("space", [None, 5, ["a"], load_space])
def test_what_is_no_space_is_refused(space):
    with pytest.raises(xt.InputError, match=r"space: .*the path of a space file"):
        xt.search(space)


def distinct(value):
    """1 and 1.0 are the same to a sampler; true is not."""
    return (isinstance(value, bool), value)


@settings(max_examples=40)
@given(
    st.lists(
        st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.floats(-1e300, 1e300)
        | st.text("abü☃ \n\t\\\":#,[]{}&*!|>'%@`-~", max_size=8),
        min_size=1, max_size=4, unique_by=distinct,
    )
)  # fmt: skip
def test_values_come_back_as_they_were(values):
    given = {"name": "any", "parameters": {"v": {"choice": values}}, "search": {"trials": 1}}
    found = load_space(given).parameters[0].values
    assert [(type(v), v) for v in found] == [(type(v), v) for v in values]
