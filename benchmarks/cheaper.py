"""Less training for the same answer: a required rate, the price of seeds, knowledge of other runs.

    python benchmarks/cheaper.py required       # the smallest network that reaches a rate: minutes
    python benchmarks/cheaper.py price          # two groups, one ten times as dear: a minute
    python benchmarks/cheaper.py knowledge      # with another run, and one that misleads: minutes

Each part prints a table of README.md. Seeds and verdicts are counted, so that a busy machine
changes nothing.
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

import xortune as xt
from xortune.core.outcome import wilson
from xortune.core.point import Point
from xortune.racing.grants import BestGrants
from xortune.racing.race import RaceRule
from xortune.racing.top_two import Aim
from xortune.spaces.model import race_rungs

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


# -------------------------------------------------------------------------------------------------
# Two groups of arms with the same rates, one ten times as dear.

TOPS = (0.9, 0.97, 0.995, 1.0)
SEARCHES, ARMS, DEAR = 10, 12, 10.0
AIM = Aim()


def race_of_two_groups(top: float, seed: int, *, priced: bool) -> tuple[float, float]:
    """What a race has paid until it has the answer for good, and until its end."""
    rates, prices = [*np.linspace(0.3, top, ARMS)] * 2, [1.0] * ARMS + [DEAR] * ARMS
    rng, left = np.random.default_rng(seed), np.random.default_rng(100 + seed)
    coming = left.permutation(2 * ARMS).tolist()
    rule = RaceRule(race_rungs(512))
    race, seen, paid, answered = BestGrants(rule, AIM), dict[int, tuple[int, int]](), 0.0, 0.0

    while True:
        name = race.next({}, last=not coming)
        if name is None and not coming:
            return answered, paid
        if name is None:
            name = coming.pop(0)
            race.enter(name)
        k, n = seen.get(name, (0, 0))
        to = next(rung for rung in rule.rungs if rung > n)
        seen[name] = k + rng.binomial(to - n, rates[name]), to
        paid += (to - n) * prices[name]
        race.see(name, *seen[name], price=prices[name] if priced else None)
        low = wilson(*np.array(list(seen.values())).T)[0]
        if rates[list(seen)[int(low.argmax())]] < top - AIM.epsilon:
            answered = paid


def price() -> None:
    """Print what races cost with and without the price of seeds."""
    print("| top rate | answer: same price | priced | end: same price | priced |")
    print("| --: | --: | --: | --: | --: |")
    sums = np.zeros(4)
    for top in TOPS:
        found = {
            priced: np.mean(
                [race_of_two_groups(top, seed, priced=priced) for seed in range(SEARCHES)], axis=0
            )
            for priced in (False, True)
        }
        row = np.array([found[False][0], found[True][0], found[False][1], found[True][1]])
        sums += row
        print("|", top, *(f"| {cost:,.0f}" for cost in row), "|", flush=True)
    print("| all |", " | ".join(f"{cost:,.0f}" for cost in sums), "|")


# -------------------------------------------------------------------------------------------------
# Knowledge of another run.

GOOD = 0.99
REPEATED = 10


def shifted(seed: int, *, epochs: int, high: float, size: int) -> dict[str, Any]:
    """A space of networks; spaces differ in the epochs, and in how far two ranges go."""
    return {
        "name": "shifted",
        "task": "xor",
        "epochs": epochs,
        "parameters": {
            "activation": {"choice": ["ReLU", "ELU", "Tanh", "Sigmoid"]},
            "loss": {"choice": ["MSELoss", "BCELoss"]},
            "optimizer": {"choice": ["SGD", "Adam", "RMSprop", "Rprop"]},
            "lr": {"low": 1e-4, "high": high, "log": True},
            "hidden_dim": {"low": 2, "high": size},
        },
        "search": {"trials": 60, "seed": seed},
        "seeds": {"race": {"max": 256}},
    }


@cache
def true_rate(point: Point) -> float:
    """The rate of a configuration on seeds that no search has seen."""
    return xt.evaluate(xt.Config(**point.as_dict()), seeds=TRUTH[:1000]).rate


def seeds_to_good(run: xt.Run) -> int:
    """The seeds until the first of the order truly reaches `GOOD`, for good."""
    counts: dict[str, tuple[int, int]] = {}
    points: dict[str, Point] = {}
    spent = bad = 0
    for line in run.evaluations:
        if line.outcome is None:
            continue
        spent += line.block.count
        point = line.block.point
        points[point.key] = point
        k, n = counts.get(point.key, (0, 0))
        counts[point.key] = k + line.outcome.successes, n + line.block.count
        low = wilson(*np.array(list(counts.values())).T)[0]
        if true_rate(points[list(counts)[int(low.argmax())]]) < GOOD:
            bad = spent
    return bad + 1


def knowledge() -> None:
    """Print the seeds of searches alone, with an old run, and with one that misleads."""
    print("| search | alone | from a shifted space | from one that misleads |")
    print("| --: | --: | --: | --: |")
    rows = []
    for seed in range(REPEATED):
        with TemporaryDirectory() as folder:
            old, bad = Path(folder) / "old", Path(folder) / "bad"
            silent = {"workers": 0, "verbose": 0}
            before = shifted(1000 + seed, epochs=1000, high=0.3, size=10)
            first = xt.search(before, output=old, **silent)
            # What solved least, as if each seed had been solved.
            poor = [one.point.as_dict() for one in first.results if not one.outcome.successes][:12]
            table = pd.DataFrame([{**one, "seed": 0, "ok": True} for one in poor])
            config = [*first.results[0].point]
            xt.import_results(table, config=config, success="ok", output=bad)
            space = shifted(seed, epochs=800, high=1.0, size=12)
            row = [
                seeds_to_good(in_folder(space, **given))
                for given in ({}, {"from_": old}, {"from_": bad})
            ]
        rows.append(row)
        print("|", seed, *(f"| {n:,}" for n in row), "|", flush=True)
    means = np.mean(rows, axis=0)
    print("| mean |", " | ".join(f"{n:,.0f}" for n in means), "|")


PARTS = {"required": required, "price": price, "knowledge": knowledge}


def main() -> None:
    """Run the parts that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    np.seterr(all="raise", under="ignore")
    for part in parser.parse_args().parts:
        PARTS[part]()


if __name__ == "__main__":
    main()
