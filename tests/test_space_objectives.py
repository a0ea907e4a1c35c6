"""What a space file says of its objectives, and which it may not."""

import pytest
from space_files import refused, with_line

from xortune.core.errors import InputError
from xortune.core.point import Point
from xortune.spaces.space import check_space, parse_space, with_search


def looked_for(line: str):
    return [(o.name, o.maximize) for o in parse_space(with_line(line), "s.yaml").objectives]


def test_objectives_are_read():
    assert looked_for("# none") == [("success_rate", True)]
    assert looked_for("objectives: [success_rate, epochs_to_solve, hidden_dim]") == [
        ("success_rate", True),
        ("epochs_to_solve", False),
        ("hidden_dim", False),
    ]
    line = "objectives: [epochs_to_solve, {name: hidden_dim, direction: maximize}, {name: lr}]"
    assert looked_for(line) == [("epochs_to_solve", False), ("hidden_dim", True), ("lr", False)]
    assert looked_for("objectives: [{name: success_rate, direction: maximize}]") == [
        ("success_rate", True)
    ]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("objectives: []", ["s.yaml:12: objectives: is empty", "at least one"]),
        (
            "objectives: [succes_rate]",
            ["s.yaml:12: objectives", "unknown objective 'succes_rate'", "mean 'success_rate'"],
        ),
        (
            "objectives: [success_rate, hiden_dim]",
            ["'hiden_dim'", "allowed: success_rate, epochs_to_solve, lr, hidden_dim", "'hidden_d"],
        ),
        (
            "objectives: [success_rate, lr, success_rate]",
            ["s.yaml:12", "success_rate is given twice", "each objective once"],
        ),
        (
            "objectives: [lr, {name: lr, direction: maximize}, success_rate]",
            ["s.yaml:12", "lr is given twice"],
        ),
        ("objectives: [success_rate, activation]", ["activation may be 'ReLU'", "not a number"]),
        ("objectives: [success_rate, loss]", ["loss is fixed"]),
        ("objectives: [success_rate, momentum]", ["momentum has a condition"]),
        ("objectives: [hidden_dim, lr]", ["measured", "success_rate or epochs_to_solve"]),
        (
            "objectives: [{name: success_rate, direction: minimize}]",
            ["s.yaml:12: objectives", "minimize success_rate", "allowed: maximize"],
        ),
        (
            "objectives: [success_rate, {name: lr, direction: up}]",
            ["s.yaml:12: objectives", "unknown direction 'up'", "maximize, minimize"],
        ),
        (
            "objectives: [success_rate, {nam: lr}]",
            ["s.yaml:12: objectives", "unknown key", "did you mean 'name'"],
        ),
        ("objectives: [success_rate, 3]", ["s.yaml:12: objectives", "3 is not allowed"]),
    ],
)
def test_objectives_that_are_none(line, told):
    message = refused(with_line(line))
    for part in told:
        assert part in message, message


@pytest.mark.parametrize("form", ["{low: 3, high: 3}", "{choice: [3]}", "{value: 3}", "3"])
def test_what_has_one_value_is_no_objective(form):
    text = f"name: s\nparameters: {{a: {form}, b: {{low: 0, high: 9}}}}\nsearch: {{trials: 3}}\n"
    with pytest.raises(InputError, match="a is fixed"):
        parse_space(text + "objectives: [success_rate, a]\n")


def test_a_sampler_of_one_objective_is_refused_several():
    text = "name: s\nparameters: {a: {low: 0, high: 9}, b: {low: 0, high: 9}}\n"
    text += "search: {sampler: SAMPLER, trials: 3}\nobjectives: [success_rate, a]\n"
    with pytest.raises(InputError, match=r"s:3: search\.sampler: sampler cmaes with 2 obj.*nsgaii"):
        parse_space(text.replace("SAMPLER", "cmaes"), "s")
    space = parse_space(text.replace("SAMPLER", "tpe"), "s")
    with pytest.raises(InputError, match="sampler cmaes with 2 objectives"):
        with_search(space, sampler="cmaes")
    for sampler in ("tpe", "nsgaii", "gp", "random"):
        found = with_search(space, sampler=sampler)
        assert found.objectives == space.objectives == parse_space(found.text).objectives
    one = text.replace("SAMPLER", "cmaes").replace(", a]", "]")
    assert len(parse_space(one).objectives) == 1


def test_an_objective_that_the_trainer_drops_is_refused():
    class Drops:
        def check(self, point):
            return Point({k: v for k, v in point.items() if k != "a"})

    text = "name: s\nparameters: {a: {low: 0, high: 9}, b: 1}\nsearch: {trials: 3}\n"
    space = parse_space(text + "objectives: [success_rate, a]\n", "s")
    with pytest.raises(
        InputError, match=r"s:4: objectives.*a is not a number in the trained config"
    ):
        check_space(space, Drops())
    check_space(parse_space(text, "s"), Drops())
