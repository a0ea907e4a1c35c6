"""What all commands share: the app, common options, errors as one line, exit codes."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from xortune.core.errors import (
    DisturbedError,
    Halted,
    InputError,
    TrainingError,
    from_command_line,
    named,
)
from xortune.core.files import FREE_SPACE, is_full
from xortune.core.formats import plain

BAD_INPUT, INTERRUPTED, NO_OUTCOME = 2, 3, 4

app = typer.Typer(
    name="xortune",
    help="Find hyperparameters that train successfully for every random seed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
SpaceFile = Annotated[Path, typer.Argument(metavar="SPACE", help="A search-space file (YAML).")]
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, or its URL.")]


def examples(*commands: str) -> str:
    """What stands below a command's help: each example by itself."""
    return "\n\n".join(["Examples:" if len(commands) > 1 else "Example:", *commands])


def tell_of_compiling(engine: str) -> None:
    """Say so where the engine will be compiled first: the wait would look like a hang."""
    from xortune.trainers.network import is_compiled

    if engine in ("auto", "fused") and not is_compiled():
        Console(stderr=True, highlight=False).print(
            "The fused engine is compiled at its first use: some 15 seconds, once.",
            soft_wrap=True,
        )


@contextmanager
def told(
    interrupted: str | Callable[[KeyboardInterrupt | Halted], str] = "interrupted: nothing is kept",
) -> Iterator[None]:
    """Errors as one line on stderr and the right exit code; never a traceback for bad input.

    Args:
        interrupted: what is told of Ctrl-C, or of Ray's end, or what makes it.
    """
    with from_command_line():
        yield from _told(interrupted)


def _told(interrupted: str | Callable[[KeyboardInterrupt | Halted], str]) -> Iterator[None]:
    try:
        yield
    except DisturbedError as error:
        fail(f"interrupted: {error}", INTERRUPTED)
    except InputError as error:
        fail(f"error: {error}", BAD_INPUT)
    except TrainingError as error:
        fail(f"stopped: {error}; what had finished is kept, --resume goes on", NO_OUTCOME)
    except OSError as error:
        fail(f"error: {_told_os(error)}", BAD_INPUT)
    except KeyboardInterrupt as error:
        fail(interrupted if isinstance(interrupted, str) else interrupted(error), INTERRUPTED)
    except Halted as error:
        text = interrupted if isinstance(interrupted, str) else interrupted(error)
        fail(text.replace("interrupted: ", f"interrupted: {error}; ", 1), INTERRUPTED)


@contextmanager
def naming_options(*names: str) -> Iterator[None]:
    """Errors about an argument of the verb are told as errors about the option of that name."""
    try:
        yield
    except InputError as error:
        if error.field in names and error.place == error.field:
            raise error.at(f"--{error.field.replace('_', '-')}") from None
        raise


def fail(text: str, code: int) -> NoReturn:
    """End the command with a line on stderr; names in it may be from a file of somebody else."""
    print("\n".join(plain(line) for line in text.split("\n")), file=sys.stderr)
    raise typer.Exit(code)


def _told_os(error: OSError) -> str:
    """An error of the operating system that no verb has told in its own words."""
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror or error}" + (f"; fix: {FREE_SPACE}" if is_full(error) else "")


def unforeseen(error: Exception) -> int:
    """Tell an error that no command expects as one line; XORTUNE_DEBUG=1 shows where it is from."""
    if os.environ.get("XORTUNE_DEBUG"):
        raise error
    text = plain(named(error))[:2000]
    print(f"error: {text}; not foreseen: XORTUNE_DEBUG=1 shows where it is from", file=sys.stderr)
    return BAD_INPUT


def console() -> Console:
    """Where results are printed."""
    return Console(highlight=False)


def print_json(value: dict[str, Any]) -> None:
    """Print a result as JSON; what is not finite is null."""
    typer.echo(json.dumps(_without_nan(value), indent=2, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
