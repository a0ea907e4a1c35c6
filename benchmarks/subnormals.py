"""Does flushing subnormal numbers to zero change what the fused engine counts? All combinations.

    python benchmarks/subnormals.py [--lr 1.0] [--epochs 5000] [--hidden 5] [--seeds 100]

Trains every activation, loss and optimizer with and without flushing, and prints which cells
differ in how many seeds, and what either costs. On an Intel processor an operation on a subnormal
number takes some 150 cycles; on AMD's it costs hardly more than any other.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter

import numpy as np
from machine import processor

from xortune.core.config import ACTIVATIONS, LOSSES, OPTIMIZERS, Config
from xortune.core.task import Task
from xortune.trainers import fused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--hidden", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=100)
    given = parser.parse_args()
    task, seeds = Task.named("xor"), np.arange(given.seeds)
    seconds, counts, seed_epochs = Counter[bool](), Counter[str](), 0
    for activation, loss, optimizer in itertools.product(ACTIVATIONS, LOSSES, OPTIMIZERS):
        config = Config(
            activation=activation,
            loss=loss,
            optimizer=optimizer,
            lr=given.lr,
            hidden_dim=given.hidden,
            epochs=given.epochs,
        )
        outcomes = {}
        for flush in (True, False):
            began = time.process_time()
            outcomes[flush] = fused.train(config, task, seeds, stop_early=False, flush=flush)
            seconds[flush] += time.process_time() - began
        seed_epochs += given.seeds * given.epochs
        differ = int((outcomes[True].solved != outcomes[False].solved).sum())
        if differ:
            counts[optimizer] += 1
            print(f"{activation}, {loss}, {optimizer}: {differ} of {given.seeds} seeds differ")
    print(processor())
    print(f"cells that differ, by optimizer: {dict(counts) or 'none'}")
    for flush, spent in seconds.items():
        how = "flushed" if flush else "exact"
        print(f"{how}: {spent / seed_epochs * 1e9:.1f} ns a seed-epoch")


if __name__ == "__main__":
    main()
