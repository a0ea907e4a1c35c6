"""Trainers that a Ray worker can import: one dies at a point, one raises, one is slow."""

import logging
import os
from dataclasses import dataclass

from hand_made import solved


@dataclass(frozen=True)
class Dying:
    """Solves as many of the seeds as x says; at `deadly` the process dies, at `broken` it raises.

    Every block that is trained adds a line to `log`, and is said to take `seconds`.
    """

    log: str
    deadly: int = -1
    broken: int = -1
    seconds: float = 1.0

    def check(self, point):
        return point

    def cost(self, block):  # noqa: ARG002
        return self.seconds

    def train(self, blocks):
        gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
        logging.getLogger("xortune.trainers").warning("trains on GPU %s", gpu)
        results = []
        for block in blocks:
            x = block.point["x"]
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{x}\n")
            if x == self.deadly:
                os._exit(1)
            if x == self.broken:
                raise ZeroDivisionError("nothing to\ndivide by")
            results.append(solved(block.first, x, block.count))
        return results

    def describe(self):
        return {"trainer": "dying"}
