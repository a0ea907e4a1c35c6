"""A command in a space file: what it may be, and what is refused with its line."""

import json

import pytest

from xortune.core.errors import InputError
from xortune.core.success import parse_success
from xortune.spaces.space import parse_space

COMMAND = "python train.py --lr={lr} --kind {kind} --seed={seed}"
GOOD = {"command": COMMAND}
PARAMETERS = "  lr: {low: -1.0, high: 1.0}\n  kind: {choice: [a, b]}\n"


def text(trainer, parameters=PARAMETERS, more=""):
    return (
        f"name: c\ntrainer: {json.dumps(trainer)}\nparameters:\n{parameters}"
        f"search: {{sampler: random, trials: 3}}\nseeds: {{ladder: [4]}}\n{more}"
    )


def space(trainer=None, parameters=PARAMETERS, more=""):
    return parse_space(text(trainer or GOOD, parameters, more), "s.yaml")


def test_a_command_is_read():
    found = space()
    assert found.trainer == COMMAND
    assert found.task is None
    assert found.success is None
    assert found.command.by_exit
    assert found.command.metric is None
    assert found.command.timeout is None
    assert found.command.files is None
    full = GOOD | {"success": "a <= 2", "timeout": "1m30s", "files": ["train.py", "lib"]}
    found = space(full)
    assert found.success == parse_success("a <= 2")
    assert found.command.metric == "last line json"
    assert not found.command.by_exit
    assert found.command.timeout == 90
    assert found.command.files == ("train.py", "lib")
    assert space(GOOD | {"success": "Exit  code 0"}).command.by_exit
    said = space(GOOD | {"metric": "last line json"})
    assert not said.command.by_exit
    assert said.success is None
    both = space(GOOD | {"metric": "last line number", "success": "exit code 0"})
    assert both.command.by_exit
    assert both.command.metric == "last line number"


@pytest.mark.parametrize(
    ("trainer", "place", "words"),
    [
        ({}, "s.yaml:2: trainer.command", "is missing"),
        (GOOD | {"tiemout": 3}, "s.yaml:2: trainer.tiemout", "did you mean 'timeout'"),
        (GOOD | {"timeout": 0}, "s.yaml:2: trainer.timeout", "is not a duration"),
        (GOOD | {"files": "train.py"}, "s.yaml:2: trainer.files", "is not a list"),
        (
            GOOD | {"success": "exit code 1"},
            "s.yaml:2: trainer.success",
            "'exit code 0', or a name",
        ),
        (
            GOOD | {"metric": {"regex": "(", "name": "a"}, "success": "a > 1"},
            "s.yaml:2: trainer.metric.regex",
            "unterminated",
        ),
        (
            GOOD | {"metric": {"regex": "(a)(b)"}, "success": "value > 1"},
            "s.yaml:2: trainer.metric.regex",
            "has 2 groups",
        ),
        (
            GOOD | {"metric": {"regex": "a", "name": "a b"}, "success": "value > 1"},
            "s.yaml:2: trainer.metric.name",
            "is not a name",
        ),
        (
            GOOD | {"metric": {"regex": "a", "name": "a"}, "success": "b > 1"},
            "s.yaml:2: trainer.metric",
            "judges 'b', and the regex finds 'a'",
        ),
        (GOOD | {"metric": {"regex": "a"}}, "s.yaml:2: trainer.metric", "what a success is"),
        (GOOD | {"metric": {"name": "a"}}, "s.yaml:2: trainer.metric.regex", "is missing"),
        (GOOD | {"metric": ["a"]}, "s.yaml:2: trainer.metric", "is not allowed"),
        (
            GOOD | {"metric": "last line"},
            "s.yaml:2: trainer.metric",
            "did you mean 'last line json'",
        ),
        (GOOD | {"metric": "last line number"}, "s.yaml:2: trainer.metric", "what a success is"),
        (
            GOOD | {"metric": "last line number", "success": "accuracy > 1"},
            "s.yaml:2: trainer.metric",
            "judges 'accuracy'",
        ),
        ({"command": "run {seed} {lr}"}, "s.yaml:2: trainer.command", "kind is not in the command"),
        (
            {"command": "run {lr} {kind} {seed}"},
            "s.yaml:4: parameters.lr",
            "-1.0 begins with '-', and may be taken for an option where it stands alone",
        ),
    ],
)
def test_what_is_refused_and_where(trainer, place, words):
    with pytest.raises(InputError) as error:
        parse_space(text(trainer), "s.yaml")
    assert str(error.value).startswith(place)
    assert words in str(error.value)
