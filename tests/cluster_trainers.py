"""Trainers that a worker can import: what they do with a point is written in its x."""

import ctypes
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import ray
from hand_made import solved

from xortune.core.trainer import Trainer


def die(how):
    """Bring this process to its end, or to a standstill."""
    if how == "exit":
        os._exit(1)
    if how == "hang":  # in a C function that keeps the interpreter to itself
        ctypes.PyDLL(None).sleep(10**6)
    os.kill(os.getpid(), getattr(signal, how))  # SIGKILL is what a kernel short of memory sends


@dataclass(frozen=True)
class Logging(Trainer):
    """Solves as many of the seeds as x says, and writes down where; some points kill the worker.

    Attributes:
        log: a file with a line "x node pid" for each block that is begun.
        deaths: how the worker dies, by x.
        naps: seconds that a block takes otherwise, until there is a file `hurry` beside the log.
    """

    log: str
    deaths: dict = field(default_factory=dict)
    naps: float = 0.0

    def cost(self, block):  # noqa: ARG002
        return 10.0

    def train(self, blocks):
        results = []
        for block in blocks:
            x = block.point["x"]
            node = ray.get_runtime_context().get_node_id()
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{x} {node} {os.getpid()}\n")
            if x in self.deaths:
                die(self.deaths[x])
            if not (Path(self.log).parent / "hurry").exists():
                time.sleep(self.naps)
            results.append(solved(block.first, x % (block.count + 1), block.count))
        return results

    def describe(self):
        return {"trainer": "logging"}


def begun(log):
    """(x, node) of each block that was begun, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]
