"""`xortune submit`: a search as a job of a Ray cluster, from a machine outside it."""

from __future__ import annotations

from typing import Annotated

import typer

from xortune.cli.searching import OPTIONS, Mlflow, TensorBoard, Trackers, WandB
from xortune.cli.shared import (
    AsJson,
    Quiet,
    SpaceFile,
    app,
    examples,
    naming_options,
    print_json,
    told,
)


@app.command(
    cls=Trackers,
    epilog=examples(
        "xortune submit search_spaces/xor.yaml --address http://head:8265 --output /shared/xor"
    ),
)
def submit(
    space: SpaceFile,
    address: Annotated[str, typer.Option(help="The cluster's job server: http://HEAD:8265.")],
    output: Annotated[
        str, typer.Option(help="The run's directory as the cluster's head sees it, or s3://...")
    ],
    trials: Annotated[int | None, typer.Option(help="Configurations to evaluate.")] = None,
    sampler: Annotated[
        str | None, typer.Option(help="tpe, gp, nsgaii, random, grid or cmaes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the sampler.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Start nothing new after this long: 90s, 10m, 2h.")
    ] = None,
    trial_timeout: Annotated[
        str | None, typer.Option(help="Stop a pack of trainings after this long: 90s, 10m.")
    ] = None,
    cpus_per_trial: Annotated[float | None, typer.Option(help="CPUs for each Ray trial.")] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs for each; fractions share.")
    ] = None,
    study_storage: Annotated[
        str | None, typer.Option(help="A study shared with other searches, as the head sees it.")
    ] = None,
    study_name: Annotated[str | None, typer.Option(help="Of that study.")] = None,
    tensorboard: TensorBoard = None,
    mlflow: Mlflow = None,
    wandb: WandB = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run.")] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Have Ray install what xortune needs on each node.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the end; exit code of the search.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check all, print the `ray job submit` line for it, and start nothing.",
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Send a search to a Ray cluster, with this xortune and the space file's folder."""
    with told(interrupted="interrupted: the job goes on; stop it with `ray job stop`"):
        from xortune.driver.shared import shared_study
        from xortune.driver.submit import refuse_outside, send, submission, tracked
        from xortune.driver.submit import wait as wait_for
        from xortune.spaces.model import parse_duration
        from xortune.spaces.space import load_space, with_search

        asked = with_search(  # what is wrong is told here, not in a job's log
            load_space(space), trials=trials, sampler=sampler, seed=seed, time_budget=time_budget
        )
        refuse_outside(asked)
        shared_study(asked, study_storage, study_name)
        if trial_timeout is not None:
            parse_duration(trial_timeout)
        given = {
            "--trials": trials,
            "--sampler": sampler,
            "--seed": seed,
            "--time-budget": time_budget,
            "--trial-timeout": trial_timeout,
            "--cpus-per-trial": cpus_per_trial,
            "--gpus-per-trial": gpus_per_trial,
            "--study-storage": study_storage,
            "--study-name": study_name,
        }
        options = [str(w) for o, v in given.items() if v is not None for w in (o, v)]
        with naming_options(*OPTIONS):
            options += tracked(output, tensorboard=tensorboard, mlflow=mlflow, wandb=wandb)
        options += ["--resume"] if resume else []
        what = submission(space, output, options, install=install)
        entry = {"entrypoint": what.entrypoint, "runtime_env": dict(what.runtime_env)}
        if dry_run:
            line = what.line(address)
            if as_json:
                print_json({"dry_run": True, "address": address, "line": line, **entry})
            else:
                typer.echo(line)
            return
        job = send(what, address)
        if as_json:
            print_json({"job": job, "address": address, **entry})
        elif not quiet:
            typer.echo(f"{job}: the run goes to {output}")
            typer.echo(f"  ray job logs {job} --address {address} --follow")
            typer.echo(f"  ray job stop {job} --address {address}")
        code = (
            wait_for(job, address, lambda text: typer.echo(text, nl=False, err=True)) if wait else 0
        )
    raise typer.Exit(code)
