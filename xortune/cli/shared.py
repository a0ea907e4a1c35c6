"""What all commands share: the app, options, errors as one line, exit codes, printing."""

from __future__ import annotations

import codecs
import errno
import functools
import inspect
import io
import json
import os
import re
import select
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from inspect import Parameter
from pathlib import Path
from textwrap import dedent
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NoReturn,
    TextIO,
    TypeAlias,
    TypeVar,
    get_args,
    get_type_hints,
)

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand

import xortune as xt
from xortune.core.errors import (
    DisturbedError,
    Halted,
    InputError,
    TrainingError,
    error_text,
    from_command_line,
    memory_fix,
)
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.formats import plain
from xortune.driver.arguments import RayArguments, option_of, texts
from xortune.driver.voice import Message, show_failure
from xortune.training.process import ending, is_interrupted, settle
from xortune.training.resources import settings

if TYPE_CHECKING:
    from xortune.driver.voice import Event
    from xortune.integrations.trackers import Tracker

F = TypeVar("F", bound=Callable[..., None])

Interruption: TypeAlias = str | Callable[[KeyboardInterrupt | Halted], str]

NOT_PASSED, BAD_INPUT, INTERRUPTED, NO_OUTCOME = 1, 2, 3, 4

app = typer.Typer(
    name="xortune",
    help="Find hyperparameters that train successfully for every random seed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# -------------------------------------------------------------------------------------------------
# Options of several commands.

SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE", help="A search-space file (YAML).")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, or its URL.")]

OPTIONS = """
quiet (-q): Print errors only.
as_json (--json): Print the result as JSON.
trainer: With --config: your training, in place of the built-in network: ./train.py:run, or a
    command such as 'python train.py --lr={lr} --seed={seed}'.
metric: With a command: where it prints its numbers: last line json, last line number, or
    "{regex: 'accuracy: (.*)', name: accuracy}".
timeout: With --trainer: time limit for one seed, such as 90s or 10m.
tensorboard ([DIR]): Log each configuration for TensorBoard's HParams; to RUN/tensorboard without
    DIR.
mlflow (URI): Log each configuration to MLflow: http://HOST:PORT, ...
wandb ([PROJECT]): Log each configuration to W&B; to xortune without PROJECT.
tracker (NAME[=WHERE]): Log each configuration by a tracker that `xortune plugins` lists; give it as
    often as you like.
"""
"""Options that are no arguments of verbs, in the format of a command's docstring."""

TRACKERS = ("tensorboard", "mlflow", "wandb", "tracker")
"""The options that name trackers; the value of one without a value is ""."""


class TrackerCommand(TyperCommand):
    """A command whose options --tensorboard and --wandb need no value."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Give such an option an empty value if another option follows, or nothing."""
        given = []
        for word, following in zip(args, [*args[1:], "-"], strict=False):
            bare = word in ("--tensorboard", "--wandb") and following.startswith("-")
            given.append(f"{word}=" if bare else word)
        return super().parse_args(ctx, given)


def trackers_of(given: Mapping[str, Any]) -> list[Tracker]:
    """The trackers that the options of a command name.

    Raises:
        InputError: there is none of a name.
    """
    from xortune.integrations.trackers import tracker_at

    asked = [(name, given[name]) for name in TRACKERS[:-1] if given[name] is not None]
    named = [text.partition("=") for text in given["tracker"] or ()]
    return [tracker_at(*one) for one in [*asked, *((name, where) for name, _, where in named)]]


def asked(of: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command as arguments of its verb, those of a class of `driver.arguments`.

    Raises:
        InputError: one of them is not usable.
    """
    found = {}
    for one in fields(of):
        if (option := option_of(one)).there and (name := option.name or one.name) in given:
            found[one.name] = option.read(given[name])
    workers, ray = _set(xt.Workers, given), _set(xt.Ray, given)
    found["workers"] = workers.get("count")
    try:
        if found.get("ray") or ray.keys() - workers.keys():
            found["ray"] = xt.Ray(**ray)
        elif workers.keys() - {"count"}:
            found["workers"] = xt.Workers(**workers)
    except InputError as error:  # --timeout may be another option of the command
        place = error.place or ""
        options = {**_options_of(xt.Workers), **_options_of(xt.Ray)}
        raise error.at(_flag(options.get(place, place))) from None
    return found


def _options_of(kind: type) -> dict[str, str]:
    """The options that the fields of an `xt.Ray` or an `xt.Workers` are set by."""
    return {name: setting.option for name, setting in settings(kind).items()}


def _set(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `xt.Ray` or an `xt.Workers` that options set."""
    options = _options_of(kind)
    values = {one.name: given.get(options[one.name], one.default) for one in fields(kind)}
    return {one.name: values[one.name] for one in fields(kind) if values[one.name] != one.default}


def functions_named(texts: Sequence[str]) -> list[Callable[..., Any]]:
    """The functions that the option --trainer names, imported.

    Raises:
        InputError: one of them names none, or cannot be imported.
    """
    from xortune.driver import trainer

    return trainer.functions_named(texts)


def listener(
    draw: Callable[[object], None] | None = None, *, quiet: bool = False, failures: bool = False
) -> Callable[[Event], None]:
    """What a command shows of the events of its verb.

    Args:
        draw: shows progress, as `Display.search` or `Display.seeds` returned it.
        quiet: whether only errors are printed.
        failures: whether the first failure is.
    """

    def show(event: Event) -> None:
        if isinstance(event, Message):
            if not quiet or event.level == "error":
                note(event.text)
        elif isinstance(event, xt.Failure):
            if failures:
                show_failure(event)
        elif draw is not None:
            draw(event)

    return show


def split(text: str) -> list[str]:
    """Split `a, b` into a list."""
    return [part.strip() for part in text.split(",") if part.strip()]


_OPTION = re.compile(r"^(\w+)(?: \((.+?)\))?: (.+(?:\n .+)*)", re.MULTILINE)
"""`name: text`; in brackets other names of the option, or the placeholder of its value."""

_TYPED = {"bool": bool, "int": int, "float": float}
"""What is typed for an argument of this type; text for all others."""


def _option(name: str, kind: Any, default: Any, text: str, brackets: str = "") -> Parameter:
    """An option of a command; `brackets` as in a docstring's options."""
    others = brackets.split(", ") if brackets else []
    names = [one for one in others if one.startswith("-")]
    if not any(one.startswith("--") for one in names):
        names.insert(0, _flag(name))
    metavar = next((one for one in others if not one.startswith("-")), None)
    about = typer.Option(*names, help=" ".join(text.split()), metavar=metavar)
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, about]
    )


def _arguments(of: type) -> dict[str, Parameter]:
    """The options that arguments of a verb are, by the names of their fields."""
    told = texts(of)
    found = {}
    for one in sorted(fields(of), key=lambda one: list(told).index(one.name)):
        option, default = option_of(one), one.default
        if not option.there or default is MISSING:
            continue
        text = told[one.name].partition(" In Python ")[0]
        text = re.sub(r"`(\w+)`", lambda name: _flag(name[1]) if name[1] in told else name[0], text)
        kind = option.typed or _TYPED.get(str(one.type).removesuffix(" | None"), str)
        kind, default = (kind, default) if default not in (None, ()) else (kind | None, None)
        name = option.name or one.name
        found[one.name] = _option(name, kind, default, text[:1].upper() + text[1:])
    return found


def training_options(*kinds: type) -> dict[str, Parameter]:
    """The options that the fields of `xt.Ray` and `xt.Workers` are, by their names."""
    found = {}
    for kind in kinds:
        hints = get_type_hints(kind)
        for one in fields(kind):
            setting, hint = settings(kind)[one.name], hints[one.name]
            typed = str | None if str in get_args(hint) else hint
            found[setting.option] = _option(setting.option, typed, one.default, setting.help)
    return found


def command(
    *examples: str,
    name: str | None = None,
    of: type | None = None,
    trackers: bool = False,
    interrupted: Interruption = "interrupted: nothing is kept",
) -> Callable[[F], F]:
    """Register a command, whose help is its docstring. A flag has no opposite `--no-...`.

    Its options are the arguments of a verb, those of its signature, which the docstring explains
    below `Options:`, and those of who trains. What its signature lacks reaches it as `**given`.
    Its errors are one line on stderr and an exit code.

    Args:
        examples: shown below the help.
        name: of the command, if it is not the function's.
        of: the arguments of its verb, a class of `driver.arguments`.
        trackers: whether it has the options `TRACKERS`.
        interrupted: the message after Ctrl-C or the end of Ray, or a function that makes it.
    """

    def registered(function: F) -> F:
        about, _, own = (inspect.getdoc(function) or "").partition("\n\nOptions:\n")
        told = {key: more for key, *more in _OPTION.findall(f"{OPTIONS}\n{dedent(own)}")}
        mine = dict(inspect.signature(function, eval_str=True).parameters)
        mine.pop("given", None)
        named = {key: mine.pop(key) for key, one in [*mine.items()] if key not in told}
        shown = {key: mine.pop(key) for key in ("quiet", "as_json") if key in mine}
        of_verb = {} if of is None else _arguments(of)
        first = {key: of_verb[key] for key in of_verb if key in vars(of)["__annotations__"]}
        trained = {}
        if of is not None:
            kinds = (xt.Ray, xt.Workers) if issubclass(of, RayArguments) else (xt.Workers,)
            trained = training_options(*kinds)
        tracked = [
            _option(key, (list[str] if key == "tracker" else str) | None, None, *told[key][::-1])
            for key in TRACKERS
            if trackers
        ]
        options = [
            *first.values(),
            *tracked,
            *(_option(key, p.annotation, p.default, *told[key][::-1]) for key, p in mine.items()),
            *(one for key, one in of_verb.items() if key not in first),
            *trained.values(),
            *(_option(key, p.annotation, p.default, *told[key][::-1]) for key, p in shown.items()),
        ]
        renamed = {} if of is None else {**_options_of(xt.Workers), **_options_of(xt.Ray)}
        renamed |= {key: one.name for key, one in of_verb.items()}
        flags = {key: _flag(option) for key, option in renamed.items()}
        for one in options:
            flag = one.annotation.__metadata__[0].default  # where typer keeps the first name
            flags |= {one.name: flag, flag.strip("-"): flag}

        @functools.wraps(function)
        def run(**given: Any) -> None:
            with exit_on_error(interrupted, flags):
                function(**given)

        every = [*(one.replace(kind=Parameter.KEYWORD_ONLY) for one in named.values()), *options]
        run.__dict__["__signature__"] = inspect.Signature(every)
        run.__annotations__ = {one.name: one.annotation for one in every}
        epilog = "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *examples])
        kind = TrackerCommand if trackers else None
        app.command(name or function.__name__, cls=kind, help=about, epilog=epilog)(run)
        return function

    return registered


# -------------------------------------------------------------------------------------------------
# Errors and exit codes.


@contextmanager
def exit_on_error(interrupted: Interruption, flags: Mapping[str, str]) -> Iterator[None]:
    """Turn an error into one line on stderr and its exit code; bad input gives no traceback.

    Args:
        interrupted: as of `command`.
        flags: what an error about an argument of this name names in its place.
    """
    with from_command_line(["xortune", *sys.argv[1:]]):
        try:
            yield
        except (InputError, OSError, TrainingError, KeyboardInterrupt, Halted) as error:
            if isinstance(error, InputError):
                place = error.place or ""
                error = error.at(flags.get(place, place))
            fail(*_message(error, interrupted))
        except ImportError:
            if not is_interrupted():
                raise
            # What a compiled package makes of a signal that comes while it is imported.
            fail(*_message(KeyboardInterrupt(), interrupted))


def _flag(option: str) -> str:
    """An option as it is typed: `--trial-timeout` of `trial_timeout`."""
    return f"--{option}".rstrip("_").replace("_", "-")


def _message(error: BaseException, interrupted: Interruption) -> tuple[str, int]:
    if isinstance(error, DisturbedError):
        return f"interrupted: {error}", INTERRUPTED
    if isinstance(error, InputError):
        return f"error: {error}", BAD_INPUT
    if isinstance(error, TrainingError):
        kept = "finished work is kept; the same command continues, a search with --resume"
        return f"stopped: {error}; {kept}", NO_OUTCOME
    if isinstance(error, OSError):  # that no verb has turned into an InputError
        place = "" if error.filename is None else f"{error.filename}: "
        fix = FREE_SPACE if is_full(error) else memory_fix(error)
        more = "" if fix is None else f"; fix: {fix}"
        return f"error: {place}{error.strerror or error}{more}", BAD_INPUT
    assert isinstance(error, KeyboardInterrupt | Halted)
    text = interrupted if isinstance(interrupted, str) else interrupted(error)
    how = f"interrupted: {error};" if isinstance(error, Halted) else f"{ending()}:"
    return text.replace("interrupted:", how, 1), INTERRUPTED


def fail(text: str, code: int) -> NoReturn:
    """Print a message on stderr, without control characters of others' files, and exit."""
    settle()
    print("\n".join(plain(line) for line in text.split("\n")), file=sys.stderr)
    raise typer.Exit(code)


def report_unexpected(error: Exception) -> int:
    """Print an error that no command expects as one line; XORTUNE_DEBUG=1 raises it instead."""
    if os.environ.get("XORTUNE_DEBUG"):
        raise error
    text = plain(error_text(error))[:2000]
    fix = memory_fix(error)
    more = "an unexpected error: XORTUNE_DEBUG=1 shows its traceback" if fix is None else fix
    print(f"error: {text}; {'' if fix is None else 'fix: '}{more}", file=sys.stderr)
    return BAD_INPUT


# -------------------------------------------------------------------------------------------------
# Printing.
#
# The result of a command is its files and its exit code. A terminal that lacks characters, a reader
# that goes away, and a full disk lose only what is printed, and never fail the command.


UNLIMITED = 100_000
"""Columns of what is no terminal: more than any table needs."""


def console(*, ends: bool = True) -> Console:
    """Where results are printed: as wide as the terminal, and without limit in a pipe or a file.

    The variable COLUMNS outranks both. The command has ended by then, and a signal no longer
    changes its exit code; with `ends` False it goes on.
    """
    if ends:
        settle()
    is_limited = os.environ.get("COLUMNS", "").isdecimal() or sys.stdout.isatty()
    return Console(highlight=False, width=None if is_limited else UNLIMITED)


def show(*lines: str, ends: bool = True) -> None:
    """Print lines of a result; markup in them is text. `ends` is as of `console`."""
    for line in lines:
        console(ends=ends).print(Text(line), soft_wrap=True)


def print_message(sentence: str) -> None:
    """Print a sentence for the user on stderr, beside the result."""
    Console(stderr=True, highlight=False).print(Text(sentence), soft_wrap=True)


def note(sentence: str) -> None:
    """Print on stderr something that is no error."""
    print_message(f"note: {sentence}")


def announce_compilation(engine: str) -> None:
    """Say that the engine is compiled first, if it is: the wait would look like a hang."""
    from xortune.trainers.network import is_compiled

    if engine in ("auto", "fused") and not is_compiled():
        print_message("The fused engine is compiled at its first use: some 15 seconds, once.")


def print_json(value: dict[str, Any], *, ends: bool = True) -> None:
    """Print a result as JSON; numbers that are not finite are null. `ends` is as of `console`."""
    if ends:
        settle()
    finite = json.loads(json.dumps(value), parse_constant=lambda _: None)
    typer.echo(json.dumps(finite, indent=2, allow_nan=False))


class _GuardedFile(io.FileIO):
    """A descriptor whose writes always succeed; after the first error it drops everything."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        while self.error is None:
            try:
                written = super().write(data)
            except OSError as error:
                self.error = error
                break
            if written is not None:
                return written
            select.select((), (self,), ())  # the terminal or pipe is in non-blocking mode
        return memoryview(data).nbytes


def guard_streams() -> None:
    """Replace sys.stdout and sys.stderr by streams that never fail.

    A closed descriptor is opened on the null device first: otherwise a file of the run would get
    its number, and printed text would go there.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # os.open takes the lowest free number, which is this one
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    codecs.register_error("xortune.ascii", _in_ascii)
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def lost_output() -> str | None:
    """Why output on stdout was lost; None if it was not, or if its reader has gone away."""
    error = _stdout_error()
    return None if error is None or nobody_reads() else error.strerror or str(error)


def nobody_reads() -> bool:
    """Whether the reader of stdout has gone away."""
    error = _stdout_error()
    return error is not None and error.errno == errno.EPIPE


def _stdout_error() -> OSError | None:
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, _GuardedFile) else None


def _guarded(stream: TextIO | None, number: int) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_GuardedFile(number, "wb", closefd=False)),
        encoding=getattr(stream, "encoding", None) or "utf-8",
        errors="xortune.ascii",
        line_buffering=number == 2 or os.isatty(number),
    )


_LOOKALIKES = str.maketrans("–—−×", "---x")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Error handler for `codecs`: replace characters that the encoding lacks by ASCII, or `?`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_LOOKALIKES)
    letters = (unicodedata.normalize("NFKD", sign).encode("ascii", "ignore") for sign in text)
    return "".join(letter.decode() or "?" for letter in letters), error.end
