"""`xortune status`: where a run stands, from another terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.text import Text

import xortune as xt
from xortune.cli.shared import (
    AsJson,
    RunDirectory,
    app,
    console,
    examples,
    naming_options,
    print_json,
    told,
)
from xortune.cli.streams import nobody_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xortune.runs.status import RunStatus


@app.command(
    epilog=examples(
        "xortune status runs/xor",
        "xortune status runs/xor --watch",
        "xortune status runs/xor --watch --interval 60 --json",
    )
)
def status(
    run: RunDirectory,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again until the run ends.")
    ] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.")] = 2.0,
    as_json: AsJson = False,
) -> None:
    """Say where a run stands: progress, rate, time left, best so far, failures."""
    with told(), naming_options("interval"):
        from xortune.reports.progress import render_status, status_json
        from xortune.runs.status import watched

        if watch:
            _watch(watched(run, interval=interval), as_json=as_json)
        elif as_json:
            print_json(status_json(xt.status(run)))
        else:
            console().print(render_status(xt.status(run)))


def _watch(looks: Iterator[RunStatus], *, as_json: bool) -> None:
    """Show one look after the other; Ctrl-C ends this as it is meant to be ended."""
    from xortune.reports.progress import render_status, status_json, status_line

    screen = console()
    try:
        if as_json:
            for found in looks:
                typer.echo(json.dumps(status_json(found), allow_nan=False))
                if nobody_reads():
                    return
        elif screen.is_terminal:
            first = next(looks)  # what is no run is told before anything is drawn
            with Live(render_status(first), console=screen, auto_refresh=False) as live:
                for found in looks:
                    live.update(render_status(found), refresh=True)
        else:
            for found in looks:
                screen.print(Text(status_line(found)), soft_wrap=True)
                if nobody_reads():
                    return
    except KeyboardInterrupt:
        return
