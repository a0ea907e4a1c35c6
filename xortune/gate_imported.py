"""A gate of results that were imported: what their seeds prove, however many there came to be.

Nobody knows whether their number was planned, or which configuration was picked by its count. So
the bounds are those that hold at any number of seeds, and for all configurations of the run at
once: each has an equal share of what may go wrong.
"""

from __future__ import annotations

import numpy as np

from xortune.gate import Answer, Verdict, answer_bound
from xortune.outcome import Status
from xortune.run import ConfigResult, Run
from xortune.stats_anytime import anytime_interval, anytime_lower, anytime_upper

__all__ = ["gate_imported"]


def gate_imported(
    run: Run, result: ConfigResult, *, min_rate: float, confidence: float = 0.95
) -> Verdict:
    """What the imported seeds of a config say of its success rate.

    Args:
        run: whose configs share 1 - `confidence`.
        result: of the config.
        min_rate: the success rate to prove, in (0, 1).
        confidence: with which the answers about all configs of the run hold together, in (0, 1).
    """
    outcome, alpha = result.outcome, (1 - confidence) / len(run.results)
    k, n = outcome.successes, outcome.n
    low = float(anytime_lower(k, n, alpha=alpha))
    high = float(anytime_upper(k, n, alpha=alpha))
    answer: Answer = "proven" if low >= min_rate else "refuted" if high < min_rate else "undecided"
    least, most = anytime_interval(k, n, confidence=1 - alpha)
    found = np.bincount(outcome.status, minlength=len(Status)).tolist()
    return Verdict(
        answer=answer,
        min_rate=min_rate,
        confidence=confidence,
        key=result.key,
        point=result.point,
        k=k,
        n=n,
        low=float(least),
        high=float(most),
        first_seed=int(outcome.seeds[0]),
        most=n,
        counts=dict(zip(Status, found, strict=True)),
        seeds=f"imported seeds of config {result.key}",
        bound=answer_bound(answer, k, n, alpha=alpha),
    )
