"""The command line: argv, printing, exit codes; everything else is in the other rooms.

Exit codes: 0 ok (seeds that fail are results), 1 a gate did not pass, 2 bad input, 3 interrupted
with the run resumable, by Ctrl-C, SIGTERM or SIGHUP, 4 some evaluation produced no outcome.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from typing import Annotated

import typer

from xortune.cli import comparing, exchange, proving, searching  # noqa: F401  # their commands
from xortune.cli.shared import (
    BAD_INPUT,
    INTERRUPTED,
    app,
    guard_streams,
    lost_output,
    report_unexpected,
)
from xortune.core.private import run_exit_functions
from xortune.core.version import VERSION
from xortune.training.process import (
    FORCED,
    end_with,
    ending,
    handle_signals,
    ignore_signals,
    settle,
)

__all__ = ["app", "main"]

RESULT_ELSEWHERE = ("search", "certify", "report", "compare", "import", "log", "gate")
"""Commands whose result is in files or the exit code, so that lost output is no failure."""

ORDER = (
    *("search", "space", "report", "status", "certify", "gate", "plan", "evaluate", "compare"),
    *("export", "import", "log", "plugins"),
)
"""The order of the commands in --help."""

app.registered_commands.sort(
    key=lambda command: ORDER.index(command.name or getattr(command.callback, "__name__", ""))
)


def main() -> None:
    """Run the command line."""
    # A large search keeps a million small objects, and with the default threshold the garbage
    # collector visits each of them hundreds of times.
    gc.set_threshold(100_000, 50, 50)
    atexit.register(ignore_signals)  # the first one: it is called last
    handle_signals()  # SIGTERM of a job scheduler and a closed terminal leave a run to resume, too
    guard_streams()
    try:
        app()
    except SystemExit as end:
        code = end.code
    except Exception as error:
        code = report_unexpected(error)
    settle()
    if code == FORCED:  # a signal arrived before a command could handle it
        print(f"{ending()}: nothing had begun", file=sys.stderr)
        code = INTERRUPTED
    code = _checked_output(code)
    if isinstance(code, int | None):
        end_with(code or 0)
    if isinstance(code, int) and ("ray" in sys.modules or code == INTERRUPTED):
        # Ray's threads outlive `ray.shutdown`. An interrupted one can crash the process while
        # Python takes it apart, and the exit code would be that of the crash. It would be that of
        # the signal if another one comes then, or, with -m, if the first came in code that is made
        # from a text, as a dataclass is.
        run_exit_functions()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _checked_output(code: str | int | None) -> str | int | None:
    """The exit code of a command: that of a failure if its only result was printed and is lost."""
    if (lost := lost_output()) is None:
        return code
    if sys.argv[1:2] and sys.argv[1] in RESULT_ELSEWHERE and "--json" not in sys.argv:
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
        typer.echo(f"xortune {VERSION}")
        raise typer.Exit
