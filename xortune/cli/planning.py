"""`xortune plan`: how many seeds a claim needs, and how long that takes here."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from xortune.cli.shared import (
    AsJson,
    app,
    console,
    examples,
    naming_options,
    print_json,
    tell_of_compiling,
    told,
)
from xortune.report.format import duration

if TYPE_CHECKING:
    from xortune.plan import ComparisonPlan, RatePlan, Speed

__all__ = ["plan"]


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
        from xortune import api_gate
        from xortune.gate_file import load_config
        from xortune.plan import STANDARD, RatePlan, measured_speed
        from xortune.task import Task

        timed = None if config is None else load_config(config)
        options = ("rate", "between", "confidence", "failures", "power", "task")
        with naming_options(*options):
            # What is wrong is said before anything is compiled or trained.
            planned = api_gate.plan(
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
        print_json(_as_json(planned))
    elif isinstance(planned, RatePlan):
        _show_rate(planned)
    else:
        _show_comparison(planned)


def _as_json(planned: RatePlan | ComparisonPlan) -> dict[str, Any]:
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
    from xortune.report.format import config_text, count

    point = speed.config.point
    return (
        f"Time: {duration(speed.seconds_for_each)} for each seed of {config_text(point, point)}; "
        f"task {speed.task}, {speed.engine} engine, {count(speed.cores, 'core')}, measured over "
        f"{count(speed.seeds, 'seed')}, without the start of the program."
    )
