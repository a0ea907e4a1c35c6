"""What all commands share: the app, options, errors as one line, exit codes, printing."""

from __future__ import annotations

import codecs
import errno
import inspect
import io
import json
import os
import re
import select
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
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
    get_origin,
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
from xortune.driver.voice import Message, show_failure
from xortune.spaces.samplers import SAMPLERS
from xortune.training.process import ending, is_interrupted, settle
from xortune.training.resources import settings

if TYPE_CHECKING:
    from xortune.driver.voice import Event
    from xortune.integrations.trackers import Tracker

F = TypeVar("F", bound=Callable[..., None])

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

OPTIONS = f"""
quiet (-q): Print errors only.
as_json (--json): Print the result as JSON.
trials: Configurations to evaluate.
note: A sentence about the run, for its manifest, status and report.
tag: A tag of the run; give it as often as you like.
sampler: {", ".join(one.name for one in SAMPLERS)}, or one that `xortune plugins` lists.
seed: Seed of the sampler.
time_budget: Start no training after this long: 90s, 10m, 2h. A certificate follows if it takes at
    most a tenth of this time.
ray: Train by Ray Tune on this machine too, in place of a pool of processes.
trainer: With --config: your training, in place of the built-in network: ./train.py:run, or a
    command such as 'python train.py --lr={{lr}} --seed={{seed}}'.
success: With --trainer: what a success is, such as 'accuracy >= 0.9'.
metric: With a command: where it prints its numbers: last line json, last line number, or
    "{{regex: 'accuracy: (.*)', name: accuracy}}".
timeout: With --trainer: time limit for one seed, such as 90s or 10m.
resume: Continue the run.
from_ (--from): Another run, or an imported table, whose best configurations are proposed first; its
    seeds count in no result.
engine: What trains the built-in network: auto, fused, reference or cuda.
retry: An exception of your training that says nothing of it, such as ConnectionError,
    openai:RateLimitError or ./train.py:Busy; give it as often as you like. Its seed is tried again,
    and is void in the end. A command exits with 75.
retry_wait: Seconds before each further try of such a seed: 1,10,60 for three of them, a number
    alone for seven. 0.5,1,2,4,8,16,30 if not given.
max_void: The share of seeds that may be void, which could not be tried. More end the command with
    exit code 4. 0.05 if not given.
tensorboard ([DIR]): Log each configuration for TensorBoard's HParams; to RUN/tensorboard without
    DIR.
mlflow (URI): Log each configuration to MLflow: http://HOST:PORT, ...
wandb ([PROJECT]): Log each configuration to W&B; to xortune without PROJECT.
tracker (NAME[=WHERE]): Log each configuration by a tracker that `xortune plugins` lists; give it as
    often as you like.
"""
"""Options of several commands, in the format that a command's docstring has below `Options:`."""

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
    """The trackers that the options of a command name, by its `locals()`.

    Raises:
        InputError: there is none of a name.
    """
    from xortune.integrations.trackers import tracker_at

    asked = [(name, given[name]) for name in TRACKERS[:-1] if given[name] is not None]
    named = [text.partition("=") for text in given["tracker"] or ()]
    return [tracker_at(*one) for one in [*asked, *((name, where) for name, _, where in named)]]


RENAMED = {
    name: setting.option
    for kind in (xt.Ray, xt.Workers)
    for name, setting in settings(kind).items()
}
"""Options, by the fields of `xt.Ray` and `xt.Workers` that they set."""

UNTRIED = {"retry": list[str] | None, "retry_wait": str | None, "max_void": float | None}
"""The types of the options that say what becomes of seeds that cannot be tried."""


def training_options(*kinds: type) -> dict[str, inspect.Parameter]:
    """The options of a command that trains, by their names; see `command`."""
    found = {}
    for kind in kinds:
        hints = get_type_hints(kind)
        for field in fields(kind):
            option, hint = settings(kind)[field.name].option, hints[field.name]
            found[option] = (str | None if str in get_args(hint) else hint, field.default)
    if xt.Ray in kinds:
        found["ray"] = (bool, False)
    found |= {name: (hint, None) for name, hint in UNTRIED.items()}
    return {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
        )
        for name, (hint, default) in found.items()
    }


def training(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command that trains, as arguments of its verb.

    Raises:
        InputError: one of them is not usable.
    """
    workers, ray = _asked(xt.Workers, given), _asked(xt.Ray, given)
    who: dict[str, Any] = {"workers": workers.get("count")}
    try:
        if given.get("ray") or ray.keys() - workers.keys():
            who["ray"] = xt.Ray(**ray)
        elif workers.keys() - {"count"}:
            who["workers"] = xt.Workers(**workers)
    except InputError as error:  # --timeout may be another option of the command
        place = error.place or ""
        raise error.at(_flag(RENAMED.get(place, place))) from None
    return who | _outages(given)


def _asked(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an `xt.Ray` or an `xt.Workers` that options set."""
    named, asked = settings(kind), {}
    for field in fields(kind):
        value = given.get(named[field.name].option, field.default)
        if value != field.default:
            asked[field.name] = value
    return asked


def functions_named(texts: Sequence[str]) -> list[Callable[..., Any]]:
    """The functions that the option --trainer names, imported.

    Raises:
        InputError: one of them names none, or cannot be imported.
    """
    from xortune.driver import trainer

    return trainer.functions_named(texts)


def _outages(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options named in `UNTRIED`, as arguments of a verb."""
    from xortune.driver.trainer import exceptions_named

    return {
        "retry": exceptions_named(given["retry"] or []),
        "retry_wait": waits_of(given["retry_wait"]),
        "max_void": given["max_void"],
    }


def waits_of(text: str | None) -> float | list[float] | None:
    """The option --retry-wait: one number, or several with commas in between.

    Raises:
        InputError: one of them is no number of seconds.
    """
    if text is None:
        return None
    try:
        waits = [float(part.strip().removesuffix("s")) for part in text.strip(",").split(",")]
    except ValueError:
        problem = f"{text!r} is no number of seconds"
        raise InputError(problem, field="retry_wait", allowed="5, or several: 1,10,60") from None
    return waits if "," in text else waits[0]


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


def arguments(given: dict[str, Any], *others: str) -> dict[str, Any]:
    """The options of a command that are arguments of its verb: all but those for printing.

    Args:
        given: `locals()` at the beginning of the command.
        others: options that the verb does not have, or that the command passes itself.
    """
    return {k: v for k, v in given.items() if k not in ("quiet", "as_json", *others)}


def split(text: str) -> list[str]:
    """Split `a, b` into a list."""
    return [part.strip() for part in text.split(",") if part.strip()]


_OPTION = re.compile(r"^(\w+)(?: \((.+?)\))?: (.+(?:\n .+)*)", re.MULTILINE)
"""`name: text`; in brackets other names of the option, or the placeholder of its value."""


def command(
    *examples: str, name: str | None = None, trackers: bool = False, trains: Sequence[type] = ()
) -> Callable[[F], F]:
    """Register a command, whose help is its docstring. A flag has no opposite `--no-...`.

    The docstring explains below `Options:` those options that are not in `OPTIONS`.

    Args:
        examples: shown below the help.
        name: of the command, if it is not the function's.
        trackers: whether it has the options of `TrackerCommand`.
        trains: the values, `xt.Ray` and `xt.Workers`, whose fields are options; they and those of
            `UNTRIED` come before --quiet, and reach the function as its last argument `**given`.
    """

    def registered(function: F) -> F:
        about, _, own = (inspect.getdoc(function) or "").partition("\n\nOptions:\n")
        texts = {one.option: ["", one.help] for kind in trains for one in settings(kind).values()}
        texts |= {key: more for key, *more in _OPTION.findall(f"{OPTIONS}\n{dedent(own)}")}
        hints = get_type_hints(function, include_extras=True)
        parameters = dict(inspect.signature(function).parameters)
        if trains:
            hints.pop(parameters.popitem()[0])
            last = {name: parameters.pop(name) for name in ("quiet", "as_json")}
            options = training_options(*trains)
            hints |= {name: option.annotation for name, option in options.items()}
            parameters |= options | last
        for key, kind in hints.items():
            if key in texts and get_origin(kind) is not Annotated:
                brackets, text = texts[key]
                others = brackets.split(", ") if brackets else []
                names = [one for one in others if one.startswith("-")]
                if kind is bool and not any(one.startswith("--") for one in names):
                    names.insert(0, f"--{key.replace('_', '-')}")
                metavar = next((one for one in others if not one.startswith("-")), None)
                about_it = typer.Option(*names, help=" ".join(text.split()), metavar=metavar)
                hints[key] = Annotated[kind, about_it]
        function.__annotations__ = hints
        function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
                for name, one in parameters.items()
            ]
        )
        epilog = "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *examples])
        kind = TrackerCommand if trackers else None
        app.command(name, cls=kind, help=about, epilog=epilog)(function)
        return function

    return registered


# -------------------------------------------------------------------------------------------------
# Errors and exit codes.


Interruption: TypeAlias = str | Callable[[KeyboardInterrupt | Halted], str]


@contextmanager
def exit_on_error(
    interrupted: Interruption = "interrupted: nothing is kept", options: Iterable[str | None] = ()
) -> Iterator[None]:
    """Turn an error into one line on stderr and its exit code; bad input gives no traceback.

    Args:
        interrupted: the message after Ctrl-C or the end of Ray, or a function that makes it.
        options: of the command; an error about one of them, by its name in Python, names it.
    """
    with from_command_line(["xortune", *sys.argv[1:]]):
        try:
            yield
        except (InputError, OSError, TrainingError, KeyboardInterrupt, Halted) as error:
            if isinstance(error, InputError):
                place = error.place or ""
                for name in (place, RENAMED.get(place, "")):
                    if name in options:
                        error = error.at(_flag(name))
                        break
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
