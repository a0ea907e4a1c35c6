"""Who gets the next seeds: rules of the literature on arms with known rates.

Each search visits all arms of a set, in another order and with other luck each time. A new arm
begins by the value of its first seed; all rules have the same learned prior and end on the same
statement (`xortune.racing.top_two`), unless their line says otherwise. The rungs are those of a
race, 1, 2, 3, 4, 6, 8, ... 512, or 1, 2, 4, ... 512. Each decision knows all results.

    python benchmarks/arms.py              40 searches of each set and rule, an hour of one core
    python benchmarks/arms.py --quick      4
    python benchmarks/arms.py --search     xortune's own searches, by `xt.search` with workers=0
    python benchmarks/arms.py --statement  how often the statement at the end is true, for few arms

The rules: xortune's; T3C, a leader drawn from the posterior and the challenger of the smallest
transportation cost, each in half of the cases (Shang et al. 2020); EB-TCI, the highest mean and
cost + ln n (Jourdan et al. 2022); KL-LUCB, the highest share and the highest upper bound (Kaufmann
and Kalyanakrishnan 2013). Of leader and challenger the last two give seeds to the one with fewer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Container
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xortune.core.outcome import wilson
from xortune.racing import top_two
from xortune.racing.posterior import Group, learned
from xortune.racing.statement import Aim, statement_of, winner_of
from xortune.racing.top_two import NEW, Known, next_step
from xortune.spaces.model import SeedSettings, race_rungs, rungs_up_to

MOST, NEAR = 512, 0.01
LUCB_LEVEL = 3.0
"""ln(1 / risk) of KL-LUCB's upper bounds; 1 and 3 were tried."""

Floats = NDArray[np.float64]
Rule = Callable[[Known, Aim, np.random.Generator], int | None]

SETS: dict[str, tuple[Callable[[np.random.Generator], Floats], tuple[int, ...]]] = {
    "50 arms evenly in [0.5, 1]": (lambda _: np.linspace(0.5, 1, 50), (250, 500, 1000)),
    "200 arms uniform up to 0.98, one of 0.99": (
        lambda rng: np.append(rng.uniform(0, 0.98, 199), 0.99),
        (1000, 2000, 5000),
    ),
    "50 arms evenly in [0.45, 0.995]": (lambda _: np.linspace(0.45, 0.995, 50), (500, 1000, 2000)),
    "200 arms uniform up to 0.975, one of 0.992": (
        lambda rng: np.append(rng.uniform(0, 0.975, 199), 0.992),
        (1000, 2000, 5000),
    ),
    "30 arms that all fail": (lambda _: np.zeros(30), ()),
    "100 arms of Beta(0.3, 3): rare": (lambda rng: rng.beta(0.3, 3, 100), (200, 500)),
    "100 arms of Beta(20, 1): high": (lambda rng: rng.beta(20, 1, 100), (200, 500)),
    "60 equal arms of 0.9": (lambda _: np.full(60, 0.9), ()),
    "40 arms evenly in [0.6, 0.97]": (lambda _: np.linspace(0.6, 0.97, 40), (500, 1000, 2000)),
    "80 arms, 0.985 times the root of a rate up to 0.97, one of 0.995": (
        lambda rng: np.append(0.985 * np.sqrt(rng.uniform(0, 0.97, 79)), 0.995),
        (500, 1000, 2000),
    ),
    "100 arms of Beta(2, 2), none above 0.93, one of 0.97": (
        lambda rng: np.append(np.minimum(rng.beta(2, 2, 99), 0.93), 0.97),
        (500, 1000, 2000),
    ),
    "50 arms evenly in [0.3, 0.9]": (lambda _: np.linspace(0.3, 0.9, 50), (500, 1000, 2000)),
}


FEW: dict[str, Callable[[np.random.Generator], Floats]] = {
    "0.05, 0.08": lambda _: np.array([0.05, 0.08]),
    "0.9, 0.92": lambda _: np.array([0.9, 0.92]),
    "0.5, 0.55": lambda _: np.array([0.5, 0.55]),
    "0.95, 0.97": lambda _: np.array([0.95, 0.97]),
    "0.9, 0.92, 0.94": lambda _: np.array([0.9, 0.92, 0.94]),
    "four of Beta(5, 95)": lambda rng: rng.beta(5, 95, 4),
    "four of Beta(50, 50)": lambda rng: rng.beta(50, 50, 4),
    "four of Beta(90, 10)": lambda rng: rng.beta(90, 10, 4),
    "twenty of Beta(90, 10)": lambda rng: rng.beta(90, 10, 20),
    "0.5, 0.515": lambda _: np.array([0.5, 0.515]),
    "0.985, 1": lambda _: np.array([0.985, 1.0]),
    "fifty of 0.9": lambda _: np.full(50, 0.9),
    "49 of 0.9, 0.93": lambda _: np.append(np.full(49, 0.9), 0.93),
    "50 evenly in [0.5, 1]": lambda _: np.linspace(0.5, 1, 50),
    "200 uniform up to 0.98, one of 0.99": lambda rng: np.append(rng.uniform(0, 0.98, 199), 0.99),
}
"""Sets of which the statement at the end is tried: those of before, and others against it."""


def _divergence(p: Floats, q: Floats) -> Floats:
    p, q = np.clip(p, 1e-12, 1 - 1e-12), np.clip(q, 1e-12, 1 - 1e-12)
    return np.asarray(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))


def _transport(k: Floats, n: Floats, leader: int) -> Floats:
    """N_i kl(p_i, p) + N_j kl(p_j, p) with the common mean p; 0 for those that are no worse."""
    shares, common = k / n, (k + k[leader]) / (n + n[leader])
    cost = n[leader] * _divergence(shares[leader], common) + n * _divergence(shares, common)
    return np.where(shares >= shares[leader], 0.0, cost)


def _upper(k: Floats, n: Floats) -> Floats:
    low, high = k / n, np.ones_like(k)
    for _ in range(30):
        middle = (low + high) / 2
        inside = n * _divergence(k / n, middle) <= LUCB_LEVEL
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return low


def rule(name: str) -> Rule:
    """A rule of the literature, with the end and the new arms of xortune's."""

    def choose(known: Known, aim: Aim, rng: np.random.Generator) -> int | None:
        if not known.groups or (not known.new and next_step(known, aim) is None):
            return next_step(known, aim)  # it ends alike
        k, n, members = (
            np.array([group[i] for group in known.groups], np.float64) for i in range(3)
        )
        posterior = learned(known.groups)  # the same prior
        if name == "T3C":  # the largest of m equal draws is one draw from the m-th power
            ranks = np.cumsum(posterior.beliefs, axis=1) < rng.random((len(k), 1)) ** (
                1 / members[:, None]
            )
            leader = int((ranks.sum(axis=1) + rng.random(len(k))).argmax())
        else:
            leader = int(
                (k / n + 1e-9 * n).argmax() if name == "KL-LUCB" else posterior.means.argmax()
            )
        score = _upper(k, n) if name == "KL-LUCB" else -_transport(k, n, leader)
        if name == "EB-TCI":
            score = score - np.log(n)
        may = np.array([group.step > 0 for group in known.groups])
        score = score + 1e-9 * rng.random(len(score)) ** (1 / members)  # ties at random: the paper
        others = may & ((np.arange(len(k)) != leader) | (members > 1))
        challenger = int(np.where(others, score, -np.inf).argmax()) if others.any() else leader
        if not (may[leader] or others.any()):
            return NEW if known.new else None
        first = rng.random() < 0.5 if name == "T3C" else n[leader] <= n[challenger]
        chosen = leader if may[leader] and (first or not others.any()) else challenger
        best = int(posterior.means.argmax())
        return top_two._or_more_valuable(known, posterior, best, chosen) if known.new else chosen

    return choose


RULES: dict[str, tuple[Rule, tuple[int, ...]]] = {
    "xortune": (lambda known, aim, _: next_step(known, aim), race_rungs(MOST)),
    "T3C": (rule("T3C"), race_rungs(MOST)),
    "EB-TCI": (rule("EB-TCI"), race_rungs(MOST)),
    "KL-LUCB": (rule("KL-LUCB"), race_rungs(MOST)),
    "xortune, rungs that double": (
        lambda known, aim, _: next_step(known, aim),
        rungs_up_to(MOST, 1),
    ),
}


def search(
    rates: Floats, luck: Floats, rungs: tuple[int, ...], choose: Rule, rng: np.random.Generator
) -> tuple[list[int], list[int], Floats]:
    """The seeds spent after each step, the answer then, and the seeds of each arm at the end."""
    counts = np.cumsum(luck < rates[:, None], axis=1)
    step_from = dict(zip((0, *rungs), np.diff((0, *rungs)).tolist(), strict=False))
    k, n, low = np.zeros(len(rates), int), np.zeros(len(rates), int), np.full(len(rates), -1.0)
    begun = spent = 0
    spends, answers, at_end = [], [], None
    while True:
        arms: dict[tuple[int, int], list[int]] = {}
        for arm in range(begun):
            arms.setdefault((int(k[arm]), int(n[arm])), []).append(arm)
        last = begun == len(rates)
        at_end = spent if last and at_end is None else at_end
        left = np.inf if at_end is None else at_end + SeedSettings().finalists * MOST - spent
        groups = tuple(Group(*at, len(of), step_from.get(at[1], 0)) for at, of in arms.items())
        chosen = choose(Known(groups, 0 if last else 1, left), Aim(least=MOST), rng)
        if chosen is None:
            return spends, answers, n
        arm = begun if chosen == NEW else next(iter(list(arms.values())[chosen]))
        begun += chosen == NEW
        more = step_from[int(n[arm])]
        n[arm] += more
        k[arm], spent = counts[arm, n[arm] - 1], spent + more
        low[arm] = wilson(k[arm], n[arm])[0]
        spends.append(spent)
        answers.append(int(low.argmax()))


def statements(repeats: int, aim: Aim, sets: Container[int]) -> None:
    """Print how often what is said at the end is true."""
    print("| rates | seeds | the gap | true | holds | true | believed | true | Wilson | winner |")
    print("| :-- |" + " --: |" * 9)
    for name, make in (one for i, one in enumerate(FEW.items()) if i in sets):
        rows = []
        for repeat in range(repeats):
            rng = np.random.default_rng([1, repeat])
            rates = rng.permutation(make(rng))
            luck = rng.random((len(rates), MOST))
            spends, answers, n = search(rates, luck, *RULES["xortune"][::-1], rng)
            k = np.array([np.count_nonzero(luck[i, :m] < rates[i]) for i, m in enumerate(n)])
            groups = [Group(int(a), int(b), 1) for a, b in zip(k, n, strict=True)]
            said, first = statement_of(groups, aim), answers[-1]
            winner, wilsons = winner_of(groups, first), wilson(k[first], n[first])
            lost, rate = rates.max() - rates[first], rates[first]
            near = lost <= aim.epsilon + 1e-12
            rows.append(
                (
                    *(spends[-1], said.gap, lost <= said.gap + 1e-12),
                    *(said.holds, said.holds and near, said.is_believed, said.is_believed and near),
                    *(wilsons[0] <= rate <= wilsons[1], winner.low <= rate <= winner.high),
                )
            )
        seeds, gap, true, holds, so, believed, indeed, *covers = np.mean(rows, axis=0)
        print(
            f"| {name} | {seeds:,.0f} | {gap:.3f} | {true:.3f} |"
            f" {holds:.3f} | {so / holds if holds else np.nan:.3f} |"
            f" {believed:.3f} | {indeed / believed if believed else np.nan:.3f} |"
            f" {covers[0]:.3f} | {covers[1]:.3f} |",
            flush=True,
        )


def own_search(rates: Floats, luck: Floats, seed: int) -> tuple[list[int], list[int], Floats]:
    """The same of `xt.search`, in the order of its journal."""
    import xortune as xt

    space = {
        "name": "arms",
        "parameters": {"arm": {"low": 0, "high": len(rates) - 1}},
        "search": {"sampler": "grid", "seed": seed},
        "seeds": {"race": {"max": MOST}},
    }

    def train(config: dict[str, int], seeds: list[int]) -> NDArray[np.bool_]:
        arm = config["arm"]
        return np.asarray(luck[arm, np.asarray(seeds)] < rates[arm])

    with tempfile.TemporaryDirectory() as folder:
        run = xt.search(space, train=train, output=f"{folder}/run", workers=0, verbose=0)
        lines = (Path(run.path) / "evaluations.jsonl").read_text().splitlines()
    k, n, low = np.zeros(len(rates), int), np.zeros(len(rates), int), np.full(len(rates), -1.0)
    spends, answers = [], []
    for line in (json.loads(one) for one in lines if one.strip()):
        if line["final"]:
            arm = line["config"]["arm"]
            k[arm], n[arm] = k[arm] + line["k"], n[arm] + line["n"]
            low[arm] = wilson(k[arm], n[arm])[0]
            spends.append(int(n.sum()))
            answers.append(int(low.argmax()))
    return spends, answers, n


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 searches of each")
    parser.add_argument("--search", action="store_true", help="searches by xt.search")
    parser.add_argument("--statement", action="store_true", help="is what is said at the end true")
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--sets", type=int, nargs="+", default=range(99), help="by their places")
    asked = parser.parse_args()
    repeats, began = 4 if asked.quick else asked.repeats, time.perf_counter()
    if asked.statement:
        statements(repeats, Aim(least=MOST), asked.sets)
        return
    for name, (make, marks) in (one for i, one in enumerate(SETS.items()) if i in asked.sets):
        print(f"\n{name}: share of searches with the best (within {NEAR:g}) as the answer\n")
        print("| rule |", "".join(f" at {seeds:,} |" for seeds in marks), end="")
        print(" at the end | seeds | best left at 2 or fewer |")
        print("| :-- |", " --: |" * (len(marks) + 3))
        for label, (choose, rungs) in (
            [("xt.search", (None, ()))] if asked.search else RULES.items()
        ):
            rows = []
            for repeat in range(repeats):
                rng = np.random.default_rng([0, repeat])
                rates = rng.permutation(make(rng))
                luck = rng.random((len(rates), MOST))
                spends, answers, n = (
                    own_search(rates, luck, repeat)
                    if choose is None
                    else search(rates, luck, rungs, choose, rng)
                )
                places = np.searchsorted(spends, marks, side="right") - 1
                right = rates[[answers[place] for place in (*places, -1)]] >= rates.max() - NEAR
                rows.append([*right, spends[-1], n[rates.argmax()] <= 2])
            *shares, seeds, left = np.mean(rows, axis=0)
            cells = "".join(f" {share:.2f} |" for share in shares)
            print(f"| {label} |{cells} {seeds:,.0f} | {left:.3f} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
