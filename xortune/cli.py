"""The command line: argv, printing, exit codes; everything else is `xortune.api`.

Exit codes: 0 ok (seeds that fail are results), 2 bad input, 3 interrupted with the run resumable,
4 some evaluation produced no outcome.
"""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xortune import __version__
from xortune.errors import InputError

if TYPE_CHECKING:
    from xortune.outcome import Outcome
    from xortune.run import Run

__all__ = ["app", "main"]

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
RunDirectory = Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory.")]


def main() -> None:
    """Run the command line."""
    # The results of a large search are a million small objects, all of which stay: with Python's
    # default threshold its collector looks at each of them hundreds of times.
    gc.set_threshold(100_000, 50, 50)
    app()


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Find hyperparameters that train successfully for every random seed."""
    if version:
        typer.echo(f"xortune {__version__}")
        raise typer.Exit


@app.command(
    epilog="Examples:  xortune search search_spaces/xor.yaml   |   "
    "xortune search my.yaml --trials 50 --output runs/a   |   "
    "xortune search my.yaml --output runs/a --trials 100 --resume"
)
def search(
    space: SpaceFile,
    output: Annotated[
        Path | None, typer.Option(help="The run's directory; runs/NAME if not given.")
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, gp, nsgaii, random, grid or cmaes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Start nothing new after this long: 90s, 10m, 2h.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on, such as auto; else this machine.")
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="CPUs for each Ray trial.")] = 1.0,
    gpus_per_trial: Annotated[float, typer.Option(help="GPUs for each; fractions share.")] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search a space for the configuration that solves its task for the most seeds."""
    from xortune.terminal_progress import shown_progress

    with _told():
        from xortune import api
        from xortune.space import describe, load_space, with_search

        asked = with_search(
            load_space(space), trials=trials, sampler=sampler, seed=seed, time_budget=time_budget
        )
        silent = quiet or as_json
        if not silent:
            what = describe(asked)
            Console(stderr=True, highlight=False).print(
                Text(
                    f"{what.name}: {what.trials:,} configurations ({what.sampler}) x "
                    f"{what.ladder[-1]:,} seeds, task {what.task}"
                    + (f"; at most {what.seed_epochs:.2g} seed-epochs" if what.seed_epochs else "")
                ),
                soft_wrap=True,
            )
            _tell_of_compiling("auto")
        with shown_progress(quiet=silent) as on_progress:
            run = api.search(
                asked,
                output=output,
                resume=resume,
                address=address,
                cpus_per_trial=cpus_per_trial,
                gpus_per_trial=gpus_per_trial,
                on_progress=on_progress,
                command=["xortune", *sys.argv[1:]],
            )
        _show_run(run, quiet=quiet, as_json=as_json)
    if any(e.final and e.outcome is None for e in run.evaluations):
        raise typer.Exit(NO_OUTCOME)


@app.command(
    epilog="Example:  xortune evaluate --activation Tanh --loss MSELoss --optimizer Adam "
    "--lr 0.03 --hidden-dim 5 --epochs 1000 --seeds 100"
)
def evaluate(
    activation: Annotated[str, typer.Option(help="torch.nn class name, or none.")],
    loss: Annotated[str, typer.Option(help="torch.nn class name.")],
    optimizer: Annotated[str, typer.Option(help="torch.optim class name.")],
    lr: Annotated[float, typer.Option(help="Learning rate.")],
    hidden_dim: Annotated[int, typer.Option(help="Units of the hidden layer.")],
    epochs: Annotated[int, typer.Option(help="Optimizer steps.")],
    seeds: Annotated[int, typer.Option(help="How many seeds.")] = 100,
    momentum: Annotated[float, typer.Option(help="For SGD and RMSprop.")] = 0.0,
    task: Annotated[str, typer.Option(help="xor, parity-N, or a CSV file.")] = "xor",
    no_zero_grad: Annotated[
        bool, typer.Option("--no-zero-grad", help="Let gradients add up from step to step.")
    ] = False,
    first_seed: Annotated[int, typer.Option(help="The first seed; the others follow it.")] = 0,
    engine: Annotated[str, typer.Option(help="auto, fused, reference or cuda.")] = "auto",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train one configuration under many seeds and count the solved ones."""
    with _told():
        from xortune import api
        from xortune.config import Config

        config = Config(
            activation=None if activation.lower() == "none" else activation,
            loss=loss,
            optimizer=optimizer,
            lr=lr,
            momentum=momentum,
            hidden_dim=hidden_dim,
            epochs=epochs,
            zero_grad=not no_zero_grad,
        )
        if seeds < 1:
            raise InputError(f"{seeds} seeds", place="--seeds", allowed="1 or more")
        if first_seed < 0 or first_seed + seeds > 2**32:
            raise InputError(
                f"seeds {first_seed} to {first_seed + seeds - 1}",
                place="--first-seed",
                allowed="seeds from 0 to 2**32 - 1",
            )
        if not (quiet or as_json):
            _tell_of_compiling(engine)
        outcome = api.evaluate(
            config, range(first_seed, first_seed + seeds), task=task, engine=engine
        )
    if as_json:
        _print_json(_outcome_json(outcome) | {"key": config.key, "config": dict(config.point)})
    elif not quiet:
        _show_outcome(outcome)


@app.command(epilog="Example:  xortune space search_spaces/xor.yaml")
def space(space: SpaceFile, as_json: AsJson = False) -> None:
    """Validate a space file, and say what it holds and what searching it may cost."""
    with _told():
        from xortune.engine.network import NetworkTrainer
        from xortune.space import check_space, describe, load_space

        loaded = load_space(space)
        check_space(loaded, NetworkTrainer(loaded.task))
        description = describe(loaded)
    if as_json:
        from dataclasses import asdict

        _print_json(asdict(description))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in description:
        table.add_row(Text(label), Text(text))
    _console().print(table)


@app.command(epilog="Example:  xortune report runs/xor --format md,csv")
def report(
    run: RunDirectory,
    formats: Annotated[
        str, typer.Option("--format", help="Which files, separated by commas: md, csv, parquet.")
    ] = "md,csv,parquet",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's tables and report again, from its journal, and show the best."""
    with _told():
        from xortune import api

        loaded = api.load_run(run)
        api.write_report(loaded, formats=[part.strip() for part in formats.split(",")])
        _show_run(loaded, quiet=quiet, as_json=as_json)


@app.command(
    epilog="Examples:  xortune compare runs/sweep --reference published.tsv   |   "
    "xortune compare runs/sweep --reference t.csv --column lr=Rate --where momentum=0"
)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="A run's directory.")],
    reference: Annotated[
        Path | None, typer.Option(help="A table of published success counts: CSV or TSV.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN: what a column holds; k, n, percent too.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: compare only configs with this value.")
    ] = None,
    reference_seeds: Annotated[
        int | None, typer.Option(help="Seeds of each of its cells, if no column says.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests.")] = 0.05,
    output: Annotated[
        Path | None, typer.Option(help="Where the files go; the run's directory if not given.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Test each cell of a published table against a run: which differ beyond chance."""
    with _told():
        from xortune import api
        from xortune.terminal_comparison import comparison_json, pairs, render_comparison

        found = api.compare(
            runs,
            reference=reference,
            columns=pairs("--column", column),
            where=pairs("--where", where),
            reference_seeds=reference_seeds,
            alpha=alpha,
        )
        files = api.write_comparison(found, output)
    if as_json:
        _print_json(comparison_json(found, files))
    elif not quiet:
        render_comparison(found, files, _console())


def _tell_of_compiling(engine: str) -> None:
    from xortune.engine.network import is_compiled

    if engine in ("auto", "fused") and not is_compiled():
        Console(stderr=True, highlight=False).print(
            "The fused engine is compiled at its first use: some 15 seconds, once.",
            soft_wrap=True,
        )


@contextmanager
def _told() -> Iterator[None]:
    """Errors as one line on stderr and the right exit code; never a traceback for bad input."""
    try:
        yield
    except InputError as error:
        _fail(f"error: {error}", BAD_INPUT)
    except KeyboardInterrupt:
        _fail(
            "interrupted: what had finished is kept; the same command with --resume continues"
            " (name the run with --output)",
            INTERRUPTED,
        )


def _fail(text: str, code: int) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(code)


def _console() -> Console:
    return Console(highlight=False)


def _show_run(run: Run, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        rows = json.loads(run.table.head(10).to_json(orient="records", double_precision=15))
        _print_json(
            {
                "run": str(run.path),
                "configs": len(run.results),
                "complete": bool(run.manifest.get("complete")),
                "best": rows[0] if rows else None,
                "table": rows,
            }
        )
    elif not quiet:
        from xortune.report.terminal import render_best

        render_best(run, _console())


def _outcome_json(outcome: Outcome) -> dict[str, Any]:
    low, high = outcome.interval()
    return {
        "k": outcome.successes,
        "n": outcome.n,
        "rate": outcome.rate,
        "low": low,
        "high": high,
        "epochs_to_solve": outcome.epochs_to_solve,
        "first_seed": int(outcome.seeds[0]),
        "statuses": {status.label: count for status, count in outcome.counts.items()},
    }


def _show_outcome(outcome: Outcome) -> None:
    from xortune.report.format import interval, number, percent

    low, high = outcome.interval()
    line = (
        f"{outcome.successes}/{outcome.n} seeds solved ({percent(outcome.rate)}), "
        f"95 % interval {interval(low, high)}"
    )
    _console().print(Text(line))
    if outcome.epochs_to_solve is not None:
        _console().print(Text(f"epochs to solve: {number(round(outcome.epochs_to_solve, 1))}"))
    failed = {s.label.replace("_", " "): c for s, c in outcome.counts.items() if c and s}
    if failed:
        text = ", ".join(f"{count} {label}" for label, count in failed.items())
        _console().print(Text(f"not solved: {text}"))


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(_without_nan(value), indent=2, allow_nan=False))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
