"""`xortune search`, `space` and `report`: a space file becomes a run, a run its report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

import xortune as xt
from xortune.cli.shared import (
    NO_OUTCOME,
    AsJson,
    Quiet,
    RunDirectory,
    SpaceFile,
    app,
    console,
    examples,
    naming_options,
    print_json,
    tell_of_compiling,
    told,
)
from xortune.core.errors import Halted, InputError, Interrupted
from xortune.core.files import without_passwords

if TYPE_CHECKING:
    from xortune.driver.search import DryRun
    from xortune.runs.run import Run


# -------------------------------------------------------------------------------------------------
# The options of `xortune log` and of a search: TensorBoard, MLflow, W&B.

OPTIONS = ("tensorboard", "mlflow", "wandb")
"""The arguments of the verbs that are options here."""

BARE = ("--tensorboard", "--wandb")
"""Options that may stand without a value: then it is empty."""

TensorBoard = Annotated[
    str | None,
    typer.Option(
        metavar="[DIR]",
        help="Log each configuration for TensorBoard's HParams; to RUN/tensorboard without DIR.",
    ),
]
Mlflow = Annotated[
    str | None,
    typer.Option(metavar="URI", help="Log each configuration to MLflow: http://HOST:PORT, ..."),
]
WandB = Annotated[
    str | None,
    typer.Option(
        metavar="[PROJECT]", help="Log each configuration to W&B; to xortune without PROJECT."
    ),
]


class Trackers(TyperCommand):
    """A command with options that may stand without a value."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """What comes after such an option is its value, unless it is an option too."""
        given = []
        for place, word in enumerate(args):
            following = args[place + 1 : place + 2]
            bare = word in BARE and (not following or following[0].startswith("-"))
            given.append(f"{word}=" if bare else word)
        return super().parse_args(ctx, given)


class Asked(TypedDict):
    """The arguments of the verbs."""

    tensorboard: str | bool | None
    mlflow: str | None
    wandb: str | bool | None


def where(tensorboard: str | None, mlflow: str | None, wandb: str | None) -> Asked:
    """The options as arguments of the verb: what stands without a value is true."""
    return {
        "tensorboard": True if tensorboard == "" else tensorboard,
        "mlflow": mlflow,
        "wandb": True if wandb == "" else wandb,
    }


@app.command(
    cls=Trackers,
    epilog=examples(
        "xortune search search_spaces/xor.yaml",
        "xortune search my.yaml --trials 50 --output runs/a",
        "xortune search my.yaml --output runs/a --trials 100 --resume",
    ),
)
def search(
    space: SpaceFile,
    output: Annotated[
        Path | None,
        typer.Option(help="The run's directory, or s3://bucket/run; runs/NAME if not given."),
    ] = None,
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, gp, nsgaii, random, grid or cmaes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    time_budget: Annotated[
        str | None,
        typer.Option(
            help="Begin no training after this long, but for a certificate that takes at "
            "most a tenth of it: 90s, 10m, 2h."
        ),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on, such as auto; else this machine.")
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="CPUs for each Ray trial.")] = 1.0,
    gpus_per_trial: Annotated[float, typer.Option(help="GPUs for each; fractions share.")] = 0.0,
    trial_timeout: Annotated[
        str | None,
        typer.Option(
            help="Kill a worker that is at one pack of trainings for so long: 90s, 10m. A training "
            "that takes longer alone counts as crashed."
        ),
    ] = None,
    study_storage: Annotated[
        str | None,
        typer.Option(
            help="Learn from other searches of the space, and they from this one, by an Optuna "
            "study in journal://PATH, sqlite:///PATH or postgresql://..."
        ),
    ] = None,
    study_name: Annotated[
        str | None, typer.Option(help="Of that study; else it follows from the space.")
    ] = None,
    tensorboard: TensorBoard = None,
    mlflow: Mlflow = None,
    wandb: WandB = None,
    engine: Annotated[str, typer.Option(help="auto, fused, reference or cuda.")] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    extend: Annotated[
        bool,
        typer.Option(
            "--extend",
            help="Continue it with a space that has grown: wider ranges, new choices, more start "
            "entries, a larger certify.",
        ),
    ] = False,
    accept_versions: Annotated[
        bool,
        typer.Option(
            "--accept-versions",
            help="Continue it with another engine, torch or Numba than made it; what they make is "
            "counted apart.",
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, a trainer of your own by a call or three, say what would be "
            "done, and start nothing.",
        ),
    ] = False,
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Do not call a trainer of your own before the start."),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="End the search at the first seed that fails: exit 4."),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search a space for the configuration that solves its task for the most seeds."""
    from xortune.reports.progress import shown_search

    with told(_interrupted):
        from xortune.driver.search import dry_run as dry_run_of
        from xortune.spaces.describe import describe
        from xortune.spaces.space import load_space, with_search

        asked = with_search(
            load_space(space), trials=trials, sampler=sampler, seed=seed, time_budget=time_budget
        )
        silent = quiet or as_json
        raced = False
        if not silent:
            what = describe(asked)
            raced = len(what.ladder) > 1
            own = what.trainer is not None
            learned = f"trainer {what.trainer}" if own else f"task {what.task}"
            Console(stderr=True, highlight=False).print(
                Text(
                    f"{what.name}: {what.trials:,} configurations ({what.sampler}) x "
                    f"{_rungs(what.ladder)} seeds, {learned}; at most {what.at_most}"
                ),
                soft_wrap=True,
            )
            if not own:
                tell_of_compiling(engine)
        settings: dict[str, Any] = {
            "output": output,
            "resume": resume,
            "extend": extend,
            "accept_versions": accept_versions,
            "address": address,
            "cpus_per_trial": cpus_per_trial,
            "gpus_per_trial": gpus_per_trial,
            "engine": engine,
            "trial_timeout": trial_timeout,
            "study_storage": study_storage,
            "study_name": study_name,
            **where(tensorboard, mlflow, wandb),
            "dry_run": not no_check,  # so `xt.search` names the call before the start
            "on_word": None if quiet else _say,
        }
        if dry_run:
            with naming_options("study_storage", "study_name", *OPTIONS):
                found = dry_run_of(asked, **settings)
            show_dry_run(found, quiet=quiet, as_json=as_json)
            return
        with (
            naming_options("study_storage", "study_name", *OPTIONS),
            shown_search(quiet=silent, raced=raced) as (on_progress, on_certify),
        ):
            run = xt.search(
                asked,
                **settings,
                on_progress=on_progress,
                on_certify=on_certify,
                command=["xortune", *sys.argv[1:]],
                fail_fast=fail_fast,
            )
        show_run(run, quiet=quiet, as_json=as_json)
    if any(e.final and e.outcome is None for e in (*run.evaluations, *run.checks)):
        raise typer.Exit(NO_OUTCOME)


@app.command(epilog=examples("xortune space search_spaces/xor.yaml"))
def space(space: SpaceFile, as_json: AsJson = False) -> None:
    """Validate a space file, and say what it holds and what searching it may cost."""
    with told():
        from xortune.driver.own_process import let_go_after
        from xortune.driver.trainer import called_with, trainer_for, with_train
        from xortune.racing.grants import refuse_unprovable
        from xortune.spaces.describe import describe
        from xortune.spaces.space import check_space, load_space

        loaded = with_train(load_space(space), None)
        with let_go_after():  # the process in which a function is looked at
            trainer = trainer_for(loaded, None, "auto", 0.0)
            check_space(loaded, trainer)
            refuse_unprovable(loaded)
            description = describe(loaded, called_with(trainer))
    if as_json:
        from dataclasses import asdict

        print_json(asdict(description))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in description:
        table.add_row(Text(label), Text(text))
    console().print(table)


@app.command(epilog=examples("xortune report runs/xor --format html,csv"))
def report(
    run: RunDirectory,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Which of html,md,csv,tex,parquet; all, if not given. png,pdf: its figures.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a run's tables and report again, from its journal, and show the best."""
    with told("interrupted: what is not written yet is as it was; the same command writes it"):
        from xortune.reports.files import FORMATS

        loaded = xt.load_run(run)
        wanted = FORMATS if formats is None else [part.strip() for part in formats.split(",")]
        xt.write_report(loaded, formats=wanted)
        show_run(loaded, quiet=quiet, as_json=as_json)
        if not quiet:
            _say_torn(loaded)


def _interrupted(error: KeyboardInterrupt | Halted) -> str:
    if not isinstance(error, Interrupted | Halted) or error.place is None:
        return "interrupted: nothing had begun"
    again = resuming(sys.argv[1:], error.place)
    return f"interrupted: what had finished is in {error.place}; this goes on:\n  {again}"


def resuming(words: Sequence[str], place: str) -> str:
    """The command that continues a search: the one that began it, with --output and --resume.

    A password in it is left for the user to write.

    Args:
        words: of that command, without its name.
        place: of the run.
    """
    more = (
        [] if any(word.partition("=")[0] == "--output" for word in words) else ["--output", place]
    )
    if not {"--resume", "--extend"} & set(words):
        more.append("--resume")
    return shlex.join(["xortune", *without_passwords(words), *more])


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False).print(Text(f"note: {sentence}"), soft_wrap=True)


def _say_torn(run: Run) -> None:
    with suppress(InputError):  # a damaged lock: that is told by who wants to go on
        if lost := run.torn:
            _say(
                f"the last line of the journal is torn ({lost:,} bytes) and in no count: the "
                "search was killed; it goes on with --resume"
            )


def _rungs(ladder: tuple[int, ...]) -> str:
    """`100`, or `8 to 128` where a race decides."""
    last = f"{ladder[-1]:,}"
    return last if len(ladder) == 1 else f"{ladder[0]:,} to {last}"


def show_dry_run(found: DryRun, *, quiet: bool, as_json: bool) -> None:
    """Print what a search would do."""
    place = str(found.directory)
    if as_json:
        from dataclasses import asdict

        from xortune.spaces.describe import describe

        print_json(
            {
                "dry_run": True,
                "run": place,
                "continues": found.continues,
                "notes": list(found.notes),
                "space": asdict(describe(found.space)),
            }
        )
    elif not quiet:
        for note in found.notes:
            _say(note)
        what = (
            f"continue {place}, which has {found.continues:,} evaluations"
            if found.continues
            else f"make {place}"
        )
        console().print(
            Text(f"dry run: all of it can be used; the search would {what}; nothing was started"),
            soft_wrap=True,
        )


def show_run(run: Run, *, quiet: bool, as_json: bool) -> None:
    """Print what a search or a report came to: as JSON, or the best ten."""
    if as_json:
        from xortune.runs.certificate import certificate_json
        from xortune.runs.manifest import stopped_because

        certificate = run.certificate
        rows = json.loads(run.table.head(10).to_json(orient="records", double_precision=15))
        print_json(
            {
                "run": str(run.path),
                "configs": len(run.results),
                "complete": bool(run.manifest.get("complete")),
                "stopped": stopped_because(run.manifest),
                "best": rows[0] if rows else None,
                "table": rows,
                "certificate": certificate and certificate_json(certificate, run.manifest),
                "not_certified": run.manifest.get("not_certified"),
            }
        )
    elif not quiet:
        from xortune.reports.terminal import render_best

        render_best(run, console())
        if aside := run.set_aside:
            seeds = sum(evaluation.block.count for evaluation in aside)
            console().print(f"Not counted: {seeds:,} seeds that other versions made.")
