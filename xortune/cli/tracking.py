"""The options of `xortune log` and of a search: TensorBoard, MLflow, W&B."""

from __future__ import annotations

from typing import Annotated, TypedDict

import typer
from typer.core import TyperCommand

__all__ = ["OPTIONS", "Mlflow", "TensorBoard", "Trackers", "WandB", "where"]

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
