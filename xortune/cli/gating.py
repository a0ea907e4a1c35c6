"""`xortune gate` and `plan`: a rate as a regression test, and how many seeds a claim needs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import xortune as xt
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
from xortune.core.errors import InputError, TrainingError
from xortune.core.formats import config_text, count, duration

if TYPE_CHECKING:
    from xortune.certificates.gate import Verdict
    from xortune.certificates.plan import ComparisonPlan, RatePlan, Speed


# -------------------------------------------------------------------------------------------------
# `xortune gate`: a success rate as a regression test; the exit code says the answer.

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
        from xortune.runs.store import url_of

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
                verdict = xt.gate(
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


# -------------------------------------------------------------------------------------------------
# `xortune plan`: how many seeds a claim needs, and how long that takes here.


@app.command(
    epilog=examples(
        "xortune plan --rate 0.99 --confidence 0.95",
        "xortune plan --rate 0.95 --failures 2 --config my_config.yaml",
        "xortune plan --between 0.9 0.95 --power 0.9",
    )
)
def plan(
    rate: Annotated[float | None, typer.Option(help="The success rate to show.")] = None,
    between: Annotated[
        tuple[float, float] | None, typer.Option(help="Two success rates to tell apart.")
    ] = None,
    confidence: Annotated[
        float, typer.Option(help="Of the lower bound; 1 minus the level of a test.")
    ] = 0.95,
    failures: Annotated[
        int | None, typer.Option(help="Seeds that may fail; several numbers if not given.")
    ] = None,
    power: Annotated[float, typer.Option(help="Chance to find the difference.")] = 0.8,
    config: Annotated[
        Path | None, typer.Option(help="A config (YAML, JSON) to measure the time with.")
    ] = None,
    task: Annotated[str, typer.Option(help="xor, parity-N, or a CSV file.")] = "xor",
    as_json: AsJson = False,
) -> None:
    """Say how many seeds a claim about success rates needs, and how long they take here."""
    with told("interrupted: nothing is kept"):
        from xortune.certificates.gate import load_config
        from xortune.certificates.plan import STANDARD, RatePlan, measured_speed
        from xortune.core.task import Task

        timed = None if config is None else load_config(config)
        options = ("rate", "between", "confidence", "failures", "power", "task")
        with naming_options(*options):
            # What is wrong is said before anything is compiled or trained.
            planned = xt.plan(
                rate,
                between=between,
                confidence=confidence,
                failures=failures,
                power=power,
                measure=False,
            )
            learned = Task.named(task)
        if not as_json:
            tell_of_compiling("auto")
        speed = measured_speed(timed or STANDARD, learned)
        planned = replace(planned, speed=speed)
    if as_json:
        print_json(_plan_json(planned))
    elif isinstance(planned, RatePlan):
        _show_rate(planned)
    else:
        _show_comparison(planned)


def _plan_json(planned: RatePlan | ComparisonPlan) -> dict[str, Any]:
    fields = asdict(planned)
    speed = planned.speed
    assert speed is not None
    fields["speed"] |= {
        "config": speed.config.point.as_dict(),
        "seconds_for_each": speed.seconds_for_each,
    }
    for claim in fields.get("claims", ()):
        claim["seconds_here"] = claim["seeds"] * speed.seconds_for_each
    return fields


def _show_rate(planned: RatePlan) -> None:
    speed = planned.speed
    assert speed is not None
    out = console()
    out.print(
        Text(
            f"To show a success rate of at least {planned.rate:g} with confidence "
            f"{planned.confidence:g}:"
        )
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for header in ("failures", "seeds", "time here", "likely from", "gate, at best"):
        table.add_column(header, justify="right", no_wrap=True)
    for claim in planned.claims:
        table.add_row(
            str(claim.failures),
            f"{claim.seeds:,}",
            duration(claim.seeds * speed.seconds_for_each),
            f"{100 * claim.passes_from:.3f} %",
            f"{claim.gate_seeds:,}",
        )
    out.print(table)
    for line in (
        "failures: so many seeds may fail. seeds: planned before the first is looked at.",
        "likely from: a true rate from which on the plan succeeds 9 times in 10.",
        "gate: looks after every seed and stops when it knows; it cannot know sooner.",
        _basis(speed),
    ):
        out.print(Text(line))


def _show_comparison(planned: ComparisonPlan) -> None:
    speed = planned.speed
    assert speed is not None
    first, second = planned.rates
    out = console()
    out.print(
        Text(
            f"To tell {first:g} from {second:g} with a chance of {planned.power:g} "
            f"(two-sided test, level {round(planned.alpha, 10):g}):"
        )
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("seeds for each", justify="right", no_wrap=True)
    table.add_column("time here", justify="right", no_wrap=True)
    table.add_column("which", overflow="fold")
    for seeds, which in (
        (planned.independent, "different seeds, Fisher's test (Boschloo's: at least as often)"),
        (planned.shared, "the same seeds, exact McNemar test; failures independent"),
        (planned.nested, "the same, if the better one solves all that the worse one does"),
    ):
        table.add_row(f"{seeds:,}", duration(2 * seeds * speed.seconds_for_each), which)
    out.print(table)
    out.print(Text(_basis(speed)))


def _basis(speed: Speed) -> str:

    point = speed.config.point
    return (
        f"Time: {duration(speed.seconds_for_each)} for each seed of {config_text(point, point)}; "
        f"task {speed.task}, {speed.engine} engine, {count(speed.cores, 'core')}, measured over "
        f"{count(speed.seeds, 'seed')}, without the start of the program."
    )
