"""`xortune export`: a config as a plain PyTorch program, or as YAML or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xortune.cli.shared import RunDirectory, app, examples, naming_options, told
from xortune.errors import InputError

__all__ = ["export"]


@app.command(
    epilog=examples(
        "xortune export runs/xor --output best.py",
        "xortune export runs/xor --output conf/best.yaml",
    )
)
def export(
    run: RunDirectory,
    key: Annotated[
        str | None, typer.Option(help="Of the config; the best one if not given.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="A file for it; printed if not given.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="py, yaml or json; what --output ends in if not given."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="So many seeds the program trains; 20 if not given.")
    ] = None,
) -> None:
    """Print the best configuration as a plain PyTorch program, or as YAML or JSON for others."""
    with told("interrupted: nothing is written"):
        from xortune import api, api_export
        from xortune.run import replace_file

        loaded = api.load_run(run)
        with naming_options("key", "format", "seeds"):
            script = api_export.export(
                loaded, key=key, format=form or _format_of(output), seeds=seeds
            )
        if output is None:
            print(script, end="")
        else:
            try:
                replace_file(output, script.encode())
            except OSError as error:
                raise InputError(
                    f"cannot be written ({error.strerror})",
                    place=str(output),
                    fix="give another --output",
                ) from None
        chosen, first = api_export.exported(loaded, key).key, loaded.results[0].key
        if key is None and chosen != first:
            typer.echo(
                f"{chosen} is the certificate's first; the search's first was {first} "
                f"(--key {first})",
                err=True,
            )


def _format_of(output: Path | None) -> str:
    """By the ending of a file; a program if that says nothing."""
    ending = "" if output is None else output.suffix.lower()
    return {".yaml": "yaml", ".yml": "yaml", ".json": "json"}.get(ending, "py")
