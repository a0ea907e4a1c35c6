"""`xortune compare`: a run beside a published table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xortune.cli.shared import AsJson, Quiet, app, console, print_json, told

__all__ = ["compare"]


@app.command(
    epilog="Examples:  xortune compare runs/sweep --reference published.tsv   |   "
    "xortune compare runs/sweep --reference t.csv --column lr=Rate --where momentum=0"
)
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="A run's directory.")],
    reference: Annotated[
        Path | None, typer.Option(help="A table of published success counts: CSV or TSV.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN: what a column holds; k, n, percent too.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE: compare only configs with this value.")
    ] = None,
    reference_seeds: Annotated[
        int | None, typer.Option(help="Seeds of each of its cells, if no column says.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests.")] = 0.05,
    output: Annotated[
        Path | None, typer.Option(help="Where the files go; the run's directory if not given.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Test each cell of a published table against a run: which differ beyond chance."""
    with told():
        from xortune import api
        from xortune.terminal_comparison import comparison_json, pairs, render_comparison

        found = api.compare(
            runs,
            reference=reference,
            columns=pairs("--column", column),
            where=pairs("--where", where),
            reference_seeds=reference_seeds,
            alpha=alpha,
        )
        files = api.write_comparison(found, output)
    if as_json:
        print_json(comparison_json(found, files))
    elif not quiet:
        render_comparison(found, files, console())
