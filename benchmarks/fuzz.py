"""Mutated space files and run directories: each gives a clear error or a result, and harms nobody.

    python benchmarks/fuzz.py                        10,000 space files and 2,000 run directories
    python benchmarks/fuzz.py --spaces 300 --runs 40 --seed 7

A finding is a traceback, more than 5 s of computing or 20 s of waiting, a message without a word on
what is wrong, a control character on the terminal or in a report, a process that was started, a
connection, something that was unpickled, and a file outside the run that was written or, other than
a task's table, read. Case `i` of a seed is always the same: `--first i --spaces 1 --runs 0` repeats
it. Exits 1 if there are findings.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from fuzz_bases import SPACE, Fake, base_runs
from fuzz_mutations import mutate_run
from fuzz_texts import mutated_text
from fuzz_watch import CONTROL, WATCH, Findings, Hang, attempt
from typer.testing import CliRunner

import xortune as xt
from xortune.cli.shared import app
from xortune.reports import files as report_files
from xortune.runs import lock as run_lock
from xortune.runs.store import JOURNAL

ROOT = Path(__file__).parents[1]
MEMORY = 6 << 30
CODES = {0, 1, 2, 4}


def command(*words: object) -> Callable[[], str]:
    """A command whose output is harmless and whose errors are clear; its exit code."""

    def action() -> str:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in CODES, f"exit code {result.exit_code}"
        for stream in (result.stdout, result.stderr):
            assert not (found := CONTROL.search(stream)), f"prints {found[0]!a}"
        if result.exit_code == 2:
            assert result.stderr.startswith(("error: ", "Usage: ")), f"says {result.stderr!a}"
            assert len(result.stderr) > 20, f"says only {result.stderr!a}"
            return "refused"
        if result.exit_code == 0 and "--json" in words:
            json.loads(result.stdout)
        return "done" if result.exit_code in {0, 4} else "not passed"

    return action


def files_of(run: Path) -> dict[str, bytes]:
    places = [run / f"{name}{end}" for name in ("report", "comparison") for end in (".md", ".csv")]
    places.append(run / "table.csv")
    return {p.name: p.read_bytes() for p in places if p.is_file() and not p.is_symlink()}


def harmless(run: Path, before: Mapping[str, bytes]) -> Callable[[], str]:
    """Whether what was written steers no terminal, no browser and no spreadsheet."""

    def action() -> str:
        for name, data in files_of(run).items():
            if data == before.get(name):  # by the mutation
                continue
            text = data.decode()
            assert not (found := CONTROL.search(text)), f"{name} holds {found[0]!a}"
            if name.endswith(".md"):
                prose = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1$", "", text)
                prose = re.sub(r"`[^`\n]*`", "", prose)
                prose = re.sub(r"(?m)^(</?details>$|<summary>(?=[^<\n]*</summary>$))", "", prose)
                prose = re.sub(r"(?m)</summary>$", "", prose)  # ours, as lines by themselves
                assert not (found := re.search(r"<[a-z/!]|(?<!\\)\]\(javascript", prose)), (
                    f"{name} holds {found[0]}"
                )
            else:
                assert not (found := re.search(r"(?m)(^|,)\"?[=@][^,\n]*", text)), (
                    f"{name} holds the formula {found[0]!a}"
                )
        return "clean"

    return action


def fuzz_spaces(findings: Findings, folder: Path, seed: int, cases: range) -> None:
    shipped = sorted((ROOT / "search_spaces").glob("*.yaml"))
    texts = [path.read_text(encoding="utf-8") for path in shipped] + [SPACE, *examples()]
    place = folder / "space.yaml"
    for case in cases:
        if findings.stopped:
            return
        findings.cases["spaces"] += 1
        chance = random.Random(f"space {seed} {case}")
        data = mutated_text(chance, chance.choice(texts), chance.choice(texts))
        place.write_bytes(data)
        attempt(findings, f"space {case}", "space", command("space", place))
        if list(folder.iterdir()) != [place]:
            findings.add(f"space {case}", "left something behind")


def examples() -> list[str]:
    """Space files in the tests and the documentation."""
    found = []
    for page in [*(ROOT / "tests").rglob("test_space*.py"), *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        found += re.findall(r"(?ms)^name: .*?(?=^\"\"\"|^```)", text)
    return [text for text in found if "parameters:" in text]


def fuzz_runs(findings: Findings, folder: Path, bases: list[Path], seed: int, cases: range) -> None:
    for case in cases:
        if findings.stopped:
            return
        findings.cases["runs"] += 1
        chance = random.Random(f"run {seed} {case}")
        run, scratch = folder / "run", folder / "scratch"
        for path in (run, scratch):
            shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(chance.choice(bases), run)
        shutil.copytree(folder.parent / "lock", run / "lock")
        scratch.mkdir()
        done = mutate_run(chance, run)
        if chance.random() < 0.7:  # else whoever reads also finds a lock
            with contextlib.suppress(OSError):
                shutil.rmtree(run / "lock")
        one_run(findings, f"run {case} ({done})", run, scratch, bases[0])


def one_run(findings: Findings, case: str, run: Path, scratch: Path, base: Path) -> None:
    before = files_of(run)

    def loaded() -> str:
        found = xt.load_run(run)
        assert len(found.table) == len(found.results), "table and results differ"
        _ = found.seeds, found.certificate, found.parameters, found.front
        return "done"

    def certified() -> str:
        how = {"trainer": Fake(), "accept_versions": True}
        xt.certify(run, top=1, seeds=4, workers=0, **how)  # here, where it is watched
        return "done"

    attempt(findings, case, "load_run", loaded)
    attempt(findings, case, "status", command("status", run))
    attempt(findings, case, "status --json", command("status", run, "--json"))
    attempt(findings, case, "report", command("report", run))
    attempt(findings, case, "report --json", command("report", run, "--json"))
    compare = ("compare", run, base, "--no-train", "--output", scratch)
    attempt(findings, case, "compare", command(*compare))
    attempt(findings, case, "gate", command("gate", run, "--min-rate", "0.2"))
    attempt(findings, case, "export", command("export", run))
    attempt(findings, case, "certify", certified)
    attempt(findings, case, "files", harmless(run, before))
    attempt(findings, case, "comparison", harmless(scratch, {}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spaces", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--sketch", action="store_true", help="reports without pictures: sooner")
    parser.add_argument("--show", type=int, default=5, help="findings to show in whole")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    # Of what is written alone: libraries, and Ray's store, map more than is there.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    sys.dont_write_bytecode = True
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    # A lock of another machine is waited for, as long as its lease is: that is no hang.
    run_lock.LEASE_SECONDS, run_lock.HEARTBEAT_SECONDS, run_lock.LOOK_SECONDS = 1.0, 0.1, 0.05
    if given.sketch:
        report_files.svg = lambda plot: f"<svg>{plot.name}</svg>\n"
    findings, began = Findings(), time.monotonic()
    # What is ended tells how far it came.
    signal.signal(signal.SIGTERM, lambda *_: setattr(findings, "stopped", True))
    with tempfile.TemporaryDirectory() as name:
        top = Path(os.path.realpath(name))
        outside, spaces, runs = top / "outside", top / "spaces", top / "runs"
        for path in (outside, spaces, runs):
            path.mkdir()
        bases = base_runs(top / "bases")
        prepare(top, outside, bases[0])
        before = snapshot(outside)
        os.chdir(spaces)
        sys.addaudithook(WATCH.hook)
        CliRunner().invoke(app, ["space", str(ROOT / "search_spaces" / "xor.yaml")])  # imports
        cases = range(given.first, given.first + given.spaces)
        WATCH.folder, WATCH.outside = spaces, outside
        fuzz_spaces(findings, spaces, given.seed, cases)
        middle = time.monotonic()
        WATCH.folder = runs
        cases = range(given.first, given.first + given.runs)
        os.chdir(runs)
        fuzz_runs(findings, runs, bases, given.seed, cases)
        WATCH.folder = None
        if snapshot(outside) != before or any(top.rglob("PWNED")):
            findings.add("all", "something outside was changed")
        os.chdir(ROOT)
    told(findings, given, (middle - began, time.monotonic() - middle))
    return 1 if findings.problems else 0


def prepare(top: Path, outside: Path, base: Path) -> None:
    """What lies beside a run: a secret, a journal; a lock of a process that is gone."""
    (outside / "secret").write_text("name: a secret\nparameters: {x: 1}\n")
    (outside / "secret.csv").write_text("x,y\n0,0\n1,1\n")
    shutil.copy(base / JOURNAL, outside / "run.jsonl")
    (top / "lock").mkdir()
    (top / "lock" / f"0001-{'f' * 32}.json").write_bytes(run_lock.this_process().as_bytes())


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def told(findings: Findings, given: argparse.Namespace, seconds: tuple[float, float]) -> None:
    print(f"seed {given.seed}, cases from {given.first}")
    cases = findings.cases
    print(
        f"{cases['spaces']:,} space files in {seconds[0]:.0f} s, {cases['runs']:,} run directories "
        f"in {seconds[1]:.0f} s; slowest: {findings.slowest[0]:.2f} s of computing, "
        f"{findings.slowest[1]}"
    )
    for end, found in sorted(findings.ends.items()):
        print(f"  {end:28} {found:,}")
    print(f"{len(findings.problems)} findings")
    for kind, found in findings.kinds.most_common():
        print(f"  {found} x {kind}")
    for problem in findings.problems[: given.show]:
        print(f"\n{problem}")


def _hang(*_: object) -> None:
    raise Hang


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 50)
    sys.exit(main())
