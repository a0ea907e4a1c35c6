"""`xortune log`: a run, over or not, to TensorBoard, MLflow or W&B."""

from __future__ import annotations

import typer

from xortune.cli.shared import (
    AsJson,
    Quiet,
    RunDirectory,
    app,
    examples,
    naming_options,
    print_json,
    told,
)
from xortune.cli.tracking import OPTIONS, Mlflow, TensorBoard, Trackers, WandB, where
from xortune.errors import InputError

__all__ = ["log"]


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
        from xortune.api_log import logged, trackers_for

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
