"""The command line: argv, printing, exit codes; everything else is in the other rooms.

Exit codes: 0 ok (seeds that fail are results), 1 a gate did not pass, 2 bad input, 3 interrupted
with the run resumable, by Ctrl-C, SIGTERM or SIGHUP, 4 some evaluation produced no outcome.
"""

from __future__ import annotations

import gc
import sys
from typing import Annotated

import typer

from xortune import __version__
from xortune.cli import comparing, exchange, proving, searching  # noqa: F401  # their commands
from xortune.cli.shared import BAD_INPUT, INTERRUPTED, app, unforeseen
from xortune.cli.streams import guard_streams, lost_output
from xortune.driver.process import FORCED, handle_signals, mark_interrupted

__all__ = ["app", "main"]

IN_FILES = ("search", "certify", "report", "compare", "import", "log", "gate", "submit")
"""Commands whose result is in files, or in the exit code: what they print only shows it."""

ORDER = (
    *("search", "space", "report", "status", "certify", "gate", "plan", "evaluate", "compare"),
    *("export", "import", "log", "submit"),
)
"""In which --help lists the commands."""

app.registered_commands.sort(
    key=lambda command: ORDER.index(command.name or getattr(command.callback, "__name__", ""))
)


def main() -> None:
    """Run the command line."""
    # The results of a large search are a million small objects, all of which stay: with Python's
    # default threshold its collector looks at each of them hundreds of times.
    gc.set_threshold(100_000, 50, 50)
    # Whoever ends it by `kill`, as job schedulers do, or closes the terminal, wants what Ctrl-C
    # gives: a run to resume.
    handle_signals()
    guard_streams()
    try:
        app()
    except SystemExit as end:
        code = end.code
    except Exception as error:
        code = unforeseen(error)
    mark_interrupted()  # what comes now is not worth a traceback
    if code == FORCED:  # heard where no command does
        print("interrupted: nothing had begun", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(_shown(code))


def _shown(code: str | int | None) -> str | int | None:
    """The exit code of a command, where what it printed may not have arrived.

    Most commands' result is in files, and is there. What only prints its result has failed.
    """
    if (lost := lost_output()) is None:
        return code
    if sys.argv[1:2] and sys.argv[1] in IN_FILES and "--json" not in sys.argv:
        print(f"note: stdout cannot be written ({lost}); the files are complete", file=sys.stderr)
        return code
    print(f"error: stdout cannot be written ({lost}); its output is lost", file=sys.stderr)
    return code or BAD_INPUT


@app.callback(
    invoke_without_command=True,
    epilog="Exit codes: 0 done (seeds that failed are results), 1 a gate or a comparison did not "
    "pass, 2 bad input, 3 interrupted, 4 some block of seeds had no outcome.",
)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Find hyperparameters that train successfully for every random seed."""
    if version:
        typer.echo(f"xortune {__version__}")
        raise typer.Exit
