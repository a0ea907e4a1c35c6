"""`xortune compare`: runs with each other, or a run with a published table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

import xortune as xt
from xortune.cli import shared as cli
from xortune.core.errors import InputError, refuse_given

if TYPE_CHECKING:
    from xortune.comparisons.reference import Comparison
    from xortune.comparisons.runs import RunComparison
    from xortune.comparisons.sequential import SequentialComparison


@cli.command(
    "xortune compare runs/tpe runs/random",
    "xortune compare runs/new runs/old --fail-if-worse",
    "xortune compare runs/xor runs/xor#a014e3ac95e32ac3",
    "xortune compare runs/new runs/old --sequential --max-seeds 500",
    "xortune compare runs/sweep --reference published.tsv --column lr=Rate",
)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Directories of runs. DIRECTORY#KEY names a config other than the best.",
        ),
    ],
    reference: str | None = None,
    seeds: int | None = None,
    sequential: bool = False,
    max_seeds: int | None = None,
    no_train: bool = False,
    different_tasks: bool = False,
    engine: str | None = None,
    trainer: list[str] | None = None,
    workers: int | None = None,
    fail_if_worse: bool = False,
    column: list[str] | None = None,
    where: list[str] | None = None,
    reference_seeds: int | None = None,
    alpha: float = 0.05,
    output: str | None = None,
    formats: str = "md,html,csv",
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Say which of several runs solves more seeds, or test a published table against one.

    Compares the first config of each run's search, on seeds that had no part in choosing it: the
    seeds of the certificates or, if a run has none, fresh seeds that it trains first.

    Options:
        engine: auto, fused, reference or cuda. The search's engine if not given.
        reference: A table of published success counts: CSV or TSV.
        seeds: Train every config under this many fresh seeds, the same for all, even if it is
            certified. Without it: 1,000 where a certificate is missing.
        sequential: Train all configs seed after seed, and stop when one is proven better than every
            other.
        max_seeds: With --sequential: the most seeds, fixed beforehand. 1,000 if not given.
        no_train: Refuse instead of training anything.
        different_tasks: Compare runs of different tasks or trainers too.
        trainer: Your training function, such as ./train.py:run, if a run's space does not name it.
            Give it once, or once for each run.
        fail_if_worse: Exit 1 if the first run is shown to solve fewer seeds than another.
        column: NAME=COLUMN says which column holds a parameter, or k, n or percent.
        where: NAME=VALUE compares only configs with this value.
        reference_seeds: Seeds of each cell of the table, if it has no column for them.
        alpha: Level of the tests.
        output: Directory for the files. If not given: runs/compare-A-B, or the run's directory with
            --reference.
        formats (--format): Files to write: any of md, html, csv, tex.
    """
    training: dict[str, Any] = {
        "seeds": seeds,
        "sequential": sequential,
        "max_seeds": max_seeds,
        "engine": engine,
        "workers": workers,
        "different_tasks": different_tasks,
    }
    published = {"column": column, "where": where, "reference_seeds": reference_seeds}
    more = {"no_train": no_train, "trainer": trainer, "fail_if_worse": fail_if_worse}
    interrupted = "interrupted: what had finished is kept; the same command continues"
    with cli.exit_on_error(interrupted, ["alpha", "format", *training, *published, *more]):
        from xortune.driver.trainer import functions_named
        from xortune.reports.files import checked_formats
        from xortune.reports.progress import display
        from xortune.reports.terminal import comparison_json, render_comparison

        wanted = checked_formats(cli.split(formats))
        comparison: Comparison | RunComparison | SequentialComparison
        if reference is not None:
            refuse_given("without --reference", **training, **more)
            comparison = xt.compare(
                runs,
                reference=reference,
                columns=_pairs("--column", column),
                where=_pairs("--where", where),
                reference_seeds=reference_seeds,
                alpha=alpha,
            )
        else:
            refuse_given("with --reference", **published)
            if trainer and no_train:
                raise InputError("with --no-train", place="--trainer", allowed="one of them")
            functions = functions_named(trainer or [])
            with display(quiet=quiet or as_json) as shown:
                comparison = xt.compare(
                    runs,
                    **training,
                    train=functions[0] if len(functions) == 1 else functions or not no_train,
                    output=output,
                    alpha=alpha,
                    on_progress=shown.seeds("training"),
                    on_word=None if quiet else cli.note,
                    verbose=0,
                )
        files = xt.write_comparison(comparison, output, formats=wanted)
    if as_json:
        cli.print_json(comparison_json(comparison, files))
    elif not quiet:
        render_comparison(comparison, files, cli.console())
    if fail_if_worse and not isinstance(comparison, xt.Comparison) and comparison.first_is_worse:
        raise typer.Exit(cli.NOT_PASSED)


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str] | None:
    """The values of a repeated option NAME=VALUE; None if it was not given."""
    if not given:
        return None
    pairs: dict[str, str] = {}
    for text in given:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name:
            raise InputError(f"{text!r} is not a pair", place=option, allowed="NAME=VALUE")
        if name in pairs:
            raise InputError(f"{name} is given twice", place=option, fix="give it once")
        pairs[name] = value
    return pairs
