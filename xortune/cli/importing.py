"""`xortune import`: a run of results that something else has produced."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from xortune.cli.searching import show_run
from xortune.cli.shared import AsJson, Quiet, app, console, examples, naming_options, told

if TYPE_CHECKING:
    from xortune.run import Run

__all__ = ["import_"]

OPTIONS = ("config", "seed", "success", "ignore", "trainer", "name")


@app.command(
    "import",
    epilog=examples(
        "xortune import results.csv --config lr,width --output runs/mine",
        'xortune import results.csv --config lr --success "accuracy >= 0.9" '
        "--trainer ./train.py:run",
    ),
)
def import_(
    results: Annotated[
        Path, typer.Argument(metavar="CSV", help="One row for each configuration and seed.")
    ],
    config: Annotated[
        str, typer.Option(help="The columns that are parameters, such as lr,width.")
    ] = "",
    output: Annotated[
        str | None, typer.Option(help="Directory or URL of the run; runs/NAME if not given.")
    ] = None,
    seed: Annotated[str, typer.Option(help="The column with the seed.")] = "seed",
    success: Annotated[
        str, typer.Option(help="The column with true, false, 1 or 0; or a rule for a number.")
    ] = "success",
    ignore: Annotated[str, typer.Option(help="Columns that are not looked at.")] = "",
    missing_fails: Annotated[
        bool, typer.Option("--missing-fails", help="An empty success is a failed seed.")
    ] = False,
    trainer: Annotated[
        str | None, typer.Option(help="What trains such a configuration, to certify it.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run; the file's if not given.")] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a run of results that something else produced, and report it as one's own."""
    with told("interrupted: remove what is there of the run, and import it again"):
        from xortune import api_import

        with naming_options(*OPTIONS):
            run = api_import.import_results(
                results,
                config=_split(config),
                output=output,
                seed=seed,
                success=success,
                ignore=_split(ignore),
                missing_fails=missing_fails,
                name=name,
                trainer=trainer,
                command=["xortune", *sys.argv[1:]],
                on_word=None if quiet else _say,
            )
        if not (quiet or as_json):
            for line in _summary(run):
                console().print(Text(line), soft_wrap=True)
        show_run(run, quiet=quiet, as_json=as_json)


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(Text(f"note: {sentence}"), soft_wrap=True)


def _summary(run: Run) -> list[str]:
    """What was read, and as what."""
    from xortune.report.format import count, plain

    origin: dict[str, Any] = run.manifest["imported"]
    columns: dict[str, Any] = run.manifest["columns"]
    kinds = ", ".join(f"{plain(name)} ({kind})" for name, kind in columns["config"].items())
    lines = [
        f"{count(origin['rows'], 'row')} of {plain(origin['source'])}: "
        f"{count(len(run.results), 'configuration')} of {kinds}; a success is "
        f"{plain(origin['success'])}"
    ]
    if columns["numbers"]:
        lines.append(f"numbers kept for each seed: {', '.join(map(plain, columns['numbers']))}")
    return lines
