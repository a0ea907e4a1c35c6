"""`xortune evaluate`: one configuration under many seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

import xortune as xt
from xortune.cli.shared import (
    AsJson,
    Quiet,
    app,
    console,
    examples,
    print_json,
    tell_of_compiling,
    told,
)
from xortune.core.errors import InputError
from xortune.core.formats import interval, measured, number

if TYPE_CHECKING:
    from xortune.core.outcome import Outcome


@app.command(
    epilog=examples(
        "xortune evaluate --activation Tanh --loss MSELoss --optimizer Adam --lr 0.03 "
        "--hidden-dim 5 --epochs 1000 --seeds 100"
    )
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
    with told():
        config = xt.Config(
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
            tell_of_compiling(engine)
        outcome = xt.evaluate(
            config, range(first_seed, first_seed + seeds), task=task, engine=engine
        )
    if as_json:
        print_json(_outcome_json(outcome) | {"key": config.key, "config": dict(config.point)})
    elif not quiet:
        _show_outcome(outcome)


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

    low, high = outcome.interval()
    line = (
        f"{outcome.successes}/{outcome.n} seeds solved ({measured(outcome.rate, low, high)}), "
        f"95 % interval {interval(low, high)}"
    )
    console().print(Text(line))
    if outcome.epochs_to_solve is not None:
        console().print(Text(f"epochs to solve: {number(round(outcome.epochs_to_solve, 1))}"))
    failed = {s.label.replace("_", " "): c for s, c in outcome.counts.items() if c and s}
    if failed:
        text = ", ".join(f"{count} {label}" for label, count in failed.items())
        console().print(Text(f"not solved: {text}"))
