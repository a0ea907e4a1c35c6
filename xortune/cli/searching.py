"""`xortune search`, `status`, `space` and `report`: from a space file to a report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.live import Live

import xortune as xt
from xortune.cli import shared as cli
from xortune.core.errors import Halted, InputError, Interrupted
from xortune.core.files import without_passwords
from xortune.driver.arguments import SearchArguments

if TYPE_CHECKING:
    from xortune.driver.search import DryRun
    from xortune.runs.run import Run
    from xortune.runs.status import RunStatus


def _interrupted(error: KeyboardInterrupt | Halted) -> str:
    if not isinstance(error, Interrupted | Halted) or error.place is None:
        return "interrupted: nothing had begun"
    again = resume_command(sys.argv[1:], error.place)
    return f"interrupted: what had finished is in {error.place}; to continue, run:\n  {again}"


@cli.command(
    "xortune search search_spaces/xor.yaml",
    "xortune search my.yaml --trials 50 --output runs/a",
    "xortune search my.yaml --output runs/a --trials 100 --resume",
    of=SearchArguments,
    trackers=True,
    interrupted=_interrupted,
)
def search(
    space: cli.SpaceFile,
    no_check: bool = False,
    check_seeds: bool = False,
    quiet: bool = False,
    as_json: bool = False,
    **given: Any,
) -> None:
    """Search a space for the configuration that solves its task for the most seeds.

    Options:
        no_check: Do not call a trainer of your own before the start.
        check_seeds: Train the first seed twice even if it takes more than a minute, or with
            --resume: does the seed determine the result?
    """
    silent = quiet or as_json
    if no_check and check_seeds:
        raise InputError("with --no-check", place="--check-seeds", allowed="one of them")
    from xortune.driver.search import asked_space
    from xortune.reports.progress import display
    from xortune.spaces.space import at_most, describe

    asked = cli.asked(SearchArguments, given)
    requested = asked_space(SearchArguments(space, **asked))
    what = describe(requested)
    if not silent:
        cli.print_message(f"{_announcement(what)}; at most {at_most(what)}")
        if what["trainer"] is None:
            cli.announce_compilation(asked["engine"])
    asked |= {
        "trackers": cli.trackers_of(given),
        "check": "seeds" if check_seeds else not no_check,
        "verbose": 0,
    }
    if asked["dry_run"]:
        plan: Any = xt.search(requested, **asked, listener=cli.listener(quiet=quiet))
        _show_dry_run(plan, quiet=quiet, as_json=as_json)
        return
    with display(quiet=silent) as shown:
        told = cli.listener(shown.search(), quiet=quiet, failures=bool(what["trainer"]))
        run = xt.search(requested, **asked, listener=told)
    show_run(run, quiet=quiet, as_json=as_json)
    if run.unwritten is not None:
        cli.fail(f"error: {run.unwritten}", cli.BAD_INPUT)
    if run.evaluations.failed or run.checks.failed:
        raise typer.Exit(cli.NO_OUTCOME)


def _announcement(what: Mapping[str, Any]) -> str:
    first, last = what["ladder"][0], what["ladder"][-1]
    seeds = f"{last:,}" if first == last else f"{first:,} to {last:,}"
    learned = f"trainer {what['trainer']}" if what["trainer"] else f"task {what['task']}"
    trials = f"{what['trials']:,} configurations ({what['sampler']})"
    return f"{what['name']}: {trials} x {seeds} seeds, {learned}"


def resume_command(words: Sequence[str], place: str) -> str:
    """The command that continues a search in `place`: its own, with --output and --resume.

    Passwords are replaced by `***`.
    """
    given = {word.partition("=")[0] for word in words}
    more = [] if "--output" in given else ["--output", place]
    if not {"--resume", "--extend"} & given:
        more.append("--resume")
    return shlex.join(["xortune", *without_passwords(words), *more])


def _show_dry_run(plan: DryRun, *, quiet: bool, as_json: bool) -> None:
    if as_json:
        from xortune.spaces.space import describe

        shown = {"dry_run": True, "run": str(plan.directory), "continues": plan.continues}
        cli.print_json(shown | {"notes": list(plan.notes), "space": describe(plan.space)})
    elif not quiet:
        cli.show(str(plan))


def show_run(run: Run, *, quiet: bool, as_json: bool, formats: Sequence[str] | None = None) -> None:
    """Print the result of a search or a report: as JSON, or the best ten configurations.

    `formats` are those of the files that were written; None for all.
    """
    if as_json:
        from xortune.runs.certificate import certificate_json
        from xortune.runs.manifest import stopped_because

        certificate, alike = run.certificate, run.indistinguishable
        rows = json.loads(run.table.head(10).to_json(orient="records", double_precision=15))
        cli.print_json(
            {
                "run": str(run.path),
                "configs": len(run.results),
                "complete": bool(run.manifest.get("complete")),
                "stopped": stopped_because(run.manifest),
                "best": rows[0] if rows else None,
                "table": rows,
                "indistinguishable": alike and alike.as_dict(),
                "certificate": certificate and certificate_json(certificate, run.manifest),
                "not_certified": run.manifest.get("not_certified"),
            }
        )
    elif not quiet:
        from xortune.reports.terminal import render_best

        render_best(run, cli.console(), formats)
        if superseded := run.set_aside:
            seeds = sum(evaluation.block.count for evaluation in superseded)
            cli.show(f"Not counted: {seeds:,} seeds that other versions made.")


# -------------------------------------------------------------------------------------------------
# The status of a run, the description of a space, and the report of a run.


@cli.command(
    "xortune status runs/xor",
    "xortune status runs/xor --watch",
    "xortune status runs/xor --watch --interval 60 --json",
    "xortune status runs/xor --html",
    "xortune status runs/xor --html --port 8765",
    interrupted="interrupted: nothing was shown yet; the run is untouched",
)
def status(
    run: cli.RunDirectory,
    watch: bool = False,
    interval: float = 2.0,
    html: bool = False,
    host: str | None = None,
    port: int | None = None,
    as_json: bool = False,
) -> None:
    """Say where a run stands: seeds done and expected, time left, best so far, failures.

    Options:
        watch (-w): Look again and again until the run ends.
        interval: Seconds between two looks.
        html: Serve a page that follows the run, and print its address.
        host: Address at which the page is served; 127.0.0.1 if not given.
        port: Port of the page; a free one if not given.
    """
    from xortune.reports.progress import render_status, status_json
    from xortune.runs.status import watched

    if html:
        if as_json or watch:
            other = "json" if as_json else "watch"
            raise InputError(f"cannot be given with --{other}", place="--html")
        with suppress(KeyboardInterrupt):
            _serve(run, interval=interval, host=host, port=port)
    elif host is not None or port is not None:
        option = "port" if host is None else "host"
        raise InputError("is for the page", place=option, fix="add --html")
    elif watch:
        with suppress(KeyboardInterrupt):  # the normal end
            _watch(watched(run, interval=interval), as_json=as_json)
    elif as_json:
        cli.print_json(status_json(xt.status(run)))
    else:
        cli.console().print(render_status(xt.status(run)))


def _serve(run: Path, *, interval: float, host: str | None, port: int | None) -> None:
    from xortune.reports.live import LOOPBACK, LiveServer

    with LiveServer(run, host=host or LOOPBACK, port=port or 0, interval=interval) as server:
        if not server.loopback:
            cli.note(
                "anyone who reaches this machine and has the address sees the run, unencrypted"
            )
        cli.print_message("Open this address in a browser. Ctrl-C ends the page; the run goes on.")
        cli.show(server.url, ends=False)
        server.serve_forever()


def _watch(looks: Iterator[RunStatus], *, as_json: bool) -> None:
    """Show each status: in place on a terminal, else as one line each."""
    from xortune.reports.progress import render_status, status_json, status_line

    screen = cli.console(ends=False)
    if screen.is_terminal and not as_json:
        first = next(looks)  # an error is reported before anything is drawn
        with Live(render_status(first), console=screen, auto_refresh=False) as live:
            for look in looks:
                live.update(render_status(look), refresh=True)
        return
    for look in looks:
        if as_json:
            typer.echo(json.dumps(status_json(look), allow_nan=False))
        else:
            cli.show(status_line(look), ends=False)
        if cli.nobody_reads():
            return


@cli.command("xortune space search_spaces/xor.yaml")
def space(space: cli.SpaceFile, as_json: bool = False) -> None:
    """Validate a space file, and say what it holds and what searching it may cost."""
    from xortune.driver.trainer import trainer_for, with_train
    from xortune.racing.grants import refuse_unprovable
    from xortune.spaces.space import check_space, describe, load_space
    from xortune.training.processes import ending_processes

    loaded = with_train(load_space(space), None)
    with ending_processes():  # it has imported the user's function
        trainer = trainer_for(loaded, None, "auto", 0.0)
        check_space(loaded, trainer)
        refuse_unprovable(loaded)
        description = describe(loaded, trainer.called_with)
    if as_json:
        cli.print_json(description)
        return
    from xortune.reports.terminal import render_space

    render_space(description, cli.console())


@cli.command(
    "xortune report runs/xor --format html,csv",
    interrupted="interrupted: some files are not written yet; the same command writes them",
)
def report(
    run: cli.RunDirectory, formats: str | None = None, quiet: bool = False, as_json: bool = False
) -> None:
    """Write a run's tables and report again, from its journal, and show the best.

    Options:
        formats (--format): Which to write: html,md,csv,tex,parquet, all if not given; png,pdf for
            figures.
    """
    loaded = xt.load_run(run)
    asked = None if formats is None else cli.split(formats) or [""]
    xt.write_report(loaded, formats=asked)
    show_run(loaded, quiet=quiet, as_json=as_json, formats=asked)
    if not quiet:
        with suppress(InputError):  # a damaged lock: only continuing the run reports it
            if lost := loaded.torn:
                cli.note(
                    f"the last line of the journal is torn ({lost:,} bytes) and in no count: "
                    "the search was killed; continue it with --resume"
                )
