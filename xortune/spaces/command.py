"""Commands of a space file: the template with its placeholders, and a metric by a regex.

The template is split into words once, as by a shell, and values are inserted into these words. So a
value is never split, expanded or run, whatever its text is.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, TypeVar, dataclass_transform

import pydantic
from pydantic import Field, StrictStr

from xortune.core.errors import InputError, nearest
from xortune.core.point import Nested, Value
from xortune.core.success import VALUE, is_name

SEED = "seed"
"""The placeholder of the seed."""

EXIT_CODE = "exit code 0"
"""The rule that a command succeeds if it exits with 0."""

JSON, NUMBER = "last line json", "last line number"
METRICS = (JSON, NUMBER)
"""Where the numbers are in a command's output."""


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def section(form: type[T]) -> type[T]:
    """A frozen dataclass that is a mapping of a space file: no other keys, and its schema."""
    about: dict[str, Any] = {"description": form.__doc__}
    return pydantic.with_config(extra="forbid", json_schema_extra=about)(
        dataclass(frozen=True)(form)
    )


@section
class RegexMetric:
    """A number in what a command prints, found by a regular expression."""

    regex: Annotated[
        StrictStr,
        Field(
            min_length=1,
            description="A Python regex; its group is the number. The last match counts.",
        ),
    ]
    name: Annotated[StrictStr, Field(min_length=1, description="What the number is called.")] = (
        VALUE
    )

    def __post_init__(self) -> None:
        """Refuse an invalid regular expression, several groups, and an invalid name."""
        fix = r"write for instance {regex: 'accuracy: ([\d.]+)', name: accuracy}"
        try:
            groups = re.compile(self.regex).groups
        except (re.error, RecursionError, OverflowError) as error:
            problem, allowed = f"{self.regex!r} ({error})", "a regular expression of Python's"
            raise InputError(problem, field="regex", allowed=allowed, fix=fix) from None
        if groups > 1:
            problem = f"{self.regex!r} has {groups} groups"
            allowed = "one group, which is the number; (?:...) groups without being one"
            raise InputError(problem, field="regex", allowed=allowed, fix=fix)
        if not is_name(self.name):
            allowed = "letters, digits, _, -, / and dots, with a letter or _ first"
            raise InputError(f"{self.name!r} is not a name", field="name", allowed=allowed, fix=fix)

    def __str__(self) -> str:
        return f"{self.name} by the regex {self.regex}"


_PART = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}:]*)(?::(?P<flag>[^{}]*))?\}|[{}]")

_OPERATOR = re.compile(r"\|\|?|&&?|.*;|[0-9]?(>>?|<<?).*|&>.*")
"""Words that a shell interprets; here the program would get them as arguments."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"})


@dataclass(frozen=True)
class Placeholder:
    """A part of a word that is replaced by a value.

    Attributes:
        name: of a parameter, or `seed`.
        flag: in `{name:flag}`, the word that replaces the placeholder if the parameter is true.
    """

    name: str
    flag: str | None = None


@dataclass(frozen=True)
class TemplateWord:
    """One word of a command, of literal texts and placeholders."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> list[Placeholder]:
        """The placeholders in the word."""
        return [part for part in self.parts if isinstance(part, Placeholder)]

    @property
    def alone(self) -> Placeholder | None:
        """The placeholder that is the whole word, if it is one."""
        return self.placeholders[0] if len(self.parts) == len(self.placeholders) == 1 else None

    @property
    def option(self) -> str | None:
        """The text, if it may be the name of an option whose value is the next word."""
        first = self.parts[0]
        text = "".join(part for part in self.parts if isinstance(part, str))
        named = isinstance(first, str) and first[:1] == "-" and first != "--" and "=" not in text
        return str(first) if named else None


@dataclass(frozen=True)
class Template:
    """A command line with placeholders, as text and in words."""

    text: str
    words: tuple[TemplateWord, ...]

    def argv(self, values: Mapping[str, Value], seed: int) -> list[str]:
        """The arguments for a configuration and a seed.

        A word with an inactive or null parameter is left out. If the placeholder is the whole word,
        so is the option before it.
        """
        given = {**values, SEED: seed}
        argv: list[str] = []
        after_option = False  # whether the last argument may be an option that needs a value
        for word in self.words:
            alone, needs_value = word.alone, after_option
            after_option = False
            if alone is not None and alone.flag is not None:
                if given.get(alone.name) is True:
                    argv.append(alone.flag)
            elif all(given.get(part.name) is not None for part in word.placeholders):
                argv.append(
                    "".join(p if isinstance(p, str) else spelled(given[p.name]) for p in word.parts)
                )
                after_option = word.option is not None
            elif alone is not None and needs_value:
                argv.pop()
        return argv


def spelled(value: Value | list[Any] | dict[str, Any]) -> str:
    """A value as an argument: true or false, JSON of a list or mapping, the `repr` of a number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return str(Nested.of(value))
    return value if isinstance(value, str) else repr(value)


def parse_template(text: str) -> Template:
    """Split a command into words, and find the placeholders in them."""
    try:
        words = shlex.split(text)
        raw = shlex.split(text, posix=False)  # with quotes: a quoted operator is an argument
    except ValueError as error:
        problem = f"cannot be split into words ({str(error).lower()})"
        raise _refusal(problem, fix="close the quote, or escape it") from None
    if not words or not words[0]:
        raise _refusal(
            "no program",
            "a program and its arguments",
            "write for instance `python train.py --lr={lr} --seed={seed}`",
        )
    if found := next((word for word in raw if _OPERATOR.fullmatch(word)), None):
        raise _refusal(
            f"{found!r} means nothing: no shell reads this",
            "a program and its arguments",
            "put what needs a shell into a script and call it; if it is an argument, quote it",
        )
    template = Template(text, tuple(map(_word, words)))
    _check_no_script(template)
    return template


def _word(text: str) -> TemplateWord:
    parts: list[str | Placeholder] = []
    literal, place = "", 0
    for found in _PART.finditer(text):
        literal += text[place : found.start()]
        place = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
            continue
        if found["name"] is None:
            fix = f"write {2 * found[0]!r} for the sign itself"
            problem = f"a lone {found[0]!r} in {text!r}"
            raise _refusal(problem, "a placeholder such as {lr}", fix)
        if found["flag"] is not None and found[0] != text:
            raise _refusal(
                f"{found[0]} is a part of {text!r}",
                "{name:--flag} as a word of its own",
                f"write {{{found['name']}}} for the value, or part it with a blank",
            )
        parts += [literal] if literal else []
        parts.append(Placeholder(found["name"], found["flag"]))
        literal = ""
    literal += text[place:]
    return TemplateWord((*parts, literal) if literal or not parts else tuple(parts))


def _check_no_script(template: Template) -> None:
    """Refuse a placeholder in a script for a shell, where its value would be code."""
    shell: str | None = None
    for word, script in pairwise(template.words):
        text = word.parts[0]
        if not isinstance(text, str):
            continue
        if text.rpartition("/")[2] in _SHELLS:
            shell = text
        elif shell is not None and re.fullmatch(r"-\w*c", text) and script.placeholders:
            name = script.placeholders[0].name
            raise _refusal(
                f"{{{name}}} in a text that {shell} runs",
                "values as arguments only: in a script they would be code",
                f"""write sh -c 'train --{name} "$1"' sh {{{name}}}""",
            )


def check_names(template: Template, parameters: Iterable[str]) -> None:
    """Refuse placeholders without a parameter, and parameters without a placeholder."""
    known = list(parameters)
    if SEED in known:
        raise InputError(
            f"a parameter called {SEED}",
            field=SEED,
            allowed="another name: {seed} is the seed that a config is trained under",
            fix="rename it, in the command too",
        )
    allowed = [SEED, *known]
    names = {part.name for word in template.words for part in word.placeholders}
    for name in sorted(names - set(allowed)):
        raise _refusal(
            f"{{{name}}} is not a parameter",
            ", ".join(f"{{{known_name}}}" for known_name in allowed),
            f"{nearest(name, allowed)} Braces that are meant as such are doubled",
        )
    for name in allowed:
        if name not in names:
            what = "all seeds would be the same run" if name == SEED else "it would change nothing"
            other = "" if name == SEED else f", or remove the parameter {name}"
            raise _refusal(
                f"{name} is not in the command: {what}",
                f"every parameter, and {{{SEED}}}",
                f"add --{name}={{{name}}}{other}",
            )


def check_values(template: Template, name: str, values: Iterable[Value]) -> None:
    """Refuse values of a parameter that a program would not read as values."""
    dashed = next((v for v in values if v is not None and spelled(v)[:1] == "-"), None)
    no_flag = next((v for v in values if not isinstance(v, bool | None)), None)
    after_dashes = False  # after `--` nothing is an option
    for index, word in enumerate(template.words):
        alone = word.alone
        after_dashes = after_dashes or word == TemplateWord(("--",))
        if alone is None or alone.name != name:
            continue
        if alone.flag is not None and no_flag is not None:
            raise InputError(
                f"{no_flag!r} where the command has {{{name}:{alone.flag}}}",
                field=name,
                allowed="true and false (and null)",
                fix=f"write {{{name}}} for the value, or make it a choice of true and false",
            )
        if alone.flag is None and dashed is not None and not after_dashes:
            option = (template.words[index - 1].option if index else None) or f"--{name}"
            flag = f"; for a flag, {{{name}:{dashed}}} with {name} true or false"
            raise InputError(
                f"{dashed!r} begins with '-', and may be taken for an option where it stands alone",
                field=name,
                allowed="such a value only as a part of a word, or after --",
                fix=f"write {option}={{{name}}} in the command"
                + (flag if isinstance(dashed, str) else ""),
            )


def _refusal(problem: str, allowed: str | None = None, fix: str | None = None) -> InputError:
    return InputError(problem, field="command", allowed=allowed, fix=fix)
