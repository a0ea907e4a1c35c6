"""The report's numbers as CSV: every row and variant, the comparisons, the curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from xortune.config import Config
from xortune.point import Value
from xortune.report.format import config_text, number
from xortune.stats import wilson
from xortune.thread.settle import FRESH, Settled
from xortune.thread.sweep import Certified
from xortune.thread.verdict import Judged

__all__ = ["claims_csv", "claims_table", "comparisons_csv", "curves_csv"]

NETWORK = ("activation", "loss", "optimizer", "lr", "momentum", "hidden_dim", "epochs", "zero_grad")


def claims_table(settled: Settled) -> pd.DataFrame:
    """One row for each claim and variant, and for each of the best cells (variants of T15)."""
    rows = [_row(judged, settled) for judged in settled.rows]
    posted = next((r for r in settled.rows if r.row.id == "T15"), None)
    if posted is not None:
        rows += [_best(place, cell, posted) for place, cell in enumerate(settled.best, start=1)]
    return pd.DataFrame(rows).convert_dtypes()


def claims_csv(settled: Settled) -> str:
    """thread.csv."""
    return _csv(claims_table(settled))


def comparisons_csv(settled: Settled) -> str:
    """thread_comparisons.csv: k_more is solved by `more`, only_more by it and not by `than`."""
    rows = [
        {
            "id": one.place,
            "claim": one.claim,
            "more": "/".join(one.more),
            "than": "/".join(one.than),
            "k_more": one.k_more,
            "k_than": one.k_than,
            "n": one.n,
            "only_more": one.only_more,
            "only_than": one.only_than,
            "p": one.p,
            "p_holm": one.p_holm,
            "verdict": str(one.verdict),
        }
        for one in settled.comparisons
    ]
    rows += [
        {
            "id": curve.place,
            "claim": curve.claim,
            "more": f"{curve.parameter} {number(test.best)}",
            "than": f"{curve.parameter} {number(curve.beside or 0.0)}",
            "k_more": test.k_best,
            "k_than": test.k_beside,
            "n": test.n,
            "only_more": test.only_best,
            "only_than": test.only_beside,
            "p": test.p,
            "p_holm": test.p_holm,
            "verdict": str(test.verdict),
        }
        for curve, _, test in settled.curves
        if test is not None
    ]
    return _csv(pd.DataFrame(rows))


def curves_csv(settled: Settled) -> str:
    """thread_curves.csv: low and high bound a band that holds for a whole line together."""
    rows = [
        {
            "id": curve.place,
            "line": one.line.name,
            "parameter": curve.parameter,
            "value": value,
            "k": k,
            "n": one.n,
            "rate": k / one.n,
            "low": low,
            "high": high,
        }
        for curve, lines, _ in settled.curves
        for one in lines
        for value, k, low, high in zip(curve.points, one.k, one.low, one.high, strict=True)
    ]
    return _csv(pd.DataFrame(rows))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def _row(judged: Judged, settled: Settled) -> dict[str, Any]:
    row, variant = judged.row, judged.variant
    system = f"{row.system}; {variant.changes}" if variant.changes else row.system
    return {
        "id": row.id,
        "variant": variant.name,
        "system": system,
        "quoted": row.quoted.shown,
        "k": judged.k,
        "n": judged.n,
        "rate": judged.rate,
        "low": judged.low,
        "high": judged.high,
        "verdict": str(judged.verdict),
        "why": judged.why,
        "p": judged.p,
        "p_holm": judged.p_holm,
        "all_zero": judged.all_zero,
        "stopped": judged.stopped,
        "first_seed": 0 if variant.sweep else settled.seeds.start,
        "judge": None if variant.sweep or variant.same_weights_as else variant.judge,
        "stop_loss": variant.stop_loss,
        **_network(variant.config),
    }


def _best(place: int, cell: Certified, posted: Judged) -> dict[str, Any]:
    outcome = cell.outcome
    low, high = wilson(outcome.successes, outcome.n)
    point = cell.config.point
    return {
        "id": posted.row.id,
        "variant": f"best_{place}",
        "system": f"{config_text(point, point)}, under seeds that the sweep did not have",
        "quoted": posted.row.quoted.shown,
        "k": outcome.successes,
        "n": outcome.n,
        "rate": outcome.rate,
        "low": float(low),
        "high": float(high),
        "verdict": str(posted.verdict),
        "why": (
            f"{cell.search_k}/{cell.search_n} in the sweep; at least {cell.lower:.5f} with those "
            "of the other best cells (Clopper-Pearson, 95 % together)."
        ),
        "p": None,
        "p_holm": None,
        "all_zero": int((~outcome.predictions.any(axis=1)).sum()),
        "stopped": None,
        "first_seed": FRESH,
        "judge": "half",
        "stop_loss": None,
        **_network(point.as_dict()),
    }


def _network(config: Mapping[str, Any] | None) -> dict[str, Value]:
    if config is None:
        return dict.fromkeys(NETWORK)
    point = Config.from_point(config).point.as_dict()
    return {name: point.get(name) for name in NETWORK}
