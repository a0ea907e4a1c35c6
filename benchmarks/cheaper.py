"""Less training for the same answer: a required rate, the price of seeds, knowledge of other runs.

    python benchmarks/cheaper.py required       # a minute on one core

Each part prints a table of README.md. Seeds and verdicts are counted, so that a busy machine
changes nothing.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import xortune as xt

TRUTH = range(2**31, 2**31 + 10_000)
"""Seeds that no search has seen: the true rate of a configuration is that on all of them."""


def in_folder(space: dict[str, Any], **given: Any) -> xt.Run:
    """The finished search of a space, in a folder that is gone afterwards."""
    with TemporaryDirectory() as folder:
        run = xt.search(space, output=Path(folder) / "run", workers=0, verbose=0, **given)
        assert run.table is not None  # read it while the folder is there
        return run


# -------------------------------------------------------------------------------------------------
# The smallest network that reaches a rate.

SIZES = list(range(2, 11))
RATES = (0.9, 0.95, 0.99)


def networks(activation: str, rate: float) -> dict[str, Any]:
    """A grid of 27 networks, and a rate that is required."""
    return {
        "name": "smallest",
        "task": "xor",
        "epochs": 500,
        "parameters": {
            "activation": activation,
            "loss": "MSELoss",
            "optimizer": "Adam",
            "lr": {"choice": [0.03, 0.1, 0.3]},
            "hidden_dim": {"choice": SIZES},
        },
        "search": {"sampler": "grid"},
        "seeds": {"race": {"max": 16384}},
        "objectives": [{"minimize": "hidden_dim"}],
        "require": {"rate": rate},
    }


def required() -> None:
    """Print the answer, the truth by brute force, and the seeds beside those of a grid."""
    print("| activation | rate | truth | answer | seeds | a grid's | share |")
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    for activation in ("Tanh", "ELU", "Sigmoid"):
        space = networks(activation, 0.9)
        truth = {}
        for lr, size in product(space["parameters"]["lr"]["choice"], SIZES):
            fixed = {k: space["parameters"][k] for k in ("activation", "loss", "optimizer")}
            config = xt.Config(**fixed, lr=lr, hidden_dim=size, epochs=space["epochs"])
            truth[lr, size] = xt.evaluate(config, seeds=TRUTH).rate
        for rate in RATES:
            smallest = min((size for (_, size), true in truth.items() if true >= rate), default=0)
            run = in_folder(networks(activation, rate))
            n = run.results.counts.n
            equal = int(n.max()) * len(n)  # all verdicts with as many seeds for each
            answer, spent = int(run.best_params["hidden_dim"]), int(n.sum())
            row = (activation, rate, smallest, answer, f"{spent:,}", f"{equal:,}")
            print("|", *map(" {} |".format, row), f"{spent / equal:.2f} |", flush=True)


PARTS = {"required": required}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    np.seterr(all="raise", under="ignore")
    for part in parser.parse_args().parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
