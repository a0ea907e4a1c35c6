"""Reading, overriding, enumerating, probing and describing a space; a space as a dict."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import xortune as xt
from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.reports.terminal import space_facts
from xortune.spaces.grid import grid, grid_size, probes
from xortune.spaces.model import Choice, Fixed, Range, SearchSettings, is_active
from xortune.spaces.space import (
    at_most,
    check_space,
    describe,
    load_space,
    parse_space,
    with_search,
)

TEXT = """\
# The space of these tests.
name: demo
epochs: 10
parameters:
  momentum: {low: 0.0, high: 0.9, when: {optimizer: [SGD]}}   # before its parent
  optimizer: {choice: [SGD, Adam]}
  lr: {low: 1e-4, high: 1, log: true}
  width: {low: 2, high: 8, step: 3}
search:
  sampler: tpe
  trials: 20   # some

# Seeds.
seeds: {ladder: [4, 16]}
start:
  - {optimizer: Adam, lr: 1, width: 5.0}
"""

FINITE = TEXT.replace("lr: {low: 1e-4, high: 1, log: true}", "lr: 1").replace(
    "0.9,", "0.9, step: 0.3,"
)

GRID = """\
name: g
parameters:
  optimizer: {choice: [SGD, Adam, RMSprop]}
  momentum: {low: 0.0, high: 0.3, step: 0.1, when: {optimizer: [SGD, RMSprop]}}
  nesterov: {choice: [true, false], when: {optimizer: SGD}}
  damp: {value: 3, when: {nesterov: true}}
  width: {low: 2, high: 4}
search: {sampler: grid}
"""


def test_a_space_holds_what_its_file_says():
    space = parse_space(TEXT, "demo.yaml")
    assert space.parameters == (
        Choice("optimizer", ("SGD", "Adam")),
        Range("momentum", 0.0, 0.9, when=(("optimizer", ("SGD",)),)),
        Range("lr", 1e-4, 1.0, log=True),
        Range("width", 2, 8, step=3),
        Fixed("epochs", 10),
    )
    assert space.search == SearchSettings("tpe", 20)
    assert (space.seeds.ladder, space.seeds.certify) == ((4, 16), None)
    assert space.start == (Point({"optimizer": "Adam", "lr": 1.0, "width": 5, "epochs": 10}),)
    assert space.lines["parameters", "lr"] == 7
    assert space.at("parameters", "lr") == "demo.yaml:7: parameters.lr"
    assert space.at("parameters", "gone") == "demo.yaml:4: parameters.gone"
    assert (space.task.name, space.text, space.place) == ("xor", TEXT, "demo.yaml")


def test_overrides_replace_settings_and_the_text_says_so():
    space = parse_space(TEXT, "demo.yaml")
    changed = with_search(space, trials=7, sampler="random", seed=3, time_budget="10m")
    assert changed.search == SearchSettings("random", 7, 3, 600.0)
    assert parse_space(changed.text) == changed
    assert changed.text.startswith("# The space of these tests.\n")
    assert "\n\n# Seeds.\nseeds: {ladder: [4, 16]}\n" in changed.text
    assert changed.at("seeds") == space.at("seeds")
    assert with_search(space) is space
    assert with_search(space, trials=20) is space


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nparameters: {x: 1}\nsearch: {trials: 1}",
        "search: {trials: 1}\nname: a\nparameters: {x: 1}\n",
        "{name: a, parameters: {x: '1e-4', y: \"\\u00e9\"}, search: {trials: 1}}",
        "  name: a\n  parameters: {x: 1.0e-10}\n  search:\n    trials: 1\n",
        "name: a\r\nsearch:\r\n  trials: 1\r\nparameters:\r\n  x: null\r\n",
        "---\nname: a\nparameters: {x: true}\nsearch: {trials: 1}\n...\n",
    ],
)
def test_overrides_fit_every_way_to_write_a_file(text):
    changed = with_search(parse_space(text), trials=9)
    assert changed.search.trials == 9
    assert parse_space(changed.text) == changed


@pytest.mark.parametrize(
    ("text", "overrides", "told"),
    [
        (GRID, {"trials": 5}, "5 trials with sampler grid.*a grid runs each of its points once"),
        (GRID, {"sampler": "tpe"}, "sampler tpe needs to know how many trials.*or give trials"),
        (TEXT, {"sampler": "grid"}, r"demo.yaml:5: parameters\.momentum.*a step or a choice"),
        (TEXT, {"trials": 0}, "trials: 0 is not allowed.*1 or more"),
        (FINITE, {"sampler": "grid"}, r"demo.yaml:11: search\.trials: 20 trials.*remove trials"),
    ],
)
def test_overrides_are_checked_against_the_space(text, overrides, told):
    with pytest.raises(InputError, match=told):
        with_search(parse_space(text, "demo.yaml"), **overrides)


def test_probes_hold_every_pair_that_conditions_allow():
    space = parse_space(GRID)
    items = [{*p.items()} for p in probes(space)]
    pairs = {frozenset(pair) for item in items for pair in itertools.combinations(item, 2)}
    for point in grid(space):
        # momentum stands in by its two ends, width too.
        if point.get("momentum", 0.0) in {0.0, 0.3} and point["width"] in {2, 4}:
            for pair in itertools.combinations(point.items(), 2):
                assert frozenset(pair) in pairs, pair
    assert len(items) < grid_size(space)


class Refuses:
    """A trainer that refuses one pair of values."""

    def __init__(self, field, **values):
        self.field, self.values = field, values

    def check(self, point):
        if all(name in point and point[name] == value for name, value in self.values.items()):
            raise InputError("does not go", field=self.field)
        return point


@pytest.mark.parametrize(
    ("trainer", "place"),
    [
        (Refuses("lr", lr=1.0, optimizer="SGD"), "demo.yaml:7: parameters.lr: does not go"),
        (Refuses("epochs", width=8), "demo.yaml:3: epochs: does not go"),
        (Refuses("task", width=2), "demo.yaml:4: parameters.task: does not go"),
        (Refuses(None, width=2), "demo.yaml:4: parameters: does not go"),
        (Refuses("width", width=5), "demo.yaml:16: start.0.width: does not go"),
        (Refuses(None, width=5), "demo.yaml:16: start.0: does not go"),
    ],
)
def test_what_the_trainer_refuses_is_told_with_its_line(trainer, place):
    with pytest.raises(InputError) as caught:
        check_space(parse_space(TEXT, "demo.yaml"), trainer)
    assert str(caught.value) == place


FEW = {"min_size": 1, "max_size": 4, "unique_by": lambda value: (isinstance(value, bool), value)}
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.text("abc é'\"#:", max_size=4)


@st.composite
def spaces(draw):
    """The values of a valid file whose every parameter has few values."""
    parameters, parents = {}, {}
    for index in range(draw(st.integers(1, 5))):
        name = f"p{index}"
        kind = draw(st.sampled_from(["choice", "value", "whole", "stepped"]))
        values = draw(st.lists(VALUES, **FEW))
        if kind == "choice":
            form = {"choice": values}
        elif kind == "value":
            form, values = {"value": values[0]}, values[:1]
        else:
            low, count = draw(st.integers(-3, 3)), draw(st.integers(0, 3))
            step = draw(st.integers(1, 3) if kind == "whole" else st.sampled_from([0.1, 0.25]))
            high = low + count * step
            form = {"low": low, "high": round(high, 6), "step": step}
        if parents and draw(st.booleans()):
            other = draw(st.sampled_from(sorted(parents)))
            allowed = draw(st.lists(st.sampled_from(parents[other]), min_size=1, max_size=1))
            form["when"] = {other: allowed}
        if kind in {"choice", "value"}:
            parents[name] = values
        parameters[name] = form
    order = draw(st.permutations(sorted(parameters)))
    return {
        "name": "random",
        "parameters": {name: parameters[name] for name in order},
        "search": {"sampler": "grid", "seed": draw(st.integers(0, 2**32 - 1))},
        "seeds": {"ladder": sorted(draw(st.sets(st.integers(1, 1000), min_size=1, max_size=4)))},
    }


@settings(max_examples=40)
@given(values=spaces())
def test_random_spaces(values):
    space = parse_space(json.dumps(values))
    assert {p.name for p in space.parameters} == set(values["parameters"])
    assert list(space.seeds.ladder) == values["seeds"]["ladder"]

    order = [parameter.name for parameter in space.parameters]
    for parameter in space.parameters:
        assert all(order.index(other) < order.index(parameter.name) for other, _ in parameter.when)

    points = list(grid(space))
    assert len(points) == len(set(points)) == grid_size(space)
    found = set(points)
    for point in [*points, *probes(space)]:
        seen = {}
        for parameter in space.parameters:
            assert (parameter.name in point) == is_active(parameter, seen)
            if parameter.name in point:
                seen[parameter.name] = point[parameter.name]
    assert set(probes(space)) <= found

    # The space, written out again with each grid point as a start entry, reads the same.
    again = parse_space(json.dumps({**values, "start": [dict(point) for point in points[:20]]}))
    assert again.parameters == space.parameters
    assert again.start == tuple(points[:20])
    random = with_search(space, sampler="random", trials=3)
    assert parse_space(random.text) == random


def test_a_race_looks_twice_while_seeds_double_and_has_its_own_alpha():
    def asked(race):
        text = f"name: r\nparameters: {{x: 1}}\nsearch: {{trials: 1}}\nseeds: {{race: {race}}}\n"
        found = parse_space(text).seeds
        assert found.certify is None
        return found.ladder, found.alpha, found.finalists

    rungs = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512)
    assert asked("{}") == (rungs, 0.05, 5)
    assert asked("{alpha: 0.2, max: 100}") == ((*rungs[:13], 100), 0.2, 5)
    assert asked("null, finalists: 3") == ((8, 32, 128), 0.05, 3)
    assert asked("null, finalists: null")[2] is None


def test_a_description_of_a_search_for_a_number_asks_for_no_verdict():
    space = as_dict({"low": 0.1, "high": 1.0}, trainer="./t.py:run")
    lines = dict(space_facts(describe(load_space(space | {"objectives": ["loss_mean"]}))))
    assert lines["success"] == "finite loss"


def test_a_description_says_all_and_is_json():
    found = describe(parse_space(TEXT))
    known = {"rows": 4, "inputs": 2, "trials": 20, "grid_points": None, "seed_epochs": 20 * 16 * 10}
    assert found | known == found
    lines = dict(space_facts(found))
    assert lines["ends"] == (
        "when the answer is within 0.01 of the best with probability 0.9, or 80 seeds after the "
        "last proposal"
    )
    assert lines == lines | {
        "optimizer": "choice: SGD, Adam",
        "momentum": "float: 0.0 to 0.9, linear, when optimizer is SGD",
        "lr": "float: 0.0001 to 1.0, log",
        "width": "int: 2 to 8 in steps of 3, linear",
        "epochs": "fixed: 10",
        "seeds": "4 for each configuration; more where they are worth most, up to 16",
        "rungs": "4, 16",
        "alpha": "0.05: the risk that any stop is wrong, at most",
        "cost": "from 800 to 3,200 epochs of one seed (trials x 4 to 16 seeds x epochs)",
    }
    assert at_most(found) == "3,200 epochs of one seed"
    assert lines.keys() & {"stop", "objectives"} == set()
    assert json.loads(json.dumps(found))["parameters"][0]["name"] == "optimizer"


def as_dict(form, name="x", **more):
    """A space of one parameter as a dict."""
    settings = {"search": {"sampler": "random", "trials": 2}, "seeds": {"ladder": (4,)}}
    return {"name": "notebook", "parameters": {name: form}} | settings | more


def test_a_dict_is_read_as_its_file_would_be():
    space = load_space(as_dict({"low": 1e-05, "high": 1.0, "log": True}, trainer="./t.py:run"))
    assert (space.parameters[0].low, space.trainer) == (1e-05, "./t.py:run")
    again = parse_space(space.text)
    assert (again.parameters, again.seeds) == (space.parameters, space.seeds)


NO_VALUES = (np.float32(0.5), float("nan"), float("inf"), {1, 2}, object(), lambda: 1)


@pytest.mark.parametrize(
    ("space", "told"),
    [
        *((as_dict(one), "cannot be written as a file.*NumPy scalar") for one in NO_VALUES),
        *((one, "space: .*the path of a space file") for one in (None, 5, ["a"], load_space)),
    ],
)
def test_what_no_file_could_hold_is_refused(space, told):
    with pytest.raises(InputError, match=told):
        xt.search(space)


NUMBERS = st.integers(-(2**50), 2**50) | st.floats(-1e300, 1e300)
TEXTS = st.text("abü☃ \n\t\\\":#,[]{}&*!|>'%@`-~", max_size=8)


@settings(max_examples=40)
@given(st.lists(st.none() | st.booleans() | NUMBERS | TEXTS, **FEW))
@example(["on", "1", 'a "b"', None, True, 2.5])
def test_values_come_back_as_they_were(values):
    found = load_space(as_dict({"choice": values})).parameters[0].values
    assert [(type(v), v) for v in found] == [(type(v), v) for v in values]


def test_a_huge_grid_is_counted_without_making_it_and_probes_stay_bounded():
    def of_many(count, form):
        parameters = dict.fromkeys((f"p{i}" for i in range(count)), form)
        return load_space({"name": "a", "parameters": parameters, "search": {"sampler": "grid"}})

    space = of_many(50, {"low": 1, "high": 1000})
    assert grid_size(space) == 1000**50
    first = list(itertools.islice(grid(space), 1001))
    assert (first[0]["p49"], first[999]["p49"], first[1000]["p48"]) == (1, 1000, 2)
    points = list(probes(of_many(8, {"choice": list(range(24))})))
    assert len(points) <= 2048 + 8 * 24
    assert all({p[f"p{i}"] for p in points} == set(range(24)) for i in range(8))
    assert len(list(probes(of_many(128, {"low": 0, "high": 1})))) < 200


def test_parameters_may_have_any_name_of_signs_that_a_column_or_an_option_could_have():
    for name in ("größe", "λ", "学习率", "n-layers", "C", "lr0", "_x.y"):
        [found] = load_space(as_dict({"low": 1, "high": 2}, name)).parameters
        assert found.name == name
    for name in ("a b", "1x", "-x", "a/b", "a{b"):
        with pytest.raises(InputError, match="is not a parameter name; allowed: letters, digits"):
            load_space(as_dict({"low": 1, "high": 2}, name))
