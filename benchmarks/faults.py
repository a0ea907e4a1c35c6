"""Searches that are killed, and lose workers, nodes, lines and disk: nothing lost, nothing twice.

python benchmarks/faults.py               # all of it: some minutes on an idle machine; Linux
python benchmarks/faults.py --readme      # and put the table into benchmarks/README.md

For each sampler a search runs through undisturbed, on a Ray cluster of one node with one CPU, so
that one pack trains at a time. Then the same search is disturbed at random instants: its driver is
killed (-9), which is resumed by the same command with --resume; so are workers; nodes leave and
others join; the last line of the journal is torn; the disk is full. In the end the journal has to
hold each evaluation of the undisturbed one, with the same outcome, exactly once, and `table.csv`
has to be the same, byte for byte. Last, the same with two packs at a time: there the set of
evaluations has to be complete, and the budget exact.

Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster

from xortune.evaluation import Evaluation
from xortune.run import JOURNAL, Run, load_run

SPACE = """
name: faults
task: xor
epochs: {epochs}
parameters:
  activation: {{choice: [Tanh, ReLU, ELU, Sigmoid]}}
  loss: {{choice: [MSELoss, BCELoss]}}
  optimizer: {{choice: [SGD, Adam]}}
  lr: {{low: 0.001, high: 1.0, log: true}}
  hidden_dim: {{low: 2, high: 4}}
search: {{sampler: {sampler}, seed: 3, trials: {trials}}}
seeds: {{ladder: [8, 16, 64], finalists: 4}}
"""

GRID = """
name: faults
task: xor
epochs: {epochs}
parameters:
  activation: {{choice: [Tanh, ReLU, ELU, Sigmoid]}}
  loss: {{choice: [MSELoss, BCELoss]}}
  optimizer: {{choice: [SGD, Adam]}}
  lr: 0.03
  hidden_dim: {{low: 2, high: 4}}
search: {{sampler: grid}}
seeds: {{ladder: [8, 16, 64], finalists: 4}}
"""

QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
"""How soon the cluster's head finds that a node is gone; Ray's own settings take 15 seconds."""

FREE = "free space there"
"""What a driver says when the disk is full."""

END_SECONDS = 300.0
"""A search that takes longer than that undisturbed, from wherever it is, hangs."""

DRIVER, OWN, WORKER, NODE, TORN, DISK = "driver", "own Ray", "worker", "node", "torn", "disk"
WORDS = {
    DRIVER: "kills -9 of the driver",
    OWN: "of them with a Ray of its own",
    WORKER: "kills -9 of a worker",
    NODE: "nodes removed",
    TORN: "torn last lines",
    DISK: "full disks",
}


class Machines:
    """A cluster whose head trains nothing, and its one node with the given CPUs."""

    def __init__(self, cpus: int) -> None:
        self._cpus, self._folder = cpus, tempfile.mkdtemp(prefix="xt", dir="/tmp")  # short: sockets
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "temp_dir": self._folder,
                "_system_config": QUICK,
            },
        )
        reset_ray_address()  # which others would connect to who start a Ray of their own
        self.address: str = self._cluster.address
        self._node: Any = self._cluster.add_node(num_cpus=cpus)

    def replace_node(self, pause: float) -> None:
        """The node leaves at once; after so many seconds another joins."""
        self._cluster.remove_node(self._node, allow_graceful=False)
        time.sleep(pause)
        self._node = self._cluster.add_node(num_cpus=self._cpus)

    def workers(self) -> list[int]:
        """The processes that train, of this cluster alone."""
        raylet = self._node.all_processes["raylet"][0].process.pid
        found = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(raylet)],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.splitlines()
        return [int(line.split()[0]) for line in found if "ray::PackTrainable" in line]

    def stop(self) -> None:
        self._cluster.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextmanager
def machines(cpus: int) -> Iterator[Machines]:
    started = Machines(cpus)
    try:
        yield started
    finally:
        started.stop()


class Driver:
    """A process of `xortune search --resume`."""

    def __init__(self, space: Path, folder: Path, address: str | None) -> None:
        self._said = space.with_name(f"said-{time.monotonic_ns()}")
        environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
        cpus = str(len(machine.cores())) if address is None else "1"  # one pack at a time
        command = [sys.executable, "-m", "xortune.cli", "search", str(space), "--resume"]
        command += ["--output", str(folder), "--engine", "fused", "--cpus-per-trial", cpus]
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                command if address is None else [*command, "--address", address],
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**environment, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"},
            )

    def ended(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def wait(self) -> int:
        try:
            return self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGALRM

    def said(self) -> str:
        """Its stderr so far."""
        return self._said.read_text(encoding="utf-8", errors="replace")


@dataclass
class Disturbed:
    """A search that is disturbed.

    Attributes:
        lines: of the undisturbed search's journal.
        random: decides when and how.
        small: whether the folder's disk is one that may be filled.
        problems: what was not as it should be.
        done: how often it was disturbed, by the kind.
        sessions: drivers that were started.
    """

    space: Path
    folder: Path
    cluster: Machines
    lines: int
    random: random.Random
    small: bool
    problems: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    driver: Driver | None = None

    @property
    def journal(self) -> Path:
        return self.folder / JOURNAL

    def run(self, faults: Sequence[str]) -> None:
        for number, fault in enumerate(faults):
            self._disturb(fault, left=len(faults) - number)
        driver = self._running(own=False)
        if (code := driver.wait()) != 0:
            self._wrong(f"the last session ended with {code}", driver)

    def _disturb(self, fault: str, left: int) -> None:
        driver = self._running(own=fault == OWN)
        self._instant(driver, left)
        if (code := driver.ended()) is not None:  # before we came to it
            if code != 0:
                self._wrong(f"a session ended with {code}, undisturbed", driver)
            driver = self._running(own=fault == OWN)
            time.sleep(self.random.uniform(0, 4))
        if fault == WORKER:
            self._kill_worker(driver)
        elif fault == NODE:
            self.cluster.replace_node(self.random.uniform(0, 2))
        elif fault == DISK:
            self._fill(driver)
        else:
            driver.kill()
            self.driver = None
            if fault == TORN:
                self._tear()
        self.done[fault] += 1

    def _running(self, *, own: bool) -> Driver:
        driver = self.driver
        if driver is not None and driver.ended() is None:
            if not own:
                return driver
            driver.kill()  # one more, which is not counted
        address = None if own else self.cluster.address
        self.driver = Driver(self.space, self.folder, address)
        self.sessions += 1
        return self.driver

    def _instant(self, driver: Driver, left: int) -> None:
        """Return at a random instant: while it starts, or when it has trained some blocks."""
        before = self._count()
        wanted = before + self.random.randint(0, max(1, 2 * (self.lines - before) // (left + 1)))
        starting = self.random.random() < 0.2
        end = time.monotonic() + (self.random.uniform(0, 6) if starting else END_SECONDS)
        while self._count() <= wanted and driver.ended() is None and time.monotonic() < end:
            time.sleep(0.005)
        time.sleep(self.random.uniform(0, 0.3))

    def _count(self) -> int:
        try:
            return self.journal.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0

    def _kill_worker(self, driver: Driver) -> None:
        end = time.monotonic() + 30
        while not (found := self.cluster.workers()) and time.monotonic() < end:
            if driver.ended() is not None:
                break
            time.sleep(0.01)
        if not found:
            self._wrong("no worker was there to be killed: did it end too soon? (--epochs)", driver)
            return
        os.kill(self.random.choice(found), signal.SIGKILL)

    def _tear(self) -> None:
        """The last line is cut anywhere; where it ends are zeros, or bytes that are no text."""
        if not self._count():
            return  # nothing but, maybe, a torn line
        content = self.journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        start = whole.rfind(b"\n", 0, -1) + 1
        cut = self.random.randint(start + 1, len(whole) - 1)
        tails = (b"", bytes(self.random.randint(1, 400)), b"\xff\xfe\x80" * 9)
        self.journal.write_bytes(whole[:cut] + tails[self.done[TORN] % len(tails)])
        driver = self._running(own=False)
        end = time.monotonic() + 60
        while "was torn" not in driver.said():
            if driver.ended() is not None or time.monotonic() > end:
                self._wrong("a torn line was dropped without a word", driver)
                return
            time.sleep(0.02)

    def _fill(self, driver: Driver) -> None:
        """The disk takes some bytes more, then none, until the driver has ended."""
        room = self.random.randint(0, 3_000)
        filler = self.folder / "filler"
        if self.small and self.done[DISK] % 2 == 0:
            free = shutil.disk_usage(self.folder).free
            with filler.open("wb") as file:
                file.write(bytes(max(0, free - room)))
        elif hasattr(resource, "prlimit"):
            size = self.journal.stat().st_size if self.journal.exists() else 0
            limits = (size + room, resource.RLIM_INFINITY)
            with suppress(ProcessLookupError):
                resource.prlimit(driver.process.pid, resource.RLIMIT_FSIZE, limits)
        code = driver.wait()
        filler.unlink(missing_ok=True)
        said = driver.said()
        if code == 0 and self._count() >= self.lines:
            return  # there was nothing left to write but the tables, which are small
        if code != 2 or FREE not in said or "Traceback" in said:
            self._wrong(f"on a full disk a session ended with {code}", driver)

    def _wrong(self, what: str, driver: Driver) -> None:
        last = [line for line in driver.said().splitlines() if line.strip()][-6:]
        self.problems.append("\n    ".join([what, *last]))


def outcomes(run: Run) -> dict[tuple[str, int], tuple[Any, ...]]:
    """What became of each config and seed: all that a table knows, but no times."""
    rows = run.seed_table.to_pylist()
    return {(row["key"], row["seed"]): tuple(row.values()) for row in rows}


def twice(evaluations: Sequence[Evaluation]) -> int:
    """How many seeds of configs are in more than one final line."""
    seen = Counter(
        (e.block.point.key, seed) for e in evaluations if e.final for seed in e.block.seeds
    )
    return sum(times > 1 for times in seen.values())


def differences(folder: Path, reference: Path, *, exact: bool) -> list[str]:
    """What is not as in the undisturbed run."""
    run, whole = load_run(folder), load_run(reference)
    found = []
    if again := twice(run.evaluations):
        found.append(f"{again} seeds were evaluated twice")
    if crashed := sum(e.final and e.outcome is None for e in run.evaluations):
        found.append(f"{crashed} blocks were given up")
    proposals = {e.proposal for e in run.evaluations if e.final}
    if proposals != (planned := {e.proposal for e in whole.evaluations if e.final}):
        found.append(f"{len(proposals)} proposals of {len(planned)}")
    if sum(result.trials for result in run.results) != len(planned):
        found.append("the table's trials are not the budget")
    rungs = {result.outcome.n for result in whole.results}
    found += [
        f"config {result.key} has {result.outcome.n} seeds, which is no rung"
        for result in run.results
        if result.outcome.n not in rungs
        or result.outcome.seeds.tolist() != list(range(result.outcome.n))
    ]
    if run.manifest.get("complete") is not True:
        found.append("the manifest does not say that it is complete")
    if not exact:
        return found
    mine, theirs = outcomes(run), outcomes(whole)
    if mine != theirs:
        lost, more = theirs.keys() - mine.keys(), mine.keys() - theirs.keys()
        other = sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())
        found.append(f"{len(lost)} evaluations lost, {len(more)} unplanned, {other} otherwise")
    if (folder / "table.csv").read_bytes() != (reference / "table.csv").read_bytes():
        found.append("table.csv differs")
    return found


def order(counts: dict[str, int], chance: random.Random) -> list[str]:
    """All faults in random order; the last ones are kills of the driver, as nothing may be left."""
    faults = [kind for kind, count in counts.items() for _ in range(count)]
    chance.shuffle(faults)
    late = sorted(range(len(faults)), key=lambda i: (faults[i] != DRIVER, -i))[: len(faults) // 3]
    return [f for i, f in enumerate(faults) if i not in late] + [faults[i] for i in late]


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A tmpfs of some MB at the folder, where that may be mounted; whether it is."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "xortune-faults", str(folder)]
    mounted = (
        shutil.which("mount") is not None
        and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


def one(
    sampler: str, counts: dict[str, int], args: argparse.Namespace, *, cpus: int, work: Path
) -> tuple[list[str], Disturbed]:
    """A row of the table: the undisturbed search, the disturbed one, how they differ."""
    work.mkdir()
    space, reference = work / "space.yaml", work / "undisturbed"
    text = GRID if sampler == "grid" else SPACE
    space.write_text(text.format(sampler=sampler, trials=args.trials, epochs=args.epochs))
    chance = random.Random(f"{args.seed} {sampler} {cpus}")
    with machines(cpus) as cluster, small_disk(work / "disk") as small:
        began = time.monotonic()
        driver = Driver(space, reference, cluster.address)
        code = driver.wait()
        if code != 0:
            raise SystemExit(f"the undisturbed search ended with {code}:\n{driver.said()}")
        alone = time.monotonic() - began
        lines = len(load_run(reference).evaluations)
        search = Disturbed(space, work / "disk" / "run", cluster, lines, chance, small)
        began = time.monotonic()
        try:
            search.run(order(counts, chance))
            search.problems += differences(search.folder, reference, exact=cpus == 1)
            same = not differences(search.folder, reference, exact=True)
        finally:
            if search.driver is not None and search.driver.ended() is None:
                search.driver.kill()
        took = time.monotonic() - began
    result = "DIFFERS" if search.problems else "the same" if same else "complete"
    done = {**search.done, DRIVER: search.done[DRIVER] + search.done[OWN]}
    counted = [str(done.get(kind, 0)) for kind in WORDS]
    row = [f"{sampler}, {cpus}", *counted, str(lines), result, f"{alone:.0f}", f"{took:.0f}"]
    return row, search


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="of the instants and the order")
    parser.add_argument(
        "--kills", type=int, default=20, help="of TPE's driver; a quarter of others'"
    )
    parser.add_argument("--samplers", nargs="+", default=["tpe", "random", "grid", "two"])
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=600_000, help="what makes it last")
    parser.add_argument("--readme", action="store_true", help="put it into benchmarks/README.md")
    args = parser.parse_args()
    place = machine.description()
    print(place, end="\n\n", flush=True)
    few = {DRIVER: args.kills // 5, OWN: args.kills // 20, WORKER: 1, NODE: 1, TORN: 1, DISK: 1}
    own = args.kills // 5
    many = {DRIVER: args.kills - own, OWN: own, WORKER: 5, NODE: 3, TORN: 3, DISK: 2}
    rows, problems = [], []
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".faults-") as name:
        for sampler in args.samplers:
            cpus = 2 if sampler == "two" else 1
            real = "tpe" if sampler == "two" else sampler
            counts = many if sampler == "tpe" else few
            row, search = one(real, counts, args, cpus=cpus, work=Path(name) / sampler)
            print(" | ".join(row), f"({search.sessions} sessions)", flush=True)
            for problem in search.problems:
                print(f"  {problem}", flush=True)
            rows.append(row)
            problems += search.problems
    head = ("sampler, packs at a time", *WORDS.values(), "lines", "in the end")
    text = machine.table((*head, "undisturbed, s", "disturbed, s"), rows)
    print(f"\n{text}", flush=True)
    if args.readme and not problems:
        machine.write_figures("faults", f"{place}; seed {args.seed}\n\n{text}")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
