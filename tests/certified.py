"""What the tests of certificates share: a searched run, trainers, the command."""

import os
import signal
import time
import zlib
from dataclasses import dataclass, field, replace

import pytest
from hand_made import CONFIG, RIGHT, TINY_SPACE, WRONG, done, outcome, solved, write_run

from xortune.certificates.fresh import CertifyRequest
from xortune.core import trainer
from xortune.core.errors import TrainingError
from xortune.core.point import Point
from xortune.driver.certify import certify_run
from xortune.driver.voice import Voice
from xortune.training.batches import BATCH_SECONDS
from xortune.training.resources import Cluster
from xortune.training.timing import MeasuredSeconds

SPACE = TINY_SPACE.replace("hidden_dim: 3", "hidden_dim: {low: 2, high: 9}")
SPACE = SPACE.replace("trials: 3", "trials: 5").replace("[4]", "[8]")
BASE = {**CONFIG, "epochs": 30, "hidden_dim": 3}
LRS = (0.02, 0.03, 0.04, 0.05, 0.06)
POINTS = [Point({**BASE, "lr": lr}) for lr in LRS]
KEYS = [point.key for point in POINTS]
SEARCHED = (6, 8, 7, 0, 5)  # of 8


class Trainer(trainer.Trainer):
    """What is not training; a subclass trains, and says how many seconds a seed takes."""

    def train(self, blocks):
        raise AssertionError(f"nobody trains here: {blocks}")

    def cost(self, block):
        return block.count * self.seconds

    def describe(self):
        return {}


HERE = Cluster(workers=0)


@dataclass
class Counting(Trainer):
    """Solves every seed but those of `fails`, by key; notes the blocks; may break or be stopped."""

    fails: dict[str, int] = field(default_factory=dict)
    broken: set[int] = field(default_factory=set)
    stop_after: int | None = None
    seconds: float = 1 / 50  # blocks of 50 seeds
    blocks: list = field(default_factory=list)

    def train(self, blocks):
        [block] = blocks
        if self.stop_after is not None and len(self.blocks) >= self.stop_after:
            raise KeyboardInterrupt
        self.blocks.append(block)
        if len(self.blocks) in self.broken:
            return [TrainingError("it broke")]
        failures = min(self.fails.get(block.point.key, 0), block.count)
        return [solved(block.first, block.count - failures, block.count, epochs=30)]


def searched_run(path, *, points=POINTS, counts=SEARCHED, seconds=0.0, text=SPACE, **manifest):
    """Of five configs, of which one solves nothing."""
    lines = [
        replace(done(i, point, solved(0, k, 8, epochs=30)), seconds=seconds)
        for i, (point, k) in enumerate(zip(points, counts, strict=True))
    ]
    given = {"trainer": "network", "task": "xor", "name": "tiny"}
    return write_run(path, lines, space_text=text, **given | manifest)


def size_by_estimate(monkeypatch):
    """Size batches by what trainers say, as if they took so long: 1 s fills a batch."""

    def estimated(self, block):
        return self._trainer.cost(block) * BATCH_SECONDS

    monkeypatch.setattr(MeasuredSeconds, "of", estimated)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A searched run, whose seeds are certified in blocks of as many as the trainer says."""
    size_by_estimate(monkeypatch)
    return searched_run(tmp_path / "run")


def certify(run, trainer=None, *, top=3, seeds=100, cluster=HERE, listener=None, **more):
    """In this process, if no other place is given."""
    request = CertifyRequest(top=top, seeds=seeds, **more)
    given = {"cluster": cluster, "voice": Voice(0, listener)}
    return certify_run(run.path, trainer or Counting(), request, **given)


@dataclass(frozen=True)
class Chancy(Trainer):
    """Solves a seed or not, whichever block it comes in. A block takes as long as it says.

    The process dies in the block that has the seed `deadly`. In the one that has `stops`, `driver`
    gets what Ctrl-C sends.
    """

    seconds: float = 1e-5
    deadly: int = -1
    stops: int = -1
    driver: int = 0

    def train(self, blocks):
        return [self._one(block) for block in blocks]

    def _one(self, block):
        time.sleep(self.cost(block))
        if self.deadly in block.seeds:
            os._exit(1)
        if self.stops in block.seeds:
            os.kill(self.driver, signal.SIGINT)
        chances = [zlib.crc32(f"{block.point.key} {seed}".encode()) % 8 for seed in block.seeds]
        return outcome(block.first, [RIGHT if one else WRONG for one in chances], epochs=30)
