"""A command that trains, as a space file gives it: its placeholders and its settings.

The template is split into words once, as a shell would; values are put into words that are there
already. So a value is never split, expanded or run, whatever is in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, StrictStr

from xortune.core.errors import InputError, nearest
from xortune.core.point import Nested, Value
from xortune.core.success import VALUE, is_name

SEED = "seed"
"""The placeholder of the seed."""

EXIT_CODE = "exit code 0"
"""The rule by which a command is a success that ends well."""

JSON, NUMBER = "last line json", "last line number"
METRICS = (JSON, NUMBER)
"""Where numbers are found in what a command prints."""


@dataclass(frozen=True)
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
        """Refuse what is no regular expression of Python's, several groups, and what is no name."""
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
"""What a shell would take for an instruction; a program would get it as an argument."""

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "fish"})


@dataclass(frozen=True)
class Placeholder:
    """A part of a word that a value takes the place of.

    Attributes:
        name: of a parameter, or `seed`.
        flag: the word that a true parameter stands for, where it is not its value that is written.
    """

    name: str
    flag: str | None = None


@dataclass(frozen=True)
class TemplateWord:
    """One word of a command: literal texts and placeholders in turn."""

    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> list[Placeholder]:
        """Those in it."""
        return [part for part in self.parts if isinstance(part, Placeholder)]

    @property
    def alone(self) -> Placeholder | None:
        """The placeholder that is all of it."""
        return self.placeholders[0] if len(self.parts) == len(self.placeholders) == 1 else None

    @property
    def option(self) -> str | None:
        """Its text, if it may be the name of an option whose value is the next word."""
        first = self.parts[0]
        text = "".join(part for part in self.parts if isinstance(part, str))
        named = isinstance(first, str) and first[:1] == "-" and first != "--" and "=" not in text
        return str(first) if named else None


@dataclass(frozen=True)
class Template:
    """A command line with placeholders, as it was written and in words."""

    text: str
    words: tuple[TemplateWord, ...]

    def argv(self, values: Mapping[str, Value], seed: int) -> list[str]:
        """The words for a config and a seed.

        A word whose parameter is not active or null is left out, and so is the name of the option
        before it if the placeholder is all of the word.
        """
        given = {**values, SEED: seed}
        made: list[str] = []
        option = False  # whether the last one made is a name that may wait for its value
        for word in self.words:
            alone, waits = word.alone, option
            option = False
            if alone is not None and alone.flag is not None:
                if given.get(alone.name) is True:
                    made.append(alone.flag)
            elif all(given.get(one.name) is not None for one in word.placeholders):
                made.append(
                    "".join(p if isinstance(p, str) else spelled(given[p.name]) for p in word.parts)
                )
                option = word.option is not None
            elif alone is not None and waits:
                made.pop()
        return made


@dataclass(frozen=True)
class Command:
    """A command, and how it is run and judged, but for the rule for its numbers.

    Attributes:
        template: the command.
        by_exit: whether its exit code decides what a success is.
        metric: where its numbers are, one of `METRICS` or a regex; None if it tells none.
        timeout: seconds that it may take for one seed; None for any time.
        files: what it needs, relative to the space file; None for the words of it that are files.
    """

    template: Template
    by_exit: bool = True
    metric: str | RegexMetric | None = None
    timeout: float | None = None
    files: tuple[str, ...] | None = None


def spelled(value: Value | list[Any] | dict[str, Any]) -> str:
    """A value as an argument: a string as it is, true or false, a number so that it reads back.

    Floats are written by `repr`, which is the shortest text that is the same float again; lists and
    mappings as JSON.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return str(Nested.of(value))
    return value if isinstance(value, str) else repr(value)


def parse_template(text: str) -> Template:
    """Split a command into words, and find the placeholders in them."""
    try:
        words = shlex.split(text)
        raw = shlex.split(text, posix=False)  # quotes stay: what is quoted was meant as it is
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
    """Literal texts, neighbouring ones in one, and placeholders."""
    parts: list[str | Placeholder] = []
    literal, place = "", 0
    for found in _PART.finditer(text):
        literal += text[place : found.start()]
        place = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
            continue
        if found["name"] is None:
            problem, fix = (
                f"a lone {found[0]!r} in {text!r}",
                f"write {2 * found[0]!r} for the sign",
            )
            raise _refusal(problem, "a placeholder such as {lr}", f"{fix} itself")
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
    """Refuse a placeholder in a text that a shell would run: there its value would be code."""
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
    """Refuse placeholders that are no parameters, and parameters that are no placeholders."""
    known = list(parameters)
    if SEED in known:
        raise InputError(
            f"a parameter called {SEED}",
            field=SEED,
            allowed="another name: {seed} is the seed that a config is trained under",
            fix="rename it, in the command too",
        )
    allowed = [SEED, *known]
    names = {one.name for word in template.words for one in word.placeholders}
    for name in sorted(names - set(allowed)):
        raise _refusal(
            f"{{{name}}} is not a parameter",
            ", ".join(f"{{{one}}}" for one in allowed),
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
    """Refuse values that a program would not take for values."""
    dashed = next((v for v in values if v is not None and spelled(v)[:1] == "-"), None)
    odd = next((v for v in values if not isinstance(v, bool | None)), None)
    ended = False  # whether `--` came: what follows is no option
    for index, word in enumerate(template.words):
        alone = word.alone
        ended = ended or word == TemplateWord(("--",))
        if alone is None or alone.name != name:
            continue
        if alone.flag is not None and odd is not None:
            raise InputError(
                f"{odd!r} where the command has {{{name}:{alone.flag}}}",
                field=name,
                allowed="true and false (and null)",
                fix=f"write {{{name}}} for the value, or make it a choice of true and false",
            )
        if alone.flag is None and dashed is not None and not ended:
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
