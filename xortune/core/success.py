"""The rule for success where a training returns numbers: a name, a comparison and a limit."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xortune.core.errors import InputError, check_type

VALUE = "value"
"""Name given to a number that the training returns unnamed."""

EXACT = 1e15
"""Whole limits below this are shown in digits: `loss < 100`, not `loss < 100.0`."""

_COSTS = frozenset(
    (
        *("loss", "error", "err", "cost", "regret", "mse", "rmse", "mae", "mape", "nll", "bce"),
        *("perplexity", "ppl", "wer", "cer", "fid", "kl", "distance", "divergence", "brier"),
        *("time", "seconds", "steps", "latency", "failures"),
    )
)
"""Words in the names of numbers that are to be small."""

_GAINS = frozenset(
    (
        *("return", "returns", "reward", "rewards", "score", "accuracy", "acc", "auc", "auroc"),
        *("f1", "precision", "recall", "r2", "bleu", "rouge", "iou", "dice", "map", "mrr", "ndcg"),
    )
)
"""Words in the names of numbers that are to be large."""

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

    def holds(self, number: Any) -> bool:
        """Whether a finite number is a success, as its own library compares it.

        A number of NumPy or torch in single precision is compared in that: 19/20 is at least 0.95,
        also where it is the float32 0.94999999.
        """
        if isinstance(number, np.ndarray | np.generic):  # NumPy 1 compares scalars as doubles
            return bool(self.hold(np.reshape(number, 1))[0])
        return bool(_COMPARE[self.sign](number, self.limit))

    def hold(self, numbers: NDArray[Any]) -> NDArray[np.bool_]:
        """bool, shape (S,): which of S finite numbers are successes, in their own precision."""
        return np.asarray(_COMPARE[self.sign](numbers, self.limit))

    def larger_is_better(self, numbers: NDArray[Any] | None = None) -> bool:
        """Whether the better of two numbers is the larger one: what all tables and figures ask.

        Of `==` the better one is nearer to the limit, so it is the larger one where numbers lie
        below it, or farther below than above. Where there are none, the limit is taken for the end
        of what the number can be: the least if it is 0, unless more is better by the name, else the
        greatest. `!=` tells no two numbers apart but the limit: there the name decides, as without
        a rule.

        Args:
            numbers: those that are known, of any shape; what is not finite says nothing.
        """
        if self.sign == "!=":
            return not is_cost(self.name)
        if self.sign != "==":
            return self.sign[0] == ">"
        below, above = self._beside(numbers)
        if below != above:
            return below > above
        return self.limit != 0 or is_gain(self.name)

    def orders(self, numbers: NDArray[Any] | None = None) -> bool:
        """Whether of any two numbers the one that `larger_is_better` says is no worse by the rule.

        Of `!=` it is not. Of `==` it is where all numbers lie on one side of the limit; if none is
        known yet, where the name agrees with the limit: `failures == 0`, `accuracy == 1`.
        """
        if self.sign != "==":
            return self.sign != "!="
        below, above = self._beside(numbers)
        if below or above:
            return not (below and above)
        return is_gain(self.name) if self.limit else is_cost(self.name)

    def distance(self, number: float) -> float:
        """How far a number is from the limit."""
        return abs(number - self.limit)

    def _beside(self, numbers: NDArray[Any] | None) -> tuple[float, float]:
        """How far numbers lie below the limit, and how far above it; 0 if none does."""
        known = np.empty(0) if numbers is None else numbers[np.isfinite(numbers)]
        below = self.limit - known.min(initial=self.limit)
        return float(below), float(known.max(initial=self.limit) - self.limit)

    def __str__(self) -> str:
        whole = self.limit.is_integer() and abs(self.limit) < EXACT
        return f"{self.name} {self.sign} {int(self.limit) if whole else repr(self.limit)}"


@dataclass(frozen=True)
class Finite:
    """No rule: all numbers are as good, so a seed only fails if it ends without finite ones.

    Attributes:
        names: of the numbers that must be finite; none: all that the training returns.
    """

    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((FINITE, ", ".join(self.names) or "numbers"))


FINITE = "finite"
"""The first word of a `Finite` as text, which no rule begins with."""


def has_rule(text: object) -> bool:
    """Whether the text of a rule asks anything of a number but that it is finite."""
    return not str(text or "").startswith(f"{FINITE} ")


Rule: TypeAlias = Success | Finite


def is_name(text: str) -> bool:
    """Whether a rule can refer to a number of this name."""
    return re.fullmatch(r"[^\W\d][\w.\-/]*", text) is not None


def is_cost(name: str) -> bool:
    """Whether less of a number is better, judged by its name: `loss`, `val_error`."""
    words = re.split(r"[\W_]+", name.lower())
    return any(word in _COSTS or word.endswith(("loss", "error")) for word in words)


def is_gain(name: str) -> bool:
    """Whether more of a number is better, judged by its name: `return`, `val_accuracy`."""
    return not is_cost(name) and not _GAINS.isdisjoint(re.split(r"[\W_]+", name.lower()))


def larger_is_better(
    name: str, rules: Iterable[object], numbers: NDArray[Any] | None = None
) -> bool:
    """Whether more of a number is better: by the rules that judge it, else by its name.

    The name decides, too, where rules contradict each other. `numbers` are those that are known.
    """
    judging = (rule for rule in rules if isinstance(rule, Success) and rule.name == name)
    directions = {rule.larger_is_better(numbers) for rule in judging}
    return directions.pop() if len(directions) == 1 else not is_cost(name)


def judged_number(rule: object) -> str:
    """What a rule, or its text, is about: the name of its number, whatever the limit.

    `success` where there is none, so that results are successes or not themselves.
    """
    text = str(rule or "success")
    found = _RULE.fullmatch(text)
    return found["name"] if found else text if has_rule(text) else FINITE


def rule_for(name: str) -> str:
    """A rule to suggest for a number; the user chooses the limit."""
    return f"{name} <= 0.1" if is_cost(name) else f"{name} >= 0.9"


def parse_success(text: str) -> Success:
    """Read a rule; nothing in it is evaluated.

    Raises:
        InputError: the text is not a name, a comparison and a finite number.
    """
    check_type("success", text, str, "a rule, such as 'accuracy >= 0.9'")
    found = _RULE.fullmatch(text)
    limit = float(found["number"]) if found else math.nan
    if found is None or not math.isfinite(limit):
        start = re.match(r"\s*([^\W\d][\w.\-/]*)", text)
        name = start[1] if start and len(start[1]) <= 40 else "accuracy"
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(
            f"{shown!r} is not a rule",
            field="success",
            allowed=f"a name, one of {', '.join(_COMPARE)}, and a number",
            fix=f'write for instance "{rule_for(name)}"; a number without a name is called '
            f'"{VALUE}"',
        )
    return Success(found["name"], found["sign"], limit)
