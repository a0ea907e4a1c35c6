"""How much each parameter matters, as the search noted it, with its uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xortune.core.formats import count, interval, measured, percent, plain
from xortune.reports.figures.labels import LONGEST_NAME, clipped, parameters_of
from xortune.reports.plot import Axis, Panel, Plot, Points
from xortune.runs.run import Run

MOST = 15


def param_importances(run: Run) -> Plot | None:
    """Each parameter's share of the importance, with its 95 % bootstrap interval over configs.

    The measure is Optuna's PED-ANOVA: how much the distribution of a parameter among the better
    tenth of the configs differs from that among all of them (Watanabe, Bansal, Hutter (2023), IJCAI
    2023, eq. 16). It is computed at the end of a search; see `driver.importance`.

    Returns:
        None if the run's manifest has no importance; without intervals if it has none of them, as
        of an older version.
    """
    shares = _shares(run)[:MOST]
    if not shares:
        return None
    ends = [share.ends or (share.share, share.share) for share in shares]
    has_intervals = any(share.ends for share in shares)
    points = Points(
        "share, with its 95 % interval" if has_intervals else "",
        x=tuple(share.share for share in shares),
        y=tuple(float(place) for place in range(len(shares))),
        x_low=tuple(low for low, _ in ends) if has_intervals else (),
        x_high=tuple(high for _, high in ends) if has_intervals else (),
        texts=tuple(_told(share) for share in shares),
    )
    most = min(1.0, math.ceil(10 * max(high for _, high in ends)) / 10)
    labels = tuple(clipped(plain(share.name), LONGEST_NAME) for share in shares)
    return Plot(
        name="importance",
        title="Which parameters separate the better tenth of the configurations from the rest",
        alt=_finding(shares),
        note=_note(run, shares),
        panels=(
            Panel(
                Axis("share of the importance", "rate", (0.0, most)),
                Axis("parameter", "category", categories=labels),
                (points,),
            ),
        ),
    )


@dataclass(frozen=True)
class _Share:
    name: str
    share: float
    ends: tuple[float, float] | None


def _shares(run: Run) -> list[_Share]:
    """What the manifest knows of the parameters that vary, the most important first."""
    about = _about(run).get("intervals")
    intervals = about if isinstance(about, Mapping) else {}
    found = []
    for parameter in parameters_of(run):
        if parameter.importance is not None:
            share = parameter.importance
            found.append(_Share(parameter.name, share, _ends(intervals.get(parameter.name), share)))
    return found


def _about(run: Run) -> Mapping[str, Any]:
    about = run.manifest.get("importance_resampled")
    return about if isinstance(about, Mapping) else {}


def _ends(noted: Any, share: float) -> tuple[float, float] | None:
    """An interval of the manifest, if it is one: people edit manifests, and versions differ."""
    if not isinstance(noted, list | tuple) or len(noted) != 2:
        return None
    if not all(isinstance(end, int | float) for end in noted):
        return None
    low, high = float(noted[0]), float(noted[1])
    return (low, high) if 0 <= low <= share <= high <= 1 else None


def _told(share: _Share) -> str:
    if share.ends is None:
        return f"{plain(share.name)} {percent(share.share)}"
    ends = f"{measured(share.share, *share.ends)}, 95 % interval {interval(*share.ends)}"
    return f"{plain(share.name)} {ends}"


def _finding(shares: list[_Share]) -> str:
    first = f"The largest share has {_told(shares[0])}"
    if len(shares) == 1:
        return f"{first}; it is the only one."
    apart = [share for share in shares[1:] if _below(share, shares[0])]
    words = [f"{first}; then {'; '.join(_told(share) for share in shares[1:3])}."]
    if shares[0].ends is not None:
        others = count(len(shares) - 1, "other")
        words.append(f"Its interval lies above those of {len(apart):,} of the {others}.")
    return " ".join(words)


def _below(share: _Share, other: _Share) -> bool:
    return share.ends is not None and other.ends is not None and share.ends[1] < other.ends[0]


def _note(run: Run, shares: list[_Share]) -> str:
    about = _about(run)
    configs, resamples = about.get("configs"), about.get("resamples")
    n = f"n = {count(configs, 'configuration')}. " if isinstance(configs, int) else ""
    better = about.get("better")
    if isinstance(configs, int) and isinstance(better, int):
        n = f"n = {count(configs, 'configuration')}, the better tenth {better:,}. "
    if any(share.ends is not None for share in shares):
        times = f"{resamples:,} " if isinstance(resamples, int) else ""
        bars = (
            "bars: 95 % bootstrap intervals, the share ± 1.96 standard "
            f"deviations over {times}resamples of the configurations"
        )
    else:
        bars = "this run has no intervals"
    return (
        f"{n}PED-ANOVA (Watanabe et al. 2023) as in Optuna, as shares of one; {bars}. It compares "
        "where the better tenth lies with where all configurations visited lie: a parameter that "
        "the search hardly varied, or that matters only together with another, seems to matter "
        "little, and one that is not active in every configuration is left out."
    )
