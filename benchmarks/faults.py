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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import machine
from faults_compared import differences
from faults_drivers import END_SECONDS, Driver, Machines, machines, small_disk
from faults_spaces import GRID, SPACE

from xortune.runs.run import load_run
from xortune.runs.store import JOURNAL

FREE = "free space there"
"""What a driver says when the disk is full."""

DRIVER, OWN, WORKER, NODE, TORN, DISK = "driver", "own Ray", "worker", "node", "torn", "disk"
WORDS = {
    DRIVER: "kills -9 of the driver",
    OWN: "of them with a Ray of its own",
    WORKER: "kills -9 of a worker",
    NODE: "nodes removed",
    TORN: "torn last lines",
    DISK: "full disks",
}


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


def order(counts: dict[str, int], chance: random.Random) -> list[str]:
    """All faults in random order; the last ones are kills of the driver, as nothing may be left."""
    faults = [kind for kind, count in counts.items() for _ in range(count)]
    chance.shuffle(faults)
    late = sorted(range(len(faults)), key=lambda i: (faults[i] != DRIVER, -i))[: len(faults) // 3]
    return [f for i, f in enumerate(faults) if i not in late] + [faults[i] for i in late]


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
