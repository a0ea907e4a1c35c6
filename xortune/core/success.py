"""What counts as success where a training returns numbers: one name, one comparison, one number."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError

VALUE = "value"
"""What a number that comes alone, without a name, is called."""

EXACT = 1e15
"""Whole numbers below this are shown in digits, as they are mostly written."""

_COSTS = frozenset(
    (
        *("loss", "error", "err", "cost", "regret", "mse", "rmse", "mae", "mape", "nll", "bce"),
        *("perplexity", "ppl", "wer", "cer", "fid", "kl", "distance", "divergence", "brier"),
        *("time", "seconds", "steps", "latency", "failures"),
    )
)
"""Parts of names of numbers of which less is better."""

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_RULE = re.compile(
    r"\s*(?P<name>[^\W\d][\w.\-/]*)\s*(?P<sign>>=|<=|==|!=|>|<)\s*"
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*"
)


@dataclass(frozen=True)
class Success:
    """A rule such as ``accuracy >= 0.9``."""

    name: str
    sign: str
    limit: float

    def holds(self, number: float) -> bool:
        """Whether a finite number is a success."""
        return bool(_COMPARE[self.sign](number, self.limit))

    def hold(self, numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """bool, shape (S,): which of S finite numbers are successes."""
        found: NDArray[np.bool_] = _COMPARE[self.sign](numbers, self.limit)
        return found

    def __str__(self) -> str:
        whole = self.limit.is_integer() and abs(self.limit) < EXACT
        return f"{self.name} {self.sign} {int(self.limit) if whole else repr(self.limit)}"


def is_name(text: str) -> bool:
    """Whether a rule could judge a number of this name."""
    return re.fullmatch(r"[^\W\d][\w.\-/]*", text) is not None


def is_cost(name: str) -> bool:
    """Whether less of a number is better, as far as its name says: `loss`, `val_error`."""
    words = re.split(r"[\W_]+", name.lower())
    return any(word in _COSTS or word.endswith(("loss", "error")) for word in words)


def rule_for(name: str) -> str:
    """A rule to suggest for a number; its limit is for the user to choose."""
    return f"{name} <= 0.1" if is_cost(name) else f"{name} >= 0.9"


def parse_success(text: str) -> Success:
    """Read a rule; nothing in it is ever evaluated.

    Raises:
        InputError: it is not NAME, one of the comparisons, and a finite number.
    """
    found = _RULE.fullmatch(text)
    limit = float(found["number"]) if found is not None else math.nan
    if found is None or not math.isfinite(limit):
        begun = re.match(r"\s*([^\W\d][\w.\-/]*)", text)
        name = begun[1] if begun is not None and len(begun[1]) <= 40 else "accuracy"
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(
            f"{shown!r} is not a rule",
            field="success",
            allowed=f"a name, one of {', '.join(_COMPARE)}, and a number",
            fix=f'write for instance "{rule_for(name)}"; a number without a name is called '
            f'"{VALUE}"',
        )
    return Success(found["name"], found["sign"], limit)
