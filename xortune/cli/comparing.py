"""`xortune compare`: runs with each other, or a run with a published table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import xortune as xt
from xortune.cli import shared as cli
from xortune.core.errors import InputError

if TYPE_CHECKING:
    from xortune.comparisons.reference import Comparison
    from xortune.comparisons.runs import RunComparison
    from xortune.comparisons.sequential import SequentialComparison


@cli.app.command(
    epilog=cli.examples(
        "xortune compare runs/tpe runs/random",
        "xortune compare runs/new runs/old --fail-if-worse",
        "xortune compare runs/xor runs/xor#a014e3ac95e32ac3",
        "xortune compare runs/new runs/old --sequential --max-seeds 500",
        "xortune compare runs/sweep --reference published.tsv --column lr=Rate",
    )
)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Directories of runs. DIRECTORY#KEY names a config other than the best.",
        ),
    ],
    reference: Annotated[
        str | None, cli.option("A table of published success counts: CSV or TSV.")
    ] = None,
    seeds: Annotated[
        int | None,
        cli.option(
            "Train every config under this many fresh seeds, the same for all, even "
            "if it is certified. Without it: 1,000 where a certificate is missing."
        ),
    ] = None,
    sequential: Annotated[
        bool,
        cli.option(
            "Train all configs seed after seed, and stop when one is proven better "
            "than every other.",
            "--sequential",
        ),
    ] = False,
    max_seeds: Annotated[
        int | None,
        cli.option("With --sequential: the most seeds, fixed beforehand. 1,000 if not given."),
    ] = None,
    no_train: Annotated[
        bool, cli.option("Refuse instead of training anything.", "--no-train")
    ] = False,
    different_tasks: Annotated[
        bool, cli.option("Compare runs of different tasks or trainers too.", "--different-tasks")
    ] = False,
    engine: cli.EngineOfSearch = None,
    trainer: Annotated[
        list[str] | None,
        cli.option(
            "Your training function, such as ./train.py:run, if a run's space does "
            "not name it. Give it once, or once for each run."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        cli.option("Give 0 to train in this process, for a debugger; no other number is allowed."),
    ] = None,
    fail_if_worse: Annotated[
        bool,
        cli.option(
            "Exit 1 if the first run is shown to solve fewer seeds than another.", "--fail-if-worse"
        ),
    ] = False,
    column: Annotated[
        list[str] | None,
        cli.option("NAME=COLUMN says which column holds a parameter, or k, n or percent."),
    ] = None,
    where: Annotated[
        list[str] | None, cli.option("NAME=VALUE compares only configs with this value.")
    ] = None,
    reference_seeds: Annotated[
        int | None, cli.option("Seeds of each cell of the table, if it has no column for them.")
    ] = None,
    alpha: Annotated[float, cli.option("Level of the tests.")] = 0.05,
    output: Annotated[
        str | None,
        cli.option(
            "Directory for the files. If not given: runs/compare-A-B, or the run's "
            "directory with --reference."
        ),
    ] = None,
    formats: Annotated[
        str, cli.option("Files to write: any of md, html, csv, tex.", "--format")
    ] = "md,html,csv",
    quiet: cli.Quiet = False,
    as_json: cli.AsJson = False,
) -> None:
    """Say which of several runs solves more seeds, or test a published table against one.

    Compares the first config of each run's search, on seeds that had no part in choosing it: the
    seeds of the certificates or, if a run has none, fresh seeds that it trains first.
    """
    with cli.told(
        "interrupted: what had finished is kept; the same command continues",
        [
            "alpha",
            "engine",
            "format",
            "max_seeds",
            "reference_seeds",
            "seeds",
            "trainer",
            "workers",
        ],
    ):
        from xortune.driver.trainer import functions_named
        from xortune.reports.files import checked_formats
        from xortune.reports.progress import display
        from xortune.reports.terminal import (
            comparison_json,
            pairs,
            render_comparison,
            render_sequential,
            sequential_json,
        )

        wanted = checked_formats(cli.split(formats))
        found: Comparison | RunComparison | SequentialComparison
        if reference is not None:
            _refuse(
                "without --reference",
                seeds=seeds,
                sequential=sequential or None,
                max_seeds=max_seeds,
                engine=engine,
                no_train=no_train or None,
                trainer=trainer,
                workers=workers,
                different_tasks=different_tasks or None,
                fail_if_worse=fail_if_worse or None,
            )
            found = xt.compare(
                runs,
                reference=reference,
                columns=pairs("--column", column),
                where=pairs("--where", where),
                reference_seeds=reference_seeds,
                alpha=alpha,
            )
        else:
            _refuse("with --reference", column=column, where=where, reference_seeds=reference_seeds)
            if trainer and no_train:
                raise InputError("with --no-train", place="--trainer", allowed="one of them")
            functions = functions_named(trainer or [])
            with display(quiet=quiet or as_json) as shown:
                found = xt.compare(
                    runs,
                    seeds=seeds,
                    sequential=sequential,
                    max_seeds=max_seeds,
                    train=functions[0] if len(functions) == 1 else functions or not no_train,
                    different_tasks=different_tasks,
                    engine=engine,
                    output=output,
                    workers=workers,
                    alpha=alpha,
                    on_progress=shown.seeds("training"),
                    on_word=None if quiet else cli.note,
                    verbose=0,
                )
        files = xt.write_comparison(found, output, formats=wanted)
    if isinstance(found, xt.SequentialComparison):
        if as_json:
            cli.print_json(sequential_json(found, files))
        elif not quiet:
            render_sequential(found, files, cli.console())
    elif as_json:
        cli.print_json(comparison_json(found, files))
    elif not quiet:
        render_comparison(found, files, cli.console())
    if fail_if_worse and not isinstance(found, xt.Comparison) and found.first_is_worse:
        raise typer.Exit(cli.NOT_PASSED)


def _refuse(allowed: str, **options: object) -> None:
    for name, given in options.items():
        if given is not None:
            place = f"--{name.replace('_', '-')}"
            raise InputError("has no meaning here", place=place, allowed=allowed)
