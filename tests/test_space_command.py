"""A command in a space file: what it may be, and what is refused with its line."""

import json
from dataclasses import replace

import pytest

from xortune.core.errors import InputError
from xortune.core.success import parse_success
from xortune.spaces.command import Command
from xortune.spaces.space import parse_space

COMMAND = "python train.py --lr={lr} --kind {kind} --seed={seed}"
GOOD = {"command": COMMAND}
PARAMETERS = "  lr: {low: -1.0, high: 1.0}\n  kind: {choice: [a, b]}\n"


def space(trainer=GOOD):
    text = f"name: c\ntrainer: {json.dumps(trainer)}\nparameters:\n{PARAMETERS}"
    text += "search: {sampler: random, trials: 3}\nseeds: {ladder: [4]}\n"
    return parse_space(text, "s.yaml")


def test_a_command_is_read():
    plain = space()
    assert (plain.trainer, plain.task, plain.success) == (COMMAND, None, None)
    assert replace(plain.command, template=None) == Command(None)
    full = space(GOOD | {"success": "a <= 2", "timeout": "1m30s", "files": ["train.py", "lib"]})
    assert full.success == parse_success("a <= 2")
    found = Command(None, False, "last line json", 90, ("train.py", "lib"))
    assert replace(full.command, template=None) == found


@pytest.mark.parametrize(
    ("settings", "by_exit", "metric"),
    [
        ({"success": "Exit  code 0"}, True, None),
        ({"metric": "last line json"}, False, "last line json"),
        ({"metric": "last line number", "success": "exit code 0"}, True, "last line number"),
    ],
)
def test_success_is_the_exit_code_unless_there_are_numbers(settings, by_exit, metric):
    found = space(GOOD | settings)
    assert (found.command.by_exit, found.command.metric) == (by_exit, metric)
    assert found.success is None


REGEX = {"regex": "a", "name": "a"}


@pytest.mark.parametrize(
    ("key", "settings", "words"),
    [
        ("tiemout", {"tiemout": 3}, "did you mean 'timeout'"),
        ("timeout", {"timeout": 0}, "is not a duration"),
        ("files", {"files": "train.py"}, "is not a list"),
        ("success", {"success": "exit code 1"}, "'exit code 0', or a name"),
        ("metric.regex", {"metric": {"regex": "("}, "success": "value > 1"}, "unterminated"),
        ("metric.regex", {"metric": {"regex": "(a)(b)"}}, "has 2 groups"),
        ("metric.regex", {"metric": {"name": "a"}}, "is missing"),
        ("metric.name", {"metric": REGEX | {"name": "a b"}}, "is not a name"),
        ("metric", {"metric": REGEX, "success": "b > 1"}, "judges 'b', and the regex finds 'a'"),
        ("metric", {"metric": {"regex": "a"}}, "what a success is"),
        ("metric", {"metric": ["a"]}, "is not allowed"),
        ("metric", {"metric": "last line"}, "did you mean 'last line json'"),
        ("metric", {"metric": "last line number"}, "what a success is"),
        ("metric", {"metric": "last line number", "success": "acc > 1"}, "judges 'acc'"),
        ("command", {"command": "run {seed} {lr}"}, "kind is not in the command"),
    ],
)
def test_what_is_refused_and_where(key, settings, words):
    with pytest.raises(InputError) as error:
        space(GOOD | settings)
    assert str(error.value).startswith(f"s.yaml:2: trainer.{key}")
    assert words in str(error.value)


def test_a_command_is_needed_and_its_values_must_not_look_like_options():
    with pytest.raises(InputError, match=r"s\.yaml:2: trainer\.command: is missing"):
        space({})
    with pytest.raises(InputError, match=r"s\.yaml:4: parameters\.lr: -1\.0 begins with '-'"):
        space({"command": "run {lr} {kind} {seed}"})
