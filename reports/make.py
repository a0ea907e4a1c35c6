"""Makes the reports that are committed here.

    python reports/make.py           trains everything and writes all of it: some minutes
    python reports/make.py xor       only this one
    python reports/make.py --draw    writes it again from the runs that are here, half a minute;
                                     thread.md is left as it is

Each report stands beside the run that it follows from, without what is another each time and on
each machine: times, durations, names of hosts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import xortune as xt
from xortune.core.errors import from_command_line
from xortune.reports.drawing.matplotlib import svg
from xortune.reports.figures.ranking import ranking

ROOT = Path(__file__).resolve().parent.parent

SPACES = {
    "xor": "search_spaces/xor.yaml",
    "parity3": "search_spaces/parity3.yaml",
    "sweep": "examples/thread/sweep.yaml",
    "optimizers": "search_spaces/optimizers.yaml",
}
"""The run in each folder, and what is searched."""

THREAD = "thread"

COMPARED = "optimizers"
"""The folder in which configs of its run are compared; a report of its own it has not."""

PICTURED = "xor"
"""The folder whose ranking the README shows, on a light page and on a dark one."""

CONTESTANTS: dict[str, dict[str, object]] = {
    "SGD": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.0},
    "SGD m 0.9": {"optimizer": "SGD", "lr": 0.1, "momentum": 0.9},
    "SGD lr 1": {"optimizer": "SGD", "lr": 1.0, "momentum": 0.0},
    "RMSprop": {"optimizer": "RMSprop", "lr": 0.1, "momentum": 0.0},
    "RMSprop m 0.9": {"optimizer": "RMSprop", "lr": 0.1, "momentum": 0.9},
}
"""Does momentum help, or is it the longer step? A constant gradient moves SGD with momentum 0.9 by
lr / (1 - 0.9) an epoch: as far as ten times the lr without it."""

SOURCES = ("evaluations.jsonl", "manifest.json", "space.yaml")
"""Of a run, all that cannot be made again from the others."""

PASSING = ("started", "finished", "host", "platform", "git_commit", "time_budget")
"""Entries of a manifest and of its sessions that are left out."""


def make(name: str, reports: Path) -> None:
    """Train and write one of them."""
    if name == THREAD:  # its report stands beside the folders
        script = ROOT / "examples" / "thread" / "measure.py"
        options = ["--sweep", str(reports / "sweep"), "--output", str(reports)]
        subprocess.run([sys.executable, str(script), *options], check=True)  # noqa: S603
    else:
        search(SPACES[name], reports / name)
        draw(name, reports / name)


def search(space: str, folder: Path) -> None:
    """Search a space; the folder then holds nothing but the run."""
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        with from_command_line(["xortune", "search", space]):
            xt.search(ROOT / space, output=run)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in SOURCES:
            shutil.copyfile(run / name, folder / name)
    strip_journal(folder / "evaluations.jsonl")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["space_file"] = space
    kept = _lasting(manifest) | {"sessions": [_lasting(one) for one in manifest["sessions"]]}
    (folder / "manifest.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def strip_journal(journal: Path) -> None:
    """Take out how long each line took, where and when: 0 seconds is what no training takes."""
    lines = [json.loads(line) for line in journal.read_text(encoding="ascii").splitlines()]
    for line in lines:
        line |= {"seconds": 0.0, "worker": ""}
        line.pop("at", None)
    texts = [json.dumps(line, separators=(",", ":")) + "\n" for line in lines]
    journal.write_text("".join(texts), encoding="ascii")


def draw(name: str, folder: Path) -> None:
    """Write the tables and the report, or the comparison, of a folder that holds a run."""
    for figures in folder.glob("*figures"):
        shutil.rmtree(figures)
    run = xt.load_run(folder)
    if name != COMPARED:
        xt.write_report(run, formats=["md", "csv", "tex"])
        return
    xt.write_report(run, formats=["csv"])
    table = run.table
    keys = [
        table.loc[(table[list(wanted)] == list(wanted.values())).all(axis=1), "key"].item()
        for wanted in CONTESTANTS.values()
    ]
    named = [f"{folder}#{key}" for key in keys]
    found = xt.compare(named, labels=list(CONTESTANTS), output=folder, reuse=True)
    found = replace(found, reused=None)  # the report is the same, whether seeds trained just now
    for journal in folder.glob("trained-*.jsonl"):
        strip_journal(journal)
    xt.write_comparison(found, folder, formats=["md", "csv", "tex"])


def picture(folder: Path) -> None:
    """Write the README's pictures, beside the folder of the run that they show."""
    plot = ranking(xt.load_run(folder))
    for theme in ("light", "dark"):
        text = svg(plot, dark=theme == "dark")
        (folder.parent / f"picture-{theme}.svg").write_text(text, encoding="utf-8")


def _lasting(entries: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in entries.items() if name not in PASSING}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draw", action="store_true", help="train nothing, draw what is here")
    parser.add_argument("names", nargs="*", help="which; all if none is given")
    given = parser.parse_args()
    every = list(SPACES) if given.draw else [*SPACES, THREAD]
    if wrong := set(given.names) - set(every):
        parser.error(f"{', '.join(sorted(wrong))}: choose from {', '.join(every)}")
    os.chdir(ROOT)
    for each in given.names or every:
        print(each, flush=True)
        if given.draw:
            draw(each, Path("reports") / each)
        else:
            make(each, Path("reports"))
        if each == PICTURED:
            picture(Path("reports") / each)
