"""A command's words: values reach it as they are, whatever is in them."""

import math
import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xortune.core.errors import InputError
from xortune.spaces.command import check_names, check_values, parse_template, spelled
from xortune.trainers.command import run_command

NASTY = "a b\t'\"\\ $(touch x) `id` ${HOME} *?~;|&><!{lr}{{\n-\\n%s é\u2028"

printable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.one_of(
    printable,
    st.sampled_from([NASTY, "--help", "-", "--", "-rf /", "$(id)", "", " ", "{seed}", "%d"]),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
)


def words(text, seed=7, **config):
    return parse_template(text).argv(config, seed)


@settings(max_examples=100)
@given(values, values)
@example(NASTY, "-x")
def test_values_reach_a_program_unchanged(one, other):
    template = parse_template(r"printf '%s\0' --a={one} -- {other} {one},{other} {seed}")
    came = run_command(
        template.argv({"one": one, "other": other}, 3), Path(tempfile.gettempdir()), None
    )
    a, b = spelled(one), spelled(other)
    wanted = [f"--a={a}", "--", b, f"{a},{b}", "3"]
    assert came.code == 0
    assert came.stderr == b""
    assert came.stdout.decode() == "".join(f"{word}\0" for word in wanted)


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False)))
def test_what_is_written_reads_back(value):
    text = spelled(value)
    assert {"true": True, "false": False}.get(text) is value or (
        type(value)(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    )


@given(st.lists(printable, min_size=1).filter(lambda found: found[0] != ""))
def test_literal_words_are_themselves(found):
    doubled = [word.replace("{", "{{").replace("}", "}}") for word in found]
    assert words(shlex.join(doubled)) == found


@given(values, st.integers(0, 2**32 - 1))
def test_a_value_never_changes_the_number_of_words(value, seed):
    made = words("run {x} --x={x} 'a {x} b' {seed}", seed, x=value)
    text = spelled(value)
    assert made == ["run", text, f"--x={text}", f"a {text} b", str(seed)]


@pytest.mark.parametrize(
    ("text", "config", "wanted"),
    [
        ("p --a {a} --b {b}", {"a": 1, "b": None}, "p --a 1"),
        ("p --a {a} --b {b}", {"a": None, "b": 2}, "p --b 2"),
        ("p --a={a} {b}", {"b": 2}, "p 2"),
        ("p x {a} y", {}, "p x y"),
        ("p --a=1 {a} y", {}, "p --a=1 y"),
        ("p -- {a} y", {}, "p -- y"),
        ("p --v{a} {b} y", {}, "p y"),
        ("p --v {a} {b}", {}, "p"),
        ("p {a},{b}", {"a": 1}, "p"),
        ("p {a:--fast} {b:-x}", {"a": True, "b": False}, "p --fast"),
        ("p -v {a:--fast} z", {"a": None}, "p -v z"),
        ("p {{a}} {a}}}", {"a": 1}, "p {a} 1}"),
    ],
)
def test_what_is_not_active_or_null_is_left_out(text, config, wanted):
    assert words(text, **config) == wanted.split()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("run 'a {seed}", "cannot be split into words"),
        ("   ", "no program"),
        ("run {seed", "a lone '{' in '{seed'"),
        ("run {a {b}}", "a lone '{'"),
        ("run --x={a:--fast}", "is a part of"),
        ("run {seed} > out", "'>' means nothing"),
        ("run {seed} && rm x", "'&&' means nothing"),
        ("run {seed}; rm x", "'{seed};' means nothing"),
        ("sh -c 'run {a}' {seed}", "{a} in a text that sh runs"),
        ("nice /bin/bash -ec 'run {a}' {seed}", "{a} in a text that /bin/bash runs"),
    ],
)
def test_what_is_no_command_is_refused(text, problem):
    with pytest.raises(InputError) as error:
        parse_template(text)
    assert problem in str(error.value)
    assert error.value.field == "command"
    assert error.value.fix


def test_signs_of_a_shell_in_quotes_are_arguments():
    assert words("run '>' \"a;\" '&&' {seed}") == ["run", ">", "a;", "&&", "7"]
    assert words("sh -c 'run \"$1\"' sh {a} {seed}", a="$(id)")[-2:] == ["$(id)", "7"]


@pytest.mark.parametrize(
    ("text", "names", "problem", "fix"),
    [
        ("run {lr}", ["lr"], "seed is not in the command: all seeds", "add --seed={seed}"),
        ("run {seed}", ["lr"], "lr is not in the command", "add --lr={lr}, or remove"),
        ("run {seed} {lr} {l}", ["lr"], "{l} is not a parameter", "did you mean 'lr'?"),
        ("run {seed} {}", [], "{} is not a parameter", "doubled"),
        ("run {seed}", ["seed"], "a parameter called seed", "rename it"),
    ],
)
def test_placeholders_are_the_parameters_and_the_seed(text, names, problem, fix):
    with pytest.raises(InputError) as error:
        check_names(parse_template(text), names)
    assert problem in error.value.problem
    assert fix in str(error.value.fix)


@pytest.mark.parametrize(
    ("text", "given_", "fix"),
    [
        ("run {x}", [1, -1.0], "--x={x}"),
        ("run --shift {x}", ["a", "-b"], "--shift={x}"),
        ("run {x} -- {x}", ["-b"], "--x={x}"),
        ("run {x:--fast}", [True, "yes"], "write {x}"),
    ],
)
def test_values_that_a_program_may_misread_are_refused(text, given_, fix):
    with pytest.raises(InputError) as error:
        check_values(parse_template(text), "x", given_)
    assert error.value.field == "x"
    assert fix in str(error.value.fix)


def test_values_that_it_cannot_misread_are_not():
    for text in ("run --x={x}", "run -x{x}", "run -- {x}", "run {y}"):
        check_values(parse_template(text), "x", ["-b", -1])
    check_values(parse_template("run {x} {y}"), "x", ["b-", 1, None, True, ""])
    check_values(parse_template("run {x:-f}"), "x", [True, False, None])
