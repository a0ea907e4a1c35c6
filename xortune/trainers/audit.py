"""Whether the training of a seed in a stack and alone agree. `core.audit.drawn` draws the seeds.

    apart = distances(alone, stacked)       # {"loss": Apart(2e-7, 1, "loss at the end is ...")}
    knowledge_of(training).compare(seed, apart, moved)        # one more agrees, or there is a fault

**How many.** While fewer than `AT_FIRST` seeds are known to agree, every seed is trained alone. A
fault in 15 % of seeds escapes 29 seeds with probability 0.85**29 = 0.009, before a decision uses
the result of a stack. From then on it is one seed in 64; of the first stack of a new structure
the last two seeds, too. Before an answer leaves, the driver has more seeds trained alone if fewer
than 44 were (`LEAST_AUDITED`).

**What it costs.** With a stack that is g times as fast as the loop, n seeds take
1 + max(44, 29 + (n - 29) / 64) * g / n of a core's time without an audit: 2,000 seeds 1.15 for
g = 5, 1.30 for g = 10. The first 64 seeds take 1 + 29 * g / 64 of it: 3.3 for g = 5, 5.5 for
g = 10.

**What agrees.** Numbers within `TOLERANCE` of their scale. Some trainings amplify rounding: a
change of the initial weights in the last digit changes their numbers by more. So where numbers are
further apart, the seed is trained alone again: once more as it is, which must give the same, and
from weights that are changed by some units of rounding (`nudged`). What that moves by a tenth of
the distance is no fault of the stack. A small fault hides in such a training, seed by seed.
Therefore `Knowledge` also tests whether numbers are larger in a stack as often as smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import binomtest
from torch import nn

from xortune.core.audit import LEAST_SCALE, TOLERANCE

MOVED = 10.0
"""Numbers that are further apart agree if a change in the last digits moves them by a tenth."""

NUDGES = (0, 4, 16, 64, 256)
"""Changes of initial weights that show what rounding does, in units of rounding; the first one
shows whether a seed determines its training."""

MOST_COPIED = 1000
"""Dicts with fewer entries are copied with an object of a training."""

LEANING = 1e-4
"""Rounding makes a number larger as often as smaller: below this p-value it was not rounding."""


# -------------------------------------------------------------------------------------------------
# What two trainings of a seed came to.


class SeedResult(NamedTuple):
    """What the training of a seed came to: its score, or what it raised, and its reports."""

    score: Any
    reports: Sequence[Any] = ()


class Apart(NamedTuple):
    """How far a number of two trainings is apart.

    Attributes:
        distance: as a fraction of its scale; infinity if only one training has it.
        lean: 1 if it is larger in the second one, else -1; 0 if it is no number.
        text: for users.
    """

    distance: float
    lean: int
    text: str


def distances(
    one: SeedResult, other: SeedResult, judge: Callable[[Any], Any] | None = None, every: int = 1
) -> dict[str, Apart]:
    """How far two trainings of a seed are apart, by the names of their numbers.

    Args:
        one: alone.
        other: in a stack.
        judge: says of a score whether it is a success; None: no rule does.
        every: epochs between two reports.

    Returns:
        Of each number the largest distance over all reports and the score, with the text of the
        first one that exceeds `TOLERANCE`.
    """
    found: dict[str, Apart] = {}

    def add(at: str, alone: Mapping[str, Any], stacked: Mapping[str, Any]) -> None:
        for name in {**alone, **stacked}:
            apart, before = _apart(alone.get(name), stacked.get(name)), found.get(name)
            if before is None or apart.distance > before.distance:
                values = " and ".join(_shown(of.get(name)) for of in (alone, stacked))
                how_far = f" ({apart.distance:.2g} of it apart)" if apart.lean else ""
                text = f"{name} {at} is {values}, alone and in a stack{how_far}"
                if before is not None and before.distance > TOLERANCE:
                    text = before.text
                found[name] = apart._replace(text=text)

    for number, both in enumerate(zip(one.reports, other.reports, strict=False), start=1):
        add(f"after epoch {number * every}", *map(_named, both))
    add("at the end", _named(one.score), _named(other.score))
    lengths = ({"the number of reports": len(of.reports)} for of in (one, other))
    add("at the end", *lengths)
    if judge is not None:
        add("by the rule", *({"the status": judge(of.score)} for of in (one, other)))
    return found


def _named(score: Any) -> dict[str, Any]:
    if isinstance(score, Mapping):
        return {str(name): value for name, value in score.items()}
    return {"the result" if isinstance(score, BaseException) else "the score": score}


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else f"{value!r:.80}"


def _apart(one: Any, other: Any) -> Apart:
    if not all(isinstance(value, Real | np.bool_) for value in (one, other)):
        return Apart(0.0 if type(one) is type(other) and one == other else math.inf, 0, "")
    a, b = float(one), float(other)
    if a == b or (math.isnan(a) and math.isnan(b)):
        return Apart(0.0, 0, "")
    if not (math.isfinite(a) and math.isfinite(b)):
        return Apart(math.inf, 0, "")
    return Apart(abs(a - b) / max(abs(a), abs(b), LEAST_SCALE), 1 if b > a else -1, "")


# -------------------------------------------------------------------------------------------------
# What rounding does.


def nudged(training: Any, units: int) -> Any:
    """A copy of a training whose initial weights are changed by some units of rounding."""
    copied = copy_of(training)

    def model() -> nn.Module:
        made: nn.Module = type(training).model(copied)
        draw = torch.Generator().manual_seed(units)
        with torch.no_grad():
            for weight in made.parameters():
                if weight.is_floating_point():
                    noise = torch.rand(weight.shape, generator=draw, dtype=torch.float64) * 2 - 1
                    change = 1 + units * torch.finfo(weight.dtype).eps * noise
                    weight.mul_(change.to(weight))
        return made

    copied.model = model
    return copied


def copy_of(training: Any) -> Any:
    """A copy of a training's object: its attributes, and those of its dicts that are no data."""
    copied = object.__new__(type(training))
    for name, one in vars(training).items():
        vars(copied)[name] = dict(one) if type(one) is dict and len(one) < MOST_COPIED else one
    return copied


@dataclass
class Knowledge:
    """What this process knows of the stacks of a training.

    Attributes:
        agreed: seeds that were trained both ways, and agree.
        fault: which number differed; empty if none did. Then no seed is stacked any more.
        structures: those of which a stack has been trained.
    """

    agreed: int = 0
    fault: str = ""
    structures: set[Any] = field(default_factory=set)
    _leans: dict[str, list[int]] = field(default_factory=dict)

    def compare(
        self,
        seed: int,
        apart: Mapping[str, Apart],
        by_rounding: Iterable[Mapping[str, Apart]] = (),
    ) -> float:
        """Note whether a seed agrees with itself in a stack.

        Args:
            seed: its number.
            apart: how far both trainings are apart.
            by_rounding: how far trainings by `NUDGES` are from that alone.

        Returns:
            The largest distance.
        """
        far = {name: one for name, one in apart.items() if one.distance > TOLERANCE}
        left = dict(far)
        for number, moved in enumerate(by_rounding if left else ()):
            if number == 0:
                if any(one.distance > TOLERANCE for one in moved.values()):
                    break
                continue
            left = {
                name: one
                for name, one in left.items()
                if name not in moved or one.distance > MOVED * moved[name].distance
            }
            if not left:
                break
        for name, one in far.items():
            leans = self._leans.setdefault(name, [])
            leans += [one.lean] * (one.lean != 0)
            if leans and binomtest(leans.count(1), len(leans)).pvalue < LEANING:
                left[name] = one
        if left:
            worst = max(left.values(), key=lambda one: one.distance)
            self.fault = self.fault or f"of seed {seed} {worst.text}"
        else:
            self.agreed += 1
        return max((one.distance for one in apart.values()), default=0.0)


_known: dict[type, Knowledge] = {}


def knowledge_of(training: Any) -> Knowledge:
    """What this process knows of the stacks of a training."""
    return _known.setdefault(type(training), Knowledge())
