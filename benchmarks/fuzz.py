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
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_mutations import mutate_run, mutated_text
from typer.testing import CliRunner

import xortune as xt
from xortune import run_lock
from xortune.cli import app
from xortune.errors import InputError, TrainingError
from xortune.evaluation import Evaluation
from xortune.journal import Journal
from xortune.outcome import Outcome
from xortune.point import Point
from xortune.run import JOURNAL, create
from xortune.task import Task
from xortune.trainer import Block

ROOT = Path(__file__).parents[1]
COMPUTING, WAITING = 5.0, 20.0
MEMORY = 6 << 30
CODES = {0, 1, 2, 4}


class Hang(BaseException):
    """A case that does not end."""


@dataclass
class Watch:
    """What a case does to the machine, seen by Python's own audit events."""

    folder: Path | None = None
    outside: Path | None = None
    seen: list[str] = field(default_factory=list)

    def hook(self, event: str, given: tuple[Any, ...]) -> None:
        if self.folder is None:
            return
        if event == "open":
            self.opened(given[0], given[2])
        elif event in ("os.rename", "os.link", "os.symlink"):
            self.written(given[1], event)
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.utime"):
            self.written(given[0], event)
        elif event == "subprocess.Popen":
            if list(given[1])[:2] != ["git", "rev-parse"]:
                self.seen.append(f"started {given[1]}")
        elif event in ("os.system", "os.exec", "os.posix_spawn", "socket.connect", "socket.bind"):
            self.seen.append(f"{event} {given}")
        elif event == "pickle.find_class":
            self.seen.append(f"unpickled {given}")

    def opened(self, path: Any, flags: int) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
            self.written(path, "open")
        elif flags & os.O_NOFOLLOW and Path(os.fsdecode(path)).is_symlink():
            return  # refused by the kernel
        elif self.outside is not None and not os.fsdecode(path).endswith(".csv"):
            with contextlib.suppress(OSError, ValueError):
                if Path(os.path.realpath(path)).is_relative_to(self.outside):
                    self.seen.append(f"may have read {os.fsdecode(path)}")

    def written(self, path: Any, how: str) -> None:
        if not isinstance(path, str | bytes | os.PathLike) or self.folder is None:
            return
        with contextlib.suppress(ValueError):
            real = Path(os.path.realpath(Path(os.fsdecode(path)).parent))
            if not real.is_relative_to(self.folder):
                self.seen.append(f"{how} of {os.fsdecode(path)} to write")


WATCH = Watch()


@dataclass
class Findings:
    """What went wrong, and how the cases ended."""

    ends: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, str] = (0.0, "")
    cases: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    def add(self, case: str, what: str) -> None:
        self.problems.append(f"{case}: {what}")
        self.kinds[what.splitlines()[-1][:150]] += 1


CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def attempt(findings: Findings, case: str, name: str, action: Callable[[], str]) -> None:
    """Do one thing to one case; `action` returns how it ended, or raises what is a finding."""
    label = f"{case} {name}"
    WATCH.seen.clear()
    signal.setitimer(signal.ITIMER_REAL, WAITING)
    began = time.process_time()
    try:
        findings.ends[f"{name}: {action()}"] += 1
    except Hang:
        findings.add(label, f"hangs for {WAITING} s\n{name} hangs")
    except InputError as error:
        findings.ends[f"{name}: refused"] += 1
        if len(str(error)) < 10:
            findings.add(label, f"says only {error}")
    except AssertionError as error:
        findings.add(label, f"{name}: {error}")
    except Exception:
        lines = traceback.format_exc().splitlines()
        place = next((x.strip() for x in reversed(lines) if "/xortune/" in x), "")
        findings.add(label, "\n".join([*lines[-14:], f"{name}: {lines[-1]} at {place}"]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    spent = time.process_time() - began
    findings.slowest = max(findings.slowest, (spent, label))
    if spent > COMPUTING:
        findings.add(label, f"took {spent:.1f} s\n{name} took more than {COMPUTING} s")
    for seen in dict.fromkeys(WATCH.seen):
        findings.add(label, f"{name}: {seen}")


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
                assert not (found := re.search(r"<[a-z/!]|(?<!\\)\]\(javascript", prose)), (
                    f"{name} holds {found[0]}"
                )
            else:
                assert not (found := re.search(r"(?m)(^|,)\"?[=@][^,\n]*", text)), (
                    f"{name} holds the formula {found[0]!a}"
                )
        return "clean"

    return action


class Fake:
    """A trainer that trains nothing: half of its seeds are solved, or none has an outcome."""

    def check(self, point: Point) -> Point:
        return point

    def cost(self, block: Block) -> float:
        return 1e-6 * block.count

    def describe(self) -> dict[str, str]:
        return {"trainer": "network", "task": "xor", "task_fingerprint": Task.xor().fingerprint}

    def train(self, blocks: Sequence[Block]) -> list[Outcome | TrainingError]:
        return [
            TrainingError("too hot")
            if block.point.get("lr") == 0.5
            else outcome(block.first, block.count, block.count // 2)
            for block in blocks
        ]


def outcome(first: int, n: int, k: int, rows: tuple[int, ...] = (0, 1, 1, 1)) -> Outcome:
    right = [(0, 1, 1, 0)] * k + [rows] * (n - k)
    return Outcome.judge(
        Task.xor(),
        seeds=np.arange(first, first + n),
        epochs=30,
        predictions=np.array(right, dtype=bool),
        finite=np.arange(n) != n - 2,
        solved_epoch=np.full(n, 9, dtype=np.int32),
        final_loss=np.linspace(0, 1, n, dtype=np.float32),
    )


SPACE = """name: small
epochs: 30
parameters:
  activation: {choice: [Tanh, ReLU]}
  loss: MSELoss
  optimizer: {choice: [Adam, SGD]}
  lr: {low: 0.01, high: 0.6, log: true}
  momentum: {low: 0.0, high: 0.9, when: {optimizer: SGD}}
  hidden_dim: {low: 2, high: 5}
search: {sampler: random, trials: 6}
seeds: {ladder: [4, 8], certify: 20}
"""


def base_runs(folder: Path) -> list[Path]:
    """A certified run of the built-in network, and one of somebody's own trainer."""
    made = []
    for name in ("network", "own", "front"):
        path = folder / name
        manifest: dict[str, Any] = {
            "name": name,
            "trainer": "own" if name == "own" else "network",
            "task": "xor",
            "task_fingerprint": Task.xor().fingerprint,
            "engine": "reference",
            "trials": 6,
            "ladder": [4, 8],
            "started": "2026-01-02T03:04:05+00:00",
            "space_file": str(folder / "small.yaml"),
            "command": ["xortune", "search", "small.yaml"],
            "versions": {"python": "3.12", "torch": "2.13.0"},
            "importance": {"lr": 0.7, "activation": 0.3},
            "complete": True,
            "stopped": "interrupted by the user",
            "proven": {"key": "0123456789abcdef", "rate": 0.99},
            "not_certified": {"why": "no time", "command": "xortune certify X", "seconds": 100.0},
        }
        if name == "front":
            rate = {"name": "success_rate", "direction": "maximize"}
            manifest["objectives"] = [rate, {"name": "hidden_dim", "direction": "minimize"}]
        create(path, space_text=SPACE, manifest=manifest)
        with Journal.open(path / JOURNAL) as journal:
            for line in evaluations(name):
                journal.append(line)
        if name != "own":
            xt.certify(path, top=2, seeds=20, trainer=Fake(), accept_versions=True)
        xt.write_report(xt.load_run(path))
        made.append(path)
    return made


def evaluations(name: str) -> Iterator[Evaluation]:
    for number in range(6):
        values: dict[str, Any] = {
            "activation": ["Tanh", "ReLU", None][number % 3],
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": 0.01 * 2**number,
            "hidden_dim": 2 + number % 3,
            "epochs": 30,
            "zero_grad": True,
        }
        if name == "own":
            values = {"kind": "ab"[number % 2], "on": number % 2 == 0, "depth": number, "k": 1.5}
        point = Point(values)
        first = Block(point, 0, 4)
        yield Evaluation(number, first, outcome(0, 4, number % 5), None, True, 0.5, "host:1")
        second = Block(point, 4, 4)
        if number == 2:
            yield Evaluation(number, second, None, "too hot", False, 0.1, "host:2")
            yield Evaluation(number, second, None, "too hot", True, 0.1, "host:2")
        elif number > 2:
            yield Evaluation(number, second, outcome(4, 4, 3), None, True, 0.5, "host:1")


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


TABLE = "activation,lr,hidden_dim,k,n\nTanh,0.01,2,3,10\nReLU,0.02,3,4,10\n"


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
        shutil.copy(folder.parent / "lock.json", run / "lock.json")
        scratch.mkdir()
        done = mutate_run(chance, run)
        if chance.random() < 0.7:  # else whoever reads also finds a lock
            with contextlib.suppress(OSError):
                (run / "lock.json").unlink()
        one_run(findings, f"run {case} ({done})", run, scratch, folder.parent / "published.csv")


def one_run(findings: Findings, case: str, run: Path, scratch: Path, table: Path) -> None:
    before = files_of(run)

    def loaded() -> str:
        found = xt.load_run(run)
        assert len(found.table) == len(found.results), "table and results differ"
        _ = found.seeds, found.certificate, found.parameters, found.front
        return "done"

    def certified() -> str:
        xt.certify(run, top=1, seeds=4, trainer=Fake(), accept_versions=True)
        return "done"

    attempt(findings, case, "load_run", loaded)
    attempt(findings, case, "status", command("status", run))
    attempt(findings, case, "status --json", command("status", run, "--json"))
    attempt(findings, case, "report", command("report", run))
    attempt(findings, case, "report --json", command("report", run, "--json"))
    compare = ("compare", run, "--reference", table, "--output", scratch)
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
    parser.add_argument("--show", type=int, default=5, help="findings to show in whole")
    given = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    sys.dont_write_bytecode = True
    os.environ |= {"COLUMNS": "100", "NO_COLOR": "1"}
    # A lock of another machine is waited for, as long as its lease is: that is no hang.
    run_lock.LEASE_SECONDS, run_lock.HEARTBEAT_SECONDS, run_lock.LOOK_SECONDS = 1.0, 0.1, 0.05
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
    """What lies beside a run: a secret, a table, a journal; a lock of a process that is gone."""
    from dataclasses import replace

    from xortune.run_lock_owner import this_process

    (outside / "secret").write_text("name: a secret\nparameters: {x: 1}\n")
    (outside / "secret.csv").write_text("x,y\n0,0\n1,1\n")
    shutil.copy(base / JOURNAL, outside / "run.jsonl")
    (top / "published.csv").write_text(TABLE)
    (top / "lock.json").write_bytes(replace(this_process(), boot_id="another").as_bytes())


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
