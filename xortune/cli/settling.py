"""`xortune thread`: the forum thread's claims beside what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

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

__all__ = ["thread"]


@app.command(
    epilog=examples(
        "xortune thread",
        "xortune thread --only T3,T8",
        "xortune thread --sweep runs/published_sweep --output reports",
    )
)
def thread(
    only: Annotated[
        str | None,
        typer.Option(help="Rows, separated by commas: T3, T8 (all of T8a to T8h), T8c."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Seeds of each system.")] = 10_000,
    first_seed: Annotated[int, typer.Option(help="The first of them.")] = 0,
    sweep: Annotated[
        Path | None,
        typer.Option(help="A run that holds the thread's sweep; else it is run, in half a minute."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Directory of the report; if not given, reports."),
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Measure every claim of the forum thread that xortune was made from, and write the answer."""
    silent = quiet or as_json
    with told("interrupted: nothing was written; a sweep that was begun is kept, and continued"):
        from xortune import api_thread
        from xortune.terminal_progress import shown_progress, shown_steps
        from xortune.thread.files import prepare

        if not silent:
            tell_of_compiling("auto")
        rows = [] if only is None else only.split(",")
        where = output or Path("reports")
        # A part must not replace a whole report unasked.
        kept = bool(rows) and output is None and (where / "thread.md").exists()
        api_thread.checked_seed_range(seeds, first_seed)
        if not kept:
            prepare(where)  # now, and not after minutes of measuring
        with shown_progress(quiet=silent) as on_sweep:
            run = api_thread.thread_sweep(only=rows, sweep=sweep, on_sweep=on_sweep)
        with shown_steps(quiet=silent) as on_progress:
            settled = api_thread.thread(
                only=rows, seeds=seeds, first_seed=first_seed, sweep=run, on_progress=on_progress
            )
        files = () if kept else api_thread.write_thread(settled, where)
        if as_json:
            from xortune.thread.tables import claims_table

            table = claims_table(settled).to_json(orient="records", double_precision=15)
            print_json({"rows": json.loads(table), "files": [str(file) for file in files]})
        elif not quiet:
            from xortune.terminal_thread import render_thread

            render_thread(settled, files, console())
            if kept:
                console().print(
                    f"{where / 'thread.md'} is left as it is; --output DIR writes this part"
                )
