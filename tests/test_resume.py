"""What a resumed search may be: the words of each difference, and what an extension may bring."""

import copy
import dataclasses
import re

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.runs.sessions import changes_brought, differences
from xortune.spaces.grid import grid
from xortune.spaces.space import parse_space, start_point
from xortune.spaces.yaml_reader import inline_yaml, read_yaml

BASE = {
    "name": "base",
    "epochs": 50,
    "parameters": {
        "activation": {"choice": ["Tanh", "ReLU"]},
        "loss": "MSELoss",
        "optimizer": {"choice": ["SGD", "Adam"]},
        "lr": {"low": 0.01, "high": 0.1, "log": True},
        "momentum": {"low": 0.0, "high": 0.9, "step": 0.3, "when": {"optimizer": ["SGD"]}},
        "hidden_dim": {"low": 3, "high": 5},
    },
    "search": {"sampler": "random", "trials": 10, "seed": 4},
    "seeds": {"ladder": [4, 8], "finalists": 8, "certify": 100},
}
SECOND = {"activation": "ReLU", "optimizer": "Adam", "lr": 0.05, "hidden_dim": 4}
FIRST = SECOND | {"activation": "Tanh", "optimizer": "SGD", "momentum": 0.3}
BASE["start"] = [FIRST]
FULL = [FIRST | {"loss": "MSELoss", "epochs": 50}]


def space_of(changes=()):
    """The base with some entries replaced, by their dotted names; None takes one out."""
    values = copy.deepcopy(BASE)
    for name, value in dict(changes).items():
        *way, last = name.split(".")
        inner = values["parameters"] if name.split(".")[0] in BASE["parameters"] else values
        for step in way:
            inner = inner[step]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    return parse_space(yaml.safe_dump(values, sort_keys=False))


def told(changes, **more):
    return [str(one) for one in differences(space_of(), space_of(changes), **more)]


def brought(changes, *, extend):
    return changes_brought(space_of(), space_of(changes), task=None, place="r", extend=extend)


LOSSES, LONG = {"choice": ["MSELoss", "L1Loss"]}, {"low": 50, "high": 80}
RMSPROP = {"optimizer": ["SGD", "RMSprop"]}
ALLOWED = [
    ({"search.trials": 20}, "search.trials: 10 -> 20"),
    ({"lr.high": 1.0}, "lr.high: 0.1 -> 1.0"),
    ({"lr.low": 0.001}, "lr.low: 0.01 -> 0.001"),
    ({"hidden_dim.high": 9}, "hidden_dim.high: 5 -> 9"),
    ({"momentum.high": 1.5}, "momentum.high: 0.9 -> 1.5"),
    ({"activation.choice": ["ELU", "Tanh", "ReLU"]}, "[Tanh, ReLU] -> [ELU, Tanh, ReLU]"),
    ({"loss": LOSSES, "start": FULL}, "loss: MSELoss -> {choice: [MSELoss, L1Loss]}"),
    ({"epochs": None, "parameters.epochs": LONG, "start": FULL}, "50 -> {low: 50, high: 80}"),
    ({"seeds.certify": 200}, "seeds.certify: 100 -> 200"),
    (
        {"start": [*BASE["start"], SECOND]},
        "start[1]: (none) -> {activation: ReLU, loss: MSELoss, optimizer: Adam, lr: 0.05, "
        "hidden_dim: 4, epochs: 50}",
    ),
    (
        {"optimizer.choice": ["SGD", "Adam", "RMSprop"], "momentum.when": RMSPROP},
        "momentum.when: {optimizer: [SGD]} -> {optimizer: [SGD, RMSprop]}",
    ),
]
ONLY = {"activation": ["Tanh"]}
REFUSED = [
    ({"task": "parity-3"}, "task: xor -> parity-3", "another task"),
    ({"search.sampler": "tpe"}, "search.sampler: random -> tpe", "not repeat the proposals"),
    ({"search.seed": 5}, "search.seed: 4 -> 5", "not repeat the proposals"),
    (
        {"search.as_they_come": True},
        "search.as_they_come: false -> true",
        "not repeat the proposals",
    ),
    ({"search.trials": 9}, "search.trials: 10 -> 9", "fewer than the run asks for"),
    ({"seeds.ladder": [4, 16]}, "seeds.ladder: [4, 8] -> [4, 16]", "counts"),
    ({"seeds.finalists": 3}, "seeds.finalists: 8 -> 3", "counts"),
    ({"seeds.certify": 50}, "seeds.certify: 100 -> 50", "fewer"),
    ({"seeds.certify": None}, "seeds.certify: 100 -> (none)", "fewer"),
    ({"stop": {"proven_rate": 0.9}}, "stop.proven_rate: null -> 0.9", "counts"),
    ({"objectives": ["success_rate", "hidden_dim"]}, "objectives: [{", "not repeat the proposals"),
    ({"epochs": 60}, "epochs: 50 -> 60", "without [50], which is in the run"),
    ({"lr.high": 0.05, "start": None}, "lr.high: 0.1 -> 0.05", "narrower"),
    ({"lr.low": 0.02}, "lr.low: 0.01 -> 0.02", "narrower"),
    ({"lr.log": None}, "lr.log: true -> (none)", "scale"),
    ({"lr": 0.05}, "lr: {low: 0.01, high: 0.1, log: true} -> 0.05", "range"),
    ({"lr": {"choice": [0.05]}}, "-> {choice: [0.05]}", "range"),
    ({"hidden_dim": {"low": 3.0, "high": 5.0}}, "high: 5 -> 5.0", "whole"),
    ({"momentum.step": 0.1}, "momentum.step: 0.3 -> 0.1", "another step"),
    (
        {"momentum.low": -0.1, "momentum.high": 1.1, "start": None},
        "momentum.low: 0.0 -> -0.1",
        "steps from -0.1 do not meet 0.0",
    ),
    ({"activation.choice": ["Tanh"]}, "choice: [Tanh, ReLU] -> [Tanh]", "without [ReLU]"),
    ({"activation": "Tanh"}, "activation: {choice: ", "without [ReLU]"),
    ({"loss": "L1Loss"}, "loss: MSELoss -> L1Loss", "without [MSELoss]"),
    ({"parameters.zero_grad": False}, "parameters.zero_grad: (none) -> false", "no configuration"),
    ({"momentum": None, "start": None}, "momentum: {low: 0.0", "configurations so far"),
    ({"momentum.when": None}, "momentum.when: {optimizer: [SGD]} -> (none)", "condition that was"),
    (
        {"hidden_dim.when": ONLY},
        "when: (none) -> {activation: [Tanh]}",
        "by the condition that was",
    ),
    ({"start": [SECOND]}, "start[0]: {activation: Tanh", "after those of the run"),
    ({"start": None}, "start[0]: {activation: Tanh", "after those of the run"),
]


@pytest.mark.parametrize(("changes", "line"), ALLOWED)
def test_an_extension_may_add(changes, line):
    assert any(line in one for one in told(changes))
    assert [str(one) for one in brought(changes, extend=True)] == told(changes)
    if "search.trials" not in changes:  # which needs no word
        with pytest.raises(InputError, match=rf"{re.escape(line)}(.|\n)*add extend=True"):
            brought(changes, extend=False)


def test_no_setting_changes_unnoticed():
    """A key that is new to the space file is compared unless it says that it changes no result."""
    missed = set()
    for race in (None, {"max": 16}):
        space = space_of({"seeds": {"race": race} if race else {"ladder": [2, 4]}})
        sections = [space.search, space.seeds, space.stop, *filter(None, [space.seeds.race])]
        for section in sections:
            for field in dataclasses.fields(section):
                changed = copy.deepcopy(space)
                mine = [changed.search, changed.seeds, changed.stop, changed.seeds.race]
                (of,) = (one for one in mine if type(one) is type(section))
                if field.name != "race":  # its own keys
                    object.__setattr__(of, field.name, 987)
                    if not any(
                        one.name.endswith(field.name) for one in differences(space, changed)
                    ):
                        missed.add((field.name, race is not None))
    # A time changes no result; the ladder is made of the race.
    assert missed == {("time_budget", False), ("time_budget", True), ("ladder", True)}


def test_a_race_that_goes_further_is_said_by_the_key_that_was_written():
    old, new = (space_of({"seeds": {"race": {"max": most}}}) for most in (16, 32))
    assert [(one.name, one.before, one.after) for one in differences(old, new)] == [
        ("seeds.race.max", "16", "32")
    ]


@pytest.mark.parametrize(("changes", "line", "why"), REFUSED)
def test_an_extension_may_not_take_away(changes, line, why):
    with pytest.raises(InputError) as caught:
        brought(changes, extend=True)
    (shown,) = [one for one in str(caught.value).splitlines() if line in one]
    assert why in shown
    if "search.trials" not in changes:
        with pytest.raises(InputError, match=re.escape(line)) as caught:
            brought(changes, extend=False)
        assert "extend=" not in str(caught.value)


def test_a_run_with_more_trials_than_the_file_is_extended_with_its_own():
    with pytest.raises(InputError, match=r"add extend=True, .*, and trials=10, which the run has"):
        brought({"search.trials": 9, "lr.high": 1.0}, extend=False)


@pytest.mark.parametrize(
    "changes",
    [
        *({"name": "other"}, {"search.time_budget": "10m"}),
        *({"parameters.loss": {"value": "MSELoss"}}, {"epochs": None, "parameters.epochs": 50}),
        *({"stop": {"proven_rate": None}}, {"parameters.hidden_dim.log": False}),
    ],
)
def test_what_means_the_same_is_no_difference(changes):
    assert told(changes) == []


def test_true_is_another_choice_than_one():
    text = "name: b\nparameters: {a: {choice: [VALUES]}}\nsearch: {sampler: grid}\n"
    old, new = (parse_space(text.replace("VALUES", v)) for v in ("1, 2", "true, 2"))
    (one,) = differences(old, new)
    told = ("parameters.a.choice: [1, 2] -> [true, 2]", "without [1], which is in the run")
    assert (str(one), one.refusal) == told
    assert list(differences(old, parse_space(text.replace("VALUES", "1.0, 2")))) == []


def test_another_order_changes_what_is_drawn():
    old = space_of()
    values = {**BASE, "parameters": dict(reversed(BASE["parameters"].items()))}
    new = parse_space(yaml.safe_dump(values, sort_keys=False))
    (one,) = differences(old, new)
    assert (one.name, one.free) == ("parameters (their order)", False)


def test_a_task_is_known_by_its_rows():
    space = space_of()
    same = ("xor", space.task.fingerprint)
    assert told({}, task=same) == []
    (line,) = told({}, task=("xor", "0123456789abcdef"))
    assert line == f"task: xor (01234567) -> xor ({space.task.fingerprint[:8]})"


NUMBERS = st.integers(-(2**50), 2**50) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
NAMES = st.text("abc_", min_size=1, max_size=3)


@given(
    st.recursive(
        st.none() | st.booleans() | NUMBERS | TEXTS,
        lambda one: st.lists(one, max_size=3) | st.dictionaries(NAMES, one, max_size=3),
        max_leaves=6,
    )
)
def test_words_are_those_of_a_space_file(value):
    assert read_yaml(f"x: {inline_yaml(value)}", "x").values == {"x": value}


VALUES = ["a", "b", 1, 2, True, None]


@st.composite
def parameters(draw):
    """A choice, a range and a fixed value of each kind, two of them with conditions."""
    choice = st.lists(st.sampled_from(VALUES), min_size=1, max_size=3, unique_by=repr).filter(
        lambda values: not (1 in values and any(value is True for value in values))
    )
    p = draw(choice)
    low = draw(st.integers(0, 2)) * 2
    halves = {"low": low / 2, "high": low / 2 + 1, "step": 0.5}
    wholes = {"low": low, "high": low + 4}, {"low": low, "high": low + 6, "step": 2}
    form = {
        "p": draw(st.sampled_from([{"choice": p}, p[0]])),
        "m": draw(st.sampled_from([*wholes, halves, low])),
        "q": {"choice": draw(choice)},
        "r": {"low": 0, "high": draw(st.integers(0, 2))},
    }
    for name, parent in (("q", "p"), ("r", "p"), ("r", "q")):
        known = form[parent]
        if isinstance(form[name], dict) and draw(st.booleans()):
            values = known["choice"] if isinstance(known, dict) else [known]
            some = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique_by=repr))
            form[name].setdefault("when", {})[parent] = some
    return form


def grid_space(form):
    text = {"name": "g", "parameters": form, "search": {"sampler": "grid"}}
    return parse_space(yaml.safe_dump(text, sort_keys=False))


@given(parameters(), parameters(), st.sets(st.sampled_from("pmqr")))
@settings(max_examples=100)
def test_what_may_be_extended_holds_every_configuration_that_was(one, other, kept):
    old = grid_space(one)
    try:
        new = grid_space({name: (one if name in kept else other)[name] for name in one})
    except InputError:  # a condition on what is no value of its parent any more
        return
    refused = [str(d) for d in differences(old, new) if d.refusal is not None]
    lost = [point for point in grid(old) if not _holds(new, point)]
    assert bool(lost) <= bool(refused)
    event("refused" if refused else "lost nothing")


def _holds(space, point):
    try:
        return start_point(space, 0, point.as_dict()) == point
    except InputError:
        return False
