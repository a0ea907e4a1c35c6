"""`xortune certify`: the finalists of a run on seeds that the search never saw."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.text import Text

import xortune as xt
from xortune.cli.shared import (
    NO_OUTCOME,
    AsJson,
    Quiet,
    RunDirectory,
    app,
    console,
    examples,
    naming_options,
    print_json,
    tell_of_compiling,
    told,
)

OPTIONS = (
    *("top", "seeds", "confidence", "extendable", "extend", "neighbourhood", "by"),
    *("engine", "trainer", "address", "cpus_per_trial", "gpus_per_trial", "trial_timeout"),
)


@app.command(
    epilog=examples(
        "xortune certify runs/xor --top 5 --seeds 1000",
        "xortune certify runs/xor --neighbourhood 0.2 --by neighbourhood",
        "xortune certify runs/xor --extendable",
        "xortune certify runs/xor --seeds 2000 --extend",
    )
)
def certify(
    run: RunDirectory,
    top: Annotated[int | None, typer.Option(help="How many of the search's best; 5.")] = None,
    seeds: Annotated[int, typer.Option(help="Fresh seeds for each.")] = 1000,
    confidence: Annotated[
        float | None, typer.Option(help="Of all lower bounds together; 0.95.")
    ] = None,
    extendable: Annotated[
        bool, typer.Option("--extendable", help="Begin one whose seeds may be added to later.")
    ] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Add seeds to the last, extendable attempt.")
    ] = False,
    neighbourhood: Annotated[
        float | None, typer.Option(help="Also move each numeric setting by so much: 0.2.")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(help="Which lower bound orders them: own, or neighbourhood (its worst); own."),
    ] = None,
    accept_versions: Annotated[
        bool,
        typer.Option(
            "--accept-versions",
            help="Leave an attempt that another engine, torch or Numba began; begin a new one.",
        ),
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(help="auto, fused, reference or cuda; that of the search if not given."),
    ] = None,
    trainer: Annotated[
        str | None,
        typer.Option(help="./train.py:run: your own function, where the space does not name it."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster to run on, such as auto; else this machine.")
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(help="CPUs for each Ray trial.")] = 1.0,
    gpus_per_trial: Annotated[float, typer.Option(help="GPUs for each; fractions share.")] = 0.0,
    trial_timeout: Annotated[
        str | None,
        typer.Option(help="Kill a worker that is at one pack of trainings for so long: 90s, 10m."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train the best configurations on fresh seeds: what is left of the search's counts."""
    silent = quiet or as_json
    with told("interrupted: what had finished is kept; the same command continues"):
        from xortune.driver.trainer import functions_named
        from xortune.reports.progress import shown_certifying
        from xortune.reports.terminal import render_certificate
        from xortune.runs.certificate import CERTIFICATE

        if not silent:
            tell_of_compiling(engine or "auto")
        options = naming_options(*OPTIONS)
        with shown_certifying(quiet=silent) as on_progress, options:
            xt.certify(
                run,
                top=top,
                seeds=seeds,
                confidence=confidence,
                extendable=extendable,
                extend=extend,
                neighbourhood=neighbourhood,
                by=by,
                accept_versions=accept_versions,
                engine=engine,
                train=None if trainer is None else functions_named([trainer])[0],
                address=address,
                cpus_per_trial=cpus_per_trial,
                gpus_per_trial=gpus_per_trial,
                trial_timeout=trial_timeout,
                on_progress=on_progress,
                on_word=None if quiet else _say,
                command=["xortune", *sys.argv[1:]],
            )
        loaded = xt.load_run(run)
        if as_json:
            print_json(json.loads((loaded.path / CERTIFICATE).read_text(encoding="utf-8")))
        elif not quiet:
            render_certificate(loaded, console())
            console().print(Text(str(loaded.path / CERTIFICATE)), soft_wrap=True)
    if any(check.final and check.outcome is None for check in loaded.checks):
        raise typer.Exit(NO_OUTCOME)


def _say(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)
