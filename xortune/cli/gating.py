"""`xortune gate`: a success rate as a regression test; the exit code says the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from xortune.cli.shared import (
    NO_OUTCOME,
    AsJson,
    Quiet,
    app,
    console,
    examples,
    fail,
    naming_options,
    print_json,
    tell_of_compiling,
    told,
)
from xortune.errors import InputError, TrainingError

if TYPE_CHECKING:
    from xortune.gate import Verdict

__all__ = ["GATE_FAILED", "gate"]

GATE_FAILED = 1

OPTIONS = ("min_rate", "max_seeds", "confidence", "task", "first_seed", "engine", "key")


@app.command(
    epilog=examples(
        "xortune gate --config config.yaml --min-rate 0.95 --max-seeds 500",
        "xortune gate runs/xor --min-rate 0.99",
    )
)
def gate(
    min_rate: Annotated[float, typer.Option(help="The success rate that must be proven.")],
    run: Annotated[
        Path | None,
        typer.Argument(metavar="RUN", help="A certified run: its certificate is read."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A config (YAML, JSON), which is trained.")
    ] = None,
    max_seeds: Annotated[
        int | None, typer.Option(help="Of a config: give up after so many; 500.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="1 minus the chance of a wrong answer; 0.95.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Of a config: xor, parity-N, or a CSV file.")
    ] = None,
    first_seed: Annotated[
        int | None, typer.Option(help="Of a config: other seeds than a gate's own.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Of a config: auto, fused, reference or cuda.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Of a run: another finalist than the best.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Prove a success rate or fail: exit code 0 proven, 1 refuted or undecided, 2 bad input."""
    with told("interrupted: no answer; nothing is kept"):
        from xortune import api_gate
        from xortune.run_url import url_of

        if (run is None) == (config is None):
            raise InputError(
                "neither a run nor --config" if run is None else "a run and --config",
                place="gate",
                allowed="one of them",
                fix="give RUN to read its certificate, or --config FILE to train",
            )
        # A directory is a run, a file a config: the other way round is a mistake to be told.
        if run is not None and url_of(run) is None and not run.is_dir():
            raise InputError(
                "is no directory" if run.exists() else "there is no such run",
                place=str(run),
                fix=f"--config {run}, if it is the file of a config",
            )
        if config is not None and config.is_dir():
            raise InputError("is a directory", place=str(config), fix=f"xortune gate {config}")
        silent = quiet or as_json
        if config is not None and not silent:
            tell_of_compiling(engine or "auto")
        try:
            with naming_options(*OPTIONS):
                verdict = api_gate.gate(
                    run or config or "",
                    min_rate=min_rate,
                    max_seeds=max_seeds,
                    confidence=confidence,
                    task=task,
                    first_seed=first_seed,
                    engine=engine,
                    key=key,
                    on_seeds=None if silent else _progress(),
                )
        except TrainingError as error:
            fail(f"error: no outcome: {error}", NO_OUTCOME)
    if as_json:
        print_json(_as_json(verdict))
    elif not quiet:
        console().print(Text(verdict.line), soft_wrap=True)
    if not verdict.passed:
        raise typer.Exit(GATE_FAILED)


def _progress() -> Any:
    """What to call with (k, n): a line that is overwritten, on a terminal only."""
    err = Console(stderr=True, highlight=False)
    if not err.is_terminal:
        return None
    return lambda k, n: err.print(Text(f"{k}/{n} seeds solved"), end="\r")


def _as_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "answer": verdict.answer,
        "passed": verdict.passed,
        "min_rate": verdict.min_rate,
        "confidence": verdict.confidence,
        "key": verdict.key,
        "config": verdict.point.as_dict(),
        "k": verdict.k,
        "n": verdict.n,
        "low": verdict.low,
        "high": verdict.high,
        "bound": verdict.bound,
        "first_seed": verdict.first_seed,
        "max_seeds": verdict.most,
        "statuses": None
        if verdict.counts is None
        else {status.label: count for status, count in verdict.counts.items()},
        "line": verdict.line,
    }
