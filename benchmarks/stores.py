"""An object store as the output of a search: how much longer it takes, and how many objects.

python benchmarks/stores.py              # minutes: searches for XOR, to a disk and to a server
python benchmarks/stores.py --readme     # and put the figures into benchmarks/README.md
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import machine
from journal import evaluations

from xortune.runs.journal import Journal
from xortune.runs.lock import held
from xortune.runs.store import JOURNAL, driver_directory, segments_in, store_of

SPACE = Path(__file__).parents[1] / "search_spaces" / "xor.yaml"

KEYS = {
    "AWS_ACCESS_KEY_ID": "somebody",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server with an empty bucket `runs`, a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while True:
                with suppress(OSError):
                    urlopen(Request(f"http://127.0.0.1:{port}/runs", method="PUT")).close()
                    break
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            server.kill()


def seconds(output: str, trials: int) -> float:
    """Of one search by the command line, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(
        [
            *(sys.executable, "-m", "xortune", "search", SPACE, "--output", output),
            *("--trials", str(trials), "--quiet"),
        ],
        check=True,
    )
    return time.perf_counter() - began


def measured(trials: int, repeats: int) -> str:
    """One table: searches to a directory and to the store, in turn."""
    with tempfile.TemporaryDirectory() as folder, s3_server() as address:
        os.environ |= KEYS | {"XORTUNE_CACHE": f"{folder}/cache"}
        seconds(f"{folder}/warm", 4)
        disk, stored, objects, segments = [], [], [], []
        for number in range(repeats):
            disk.append(seconds(f"{folder}/{number}", trials))
            url = f"s3://runs/{number}/run?endpoint_override={address}&scheme=http"
            stored.append(seconds(url, trials))
            store = store_of(driver_directory(url))
            segments.append(len(segments_in(store)))
            objects.append(len(store.names()) + len(store.names("evaluations")))
        size = (Path(f"{folder}/0") / "evaluations.jsonl").stat().st_size
    rows = [
        [what, f"{statistics.median(took):.1f}", f"{min(took):.1f} to {max(took):.1f}"]
        for what, took in (("a directory", disk), ("s3://", stored))
    ]
    ratio = statistics.median(s / d for s, d in zip(stored, disk, strict=True))
    return "\n\n".join(
        [
            machine.table([f"search for XOR, {trials} configurations", "s, median", "all"], rows),
            f"To the store it takes {ratio:.2f} times as long (median of {repeats} pairs, one "
            f"after the other). It has {statistics.median(objects):.0f} objects afterwards, "
            f"{statistics.median(segments):.0f} of them segments of a journal of "
            f"{size / 1000:.0f} kB.",
        ]
    )


def paced(lines: int, pace: float) -> str:
    """What the journal costs the driver, in CPU, and how long a line takes to be settled."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, s3_server() as address:
        os.environ |= KEYS | {"XORTUNE_CACHE": f"{folder}/cache"}
        url = f"s3://runs/journal/run?endpoint_override={address}&scheme=http"
        for what, output in (("a directory", f"{folder}/run"), ("s3://", url)):
            directory = driver_directory(output)
            sent, waits = [], []
            with held(directory), Journal(directory / JOURNAL) as journal:
                began, cpu = time.perf_counter(), time.process_time()
                for number, evaluation in enumerate(evaluations(lines)):
                    pause = began + number / pace - time.perf_counter()
                    time.sleep(max(0.0, pause))
                    journal.append(evaluation)
                    sent.append(time.perf_counter())
                    while len(waits) < journal.settled:
                        waits.append(time.perf_counter() - sent[len(waits)])
                journal.sync()
                waits += [time.perf_counter() - at for at in sent[len(waits) :]]
                took, cpu = time.perf_counter() - began, time.process_time() - cpu
            rows.append(
                [what, f"{cpu / took:.1%}", f"{statistics.median(waits):.2f}", f"{max(waits):.2f}"]
            )
        count = len(segments_in(store_of(driver_directory(url))))
    header = [f"{lines:,} lines of 100 seeds, {pace:.0f} a second", "CPU of one core"]
    header += ["settled after, s, median", "at most"]
    return f"{machine.table(header, rows)}\n\n{count} segments."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few configurations, once")
    parser.add_argument("--readme", action="store_true", help="put them into benchmarks/README.md")
    args = parser.parse_args()
    place = machine.description()
    text = paced(100 if args.quick else 3_300, 110.0)
    text += "\n\n" + measured(*(8, 1) if args.quick else (200, 3))
    print(f"{place}\n\n{text}")
    if args.readme:
        machine.write_figures("stores", f"{place}\n\n{text}")


if __name__ == "__main__":
    main()
