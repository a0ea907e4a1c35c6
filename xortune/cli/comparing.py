"""`xortune compare`: runs with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import xortune as xt
from xortune.cli import shared as cli
from xortune.core.errors import InputError
from xortune.driver.arguments import TrainingArguments


@cli.command(
    "xortune compare runs/tpe runs/random",
    "xortune compare runs/new runs/old --fail-if-worse",
    "xortune compare runs/xor runs/xor#a014e3ac95e32ac3",
    "xortune compare runs/new runs/old --sequential --max-seeds 500",
    "xortune compare runs/ppo runs/sac --by return_iqm",
    of=TrainingArguments,
    interrupted="interrupted: what had finished is kept; the same command continues",
)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Directories of runs. DIRECTORY#KEY names a config other than the best. With "
            "--trainer also files of parameters (YAML, JSON).",
        ),
    ],
    by: str | None = None,
    margin: float | None = None,
    bounds: tuple[float, float] | None = None,
    seeds: int | None = None,
    sequential: bool = False,
    max_seeds: int | None = None,
    no_train: bool = False,
    different_tasks: bool = False,
    engine: str | None = None,
    trainer: list[str] | None = None,
    success: str | None = None,
    reuse: bool = False,
    fail_if_worse: bool = False,
    alpha: float = 0.05,
    output: str | None = None,
    formats: str = "md,html,csv",
    quiet: bool = False,
    as_json: bool = False,
    **given: Any,
) -> None:
    """Say which of several runs solves more seeds, or has better numbers.

    Compares the first config of each run's search, on seeds that had no part in choosing it: the
    seeds of the certificates or, if a run has none, fresh seeds that it trains first.

    Options:
        by: Compare a number of the seeds: its name with _mean, _iqm, _median or _q01 to _q99, for
            instance return_iqm. With --sequential also the name alone: which is better under more
            seeds. Without it: the success rate.
        margin: Also say whether each is not worse than the next by more than this; then
            --fail-if-worse exits 1 unless that is shown of the first.
        bounds: With --by of a mean: the least and the greatest number that a seed can have.
        engine: auto, fused, reference or cuda. The search's engine if not given.
        seeds: Train every config under this many fresh seeds, the same for all, even if it is
            certified. Without it: 1,000 where a certificate is missing.
        sequential: Train all configs seed after seed, and stop when one is proven better than every
            other.
        max_seeds: With --sequential: the most seeds, fixed beforehand. 1,000 if not given.
        no_train: Refuse instead of training anything.
        different_tasks: Compare runs of different tasks or trainers too.
        trainer: Your training function, such as ./train.py:run, if a run's space does not name it.
            Give it once, or once for each run.
        success: With files of parameters: what a success is, such as 'accuracy >= 0.9'.
        reuse: Use the seeds that the last comparison of these in --output has trained, and train
            only what it lacks. The answer says how many are old, and from when. The first of each
            is tried again: if its result is another one, exit 2.
        fail_if_worse: Exit 1 if the first run is shown to solve fewer seeds than another.
        alpha: Level of the tests.
        output: Directory for the files; runs/compare-A-B if not given.
        formats (--format): Files to write: any of md, html, csv, tex.
    """
    from xortune.reports.files import checked_formats
    from xortune.reports.progress import display
    from xortune.reports.terminal import comparison_json, render_comparison

    wanted = checked_formats(cli.split(formats))
    if trainer and no_train:
        raise InputError("with --no-train", place="--trainer", allowed="one of them")
    functions = cli.functions_named(trainer or [])
    with display(quiet=quiet or as_json) as shown:
        named, labels = _named(runs, own=bool(functions))
        comparison = xt.compare(
            named,
            labels=labels,
            **cli.asked(TrainingArguments, given),
            by=by,
            margin=margin,
            bounds=bounds,
            seeds=seeds,
            sequential=sequential,
            max_seeds=max_seeds,
            engine=engine,
            success=success,
            reuse=reuse,
            different_tasks=different_tasks,
            train=functions[0] if len(functions) == 1 else functions or not no_train,
            output=output,
            alpha=alpha,
            listener=cli.listener(shown.seeds("training"), quiet=quiet),
            verbose=0,
        )
    files = xt.write_comparison(comparison, output, formats=wanted)
    if as_json:
        cli.print_json(comparison_json(comparison, files))
    elif not quiet:
        render_comparison(comparison, files, cli.console())
    if fail_if_worse and comparison.first_is_worse:
        raise typer.Exit(cli.NOT_PASSED)


def _named(runs: list[str], *, own: bool) -> tuple[list[Any], list[str] | None]:
    """Directories, and the parameters in files; with labels if there is a file."""
    from xortune.certificates.gate import load_parameters

    files = [own and Path(run).is_file() for run in runs]
    if not any(files):
        return list(runs), None
    pairs = list(zip(runs, files, strict=True))
    named = [load_parameters(run) if is_file else run for run, is_file in pairs]
    labels = [Path(run).stem if is_file else Path(run).name for run, is_file in pairs]
    return named, labels if len(set(labels)) == len(labels) else runs
