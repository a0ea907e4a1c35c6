"""`xortune export`, `import` and `log`: results to and from other programs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

import xortune as xt
from xortune.cli.searching import OPTIONS, Mlflow, TensorBoard, Trackers, WandB, show_run, where
from xortune.cli.shared import (
    AsJson,
    Quiet,
    RunDirectory,
    app,
    console,
    examples,
    naming_options,
    print_json,
    told,
)
from xortune.core.errors import InputError
from xortune.core.formats import count, plain

if TYPE_CHECKING:
    from xortune.runs.run import Run


# -------------------------------------------------------------------------------------------------
# `xortune export`: a config as a plain PyTorch program, or as YAML or JSON.


@app.command(
    epilog=examples(
        "xortune export runs/xor --output best.py",
        "xortune export runs/xor --output conf/best.yaml",
    )
)
def export(
    run: RunDirectory,
    key: Annotated[
        str | None, typer.Option(help="Of the config; the best one if not given.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file for it; printed if not given.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="py, yaml or json; what --output ends in if not given."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="So many seeds the program trains; 20 if not given.")
    ] = None,
) -> None:
    """Print the best configuration as a plain PyTorch program, or as YAML or JSON for others."""
    with told("interrupted: nothing is written"):
        from xortune.integrations.export import exported
        from xortune.runs.files import replace_file

        loaded = xt.load_run(run)
        with naming_options("key", "format", "seeds"):
            script = xt.export(loaded, key=key, format=form or _format_of(output), seeds=seeds)
        if output is None:
            print(script, end="")
        else:
            try:
                replace_file(output, script.encode())
            except OSError as error:
                raise InputError(
                    f"cannot be written ({error.strerror})",
                    place=str(output),
                    fix="give another --output",
                ) from None
        chosen, first = exported(loaded, key).key, loaded.results[0].key
        if key is None and chosen != first:
            typer.echo(
                f"{chosen} is the certificate's first; the search's first was {first} "
                f"(--key {first})",
                err=True,
            )


def _format_of(output: Path | None) -> str:
    """By the ending of a file; a program if that says nothing."""
    ending = "" if output is None else output.suffix.lower()
    return {".yaml": "yaml", ".yml": "yaml", ".json": "json"}.get(ending, "py")


# -------------------------------------------------------------------------------------------------
# `xortune import`: a run of results that something else has produced.

IMPORT_OPTIONS = ("config", "seed", "success", "ignore", "trainer", "name")


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
        with naming_options(*IMPORT_OPTIONS):
            run = xt.import_results(
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


# -------------------------------------------------------------------------------------------------
# `xortune log`: a run, over or not, to TensorBoard, MLflow or W&B.


@app.command(
    cls=Trackers,
    epilog=examples(
        "xortune log runs/xor --tensorboard",
        "xortune log runs/xor --mlflow http://localhost:5000",
        "xortune log runs/xor --wandb",
    ),
)
def log(
    run: RunDirectory,
    tensorboard: TensorBoard = None,
    mlflow: Mlflow = None,
    wandb: WandB = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Log a finished or running run to TensorBoard, MLflow or W&B; nothing is logged twice."""
    with told("interrupted: the same command logs what is missing"):
        from xortune.integrations.following import logged, trackers_for

        with naming_options(*OPTIONS):
            trackers = trackers_for(run, **where(tensorboard, mlflow, wandb))
            if not trackers:
                raise InputError(
                    "nowhere to log to", fix="give --tensorboard, --mlflow URI or --wandb"
                )
            configs = logged(run, trackers)
        if as_json:
            logs = [{"tracker": tracker.name, "place": tracker.place} for tracker in trackers]
            print_json({"run": str(run), "configs": configs, "logged": logs})
        elif not quiet:
            for tracker in trackers:
                typer.echo(f"{tracker.name}: {configs:,} configurations in {tracker.place}")
