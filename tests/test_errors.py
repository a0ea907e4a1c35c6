import copy
import pickle

import pytest

from xortune.core.errors import InputError, nearest


def test_a_message_has_the_place_the_problem_the_allowed_and_the_fix():
    error = InputError(
        "7 is out of range", field="lr", place="space.yaml:3: lr", allowed="below 1", fix="lower it"
    )
    assert str(error) == "space.yaml:3: lr: 7 is out of range; allowed: below 1; fix: lower it"


def test_parts_that_are_not_given_leave_no_trace():
    assert str(InputError("no seeds")) == "no seeds"
    assert str(InputError("is missing", field="lr")) == "lr: is missing"
    assert str(InputError("is missing", fix="add it")) == "is missing; fix: add it"


def test_at_tells_the_place_and_keeps_the_rest():
    first = InputError("is missing", field="lr", allowed="a number", fix="add it")
    moved = first.at("space.yaml:3")
    assert str(moved) == "space.yaml:3: is missing; allowed: a number; fix: add it"
    assert moved.field == "lr"
    assert first.place == "lr"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_input_error_survives_a_process_boundary(again):
    error = InputError("wrong", field="lr", place="f:1", allowed="right", fix="turn it round")
    twin = again(error)
    assert type(twin) is InputError
    assert vars(twin) == vars(error)
    assert str(twin) == str(error)


@pytest.mark.parametrize(
    ("typed", "meant"), [("adam", "Adam"), ("RMSProp", "RMSprop"), ("Addam", "Adam")]
)
def test_nearest_overlooks_case_and_small_slips(typed, meant):
    assert nearest(typed, ["SGD", "Adam", "RMSprop"]) == f"did you mean {meant!r}?"


def test_nearest_lists_all_when_nothing_is_close():
    assert nearest("zzzz", ["SGD", "Adam"]) == "use one of: Adam, SGD"
