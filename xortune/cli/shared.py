"""What all commands share: the app, options, errors as one line, exit codes, printing."""

from __future__ import annotations

import inspect
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, NoReturn, TypeVar, get_origin, get_type_hints

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand

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

OPTIONS = """
quiet (-q): Print errors only.
as_json (--json): Print the result as JSON.
trials: Configurations to evaluate.
note: A sentence about the run, for its manifest, status and report.
tag: A tag of the run; give it as often as you like.
sampler: tpe, gp, nsgaii, random, grid or cmaes.
seed: Seed of the sampler.
time_budget: Start no training after this long: 90s, 10m, 2h. A certificate follows if it takes at
    most a tenth of this time.
address: Ray cluster to run on, such as auto. This machine if not given.
cpus_per_trial: CPUs for each Ray trial.
gpus_per_trial: GPUs for each Ray trial; with 0.25 four trials share one.
trial_timeout: Kill a worker that spends this long on one batch of trainings: 90s, 10m. A training
    that takes longer alone counts as crashed.
study_storage: Share an Optuna study with other searches of the space: journal://PATH,
    sqlite:///PATH or postgresql://...
study_name: Name of that study; derived from the space if not given.
workers: How many trials run at once on this machine. If not given, as many as its CPUs allow. 0:
    this process.
trainer: With --config: your training, in place of the built-in network: ./train.py:run, or a
    command such as 'python train.py --lr={lr} --seed={seed}'.
success: With --trainer: what a success is, such as 'accuracy >= 0.9'.
metric: With a command: where it prints its numbers: last line json, last line number, or
    "{regex: 'accuracy: (.*)', name: accuracy}".
timeout: With --trainer: time limit for one seed, such as 90s or 10m.
resume: Continue the run.
engine: What trains the built-in network: auto, fused, reference or cuda.
tensorboard ([DIR]): Log each configuration for TensorBoard's HParams; to RUN/tensorboard without
    DIR.
mlflow (URI): Log each configuration to MLflow: http://HOST:PORT, ...
wandb ([PROJECT]): Log each configuration to W&B; to xortune without PROJECT.
"""
"""Of several commands, as in the docstring of one."""

TRACKERS = ("tensorboard", "mlflow", "wandb")


class TrackerCommand(TyperCommand):
    """A command whose options --tensorboard and --wandb may stand without a value."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """What comes after such an option is its value, unless it is an option too."""
        given = []
        for place, word in enumerate(args):
            following = args[place + 1 : place + 2]
            bare = not following or following[0].startswith("-")
            given.append(f"{word}=" if bare and word in ("--tensorboard", "--wandb") else word)
        return super().parse_args(ctx, given)


def trackers_asked(
    tensorboard: str | None, mlflow: str | None, wandb: str | None
) -> dict[str, Any]:
    """The options as arguments of a verb: what stands without a value is true."""
    given = {"tensorboard": tensorboard == "" or tensorboard, "wandb": wandb == "" or wandb}
    return given | {"mlflow": mlflow}


def arguments(given: dict[str, Any], *others: str) -> dict[str, Any]:
    """The options of a command that are arguments of its verb: all but those for printing.

    Args:
        given: `locals()` of the command at its beginning.
        others: names that the verb does not have, or that the command passes itself.
    """
    return {k: v for k, v in given.items() if k not in ("quiet", "as_json", *others)}


def split(text: str) -> list[str]:
    """`a, b` as a list."""
    return [part.strip() for part in text.split(",") if part.strip()]


_OPTION = re.compile(r"^(\w+)(?: \((.+?)\))?: (.+(?:\n .+)*)", re.MULTILINE)
"""`name: text`; in brackets other names on the command line, or what stands for its value."""


def command(*examples: str, name: str | None = None, trackers: bool = False) -> Callable[[F], F]:
    """A command of the app, whose help is its docstring; a flag has no opposite.

    Below `Options:` it says what those of its options are that are not in `OPTIONS`.

    Args:
        examples: what stands below the help, each by itself.
        name: where it cannot be the function's.
        trackers: whether it has the options of `TrackerCommand`.
    """

    def registered(function: F) -> F:
        about, _, own = (inspect.getdoc(function) or "").partition("\n\nOptions:\n")
        texts = {key: more for key, *more in _OPTION.findall(f"{OPTIONS}\n{dedent(own)}")}
        hints = get_type_hints(function, include_extras=True)
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
        epilog = "\n\n".join(["Examples:" if len(examples) > 1 else "Example:", *examples])
        kind = TrackerCommand if trackers else None
        app.command(name, cls=kind, help=about, epilog=epilog)(function)
        return function

    return registered


# -------------------------------------------------------------------------------------------------
# Errors and exit codes.


@contextmanager
def told(
    interrupted: str | Callable[[KeyboardInterrupt | Halted], str] = "interrupted: nothing is kept",
    options: Iterable[str | None] = (),
) -> Iterator[None]:
    """Errors as one line on stderr and the right exit code; never a traceback for bad input.

    Args:
        interrupted: what is told of Ctrl-C, or of Ray's end, or what makes it.
        options: arguments of the verb; an error about one is told as one about the option.
    """
    with from_command_line():
        try:
            yield
        except (InputError, OSError, TrainingError, KeyboardInterrupt, Halted) as error:
            if isinstance(error, InputError) and error.place in options:
                error = error.at(f"--{error.place}".replace("_", "-"))
            fail(*_message(error, interrupted))


def _message(
    error: BaseException, interrupted: str | Callable[[KeyboardInterrupt | Halted], str]
) -> tuple[str, int]:
    if isinstance(error, DisturbedError):
        return f"interrupted: {error}", INTERRUPTED
    if isinstance(error, InputError):
        return f"error: {error}", BAD_INPUT
    if isinstance(error, TrainingError):
        return f"stopped: {error}; finished work is kept, --resume continues", NO_OUTCOME
    if isinstance(error, OSError):  # that no verb has told in its own words
        place = "" if error.filename is None else f"{error.filename}: "
        fix = f"; fix: {FREE_SPACE}" if is_full(error) else ""
        return f"error: {place}{error.strerror or error}{fix}", BAD_INPUT
    assert isinstance(error, KeyboardInterrupt | Halted)
    text = interrupted if isinstance(interrupted, str) else interrupted(error)
    if isinstance(error, Halted):
        text = text.replace("interrupted: ", f"interrupted: {error}; ", 1)
    return text, INTERRUPTED


def fail(text: str, code: int) -> NoReturn:
    """End the command with a line on stderr; names in it may be from a file of somebody else."""
    print("\n".join(plain(line) for line in text.split("\n")), file=sys.stderr)
    raise typer.Exit(code)


def unforeseen(error: Exception) -> int:
    """Tell an error that no command expects as one line; XORTUNE_DEBUG=1 shows where it is from."""
    if os.environ.get("XORTUNE_DEBUG"):
        raise error
    text = plain(named(error))[:2000]
    print(
        f"error: {text}; an unexpected error: XORTUNE_DEBUG=1 shows its traceback", file=sys.stderr
    )
    return BAD_INPUT


# -------------------------------------------------------------------------------------------------
# Printing.


def console() -> Console:
    """Where results are printed."""
    return Console(highlight=False)


def show(*lines: str) -> None:
    """Print lines of a result; markup in them is text."""
    for line in lines:
        console().print(Text(line), soft_wrap=True)


def say(sentence: str) -> None:
    """Print what the user should know, beside the result."""
    Console(stderr=True, highlight=False).print(Text(sentence), soft_wrap=True)


def note(sentence: str) -> None:
    """Say something that is no error."""
    say(f"note: {sentence}")


def tell_of_compiling(engine: str) -> None:
    """Say so where the engine will be compiled first: the wait would look like a hang."""
    from xortune.trainers.network import is_compiled

    if engine in ("auto", "fused") and not is_compiled():
        say("The fused engine is compiled at its first use: some 15 seconds, once.")


def print_json(value: dict[str, Any]) -> None:
    """Print a result as JSON; what is not finite is null."""
    typer.echo(json.dumps(_without_nan(value), indent=2, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
