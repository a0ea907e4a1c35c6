"""Measures every claim of a forum thread about XOR, and writes reports/thread.md.

    python examples/thread/measure.py                        two minutes on two cores
    python examples/thread/measure.py --sweep reports/sweep  with a sweep that has been run

claims.yaml says what was claimed of which systems. xortune trains what is a `Config`, posted.py
what is not; page.md.j2 is the report.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import posted
import yaml
from numpy.typing import NDArray
from scipy.stats import betabinom, binomtest, bootstrap, fisher_exact
from write import config_text, number, percent, shown, write

import xortune as xt

HERE = Path(__file__).resolve().parent
FRESH = 3_758_096_384
"""The first of the seeds that the sweep's best cells are trained under once more."""
BEST = 10
ALPHA = 0.05
PART = 2560
"""Seeds trained in one go by a process that runs a posted script."""
NETWORK = ("activation", "loss", "optimizer", "lr", "momentum", "hidden_dim", "epochs", "zero_grad")
Place = tuple[str, str]


@dataclass
class Measured:
    """S seeds of one system: which count, and how many gave four zeros or stopped early."""

    solved: NDArray[np.bool_]
    all_zero: int | None = None
    stopped: int | None = None
    outcome: xt.Outcome | None = field(default=None, repr=False)

    @property
    def k(self) -> int:
        return int(self.solved.sum())

    @property
    def n(self) -> int:
        return len(self.solved)


def measure(claims: dict[str, Any], run: xt.Run, seeds: range) -> dict[str, Any]:
    """All that is known about the claims: what the page and the tables are made of."""
    cells = sweep_cells(run)
    best = [cell for cell in cells if cell.outcome.successes][:BEST]
    fresh = range(FRESH, FRESH + len(seeds))
    curves = claims["curves"]
    for curve in curves:
        curve["points"] = points_of(curve)
    work: dict[tuple[Any, ...], tuple[Callable[..., Measured], Any, range]] = {}
    for row in claims["rows"]:
        for variant in row["variants"]:
            if "sweep" not in variant:
                own = {"numpy", "stop_loss", "same_weights_as", "judge"} & set(variant)
                call = as_posted if own else trained
                work[row["id"], variant["name"]] = call, variant, seeds
    for curve in curves:
        for line in curve["lines"]:
            for value in curve["points"]:
                config = line["config"] | {curve["parameter"]: value}
                work[curve["name"], line["name"], value] = trained, {"config": config}, seeds
    for cell in best:
        work["cell", cell.key] = trained, {"config": dict(cell.point)}, fresh
    found = done(work)
    solved = [cell.outcome.successes == cell.outcome.n for cell in cells]
    sweeps = {
        "cells": Measured(np.array(solved)),
        "seeds": Measured(np.concatenate([cell.outcome.solved for cell in cells])),
    }
    measured: dict[Place, Measured] = {
        (row["id"], v["name"]): sweeps[v["sweep"]] if "sweep" in v else found[row["id"], v["name"]]
        for row in claims["rows"]
        for v in row["variants"]
    }
    compared = compare(claims, measured)
    judged = judge(claims, measured, compared, seeds)
    return {
        "seeds": seeds,
        "fresh": FRESH,
        "alpha": ALPHA,
        "claims": claims["rows"],
        "rows": judged,
        "of": {(row["id"], row["variant"]): row for row in judged},
        "comparisons": compared,
        "explained": [explain(row, measured) for row in claims["rows"] if "rivals" in row],
        "curves": [drawn(curve, found) for curve in curves],
        "sweep": {
            "cells": len(cells),
            "n": cells[0].outcome.n,
            "solved": sum(solved),
            "unsolved": sum(cell.outcome.successes == 0 for cell in cells),
            "effects": effects(cells),
        },
        "best": certified(best, [found["cell", cell.key].outcome for cell in best]),
    }


def trained(variant: dict[str, Any], seeds: range) -> Measured:
    """A config of the built-in network, on all cores."""
    outcome = xt.evaluate(xt.Config(**variant["config"]), seeds)
    return Measured(outcome.solved, outcome.counts[xt.Status.ALL_ZERO], None, outcome)


def as_posted(variant: dict[str, Any], seeds: range) -> Measured:
    """What a script really did, on one core."""
    ones = posted.TARGETS.numpy() > 0.5
    if "numpy" in variant:
        predictions = posted.numpy_network(seeds, **variant["numpy"])
        return Measured((predictions == ones).all(axis=1), int((~predictions).all(axis=1).sum()))
    if "same_weights_as" in variant:
        other = variant["same_weights_as"]
        return Measured(posted.same_weights(variant["config"], other, seeds))
    stop = variant.get("stop_loss", -1.0)
    outputs, steps = posted.outputs_after(variant["config"], seeds, stop)
    if "judge" in variant:  # int(output) == target: an output is in [0, 1], and NaN is no number
        return Measured(np.where(ones, outputs == 1, outputs < 1).all(axis=1))
    right = np.where(ones, outputs > 0.5, outputs <= 0.5).all(axis=1)
    zeros = (outputs <= 0.5).all(axis=1)
    return Measured(right, int(zeros.sum()), int((steps < variant["config"]["epochs"]).sum()))


def done(work: dict[tuple[Any, ...], Any]) -> dict[tuple[Any, ...], Measured]:
    """Scripts in processes of their own, beside what xortune trains here."""
    found: dict[tuple[Any, ...], Measured] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = {
            name: [
                pool.submit(call, what, seeds[at : at + PART]) for at in range(0, len(seeds), PART)
            ]
            for name, (call, what, seeds) in work.items()
            if call is as_posted
        }
        for name in sorted(work, key=lambda name: name in parts):
            call, what, seeds = work[name]
            if name in parts:
                several = [part.result() for part in parts[name]]
                found[name] = Measured(
                    np.concatenate([one.solved for one in several]),
                    *(
                        None if None in counts else sum(counts)
                        for counts in (
                            [one.all_zero for one in several],
                            [one.stopped for one in several],
                        )
                    ),
                )
            else:
                found[name] = call(what, seeds)
            if sys.stderr.isatty():
                print(f"\r{len(found)}/{len(work)} measured", end="", file=sys.stderr, flush=True)
    return found


def points_of(curve: dict[str, Any]) -> list[float]:
    """The values of a curve, ascending, with `beside` among them."""
    values = curve["values"]
    if "from" in values:
        return list(range(values["from"], values["to"] + 1))
    ends = [round(np.log10(values[end]) * values["per_decade"]) for end in ("log_from", "log_to")]
    steps = range(ends[0], ends[1] + 1)
    return sorted(
        {float(f"{10 ** (i / values['per_decade']):.3g}") for i in steps} | {curve["beside"]}
    )


def judge(
    claims: dict[str, Any],
    measured: dict[Place, Measured],
    compared: list[dict[str, Any]],
    seeds: range,
) -> list[dict[str, Any]]:
    """Every row with each of its variants, as in thread.csv."""
    p: dict[Place, float] = {}
    for row in claims["rows"]:
        if "k" in row["quoted"]:
            k, n = row["quoted"]["k"], row["quoted"]["n"]
            for variant in row["variants"]:
                one = measured[row["id"], variant["name"]]
                table = [[k, n - k], [one.k, one.n - one.k]]
                p[row["id"], variant["name"]] = float(fisher_exact(table).pvalue)
    p_holm: dict[Place, float] = {}
    for family in (True, False):  # rows as posted, and the others
        places = [place for place in p if (place[1] == "as_posted") == family]
        p_holm |= dict(zip(places, holm([p[place] for place in places]), strict=True))
    rows = []
    for row in claims["rows"]:
        for variant in row["variants"]:
            place = row["id"], variant["name"]
            one, posted_one = measured[place], variant["name"] == "as_posted"
            verdict, why = judged(row, variant, one, p_holm.get(place), compared)
            low, high = wilson(one.k, one.n)
            changes = variant.get("changes", "")
            rows.append(
                {
                    "id": row["id"],
                    "variant": variant["name"],
                    "system": f"{row['system']}; {changes}" if changes else row["system"],
                    "quoted": shown(row["quoted"]),
                    "k": one.k,
                    "n": one.n,
                    "rate": one.k / one.n,
                    "low": low,
                    "high": high,
                    "verdict": verdict,
                    "why": f"{why} {row['because']}" if posted_one else why,
                    "p": p.get(place),
                    "p_holm": p_holm.get(place),
                    "all_zero": one.all_zero,
                    "stopped": one.stopped,
                    "first_seed": 0 if "sweep" in variant else seeds.start,
                    "judge": None
                    if {"sweep", "same_weights_as"} & set(variant)
                    else variant.get("judge", "half"),
                    "stop_loss": variant.get("stop_loss"),
                    **settings(variant.get("config")),
                }
            )
    return rows


def judged(
    row: dict[str, Any],
    variant: dict[str, Any],
    one: Measured,
    p: float | None,
    compared: list[dict[str, Any]],
) -> tuple[str, str]:
    """The verdict, and what it rests on in a sentence."""
    quoted = row["quoted"]
    if "untestable" in quoted:
        return "not testable", f"Nothing to test: {quoted['untestable']}."
    if p is not None:
        why = f"{shown(quoted)} beside {percent(one.k / one.n)}: p (Holm) {number(p)}."
        return ("inconsistent" if p < ALPHA else "consistent"), why
    if "share" in quoted:
        missing = one.n - one.k if quoted["share"] else one.k
        if not missing:
            return "consistent", f"No exception among {one.n:,}."
        exceptions = f"{missing:,} of {one.n:,} are exceptions"
        return "inconsistent", f"{exceptions}; one refutes {shown(quoted)!r}."
    for pair in compared:
        if pair["more"] == f"{row['id']}/as_posted" and variant["name"] in (
            "as_posted",
            quoted["more_than"],
        ):
            return pair["verdict"], (
                f"{pair['k_more']:,} beside {pair['k_than']:,} of the same {pair['n']:,} seeds: "
                f"McNemar's p (Holm) {number(pair['p_holm'])}."
            )
    return "not testable", "Nothing to test: the post compares two others."


def compare(claims: dict[str, Any], measured: dict[Place, Measured]) -> list[dict[str, Any]]:
    """The claims that one system solves more seeds than another, on the seeds that both had."""
    asked = [
        {
            "place": row["id"],
            "claim": row["quoted"]["words"],
            "more": (row["id"], "as_posted"),
            "than": (row["id"], row["quoted"]["more_than"]),
        }
        for row in claims["rows"]
        if "more_than" in row["quoted"]
    ] + claims["comparisons"]
    pairs = [
        {"id": one["place"], "claim": one["claim"]}
        | {"more": "/".join(one["more"]), "than": "/".join(one["than"])}
        | mcnemar(measured[tuple(one["more"])], measured[tuple(one["than"])])
        for one in asked
    ]
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        sure = "consistent" if pair["only_more"] > pair["only_than"] else "inconsistent"
        pair |= {"p_holm": p, "verdict": sure if p < ALPHA else "cannot tell"}
    return pairs


def explain(row: dict[str, Any], measured: dict[Place, Measured]) -> dict[str, Any]:
    """How many times likelier a quoted count is under the first of two variants.

    With Jeffreys' prior the rate is Beta(K + 1/2, N - K + 1/2) after K of N seeds, and a count of n
    further ones beta-binomial. Source: Gelman et al., Bayesian Data Analysis (3rd ed., 2013), 2.4.
    """
    first, second = (measured[row["id"], name] for name in row["rivals"])
    quoted = row["quoted"]

    def ratio(k: int, one: int, other: int) -> float:
        likely = [
            betabinom.pmf(k, quoted["n"], count + 0.5, first.n - count + 0.5)
            for count in (one, other)
        ]
        return float(likely[0] / likely[1])

    zeros = quoted.get("all_zero")
    return {
        "row": row,
        "ratio": ratio(quoted["k"], first.k, second.k),
        "all_zero": zeros and ratio(zeros, first.all_zero or 0, second.all_zero or 0),
    }


def drawn(curve: dict[str, Any], found: dict[tuple[Any, ...], Measured]) -> dict[str, Any]:
    """A curve with its lines, each in a band that holds for all its points together (95 %)."""
    points = curve["points"]
    lines = []
    for line in curve["lines"]:
        many = [found[curve["name"], line["name"], value] for value in points]
        bands = [wilson(one.k, one.n, 1 - ALPHA / len(points)) for one in many]
        lines.append({"name": line["name"], "k": [one.k for one in many], "n": many[0].n})
        lines[-1] |= {"low": [band[0] for band in bands], "high": [band[1] for band in bands]}
    test = None
    if "claim" in curve:
        many = [found[curve["name"], curve["lines"][0]["name"], value] for value in points]
        beside = many[points.index(curve["beside"])]
        best = int(np.argmax([one.k for one in many]))
        p = holm([mcnemar(one, beside)["p"] for one in many])[best]
        test = {
            "id": curve["place"],
            "claim": curve["claim"],
            "more": f"{curve['parameter']} {number(points[best])}",
            "than": f"{curve['parameter']} {number(curve['beside'])}",
            **mcnemar(many[best], beside),
            "p_holm": p,
            "verdict": "inconsistent" if p < ALPHA else "consistent",
            "best": points[best],
        }
    return curve | {"lines": lines, "test": test}


def sweep_cells(run: xt.Run) -> list[Any]:
    """The cells of the thread's sweep, best first."""
    space = yaml.safe_load((HERE / "sweep.yaml").read_text(encoding="utf-8"))
    fixed = {"hidden_dim": 5, "lr": 0.03, "zero_grad": True, "epochs": space["epochs"]}
    cells = [
        cell
        for cell in run.results
        if all(cell.point.get(name) == value for name, value in fixed.items())
        and not cell.point.get("momentum")
    ]
    wanted = np.prod(
        [len(p["choice"]) for p in space["parameters"].values() if isinstance(p, dict)]
    )
    if len(cells) != wanted or len({cell.outcome.n for cell in cells}) != 1:
        sys.exit(f"error: {run.path}: holds {len(cells)} cells; allowed: a run of sweep.yaml")
    return cells


def effects(cells: Sequence[Any]) -> list[dict[str, Any]]:
    """The mean rate per activation, loss and optimizer, and its interval over cells."""
    rates = np.array([cell.outcome.rate for cell in cells])
    found = []
    for name in ("activation", "loss", "optimizer"):
        values = np.array([cell.point[name] for cell in cells])
        levels = []
        for value in sorted(set(values.tolist())):
            some = rates[values == value]
            low, high = bootstrap(
                (some,),
                np.mean,
                n_resamples=1000,
                vectorized=True,
                method="percentile",
                random_state=np.random.default_rng(0),
            ).confidence_interval
            levels.append(
                {"label": value, "cells": len(some), "rate": float(some.mean())}
                | {"low": float(low), "high": float(high)}
            )
        levels.sort(key=lambda level: (-level["rate"], level["label"]))
        found.append({"name": name, "levels": levels})
    return sorted(found, key=lambda effect: -np.std([level["rate"] for level in effect["levels"]]))


def certified(cells: Sequence[Any], outcomes: Sequence[Any]) -> list[dict[str, Any]]:
    """The best cells under fresh seeds; their lower bounds hold together (95 %)."""
    found = []
    for cell, outcome in zip(cells, outcomes, strict=True):
        test = binomtest(outcome.successes, outcome.n, alternative="greater")
        lower = test.proportion_ci(1 - ALPHA / len(cells), "exact").low
        found.append({"cell": cell, "outcome": outcome, "lower": float(lower)})
    return sorted(found, key=lambda one: (-one["lower"], one["outcome"].epochs_to_solve or 0.0))


def tables(known: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """thread.csv and its two companions."""
    rows = list(known["rows"])
    t15 = known["of"]["T15", "as_posted"]
    for place, one in enumerate(known["best"], start=1):
        outcome, cell = one["outcome"], one["cell"]
        low, high = wilson(outcome.successes, outcome.n)
        rows.append(
            dict.fromkeys(t15)
            | {name: t15[name] for name in ("id", "quoted", "verdict")}
            | {"k": outcome.successes, "n": outcome.n, "rate": outcome.rate}
            | {"low": low, "high": high, "first_seed": FRESH, "judge": "half"}
            | settings(dict(cell.point))
            | {
                "variant": f"best_{place}",
                "system": f"{config_text(dict(cell.point))}, under seeds that the sweep did not "
                "have",
                "why": f"{cell.outcome.successes}/{cell.outcome.n} in the sweep; at least "
                f"{one['lower']:.5f} with those of the other best cells (Clopper-Pearson, 95 % "
                "together).",
                "all_zero": int((~outcome.predictions.any(axis=1)).sum()),
            }
        )
    curves = [
        {"id": curve["place"], "line": line["name"], "parameter": curve["parameter"]}
        | {"value": float(value), "k": k, "n": line["n"], "rate": k / line["n"]}
        | {"low": low, "high": high}
        for curve in known["curves"]
        for line in curve["lines"]
        for value, k, low, high in zip(
            curve["points"], line["k"], line["low"], line["high"], strict=True
        )
    ]
    tests = [curve["test"] for curve in known["curves"] if curve["test"]]
    pairs = pd.DataFrame(known["comparisons"] + tests).drop(columns="best")
    return {
        "thread.csv": pd.DataFrame(rows).convert_dtypes(),
        "thread_comparisons.csv": pairs,
        "thread_curves.csv": pd.DataFrame(curves),
    }


def settings(config: dict[str, Any] | None) -> dict[str, Any]:
    """The columns of a config."""
    point = {} if config is None else dict(xt.Config(**config).point)
    return {name: point.get(name) for name in NETWORK}


def wilson(k: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    found = binomtest(k, n).proportion_ci(confidence, "wilson")
    return float(found.low), float(found.high)


def mcnemar(more: Measured, than: Measured) -> dict[str, Any]:
    """The exact test of two systems on the same seeds, two-sided."""
    wins, losses = int((more.solved & ~than.solved).sum()), int((than.solved & ~more.solved).sum())
    p = float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return {"k_more": more.k, "k_than": than.k, "n": more.n, "only_more": wins,
            "only_than": losses, "p": p}  # fmt: skip


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values. Source: Holm, Scand. J. Statist. 6 (1979) 65-70."""
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * factors), 1.0)
    found = np.empty(len(p))
    found[order] = adjusted
    return [float(one) for one in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10_000, help="of each system; 10,000")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them; 0")
    parser.add_argument("--sweep", help="a run of sweep.yaml; else it is searched, or continued")
    parser.add_argument("--output", default="reports", type=Path, help="a directory; reports")
    asked = parser.parse_args()
    if asked.seeds < 1 or not 0 <= asked.first_seed <= FRESH - asked.seeds:
        parser.error(f"--seeds: 1 or more, from 0 to {FRESH - 1}")
    claims = yaml.safe_load((HERE / "claims.yaml").read_text(encoding="utf-8"))
    try:
        asked.output.mkdir(parents=True, exist_ok=True)  # now, and not after minutes
        run = (
            xt.load_run(asked.sweep)
            if asked.sweep
            else xt.search(HERE / "sweep.yaml", output="runs/thread_sweep", resume=True)
        )
        known = measure(claims, run, range(asked.first_seed, asked.first_seed + asked.seeds))
        for path in write(known, tables(known), asked.output):
            print(path)
    except (xt.InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
