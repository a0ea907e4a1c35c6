"""`xortune export`, `import`, `log` and `plugins`: results and values of other programs."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Annotated, Any

import typer

import xortune as xt
from xortune.cli import shared as cli
from xortune.cli.searching import show_run
from xortune.core.files import writing
from xortune.core.formats import count, plain
from xortune.core.plugins import offers
from xortune.runs.store import replace_file
from xortune.training.process import settle

if TYPE_CHECKING:
    from xortune.runs.run import Run


@cli.command(
    "xortune export runs/xor --output best.py",
    "xortune export runs/xor --output conf/best.yaml",
    "xortune export runs/xor --format paragraph",
    interrupted="interrupted: nothing is written",
)
def export(
    run: cli.RunDirectory,
    key: str | None = None,
    output: Path | None = None,
    form: str | None = None,
    seeds: int | None = None,
) -> None:
    """Print the best configuration: a plain PyTorch program, YAML, JSON, or a paragraph.

    Options:
        key: Key of the config, or its beginning; the best if not given.
        output: File to write; printed if not given.
        form (--format): py, yaml, json, paragraph, or one of an installed package. If not given,
            the ending of --output decides, else py for the built-in network, and yaml for a
            training of your own.
        seeds: Seeds that the program trains; 20 if not given.
    """
    from xortune.integrations.export import exported, form_of

    loaded = xt.load_run(run)
    by_ending = None if output is None else form_of(output.suffix)
    script = xt.export(loaded, key=key, format=form or by_ending, seeds=seeds)
    if output is None:
        settle()
        print(script, end="")
    else:
        with writing(output, "give another --output"):
            replace_file(output, script.encode())
    chosen, first = exported(loaded, key).key, loaded.results[0].key
    if key is None and chosen != first:
        searched = f"the search's first was {first} (--key {first})"
        cli.print_message(f"{chosen} is the certificate's first; {searched}")


@cli.command(
    "xortune import results.csv --config lr,width --output runs/mine",
    'xortune import results.csv --config lr --success "accuracy >= 0.9" --trainer ./train.py:run',
    name="import",
    interrupted="interrupted: remove the incomplete run, and import again",
)
def import_(
    results: Annotated[
        Path,
        typer.Argument(metavar="TABLE", help="CSV or parquet: a row for each config and seed."),
    ],
    config: str = "",
    output: str | None = None,
    seed: str = "seed",
    success: str = "success",
    ignore: str = "",
    missing_fails: bool = False,
    trainer: str | None = None,
    name: str | None = None,
    quiet: bool = False,
    as_json: bool = False,
) -> None:
    """Turn results that something else produced into a run, and report them.

    Options:
        config: The columns that are parameters, such as lr,width.
        output: Directory or URL of the run; runs/NAME if not given.
        seed: The column with the seed.
        success: The column with true, false, 1 or 0, or a rule for a column of numbers.
        ignore: Columns to leave out, such as host,time.
        missing_fails: Count a row without a success as a failed seed.
        trainer: Your training function, such as ./train.py:run, which certify will need.
        name: Name of the run. The file's name if not given.
    """
    run = xt.import_results(
        results,
        output=output,
        seed=seed,
        success=success,
        missing_fails=missing_fails,
        trainer=trainer,
        name=name,
        config=cli.split(config),
        ignore=cli.split(ignore),
        listener=cli.listener(quiet=quiet),
    )
    if not (quiet or as_json):
        _show_imported(run)
    show_run(run, quiet=quiet, as_json=as_json)


def _show_imported(run: Run) -> None:
    """Print how many rows were read, and what each column is."""
    origin, columns = run.manifest["imported"], run.manifest["columns"]
    kinds = ", ".join(f"{plain(name)} ({kind})" for name, kind in columns["config"].items())
    cli.show(
        f"{count(origin['rows'], 'row')} of {plain(origin['source'])}: "
        f"{count(len(run.results), 'configuration')} of {kinds}; a success is "
        f"{plain(origin['success'])}"
    )
    if columns["numbers"]:
        cli.show(f"numbers kept for each seed: {', '.join(map(plain, columns['numbers']))}")


@cli.command(
    "xortune log runs/xor --tensorboard",
    "xortune log runs/xor --mlflow http://localhost:5000",
    "xortune log runs/xor --wandb",
    trackers=True,
    interrupted="interrupted: the same command logs what is missing",
)
def log(run: cli.RunDirectory, quiet: bool = False, as_json: bool = False, **given: Any) -> None:
    """Log a finished or running run to TensorBoard, MLflow, W&B, ...; nothing is logged twice."""
    trackers = cli.trackers_of(given)
    configs = xt.log(run, trackers)
    if as_json:
        logs = [{"tracker": one.name, "place": one.place(run)} for one in trackers]
        cli.print_json({"run": str(run), "configs": configs, "logged": logs})
    elif not quiet:
        for one in trackers:
            cli.show(f"{one.name}: {count(configs, 'configuration')} in {one.place(run)}")


GROUPS = {
    "xortune.samplers": "xortune.spaces.samplers:SAMPLERS",
    "xortune.trainers": "xortune.driver.trainer:KINDS",
    "xortune.executors": "xortune.training.executors:EXECUTORS",
    "xortune.trackers": "xortune.integrations.trackers:TRACKERS",
    "xortune.statistics": "xortune.core.numbers:STATISTICS",
    "xortune.figures": "xortune.reports.figures:FIGURES",
    "xortune.exports": "xortune.integrations.export:EXPORTED",
}
"""The groups of entry points, and where xortune's own values of each stand."""


@cli.command("xortune plugins", "xortune plugins --json")
def plugins(as_json: bool = False) -> None:
    """List what installed packages add, by group, and what of it cannot be used, with the cause."""
    owns = {group: resolve_name(place) for group, place in GROUPS.items()}
    found = [one for group, own in owns.items() for one in offers(group, type(own[0]), own)]
    if as_json:
        named = [replace(one, values=tuple(value.name for value in one.values)) for one in found]
        cli.print_json({"plugins": [asdict(one) for one in named]})
        return
    for offer in found:
        given = [value.name for value in offer.values]
        given += [] if offer.error is None else [f"cannot be used: {offer.error}"]
        cli.show(plain(f"{offer.group}: {offer}: {', '.join(given)}"))
    if not found:
        cli.show("No installed package adds anything.")
